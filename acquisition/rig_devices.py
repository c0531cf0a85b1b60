"""A lab's own rows of the device table, as ``[[device]]`` in a rig."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from physioemo.device_row import ChannelRule, Device
from physioemo.errors import CallError

__all__ = ["Fields", "device_tables", "read_devices"]

Fields = Callable[..., dict[str, Any]]
"""Reads one section of a rig: :func:`physioemo.toml_sections.read_section`, told of which rig."""

_RENAMED = {"type": "stype", "channels": "n_channels"}


def read_devices(
    fields: Fields,
    tables: Any,
    row_readers: Mapping[str, Any],
    channel_readers: Mapping[str, Any],
    where: str,
) -> tuple[Device, ...]:
    """Return the rows that the ``[[device]]`` sections of a rig state.

    Parameters
    ----------
    fields : callable
        Reads and checks one section.
    tables : list of dict
        The sections.
    row_readers, channel_readers : mapping
        Readers of the fields of ``[[device]]`` and ``[[device.channel]]``.
    where : str
        What errors call the rig.

    Raises
    ------
    CallError
        If a section is no row.
    """
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise CallError(f"found 'device' without rows in {where}, expected sections [[device]]")
    numbers = itertools.count(1)  # of [[device.channel]], over all rows
    return tuple(
        _row(fields, dict(t), row_readers, channel_readers, number, numbers)
        for number, t in enumerate(tables, 1)
    )


def _row(
    fields: Fields,
    table: dict[str, Any],
    row_readers: Mapping[str, Any],
    channel_readers: Mapping[str, Any],
    number: int,
    numbers: Iterator[int],
) -> Device:
    channels = table.pop("channel", [])
    row = fields(table, row_readers, "device", number=number, required=("key",), also=("channel",))
    rules = []
    for channel in channels if isinstance(channels, list) else [channels]:
        at = {"number": next(numbers), "required": ("label",)}
        stated = fields(channel, channel_readers, "device.channel", **at)
        if "type" in stated:
            stated["ch_type"] = stated.pop("type")
        rules.append(ChannelRule(**stated))
    row = {_RENAMED.get(name, name): value for name, value in row.items()}
    if "n_channels" in row:
        row["n_channels"] = (int(row["n_channels"]),)
    filled = {"title": row["key"], "source": "the rig", **row}
    return Device(**filled, channels=tuple(rules))


def device_tables(rows: tuple[Device, ...]) -> list[tuple[str, dict[str, Any]]]:
    """Return header and fields of every section that states some rows."""
    sections: list[tuple[str, dict[str, Any]]] = []
    for row in rows:
        names = ("key", "title", "source", "name", "source_id", "manufacturer", "modality")
        stated = {n: getattr(row, n) for n in (*names, "validity")}
        stated["type"] = row.stype
        stated |= {n: list(getattr(row, n)) for n in ("labels", "ch_names")}
        if row.n_channels:
            stated["channels"] = row.n_channels[0]
        sections.append(("[[device]]", {n: v for n, v in stated.items() if v}))
        for rule in row.channels:
            channel: dict[str, Any] = {"label": rule.label, "name": rule.name, "unit": rule.unit}
            channel |= {"type": rule.ch_type, "wrong_units": list(rule.wrong_units)}
            sections.append(("[[device.channel]]", {n: v for n, v in channel.items() if v}))
    return sections
