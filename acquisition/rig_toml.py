"""Rig contracts as TOML: read with errors that name file, line and section; write."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

from physioemo.acquisition.rig import QUERY, Rig, RigStream
from physioemo.acquisition.rig_devices import Fields, device_tables, read_devices
from physioemo.errors import CallError, PhysioEmoError, StoreError, UnitError
from physioemo.toml_lines import TomlLines
from physioemo.toml_sections import Readers, read_section, toml_table, toml_text
from physioemo.toml_values import plain_text

__all__ = ["parse_rig", "read_rig", "to_toml", "write_rig"]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _switch(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _texts(value: Any) -> tuple[str, ...] | None:
    many = value if isinstance(value, list) else [value]
    return tuple(many) if many and all(map(plain_text, many)) else None


def _channels(value: Any) -> tuple[str, ...] | int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return _texts(value) if isinstance(value, list) else None


_A_TEXT = (plain_text, 'a text such as "EEG"')
_A_NUMBER = (_number, "a number such as 2.0")

_RIG_FIELDS: Readers = {
    "name": (plain_text, 'a text such as "booth 2"'),
    "planned_minutes": _A_NUMBER,
    "min_free_gib": _A_NUMBER,
}
_STREAM_FIELDS: Readers = {
    **dict.fromkeys(QUERY, _A_TEXT),
    "sfreq": (_number, "a number of Hz such as 500 (0 = irregular)"),
    "channels": (_channels, 'a list of names such as ["Fp1", "Fp2"], or their number'),
    "units": (_texts, 'a text such as "uV", or a list of one per channel'),
    "sfreq_tolerance_percent": _A_NUMBER,
    "freshness_seconds": _A_NUMBER,
    "max_round_trip_ms": _A_NUMBER,
    "modality": (plain_text, 'a text such as "eeg"'),
    "montage": (plain_text, 'a text such as "biosemi32"'),
    "device": (plain_text, 'a text such as "muse-lsl", or "none"'),
    "required": (_switch, "true or false"),
    "on_missing": (plain_text, 'a text such as "wait"'),
    "on_late": (plain_text, 'a text such as "wait"'),
    "on_lost": (plain_text, 'a text such as "warn"'),
}
_DEVICE_FIELDS: Readers = {
    **dict.fromkeys(("key", "name", "type", "source_id", "manufacturer"), _A_TEXT),
    **dict.fromkeys(("title", "source", "modality", "validity"), _A_TEXT),
    "labels": (_texts, "a list of patterns"),
    "ch_names": (_texts, 'a list of names such as ["Fp1", "Fp2"]'),
    "channels": (_number, "the number of channels"),
}
_CHANNEL_FIELDS: Readers = {
    **dict.fromkeys(("label", "name", "unit", "type"), _A_TEXT),
    "wrong_units": (_texts, "a list of units"),
}
_ALWAYS = ("name", "sfreq", "channels", "required")


def read_rig(path: str | Path) -> Rig:
    """Return the rig contract in a TOML file.

    Raises
    ------
    CallError
        If there is no such file, or it is no rig; the message names file, line and section.
    """
    path = Path(path)
    hint = "; write one with 'physioemo rig from-network'"
    text = toml_text(path, "a rig in TOML", otherwise=hint)
    return parse_rig(text, where=str(path))


def parse_rig(text: str, *, where: str = "the rig") -> Rig:
    """Return the rig contract that a TOML text states.

    Parameters
    ----------
    text : str
        TOML; see ``docs/rig.md``.
    where : str
        What errors call it.

    Raises
    ------
    CallError
        If it is no TOML, or a field is unknown, missing, of the wrong type or impossible.
    """
    table = toml_table(text, where)
    fields = partial(read_section, lines=TomlLines(text, where), of="a rig")
    streams = table.pop("streams", {})
    if not isinstance(streams, dict) or not all(isinstance(s, dict) for s in streams.values()):
        raise CallError(
            f"found 'streams' without sections in {where}, expected sections such as [streams.eeg]"
        )
    rows = table.pop("device", [])
    top = fields(table, _RIG_FIELDS, "", required=("name",), also=("streams", "device"))
    try:
        top["devices"] = read_devices(fields, rows, _DEVICE_FIELDS, _CHANNEL_FIELDS, where)
        return Rig(**top, streams=[_stream(fields, k, s) for k, s in streams.items()], text=text)
    except (CallError, UnitError) as error:
        message = str(error)
        raise CallError(message if where in message else f"{message} (in {where})") from None


def _stream(fields: Fields, key: str, table: dict[str, Any]) -> RigStream:
    section = f"streams.{key}"
    stated = fields(table, _STREAM_FIELDS, section, required=("sfreq",))
    for word, attribute in QUERY.items():
        if word in stated:
            stated[attribute] = stated.pop(word)
    if isinstance(stated.get("channels"), int):
        stated["n_channels"] = stated.pop("channels")
    try:
        return RigStream(key=key, **stated)
    except UnitError as error:
        raise CallError(f"[{section}]: {error}") from None


def to_toml(rig: Rig) -> str:
    """Return a rig as TOML that :func:`parse_rig` reads back as the same rig.

    Fields that hold what they would hold unstated are left out.
    """
    lines = [f"name = {_value(rig.name)}"]
    for name in ("planned_minutes", "min_free_gib"):
        if getattr(rig, name) is not None:
            lines.append(f"{name} = {_value(getattr(rig, name))}")
    for stream in rig.streams:
        lines += ["", f"[streams.{_key(stream.key)}]", *_stream_lines(stream)]
    for header, fields in device_tables(tuple(rig.devices)):
        lines += ["", header, *(f"{name} = {_value(value)}" for name, value in fields.items())]
    return "\n".join(lines) + "\n"


def _stream_lines(stream: RigStream) -> list[str]:
    plain = RigStream(key="plain", sfreq=0.0, name="plain", required=stream.required)
    lines = []
    for name in _STREAM_FIELDS:
        attribute = QUERY.get(name, name)
        value = getattr(stream, attribute)
        if name not in _ALWAYS and value == getattr(plain, attribute):
            continue
        if name == "channels":
            value = list(stream.channels) or stream.n_channels
        elif name == "units":
            value = value[0] if len(set(value)) == 1 else list(value)
        if value not in ("", None):
            lines.append(f"{name} = {_value(value)}")
    return lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{int(value)}" if value.is_integer() else repr(value)
    # JSON's texts, lists and switches are TOML's as well, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_rig(rig: Rig, path: str | Path, *, overwrite: bool = False, header: str = "") -> None:
    """Write a rig as TOML.

    Parameters
    ----------
    rig : Rig
        What to write.
    path : str or Path
        The file.
    overwrite : bool
        Replace a file that is already there.
    header : str
        Comment lines to put above, each beginning with ``#``.

    Raises
    ------
    CallError
        If a file is there already.
    StoreError
        If it cannot be written.
    """
    path = Path(path)
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(header + to_toml(rig))
    except FileExistsError:
        raise CallError(
            f"found that {path} exists, expected a new file; choose another name or pass "
            "--overwrite"
        ) from None
    except PhysioEmoError:
        raise
    except OSError as error:
        raise StoreError(
            f"found that {path} cannot be written ({error.strerror}), expected a writable place"
        ) from None
