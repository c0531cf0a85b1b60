"""Parts that several definitions of entropy share: gaps, filters, the Gaussian's entropy."""

from functools import lru_cache

import numpy as np

from physioemo.errors import CallError
from physioemo.features.entropy_recipe import EntropyRecipe

__all__ = ["band_filters", "entropy_of_variance", "fill_missing", "filters_of"]


def fill_missing(
    block: np.ndarray, origin: np.ndarray, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hold the last present value over missing samples, so that filters stay finite.

    Returns
    -------
    filled, present : ndarray, shape (channel, time)
        Finite samples (zero before a channel's first present one), and where they are real.
    origin, held : ndarray, shape (channel,)
        First and last present value so far, NaN if there was none yet.
    """
    present = np.isfinite(block)
    if present.all():
        origin = np.where(np.isnan(origin), block[:, 0], origin)
        return np.ascontiguousarray(block), present, origin, block[:, -1].copy()
    at = np.where(present, np.arange(block.shape[1]), -1)
    last = np.maximum.accumulate(at, axis=1)
    filled = np.where(last >= 0, np.take_along_axis(block, np.maximum(last, 0), 1), held[:, None])
    first = np.where(
        present.any(axis=1), block[np.arange(len(block)), present.argmax(axis=1)], np.nan
    )
    origin = np.where(np.isnan(origin), first, origin)
    held = filled[:, -1].copy()
    # Before its first present sample a channel stands at its origin: the filter sees zero.
    before = np.where(np.isnan(origin), 0.0, origin)[:, None]
    return np.where(np.isnan(filled), before, filled), present, origin, held


def entropy_of_variance(variance: np.ndarray) -> np.ndarray:
    """Return ``0.5 * ln(2 * pi * e * variance)`` in nats; NaN where the variance is zero.

    The differential entropy of a Gaussian (Cover and Thomas, Elements of Information Theory,
    2nd ed., eq. 8.9).
    """
    # Filter residue of a constant input is rounding noise, not signal.
    alive = variance > 1e-20
    return 0.5 * np.log(2 * np.pi * np.e * np.where(alive, variance, np.nan))


def band_filters(recipe: EntropyRecipe) -> tuple[np.ndarray, ...]:
    """Return the sections (section, 6) of the filter that runs through the stream, per band.

    Raises
    ------
    CallError
        If the definition is another than ``gaussian-filter``: no filter runs through a stream.
    """
    if recipe.definition != "gaussian-filter":
        raise CallError(
            f"found the definition {recipe.definition!r}, expected 'gaussian-filter', the only "
            "one whose filter runs through the stream; call differential_entropy, which knows "
            "every definition"
        )
    return filters_of(recipe)


def filters_of(recipe: EntropyRecipe) -> tuple[np.ndarray, ...]:
    """Return the second-order sections (section, 6) of each band's Butterworth filter."""
    return _band_filters(recipe.sfreq, recipe.bands, recipe.order)


@lru_cache(maxsize=64)
def _band_filters(
    sfreq: float, bands: tuple[tuple[str, float, float], ...], order: int
) -> tuple[np.ndarray, ...]:
    from scipy.signal import butter

    return tuple(
        butter(order, (low, high), btype="bandpass", fs=sfreq, output="sos")
        for _, low, high in bands
    )
