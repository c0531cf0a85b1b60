"""What is known about one stream: names, units, rate, origin."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from physioemo.errors import StreamDescriptionError
from physioemo.modality import MODALITIES, channel_modality, stream_modality
from physioemo.units import NO_UNIT, canonical_unit

__all__ = [
    "CHANNEL_FORMATS",
    "WINDOWS_DEVICES",
    "StreamDescription",
    "group_key",
    "text_units",
]

CHANNEL_FORMATS = {
    "float32": "<f4",
    "double64": "<f8",
    "int8": "<i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
    "string": "",
}
"""LSL's channel formats and the little-endian NumPy type of each (text has none)."""

_KEY_LETTERS = 60  # of at most four bytes each: file systems take 255, Windows 260 for a path
WINDOWS_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{p}{i}" for p in ("com", "lpt") for i in range(10)
}
"""Names that no file or folder can have on Windows, whatever follows a dot."""


@dataclass(frozen=True)
class StreamDescription:
    """A complete, checked description of a stream.

    Parameters
    ----------
    name, stype : str
        LSL's name and content type.
    sfreq : float
        Nominal rate in Hz; 0 for an irregular stream.
    ch_names : tuple of str
        Unique channel names.
    units : tuple of str
        One unit per channel.
    channel_format : str
        One of LSL's channel formats.
    modality : str
        Row of :data:`physioemo.modality.MODALITIES`; from `stype` if empty.
    ch_types : tuple of str
        Modality of each channel; the stream's if empty.
    source_id, uid, hostname, xml : str
        Origin as LSL reports it, and the stream's whole LSL header.
    device, adapted : str
        Row of the device table by which it was read, and what was changed; see
        :mod:`physioemo.devices`.

    Raises
    ------
    StreamDescriptionError
        If names, units or rate are missing or contradict each other.
    """

    name: str
    stype: str
    sfreq: float
    ch_names: tuple[str, ...]
    units: tuple[str, ...]
    channel_format: str = "float32"
    modality: str = ""
    ch_types: tuple[str, ...] = ()
    source_id: str = ""
    uid: str = ""
    hostname: str = ""
    xml: str = ""
    device: str = ""
    adapted: str = ""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "modality", self.modality or stream_modality(self.stype))
        set_(self, "ch_names", tuple(str(n) for n in self.ch_names))
        types = self.ch_types or ("",) * len(self.ch_names)
        set_(self, "ch_types", tuple(channel_modality(t, self.modality) for t in types))
        problems = list(self._problems())
        if problems:
            raise StreamDescriptionError(f"stream {self.name!r}: {problems[0]}")
        set_(self, "units", tuple(canonical_unit(u) for u in self.units))

    def _problems(self) -> Iterable[str]:
        n = len(self.ch_names)
        if self.channel_format not in CHANNEL_FORMATS:
            formats = ", ".join(CHANNEL_FORMATS)
            yield f"found the channel format {self.channel_format!r}, expected one of {formats}"
        if not n or not all(name.strip() for name in self.ch_names):
            yield (
                "found no channel names, expected one name per channel; add them to the "
                "stream's LSL description or state them with --ch-names"
            )
        twice = sorted({c for c in self.ch_names if self.ch_names.count(c) > 1})
        if twice:
            yield f"found the channel name {twice[0]!r} more than once, expected unique names"
        if len(self.units) != n or not all(str(u).strip() for u in self.units):
            yield (
                f"found {sum(bool(str(u).strip()) for u in self.units)} units for {n} channels, "
                "expected one each; add them to the stream's LSL description or state them "
                "with --unit"
            )
        if len(self.ch_types) != n:
            yield f"found {len(self.ch_types)} channel types for {n} channels, expected one each"
        yield from self._rate_problems()

    def _rate_problems(self) -> Iterable[str]:
        finite = isinstance(self.sfreq, int | float) and 0 <= self.sfreq < float("inf")
        if not finite:
            yield f"found the rate {self.sfreq!r} Hz, expected a number of at least 0"
        elif self.sfreq == 0 and not (self.is_text or MODALITIES[self.modality].irregular):
            yield (
                f"found a nominal rate of 0 Hz (irregular) for type {self.stype!r}, expected the "
                "sampling rate; correct it in the device's LSL app or state it with --sfreq"
            )

    @property
    def is_text(self) -> bool:
        """Whether samples are strings."""
        return self.channel_format == "string"

    @property
    def missing_allowed(self) -> bool:
        """Whether NaN is this stream's normal word for "nothing seen"."""
        return MODALITIES[self.modality].missing_allowed

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "StreamDescription":
        """Return the description that :meth:`to_dict` wrote."""
        tuples = {k: tuple(fields[k]) for k in ("ch_names", "units", "ch_types")}
        return cls(**{**fields, **tuples})


def text_units(n_channels: int) -> tuple[str, ...]:
    """Return the units of a text stream."""
    return (NO_UNIT,) * n_channels


def group_key(name: str, taken: Iterable[str] = ()) -> str:
    """Return a folder name for a stream that is valid on every system and not yet taken."""
    key = re.sub(r"[^\w .()+-]+", "_", name)[:_KEY_LETTERS].strip(" .") or "stream"
    reserved = {"trials", "ratings", "events", "journal"} | WINDOWS_DEVICES
    if key.casefold().split(".")[0] in reserved or key.startswith("__"):
        key = f"{key.strip('_') or 'x'}-stream"
    used = {t.casefold() for t in taken}
    number, candidate = 2, key
    while candidate.casefold() in used:
        candidate, number = f"{key}-{number}", number + 1
    return candidate
