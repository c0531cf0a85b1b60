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
from physioemo.experiments.trial_data import TrialData, assign_trials, rating_labels
from physioemo.features.entropy import EntropyRecipe
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.prediction import DIMENSIONS
from physioemo.recording import Recording

__all__ = ["FusedTrialData", "bound_sides", "collect_fused_trials", "without_eeg", "without_sides"]


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
    """

    sides: tuple[SideFamily, ...]
    side_values: Mapping[str, np.ndarray]
    ages: Mapping[str, np.ndarray]
    shown: Mapping[str, Any] = field(default_factory=dict)
    ratings: np.ndarray | None = None
    scales: tuple[tuple[float, float], ...] = ()
    stop_seconds: np.ndarray | None = None


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

    Raises
    ------
    DataError
        If there are no rated trials, the recordings differ in a family, or a stimulus is lacking.
    NoStreamError
        If no recording has a family's stream.
    """
    sides = bound_sides(recordings, choices)
    parts = [
        _one_recording(
            name, recording, recipe, ch_names, sides, dimensions, midpoint, stimulus, stimuli
        )
        for name, recording in sorted(recordings.items())
    ]
    if not sum(len(p.values) for p in parts):
        raise DataError(
            f"found no window within a rated trial in {', '.join(sorted(recordings))}, expected "
            "trials with ratings; record trial_start and trial_stop markers and a Ratings stream, "
            "and use trials longer than one window"
        )
    names = [side.name for side in sides]
    return replace(
        parts[0],
        values=np.concatenate([p.values for p in parts]),
        present=np.concatenate([p.present for p in parts]),
        labels=np.concatenate([p.labels for p in parts]),
        recording=np.concatenate([p.recording for p in parts]),
        trial=np.concatenate([p.trial for p in parts]),
        stimulus=np.concatenate([p.stimulus for p in parts]),
        side_values={n: np.concatenate([p.side_values[n] for p in parts]) for n in names},
        ages={n: np.concatenate([p.ages[n] for p in parts]) for n in names},
        shown=_joined([p.shown for p in parts]),
        ratings=np.concatenate([p.ratings for p in parts if p.ratings is not None]),
        scales=tuple(sorted({s for p in parts for s in p.scales})),
        stop_seconds=np.concatenate([p.stop_seconds for p in parts if p.stop_seconds is not None]),
        fingerprints={n: r.fingerprint() for n, r in sorted(recordings.items())},
    )


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return inputs of several recordings one after the other."""
    return {
        name: _joined([p[name] for p in parts])
        if isinstance(first, Mapping)
        else np.concatenate([p[name] for p in parts])
        for name, first in parts[0].items()
    }


def _one_recording(
    name: str,
    recording: Recording,
    recipe: EntropyRecipe,
    ch_names: Sequence[str],
    sides: tuple[SideFamily, ...],
    dimensions: Sequence[str],
    midpoint: str,
    stimulus: StimulusChoice | None,
    stimuli: Sequence[StimulusFeatures],
) -> FusedTrialData:
    tokens = recording_tokens(recording, recipe, ch_names)
    # Streams and markers agree within the noise of their clocks: half a sample decides nothing.
    trial = assign_trials(
        recording,
        tokens.start_seconds,
        tokens.stop_seconds,
        tolerance_seconds=0.5 / recipe.sfreq,
    )
    labels = rating_labels(recording, dimensions, midpoint)
    kept = np.array([t in labels for t in trial], bool)
    table = recording.trials
    stimulus_of = dict(
        zip(table["trial"].values.tolist(), map(str, table["stimulus"].values), strict=True)
    )
    beside = {s.name: _beside(recording, s, tokens.stop_seconds) for s in sides}
    trial, family = trial[kept], tokens[FAMILY]
    return FusedTrialData(
        values=family.values[kept],
        present=family.present[kept],
        labels=np.array([labels[t] for t in trial], int).reshape(-1, len(dimensions)),
        recording=np.full(len(trial), name, dtype=object),
        trial=trial,
        stimulus=np.array([stimulus_of[t] for t in trial], dtype=object),
        dimensions=tuple(dimensions),
        fingerprints={},
        recipe=recipe,
        ch_names=tuple(ch_names),
        sides=sides,
        side_values={n: values[kept] for n, (values, _) in beside.items()},
        ages={n: ages[kept] for n, (_, ages) in beside.items()},
        shown={}
        if stimulus is None
        else stimulus.chosen(
            recording_stimulus(recording, tokens.stop_seconds[kept], stimuli, stimulus)
        ),
        ratings=_ratings(recording, trial, dimensions),
        scales=(_scale(recording),),
        stop_seconds=tokens.stop_seconds[kept],
    )


def _scale(recording: Recording) -> tuple[float, float]:
    attrs = recording.ratings.attrs
    return float(attrs["scale_minimum"]), float(attrs["scale_maximum"])


def _ratings(recording: Recording, trial: np.ndarray, dimensions: Sequence[str]) -> np.ndarray:
    """Return the ratings of the trial of each window, (window, dimension)."""
    table = recording.ratings
    there = [str(d) for d in table["dimension"].values]
    columns = [there.index(d) for d in dimensions]
    rows = dict(zip(table["trial"].values.tolist(), table["rating"].values, strict=True))
    found = [rows[t][columns] for t in trial.tolist()]
    return np.array(found, float).reshape(-1, len(dimensions))


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
    return replace(data, values=nothing, present=np.zeros_like(data.present))


def without_sides(data: FusedTrialData) -> FusedTrialData:
    """Return the same windows of the EEG alone."""
    return replace(data, sides=(), side_values={}, ages={}, shown={})
