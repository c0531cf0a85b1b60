"""Window-local band power as a quadratic form: one matrix per band.

Filtering a window from rest, multiplying it by a taper, taking Fourier coefficients and removing
a mean are all linear. The power of a band in a window of samples ``x`` is therefore
``|x F|**2``, and one matrix product with `F` gives it for all windows and channels at once.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from physioemo.errors import SignalError
from physioemo.features.entropy_parts import filters_of
from physioemo.features.entropy_recipe import EntropyRecipe

__all__ = ["Factors", "Spectrum", "band_factors", "band_spectrum", "hann_taper", "multitapers"]

TIME_HALFBANDWIDTH = 2.0
"""Of the multitaper: each taper smears a line over 2 / window length Hz to either side."""

_FLOAT32_TRUNCATION = 1e-5


class Factors(NamedTuple):
    """The matrices of all bands side by side, for one product.

    Parameters
    ----------
    matrix : ndarray, shape (time + 1, rank)
        One row a sample; the last is the response to a constant one, so that an offset can be
        kept apart from the samples.
    membership : ndarray, shape (rank, band)
        One where a column belongs to a band, else zero: it sums squares.
    """

    matrix: np.ndarray
    membership: np.ndarray


class Spectrum(NamedTuple):
    """The same quadratic forms for a Fourier transform, where the definition is spectral.

    Parameters
    ----------
    tapers : ndarray, shape (taper, time)
        With all constant factors in them.
    responses : tuple of ndarray, shape (bin,), or None
        What a window's mean adds to the coefficients; None where the definition removes it.
    bins : slice
        The bins of all bands.
    membership : ndarray, shape (bin, band)
        What the squared magnitude of a coefficient counts in a band.
    """

    tapers: np.ndarray
    responses: tuple[np.ndarray | None, ...]
    bins: slice
    membership: np.ndarray


@lru_cache(maxsize=16)
def band_factors(recipe: EntropyRecipe, precise: bool = True) -> Factors:
    """Return the matrices `F` (time, rank) with which ``|x F|**2`` is the power of each band.

    Parameters
    ----------
    recipe : EntropyRecipe
        With one of :data:`~physioemo.features.entropy_recipe.WINDOW_LOCAL`.
    precise : bool
        float64, or shorter float32 matrices without the directions whose gain is below 1e-5 of
        the largest (by singular values): float32 cannot tell them from rounding.

    Returns
    -------
    Factors
        Cached: not to be written to.

    Raises
    ------
    SignalError
        If the window is too short to resolve a frequency of a band.
    """
    bands = [_FACTORS[recipe.definition](recipe, b) for b in range(len(recipe.bands))]
    bands = bands if precise else [_truncated(b) for b in bands]
    # The response is summed before it is rounded: a removed mean stays removed in float32.
    matrix = np.concatenate([np.vstack([b, b.sum(axis=0)]) for b in bands], axis=1)
    ranks = [b.shape[1] for b in bands]
    membership = np.repeat(np.eye(len(bands)), ranks, axis=0)
    dtype = np.float64 if precise else np.float32
    return Factors(matrix.astype(dtype), membership.astype(dtype))


def _truncated(factor: np.ndarray) -> np.ndarray:
    """Return a matrix with the same quadratic form and the weakest directions left out."""
    left, gains, _ = np.linalg.svd(factor, full_matrices=False)
    kept = gains > _FLOAT32_TRUNCATION * gains[0]
    return np.asarray(left[:, kept] * gains[kept])


def _filter_factor(recipe: EntropyRecipe, band: int) -> np.ndarray:
    """Butterworth filter from rest, then the variance about the window's own mean."""
    from scipy.signal import sosfilt

    n = recipe.window_samples
    filtered = sosfilt(filters_of(recipe)[band], np.eye(n), axis=1)
    return np.asarray((filtered - filtered.mean(axis=1, keepdims=True)) / np.sqrt(n))


def _spectral_factor(recipe: EntropyRecipe, band: int) -> np.ndarray:
    """Tapered cosines and sines at the bins of the band."""
    tapers, removes_mean = _scaled_tapers(recipe)
    bins, weight = _bins(recipe, band)
    factor = np.concatenate([_fourier(bins, t * np.sqrt(weight)) for t in tapers], axis=1)
    return factor - factor.mean(axis=0) if removes_mean else factor


@lru_cache(maxsize=16)
def band_spectrum(recipe: EntropyRecipe, precise: bool = True) -> Spectrum:
    """Return tapers and bins with which a Fourier transform gives the power of each band.

    Parameters
    ----------
    recipe : EntropyRecipe
        With a spectral one of :data:`~physioemo.features.entropy_recipe.WINDOW_LOCAL`.
    precise : bool
        float64, or float32.

    Returns
    -------
    Spectrum
        Cached: not to be written to.

    Raises
    ------
    SignalError
        If the window is too short to resolve a frequency of a band.
    """
    tapers, removes_mean = _scaled_tapers(recipe)
    bands = [_bins(recipe, b) for b in range(len(recipe.bands))]
    bins = slice(min(b[0] for b, _ in bands), 1 + max(b[-1] for b, _ in bands))
    membership = np.zeros((bins.stop - bins.start, len(bands)))
    for band, (indices, weight) in enumerate(bands):
        membership[indices - bins.start, band] = weight
    response = np.fft.rfft(tapers, axis=1)[:, bins]
    real, complex_ = (np.float64, np.complex128) if precise else (np.float32, np.complex64)
    return Spectrum(
        tapers,
        tuple(None if removes_mean else r.astype(complex_) for r in response),
        bins,
        membership.astype(real),
    )


def _scaled_tapers(recipe: EntropyRecipe) -> tuple[np.ndarray, bool]:
    """Return the tapers (taper, time), and whether the window's mean is removed before.

    ``stft-hann`` takes the script's Hann taper as it is, the calibrated ones are one-sided
    spectra: white noise keeps its power.
    """
    n = recipe.window_samples
    if recipe.definition == "multitaper":
        tapers, weights = multitapers(n)
        return tapers * np.sqrt(2 * weights / n)[:, None], True
    taper = hann_taper(n)[None]
    if recipe.definition == "stft-hann":
        return taper, False
    return taper * np.sqrt(2 / (n * np.sum(taper**2))), True


def _bins(recipe: EntropyRecipe, band: int) -> tuple[np.ndarray, float]:
    """Return the Fourier bins of a band, and the weight of each."""
    if recipe.definition == "stft-hann":
        bins = _seed_bins(recipe, band)
        return bins, 1 / len(bins)
    return _bins_between(recipe, band), 1.0


def _seed_bins(recipe: EntropyRecipe, band: int) -> np.ndarray:
    """Return the bins that SEED's own script averages.

    The script (MATLAB, bins counted from 1) takes ``floor(low)`` to ``floor(high)`` in units of
    the resolution, so that its slice starts and ends one bin below the band. Bin -1 is left out.
    """
    n = recipe.window_samples
    _, low, high = recipe.bands[band]
    # Rounding must not push an edge that lies on a bin to the bin below.
    first, last = (int(np.floor(edge * n / recipe.sfreq + 1e-9)) for edge in (low, high))
    return np.arange(max(first - 1, 0), max(last, 1))


_FACTORS: dict[str, Any] = {
    "window-filter": _filter_factor,
    "stft-hann": _spectral_factor,
    "stft-hann-calibrated": _spectral_factor,
    "multitaper": _spectral_factor,
}


def hann_taper(n: int) -> np.ndarray:
    """Return MATLAB's ``hanning(n)``: the symmetric Hann window without its two zeros."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, n + 1) / (n + 1)))


def multitapers(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return three Slepian tapers (taper, time) of unit energy and their weights.

    The tapers are periodic ones, as MNE-Python's ``psd_array_multitaper`` uses them.

    Weights are the tapers' energy concentrations, normed to a sum of one (Percival and Walden
    1993, Spectral Analysis for Physical Applications, eq. 369a).
    """
    from scipy.signal.windows import dpss

    tapers, concentration = dpss(
        n, TIME_HALFBANDWIDTH, Kmax=3, sym=False, norm=2, return_ratios=True
    )
    return tapers, concentration / concentration.sum()


def _bins_between(recipe: EntropyRecipe, band: int) -> np.ndarray:
    """Return the Fourier bins with ``low <= frequency < high``."""
    name, low, high = recipe.bands[band]
    n, sfreq = recipe.window_samples, recipe.sfreq
    first, stop = (int(np.ceil(edge * n / sfreq - 1e-9)) for edge in (low, high))
    if first >= stop:
        raise SignalError(
            f"found windows of {n / sfreq:g} s, a resolution of {sfreq / n:g} Hz, expected at "
            f"least one frequency in the band {name} {low:g}-{high:g} Hz; use longer windows"
        )
    return np.arange(first, stop)


def _fourier(bins: np.ndarray, taper: np.ndarray) -> np.ndarray:
    """Return the tapered cosines and sines of some bins, (time, 2 * bin)."""
    n = len(taper)
    # Whole turns are dropped in integers, where nothing is rounded.
    turns = np.outer(np.arange(n), bins) % n / n
    waves = np.concatenate([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=1)
    return np.asarray(waves * taper[:, None])
