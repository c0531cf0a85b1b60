"""Blinks, saccades and fixations of one eye, and the windows in which they are counted.

* Blink: a run of samples without an eye (gaze or pupil missing, or the eyelid closed) of 20 ms to
  1 s; runs less than 20 ms apart are one. The 50 ms before and the 100 ms after a run are masked
  too: there the lid covers part of the pupil, so that size and gaze are wrong (Hershman, Henik &
  Cohen, Behavior Research Methods 50, 2018).
* Saccade: velocity outside an ellipse of six median-based standard deviations of the window's own
  velocities (Engbert & Kliegl, Vision Research 43, 2003), so the threshold needs no screen
  distance and is the same in pixels and degrees. Where the stream is in degrees, the threshold
  is at least 30 deg/s. At least 10 ms long; runs less than 20 ms apart are one, because the eye
  overshoots (Nyström & Holmqvist, Behavior Research Methods 42, 2010).
* Fixation: at least 60 ms between saccades and blinks.

A window sees 250 ms of signal before it, so that it knows what was already under way. An event
counts in the window in which it begins; one that the window's end cuts off is counted there, and
not again in the next. Durations and amplitudes are averaged over the events seen whole.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from physioemo.features.family import (
    Extractor,
    WindowGrid,
    WindowState,
    step_windows,
    window_view,
)

__all__ = [
    "CONTEXT_SECONDS",
    "EventRuns",
    "begun_inside",
    "blink_runs",
    "blink_share",
    "context_windows",
    "fixation_runs",
    "gaze_velocity",
    "mask_runs",
    "padded",
    "rules",
    "saccade_runs",
    "velocity_reach",
]

CONTEXT_SECONDS = 0.25
"""How much signal before a window is looked at."""

MIN_BLINK_SECONDS, MAX_BLINK_SECONDS = 0.02, 1.0
BLINK_PADDING_SECONDS = (0.05, 0.1)
MIN_SACCADE_SECONDS, MIN_FIXATION_SECONDS, MERGE_SECONDS = 0.01, 0.06, 0.02
VELOCITY_DEVIATIONS = 6.0
MIN_SACCADE_DEG_PER_S = 30.0

_VELOCITY_HALF_SECONDS = 0.004  # two samples each side at the 500 Hz of the published method


class EventRuns(NamedTuple):
    """Stretches of samples: first sample of each, and the first one after it."""

    start: np.ndarray
    stop: np.ndarray

    def kept(self, which: np.ndarray) -> "EventRuns":
        """Return the runs that a mask or index selects."""
        return EventRuns(self.start[which], self.stop[which])


def mask_runs(mask: np.ndarray, merge_samples: int = 0) -> EventRuns:
    """Return the runs of True; those less than `merge_samples` apart become one."""
    edges = np.diff(np.concatenate([[0], np.asarray(mask, np.int8), [0]]))
    start, stop = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    apart = start[1:] - stop[:-1] >= merge_samples
    return EventRuns(
        start[np.concatenate([[True], apart])] if len(start) else start,
        stop[np.concatenate([apart, [True]])] if len(stop) else stop,
    )


def blink_runs(missing: np.ndarray, sfreq: float) -> EventRuns:
    """Return the blinks in a stretch of one eye.

    A run that reaches the last sample is taken for a blink that goes on, however short.

    Parameters
    ----------
    missing : ndarray of bool, shape (time,)
        Where no eye was seen.
    sfreq : float
        Rate in Hz.
    """
    runs = mask_runs(missing, _samples(MERGE_SECONDS, sfreq))
    length = runs.stop - runs.start
    long_enough = (length >= MIN_BLINK_SECONDS * sfreq) | (runs.stop == len(missing))
    return runs.kept(long_enough & (length <= MAX_BLINK_SECONDS * sfreq))


def blink_share(blinks: EventRuns, first: int, n: int) -> float:
    """Return the share of the samples from `first` to `n` that lie in a blink."""
    inside = np.maximum(0, blinks.stop - np.maximum(blinks.start, first))
    return float(inside.sum() / (n - first))


def padded(missing: np.ndarray, sfreq: float) -> np.ndarray:
    """Return the mask of what cannot be used: missing samples and those around them."""
    before, after = (_samples(s, sfreq) for s in BLINK_PADDING_SECONDS)
    unusable = np.array(missing, bool)
    for start, stop in zip(*mask_runs(missing), strict=True):
        unusable[max(0, start - before) : stop + after] = True
    return unusable


def velocity_reach(sfreq: float) -> int:
    """Return how many samples on each side a velocity is made of."""
    return max(1, round(_VELOCITY_HALF_SECONDS * sfreq))


def gaze_velocity(position: np.ndarray, sfreq: float) -> np.ndarray:
    """Return the velocity of a coordinate per second, NaN where it cannot be had.

    The mean of the samples after less the mean of those before, over their distance: Engbert &
    Kliegl's five-point estimate at 500 Hz.

    Parameters
    ----------
    position : ndarray, shape (time,)
        One coordinate, NaN where missing.
    sfreq : float
        Rate in Hz.
    """
    reach, n = velocity_reach(sfreq), len(position)
    velocity = np.full(n, np.nan)
    if n <= 2 * reach:
        return velocity
    after = sum(position[reach + k : n - reach + k] for k in range(1, reach + 1))
    before = sum(position[reach - k : n - reach - k] for k in range(1, reach + 1))
    velocity[reach : n - reach] = (after - before) / reach / (reach + 1) * sfreq
    return velocity


def saccade_runs(x: np.ndarray, y: np.ndarray, sfreq: float, *, degrees: bool) -> EventRuns:
    """Return the saccades in a stretch of one eye.

    A run that touches masked samples is the edge of a blink and left out; one that reaches the
    last velocity goes on and is kept, however short.

    Parameters
    ----------
    x, y : ndarray, shape (time,)
        Gaze, NaN where it is missing or masked.
    sfreq : float
        Rate in Hz.
    degrees : bool
        Whether the gaze is in degrees.
    """
    speed = np.zeros(len(x))
    known = np.ones(len(x), bool)
    for coordinate in (x, y):
        velocity = gaze_velocity(coordinate, sfreq)
        threshold = VELOCITY_DEVIATIONS * _median_deviation(velocity)
        threshold = max(threshold, MIN_SACCADE_DEG_PER_S) if degrees else threshold
        known &= np.isfinite(velocity)
        if threshold > 0:
            speed += (velocity / threshold) ** 2
        else:  # more than half of the samples do not move at all
            speed += np.where(velocity != 0, np.inf, 0.0)
    fast = known & (np.where(known, speed, 0.0) > 1)
    runs = mask_runs(fast, _samples(MERGE_SECONDS, sfreq))
    end = len(x) - velocity_reach(sfreq)
    shortest = max(2, int(np.ceil(MIN_SACCADE_SECONDS * sfreq)))
    runs = runs.kept((runs.stop - runs.start >= shortest) | (runs.stop == end))
    begun = known[np.maximum(runs.start - 1, 0)] & (runs.start > 0)
    ended = (runs.stop >= end) | known[np.minimum(runs.stop, len(x) - 1)]
    whole = [bool(known[a:b].all()) for a, b in zip(*runs, strict=True)]
    return runs.kept(begun & ended & np.array(whole, bool))


def fixation_runs(x: np.ndarray, y: np.ndarray, saccades: EventRuns, sfreq: float) -> EventRuns:
    """Return the fixations: where gaze is known and no saccade is under way.

    One that reaches the last velocity goes on and is kept, however short.

    Parameters
    ----------
    x, y : ndarray, shape (time,)
        Gaze, NaN where it is missing or masked.
    saccades : EventRuns
        What :func:`saccade_runs` found.
    sfreq : float
        Rate in Hz.
    """
    still = np.isfinite(gaze_velocity(x, sfreq)) & np.isfinite(gaze_velocity(y, sfreq))
    for start, stop in zip(*saccades, strict=True):
        still[start:stop] = False
    runs = mask_runs(still)
    end = len(x) - velocity_reach(sfreq)
    long_enough = runs.stop - runs.start >= MIN_FIXATION_SECONDS * sfreq
    return runs.kept(long_enough | (runs.stop == end))


def context_windows(
    function: Callable[[np.ndarray, int], np.ndarray],
    n_channels: int,
    grid: WindowGrid,
    sfreq: float,
    *,
    coords: Mapping[str, tuple[str, ...]],
    units: tuple[str, ...],
    fingerprint: str,
) -> Extractor:
    r"""Return the extractor of a feature that sees a window and the signal just before it.

    Parameters
    ----------
    function : callable
        ``function(samples, n_before) -> values``: samples (channel, time), the first `n_before`
        of which lie before the window (fewer at the beginning of a stretch); values (\\*dims).
    n_channels : int
        Channels of the stream.
    grid : WindowGrid
        Where the windows lie.
    sfreq : float
        Rate in Hz.
    coords, units, fingerprint
        As in :class:`~physioemo.features.family.Extractor`.
    """
    context = _samples(CONTEXT_SECONDS, sfreq)
    longer = WindowGrid(grid.window_samples + context, grid.hop_samples)
    shape = tuple(len(names) for names in coords.values())
    # Infinite: no sample, as opposed to a missing one. It is cut off before it is looked at.
    nothing = np.full((n_channels, context), np.inf)

    def values_of(windows: list[np.ndarray] | np.ndarray) -> np.ndarray:
        found = []
        for window in windows:
            n_nothing = int(np.isposinf(window[:, :context]).all(axis=0).sum())
            found.append(function(np.array(window[:, n_nothing:]), context - n_nothing))
        return np.stack(found) if found else np.empty((0, *shape))

    def step(chunk: np.ndarray, state: WindowState) -> tuple[np.ndarray, WindowState]:
        windows, after = step_windows(_finite_or_missing(chunk), state, longer)
        return values_of(windows), after

    def batch(signal: np.ndarray) -> np.ndarray:
        whole = np.concatenate([nothing, _finite_or_missing(signal)], axis=1)
        return values_of(window_view(whole, longer))

    return Extractor(
        coords=dict(coords),
        units=units,
        start=lambda: WindowState(nothing.copy()),
        step=step,
        batch=batch,
        fingerprint=fingerprint,
        warm_up_seconds=context / sfreq,
    )


def rules() -> dict[str, float | list[float]]:
    """Return every constant above: what a fingerprint has to hold."""
    return {
        "context": CONTEXT_SECONDS,
        "blink": [MIN_BLINK_SECONDS, MAX_BLINK_SECONDS, *BLINK_PADDING_SECONDS],
        "saccade": [MIN_SACCADE_SECONDS, VELOCITY_DEVIATIONS, MIN_SACCADE_DEG_PER_S],
        "velocity": _VELOCITY_HALF_SECONDS,
        "fixation": MIN_FIXATION_SECONDS,
        "merge": MERGE_SECONDS,
    }


def begun_inside(runs: EventRuns, n_before: int) -> np.ndarray:
    """Return which runs begin in the window; one at the very first sample began earlier."""
    return (runs.start >= max(n_before, 1)).astype(bool)


def _finite_or_missing(signal: np.ndarray) -> np.ndarray:
    signal = np.asarray(signal, float)
    return np.where(np.isfinite(signal), signal, np.nan)


def _samples(seconds: float, sfreq: float) -> int:
    return int(np.ceil(seconds * sfreq - 1e-9))


def _median_deviation(velocity: np.ndarray) -> float:
    known = velocity[np.isfinite(velocity)]
    if not len(known):
        return 0.0
    return float(np.sqrt(np.median((known - np.median(known)) ** 2)))
