"""Extractors that look back further than their window: a breath or a heartbeat outlasts a second.

A value belongs to the window that ends with the last sample of its context and depends on
nothing else: no sample after the window, none before the context. At the start of a stretch the
context is shorter, and what too few samples cannot tell is NaN.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioemo.description import StreamDescription
from physioemo.errors import SignalError
from physioemo.features.family import Extractor, WindowGrid, WindowState, step_windows, window_view
from physioemo.fingerprint import config_fingerprint
from physioemo.modality import MODALITIES

__all__ = ["channels_of_kind", "trailing_extractor"]

Floats = NDArray[np.float64]


def channels_of_kind(
    description: StreamDescription, modalities: tuple[str, ...], *, least_hz: float
) -> tuple[str, list[int]]:
    """Return the first of the modalities that the stream has, and the places of its channels.

    Parameters
    ----------
    description : StreamDescription
        The stream; a channel's own type counts before the stream's.
    modalities : tuple of str
        Rows of :data:`physioemo.modality.MODALITIES`, the preferred one first.
    least_hz : float
        Lowest usable sampling rate.

    Raises
    ------
    SignalError
        If the stream has no such channel or is too slow.
    """
    kinds = [m for m in modalities if m in description.ch_types]
    if not kinds:
        named = ", ".join(
            f"{n} ({t})" for n, t in zip(description.ch_names, description.ch_types, strict=True)
        )
        known = " or ".join(repr(s) for m in modalities for s in MODALITIES[m].spellings[:1])
        raise SignalError(
            f"found the channels {named} in the stream {description.name!r}, expected one of the "
            f"type {known}; state the types of the channels"
        )
    if not description.sfreq >= least_hz:
        raise SignalError(
            f"found a sampling rate of {description.sfreq:g} Hz in the stream "
            f"{description.name!r}, expected at least {least_hz:g} Hz for {kinds[0]}; use the "
            "original, faster recording"
        )
    return kinds[0], [i for i, kind in enumerate(description.ch_types) if kind == kinds[0]]


def trailing_extractor(
    function: Callable[[Floats, int], Floats],
    description: StreamDescription,
    picks: list[int],
    grid: WindowGrid,
    *,
    context_seconds: float,
    axis: str,
    units: Mapping[str, str],
    recipe: Mapping[str, Any],
) -> Extractor:
    """Return the extractor of a feature of the last seconds of single channels.

    Parameters
    ----------
    function : callable
        ``function(context, channel) -> values``: the samples (time,) of one channel up to the
        end of a window, NaN where missing, and which of the `picks` it is, to values (feature,).
        At the start of a stretch it gets what there is: at least one window.
    description : StreamDescription
        The stream.
    picks : list of int
        The channels that are read.
    grid : WindowGrid
        Where the windows lie.
    context_seconds : float
        How far back from the end of a window values look; at least the window itself.
    axis : str
        Name of the axis of features, after ``channel``.
    units : mapping of str to str
        The features in order, and the unit of each.
    recipe : mapping of str to Any
        Constants that change the result, for the fingerprint (JSON-able).
    """
    n_context = max(grid.window_samples, round(context_seconds * description.sfreq))
    looking_back = WindowGrid(n_context, grid.hop_samples)
    # Infinite samples stand before the first one: those of a stream that are, are missing.
    before = np.full((len(picks), n_context - grid.window_samples), np.inf)
    shape = (len(picks), len(units))

    def picked(signal: np.ndarray) -> np.ndarray:
        chosen = np.asarray(signal, float)[picks]
        return np.where(np.isfinite(chosen), chosen, np.nan)

    def values_of(context: np.ndarray) -> np.ndarray:
        begun = np.count_nonzero(np.isinf(context[0]))
        return np.stack([function(one[begun:].copy(), i) for i, one in enumerate(context)])

    def stacked(values: list[np.ndarray]) -> np.ndarray:
        return np.stack(values) if values else np.empty((0, *shape))

    def step(chunk: np.ndarray, state: WindowState) -> tuple[np.ndarray, WindowState]:
        contexts, after = step_windows(picked(chunk), state, looking_back)
        return stacked([values_of(c) for c in contexts]), after

    def batch(signal: np.ndarray) -> np.ndarray:
        padded = np.concatenate([before, picked(signal)], axis=1)
        view = window_view(padded, looking_back)
        return stacked([values_of(context) for context in view])

    names = tuple(description.ch_names[i] for i in picks)
    return Extractor(
        coords={"channel": names, axis: tuple(units)},
        units=tuple(units.values()),
        start=lambda: WindowState(before),
        step=step,
        batch=batch,
        fingerprint=config_fingerprint(
            {
                "axis": axis,
                "channels": names,
                "context_samples": n_context,
                "features": dict(units),
                "grid": [grid.window_samples, grid.hop_samples],
                "recipe": dict(recipe),
                "sfreq": description.sfreq,
            }
        ),
        warm_up_seconds=(n_context - grid.window_samples) / description.sfreq,
    )
