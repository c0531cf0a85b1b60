"""The files in the native folder of a Neon: records, their stamps, their layout."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physioemo.device_export import read_text, unreadable

__all__ = ["NeonTable", "event_texts", "frame_times", "read_tables"]

_NAMES = ("gaze_200hz", "gaze", "eye_state", "imu", "fixations", "blinks", "worn")
_PART = re.compile(r" ps(\d+)$")
_TYPES = {"float32": "<f4", "float64": "<f8", "uint8": "u1", "int32": "<i4", "int64": "<i8"}
_NEEDED = {
    "gaze": ("x", "y"),
    "fixations": ("event_type", "start_timestamp_ns", "end_timestamp_ns"),
    "blinks": ("event_type", "start_timestamp_ns", "end_timestamp_ns"),
}


@dataclass(frozen=True)
class NeonTable:
    """Records of one kind and the stamp of each, UTC nanoseconds."""

    records: np.ndarray
    time_ns: np.ndarray

    @property
    def numbers(self) -> list[str]:
        """Names of the fields."""
        return list(self.records.dtype.names or ())

    def columns(self, fields: list[str] | tuple[str, ...]) -> np.ndarray:
        """Return some fields as float64, shape (time, field)."""
        with np.errstate(invalid="ignore"):  # a damaged float32 can be a signalling NaN
            return np.stack([self.records[f].astype(float) for f in fields], axis=1)


def read_tables(folder: Path) -> dict[str, NeonTable]:
    """Return every kind of records that a folder has.

    Raises
    ------
    UnreadableFileError
        If a file has no layout, no stamps, or is cut off.
    """
    tables = {}
    for name in _NAMES:
        parts = _parts(folder, name)
        if parts:
            layout = _layout(folder, name, parts[0])
            read = [_read(part, layout, name) for part in parts]
            records = np.concatenate([r for r, _ in read])
            time_ns = np.concatenate([t for _, t in read])
            backwards = np.flatnonzero(np.diff(time_ns) < 0)
            if len(backwards):
                raise unreadable(
                    parts[0].with_suffix(".time"),
                    f"stamps that run backwards at record {int(backwards[0]) + 1}",
                    "stamps that increase; copy the folder again",
                )
            tables[name] = NeonTable(records, time_ns)
    if not tables:
        raise unreadable(folder, "none of the data files", "'gaze ps1.raw' and its companions")
    return tables


def _parts(folder: Path, name: str) -> list[Path]:
    if name.endswith("_200hz"):
        found = folder / f"{name}.raw"
        return [found] if found.is_file() else []
    numbered = [(_PART.search(p.stem), p) for p in folder.glob(f"{name} ps*.raw")]
    return [p for _, p in sorted((int(m[1]), p) for m, p in numbered if m)]


def _layout(folder: Path, name: str, raw: Path) -> np.dtype:
    path = folder / f"{name.removesuffix('_200hz')}.dtype"
    if not path.is_file():
        raise unreadable(
            raw,
            "no layout of its records",
            f"the file {path.name} beside it, as data format 2.5 has; update the Neon Companion "
            "app or export the recording from Pupil Cloud",
        )
    try:
        fields = [(str(n), _TYPES[t]) for n, t in ast.literal_eval(read_text(path).strip())]
        layout = np.dtype(fields)
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise unreadable(
            path,
            f"a layout that cannot be read ({type(error).__name__})",
            f"a list of names and types of {', '.join(_TYPES)}; copy the folder again",
        ) from error
    absent = [
        f for f in _NEEDED.get(name.removesuffix("_200hz"), ()) if f not in (layout.names or ())
    ]
    if absent or not fields:
        raise unreadable(
            path, f"no field {absent[0] if absent else ''!r}", "the layout of data format 2.5"
        )
    return layout


def _read(raw: Path, layout: np.dtype, name: str) -> tuple[np.ndarray, np.ndarray]:
    stamps = raw.with_suffix(".time")
    if not stamps.is_file() and name == "worn":  # it is written sample by sample with gaze
        stamps = raw.with_name(raw.name.replace("worn", "gaze")).with_suffix(".time")
    if not stamps.is_file():
        raise unreadable(raw, "no stamps", f"the file {stamps.name} beside it")
    content, time_bytes = raw.read_bytes(), stamps.read_bytes()
    n, left = divmod(len(content), layout.itemsize)
    if left or len(time_bytes) != 8 * n:
        raise unreadable(
            raw,
            f"{len(content)} bytes and {len(time_bytes) / 8:g} stamps",
            f"records of {layout.itemsize} bytes and a stamp for each; the file is cut off or "
            "does not belong to its layout",
        )
    return np.frombuffer(content, layout), np.frombuffer(time_bytes, "<i8")


def event_texts(folder: Path) -> list[tuple[int, str]]:
    """Return the stamp in UTC nanoseconds and the text of each event.

    Raises
    ------
    UnreadableFileError
        If there are not as many stamps as texts.
    """
    path, stamps = folder / "event.txt", folder / "event.time"
    if not path.is_file():
        return []
    texts = read_text(path).splitlines()
    content = stamps.read_bytes() if stamps.is_file() else b""
    if len(content) != 8 * len(texts):
        raise unreadable(
            path, f"{len(texts)} events and {len(content) / 8:g} stamps", "a stamp for each event"
        )
    return list(zip(np.frombuffer(content, "<i8").tolist(), texts, strict=True))


def frame_times(folder: Path) -> np.ndarray | None:
    """Return when the frames of the scene camera were taken, UTC nanoseconds; None without.

    Raises
    ------
    UnreadableFileError
        If the file is cut off.
    """
    found = [(_PART.search(p.stem), p) for p in folder.glob("Neon Scene Camera*.time")]
    parts = []
    for _, path in sorted((int(m[1]), p) for m, p in found if m):
        content = path.read_bytes()
        if len(content) % 8:
            raise unreadable(path, f"{len(content)} bytes", "stamps of 8 bytes each")
        parts.append(np.frombuffer(content, "<i8"))
    return np.concatenate(parts) if parts else None
