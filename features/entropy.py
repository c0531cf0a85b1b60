"""Band differential entropy: streaming at heart, the batch call is its fold.

The default definition is ``gaussian-filter``: each channel is band-passed by a causal Butterworth
filter that runs through the whole stream, and a window's entropy is that of a Gaussian with the
variance of the filtered samples, ``0.5 * ln(2 * pi * e * variance)`` in nats. References: Shi,
Jiao and Lu (2013), Differential entropy feature for EEG-based vigilance estimation, IEEE EMBC
6627-6630; Duan, Zhu and Lu (2013), Differential entropy feature for EEG-based emotion
classification, IEEE/EMBS NER 81-84. The other definitions are in
:mod:`physioemo.features.entropy_definitions`.

All arithmetic happens on whole blocks whose borders lie at the multiples of the hop and at the
ends of the windows, counted from the first sample. A chunk only decides *when* a block is
computed, never *how*, so chunking cannot change a bit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from physioemo.errors import CallError, SignalError
from physioemo.features.entropy_definitions import (
    entropy_of_whole_signal,
    entropy_of_window,
)
from physioemo.features.entropy_parts import band_filters, entropy_of_variance, fill_missing
from physioemo.features.entropy_recipe import (
    BANDS,
    DEFINITIONS,
    OFFLINE,
    WINDOW_LOCAL,
    EntropyRecipe,
)
from physioemo.features.entropy_tiles import channel_groups, over_tiles

__all__ = [
    "BANDS",
    "DEFINITIONS",
    "EntropyRecipe",
    "EntropyState",
    "band_filters",
    "differential_entropy",
    "entropy_of_variance",
    "fill_missing",
    "start_entropy",
    "step_entropy",
]

_CHANNELS = 256  # of a group; smaller groups would wait for the interpreter


class Moments(NamedTuple):
    """Mean and summed squared deviation of one filtered block, each (band, channel).

    Also, by channel, whether all samples are present, and the lowest and the highest.
    """

    n: int
    mean: np.ndarray
    deviation: np.ndarray
    present: np.ndarray
    low: np.ndarray
    high: np.ndarray


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
    blocks : tuple of Moments or of ndarray
        Finished blocks that a later window still needs; raw samples (channel, time) where the
        definition is local to the window.
    block_index : int
        Number of blocks finished since the start.
    """

    filters: np.ndarray
    origin: np.ndarray
    held: np.ndarray
    rest: np.ndarray
    blocks: tuple[Any, ...] = field(default=())
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
    order: int = 0,
    unit: str = "nats",
) -> np.ndarray:
    """Return the differential entropy of each band in each window.

    Parameters
    ----------
    signal : ndarray, shape (channel, time)
        Samples; with values in microvolts, the entropy is that of microvolts. NaN and infinite
        samples are missing: a window that holds one is NaN in that channel. Channels are
        independent: equally long trials (trial, channel, time) reshaped to
        (trial * channel, time) are computed in one call, each from rest.
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
        float64, or float32 for the ``"gemm"`` engine. A definition with ``zero-phase`` in its
        name is offline only: it has one engine of its own, in float64.
    order : int, optional
        Order of the Butterworth filter; by default the definition's own.
    unit : {"nats", "bits"}
        Unit of the result.

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
        If the definition, engine or unit is not known.
    """
    signal = np.asarray(signal)
    recipe = EntropyRecipe.in_seconds(
        sfreq,
        bands=bands,
        window_seconds=window_seconds,
        hop_seconds=hop_seconds,
        definition=definition,
        order=order,
    )
    if unit not in ("nats", "bits"):
        raise CallError(f"found the unit {unit!r}, expected 'nats' or 'bits'; choose one")
    if signal.ndim != 2 or signal.shape[1] < recipe.window_samples:
        raise SignalError(
            f"found a signal of shape {signal.shape}, expected (channel, time) with at least "
            f"{recipe.window_samples} samples, one window"
        )
    nats = _by_engine(signal, recipe, engine, np.dtype(dtype))
    return nats / np.log(2) if unit == "bits" else nats


def _by_engine(
    signal: np.ndarray, recipe: EntropyRecipe, engine: str, dtype: np.dtype[Any]
) -> np.ndarray:
    """Return the entropy (window, channel, band) in nats by the engine of that name."""
    precise = dtype == np.float64
    if recipe.definition in OFFLINE and precise and engine in ("stream", "gemm"):
        return entropy_of_whole_signal(signal, recipe)
    if engine == "stream" and precise:
        return _fold(signal, recipe)
    if engine == "gemm" and recipe.definition not in OFFLINE:
        from physioemo.features.entropy_gemm import entropy_by_gemm

        return entropy_by_gemm(signal, recipe, dtype=dtype)
    if recipe.definition in OFFLINE:
        raise CallError(
            f"found the engine {engine!r} with {dtype}, expected float64 for the offline "
            f"definition {recipe.definition!r}; leave engine and dtype out"
        )
    raise CallError(
        f"found the engine {engine!r} with {dtype}, expected 'stream' with float64, "
        "or 'gemm' with float64 or float32"
    )


def _fold(signal: np.ndarray, recipe: EntropyRecipe) -> np.ndarray:
    """Fold :func:`step_entropy` over the whole signal.

    Channels are filtered one by one: in groups, on all cores, they give the same bits. Matrix
    products of the window-local definitions promise no such thing.
    """
    if recipe.definition in WINDOW_LOCAL or len(signal) <= _CHANNELS:
        return step_entropy(signal, start_entropy(len(signal), recipe), recipe)[0]
    n_windows = 1 + (signal.shape[1] - recipe.window_samples) // recipe.hop_samples
    entropy = np.empty((n_windows, len(signal), len(recipe.bands)))

    def work(groups: Iterator[slice]) -> None:
        for group in groups:
            part = signal[group]
            entropy[:, group] = step_entropy(part, start_entropy(len(part), recipe), recipe)[0]

    over_tiles(work, channel_groups(len(signal), _CHANNELS))
    return entropy


def start_entropy(n_channels: int, recipe: EntropyRecipe) -> EntropyState:
    """Return the state before the first sample.

    Raises
    ------
    CallError
        If the definition is offline only.
    """
    _refuse_offline(recipe)
    if recipe.definition in WINDOW_LOCAL:
        nothing = np.full(n_channels, np.nan)
        return EntropyState(
            np.empty((0, 0, n_channels, 2)), nothing, nothing, np.empty((n_channels, 0))
        )
    sections = band_filters(recipe)
    return EntropyState(
        filters=np.zeros((len(sections), sections[0].shape[0], n_channels, 2)),
        origin=np.full(n_channels, np.nan),
        held=np.full(n_channels, np.nan),
        rest=np.empty((n_channels, 0)),
    )


def _refuse_offline(recipe: EntropyRecipe) -> None:
    if recipe.definition in OFFLINE:
        raise CallError(
            f"found the definition {recipe.definition!r} in a stream, expected one that needs no "
            "future samples; use 'gaussian-filter' live, or call differential_entropy on a whole "
            "recording"
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

    Raises
    ------
    CallError
        If the definition is offline only.
    """
    _refuse_offline(recipe)
    rest = np.concatenate([state.rest, np.asarray(chunk, float)], axis=1)
    windows, at = [], 0
    while rest.shape[1] - at >= (n := _block_length(state.block_index, recipe)):
        block, state = _finish_block(rest[:, at : at + n], state, recipe)
        at += n
        blocks = (*state.blocks, block)[-_blocks_kept(recipe) :]
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
) -> tuple[Moments | np.ndarray, EntropyState]:
    """Filter one whole block in every band; return its moments and the new state.

    A definition that is local to the window has nothing to carry but the samples themselves.
    """
    if recipe.definition in WINDOW_LOCAL:
        return block.copy(), state
    from scipy.signal import sosfilt

    filled, present, origin, held = fill_missing(block, state.origin, state.held)
    filled = filled - np.where(np.isnan(origin), 0.0, origin)[:, None]
    mean = np.empty((len(recipe.bands), len(block)))
    deviation = np.empty_like(mean)
    filters = np.empty_like(state.filters)
    for b, sections in enumerate(band_filters(recipe)):
        filtered, filters[b] = sosfilt(sections, filled, axis=1, zi=state.filters[b])
        mean[b] = filtered.mean(axis=1)
        filtered -= mean[b, :, None]
        deviation[b] = np.square(filtered, out=filtered).sum(axis=1)
    whole = np.asarray(present.all(axis=1))
    moments = Moments(
        block.shape[1], mean, deviation, whole, filled.min(axis=1), filled.max(axis=1)
    )
    return moments, replace(state, filters=filters, origin=origin, held=held)


def _window_entropy(blocks: tuple[Any, ...], recipe: EntropyRecipe) -> np.ndarray:
    """Return the entropy of the window that ends with the last block, (channel, band)."""
    used = blocks[-_blocks_per_window(recipe) :]
    if recipe.definition in WINDOW_LOCAL:
        return entropy_of_window(np.concatenate(used, axis=1), recipe)
    n = sum(b.n for b in used)
    mean = sum(b.n * b.mean for b in used) / n
    # Chan's parallel variance: stable where sums of squares would cancel.
    deviation = sum(b.deviation + b.n * (b.mean - mean) ** 2 for b in used)
    present = np.logical_and.reduce([b.present for b in used])
    # A filter rings on after a channel has died: what it says then is no signal.
    alive = np.min([b.low for b in used], axis=0) < np.max([b.high for b in used], axis=0)
    return entropy_of_variance(np.where(present & alive, deviation / n, np.nan)).T
