"""Pitch of sound by YIN (de Cheveigné & Kawahara, J Acoust Soc Am 111, 2002).

The difference function comes from Fourier transforms; the first dip of its cumulative mean
normalised form below the threshold is the period, refined by a parabola. A frame without such a
dip, or too quiet, is not voiced and has no pitch.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from physioemo.errors import CallError

__all__ = ["Pitch", "yin_pitch"]

Floats = NDArray[np.float64]

_THRESHOLD = 0.15
_QUIET = 1e-6  # mean square: -60 dB of full scale
_FRAMES_AT_ONCE = 2048


class Pitch(NamedTuple):
    """Pitch by frame.

    Attributes
    ----------
    hz : ndarray, shape (frame,)
        Fundamental frequency, NaN where not voiced.
    voiced : ndarray of bool, shape (frame,)
        Whether there is one.
    """

    hz: Floats
    voiced: NDArray[np.bool_]


def yin_pitch(
    signal: np.ndarray,
    sfreq: float,
    *,
    frame_seconds: float = 0.04,
    hop_seconds: float = 0.01,
    low_hz: float = 60.0,
    high_hz: float = 1000.0,
) -> Pitch:
    """Return the pitch of each frame that lies wholly in the signal.

    Parameters
    ----------
    signal : ndarray, shape (time,)
        Sound, full scale 1.
    sfreq : float
        Rate in Hz.
    frame_seconds, hop_seconds : float
        Length of a frame and the step between two.
    low_hz, high_hz : float
        The range of pitches.

    Raises
    ------
    CallError
        If a frame is shorter than two periods of the lowest pitch.
    """
    length, hop = round(frame_seconds * sfreq), round(hop_seconds * sfreq)
    longest, shortest = int(sfreq / low_hz), max(2, int(sfreq / high_hz))
    if length < 2 * longest or not shortest < longest:
        raise CallError(
            f"found frames of {frame_seconds:g} s for pitches from {low_hz:g} to {high_hz:g} Hz, "
            "expected two periods of the lowest in a frame; use longer frames"
        )
    signal = np.asarray(signal, float)
    if len(signal) < length:
        return Pitch(np.empty(0), np.empty(0, bool))
    frames = np.lib.stride_tricks.sliding_window_view(signal, length)[::hop]
    parts = [
        _periods(frames[k : k + _FRAMES_AT_ONCE], shortest, longest)
        for k in range(0, len(frames), _FRAMES_AT_ONCE)
    ]
    hz = sfreq / np.concatenate(parts)
    return Pitch(hz, np.isfinite(hz))


def _periods(frames: np.ndarray, shortest: int, longest: int) -> Floats:
    """Return the period of each frame in samples, NaN where there is none."""
    frames = frames - frames.mean(axis=1, keepdims=True)
    normalised = _normalised_difference(frames, longest + 1)
    inner = normalised[:, 1:-1]
    is_dip = (inner <= normalised[:, :-2]) & (inner < normalised[:, 2:]) & (inner < _THRESHOLD)
    is_dip[:, : shortest - 1] = False
    found = is_dip.any(axis=1) & ((frames**2).mean(axis=1) > _QUIET)
    at = np.where(found, is_dip.argmax(axis=1) + 1, 1)
    rows = np.arange(len(frames))
    before, here, after = (normalised[rows, at + d] for d in (-1, 0, 1))
    bend = before - 2 * here + after
    shift = np.where(bend > 0, 0.5 * (before - after) / np.where(bend > 0, bend, 1.0), 0.0)
    return np.where(found, at + shift, np.nan)


def _normalised_difference(frames: np.ndarray, longest: int) -> Floats:
    """Return the cumulative mean normalised difference (frame, lag 0 to `longest`)."""
    n = frames.shape[1] - longest  # samples that are compared, the same for each lag
    size = 1 << (frames.shape[1] + n - 1).bit_length()
    whole = np.fft.rfft(frames, size, axis=1)
    first = np.fft.rfft(frames[:, :n], size, axis=1)
    product = np.fft.irfft(whole * first.conj(), size, axis=1)[:, : longest + 1]
    total = np.cumsum(np.pad(frames**2, ((0, 0), (1, 0))), axis=1)
    energy = total[:, n : n + longest + 1] - total[:, : longest + 1]
    difference = np.maximum(energy[:, :1] + energy - 2 * product, 0.0)
    mean = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, longest + 1)
    out = np.ones_like(difference)
    np.divide(difference[:, 1:], mean, out=out[:, 1:], where=mean > 0)
    return out
