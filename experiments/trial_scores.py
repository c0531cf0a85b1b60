"""Scores of windows, of trials and of subjects.

Windows of a trial are not independent: scores of trials come from the mean of their windows'
predictions, and stand beside the scores of windows.
"""

from functools import partial
from typing import Any

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.folds import name_codes
from physioemo.experiments.metrics import classification_scores, regression_scores

__all__ = ["subject_scores", "trial_mean", "window_and_trial_scores"]


def trial_mean(
    target: np.ndarray, predicted: np.ndarray, trial_id: np.ndarray
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return each trial's name, target and mean prediction, in natural order of names.

    Parameters
    ----------
    target : ndarray, shape (window,)
        Class (-1 = not rated) or rating (NaN = not rated), the same in all windows of a trial.
    predicted : ndarray, shape (window,) or (window, class)
        Probabilities or ratings, NaN = none.
    trial_id : ndarray of str, shape (window,)
        Name of the trial.

    Raises
    ------
    DataError
        If windows of one trial have different targets.
    """
    names, code = name_codes(trial_id)
    first = np.full(len(names), len(code))
    np.minimum.at(first, code, np.arange(len(code)))
    differs = (target != target[first][code]) & ~(
        (target != target) & (target != target)[first][code]
    )
    if differs.any():
        raise DataError(
            f"found different targets in windows of trial {names[code[differs][0]]}, expected one "
            "for the whole trial; score continuous annotation by window"
        )
    there = np.isfinite(predicted).reshape(len(code), -1).all(1)
    columns = predicted.reshape(len(code), -1)[there]
    count = np.bincount(code[there], minlength=len(names))
    sums = np.stack([np.bincount(code[there], c, minlength=len(names)) for c in columns.T], 1)
    with np.errstate(invalid="ignore"):
        means = np.where(count[:, None] > 0, sums / count[:, None], np.nan)
    return names, target[first], means.reshape(len(names), *predicted.shape[1:])


def window_and_trial_scores(
    target: np.ndarray, predicted: np.ndarray, trial_id: np.ndarray, *, ordered: bool = False
) -> dict[str, dict[str, Any]]:
    """Score windows, and trials by the mean of their windows' predictions.

    Parameters
    ----------
    target : ndarray, shape (window,)
        Classes as whole numbers (-1 = not rated), or ratings (NaN = not rated).
    predicted : ndarray, shape (window, class) for classes or (window,) for ratings
        Probabilities or ratings, NaN = none.
    trial_id : ndarray of str, shape (window,)
        Name of the trial.
    ordered : bool
        Whether classes are ordered as they are numbered.

    Returns
    -------
    dict
        ``window`` and ``trial``, each as from :func:`classification_scores` or
        :func:`regression_scores`.
    """
    target, predicted = np.asarray(target), np.asarray(predicted, float)
    score = (
        partial(classification_scores, ordered=ordered)
        if target.dtype.kind in "iu"
        else regression_scores
    )
    by_window = score(target, predicted)
    _, of_trial, mean = trial_mean(target, predicted, trial_id)
    return {"window": by_window, "trial": score(of_trial, mean)}


def subject_scores(
    target: np.ndarray,
    predicted: np.ndarray,
    trial_id: np.ndarray,
    person: np.ndarray,
    *,
    ordered: bool = False,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return :func:`window_and_trial_scores` of each subject, with its confusion matrices.

    Parameters
    ----------
    target, predicted, trial_id
        As there.
    person : ndarray of str, shape (window,)
        Name of the subject.
    ordered : bool
        As there.
    """
    names, code = name_codes(person)
    rows = [np.flatnonzero(code == i) for i in range(len(names))]
    return {
        name: window_and_trial_scores(target[r], predicted[r], trial_id[r], ordered=ordered)
        for name, r in zip(names, rows, strict=True)
    }
