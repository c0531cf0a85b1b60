"""What a stream does while it is watched for a few seconds: rate, loss, age, clock."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import clock_offset, pull
from physioemo.clock import find_gaps, segment_bounds

__all__ = ["Rate", "Watched", "measure_rate", "watch"]

_PULL_SECONDS = 0.1
_CLOCK_SECONDS = 2.0
_LEAST_SAMPLES = 10


@dataclass(frozen=True)
class Watched:
    """What came from one stream.

    Parameters
    ----------
    values : ndarray, shape (time, channel)
        Samples.
    stamps : ndarray, shape (time,)
        Raw stamps in seconds of the sender's clock.
    seconds : float
        How long it was watched.
    age_seconds : float
        How far the newest sample lies behind this computer's clock at the end; NaN if unknown.
    offset_seconds, round_trip_seconds : float
        Offset of the sender's clock, and the round trip of the best probe; NaN without an answer.
    lost : bool
        Whether the stream went while it was watched.
    """

    values: np.ndarray
    stamps: np.ndarray
    seconds: float
    age_seconds: float
    offset_seconds: float
    round_trip_seconds: float
    lost: bool = False

    @property
    def bytes_per_second(self) -> float:
        """What a recorder writes for this stream: samples and stamps."""
        if self.values.dtype.kind in "OUS":
            size = sum(len(str(v)) for v in self.values.ravel())
        else:
            size = self.values.nbytes
        return (size + self.stamps.nbytes) / self.seconds if self.seconds else 0.0


def watch(inlet: Any, seconds: float) -> Watched:
    """Watch an open inlet.

    Parameters
    ----------
    inlet : pylsl.StreamInlet
        Its buffer runs.
    seconds : float
        How long; the clock's first probe takes 0.6 s of it.
    """
    from pylsl import local_clock
    from pylsl.util import LostError

    began, lost = time.monotonic(), False
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    triple = None
    try:
        # What arrives meanwhile waits in the inlet's buffer.
        triple = clock_offset(inlet, timeout_seconds=_CLOCK_SECONDS)
        left = _PULL_SECONDS
        while left > 0:
            part = pull(inlet, timeout_seconds=min(left, _PULL_SECONDS))
            parts += [part] if len(part[1]) else []
            left = began + seconds - time.monotonic()
    except LostError:
        lost = True
    now, elapsed = local_clock(), time.monotonic() - began
    stamps = np.concatenate([s for _, s in parts]) if parts else np.zeros(0)
    values = np.concatenate([v for v, _ in parts]) if parts else np.zeros((0, 0))
    offset = float(triple[1]) if triple is not None else float("nan")
    age = now - (float(stamps[-1]) + offset) if len(stamps) else float("nan")
    round_trip = float(triple[2]) if triple is not None else float("nan")
    return Watched(values, stamps, elapsed, age, offset, round_trip, lost)


@dataclass(frozen=True)
class Rate:
    """The rate of a regular stream by its stamps.

    Parameters
    ----------
    hz : float
        Slope of the longest stretch without a gap; NaN below ten samples.
    uncertainty : float
        How far, as a fraction, `hz` may lie beside the truth: packets move stamps.
    n_gaps : int
        Gaps and backward jumps.
    lost_share : float
        Samples that should have come between the first and the last stamp and did not.
    """

    hz: float
    uncertainty: float
    n_gaps: int
    lost_share: float


def measure_rate(stamps: np.ndarray, sfreq: float) -> Rate:
    """Return the rate and the loss that a regular stream's stamps show.

    Parameters
    ----------
    stamps : ndarray, shape (time,)
        Raw stamps in seconds.
    sfreq : float
        The rate that is expected, in Hz.
    """
    n_gaps = len(find_gaps(stamps, sfreq))
    bounds = segment_bounds(stamps, sfreq) or [(0, 0)]
    start, stop = max(bounds, key=lambda b: b[1] - b[0])
    if stop - start < _LEAST_SAMPLES:
        return Rate(float("nan"), float("nan"), n_gaps, float("nan"))
    y = stamps[start:stop] - stamps[start]
    index = np.arange(len(y)) - (len(y) - 1) / 2
    period = float(index @ y / (index @ index))
    jitter = float(np.ptp(y - period * index))
    span = float(np.ptp(stamps))
    # By its own rate: a stream that is merely slow has lost nothing.
    lost = max(0.0, 1.0 - len(stamps) / (span / period + 1))
    # A line through n points whose ends may lie `jitter` beside it.
    return Rate(1.0 / period, 2.0 * jitter / float(y[-1]), n_gaps, lost)
