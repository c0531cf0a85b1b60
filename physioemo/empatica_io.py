"""Recordings from the folder of CSV files that an Empatica E4 exports.

In each file, line 1 is the start in UTC seconds, line 2 the rate in Hz, and then come the samples
(``info.txt`` of every export): ``BVP`` without a unit, ``EDA`` in microsiemens, ``TEMP`` in degrees
Celsius, ``ACC`` in 1/64 g, ``HR`` in beats per minute, computed by Empatica from the BVP and ten
seconds late. ``IBI`` has the seconds since its start and the length of each interval between
beats; ``tags`` has the UTC seconds of each press of the button. Rates and starts differ between
the files, so each becomes a stream of its own on one clock, whose zero is the earliest start.
Values stay as they are, except that acceleration is divided by 64.
"""

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr

from physioemo.description import StreamDescription
from physioemo.device_export import (
    export_recording,
    first_bytes,
    irregular,
    read_text,
    unreadable,
)
from physioemo.errors import UnreadableFileError
from physioemo.recording import Recording
from physioemo.stream import make_stream

__all__ = ["is_empatica", "read_empatica"]

# File -> (content type, channels, unit, factor)
_SIGNALS = {
    "BVP": ("BVP", ("BVP",), "a.u.", 1.0),
    "EDA": ("EDA", ("EDA",), "uS", 1.0),
    "TEMP": ("Temperature", ("TEMP",), "degC", 1.0),
    "ACC": ("Acceleration", ("ACC_x", "ACC_y", "ACC_z"), "g", 1 / 64),
    "HR": ("HeartRate", ("HR",), "bpm", 1.0),
}
_SAME_SESSION_SECONDS = 60.0
_FIRST_YEAR, _LAST_YEAR = 1_300_000_000.0, 4_100_000_000.0  # UTC seconds, 2011 to 2099


def is_empatica(path: str | Path) -> bool:
    """Return whether a folder looks like the export of an E4."""
    folder = Path(path)
    found = [n for n in _SIGNALS if _has_start(folder / f"{n}.csv")]
    return len(found) >= 2 or (bool(found) and (folder / "tags.csv").is_file())


def _has_start(path: Path) -> bool:
    try:
        first = first_bytes(path, 200).decode("ascii").split("\n")[0].split(",")[0]
        return _FIRST_YEAR < float(first) < _LAST_YEAR
    except (UnicodeDecodeError, ValueError):
        return False


def read_empatica(path: str | Path) -> Recording:
    """Read the folder of an E4.

    Parameters
    ----------
    path : str or Path
        The folder with ``EDA.csv``, ``BVP.csv`` and the others.

    Returns
    -------
    Recording
        One stream per file that has samples; presses of the button as events ``tag``.

    Raises
    ------
    UnreadableFileError
        If a file does not begin with start and rate, or a line is no number.
    """
    folder, notes = Path(path), []
    tables: dict[str, np.ndarray] = {}
    for name in (*_SIGNALS, "IBI"):
        file = folder / f"{name}.csv"
        if file.is_file():
            if file.stat().st_size:
                tables[name] = _table(file, name)
            else:
                notes.append(f"{file.name} is empty")
    if not tables:
        raise unreadable(folder, "no file with samples", "EDA.csv, BVP.csv, ACC.csv or others")
    start = _earliest(tables, folder)
    streams = {
        name: _beats(table, start) if name == "IBI" else _signal(name, table, start)
        for name, table in tables.items()
    }
    attrs = {
        "source_file": folder.name,
        "clock": "seconds since the earliest start of the files",
        "created_utc": datetime.fromtimestamp(start, UTC).isoformat(),
        "device": "Empatica E4",
        "notes": notes,
    }
    return export_recording(streams, _tags(folder / "tags.csv", start), attrs)


def _earliest(tables: dict[str, np.ndarray], folder: Path) -> float:
    starts = {name: float(t[0, 0]) for name, t in tables.items()}
    first, last = (choose(starts, key=lambda n: starts[n]) for choose in (min, max))
    if starts[last] - starts[first] > _SAME_SESSION_SECONDS:
        raise unreadable(
            folder,
            f"{last}.csv starting {starts[last] - starts[first]:.0f} s after {first}.csv",
            "the files of one session, which start within a minute; export the session again",
        )
    return starts[first]


def _table(path: Path, name: str) -> np.ndarray:
    """Return the numbers of a file (line, column), the first lines checked."""
    n_columns = 2 if name == "IBI" else len(_SIGNALS[name][1])
    lines = read_text(path).splitlines()
    if name == "IBI":  # its first line has a word where the others have a number
        lines[0] = ",".join([lines[0].split(",")[0], "0"])
    rows = _rows(lines, n_columns, path)
    starts, rates = rows[0], rows[1:2]
    if not _FIRST_YEAR < starts[0] < _LAST_YEAR or (name != "IBI" and len(set(starts)) > 1):
        raise _wrong_line(path, 1, lines[0], "the start in UTC seconds")
    if name == "IBI":
        backwards = np.flatnonzero(np.diff(rows[1:, 0]) < 0)
        if len(backwards):
            number = int(backwards[0]) + 3
            raise _wrong_line(path, number, lines[number - 1], "a time after the one before")
        return rows
    if not len(rates) or not 0 < rates[0, 0] <= 1000 or len(set(rates[0])) > 1:
        raise _wrong_line(path, 2, lines[1] if len(lines) > 1 else "", "the rate in Hz")
    return rows


def _rows(lines: list[str], n_columns: int, path: Path) -> np.ndarray:
    rows = np.empty((len(lines), n_columns))
    for i, line in enumerate(lines):
        try:
            values = [float(v) for v in line.split(",")]
        except ValueError:
            values = []
        if len(values) != n_columns or not all(map(math.isfinite, values)):
            raise _wrong_line(path, i + 1, line, f"{n_columns} numbers")
        rows[i] = values
    return rows


def _wrong_line(path: Path, number: int, line: str, expected: str) -> UnreadableFileError:
    return unreadable(
        path,
        f"the line {line[:60]!r} (line {number})",
        f"{expected}; export the session again",
    )


def _signal(name: str, table: np.ndarray, start: float) -> xr.Dataset:
    stype, channels, unit, factor = _SIGNALS[name]
    sfreq, own_start = float(table[1, 0]), float(table[0, 0])
    values = table[2:] * factor
    description = StreamDescription(
        name,
        stype,
        sfreq,
        channels,
        (unit,) * len(channels),
        "double64",
        source_id=f"file-empatica-{name}",
    )
    seconds = np.arange(len(values)) / sfreq
    return make_stream(
        values, description, time=own_start - start + seconds, raw_time=own_start + seconds
    )


def _beats(table: np.ndarray, start: float) -> xr.Dataset:
    own_start = float(table[0, 0])
    seconds, values = table[1:, 0], table[1:, 1:]
    description = irregular("IBI", ("IBI",), ("s",), stype="IBI", source="file-empatica")
    return make_stream(
        values, description, time=own_start - start + seconds, raw_time=own_start + seconds
    )


def _tags(path: Path, start: float) -> list[tuple[float, float, str, str]]:
    if not path.is_file():
        return []
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    stamps = _rows(lines, 1, path)[:, 0] if lines else np.zeros(0)
    return [(float(t) - start, 0.0, "tag", "") for t in stamps]
