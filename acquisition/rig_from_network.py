"""Write a rig from what is on the network now."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from physioemo.acquisition.lsl import find_streams, open_inlet, raw_fields
from physioemo.acquisition.rig import Rig, RigStream
from physioemo.acquisition.rig_network import is_complete, says_units
from physioemo.devices import adapt_description
from physioemo.modality import stream_modality

__all__ = ["rig_from_network"]


def rig_from_network(
    name: str,
    predicates: Sequence[str] = (),
    *,
    planned_minutes: float | None = None,
    find_seconds: float = 2.0,
) -> tuple[Rig, list[str]]:
    """Return a rig of the streams that are there now, and what the user must still state.

    Parameters
    ----------
    name : str
        What to call it.
    predicates : sequence of str
        XPath predicates of the streams; none means all.
    planned_minutes : float, optional
        How long a session lasts.
    find_seconds : float
        How long to look.

    Raises
    ------
    NoStreamError
        If there is none.
    """
    infos = find_streams(predicates, timeout_seconds=find_seconds)
    fields = []
    for info in infos:
        inlet, full = open_inlet(info)
        inlet.close_stream()
        fields.append(adapt_description(raw_fields(full))[0])
    streams: list[RigStream] = []
    missing: list[str] = []
    for one in fields:
        key = _key(one, [s.key for s in streams])
        streams.append(_rig_stream(key, one, fields))
        missing += [f"[streams.{key}]: {what}" for what in _unsaid(one)]
    rig = Rig(name=name, streams=streams, planned_minutes=planned_minutes)
    return rig, missing


def _key(fields: Mapping[str, Any], taken: Sequence[str]) -> str:
    modality = fields.get("modality") or stream_modality(fields["stype"])
    stem = modality if modality != "other" else fields["name"].casefold()
    stem = re.sub(r"[^\w-]+", "-", stem).strip("-") or "stream"
    numbered = (f"{stem}-{i}" if i > 1 else stem for i in itertools.count(1))
    return next(key for key in numbered if key not in taken)


def _rig_stream(
    key: str, fields: Mapping[str, Any], everything: Sequence[Mapping[str, Any]]
) -> RigStream:
    same = (fields["name"], fields["source_id"])
    twins = [f for f in everything if (f["name"], f["source_id"]) == same]
    modality = fields.get("modality") or stream_modality(fields["stype"])
    is_text = fields["channel_format"] == "string"
    complete = is_complete(fields["ch_names"])
    return RigStream(
        key=key,
        name=fields["name"],
        stype=fields["stype"],
        source_id=fields["source_id"],
        hostname=fields["hostname"] if len(twins) > 1 else "",
        sfreq=fields["sfreq"],
        channels=tuple(fields["ch_names"]) if complete else (),
        n_channels=None if complete else fields["n_channels"],
        units=tuple(fields["units"]) if says_units(fields["units"]) and not is_text else (),
        modality="" if modality == "other" else modality,
    )


def _unsaid(fields: Mapping[str, Any]) -> list[str]:
    if fields["channel_format"] == "string":
        return []
    unsaid = []
    if not is_complete(fields["ch_names"]):
        unsaid.append("the stream does not say its channel names; state channels = [...]")
    if not says_units(fields["units"]):
        unsaid.append("the stream does not say its units; state units = ...")
    return unsaid
