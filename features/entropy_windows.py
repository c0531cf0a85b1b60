"""The vectorised engines of the window-local definitions: every window of a signal at once.

Spectral definitions take one fast Fourier transform per window and taper; ``window-filter`` a
product with its truncated matrix (short windows in float32), or the filter in blocks. Each thread
works on tiles of windows that stay in its cache.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from physioemo.features.entropy_factors import band_factors, band_spectrum
from physioemo.features.entropy_lifted import filtered_bands
from physioemo.features.entropy_parts import filters_of
from physioemo.features.entropy_recipe import EntropyRecipe
from physioemo.features.entropy_tiles import over_tiles, product, tiles_of

__all__ = ["entropy_of_all", "flat_windows"]

_SAMPLES_IN_CACHE = 1 << 18
_ROUNDING_VARIANCE = 2.0**-48 / 3  # of a sample of size 1 in float32
_ROUNDING_SHARE = 1.6e11  # times the rounding's power: then the entropy is right to 5e-6
_LONGEST_PRODUCT = 256  # samples: beyond, the filter in blocks needs fewer multiplications
_COLUMNS = 64
_ROWS_IN_BLOCKS = 256

Power = Callable[[np.ndarray, np.ndarray], None]
"""Takes windows (channel, window, time) and writes their power (row, band)."""


def entropy_of_all(
    windows: np.ndarray, recipe: EntropyRecipe, dtype: Any, law: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return the entropy of each band in each window, by a window-local definition.

    Parameters
    ----------
    windows : ndarray, shape (channel, window, time)
        Samples, float64; usually a view of overlapping windows.
    recipe : EntropyRecipe
        What to compute.
    dtype : dtype
        float64 or float32, the precision of the transforms and products. A window's level is
        removed in float64.
    law : callable
        Entropy of a power.

    Returns
    -------
    ndarray, shape (channel, window, band)
        NaN where a sample is missing (NaN or infinite) or all samples are equal.
    """
    entropy = np.empty((*windows.shape[:2], len(recipe.bands)))
    maker = _filter_power if recipe.definition == "window-filter" else _spectral_power

    def work(tiles: Iterator[tuple[slice, slice]]) -> None:
        power_of = maker(recipe, np.dtype(dtype))
        for tile in tiles:
            part = windows[tile]
            power = np.empty((part.shape[0] * part.shape[1], entropy.shape[2]))
            with np.errstate(invalid="ignore", over="ignore"):
                power_of(part, power)
                # Each coefficient and each variance depends on every sample.
                power[~np.isfinite(power)] = np.nan
                power[flat_windows(part)] = np.nan
                entropy[tile] = law(power).reshape(*part.shape[:2], -1)

    n_rows = max(1, _SAMPLES_IN_CACHE // recipe.window_samples)
    over_tiles(work, tiles_of(windows.shape[0], windows.shape[1], n_rows))
    return entropy


def flat_windows(windows: np.ndarray) -> np.ndarray:
    """Return which windows (channel, window, time), counted in rows, have all samples equal.

    Few windows begin with two equal samples, so few are looked at beyond.
    """
    suspects = np.flatnonzero(windows[..., 0] == windows[..., 1])
    rows = windows[np.unravel_index(suspects, windows.shape[:2])]
    return suspects[(rows == rows[:, :1]).all(axis=1)]


def _spectral_power(recipe: EntropyRecipe, dtype: np.dtype[Any]) -> Power:
    """Return what sums the squared magnitudes of tapered Fourier coefficients over each band."""
    from scipy.fft import rfft

    spectrum = band_spectrum(recipe, dtype == np.float64)
    tapers = spectrum.tapers.astype(dtype)
    n = tapers.shape[1]
    per_sample = np.full(n, 1 / n)
    bins = slice(2 * spectrum.bins.start, 2 * spectrum.bins.stop)  # as pairs of real numbers
    membership = np.repeat(spectrum.membership, 2, axis=0)
    # What rounding samples of size 1 to float32 adds to the power: white noise (Bennett 1948).
    keeps_level = all(response is not None for response in spectrum.responses)
    rounding = np.square(tapers).sum() / 2 * membership.sum(axis=0) * _ROUNDING_VARIANCE

    def as_they_are(windows: np.ndarray, out: np.ndarray) -> bool:
        """Write the power of windows with their level; return whether float32 can hold both."""
        peak = float(max(windows.max(initial=0), -windows.min(initial=0)))
        rows = windows.astype(np.float32).reshape(-1, n)
        total: Any = None
        for taper in tapers:
            pairs = rfft(rows * taper, axis=1, overwrite_x=True).view(dtype)[:, bins]
            energy = np.square(pairs, out=pairs)
            total = energy if total is None else total + energy
        out[...] = product(total, membership, np.empty(out.shape, dtype))
        return bool((out > _ROUNDING_SHARE * peak**2 * rounding).all())

    def power_of(windows: np.ndarray, out: np.ndarray) -> None:
        if dtype == np.float32 and keeps_level and as_they_are(windows, out):
            return
        mean = np.vecdot(windows, per_sample)[..., None]
        # A subtraction that also casts would hold the interpreter's lock.
        centred = np.subtract(windows, mean).astype(dtype, copy=False).reshape(-1, n)
        mean = mean.reshape(-1, 1).astype(dtype)
        total: Any = None
        for i, taper in enumerate(tapers):
            # The last taper needs the samples no more.
            last = centred if i == len(tapers) - 1 else None
            tapered = np.multiply(centred, taper, out=last)
            pairs = rfft(tapered, axis=1, overwrite_x=True).view(dtype)[:, bins]
            response = spectrum.responses[i]
            if response is not None:
                pairs = np.add(put_back := mean * response.view(dtype), pairs, out=put_back)
            energy = np.square(pairs, out=pairs)
            total = energy if total is None else total + energy
        out[...] = product(total, membership, np.empty(out.shape, dtype))

    return power_of


def _filter_power(recipe: EntropyRecipe, dtype: np.dtype[Any]) -> Power:
    """Return what computes the variance after each filter has run over each row from rest."""
    if dtype == np.float32 and recipe.window_samples <= _LONGEST_PRODUCT:
        return _truncated_power(recipe)
    filters = filters_of(recipe)

    def power_of(windows: np.ndarray, out: np.ndarray) -> None:
        rows = windows.reshape(len(out), -1)
        for at, band, filtered in filtered_bands(rows, filters, dtype, _ROWS_IN_BLOCKS):
            filtered -= filtered.mean(axis=1, keepdims=True)
            out[at, band] = np.vecdot(filtered, filtered) / rows.shape[1]

    return power_of


def _truncated_power(recipe: EntropyRecipe) -> Power:
    """Return what multiplies rows by the filter's truncated matrices in float32."""
    panels = _panels(recipe)
    per_sample = np.full(recipe.window_samples, 1 / recipe.window_samples)

    def power_of(windows: np.ndarray, out: np.ndarray) -> None:
        # A window's level is large and common to all its samples: kept apart, as a last column.
        level = np.vecdot(windows, per_sample)
        shape = (*windows.shape[:2], windows.shape[2] + 1)
        rows = np.empty(shape, np.float32)
        rows[..., :-1] = windows - level[..., None]
        rows[..., -1] = level
        rows = rows.reshape(len(out), -1)
        out[...] = 0
        for band, panel in panels:
            filtered = product(rows, panel, np.empty((len(rows), panel.shape[1]), np.float32))
            out[:, band] += np.vecdot(filtered, filtered)

    return power_of


@lru_cache(maxsize=16)
def _panels(recipe: EntropyRecipe) -> tuple[tuple[int, np.ndarray], ...]:
    """Return the columns of each band's matrix in panels of about equal width."""
    matrix, membership = band_factors(recipe, False)
    panels = []
    for band in range(membership.shape[1]):
        columns = np.flatnonzero(membership[:, band])
        for some in np.array_split(columns, -(-len(columns) // _COLUMNS)):
            panels.append((band, np.ascontiguousarray(matrix[:, some])))
    return tuple(panels)
