"""How ratings and labels become numbers: what :mod:`physioemo.experiments.targets` goes by."""

from collections.abc import Sequence

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.study_data import StudyData
from physioemo.hints import nearest

__all__ = [
    "AT_THRESHOLD",
    "MISSING",
    "bin_edges",
    "binary_classes",
    "binned_classes",
    "class_order",
    "class_weights",
    "label_numbers",
    "rating_scale",
    "ratings_of",
    "require_labels",
    "require_two_classes",
]

MISSING = -1
AT_THRESHOLD = ("drop", "low", "high")
# A rating that was stored in single precision is still at the threshold.
_ROUNDING = 1e-6


def binary_classes(
    ratings: np.ndarray, threshold: float, at_threshold: str, scale: tuple[float, float]
) -> np.ndarray:
    """Return 1 above the threshold, 0 below it, -1 where there is no rating.

    Parameters
    ----------
    ratings : ndarray, shape (window,)
        NaN where missing.
    threshold : float
        Within the scale.
    at_threshold : {"drop", "low", "high"}
        What a rating at the threshold is; -1 where dropped.
    scale : (float, float)
        Lowest and highest rating.

    Raises
    ------
    CallError
        If the threshold leaves nothing above or below it.
    """
    low, high = scale
    if not low <= threshold <= high:
        raise CallError(
            f"found the threshold {threshold:g}, expected one between {low:g} and {high:g}; the "
            "scale of the ratings has no other values"
        )
    exact = {"drop": MISSING, "low": 0, "high": 1}[at_threshold]
    at = np.abs(ratings - threshold) <= _ROUNDING * (high - low)
    classes = np.where(at, exact, (ratings > threshold).astype(int))
    return np.where(np.isnan(ratings), MISSING, classes)


def bin_edges(
    n_bins: int | None, edges: Sequence[float] | None, scale: tuple[float, float]
) -> list[float]:
    """Return where one bin ends and the next begins, without the ends of the scale.

    Raises
    ------
    CallError
        If an edge is not within the scale.
    """
    low, high = scale
    if edges is None:
        return [float(e) for e in np.linspace(low, high, (n_bins or 1) + 1)[1:-1]]
    outside = [e for e in edges if not low < e < high]
    if outside:
        raise CallError(
            f"found the edge {outside[0]:g}, expected edges above {low:g} and below {high:g}; the "
            "ends of the scale are edges anyway"
        )
    return [float(e) for e in edges]


def binned_classes(
    ratings: np.ndarray, edges: Sequence[float], scale: tuple[float, float]
) -> np.ndarray:
    """Return the number of each rating's bin, -1 where there is no rating.

    Parameters
    ----------
    ratings : ndarray, shape (window,)
        NaN where missing.
    edges : sequence of float
        From :func:`bin_edges`; a rating at an edge is in the upper bin.
    scale : (float, float)
        Lowest and highest rating.
    """
    low, high = scale
    classes = np.digitize(ratings, np.asarray(edges, float) - _ROUNDING * (high - low))
    return np.where(np.isnan(ratings), MISSING, classes)


def require_two_classes(column: np.ndarray, names: Sequence[str], where: str) -> None:
    """Refuse a column in which there is nothing to tell apart.

    Parameters
    ----------
    column : ndarray, shape (window,)
        Class numbers (-1 = missing), or floats (NaN = missing).
    names : sequence of str
        Names of the classes; none for floats.
    where : str
        For the message, such as ``"in valence, training windows of fold 3"``.

    Raises
    ------
    DataError
        If there is no rated window, or all are of one class or have one rating.
    """
    rated = column[column >= 0] if column.dtype.kind in "iu" else column[~np.isnan(column)]
    there = np.unique(rated)
    if not len(there):
        raise DataError(
            f"found no rated window among {len(column)} {where}, expected some; check the ratings, "
            "and what is done at the threshold"
        )
    if len(there) == 1:
        what = f"class {names[int(there[0])]!r}" if len(names) else f"rating {there[0]:g}"
        raise DataError(
            f"found only the {what} in {len(rated)} rated windows {where}, expected at least two "
            "to tell apart; use another threshold, fewer folds or more trials"
        )


def class_weights(classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return weights that give all classes the same sum, mean 1 over the rated windows.

    Parameters
    ----------
    classes : ndarray of int, shape (window,)
        One dimension's classes in the training windows, -1 = missing.
    n_classes : int
        Number of classes.

    Returns
    -------
    ndarray, shape (class,)
        0 for a class that is absent.

    Raises
    ------
    CallError
        If the classes are not one column of numbers below `n_classes`.
    DataError
        If nothing is rated.
    """
    classes = np.asarray(classes)
    if classes.ndim != 1 or classes.dtype.kind not in "iu" or classes.max(initial=-1) >= n_classes:
        raise CallError(
            f"found classes of shape {classes.shape} and type {classes.dtype} for {n_classes} "
            f"classes, expected one column of numbers from 0 to {n_classes - 1}, or -1"
        )
    counts = np.bincount(classes[classes >= 0], minlength=n_classes)
    if not counts.sum():
        raise DataError("found no rated window, expected some to weigh; check the ratings")
    n_there = (counts > 0).sum()
    return np.where(counts > 0, counts.sum() / (n_there * np.maximum(counts, 1)), 0.0)


def rating_scale(data: StudyData) -> tuple[float, float]:
    """Return the lowest and highest rating.

    Raises
    ------
    DataError
        If the data have labels instead.
    """
    if data.scale is None:
        raise DataError(
            "found labels without ratings, expected ratings on a scale; use a target of the kind "
            "'labels'"
        )
    low, high = (float(v) for v in data.scale)
    return low, high


def ratings_of(data: StudyData, dimension: str) -> np.ndarray:
    """Return the ratings of a dimension, NaN where missing, shape (window,).

    Raises
    ------
    DataError
        If the data lack the dimension, or a rating lies outside the scale.
    """
    low, high = rating_scale(data)
    if dimension not in data.ratings:
        raise DataError(
            f"found ratings of {', '.join(data.ratings) or 'nothing'}, expected {dimension!r} too"
            f"{nearest(dimension, data.ratings)}"
        )
    ratings = np.asarray(data.ratings[dimension], float)
    outside = np.flatnonzero((ratings < low) | (ratings > high))
    if len(outside):
        raise DataError(
            f"found the rating {ratings[outside[0]]:g} of {dimension} in {len(outside)} windows "
            f"outside the scale, expected {low:g} to {high:g}; mark missing ratings as missing or "
            "correct the scale"
        )
    return ratings


def require_labels(data: StudyData) -> np.ndarray:
    """Return the labels of all windows.

    Raises
    ------
    DataError
        If the data have ratings instead.
    """
    if data.labels is None:
        raise DataError(
            f"found ratings of {', '.join(data.ratings)} without labels, expected labels; use a "
            "target of the kind 'binary', 'multiclass', 'ordinal' or 'continuous'"
        )
    return data.labels


def class_order(data: StudyData) -> tuple[str, ...]:
    """Return the classes in the order in which their data set numbers them.

    Raises
    ------
    DataError
        If the data have ratings instead, or their classes have no known order.
    """
    from physioemo.datasets.seed import LABEL_NAMES
    from physioemo.datasets.seed_iv import SEED_IV_LABEL_NAMES
    from physioemo.datasets.seed_v import SEED_V_LABEL_NAMES

    orders = {
        "seed": LABEL_NAMES,
        "seed-features": LABEL_NAMES,
        "seed-eye": LABEL_NAMES,
        "seed-iv": SEED_IV_LABEL_NAMES,
        "seed-iv-features": SEED_IV_LABEL_NAMES,
        "seed-v": SEED_V_LABEL_NAMES,
        "seed-v-features": SEED_V_LABEL_NAMES,
    }
    require_labels(data)
    name = str(data.source.get("dataset", ""))
    if name in orders:
        return tuple(orders[name][number] for number in sorted(orders[name]))
    raise DataError(
        f"found labels of the data set {name!r}, expected one whose classes have an order "
        f"({', '.join(orders)}); state the classes of the target"
    )


def label_numbers(data: StudyData, classes: Sequence[str]) -> np.ndarray:
    """Return the number of each window's label, -1 where there is none, shape (window,).

    Raises
    ------
    DataError
        If a label is not one of the classes.
    """
    labels = require_labels(data)
    number = {name: i for i, name in enumerate(classes)}
    values = ["" if v is None or v != v else str(v) for v in labels.tolist()]
    unknown = sorted({v for v in values if v and v not in number})
    if unknown:
        raise DataError(
            f"found the label {unknown[0]!r}, expected one of {', '.join(classes)}; name all "
            f"classes of the target{nearest(unknown[0], classes)}"
        )
    return np.array([number.get(v, MISSING) for v in values], int)
