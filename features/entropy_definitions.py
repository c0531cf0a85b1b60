"""The named definitions of differential entropy beside the default one.

``gaussian-filter-zero-phase`` filters the whole signal forwards and backwards (Gustafsson 1996,
IEEE Trans. Signal Process. 44:988-992) and is acausal: offline only. The others see nothing but
the window:

- ``window-filter``: each window filtered from rest, then ``0.5 * ln(2 * pi * e * variance)``
  (Fdez et al. 2021, Front. Neurosci. 15:626277, as TorchEEG's ``BandDifferentialEntropy``).
- ``stft-hann``: ``ln(100 * E)`` with `E` the mean squared magnitude of the Hann-windowed Fourier
  coefficients, the script that accompanies SEED (Duan, Zhu and Lu 2013, IEEE/EMBS NER 81-84;
  Zheng and Lu 2015, IEEE Trans. Auton. Ment. Dev. 7:162-175). It has neither the factor one half
  nor a normed spectrum: values are about twice as steep as an entropy and far above it.
- ``stft-hann-calibrated``: the same taper as a one-sided periodogram (Welch 1967, IEEE Trans.
  Audio Electroacoust. 15:70-73) summed over the band, then the Gaussian's entropy.
- ``multitaper``: likewise with three Slepian tapers (Thomson 1982, Proc. IEEE 70:1055-1096).

The calibrated ones give white noise of variance v the power ``v * 2 * (high - low) / sfreq``.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from physioemo.errors import SignalError
from physioemo.features.entropy_factors import band_factors
from physioemo.features.entropy_parts import entropy_of_variance, fill_missing, filters_of
from physioemo.features.entropy_recipe import EntropyRecipe
from physioemo.features.entropy_windows import entropy_of_all, flat_windows

__all__ = [
    "entropy_of_whole_signal",
    "entropy_of_window",
    "entropy_of_windows",
    "missing_in_windows",
]

_LONGEST_MATRIX = 1024  # samples: beyond, running the filter beats multiplying by its matrix


def entropy_of_window(window: np.ndarray, recipe: EntropyRecipe) -> np.ndarray:
    """Return the entropy of one window by a window-local definition.

    Parameters
    ----------
    window : ndarray, shape (channel, time)
        One window's samples; NaN and infinite ones are missing.
    recipe : EntropyRecipe
        What to compute.

    Returns
    -------
    ndarray, shape (channel, band)
        In nats; NaN where samples are missing or all are equal.
    """
    with np.errstate(invalid="ignore"):
        alive = np.isfinite(window).all(axis=1) & (window != window[:, :1]).any(axis=1)
    rows = np.zeros((len(window), window.shape[1] + 1))
    rows[alive, :-1] = window[alive]
    power = _power(rows, recipe)
    return np.where(alive[:, None], _entropy(power, recipe), np.nan)


def entropy_of_windows(signal: np.ndarray, recipe: EntropyRecipe, *, dtype: Any) -> np.ndarray:
    """Return the entropy of every window of a signal by a window-local definition.

    Agrees with :func:`entropy_of_window` within 1e-9 (float64) or 1e-5 (float32), relative to
    ``max(1, |entropy|)``.

    Parameters
    ----------
    signal : ndarray, shape (channel, time)
        Samples; NaN and infinite ones are missing.
    recipe : EntropyRecipe
        What to compute.
    dtype : dtype
        float64 or float32, the precision of the products.

    Returns
    -------
    ndarray, shape (window, channel, band)
        In nats.
    """
    windows = _windows(np.asarray(signal, float), recipe)
    entropy = entropy_of_all(
        windows, _without_hop(recipe), dtype, lambda power: _entropy(power, recipe)
    )
    return entropy.transpose(1, 0, 2)


def _power(rows: np.ndarray, recipe: EntropyRecipe) -> np.ndarray:
    """Return the power (row, band) in windows (row, time + 1) with their offset at the end."""
    if recipe.definition == "window-filter" and recipe.window_samples > _LONGEST_MATRIX:
        return _power_of_filtered(rows[:, :-1].astype(float) + rows[:, -1:], recipe)
    matrix, membership = band_factors(_without_hop(recipe), rows.dtype == np.float64)
    projected = rows @ matrix
    np.square(projected, out=projected)
    return np.asarray(projected @ membership)


def _power_of_filtered(rows: np.ndarray, recipe: EntropyRecipe) -> np.ndarray:
    """Return the variance (row, band) after each filter has run over each row from rest."""
    from scipy.signal import sosfilt

    filters = filters_of(recipe)
    return np.stack([sosfilt(f, rows, axis=1).var(axis=1) for f in filters], axis=1)


@lru_cache(maxsize=64)
def _without_hop(recipe: EntropyRecipe) -> EntropyRecipe:
    """Return the recipe of any hop: the matrices depend on the window alone."""
    return replace(recipe, hop_samples=1)


def _entropy(power: np.ndarray, recipe: EntropyRecipe) -> np.ndarray:
    """Return the entropy in nats of a power, by the law of the definition."""
    if recipe.definition == "stft-hann":
        return np.log(100 * np.where(power > 0, power, np.nan))
    return entropy_of_variance(power)


def _windows(values: np.ndarray, recipe: EntropyRecipe) -> np.ndarray:
    """Return a view (channel, window, time) of overlapping windows."""
    view = np.lib.stride_tricks.sliding_window_view(values, recipe.window_samples, axis=1)
    return view[:, :: recipe.hop_samples]


def missing_in_windows(present: np.ndarray | None, recipe: EntropyRecipe) -> np.ndarray:
    """Return where (channel, window) a sample is missing."""
    if present is None:
        return np.asarray(False)
    before = np.pad(np.cumsum(~present, axis=1), ((0, 0), (1, 0)))
    n = recipe.window_samples
    return np.asarray(before[:, n:] != before[:, :-n])[:, :: recipe.hop_samples]


def entropy_of_whole_signal(signal: np.ndarray, recipe: EntropyRecipe) -> np.ndarray:
    """Return the entropy of every window after filtering the signal without phase shift.

    Definition ``gaussian-filter-zero-phase``. Each value depends on samples after its window:
    it cannot be had live, and a decoder trained on it would meet other values live.

    Parameters
    ----------
    signal : ndarray, shape (channel, time)
        The whole recording; NaN and infinite samples are missing (held for the filter, and NaN
        in the windows that contain them).
    recipe : EntropyRecipe
        What to compute.

    Returns
    -------
    ndarray, shape (window, channel, band)
        In nats.

    Raises
    ------
    SignalError
        If the signal is shorter than the stretch by which the filter extends it.
    """
    nothing = np.full(len(signal), np.nan)
    filled, present, origin, _ = fill_missing(np.asarray(signal, float), nothing, nothing)
    filled = filled - np.where(np.isnan(origin), 0.0, origin)[:, None]
    _check_long_enough(filled.shape[1], recipe)
    variance = np.stack([_zero_phase_variance(filled, f, recipe) for f in filters_of(recipe)], -1)
    variance[missing_in_windows(present, recipe)] = np.nan
    flat = flat_windows(_windows(filled, recipe))
    variance[np.unravel_index(flat, variance.shape[:2])] = np.nan
    return entropy_of_variance(variance).transpose(1, 0, 2)


def _zero_phase_variance(
    filled: np.ndarray, sections: np.ndarray, recipe: EntropyRecipe
) -> np.ndarray:
    """Return the variance (channel, window) after filtering forwards and backwards."""
    from scipy.signal import sosfiltfilt

    filtered = sosfiltfilt(sections, filled, axis=1)
    return np.asarray(_windows(filtered, recipe).var(axis=2))


def _check_long_enough(n: int, recipe: EntropyRecipe) -> None:
    """Refuse a signal that sosfiltfilt could not extend by its odd reflection."""
    extension = 3 * (2 * recipe.order + 1)  # scipy.signal.sosfiltfilt's padlen
    if n <= extension:
        raise SignalError(
            f"found a signal of {n} samples, expected more than {extension} for the definition "
            f"{recipe.definition!r}; use a longer signal or 'gaussian-filter'"
        )
