"""Heart-rate variability from the intervals between beats, and how long they must last.

Definitions: Task Force of the ESC and NASPE (1996), Heart rate variability, Circulation
93:1043-1065. The names are NeuroKit2's without the prefix ``HRV_``; the numbers are NeuroKit2's
except that pNN20 and pNN50 are shares of the successive differences (NeuroKit2 divides by one
more than there are) and that LF and HF are in ms² (NeuroKit2 normalises by default).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.errors import CallError, SignalError
from physioemo.features.heartbeats import find_beats

__all__ = [
    "BANDS_HZ",
    "MEASURES",
    "MINIMUM_SECONDS",
    "HeartRateVariability",
    "artefact_intervals",
    "heart_rate_variability",
    "hrv_from_signal",
]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

MINIMUM_SECONDS: dict[str, float] = {
    "MeanNN": 10.0,
    "SDNN": 60.0,
    "RMSSD": 30.0,
    "SDSD": 30.0,
    "pNN20": 60.0,
    "pNN50": 60.0,
    "MeanHR": 10.0,
    "LF": 120.0,
    "HF": 60.0,
    "LFHF": 120.0,
}
"""Shortest window in seconds in which each measure is reported.

HF and LF: about 1 and 2 minutes (Task Force 1996). The others follow the ultra-short windows that
Shaffer and Ginsberg (2017), Frontiers in Public Health 5:258, review. All are shorter than the five
minutes that remain the standard (Laborde, Mosley and Thayer 2017, Frontiers in Psychology 8:213),
so compare measures only between windows of one length.
"""

MEASURES = tuple(MINIMUM_SECONDS)
BANDS_HZ = {"LF": (0.04, 0.15), "HF": (0.15, 0.4)}

_PLAUSIBLE_SECONDS = (0.3, 2.0)
_MALIK_RATIO = 0.2
_MAX_DROPPED = 0.2  # share of the intervals
_MAX_INTERPOLATED = 0.1  # share of the time
_CONTIGUOUS_SECONDS = 0.05  # rounding of times; a lost beat leaves at least 0.25 s
_RESAMPLED_HZ = 4.0
_SEGMENT_SECONDS = 120.0
_NFFT = 2048  # zero-padded bins of 2 mHz: the edges of a band fall between bins of a short window
_MIN_SPECTRUM_INTERVALS = 8
_NO_POWER_MS2 = 1e-6


class HeartRateVariability(dict[str, float]):
    """Measures by name; one that cannot be given is NaN, and ``reasons`` says why.

    Units: MeanNN, SDNN, RMSSD and SDSD in ms; pNN20 and pNN50 in percent; MeanHR in beats per
    minute; LF and HF in ms²; LFHF is a ratio.

    Parameters
    ----------
    values : mapping of str to float
        The measures.
    reasons : mapping of str to str
        For each measure that is NaN, why.
    """

    def __init__(self, values: Mapping[str, float], reasons: Mapping[str, str]) -> None:
        super().__init__(values)
        self.reasons = dict(reasons)


def heart_rate_variability(
    rr_seconds: ArrayLike,
    *,
    rr_times_seconds: ArrayLike | None = None,
    artefacts: str = "keep",
    minimum_seconds: Mapping[str, float] | None = None,
) -> HeartRateVariability:
    """Return the heart-rate variability of a series of intervals between beats.

    Time domain: SDNN and SDSD with ``n - 1``; a difference counts for pNN20 and pNN50 when it
    exceeds 20 or 50 ms; MeanHR is the mean of the beat-by-beat rates, not 60000 / MeanNN.
    Frequency domain: the intervals over time are resampled at 4 Hz by a cubic spline; Welch's
    method with Hann windows of 120 s (or all, when shorter) that overlap by half, each with its
    line removed; the density is summed over LF 0.04-0.15 Hz and HF 0.15-0.4 Hz, so that a sine of
    amplitude A ms has a power of A²/2 ms².

    Parameters
    ----------
    rr_seconds : (interval,) array_like
        Intervals in seconds, in order.
    rr_times_seconds : (interval,) array_like, optional
        Time of the beat that ends each interval. Where it shows that beats are missing between
        two intervals, their difference is not taken. Default: no gaps.
    artefacts : {"keep", "drop"}
        Whether to leave out the intervals that :func:`artefact_intervals` flags.
    minimum_seconds : mapping of str to float, optional
        Shortest windows that replace those in :data:`MINIMUM_SECONDS`. As the first and last
        beat lie inside their window, intervals last their sum plus twice the longest (or 2 s).

    Returns
    -------
    HeartRateVariability
        All of :data:`MEASURES`; NaN with a reason where the intervals do not allow one.

    Raises
    ------
    SignalError
        If the intervals are not a series of positive numbers in seconds or contradict the times.
    CallError
        If ``artefacts`` or a name in ``minimum_seconds`` is unknown.
    """
    minima = _minima(minimum_seconds)
    if artefacts not in ("keep", "drop"):
        raise CallError(f"found artefacts={artefacts!r}, expected 'keep' or 'drop'; use either")
    rr = _intervals(rr_seconds)
    times = np.cumsum(rr) if rr_times_seconds is None else _times(rr_times_seconds, rr)
    flagged = artefact_intervals(rr) if artefacts == "drop" else np.zeros(len(rr), dtype=bool)
    if flagged.mean() > _MAX_DROPPED:
        return _nothing(
            f"{flagged.mean():.0%} of the {len(rr)} intervals are artefacts, expected at most "
            f"{_MAX_DROPPED:.0%}; use a cleaner stretch"
        )
    values, reasons = _measure(1e3 * rr[~flagged], times[~flagged])
    for name in MEASURES:
        if _window_seconds(rr) < minima[name]:
            reasons[name] = (
                f"{name} needs a window of at least {minima[name]:g} s, found one of "
                f"{rr.sum():.1f} s; use a longer one"
            )
    given = {name: np.nan if name in reasons else values[name] for name in MEASURES}
    return HeartRateVariability(given, reasons)


def hrv_from_signal(
    signal: ArrayLike,
    sfreq: float,
    *,
    kind: str,
    artefacts: str = "drop",
    minimum_seconds: Mapping[str, float] | None = None,
) -> HeartRateVariability:
    """Return the heart-rate variability of an ECG or a pulse wave.

    Parameters
    ----------
    signal : (time,) array_like
        One lead, in any unit.
    sfreq : float
        Sampling rate in Hz.
    kind : {"ecg", "pleth"}
        Electrocardiogram or pulse wave.
    artefacts, minimum_seconds
        As in :func:`heart_rate_variability`; here, ectopic intervals are left out by default.

    Returns
    -------
    HeartRateVariability
        All NaN, with the reason, when :func:`~physioemo.features.heartbeats.find_beats` finds
        the beats unusable.

    Raises
    ------
    SignalError, CallError
        As :func:`~physioemo.features.heartbeats.find_beats`.
    """
    beats = find_beats(signal, sfreq, kind=kind)
    if beats.reason:
        return _nothing(beats.reason)
    rr, times = beats.intervals()
    if not len(rr):
        return _nothing("no two beats without a gap between them; use a cleaner stretch")
    return heart_rate_variability(
        rr, rr_times_seconds=times, artefacts=artefacts, minimum_seconds=minimum_seconds
    )


def artefact_intervals(rr_seconds: ArrayLike) -> Flags:
    """Flag the intervals that are hardly from one normal beat to the next.

    Those outside 0.3-2.0 s, and those that differ by more than 20 % from the median of the eleven
    around them: the threshold of Malik et al. (1989), European Heart Journal 10:1060-1074, with a
    median in place of the interval before, so that one ectopic beat does not flag its neighbours.
    A strong breathing rhythm of a young, fit heart can exceed it.

    Parameters
    ----------
    rr_seconds : (interval,) array_like
        Intervals in seconds, in order.

    Returns
    -------
    (interval,) bool ndarray
        True for an artefact.

    Raises
    ------
    SignalError
        If the intervals are not a series of positive numbers in seconds.
    """
    from scipy.ndimage import median_filter

    rr = _intervals(rr_seconds)
    usual = median_filter(rr, 11, mode="reflect")
    shortest, longest = _PLAUSIBLE_SECONDS
    return (rr < shortest) | (rr > longest) | (np.abs(rr - usual) > _MALIK_RATIO * usual)


def _minima(replaced: Mapping[str, float] | None) -> dict[str, float]:
    unknown = sorted(set(replaced or ()) - set(MEASURES))
    if unknown:
        raise CallError(
            f"found the measure {unknown[0]!r} in minimum_seconds, expected one of "
            f"{', '.join(MEASURES)}; correct the name"
        )
    return MINIMUM_SECONDS | dict(replaced or {})


def _intervals(rr_seconds: ArrayLike) -> Floats:
    rr = np.asarray(rr_seconds, dtype=np.float64)
    if rr.ndim != 1 or not len(rr):
        raise SignalError(
            f"found intervals of shape {rr.shape}, expected at least one in a series of shape "
            "(interval,); pass the intervals between beats in order"
        )
    bad = np.flatnonzero(~(np.isfinite(rr) & (rr > 0)))
    if len(bad):
        raise SignalError(
            f"found {rr[bad[0]]:g} s as interval {bad[0]}, expected positive, finite seconds; "
            "leave the interval out and give rr_times_seconds"
        )
    if np.median(rr) > 10:
        raise SignalError(
            f"found a median interval of {np.median(rr):g} s, which looks like milliseconds; "
            "expected seconds: divide by 1000"
        )
    return rr


def _times(rr_times_seconds: ArrayLike, rr: Floats) -> Floats:
    times = np.asarray(rr_times_seconds, dtype=np.float64)
    if times.shape != rr.shape or not np.all(np.isfinite(times)):
        raise SignalError(
            f"found times of shape {times.shape} for {len(rr)} intervals, expected one finite time "
            "for each; give the time of the beat that ends each interval"
        )
    if np.any(np.diff(times) < rr[1:] - _CONTIGUOUS_SECONDS):
        raise SignalError(
            "found two beats closer together than the interval between them, expected the time "
            "of the beat that ends each interval; check the order and the unit of the times"
        )
    return times


def _window_seconds(rr: Floats) -> float:
    return float(rr.sum() + 2 * min(rr.max(), _PLAUSIBLE_SECONDS[1]))


def _nothing(reason: str) -> HeartRateVariability:
    return HeartRateVariability(dict.fromkeys(MEASURES, np.nan), dict.fromkeys(MEASURES, reason))


def _measure(rr_ms: Floats, times: Floats) -> tuple[dict[str, float], dict[str, str]]:
    """Return what the intervals allow, however long they last, and why the rest is missing."""
    lost_seconds = np.diff(times) - rr_ms[1:] / 1e3
    contiguous = lost_seconds < _CONTIGUOUS_SECONDS
    values = {"MeanNN": float(rr_ms.mean()), "MeanHR": float(np.mean(6e4 / rr_ms))}
    if len(rr_ms) > 1:
        values["SDNN"] = float(rr_ms.std(ddof=1))
    values |= _of_differences(np.diff(rr_ms)[contiguous])
    lost = float(lost_seconds[~contiguous].sum() / max(np.ptp(times), 1e-9))
    if lost <= _MAX_INTERPOLATED:
        values |= _of_spectrum(rr_ms, times)
    reasons = {m: _why_missing(m, len(rr_ms), lost, values) for m in MEASURES if m not in values}
    return values, reasons


def _why_missing(name: str, count: int, lost: float, values: Mapping[str, float]) -> str:
    if name in ("LF", "HF", "LFHF") and lost > _MAX_INTERPOLATED:
        return (
            f"{name} needs intervals without long gaps, found {lost:.0%} of the time missing, "
            f"expected at most {_MAX_INTERPOLATED:.0%}; use a cleaner stretch"
        )
    if name == "LFHF" and "HF" in values:
        return "LFHF divides by the power in HF, which is zero; the intervals do not vary"
    return f"{name} needs more successive intervals than the {count} found; use a longer stretch"


def _of_differences(differences: Floats) -> dict[str, float]:
    if len(differences) < 2:
        return {}
    # 0.85 - 0.8 s is a little less than 50 ms in binary: round before comparing.
    sizes = np.abs(differences).round(6)
    return {
        "RMSSD": float(np.sqrt(np.mean(differences**2))),
        "SDSD": float(differences.std(ddof=1)),
        "pNN20": 100 * float(np.mean(sizes > 20)),
        "pNN50": 100 * float(np.mean(sizes > 50)),
    }


def _of_spectrum(rr_ms: Floats, times: Floats) -> dict[str, float]:
    from scipy.interpolate import CubicSpline
    from scipy.signal import welch

    if len(rr_ms) < _MIN_SPECTRUM_INTERVALS:
        return {}
    grid = np.arange(times[0], times[-1], 1 / _RESAMPLED_HZ)
    segment = min(len(grid), round(_SEGMENT_SECONDS * _RESAMPLED_HZ))
    frequencies, density = welch(
        CubicSpline(times, rr_ms)(grid),
        _RESAMPLED_HZ,
        nperseg=segment,
        nfft=max(_NFFT, segment),
        detrend="linear",
    )
    inside = {k: (frequencies >= lo) & (frequencies < hi) for k, (lo, hi) in BANDS_HZ.items()}
    power = {k: float(density[v].sum() * frequencies[1]) for k, v in inside.items()}
    return power | ({"LFHF": power["LF"] / power["HF"]} if power["HF"] > _NO_POWER_MS2 else {})
