"""Validation inside training: it chooses epochs and hyper-parameters, so test data never do.

The validation windows are taken from the training windows alone, in whole groups of the kind that
the protocol keeps apart: what is chosen is chosen for the question that the test asks.
"""

from collections.abc import Sequence

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.disjoint import KINDS
from physioemo.experiments.folds import (
    Fold,
    chronological_blocks,
    each_fold,
    fold_numbers,
    kept_together,
    name_codes,
    rows_by_subject,
    session_ranks,
)
from physioemo.experiments.study_data import Groups

__all__ = ["inner_folds", "inner_kind", "inner_split"]


def inner_split(
    groups: Groups,
    train: np.ndarray,
    disjoint: Sequence[str],
    *,
    share: float = 0.2,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> Fold:
    """Return (fit, validation) window indices, both from the training windows.

    Parameters
    ----------
    groups : Groups
        Where each window comes from: all windows, test windows too.
    train : ndarray of int
        Training windows of the outer fold.
    disjoint : sequence of str
        What the protocol keeps apart; see :func:`inner_kind`.
    share : float
        About how much to hold out, at least one group.
    labels : ndarray of int, shape (window,), optional
        Classes to spread evenly, -1 = none.
    seed : int
        Which groups.

    Raises
    ------
    CallError
        If there are too few groups, or `train` is not a set of windows.
    """
    if not 0 < share <= 0.5:
        raise CallError(
            f"found a validation share of {share}, expected more than 0 and at most 0.5"
        )
    folds = inner_folds(
        groups, train, disjoint, n_folds=max(2, round(1 / share)), labels=labels, seed=seed
    )
    # Of blocks in time the last one is validation; elsewhere folds are alike.
    return folds[-1] if "time" in disjoint else folds[0]


def inner_folds(
    groups: Groups,
    train: np.ndarray,
    disjoint: Sequence[str],
    *,
    n_folds: int = 5,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> list[Fold]:
    """Return the folds (fit, validation) of a cross-validation inside training.

    Where subjects and stimuli are both kept apart, windows that share one of them with validation
    are in neither set.

    Parameters
    ----------
    groups : Groups
        Where each window comes from: all windows, test windows too.
    train : ndarray of int
        Training windows of the outer fold.
    disjoint : sequence of str
        What the protocol keeps apart; see :func:`inner_kind`.
    n_folds : int
        Most folds; fewer where there are fewer groups.
    labels : ndarray of int, shape (window,), optional
        Classes to spread evenly, -1 = none; where trials or stimuli are held out.
    seed : int
        Which groups go together.

    Raises
    ------
    CallError
        If there are too few groups, or `train` is not a set of windows.
    """
    train = _checked(groups, train, disjoint)
    inner = groups.take(train)
    if labels is not None:
        labels = np.asarray(labels)[train]
    kind = _kind(inner, disjoint)
    if kind == "time":
        folds = _earlier_and_later(inner, n_folds)
    elif kind == "subject and stimulus":
        folds = _crossed(inner, n_folds, seed)
    else:
        ids = _ids(inner, kind, "stimulus" in disjoint)
        n = _at_most(n_folds, ids, f"{kind}s")
        with_labels = labels if kind == "trial" else None
        folds = list(each_fold(fold_numbers(ids, n, seed=seed, labels=with_labels)))
    return [(train[fit], train[held]) for fit, held in folds]


def inner_kind(groups: Groups, train: np.ndarray, disjoint: Sequence[str]) -> str:
    """Return of what kind the groups are that validation takes whole.

    It is the largest kind that the protocol keeps apart and of which training has two: data set,
    subject (crossed with stimulus where both are kept apart), session, trial (with all trials of
    its stimulus where stimuli are kept apart), window. Of a protocol in time it is the last trials
    of every subject.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    train : ndarray of int
        Training windows of the outer fold.
    disjoint : sequence of str
        What the protocol keeps apart.

    Returns
    -------
    {"time", "dataset", "subject and stimulus", "subject", "session", "trial", "window"}
    """
    return _kind(groups.take(_checked(groups, train, disjoint)), disjoint)


def _checked(groups: Groups, train: np.ndarray, disjoint: Sequence[str]) -> np.ndarray:
    unknown = [d for d in disjoint if d not in KINDS]
    if unknown:
        raise CallError(f"found the kind {unknown[0]!r}, expected some of {', '.join(KINDS)}")
    train = np.asarray(train)
    inside = train.dtype.kind in "iu" and train.ndim == 1 and len(np.unique(train)) == len(train)
    if not inside or not len(train) or train.min() < 0 or train.max() >= len(groups):
        raise CallError(
            f"found training windows of shape {train.shape} and type {train.dtype}, expected "
            f"different window numbers from 0 to {len(groups) - 1}; give those of one outer fold"
        )
    return np.sort(train)


def _kind(inner: Groups, disjoint: Sequence[str]) -> str:
    n_subjects = len(name_codes(inner.person)[0])
    if "time" in disjoint:
        return "time"
    if "dataset" in disjoint:
        if len(name_codes(inner.dataset)[0]) > 1:
            return "dataset"
        return "subject" if n_subjects > 1 else "trial"
    if "subject" in disjoint and n_subjects > 1:
        return "subject and stimulus" if "stimulus" in disjoint else "subject"
    if "session" in disjoint and "subject" not in disjoint and _several_sessions(inner):
        return "session"
    return "trial" if {"trial", "stimulus", "session", "subject"} & {*disjoint} else "window"


def _several_sessions(inner: Groups) -> bool:
    rank = session_ranks(inner)
    return all(rank[rows].max() > 0 for _, rows in rows_by_subject(inner, True))


def _ids(inner: Groups, kind: str, with_stimulus: bool) -> np.ndarray:
    if kind == "trial":
        return kept_together(inner) if with_stimulus else inner.trial_id
    if kind == "session":
        return session_ranks(inner).astype(str).astype(object)
    if kind == "window":
        pairs = zip(inner.trial_id.tolist(), inner.onset_seconds.tolist(), strict=True)
        return np.array([f"{t} at {s!r}" for t, s in pairs], object)
    return inner.dataset if kind == "dataset" else inner.person


def _at_most(n_folds: int, ids: np.ndarray, what: str) -> int:
    n = len(name_codes(ids)[0])
    if n < 2:
        raise CallError(
            f"found {n} of the {what} in training, expected at least two to hold one out for "
            "validation; use fewer folds or more trials"
        )
    return max(2, min(n_folds, n))


def _earlier_and_later(inner: Groups, n_folds: int) -> list[Fold]:
    """Return folds that fit on every subject's earlier trials and validate on the next block."""
    trial = inner.trial_id
    fewest = min(len(name_codes(trial[rows])[0]) for _, rows in rows_by_subject(inner, True))
    if fewest < 2:
        raise CallError(
            "found one trial of a subject in training, expected at least two to hold the later one "
            "out for validation; use fewer blocks"
        )
    n_blocks = max(2, min(n_folds, fewest))
    block = chronological_blocks(inner, n_blocks)
    return [(np.flatnonzero(block < i), np.flatnonzero(block == i)) for i in range(1, n_blocks)]


def _crossed(inner: Groups, n_folds: int, seed: int) -> list[Fold]:
    stimuli = kept_together(inner)
    n = min(_at_most(n_folds, inner.person, "subjects"), _at_most(n_folds, stimuli, "stimuli"))
    person = fold_numbers(inner.person, n, seed=seed)
    stimulus = fold_numbers(stimuli, n, seed=seed)
    # Subjects of several data sets saw different clips: some pairs of parts have no windows.
    pairs = [(i, (i + shift) % n) for shift in range(n) for i in range(n)]
    folds = [
        (np.flatnonzero((person != i) & (stimulus != k)), held)
        for i, k in pairs
        if len(held := np.flatnonzero((person == i) & (stimulus == k)))
    ]
    folds = [(fit, held) for fit, held in folds if len(fit)][:n_folds]
    if not folds:
        raise CallError(
            "found no subjects and stimuli in training that could be held out together, expected "
            "subjects who saw the same clips; use leave-one-subject-out"
        )
    return folds
