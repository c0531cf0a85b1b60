"""Traces as pixel columns: what lies in one column of the screen is its minimum and maximum.

A browser gets 2 numbers per channel and column, however fast the device samples, and a spike of one
sample is still seen. Columns are numbered by time: column ``n`` covers ``[n, n + 1) / rate``
seconds, so that the same samples give the same columns however they arrive in chunks.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from physioemo.clock import GAP_SECONDS

__all__ = ["WINDOW_SECONDS", "Block", "Columns", "DisplayFilter", "column_rate", "encode_blocks"]

Floats = NDArray[np.float32]

WINDOW_SECONDS = 10.0
"""What a sweep across the screen takes."""

HIGH_PASS_HZ = 0.5
_FASTEST_HZ = 100.0
_IRREGULAR_HZ = 30.0
_HOLD_SECONDS = 0.25  # an irregular stream is drawn through so long a pause
_RESTART_SECONDS = 1.0  # a jump back that is no jitter
_MESSAGE = struct.Struct("<IId")
_BLOCK = struct.Struct("<IIIId")
_VERSION = 1


class Block(NamedTuple):
    """Consecutive columns of one stream.

    Parameters
    ----------
    number : int
        Of the first column.
    extremes : ndarray of float32, shape (column, channel, 2)
        Minimum and maximum; NaN where there is no sample.
    restarts : bool
        Whether what was drawn before is void.
    """

    number: int
    extremes: Floats
    restarts: bool = False


def column_rate(sfreq: float) -> float:
    """Return how many columns per second show a stream: two samples or more in each, at most 100.

    Parameters
    ----------
    sfreq : float
        Nominal rate in Hz; 0 for an irregular stream.
    """
    return min(_FASTEST_HZ, sfreq / 2) if sfreq > 0 else _IRREGULAR_HZ


class Columns:
    """Makes columns of samples, and keeps those of the last window.

    Parameters
    ----------
    n_channels : int
        How many traces.
    sfreq : float
        Nominal rate in Hz; 0 for an irregular stream.
    window_seconds : float
        How much is kept.
    """

    def __init__(
        self, n_channels: int, sfreq: float, window_seconds: float = WINDOW_SECONDS
    ) -> None:
        self.rate = column_rate(sfreq)
        self._hold = _HOLD_SECONDS if sfreq <= 0 else 1 / sfreq + GAP_SECONDS
        self._n_kept = max(1, round(window_seconds * self.rate))
        self._n_channels = n_channels
        self._made: list[Floats] = []
        self._restarts = False
        self._kept: list[Floats] = []
        self._open: Floats | None = None
        self._number = 0

    def push(self, values: np.ndarray, seconds: np.ndarray) -> None:
        """Take the next samples.

        Parameters
        ----------
        values : ndarray, shape (time, channel)
            Samples; NaN is nothing to draw.
        seconds : ndarray, shape (time,)
            When each was taken; small steps backwards are jitter, large ones a new clock.
        """
        if not len(seconds):
            return
        numbers = np.floor(np.asarray(seconds, float) * self.rate).astype(np.int64)
        if self._open is not None and numbers[0] < self._number - _RESTART_SECONDS * self.rate:
            self._restart()
        first = numbers[0] if self._open is None else self._number
        numbers = np.maximum.accumulate(np.maximum(numbers, first))
        starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
        values = np.asarray(values, np.float32)
        low = np.fmin.reduceat(values, starts, axis=0)
        high = np.fmax.reduceat(values, starts, axis=0)
        extremes = np.stack([low, high], axis=-1)
        if self._open is None:
            self._number, self._open = int(numbers[0]), extremes[0]
        for number, column in zip(numbers[starts].tolist(), extremes, strict=True):
            self._add(number, column)

    def _add(self, number: int, column: Floats) -> None:
        last = self._open if self._open is not None else column
        if number > self._number:
            between = number - self._number - 1
            held = between <= self._hold * self.rate
            filling = last if held else np.full_like(last, np.nan)
            self._made.append(last)
            # A pause longer than the screen is drawn as one screen of nothing.
            self._made += [filling] * min(between, self._n_kept)
            self._number, self._open = number, column
            return
        self._open = np.stack(
            [np.fmin(last[:, 0], column[:, 0]), np.fmax(last[:, 1], column[:, 1])], axis=-1
        )

    def _restart(self) -> None:
        self._made, self._kept, self._open, self._restarts = [], [], None, True

    def take(self) -> Block | None:
        """Return the columns that are complete since the last call, or None."""
        made, self._made = self._made[-self._n_kept :], []
        if not made:
            return None
        self._kept = [*self._kept, *made][-self._n_kept :]
        restarts, self._restarts = self._restarts, False
        return Block(self._number - len(made), np.stack(made), restarts)

    def kept(self) -> Block | None:
        """Return all columns of the last window that were taken, or None."""
        if not self._kept:
            return None
        first = self._number - len(self._made) - len(self._kept)
        return Block(first, np.stack(self._kept), True)


class DisplayFilter:
    """Takes away what is slower than 0.5 Hz, for display only: one pole, causal.

    Parameters
    ----------
    sfreq : float
        Nominal rate in Hz.
    n_channels : int
        How many traces.
    """

    def __init__(self, sfreq: float, n_channels: int) -> None:
        pole = 1 / (1 + 2 * np.pi * HIGH_PASS_HZ / sfreq)
        self._b, self._a = np.array([pole, -pole]), np.array([1.0, -pole])
        self._state: np.ndarray | None = None
        self._last = np.zeros(n_channels)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return filtered samples (time, channel); what is not finite comes back as NaN."""
        from scipy.signal import lfilter

        if not len(values):
            return values
        values = np.asarray(values, float)
        missing = ~np.isfinite(values)
        filled = self._filled(values, missing) if missing.any() else values
        if self._state is None:
            self._state = self._b[1] * filled[:1]
        self._last = filled[-1]
        filtered, self._state = lfilter(self._b, self._a, filled, axis=0, zi=self._state)
        filtered[missing] = np.nan
        return np.asarray(filtered)

    def _filled(self, values: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """Return values with the last one that was there in place of each that is missing."""
        at = np.where(missing, 0, np.arange(1, len(values) + 1)[:, None])
        np.maximum.accumulate(at, axis=0, out=at)
        known = np.concatenate([self._last[None], np.where(missing, 0.0, values)])
        return np.asarray(np.take_along_axis(known, at, axis=0))


def encode_blocks(blocks: Iterable[tuple[int, Block]], now_seconds: float) -> bytes:
    """Return the binary message of blocks of several streams.

    Little-endian: version and number of blocks (uint32), the time now (float64); for each block
    the stream's number, channels, columns and whether it restarts (uint32), the number of the
    first column (float64), and the extremes as float32 (column, channel, 2).
    """
    blocks = list(blocks)
    parts = [_MESSAGE.pack(_VERSION, len(blocks), now_seconds)]
    for stream, block in blocks:
        n_columns, n_channels, _ = block.extremes.shape
        parts.append(_BLOCK.pack(stream, n_channels, n_columns, block.restarts, block.number))
        parts.append(np.ascontiguousarray(block.extremes, "<f4").tobytes())
    return b"".join(parts)


def decode_blocks(message: bytes) -> tuple[float, Sequence[tuple[int, Block]]]:
    """Return the time and the blocks of a message; what the browser does, for tests and tools."""
    _, n_blocks, now = _MESSAGE.unpack_from(message)
    at, blocks = _MESSAGE.size, []
    for _ in range(n_blocks):
        stream, n_channels, n_columns, restarts, number = _BLOCK.unpack_from(message, at)
        at += _BLOCK.size
        n_values = n_columns * n_channels * 2
        values = np.frombuffer(message, "<f4", n_values, at).reshape(n_columns, n_channels, 2)
        blocks.append((stream, Block(int(number), values, bool(restarts))))
        at += values.nbytes
    return now, blocks
