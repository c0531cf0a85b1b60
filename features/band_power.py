"""Power of each band in microvolts squared, and its share of all bands' power.

Each window's mean is taken off, the window multiplied by a Hann taper, and its one-sided
periodogram (Welch 1967, IEEE Trans. Audio Electroacoust. 15:70-73) integrated over each band. A
Fourier bin stands for the stretch of one resolution about it, and a bin that an edge cuts is
shared between the bands on either side (the trapezoid rule where edges lie on bins). So a sine
of amplitude A within a band has the power A**2 / 2, white noise of variance v has
``v * 2 * (high - low) / sfreq`` whatever the window's length, and adjoining bands add up. The
entropy definition ``stft-hann-calibrated`` counts whole bins instead.
"""

from collections.abc import Mapping
from functools import lru_cache, partial

import numpy as np

from physioemo.description import StreamDescription
from physioemo.errors import SignalError
from physioemo.features.eeg_windows import (
    ROUNDING,
    alive_windows,
    by_stacks,
    checked_bands,
    eeg_channels,
    in_windows,
)
from physioemo.features.entropy_recipe import BANDS
from physioemo.features.family import Extractor, Family, FamilyOptions, WindowGrid, window_local
from physioemo.fingerprint import config_fingerprint

__all__ = ["BAND_POWER", "RELATIVE_BAND_POWER", "band_power", "band_weights", "hann_periodogram"]

Bands = tuple[tuple[str, float, float], ...]


def band_power(
    signal: np.ndarray,
    sfreq: float,
    *,
    bands: Mapping[str, tuple[float, float]] | None = None,
    window_seconds: float = 1.0,
    hop_seconds: float | None = None,
    relative: bool = False,
) -> np.ndarray:
    """Return the power of each band in each window.

    Parameters
    ----------
    signal : ndarray, shape (channel, time)
        Samples; with values in microvolts, the power is in microvolts squared. NaN and infinite
        samples are missing: a window that holds one is NaN in that channel.
    sfreq : float
        Sampling rate in Hz.
    bands : mapping of str to (float, float), optional
        Edges in Hz, :data:`~physioemo.features.entropy_recipe.BANDS` by default.
    window_seconds, hop_seconds : float
        Length of a window, and the step between two (a window's length by default).
    relative : bool
        Return the share, 0 to 1, of the power within the union of the bands.

    Returns
    -------
    ndarray, shape (window, channel, band)
        NaN where a channel is flat or samples are missing.

    Raises
    ------
    SignalError
        If a band does not fit or is not resolved, or the signal is not (channel, time) or
        shorter than one window.
    CallError
        If a length is no whole number of samples.
    """
    hop_seconds = window_seconds if hop_seconds is None else hop_seconds
    grid = WindowGrid.in_seconds(sfreq, window_seconds, hop_seconds)
    rows = checked_bands(bands or BANDS, sfreq, grid)
    _check_resolution(rows, grid.window_samples, sfreq)
    function = partial(_power, sfreq=sfreq, bands=rows, relative=relative)
    return in_windows(function, signal, grid)


def hann_periodogram(windows: np.ndarray, sfreq: float) -> np.ndarray:
    """Return the one-sided spectral density (..., bin) of windows (..., time) without their mean.

    As ``scipy.signal.periodogram(windows, sfreq, window="hann")``.
    """
    n = windows.shape[-1]
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    spectrum = np.fft.rfft((windows - windows.mean(axis=-1, keepdims=True)) * taper)
    density = (spectrum.real**2 + spectrum.imag**2) / (sfreq * np.sum(taper**2))
    density[..., 1 : (n + 1) // 2] *= 2  # all but 0 Hz and half the rate have a mirror image
    return np.asarray(density)


@lru_cache(maxsize=64)
def band_weights(n: int, sfreq: float, bands: Bands) -> np.ndarray:
    """Return the matrix (bin, band) that integrates a spectral density over bands, in Hz.

    Parameters
    ----------
    n : int
        Samples of a window.
    sfreq : float
        Sampling rate in Hz.
    bands : tuple of (str, float, float)
        Name, lower and upper edge in Hz.

    Returns
    -------
    ndarray, shape (bin, band)
        How much of each bin's stretch of frequency lies in each band. Cached: not to be
        written to.
    """
    at = np.fft.rfftfreq(n, 1 / sfreq)[:, None]
    half = sfreq / n / 2
    low, high = np.array([edges[1:] for edges in bands]).T
    inside = np.minimum(at + half, high) - np.maximum(at - half, low)
    return np.asarray(np.maximum(inside, 0.0))


def _union(bands: Bands) -> Bands:
    """Return the stretches that the bands cover, each once."""
    merged: list[tuple[str, float, float]] = []
    for _, low, high in sorted(bands, key=lambda band: band[1:]):
        if merged and low <= merged[-1][2]:
            merged[-1] = ("", merged[-1][1], max(high, merged[-1][2]))
        else:
            merged.append(("", low, high))
    return tuple(merged)


def _check_resolution(bands: Bands, n: int, sfreq: float) -> None:
    """Refuse a band in which no bin above 0 Hz lies."""
    for name, low, high in bands:
        first = max(1.0, np.ceil(low * n / sfreq - 1e-9))
        if first >= high * n / sfreq - 1e-9:
            raise SignalError(
                f"found windows of {n / sfreq:g} s, a resolution of {sfreq / n:g} Hz, expected at "
                f"least one frequency in the band {name} {low:g}-{high:g} Hz; use longer windows"
            )


def _power(windows: np.ndarray, *, sfreq: float, bands: Bands, relative: bool) -> np.ndarray:
    """Return the power (window, channel, band) of windows (window, channel, time)."""
    filled, alive = alive_windows(windows)
    density, n = hann_periodogram(filled, sfreq), windows.shape[-1]
    power = density @ band_weights(n, sfreq, bands)
    if relative:
        total = (density @ band_weights(n, sfreq, _union(bands))).sum(axis=-1)
        alive &= total > ROUNDING * np.mean(filled**2, axis=-1)
        # Rounding must not lift the share of a lone band above 1.
        power = np.minimum(power / np.where(alive, total, 1.0)[..., None], 1.0)
    return np.where(alive[..., None], power, np.nan)


def _prepare(
    description: StreamDescription, grid: WindowGrid, options: FamilyOptions, *, relative: bool
) -> Extractor:
    channels, sfreq = eeg_channels(description), description.sfreq
    bands = checked_bands(options.bands, sfreq, grid)
    _check_resolution(bands, grid.window_samples, sfreq)
    function = partial(_power, sfreq=sfreq, bands=bands, relative=relative)
    recipe = {"family": "psd", "relative": relative, "sfreq": sfreq, "bands": bands}
    return window_local(
        lambda windows: channels.spread(by_stacks(lambda w: function(channels.pick(w)), windows)),
        len(description.ch_names),
        grid,
        coords={"channel": description.ch_names, "band": tuple(options.bands)},
        units=("1",) if relative else ("uV^2",),
        fingerprint=config_fingerprint({**recipe, **grid.__dict__}),
    )


BAND_POWER = Family(
    "psd", "power of each band (Hann periodogram)", ("eeg",), partial(_prepare, relative=False)
)
RELATIVE_BAND_POWER = Family(
    "relative-psd",
    "each band's share of the power in all bands",
    ("eeg",),
    partial(_prepare, relative=True),
)
