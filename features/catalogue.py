"""The table of feature families: one row each.

A new family is a module with a :class:`physioemo.features.family.Family` and a row here; the
contract tests take it up by themselves.
"""

from collections.abc import Mapping
from types import MappingProxyType

from physioemo.features.entropy_family import ENTROPY
from physioemo.features.family import Family

__all__ = ["FAMILIES"]

FAMILIES: Mapping[str, Family] = MappingProxyType({row.name: row for row in (ENTROPY,)})
"""Every family by its name."""
