"""What the user states where a stream or file does not say it: names, units, rates."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from physioemo.description import StreamDescription, text_units
from physioemo.device_row import Device
from physioemo.errors import CallError

__all__ = ["NO_DEVICE", "Overrides", "complete_description"]

NO_DEVICE = "none"
"""What a user states of a stream that is to be taken as it is."""


@dataclass(frozen=True)
class Overrides:
    """Stated facts by stream name; the name ``*`` means every stream that lacks them.

    Parameters
    ----------
    ch_names : dict of str to tuple of str
        Channel names.
    units : dict of str to tuple of str
        Units: one for all channels, or one per channel.
    sfreq : dict of str to float
        Sampling rates in Hz.
    device : dict of str to str
        Row of the device table to read a stream by; ``"none"`` takes it as it is.
    device_rows : tuple of Device
        Rows of the lab's own.
    """

    ch_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    units: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sfreq: dict[str, float] = field(default_factory=dict)
    device: dict[str, str] = field(default_factory=dict)
    device_rows: tuple[Device, ...] = ()

    @classmethod
    def parse(
        cls, ch_names: Iterable[str] = (), units: Iterable[str] = (), sfreq: Iterable[str] = ()
    ) -> "Overrides":
        """Return the overrides that options such as ``"EEG=Fp1,Fp2"`` state.

        Raises
        ------
        CallError
            If an option is not ``STREAM=VALUE`` or a rate is not a number.
        """
        rates = {k: _number(k, v) for k, v in map(_split, sfreq)}
        return cls(
            {k: tuple(v.split(",")) for k, v in map(_split, ch_names)},
            {k: tuple(v.split(",")) for k, v in map(_split, units)},
            rates,
        )

    def joined(self, other: "Overrides") -> "Overrides":
        """Return what both state; the other's word counts where they differ."""
        tables = ("ch_names", "units", "sfreq", "device")
        both = {table: {**getattr(self, table), **getattr(other, table)} for table in tables}
        rows = (*self.device_rows, *(r for r in other.device_rows if r not in self.device_rows))
        return Overrides(**both, device_rows=rows)


def _split(option: str) -> tuple[str, str]:
    name, equals, value = option.rpartition("=")
    if not equals or not name.strip() or not value.strip():
        raise CallError(
            f"found {option!r}, expected STREAM=VALUE such as 'EEG=uV'; use '*' as the STREAM "
            "for every stream that lacks it"
        )
    return name.strip(), value.strip()


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise CallError(
            f"found the rate {value!r} for {name!r}, expected a number of Hz"
        ) from error


def complete_description(fields: dict[str, Any], overrides: Overrides) -> StreamDescription:
    """Return a checked description from what a device or file says and the user states.

    A stated value for a stream's own name always counts; one for ``*`` fills what is missing.

    Parameters
    ----------
    fields : dict
        Arguments of :class:`~physioemo.description.StreamDescription`; ``ch_names`` and
        ``units`` may be empty or hold empty strings, and ``n_channels`` says how many there
        are.
    overrides : Overrides
        What the user states.

    Raises
    ------
    StreamDescriptionError
        If something is still missing.
    """
    fields = dict(fields)
    name, n_channels = fields["name"], fields.pop("n_channels")
    if fields["channel_format"] == "string":
        found = overrides.ch_names.get(name, tuple(fields["ch_names"]))
        ch_names = found if found and all(found) else _text_columns(n_channels)
        units = text_units(n_channels)
        return StreamDescription(**{**fields, "ch_names": ch_names, "units": units})
    ch_names = _stated(overrides.ch_names, name, tuple(fields["ch_names"]))
    units = _stated(overrides.units, name, tuple(fields["units"]))
    units = units * n_channels if len(units) == 1 else units
    sfreq = overrides.sfreq.get(name, fields["sfreq"]) or overrides.sfreq.get("*", 0.0)
    if ch_names and len(ch_names) != n_channels:
        raise CallError(
            f"found {len(ch_names)} channel names for the stream {name!r}, expected {n_channels}, "
            "one per channel"
        )
    return StreamDescription(**{**fields, "ch_names": ch_names, "units": units, "sfreq": sfreq})


def _stated(
    stated: dict[str, tuple[str, ...]], name: str, found: tuple[str, ...]
) -> tuple[str, ...]:
    if name in stated:
        return stated[name]
    complete = bool(found) and all(str(f).strip() for f in found)
    return found if complete else stated.get("*", found)


def _text_columns(n: int) -> tuple[str, ...]:
    return ("marker",) if n == 1 else tuple(f"marker-{i + 1}" for i in range(n))
