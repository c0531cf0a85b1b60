"""Smoothing a feature from window to window, within one trial.

``moving-average`` and ``lds`` look back only and can run live. ``lds`` is the Kalman filter of a
random walk seen through noise, the linear dynamical system that accompanies SEED (Shi and Lu
2010, Off-line and on-line vigilance estimation based on linear dynamical system and manifold
learning, IEEE EMBC 6587-6590), with a stated ratio of variances instead of one fitted to the
trial. ``lds-smoother`` adds the backward pass of Rauch, Tung and Striebel (1965, AIAA J.
3:1445-1450): every value depends on later windows, so it is offline only.
"""

import numpy as np

from physioemo.errors import CallError
from physioemo.hints import unknown_name

__all__ = ["OFFLINE_SMOOTHINGS", "SMOOTHINGS", "smooth"]

SMOOTHINGS = ("none", "moving-average", "lds", "lds-smoother")
OFFLINE_SMOOTHINGS = ("lds-smoother",)

VARIANCE_RATIO = 0.01
"""Variance of a step of the walk over that of the noise: a memory of about ten windows."""


def smooth(values: np.ndarray, method: str, *, n_windows: int = 5) -> np.ndarray:
    r"""Return the values of one trial smoothed along its windows.

    Parameters
    ----------
    values : ndarray, shape (window, \\*dims)
        In order; NaN is missing, stays missing, and is not counted.
    method : str
        One of :data:`SMOOTHINGS`.
    n_windows : int
        Length of the moving average: the window itself and those before it.

    Returns
    -------
    ndarray, shape (window, \\*dims)

    Raises
    ------
    CallError
        If the method is not known or the length is below one.
    """
    if method not in SMOOTHINGS:
        raise unknown_name("the smoothing", method, SMOOTHINGS)
    if n_windows < 1:
        raise CallError(f"found a moving average of {n_windows} windows, expected at least 1")
    values = np.asarray(values, float)
    if method == "none" or not len(values):
        return values.copy()
    if method == "moving-average":
        return _moving_average(values, n_windows)
    return _random_walk(values, backward=method == "lds-smoother")


def _moving_average(values: np.ndarray, n_windows: int) -> np.ndarray:
    present = np.isfinite(values)
    padding = [(n_windows - 1, 0)] + [(0, 0)] * (values.ndim - 1)
    held = np.pad(np.where(present, values, 0.0), padding)
    counted = np.pad(present, padding)
    total, count = np.zeros(values.shape), np.zeros(values.shape)
    for k in range(n_windows):
        total += held[k : k + len(values)]
        count += counted[k : k + len(values)]
    return np.where(present, total / np.maximum(count, 1), np.nan)


def _random_walk(values: np.ndarray, *, backward: bool) -> np.ndarray:
    """Filter (and smooth) a random walk; variances in units of the noise's."""
    present = np.isfinite(values)
    mean = np.empty(values.shape)
    variance = np.empty(values.shape)
    m, p = np.zeros(values.shape[1:]), np.full(values.shape[1:], np.inf)
    for k, value in enumerate(values):
        p = p + VARIANCE_RATIO
        # Nothing is known before the first value: it is taken as it is.
        with np.errstate(invalid="ignore"):
            gain = np.where(np.isinf(p), 1.0, p / (p + 1.0))
        seen = present[k]
        m = np.where(seen, m + gain * (np.where(seen, value, 0.0) - m), m)
        p = np.where(seen, gain, p)
        mean[k], variance[k] = m, p
    if backward:
        _look_back(mean, variance)
    return np.where(present, mean, np.nan)


def _look_back(mean: np.ndarray, variance: np.ndarray) -> None:
    for k in range(len(mean) - 2, -1, -1):
        known = np.isfinite(variance[k])
        ahead = variance[k] + VARIANCE_RATIO
        share = np.where(known, variance[k] / np.where(known, ahead, 1.0), 1.0)
        mean[k] += share * (mean[k + 1] - mean[k])
