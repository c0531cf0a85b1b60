"""What is done to an EEG stream before features: reference and causal filters, chunk by chunk."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from physioemo.errors import CallError, SignalError
from physioemo.features.entropy_parts import fill_missing

__all__ = [
    "Conditioning",
    "ConditioningState",
    "condition",
    "start_conditioning",
    "step_conditioning",
]

_ORDER = 4
_NOTCH_QUALITY = 30.0


@dataclass(frozen=True)
class Conditioning:
    """Reference and filters.

    Parameters
    ----------
    reference : str
        ``"none"`` leaves the signal as it is, ``"average"`` subtracts the mean of the channels
        that are there, and the name of a channel subtracts that one.
    highpass_hz, lowpass_hz : float
        Edges of a causal Butterworth filter of order 4; 0 for none.
    notch_hz : float
        Line frequency to take out (second-order notch, quality 30); 0 for none.

    Raises
    ------
    CallError
        If an edge is negative or the edges cross.
    """

    reference: str = "none"
    highpass_hz: float = 0.0
    lowpass_hz: float = 0.0
    notch_hz: float = 0.0

    def __post_init__(self) -> None:
        edges = (self.highpass_hz, self.lowpass_hz, self.notch_hz)
        if not all(np.isfinite(e) and e >= 0 for e in edges):
            raise CallError(f"found the filter edges {edges} Hz, expected 0 (none) or above")
        if self.lowpass_hz and self.lowpass_hz <= self.highpass_hz:
            raise CallError(
                f"found a high-pass at {self.highpass_hz:g} and a low-pass at "
                f"{self.lowpass_hz:g} Hz, expected the low-pass above the high-pass"
            )

    @property
    def filters(self) -> bool:
        """Whether any filter runs."""
        return bool(self.highpass_hz or self.lowpass_hz or self.notch_hz)


@dataclass(frozen=True)
class ConditioningState:
    """What the samples so far have left behind; never changed in place.

    Parameters
    ----------
    filters : ndarray, shape (section, channel, 2)
        Delay lines.
    origin, held : ndarray, shape (channel,)
        First and last present sample.
    """

    filters: np.ndarray
    origin: np.ndarray
    held: np.ndarray


def start_conditioning(
    ch_names: tuple[str, ...], sfreq: float, conditioning: Conditioning
) -> ConditioningState:
    """Return the state before the first sample.

    Raises
    ------
    CallError
        If the reference is no channel of the stream.
    SignalError
        If a filter does not fit below half the sampling rate.
    """
    named = conditioning.reference not in ("none", "average")
    if named and conditioning.reference not in ch_names:
        raise CallError(
            f"found the reference {conditioning.reference!r}, expected 'none', 'average' or one "
            f"of the channels {', '.join(ch_names)}"
        )
    sections = _sections(conditioning, sfreq)
    nothing = np.full(len(ch_names), np.nan)
    return ConditioningState(np.zeros((len(sections), len(ch_names), 2)), nothing, nothing)


def step_conditioning(
    chunk: np.ndarray,
    state: ConditioningState,
    ch_names: tuple[str, ...],
    sfreq: float,
    conditioning: Conditioning,
) -> tuple[np.ndarray, ConditioningState]:
    """Return the next samples (channel, time) conditioned; what is missing stays missing."""
    referenced = _reference(np.asarray(chunk, float), ch_names, conditioning.reference)
    if not conditioning.filters or not referenced.shape[1]:
        return referenced, state
    from scipy.signal import sosfilt

    filled, present, origin, held = fill_missing(referenced, state.origin, state.held)
    started = np.where(np.isnan(origin), 0.0, origin)[:, None]
    sections = _sections(conditioning, sfreq)
    filtered, filters = sosfilt(sections, filled - started, axis=1, zi=state.filters)
    if not conditioning.highpass_hz:
        filtered = filtered + started  # the offset passes a low-pass and a notch
    out = np.where(present, filtered, np.nan)
    return out, replace(state, filters=filters, origin=origin, held=held)


def condition(
    signal: np.ndarray, ch_names: tuple[str, ...], sfreq: float, conditioning: Conditioning
) -> np.ndarray:
    """Return a whole stretch (channel, time) conditioned: one step from rest."""
    state = start_conditioning(ch_names, sfreq, conditioning)
    return step_conditioning(signal, state, ch_names, sfreq, conditioning)[0]


def _reference(chunk: np.ndarray, ch_names: tuple[str, ...], reference: str) -> np.ndarray:
    if reference == "none":
        return chunk
    if reference != "average":
        return chunk - chunk[ch_names.index(reference)]
    # Row by row: NumPy sums one column in another order than many, and bits would differ.
    total, count = np.zeros(chunk.shape[1]), np.zeros(chunk.shape[1])
    for row in chunk:
        there = np.isfinite(row)
        total += np.where(there, row, 0.0)
        count += there
    with np.errstate(invalid="ignore", divide="ignore"):
        return chunk - np.where(2 * count >= len(chunk), total / count, np.nan)


@lru_cache(maxsize=64)
def _sections(conditioning: Conditioning, sfreq: float) -> Any:
    """Return the second-order sections (section, 6) of all filters in a row."""
    from scipy.signal import butter, iirnotch, tf2sos

    highest = max(conditioning.highpass_hz, conditioning.lowpass_hz, conditioning.notch_hz)
    if highest >= sfreq / 2:
        raise SignalError(
            f"found a filter at {highest:g} Hz for a signal at {sfreq:g} Hz, expected less than "
            f"{sfreq / 2:g} Hz; leave that filter out"
        )
    parts = [np.empty((0, 6))]
    for edge, kind in (
        (conditioning.highpass_hz, "highpass"),
        (conditioning.lowpass_hz, "lowpass"),
    ):
        if edge:
            parts.append(butter(_ORDER, edge, kind, fs=sfreq, output="sos"))
    if conditioning.notch_hz:
        parts.append(tf2sos(*iirnotch(conditioning.notch_hz, _NOTCH_QUALITY, fs=sfreq)))
    return np.concatenate(parts)
