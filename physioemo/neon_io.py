"""Recordings from the native folder of a Pupil Labs Neon.

Each kind of data is a pair of files: ``<name> ps1.raw`` with little-endian records whose fields
``<name>.dtype`` lists, and ``<name> ps1.time`` with one int64 stamp per record, UTC nanoseconds.
A recording that was interrupted has further parts ``ps2``, ``ps3``. Where the phone recomputed
gaze at full rate afterwards (``gaze_200hz.raw``), that is taken, as Pupil Labs' own reader does.
The layout is read from the ``.dtype`` files, which folders have from data format 2.5 on.

``time`` counts from the stamp of ``info.json``'s ``start_time``; ``raw_time`` is UTC in seconds.
Neon gives a gaze and a pupil with closed eyes too: a blink shows in the distance of the lids,
which lies beside the pupils in the stream ``pupil``.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.description import StreamDescription
from physioemo.device_export import export_recording, irregular, read_text, unreadable
from physioemo.neon_files import NeonTable, event_texts, frame_times, read_tables
from physioemo.recording import Recording
from physioemo.stream import make_stream

__all__ = ["is_neon", "read_neon"]

_EVENT_TYPES = {0: "saccade", 1: "fixation", 2: "saccade onset", 3: "fixation onset", 4: "blink"}
_FULL_GAZE_HZ = 200.0
_EARLY_NS, _LONGEST_NS = 60 * 10**9, 7 * 86_400 * 10**9
_PUPIL_FIELDS = (
    "pupil_diameter_left_mm",
    "pupil_diameter_right_mm",
    "eyelid_aperture_left_mm",
    "eyelid_aperture_right_mm",
)
# Beginning of a field's name -> unit (Pupil Labs' documentation of the data format).
_UNITS = {
    "pupil_diameter": "mm",
    "eyelid_aperture": "mm",
    "eyelid_angle": "rad",
    "eyeball_center": "mm",
    "optical_axis": "normalized",
    "gyro": "deg/s",
    "accel": "g",
    "quaternion": "normalized",
    "start_gaze": "px",
    "end_gaze": "px",
    "mean_gaze": "px",
    "amplitude_pixels": "px",
    "amplitude_angle_deg": "deg",
    "mean_velocity": "px/s",
    "max_velocity": "px/s",
    "duration": "s",
    "event_type": "a.u.",
}


def is_neon(path: str | Path) -> bool:
    """Return whether a folder looks like a native recording of a Neon."""
    path = Path(path)
    if not (path / "info.json").is_file():
        return False
    return (path / "gaze.dtype").is_file() or any(path.glob("gaze ps*.raw"))


def read_neon(path: str | Path) -> Recording:
    """Read the native folder of a Neon.

    Parameters
    ----------
    path : str or Path
        The folder with ``info.json``.

    Returns
    -------
    Recording
        Streams ``gaze`` (scene-camera pixels), ``pupil``, ``eye_state``, ``imu``, ``worn``,
        ``fixations``, ``blinks`` and ``scene_frames``, as far as the folder has them; the
        device's fixations, saccades, blinks and events as events.

    Raises
    ------
    UnreadableFileError
        If a file is missing, cut off or contradicts its ``.dtype``.
    """
    path = Path(path)
    info = _info(path / "info.json")
    start_ns, tables = int(info["start_time"]), read_tables(path)
    notes: list[str] = []
    for name, table in tables.items():
        _check_clock(path, name, table.time_ns, start_ns)
    streams = _streams(tables, info, start_ns, notes)
    frames = frame_times(path)
    if frames is not None:
        number = np.arange(len(frames), dtype=float)[:, None]
        streams["scene_frames"] = _stamped(
            irregular("Neon scene frames", ("frame",), ("a.u.",), source="file-neon"),
            number,
            frames,
            start_ns,
        )
    events = [(_seconds(t, start_ns), 0.0, text, "") for t, text in event_texts(path)]
    for name in ("fixations", "blinks"):
        if name in tables:
            events += _device_events(name, tables[name], start_ns)
    attrs = {
        "source_file": path.name,
        "clock": "seconds since the start_time of info.json",
        "created_utc": datetime.fromtimestamp(start_ns / 1e9, UTC).isoformat(),
        "device": "Pupil Labs Neon",
        "start_time_ns": str(start_ns),
        "data_format_version": str(info.get("data_format_version", "")),
        "notes": notes,
    }
    return export_recording(streams, events, attrs)


def _info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(read_text(path))
        start_ns = int(info["start_time"])
        # A recording of the years 2020 to 2100, in nanoseconds.
        if not 1.5e18 < start_ns < 4.1e18:
            raise ValueError(start_ns)
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(
            path,
            f"no start of the recording ({error})",
            "a JSON object with 'start_time' in UTC nanoseconds; copy the folder again",
        ) from error
    return dict(info)


def _check_clock(path: Path, name: str, time_ns: np.ndarray, start_ns: int) -> None:
    outside = (time_ns < start_ns - _EARLY_NS) | (time_ns > start_ns + _LONGEST_NS)
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise unreadable(
            path,
            f"record {at} of {name!r} {(int(time_ns[at]) - start_ns) / 1e9:.3g} s from the start "
            "of the recording",
            "stamps within a week after it; copy the folder again",
        )


def _streams(
    tables: dict[str, NeonTable], info: dict[str, Any], start_ns: int, notes: list[str]
) -> dict[str, xr.Dataset]:
    streams: dict[str, xr.Dataset] = {}
    stated = info.get("gaze_frequency", 0)
    rate = float(stated) if isinstance(stated, int | float) and stated > 0 else 0.0
    full = "gaze_200hz" in tables
    gaze = tables.get("gaze_200hz") or tables.get("gaze")
    if gaze is not None:
        gaze_rate = _FULL_GAZE_HZ if full else rate
        description = _description("Neon gaze", "Gaze", gaze_rate, ("x", "y"), ("px", "px"))
        streams["gaze"] = _stamped(description, gaze.columns(("x", "y")), gaze.time_ns, start_ns)
    if full:
        notes.append("gaze is the one recomputed at 200 Hz after the recording")
    eyes = tables.get("eye_state")
    if eyes is not None:
        names = [n for n in eyes.numbers if n in _PUPIL_FIELDS]
        rest = [n for n in eyes.numbers if n not in _PUPIL_FIELDS]
        for key, stype, fields in (("pupil", "Pupil", names), ("eye_state", "EyeState", rest)):
            if fields:
                units = tuple(map(_unit, fields))
                description = _description(f"Neon {key}", stype, rate, tuple(fields), units)
                streams[key] = _stamped(description, eyes.columns(fields), eyes.time_ns, start_ns)
    if "imu" in tables:
        fields = [n for n in tables["imu"].numbers if n != "timestamp_ns"]
        streams["imu"] = _plain("imu", tables["imu"], fields, start_ns)
    if "worn" in tables:
        streams["worn"] = _plain("worn", tables["worn"], tables["worn"].numbers, start_ns)
    for name in ("fixations", "blinks"):
        if name in tables and len(tables[name].time_ns):
            streams[name] = _event_stream(name, tables[name], start_ns)
    return streams


def _description(
    name: str, stype: str, sfreq: float, ch_names: tuple[str, ...], units: tuple[str, ...]
) -> StreamDescription:
    key = name.removeprefix("Neon ")
    return StreamDescription(name, stype, sfreq, ch_names, units, source_id=f"file-neon-{key}")


def _plain(name: str, table: NeonTable, fields: list[str], start_ns: int) -> xr.Dataset:
    """Return a stream whose rate no file states: irregular."""
    units = tuple(map(_unit, fields))
    description = irregular(f"Neon {name}", fields, units, source="file-neon")
    return _stamped(description, table.columns(fields), table.time_ns, start_ns)


def _event_stream(name: str, table: NeonTable, start_ns: int) -> xr.Dataset:
    """Return what the device measured of its events, one row each."""
    fields = [n for n in table.numbers if not n.endswith("timestamp_ns")]
    values = np.column_stack([_durations(table), table.columns(fields)])
    names = ("duration", *fields)
    units = tuple(map(_unit, names))
    description = irregular(f"Neon {name}", names, units, source="file-neon")
    return _stamped(description, values, table.records["start_timestamp_ns"], start_ns)


def _durations(table: NeonTable) -> np.ndarray:
    ends, starts = table.records["end_timestamp_ns"], table.records["start_timestamp_ns"]
    return np.asarray((ends - starts) / 1e9, float)


def _device_events(
    name: str, table: NeonTable, start_ns: int
) -> list[tuple[float, float, str, str]]:
    kinds = [_EVENT_TYPES.get(int(k), f"event type {k}") for k in table.records["event_type"]]
    starts = [_seconds(int(t), start_ns) for t in table.records["start_timestamp_ns"]]
    return list(zip(starts, _durations(table).tolist(), kinds, [name] * len(kinds), strict=True))


def _stamped(
    description: StreamDescription, values: np.ndarray, time_ns: np.ndarray, start_ns: int
) -> xr.Dataset:
    # Subtracted as integers: a float64 of UTC nanoseconds is 256 ns coarse.
    time = (np.asarray(time_ns, np.int64) - start_ns) / 1e9
    return make_stream(values, description, time=time, raw_time=time_ns / 1e9)


def _seconds(time_ns: int, start_ns: int) -> float:
    return (time_ns - start_ns) / 1e9


def _unit(field: str) -> str:
    return next((unit for start, unit in _UNITS.items() if field.startswith(start)), "a.u.")
