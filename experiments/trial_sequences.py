"""Which windows of a study follow one another: those of one trial, in order of time.

A study's windows stand in any order, may overlap and may be missing. Here they are put in one
order, by trial and time, so that what is learned of them does not depend on how they were stored;
windows of different trials never follow one another.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.folds import name_codes
from physioemo.experiments.fused_context import GAP_HOPS, sequence_codes

__all__ = ["TrialSequences", "require_one_hop", "usual_hop_seconds"]

_NEAR = 25.0
"""Percentile of the steps between windows: most are one hop, those across a gap are longer."""


@dataclass(frozen=True)
class TrialSequences:
    """The order of some windows.

    Parameters
    ----------
    order : ndarray of int, shape (window,)
        The windows by trial, then by time; the arrays below stand in this order.
    trial : ndarray of int, shape (window,)
        Number of the trial.
    onset_seconds : ndarray, shape (window,)
        When each window begins.
    """

    order: np.ndarray
    trial: np.ndarray
    onset_seconds: np.ndarray

    @classmethod
    def of(cls, trials: Any, onset_seconds: Any, n_windows: int) -> "TrialSequences":
        """Put windows in order.

        Parameters
        ----------
        trials : array_like of str, shape (window,)
            Name of the trial, unique over all recordings.
        onset_seconds : array_like, shape (window,)
            When each begins, on the clock of its recording.
        n_windows : int
            How many there are.

        Raises
        ------
        CallError
            If either is not given for each window.
        DataError
            If a trial has two windows at one time, or a time is no number.
        """
        if trials is None or onset_seconds is None:
            raise CallError(
                "found windows without their trial and time, expected both for a model that reads "
                "several windows; give trials= and onset_seconds="
            )
        names, onsets = np.asarray(trials, object), np.asarray(onset_seconds, float)
        if names.shape != (n_windows,) or onsets.shape != (n_windows,):
            raise CallError(
                f"found trials of shape {names.shape} and times of shape {onsets.shape}, expected "
                f"({n_windows},) for both; give one per window"
            )
        there, code = name_codes(names)
        if not np.isfinite(onsets).all():
            raise DataError(
                f"found {int((~np.isfinite(onsets)).sum())} windows without a time, expected one "
                "for each; make the store again"
            )
        order = np.lexsort((onsets, code))
        trial, onset = code[order], onsets[order]
        twice = np.flatnonzero((np.diff(trial) == 0) & (np.diff(onset) == 0))
        if len(twice):
            raise DataError(
                f"found two windows at {onset[twice[0]]:g} s of the trial {there[trial[twice[0]]]},"
                " expected one; their order is not known"
            )
        return cls(order, trial, onset)

    def stretches(self, hop_seconds: float) -> np.ndarray:
        """Return the number of the stretch of each window: a new one at a trial and at a gap."""
        return sequence_codes(self.trial, self.onset_seconds, hop_seconds)

    def back(self, values: np.ndarray) -> np.ndarray:
        """Return what stands in this order in that in which the windows were given."""
        given = np.empty_like(values)
        given[self.order] = values
        return given


def usual_hop_seconds(trial: np.ndarray, onset_seconds: np.ndarray) -> float:
    """Return from window to window of a trial how long it is; infinite without two in a trial.

    Parameters
    ----------
    trial, onset_seconds : ndarray, shape (window,)
        As in :class:`TrialSequences`, in order.
    """
    steps = np.diff(onset_seconds)[np.diff(trial) == 0]
    return float(np.percentile(steps, _NEAR)) if len(steps) else np.inf


def require_one_hop(groups: Any) -> None:
    """Refuse recordings of which the windows follow one another at different steps.

    Parameters
    ----------
    groups : Groups
        Of all windows of a study.

    Raises
    ------
    DataError
        If a gap in one recording is the usual step of another.
    """
    names = zip(groups.dataset.tolist(), groups.subject.tolist(), groups.session.tolist(),
                strict=True)  # fmt: skip
    _, recording = name_codes(np.array(["/".join(map(str, n)) for n in names], object))
    known = TrialSequences.of(groups.trial_id, groups.onset_seconds, len(groups))
    hops = [
        usual_hop_seconds(known.trial[of], known.onset_seconds[of])
        for of in (recording[known.order] == k for k in range(recording.max() + 1))
    ]
    finite = [h for h in hops if np.isfinite(h)]
    if finite and max(finite) > GAP_HOPS * min(finite):
        raise DataError(
            f"found windows every {min(finite):g} s and every {max(finite):g} s, expected one step "
            "for a context; make all stores with the same hop_seconds, or leave context out"
        )
