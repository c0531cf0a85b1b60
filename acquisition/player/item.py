"""One thing that the participant sees or hears, checked field by field before it is shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from physioemo.errors import CallError
from physioemo.hints import nearest
from physioemo.prediction import DIMENSIONS
from physioemo.toml_values import finite_number, plain_text

__all__ = [
    "KINDS",
    "RATING_KINDS",
    "STIMULUS_KINDS",
    "Item",
    "ItemFieldError",
    "item_fields",
    "make_item",
]

STIMULUS_KINDS = ("video", "image", "sound", "text")
RATING_KINDS = ("sam", "slider")
KINDS = (*STIMULUS_KINDS, "fixation", "blank", *RATING_KINDS)
SAM_SCALE = (1.0, 9.0)


class ItemFieldError(CallError):
    """A field of an item is wrong; ``field`` names it, empty for the item as a whole."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Item:
    """One thing to show.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    file : Path or None
        Of a video, an image or a sound.
    seconds : float or None
        How long it stays; of a video or sound without it, as long as the stretch of the file.
    trial : int or None
        Of a stimulus, the trial that it is; of a rating, the trial that is rated.
    stimulus : str
        Name of the stimulus, the same in every recording.
    start_seconds, stop_seconds : float
        The stretch of a video or sound file.
    volume : float
        0 to 1.
    text : str
        What is written.
    text_height : float
        Height of a line as a fraction of the window's height.
    until : {"time", "key"}
        Whether a text stays for its time or until a key is pressed.
    dimensions : tuple of str
        What the self-assessment manikin asks for, from the top.
    dimension, label : str
        What a slider asks for: its name in the data, and the question that is shown.
    minimum, maximum, step : float
        A slider's scale; a step of 0 is a continuous one.
    anchors : tuple of str
        Words under the ends of a slider.
    timeout_seconds : float or None
        How long a rating waits for an answer.
    """

    kind: str
    file: Path | None = None
    seconds: float | None = None
    trial: int | None = None
    stimulus: str = ""
    start_seconds: float = 0.0
    stop_seconds: float | None = None
    volume: float = 1.0
    text: str = ""
    text_height: float = 0.05
    until: str = "time"
    dimensions: tuple[str, ...] = field(default=tuple(DIMENSIONS))
    dimension: str = ""
    label: str = ""
    minimum: float = 1.0
    maximum: float = 9.0
    step: float = 0.0
    anchors: tuple[str, ...] = ()
    timeout_seconds: float | None = None

    @property
    def is_rating(self) -> bool:
        """Whether it asks the participant."""
        return self.kind in RATING_KINDS

    @property
    def rated(self) -> dict[str, tuple[float, float]]:
        """What it asks for: lowest and highest answer by dimension."""
        if self.kind == "sam":
            return dict.fromkeys(self.dimensions, SAM_SCALE)
        return {self.dimension: (self.minimum, self.maximum)} if self.kind == "slider" else {}

    @property
    def name(self) -> str:
        """The stimulus' name, or else its file's."""
        return self.stimulus or (self.file.name if self.file else "")


def _positive(value: Any) -> float | None:
    number = finite_number(value)
    return number if number is not None and number > 0 else None


def _at_least_zero(value: Any) -> float | None:
    number = finite_number(value)
    return number if number is not None and number >= 0 else None


def _fraction(value: Any) -> float | None:
    number = finite_number(value)
    return number if number is not None and 0 <= number <= 1 else None


def _height(value: Any) -> float | None:
    number = finite_number(value)
    return number if number is not None and 0.01 <= number <= 0.5 else None


def _trial(value: Any) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and value >= 0 else None


def _until(value: Any) -> str | None:
    return value if value in ("time", "key") else None


def _dimensions(value: Any) -> tuple[str, ...] | None:
    known = isinstance(value, list) and value and set(map(str, value)) <= set(DIMENSIONS)
    return tuple(value) if known and len(set(value)) == len(value) else None


def _anchors(value: Any) -> tuple[str, ...] | None:
    good = isinstance(value, list) and len(value) in (2, 3)
    return tuple(value) if good and all(isinstance(v, str) for v in value) else None


_FILES, _ALL, _SLIDER = ("video", "image", "sound"), KINDS, ("slider",)
# name -> (reader, what is expected, the kinds that have it)
_FIELDS: dict[str, tuple[Callable[[Any], Any], str, tuple[str, ...]]] = {
    "kind": (plain_text, f"one of {', '.join(KINDS)}", _ALL),
    "file": (plain_text, "the path of a file, from the playlist's folder", _FILES),
    "seconds": (
        _positive,
        "a number of seconds above 0",
        (*STIMULUS_KINDS, "fixation", "blank"),
    ),
    "trial": (_trial, "a whole number such as 3", (*STIMULUS_KINDS, *RATING_KINDS)),
    "stimulus": (plain_text, 'a text such as "clip-03"', STIMULUS_KINDS),
    "start_seconds": (_at_least_zero, "a number of seconds, 0 or more", ("video", "sound")),
    "stop_seconds": (_positive, "a number of seconds above 0", ("video", "sound")),
    "volume": (_fraction, "a number from 0 to 1", ("video", "sound")),
    "text": (plain_text, "a text", ("text",)),
    "text_height": (_height, "a fraction of the window's height, 0.01 to 0.5", ("text",)),
    "until": (_until, '"time" or "key"', ("text",)),
    "dimensions": (_dimensions, f"a list of some of {', '.join(DIMENSIONS)}", ("sam",)),
    "dimension": (plain_text, 'a text such as "liking"', _SLIDER),
    "label": (plain_text, 'a text such as "How much did you like it?"', _SLIDER),
    "minimum": (finite_number, "a number such as 1", _SLIDER),
    "maximum": (finite_number, "a number such as 9", _SLIDER),
    "step": (_at_least_zero, "a number, 0 for a continuous scale", _SLIDER),
    "anchors": (_anchors, 'two or three texts such as ["not at all", "very much"]', _SLIDER),
    "timeout_seconds": (_positive, "a number of seconds above 0", RATING_KINDS),
}
_REQUIRED = {
    "video": ("file",),
    "image": ("file", "seconds"),
    "sound": ("file",),
    "text": ("text",),
    "fixation": ("seconds",),
    "blank": ("seconds",),
    "sam": ("trial",),
    "slider": ("trial", "dimension", "label"),
}


def make_item(table: Mapping[str, Any], *, folder: Path | None = None) -> Item:
    """Return the item that a table of fields states.

    Parameters
    ----------
    table : mapping
        As in a playlist's ``[[item]]``.
    folder : Path, optional
        From where its file is looked for; the current folder by default.

    Raises
    ------
    ItemFieldError
        If a field is unknown, missing, of the wrong type, or contradicts another.
    """
    if not isinstance(table, Mapping):
        raise ItemFieldError(f"found {table!r}, expected the fields of an item")
    kind = table.get("kind")
    if kind not in KINDS:
        hint = nearest(str(kind), KINDS)
        raise ItemFieldError(
            f"found the kind {kind!r}, expected one of {', '.join(KINDS)}{hint}", "kind"
        )
    known = [name for name, (_, _, kinds) in _FIELDS.items() if kind in kinds]
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            hint = nearest(name, known) or f"; its fields are {', '.join(known)}"
            raise ItemFieldError(
                f"found the field {name!r}, expected one that {_a(kind)} has{hint}", name
            )
        read, expected, _ = _FIELDS[name]
        values[name] = read(value)
        if values[name] is None:
            raise ItemFieldError(f"found {name} = {value!r}, expected {expected}", name)
    for name in _REQUIRED[kind]:
        if name not in values:
            raise ItemFieldError(f"found {_a(kind)} without {name!r}, expected {_FIELDS[name][1]}")
    if "file" in values:
        values["file"] = (folder or Path()) / Path(values["file"]).expanduser()
    item = Item(**values)
    _refuse_contradictions(item, values)
    return item


def item_fields(item: Item) -> dict[str, Any]:
    """Return the fields of an item that differ from what they are unstated, JSON-able."""
    plain = Item(kind=item.kind)
    stated = {f.name: getattr(item, f.name) for f in fields(item)}
    stated = {k: v for k, v in stated.items() if k == "kind" or v != getattr(plain, k)}
    return {
        k: str(v) if isinstance(v, Path) else list(v) if isinstance(v, tuple) else v
        for k, v in stated.items()
    }


def _refuse_contradictions(item: Item, values: Mapping[str, Any]) -> None:
    if item.stop_seconds is not None and item.stop_seconds <= item.start_seconds:
        raise ItemFieldError(
            f"found the stretch {item.start_seconds:g} to {item.stop_seconds:g} s, expected a "
            "later end",
            "stop_seconds",
        )
    if item.kind == "text" and (item.until == "key") == ("seconds" in values):
        raise ItemFieldError(
            "found a text with both or neither of 'seconds' and until = \"key\", expected one",
            "seconds" if "seconds" in values else "",
        )
    if item.kind in STIMULUS_KINDS and item.stimulus and item.trial is None:
        raise ItemFieldError("found a 'stimulus' without 'trial', expected its number", "stimulus")
    if item.kind != "slider":
        return
    if item.maximum <= item.minimum:
        raise ItemFieldError(
            f"found a scale from {item.minimum:g} to {item.maximum:g}, expected it to rise",
            "maximum",
        )
    if item.dimension == "trial":
        raise ItemFieldError("found the dimension 'trial', expected another name", "dimension")
    steps = (item.maximum - item.minimum) / item.step if item.step else 1.0
    if abs(steps - round(steps)) > 1e-6 or round(steps) < 1:
        raise ItemFieldError(
            f"found a step of {item.step:g} on a scale from {item.minimum:g} to {item.maximum:g}, "
            "expected the scale to be a whole number of steps",
            "step",
        )


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
