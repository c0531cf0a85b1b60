"""What was shown and played when: a table of moments at which the picture changed.

Each row says which frame of which file came on the screen, where the file's clock stood and when
it stood there. Rows of a recording with trials are made from the onset and the file's own stamps,
and the clock runs on between them; those of the stimulus player are its flips, see
:mod:`physioemo.features.stimulus_flips`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physioemo.errors import CallError, DataError
from physioemo.features.stimulus_features import StimulusFeatures

__all__ = ["Shown", "ShownRows", "TrialTable", "checked_stimuli", "named_stimuli", "nothing_from"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]


class ShownRows(NamedTuple):
    """Rows of the table, in the order of time.

    Attributes
    ----------
    seconds : ndarray, shape (row,)
        When the picture changed.
    file : ndarray of int, shape (row,)
        Which stimulus it is of; -1 for none.
    frame : ndarray of int, shape (row,)
        Number of the frame in the file; -1 without a picture.
    file_seconds, clock_seconds : ndarray, shape (row,)
        A time in the file, and when its clock stood there.
    begin_seconds, begin_file_seconds : ndarray, shape (row,)
        The same for the first row of the run.
    before : ndarray of int, shape (row,)
        The frame that was shown before in this run; -1 for the first.
    runs_on : ndarray of bool, shape (row,)
        Whether the file's clock is known to run on until the next row.
    """

    seconds: Floats
    file: Ints
    frame: Ints
    file_seconds: Floats
    clock_seconds: Floats
    begin_seconds: Floats
    begin_file_seconds: Floats
    before: Ints
    runs_on: NDArray[np.bool_]


class Shown(Protocol):
    """Where windows ask what was shown."""

    @property
    def stimuli(self) -> tuple[StimulusFeatures, ...]:
        """The files."""

    @property
    def latencies(self) -> tuple[float, float]:
        """Seconds from a row to light, and from the file's clock to sound."""

    def rows(self, start_seconds: float, stop_seconds: float, known_seconds: float) -> ShownRows:
        """Return the row at a time and all after it up to another, as it was known then."""


@dataclass(frozen=True)
class TrialTable:
    """Rows of trials whose onset is known, beside their files; see :meth:`of_trials`."""

    stimuli: tuple[StimulusFeatures, ...]
    table: ShownRows

    @property
    def latencies(self) -> tuple[float, float]:
        """Trials state none."""
        return 0.0, 0.0

    def rows(self, start_seconds: float, stop_seconds: float, known_seconds: float) -> ShownRows:
        """Return the row at a time and all after it up to another."""
        first = np.searchsorted(self.table.seconds, start_seconds, side="right") - 1
        stop = np.searchsorted(self.table.seconds, stop_seconds, side="right")
        return ShownRows._make(c[max(0, int(first)) : int(stop)] for c in self.table)

    @classmethod
    def of_trials(
        cls,
        trials: xr.Dataset,
        stimuli: Mapping[str, StimulusFeatures | None],
        starts: Mapping[int, float],
    ) -> "TrialTable":
        """Return the rows of a table of trials.

        Parameters
        ----------
        trials : Dataset
            Of a recording.
        stimuli : mapping of str to StimulusFeatures or None
            The file of each stimulus; None where there is none, which is then masked.
        starts : mapping of int to float
            Where in the file a trial begins, if not at its beginning.

        Raises
        ------
        DataError
            If a stimulus of the trials is not in the mapping.
        """
        trials = trials.sortby("onset_seconds")
        names = [str(s) for s in trials["stimulus"].values]
        lacking = sorted(set(names) - set(stimuli))
        if lacking:
            raise DataError(
                f"found no file for the stimulus {lacking[0]!r}, expected one for each stimulus of "
                "the trials; add it, or None if there is none"
            )
        unique = checked_stimuli(f for f in stimuli.values() if f is not None)
        index = {f.sha256: i for i, f in enumerate(unique)}
        onsets = np.asarray(trials["onset_seconds"].values, float)
        stops = onsets + np.asarray(trials["duration_seconds"].values, float)
        nexts = np.append(onsets[1:], np.inf)
        parts = [nothing_from(-np.inf)]
        for i, name in enumerate(names):
            features = stimuli[name]
            start = starts.get(int(trials["trial"].values[i]), 0.0)
            if features is not None:
                stop = min(float(stops[i]), float(nexts[i]))
                number = index[features.sha256]
                parts.append(_trial_rows(features, number, float(onsets[i]), stop, start))
                parts.append(nothing_from(stop))
        table = ShownRows._make(np.concatenate(c) for c in zip(*parts, strict=True))
        return cls(unique, table)


def nothing_from(seconds: float) -> ShownRows:
    """Return one row: from this time on no stimulus is shown."""
    none, at = np.array([-1]), np.array([seconds])
    zero = np.zeros(1)
    return ShownRows(at, none, none, zero, at, at, zero, none, np.zeros(1, bool))


def _trial_rows(
    features: StimulusFeatures, number: int, onset: float, stop: float, start: float
) -> ShownRows:
    """Return a row for the trial's onset, and one for each frame that begins after it."""
    stamps = features.frame_seconds
    first = int(np.searchsorted(stamps, start + 1e-9, side="right"))
    last = int(np.searchsorted(stamps, start + (stop - onset)))
    frame = np.arange(first - 1, max(first, last))
    in_file = np.append(start, stamps[frame[1:]])
    seconds = onset + (in_file - start)
    whole = np.ones(len(frame))
    before = np.append(-1, frame[:-1])
    return ShownRows(
        seconds,
        np.full(len(frame), number),
        frame,
        in_file,
        seconds,
        onset * whole,
        start * whole,
        before,
        np.ones(len(frame), bool),
    )


def checked_stimuli(stimuli: Iterable[StimulusFeatures]) -> tuple[StimulusFeatures, ...]:
    """Return the stimuli, each once.

    Raises
    ------
    CallError
        If they are of different recipes.
    """
    unique = {features.sha256: features for features in stimuli}
    if len({features.recipe.fingerprint for features in unique.values()}) > 1:
        raise CallError(
            f"found stimuli of several recipes ({named_stimuli(unique.values())}), expected one; "
            "decode them alike"
        )
    return tuple(unique.values())


def named_stimuli(stimuli: Iterable[StimulusFeatures]) -> str:
    """Return names and the beginning of the SHA-256 of stimuli, for a sentence."""
    return ", ".join(f"{s.name} {s.sha256[:12]}..." for s in stimuli) or "none"
