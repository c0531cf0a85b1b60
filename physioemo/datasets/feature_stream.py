"""Features that a data set publishes, as streams: one sample per window, one channel per number.

The stamp of a sample is the start of its window; the attribute ``window_seconds`` says how long
the window is, and the rate is its inverse. The values are those of the file: nothing is scaled.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.datasets.assemble import GAP_SECONDS, check_finite, stretches_to_stream
from physioemo.datasets.mat_file import numbers
from physioemo.datasets.seed import SEED_EEG
from physioemo.description import StreamDescription
from physioemo.errors import UnreadableFileError

__all__ = [
    "BANDS_HZ",
    "SMOOTHINGS",
    "check_windows",
    "eeg_feature_stream",
    "eye_feature_stream",
    "numbered",
    "trial_arrays",
    "trial_onsets",
    "windows_first",
]

BANDS_HZ = {"delta": (1, 4), "theta": (4, 8), "alpha": (8, 14), "beta": (14, 31), "gamma": (31, 50)}
"""The bands of the SEED family, in the order of the files."""

SMOOTHINGS = ("movingAve", "LDS")
"""Moving average and linear dynamic system; whether they look ahead is not documented."""

_LIMIT = 1e15  # a power in squared microvolts is far below, a damaged exponent is not
_EEG_ORDER = "electrodes as documented; the bands of each run fastest"
_PAIR_ORDER = "as in the file: which pair is which is not documented; the bands run fastest"
_EEG_UNIT = (
    "the data set states none; its differential entropies are logarithms of a band's energy and "
    "lie between 10 and 30, so they are not the nats of a signal in volts or microvolts"
)
_EYE_UNIT = "the data set states none for the single columns (millimetres, ms, degrees, counts)"


def numbered(word: str, n: int) -> tuple[str, ...]:
    """Return `n` names such as ``pair 01``, for things whose order is not documented."""
    return tuple(f"{word} {k:02d}" for k in range(1, n + 1))


def trial_onsets(seconds: Sequence[float]) -> list[float]:
    """Return where trials of given lengths begin on a made-up clock, in seconds.

    They follow one another, at least ``GAP_SECONDS`` apart.
    """
    steps = [math.ceil(s) + GAP_SECONDS for s in seconds]
    return [float(sum(steps[:k])) for k in range(len(steps))]


def trial_arrays(
    content: Mapping[str, Any], name: str, n_trials: int, shape: tuple[int | None, ...], path: Path
) -> list[np.ndarray]:
    """Return the arrays ``<name>1`` to ``<name>N`` of a file.

    Parameters
    ----------
    content : mapping of str to ndarray
        The variables of the file.
    name : str
        Their common part, for example ``"de_LDS"``.
    n_trials : int
        N.
    shape : tuple of int or None
        Shape of each; None stands for the windows.
    path : Path
        The file, for the error message.

    Raises
    ------
    UnreadableFileError
        If one is missing, has another shape or holds an impossible value.
    """
    missing = [k for k in range(1, n_trials + 1) if f"{name}{k}" not in content]
    if missing:
        raise UnreadableFileError(
            f"found {', '.join(sorted(content))[:200] or 'nothing'} in {path}, expected {name}1 to "
            f"{name}{n_trials} ({name}{missing[0]} is missing); the file is damaged or of another "
            "data set"
        )
    return [
        numbers(content[f"{name}{k}"], shape, f"{name}{k} of {path}")
        for k in range(1, n_trials + 1)
    ]


def check_windows(found: Sequence[int], wanted: Sequence[int], place: str, tolerance: int) -> None:
    """Refuse trials with another number of windows than published.

    Raises
    ------
    UnreadableFileError
        If one differs by more than `tolerance` windows.
    """
    for trial, (n, published) in enumerate(zip(found, wanted, strict=True), 1):
        if abs(n - published) > tolerance:
            raise UnreadableFileError(
                f"found {n} windows in trial {trial} of {place}, expected {published}; the file "
                "is damaged, made with other windows or of another data set"
            )


def windows_first(array: np.ndarray, place: str) -> np.ndarray:
    """Return an EEG feature (place, window, band) as (window, place and band).

    Raises
    ------
    UnreadableFileError
        If a value is not finite.
    """
    check_finite(array, place, limit=_LIMIT)
    return array.transpose(1, 0, 2).reshape(array.shape[1], -1).astype(float, copy=False)


def eeg_feature_stream(
    name: str,
    places: Sequence[str],
    trials: Sequence[np.ndarray],
    onsets_seconds: Sequence[float],
    window_seconds: float,
    data_set: str,
) -> xr.Dataset:
    """Return a stream of one EEG feature.

    Parameters
    ----------
    name : str
        Feature and smoothing, for example ``"de_LDS"``.
    places : sequence of str
        Electrodes or pairs, in the order of the file.
    trials : sequence of ndarray, shape (window, place and band)
        From :func:`windows_first`; the bands run fastest.
    onsets_seconds : sequence of float
        Where the trials begin.
    window_seconds : float
        Length of a window and distance between two.
    data_set : str
        For the names of the stream.
    """
    channels = tuple(f"{place} {band}" for place in places for band in BANDS_HZ)
    feature, _, smoothing = name.partition("_")
    return _stream(
        f"eeg {name}",
        "EEGFeatures",
        channels,
        trials,
        onsets_seconds,
        window_seconds,
        data_set,
        {
            "feature": feature,
            "smoothing": smoothing,
            "bands_hz": {band: list(edges) for band, edges in BANDS_HZ.items()},
            "channel_order": _EEG_ORDER if places == SEED_EEG else _PAIR_ORDER,
            "unit_note": _EEG_UNIT,
        },
    )


def eye_feature_stream(
    channels: Sequence[str],
    trials: Sequence[np.ndarray],
    onsets_seconds: Sequence[float],
    window_seconds: float,
    data_set: str,
    channel_order: str,
    path: Path,
) -> xr.Dataset:
    """Return a stream of eye-movement features; NaN stays NaN.

    Parameters
    ----------
    channels : sequence of str
        Names, in the order of the file.
    trials : sequence of ndarray, shape (window, channel)
        In the order of their onsets.
    onsets_seconds : sequence of float
        Where the trials begin.
    window_seconds : float
        Length of a window and distance between two.
    data_set : str
        For the names of the stream.
    channel_order : str
        What is documented of the order of the channels.
    path : Path
        The file, for the error message.

    Raises
    ------
    UnreadableFileError
        If a value is infinite.
    """
    for number, trial in enumerate(trials, 1):
        place = f"the eye features of trial {number} of {path}"
        check_finite(trial[~np.isnan(trial)], place, limit=_LIMIT)
    attributes = {"channel_order": channel_order, "unit_note": _EYE_UNIT}
    return _stream(
        "eye", "EyeFeatures", channels, trials, onsets_seconds, window_seconds, data_set, attributes
    )


def _stream(
    name: str,
    stype: str,
    channels: Sequence[str],
    trials: Sequence[np.ndarray],
    onsets_seconds: Sequence[float],
    window_seconds: float,
    data_set: str,
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    description = StreamDescription(
        name=f"{data_set} {name}",
        stype=stype,
        sfreq=1 / window_seconds,
        ch_names=tuple(channels),
        units=("a.u.",) * len(channels),
        channel_format="double64",
        source_id=f"{data_set}-{name}".lower().replace(" ", "-"),
    )
    common = {"window_seconds": window_seconds, "stamp": "the start of the window"}
    return stretches_to_stream(trials, onsets_seconds, description, attrs={**common, **attributes})
