"""What a field of a protocol or a parameter of a policy may be; errors name field and place."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from physioemo.errors import CallError
from physioemo.hints import nearest
from physioemo.toml_values import finite_number, plain_text

__all__ = ["Field", "named_list", "number", "one_of", "read_fields", "switch", "text", "whole"]

_REQUIRED = object()


@dataclass(frozen=True)
class Field:
    """One field: how it is read and what it is unstated.

    Attributes
    ----------
    read : callable
        Returns the value, or None if it is wrong.
    expected : str
        What errors ask for.
    default : object
        The value where it is not stated; a field without it must be stated.
    choices : tuple of str
        The valid values, where they can be counted.
    """

    read: Callable[[Any], Any]
    expected: str
    default: Any = _REQUIRED
    choices: tuple[str, ...] = ()

    @property
    def is_required(self) -> bool:
        """Whether it must be stated."""
        return self.default is _REQUIRED


def text(example: str, default: Any = _REQUIRED) -> Field:
    """Return a field that is a text."""
    return Field(plain_text, f'a text such as "{example}"', default)


def number(low: float, high: float, default: Any = _REQUIRED) -> Field:
    """Return a field that is a number from `low` to `high`."""

    def read(value: Any) -> float | None:
        found = finite_number(value)
        return found if found is not None and low <= found <= high else None

    return Field(read, f"a number from {low:g} to {high:g}", default)


def whole(low: int, high: int, default: Any = _REQUIRED) -> Field:
    """Return a field that is a whole number from `low` to `high`."""

    def read(value: Any) -> int | None:
        return value if type(value) is int and low <= value <= high else None

    return Field(read, f"a whole number from {low} to {high}", default)


def switch(default: Any = _REQUIRED) -> Field:
    """Return a field that is true or false."""

    def read(value: Any) -> bool | None:
        return value if isinstance(value, bool) else None

    return Field(read, "true or false", default)


def one_of(*choices: str, default: Any = _REQUIRED) -> Field:
    """Return a field that is one of some words."""

    def read(value: Any) -> str | None:
        return value if isinstance(value, str) and value in choices else None

    return Field(read, f"one of {', '.join(choices)}", default, choices)


def named_list(what: str, *choices: str, default: Any = _REQUIRED) -> Field:
    """Return a field that is a text or a list of different texts, of `choices` if there are any."""

    def read(value: Any) -> tuple[str, ...] | None:
        many = value if isinstance(value, list | tuple) else [value]
        good = bool(many) and all(isinstance(v, str) and v.strip() for v in many)
        good = good and len(set(many)) == len(many) and (not choices or set(many) <= set(choices))
        return tuple(many) if good else None

    return Field(read, what, default, choices)


def _nowhere(name: str) -> str:
    return ""


def read_fields(
    table: Mapping[str, Any],
    fields: Mapping[str, Field],
    named: str,
    *,
    also: tuple[str, ...] = (),
    place: Callable[[str], str] = _nowhere,
) -> dict[str, Any]:
    """Return the value of every field, read from a table or as it is unstated.

    Parameters
    ----------
    table : mapping
        What was written.
    fields : mapping of str to Field
        What may be written.
    named : str
        What errors call the table, such as ``"[ratings]"``.
    also : tuple of str
        Fields that somebody else reads.
    place : callable
        Returns where a field (or, for an empty name, the table) is written.

    Raises
    ------
    CallError
        If a field is unknown, wrong or missing.
    """
    values = {name: field.default for name, field in fields.items() if not field.is_required}
    for name, value in table.items():
        if name in also:
            continue
        if name not in fields:
            known = (*fields, *also)
            hint = nearest(name, known) or f"; the fields are {', '.join(known)}"
            raise CallError(
                f"found the unknown field {name!r} in {named}{place(name)}, expected one that is "
                f"known{hint}"
            )
        if value is None and fields[name].default is None:
            continue  # unstated, as TOML has no word for it
        values[name] = fields[name].read(value)
        if values[name] is None:
            shown = json.dumps(value, default=str, ensure_ascii=False)
            raise CallError(
                f"found {name} = {shown} in {named}{place(name)}, expected "
                f"{fields[name].expected}{_near_choice(value, fields[name].choices)}"
            )
    for name, field in fields.items():
        if name not in values:
            raise CallError(f"found no {name!r} in {named}{place('')}, expected {field.expected}")
    return values


def _near_choice(value: Any, choices: tuple[str, ...]) -> str:
    for word in value if isinstance(value, list) else [value]:
        if isinstance(word, str) and word not in choices:
            return nearest(word, choices)
    return ""
