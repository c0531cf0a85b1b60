"""Confidence that means what it says: temperature scaling and its measure.

Guo, Pleiss, Sun & Weinberger 2017, "On calibration of modern neural networks"
(arXiv 1706.04599). The temperature must be fitted on windows of trials, and if the claim is
about new people of people, that are neither trained on nor reported.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from physioemo.errors import CallError, SignalError
from physioemo.models.checks import checked_labels, checked_logits

__all__ = ["calibrated_probability", "expected_calibration_error", "fit_temperature"]

TEMPERATURE_RANGE = (0.05, 20.0)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Temperature of each dimension that minimises the negative log-likelihood.

    One positive number divides all logits of a dimension (Guo et al. 2017, section 4.2), so
    no predicted class changes.

    Parameters
    ----------
    logits : array_like, shape (window, class) or (window, dimension, class)
        Of held-out windows.
    labels : array_like of int, shape (window,) or (window, dimension)
        −1 is a missing rating and is left out.

    Returns
    -------
    array of float64, shape (dimension,)
        Between 0.05 and 20; above 1 the model was too sure of itself. Shape (1,) for logits
        without a dimension axis.

    Raises
    ------
    SignalError
        If shapes do not fit, a value is out of range, or a dimension has no rating at all.
    """
    scores = checked_logits(logits)
    classes = checked_labels(labels, *scores.shape)
    _require_ratings(classes)
    return np.array(
        [_best_temperature(scores[:, d], classes[:, d]) for d in range(scores.shape[1])]
    )


def calibrated_probability(logits: ArrayLike, temperature: ArrayLike) -> NDArray[np.float64]:
    """Class probabilities at a temperature: ``softmax(logits / temperature)``.

    Parameters
    ----------
    logits : array_like, shape (window, class) or (window, dimension, class)
    temperature : array_like, shape (dimension,)
        As ``fit_temperature`` returns it.

    Returns
    -------
    array of float64, shape of the logits

    Raises
    ------
    SignalError
        If a logit is not finite or the shape is another.
    CallError
        If there is not one positive temperature for each dimension.
    """
    scores = checked_logits(logits)
    temperatures = np.asarray(temperature, dtype=np.float64)
    if temperatures.shape != scores.shape[1:2] or not (temperatures > 0).all():
        raise CallError(
            f"temperature is {temperatures.tolist()}, expected {scores.shape[1]} positive "
            "number(s): give one for each dimension, as fit_temperature returns them."
        )
    return softmax(scores / temperatures[:, np.newaxis], axis=-1).reshape(np.shape(logits))


def expected_calibration_error(
    probability: ArrayLike, labels: ArrayLike, n_bins: int = 15
) -> NDArray[np.float64]:
    """Mean distance between confidence and accuracy, over bins of confidence.

    ``Σ_b (n_b / n) · |accuracy_b − confidence_b|`` over bins of equal width of the highest
    class probability (Guo et al. 2017, equation 3).

    Parameters
    ----------
    probability : array_like, shape (window, class) or (window, dimension, class)
    labels : array_like of int, shape (window,) or (window, dimension)
        −1 is a missing rating and is left out.
    n_bins : int
        Number of bins between 0 and 1.

    Returns
    -------
    array of float64, shape (dimension,)
        0 is perfect; shape (1,) for probabilities without a dimension axis.

    Raises
    ------
    SignalError
        If shapes do not fit, rows do not sum to 1, or a dimension has no rating at all.
    CallError
        If ``n_bins`` is below 1.
    """
    if n_bins < 1:
        raise CallError(f"n_bins={n_bins!r} is out of range: give 1 or more.")
    shares = checked_logits(probability, name="probability")
    classes = checked_labels(labels, *shares.shape)
    _require_ratings(classes)
    _require_probability(shares)
    return np.array(
        [_calibration_error(shares[:, d], classes[:, d], n_bins) for d in range(shares.shape[1])]
    )


def _best_temperature(scores: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    rated = classes >= 0
    scores, rows, targets = scores[rated], np.arange(rated.sum()), classes[rated]

    def negative_log_likelihood(log_temperature: float) -> float:
        scaled = log_softmax(scores / np.exp(log_temperature), axis=-1)
        return -float(scaled[rows, targets].mean())

    # Convex in 1/T, hence one valley in log T, where steps are alike at both ends.
    found = minimize_scalar(
        negative_log_likelihood,
        bounds=tuple(np.log(TEMPERATURE_RANGE)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.clip(np.exp(found.x), *TEMPERATURE_RANGE))


def _calibration_error(
    shares: NDArray[np.float64], classes: NDArray[np.int64], n_bins: int
) -> float:
    rated = classes >= 0
    confidence = shares[rated].max(axis=-1)
    correct = shares[rated].argmax(axis=-1) == classes[rated]
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / rated.sum())


def _require_ratings(classes: NDArray[np.int64]) -> None:
    empty = np.flatnonzero((classes < 0).all(axis=0))
    if empty.size:
        raise SignalError(
            f"labels have no rating in dimension {empty[0]}, expected at least one: "
            "give rated windows or leave that dimension out."
        )


def _require_probability(shares: NDArray[np.float64]) -> None:
    wrong = (np.abs(shares.sum(axis=-1) - 1.0) > 1e-3) | (shares < 0).any(axis=-1)
    if wrong.any():
        window, dimension = np.argwhere(wrong)[0]
        raise SignalError(
            f"probability[{window}, {dimension}] is {shares[window, dimension].tolist()}, expected "
            "shares from 0 to 1 that sum to 1: give probabilities, not logits."
        )
