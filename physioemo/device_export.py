"""What the readers of device exports share: text files, and a recording from streams."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.description import StreamDescription
from physioemo.errors import UnreadableFileError
from physioemo.recording import Recording
from physioemo.trials import derive_tables

__all__ = ["export_recording", "first_bytes", "irregular", "read_text", "unreadable"]


def unreadable(path: Path, found: str, expected: str) -> UnreadableFileError:
    """Return the error that names a file, what was found in it and what was expected."""
    return UnreadableFileError(f"found {found} in {path}, expected {expected}")


def first_bytes(path: Path, n: int = 4096) -> bytes:
    """Return the first bytes of a file; none of what is no file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(n)


def read_text(path: Path) -> str:
    """Return a text file; what is not UTF-8 is taken as Latin-1, in which older programs write.

    Raises
    ------
    UnreadableFileError
        If it holds bytes that no text has.
    """
    content = path.read_bytes()
    if b"\0" in content:
        raise unreadable(path, "binary data", "text; export the recording again")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def irregular(
    name: str,
    ch_names: Iterable[str],
    units: Iterable[str],
    *,
    stype: str = "other",
    source: str,
) -> StreamDescription:
    """Return the description of a stream of numbers without a rate."""
    return StreamDescription(
        name, stype, 0.0, tuple(ch_names), tuple(units), "double64", source_id=f"{source}-{name}"
    )


def export_recording(
    streams: Mapping[str, xr.Dataset],
    events: Iterable[tuple[float, float, str, str]],
    attrs: Mapping[str, Any],
) -> Recording:
    """Return a recording of streams and events.

    Parameters
    ----------
    streams : mapping of str to Dataset
        By group name.
    events : iterable of (onset_seconds, duration_seconds, description, stream)
        On the recording's clock.
    attrs : mapping
        Session attributes.
    """
    found = [(float(a), float(d), text, stream) for a, d, text, stream in events]
    tables = derive_tables(streams, [row for row in found if np.isfinite(row[:2]).all()])
    return Recording(
        xr.DataTree.from_dict({"/": xr.Dataset(attrs=dict(attrs)), **streams, **tables})
    )
