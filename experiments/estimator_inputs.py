"""What every estimator asks of its data, and what it learns from the rows that train alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError, SignalError
from physioemo.experiments.splits import held_out_groups

__all__ = [
    "Scaler",
    "class_codes",
    "connectivity_tokens",
    "features_of",
    "rating_values",
    "require_several_ratings",
    "training_rows",
]

_VALIDATION_SHARE = 0.2


def features_of(
    X: Any, channel_mask: Any = None, *, n_axes: tuple[int, ...] = (2, 3)
) -> np.ndarray:
    """Return features as float64, NaN where missing or masked.

    Parameters
    ----------
    X : array_like, shape (window, feature) or (window, channel, ...)
        NaN is missing.
    channel_mask : array_like of bool, shape (window, channel), optional
        True where a channel is usable.
    n_axes : tuple of int
        How many axes there may be.

    Raises
    ------
    SignalError
        If the shape is another, a value is infinite, or the mask does not fit.
    """
    values = np.array(X, dtype=np.float64)
    if values.ndim not in n_axes or 0 in values.shape:
        raise SignalError(
            f"found features of shape {values.shape}, expected {' or '.join(map(str, n_axes))} "
            "axes with windows first and none of them empty; give the family that this estimator "
            "reads"
        )
    if np.isinf(values).any():
        raise SignalError(
            f"found {int(np.isinf(values).sum())} infinite features, expected numbers, or NaN "
            "where one is missing; leave out what is not finite"
        )
    if channel_mask is not None:
        mask = np.asarray(channel_mask)
        if values.ndim < 3 or mask.dtype != np.bool_ or mask.shape != values.shape[:2]:
            raise SignalError(
                f"found a channel mask of {mask.dtype} and shape {mask.shape} for features of "
                f"shape {values.shape}, expected bool of shape (window, channel); give one True "
                "or False for each channel of each window"
            )
        values[~mask] = np.nan
    return values


def training_rows(
    n_windows: int,
    groups: Any = None,
    validation: Any = None,
    *,
    seed: int = 0,
    labels: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that train and the rows that choose when to stop.

    Parameters
    ----------
    n_windows : int
        How many windows there are.
    groups : array_like, shape (window,), optional
        Whole groups go to one side: a fifth of them chooses. Without groups every window is
        taken to be one.
    validation : array_like of bool, shape (window,), optional
        True where a window chooses; then groups are not needed.
    seed : int
        Which groups.
    labels : ndarray, shape (window,) or (window, dimension), optional
        Classes or ratings: groups are chosen so that training keeps several of them, if it can.

    Raises
    ------
    CallError
        If the lengths differ, or one side is empty.
    """
    if validation is not None:
        chosen = np.asarray(validation)
        if chosen.dtype != np.bool_ or chosen.shape != (n_windows,):
            raise CallError(
                f"found validation rows of {chosen.dtype} and shape {chosen.shape}, expected bool "
                f"of shape ({n_windows},); mark each window True or False"
            )
        if chosen.all() or not chosen.any():
            raise CallError(
                f"found {int(chosen.sum())} validation rows among {n_windows} windows, expected "
                "some and not all; hold out whole trials"
            )
        return np.flatnonzero(~chosen), np.flatnonzero(chosen)
    names = np.arange(n_windows).astype(str) if groups is None else np.asarray(groups, object)
    if names.shape != (n_windows,):
        raise CallError(
            f"found groups of shape {names.shape}, expected ({n_windows},); give one per window"
        )
    return held_out_groups(names, share=_VALIDATION_SHARE, seed=seed, labels=labels)


def class_codes(
    y: Any, train: np.ndarray, classes: Sequence[Any] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each window's class among those that train, all classes, and where each stands.

    Parameters
    ----------
    y : array_like, shape (window,)
        Labels of any kind that can be sorted.
    train : ndarray of int
        Rows that train.
    classes : sequence, optional
        All classes of the study, also those that are absent here.

    Returns
    -------
    codes : ndarray of int, shape (window,)
        Number of the class among those in the training rows; −1 for any other.
    classes : ndarray
        All classes, sorted.
    columns : ndarray of int
        Place of each trained class among all.

    Raises
    ------
    DataError
        If labels are missing or unknown, or the training rows hold one class only.
    """
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise DataError(f"found labels of shape {labels.shape}, expected one per window")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise DataError(
            f"found {int(np.isnan(labels).sum())} windows without a label, expected one for each; "
            "leave unrated windows out"
        )
    every = np.unique(labels if classes is None else np.asarray(classes))
    unknown = ~np.isin(labels, every)
    if unknown.any():
        raise DataError(
            f"found the label {str(labels[unknown][0])!r}, expected one of "
            f"{', '.join(map(str, every))}; name all classes"
        )
    seen = np.unique(labels[train])
    if len(seen) < 2:
        raise DataError(
            f"found one class only ({seen[0]}) in the {len(train)} windows to train on, expected "
            "two or more; choose another split or target"
        )
    codes = np.searchsorted(seen, labels).clip(max=len(seen) - 1)
    return np.where(seen[codes] == labels, codes, -1), every, np.searchsorted(every, seen)


def rating_values(y: Any, n_windows: int) -> np.ndarray:
    """Return ratings as float64, one for each window.

    Parameters
    ----------
    y : array_like, shape (window,)
        The ratings.
    n_windows : int
        How many windows there are.

    Raises
    ------
    CallError
        If there are more or fewer.
    DataError
        If one is missing.
    """
    ratings = np.asarray(y, dtype=float)
    if ratings.shape != (n_windows,):
        raise CallError(
            f"found ratings of shape {ratings.shape}, expected ({n_windows},); give one "
            "number for each window"
        )
    if not np.isfinite(ratings).all():
        raise DataError(
            f"found {int((~np.isfinite(ratings)).sum())} windows without a rating, expected "
            "one for each; leave unrated windows out"
        )
    return ratings


def require_several_ratings(ratings: np.ndarray) -> None:
    """Refuse training windows that are all rated alike.

    Raises
    ------
    DataError
        If there is one rating only.
    """
    if np.ptp(ratings) == 0:
        raise DataError(
            f"found one rating only ({ratings[0]:g}) in the {len(ratings)} windows to "
            "train on, expected several; choose another split or target"
        )


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of each feature over the windows that train."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, axes: tuple[int, ...] = (0,)) -> "Scaler":
        """Learn from training windows; NaN is left out.

        Parameters
        ----------
        values : ndarray, shape (window, ...)
            Training windows alone.
        axes : tuple of int
            Axes over which to average.
        """
        known = np.isfinite(values)
        n = known.sum(axis=axes, keepdims=True).clip(min=1)
        mean = np.where(known, values, 0.0).sum(axis=axes, keepdims=True) / n
        squares = np.where(known, values - mean, 0.0) ** 2
        spread = np.sqrt(squares.sum(axis=axes, keepdims=True) / n)
        # A feature that never changes says nothing, and its rounding errors are no signal.
        constant = spread <= 1e-12 * np.maximum(1.0, np.abs(mean))
        return cls(mean, np.where(constant, 1.0, spread))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Scale windows; NaN stays NaN."""
        return (values - self.mean) / self.scale


def connectivity_tokens(tokens: np.ndarray, connectivity: np.ndarray) -> np.ndarray:
    """Extend each electrode's token by how it goes together with every other electrode.

    Parameters
    ----------
    tokens : ndarray, shape (window, channel, band)
        Band entropies.
    connectivity : ndarray, shape (window, measure, pair, band)
        Pairs in the order of ``numpy.triu_indices(channel, 1)``.

    Returns
    -------
    ndarray, shape (window, channel, band + measure * band * channel)
        Zero where an electrode would stand beside itself.

    Raises
    ------
    SignalError
        If the two do not belong to the same windows and channels.
    """
    n_windows, n_channels = tokens.shape[:2]
    first, second = np.triu_indices(n_channels, 1)
    if connectivity.ndim != 4 or connectivity.shape[0::2] != (n_windows, len(first)):
        raise SignalError(
            f"found connectivity of shape {connectivity.shape}, expected ({n_windows}, measure, "
            f"{len(first)}, band) for {n_channels} channels; compute both from the same windows"
        )
    by_pair = connectivity.transpose(0, 2, 1, 3)  # (window, pair, measure, band)
    square = np.zeros((n_windows, n_channels, n_channels, *by_pair.shape[2:]))
    square[:, first, second] = square[:, second, first] = by_pair
    return np.concatenate([tokens, square.reshape(n_windows, n_channels, -1)], axis=2)
