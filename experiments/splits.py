"""Protocols: which windows may train and which may test.

A group is what must not stand on both sides of a split: windows of one trial share the brain's
state and the amplifier's drift, and windows of one stimulus share the film. On noise with random
labels, windows split without groups score up to 99 %.

Every protocol here yields window indices ``(train, test)``. Its folds depend on the names in the
groups and on the seed alone, not on the order of files. :mod:`physioemo.experiments.protocols`
lists them by name, and says what is disjoint in each. Those that leave subjects, stimuli or data
sets out are written in :mod:`physioemo.experiments.splits_across`.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.folds import (
    Fold,
    chronological_blocks,
    each_fold,
    fold_numbers,
    kept_together,
    name_codes,
    require_two,
    rows_by_subject,
    session_ranks,
)
from physioemo.experiments.splits_across import (
    cross_dataset,
    leave_n_subjects_out,
    leave_one_subject_out,
    leave_stimulus_out,
    leave_subject_and_stimulus_out,
)
from physioemo.experiments.study_data import Groups

__all__ = [
    "Fold",
    "chronological",
    "cross_dataset",
    "group_ids",
    "held_out_groups",
    "leave_n_subjects_out",
    "leave_one_subject_out",
    "leave_one_trial_out",
    "leave_stimulus_out",
    "leave_subject_and_stimulus_out",
    "session_held_out",
    "several_values",
    "trial_grouped_k_fold",
    "window_shuffled",
]


def group_ids(
    recordings: Sequence[str], trials: Sequence[int], stimuli: Sequence[str]
) -> np.ndarray:
    """Return one group per window: its stimulus if it has one, else its trial.

    Parameters
    ----------
    recordings, trials, stimuli : sequence, one per window
        Where the window comes from. All presentations of a stimulus are one group.

    Returns
    -------
    ndarray of str, shape (window,)
    """
    rows = zip(recordings, trials, stimuli, strict=True)
    return np.array([f"stimulus {s}" if s else f"{r} trial {t}" for r, t, s in rows], dtype=object)


def trial_grouped_k_fold(
    groups: Groups | Sequence[str] | np.ndarray,
    *,
    n_folds: int = 5,
    within_subject: bool = True,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> Iterator[Fold]:
    """Yield (train, test) window indices such that no trial and no stimulus is on both sides.

    A fold tests whole trials. Trials of one stimulus stay together: those of a subject where each
    subject has its own model, those of all subjects where they are pooled.

    Parameters
    ----------
    groups : Groups, or sequence of str, shape (window,)
        Where each window comes from; or what stays together, as from :func:`group_ids`.
    n_folds : int
        Number of folds.
    within_subject : bool
        Whether each subject is split for itself, one subject after the other; only with `Groups`.
    labels : ndarray of int, shape (window,), optional
        Classes to spread evenly over the folds, -1 = none.
    seed : int
        Which groups go together. A subject's folds do not depend on who else is there.

    Raises
    ------
    CallError
        If there are fewer groups than folds.
    """
    if not isinstance(groups, Groups):
        ids = np.asarray(groups, dtype=object)
        yield from each_fold(fold_numbers(ids, n_folds, seed=seed, labels=labels))
        return
    for who, rows in rows_by_subject(groups, within_subject):
        folds = fold_numbers(
            kept_together(groups.take(rows)),
            n_folds,
            seed=seed,
            labels=None if labels is None else np.asarray(labels)[rows],
            what="groups of trials" + (f" of subject {who!r}" if who else ""),
        )
        yield from each_fold(folds, rows)


def held_out_groups(
    groups: Sequence[str] | np.ndarray,
    *,
    share: float = 0.2,
    seed: int = 0,
    labels: np.ndarray | None = None,
) -> Fold:
    """Return (train, validation) window indices with whole groups held out.

    Parameters
    ----------
    groups : sequence of str, shape (window,)
        From :func:`group_ids`.
    share : float
        Share of the groups to hold out, at least one.
    seed : int
        Which.
    labels : ndarray, shape (window,) or (window, dimension), optional
        Classes (-1 = none) or ratings (NaN = none). Where training would be left with one of them
        alone, the next part of the groups is held out instead, if that leaves several.
    """
    n_groups = len(set(np.asarray(groups, dtype=object).tolist()))
    n_folds = max(2, min(n_groups, round(1 / share)))
    folds = list(trial_grouped_k_fold(groups, n_folds=n_folds, seed=seed))
    if labels is None:
        return folds[0]
    columns = np.asarray(labels).reshape(len(np.asarray(labels)), -1)
    several = several_values(columns)
    return next((f for f in folds if several_values(columns[f[0]]) == several), folds[0])


def several_values(columns: np.ndarray) -> list[bool]:
    """Return of each column whether it has different values, besides -1 or NaN for none.

    Parameters
    ----------
    columns : ndarray, shape (row, column)
        Classes or ratings.
    """
    found = []
    for values in columns.T:
        there = values[np.isfinite(values) if values.dtype.kind == "f" else values >= 0]
        found.append(bool(len(there)) and bool(there.min() < there.max()))
    return found


def leave_one_trial_out(
    groups: Groups, *, within_subject: bool = True, seed: int = 0
) -> Iterator[Fold]:
    """Yield folds that test one trial each, with all others of its stimulus.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    within_subject : bool
        Whether each subject is split for itself.
    seed : int
        Nothing is drawn.

    Raises
    ------
    CallError
        If there is one group of trials only.
    """
    for who, rows in rows_by_subject(groups, within_subject):
        names, code = name_codes(kept_together(groups.take(rows)))
        require_two(names, "group of trials" + (f" of subject {who!r}" if who else ""))
        yield from each_fold(code, rows)


def session_held_out(
    groups: Groups, *, within_subject: bool = True, seed: int = 0
) -> Iterator[Fold]:
    """Yield folds that test one session and train on the subject's other ones.

    Clips that were shown in several sessions are on both sides.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    within_subject : bool
        Whether each subject is split for itself; else a fold tests every subject's first session,
        the next every subject's second one.
    seed : int
        Nothing is drawn.

    Raises
    ------
    CallError
        If a subject has one session only.
    """
    for who, rows in rows_by_subject(groups, True):
        names = name_codes(groups.session[rows])[0]
        require_two(names, f"session of subject {who!r}")
    rank = session_ranks(groups)
    for _, rows in rows_by_subject(groups, within_subject):
        yield from each_fold(rank[rows], rows)


def chronological(
    groups: Groups, *, n_blocks: int = 5, within_subject: bool = True, seed: int = 0
) -> Iterator[Fold]:
    """Yield folds that train on a subject's earlier trials and test on the block that follows.

    Parameters
    ----------
    groups : Groups
        Where each window comes from. Sessions follow each other by name.
    n_blocks : int
        Number of blocks of trials; there is one fold less.
    within_subject : bool
        Whether each subject is split for itself.
    seed : int
        Nothing is drawn.

    Raises
    ------
    CallError
        If a subject has fewer trials than blocks.
    """
    block = chronological_blocks(groups, n_blocks)
    for _, rows in rows_by_subject(groups, within_subject):
        for i in range(1, n_blocks):
            yield rows[block[rows] < i], rows[block[rows] == i]


def window_shuffled(
    groups: Groups,
    *,
    n_folds: int = 5,
    within_subject: bool = False,
    allow_leakage: bool = False,
    seed: int = 0,
) -> Iterator[Fold]:
    """Yield folds of shuffled windows: the leaky split behind published scores of 99 %.

    Neighbours of a test window, with which it shares samples, are in training; what is scored is
    whether the trial is recognised. For comparison only.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    n_folds : int
        Number of folds.
    within_subject : bool
        Whether each subject is split for itself.
    allow_leakage : bool
        Must be true.
    seed : int
        Which windows go together.

    Raises
    ------
    CallError
        If leakage is not allowed, or there are fewer windows than folds.
    """
    if not allow_leakage:
        raise CallError(
            "found the protocol window-shuffled, expected one that keeps trials whole: it has "
            "windows of one trial in training and test; use trial-grouped-k-fold, or allow leakage "
            "(--allow-leakage) to show what it does"
        )
    for who, rows in rows_by_subject(groups, within_subject):
        n = len(rows)
        if not 2 <= n_folds <= n:
            raise CallError(
                f"found {n} windows{f' of subject {who!r}' if who else ''} for {n_folds} folds, "
                "expected at least as many windows as folds and two folds; use fewer folds"
            )
        by_name = name_codes(groups.trial_id[rows])[1]
        named = rows[np.lexsort((groups.onset_seconds[rows], by_name))]
        fold = np.empty(len(groups), int)
        fold[named[np.random.default_rng(seed).permutation(n)]] = np.arange(n) % n_folds
        yield from each_fold(fold[rows], rows)
