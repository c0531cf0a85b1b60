"""What a sound is like, every 10 ms: level, loudness, spectrum, crossings of zero, pitch.

A value belongs to the time at which its frame ends and sees nothing after it. Spectral
descriptors are of the power spectrum of a Hann window of 25 ms (Peeters, CUIDADO report, 2004);
flux is the distance between the magnitude spectra of two frames that follow each other, each
divided by its norm; the roll-off holds 85 % of the power.
"""

import numpy as np
from numpy.typing import NDArray

from physioemo.features.audio_loudness import momentary_loudness
from physioemo.features.audio_pitch import yin_pitch

__all__ = ["AUDIO_DESCRIPTORS", "audio_descriptors"]

Floats = NDArray[np.float64]

AUDIO_DESCRIPTORS = {
    "rms": "dBFS",
    "loudness": "LUFS",
    "centroid": "Hz",
    "rolloff": "Hz",
    "flatness": "ratio",
    "flux": "ratio",
    "zero_crossings": "Hz",
    "pitch": "Hz",
    "voiced": "ratio",
}
"""The descriptors in their order, and their units."""

_FRAME_SECONDS = 0.025
_PITCH_SECONDS = 0.040
_ROLLOFF = 0.85
_SILENCE = 1e-12  # mean square: -120 dB of full scale
_FRAMES_AT_ONCE = 4096


def audio_descriptors(
    mono: np.ndarray, sfreq: int, ends_seconds: np.ndarray, *, played: np.ndarray, played_hz: int
) -> Floats:
    """Return the descriptors of the frames that end at some times.

    Parameters
    ----------
    mono : ndarray, shape (time,)
        Sound in one channel, full scale 1.
    sfreq : int
        Its rate in Hz.
    ends_seconds : ndarray, shape (frame,)
        Where the frames end, since the first sample.
    played : ndarray, shape (time, channel)
        The sound as it is played, for the loudness.
    played_hz : int
        Its rate in Hz.

    Returns
    -------
    ndarray, shape (frame, descriptor)
        In the order of :data:`AUDIO_DESCRIPTORS`; NaN where the sound does not cover the frame,
        the spectrum is silent, or there is no pitch.
    """
    ends = np.asarray(ends_seconds, float)
    stops = np.round(ends * sfreq).astype(int)
    mono = np.asarray(mono, float)
    frames, inside = _frames(mono, stops, round(_FRAME_SECONDS * sfreq))
    out = np.full((len(ends), len(AUDIO_DESCRIPTORS)), np.nan)
    out[:, 1] = momentary_loudness(played, played_hz, ends)
    earlier: Floats | None = None
    for first in range(0, len(frames), _FRAMES_AT_ONCE):
        part = slice(first, first + _FRAMES_AT_ONCE)
        values, earlier = _of_frames(np.asarray(frames[part]), sfreq, earlier)
        rows = np.flatnonzero(inside)[part]
        out[rows[:, None], [0, 2, 3, 4, 5, 6]] = values
    pitched, inside = _frames(mono, stops, round(_PITCH_SECONDS * sfreq))
    if len(pitched):
        pitch = yin_pitch(pitched.reshape(-1), sfreq, hop_seconds=_PITCH_SECONDS)
        out[inside, 7], out[inside, 8] = pitch.hz, pitch.voiced
    return out


def _frames(mono: Floats, stops: NDArray[np.int_], length: int) -> tuple[Floats, np.ndarray]:
    """Return the frames that lie in the sound, and which those are."""
    inside = (stops >= length) & (stops <= len(mono))
    if not inside.any():
        return np.empty((0, length)), inside
    view = np.lib.stride_tricks.sliding_window_view(mono, length)
    return np.asarray(view[stops[inside] - length]), inside


def _of_frames(frames: Floats, sfreq: int, earlier: Floats | None) -> tuple[Floats, Floats]:
    """Return rms, centroid, rolloff, flatness, flux, crossings (frame, 6) and the last shape."""
    n = frames.shape[1]
    square = (frames**2).mean(axis=1)
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(n), axis=1))
    power, hz = magnitude**2, np.fft.rfftfreq(n, 1 / sfreq)
    total = power.sum(axis=1)
    # What lies only at a frame's ends, where its window is 0, has no spectrum either.
    silent = (square <= _SILENCE) | (total <= 0.1 * n * n * _SILENCE)
    safe = np.where(silent, 1.0, total)
    centroid = power @ hz / safe
    rolloff = hz[(np.cumsum(power, axis=1) >= _ROLLOFF * total[:, None]).argmax(axis=1)]
    tiny = power + _SILENCE * 1e-6
    flatness = np.exp(np.log(tiny).mean(axis=1)) / tiny.mean(axis=1)
    shape = np.where(silent[:, None], 0.0, magnitude / np.sqrt(safe)[:, None])
    first = np.full((1, shape.shape[1]), np.nan) if earlier is None else earlier
    flux = np.linalg.norm(np.diff(np.concatenate([first, shape]), axis=0), axis=1)
    negative = frames < 0
    crossings = (negative[:, 1:] != negative[:, :-1]).sum(axis=1) * sfreq / (n - 1)
    for values in (centroid, rolloff, flatness):
        values[silent] = np.nan
    rms = 10 * np.log10(np.maximum(square, _SILENCE))
    return np.stack([rms, centroid, rolloff, flatness, flux, crossings], axis=1), shape[-1:]
