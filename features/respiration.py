"""Breathing rate and depth from a belt, a thermistor or an impedance signal.

A breath lasts longer than a window, so both are those of the last 30 s. The signal is smoothed
below 2 Hz; a breath goes from trough to trough, where a turn counts once the signal has come back
by 0.15 of its usual range (between the 10th and 90th percentiles, its line removed). The quality is
made of two of the rules of Charlton et al. (2021), Physiol Meas 42:065004: the share of the time
that breaths cover which last 0.5 to 1.5 times the median, times the mean correlation of the breaths
with their mean. Smoothing happens within the 30 s, so nothing after the window is seen.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.description import StreamDescription
from physioemo.errors import SignalError
from physioemo.features.family import Extractor, Family, FamilyOptions, WindowGrid
from physioemo.features.trailing import channels_of_kind, trailing_extractor
from physioemo.features.turning_points import rises
from physioemo.units import joint_unit

__all__ = ["CONTEXT_SECONDS", "RESPIRATION", "Breathing", "breathing"]

Floats = NDArray[np.float64]

CONTEXT_SECONDS = 30.0
"""How far back rate and depth look: two breaths at the slowest usual rate, 6 per minute."""

LEAST_HZ = 5.0
_SMOOTH_HZ = 2.0
_REVERSAL = 0.15  # of the range between the 10th and 90th percentiles
_BREATH_SECONDS = (1.0, 15.0)  # 60 to 4 breaths per minute
_OF_MEDIAN = (0.5, 1.5)
_MIN_QUALITY = 0.6  # reached by nine in ten stretches of three belts, by 3 % of random walks
_MAX_MISSING = 0.2
_SHORT_GAP_SECONDS = 0.5
_BREATH_POINTS = 50


class Breathing(NamedTuple):
    """Breathing in one stretch of signal.

    Parameters
    ----------
    rate : float
        Breaths per minute, NaN where it cannot be told.
    depth : float
        Mean rise from trough to peak in the signal's unit, NaN where it cannot be told.
    quality : float
        Share of the time that plausible breaths cover, times their likeness, 0 to 1.
    """

    rate: float
    depth: float
    quality: float


def breathing(signal: ArrayLike, sfreq: float) -> Breathing:
    """Return rate and depth of breathing, and how much of the signal is breaths.

    Parameters
    ----------
    signal : (time,) array_like
        In any unit, NaN where missing: best half a minute or more.
    sfreq : float
        Sampling rate in Hz, at least 5.

    Returns
    -------
    Breathing
        Rate and depth NaN where the quality is below 0.6, less than two breaths are whole, or
        more than a fifth of the samples are missing (the quality is then 0).

    Raises
    ------
    SignalError
        If the signal is not one-dimensional or its rate is unknown or too low.
    """
    if sfreq is None or not (np.isfinite(sfreq) and sfreq >= LEAST_HZ):
        raise SignalError(
            f"found a sampling rate of {sfreq} Hz, expected at least {LEAST_HZ:g} Hz for "
            "respiration; it is never assumed"
        )
    values = np.asarray(signal, dtype=np.float64)
    if values.ndim != 1:
        raise SignalError(
            f"found a signal of shape {values.shape}, expected one channel of shape (time,); "
            "pick a channel first"
        )
    missing = ~np.isfinite(values)
    if not len(values) or missing.mean() > _MAX_MISSING:
        return Breathing(np.nan, np.nan, 0.0)
    smooth = _smoothed(values, missing, sfreq)
    low, high = np.quantile(_without_line(smooth), [0.1, 0.9]).tolist()
    swing = high - low
    if not swing > 1e-9 * np.abs(smooth).max():
        return Breathing(np.nan, np.nan, 0.0)  # flat
    return _measured(smooth, missing, rises(smooth, _REVERSAL * swing), sfreq)


def _smoothed(values: Floats, missing: NDArray[np.bool_], sfreq: float) -> Floats:
    from scipy.signal import butter, sosfiltfilt

    at = np.arange(len(values))
    bridged = np.interp(at, at[~missing], values[~missing])
    sections = butter(2, _SMOOTH_HZ, fs=sfreq, output="sos")
    return np.asarray(sosfiltfilt(sections, bridged, padlen=min(9, len(values) - 1)))


def _without_line(values: Floats) -> Floats:
    at = np.arange(len(values)) - (len(values) - 1) / 2
    slope = float(at @ values) / max(float(at @ at), 1.0)
    return np.asarray(values - slope * at)


def _measured(
    smooth: Floats, missing: NDArray[np.bool_], found: NDArray[np.intp], sfreq: float
) -> Breathing:
    if len(found) < 2:
        return Breathing(np.nan, np.nan, 0.0)
    troughs, peaks = found.T
    lasting = np.diff(troughs) / sfreq
    usual = float(np.median(lasting))
    counted = (lasting >= max(_OF_MEDIAN[0] * usual, _BREATH_SECONDS[0])) & (
        lasting <= min(_OF_MEDIAN[1] * usual, _BREATH_SECONDS[1])
    )
    lost = np.concatenate([[0], np.cumsum(missing)])
    counted &= lost[troughs[1:]] - lost[troughs[:-1]] <= _SHORT_GAP_SECONDS * sfreq
    # Before the first trough and after the last peak there may be most of another breath.
    ends = np.array([troughs[0], len(smooth) - peaks[-1]]) / sfreq
    rest = ends[ends <= _OF_MEDIAN[1] * usual].sum() + (peaks[-1] - troughs[-1]) / sfreq
    covered = min(1.0, float(lasting[counted].sum() + rest) * sfreq / len(smooth))
    quality = covered * _likeness(smooth, troughs)
    if quality < _MIN_QUALITY or not counted.any():
        return Breathing(np.nan, np.nan, quality)
    depth = smooth[peaks[:-1]] - (smooth[troughs[:-1]] + smooth[troughs[1:]]) / 2
    return Breathing(60 / float(lasting[counted].mean()), float(depth[counted].mean()), quality)


def _likeness(smooth: Floats, troughs: NDArray[np.intp]) -> float:
    """Return the mean correlation of the breaths with their mean, each brought to one length."""
    breaths = np.stack(
        [
            np.interp(np.linspace(a, b, _BREATH_POINTS), np.arange(a, b + 1), smooth[a : b + 1])
            for a, b in pairwise(troughs.tolist())
        ]
    )
    breaths -= breaths.mean(axis=1, keepdims=True)
    breaths /= np.linalg.norm(breaths, axis=1, keepdims=True)
    mean = breaths.mean(axis=0)
    return max(0.0, float(np.mean(breaths @ mean) / np.linalg.norm(mean)))


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    _, picks = channels_of_kind(description, RESPIRATION.modalities, least_hz=LEAST_HZ)
    sfreq = description.sfreq
    whole = round(CONTEXT_SECONDS * sfreq)

    def values(context: Floats, channel: int) -> Floats:
        if len(context) < whole:
            return np.full(3, np.nan)
        return np.array(breathing(context, sfreq))

    unit = joint_unit([description.units[i] for i in picks])
    return trailing_extractor(
        values,
        description,
        picks,
        grid,
        context_seconds=CONTEXT_SECONDS,
        axis="respiration_feature",
        units={"rate": "bpm", "depth": unit, "quality": "1"},
        recipe={
            "family": "respiration",
            "version": 1,
            "breaths": [_SMOOTH_HZ, _REVERSAL, *_BREATH_SECONDS, *_OF_MEDIAN, _MIN_QUALITY],
        },
    )


RESPIRATION = Family("respiration", "breathing rate and depth", ("respiration",), _prepare)
"""Row of the table of families; NaN until a stretch has lasted 30 s."""
