"""Choosing the beats of a heart among candidates: matched filter and dynamic programming."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "ChosenBeats", "choose_beats", "near"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

_MIN_RR_SECONDS = 0.25
_MIN_AMPLITUDE = 0.25  # of the median beat
_MIN_RESEMBLANCE = 0.3  # what a beat must exceed to be worth adding for its own sake
_MAX_IRREGULARITY = 1.5  # squared log ratio: an interval 3.4 times too long or too short
_ECTOPIC_RESEMBLANCE = 0.7


class Kind(NamedTuple):
    """Where the energy of a beat lies, in frequency and in time around its peak."""

    band_hz: tuple[float, float]
    half_seconds: float
    min_sfreq: float


KINDS = {"ecg": Kind((5.0, 20.0), 0.1, 50.0), "pleth": Kind((0.5, 8.0), 0.25, 20.0)}


class ChosenBeats(NamedTuple):
    """Beats with their correlation with the median beat, and the clearness of the choice."""

    beat_seconds: Floats
    resemblance: Floats
    clearness: float


def choose_beats(
    filled: Floats, lost: Flags, seeds: Indices, sfreq: float, kind: str
) -> ChosenBeats:
    """Return the chain of candidates that resemble the median beat and follow one another best.

    Parameters
    ----------
    filled : ndarray, shape (time,)
        Signal without missing samples.
    lost : ndarray of bool, shape (time,)
        Where they were: no beat is placed there.
    seeds : ndarray of int, shape (beat,)
        Samples of beats that another detector found.
    sfreq : float
        Sampling rate in Hz.
    kind : {"ecg", "pleth"}
        Row of :data:`KINDS`.
    """
    from scipy.signal import butter, sosfiltfilt

    band, half_seconds, _ = KINDS[kind]
    band_passed = sosfiltfilt(butter(2, band, "bandpass", fs=sfreq, output="sos"), filled)
    match, strength = _match(band_passed, seeds, max(2, round(half_seconds * sfreq)))
    median_strength = np.median(strength[seeds])
    places = _candidates(match, strength, max(1, round(0.1 * sfreq)))
    amplitude = strength[places] / median_strength
    kept = (amplitude > _MIN_AMPLITUDE) & ~lost[places]
    places, amplitude = places[kept], amplitude[kept]
    resemblance = match[places] / strength[places]
    # A beat far stronger than the median one is most often a movement: it counts for less.
    fit = resemblance * np.minimum(amplitude, 1 / amplitude)
    usual = _usual_interval(seeds / sfreq, places / sfreq)
    chain = _best_chain(places / sfreq, fit - _MIN_RESEMBLANCE, usual)
    samples = _between_samples(match, places[chain])
    if kind == "ecg":
        odd = resemblance[chain] < _ECTOPIC_RESEMBLANCE
        samples = _place_ectopic(samples, odd, np.abs(band_passed), round(0.3 * sfreq))
    return ChosenBeats(samples / sfreq, resemblance[chain].clip(0, 1), _clearness(fit, chain))


def _clearness(fit: Floats, chain: Indices) -> float:
    rivals = np.delete(fit, chain)
    held = fit[chain].clip(0).sum()
    return float(held / max(held + rivals[rivals > _MIN_RESEMBLANCE].sum(), 1e-9))


def _match(band_passed: Floats, seeds: Indices, half: int) -> tuple[Floats, Floats]:
    """Return, per sample, the projection on the median beat and the norm of the surroundings."""
    from scipy.signal import convolve, correlate

    padded = np.pad(band_passed, half)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)[seeds]
    template = np.median(around, axis=0)
    template -= template.mean()
    ones = np.ones(2 * half + 1)
    energy = convolve(padded**2, ones, "valid") - convolve(padded, ones, "valid") ** 2 / len(ones)
    match = correlate(padded, template / np.linalg.norm(template), "valid")
    return match, np.sqrt(np.maximum(energy, 0))


def _candidates(match: Floats, strength: Floats, distance: int) -> Indices:
    """Return where the match peaks, and where only the strength does: an ectopic beat."""
    from scipy.signal import find_peaks

    alike, strong = (find_peaks(y, distance=distance)[0] for y in (match, strength))
    return np.sort(np.concatenate([alike, strong[~near(strong, alike, distance)]]))


def _usual_interval(seed_seconds: Floats, at_seconds: Floats) -> Floats:
    """Return the running median of 21 intervals, in seconds, at the given times."""
    from scipy.ndimage import median_filter

    usual = median_filter(np.diff(seed_seconds), 21, mode="nearest")
    return np.interp(at_seconds, (seed_seconds[1:] + seed_seconds[:-1]) / 2, usual)


def _best_chain(times: Floats, worth: Floats, usual: Floats) -> Indices:
    """Return the candidates that together are worth most, less their irregularity."""
    count = len(times)
    total, before = worth.copy(), np.full(count, -1)
    leader = np.full(count + 1, -1)  # best chain that ends before the candidate
    reach = np.exp(np.sqrt(_MAX_IRREGULARITY))
    first = np.searchsorted(times, times - reach * usual)
    last = np.searchsorted(times, times - _MIN_RR_SECONDS)
    for i in range(count):
        earlier = np.arange(first[i], last[i])
        gains = total[earlier] - np.log((times[i] - times[earlier]) / usual[i]) ** 2
        best, gain = (earlier[gains.argmax()], gains.max()) if len(earlier) else (-1, 0.0)
        jump = leader[last[i]]
        if jump >= 0 and total[jump] - _MAX_IRREGULARITY > gain:
            best, gain = jump, total[jump] - _MAX_IRREGULARITY
        if gain > 0:
            total[i], before[i] = worth[i] + gain, best
        leader[i + 1] = i if leader[i] < 0 or total[i] > total[leader[i]] else leader[i]
    return _trace_back(int(leader[count]), before)


def _trace_back(end: int, before: Indices) -> Indices:
    chain = []
    while end >= 0:
        chain.append(end)
        end = int(before[end])
    return np.array(chain[::-1], dtype=np.intp)


def _between_samples(curve: Floats, peaks: Indices) -> Floats:
    """Return the vertex of the parabola through each peak and its two neighbours, in samples."""
    inner = peaks.clip(1, len(curve) - 2)
    left, middle, right = curve[inner - 1], curve[inner], curve[inner + 1]
    bend = left - 2 * middle + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1), 0)
    return peaks + shift.clip(-0.5, 0.5)


def _place_ectopic(samples: Floats, odd: Flags, size: Floats, reach: int) -> Floats:
    """Move each unusual beat to the largest deflection of its cycle: its own QRS complex."""
    placed = samples.copy()
    middles = np.concatenate([[0], (samples[1:] + samples[:-1]) / 2, [len(size)]])
    for i in np.flatnonzero(odd):
        start = int(max(middles[i], samples[i] - reach))
        end = int(min(middles[i + 1], samples[i] + reach)) + 1
        placed[i] = start + int(size[start:end].argmax())
    return placed


def near(some: NDArray[Any], others: NDArray[Any], distance: float) -> Flags:
    """Tell which of some sorted numbers have one of the others within the distance."""
    upto = np.searchsorted(others, some + distance, side="right")
    return upto > np.searchsorted(others, some - distance)
