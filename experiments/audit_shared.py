"""What is on both sides of a split: windows, samples, features, groups."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.audit_report import Overlap, Shared
from physioemo.experiments.disjoint import shared_samples
from physioemo.experiments.folds import Fold, name_codes
from physioemo.experiments.protocols import Protocol
from physioemo.experiments.study_data import Groups

__all__ = ["SHARED_KINDS", "check_folds", "group_names", "overlap_of", "shared_groups"]

SHARED_KINDS = ("trial", "session", "subject", "stimulus", "dataset")
"""Groups that are looked for on both sides."""


def check_folds(folds: Sequence[Fold], n_windows: int, where: str = "the split") -> None:
    """Refuse what is no split of these windows.

    Parameters
    ----------
    folds : sequence of (train, test)
        Window indices.
    n_windows : int
        How many windows there are.
    where : str
        Where the folds were found, for the error.

    Raises
    ------
    DataError
        If there are no folds, one side is empty, a window is not known, stands twice on one side
        or on both.
    """
    if not folds:
        raise DataError(f"found no folds in {where}, expected at least one")
    for k, (train, test) in enumerate(folds):
        for side, rows in (("train", train), ("test", test)):
            rows = np.asarray(rows)
            if not len(rows):
                raise DataError(
                    f"found no {side} windows in fold {k} of {where}, expected some on both sides"
                )
            wrong = rows[(rows < 0) | (rows >= n_windows)]
            if len(wrong):
                raise DataError(
                    f"found the window {wrong[0]} in fold {k} of {where}, expected 0 to "
                    f"{n_windows - 1}: the feature store has {n_windows} windows; give the store "
                    "that the split was made on"
                )
            if len(np.unique(rows)) < len(rows):
                values, counts = np.unique(rows, return_counts=True)
                raise DataError(
                    f"found the window {values[counts > 1][0]} twice in {side} of fold {k} of "
                    f"{where}, expected each once"
                )
        both = np.intersect1d(train, test)
        if len(both):
            raise DataError(
                f"found the window {both[0]} in train and in test of fold {k} of {where} "
                f"({len(both)} such windows), which leaks whatever else is done, expected each on "
                "one side; correct the split"
            )


def group_names(kind: str, groups: Groups) -> np.ndarray:
    """Return the name of each window's group of a kind, empty where it is not known.

    Parameters
    ----------
    kind : str
        One of :data:`SHARED_KINDS`.
    groups : Groups
        Where each window comes from.
    """
    if kind == "trial":
        return groups.trial_id
    if kind == "subject":
        return groups.person
    if kind == "session":
        pairs = zip(groups.person, groups.session, strict=True)
        return np.array([f"{p}/{s}" for p, s in pairs], object)
    column: np.ndarray = getattr(groups, kind)
    return column


def shared_groups(
    kind: str, groups: Groups, folds: Sequence[Fold], declared: Protocol | None
) -> Shared:
    """Return which groups of a kind are on both sides of a fold, and of how many test windows."""
    names, code = name_codes(group_names(kind, groups))
    known = np.array([bool(n) for n in names])
    both = np.zeros(len(names), bool)
    n_windows = n_tested = 0
    for train, test in folds:
        in_train, in_test = (np.zeros(len(names), bool) for _ in range(2))
        in_train[code[train]], in_test[code[test]] = True, True
        both |= in_train & in_test & known
        n_windows += int((in_train & known)[code[test]].sum())
        n_tested += len(test)
    allowed = None if declared is None else kind not in declared.disjoint
    return Shared(int(known.sum()), int(both.sum()), n_windows, n_windows / n_tested, allowed)


def overlap_of(
    groups: Groups, features: np.ndarray, folds: Sequence[Fold], look_back_seconds: float
) -> Overlap:
    """Return how many test windows share samples or features with training.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    features : ndarray of float32, shape (window, feature)
        NaN where missing.
    folds : sequence of (train, test)
        Window indices.
    look_back_seconds : float
        How much further than its window the slowest feature looks back.
    """
    reaching = replace(groups, window_seconds=groups.window_seconds + look_back_seconds)
    rows = np.ascontiguousarray(features).view(np.dtype((np.void, features.shape[1] * 4))).ravel()
    code = np.unique(rows, return_inverse=True)[1]
    code = np.where(np.isfinite(features).any(axis=1), code, -1)
    n = overlapping = identical = reached = 0
    for train, test in folds:
        direct = shared_samples(groups, train, test)
        n, overlapping = n + len(test), overlapping + int(direct.sum())
        identical += int((np.isin(code[test], code[train]) & (code[test] >= 0)).sum())
        if look_back_seconds:
            reached += int((shared_samples(reaching, train, test) & ~direct).sum())
    return Overlap(n, overlapping, identical, reached)
