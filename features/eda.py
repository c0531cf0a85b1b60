"""Electrodermal activity: skin conductance level, responses, and how far to trust them.

The signal is smoothed below 1 Hz; its phasic part is what a second-order Butterworth high-pass of
0.05 Hz leaves (Biopac's definition, ``eda_phasic(method="highpass")`` of NeuroKit2), its tonic part
is the rest, so the two add up. Live, both filters are causal and see nothing but the trailing
context; offline (:func:`decompose_eda`, :func:`find_scr`) they are zero-phase.

A skin conductance response is a rise of the phasic part from a trough to the next peak within 0.5
to 5 s. Its amplitude is the growth of the conductance meanwhile, or that of the phasic part where
the level falls; it is at least 0.05 uS and half of it phasic, or it is the level that rises
(Boucsein 2012, Electrodermal Activity, 2nd ed.; Society for Psychophysiological Research 2012,
Psychophysiology 49:1017-1034).

Samples are judged by the rules of Kleckner et al. (2018), IEEE Trans Biomed Eng 65:1460-1467, and
by the level: a median below 0.15 uS, three times the smallest response that counts, is more likely
a bad contact than dry skin. Live, an invalid sample taints the 5 s after it only, not those before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.description import StreamDescription
from physioemo.errors import SignalError, UnitError
from physioemo.features.family import Extractor, Family, FamilyOptions, WindowGrid
from physioemo.features.trailing import channels_of_kind, trailing_extractor
from physioemo.features.turning_points import rises
from physioemo.units import canonical_unit, conversion_factor

__all__ = [
    "EDA",
    "EDA_UNITS",
    "EdaComponents",
    "SkinConductanceResponses",
    "decompose_eda",
    "find_scr",
    "valid_eda",
]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

EDA_UNITS = {
    "tonic_mean": "uS",
    "tonic_slope": "uS/s",
    "phasic_mean": "uS",
    "phasic_sd": "uS",
    "scr_count": "1",
    "scr_amplitude_mean": "uS",
    "scr_amplitude_sum": "uS",
    "quality": "1",
}
"""The values of a window and their units.

The first four and the quality (the share of valid samples) are those of the window itself; they are
NaN, but for the quality, when less than half of it is valid. The responses are those that reached
their peak in the last 30 s, NaN when less than 80 % of those are valid; the mean amplitude is NaN
where there was no response, the sum is then zero. Live amplitudes are some 10 to 15 % below those
of :func:`find_scr`: a causal high-pass turns before the conductance does.
"""

LEAST_HZ = 4.0
SCR_SECONDS = 30.0
_CONTEXT_SECONDS = 60.0  # 30 s before the first response that counts, for the high-pass to settle
_SMOOTH_HZ = 1.0
_PHASIC_HZ = 0.05
_MIN_SCR_US = 0.05
_PHASIC_SHARE = 0.5
_RIPPLE_US = 0.01  # a fifth of the smallest response: a dip that does not end a rise
_RISE_SECONDS = (0.5, 5.0)  # a faster one is noise or movement, a slower one is the level's
_ONSET_SLOPE = 0.1  # of the steepest slope of a rise
_RANGE_US = (0.05, 60.0)
_MAX_SLOPE_US_PER_SECOND = 10.0
_SKIN_CELSIUS = (30.0, 40.0)
_SPREAD_SECONDS = 5.0
_SHORT_GAP_SECONDS = 0.5  # shorter than any response: bridged
_STUCK_SECONDS = 10.0  # not one change: no skin, or an amplifier at its limit
_MIN_LEVEL_US = 0.15
_MIN_VALID_WINDOW = 0.5
_MIN_VALID_SCR = 0.8


@dataclass(frozen=True)
class EdaComponents:
    """Skin conductance in uS, each of shape (time,), NaN where it is not valid.

    Parameters
    ----------
    tonic, phasic : (time,) float64
        Level and responses; their sum is the signal below 1 Hz.
    """

    tonic: Floats
    phasic: Floats


@dataclass(frozen=True)
class SkinConductanceResponses:
    """Skin conductance responses in order of time.

    Parameters
    ----------
    onset_seconds, peak_seconds : (response,) float64
        Seconds after the first sample: where the slope comes to a tenth of its steepest, and the
        peak.
    amplitude_us : (response,) float64
        Growth of the conductance from onset to peak in uS; that of the phasic part, if larger.
    """

    onset_seconds: Floats
    peak_seconds: Floats
    amplitude_us: Floats


def decompose_eda(signal: ArrayLike, sfreq: float) -> EdaComponents:
    """Return the tonic and the phasic part of a whole recording by zero-phase filters.

    Parameters
    ----------
    signal : (time,) array_like
        Skin conductance in uS, NaN where missing.
    sfreq : float
        Sampling rate in Hz, at least 4.

    Returns
    -------
    EdaComponents
        NaN where :func:`valid_eda` finds the signal not valid.

    Raises
    ------
    SignalError
        If the signal is not one-dimensional or its rate is unknown or too low.
    """
    values = _checked(signal, sfreq)
    return _decompose(values, valid_eda(values, sfreq), sfreq, causal=False)


def find_scr(signal: ArrayLike, sfreq: float) -> SkinConductanceResponses:
    """Return the skin conductance responses in a whole recording.

    Parameters
    ----------
    signal : (time,) array_like
        Skin conductance in uS, NaN where missing.
    sfreq : float
        Sampling rate in Hz, at least 4.

    Returns
    -------
    SkinConductanceResponses
        None from stretches that :func:`valid_eda` finds not valid.

    Raises
    ------
    SignalError
        As :func:`decompose_eda`.
    """
    return _responses(decompose_eda(signal, sfreq), sfreq)


def valid_eda(
    signal: ArrayLike, sfreq: float, *, temperature_celsius: ArrayLike | None = None
) -> Flags:
    """Tell which samples of a whole recording are skin conductance.

    Not those that are missing, outside 0.05-60 uS, steeper than 10 uS/s, at a skin temperature
    outside 30-40 degC (Kleckner et al. 2018), equal for 10 s, or within 5 s of such a sample; none
    at all if the median of the rest is below 0.15 uS. Missing samples that last at most 0.5 s are
    not valid, but their neighbours are.

    Parameters
    ----------
    signal : (time,) array_like
        Skin conductance in uS, NaN where missing.
    sfreq : float
        Sampling rate in Hz, at least 4.
    temperature_celsius : (time,) array_like, optional
        Skin temperature at the same samples.

    Returns
    -------
    (time,) bool ndarray
        True for a valid sample.

    Raises
    ------
    SignalError
        As :func:`decompose_eda`, or if the temperature has another shape.
    """
    values = _checked(signal, sfreq)
    outside = np.zeros(len(values), dtype=bool)
    if temperature_celsius is not None:
        warmth = np.asarray(temperature_celsius, float)
        if warmth.shape != values.shape:
            raise SignalError(
                f"found {warmth.shape} samples of temperature and {values.shape} of skin "
                "conductance, expected equal numbers; resample the temperature"
            )
        outside = ~((warmth >= _SKIN_CELSIUS[0]) & (warmth <= _SKIN_CELSIUS[1]))
    return _valid(values, sfreq, outside, causal=False)


def _checked(signal: ArrayLike, sfreq: float) -> Floats:
    if sfreq is None or not (np.isfinite(sfreq) and sfreq >= LEAST_HZ):
        raise SignalError(
            f"found a sampling rate of {sfreq} Hz, expected at least {LEAST_HZ:g} Hz for skin "
            "conductance; it is never assumed"
        )
    values = np.array(signal, dtype=np.float64)
    if values.ndim != 1:
        raise SignalError(
            f"found a signal of shape {values.shape}, expected one channel of shape (time,); "
            "pick a channel first"
        )
    values[~np.isfinite(values)] = np.nan
    return values


def _valid(values: Floats, sfreq: float, outside: Flags, *, causal: bool) -> Flags:
    missing = np.isnan(values)
    if missing.all():
        return ~missing
    at = np.arange(len(values))
    bridged = np.interp(at, at[~missing], values[~missing])
    smoothed = _smooth(bridged, sfreq, causal=causal)
    slope = np.abs(np.diff(smoothed, prepend=smoothed[0])) * sfreq
    bad = outside | (bridged < _RANGE_US[0]) | (bridged > _RANGE_US[1])
    bad |= slope > _MAX_SLOPE_US_PER_SECOND
    for start, end in _runs(np.diff(bridged) == 0):
        bad[start : end + 1] |= end - start >= _STUCK_SECONDS * sfreq
    for start, end in _runs(missing):
        bad[start:end] |= end - start > _SHORT_GAP_SECONDS * sfreq
    spread = round(_SPREAD_SECONDS * sfreq)
    for start, end in _runs(bad.copy()):
        bad[start if causal else max(0, start - spread) : end + spread] = True
    valid = ~bad & ~missing
    if valid.any() and np.median(values[valid]) < _MIN_LEVEL_US:
        return np.zeros(len(values), dtype=bool)
    return valid


def _runs(flags: Flags) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _smooth(values: Floats, sfreq: float, *, causal: bool) -> Floats:
    return values[0] + _filter(values - values[0], sfreq, _SMOOTH_HZ, "lowpass", causal=causal)


def _filter(values: Floats, sfreq: float, edge_hz: float, kind: str, *, causal: bool) -> Floats:
    from scipy.signal import butter, sosfilt, sosfiltfilt

    sections = butter(2, edge_hz, kind, fs=sfreq, output="sos")
    if causal:
        return np.asarray(sosfilt(sections, values))
    return np.asarray(sosfiltfilt(sections, values, padlen=min(9, len(values) - 1)))


def _decompose(values: Floats, valid: Flags, sfreq: float, *, causal: bool) -> EdaComponents:
    """Filter each valid stretch afresh: a jump across a gap is no response."""
    tonic, phasic = np.full((2, len(values)), np.nan)
    missing = np.isnan(values)
    usable = valid.copy()
    for start, end in _runs(missing):
        inside = start > 0 and end < len(values) and valid[start - 1] and valid[end]
        usable[start:end] = inside and end - start <= _SHORT_GAP_SECONDS * sfreq
    for start, end in _runs(usable):
        at = np.arange(start, end)
        given = at[~missing[start:end]]
        smoothed = _smooth(np.interp(at, given, values[given]), sfreq, causal=causal)
        fast = _filter(smoothed - smoothed[0], sfreq, _PHASIC_HZ, "highpass", causal=causal)
        phasic[start:end], tonic[start:end] = fast, smoothed - fast
    return EdaComponents(tonic, phasic)


def _responses(parts: EdaComponents, sfreq: float) -> SkinConductanceResponses:
    rows = []
    smoothed = parts.tonic + parts.phasic
    for start, end in _runs(~np.isnan(parts.phasic)):
        part = parts.phasic[start:end]
        for trough, peak in rises(part, _RIPPLE_US):
            onset = trough + _onset(part[trough : peak + 1])
            phasic = part[peak] - part[onset]
            amplitude = max(phasic, smoothed[start + peak] - smoothed[start + onset])
            lasts = _RISE_SECONDS[0] <= (peak - onset) / sfreq <= _RISE_SECONDS[1]
            if amplitude >= _MIN_SCR_US and phasic >= _PHASIC_SHARE * amplitude and lasts:
                rows.append(((start + onset) / sfreq, (start + peak) / sfreq, amplitude))
    return SkinConductanceResponses(*np.array(rows).reshape(-1, 3).T)


def _onset(rise: Floats) -> int:
    slope = np.diff(rise)
    steepest = int(slope.argmax())
    # Before it, the phasic part may creep up: the high-pass rebounds from the response before.
    creeping = np.flatnonzero(slope[:steepest] < _ONSET_SLOPE * slope[steepest])
    return int(creeping[-1]) + 1 if len(creeping) else 0


def _window_values(context: Floats, sfreq: float, n_window: int) -> Floats:
    """Return the values of the window at the end of a context in uS."""
    valid = _valid(context, sfreq, np.zeros(len(context), dtype=bool), causal=True)
    quality = float(valid[-n_window:].mean())
    parts = _decompose(context, valid, sfreq, causal=True)
    level = np.full(4, np.nan)
    if quality >= _MIN_VALID_WINDOW and np.count_nonzero(valid[-n_window:]) > 1:
        level = _level(parts, valid, sfreq, n_window)
    n_scr = round(SCR_SECONDS * sfreq)
    recent = np.full(3, np.nan)
    if len(context) >= n_scr and valid[-n_scr:].mean() >= _MIN_VALID_SCR:
        found = _responses(parts, sfreq)
        sizes = found.amplitude_us[found.peak_seconds * sfreq >= len(context) - n_scr]
        recent[:] = len(sizes), sizes.mean() if len(sizes) else np.nan, sizes.sum()
    return np.concatenate([level, recent, [quality]])


def _level(parts: EdaComponents, valid: Flags, sfreq: float, n_window: int) -> Floats:
    at = np.flatnonzero(valid[-n_window:])
    tonic, phasic = parts.tonic[-n_window:][at], parts.phasic[-n_window:][at]
    seconds = (at - at.mean()) / sfreq
    slope = seconds @ (tonic - tonic.mean()) / (seconds @ seconds)
    return np.array([tonic.mean(), slope, phasic.mean(), phasic.std()])


def _to_microsiemens(values: Floats, unit: str) -> Floats:
    if canonical_unit(unit) in ("ohm", "kohm"):
        ohms = values * conversion_factor(unit, "ohm")
        return np.divide(1e6, ohms, out=np.full(len(ohms), np.nan), where=ohms > 0)
    return values * conversion_factor(unit, "uS")


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    _, picks = channels_of_kind(description, EDA.modalities, least_hz=LEAST_HZ)
    units = [description.units[i] for i in picks]
    for unit in units:
        try:
            _to_microsiemens(np.ones(1), unit)
        except UnitError as error:
            raise UnitError(
                f"found skin conductance in {unit!r} in the stream {description.name!r}, expected "
                "'uS' or a unit that converts to it; state the unit in which the signal really is"
            ) from error

    def values(context: Floats, channel: int) -> Floats:
        in_us = _to_microsiemens(context, units[channel])
        return _window_values(in_us, description.sfreq, grid.window_samples)

    return trailing_extractor(
        values,
        description,
        picks,
        grid,
        context_seconds=_CONTEXT_SECONDS,
        axis="eda_feature",
        units=EDA_UNITS,
        recipe={
            "family": "eda",
            "version": 1,
            "units": units,
            "filters_hz": [_SMOOTH_HZ, _PHASIC_HZ],
            "scr": [SCR_SECONDS, _MIN_SCR_US, _PHASIC_SHARE, _RIPPLE_US],
            "rise": [*_RISE_SECONDS, _ONSET_SLOPE],
            "valid": [*_RANGE_US, _MAX_SLOPE_US_PER_SECOND, _SPREAD_SECONDS],
            "doubt": [_STUCK_SECONDS, _MIN_LEVEL_US],
        },
    )


EDA = Family("eda", "skin conductance: level and responses", ("eda",), _prepare)
"""Row of the table of families."""
