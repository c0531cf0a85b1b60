"""Recordings as XDF files that LabRecorder's readers load with equal values and stamps.

Written as LabRecorder writes: a header per stream, samples in half-second chunks with every stamp
stated, clock offsets where they were measured, a boundary every ten seconds, a footer per stream.
"""

import heapq
import itertools
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import xarray as xr

from physioemo.atomic_file import new_path, require_ending
from physioemo.clock import measured_rate
from physioemo.clock_epochs import correct_epochs
from physioemo.description import CHANNEL_FORMATS, StreamDescription
from physioemo.errors import DataError, PhysioEmoError
from physioemo.overrides import Overrides, complete_description
from physioemo.recording import Recording
from physioemo.stream import describe_stream
from physioemo.table_streams import table_streams
from physioemo.xdf_chunks import BOUNDARY, MAGIC, Tag, parse_xml
from physioemo.xdf_io import stream_fields

__all__ = ["export_xdf"]

_CHUNK_SECONDS, _BOUNDARY_SECONDS = 0.5, 10.0
_TOLERANCE_SECONDS = 1e-4


def export_xdf(recording: Recording, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a recording as an XDF file.

    Stamps are the raw ones and the clock offsets stand beside them, as in a file of LabRecorder.
    Where raw stamps and offsets do not give the recording's time (some devices' exports have a
    clock of their own), the stamps are the recording's time and there are no offsets. Events,
    trials and ratings that no stream holds become streams (:mod:`physioemo.table_streams`); the
    recording's notes stand in the file's header.

    Parameters
    ----------
    recording : Recording
        What to write.
    path : str or Path
        A name that ends in ``.xdf``.
    overwrite : bool
        Replace a file that is already there.

    Returns
    -------
    Path
        The file, which is there whole or not at all.

    Raises
    ------
    CallError
        If the name does not end in ``.xdf``.
    RecordingExistsError
        If something is at `path` and `overwrite` is false.
    StoreError
        If it cannot be written.
    """
    path = Path(path)
    require_ending(path, ".xdf")
    every = {**{k: recording[k] for k in recording.streams}, **table_streams(recording)}
    marked = any("<simulated>true</simulated>" in s.attrs["xml"] for s in every.values())
    simulated = recording.simulated and not marked
    tracks = [_track(n, s, simulated) for n, s in enumerate(every.values(), start=1)]
    with new_path(path, overwrite=overwrite) as partial, partial.open("wb") as file:
        file.write(MAGIC + _chunk(Tag.FILE_HEADER, _file_header(recording)))
        for track in tracks:
            file.write(_chunk(Tag.STREAM_HEADER, track.header.encode(), track.number))
        for chunk in _body(tracks):
            file.write(chunk)
        for track in tracks:
            file.write(_chunk(Tag.STREAM_FOOTER, _footer(track), track.number))
    return path


class _Track(NamedTuple):
    """What is written of one stream: `order` are ascending seconds on the session clock."""

    number: int
    header: str
    sfreq: float
    values: np.ndarray
    stamps: np.ndarray
    offsets: np.ndarray
    order: np.ndarray


def _track(number: int, stream: xr.Dataset, simulated: bool) -> _Track:
    description = describe_stream(stream)
    time, stamps = stream["time"].values, stream["raw_time"].values
    offsets = stream["clock_offset"].values[:, :2]
    offsets = offsets[np.isfinite(offsets).all(axis=1)]
    corrected = correct_epochs(stamps, offsets[:, 0], offsets[:, 1], description.sfreq).time
    if len(time) and np.abs(corrected - time).max() > _TOLERANCE_SECONDS:
        stamps, offsets = time, offsets[:0]
    values = stream["signal"].values
    dtype = CHANNEL_FORMATS[description.channel_format]
    return _Track(
        number,
        _header(description, simulated),
        description.sfreq,
        values.astype(dtype, copy=False) if dtype else values,
        stamps,
        offsets,
        np.maximum.accumulate(time),
    )


def _header(description: StreamDescription, simulated: bool) -> str:
    """Return the stream's own LSL header, or one that says what is known of it."""
    if description.xml and not simulated and _says(description.xml, description):
        return description.xml
    info = parse_xml(description.xml) if description.xml else ElementTree.Element("info")
    for field, value in {
        "name": description.name,
        "type": description.stype,
        "channel_count": str(len(description.ch_names)),
        "channel_format": description.channel_format,
        "source_id": description.source_id,
        "nominal_srate": repr(float(description.sfreq)),
        "uid": description.uid,
        "hostname": description.hostname,
    }.items():
        _child(info, field).text = value
    desc = _child(info, "desc")
    if simulated:
        _child(desc, "simulated").text = "true"
    channels = _child(desc, "channels")
    if len(channels.findall("channel")) != len(description.ch_names):
        channels.clear()
        for _ in description.ch_names:
            ElementTree.SubElement(channels, "channel")
    fields = zip(description.ch_names, description.units, description.ch_types, strict=True)
    for channel, values in zip(channels.findall("channel"), fields, strict=True):
        for field, value in zip(("label", "unit", "type"), values, strict=True):
            _child(channel, field).text = value
    return _xml(info, f"the stream {description.name!r}")


def _says(header: str, description: StreamDescription) -> bool:
    try:
        found = complete_description(stream_fields(header), Overrides())
    except (PhysioEmoError, ValueError):
        return False
    return found == replace(description, xml="")


def _child(node: Any, name: str) -> Any:
    found = node.find(name)
    return ElementTree.SubElement(node, name) if found is None else found


def _xml(node: Any, what: str) -> str:
    text = '<?xml version="1.0"?>' + ElementTree.tostring(node, encoding="unicode")
    try:
        parse_xml(text)
    except ValueError as error:
        raise DataError(
            f"found a character in the description of {what} that XML does not have, expected "
            "text; rename what holds a control character"
        ) from error
    return text


def _file_header(recording: Recording) -> bytes:
    info = ElementTree.Element("info")
    ElementTree.SubElement(info, "version").text = "1.0"
    if created := recording.attrs.get("created_utc"):
        ElementTree.SubElement(info, "datetime").text = str(created)
    for note in recording.notes:
        ElementTree.SubElement(info, "note").text = str(note)
    return _xml(info, "the recording").encode()


def _footer(track: _Track) -> bytes:
    info, n = ElementTree.Element("info"), len(track.stamps)
    rate = measured_rate(track.stamps, track.sfreq)
    for field, value in {
        "first_timestamp": repr(float(track.stamps[0])) if n else "0",
        "last_timestamp": repr(float(track.stamps[-1])) if n else "0",
        "sample_count": str(n),
        "measured_srate": repr(float(rate)) if np.isfinite(rate) else "0",
    }.items():
        ElementTree.SubElement(info, field).text = value
    measured = ElementTree.SubElement(info, "clock_offsets")
    for time, value in track.offsets.tolist():
        offset = ElementTree.SubElement(measured, "offset")
        ElementTree.SubElement(offset, "time").text = repr(time)
        ElementTree.SubElement(offset, "value").text = repr(value)
    return _xml(info, "the recording").encode()


def _body(tracks: list[_Track]) -> Iterator[bytes]:
    """Yield samples, clock offsets and boundaries in the order of the session clock."""
    boundary, last = _chunk(Tag.BOUNDARY, BOUNDARY), -np.inf
    streams = (f(t) for t in tracks for f in (_sample_chunks, _offset_chunks))
    for seconds, _, chunk in heapq.merge(*streams, key=lambda row: row[:2]):
        if seconds - last >= _BOUNDARY_SECONDS:
            yield boundary
            last = seconds
        yield chunk
    yield boundary


def _sample_chunks(track: _Track) -> Iterator[tuple[float, int, bytes]]:
    if not len(track.order):
        return
    period = np.floor((track.order - track.order[0]) / _CHUNK_SECONDS)
    edges = [0, *(np.flatnonzero(np.diff(period)) + 1).tolist(), len(period)]
    encode = _texts if track.values.dtype.kind == "O" else _numbers
    for start, stop in itertools.pairwise(edges):
        content = b"\x04" + struct.pack("<I", stop - start)
        content += encode(track.stamps[start:stop], track.values[start:stop])
        yield float(track.order[stop - 1]), track.number, _chunk(Tag.SAMPLES, content, track.number)


def _numbers(stamps: np.ndarray, values: np.ndarray) -> bytes:
    fields = [("width", "u1"), ("stamp", "<f8"), ("values", values.dtype, values.shape[1:])]
    rows = np.empty(len(stamps), np.dtype(fields))
    rows["width"], rows["stamp"], rows["values"] = 8, stamps, values
    return rows.tobytes()


def _texts(stamps: np.ndarray, values: np.ndarray) -> bytes:
    parts = []
    for stamp, row in zip(stamps.tolist(), values, strict=True):
        parts.append(b"\x08" + struct.pack("<d", stamp))
        for text in row:
            raw = str(text).encode("utf-8", "replace")
            parts.append(b"\x04" + struct.pack("<I", len(raw)) + raw)
    return b"".join(parts)


def _offset_chunks(track: _Track) -> Iterator[tuple[float, int, bytes]]:
    measured = np.maximum.accumulate(track.offsets.sum(axis=1))
    for seconds, row in zip(measured.tolist(), track.offsets.tolist(), strict=True):
        content = struct.pack("<dd", *row)
        yield seconds, track.number, _chunk(Tag.CLOCK_OFFSET, content, track.number)


def _chunk(tag: Tag, content: bytes, number: int | None = None) -> bytes:
    own = struct.pack("<H", tag) + (b"" if number is None else struct.pack("<I", number))
    length = len(own) + len(content)
    width = (b"\x04", "<I") if length < 2**32 else (b"\x08", "<Q")
    return width[0] + struct.pack(width[1], length) + own + content
