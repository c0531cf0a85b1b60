"""Recordings from XDF files, through pyxdf."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.description import CHANNEL_FORMATS, group_key
from physioemo.errors import PhysioEmoError, UnreadableFileError
from physioemo.overrides import Overrides, complete_description
from physioemo.recording import Recording
from physioemo.stream import make_stream
from physioemo.trials import derive_tables

__all__ = ["read_xdf"]


def read_xdf(path: str | Path, overrides: Overrides | None = None) -> Recording:
    """Read an XDF file.

    ``time`` is clock-corrected as pyxdf does it and never dejittered; ``raw_time`` and the
    clock offsets are kept as they are in the file.

    Parameters
    ----------
    path : str or Path
        The file.
    overrides : Overrides, optional
        Names, units and rates that the file does not state.

    Raises
    ------
    UnreadableFileError
        If pyxdf cannot read it.
    StreamDescriptionError
        If a stream lacks channel names, units or its rate and they are not stated.
    """
    path = Path(path)
    try:
        with _quiet_pyxdf():
            corrected, header = _load(path, synchronize_clocks=True)
            raw, _ = _load(path, synchronize_clocks=False)
    except Exception as error:  # pyxdf lets struct, XML and value errors escape
        raise UnreadableFileError(
            f"found that {path} cannot be read as XDF ({error}), expected a complete XDF file; "
            "check that the recording program closed it"
        ) from error
    streams: dict[str, xr.Dataset] = {}
    for stream, raw_stream in zip(corrected, raw, strict=True):
        try:
            dataset = _make(stream, raw_stream, overrides or Overrides())
        except PhysioEmoError as error:
            raise type(error)(f"{path.name}: {error}") from error
        streams[group_key(dataset.attrs["name"], streams)] = dataset
    session = {
        "source_file": path.name,
        "clock": "LSL local clock of the recording computer",
        **_date(header),
    }
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs=session), **streams, **derive_tables(streams)}
    )
    return Recording(tree)


def _load(path: Path, *, synchronize_clocks: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    import pyxdf

    streams, header = pyxdf.load_xdf(
        path, synchronize_clocks=synchronize_clocks, dejitter_timestamps=False
    )
    return sorted(streams, key=lambda s: s["info"]["stream_id"]), header


@contextmanager
def _quiet_pyxdf() -> Iterator[None]:
    logger = logging.getLogger("pyxdf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _date(header: dict[str, Any]) -> dict[str, str]:
    found = header.get("info", {}).get("datetime", [None])[0]
    return {"created_utc": found} if found else {}


def _make(stream: dict[str, Any], raw: dict[str, Any], overrides: Overrides) -> xr.Dataset:
    info = stream["info"]
    n_channels = int(info["channel_count"][0])
    channels = _channels(info)
    description = complete_description(
        {
            "name": _text(info, "name"),
            "stype": _text(info, "type"),
            "sfreq": float(_text(info, "nominal_srate") or 0),
            "n_channels": n_channels,
            "ch_names": tuple(_text(c, "label") for c in channels),
            "units": tuple(_text(c, "unit") for c in channels),
            "ch_types": _types(channels, n_channels),
            "channel_format": _text(info, "channel_format"),
            "source_id": _text(info, "source_id"),
            "uid": _text(info, "uid"),
            "hostname": _text(info, "hostname"),
        },
        overrides,
    )
    dtype = CHANNEL_FORMATS[description.channel_format] or object
    signal = np.asarray(stream["time_series"], dtype=dtype).reshape(-1, n_channels)
    offsets = np.column_stack([stream["clock_times"], stream["clock_values"]])
    # Chunk 4 of XDF stores the recorder's time minus the offset, and no uncertainty.
    triples = np.column_stack([offsets, np.full(len(offsets), np.nan)])
    return make_stream(
        signal,
        description,
        time=np.asarray(stream["time_stamps"], float),
        raw_time=np.asarray(raw["time_stamps"], float),
        clock_offsets=triples.reshape(-1, 3),
    )


def _channels(info: dict[str, Any]) -> list[dict[str, Any]]:
    description = (info.get("desc") or [None])[0] or {}
    channels = (description.get("channels") or [None])[0] or {}
    return list(channels.get("channel") or [])


def _text(node: dict[str, Any], field: str) -> str:
    return str((node.get(field) or [""])[0] or "").strip()


def _types(channels: list[dict[str, Any]], n_channels: int) -> tuple[str, ...]:
    types = tuple(_text(c, "type") for c in channels)
    return types if len(types) == n_channels else ()
