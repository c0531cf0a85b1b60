"""Time stamps: clock correction, gaps and measured rates. Pure functions on arrays."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

__all__ = [
    "GAP_SECONDS",
    "ClockLine",
    "correct_time",
    "find_gaps",
    "fit_clock",
    "measured_rate",
    "segment_bounds",
]

GAP_SECONDS = 0.1
"""A regular stream has a gap where its stamps step this much further than one sample.

Wider than the stamp jitter of consumer headsets that stamp whole packets (tens of
milliseconds), far below the second at which common readers begin to notice.
"""

_DRIFT_PRIOR = 50e-6  # crystal clocks differ by tens of parts per million
_NOISE_FLOOR_SECONDS = 50e-6
_REACH_SECONDS = 10.0  # twice the time between two measurements


class ClockLine(NamedTuple):
    """Offset of a remote clock: ``offset = intercept + drift * (time - centre)``.

    The drift is in seconds per second.
    """

    centre_seconds: float
    intercept_seconds: float
    drift: float


def fit_clock(time: np.ndarray, offset_seconds: np.ndarray) -> ClockLine:
    """Fit a robust line to clock-offset measurements.

    A Huber-weighted line whose drift is shrunk towards zero by what crystals do
    (50 ppm), so that a handful of close-by measurements cannot invent a drift.

    Parameters
    ----------
    time : ndarray, shape (measurement,)
        Remote time of each measurement in seconds.
    offset_seconds : ndarray, shape (measurement,)
        What has to be added to remote stamps.

    Returns
    -------
    ClockLine
    """
    centre = float(np.mean(time))
    x, y = time - centre, np.asarray(offset_seconds, float)
    weight = np.ones_like(y)
    intercept, drift, scale = float(np.median(y)), 0.0, _NOISE_FLOOR_SECONDS
    for _ in range(10):
        total = weight.sum()
        mean_x, mean_y = (weight @ x) / total, (weight @ y) / total
        shrink = (scale / _DRIFT_PRIOR) ** 2
        spread = weight @ (x - mean_x) ** 2
        drift = float((weight @ ((x - mean_x) * (y - mean_y))) / (spread + shrink))
        intercept = float(mean_y - drift * mean_x)
        residual = np.abs(y - intercept - drift * x)
        scale = max(float(1.4826 * np.median(residual)), _NOISE_FLOOR_SECONDS)
        weight = 1.345 * scale / np.maximum(residual, 1.345 * scale)
    return ClockLine(centre, intercept, drift)


def correct_time(
    raw_time: np.ndarray, clock_time: np.ndarray, offset_seconds: np.ndarray
) -> np.ndarray:
    """Map device stamps of one connection to the session clock; raw stamps stay untouched.

    The offset follows a line within ten seconds of the measurements and is constant beyond.

    Parameters
    ----------
    raw_time : ndarray, shape (time,)
        Stamps in seconds as the device's computer gave them.
    clock_time, offset_seconds : ndarray, shape (measurement,)
        Clock-offset measurements; with none, the stamps are returned as they are.
    """
    if not len(clock_time):
        return np.array(raw_time, float)
    clock_time = np.asarray(clock_time, float)
    line = fit_clock(clock_time, offset_seconds)
    # A drift measured over seconds says nothing of stamps minutes away: there it is held.
    near = np.clip(raw_time, clock_time.min() - _REACH_SECONDS, clock_time.max() + _REACH_SECONDS)
    correction = line.intercept_seconds + line.drift * (near - line.centre_seconds)
    return np.asarray(raw_time + correction, float)


def find_gaps(time: np.ndarray, sfreq: float, *, gap_seconds: float = GAP_SECONDS) -> np.ndarray:
    """Return the indices of the first sample after each gap or backward jump.

    Irregular streams (``sfreq`` 0) have no gaps.
    """
    if sfreq <= 0 or len(time) < 2:
        return np.empty(0, int)
    step = np.diff(time)
    broken = (step > 1 / sfreq + gap_seconds) | (step < -gap_seconds)
    return np.flatnonzero(broken) + 1


def segment_bounds(
    time: np.ndarray, sfreq: float, *, gap_seconds: float = GAP_SECONDS
) -> list[tuple[int, int]]:
    """Return (start, stop) sample indices of the stretches between gaps."""
    edges = [0, *find_gaps(time, sfreq, gap_seconds=gap_seconds).tolist(), len(time)]
    return [(a, b) for a, b in pairwise(edges) if b > a]


def measured_rate(time: np.ndarray, sfreq: float) -> float:
    """Return the rate in Hz that the stamps show, gaps left out; NaN below two samples."""
    bounds = segment_bounds(time, sfreq) if sfreq > 0 else [(0, len(time))]
    steps = sum(stop - start - 1 for start, stop in bounds)
    span = sum(float(time[stop - 1] - time[start]) for start, stop in bounds if stop > start)
    return steps / span if steps > 0 and span > 0 else float("nan")
