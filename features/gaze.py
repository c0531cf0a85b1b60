"""Gaze of each eye: how far it spreads, fixations, saccades and blinks in each window.

Lengths are in the unit of the stream: degrees only where the stream says so. Pixels stay pixels,
because degrees would need a screen distance that no stream states. The spread is given twice:
the root mean square distance from the mean, and the bivariate contour ellipse area (BCEA) that
holds 68.2 % of a two-dimensional normal distribution, ``2 k pi sx sy sqrt(1 - r^2)`` with k = 1.14
(Crossland & Rubin, Optometry and Vision Science 79, 2002). What counts as an event stands in
:mod:`physioemo.features.eye_events`.
"""

from typing import NamedTuple

import numpy as np

from physioemo.description import StreamDescription
from physioemo.features import eye_events
from physioemo.features.eye_channels import Eye, check_rate, gaze_eyes, shared_unit
from physioemo.features.family import Extractor, Family, FamilyOptions, WindowGrid
from physioemo.fingerprint import config_fingerprint

__all__ = ["GAZE", "GAZE_FEATURES", "MIN_GAZE_HZ", "MIN_VALID_SHARE", "GazeWindow", "gaze_features"]

GAZE_FEATURES = (
    "dispersion_rms",
    "dispersion_bcea",
    "fixation_count",
    "fixation_duration",
    "saccade_count",
    "saccade_amplitude",
    "blink_count",
    "blink_share",
    "valid_share",
)
"""The features of a window, in their order."""

MIN_GAZE_HZ = 50.0
"""Below this, a saccade of 20 to 60 ms lies between two samples."""

MIN_VALID_SHARE = 0.25
"""With less usable gaze in the window, everything but blinks and validity is NaN."""

_BCEA_K = 1.14


class GazeWindow(NamedTuple):
    """What to look at: the stretch that begins before the window, and where the window begins.

    Parameters
    ----------
    x, y : ndarray, shape (time,)
        Gaze, NaN where missing.
    missing : ndarray of bool, shape (time,)
        Where no eye was seen.
    n_before : int
        Samples before the window.
    """

    x: np.ndarray
    y: np.ndarray
    missing: np.ndarray
    n_before: int


def gaze_features(window: GazeWindow, sfreq: float, *, degrees: bool) -> np.ndarray:
    """Return the features of one eye in one window, in the order of :data:`GAZE_FEATURES`.

    Durations in seconds, lengths in the unit of the gaze, shares of the window in [0, 1].
    ``fixation_duration`` and ``saccade_amplitude`` are means over the events seen whole, NaN
    where there are none. ``valid_share`` counts what is left after the padding of blinks.

    Parameters
    ----------
    window : GazeWindow
        The samples.
    sfreq : float
        Rate in Hz.
    degrees : bool
        Whether the gaze is in degrees.
    """
    first = window.n_before
    unusable = eye_events.padded(window.missing, sfreq)
    x, y = (np.where(unusable, np.nan, c) for c in (window.x, window.y))
    values = dict.fromkeys(GAZE_FEATURES, np.nan)
    blinks = eye_events.blink_runs(window.missing, sfreq)
    values["blink_count"] = float(eye_events.begun_inside(blinks, first).sum())
    values["blink_share"] = eye_events.blink_share(blinks, first, len(x))
    usable = ~unusable[first:]
    values["valid_share"] = float(usable.mean())
    if values["valid_share"] >= MIN_VALID_SHARE:
        _spread(values, x[first:][usable], y[first:][usable])
        _events(values, x, y, first, sfreq, degrees)
    return np.array([values[name] for name in GAZE_FEATURES])


def _spread(values: dict[str, float], x: np.ndarray, y: np.ndarray) -> None:
    dx, dy = x - x.mean(), y - y.mean()
    vx, vy, common = (dx**2).mean(), (dy**2).mean(), (dx * dy).mean()
    values["dispersion_rms"] = float(np.sqrt(vx + vy))
    # sx sy sqrt(1 - r^2) is the root of the determinant of the covariance.
    values["dispersion_bcea"] = float(2 * _BCEA_K * np.pi * np.sqrt(max(vx * vy - common**2, 0.0)))


def _events(
    values: dict[str, float], x: np.ndarray, y: np.ndarray, first: int, sfreq: float, degrees: bool
) -> None:
    saccades = eye_events.saccade_runs(x, y, sfreq, degrees=degrees)
    fixations = eye_events.fixation_runs(x, y, saccades, sfreq)
    reach = eye_events.velocity_reach(sfreq)
    # The velocity of the last samples is known only in the next window: the border lies there.
    # What is under way at the very first velocity began before anybody looked.
    border, end = max(first - reach, reach + 1), len(x) - reach
    whole = {}
    for name, runs in (("fixation", fixations), ("saccade", saccades)):
        begun = runs.kept(runs.start >= border)
        values[f"{name}_count"] = float(len(begun.start))
        whole[name] = begun.kept(begun.stop < end)
    if len(whole["fixation"].start):
        lengths = whole["fixation"].stop - whole["fixation"].start
        values["fixation_duration"] = float(lengths.mean() / sfreq)
    if len(whole["saccade"].start):
        a, b = whole["saccade"].start - 1, whole["saccade"].stop
        values["saccade_amplitude"] = float(np.hypot(x[b] - x[a], y[b] - y[a]).mean())


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    check_rate(description, MIN_GAZE_HZ, "saccades last 20 to 60 ms")
    eyes, sfreq = gaze_eyes(description), description.sfreq
    unit = shared_unit(description, [c for e in eyes for c in (e.x, e.y) if c is not None])
    degrees = unit == "deg"

    def window_features(samples: np.ndarray, n_before: int) -> np.ndarray:
        return np.stack(
            [gaze_features(_window(samples, e, n_before), sfreq, degrees=degrees) for e in eyes]
        )

    return eye_events.context_windows(
        window_features,
        len(description.ch_names),
        grid,
        sfreq,
        coords={"eye": tuple(e.side for e in eyes), "feature": GAZE_FEATURES},
        units=(unit, f"{unit}^2", "count", "s", "count", unit, "count", "ratio", "ratio"),
        fingerprint=config_fingerprint(
            {
                "family": "gaze",
                "version": 1,
                "sfreq": sfreq,
                "grid": [grid.window_samples, grid.hop_samples],
                "unit": unit,
                "channels": list(description.ch_names),
                "rules": eye_events.rules(),
            }
        ),
    )


def _window(samples: np.ndarray, eye: Eye, n_before: int) -> GazeWindow:
    x, y = samples[eye.x], samples[eye.y]
    missing = ~(np.isfinite(x) & np.isfinite(y)) | eye.invalid(samples, "gaze")
    if eye.pupil is not None:
        pupil = samples[eye.pupil]
        missing |= ~(np.isfinite(pupil) & (pupil > 0))
    return GazeWindow(x, y, missing, n_before)


GAZE = Family(
    "gaze", "spread of gaze, fixations, saccades and blinks of each eye", ("gaze",), _prepare
)
