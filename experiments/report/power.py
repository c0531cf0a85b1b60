"""EEG band power in windows, and what it does in trials: the numbers behind the maps."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from physioemo.clock import segment_bounds
from physioemo.errors import DataError, SignalError
from physioemo.experiments.report.session import Session, Trial
from physioemo.features.entropy import BANDS
from physioemo.units import conversion_factor

__all__ = [
    "BandPower",
    "asymmetry",
    "band_power",
    "eeg_segments",
    "high_minus_low",
    "mean_present",
    "median_present",
    "usable_bands",
]

WINDOW_SECONDS = 2.0
_CHUNK_WINDOWS = 64


class BandPower(NamedTuple):
    """Power per window in microvolts squared, (window, channel, band), NaN where missing."""

    stream: str
    ch_names: tuple[str, ...]
    band_names: tuple[str, ...]
    centre_seconds: np.ndarray
    power: np.ndarray

    def decibels(self) -> np.ndarray:
        """Return the median over windows in dB re 1 microvolt squared, (channel, band)."""
        return median_present(_decibels(self.power))

    def of_trial(self, trial: Trial) -> np.ndarray:
        """Return a trial's mean in dB, (channel, band); NaN where it has no window."""
        half = WINDOW_SECONDS / 2
        first, last = trial.start_seconds + half, trial.stop_seconds - half
        inside = (self.centre_seconds >= first - 1e-6) & (self.centre_seconds <= last + 1e-6)
        if not inside.any():
            return np.full(self.power.shape[1:], np.nan)
        return mean_present(_decibels(self.power[inside]))


def _decibels(power: np.ndarray) -> np.ndarray:
    # Band power of a flat channel is rounding noise, not signal.
    return 10 * np.log10(np.where(power > 1e-12, power, np.nan))


def median_present(values: np.ndarray) -> np.ndarray:
    """Return the median over the first axis of what is there; NaN where nothing is."""
    present = np.isfinite(values).any(axis=0)
    # np.nanmedian warns of a channel that is never there; here that is a normal finding.
    filled = np.where(present, values, 0.0)
    return np.where(present, np.nanmedian(filled, axis=0), np.nan)


def mean_present(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean over an axis of what is there; NaN where nothing is."""
    count = np.isfinite(values).sum(axis=axis)
    total = np.nansum(values, axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def usable_bands(sfreq: float) -> dict[str, tuple[float, float]]:
    """Return the bands that lie below half the sampling rate.

    Raises
    ------
    SignalError
        If there is none.
    """
    bands = {name: edges for name, edges in BANDS.items() if edges[1] < sfreq / 2}
    if not bands:
        raise SignalError(
            f"found EEG at {sfreq:g} Hz, expected more than {2 * BANDS['theta'][1]:g} Hz; "
            "record at a higher rate to see band power"
        )
    return bands


def eeg_segments(
    session: Session, key: str
) -> tuple[tuple[str, ...], list[tuple[np.ndarray, np.ndarray]]]:
    """Return the EEG channels of a stream and its gapless stretches in microvolts.

    Returns
    -------
    ch_names : tuple of str
        Channels of type EEG.
    segments : list of (time, signal)
        Seconds from the start (time,), and microvolts (channel, time).

    Raises
    ------
    UnitError
        If a unit is not a voltage.
    """
    channels = [c for c in session.channels("eeg") if c.stream == key]
    stream, time = session.stream(key)
    factors = np.array([conversion_factor(c.unit, "uV") for c in channels])
    signal = np.asarray(stream["signal"].values)
    index = [c.index for c in channels]
    bounds = segment_bounds(time, channels[0].sfreq)
    parts = [(time[a:b], signal[a:b, index].T * factors[:, None]) for a, b in bounds]
    return tuple(c.name for c in channels), parts


def band_power(session: Session, key: str) -> BandPower:
    """Return the power of each band in windows of two seconds that overlap by half.

    Hann windows, mean removed, power spectral density summed over a band (Welch 1967, IEEE
    Trans. Audio Electroacoust. 15:70-73).

    Raises
    ------
    SignalError
        If no stretch is as long as a window.
    """
    sfreq = float(session.recording[key].attrs["sfreq"])
    names, segments = eeg_segments(session, key)
    bands, n = usable_bands(sfreq), round(WINDOW_SECONDS * sfreq)
    parts = [p for time, signal in segments for p in _windows(time, signal, n)]
    if not parts:
        raise SignalError(
            f"found no stretch of {WINDOW_SECONDS:g} s without a gap in {key!r}, expected at "
            "least one; record for longer"
        )
    power = np.concatenate([_window_power(w, sfreq, bands) for _, w in parts])
    centres = np.concatenate([c for c, _ in parts])
    return BandPower(key, names, tuple(bands), centres, power)


def _windows(
    time: np.ndarray, signal: np.ndarray, n: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield centres and samples (window, channel, time) of a few windows at a time."""
    starts = np.arange(0, signal.shape[1] - n + 1, max(n // 2, 1))
    for first in range(0, len(starts), _CHUNK_WINDOWS):
        some = starts[first : first + _CHUNK_WINDOWS]
        centres = (time[some] + time[some + n - 1]) / 2
        yield centres, np.stack([signal[:, s : s + n] for s in some])


def _window_power(
    windows: np.ndarray, sfreq: float, bands: dict[str, tuple[float, float]]
) -> np.ndarray:
    """Return power (window, channel, band); a window with a missing sample is NaN."""
    from scipy.signal import periodogram

    frequency, density = periodogram(windows, sfreq, window="hann", detrend="constant", axis=2)
    step = frequency[1] - frequency[0]
    inside = [(frequency >= low) & (frequency < high) for low, high in bands.values()]
    return np.stack([density[..., mask].sum(axis=2) * step for mask in inside], axis=2)


def high_minus_low(session: Session, power: BandPower, dimension: str) -> np.ndarray:
    """Return the mean of trials rated high minus that of trials rated low, in dB.

    Returns
    -------
    ndarray, shape (channel, band)

    Raises
    ------
    DataError
        If fewer than two trials were rated high or low.
    """
    groups: dict[int | None, list[np.ndarray]] = {0: [], 1: []}
    for trial in session.trials:
        values = power.of_trial(trial)
        if np.isfinite(values).any():
            groups.setdefault(session.label(trial, dimension), []).append(values)
    if min(len(groups[0]), len(groups[1])) < 2:
        raise DataError(
            f"found {len(groups[1])} trials rated high and {len(groups[0])} rated low in "
            f"{dimension} with EEG, expected at least two of each; rate more trials"
        )
    return mean_present(np.stack(groups[1])) - mean_present(np.stack(groups[0]))


def asymmetry(power: BandPower, trial: Trial) -> float:
    """Return frontal alpha asymmetry, ln right minus ln left power at F4 and F3.

    NaN where an electrode is not there. Coan and Allen (2004), Biological Psychology 67:7-50.
    """
    places = {name.casefold(): i for i, name in enumerate(power.ch_names)}
    if not {"f3", "f4"} <= places.keys() or "alpha" not in power.band_names:
        return float("nan")
    values = power.of_trial(trial)[:, power.band_names.index("alpha")]
    return float((values[places["f4"]] - values[places["f3"]]) * np.log(10) / 10)
