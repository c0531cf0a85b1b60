"""How late each device stamps its samples: measured once in the lab, applied when asked.

Clock correction puts all stamps on one clock; it cannot know that a device stamps a sample some
constant time after it happened (its buffers, its radio, its display). That is measured with a
photodiode or a TTL pulse and stored per LSL stream name in ``latency.json`` of the user's
configuration folder. Recordings are never changed: :func:`apply_latency` returns one whose
``time`` is earlier by the latency, ``raw_time`` stays.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from physioemo.errors import CallError, DataError
from physioemo.recording import Recording

__all__ = ["apply_latency", "latency_file", "read_latencies", "store_latency"]

_MOST_SECONDS = 2.0


def latency_file() -> Path:
    """Return where latencies are stored; ``PHYSIOEMO_CONFIG`` names another folder."""
    if own := os.environ.get("PHYSIOEMO_CONFIG"):
        return Path(own) / "latency.json"
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    return base / "physioemo" / "latency.json"


def read_latencies() -> dict[str, float]:
    """Return the stored latencies in seconds, by LSL stream name.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    return {name: float(row["latency_ms"]) / 1e3 for name, row in _rows().items()}


def _rows() -> dict[str, dict[str, Any]]:
    file = latency_file()
    if not file.is_file():
        return {}
    try:
        rows: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        if not all(_possible(float(row["latency_ms"]) / 1e3) for row in rows.values()):
            raise ValueError("a latency is out of range")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"found a damaged file {file} ({error}), expected latency_ms for each stream; mend "
            "or delete it and calibrate again"
        ) from error
    return rows


def _possible(seconds: float) -> bool:
    return math.isfinite(seconds) and abs(seconds) <= _MOST_SECONDS


def store_latency(name: str, latency_seconds: float) -> Path:
    """Store how late a device stamps its samples; return the file.

    Parameters
    ----------
    name : str
        LSL stream name.
    latency_seconds : float
        Stamp minus true moment, as a photodiode or TTL pulse showed it; at most 2 s.

    Raises
    ------
    CallError
        If the latency is impossible.
    """
    if not _possible(latency_seconds):
        raise CallError(
            f"found a latency of {1e3 * latency_seconds:g} ms for {name!r}, expected at most "
            f"{1e3 * _MOST_SECONDS:g} either way; give stamp minus true moment in milliseconds"
        )
    file, rows = latency_file(), _rows()
    rows[name] = {
        "latency_ms": 1e3 * latency_seconds,
        "stored_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(file)
    return file


def apply_latency(recording: Recording, latencies: Mapping[str, float] | None = None) -> Recording:
    """Return a recording in which the named streams are earlier by their latency.

    Parameters
    ----------
    recording : Recording
        Any; it stays as it is.
    latencies : mapping of str to float, optional
        LSL stream name to seconds; by default those that are stored. Names that the recording
        does not hold are passed over.

    Raises
    ------
    CallError
        If a text stream is named, whose times are also in the tables, or a stream is
        corrected already.
    """
    known = read_latencies() if latencies is None else latencies
    tree = recording.tree.copy()
    for key in recording.streams:
        description = recording.description(key)
        seconds = known.get(description.name)
        if seconds is None:
            continue
        if description.is_text or description.modality == "ratings":
            raise CallError(
                f"found a latency for the stream {description.name!r}, expected none: markers "
                "and ratings are what devices are measured against; give it to the device"
            )
        dataset = tree[key].to_dataset()
        if "latency_seconds" in dataset.attrs:
            raise CallError(
                f"found that the latency of {description.name!r} is applied already, expected "
                "it once; use the recording as it was opened"
            )
        shifted = dataset.assign_coords(time=("time", dataset["time"].values - seconds))
        shifted["time"].attrs.update(dataset["time"].attrs)
        shifted.attrs["latency_seconds"] = seconds
        tree[key].dataset = shifted
    return Recording(tree, path=recording.path, sealed=recording.sealed)
