"""Heartbeats in an electrocardiogram or a pulse wave, and how far to trust them.

Four steps, the same for both signals:

1. NeuroKit2 finds beats (Makowski et al. 2021, Behavior Research Methods 53:1689-1696).
2. Their median waveform is the matched filter of this heart and this lead; a candidate beat is a
   place that resembles it, or that is at least a quarter as strong (the search-back threshold
   of Pan and Tompkins 1985, IEEE Trans Biomed Eng 32:230-236, is half of the ordinary one).
3. Of all candidates, dynamic programming keeps the chain with the largest sum of resemblances
   less the squared log of each interval over the local median one (the idea of Ellis 2007,
   J New Music Research 36:51-60). It recovers missed beats and drops false ones in one go, while
   premature and irregular beats that look like beats stay.
4. Beats are placed where they fit the matched filter best, between samples by a parabola.

The quality is the product of four numbers in 0..1: the agreement of steps 1 and 3 (the bSQI of
Li, Mark and Clifford 2008, Physiol Meas 29:15-32), the share of a beat's variance that the median
beat explains (the square of the correlation of Orphanidou et al. 2015, IEEE J Biomed Health Inform
19:832-838), the clearness of the choice (the share of all resemblance in the signal that the
chosen beats hold), and the share of the time that intervals between beats cover.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from physioemo.errors import CallError, SignalError
from physioemo.features.beat_chain import (
    KINDS,
    ChosenBeats,
    Flags,
    Floats,
    Indices,
    choose_beats,
    near,
)

__all__ = ["QUALITY_THRESHOLD", "Heartbeats", "find_beats"]

QUALITY_THRESHOLD = 0.6
"""Below this quality the beats are not fit for heart-rate variability.

Of twelve annotated 20 s stretches of ECG with real electrode motion at 12 and 0 dB, those above it
(0.68 and more) had no missed and no false beat; those with false beats reached at most 0.50.
"""

_MIN_DURATION_SECONDS = 5.0
_MIN_BEATS = 4
_MAX_LOST = 0.2  # share of samples that are missing or stuck
_MAX_CLIPPED = 0.05  # share of samples at either end of the range
_STUCK_SECONDS = 0.5  # equal samples for as long as this carry no beat
_GAP_SECONDS = 0.04  # half a QRS complex: a longer gap can hide a beat
_MAX_RR_SECONDS = 2.0
_SAME_BEAT_SECONDS = 0.15  # ANSI/AAMI EC57


@dataclass(frozen=True)
class Heartbeats:
    """Beats of one recording.

    Parameters
    ----------
    beat_seconds : (beat,) float64
        Time of each R-peak or pulse peak in seconds after the first sample, rising.
    quality : float
        0 (no beats to be seen) to 1; below :data:`QUALITY_THRESHOLD` the beats are not usable.
    reason : str or None
        Why the beats are not usable, in plain words; None when they are.
    gap_seconds : (gap, 2) float64
        Start and end of each stretch without a signal that is long enough to hide a beat.
    """

    beat_seconds: Floats
    quality: float
    reason: str | None = None
    gap_seconds: Floats = field(default_factory=lambda: np.empty((0, 2)))

    def intervals(self) -> tuple[Floats, Floats]:
        """Return the intervals between beats and the time of the beat that ends each.

        An interval across a gap or longer than 2 s is left out: beats may lie hidden in it.

        Returns
        -------
        rr_seconds, rr_times_seconds : (interval,) float64
            Seconds, and seconds after the first sample, for
            :func:`physioemo.features.hrv.heart_rate_variability`.
        """
        whole = _whole(self.beat_seconds, self.gap_seconds)
        return np.diff(self.beat_seconds)[whole], self.beat_seconds[1:][whole]


def find_beats(signal: ArrayLike, sfreq: float, *, kind: str) -> Heartbeats:
    """Return the heartbeats of a recording, to a fraction of a sample, with their quality.

    Looks at the whole signal at once (zero-phase filters, one template): for recordings and
    windows, not for a causal recipe. Samples that are not finite, and stretches of at least half
    a second without any change, are masked. An inverted lead is turned upright by the rule of
    ``neurokit2.ecg_invert``. A long pause of the heart cannot be told from a lost signal: both
    lower the quality.

    Parameters
    ----------
    signal : (time,) array_like
        One lead in any unit; only its shape matters.
    sfreq : float
        Sampling rate in Hz: at least 50 for an ECG, 20 for a pulse wave.
    kind : {"ecg", "pleth"}
        Electrocardiogram, or pulse wave (PPG, BVP, PLETH), whose intervals give pulse-rate
        variability.

    Returns
    -------
    Heartbeats
        With a ``reason`` when they are not usable; an unusable signal is no error.

    Raises
    ------
    CallError
        If ``kind`` is unknown.
    SignalError
        If the signal is not one-dimensional or its rate is unknown or too low.
    """
    values = _checked(signal, sfreq, kind)
    lost = ~np.isfinite(values) | _stuck(values, max(2, round(_STUCK_SECONDS * sfreq)))
    reason = _why_hopeless(values, lost, sfreq)
    if reason:
        return Heartbeats(np.empty(0), 0.0, reason)
    gaps = _gaps(lost, sfreq)
    filled = _fill(values, lost)
    seeds = _neurokit_beats(filled, sfreq, kind)
    if len(seeds) < _MIN_BEATS:
        return Heartbeats(np.empty(0), 0.0, _too_few(len(seeds)), gaps)
    chosen = choose_beats(filled, lost, seeds, sfreq, kind)
    return _judge(chosen, seeds / sfreq, gaps, len(values) / sfreq)


def _checked(signal: ArrayLike, sfreq: float, kind: str) -> Floats:
    if kind not in KINDS:
        raise CallError(f"found the kind {kind!r}, expected 'ecg' or 'pleth'; name one of them")
    if sfreq is None or not (np.isfinite(sfreq) and sfreq > 0):
        raise SignalError(
            f"found a sampling rate of {sfreq} Hz, expected the signal's own positive rate; "
            "it is never assumed"
        )
    if sfreq < KINDS[kind].min_sfreq:
        raise SignalError(
            f"found a sampling rate of {sfreq:g} Hz, expected at least "
            f"{KINDS[kind].min_sfreq:g} Hz to find beats in a signal of kind {kind!r}; "
            "use the original, faster recording"
        )
    values = np.asarray(signal, dtype=np.float64)
    if values.ndim != 1:
        raise SignalError(
            f"found a signal of shape {values.shape}, expected one lead of shape (time,); "
            "pick a channel first"
        )
    return values


def _runs(flags: Flags) -> Indices:
    """Return start and end (exclusive) of each run of True, shape (run, 2)."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def _stuck(values: Floats, least: int) -> Flags:
    stuck = np.zeros(len(values), dtype=bool)
    for start, end in _runs(values[1:] == values[:-1]):
        if end - start + 1 >= least:
            stuck[start : end + 1] = True
    return stuck


def _why_hopeless(values: Floats, lost: Flags, sfreq: float) -> str | None:
    duration = len(values) / sfreq
    if duration < _MIN_DURATION_SECONDS:
        return (
            f"the signal lasts {duration:.1f} s, expected at least {_MIN_DURATION_SECONDS:.0f} s; "
            "use a longer stretch"
        )
    missing = float(np.mean(~np.isfinite(values)))
    if missing > _MAX_LOST:
        return (
            f"{missing:.0%} of the samples are missing, expected at most {_MAX_LOST:.0%}; "
            "check the connection of the sensor"
        )
    if np.mean(lost) > _MAX_LOST:
        return (
            f"the signal is flat or stuck at a limit for {np.mean(lost) - missing:.0%} of the "
            f"time, expected at most {_MAX_LOST:.0%}; check that the sensor is attached"
        )
    kept = values[~lost]
    clipped = float(np.mean((kept == kept.max()) | (kept == kept.min())))
    if clipped > _MAX_CLIPPED:
        return (
            f"the signal is clipped: {clipped:.0%} of the samples lie at the ends of its range, "
            f"expected at most {_MAX_CLIPPED:.0%}; lower the gain"
        )
    return None


def _too_few(found: int) -> str:
    return f"found {found} beats, expected at least {_MIN_BEATS}; check the sensor and the kind"


def _gaps(lost: Flags, sfreq: float) -> Floats:
    runs = _runs(lost) / sfreq
    return runs[runs[:, 1] - runs[:, 0] > _GAP_SECONDS]


def _crosses_gap(times: Floats, gaps: Floats) -> Flags:
    begun = np.searchsorted(gaps[:, 0], times[1:])
    return begun > np.searchsorted(gaps[:, 1], times[:-1], side="right")


def _whole(times: Floats, gaps: Floats) -> Flags:
    """Tell which steps between times can be one heartbeat long."""
    return (np.diff(times) <= _MAX_RR_SECONDS) & ~_crosses_gap(times, gaps)


def _fill(values: Floats, lost: Flags) -> Floats:
    kept = np.flatnonzero(~lost)
    # Centre and scale before anything squares: microvolts and volts must give the same beats.
    centred = values[kept] - np.median(values[kept])
    centred /= np.abs(centred).max()
    return np.interp(np.arange(len(values)), kept, centred / centred.std())


def _neurokit_beats(filled: Floats, sfreq: float, kind: str) -> Indices:
    import neurokit2 as nk  # two seconds to import

    if kind == "pleth":
        clean = nk.ppg_clean(filled, sampling_rate=sfreq)
        peaks = nk.ppg_findpeaks(clean, sampling_rate=sfreq)["PPG_Peaks"]
    else:
        clean = _upright(nk.ecg_clean(filled, sampling_rate=sfreq), sfreq)
        peaks = nk.ecg_findpeaks(clean, sampling_rate=sfreq)["ECG_R_Peaks"]
    return np.unique(np.asarray(peaks, dtype=np.intp))


def _upright(clean: Floats, sfreq: float) -> Floats:
    # The rule of neurokit2.ecg_invert on consecutive instead of on all windows, of which it
    # holds one copy per sample: 4 GB for half an hour at 360 Hz.
    window = round(2 * sfreq)
    blocks = (clean - clean.mean())[: len(clean) // window * window].reshape(-1, window)
    extremes = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    return -clean if np.median(extremes) < 0 else clean


def _judge(chosen: ChosenBeats, seeds: Floats, gaps: Floats, duration: float) -> Heartbeats:
    beats = chosen.beat_seconds
    if len(beats) < _MIN_BEATS:
        return Heartbeats(beats, 0.0, _too_few(len(beats)), gaps)
    agreement = _agreement(beats, seeds)
    alike = float(np.mean(chosen.resemblance**2))
    covered = _covered(beats, gaps, duration)
    quality = agreement * alike * chosen.clearness * covered
    if quality >= QUALITY_THRESHOLD:
        return Heartbeats(beats, quality, None, gaps)
    reason = (
        f"the beats are uncertain: quality {quality:.2f}, expected at least {QUALITY_THRESHOLD} "
        f"(two detectors agree on {agreement:.0%} of the beats, the median beat explains "
        f"{alike:.0%} of a beat, the choice is {chosen.clearness:.0%} clear, beats cover "
        f"{covered:.0%} of the time); use a cleaner stretch or lead"
    )
    return Heartbeats(beats, quality, reason, gaps)


def _agreement(one: Floats, other: Floats) -> float:
    """Return the F1 score of one list of beats against the other."""
    hits = int(np.count_nonzero(near(one, other, _SAME_BEAT_SECONDS)))
    return min(1.0, 2 * hits / (len(one) + len(other)))


def _covered(beats: Floats, gaps: Floats, duration: float) -> float:
    ends = np.concatenate([[0.0], beats, [duration]])
    covered = np.diff(ends)[_whole(ends, gaps)].sum()
    return min(1.0, float(covered) / duration)
