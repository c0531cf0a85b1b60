"""Labelled windows of several streams: EEG tokens of rated trials, and what stands beside them.

A window sees of the other streams exactly what a live decoder would have seen at its end. Features
that look back further than their window (heart-rate variability) reach into the time before the
trial.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.fused_emotions import trial_emotions
from physioemo.experiments.fused_sides import (
    SideChoice,
    SideFamily,
    bind_side,
    find_side,
    require_side,
)
from physioemo.experiments.fused_stimulus import StimulusChoice, recording_stimulus
from physioemo.experiments.fused_streams import SideHistory, recording_side
from physioemo.experiments.tokens import FAMILY, recording_tokens
from physioemo.experiments.trial_data import MISSING, TrialData, assign_trials, rating_labels
from physioemo.features.entropy import EntropyRecipe
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.prediction import DIMENSIONS
from physioemo.recording import Recording
from physioemo.tokens import TokenSet

__all__ = [
    "FusedTrialData",
    "bound_sides",
    "collect_fused_trials",
    "joined_windows",
    "take_rows",
    "take_windows",
    "without_eeg",
    "without_sides",
]

_PER_WINDOW = ("values", "present", "labels", "recording", "trial", "stimulus")
_PER_WINDOW_OR_NONE = ("ratings", "stop_seconds", "emotions")
_NO_TRIAL = -1


@dataclass(frozen=True)
class FusedTrialData(TrialData):
    """Windows of rated trials with the newest token of each family beside the EEG.

    Parameters
    ----------
    values, present, labels, recording, trial, stimulus, dimensions, fingerprints, recipe, ch_names
        See :class:`physioemo.experiments.trial_data.TrialData`.
    sides : tuple of SideFamily
        The families.
    side_values : mapping of str to ndarray, shape (window, number)
        Their numbers, NaN where missing.
    ages : mapping of str to ndarray, shape (window,)
        How many seconds before the window's end they end; NaN for none.
    shown : mapping
        What is read of the stimulus, as :meth:`StimulusChoice.chosen` says; nothing where it is
        not read.
    ratings : ndarray, shape (window, dimension), optional
        The ratings themselves, NaN without one.
    scales : tuple of (float, float)
        Lowest and highest rating of the recordings, each once.
    stop_seconds : ndarray, shape (window,), optional
        When each window ends, in the time of its recording.
    rest : FusedTrialData, optional
        Windows that hold nothing of a trial's end, before or between trials; not rated.
    emotions : ndarray of int, shape (window,), optional
        Number of the named emotion, -1 = not known; only if names are to be learned.
    """

    sides: tuple[SideFamily, ...]
    side_values: Mapping[str, np.ndarray]
    ages: Mapping[str, np.ndarray]
    shown: Mapping[str, Any] = field(default_factory=dict)
    ratings: np.ndarray | None = None
    scales: tuple[tuple[float, float], ...] = ()
    stop_seconds: np.ndarray | None = None
    rest: "FusedTrialData | None" = None
    emotions: np.ndarray | None = None


def bound_sides(
    recordings: Mapping[str, Recording], choices: Sequence[SideChoice]
) -> tuple[SideFamily, ...]:
    """Return the families as the recordings give them; one that lacks a stream misses it.

    Raises
    ------
    NoStreamError
        If no recording has a family's stream.
    DataError
        If two recordings would give other features.
    """
    sides = []
    for choice in choices:
        found: dict[str, SideFamily] = {}
        for name, recording in sorted(recordings.items()):
            streams = {key: recording.description(key) for key in recording.streams}
            key = find_side(streams, choice)
            if key is not None:
                found[name] = bind_side(choice, streams[key])
        if not found:
            name, recording = min(recordings.items())
            streams = {key: recording.description(key) for key in recording.streams}
            require_side(streams, choice, name)
        if len({side.fingerprint for side in found.values()}) > 1:
            told = "; ".join(f"{name} {side}" for name, side in found.items())
            raise DataError(
                f"found {choice.family} that differs between recordings ({told}), expected one "
                "device and setting; train on recordings that are alike, or leave it out"
            )
        sides.append(next(iter(found.values())))
    return tuple(sides)


def collect_fused_trials(
    recordings: Mapping[str, Recording],
    recipe: EntropyRecipe,
    ch_names: Sequence[str],
    choices: Sequence[SideChoice],
    *,
    dimensions: Sequence[str] = DIMENSIONS,
    midpoint: str = "drop",
    stimulus: StimulusChoice | None = None,
    stimuli: Sequence[StimulusFeatures] = (),
    rest: bool = False,
    emotions: Sequence[str] = (),
    emotion_of: Mapping[str, str] | None = None,
) -> FusedTrialData:
    """Return the labelled windows of some recordings.

    Parameters
    ----------
    recordings : mapping of str to Recording
        By a name that stands in every result.
    recipe : EntropyRecipe
        How the EEG's tokens are made.
    ch_names : sequence of str
        Electrodes.
    choices : sequence of SideChoice
        Families beside the EEG.
    dimensions : sequence of str
        Which ratings to learn.
    midpoint : {"drop", "low", "high"}
        What a rating exactly in the middle of the scale is.
    stimulus : StimulusChoice, optional
        What is read of the stimulus.
    stimuli : sequence of StimulusFeatures
        The files that were shown.
    rest : bool
        Whether windows before and between trials are kept beside them, for a context.
    emotions : sequence of str
        Named emotions to learn as well. A trial counts then that has a rating or an emotion, and
        a recording may lack ratings.
    emotion_of : mapping of str to str, optional
        Emotions of stimuli, see :func:`physioemo.experiments.fused_emotions.trial_emotions`.

    Raises
    ------
    DataError
        If there are no rated trials, the recordings differ in a family, or a stimulus is lacking.
    NoStreamError
        If no recording has a family's stream.
    """
    sides = bound_sides(recordings, choices)
    read = _Reader(
        recipe,
        tuple(ch_names),
        sides,
        tuple(dimensions),
        midpoint,
        stimulus,
        stimuli,
        tuple(emotions),
        dict(emotion_of or {}),
    )
    parts = [read.windows(name, recording) for name, recording in sorted(recordings.items())]
    if not sum(len(trials.values) for trials, _ in parts):
        raise DataError(
            f"found no window within a rated trial in {', '.join(sorted(recordings))}, expected "
            "trials with ratings; record trial_start and trial_stop markers and a Ratings stream, "
            "and use trials longer than one window"
        )
    return replace(
        joined_windows([trials for trials, _ in parts]),
        fingerprints={n: r.fingerprint() for n, r in sorted(recordings.items())},
        rest=joined_windows([between for _, between in parts]) if rest else None,
    )


def joined_windows(parts: Sequence[FusedTrialData]) -> FusedTrialData:
    """Return windows of one kind one after the other; what stands beside trials is left out.

    Parameters
    ----------
    parts : sequence of FusedTrialData
        One or more, of the same recipe, electrodes and families.
    """
    first = parts[0]
    found: dict[str, Any] = {
        name: np.concatenate([getattr(p, name) for p in parts]) for name in _PER_WINDOW
    }
    for name in _PER_WINDOW_OR_NONE:
        known = [getattr(p, name) for p in parts]
        found[name] = None if any(v is None for v in known) else np.concatenate(known)
    return replace(
        first,
        **found,
        side_values=_joined([p.side_values for p in parts]),
        ages=_joined([p.ages for p in parts]),
        shown=_joined([p.shown for p in parts]),
        scales=tuple(sorted({s for p in parts for s in p.scales})),
        rest=None,
    )


def take_windows(data: FusedTrialData, rows: np.ndarray) -> FusedTrialData:
    """Return some windows, in the order of `rows`; what stands beside trials is left out.

    Parameters
    ----------
    data : FusedTrialData
        All windows.
    rows : ndarray of int
        Which.
    """
    found: dict[str, Any] = {name: getattr(data, name)[rows] for name in _PER_WINDOW}
    for name in _PER_WINDOW_OR_NONE:
        known = getattr(data, name)
        found[name] = None if known is None else known[rows]
    return replace(
        data,
        **found,
        side_values=take_rows(data.side_values, rows),
        ages=take_rows(data.ages, rows),
        shown=take_rows(data.shown, rows),
        rest=None,
    )


def take_rows(inputs: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Return some windows of arrays by name, of which some have parts."""
    return {
        name: {k: v[rows] for k, v in part.items()} if isinstance(part, dict) else part[rows]
        for name, part in inputs.items()
    }


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return inputs of several recordings one after the other."""
    return {
        name: _joined([p[name] for p in parts])
        if isinstance(first, Mapping)
        else np.concatenate([p[name] for p in parts])
        for name, first in parts[0].items()
    }


@dataclass(frozen=True)
class _Reader:
    """What is read of each recording."""

    recipe: EntropyRecipe
    ch_names: tuple[str, ...]
    sides: tuple[SideFamily, ...]
    dimensions: tuple[str, ...]
    midpoint: str
    stimulus: StimulusChoice | None
    stimuli: Sequence[StimulusFeatures]
    emotions: tuple[str, ...]
    emotion_of: Mapping[str, str]

    def windows(self, name: str, recording: Recording) -> tuple[FusedTrialData, FusedTrialData]:
        """Return the windows of rated trials, and those before and between trials."""
        tokens = recording_tokens(recording, self.recipe, self.ch_names)
        # Streams and markers agree within the noise of their clocks: half a sample decides nothing.
        near = 0.5 / self.recipe.sfreq
        trial = assign_trials(
            recording, tokens.start_seconds, tokens.stop_seconds, tolerance_seconds=near
        )
        labels = rating_labels(recording, self.dimensions, self.midpoint)
        named = trial_emotions(recording, self.emotions, self.emotion_of) if self.emotions else {}
        rated = np.array([t in labels or t in named for t in trial], bool)
        rest = (trial == _NO_TRIAL) & ~_holds_an_end(recording, tokens, near)
        table = recording.trials
        stimulus_of = dict(
            zip(table["trial"].values.tolist(), map(str, table["stimulus"].values), strict=True)
        )
        ratings = _ratings(recording, self.dimensions)
        nothing = [np.nan] * len(self.dimensions)
        whole = FusedTrialData(
            values=tokens[FAMILY].values,
            present=tokens[FAMILY].present,
            labels=self._rows([labels.get(t, [MISSING] * len(nothing)) for t in trial], int),
            recording=np.full(len(trial), name, dtype=object),
            trial=trial,
            stimulus=np.array([stimulus_of.get(t, "") for t in trial], dtype=object),
            dimensions=self.dimensions,
            fingerprints={},
            recipe=self.recipe,
            ch_names=self.ch_names,
            sides=self.sides,
            side_values={},
            ages={},
            ratings=self._rows([ratings.get(t, nothing) for t in trial], float),
            # The scale of a recording that nobody rated says nothing.
            scales=(_scale(recording),) if len(labels) or not self.emotions else (),
            stop_seconds=tokens.stop_seconds,
            emotions=np.array([named.get(t, MISSING) for t in trial], int)
            if self.emotions
            else None,
        )
        beside = {s.name: _beside(recording, s, tokens.stop_seconds) for s in self.sides}
        whole = replace(
            whole,
            side_values={n: values for n, (values, _) in beside.items()},
            ages={n: ages for n, (_, ages) in beside.items()},
        )
        some, others = (take_windows(whole, np.flatnonzero(mask)) for mask in (rated, rest))
        return self._with_stimulus(some, recording), self._with_stimulus(others, recording)

    def _rows(self, rows: list[Any], kind: type) -> np.ndarray:
        return np.array(rows, kind).reshape(-1, len(self.dimensions))

    def _with_stimulus(self, data: FusedTrialData, recording: Recording) -> FusedTrialData:
        if self.stimulus is None or data.stop_seconds is None:
            return data
        shown = recording_stimulus(recording, data.stop_seconds, self.stimuli, self.stimulus)
        return replace(data, shown=self.stimulus.chosen(shown))


def _holds_an_end(recording: Recording, tokens: TokenSet, near_seconds: float) -> np.ndarray:
    """Return which windows hold something of a trial that ends, or ended, in them."""
    table = recording.trials
    ends = (table["onset_seconds"].values + table["duration_seconds"].values).tolist()
    held = np.zeros(len(tokens.stop_seconds), bool)
    for end in ends:
        held |= (tokens.start_seconds < end - near_seconds) & (tokens.stop_seconds >= end)
    return held


def _scale(recording: Recording) -> tuple[float, float]:
    attrs = recording.ratings.attrs
    return float(attrs["scale_minimum"]), float(attrs["scale_maximum"])


def _ratings(recording: Recording, dimensions: Sequence[str]) -> dict[int, np.ndarray]:
    """Return the ratings of each trial."""
    table = recording.ratings
    there = [str(d) for d in table["dimension"].values]
    columns = [there.index(d) for d in dimensions]
    rows = zip(table["trial"].values.tolist(), table["rating"].values, strict=True)
    return {int(trial): row[columns] for trial, row in rows}


def _beside(
    recording: Recording, side: SideFamily, stop_seconds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the newest token at each time: values (window, number) and ages (window,)."""
    history = SideHistory(recording_side(recording, side))
    values = np.full((len(stop_seconds), side.n_values), np.nan)
    ages = np.full(len(stop_seconds), np.nan)
    for i, stop in enumerate(stop_seconds.tolist()):
        token = history.newest(stop)
        if token is not None:
            values[i], ages[i] = token.values, stop - token.stop_seconds
    return values, ages


def without_eeg(data: FusedTrialData) -> FusedTrialData:
    """Return the same windows with the EEG missing."""
    nothing = np.full_like(data.values, np.nan)
    rest = None if data.rest is None else without_eeg(data.rest)
    return replace(data, values=nothing, present=np.zeros_like(data.present), rest=rest)


def without_sides(data: FusedTrialData) -> FusedTrialData:
    """Return the same windows of the EEG alone."""
    rest = None if data.rest is None else without_sides(data.rest)
    return replace(data, sides=(), side_values={}, ages={}, shown={}, rest=rest)
