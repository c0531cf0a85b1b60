"""Heart-rate variability in sliding windows: of known beats, and live as a family of features.

:func:`sliding_hrv` gives each window what :func:`~physioemo.features.hrv.heart_rate_variability`
gives it, by prefix sums over all intervals instead of window by window. The family finds the
beats anew in the seconds before the end of each window, so that its values are those that a live
session has and never depend on what comes later. The quality must hold for every 10 s of them:
noise that has just begun already adds false beats, but hardly lowers the quality of half a minute.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.description import StreamDescription
from physioemo.errors import CallError, SignalError
from physioemo.features.beat_chain import KINDS
from physioemo.features.family import Extractor, Family, FamilyOptions, WindowGrid
from physioemo.features.heartbeats import QUALITY_THRESHOLD, Heartbeats, find_beats
from physioemo.features.hrv import (
    MEASURES,
    MINIMUM_SECONDS,
    artefact_intervals,
    heart_rate_variability,
)
from physioemo.features.trailing import channels_of_kind, trailing_extractor

__all__ = ["HRV", "HRV_UNITS", "SPECTRAL_MEASURES", "TIME_MEASURES", "sliding_hrv"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

SPECTRAL_MEASURES = ("LF", "HF", "LFHF")
TIME_MEASURES = tuple(m for m in MEASURES if m not in SPECTRAL_MEASURES)

HRV_UNITS = {
    "MeanNN": "ms",
    "SDNN": "ms",
    "RMSSD": "ms",
    "SDSD": "ms",
    "pNN20": "%",
    "pNN50": "%",
    "MeanHR": "bpm",
    "LF": "ms^2",
    "HF": "ms^2",
    "LFHF": "1",
    "quality": "1",
}
"""The values of a window of the family and their units."""

# As in physioemo.features.hrv.
_MAX_DROPPED = 0.2
_CONTIGUOUS_SECONDS = 0.05
_PLAUSIBLE_SECONDS = 2.0

_PART_SECONDS = 10.0  # of these, each must have beats of its own
_MAX_MISSING = 0.2  # share of a part: one with more is judged as part of the whole only


def sliding_hrv(
    beat_seconds: ArrayLike,
    *,
    window_seconds: float,
    hop_seconds: float,
    start_seconds: float | None = None,
    stop_seconds: float | None = None,
    gap_seconds: ArrayLike | None = None,
    artefacts: str = "keep",
    minimum_seconds: Mapping[str, float] | None = None,
    measures: Sequence[str] = TIME_MEASURES,
) -> tuple[Floats, Floats]:
    """Return the heart-rate variability in each window of a series of beats.

    Parameters
    ----------
    beat_seconds : (beat,) array_like
        Time of each beat, rising.
    window_seconds, hop_seconds : float
        Length of a window and the step between two. A window holds the beats from its start to
        just before its end, and the intervals between them.
    start_seconds, stop_seconds : float, optional
        Start of the first window and latest end of the last: by default the first and last beat.
    gap_seconds : (gap, 2) array_like, optional
        Stretches in which beats may lie hidden, as in
        :class:`~physioemo.features.heartbeats.Heartbeats`. An interval across one, or longer
        than 2 s, is left out.
    artefacts : {"keep", "drop"}
        Whether to leave out the intervals that
        :func:`~physioemo.features.hrv.artefact_intervals` flags in the whole series.
    minimum_seconds : mapping of str to float, optional
        Shortest windows that replace those in :data:`~physioemo.features.hrv.MINIMUM_SECONDS`.
    measures : sequence of str
        Of :data:`~physioemo.features.hrv.MEASURES`. Those of the spectrum are computed window by
        window and cost a thousand times as much.

    Returns
    -------
    end_seconds : (window,) float64
        End of each window.
    values : (window, measure) float64
        In the units of :class:`~physioemo.features.hrv.HeartRateVariability`; NaN where the
        intervals in a window are too short for a measure, too few, or more than a fifth of them
        artefacts.

    Raises
    ------
    SignalError
        If the beats are not rising times in seconds.
    CallError
        If a length is not positive, or ``artefacts`` or a measure is unknown.
    """
    minima = _checked_call(window_seconds, hop_seconds, artefacts, minimum_seconds, measures)
    beats = _checked_beats(beat_seconds)
    start = float(beats[0] if start_seconds is None else start_seconds)
    stop = float(beats[-1] if stop_seconds is None else stop_seconds)
    count = max(0, int(np.floor((stop - start - window_seconds) / hop_seconds + 1e-9)) + 1)
    starts: Floats = start + hop_seconds * np.arange(count, dtype=np.float64)
    gaps = np.empty((0, 2)) if gap_seconds is None else np.asarray(gap_seconds, float)
    rr, times = Heartbeats(beats, 1.0, None, gaps).intervals()
    if not count or not len(rr):
        return starts + window_seconds, np.full((count, len(measures)), np.nan)
    begun = np.searchsorted(beats, times) - 1  # the beat that begins each interval
    lo = np.searchsorted(begun, np.searchsorted(beats, starts))
    ended = np.searchsorted(beats, starts + window_seconds) - 1
    hi = np.maximum(np.searchsorted(begun, ended), lo)
    flagged = artefact_intervals(rr) if artefacts == "drop" else np.zeros(len(rr), dtype=bool)
    named = _by_window(rr, times, flagged, lo, hi, measures)
    covered = _window_seconds(rr, lo, hi)
    values = [np.where(covered >= minima[m], named[m], np.nan) for m in measures]
    return starts + window_seconds, np.stack(values, axis=1)


def _checked_call(
    window_seconds: float,
    hop_seconds: float,
    artefacts: str,
    minimum_seconds: Mapping[str, float] | None,
    measures: Sequence[str],
) -> dict[str, float]:
    if not (window_seconds > 0 and hop_seconds > 0):
        raise CallError(
            f"found windows of {window_seconds} s every {hop_seconds} s, expected positive "
            "numbers; give both in seconds"
        )
    if artefacts not in ("keep", "drop"):
        raise CallError(f"found artefacts={artefacts!r}, expected 'keep' or 'drop'; use either")
    unknown = sorted({*measures, *(minimum_seconds or ())} - set(MEASURES))
    if unknown or not measures:
        raise CallError(
            f"found the measure {unknown[0] if unknown else None!r}, expected some of "
            f"{', '.join(MEASURES)}; correct the name"
        )
    return MINIMUM_SECONDS | dict(minimum_seconds or {})


def _checked_beats(beat_seconds: ArrayLike) -> Floats:
    beats = np.asarray(beat_seconds, dtype=np.float64)
    if beats.ndim != 1 or not len(beats):
        raise SignalError(
            f"found beats of shape {beats.shape}, expected at least one in a series of shape "
            "(beat,); pass the times of the beats"
        )
    steps = np.diff(beats)
    if not (np.all(np.isfinite(beats)) and np.all(steps > 0)):
        raise SignalError(
            "found beats that are not rising, finite times, expected seconds in order; sort them "
            "and leave out what is missing"
        )
    if len(steps) and np.median(steps) > 10:
        raise SignalError(
            f"found a median interval of {np.median(steps):g} s, which looks like milliseconds; "
            "expected seconds: divide by 1000"
        )
    return beats


def _window_seconds(rr: Floats, lo: Indices, hi: Indices) -> Floats:
    """Return how long the intervals [lo, hi) last, as ``heart_rate_variability`` counts it."""
    edges = np.stack([lo, hi], axis=1).ravel()
    longest = np.maximum.reduceat(np.append(rr, 0.0), edges)[::2]
    seconds = _between(_running(rr), lo, hi) + 2 * np.minimum(longest, _PLAUSIBLE_SECONDS)
    return np.where(hi > lo, seconds, 0.0)


def _running(values: NDArray[np.generic]) -> NDArray[np.longdouble]:
    # In extended precision: a steady stretch of an hour that varies must not drown in rounding.
    return np.concatenate([[0], np.cumsum(values, dtype=np.longdouble)])


def _between(running: NDArray[np.longdouble], lo: Indices, hi: Indices) -> Floats:
    return (running[hi] - running[lo]).astype(np.float64)


def _by_window(
    rr: Floats, times: Floats, flagged: Flags, lo: Indices, hi: Indices, measures: Sequence[str]
) -> dict[str, Floats]:
    """Return each measure of the intervals [lo, hi), however long they last."""
    kept_before = np.concatenate([[0], np.cumsum(~flagged)])
    first, last = kept_before[lo], kept_before[hi]
    rr_ms, ends = 1e3 * rr[~flagged], times[~flagged]
    values = _of_intervals(rr_ms, first, last) | _of_differences(rr_ms, ends, first, last)
    if set(measures) & set(SPECTRAL_MEASURES):
        values |= _of_spectrum(rr_ms, ends, first, last)
    usable = (hi > lo) & (hi - lo - (last - first) <= _MAX_DROPPED * (hi - lo))
    return {name: np.where(usable, v, np.nan) for name, v in values.items()}


def _of_intervals(rr_ms: Floats, first: Indices, last: Indices) -> dict[str, Floats]:
    n = (last - first).astype(float)
    mean, squares = _moments(rr_ms, first, last)
    rate, _ = _moments(6e4 / rr_ms, first, last)
    return {
        "MeanNN": mean,
        "SDNN": np.sqrt(np.divide(squares, n - 1, out=np.full(len(n), np.nan), where=n > 1)),
        "MeanHR": rate,
    }


def _of_differences(
    rr_ms: Floats, ends: Floats, first: Indices, last: Indices
) -> dict[str, Floats]:
    contiguous = np.diff(ends) - rr_ms[1:] / 1e3 < _CONTIGUOUS_SECONDS
    before = np.concatenate([[0], np.cumsum(contiguous)])
    # The intervals [first, last) have the differences [first, last - 1).
    inner = np.maximum(last - 1, first)
    lo, hi = before[np.minimum(first, len(before) - 1)], before[np.minimum(inner, len(before) - 1)]
    differences = np.diff(rr_ms)[contiguous]
    sizes = np.abs(differences).round(6)  # as in physioemo.features.hrv
    n = (hi - lo).astype(float)
    n[n < 2] = np.nan
    _, squares = _moments(differences, lo, hi)
    return {
        "RMSSD": np.sqrt(np.maximum(_between(_running(differences**2), lo, hi), 0) / n),
        "SDSD": np.sqrt(squares / (n - 1)),
        "pNN20": 100 * _between(_running(sizes > 20), lo, hi) / n,
        "pNN50": 100 * _between(_running(sizes > 50), lo, hi) / n,
    }


def _moments(values: Floats, lo: Indices, hi: Indices) -> tuple[Floats, Floats]:
    """Return the mean and the summed squared deviation of the values [lo, hi)."""
    n = (hi - lo).astype(np.longdouble)
    n[n < 1] = np.nan
    centre = values.mean() if len(values) else 0.0
    centred = (values - centre).astype(np.longdouble)
    sums, squares = _running(centred), _running(centred**2)
    total = sums[hi] - sums[lo]
    deviation = squares[hi] - squares[lo] - total**2 / n
    return (centre + total / n).astype(float), np.maximum(deviation, 0).astype(float)


def _of_spectrum(rr_ms: Floats, ends: Floats, first: Indices, last: Indices) -> dict[str, Floats]:
    values = np.full((len(first), len(SPECTRAL_MEASURES)), np.nan)
    any_length = dict.fromkeys(MEASURES, 0.0)
    for k, (lo, hi) in enumerate(zip(first, last, strict=True)):
        if hi > lo:
            found = heart_rate_variability(
                rr_ms[lo:hi] / 1e3, rr_times_seconds=ends[lo:hi], minimum_seconds=any_length
            )
            values[k] = [found[m] for m in SPECTRAL_MEASURES]
    return dict(zip(SPECTRAL_MEASURES, values.T, strict=True))


def _worst_part(context: Floats, sfreq: float, kind: str) -> float:
    parts = np.array_split(context, max(1, int(len(context) / sfreq / _PART_SECONDS)))
    if len(parts) == 1:
        return 1.0
    return min(
        (
            find_beats(part, sfreq, kind=kind).quality
            for part in parts
            if np.isnan(part).mean() <= _MAX_MISSING
        ),
        default=1.0,
    )


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    kind, picks = channels_of_kind(description, HRV.modalities, least_hz=0.0)
    channels_of_kind(description, (kind,), least_hz=KINDS[kind].min_sfreq)
    seconds = options.hrv_window_seconds
    if not seconds >= min(MINIMUM_SECONDS.values()):
        raise CallError(
            f"found heart-rate variability over {seconds:g} s, expected at least "
            f"{min(MINIMUM_SECONDS.values()):g} s, the shortest that any measure needs; use more"
        )
    sfreq = description.sfreq
    whole = max(grid.window_samples, round(seconds * sfreq))

    def values(context: Floats, channel: int) -> Floats:
        beats = find_beats(context, sfreq, kind=kind)
        quality = min(beats.quality, _worst_part(context, sfreq, kind))
        rr, times = beats.intervals()
        if beats.reason or quality < QUALITY_THRESHOLD or len(context) < whole or not len(rr):
            return np.array([*[np.nan] * len(MEASURES), quality])
        found = heart_rate_variability(rr, rr_times_seconds=times, artefacts="drop")
        return np.array([*(found[m] for m in MEASURES), quality])

    return trailing_extractor(
        values,
        description,
        picks,
        grid,
        context_seconds=seconds,
        axis="hrv_feature",
        units=HRV_UNITS,
        recipe={
            "family": "hrv",
            "version": 1,
            "kind": kind,
            "least_quality": [QUALITY_THRESHOLD, _PART_SECONDS, _MAX_MISSING],
            "minimum_seconds": MINIMUM_SECONDS,
        },
    )


HRV = Family("hrv", "heart-rate variability", ("ecg", "pleth"), _prepare)
"""Row of the table of families.

All measures are NaN until the stretch is ``hrv_window_seconds`` long, and where the beats are not
usable; each one is NaN where those seconds are too short for it. The quality is that of
:class:`~physioemo.features.heartbeats.Heartbeats`, or of its worst 10 s; 0 where no beats can be
seen.
"""
