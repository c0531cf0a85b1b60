"""Which group goes into which fold, the same on every machine.

Names are sorted before anything is drawn, so neither the hash seed of the interpreter nor the
order of the files decides: ``list(set(names))``, as other toolkits have it, gives other folds in
every process.
"""

import re
from collections.abc import Iterator

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.study_data import Groups

__all__ = [
    "Fold",
    "chronological_blocks",
    "each_fold",
    "fold_numbers",
    "kept_together",
    "name_codes",
    "natural_key",
    "require_two",
    "rows_by_subject",
    "session_ranks",
]

Fold = tuple[np.ndarray, np.ndarray]
_SAME_DIGITS = 12


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts ``s2`` before ``s10``."""
    parts = re.split(r"([0-9]+)", name)
    return [int(p) if i % 2 else p for i, p in enumerate(parts)], name


def name_codes(names: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the different names in natural order, and the number of each row's name."""
    there = sorted({str(n) for n in names.tolist()}, key=natural_key)
    number = {name: i for i, name in enumerate(there)}
    return there, np.array([number[str(n)] for n in names.tolist()], int)


def rows_by_subject(groups: Groups, within_subject: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each subject's name and windows, or once no name and all windows.

    Raises
    ------
    DataError
        If there are no windows.
    """
    if not len(groups):
        raise DataError("found no windows, expected some to split; check what was selected")
    if not within_subject:
        yield "", np.arange(len(groups))
        return
    names, code = name_codes(groups.person)
    for i, name in enumerate(names):
        yield name, np.flatnonzero(code == i)


def kept_together(groups: Groups) -> np.ndarray:
    """Return what never stands on both sides: the stimulus where it is known, else the trial.

    Returns
    -------
    ndarray of str, shape (window,)

    Raises
    ------
    DataError
        If windows of one trial have several stimuli.
    """
    stimulus_of: dict[str, str] = {}
    trials, stimuli = groups.trial_id.tolist(), [str(s) for s in groups.stimulus.tolist()]
    for trial, stimulus in zip(trials, stimuli, strict=True):
        if stimulus_of.setdefault(trial, stimulus) != stimulus:
            raise DataError(
                f"found the stimuli {stimulus_of[trial]!r} and {stimulus!r} in trial {trial}, "
                "expected one stimulus per trial; correct the table of trials"
            )
    pairs = zip(trials, stimuli, strict=True)
    return np.array([f"stimulus {s}" if s else f"trial {t}" for t, s in pairs], object)


def fold_numbers(
    ids: np.ndarray,
    n_folds: int,
    *,
    seed: int,
    labels: np.ndarray | None = None,
    what: str = "groups of trials",
) -> np.ndarray:
    """Return each window's fold; windows of one group have one fold.

    Parameters
    ----------
    ids : ndarray of str, shape (window,)
        Group of each window.
    n_folds : int
        Number of folds; none is empty.
    seed : int
        Which groups go together.
    labels : ndarray of int, shape (window,), optional
        Classes to spread evenly over the folds, -1 = none. Large groups are placed first, each
        where the classes are then spread most evenly.
    what : str
        What the groups are, for the error.

    Returns
    -------
    ndarray of int, shape (window,)

    Raises
    ------
    CallError
        If there are fewer groups than folds, or the labels are no classes of these windows.
    """
    names = sorted({str(n) for n in ids.tolist()})
    if len(names) < n_folds or n_folds < 2:
        raise CallError(
            f"found {len(names)} {what} for {n_folds} folds, expected at least as many "
            "groups as folds and two folds; record more trials or use fewer folds"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    number = {name: i for i, name in enumerate(names)}
    group = np.array([number[str(n)] for n in ids.tolist()], int)
    if labels is None:
        fold_of = np.empty(len(names), int)
        fold_of[order] = np.arange(len(names)) % n_folds
    else:
        fold_of = _stratified(_class_counts(group, labels, len(names)), order, n_folds)
    return fold_of[group]


def _class_counts(group: np.ndarray, labels: np.ndarray, n_groups: int) -> np.ndarray:
    """Return how many windows of each class each group has, (group, class)."""
    labels = np.asarray(labels)
    if labels.shape != group.shape or labels.dtype.kind not in "iu":
        raise CallError(
            f"found labels of shape {labels.shape} and type {labels.dtype} for {len(group)} "
            "windows, expected one whole number each; give the classes of one dimension"
        )
    classes = np.unique(labels[labels >= 0])
    counts = np.zeros((n_groups, len(classes)), int)
    for i, value in enumerate(classes):
        counts[:, i] = np.bincount(group[labels == value], minlength=n_groups)
    return counts


def _stratified(counts: np.ndarray, order: np.ndarray, n_folds: int) -> np.ndarray:
    """Return each group's fold, classes spread evenly; after scikit-learn's StratifiedGroupKFold.

    Unlike there no fold stays empty, and equal choices are settled by number of groups, then fold.
    """
    share = counts / np.maximum(counts.sum(0), 1)
    largest = counts.max(1, initial=0)
    fold_of = np.full(len(counts), -1)
    filled, n_groups = np.zeros((n_folds, counts.shape[1])), np.zeros(n_folds, int)
    for i, g in enumerate(sorted(order.tolist(), key=lambda g: -int(largest[g]))):
        must_fill = (n_groups == 0).sum() >= len(counts) - i
        costs = []
        for f in np.flatnonzero(n_groups == 0) if must_fill else range(n_folds):
            filled[f] += share[g]
            costs.append(
                (round(float(filled.std(0).sum()), _SAME_DIGITS), int(n_groups[f]), int(f))
            )
            filled[f] -= share[g]
        best = min(costs)[2]
        fold_of[g], filled[best], n_groups[best] = best, filled[best] + share[g], n_groups[best] + 1
    return fold_of


def session_ranks(groups: Groups) -> np.ndarray:
    """Return the number of each window's session among those of its subject, by name."""
    rank = np.empty(len(groups), int)
    for _, rows in rows_by_subject(groups, True):
        rank[rows] = name_codes(groups.session[rows])[1]
    return rank


def chronological_blocks(groups: Groups, n_blocks: int) -> np.ndarray:
    """Return each window's block: every subject's trials in order of time, cut into equal parts.

    Sessions follow each other by name, trials of a session by their first onset.

    Raises
    ------
    CallError
        If a subject has fewer trials than blocks.
    DataError
        If an onset is not a number.
    """
    if not np.isfinite(groups.onset_seconds).all():
        raise DataError(
            "found windows without an onset, expected seconds; trials without a time have no order"
        )
    session, trial, block = session_ranks(groups), groups.trial_id, np.empty(len(groups), int)
    for who, rows in rows_by_subject(groups, True):
        names, code = name_codes(trial[rows])
        if len(names) < n_blocks or n_blocks < 2:
            raise CallError(
                f"found {len(names)} trials of subject {who!r} for {n_blocks} blocks, expected at "
                "least as many trials as blocks and two blocks; use fewer blocks"
            )
        first = np.full(len(names), np.inf)
        np.minimum.at(first, code, groups.onset_seconds[rows])
        of_session = np.zeros(len(names), int)
        of_session[code] = session[rows]
        block_of = np.empty(len(names), int)
        for i, part in enumerate(np.array_split(np.lexsort((first, of_session)), n_blocks)):
            block_of[part] = i
        block[rows] = block_of[code]
    return block


def each_fold(folds: np.ndarray, rows: np.ndarray | None = None) -> Iterator[Fold]:
    """Yield (the others, this fold) for each fold number, as rows of the whole."""
    rows = np.arange(len(folds)) if rows is None else rows
    for fold in np.unique(folds):
        yield rows[folds != fold], rows[folds == fold]


def require_two(names: list[str], what: str, advice: str = "") -> None:
    """Refuse to hold one out of fewer than two.

    Raises
    ------
    CallError
        If there are fewer than two names.
    """
    if len(names) < 2:
        found = f"one {what} ({names[0]!r})" if names else f"no {what}"
        raise CallError(
            f"found {found}, expected at least two to hold one out"
            + (advice or "; choose another protocol")
        )
