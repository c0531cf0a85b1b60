"""Size of each pupil in each window, blinks masked.

A sample counts as missing where the device gives none (NaN, or 0 as EyeLink writes it), and,
where the stream has the distance of the lids, while the eye is closed: below half of that
distance's median in the window, or below 1 mm. Trackers that fit a model of the eye, such as
Neon, go on giving sizes while the lids are down. The 50 ms before and the 100 ms after are masked
too (:mod:`physioemo.features.eye_events`); the mean, the slope and the variability are of what
is left, without interpolation.
"""

import numpy as np

from physioemo.description import StreamDescription
from physioemo.features import eye_events
from physioemo.features.eye_channels import Eye, check_rate, pupil_eyes, shared_unit
from physioemo.features.family import Extractor, Family, FamilyOptions, WindowGrid
from physioemo.features.gaze import MIN_VALID_SHARE
from physioemo.fingerprint import config_fingerprint
from physioemo.units import conversion_factor

__all__ = ["MIN_PUPIL_HZ", "PUPIL", "PUPIL_FEATURES", "pupil_features", "pupil_missing"]

PUPIL_FEATURES = (
    "size_mean",
    "size_slope",
    "size_sd",
    "blink_count",
    "blink_share",
    "valid_share",
)
"""The features of a window, in their order."""

MIN_PUPIL_HZ = 20.0
"""Below this, a blink of a tenth of a second is less than two samples."""

_CLOSED_SHARE, _CLOSED_MM = 0.5, 1.0


def pupil_missing(pupil: np.ndarray, aperture_mm: np.ndarray | None = None) -> np.ndarray:
    """Return where no pupil was seen.

    Parameters
    ----------
    pupil : ndarray, shape (time,)
        Size of the pupil in any unit.
    aperture_mm : ndarray, shape (time,), optional
        Distance of the lids in mm.

    Returns
    -------
    ndarray of bool, shape (time,)
    """
    missing = ~(np.isfinite(pupil) & (pupil > 0))
    if aperture_mm is not None and np.isfinite(aperture_mm).any():
        opened = float(np.nanmedian(aperture_mm))
        closed = aperture_mm < max(_CLOSED_SHARE * opened, _CLOSED_MM)
        missing |= closed
    return missing


def pupil_features(
    pupil: np.ndarray, missing: np.ndarray, n_before: int, sfreq: float
) -> np.ndarray:
    """Return the features of one pupil in one window, in the order of :data:`PUPIL_FEATURES`.

    ``size_mean`` and ``size_sd`` in the unit of the pupil, ``size_slope`` per second by least
    squares; ``size_sd`` is the deviation from that line, so that a steady widening is not taken
    for unrest. They are NaN where less than a quarter of the window is usable.

    Parameters
    ----------
    pupil : ndarray, shape (time,)
        Size of the pupil, beginning before the window.
    missing : ndarray of bool, shape (time,)
        Where it was not seen, as :func:`pupil_missing` says.
    n_before : int
        Samples before the window.
    sfreq : float
        Rate in Hz.
    """
    blinks = eye_events.blink_runs(missing, sfreq)
    usable = ~eye_events.padded(missing, sfreq)[n_before:]
    size = (np.nan, np.nan, np.nan)
    if usable.mean() >= MIN_VALID_SHARE and usable.sum() > 2:
        size = _line(np.flatnonzero(usable) / sfreq, pupil[n_before:][usable])
    count = float(eye_events.begun_inside(blinks, n_before).sum())
    share = eye_events.blink_share(blinks, n_before, len(pupil))
    return np.array([*size, count, share, float(usable.mean())])


def _line(seconds: np.ndarray, size: np.ndarray) -> tuple[float, float, float]:
    centred, mean = seconds - seconds.mean(), size.mean()
    slope = (centred @ (size - mean)) / (centred @ centred)
    rest = size - mean - slope * centred
    return float(mean), float(slope), float(np.sqrt((rest**2).mean()))


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    check_rate(description, MIN_PUPIL_HZ, "blinks last a tenth of a second")
    eyes, sfreq = pupil_eyes(description), description.sfreq
    unit = shared_unit(description, [e.pupil for e in eyes if e.pupil is not None])
    millimetres = {
        e.aperture: conversion_factor(description.units[e.aperture], "mm")
        for e in eyes
        if e.aperture is not None
    }

    def one_eye(samples: np.ndarray, eye: Eye, n_before: int) -> np.ndarray:
        pupil = np.where(eye.invalid(samples, "pupil"), np.nan, samples[eye.pupil])
        aperture = eye.aperture
        lids = None if aperture is None else samples[aperture] * millimetres[aperture]
        return pupil_features(pupil, pupil_missing(pupil, lids), n_before, sfreq)

    def window_features(samples: np.ndarray, n_before: int) -> np.ndarray:
        return np.stack([one_eye(samples, e, n_before) for e in eyes])

    return eye_events.context_windows(
        window_features,
        len(description.ch_names),
        grid,
        sfreq,
        coords={"eye": tuple(e.side for e in eyes), "feature": PUPIL_FEATURES},
        units=(unit, f"{unit}/s", unit, "count", "ratio", "ratio"),
        fingerprint=config_fingerprint(
            {
                "family": "pupil",
                "version": 1,
                "sfreq": sfreq,
                "grid": [grid.window_samples, grid.hop_samples],
                "unit": unit,
                "channels": list(description.ch_names),
                "closed": [_CLOSED_SHARE, _CLOSED_MM],
                "rules": eye_events.rules(),
            }
        ),
    )


PUPIL = Family("pupil", "size of each pupil and blinks", ("pupil", "gaze"), _prepare)
