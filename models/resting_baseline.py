"""What a person's features are at rest, taken from what they are during stimuli.

The first and cheapest step to a new participant: band entropies differ more between people than
between emotions. Entropies are averaged, never the waveforms before them: averaging waveforms of k
segments lowers the entropy of noise by half the logarithm of k.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.errors import SignalError

__all__ = ["resting_mean", "subtract_resting"]

_LEAST_WINDOWS = 10


def resting_mean(resting: ArrayLike, *, least_windows: int = _LEAST_WINDOWS) -> NDArray[np.float64]:
    r"""Return the mean of each feature at rest.

    Parameters
    ----------
    resting : array_like, shape (window, \*dims)
        Of windows before the first stimulus, eyes open or closed as in training; NaN is missing.
    least_windows : int
        How many windows a feature needs; with fewer it has no baseline.

    Returns
    -------
    array of float64, shape (\*dims,)
        NaN where there is no baseline.

    Raises
    ------
    SignalError
        If no feature has a baseline.
    """
    values = np.asarray(resting, float)
    there = np.isfinite(values)
    n = there.sum(axis=0)
    mean = np.where(there, values, 0.0).sum(axis=0) / np.maximum(n, 1)
    if not (n >= least_windows).any():
        raise SignalError(
            f"found {len(values)} resting windows with at most {n.max(initial=0)} usable for a "
            f"feature, expected at least {least_windows}; record a longer rest"
        )
    return np.where(n >= least_windows, mean, np.nan)


def subtract_resting(values: ArrayLike, mean: ArrayLike) -> NDArray[np.float64]:
    r"""Return features as their difference from rest.

    Parameters
    ----------
    values : array_like, shape (window, \*dims)
        NaN is missing.
    mean : array_like, shape (\*dims,)
        From :func:`resting_mean`; a feature without a baseline is missing in every window.

    Raises
    ------
    SignalError
        If the shapes do not fit.
    """
    array, rest = np.asarray(values, float), np.asarray(mean, float)
    if array.shape[1:] != rest.shape:
        raise SignalError(
            f"found features of shape {array.shape} and a resting mean of {rest.shape}, expected "
            "(window, ...) and the same without windows"
        )
    return array - rest
