"""Nearest neighbours by plain distance, block by block."""

import numpy as np

__all__ = ["nearest"]

_BLOCK_VALUES = 2**24


def nearest(
    known: np.ndarray, asked: np.ndarray, *, k: int = 1, skip_self: bool = False
) -> np.ndarray:
    """Return the rows of `known` that are nearest to each row of `asked`, nearest first.

    Parameters
    ----------
    known : ndarray, shape (n, feature)
        Finite. At least `k` rows, one more with `skip_self`.
    asked : ndarray, shape (m, feature)
        Finite.
    k : int
        How many.
    skip_self : bool
        `asked` is `known`: no row is its own neighbour.

    Returns
    -------
    ndarray of int, shape (m, k)
    """
    centre = known.mean(axis=0)  # distances of numbers near zero keep their digits
    known = np.asarray(known - centre, np.float32)
    asked = np.asarray(asked - centre, np.float32)
    squares = np.einsum("ij,ij->i", known, known)
    rows = max(1, _BLOCK_VALUES // len(known))
    found = np.empty((len(asked), k), int)
    for start in range(0, len(asked), rows):
        part = asked[start : start + rows]
        distance = squares - 2 * (part @ known.T)
        if skip_self:
            distance[np.arange(len(part)), np.arange(start, start + len(part))] = np.inf
        if k == 1:
            found[start : start + rows, 0] = distance.argmin(axis=1)
            continue
        best = np.argpartition(distance, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(distance, best, axis=1).argsort(axis=1, kind="stable")
        found[start : start + rows] = np.take_along_axis(best, order, axis=1)
    return found
