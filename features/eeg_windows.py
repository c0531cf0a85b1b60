"""What the window-local families of an EEG stream share: its channels in microvolts, what is alive.

A channel is dead in a window where a sample is missing (NaN or infinite) or all are equal. Its
samples are then replaced by zeros, so that nothing else is touched, and its values become NaN.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from physioemo.description import StreamDescription
from physioemo.errors import SignalError
from physioemo.features.entropy_recipe import EntropyRecipe
from physioemo.features.family import WindowGrid, window_view
from physioemo.units import conversion_factor

__all__ = [
    "ROUNDING",
    "EegChannels",
    "alive_windows",
    "by_stacks",
    "checked_bands",
    "eeg_channels",
    "in_windows",
    "picked_description",
]

ROUNDING = 1e-24
"""Power below this share of the window's mean square is rounding noise, not signal."""

_STACK_VALUES = 1 << 15  # samples of windows at once: their spectra still fit the cache


@dataclass(frozen=True)
class EegChannels:
    """The EEG channels of a stream.

    Parameters
    ----------
    names : tuple of str
        In the stream's order.
    index : ndarray of int, shape (channel,)
        Where they are in the stream.
    factor : ndarray, shape (channel,)
        What turns each into microvolts.
    n_channels : int
        Channels of the stream, EEG or not.
    """

    names: tuple[str, ...]
    index: np.ndarray
    factor: np.ndarray
    n_channels: int

    def pick(self, samples: np.ndarray) -> np.ndarray:
        """Return the EEG of samples (..., channel, time) in microvolts."""
        return np.asarray(samples[..., self.index, :] * self.factor[:, None])

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return values (window, EEG channel, last) over all channels, NaN where one is no EEG.

        All families of a stream then share one axis of channels.
        """
        if len(self.index) == self.n_channels:
            return values
        everywhere = np.full((len(values), self.n_channels, values.shape[2]), np.nan)
        everywhere[:, self.index] = values
        return everywhere


def eeg_channels(description: StreamDescription, *, at_least: int = 1) -> EegChannels:
    """Return the channels of a stream that are EEG by their type.

    Raises
    ------
    SignalError
        If there are too few, or the stream has no rate.
    UnitError
        If a unit does not convert to microvolts.
    """
    index = [i for i, kind in enumerate(description.ch_types) if kind == "eeg"]
    if len(index) < at_least:
        raise SignalError(
            f"stream {description.name!r}: found {len(index)} EEG channels among "
            f"{', '.join(description.ch_names)}, expected at least {at_least}; state the channel "
            "types, or leave this feature out"
        )
    if not description.sfreq > 0:
        raise SignalError(
            f"stream {description.name!r}: found a rate of {description.sfreq:g} Hz, expected the "
            "EEG's own positive rate; it is never assumed"
        )
    factor = np.array([conversion_factor(description.units[i], "uV") for i in index])
    names = tuple(description.ch_names[i] for i in index)
    return EegChannels(names, np.array(index, int), factor, len(description.ch_names))


def picked_description(
    description: StreamDescription, channels: EegChannels, keep: list[int]
) -> StreamDescription:
    """Return the description of some of the EEG channels, in microvolts."""
    names = tuple(channels.names[i] for i in keep)
    n = len(names)
    return replace(description, ch_names=names, units=("uV",) * n, ch_types=("eeg",) * n)


def checked_bands(
    bands: Mapping[str, tuple[float, float]], sfreq: float, grid: WindowGrid
) -> tuple[tuple[str, float, float], ...]:
    """Return bands as rows of name, lower and upper edge in Hz.

    Raises
    ------
    SignalError
        If the rate is unknown or a band does not fit below half the rate.
    """
    rows = tuple((name, float(low), float(high)) for name, (low, high) in bands.items())
    return EntropyRecipe(sfreq, grid.window_samples, grid.hop_samples, rows).bands


def alive_windows(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return windows (window, channel, time) with dead channels at zero, and which are alive."""
    with np.errstate(invalid="ignore"):
        changing = (windows != windows[..., :1]).any(axis=-1)
    alive = np.isfinite(windows).all(axis=-1) & changing
    return np.where(alive[..., None], windows, 0.0), alive


def in_windows(
    function: Callable[[np.ndarray], np.ndarray], signal: np.ndarray, grid: WindowGrid
) -> np.ndarray:
    r"""Return a function's values (window, \*dims) in every window of a signal (channel, time).

    Raises
    ------
    SignalError
        If the signal is not (channel, time) or shorter than one window.
    """
    signal = np.asarray(signal, float)
    if signal.ndim != 2 or not grid.n_windows(signal.shape[1]):
        raise SignalError(
            f"found a signal of shape {signal.shape}, expected (channel, time) with at least "
            f"{grid.window_samples} samples, one window"
        )
    view = window_view(signal, grid)
    return by_stacks(function, view)


def by_stacks(function: Callable[[np.ndarray], np.ndarray], windows: np.ndarray) -> np.ndarray:
    """Return a function of at least one window, taken over as many at once as a cache holds."""
    at_once = max(1, _STACK_VALUES // max(1, windows[0].size))
    parts = [windows[k : k + at_once] for k in range(0, len(windows), at_once)]
    return np.concatenate([function(np.ascontiguousarray(part)) for part in parts])
