"""Rises of a slow wave: where it turns up and down, small ripples aside."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["rises"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def rises(values: Floats, reversal: float) -> Indices:
    """Return each trough and the peak that follows it.

    A turn counts once the signal has come back by more than `reversal`; so a peak is known only
    after it, and a rise that is still under way at either end is left out.

    Parameters
    ----------
    values : (time,) float64
        A smooth, finite signal.
    reversal : float
        In the unit of the signal, positive.

    Returns
    -------
    (rise, 2) int
        Sample of the trough and of the peak; a trough is lower than its peak by more than
        `reversal`.
    """
    found = []
    trough, peak = 0, -1
    for at in _extremes(values):
        if peak < 0:
            if values[at] <= values[trough]:
                trough = at
            elif values[at] - values[trough] > reversal:
                peak = at
        elif values[at] > values[peak]:
            peak = at
        elif values[peak] - values[at] > reversal:
            if trough > 0:  # otherwise the rise began before the signal did
                found.append((trough, peak))
            trough, peak = at, -1
    return np.array(found, dtype=np.intp).reshape(-1, 2)


def _extremes(values: Floats) -> list[int]:
    """Return the samples at which the direction changes, and the last one."""
    steps = np.diff(values)
    moving = np.flatnonzero(steps)
    turned = moving[1:][np.diff(np.sign(steps[moving])) != 0]
    return [*(int(i) for i in turned), len(values) - 1] if len(moving) else []
