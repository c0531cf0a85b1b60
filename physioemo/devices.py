"""Streams of known devices, brought to one set of names, units and types.

What a stream lacks is filled in from :data:`physioemo.device_table.DEVICES`; what the user states
always counts more. Every change is a sentence, which goes into the recording with the stream.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from physioemo.device_row import ChannelRule, Device, channel_eyes
from physioemo.device_table import DEVICES
from physioemo.errors import CallError, UnitError
from physioemo.overrides import NO_DEVICE, Overrides
from physioemo.units import canonical_unit

__all__ = ["adapt_description", "find_device"]


def find_device(
    fields: Mapping[str, Any], *, key: str = "", rows: Sequence[Device] = ()
) -> Device | None:
    """Return the row of the device table that a stream fits, or None.

    Parameters
    ----------
    fields : mapping
        What the stream says of itself; see :func:`physioemo.overrides.complete_description`.
    key : str
        The row to take whatever the stream says; ``"none"`` takes none.
    rows : sequence of Device
        Rows of the lab's own, which come before the table's.

    Raises
    ------
    CallError
        If there is no row of this key.
    """
    if key == NO_DEVICE:
        return None
    if key:
        return _row(key, rows)
    for table in (rows, DEVICES):
        fitting = [row for row in table if row.fits(fields)]
        if fitting:
            # Two rows that fit mean that neither is exact.
            return fitting[0] if len(fitting) == 1 else None
    return None


def _row(key: str, rows: Sequence[Device]) -> Device:
    table = {row.key: row for row in (*DEVICES, *rows)}
    if key in table:
        return table[key]
    near = difflib.get_close_matches(key, table, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(table)}"
    raise CallError(f"found the device {key!r}, expected a row of the device table{hint}")


def adapt_description(
    fields: Mapping[str, Any], overrides: Overrides | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what a stream says of itself with its device's names, units and types.

    Parameters
    ----------
    fields : mapping
        Arguments of :func:`physioemo.overrides.complete_description`; unchanged if the stream is
        of no known device.
    overrides : Overrides, optional
        What the user states: names and units that are stated for this stream are left alone.

    Returns
    -------
    fields : dict
        The adapted fields; ``device`` is the row's key and ``adapted`` joins the notes.
    notes : tuple of str
        One sentence for everything that was changed.
    """
    overrides = overrides or Overrides()
    fields = dict(fields)
    key = overrides.device.get(fields["name"], "")
    device = find_device(fields, key=key, rows=overrides.device_rows)
    if device is None or fields["channel_format"] == "string":
        return fields, ()
    n = fields["n_channels"]
    labels = _labels(fields, device)
    eyes = channel_eyes(fields.get("xml", ""), n)
    rules = [_rule(device, label, eye) for label, eye in zip(labels, eyes, strict=False)]
    notes = []
    if not _states(overrides.ch_names, fields["name"], fields["ch_names"]):
        names = _names(labels, eyes, rules)
        notes += _names_note(tuple(fields["ch_names"]), names)
        fields["ch_names"] = names
    if not _states(overrides.units, fields["name"], fields["units"]):
        units, unit_notes = _units(tuple(fields["units"]), rules, labels, n)
        notes += unit_notes
        fields["units"] = units
    notes += _types(fields, device, rules, labels)
    if device.validity:
        notes.append(f"validity: {device.validity}")
    fields["device"] = device.key
    fields["adapted"] = "; ".join((f"read as {device.title}", *notes))
    return fields, (f"read as {device.title}", *notes)


def _states(stated: Mapping[str, tuple[str, ...]], name: str, found: Sequence[str]) -> bool:
    """Return whether the user states something that complete_description would take."""
    complete = bool(found) and all(str(f).strip() for f in found)
    return name in stated or ("*" in stated and not complete)


def _labels(fields: Mapping[str, Any], device: Device) -> tuple[str, ...]:
    labels = tuple(fields["ch_names"])
    n = fields["n_channels"]
    if any(labels):
        return labels + ("",) * (n - len(labels))
    if len(device.ch_names) == n:
        return tuple(c.format(stype=fields["stype"]) for c in device.ch_names)
    return ("",) * n


def _rule(device: Device, label: str, eye: str) -> ChannelRule | None:
    return next((r for r in device.channels if r.name_of(label, eye) is not None), None)


def _names(
    labels: Sequence[str], eyes: Sequence[str], rules: Sequence[ChannelRule | None]
) -> tuple[str, ...]:
    names = [
        label if rule is None else rule.name_of(label, eye) or label
        for label, eye, rule in zip(labels, eyes, rules, strict=True)
    ]
    # A header that the row does not foresee must not lose a channel to a name twice given.
    return tuple(names if len(set(names)) == len(names) or not any(names) else labels)


def _names_note(before: tuple[str, ...], after: tuple[str, ...]) -> list[str]:
    if not any(before) and any(after):
        return [f"names filled in: {', '.join(after)}"]
    pairs = [f"{a} -> {b}" for a, b in zip(before, after, strict=False) if a != b]
    return [f"renamed {', '.join(pairs)}"] if pairs else []


def _units(
    before: tuple[str, ...],
    rules: Sequence[ChannelRule | None],
    labels: Sequence[str],
    n_channels: int,
) -> tuple[tuple[str, ...], list[str]]:
    units = list(before) if len(before) == n_channels else [""] * n_channels
    filled: dict[str, list[str]] = {}
    replaced: list[str] = []
    for i, rule in enumerate(rules):
        if rule is None or not rule.unit:
            continue
        if not _says_unit(units[i]) and units[i] not in rule.wrong_units:
            filled.setdefault(rule.unit, []).append(labels[i] or str(i + 1))
        elif units[i] in rule.wrong_units:
            replaced.append(f"{labels[i]} from {units[i]} to {rule.unit}")
        else:
            continue
        units[i] = rule.unit
    notes = [f"unit {unit} filled in for {', '.join(who)}" for unit, who in filled.items()]
    if replaced:
        notes.append(f"unit corrected: {', '.join(replaced)}")
    return (tuple(units) if any(units) else before), notes


def _says_unit(unit: str) -> bool:
    try:
        return bool(canonical_unit(unit))
    except UnitError:
        return False


def _types(
    fields: dict[str, Any],
    device: Device,
    rules: Sequence[ChannelRule | None],
    labels: Sequence[str],
) -> list[str]:
    """Set modality and channel types; return what a reader of the channels should know."""
    n = fields["n_channels"]
    found = tuple(fields["ch_types"]) if len(fields["ch_types"]) == n else ("",) * n
    types = [
        rule.ch_type if rule is not None and rule.ch_type else old
        for rule, old in zip(rules, found, strict=True)
    ]
    if device.modality:
        fields["modality"] = device.modality
    fields["ch_types"] = tuple(types)
    told: dict[str, list[str]] = {}
    for label, old, new in zip(labels, found, types, strict=True):
        if new != old and re.sub(r"\W", "", old).casefold() != new:
            told.setdefault(new, []).append(label or "every channel")
    return [f"type {t}: {', '.join(dict.fromkeys(who))}" for t, who in told.items()]
