"""Streams as tables of a BIDS data set: physiology, eye tracking, and the others.

Brain Imaging Data Structure 1.11: https://bids-specification.readthedocs.io (physiological
recordings, eye tracking).
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from physioemo.bids_tables import Table, ascii_label
from physioemo.clock import measured_rate, segment_bounds
from physioemo.errors import CallError
from physioemo.recording import Recording

__all__ = ["GAZE_SYSTEMS", "stream_tables"]

GAZE_SYSTEMS = ("gaze-on-screen", "gaze-in-world", "eye-in-head")
"""What gaze coordinates may refer to, in the words of BIDS."""

_SYSTEM_OF = {"EyeLink": "gaze-on-screen", "Pupil Labs Neon": "gaze-in-world"}

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_EYES = {"left": "eye1", "right": "eye2", "cyclopean": "eye3"}
_AXES = {"x": "x", "xpos": "x", "y": "y", "ypos": "y"}
_PUPIL = {"pupil", "diameter", "area"}
# Names of fields of the sidecar, beside which a column's own description would stand.
_SIDECAR_FIELDS = {
    "Columns",
    "MissingValues",
    "PhysioType",
    "RecordedEye",
    "RecordingStream",
    "SampleCoordinateSystem",
    "SamplingFrequency",
    "StartTime",
}
_OWN_COLUMNS = {"timestamp", *_SIDECAR_FIELDS}
_MOST_EMPTY_ROWS = 10  # per sample


def stream_tables(
    recording: Recording, zero: float, *, skip: Sequence[str], gaze_system: str | None
) -> list[Table]:
    """Return the streams of numbers as physiology, eye tracking, or plain tables.

    BIDS has no place for streams without a rate but gaze: their suffix is ``stream-...``.

    Parameters
    ----------
    recording : Recording
        The recording.
    zero : float
        Session time in seconds that is 0 in the tables.
    skip : sequence of str
        Group names of streams that are written elsewhere.
    gaze_system : str, optional
        One of :data:`GAZE_SYSTEMS`; known for the exports of some devices.

    Raises
    ------
    CallError
        If there is gaze, and it is neither stated nor known what its coordinates refer to.
    """
    tables: list[Table] = []
    taken: set[str] = set()
    for key in recording.streams:
        stream = recording[key]
        text = stream.attrs["channel_format"] == "string"
        if key in skip or text or stream.attrs["modality"] == "ratings":
            continue
        if not stream.sizes["time"]:
            continue
        if stream.attrs["modality"] == "gaze" and not taken & set(_eyes(stream).values()):
            eyes = _eyes(stream)
            system = gaze_system or _SYSTEM_OF.get(str(recording.attrs.get("device", "")))
            tables += [_eye_table(stream, zero, eye, eyes, system) for eye in eyes.values()]
            taken |= set(eyes.values())
            if eyes:
                continue
        tables.append(_physio_table(stream, zero, _label(key, taken)))
    return tables


def _label(key: str, taken: set[str]) -> str:
    label = ascii_label(key)
    number, name = 2, label
    while name in taken:
        name, number = f"{label}{number}", number + 1
    taken.add(name)
    return name


def _physio_table(stream: xr.Dataset, zero: float, label: str) -> Table:
    sfreq = float(stream.attrs["sfreq"])
    rows = _grid(stream["time"].values, sfreq) if sfreq > 0 else None
    if rows is None:
        columns = {"timestamp": stream["time"].values - zero, **_signals(stream, None)}
        sidecar = {"Columns": list(columns), **_facts(stream)}
        sidecar["timestamp"] = {"Description": "Session time of the sample", "Units": "s"}
        return Table(f"stream-{label}", columns, sidecar, compressed=True)
    columns = {**_signals(stream, rows), "timestamp": _placed(stream["time"].values - zero, rows)}
    sidecar = _continuous(stream, zero, sfreq, list(columns)) | _facts(stream)
    if (rows < 0).any():
        sidecar["MissingValues"] = "n/a where the device sent nothing"
    return Table(f"recording-{label}_physio", columns, sidecar, compressed=True)


def _continuous(stream: xr.Dataset, zero: float, rate: float, columns: list[str]) -> dict[str, Any]:
    return {
        "SamplingFrequency": rate,
        "StartTime": float(stream["time"].values[0] - zero),
        "Columns": columns,
        "timestamp": {
            "Description": "Session time of the sample; exact where the rate is not quite constant",
            "Units": "s",
        },
    }


def _names(stream: xr.Dataset) -> list[str]:
    """Return the channels' names as columns; a name that means something else is lengthened."""
    names = [str(c) for c in stream["channel"].values]
    return [f"channel_{n}" if n in _OWN_COLUMNS else n for n in names]


def _facts(stream: xr.Dataset) -> dict[str, Any]:
    names = _names(stream)
    units, kinds = ([str(v) for v in stream[c].values] for c in ("channel_unit", "channel_type"))
    return {
        "RecordingStream": str(stream.attrs["name"]),
        **{
            n: {"Description": f"Channel of kind {k}", "Units": u}
            for n, u, k in zip(names, units, kinds, strict=True)
        },
    }


def _grid(time: np.ndarray, sfreq: float) -> np.ndarray | None:
    """Return the sample of each row of an even grid over time; -1 where there is none.

    None if the grid would be empty for the most part: a table of single samples says the same.
    """
    parts, n_rows = [], 0
    for start, stop in segment_bounds(time, sfreq):
        # After a gap, rows without values keep the later ones at their time.
        wanted = round((float(time[start]) - float(time[0])) * sfreq)
        if wanted - n_rows > _MOST_EMPTY_ROWS * len(time) + 1000:
            return None
        if n_rows and wanted > n_rows:
            parts.append(np.full(wanted - n_rows, -1))
            n_rows = wanted
        parts.append(np.arange(start, stop))
        n_rows += stop - start
    return np.concatenate(parts)


def _placed(values: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    if rows is None or not (rows < 0).any():
        return values
    # Integers stay whole numbers, and what is missing becomes NaN.
    return np.where(rows < 0, np.nan, values.astype(float)[rows])


def _signals(stream: xr.Dataset, rows: np.ndarray | None) -> dict[str, np.ndarray]:
    values = stream["signal"].values
    names = _names(stream)
    return {name: _placed(values[:, i], rows) for i, name in enumerate(names)}


def _words(name: str) -> list[str]:
    return [w.lower() for w in _WORD.findall(name)]


def _side(name: str) -> str:
    sides = {_SIDES[w] for w in _words(name) if w in _SIDES}
    return sides.pop() if len(sides) == 1 else "cyclopean"


def _eyes(stream: xr.Dataset) -> dict[str, str]:
    """Return the file of each eye that has both coordinates: side to recording label."""
    names = [str(c) for c in stream["channel"].values]
    return {
        side: label
        for side, label in _EYES.items()
        if all(_first_axis(names, side, axis) is not None for axis in ("x", "y"))
    }


def _first_axis(names: list[str], side: str, axis: str) -> int | None:
    found = (
        i
        for i, n in enumerate(names)
        if _side(n) == side and axis in {_AXES.get(w) for w in _words(n)}
    )
    return next(found, None)


def _eye_table(
    stream: xr.Dataset, zero: float, label: str, eyes: dict[str, str], system: str | None
) -> Table:
    """Return one eye's table: timestamp, coordinates, pupil, and what else there is of it."""
    if system not in GAZE_SYSTEMS:
        named = f"the coordinate system {system!r}" if system else "no coordinate system"
        raise CallError(
            f"found gaze in {stream.attrs['name']!r} and {named}, "
            f"expected one of {', '.join(GAZE_SYSTEMS)}; state it with --gaze-system"
        )
    names = _names(stream)
    side = next(s for s, found in eyes.items() if found == label)
    picked = _eye_columns(names, side, eyes)
    time, values = stream["time"].values, stream["signal"].values
    columns = {"timestamp": time - zero, **{n: values[:, i] for n, i in picked.items()}}
    rate = float(stream.attrs["sfreq"]) or measured_rate(time, 0.0)
    sidecar = {
        **_continuous(stream, zero, rate, list(columns)),
        "PhysioType": "eyetrack",
        "RecordedEye": side,
        "SampleCoordinateSystem": system,
        "RecordingStream": str(stream.attrs["name"]),
    }
    units = [str(u) for u in stream["channel_unit"].values]
    for name, i in picked.items():
        what = _pupil_kind(names[i], units[i]) if name == "pupil_size" else ""
        sidecar[name] = {"Description": f"{what}Channel {names[i]!r}", "Units": units[i]}
    return Table(f"recording-{label}_physio", columns, sidecar, compressed=True)


def _pupil_kind(name: str, unit: str) -> str:
    words = set(_words(name))
    if "area" in words:
        return "Size of the pupil (area). "
    return "Size of the pupil (diameter). " if "diameter" in words or unit in {"m", "mm"} else ""


def _eye_columns(names: list[str], side: str, eyes: dict[str, str]) -> dict[str, int]:
    """Return the channel of each column of an eye; the others keep their names."""
    picked = {
        f"{axis}_coordinate": i
        for axis in ("x", "y")
        if (i := _first_axis(names, side, axis)) is not None
    }
    # A channel of no eye in particular, or of one without gaze, goes with every eye.
    own = [i for i, n in enumerate(names) if _side(n) == side or _side(n) not in eyes]
    sizes = [i for i in own if _side(names[i]) == side and _PUPIL & set(_words(names[i]))]
    if sizes:
        picked["pupil_size"] = sizes[0]
    for i in own:
        if i not in picked.values():
            picked[f"channel_{names[i]}" if names[i] in picked else names[i]] = i
    return picked
