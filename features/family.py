"""What a family of features is: an extractor that takes a stream chunk by chunk.

An extractor sees the samples of one stretch of one stream, from its first sample on. The windows
lie on the grid that begins with that sample. ``step`` is the one definition of the feature and
runs live; a chunk only decides *when* a window is computed, never *how*, so chunking cannot
change a bit. ``batch`` is the engine for whole recordings: the fold of ``step``, or a vectorised
one that agrees with it within 1e-9 relative in float64.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physioemo.description import StreamDescription
from physioemo.errors import CallError
from physioemo.features.entropy_recipe import BANDS

__all__ = [
    "Extractor",
    "Family",
    "FamilyOptions",
    "WindowGrid",
    "WindowState",
    "start_windows",
    "step_windows",
    "window_local",
    "window_view",
]

_STACK_VALUES = 1 << 21  # samples of a stack of windows that the batch engine copies at once


@dataclass(frozen=True)
class WindowGrid:
    """Where windows lie: counted in samples from the first one.

    Parameters
    ----------
    window_samples, hop_samples : int
        Length of a window and the step between two.
    """

    window_samples: int
    hop_samples: int

    def __post_init__(self) -> None:
        if self.window_samples < 2 or self.hop_samples < 1:
            raise CallError(
                f"found windows of {self.window_samples} and hops of {self.hop_samples} samples, "
                "expected at least 2 and 1; use longer windows"
            )

    @classmethod
    def in_seconds(cls, sfreq: float, window_seconds: float, hop_seconds: float) -> "WindowGrid":
        """Return the grid of a sampling rate.

        Raises
        ------
        CallError
            If a length is no whole number of samples: windows of several streams would drift
            apart.
        """
        samples = []
        for what, seconds in (("window", window_seconds), ("hop", hop_seconds)):
            n = seconds * sfreq
            if not (n > 0 and abs(n - round(n)) < 1e-6 * max(1.0, n)):
                raise CallError(
                    f"found a {what} of {seconds:g} s at {sfreq:g} Hz, {n:g} samples, expected a "
                    "whole number of samples; choose another length"
                )
            samples.append(round(n))
        return cls(*samples)

    def n_windows(self, n_samples: int) -> int:
        """Return how many windows a stretch of that length holds."""
        return max(0, (n_samples - self.window_samples) // self.hop_samples + 1)


@dataclass(frozen=True)
class FamilyOptions:
    """What the families can be told, beside the grid.

    Parameters
    ----------
    bands : mapping of str to (float, float)
        Edges in Hz.
    entropy_definition : str
        A row of :data:`physioemo.features.entropy.DEFINITIONS`.
    hrv_window_seconds : float
        How far back heart-rate variability looks.
    """

    bands: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(BANDS))
    entropy_definition: str = "gaussian-filter"
    hrv_window_seconds: float = 30.0


@dataclass(frozen=True)
class Extractor:
    r"""One family of features over one stream.

    Parameters
    ----------
    coords : mapping of str to tuple of str
        The axes after ``window`` in their order, and what stands along each.
    units : tuple of str
        One unit for all, or one per entry of the last axis.
    start : callable
        ``start() -> state``, before the first sample.
    step : callable
        ``step(chunk, state) -> (values, state)``: the next samples (channel, time), any number
        of them; values (window, \\*dims) of the windows that they complete. The state that was
        passed stays valid.
    batch : callable
        ``batch(signal) -> values`` for a whole stretch (channel, time).
    fingerprint : str
        Hash of everything that changes a bit of the result.
    warm_up_seconds : float
        How long the signal before a window can still be seen in its values.
    """

    coords: Mapping[str, tuple[str, ...]]
    units: tuple[str, ...]
    start: Callable[[], Any]
    step: Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]
    batch: Callable[[np.ndarray], np.ndarray]
    fingerprint: str
    warm_up_seconds: float = 0.0


@dataclass(frozen=True)
class Family:
    """One row of the table of families.

    Parameters
    ----------
    name, title : str
        As on the command line, and in words.
    modalities : tuple of str
        The kinds of stream that it reads: the first that a recording has.
    prepare : callable
        ``prepare(description, grid, options) -> Extractor``; raises what is wrong with the
        stream (unit, rate, channels) before any sample is read.
    offline : bool
        Whether values depend on samples after their window.
    """

    name: str
    title: str
    modalities: tuple[str, ...]
    prepare: Callable[[StreamDescription, WindowGrid, FamilyOptions], Extractor]
    offline: bool = False


@dataclass(frozen=True)
class WindowState:
    """Samples that a later window still needs.

    Parameters
    ----------
    rest : ndarray, shape (channel, time)
        From the first sample of the next window on.
    skip : int
        Samples still to pass over before the next window begins.
    """

    rest: np.ndarray
    skip: int = 0


def start_windows(n_channels: int) -> WindowState:
    """Return the state before the first sample."""
    return WindowState(np.empty((n_channels, 0)))


def step_windows(
    chunk: np.ndarray, state: WindowState, grid: WindowGrid
) -> tuple[list[np.ndarray], WindowState]:
    """Take the next samples (channel, time); return the windows (channel, time) they complete."""
    chunk = np.asarray(chunk, float)
    skipped = min(state.skip, chunk.shape[1])
    rest = np.concatenate([state.rest, chunk[:, skipped:]], axis=1)
    n = grid.n_windows(rest.shape[1])
    starts = np.arange(n) * grid.hop_samples
    windows = [rest[:, s : s + grid.window_samples].copy() for s in starts]
    used = n * grid.hop_samples
    left = max(0, used - rest.shape[1])
    return windows, WindowState(rest[:, used:].copy(), state.skip - skipped + left)


def window_view(signal: np.ndarray, grid: WindowGrid) -> np.ndarray:
    """Return a read-only view (window, channel, time) of a stretch (channel, time)."""
    if not grid.n_windows(signal.shape[1]):
        return np.empty((0, len(signal), grid.window_samples))
    view = np.lib.stride_tricks.sliding_window_view(signal, grid.window_samples, axis=1)
    return view[:, :: grid.hop_samples].transpose(1, 0, 2)


def window_local(
    function: Callable[[np.ndarray], np.ndarray],
    n_channels: int,
    grid: WindowGrid,
    *,
    coords: Mapping[str, tuple[str, ...]],
    units: tuple[str, ...],
    fingerprint: str,
) -> Extractor:
    r"""Return the extractor of a feature that sees nothing but the window's own samples.

    Parameters
    ----------
    function : callable
        Windows (window, channel, time), NaN where missing, to values (window, \\*dims), NaN
        where they cannot be had.
    n_channels : int
        Channels of the stream.
    grid : WindowGrid
        Where the windows lie.
    coords, units, fingerprint
        As in :class:`Extractor`.
    """
    shape = tuple(len(names) for names in coords.values())

    def step(chunk: np.ndarray, state: WindowState) -> tuple[np.ndarray, WindowState]:
        windows, after = step_windows(chunk, state, grid)
        # One at a time: a product over a stack may round otherwise than over one window.
        values = [np.asarray(function(w[None]), float)[0] for w in windows]
        return (np.stack(values) if values else np.empty((0, *shape))), after

    def batch(signal: np.ndarray) -> np.ndarray:
        view = window_view(np.asarray(signal, float), grid)
        at_once = max(1, _STACK_VALUES // max(1, n_channels * grid.window_samples))
        parts = [
            np.asarray(function(np.ascontiguousarray(view[k : k + at_once])), float)
            for k in range(0, len(view), at_once)
        ]
        return np.concatenate(parts) if parts else np.empty((0, *shape))

    return Extractor(
        coords=dict(coords),
        units=units,
        start=lambda: start_windows(n_channels),
        step=step,
        batch=batch,
        fingerprint=fingerprint,
    )
