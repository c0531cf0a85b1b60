"""Magnitude-squared coherence of all pairs of channels within one window, by Welch's method.

A window is cut into Hann-tapered segments of :data:`SEGMENT_SECONDS` that overlap by half, each
without its mean, as ``scipy.signal.coherence`` does. From one segment alone coherence is one
whatever the signals, so fewer than :data:`FEWEST_SEGMENTS` are refused.
"""

import numpy as np

from physioemo.errors import SignalError
from physioemo.features.eeg_windows import ROUNDING

__all__ = ["FEWEST_SEGMENTS", "SEGMENT_SECONDS", "band_coherence", "check_segments"]

SEGMENT_SECONDS = 0.5
"""Length of a segment: a resolution of 2 Hz, three segments in a window of 1 s."""

FEWEST_SEGMENTS = 3

Bands = tuple[tuple[str, float, float], ...]


def check_segments(n: int, sfreq: float, bands: Bands) -> None:
    """Refuse windows of `n` samples that hold too few segments, and bands without a frequency.

    Raises
    ------
    SignalError
        Naming what is missing.
    """
    found = len(_segment_starts(n, sfreq))
    if found < FEWEST_SEGMENTS:
        raise SignalError(
            f"found windows of {n / sfreq:g} s, {found} overlapping segments of "
            f"{SEGMENT_SECONDS:g} s, expected at least {FEWEST_SEGMENTS}, or coherence would be "
            f"close to 1 between any signals; use windows of {2 * SEGMENT_SECONDS:g} s or more"
        )
    for (name, low, high), bins in zip(bands, _band_bins(sfreq, bands), strict=True):
        if not len(bins):
            raise SignalError(
                f"found the band {name} {low:g}-{high:g} Hz, expected one that holds a multiple "
                f"of {sfreq / _segment_samples(sfreq):g} Hz, coherence's resolution; widen it"
            )


def band_coherence(windows: np.ndarray, sfreq: float, bands: Bands) -> np.ndarray:
    """Return the mean coherence over the frequencies of each band.

    Parameters
    ----------
    windows : ndarray, shape (window, channel, time)
        Finite samples.
    sfreq : float
        Sampling rate in Hz.
    bands : tuple of (str, float, float)
        Name, lower and upper edge in Hz; frequencies with ``low <= frequency < high`` count.

    Returns
    -------
    ndarray, shape (window, band, channel, channel)
        0 to 1; NaN where a channel has no power at one of the frequencies.
    """
    m, starts = _segment_samples(sfreq), _segment_starts(windows.shape[-1], sfreq)
    segments = np.stack([windows[..., s : s + m] for s in starts], axis=-2)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(m) / m)
    spectrum = np.fft.rfft((segments - segments.mean(axis=-1, keepdims=True)) * taper)
    floor = ROUNDING * m**2 * np.mean(windows**2, axis=-1)
    means = []
    for bins in _band_bins(sfreq, bands):
        # (window, bin, channel, segment), laid out so that the products run at full speed
        x = np.ascontiguousarray(spectrum[..., bins].transpose(0, 3, 1, 2))
        power = np.sum(x.real**2 + x.imag**2, axis=-1)
        there = power > floor[:, None]
        scale = np.where(there, 1 / np.sqrt(np.where(there, power, 1.0)), np.nan)
        x = x * scale[..., None]
        cross = x @ x.conj().transpose(0, 1, 3, 2)
        means.append(np.mean(cross.real**2 + cross.imag**2, axis=1))
    return np.minimum(np.stack(means, axis=1), 1.0)


def _segment_samples(sfreq: float) -> int:
    return max(2, round(SEGMENT_SECONDS * sfreq))


def _segment_starts(n: int, sfreq: float) -> range:
    """Return the first samples of the segments in a window of `n`."""
    m = _segment_samples(sfreq)
    return range(0, n - m + 1, m // 2)


def _band_bins(sfreq: float, bands: Bands) -> list[np.ndarray]:
    """Return the bins of a segment that lie in each band."""
    resolution = sfreq / _segment_samples(sfreq)
    edges = [[int(np.ceil(e / resolution - 1e-9)) for e in (low, high)] for _, low, high in bands]
    return [np.arange(first, stop) for first, stop in edges]
