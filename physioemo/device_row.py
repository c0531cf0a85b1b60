"""One row of the device table: what recognises a vendor's LSL stream, and what its channels are."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from physioemo.errors import CallError
from physioemo.modality import MODALITIES
from physioemo.xdf_chunks import parse_xml

__all__ = ["ChannelRule", "Device", "channel_eyes", "manufacturer_of"]


@dataclass(frozen=True)
class ChannelRule:
    """What one kind of channel of a device is.

    Parameters
    ----------
    label : str
        Pattern that the whole label must fit, as the vendor writes it.
    name : str
        Our name for it; may use the pattern's groups and ``{eye}``, which the header's
        own field says. Empty keeps the vendor's.
    unit : str
        The documented unit, filled in where the stream says none.
    ch_type : str
        Row of :data:`physioemo.modality.MODALITIES`; empty keeps the stream's.
    wrong_units : tuple of str
        Units that the vendor's header states and its documents do not mean: replaced by `unit`.
    """

    label: str
    name: str = ""
    unit: str = ""
    ch_type: str = ""
    wrong_units: tuple[str, ...] = ()

    def name_of(self, label: str, eye: str) -> str | None:
        """Return our name for a label, or None if the label is not of this kind."""
        match = re.fullmatch(self.label, label)
        if match is None or ("{eye}" in self.name and not eye):
            return None
        return match.expand(self.name).replace("{eye}", eye) if self.name else label


@dataclass(frozen=True, kw_only=True)
class Device:
    """How the streams of one device are recognised and read.

    Everything that is stated has to fit; patterns fit the whole text.

    Parameters
    ----------
    key : str
        What a rig calls it, such as ``"muse"``.
    title : str
        Device and program.
    source : str
        Where it is documented.
    name, stype, source_id, manufacturer : str
        Patterns for LSL's name, type and source_id and for the header's manufacturer; empty fits
        any.
    labels : tuple of str
        Patterns, each of which some channel's label has to fit.
    n_channels : tuple of int
        Possible numbers of channels; empty means any.
    modality : str
        Row of :data:`physioemo.modality.MODALITIES`; by the type if empty.
    channels : tuple of ChannelRule
        The first that fits a label counts.
    ch_names : tuple of str
        Names of all channels where the vendor gives no labels.
    validity : str
        Which channel says whether a sample is valid, and what an invalid one looks like.

    Raises
    ------
    CallError
        If a pattern is none, or a modality is unknown.
    """

    key: str
    title: str
    source: str
    name: str = ""
    stype: str = ""
    source_id: str = ""
    manufacturer: str = ""
    labels: tuple[str, ...] = ()
    n_channels: tuple[int, ...] = ()
    modality: str = ""
    channels: tuple[ChannelRule, ...] = ()
    ch_names: tuple[str, ...] = ()
    validity: str = ""

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise CallError(f"device {self.key!r}: {problem}")

    def _problems(self) -> Iterator[str]:
        patterns = (self.name, self.stype, self.source_id, self.manufacturer, *self.labels)
        for pattern in (*patterns, *(rule.label for rule in self.channels)):
            try:
                re.compile(pattern)
            except re.error as error:
                yield f"found the pattern {pattern!r} ({error}), expected a regular expression"
        if not any(patterns):
            yield "found nothing that recognises it, expected at least a name or labels"
        for modality in (self.modality, *(rule.ch_type for rule in self.channels)):
            if modality and modality not in MODALITIES:
                yield f"found the type {modality!r}, expected one of {', '.join(MODALITIES)}"

    def fits(self, fields: Mapping[str, Any]) -> bool:
        """Return whether a stream is one of this device.

        Parameters
        ----------
        fields : mapping
            What the stream says of itself; see :func:`physioemo.overrides.complete_description`.
        """
        if self.n_channels and fields.get("n_channels") not in self.n_channels:
            return False
        stated = (
            (self.name, fields["name"]),
            (self.stype, fields.get("stype", "")),
            (self.source_id, fields.get("source_id", "")),
            (self.manufacturer, manufacturer_of(fields.get("xml", ""))),
        )
        if not all(re.fullmatch(p, text) for p, text in stated if p):
            return False
        labels = fields["ch_names"]
        return all(any(re.fullmatch(p, label) for label in labels) for p in self.labels)


def manufacturer_of(header: str) -> str:
    """Return the manufacturer that an LSL header names, or an empty text."""
    desc = _desc(header)
    if desc is None:
        return ""
    found = desc.findtext("manufacturer") or desc.findtext("acquisition/manufacturer") or ""
    return found.strip()


def channel_eyes(header: str, n_channels: int) -> tuple[str, ...]:
    """Return which eye an LSL header names for each channel: left, right, or an empty text."""
    desc = _desc(header)
    channels = [] if desc is None else desc.findall("channels/channel")
    if len(channels) != n_channels:
        return ("",) * n_channels
    eyes = [(c.findtext("eye") or "").strip().casefold() for c in channels]
    return tuple(eye if eye in ("left", "right") else "" for eye in eyes)


def _desc(header: str) -> Any:
    try:
        return parse_xml(header).find("desc") if header else None
    except ValueError:
        return None
