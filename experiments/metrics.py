"""Scores of predictions, each beside the number of rows that it is of.

scikit-learn computes what it has. What is not defined is NaN, never a number by convention.
"""

import warnings
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError

__all__ = [
    "CALIBRATION_BINS",
    "balanced_accuracy",
    "brier_score",
    "classification_scores",
    "concordance",
    "confusion_matrix",
    "expected_calibration_error",
    "quadratic_weighted_kappa",
    "regression_scores",
    "said_classes",
]

CALIBRATION_BINS = 15
_SUM_TOLERANCE = 1e-3
_ROUNDING = 1e-9
_BITS = 40


def said_classes(probability: np.ndarray, *, ordered: bool = False) -> np.ndarray:
    """Return the class that probabilities say.

    Parameters
    ----------
    probability : ndarray, shape (row, class)
        Without NaN.
    ordered : bool
        Of ordered classes the median is said, from which the true one is fewest ranks away; else
        the most probable one, the first of equals. Of two classes both are the same.

    Returns
    -------
    ndarray of int, shape (row,)
    """
    if not ordered:
        return _equal_where_equal(probability).argmax(axis=1)
    below = np.cumsum(probability, axis=1) / np.maximum(probability.sum(axis=1), 1e-300)[:, None]
    return (below < 0.5 - _ROUNDING).sum(axis=1)


def classification_scores(
    labels: np.ndarray,
    probability: np.ndarray,
    *,
    n_bins: int = CALIBRATION_BINS,
    ordered: bool = False,
) -> dict[str, Any]:
    """Score class probabilities; which class is said, :func:`said_classes` decides.

    Parameters
    ----------
    labels : ndarray of int, shape (row,)
        True classes, -1 = not rated.
    probability : ndarray, shape (row, class)
        NaN in rows without a prediction.
    n_bins : int
        Bins of the calibration error.
    ordered : bool
        Whether the classes are ordered as they are numbered.

    Returns
    -------
    dict
        ``n`` (rows scored), ``n_unrated``, ``n_unpredicted``, ``n_per_class``; ``accuracy``,
        ``balanced_accuracy`` (over classes that are there; NaN if one only), ``macro_f1`` (over
        classes that are there or said), ``kappa``, ``mcc``, ``auc`` (of several classes the mean
        of each against the rest), ``ece`` (of the most probable class) with ``ece_bins``,
        ``brier``; ``confusion`` (true, said). Of ordered classes also
        ``quadratic_weighted_kappa`` and ``rank_error``, the mean distance of the class said in
        ranks. NaN where a score is not defined.

    Raises
    ------
    CallError
        If shapes do not fit, or a label has no column.
    DataError
        If a row is no probability.
    """
    labels, probability = np.asarray(labels), np.asarray(probability, float)
    _check_probability(labels, probability)
    rated, predicted = labels >= 0, np.isfinite(probability).all(1)
    y, p = labels[rated & predicted], probability[rated & predicted]
    n_classes, said = probability.shape[1], said_classes(p, ordered=ordered)
    scores: dict[str, Any] = {
        "n": len(y),
        "n_unrated": int((~rated).sum()),
        "n_unpredicted": int((rated & ~predicted).sum()),
        "n_per_class": np.bincount(y, minlength=n_classes).tolist(),
    }
    return scores | {
        **_said_scores(y, said),
        **(_rank_scores(y, said, n_classes) if ordered else {}),
        "auc": _auc(y, p),
        "ece": expected_calibration_error(y, p, n_bins=n_bins),
        "ece_bins": n_bins,
        "brier": brier_score(y, p),
        "confusion": confusion_matrix(y, said, n_classes).tolist(),
    }


def _check_probability(labels: np.ndarray, probability: np.ndarray) -> None:
    fits = probability.ndim == 2 and labels.shape == probability.shape[:1]
    if not fits or labels.dtype.kind not in "iu" or probability.shape[1] < 2:
        raise CallError(
            f"found labels of shape {labels.shape} and type {labels.dtype} with probabilities of "
            f"shape {probability.shape}, expected whole numbers (row,) and (row, class)"
        )
    if labels.max(initial=-1) >= probability.shape[1]:
        raise CallError(
            f"found the class {labels.max()}, expected at most {probability.shape[1] - 1}: there "
            "is no probability of it"
        )
    rows = probability[np.isfinite(probability).all(1)]
    wrong = (rows < 0).any(1) | (np.abs(rows.sum(1) - 1) > _SUM_TOLERANCE)
    if wrong.any():
        raise DataError(
            f"found {rows[wrong][0].tolist()} among {len(rows)} predictions, expected "
            "probabilities that add up to 1; apply softmax to logits first"
        )


def _said_scores(y: np.ndarray, said: np.ndarray) -> dict[str, float]:
    from sklearn import metrics

    names = ("accuracy", "balanced_accuracy", "macro_f1", "kappa", "mcc")
    if not len(y):
        return dict.fromkeys(names, float("nan"))
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        # A class that is absent is not news here: n_per_class says it.
        warnings.simplefilter("ignore")
        several = len(np.unique(y)) > 1
        values = (
            metrics.accuracy_score(y, said),
            balanced_accuracy(y, said),
            metrics.f1_score(y, said, average="macro", zero_division=0.0),
            metrics.cohen_kappa_score(y, said) if several else np.nan,
            metrics.matthews_corrcoef(y, said) if several else np.nan,
        )
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def balanced_accuracy(labels: np.ndarray, said: np.ndarray) -> float:
    """Return the mean recall of the classes that are there; NaN if there is one only, or none.

    Brodersen et al. (2010), The balanced accuracy and its posterior distribution, ICPR 3121-3124.

    Parameters
    ----------
    labels, said : ndarray, shape (row,)
        True classes and those said.
    """
    recalls = [float((said[labels == c] == c).mean()) for c in np.unique(labels)]
    return float(np.mean(recalls)) if len(recalls) > 1 else float("nan")


def quadratic_weighted_kappa(labels: np.ndarray, said: np.ndarray, n_classes: int) -> float:
    """Return Cohen's kappa of ordered classes, errors weighted by their squared distance in ranks.

    Cohen (1968), Weighted kappa, Psychological Bulletin 70:213-220. 0 for one class always said,
    NaN where all rows are of one class.

    Parameters
    ----------
    labels, said : ndarray of int, shape (row,)
        True classes and those said, numbered in their order.
    n_classes : int
        All there could be: a class that is absent still is a rank.
    """
    if len(np.unique(labels)) < 2:
        return float("nan")
    seen = confusion_matrix(labels, said, n_classes) / len(labels)
    expected = np.outer(seen.sum(axis=1), seen.sum(axis=0))
    ranks = np.arange(n_classes)
    apart = (ranks[:, None] - ranks) ** 2
    return float(1 - (apart * seen).sum() / (apart * expected).sum())


def _rank_scores(y: np.ndarray, said: np.ndarray, n_classes: int) -> dict[str, float]:
    if not len(y):
        return dict.fromkeys(("quadratic_weighted_kappa", "rank_error"), float("nan"))
    return {
        "quadratic_weighted_kappa": quadratic_weighted_kappa(y, said, n_classes),
        "rank_error": float(np.abs(y - said).mean()),
    }


def _auc(y: np.ndarray, p: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    there, p = np.unique(y), _equal_where_equal(p)
    if len(there) < 2:
        return float("nan")
    if p.shape[1] == 2:
        return float(roc_auc_score(y, p[:, 1]))
    return float(np.mean([roc_auc_score(y == c, p[:, c]) for c in there]))


def _equal_where_equal(values: np.ndarray) -> np.ndarray:
    """Return positive numbers without their last bits: sums in another order are the same number.

    Else shares of classes that are equal, or a confidence at the edge of a bin, would be ranked
    and counted by rounding errors, differently on every kind of computer.
    """
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissa, _BITS)), exponent - _BITS)


def confusion_matrix(labels: np.ndarray, said: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how many rows of each class (first axis) are said to be of each (second axis)."""
    flat = np.bincount(labels * n_classes + said, minlength=n_classes * n_classes)
    return flat.reshape(n_classes, n_classes)


def expected_calibration_error(
    labels: np.ndarray, probability: np.ndarray, *, n_bins: int = CALIBRATION_BINS
) -> float:
    """Return the mean distance of confidence and accuracy over bins of confidence of equal width.

    Guo et al. (2017), On calibration of modern neural networks, ICML; of the class said.

    Parameters
    ----------
    labels : ndarray of int, shape (row,)
        True classes.
    probability : ndarray, shape (row, class)
        Of each class.
    n_bins : int
        Number of bins; the value depends on it.
    """
    if not len(labels):
        return float("nan")
    confidence, right = probability.max(1), probability.argmax(1) == labels
    place = _equal_where_equal(confidence * n_bins)
    bins = np.clip(np.ceil(place).astype(int) - 1, 0, n_bins - 1)
    gap = np.bincount(bins, right - confidence, minlength=n_bins)
    return float(np.abs(gap).sum() / len(labels))


def brier_score(labels: np.ndarray, probability: np.ndarray) -> float:
    """Return the mean squared error of the probabilities.

    Of two classes that of the second (0 to 1), of more the sum over classes (0 to 2): as
    scikit-learn has it.
    """
    if not len(labels):
        return float("nan")
    error = probability - np.eye(probability.shape[1])[labels]
    both = float((error**2).sum(1).mean())
    return both / 2 if probability.shape[1] == 2 else both


def concordance(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return Lin's concordance correlation coefficient, with moments divided by n.

    Lin (1989), A concordance correlation coefficient to evaluate reproducibility, Biometrics 45.
    NaN for fewer than two rows, or if both are one and the same constant.
    """
    if len(truth) < 2:
        return float("nan")
    apart = truth.var() + predicted.var() + (truth.mean() - predicted.mean()) ** 2
    covariance = ((truth - truth.mean()) * (predicted - predicted.mean())).mean()
    return float(2 * covariance / apart) if apart > 0 else float("nan")


def regression_scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Score continuous predictions.

    Parameters
    ----------
    truth, predicted : ndarray, shape (row,)
        NaN where not rated, or not predicted.

    Returns
    -------
    dict
        ``n``, ``n_unrated``, ``n_unpredicted``, ``ccc``, ``rmse``, ``spearman``; NaN where a score
        is not defined.

    Raises
    ------
    CallError
        If the shapes do not fit.
    """
    from scipy.stats import spearmanr

    truth, predicted = np.asarray(truth, float), np.asarray(predicted, float)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise CallError(
            f"found ratings of shape {truth.shape} and predictions of shape {predicted.shape}, "
            "expected one column each of the same length"
        )
    rated, there = ~np.isnan(truth), np.isfinite(predicted)
    y, p = truth[rated & there], predicted[rated & there]
    varied = len(y) > 1 and np.ptp(y) > 0 and np.ptp(p) > 0
    return {
        "n": len(y),
        "n_unrated": int((~rated).sum()),
        "n_unpredicted": int((rated & ~there).sum()),
        "ccc": concordance(y, p),
        "rmse": float(np.sqrt(((y - p) ** 2).mean())) if len(y) else float("nan"),
        "spearman": float(spearmanr(y, p).statistic) if varied else float("nan"),
    }
