"""How strongly two electrodes go together in each band: three measures within one window.

- ``amplitude_correlation``: Pearson's correlation of the two amplitude envelopes, Fisher-z
  (Bruns et al. 2000, NeuroReport 11:1509-1514).
- ``coherence``: magnitude-squared coherence by Welch's method (Carter, Knapp and Nuttall 1973,
  IEEE Trans. Audio Electroacoust. 21:337-344), the mean over the band's frequencies.
- ``phase_locking``: length of the mean phase difference (Lachaux et al. 1999, Hum. Brain Mapp.
  8:194-208).

Nothing but the window is seen: its straight line is taken off and the Fourier coefficients of the
band alone are turned back into an analytic signal, so that there is no warm-up. Two channels that
have nothing to do with one another do not measure zero: phase locking is then about
``0.8 / sqrt(n)`` with ``n = (high - low) * window_seconds``, and coherence about one over the
number of segments (:mod:`physioemo.features.coherence`); a third in a window of 1 s. Compare only
windows of one length. A common reference and volume conduction raise all three.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from physioemo.description import StreamDescription
from physioemo.errors import SignalError
from physioemo.features.coherence import (
    band_coherence,
    check_segments,
)
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

__all__ = [
    "CONNECTIVITY",
    "HIGHEST_CORRELATION",
    "MEASURES",
    "connectivity",
    "connectivity_pairs",
]

MEASURES = ("amplitude_correlation", "coherence", "phase_locking")
"""The measures in their order."""

HIGHEST_CORRELATION = 1 - 1e-6
"""Fisher's z of a correlation beyond this is that of this one, 7.25: it is never infinite."""

_FEWEST_FREQUENCIES = 3  # one alone has a constant amplitude and a constant phase difference
_LEAST_MODULATION = 1e-12  # variance of an envelope by its mean square

Bands = tuple[tuple[str, float, float], ...]


def connectivity(
    signal: np.ndarray,
    sfreq: float,
    *,
    bands: Mapping[str, tuple[float, float]] | None = None,
    window_seconds: float = 1.0,
    hop_seconds: float | None = None,
) -> np.ndarray:
    """Return the connectivity of each pair of channels in each band and window.

    Parameters
    ----------
    signal : ndarray, shape (channel, time)
        Samples; NaN and infinite ones are missing.
    sfreq : float
        Sampling rate in Hz.
    bands : mapping of str to (float, float), optional
        Edges in Hz, :data:`~physioemo.features.entropy_recipe.BANDS` by default.
    window_seconds, hop_seconds : float
        Length of a window, and the step between two (a window's length by default).

    Returns
    -------
    ndarray, shape (window, measure, pair, band)
        Measures in the order of :data:`MEASURES`, pairs in that of
        ``numpy.triu_indices(channel, 1)``. NaN where either channel is flat, has missing samples
        or nothing in the band.

    Raises
    ------
    SignalError
        If there are fewer than two channels, or the windows are too short: for three frequencies
        in each band, or for three segments of
        :data:`~physioemo.features.coherence.SEGMENT_SECONDS`.
    CallError
        If a length is no whole number of samples.
    """
    hop_seconds = window_seconds if hop_seconds is None else hop_seconds
    grid = WindowGrid.in_seconds(sfreq, window_seconds, hop_seconds)
    rows = _checked(bands or BANDS, sfreq, grid)
    if np.ndim(signal) == 2 and len(signal) < 2:
        raise SignalError(
            f"found {len(signal)} channel, expected at least 2; leave connectivity out"
        )
    return in_windows(partial(_measures, sfreq=sfreq, bands=rows), signal, grid)


def connectivity_pairs(ch_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of all pairs, such as ``"F3-F4"``, in their order."""
    first, second = np.triu_indices(len(ch_names), 1)
    return tuple(f"{ch_names[i]}-{ch_names[j]}" for i, j in zip(first, second, strict=True))


def _checked(bands: Mapping[str, tuple[float, float]], sfreq: float, grid: WindowGrid) -> Bands:
    """Return the bands as rows, if the windows are long enough for them."""
    rows, n = checked_bands(bands, sfreq, grid), grid.window_samples
    for name, low, high in rows:
        if (found := len(_bins(n, sfreq, low, high))) < _FEWEST_FREQUENCIES:
            raise SignalError(
                f"found windows of {n / sfreq:g} s, {found} frequencies in the band {name} "
                f"{low:g}-{high:g} Hz, expected at least {_FEWEST_FREQUENCIES}; use longer windows"
            )
    check_segments(n, sfreq, rows)
    return rows


def _bins(n: int, sfreq: float, low: float, high: float) -> np.ndarray:
    """Return the Fourier bins with ``low <= frequency < high``."""
    first, stop = (int(np.ceil(edge * n / sfreq - 1e-9)) for edge in (low, high))
    return np.arange(first, stop)


def _measures(windows: np.ndarray, *, sfreq: float, bands: Bands) -> np.ndarray:
    """Return all measures (window, measure, pair, band) of windows (window, channel, time)."""
    filled, alive = alive_windows(windows)
    spectrum = np.fft.rfft(_without_trend(filled))
    floor = ROUNDING * np.mean(filled**2, axis=-1)
    coherence = band_coherence(filled, sfreq, bands)
    first, second = np.triu_indices(windows.shape[1], 1)
    values = np.full((len(windows), len(MEASURES), len(first), len(bands)), np.nan)
    for b, (_, low, high) in enumerate(bands):
        bins = _bins(windows.shape[-1], sfreq, low, high)
        analytic, power = _analytic(spectrum, bins, windows.shape[-1])
        there = alive & (power > floor)
        both = there[:, first] & there[:, second]
        envelope = np.abs(analytic)
        amplitude, phase = _amplitude_correlation(envelope), _phase_locking(analytic, envelope)
        for measure, matrix in enumerate((amplitude, coherence[:, b], phase)):
            values[:, measure, :, b] = np.where(both, matrix[:, first, second], np.nan)
    return values


def _without_trend(windows: np.ndarray) -> np.ndarray:
    """Return windows (..., time) without their straight line."""
    time = np.arange(windows.shape[-1]) - (windows.shape[-1] - 1) / 2
    centred = windows - windows.mean(axis=-1, keepdims=True)
    slope = (centred * time).sum(axis=-1, keepdims=True) / np.sum(time**2)
    return np.asarray(centred - slope * time)


def _analytic(spectrum: np.ndarray, bins: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a band's analytic signal (window, channel, time) and its power (window, channel).

    It is moved down to 0 Hz, which no measure here can see: all turn on differences of phase.
    """
    inside = spectrum[..., bins]
    power = 2 * np.sum(inside.real**2 + inside.imag**2, axis=-1) / n**2
    return np.fft.ifft(inside, n=n), power


def _amplitude_correlation(envelope: np.ndarray) -> np.ndarray:
    """Return Fisher's z of the correlation of envelopes (window, channel, channel)."""
    centred = envelope - envelope.mean(axis=-1, keepdims=True)
    energy = np.sum(centred**2, axis=-1, keepdims=True)
    modulated = energy > _LEAST_MODULATION * np.sum(envelope**2, axis=-1, keepdims=True)
    scale = np.where(modulated, 1 / np.sqrt(np.where(modulated, energy, 1.0)), np.nan)
    normed = centred * scale
    correlation = normed @ normed.transpose(0, 2, 1)
    return np.arctanh(np.clip(correlation, -HIGHEST_CORRELATION, HIGHEST_CORRELATION))


def _phase_locking(analytic: np.ndarray, envelope: np.ndarray) -> np.ndarray:
    """Return the length of the mean phase difference (window, channel, channel)."""
    scale = 1 / np.where(envelope > 0, envelope, 1.0)
    # Two products of real numbers take half the time of one of complex ones.
    cosine, sine = analytic.real * scale, analytic.imag * scale
    phase = np.concatenate([cosine, sine], axis=-1)
    crossed = sine @ cosine.transpose(0, 2, 1)
    real, imaginary = phase @ phase.transpose(0, 2, 1), crossed - crossed.transpose(0, 2, 1)
    return np.minimum(np.sqrt(real**2 + imaginary**2) / analytic.shape[-1], 1.0)


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    channels, sfreq = eeg_channels(description, at_least=2), description.sfreq
    bands = _checked(options.bands, sfreq, grid)
    function = partial(_measures, sfreq=sfreq, bands=bands)
    return window_local(
        lambda windows: by_stacks(lambda w: function(channels.pick(w)), windows),
        len(description.ch_names),
        grid,
        coords={
            "measure": MEASURES,
            "pair": connectivity_pairs(channels.names),
            "band": tuple(options.bands),
        },
        units=("1",),
        fingerprint=config_fingerprint(
            {"family": "connectivity", "sfreq": sfreq, "bands": bands, **grid.__dict__}
        ),
    )


CONNECTIVITY = Family(
    "connectivity",
    "amplitude correlation, coherence and phase locking between electrodes",
    ("eeg",),
    _prepare,
)
