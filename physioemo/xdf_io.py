"""Recordings from XDF files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.clock import GAP_SECONDS, measured_rate
from physioemo.clock_epochs import correct_epochs
from physioemo.description import group_key
from physioemo.devices import adapt_description
from physioemo.errors import PhysioEmoError
from physioemo.overrides import Overrides, complete_description
from physioemo.recording import Recording
from physioemo.stream import make_stream
from physioemo.trials import derive_tables
from physioemo.xdf_chunks import parse_xml
from physioemo.xdf_file import XdfStream, read_chunks

__all__ = ["read_xdf", "stream_fields"]

_RATE_TOLERANCE = 0.1


def read_xdf(path: str | Path, overrides: Overrides | None = None) -> Recording:
    """Read an XDF file, whole or damaged.

    ``raw_time`` and the clock offsets are as they are in the file. ``time`` is corrected by
    :func:`physioemo.clock_epochs.correct_epochs` and never dejittered: a line laid through all
    stamps shifts every sample of a recording that has a gap. What was damaged, repaired or out
    of line stands in the recording's notes.

    Parameters
    ----------
    path : str or Path
        ``.xdf``, ``.xdfz`` or ``.xdf.gz``.
    overrides : Overrides, optional
        Names, units and rates that the file does not state.

    Raises
    ------
    UnreadableFileError
        If it is not XDF, or no stream in it can be read.
    StreamDescriptionError
        If a stream lacks channel names, units or its rate and they are not stated.
    """
    path = Path(path)
    file = read_chunks(path)
    header = parse_xml(file.header) if file.header else None
    notes = [n.text for n in header.findall("note")] if header is not None else []
    notes += file.damage
    streams: dict[str, xr.Dataset] = {}
    for number in sorted(file.streams):
        try:
            dataset = _make(file.streams[number], overrides or Overrides(), notes)
        except PhysioEmoError as error:
            damaged = f" (the file is damaged: {file.damage[0]})" if file.damage else ""
            raise type(error)(f"{path.name}: {error}{damaged}") from error
        streams[group_key(dataset.attrs["name"], streams)] = dataset
    session = {
        "source_file": path.name,
        "clock": "LSL local clock of the recording computer",
        **_date(header, notes),
        "notes": list(dict.fromkeys(notes)),
    }
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs=session), **streams, **derive_tables(streams)}
    )
    return Recording(tree)


def _date(header: Any, notes: list[str]) -> dict[str, str]:
    found = _text(header, "datetime") if header is not None else ""
    if not found:
        return {}
    try:
        date = datetime.fromisoformat(found)
    except ValueError:
        notes.append(f"the file's date {found!r} cannot be read")
        return {}
    if date.tzinfo is None:
        notes.append(f"the file's date {found} has no time zone")
        return {}
    return {"created_utc": date.astimezone(UTC).isoformat()}


def _make(stream: XdfStream, overrides: Overrides, notes: list[str]) -> xr.Dataset:
    fields = {**stream_fields(stream.header), "xml": stream.header}
    adapted, _ = adapt_description(fields, overrides)
    description = complete_description(adapted, overrides)
    clock_time, offset = stream.clock_offsets.T
    corrected = correct_epochs(stream.stamps, clock_time, offset, description.sfreq)
    # Chunk 4 of XDF stores the recorder's time minus the offset, and no uncertainty.
    triples = np.column_stack([clock_time, offset, np.full(len(offset), np.nan)])
    notes.extend(
        f"stream {description.name!r}: {sentence}"
        for sentence in _stamp_notes(stream.stamps, corrected.resets, corrected.n_ignored)
    )
    rate = measured_rate(corrected.time, description.sfreq)
    if description.sfreq and abs(rate / description.sfreq - 1) > _RATE_TOLERANCE:
        notes.append(
            f"stream {description.name!r}: its stamps show {rate:.4g} Hz, its header states "
            f"{description.sfreq:g} Hz"
        )
    return make_stream(
        stream.values,
        description,
        time=corrected.time,
        raw_time=stream.stamps,
        clock_offsets=triples,
    )


def _stamp_notes(stamps: np.ndarray, resets: tuple[int, ...], n_ignored: int) -> list[str]:
    notes = [f"its computer's clock was reset before sample {i}" for i in resets]
    back = [i for i in np.flatnonzero(np.diff(stamps) < -GAP_SECONDS) + 1 if i not in resets]
    if back:
        notes.append(f"its stamps step backwards {len(back)} times, first before sample {back[0]}")
    if n_ignored:
        notes.append(f"{n_ignored} clock offsets are out of line with the others and not used")
    return notes


def stream_fields(header: str) -> dict[str, Any]:
    """Return what a stream's LSL header says about it.

    Parameters
    ----------
    header : str
        XML as LSL gives it.

    Returns
    -------
    dict
        Arguments of :func:`physioemo.overrides.complete_description`.
    """
    info = parse_xml(header)
    n_channels = int(_text(info, "channel_count"))
    channels = info.findall("desc/channels/channel")
    types = tuple(_text(c, "type") for c in channels)
    return {
        "name": _text(info, "name"),
        "stype": _text(info, "type"),
        "sfreq": float(_text(info, "nominal_srate") or 0),
        "n_channels": n_channels,
        "ch_names": tuple(_text(c, "label") for c in channels),
        "units": tuple(_text(c, "unit") for c in channels),
        "ch_types": types if len(types) == n_channels else (),
        "channel_format": _text(info, "channel_format"),
        "source_id": _text(info, "source_id"),
        "uid": _text(info, "uid"),
        "hostname": _text(info, "hostname"),
    }


def _text(node: Any, field: str) -> str:
    return (node.findtext(field) or "").strip()
