"""Rig contracts as TOML: read with errors that name file, line and section; write."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from physioemo.acquisition.rig import QUERY, Rig, RigStream, nearest
from physioemo.acquisition.rig_devices import device_tables, read_devices
from physioemo.errors import CallError, PhysioEmoError, StoreError, UnitError

__all__ = ["parse_rig", "read_rig", "to_toml", "write_rig"]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _switch(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _texts(value: Any) -> tuple[str, ...] | None:
    many = value if isinstance(value, list) else [value]
    return tuple(many) if many and all(map(_text, many)) else None


def _channels(value: Any) -> tuple[str, ...] | int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return _texts(value) if isinstance(value, list) else None


_A_TEXT = (_text, 'a text such as "EEG"')
_A_NUMBER = (_number, "a number such as 2.0")
_Reader = tuple[Callable[[Any], Any], str]

_RIG_FIELDS: dict[str, _Reader] = {
    "name": (_text, 'a text such as "booth 2"'),
    "planned_minutes": _A_NUMBER,
    "min_free_gib": _A_NUMBER,
}
_STREAM_FIELDS: dict[str, _Reader] = {
    **dict.fromkeys(QUERY, _A_TEXT),
    "sfreq": (_number, "a number of Hz such as 500 (0 = irregular)"),
    "channels": (_channels, 'a list of names such as ["Fp1", "Fp2"], or their number'),
    "units": (_texts, 'a text such as "uV", or a list of one per channel'),
    "sfreq_tolerance_percent": _A_NUMBER,
    "freshness_seconds": _A_NUMBER,
    "max_round_trip_ms": _A_NUMBER,
    "modality": (_text, 'a text such as "eeg"'),
    "montage": (_text, 'a text such as "biosemi32"'),
    "device": (_text, 'a text such as "muse-lsl", or "none"'),
    "required": (_switch, "true or false"),
    "on_missing": (_text, 'a text such as "wait"'),
    "on_late": (_text, 'a text such as "wait"'),
    "on_lost": (_text, 'a text such as "warn"'),
}
_DEVICE_FIELDS: dict[str, _Reader] = {
    **dict.fromkeys(("key", "name", "type", "source_id", "manufacturer"), _A_TEXT),
    **dict.fromkeys(("title", "source", "modality", "validity"), _A_TEXT),
    "labels": (_texts, "a list of patterns"),
    "ch_names": (_texts, 'a list of names such as ["Fp1", "Fp2"]'),
    "channels": (_number, "the number of channels"),
}
_CHANNEL_FIELDS: dict[str, _Reader] = {
    **dict.fromkeys(("label", "name", "unit", "type"), _A_TEXT),
    "wrong_units": (_texts, "a list of units"),
}
_ALWAYS = ("name", "sfreq", "channels", "required")
_HEADER = re.compile(r"\s*\[+\s*(.+?)\s*\]+\s*(#.*)?$")


def read_rig(path: str | Path) -> Rig:
    """Return the rig contract in a TOML file.

    Raises
    ------
    CallError
        If there is no such file, or it is no rig; the message names file, line and section.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        there = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        hint = nearest(path.name, there) or "; write one with 'physioemo rig from-network'"
        raise CallError(f"found no file {path}, expected a rig in TOML{hint}") from None
    except UnicodeDecodeError:
        raise CallError(f"found no UTF-8 text in {path}, expected a rig in TOML") from None
    except OSError as error:
        raise CallError(
            f"found that {path} cannot be read ({error.strerror}), expected a rig in TOML that "
            "this user may read"
        ) from None
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
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CallError(f"found no valid TOML in {where} ({error}); correct that line") from None
    page = _Page(text, where)
    streams = table.pop("streams", {})
    if not isinstance(streams, dict) or not all(isinstance(s, dict) for s in streams.values()):
        raise CallError(
            f"found 'streams' without sections in {where}, expected sections such as [streams.eeg]"
        )
    rows = table.pop("device", [])
    fields = page.fields(table, _RIG_FIELDS, "", required=("name",), also=("streams", "device"))
    try:
        fields["devices"] = read_devices(page.fields, rows, _DEVICE_FIELDS, _CHANNEL_FIELDS, where)
        return Rig(**fields, streams=[_stream(page, k, s) for k, s in streams.items()], text=text)
    except (CallError, UnitError) as error:
        message = str(error)
        raise CallError(message if where in message else f"{message} (in {where})") from None


def _stream(page: "_Page", key: str, table: dict[str, Any]) -> RigStream:
    section = f"streams.{key}"
    fields = page.fields(table, _STREAM_FIELDS, section, required=("sfreq",))
    for word, attribute in QUERY.items():
        if word in fields:
            fields[attribute] = fields.pop(word)
    if isinstance(fields.get("channels"), int):
        fields["n_channels"] = fields.pop("channels")
    try:
        return RigStream(key=key, **fields)
    except UnitError as error:
        raise CallError(f"[{section}]: {error}") from None


class _Page:
    """The text of a rig, for errors that name the place."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where

    def fields(
        self,
        table: Mapping[str, Any],
        readers: Mapping[str, _Reader],
        section: str,
        *,
        required: tuple[str, ...],
        also: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Return the fields of one section, each read by its reader."""
        named = f"[{section}]" if section else "the top section"
        fields = {}
        for name, value in table.items():
            at = self._place(section, name)
            if name not in readers:
                known = (*readers, *also)
                hint = nearest(name, known) or f"; the fields are {', '.join(known)}"
                raise CallError(
                    f"found the unknown field {name!r} in {named} {at}, expected a field of a rig"
                    f"{hint}"
                )
            read, expected = readers[name]
            fields[name] = read(value)
            if fields[name] is None:
                shown = json.dumps(value, default=str, ensure_ascii=False)
                raise CallError(f"found {name} = {shown} in {named} {at}, expected {expected}")
        for name in required:
            if name not in fields:
                raise CallError(
                    f"found no {name!r} in {named} {self._place(section)}, expected "
                    f"{readers[name][1]}"
                )
        return fields

    def _place(self, section: str, name: str = "") -> str:
        inside = not section
        for number, line in enumerate(self.text.splitlines(), 1):
            header = _HEADER.match(line)
            if header:
                inside = re.sub(r"[\s\"']", "", header[1]) == re.sub(r"[\s\"']", "", section)
                if inside and not name:
                    return f"(line {number} of {self.where})"
            elif inside and name and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*[=.]", line):
                return f"(line {number} of {self.where})"
        return f"(in {self.where})"


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
