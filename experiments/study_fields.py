"""Fields of a study's TOML: of the kind that is meant, or refused in one sentence."""

from collections.abc import Mapping
from typing import Any

from physioemo.errors import CallError
from physioemo.hints import unknown_name

__all__ = ["check_keys", "count", "flag", "names", "section", "typed"]


def section(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a section, empty if it is not there."""
    return typed(content, name, dict, {})


def flag(content: Mapping[str, Any], key: str) -> bool:
    """Return true or false, false if it is not there."""
    value = content.get(key, False)
    if not isinstance(value, bool):
        raise CallError(f"found {key} = {value!r}, expected true or false")
    return value


_LARGEST = 2**31 - 1  # seeds of folds follow the study's, and random states have 32 bits


def count(content: Mapping[str, Any], default: int, key: str = "n_permutations") -> int:
    """Return a whole number that is not negative."""
    found: int = typed(content, key, int, default)
    if not 0 <= found <= _LARGEST:
        raise CallError(f"found {key} = {found}, expected 0 or more, and at most {_LARGEST}")
    return found


def typed(content: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    """Return a field of a kind, or its default."""
    value = content.get(key, default)
    if not isinstance(value, kind) or isinstance(value, bool):
        names = {str: "text", int: "a whole number", list: "a list", dict: "a section"}
        wanted = "[[models]], one for each" if key == "models" else names[kind]
        raise CallError(f"found {key} = {value!r}, expected {wanted}")
    return value


def names(content: Mapping[str, Any], key: str, default: list[str]) -> tuple[str, ...]:
    """Return a list of names, at least one."""
    value = typed(content, key, list, default)
    if not value or not all(isinstance(v, str) and v for v in value):
        raise CallError(f"found {key} = {value!r}, expected a list of one name or more")
    return tuple(value)


def check_keys(content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Refuse a field that is not known, and name the nearest."""
    for key in content:
        if key not in known:
            raise unknown_name(f"the field of {where}", key, known)
