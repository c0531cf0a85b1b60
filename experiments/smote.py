"""SMOTE: classes made equally large by windows between two neighbours of the smaller ones.

Chawla, Bowyer, Hall and Kegelmeyer (2002), SMOTE: Synthetic Minority Over-sampling Technique,
Journal of Artificial Intelligence Research 16:321-357. Made for the training windows of a fold
alone: a window made from a test window is a test window.
"""

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.nearest import nearest

__all__ = ["smote"]

N_NEIGHBOURS = 5
"""As in the paper."""


def smote(
    features: np.ndarray, labels: np.ndarray, *, seed: int, n_neighbours: int = N_NEIGHBOURS
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return windows with all classes as large as the largest; the given ones come first.

    A new window lies at a random place on the line from a random window of its class to one of
    its nearest neighbours in that class.

    Parameters
    ----------
    features : ndarray, shape (window, \\*dims)
        Of the training windows.
    labels : ndarray of int, shape (window,)
        Their classes.
    seed : int
        Source of chance.
    n_neighbours : int
        How many neighbours there are to choose from.

    Raises
    ------
    CallError
        If values are missing, or a class has no two windows.
    """
    flat = np.asarray(features, float).reshape(len(features), -1)
    if not np.isfinite(flat).all():
        raise CallError(
            "found missing values, expected none: a line between windows needs all of them; leave "
            "out the windows that have some"
        )
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    made, of = [flat], [np.asarray(labels)]
    for label, count in zip(classes, counts, strict=True):
        n_new = int(counts.max() - count)
        if not n_new:
            continue
        if count < 2:
            raise CallError(
                f"found one window of class {label}, expected at least two to draw a line between"
            )
        own = flat[labels == label]
        made.append(_between(rng, own, n_new, min(n_neighbours, int(count) - 1)))
        of.append(np.full(n_new, label, of[0].dtype))
    return np.concatenate(made).reshape(-1, *np.shape(features)[1:]), np.concatenate(of)


def _between(rng: np.random.Generator, own: np.ndarray, n_new: int, n_near: int) -> np.ndarray:
    near = nearest(own, own, k=n_near, skip_self=True)
    start = rng.integers(0, len(own), n_new)
    other = near[start, rng.integers(0, n_near, n_new)]
    step = rng.uniform(0, 1, (n_new, 1))
    return own[start] + step * (own[other] - own[start])
