"""Band differential entropy: streaming at heart, the batch call is its fold.

Definition ``gaussian-filter``: each channel is band-passed by a causal Butterworth filter that
runs through the whole stream, and a window's entropy is that of a Gaussian with the variance of
the filtered samples, ``0.5 * ln(2 * pi * e * variance)`` in nats. References: Shi, Jiao and Lu
(2013), Differential entropy feature for EEG-based vigilance estimation, IEEE EMBC 6627-6630;
Duan, Zhu and Lu (2013), Differential entropy feature for EEG-based emotion classification,
IEEE/EMBS NER 81-84.

All arithmetic happens on whole blocks whose borders lie at the multiples of the hop and at the
ends of the windows, counted from the first sample. A chunk only decides *when* a block is
computed, never *how*, so chunking cannot change a bit.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from physioemo.errors import CallError, SignalError
from physioemo.fingerprint import config_fingerprint

__all__ = [
    "BANDS",
    "DEFINITIONS",
    "EntropyRecipe",
    "EntropyState",
    "differential_entropy",
    "entropy_of_variance",
    "start_entropy",
    "step_entropy",
]

BANDS: dict[str, tuple[float, float]] = {
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}
"""Bands in Hz as in the published inter-cortical transformer (arXiv 2511.13954)."""

DEFINITIONS = ("gaussian-filter",)


@dataclass(frozen=True)
class EntropyRecipe:
    """How entropy tokens are made: everything that changes a bit of the result.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.
    window_samples, hop_samples : int
        Length of a window and the step between two, in samples.
    bands : tuple of (str, float, float)
        Name, lower and upper edge in Hz.
    order : int
        Order of the Butterworth prototype (the band-pass has twice as many poles).
    definition : str
        One of :data:`DEFINITIONS`.

    Raises
    ------
    CallError, SignalError
        If the numbers contradict each other or a band does not fit below half the rate.
    """

    sfreq: float
    window_samples: int
    hop_samples: int
    bands: tuple[tuple[str, float, float], ...] = tuple((k, *v) for k, v in BANDS.items())
    order: int = 4
    definition: str = "gaussian-filter"

    def __post_init__(self) -> None:
        if self.definition not in DEFINITIONS:
            near = difflib.get_close_matches(self.definition, DEFINITIONS, n=1, cutoff=0)[0]
            raise CallError(
                f"found the entropy definition {self.definition!r}, expected one of "
                f"{', '.join(DEFINITIONS)}; did you mean {near!r}?"
            )
        if not (np.isfinite(self.sfreq) and self.sfreq > 0):
            raise SignalError(
                f"found a sampling rate of {self.sfreq} Hz, expected the signal's own positive "
                "rate; it is never assumed"
            )
        if self.window_samples < 2 or self.hop_samples < 1:
            raise CallError(
                f"found windows of {self.window_samples} and hops of {self.hop_samples} samples, "
                "expected at least 2 and 1; use longer windows"
            )
        for name, low, high in self.bands:
            if not 0 < low < high < self.sfreq / 2:
                raise SignalError(
                    f"found the band {name} {low:g}-{high:g} Hz at a sampling rate of "
                    f"{self.sfreq:g} Hz, expected 0 < low < high < {self.sfreq / 2:g} Hz; leave "
                    "the band out or use a signal with a higher rate"
                )

    @classmethod
    def in_seconds(
        cls,
        sfreq: float,
        *,
        bands: Mapping[str, tuple[float, float]] | None = None,
        window_seconds: float = 1.0,
        hop_seconds: float | None = None,
        **options: Any,
    ) -> "EntropyRecipe":
        """Return a recipe with lengths in seconds, rounded to whole samples."""
        hop_seconds = window_seconds if hop_seconds is None else hop_seconds
        rows = tuple((k, float(a), float(b)) for k, (a, b) in (bands or BANDS).items())
        lengths = [
            round(s * sfreq) if np.isfinite(sfreq) else 0 for s in (window_seconds, hop_seconds)
        ]
        return cls(float(sfreq), lengths[0], lengths[1], rows, **options)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(name for name, _, _ in self.bands)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a bit of the result."""
        return config_fingerprint(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {**self.__dict__, "bands": [list(b) for b in self.bands]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "EntropyRecipe":
        """Return the recipe that :meth:`to_dict` wrote."""
        bands = tuple((str(n), float(a), float(b)) for n, a, b in fields["bands"])
        return cls(**{**fields, "bands": bands})


class Moments(NamedTuple):
    """Mean and summed squared deviation of one block, each (band, channel)."""

    n: int
    mean: np.ndarray
    deviation: np.ndarray
    present: np.ndarray


@dataclass(frozen=True)
class EntropyState:
    """What the stream so far has left behind; never changed in place.

    Parameters
    ----------
    filters : ndarray, shape (band, section, channel, 2)
        Delay lines of the band-pass filters.
    origin, held : ndarray, shape (channel,)
        First sample (subtracted, so that a DC offset starts no transient) and last present one.
    rest : ndarray, shape (channel, time)
        Samples of the block that is not yet complete.
    blocks : tuple of Moments
        Finished blocks that a later window still needs.
    block_index : int
        Number of blocks finished since the start.
    """

    filters: np.ndarray
    origin: np.ndarray
    held: np.ndarray
    rest: np.ndarray
    blocks: tuple[Moments, ...] = field(default=())
    block_index: int = 0


def differential_entropy(
    signal: np.ndarray,
    sfreq: float,
    *,
    bands: Mapping[str, tuple[float, float]] | None = None,
    window_seconds: float = 1.0,
    hop_seconds: float | None = None,
    definition: str = "gaussian-filter",
    engine: str = "stream",
    dtype: Any = np.float64,
) -> np.ndarray:
    """Return the differential entropy of each band in each window, in nats.

    Parameters
    ----------
    signal : ndarray, shape (channel, time)
        Samples; with values in microvolts, the entropy is that of microvolts. NaN and infinite
        samples are missing: a window that holds one is NaN in that channel.
    sfreq : float
        Sampling rate in Hz.
    bands : mapping of str to (float, float), optional
        Edges in Hz, :data:`BANDS` by default.
    window_seconds, hop_seconds : float
        Length of a window, and the step between two (a window's length by default).
    definition : str
        One of :data:`DEFINITIONS`.
    engine : {"stream", "gemm"}
        ``"stream"`` folds :func:`step_entropy`, the code that runs live. ``"gemm"`` filters
        all blocks at once by matrix products and agrees with it within 1e-9 relative in
        float64 and 1e-5 in float32 (relative to ``max(1, |entropy|)``).
    dtype : dtype
        float64, or float32 for the ``"gemm"`` engine.

    Returns
    -------
    ndarray, shape (window, channel, band)
        NaN where a channel is flat or samples are missing, never minus infinity.

    Raises
    ------
    SignalError
        If the rate is unknown, a band does not fit, or the signal is not (channel, time) or
        shorter than one window.
    CallError
        If the definition or engine is not known.
    """
    signal = np.asarray(signal)
    recipe = EntropyRecipe.in_seconds(
        sfreq,
        bands=bands,
        window_seconds=window_seconds,
        hop_seconds=hop_seconds,
        definition=definition,
    )
    if signal.ndim != 2 or signal.shape[1] < recipe.window_samples:
        raise SignalError(
            f"found a signal of shape {signal.shape}, expected (channel, time) with at least "
            f"{recipe.window_samples} samples, one window"
        )
    if engine == "stream" and np.dtype(dtype) == np.float64:
        return step_entropy(signal, start_entropy(len(signal), recipe), recipe)[0]
    if engine == "gemm":
        from physioemo.features.entropy_gemm import entropy_by_gemm

        return entropy_by_gemm(signal, recipe, dtype=dtype)
    raise CallError(
        f"found the engine {engine!r} with {np.dtype(dtype)}, expected 'stream' with float64, "
        "or 'gemm' with float64 or float32"
    )


def start_entropy(n_channels: int, recipe: EntropyRecipe) -> EntropyState:
    """Return the state before the first sample."""
    sections = band_filters(recipe)
    return EntropyState(
        filters=np.zeros((len(sections), sections[0].shape[0], n_channels, 2)),
        origin=np.full(n_channels, np.nan),
        held=np.full(n_channels, np.nan),
        rest=np.empty((n_channels, 0)),
    )


def step_entropy(
    chunk: np.ndarray, state: EntropyState, recipe: EntropyRecipe
) -> tuple[np.ndarray, EntropyState]:
    """Take the next samples; return the entropy of every window that they complete.

    Parameters
    ----------
    chunk : ndarray, shape (channel, time)
        The next samples, any number of them.
    state : EntropyState
        From :func:`start_entropy` or the previous step; it stays valid.
    recipe : EntropyRecipe
        The same throughout a stream.

    Returns
    -------
    entropy : ndarray, shape (window, channel, band)
        In nats, NaN where a channel is flat or samples are missing; often no window at all.
    state : EntropyState
    """
    rest = np.concatenate([state.rest, np.asarray(chunk, float)], axis=1)
    windows, at = [], 0
    while rest.shape[1] - at >= (n := _block_length(state.block_index, recipe)):
        moments, state = _finish_block(rest[:, at : at + n], state, recipe)
        at += n
        blocks = (*state.blocks, moments)[-_blocks_kept(recipe) :]
        state = replace(state, blocks=blocks, block_index=state.block_index + 1)
        if _completes_window(state.block_index, recipe):
            windows.append(_window_entropy(state.blocks, recipe))
    state = replace(state, rest=rest[:, at:].copy())
    empty = (0, len(rest), len(recipe.bands))
    return (np.stack(windows) if windows else np.empty(empty)), state


def _block_length(index: int, recipe: EntropyRecipe) -> int:
    """Return the length of block `index`: hops, split where windows end within a hop."""
    split = recipe.window_samples % recipe.hop_samples
    if not split:
        return recipe.hop_samples
    return split if index % 2 == 0 else recipe.hop_samples - split


def _blocks_per_window(recipe: EntropyRecipe) -> int:
    hops, split = divmod(recipe.window_samples, recipe.hop_samples)
    return 2 * hops + 1 if split else hops


def _blocks_kept(recipe: EntropyRecipe) -> int:
    return _blocks_per_window(recipe)


def _completes_window(n_finished: int, recipe: EntropyRecipe) -> bool:
    """Return whether a window ends with the last finished block."""
    split = recipe.window_samples % recipe.hop_samples
    return n_finished >= _blocks_per_window(recipe) and (not split or n_finished % 2 == 1)


def _finish_block(
    block: np.ndarray, state: EntropyState, recipe: EntropyRecipe
) -> tuple[Moments, EntropyState]:
    """Filter one whole block in every band; return its moments and the new state."""
    from scipy.signal import sosfilt

    filled, present, origin, held = fill_missing(block, state.origin, state.held)
    filled = filled - np.where(np.isnan(origin), 0.0, origin)[:, None]
    filtered = np.empty((len(recipe.bands), *block.shape))
    filters = np.empty_like(state.filters)
    for b, sections in enumerate(band_filters(recipe)):
        filtered[b], filters[b] = sosfilt(sections, filled, axis=1, zi=state.filters[b])
    mean = filtered.mean(axis=2)
    deviation = ((filtered - mean[..., None]) ** 2).sum(axis=2)
    moments = Moments(block.shape[1], mean, deviation, np.asarray(present.all(axis=1)))
    return moments, replace(state, filters=filters, origin=origin, held=held)


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


def _window_entropy(blocks: tuple[Moments, ...], recipe: EntropyRecipe) -> np.ndarray:
    """Return the entropy of the window that ends with the last block, (channel, band)."""
    used = blocks[-_blocks_per_window(recipe) :]
    n = sum(b.n for b in used)
    mean = sum(b.n * b.mean for b in used) / n
    # Chan's parallel variance: stable where sums of squares would cancel.
    deviation = sum(b.deviation + b.n * (b.mean - mean) ** 2 for b in used)
    present = np.logical_and.reduce([b.present for b in used])
    return entropy_of_variance(np.where(present, deviation / n, np.nan)).T


def entropy_of_variance(variance: np.ndarray) -> np.ndarray:
    """Return ``0.5 * ln(2 * pi * e * variance)`` in nats; NaN where the variance is zero.

    The differential entropy of a Gaussian (Cover and Thomas, Elements of Information Theory,
    2nd ed., eq. 8.9).
    """
    # Filter residue of a constant input is rounding noise, not signal.
    alive = variance > 1e-20
    return 0.5 * np.log(2 * np.pi * np.e * np.where(alive, variance, np.nan))


def band_filters(recipe: EntropyRecipe) -> tuple[np.ndarray, ...]:
    """Return the second-order sections of each band's filter, each (section, 6)."""
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
