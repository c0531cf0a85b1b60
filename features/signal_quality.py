"""How usable each EEG channel is in each window: what is wrong with it, and one score.

Everything is measured within the window and the channel, so that it can be had live and a bad
neighbour changes nothing. The criteria are those of the PREP pipeline (Bigdely-Shamlo et al. 2015,
Front. Neuroinform. 9:16: missing or flat, extreme amplitude, high-frequency noise) with fixed
limits in place of its robust z-scores over all channels of a whole recording; its correlation
and RANSAC criteria need neighbours and are left out. Muscles show above 20-30 Hz (Muthukumaraswamy
2013, Front. Hum. Neurosci. 7:138), where an EEG's spectrum has long fallen.

The score is the lowest of the parts in :data:`LIMITS`: each is 1 up to its first limit, 0 from
its second on, and falls in a straight line between. Below 0.5, leave the channel out of that
window. A blink is far above the limit of amplitude: the score tells signal from artefact, not good
electrodes from bad ones.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from physioemo.description import StreamDescription
from physioemo.errors import SignalError
from physioemo.features.band_power import hann_periodogram
from physioemo.features.eeg_windows import alive_windows, by_stacks, eeg_channels, in_windows
from physioemo.features.family import Extractor, Family, FamilyOptions, WindowGrid, window_local
from physioemo.fingerprint import config_fingerprint

__all__ = [
    "FLAT_SECONDS",
    "LIMITS",
    "MEASURES",
    "SIGNAL_QUALITY",
    "Limits",
    "quality_score",
    "signal_quality",
]

MEASURES: dict[str, str] = {
    "missing": "1",
    "flat": "1",
    "peak_to_peak": "uV",
    "line_noise_50": "1",
    "line_noise_60": "1",
    "high_frequency": "1",
    "score": "1",
}
"""The measures in their order, with their units."""


class Limits(NamedTuple):
    """A measure up to which a channel is good, and from which on it is bad."""

    good: float
    bad: float


LIMITS: dict[str, Limits] = {
    "missing": Limits(0.0, 0.25),
    "flat": Limits(0.0, 0.25),
    "peak_to_peak": Limits(100.0, 200.0),
    "line_noise_50": Limits(0.25, 0.75),
    "line_noise_60": Limits(0.25, 0.75),
    "high_frequency": Limits(0.3, 0.7),
}
"""The parts of the score; shares, and microvolts for ``peak_to_peak``."""

FLAT_SECONDS = 0.04
"""Equal samples for this long (and at least four) are no coarse steps of a converter."""

_FEWEST_FLAT = 4
_LOWEST_HZ = 1.0
_HIGHEST_HZ = 100.0
_HIGH_FREQUENCY_HZ = 30.0
_LINE_HZ = (50.0, 60.0)
_LINE_HALF_WIDTH_HZ = 1.5
_NEIGHBOURS_HZ = (2.5, 5.5)  # distance from the line
_SHORTEST_SECONDS = 1.0
_LEAST_POWER = 1e-6  # uV^2: less is a flat line and rounding


def signal_quality(
    signal: np.ndarray,
    sfreq: float,
    *,
    window_seconds: float = 1.0,
    hop_seconds: float | None = None,
) -> np.ndarray:
    """Return what is wrong with each channel in each window, and its score.

    Parameters
    ----------
    signal : ndarray, shape (channel, time)
        EEG in microvolts; NaN and infinite samples are missing.
    sfreq : float
        Sampling rate in Hz.
    window_seconds, hop_seconds : float
        Length of a window, at least 1 s, and the step between two (a window's length by
        default).

    Returns
    -------
    ndarray, shape (window, channel, measure)
        In the order of :data:`MEASURES`:

        - ``missing``: share of the samples;
        - ``flat``: share of the samples within :data:`FLAT_SECONDS` or more without change;
        - ``peak_to_peak``: in microvolts, of the present samples;
        - ``line_noise_50``, ``line_noise_60``: share of the power from 1 to 100 Hz that stands
          out of its neighbourhood at 50 or 60 Hz; NaN where the rate is too low to tell;
        - ``high_frequency``: share of the power from 1 to 100 Hz, mains aside, above 30 Hz;
        - ``score``: 0 to 1, never NaN.

        Shares of power are NaN where samples are missing or the channel is flat.

    Raises
    ------
    SignalError
        If the windows are shorter than 1 s, the rate is below 80 Hz, or the signal is not
        (channel, time) or shorter than one window.
    CallError
        If a length is no whole number of samples.
    """
    hop_seconds = window_seconds if hop_seconds is None else hop_seconds
    grid = WindowGrid.in_seconds(sfreq, window_seconds, hop_seconds)
    _check(grid, sfreq)
    return in_windows(partial(_measures, sfreq=sfreq), signal, grid)


def quality_score(measures: np.ndarray) -> np.ndarray:
    """Return the score (...,) of measures (..., measure) by :data:`LIMITS`; NaN is passed over.

    Parameters
    ----------
    measures : ndarray, shape (..., measure)
        In the order of :data:`MEASURES`, with or without the score itself at the end.
    """
    good, bad = np.array(list(LIMITS.values())).T
    parts = (bad - measures[..., : len(LIMITS)]) / (bad - good)
    return np.asarray(np.fmin.reduce(np.clip(parts, 0.0, 1.0), axis=-1))


def _check(grid: WindowGrid, sfreq: float) -> None:
    if grid.window_samples < _SHORTEST_SECONDS * sfreq - 0.5:
        raise SignalError(
            f"found windows of {grid.window_samples / sfreq:g} s, expected at least "
            f"{_SHORTEST_SECONDS:g} s to tell mains hum from its neighbours; use longer windows"
        )
    if sfreq / 2 < _HIGH_FREQUENCY_HZ + 10:
        raise SignalError(
            f"found EEG at {sfreq:g} Hz, expected at least {2 * _HIGH_FREQUENCY_HZ + 20:g} Hz to "
            "tell muscles from brain; leave signal quality out"
        )


def _measures(windows: np.ndarray, *, sfreq: float) -> np.ndarray:
    """Return all measures (window, channel, measure) of windows (window, channel, time)."""
    present = np.isfinite(windows)
    filled, alive = alive_windows(windows)
    values = np.empty((*windows.shape[:2], len(MEASURES)))
    values[..., 0] = 1 - present.mean(axis=-1)
    values[..., 1] = _flat_share(windows, max(_FEWEST_FLAT, round(FLAT_SECONDS * sfreq)))
    top = np.max(windows, axis=-1, where=present, initial=-np.inf)
    bottom = np.min(windows, axis=-1, where=present, initial=np.inf)
    values[..., 2] = np.where(present.any(axis=-1), top, np.nan) - bottom
    values[..., 3:6] = np.where(alive[..., None], _power_shares(filled, sfreq), np.nan)
    values[..., 6] = quality_score(values)
    return values


def _flat_share(windows: np.ndarray, n: int) -> np.ndarray:
    """Return the share of present samples within `n` or more equal ones in a row."""
    same = windows[..., 1:] == windows[..., :-1]
    runs = np.lib.stride_tricks.sliding_window_view(same, n - 1, axis=-1).all(axis=-1)
    flat = np.zeros(windows.shape, bool)
    for k in range(n):
        flat[..., k : k + runs.shape[-1]] |= runs
    present = np.isfinite(windows).sum(axis=-1)
    return np.asarray(flat.sum(axis=-1) / np.maximum(present, 1))


def _power_shares(windows: np.ndarray, sfreq: float) -> np.ndarray:
    """Return the shares of 50 Hz, 60 Hz and high frequencies (window, channel, 3)."""
    density = hann_periodogram(windows, sfreq)
    at = np.fft.rfftfreq(windows.shape[-1], 1 / sfreq)
    seen = (at >= _LOWEST_HZ) & (at <= _HIGHEST_HZ)
    mains = np.any([np.abs(at - line) <= _LINE_HALF_WIDTH_HZ for line in _LINE_HZ], axis=0)
    total = _share_of(density[..., seen].sum(axis=-1), sfreq / windows.shape[-1])
    lines = [_line_excess(density, at, line) / total for line in _LINE_HZ]
    quiet = density * (seen & ~mains)
    brain = _share_of(quiet.sum(axis=-1), sfreq / windows.shape[-1])
    high = quiet[..., at >= _HIGH_FREQUENCY_HZ].sum(axis=-1) / brain
    return np.stack([*lines, high], axis=-1)


def _share_of(total: np.ndarray, resolution: float) -> np.ndarray:
    """Return a total as a denominator: NaN where there is next to no power."""
    return np.where(total * resolution > _LEAST_POWER, total, np.nan)


def _line_excess(density: np.ndarray, at: np.ndarray, line: float) -> np.ndarray:
    """Return by how much a line's bins exceed those beside it, (window, channel), at least 0."""
    away = np.abs(at - line)
    beside = (away >= _NEIGHBOURS_HZ[0]) & (away <= _NEIGHBOURS_HZ[1])
    if line + _NEIGHBOURS_HZ[0] > at[-1]:
        return np.full(density.shape[:-1], np.nan)
    inside = density[..., away <= _LINE_HALF_WIDTH_HZ]
    floor = np.median(density[..., beside], axis=-1)
    return np.maximum(inside.sum(axis=-1) - floor * inside.shape[-1], 0.0)


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    del options  # nothing here depends on the bands
    channels, sfreq = eeg_channels(description), description.sfreq
    _check(grid, sfreq)
    function = partial(_measures, sfreq=sfreq)
    recipe = {"family": "quality", "sfreq": sfreq, "limits": LIMITS, **grid.__dict__}
    return window_local(
        lambda windows: channels.spread(by_stacks(lambda w: function(channels.pick(w)), windows)),
        len(description.ch_names),
        grid,
        coords={"channel": description.ch_names, "measure": tuple(MEASURES)},
        units=tuple(MEASURES.values()),
        fingerprint=config_fingerprint(recipe),
    )


SIGNAL_QUALITY = Family(
    "quality", "what is wrong with each channel, and a score from 0 to 1", ("eeg",), _prepare
)
