"""Labelled windows: the tokens of rated trials from one or more recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.splits import group_ids
from physioemo.experiments.tokens import FAMILY, recording_tokens
from physioemo.features.entropy import EntropyRecipe
from physioemo.prediction import DIMENSIONS
from physioemo.recording import Recording

__all__ = [
    "MIDPOINTS",
    "TrialData",
    "assign_trials",
    "collect_trials",
    "rating_labels",
    "with_permuted_trials",
]

MIDPOINTS = ("drop", "low", "high")
MISSING = -1


@dataclass(frozen=True)
class TrialData:
    """Tokens of windows that lie whole within a rated trial.

    Parameters
    ----------
    values, present : ndarray, shape (window, channel, band)
        Entropy in nats (NaN where missing), and where it is there.
    labels : ndarray of int, shape (window, dimension)
        1 above the middle of the scale, 0 below, -1 without a usable rating.
    recording, trial, stimulus : ndarray, shape (window,)
        Where each window comes from.
    dimensions : tuple of str
        What is rated.
    fingerprints : mapping of str to str
        Hash of each recording's samples.
    recipe : EntropyRecipe
        How the tokens were made.
    ch_names : tuple of str
        Electrodes, in the order of the tokens.
    """

    values: np.ndarray
    present: np.ndarray
    labels: np.ndarray
    recording: np.ndarray
    trial: np.ndarray
    stimulus: np.ndarray
    dimensions: tuple[str, ...]
    fingerprints: Mapping[str, str]
    recipe: EntropyRecipe
    ch_names: tuple[str, ...]

    @property
    def groups(self) -> np.ndarray:
        """What must not stand on both sides of a split, one per window."""
        return group_ids(self.recording.tolist(), self.trial.tolist(), self.stimulus.tolist())

    @property
    def trial_ids(self) -> np.ndarray:
        """One name per trial and recording, one per window."""
        pairs = zip(self.recording, self.trial, strict=True)
        return np.array([f"{r} trial {t}" for r, t in pairs], dtype=object)


def collect_trials(
    recordings: Mapping[str, Recording],
    recipe: EntropyRecipe,
    ch_names: Sequence[str],
    *,
    dimensions: Sequence[str] = DIMENSIONS,
    midpoint: str = "drop",
) -> TrialData:
    """Return the labelled windows of some recordings.

    Parameters
    ----------
    recordings : mapping of str to Recording
        By a name that stands in every result.
    recipe : EntropyRecipe
        How tokens are made.
    ch_names : sequence of str
        Electrodes.
    dimensions : sequence of str
        Which ratings to learn.
    midpoint : {"drop", "low", "high"}
        What a rating exactly in the middle of the scale is.

    Raises
    ------
    DataError
        If there are no rated trials, or a recording lacks a dimension.
    """
    parts = [
        _one_recording(name, recording, recipe, ch_names, dimensions, midpoint)
        for name, recording in sorted(recordings.items())
    ]
    if not sum(len(p[0]) for p in parts):
        raise DataError(
            f"found no window within a rated trial in {', '.join(sorted(recordings))}, expected "
            "trials with ratings; record trial_start and trial_stop markers and a Ratings stream, "
            "and use trials longer than one window"
        )
    values, present, labels, name, trial, stimulus = map(np.concatenate, zip(*parts, strict=True))
    fingerprints = {n: r.fingerprint() for n, r in sorted(recordings.items())}
    return TrialData(
        values,
        present,
        labels,
        name,
        trial,
        stimulus,
        tuple(dimensions),
        fingerprints,
        recipe,
        tuple(ch_names),
    )


def _one_recording(
    name: str,
    recording: Recording,
    recipe: EntropyRecipe,
    ch_names: Sequence[str],
    dimensions: Sequence[str],
    midpoint: str,
) -> tuple[np.ndarray, ...]:
    tokens = recording_tokens(recording, recipe, ch_names)
    # Streams and markers agree within the noise of their clocks: half a sample decides nothing.
    half_sample = 0.5 / recipe.sfreq
    trial = assign_trials(
        recording, tokens.start_seconds, tokens.stop_seconds, tolerance_seconds=half_sample
    )
    labels = rating_labels(recording, dimensions, midpoint)
    kept = np.array([t in labels for t in trial], bool)
    trial = trial[kept]
    stimuli = dict(zip(recording.trials["trial"].values.tolist(), _stimuli(recording), strict=True))
    family = tokens[FAMILY]
    rows = [labels[t] for t in trial]
    return (
        family.values[kept],
        family.present[kept],
        np.array(rows, int).reshape(-1, len(dimensions)),
        np.full(len(trial), name, dtype=object),
        trial,
        np.array([stimuli[t] for t in trial], dtype=object),
    )


def _stimuli(recording: Recording) -> list[str]:
    return [str(s) for s in recording.trials["stimulus"].values]


def assign_trials(
    recording: Recording,
    start_seconds: np.ndarray,
    stop_seconds: np.ndarray,
    *,
    tolerance_seconds: float = 0.0,
) -> np.ndarray:
    """Return the trial that holds each window whole, or -1, shape (window,).

    A window may reach out of its trial by the tolerance at either end.
    """
    trial = np.full(len(start_seconds), -1)
    start, stop = start_seconds + tolerance_seconds, stop_seconds - tolerance_seconds
    table = recording.trials
    rows = zip(
        table["trial"].values,
        table["onset_seconds"].values,
        table["duration_seconds"].values,
        strict=True,
    )
    for number, onset, duration in rows:
        trial[(start >= onset) & (stop <= onset + duration)] = number
    return trial


def with_permuted_trials(data: TrialData, generator: np.random.Generator) -> TrialData:
    """Return the same windows with the labels of other trials, those of one trial together.

    Where emotions are named too, a trial gets both of another one, and only of one that has the
    same kinds of answer: what is not known of a trial stays unknown.

    Parameters
    ----------
    data : TrialData
        All windows.
    generator : Generator
        Chance.
    """
    _, first, inverse = np.unique(
        data.trial_ids.astype(str), return_index=True, return_inverse=True
    )
    named = getattr(data, "emotions", None)
    if named is None:
        shuffled = data.labels[first][generator.permutation(len(first))]
        return replace(data, labels=shuffled[inverse])
    there = np.c_[(data.labels[first] >= 0).any(axis=1), named[first] >= 0]
    kind = there @ np.array([1, 2])
    order = np.arange(len(first))
    for k in np.unique(kind):
        mine = np.flatnonzero(kind == k)
        order[mine] = generator.permutation(mine)
    changed = {
        "labels": data.labels[first][order][inverse],
        "emotions": named[first][order][inverse],
    }
    return replace(data, **changed)


def rating_labels(
    recording: Recording, dimensions: Sequence[str], midpoint: str
) -> dict[int, list[int]]:
    """Return the class of each rated trial in each dimension.

    Raises
    ------
    CallError
        If `midpoint` is not one of :data:`MIDPOINTS`.
    DataError
        If the recording has no ratings of a dimension.
    """
    if midpoint not in MIDPOINTS:
        raise CallError(f"found midpoint {midpoint!r}, expected one of {', '.join(MIDPOINTS)}")
    table = recording.ratings
    there = [str(d) for d in table["dimension"].values]
    missing = [d for d in dimensions if d not in there]
    if missing:
        raise DataError(
            f"found ratings of {', '.join(there)}, expected {missing[0]!r} too; leave that "
            "dimension out"
        )
    middle = (table.attrs["scale_minimum"] + table.attrs["scale_maximum"]) / 2
    at_middle = {"drop": MISSING, "low": 0, "high": 1}[midpoint]
    columns = [there.index(d) for d in dimensions]
    return {
        int(trial): [_label(float(r), middle, at_middle) for r in row[columns]]
        for trial, row in zip(table["trial"].values, table["rating"].values, strict=True)
    }


def _label(rating: float, middle: float, at_middle: int) -> int:
    if np.isnan(rating):
        return MISSING
    return at_middle if rating == middle else int(rating > middle)
