"""Declarations in TOML: read section by section; errors name file, line and what was meant."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from physioemo.errors import CallError
from physioemo.hints import nearest
from physioemo.toml_lines import TomlLines

__all__ = ["Readers", "read_section", "toml_table", "toml_text"]

Readers = Mapping[str, tuple[Callable[[Any], Any], str]]
"""By field: what returns its value, or None if it is wrong; and what errors ask for."""

# pattern of a line that is no TOML -> what is mostly meant
_MISTAKES = (
    (r"=\s*(#|$)", "a value behind ="),
    (r"=\s*(True|False)\b", "true or false in small letters"),
    (r"=\s*[-+]?\d+,\d", "a point in the number, such as 0.5"),
    (r"=\s*[-+]?[\d.]+\s*[^\W\d]", "a number without its unit"),
    (r"[\"']\s+[\"']", "a comma between the values of a list"),
    (r"=\s*[^\W\d]", "a text in quotes"),
)


def toml_text(path: Path, expected: str, *, named: Iterable[str] = (), otherwise: str = "") -> str:
    """Return the text of a file that a user wrote.

    Parameters
    ----------
    path : Path
        The file.
    expected : str
        What errors ask for, such as ``"a rig in TOML"``.
    named : iterable of str
        What could have been meant besides the files beside it.
    otherwise : str
        What an error says if nothing near is there.

    Raises
    ------
    CallError
        If there is no such file, or it cannot be read as text.
    """
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        there = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        hint = nearest(path.name, [*there, *named]) or otherwise
        raise CallError(f"found no file {path}, expected {expected}{hint}") from None
    except UnicodeDecodeError:
        raise CallError(f"found no UTF-8 text in {path}, expected {expected}") from None
    except OSError as error:
        raise CallError(
            f"found that {path} cannot be read ({error.strerror}), expected {expected}"
        ) from None


def toml_table(text: str, where: str) -> dict[str, Any]:
    """Return what a TOML text states.

    Raises
    ------
    CallError
        If it is no TOML; the message calls it `where`.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CallError(
            f"found no valid TOML in {where} ({error}){_hint(text, str(error))}; correct that line"
        ) from None


def _hint(text: str, said: str) -> str:
    """Return the line that an error is about, and what is mostly wrong with such a line."""
    found = re.search(r"at line (\d+)", said)
    lines = text.splitlines()
    if found is None or not 1 <= int(found[1]) <= len(lines):
        return ""
    line = lines[int(found[1]) - 1].partition(" #")[0].strip()
    expected = next((why for pattern, why in _MISTAKES if re.search(pattern, line)), "")
    if "Cannot declare" in said and line.startswith("["):
        expected = "a section once, or each of several in double brackets, such as [[item]]"
    return f": {line!r}" + (f", expected {expected}" if expected else "")


def read_section(
    table: Any,
    readers: Readers,
    section: str,
    *,
    lines: TomlLines,
    of: str,
    number: int = 1,
    required: Iterable[str] = (),
    also: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the fields of one section, each read by its reader.

    Parameters
    ----------
    table : dict
        The section as TOML has it.
    readers : mapping
        Of the fields that may be there.
    section : str
        Its name; empty for the top one.
    lines : TomlLines
        Where it is written.
    of : str
        What it is a section of, such as ``"a rig"``.
    number : int
        Which section of that name, from 1.
    required, also : iterable of str
        Fields that must be there, and names that errors list besides.

    Raises
    ------
    CallError
        If a field is unknown, missing or wrong.
    """
    named = f"[{section}]" if section else "the top section"
    if not isinstance(table, dict):
        place = lines.place(section, number=number)
        raise CallError(f"found {section} = {table!r}{place}, expected {named}")
    fields = {}
    for name, value in table.items():
        at = f"{named}{lines.place(section, name, number)}"
        if name not in readers:
            known = (*readers, *also)
            hint = nearest(name, known) or f"; the fields are {', '.join(known)}"
            raise CallError(
                f"found the unknown field {name!r} in {at}, expected a field of {of}{hint}"
            )
        read, expected = readers[name]
        fields[name] = read(value)
        if fields[name] is None:
            shown = json.dumps(value, default=str, ensure_ascii=False)
            raise CallError(f"found {name} = {shown} in {at}, expected {expected}")
    for name in required:
        if name not in fields:
            raise CallError(
                f"found no {name!r} in {named}{lines.place(section, number=number)}, expected "
                f"{readers[name][1]}"
            )
    return fields
