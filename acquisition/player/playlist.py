"""Playlists: a TOML file of what is shown when, checked as a whole before anything starts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physioemo.acquisition.player.continuous import (
    AXES,
    DEVICES,
    LEAST_HZ,
    MOST_HZ,
    ContinuousRating,
)
from physioemo.acquisition.player.item import (
    STIMULUS_KINDS,
    Item,
    ItemFieldError,
    make_item,
)
from physioemo.acquisition.player.marks import CORNERS
from physioemo.acquisition.player.stimulus_file import StimulusFile, open_stimulus
from physioemo.errors import CallError, DataError
from physioemo.toml_lines import TomlLines
from physioemo.toml_sections import Readers, read_section, toml_table, toml_text
from physioemo.toml_values import finite_number, plain_text

__all__ = ["UNMEASURED", "DisplaySettings", "Playlist", "parse_playlist", "read_playlist"]

UNMEASURED = "unmeasured"
"""What a calibration is called that nobody has made."""


@dataclass(frozen=True)
class DisplaySettings:
    """The window and what is known of the screen.

    Attributes
    ----------
    mode : {"fullscreen", "window"}
        A full screen has the desktop's size.
    size : (int, int)
        Of a window, in pixels.
    monitor : int
        On which monitor a full screen is, from 0.
    background : str
        Colour as ``"#808080"``.
    refresh_hz, latency_seconds : float or None
        Measured refresh rate, and measured time from a flip to light; None if unmeasured.
    sound_latency_seconds : float or None
        Measured time from the sound clock to what is heard; None if unmeasured.
    photodiode : str
        ``"off"``, or the corner of the patch.
    barcode : bool
        Whether each frame carries its number.
    sound : bool
        Whether sound is played; without, the computer's clock leads.
    """

    mode: str = "fullscreen"
    size: tuple[int, int] = (1280, 720)
    monitor: int = 0
    background: str = "#000000"
    refresh_hz: float | None = None
    latency_seconds: float | None = None
    sound_latency_seconds: float | None = None
    photodiode: str = "off"
    barcode: bool = False
    sound: bool = True


@dataclass(frozen=True)
class Playlist:
    """What is shown, in order.

    Attributes
    ----------
    title : str
        What the session is called.
    display : DisplaySettings
        The window.
    items : tuple of Item
        In order; numbered from 1.
    files : tuple of StimulusFile or None
        What the file of each item is.
    continuous : ContinuousRating or None
        What is rated while stimuli are shown; None if nothing is.
    """

    title: str = ""
    display: DisplaySettings = field(default_factory=DisplaySettings)
    items: tuple[Item, ...] = ()
    files: tuple[StimulusFile | None, ...] = ()
    continuous: ContinuousRating | None = None


def _switch(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _mode(value: Any) -> str | None:
    return value if value in ("fullscreen", "window") else None


def _size(value: Any) -> tuple[int, int] | None:
    good = isinstance(value, list) and len(value) == 2
    good = good and all(type(v) is int and 160 <= v <= 16384 for v in value)
    return (value[0], value[1]) if good else None


def _colour(value: Any) -> str | None:
    good = isinstance(value, str) and re.fullmatch("#[0-9A-Fa-f]{6}", value)
    return value if good else None


def _monitor(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 16 else None


def _corner(value: Any) -> str | None:
    return value if value in ("off", *CORNERS) else None


def _measured(value: Any) -> float | str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    good = value == UNMEASURED or (is_number and 0 <= value < 1000)
    return value if good else None


def _rate(value: Any) -> float | None:
    number = finite_number(value)
    return number if number is not None and LEAST_HZ <= number <= MOST_HZ else None


def _device(value: Any) -> str | None:
    return value if value in DEVICES else None


def _axis(value: Any) -> str | None:
    return value if value in AXES else None


def _dimensions(value: Any) -> tuple[str, ...] | None:
    good = isinstance(value, list) and len(value) in (1, 2)
    good = good and all(plain_text(v) for v in value) and len(set(value)) == len(value)
    return tuple(value) if good else None


_TOP = {"title": (plain_text, 'a text such as "Affect study A"')}
_MEASURED = (_measured, f'what was measured, or "{UNMEASURED}"')
_DISPLAY: Readers = {
    "mode": (_mode, '"fullscreen" or "window"'),
    "size": (_size, "width and height in pixels such as [1280, 720]"),
    "monitor": (_monitor, "the number of a monitor, from 0"),
    "background": (_colour, 'a colour such as "#808080"'),
    "refresh_hz": _MEASURED,
    "latency_seconds": _MEASURED,
    "sound_latency_seconds": _MEASURED,
    "photodiode": (_corner, f'"off" or one of {", ".join(CORNERS)}'),
    "barcode": (_switch, "true or false"),
    "sound": (_switch, "true or false"),
}
_CONTINUOUS: Readers = {
    "dimensions": (_dimensions, 'one or two names such as ["valence", "arousal"]'),
    "device": (_device, f"one of {', '.join(DEVICES)}"),
    "axis": (_axis, f"one of {', '.join(AXES)}"),
    "minimum": (finite_number, "a number such as 1"),
    "maximum": (finite_number, "a number such as 9"),
    "sfreq": (_rate, f"a rate from {LEAST_HZ:g} to {MOST_HZ:g} Hz"),
    "gauge": (_switch, "true or false"),
}


def read_playlist(path: str | Path) -> Playlist:
    """Return the playlist in a TOML file; its files are opened and checked.

    Raises
    ------
    CallError
        If there is no such file, or it is no playlist; the message names file and line.
    UnreadableFileError
        If a stimulus cannot be read.
    """
    path = Path(path)
    text = toml_text(path, "a playlist in TOML")
    return parse_playlist(text, where=str(path), folder=path.parent)


def parse_playlist(
    text: str, *, where: str = "the playlist", folder: Path | None = None
) -> Playlist:
    """Return the playlist that a TOML text states.

    Parameters
    ----------
    text : str
        TOML; see ``docs/player.md``.
    where : str
        What errors call it.
    folder : Path, optional
        From where files are looked for; the current folder by default.

    Raises
    ------
    CallError
        If it is no TOML, or a field is unknown, missing, of the wrong type or impossible.
    UnreadableFileError
        If a stimulus cannot be read.
    """
    table = toml_table(text, where)
    lines = TomlLines(text, where)
    display = _section(lines, table.pop("display", {}), _DISPLAY, "display")
    rated = _continuous(lines, table.pop("continuous")) if "continuous" in table else None
    rows = table.pop("item", [])
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise CallError(f"found 'item' without sections in {where}, expected [[item]] sections")
    top = _section(lines, table, _TOP, "", also=("display", "continuous", "item"))
    items = [_item(lines, number, row, folder) for number, row in enumerate(rows, 1)]
    settings = DisplaySettings(**display)
    _refuse_contradictions(lines, settings, items)
    _refuse_wrong_trials(lines, items)
    _refuse_nothing_to_rate(lines, rated, items)
    files = tuple(_file(lines, number, item) for number, item in enumerate(items, 1))
    return Playlist(top.get("title", ""), settings, tuple(items), files, rated)


def _section(
    lines: TomlLines, table: Any, readers: Readers, section: str, also: Sequence[str] = ()
) -> dict[str, Any]:
    values = read_section(table, readers, section, lines=lines, of="a playlist", also=also)
    return {name: None if value == UNMEASURED else value for name, value in values.items()}


def _continuous(lines: TomlLines, table: Any) -> ContinuousRating:
    values = _section(lines, table, _CONTINUOUS, "continuous")
    if "dimensions" not in values:
        raise CallError(
            f"found no 'dimensions' in [continuous]{lines.place('continuous')}, expected "
            f"{_CONTINUOUS['dimensions'][1]}"
        )
    rating = ContinuousRating(**values)
    if rating.maximum <= rating.minimum:
        at = lines.place("continuous", "maximum" if "maximum" in values else "minimum")
        raise CallError(
            f"found a scale from {rating.minimum:g} to {rating.maximum:g} in [continuous]{at}, "
            "expected it to rise"
        )
    if "axis" in values and len(rating.dimensions) == 2:
        raise CallError(
            f"found an axis of two dimensions in [continuous]{lines.place('continuous', 'axis')}, "
            f"expected none: {rating.dimensions[0]} is horizontal and {rating.dimensions[1]} "
            "vertical"
        )
    return rating


def _item(lines: TomlLines, number: int, row: dict[str, Any], folder: Path | None) -> Item:
    try:
        return make_item(row, folder=folder)
    except ItemFieldError as error:
        at = lines.place("item", error.field, number)
        raise CallError(f"item {number}: {error}{at}") from None


def _file(lines: TomlLines, number: int, item: Item) -> StimulusFile | None:
    try:
        return open_stimulus(item)
    except (CallError, DataError) as error:
        at = lines.place("item", "file", number)
        raise type(error)(f"item {number}: {error}{at}") from None


def _refuse_contradictions(
    lines: TomlLines, settings: DisplaySettings, items: Sequence[Item]
) -> None:
    if settings.monitor and settings.mode == "window":
        raise CallError(
            f"found a window on monitor {settings.monitor}{lines.place('display', 'monitor')}, "
            'expected mode = "fullscreen" there: where a window is on it cannot be known'
        )
    for number, item in enumerate(items, 1):
        if item.kind == "sound" and not settings.sound:
            raise CallError(
                f"item {number}: found a sound{lines.place('item', '', number)} and sound = false "
                "in [display], expected sound to be played"
            )


def _refuse_nothing_to_rate(
    lines: TomlLines, rated: ContinuousRating | None, items: Sequence[Item]
) -> None:
    trials = [i for i in items if i.kind in STIMULUS_KINDS and i.trial is not None]
    if rated is not None and items and not trials:
        raise CallError(
            f"found [continuous]{lines.place('continuous')} and no stimulus with 'trial', expected "
            "one: a stimulus is rated while it is a trial"
        )


def _refuse_wrong_trials(lines: TomlLines, items: Sequence[Item]) -> None:
    shown: dict[int, int] = {}
    for number, item in enumerate(items, 1):
        if item.trial is None:
            continue
        at = lines.place("item", "trial", number)
        if item.kind in STIMULUS_KINDS and shown.setdefault(item.trial, number) != number:
            raise CallError(
                f"item {number}: found trial {item.trial} again (item {shown[item.trial]} is it "
                f"already), expected each trial number once{at}"
            )
        if item.is_rating and item.trial not in shown:
            raise CallError(
                f"item {number}: found a rating of trial {item.trial}, which no item before it "
                f"is, expected a trial that was shown{at}"
            )
