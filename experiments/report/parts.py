"""What a report is made of: sections of notes, tables, figures and listings, as plain data."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from physioemo.errors import PhysioEmoError

__all__ = [
    "PAGE_INCHES",
    "Block",
    "Figure",
    "Listing",
    "Note",
    "Section",
    "Table",
    "clock_text",
    "make_section",
    "number_text",
    "plural",
    "shorten",
    "unit_text",
]

NOTHING = "–"
PAGE_INCHES = 9.6
_NUMERIC = re.compile(r"[−\d][\d.,\s%−–±()/:e✓✗]*")
_RANGE = re.compile(r"[−\d][\d.]* to [−\d][\d.]*( \([^()]*\))?|[−\d][\d.]* \([−\d.]+ to [−\d.]+\)")


@dataclass(frozen=True)
class Note:
    """A sentence or a few; `tone` is ``plain``, ``warning``, ``good`` or ``missing``."""

    text: str
    tone: str = "plain"
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Table:
    """Rows of text under column titles; long ones can be folded away."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    stamp: str = ""
    kind: ClassVar[str] = "table"

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers only and are aligned to the right."""
        return tuple(_is_numeric(row[i] for row in self.rows) for i in range(len(self.columns)))

    @staticmethod
    def is_range(cell: str) -> bool:
        """Return whether a cell is an interval, which is not broken over lines."""
        return _RANGE.fullmatch(cell) is not None


@dataclass(frozen=True)
class Figure:
    """An image as a data URI, with what it shows in words."""

    source: str
    caption: str
    alt: str
    width_inches: float = PAGE_INCHES
    stamp: str = ""
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Listing:
    """Text to be kept as it is, folded away."""

    caption: str
    text: str
    kind: ClassVar[str] = "listing"


Block = Note | Table | Figure | Listing


@dataclass(frozen=True)
class Section:
    """A titled part of the report; `level` 2 opens a chapter, 3 is a part of one."""

    title: str
    blocks: tuple[Block, ...] = ()
    anchor: str = ""
    level: int = 3


def make_section(title: str, anchor: str, make: Callable[[], Sequence[Block]]) -> Section:
    """Return the section, or one that says in a sentence why it cannot be made."""
    try:
        blocks = tuple(make())
    except PhysioEmoError as error:
        blocks = (Note(f"Not shown: {str(error).rstrip('.')}.", "missing"),)
    return Section(title, blocks, anchor)


def _is_numeric(cells: Iterable[str]) -> bool:
    return all(cell == NOTHING or _NUMERIC.fullmatch(cell) for cell in cells)


def number_text(value: Any, digits: int = 2) -> str:
    """Return a number with a fixed number of decimals; a dash for what is not a number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return NOTHING
    return f"{value:,.{digits}f}".replace("-", "−").replace(",", " ")


def clock_text(seconds: float) -> str:
    """Return a time as ``min:s`` (or ``h:min:s``), with tenths below ten minutes."""
    if not math.isfinite(seconds):
        return NOTHING
    tenths = round(abs(seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    sign = "−" if seconds < 0 and tenths else ""
    if minutes < 10:
        return f"{sign}{minutes}:{rest / 10:04.1f}"
    hours, minutes = divmod(minutes, 60)
    return (
        f"{sign}{hours}:{minutes:02d}:{rest // 10:02d}"
        if hours
        else (f"{sign}{minutes}:{rest // 10:02d}")
    )


def plural(count: int, noun: str) -> str:
    """Return ``"1 trial"`` or ``"2 trials"``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def unit_text(unit: str) -> str:
    """Return a unit as people write it: µV for uV."""
    return "µ" + unit[1:] if unit in {"uV", "uS", "us"} else unit


def shorten(text: str, length: int = 28) -> str:
    """Return a text cut to a length that fits beside an axis."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"
