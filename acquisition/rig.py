"""The rig contract: which streams a study needs, and what must be true of each.

A rig says how every stream is found, what it must carry, how fast and how fresh it must be, and
what happens when it is missing, late or lost. It is read from TOML by
:mod:`physioemo.acquisition.rig_toml`, checked before the participant arrives
(:mod:`physioemo.acquisition.rig_check`) and enforced while recording
(:mod:`physioemo.acquisition.rig_record`).
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from physioemo.device_row import Device
from physioemo.device_table import DEVICES
from physioemo.errors import CallError
from physioemo.hints import nearest
from physioemo.modality import MODALITIES
from physioemo.overrides import NO_DEVICE
from physioemo.units import canonical_unit

__all__ = ["DEFAULT_FRESHNESS_SECONDS", "POLICIES", "QUERY", "Rig", "RigStream"]

DEFAULT_FRESHNESS_SECONDS = 2.0
"""How old the newest sample of a regular stream may be if the rig does not say."""

POLICIES = {
    "on_missing": ("refuse", "wait", "warn"),
    "on_late": ("refuse", "wait", "warn"),
    "on_lost": ("stop", "warn"),
}
"""What a rig may ask for when a stream is not there, brings nothing fresh, or goes."""

QUERY = {"name": "name", "type": "stype", "source_id": "source_id", "hostname": "hostname"}
"""LSL's own words for what a stream is found by, and our attribute for each."""

_DEFAULT_POLICIES = {
    True: {"on_missing": "wait", "on_late": "wait", "on_lost": "warn"},
    False: {"on_missing": "warn", "on_late": "warn", "on_lost": "warn"},
}


@dataclass(frozen=True, kw_only=True)
class RigStream:
    """What one stream must be.

    Parameters
    ----------
    key : str
        What the rig calls it, such as ``"eeg"``.
    sfreq : float
        Rate in Hz; 0 for an irregular stream.
    name, stype, source_id, hostname : str
        How it is found, compared exactly; at least one is stated.
    channels : tuple of str
        Names that the stream must have, in its order; empty if only their number is stated.
    n_channels : int, optional
        Number of channels.
    units : tuple of str
        One unit for all channels, or one per channel. Stated for a stream that lacks them they
        are applied; otherwise they must agree.
    sfreq_tolerance_percent : float
        How far the measured rate may lie from `sfreq`.
    freshness_seconds : float, optional
        How old the newest sample may be; 2 s for a regular stream, any age for an irregular one.
    max_round_trip_ms : float, optional
        The slowest clock probe that still counts as synchronised; any if not stated.
    modality : str
        Row of :data:`physioemo.modality.MODALITIES`; by the stream's type if empty.
    montage : str
        MNE's name of the electrode layout.
    device : str
        Row of the device table by which it is read, ``"none"`` for none; recognised if empty.
    required : bool
        Whether nothing may be recorded without it.
    on_missing, on_late : str
        ``"refuse"`` at once, ``"wait"`` (as long as the call allows, then refuse a required
        stream and go on without an optional one) or ``"warn"``.
    on_lost : str
        ``"stop"`` and seal the recording, or ``"warn"`` and go on.

    Raises
    ------
    CallError
        If the statements are missing, impossible or contradict each other.
    """

    key: str
    sfreq: float
    name: str = ""
    stype: str = ""
    source_id: str = ""
    hostname: str = ""
    channels: tuple[str, ...] = ()
    n_channels: int | None = None
    units: tuple[str, ...] = ()
    sfreq_tolerance_percent: float = 1.0
    freshness_seconds: float | None = None
    max_round_trip_ms: float | None = None
    modality: str = ""
    montage: str = ""
    device: str = ""
    required: bool = True
    on_missing: str = ""
    on_late: str = ""
    on_lost: str = ""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for name, policy in _DEFAULT_POLICIES[self.required].items():
            set_(self, name, getattr(self, name) or policy)
        if self.channels and self.n_channels is None:
            set_(self, "n_channels", len(self.channels))
        for problem in self._problems():
            raise CallError(f"[streams.{self.key}]: {problem}")
        set_(self, "units", tuple(canonical_unit(u) for u in self.units))

    def _problems(self) -> Iterable[str]:
        if not self.query:
            yield (
                f"found nothing to find the stream by, expected at least one of {', '.join(QUERY)}"
            )
        yield from self._number_problems()
        if self.modality and self.modality not in MODALITIES:
            hint = nearest(self.modality, MODALITIES)
            rows = ", ".join(MODALITIES)
            yield f"found the modality {self.modality!r}, expected one of {rows}{hint}"
        yield from self._channel_problems()
        yield from self._policy_problems()

    def _number_problems(self) -> Iterable[str]:
        if not (math.isfinite(self.sfreq) and self.sfreq >= 0):
            yield f"found sfreq = {self.sfreq}, expected Hz of at least 0 (0 = irregular)"
        for name in ("sfreq_tolerance_percent", "freshness_seconds", "max_round_trip_ms"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                yield f"found {name} = {value}, expected a number above 0"

    def _channel_problems(self) -> Iterable[str]:
        if self.n_channels is not None and self.n_channels < 1:
            yield f"found channels = {self.n_channels}, expected at least 1"
        twice = sorted({c for c in self.channels if self.channels.count(c) > 1})
        if twice:
            yield f"found the channel {twice[0]!r} more than once, expected unique names"
        if any(not u.strip() for u in self.units):
            yield "found an empty unit, expected one such as 'uV' ('a.u.' if it is arbitrary)"
        n_units = len(self.units)
        if n_units > 1 and n_units != self.n_channels:
            channels = "an unstated number of" if self.n_channels is None else self.n_channels
            yield f"found {n_units} units for {channels} channels, expected one, or one each"

    def _policy_problems(self) -> Iterable[str]:
        for name, allowed in POLICIES.items():
            value = getattr(self, name)
            if value not in allowed:
                hint = nearest(value, allowed)
                yield f"found {name} = {value!r}, expected one of {', '.join(allowed)}{hint}"
        if self.required and self.on_missing == "warn":
            yield (
                "found on_missing = 'warn' for a required stream, expected 'refuse' or 'wait'; or "
                "set required = false"
            )
        if not self.required and "refuse" in (self.on_missing, self.on_late):
            yield (
                "found 'refuse' for an optional stream, expected 'wait' or 'warn'; or set "
                "required = true"
            )

    @property
    def query(self) -> dict[str, str]:
        """What the stream is found by, in LSL's words."""
        stated = {word: getattr(self, attribute) for word, attribute in QUERY.items()}
        return {word: value for word, value in stated.items() if value}

    @property
    def query_text(self) -> str:
        """The query as people write it."""
        return " and ".join(f"{word}={value!r}" for word, value in self.query.items())

    @property
    def fresh_within_seconds(self) -> float | None:
        """How old the newest sample may be; None if any age is fine."""
        if self.freshness_seconds is not None:
            return self.freshness_seconds
        return DEFAULT_FRESHNESS_SECONDS if self.sfreq > 0 else None

    def fits(self, info: Any) -> bool:
        """Return whether a stream on the network is the one that is asked for."""
        return all(getattr(info, word)() == value for word, value in self.query.items())


@dataclass(frozen=True, kw_only=True)
class Rig:
    """The streams of a study and the place that they need.

    Parameters
    ----------
    name : str
        What the lab calls it.
    streams : sequence of RigStream
        At least one; keys and queries differ.
    planned_minutes : float, optional
        How long a session lasts, for the disk.
    min_free_gib : float, optional
        Free disk below which nothing is recorded.
    devices : sequence of Device
        Rows of the device table that are the lab's own.
    text : str
        The file's text, which a recording keeps.

    Raises
    ------
    CallError
        If two streams cannot be told apart, or a number is impossible.
    """

    name: str
    streams: Sequence[RigStream]
    planned_minutes: float | None = None
    min_free_gib: float | None = None
    devices: Sequence[Device] = ()
    text: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "streams", tuple(self.streams))
        object.__setattr__(self, "devices", tuple(self.devices))
        for problem in self._problems():
            raise CallError(problem)

    def _problems(self) -> Iterable[str]:
        if not self.streams:
            yield "found no stream, expected at least one section such as [streams.eeg]"
        for name in ("planned_minutes", "min_free_gib"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                yield f"found {name} = {value}, expected a number above 0"
        known = {row.key for row in (*DEVICES, *self.devices)} | {NO_DEVICE}
        for stream in self.streams:
            if stream.device and stream.device not in known:
                hint = nearest(stream.device, known) or f"; there are {', '.join(sorted(known))}"
                yield (
                    f"[streams.{stream.key}]: found device = {stream.device!r}, expected a row of "
                    f"the device table{hint}"
                )
        keys: set[str] = set()
        asked: dict[tuple[tuple[str, str], ...], str] = {}
        for stream in self.streams:
            if stream.key in keys:
                yield f"found two streams called {stream.key!r}, expected one section each"
            keys.add(stream.key)
            first = asked.setdefault(tuple(stream.query.items()), stream.key)
            if first != stream.key:
                yield (
                    f"[streams.{stream.key}]: found the same query as [streams.{first}] "
                    f"({stream.query_text}), expected them to differ; add source_id or hostname"
                )

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def attrs(self) -> dict[str, Any]:
        """Return what a recording keeps of its rig."""
        return {"rig_name": self.name, "rig": self.text, "rig_sha256": self.sha256}
