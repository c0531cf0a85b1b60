"""A window: a stretch of several streams between two times, with what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["StreamWindow", "Window"]


@dataclass(frozen=True)
class StreamWindow:
    """One stream's part of a window.

    Parameters
    ----------
    signal : ndarray, shape (channel, time)
        Samples in the device's number type.
    time : ndarray, shape (time,)
        Session time of each sample in seconds.
    present : ndarray of bool, shape (channel, time)
        False where a value is missing (NaN or infinite).
    sfreq : float
        Nominal rate in Hz.
    ch_names, units : tuple of str
        One per channel.
    """

    signal: np.ndarray
    time: np.ndarray
    present: np.ndarray
    sfreq: float
    ch_names: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """A stretch of several streams between two times.

    Parameters
    ----------
    start_seconds, stop_seconds : float
        Session time of the first and the newest sample of the leading stream.
    streams : mapping of str to StreamWindow
        Each stream's samples up to `stop_seconds`.
    segment : int
        Grows by one at each gap of the leading stream: state from before does not apply.
    """

    start_seconds: float
    stop_seconds: float
    streams: Mapping[str, StreamWindow]
    segment: int = 0

    def __getitem__(self, stream: str) -> StreamWindow:
        return self.streams[stream]


def present_mask(signal: np.ndarray) -> np.ndarray:
    """Return where values are there: finite numbers, and any text."""
    if signal.dtype.kind == "f":
        return np.isfinite(signal)
    return np.ones(signal.shape, bool)
