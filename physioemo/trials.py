"""Events, trials and ratings: small tables beside the streams of a recording.

A marker whose text is a JSON object with the key ``event`` is understood:
``{"event": "trial_start", "trial": 3, "stimulus": "clip-03"}`` and
``{"event": "trial_stop", "trial": 3}``. Every other text is kept as an event as it is.
Ratings come as a stream of type ``Ratings`` whose channels are ``trial`` and one per rated
dimension, with the scale as the unit (``"1-9"``).
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from physioemo.errors import DataError

__all__ = [
    "derive_tables",
    "make_events",
    "make_ratings",
    "make_trials",
    "parse_marker",
    "rating_scale",
]

_SCALE = re.compile(r"^\s*(-?\d+(?:\.\d+)?)\s*(?:-|–|\.\.|to)\s*(-?\d+(?:\.\d+)?)\s*$")


def parse_marker(text: str) -> dict[str, Any] | None:
    """Return the JSON object in a marker, or None if it is plain text."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) and "event" in content else None


def rating_scale(unit: str) -> tuple[float, float]:
    """Return the lowest and highest rating that a unit such as ``"1-9"`` states.

    Raises
    ------
    DataError
        If the unit does not state a scale: it is never guessed.
    """
    match = _SCALE.match(unit)
    if not match or float(match[1]) >= float(match[2]):
        raise DataError(
            f"found ratings with the unit {unit!r}, expected their scale such as '1-9'; "
            "state the scale as the unit of the rating channels"
        )
    return float(match[1]), float(match[2])


def make_events(rows: Iterable[tuple[float, float, str, str]]) -> xr.Dataset:
    """Return the table of events, sorted by onset.

    Parameters
    ----------
    rows : iterable of (onset_seconds, duration_seconds, description, stream)
        Times on the session clock; `stream` is the group they came from, or empty.
    """
    ordered = sorted(rows, key=lambda row: row[0])
    columns = list(zip(*ordered, strict=True)) or [(), (), (), ()]
    return xr.Dataset(
        {
            "onset_seconds": ("event", np.array(columns[0], float)),
            "duration_seconds": ("event", np.array(columns[1], float)),
            "description": ("event", np.array(columns[2], object)),
            "stream": ("event", np.array(columns[3], object)),
        }
    )


def make_trials(rows: Iterable[tuple[int, float, float, str]]) -> xr.Dataset:
    """Return the table of trials, sorted by onset.

    Parameters
    ----------
    rows : iterable of (trial, onset_seconds, duration_seconds, stimulus)
        The same stimulus has the same name in every recording.

    Raises
    ------
    DataError
        If a trial number comes twice.
    """
    ordered = sorted(rows, key=lambda row: row[1])
    columns = list(zip(*ordered, strict=True)) or [(), (), (), ()]
    numbers = [int(n) for n in columns[0]]
    twice = sorted({n for n in numbers if numbers.count(n) > 1})
    if twice:
        raise DataError(
            f"found trial {twice[0]} more than once, expected each trial number once per "
            "recording; number the trials of a session through"
        )
    return xr.Dataset(
        {
            "onset_seconds": ("trial", np.array(columns[1], float)),
            "duration_seconds": ("trial", np.array(columns[2], float)),
            "stimulus": ("trial", np.array(columns[3], object)),
        },
        coords={"trial": ("trial", np.array(numbers, int))},
    )


def make_ratings(
    trials: Iterable[int],
    dimensions: Iterable[str],
    values: np.ndarray,
    *,
    scale: tuple[float, float],
) -> xr.Dataset:
    """Return the table of ratings.

    Parameters
    ----------
    trials, dimensions : iterable
        Trial numbers and rated dimensions such as ``"valence"``.
    values : ndarray, shape (trial, dimension)
        Ratings, NaN where there is none.
    scale : (float, float)
        Lowest and highest possible rating.

    Raises
    ------
    DataError
        If a rating lies outside the scale.
    """
    names = list(dimensions)
    values = np.asarray(values, float).reshape(-1, len(names))
    outside = np.argwhere((values < scale[0]) | (values > scale[1]))
    if len(outside):
        row, column = outside[0]
        raise DataError(
            f"found the {names[column]} rating {values[row, column]:g} in row {row}, expected "
            f"{scale[0]:g} to {scale[1]:g}; correct the rating or the stated scale"
        )
    return xr.Dataset(
        {"rating": (("trial", "dimension"), values)},
        coords={
            "trial": ("trial", np.array(list(trials), int)),
            "dimension": ("dimension", np.array(names, object)),
        },
        attrs={"scale_minimum": float(scale[0]), "scale_maximum": float(scale[1])},
    )


def derive_tables(
    streams: Mapping[str, xr.Dataset], extra_events: Iterable[tuple[float, float, str, str]] = ()
) -> dict[str, xr.Dataset]:
    """Return the tables ``events``, ``trials`` and ``ratings`` that the streams imply."""
    events = make_events([*_marker_events(streams), *extra_events])
    return {"events": events, "trials": _trials(events), "ratings": _ratings(streams)}


def _marker_events(
    streams: Mapping[str, xr.Dataset],
) -> Iterable[tuple[float, float, str, str]]:
    for key, stream in streams.items():
        if stream.attrs["channel_format"] == "string":
            rows = stream["signal"].values
            for time, row in zip(stream["time"].values, rows, strict=True):
                yield float(time), 0.0, "\t".join(map(str, row)), key


def _trials(events: xr.Dataset) -> xr.Dataset:
    started: dict[int, tuple[float, str]] = {}
    rows: dict[int, tuple[int, float, float, str]] = {}
    pairs = zip(events["onset_seconds"].values, events["description"].values, strict=True)
    for onset, text in pairs:
        marker = parse_marker(str(text))
        if marker is None or not isinstance(marker.get("trial"), int):
            continue
        trial = marker["trial"]
        if marker["event"] == "trial_start":
            started[trial] = (float(onset), str(marker.get("stimulus", "")))
        elif marker["event"] == "trial_stop" and trial in started:
            start, stimulus = started.pop(trial)
            rows[trial] = (trial, start, float(onset) - start, stimulus)
    return make_trials(rows.values())


def _ratings(streams: Mapping[str, xr.Dataset]) -> xr.Dataset:
    for stream in streams.values():
        names = [str(c) for c in stream["channel"].values]
        if stream.attrs["modality"] == "ratings" and "trial" in names:
            # The last rating of a trial counts: a participant may correct it.
            last = {int(row[names.index("trial")]): row for row in stream["signal"].values}
            rated = [i for i, name in enumerate(names) if name != "trial"]
            unit = str(stream["channel_unit"].values[rated[0]])
            values = np.array([row[rated] for row in last.values()], float)
            dimensions = [names[i] for i in rated]
            return make_ratings(last, dimensions, values, scale=rating_scale(unit))
    return make_ratings([], ["valence", "arousal", "dominance"], np.zeros((0, 3)), scale=(1, 9))
