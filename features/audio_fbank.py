"""Log-mel spectra of sound: Kaldi's filter bank, and the front end of Wav2Small.

``kaldi_fbank`` computes what ``torchaudio.compliance.kaldi.fbank`` does (Povey et al., ASRU 2011):
frames that lie wholly in the signal, mean removed, pre-emphasis 0.97, power spectrum of the next
power of two, triangles on the scale 1127 ln(1 + f/700), natural logarithm. HiCMAE (Sun et al.,
Information Fusion 108, 2024) takes 128 of them at 16 kHz and standardises by fixed numbers.
Wav2Small (Kounadis-Bastian et al., arXiv 2408.13920) standardises the waveform and takes 26 mel
bands every 2 ms, in decibels.
"""

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from physioemo.errors import CallError, SignalError

__all__ = ["hicmae_normalised", "kaldi_fbank", "mel_centres_hz", "resampled", "wav2small_logmel"]

Floats = NDArray[np.float64]

_EPSILON = float(np.finfo(np.float32).eps)
_PREEMPHASIS = 0.97
_HICMAE_MEAN, _HICMAE_STD = -4.268, 4.569
_WAV2SMALL_HZ, _WAV2SMALL_FFT, _WAV2SMALL_HOP, _WAV2SMALL_MELS = 16000, 64, 32, 26
_FRAMES_AT_ONCE = 4096


def resampled(signal: np.ndarray, sfreq: int, to_sfreq: int) -> np.ndarray:
    """Return a signal at another rate, by a polyphase filter without delay.

    Parameters
    ----------
    signal : ndarray, shape (time, ...)
        Samples.
    sfreq, to_sfreq : int
        Rates in Hz, any two.
    """
    from scipy.signal import resample_poly

    if sfreq == to_sfreq or not len(signal):
        return signal
    common = gcd(int(sfreq), int(to_sfreq))
    made = resample_poly(signal, int(to_sfreq) // common, int(sfreq) // common, axis=0)
    return np.asarray(made)


def kaldi_fbank(
    signal: np.ndarray,
    sfreq: float,
    *,
    n_mels: int = 128,
    frame_seconds: float = 0.025,
    hop_seconds: float = 0.010,
    window: str = "hanning",
    low_hz: float = 20.0,
    high_hz: float = 0.0,
) -> Floats:
    """Return Kaldi's log-mel energies.

    Parameters
    ----------
    signal : ndarray, shape (time,)
        Sound.
    sfreq : float
        Its rate in Hz.
    n_mels : int
        Number of triangles.
    frame_seconds, hop_seconds : float
        Length of a frame and the step between two.
    window : {"hanning", "povey"}
        Symmetric Hann window, or that to the power 0.85.
    low_hz, high_hz : float
        Outer edges of the triangles; 0 stands for half the rate.

    Returns
    -------
    ndarray, shape (frame, mel)
        Natural logarithm of the energies; frame k begins k hops after the first sample.

    Raises
    ------
    SignalError
        If the signal is not one finite row.
    CallError
        If the edges, the window or the lengths are impossible.
    """
    signal = np.asarray(signal, float)
    if signal.ndim != 1 or not np.isfinite(signal).all():
        raise SignalError(
            f"found sound of shape {signal.shape} or with values that are missing, expected one "
            "row of finite samples; mix it down and fill what is missing"
        )
    length, hop = int(sfreq * frame_seconds), int(sfreq * hop_seconds)
    if length < 2 or hop < 1 or window not in ("hanning", "povey"):
        raise CallError(
            f"found frames of {length} and hops of {hop} samples and the window {window!r}, "
            "expected at least 2 and 1 and 'hanning' or 'povey'"
        )
    n_fft = 1 << (length - 1).bit_length()
    banks = _kaldi_banks(n_mels, n_fft, float(sfreq), low_hz, high_hz or sfreq / 2)
    if len(signal) < length:
        return np.empty((0, n_mels))
    taper = np.hanning(length) ** (1.0 if window == "hanning" else 0.85)
    frames = np.lib.stride_tricks.sliding_window_view(signal, length)[::hop]
    parts = [
        _log_energies(frames[k : k + _FRAMES_AT_ONCE], taper, n_fft, banks)
        for k in range(0, len(frames), _FRAMES_AT_ONCE)
    ]
    return np.concatenate(parts)


def hicmae_normalised(fbank: np.ndarray) -> np.ndarray:
    """Return log-mel energies as HiCMAE standardises them: (x + 4.268) / (2 * 4.569)."""
    return (np.asarray(fbank) - _HICMAE_MEAN) / (2 * _HICMAE_STD)


def mel_centres_hz(n_mels: int, sfreq: float, low_hz: float = 20.0, high_hz: float = 0.0) -> Floats:
    """Return the centres in Hz of the triangles of :func:`kaldi_fbank`."""
    edges = np.linspace(_mel(low_hz), _mel(high_hz or sfreq / 2), n_mels + 2)
    return np.asarray(700 * np.expm1(edges[1:-1] / 1127))


def wav2small_logmel(signal: np.ndarray, sfreq: int) -> Floats:
    """Return the log-mel spectrum that Wav2Small sees.

    The waveform is brought to 16 kHz, zero mean and unit variance; Hann windows of 64 samples
    every 32, centred, edges reflected; 26 area-normalised triangles on Slaney's mel scale.

    Parameters
    ----------
    signal : ndarray, shape (time,)
        Sound.
    sfreq : int
        Its rate in Hz.

    Returns
    -------
    ndarray, shape (frame, 26)
        Decibels, not below -100.

    Raises
    ------
    SignalError
        If there is less than 4 ms of sound.
    """
    wave = resampled(np.asarray(signal, float), sfreq, _WAV2SMALL_HZ)
    if wave.ndim != 1 or len(wave) < _WAV2SMALL_FFT:
        raise SignalError(
            f"found sound of shape {wave.shape} at 16 kHz, expected one row of at least "
            f"{_WAV2SMALL_FFT} samples; use a longer stretch"
        )
    wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    wave = np.pad(wave, _WAV2SMALL_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(wave, _WAV2SMALL_FFT)[::_WAV2SMALL_HOP]
    taper = np.hanning(_WAV2SMALL_FFT + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * taper, axis=1)) ** 2
    energies = power @ _slaney_banks(_WAV2SMALL_MELS, _WAV2SMALL_FFT, _WAV2SMALL_HZ).T
    return np.asarray(10 * np.log10(np.maximum(energies, 1e-10)))


def _log_energies(frames: np.ndarray, taper: Floats, n_fft: int, banks: Floats) -> Floats:
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    spectrum = np.fft.rfft((frames - _PREEMPHASIS * before) * taper, n_fft, axis=1)
    energies = (spectrum.real**2 + spectrum.imag**2)[:, :-1] @ banks.T
    return np.asarray(np.log(np.maximum(energies, _EPSILON)))


def _mel(hz: float | Floats) -> Floats:
    return np.asarray(1127 * np.log1p(np.asarray(hz) / 700))


@lru_cache(maxsize=16)
def _kaldi_banks(n_mels: int, n_fft: int, sfreq: float, low_hz: float, high_hz: float) -> Floats:
    if not (n_mels > 3 and 0 <= low_hz < high_hz <= sfreq / 2):
        raise CallError(
            f"found {n_mels} mel bands from {low_hz:g} to {high_hz:g} Hz at {sfreq:g} Hz, expected "
            "at least 4 within half the rate"
        )
    edges = np.linspace(_mel(low_hz), _mel(high_hz), n_mels + 2)
    return _triangles(_mel(np.arange(n_fft // 2) * sfreq / n_fft), edges)


@lru_cache(maxsize=4)
def _slaney_banks(n_mels: int, n_fft: int, sfreq: int) -> Floats:
    edges = _slaney_hz(np.linspace(0.0, _slaney_mel(sfreq / 2), n_mels + 2))
    banks = _triangles(np.arange(n_fft // 2 + 1) * sfreq / n_fft, edges)
    return np.asarray(banks * (2 / (edges[2:] - edges[:-2]))[:, None])


def _slaney_mel(hz: float) -> float:
    return float(3 * hz / 200 if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4))


def _slaney_hz(mel: Floats) -> Floats:
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))


def _triangles(places: Floats, edges: Floats) -> Floats:
    """Return triangles (band, place) that rise and fall between neighbouring edges."""
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (places - left) / (centre - left), (right - places) / (right - centre)
    return np.asarray(np.maximum(0.0, np.minimum(rise, fall)))
