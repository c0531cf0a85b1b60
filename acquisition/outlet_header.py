"""The LSL header of a stream that is published: channels, marks, and what its origin said."""

from collections.abc import Sequence
from typing import Any

from physioemo.description import StreamDescription
from physioemo.xdf_chunks import parse_xml

__all__ = ["stated_faults", "write_header"]

_OURS = ("label", "unit", "type")
_MARKS = ("channels", "simulated", "faults")


def write_header(
    info: Any,
    description: StreamDescription,
    *,
    simulated: bool = False,
    faults: Sequence[str] = (),
) -> None:
    """Write names, units and types into a header, and all else that the stream's own header says.

    Parameters
    ----------
    info : pylsl.StreamInfo
        What to write into.
    description : StreamDescription
        What is published; its ``xml`` is the header of its origin, if it has one.
    simulated : bool
        Mark the stream as a simulation.
    faults : sequence of str
        What is wrong with it on purpose; those of its origin stay.
    """
    info.set_channel_labels(list(description.ch_names))
    info.set_channel_units(list(description.units))
    info.set_channel_types(list(description.ch_types))
    origin = _origin(description.xml)
    if origin is None or origin.find("manufacturer") is None:
        info.desc().append_child_value("manufacturer", "PhysioEmo")
    if origin is not None:
        _copy_channels(origin, info, len(description.ch_names))
        for child in origin:
            if child.tag not in _MARKS:
                _copy(child, info.desc())
    if simulated or (origin is not None and origin.findtext("simulated") == "true"):
        info.desc().append_child_value("simulated", "true")
    told = (*stated_faults(description.xml), *faults)
    if told:
        node = info.desc().append_child("faults")
        for text in told:
            node.append_child_value("fault", text)


def stated_faults(header: str) -> tuple[str, ...]:
    """Return the faults on purpose that a stream's header tells of."""
    origin = _origin(header)
    nodes = () if origin is None else origin.findall("faults/fault")
    return tuple((node.text or "").strip() for node in nodes)


def _origin(header: str) -> Any:
    try:
        return parse_xml(header).find("desc") if header else None
    except ValueError:
        return None


def _copy_channels(origin: Any, info: Any, n_channels: int) -> None:
    channels = origin.findall("channels/channel")
    if len(channels) != n_channels:
        return
    target = info.desc().child("channels").child("channel")
    for channel in channels:
        for child in channel:
            if child.tag not in _OURS:
                _copy(child, target)
        target = target.next_sibling()


def _copy(node: Any, parent: Any) -> None:
    if len(node):
        copied = parent.append_child(node.tag)
        for child in node:
            _copy(child, copied)
    else:
        parent.append_child_value(node.tag, (node.text or "").strip())
