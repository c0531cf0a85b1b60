"""Pulse rate and pulse amplitude from a pulse wave (PPG, BVP, PLETH).

Both are those of the last 10 s. The beats are those of
:func:`~physioemo.features.heartbeats.find_beats`; the amplitude of a beat is the height of its
peak above the foot before it, in the signal smoothed below 8 Hz. Amplitudes depend on the
sensor's place and pressure: compare them within one recording only (Elgendi 2012, Current
Cardiology Reviews 8:14-25). For variability, see :mod:`physioemo.features.sliding_hrv`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.description import StreamDescription
from physioemo.features.beat_chain import KINDS
from physioemo.features.family import Extractor, Family, FamilyOptions, WindowGrid
from physioemo.features.heartbeats import QUALITY_THRESHOLD, find_beats
from physioemo.features.trailing import channels_of_kind, trailing_extractor
from physioemo.units import joint_unit

__all__ = ["CONTEXT_SECONDS", "PULSE", "Pulse", "pulse"]

Floats = NDArray[np.float64]

CONTEXT_SECONDS = 10.0
"""How far back rate and amplitude look: six beats at 40 per minute."""

_SMOOTH_HZ = 8.0
_PEAK_SECONDS = 0.15  # the matched filter places a beat this close to the peak


class Pulse(NamedTuple):
    """The pulse in one stretch of signal.

    Parameters
    ----------
    rate : float
        Beats per minute: 60 over the mean interval; NaN where the beats are not usable.
    amplitude : float
        Median height from foot to peak in the signal's unit; NaN likewise.
    quality : float
        As in :class:`~physioemo.features.heartbeats.Heartbeats`, 0 to 1.
    """

    rate: float
    amplitude: float
    quality: float


def pulse(signal: ArrayLike, sfreq: float) -> Pulse:
    """Return rate and amplitude of the pulse, and how far to trust them.

    Parameters
    ----------
    signal : (time,) array_like
        Pulse wave with its peaks upwards, in any unit; at least 5 s.
    sfreq : float
        Sampling rate in Hz, at least 20.

    Returns
    -------
    Pulse

    Raises
    ------
    SignalError
        As :func:`~physioemo.features.heartbeats.find_beats`.
    """
    values = np.asarray(signal, dtype=np.float64)
    beats = find_beats(values, sfreq, kind="pleth")
    rr, times = beats.intervals()
    if beats.reason or not len(rr):
        return Pulse(np.nan, np.nan, beats.quality)
    smooth = _smoothed(values, sfreq)
    reach = round(_PEAK_SECONDS * sfreq)
    heights = []
    for before, at in zip(np.rint((times - rr) * sfreq), np.rint(times * sfreq), strict=True):
        foot = smooth[int(before) : int(at) + 1].min()
        heights.append(smooth[max(0, int(at) - reach) : int(at) + reach + 1].max() - foot)
    return Pulse(60 / float(rr.mean()), float(np.median(heights)), beats.quality)


def _smoothed(values: Floats, sfreq: float) -> Floats:
    from scipy.signal import butter, sosfiltfilt

    present = np.isfinite(values)
    at = np.arange(len(values))
    bridged = np.interp(at, at[present], values[present])
    sections = butter(2, _SMOOTH_HZ, fs=sfreq, output="sos")
    return np.asarray(sosfiltfilt(sections, bridged))


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    least = KINDS["pleth"].min_sfreq
    _, picks = channels_of_kind(description, PULSE.modalities, least_hz=least)
    sfreq = description.sfreq
    whole = round(CONTEXT_SECONDS * sfreq)

    def values(context: Floats, channel: int) -> Floats:
        if len(context) < whole:
            return np.full(3, np.nan)
        return np.array(pulse(context, sfreq))

    unit = joint_unit([description.units[i] for i in picks])
    return trailing_extractor(
        values,
        description,
        picks,
        grid,
        context_seconds=CONTEXT_SECONDS,
        axis="pulse_feature",
        units={"rate": "bpm", "amplitude": unit, "quality": "1"},
        recipe={
            "family": "pulse",
            "version": 1,
            "beats": [QUALITY_THRESHOLD, _SMOOTH_HZ, _PEAK_SECONDS],
        },
    )


PULSE = Family("pleth", "pulse rate and amplitude", ("pleth",), _prepare)
"""Row of the table of families; NaN until a stretch has lasted 10 s."""
