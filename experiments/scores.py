"""Scores beside their baselines: a number never stands alone."""

from typing import Any

import numpy as np

from physioemo.experiments.metrics import balanced_accuracy
from physioemo.experiments.statistics import binomial_test, permutation_p
from physioemo.experiments.trial_scores import trial_mean

__all__ = ["balanced_accuracy", "score_trials", "trial_means"]


def trial_means(
    probability: np.ndarray, labels: np.ndarray, trial_ids: np.ndarray
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return each trial's mean probability and label, sorted by trial name.

    Parameters
    ----------
    probability : ndarray, shape (window, dimension)
        NaN where there is no prediction.
    labels : ndarray of int, shape (window, dimension)
        -1 = no rating; the same in all windows of a trial.
    trial_ids : ndarray of str, shape (window,)

    Returns
    -------
    names : list of str
    probability : ndarray, shape (trial, dimension)
    labels : ndarray of int, shape (trial, dimension)
    """
    columns = [
        trial_mean(of_column, said, trial_ids)
        for of_column, said in zip(labels.T, probability.T, strict=True)
    ]
    found = columns[0][0]
    order = sorted(range(len(found)), key=lambda k: found[k])
    return (
        [found[k] for k in order],
        np.stack([mean[order] for _, _, mean in columns], axis=1),
        np.stack([of_trial[order] for _, of_trial, _ in columns], axis=1),
    )


def score_trials(
    labels: np.ndarray, probability: np.ndarray, permuted: np.ndarray
) -> dict[str, Any]:
    """Score one dimension over held-out trials.

    Parameters
    ----------
    labels : ndarray of int, shape (trial,)
        0 or 1, -1 = no rating.
    probability : ndarray, shape (trial,)
        Of the high class.
    permuted : ndarray, shape (permutation,)
        Balanced accuracy of the same procedure after the labels were permuted over trials.

    Returns
    -------
    dict
        ``n_trials``, ``n_high``, ``n_low``; ``accuracy`` with its 95 % Wilson interval
        ``accuracy_interval_95``; ``balanced_accuracy`` with ``interval_95`` (Wilson interval of
        each class's recall, halves added in quadrature); ``majority_accuracy``,
        ``majority_balanced_accuracy``; ``permuted_balanced_accuracy`` (list); ``p_binomial``
        (one-sided, against always saying the larger class); ``p_permutation`` (Phipson and Smyth
        2010, never zero).
    """
    rated = (labels >= 0) & np.isfinite(probability)
    labels, high = labels[rated], (probability[rated] > 0.5).astype(int)
    n, n_high, correct = len(labels), int(labels.sum()), int((labels == high).sum())
    majority = max(n_high, n - n_high) / n if n else float("nan")
    score = balanced_accuracy(labels, high)
    permuted = permuted[np.isfinite(permuted)]
    return {
        "n_trials": n,
        "n_high": n_high,
        "n_low": n - n_high,
        "accuracy": correct / n if n else float("nan"),
        "accuracy_interval_95": _wilson(correct, n),
        "balanced_accuracy": score,
        "interval_95": _balanced_interval(labels, high, score),
        "majority_accuracy": majority,
        "majority_balanced_accuracy": 0.5,
        "permuted_balanced_accuracy": [float(p) for p in permuted],
        "p_binomial": _binomial_p(correct, n, majority),
        "p_permutation": permutation_p(score, permuted).p,
    }


def _binomial_p(correct: int, n: int, majority: float) -> float:
    if not n:
        return float("nan")
    # With one class alone, to be always right is no news.
    return binomial_test(correct, n, majority).p if majority < 1 else 1.0


def _wilson(correct: int, n: int) -> list[float]:
    from scipy.stats import binomtest

    if not n:
        return [0.0, 1.0]
    interval = binomtest(correct, n).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def _balanced_interval(labels: np.ndarray, high: np.ndarray, score: float) -> list[float]:
    """Combine the recalls' Wilson intervals as Newcombe (1998, method 10) does differences."""
    below = above = 0.0
    for c in (0, 1):
        of_class = high[labels == c] == c
        if not len(of_class):
            return [0.0, 1.0]
        low, top = _wilson(int(of_class.sum()), len(of_class))
        below += (float(of_class.mean()) - low) ** 2
        above += (top - float(of_class.mean())) ** 2
    return [max(0.0, score - below**0.5 / 2), min(1.0, score + above**0.5 / 2)]
