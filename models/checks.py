"""Arrays at the door of training and calibration: right shape, finite, labels in range."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.errors import SignalError

__all__ = ["MISSING", "checked_labels", "checked_logits", "checked_mask", "checked_tokens"]

MISSING = -1
"""The label of a window whose rating is missing."""


def checked_tokens(
    tokens: ArrayLike, electrode_mask: NDArray[np.bool_] | None, *, name: str = "tokens"
) -> NDArray[np.float32]:
    """Copy tokens to float32, with everything outside the mask set to zero.

    Parameters
    ----------
    tokens : array_like, shape (window, electrode, band)
    electrode_mask : array of bool, shape (window, electrode), optional
        True where an electrode is usable.
    name : str
        What the message calls them.

    Raises
    ------
    SignalError
        If the shape is another or a usable electrode has a non-finite token.
    """
    values = np.asarray(tokens)
    if values.ndim != 3 or values.dtype.kind not in "fiu" or 0 in values.shape:
        raise SignalError(
            f"{name} are {values.dtype} of shape {values.shape}, expected numbers of shape "
            "(window, electrode, band), none of them zero: give one row for each window."
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is reported below as infinite
        values = np.array(values, dtype=np.float32)
    if electrode_mask is not None:
        values[~electrode_mask] = 0.0
    _raise_at_first(
        ~np.isfinite(values), values, name, "a finite value: mask the electrode or drop the window"
    )
    return values


def checked_mask(
    electrode_mask: ArrayLike | None, n_windows: int, n_chans: int, *, name: str = "electrode_mask"
) -> NDArray[np.bool_] | None:
    """Electrode mask as an array, or None if there is none.

    Raises
    ------
    SignalError
        If it is not boolean of shape (window, electrode).
    """
    if electrode_mask is None:
        return None
    mask = np.asarray(electrode_mask)
    if mask.dtype != np.bool_ or mask.shape != (n_windows, n_chans):
        raise SignalError(
            f"{name} is {mask.dtype} of shape {mask.shape}, expected bool of shape "
            f"{(n_windows, n_chans)}: give one True or False for each electrode of each window."
        )
    return mask


def checked_labels(
    labels: ArrayLike, n_windows: int, n_dimensions: int, n_outputs: int, *, name: str = "labels"
) -> NDArray[np.int64]:
    """Labels as ``(window, dimension)``; −1 is a missing rating.

    Parameters
    ----------
    labels : array_like of int, shape (window,) or (window, dimension)
        A single axis is allowed for one dimension.
    n_windows, n_dimensions, n_outputs : int
        What the tokens and the model ask for.
    name : str
        What the message calls them.

    Raises
    ------
    SignalError
        If the shape or the type is another, or a label is below −1 or not a class.
    """
    values = np.asarray(labels)
    if values.ndim == 1 and n_dimensions == 1:
        values = values[:, np.newaxis]
    if values.shape != (n_windows, n_dimensions) or values.dtype.kind not in "iu":
        raise SignalError(
            f"{name} are {np.asarray(labels).dtype} of shape {np.shape(labels)}, expected whole "
            f"numbers of shape {(n_windows, n_dimensions)}: give one class for each window and "
            "dimension, −1 where the rating is missing."
        )
    wrong = (values < MISSING) | (values >= n_outputs)
    _raise_at_first(wrong, values, name, f"a class from 0 to {n_outputs - 1}, or −1 for missing")
    return values.astype(np.int64)


def checked_logits(logits: ArrayLike, *, name: str = "logits") -> NDArray[np.float64]:
    """Logits or probabilities as float64 ``(window, dimension, class)``.

    Raises
    ------
    SignalError
        If the shape is neither (window, class) nor (window, dimension, class), or one value
        is not finite.
    """
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise SignalError(
            f"{name} have shape {values.shape}, expected (window, class) or "
            "(window, dimension, class), none of them zero: give one row for each window."
        )
    _raise_at_first(~np.isfinite(values), values, name, "a finite value: drop that window")
    return values if values.ndim == 3 else values[:, np.newaxis, :]


def _raise_at_first(
    wrong: NDArray[np.bool_], values: NDArray[Any], name: str, expected: str
) -> None:
    if not wrong.any():
        return
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    raise SignalError(f"{name}{list(index)} is {values[index]}, expected {expected}.")
