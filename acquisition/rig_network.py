"""A rig and the network: which streams are there, which one is meant, what is stated of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from physioemo.acquisition.rig import Rig, RigStream
from physioemo.device_row import Device
from physioemo.devices import adapt_description
from physioemo.errors import CallError, UnitError
from physioemo.hints import nearest
from physioemo.modality import stream_modality
from physioemo.overrides import Overrides
from physioemo.units import canonical_unit

__all__ = [
    "RigMatch",
    "adapted_fields",
    "description_problems",
    "find_rig",
    "is_complete",
    "match_rig",
    "rig_overrides",
    "says_units",
]

LOOK_SECONDS = 1.0
"""One look at the network; liblsl asks three times in it."""


@dataclass(frozen=True)
class RigMatch:
    """The streams on the network that fit one stream of a rig.

    Parameters
    ----------
    stream : RigStream
        What is asked for.
    infos : tuple of pylsl.StreamInfo
        What fits: one, if all is well.
    problem : str
        One sentence if it is not exactly one.
    """

    stream: RigStream
    infos: tuple[Any, ...]
    problem: str = ""


def find_rig(
    rig: Rig,
    *,
    wait_seconds: float = 0.0,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[RigMatch]:
    """Look for a rig's streams until all are there or the time is over.

    Parameters
    ----------
    rig : Rig
        What to look for.
    wait_seconds : float
        How long to go on looking; it is looked at least twice.
    should_stop : callable
        Asked after every look.
    """
    import pylsl

    end, looks = time.monotonic() + wait_seconds, 0
    while True:
        matches = match_rig(rig, pylsl.resolve_streams(LOOK_SECONDS))
        looks += 1
        over = looks > 1 and time.monotonic() >= end
        if over or should_stop() or all(m.infos for m in matches):
            return matches


def match_rig(rig: Rig, infos: Sequence[Any]) -> list[RigMatch]:
    """Return which of the streams on the network fit each stream of a rig.

    Parameters
    ----------
    rig : Rig
        What is asked for.
    infos : sequence of pylsl.StreamInfo
        What is there.
    """
    by_uid = {info.uid(): info for info in infos}
    there = sorted(by_uid.values(), key=lambda i: (i.name(), i.source_id(), i.uid()))
    claimed: dict[str, str] = {}
    matches = []
    for stream in rig.streams:
        fitting = tuple(info for info in there if stream.fits(info))
        problem = _count_problem(stream, fitting, there)
        if len(fitting) == 1:
            first = claimed.setdefault(fitting[0].uid(), stream.key)
            if first != stream.key:
                problem = (
                    f"found the stream {fitting[0].name()!r}, which [streams.{first}] asks for as "
                    "well, expected another; state its source_id in the rig"
                )
        matches.append(RigMatch(stream, fitting, problem))
    return matches


def _count_problem(stream: RigStream, fitting: Sequence[Any], there: Sequence[Any]) -> str:
    if len(fitting) == 1:
        return ""
    if fitting:
        each = "; ".join(f"source_id {i.source_id()!r} on {i.hostname()!r}" for i in fitting)
        return (
            f"found {len(fitting)} streams that fit {stream.query_text} ({each}), expected one; "
            f"state source_id or hostname in [streams.{stream.key}], or close the others"
        )
    names = ", ".join(dict.fromkeys(i.name() for i in there)) or "no stream at all"
    return (
        f"found no stream that fits {stream.query_text} on the network ({names}), expected one"
        f"{_nearest_query(stream, there) or '; start its program'}"
    )


def _nearest_query(stream: RigStream, there: Sequence[Any]) -> str:
    """Name the field that is spelled otherwise on the network, if one nearly fits."""
    for word, value in stream.query.items():
        others = {str(getattr(info, word)()) for info in there} - {value, ""}
        hint = nearest(value, others)
        if hint:
            return hint.replace("did you mean", f"did you mean {word} =")
    return ""


def description_problems(stream: RigStream, fields: Mapping[str, Any]) -> list[str]:
    """Return one sentence for everything that a stream says otherwise than its rig.

    Parameters
    ----------
    stream : RigStream
        What is asked for.
    fields : mapping
        :func:`physioemo.acquisition.lsl.raw_fields` of the stream.
    """
    problems = []
    n, names = fields["n_channels"], fields["ch_names"]
    if stream.n_channels is not None and n != stream.n_channels:
        problems.append(f"found {n} channels, expected {stream.n_channels}")
    elif stream.channels and is_complete(names) and tuple(names) != stream.channels:
        problems.append(_names_problem(names, stream.channels))
    sfreq = fields["sfreq"]
    if sfreq and abs(sfreq - stream.sfreq) > 1e-6 * sfreq:
        expected = f"{stream.sfreq:g} Hz" if stream.sfreq else "an irregular stream (0 Hz)"
        problems.append(
            f"found a nominal rate of {sfreq:g} Hz, expected {expected}; set the device's rate, "
            "or the rig's sfreq"
        )
    if stream.units and says_units(fields["units"]):
        found = [canonical_unit(u) for u in fields["units"]]
        wanted = stream.units * n if len(stream.units) == 1 else stream.units
        pairs = [(f, w) for f, w in zip(found, wanted, strict=False) if f != w]
        if pairs:
            problems.append(f"found the unit {pairs[0][0]!r}, expected {pairs[0][1]!r}")
    modality = fields.get("modality") or stream_modality(fields["stype"])
    if stream.modality and modality not in (stream.modality, "other"):
        problems.append(
            f"found the type {fields['stype']!r} ({modality}), expected {stream.modality}"
        )
    return problems


def is_complete(values: Sequence[str]) -> bool:
    """Return whether a stream says something of every channel."""
    return bool(values) and all(v.strip() for v in values)


def says_units(units: Sequence[str]) -> bool:
    """Return whether a stream says a unit of every channel; "unknown" says nothing."""
    try:
        return bool(units) and all(canonical_unit(u) for u in units)
    except UnitError:
        return False


def _names_problem(found: Sequence[str], wanted: Sequence[str]) -> str:
    if set(found) == set(wanted):
        return "found the channels in another order, expected the rig's order"
    number, (one, other) = next(
        (i, pair) for i, pair in enumerate(zip(found, wanted, strict=True), 1) if pair[0] != pair[1]
    )
    return f"found {one!r} as channel {number}, expected {other!r}"


def rig_overrides(found: Mapping[str, Mapping[str, Any]], rig: Rig) -> Overrides:
    """Return what a rig states that its streams do not say themselves.

    Parameters
    ----------
    found : mapping of str to dict
        ``raw_fields`` of each stream that is there, by the rig's key.
    rig : Rig
        What is stated.

    Raises
    ------
    CallError
        If two streams of one name would need different statements.
    """
    tables: dict[str, dict[str, Any]] = {t: {} for t in ("ch_names", "units", "sfreq", "device")}
    for stream in rig.streams:
        fields = found.get(stream.key)
        if fields is None:
            continue
        for table, value in _lacking(stream, fields, rig.devices).items():
            name = fields["name"]
            if tables[table].setdefault(name, value) != value:
                raise CallError(
                    f"found two streams named {name!r} for which the rig states different {table}, "
                    "expected one statement per name; rename one of them in its program"
                )
    return Overrides(**tables, device_rows=tuple(rig.devices))


def adapted_fields(fields: Mapping[str, Any], stream: RigStream, rig: Rig) -> dict[str, Any]:
    """Return what a stream says, read by the device table as far as the rig states nothing.

    Parameters
    ----------
    fields : mapping
        :func:`physioemo.acquisition.lsl.raw_fields` of the stream.
    stream : RigStream
        What is asked for.
    rig : Rig
        The contract.
    """
    alone = replace(rig, streams=(stream,))
    return adapt_description(fields, rig_overrides({stream.key: fields}, alone))[0]


def _lacking(
    stream: RigStream, fields: Mapping[str, Any], rows: Sequence[Device]
) -> dict[str, Any]:
    stated: dict[str, Any] = {}
    if stream.device:
        stated["device"] = stream.device
    if stream.channels and not is_complete(fields["ch_names"]):
        stated["ch_names"] = stream.channels
    elif stream.channels and stream.channels == tuple(fields["ch_names"]):
        overrides = Overrides(device={fields["name"]: stream.device}, device_rows=tuple(rows))
        if adapt_description(fields, overrides)[0]["ch_names"] != stream.channels:
            # The rig asks for the vendor's own names.
            stated["ch_names"] = stream.channels
    if stream.units and not says_units(fields["units"]):
        stated["units"] = stream.units
    if stream.sfreq and not fields["sfreq"]:
        stated["sfreq"] = stream.sfreq
    return stated
