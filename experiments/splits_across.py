"""Protocols that leave out subjects, stimuli or whole data sets.

To be imported from :mod:`physioemo.experiments.splits`, which has the others.
"""

from collections.abc import Iterator

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.folds import (
    Fold,
    each_fold,
    fold_numbers,
    kept_together,
    name_codes,
    require_two,
)
from physioemo.experiments.study_data import Groups

__all__ = [
    "cross_dataset",
    "leave_n_subjects_out",
    "leave_one_subject_out",
    "leave_stimulus_out",
    "leave_subject_and_stimulus_out",
]


def leave_one_subject_out(groups: Groups, *, seed: int = 0) -> Iterator[Fold]:
    """Yield folds that test one subject each; the clips are on both sides where all saw them.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    seed : int
        Nothing is drawn.

    Raises
    ------
    CallError
        If there is one subject only.
    DataError
        If the subject of a window is not known.
    """
    names, code = _subjects(groups)
    require_two(names, "subject", "; use trial-grouped-k-fold for one subject")
    yield from each_fold(code)


def leave_n_subjects_out(groups: Groups, *, n_subjects: int = 2, seed: int = 0) -> Iterator[Fold]:
    """Yield folds that test `n_subjects` subjects or one fewer; each subject is tested once.

    Use it with inner folds (:func:`physioemo.experiments.protocols.nested_folds`), which are over
    subjects too.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    n_subjects : int
        Most subjects in a test fold.
    seed : int
        Which subjects go together.

    Raises
    ------
    CallError
        If there are not more than `n_subjects` subjects.
    DataError
        If the subject of a window is not known.
    """
    names, code = _subjects(groups)
    if not 1 <= n_subjects < len(names):
        raise CallError(
            f"found {len(names)} subjects to leave {n_subjects} out, expected more subjects than "
            "are left out, and at least one left out; leave fewer out"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = np.empty(len(names), int)
    for i, part in enumerate(np.array_split(order, -(-len(names) // n_subjects))):
        fold_of[part] = i
    yield from each_fold(fold_of[code])


def leave_stimulus_out(
    groups: Groups, *, n_folds: int | None = None, labels: np.ndarray | None = None, seed: int = 0
) -> Iterator[Fold]:
    """Yield folds that test clips which nobody saw in training; subjects are on both sides.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    n_folds : int, optional
        Number of folds; one for each stimulus by default.
    labels : ndarray of int, shape (window,), optional
        Classes to spread evenly over the folds, -1 = none.
    seed : int
        Which stimuli go together.

    Raises
    ------
    CallError
        If there are fewer stimuli than folds, or one only.
    DataError
        If the stimulus of a window is not known.
    """
    stimuli, code = _stimuli(groups)
    require_two(stimuli, "stimulus")
    ids = kept_together(groups)
    if n_folds is None:
        yield from each_fold(code)
        return
    yield from each_fold(fold_numbers(ids, n_folds, seed=seed, labels=labels, what="stimuli"))


def leave_subject_and_stimulus_out(
    groups: Groups, *, n_folds: int = 5, seed: int = 0
) -> Iterator[Fold]:
    """Yield folds that test one subject on clips which nobody saw in training.

    For each subject and each part of the clips: windows of the subject with other clips, and of
    others with these clips, are in neither set.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    n_folds : int
        Number of parts of the clips.
    seed : int
        Which clips go together.

    Raises
    ------
    CallError
        If there is one subject only, there are fewer stimuli than folds, or nothing to train on.
    DataError
        If the subject or the stimulus of a window is not known.
    """
    _stimuli(groups)
    names, subject = _subjects(groups)
    require_two(names, "subject")
    part = fold_numbers(kept_together(groups), n_folds, seed=seed, what="stimuli")
    for i, name in enumerate(names):
        for k in np.unique(part[subject == i]):
            train = np.flatnonzero((subject != i) & (part != k))
            if not len(train):
                raise CallError(
                    f"found no window of other subjects and other stimuli than those of {name!r}, "
                    "expected some to train on; use more folds or leave-one-subject-out"
                )
            yield train, np.flatnonzero((subject == i) & (part == k))


def cross_dataset(groups: Groups, *, seed: int = 0) -> Iterator[Fold]:
    """Yield folds that test one data set and train on all others.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    seed : int
        Nothing is drawn.

    Raises
    ------
    CallError
        If there is one data set only, or two share clips and so are parts of one.
    """
    names, code = name_codes(groups.dataset)
    require_two(names, "data set")
    home: dict[str, str] = {}
    pairs = zip(groups.stimulus.tolist(), groups.dataset.tolist(), strict=True)
    for stimulus, name in sorted({(str(s), str(d)) for s, d in pairs if str(s)}):
        if home.setdefault(stimulus, name) != name:
            raise CallError(
                f"found the stimulus {stimulus!r} in the data sets {home[stimulus]} and {name}, "
                "expected none in two; they are parts of one data set: use one of them"
            )
    yield from each_fold(code)


def _subjects(groups: Groups) -> tuple[list[str], np.ndarray]:
    unknown = sum(not str(s) for s in groups.subject.tolist())
    if unknown:
        raise DataError(
            f"found {unknown} windows without a subject, expected a subject for each; nobody can "
            "say whether they are of one person: give the recordings their subject"
        )
    return name_codes(groups.person)


def _stimuli(groups: Groups) -> tuple[list[str], np.ndarray]:
    unknown = sum(not str(s) for s in groups.stimulus.tolist())
    if unknown:
        raise DataError(
            f"found {unknown} windows without a stimulus, expected a stimulus for each; name the "
            "stimuli of the trials or use trial-grouped-k-fold"
        )
    return name_codes(groups.stimulus)
