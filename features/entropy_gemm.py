"""The vectorised batch engine of band differential entropy: filters as matrix products.

Channels are independent: a (trial, channel, time) array reshaped to (trial * channel, time) is
computed in one call, all trials at once, each from rest.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from physioemo.features.entropy import EntropyRecipe, band_filters, entropy_of_variance
from physioemo.features.entropy_definitions import entropy_of_windows, missing_in_windows
from physioemo.features.entropy_lifted import filtered_bands
from physioemo.features.entropy_parts import fill_missing
from physioemo.features.entropy_recipe import WINDOW_LOCAL
from physioemo.features.entropy_tiles import channel_groups, over_tiles, thread_count
from physioemo.features.entropy_windows import flat_windows
from physioemo.features.family import WindowGrid, window_view

__all__ = ["entropy_by_gemm"]

_CHANNELS, _FEWEST_CHANNELS = 64, 16  # of a group
_SAMPLES_IN_CACHE = 1 << 16


def entropy_by_gemm(signal: np.ndarray, recipe: EntropyRecipe, *, dtype: Any) -> np.ndarray:
    """Return the entropy of every window, shape (window, channel, band), in nats.

    Agrees with :func:`physioemo.features.entropy.step_entropy` within 1e-9 (float64) or 1e-5
    (float32), relative to ``max(1, |entropy|)``.

    Parameters
    ----------
    signal : ndarray, shape (channel, time)
        Samples; NaN is missing.
    recipe : EntropyRecipe
        What to compute.
    dtype : dtype
        Precision of the products; states and variances are float64 throughout.
    """
    if recipe.definition in WINDOW_LOCAL:
        return entropy_of_windows(signal, recipe, dtype=dtype)
    filters = band_filters(recipe)
    n_windows = max(0, 1 + (signal.shape[1] - recipe.window_samples) // recipe.hop_samples)
    entropy = np.empty((n_windows, len(signal), len(filters)))

    def work(tiles: Iterator[slice]) -> None:
        for tile in tiles:
            variance = _variance(np.asarray(signal[tile], float), filters, recipe, dtype)
            entropy[:, tile] = entropy_of_variance(variance).transpose(1, 0, 2)

    if n_windows:
        size = min(max(-(-len(signal) // thread_count()), _FEWEST_CHANNELS), _CHANNELS)
        over_tiles(work, channel_groups(len(signal), size))
    return entropy


def _variance(
    signal: np.ndarray, filters: tuple[np.ndarray, ...], recipe: EntropyRecipe, dtype: Any
) -> np.ndarray:
    """Return the variance (channel, window, band), NaN where samples are missing."""
    nothing = np.full(len(signal), np.nan)
    filled, present, origin, _ = fill_missing(signal, nothing, nothing)
    filled = filled - np.where(np.isnan(origin), 0.0, origin)[:, None]
    missing = missing_in_windows(None if present.all() else present, recipe)
    lengths = _block_lengths(signal.shape[1], recipe)
    mean = np.empty((len(signal), len(lengths), len(filters)))
    deviation = np.empty_like(mean)
    n_rows = max(1, _SAMPLES_IN_CACHE // signal.shape[1])
    for rows, band, filtered in filtered_bands(filled, filters, dtype, n_rows):
        mean[rows, :, band], deviation[rows, :, band] = _moments(filtered, lengths)
    variance = _window_variance(mean, deviation, lengths, recipe)
    variance[np.broadcast_to(missing, variance.shape[:2])] = np.nan
    windows = window_view(filled, WindowGrid(recipe.window_samples, recipe.hop_samples))
    # A filter rings on after a channel has died: what it says then is no signal.
    flat = flat_windows(windows.transpose(1, 0, 2))
    variance[np.unravel_index(flat, variance.shape[:2])] = np.nan
    return variance


def _block_lengths(n_samples: int, recipe: EntropyRecipe) -> np.ndarray:
    """Return the lengths of the blocks of which windows consist.

    A window is a run of hops; where it does not end with a hop, each hop is split there.
    """
    n, hop = recipe.window_samples, recipe.hop_samples
    n_hops, split = divmod(n, hop)
    n_more = (n_samples - n) // hop
    if not split:
        return np.full(n_hops + n_more, hop)
    return np.resize([split, hop - split], 2 * (n_hops + n_more) + 1)


def _moments(filtered: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and summed squared deviation (row, block); overwrites its input."""
    starts = np.cumsum(lengths) - lengths
    values = filtered[:, : lengths.sum()]
    mean = np.add.reduceat(values, starts, axis=1) / lengths.astype(filtered.dtype)
    if len(set(lengths)) == 1:
        blocks = values.reshape(len(values), len(lengths), lengths[0])
        blocks -= mean[..., None]
        return mean, np.vecdot(blocks, blocks)
    values -= np.repeat(mean, lengths, axis=1)
    np.square(values, out=values)
    return mean, np.add.reduceat(values, starts, axis=1)


def _window_variance(
    mean: np.ndarray, deviation: np.ndarray, lengths: np.ndarray, recipe: EntropyRecipe
) -> np.ndarray:
    """Return the variance (channel, window, band) from moments (channel, block, band)."""
    n_hops, split = divmod(recipe.window_samples, recipe.hop_samples)
    step, per_window = (2, 2 * n_hops + 1) if split else (1, n_hops)
    last = len(lengths) - per_window + 1
    runs = [slice(j, j + last, step) for j in range(per_window)]
    whole = sum(n * mean[:, run] for n, run in zip(lengths, runs, strict=False))
    whole /= recipe.window_samples
    # Chan's parallel variance: stable where sums of squares would cancel.
    total = np.zeros_like(whole)
    for n, run in zip(lengths, runs, strict=False):
        total += deviation[:, run] + n * (mean[:, run] - whole) ** 2
    return np.asarray(total / recipe.window_samples)
