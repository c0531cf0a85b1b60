"""Session protocols as TOML: read as a whole, with errors that name file, line and field."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from physioemo.acquisition.player.continuous import CONTINUOUS, ContinuousRating
from physioemo.acquisition.player.item import (
    STIMULUS_KINDS,
    Item,
    ItemFieldError,
    item_fields,
    make_item,
)
from physioemo.acquisition.player.stimulus_file import StimulusFile, open_stimulus
from physioemo.errors import CallError, DataError
from physioemo.experiments.session.declaration import (
    SECTIONS,
    Arm,
    Baseline,
    Block,
    Calibration,
    Loop,
    Practice,
    Ratings,
    Stimulus,
    quadrant_of,
)
from physioemo.experiments.session.distress import DISTRESS
from physioemo.experiments.session.fields import read_fields
from physioemo.experiments.session.policies import POLICIES, read_parameters
from physioemo.experiments.session.protocol import Protocol
from physioemo.experiments.session.protocol_checks import refuse_contradictions
from physioemo.hints import nearest
from physioemo.toml_lines import TomlLines
from physioemo.toml_sections import toml_table

__all__ = ["parse_protocol"]

_LISTS = {"participants": "P", "sessions": "S"}
_TABLES = ("baseline", "practice", "ratings", "calibration", "loop", "distress")
_ROWS = ("stimulus", "block", "arm")
_ITEM_FIELDS = (
    "kind",
    "file",
    "seconds",
    "start_seconds",
    "stop_seconds",
    "volume",
    "text",
    "text_height",
)
_MOST = 9999


def parse_protocol(
    text: str, *, where: str = "the protocol", folder: Path | None = None
) -> Protocol:
    """Return the protocol that a TOML text states.

    Parameters
    ----------
    text : str
        TOML; see ``docs/session.md``.
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
    reader = _Reader(TomlLines(text, where), table)
    top = reader.fields("", table, also=(*_LISTS, *_TABLES, *_ROWS))
    folder = (folder or Path()).absolute()
    blocks = [
        Block(**{**row, "name": row["name"] or f"block {number}"})
        for number, row in enumerate(reader.rows("block"), 1)
    ]
    protocol = Protocol(
        **top,
        participants=reader.names("participants"),
        sessions=reader.names("sessions", 1),
        stimuli=tuple(reader.stimuli(folder)),
        blocks=tuple(blocks),
        baseline=Baseline(**reader.section("baseline")),
        practice=Practice(**reader.section("practice")) if "practice" in table else Practice(),
        ratings=reader.ratings(),
        calibration=(
            Calibration(**reader.section("calibration")) if "calibration" in table else None
        ),
        loop=Loop(**reader.section("loop")),
        arms=tuple(reader.arms()),
        distress=reader.distress() if "distress" in table else None,
        folder=folder,
        text=text,
    )
    refuse_contradictions(protocol, reader.lines)
    return protocol


class _Reader:
    """A table and where its lines are."""

    def __init__(self, lines: TomlLines, table: Mapping[str, Any]) -> None:
        self.lines, self.table = lines, table

    def fields(
        self, section: str, row: Mapping[str, Any], number: int = 1, also: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Return the fields of one section."""
        return read_fields(
            row,
            SECTIONS[section],
            _named(section, number),
            also=also,
            place=self.place(section, number),
        )

    def place(self, section: str, number: int = 1) -> Callable[[str], str]:
        """Return what says on which line of a section a field is."""
        return lambda name: self.lines.place(section, name, number)

    def section(self, name: str) -> dict[str, Any]:
        """Return the fields of a section that is there once or not at all."""
        return self.fields(name, self._table(name))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the fields of every section of a name."""
        return [self.fields(name, row, n) for n, row in enumerate(self._rows(name), 1)]

    def names(self, name: str, default: int | None = None) -> tuple[str, ...]:
        """Return participants or sessions: so many, or as they are called."""
        value = self.table.get(name, default)
        if type(value) is int and 1 <= value <= _MOST:
            width = max(2, len(str(value))) if name == "participants" else 1
            return tuple(f"{n:0{width}d}" for n in range(1, value + 1))
        listed = value if isinstance(value, list) else []
        are_texts = all(isinstance(v, str) and v.strip() for v in listed)
        if listed and are_texts and len(set(listed)) == len(listed):
            return tuple(listed)
        found = f"no {name!r}" if value is None else f"{name} = {value!r}"
        raise CallError(
            f"found {found} in the top section{self.lines.place('', name)}, expected their number "
            'or a list of different names such as ["01", "02"]'
        )

    def stimuli(self, folder: Path) -> list[Stimulus]:
        """Return the stimuli, their files opened."""
        found: list[Stimulus] = []
        for number, row in enumerate(self._rows("stimulus"), 1):
            values = self.fields("stimulus", row, number, also=_ITEM_FIELDS)
            own = {k: v for k, v in row.items() if k in _ITEM_FIELDS}
            item = self._item(own, number, folder)
            file = self._file(item, number)
            values["quadrant"] = self._quadrant(values, number)
            if values["id"] in [s.id for s in found]:
                raise CallError(
                    f"found the id {values['id']!r} again in {_named('stimulus', number)}"
                    f"{self.lines.place('stimulus', 'id', number)}, expected each id once"
                )
            fields = item_fields(item)
            found.append(
                Stimulus(
                    **values,
                    item=fields,
                    seconds=_seconds(item, file),
                    sha256=file.sha256 if file else "",
                )
            )
        return found

    def arms(self) -> list[Arm]:
        """Return the arms with all parameters of their policies."""
        found: list[Arm] = []
        for number, row in enumerate(self._rows("arm"), 1):
            named, place = _named("arm", number), self.place("arm", number)
            policy = row.get("policy")
            if not isinstance(policy, str) or policy not in POLICIES:
                said = "no 'policy'" if policy is None else f"policy = {policy!r}"
                raise CallError(
                    f"found {said} in {named}{place('policy')}, expected one of "
                    f"{', '.join(POLICIES)}{nearest(str(policy), POLICIES)}"
                )
            also = ("name", "policy", *(("decisions",) if policy == "sham" else ()))
            parameters = read_parameters(policy, row, named=named, also=also, place=place)
            texts = {k: row.get(k, "") for k in ("name", "decisions") if k in also}
            for name, value in texts.items():
                needed = name == "decisions"
                if not isinstance(value, str) or (needed and not value.strip()):
                    raise CallError(
                        f"found {name} = {value!r} in {named}{place(name)}, expected a text"
                        + (' such as "decisions/{participant}.json"' if needed else "")
                    )
            name = texts["name"] or policy
            if name in [a.name for a in found]:
                raise CallError(
                    f"found the arm {name!r} again in {named}{place('name')}, expected each name "
                    "once"
                )
            found.append(Arm(name, policy, parameters, texts.get("decisions", "")))
        return found

    def ratings(self) -> Ratings:
        """Return what is rated, after trials and while they run."""
        values, stated = self.section("ratings"), self._table("ratings")
        own = [k for k in values if k == "continuous" or k.startswith("continuous_")]
        fields = {k: values.pop(k) for k in own if k != "continuous_stream"}
        dimensions = fields.pop("continuous")
        place = self.place("ratings")
        if values["continuous_stream"] == CONTINUOUS:
            raise CallError(
                f"found continuous_stream = {CONTINUOUS!r} in [ratings]"
                f"{place('continuous_stream')}, expected another program's stream; for our own "
                'write continuous = ["valence", "arousal"]'
            )
        if not dimensions:
            if wrong := next((k for k in fields if k in stated), ""):
                raise CallError(
                    f"found {wrong!r} without 'continuous' in [ratings]{place(wrong)}, expected "
                    'what is rated, such as continuous = ["valence", "arousal"]'
                )
            return Ratings(**values)
        names = {k: k.removeprefix("continuous_") for k in fields}
        rating = ContinuousRating(dimensions, **{names[k]: v for k, v in fields.items()})
        self._refuse_impossible_rating(rating, place, stated)
        return Ratings(**values, continuous=rating)

    def _refuse_impossible_rating(
        self, rating: ContinuousRating, place: Callable[[str], str], stated: Mapping[str, Any]
    ) -> None:
        n_dimensions = len(rating.dimensions)
        if n_dimensions > 2:
            raise CallError(
                f"found {n_dimensions} dimensions of 'continuous' in [ratings]"
                f"{place('continuous')}, expected one or two: a pointer has no third axis"
            )
        if n_dimensions == 2 and "continuous_axis" in stated:
            raise CallError(
                f"found a 'continuous_axis' of two dimensions in [ratings]"
                f"{place('continuous_axis')}, expected none: {rating.dimensions[0]} is horizontal "
                f"and {rating.dimensions[1]} vertical"
            )
        if rating.maximum <= rating.minimum:
            last = "continuous_maximum" if "continuous_maximum" in stated else "continuous_minimum"
            raise CallError(
                f"found a continuous scale from {rating.minimum:g} to {rating.maximum:g} in "
                f"[ratings]{place(last)}, expected it to rise"
            )

    def distress(self) -> dict[str, Any]:
        """Return the parameters of the distress rule."""
        return read_fields(
            self._table("distress"), DISTRESS, "[distress]", place=self.place("distress")
        )

    def _table(self, name: str) -> dict[str, Any]:
        value = self.table.get(name, {})
        if not isinstance(value, dict):
            raise CallError(
                f"found {name} = {value!r}{self.lines.place('', name)}, expected a section [{name}]"
            )
        return value

    def _rows(self, name: str) -> list[dict[str, Any]]:
        value = self.table.get(name, [])
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            place = self.lines.place("" if isinstance(value, list) else name, name)
            raise CallError(f"found {name!r} as no list of sections{place}, expected [[{name}]]")
        return value

    def _item(self, row: dict[str, Any], number: int, folder: Path) -> Item:
        named, kind = _named("stimulus", number), row.get("kind")
        if kind not in STIMULUS_KINDS:
            raise CallError(
                f"found the kind {kind!r} in {named}"
                f"{self.lines.place('stimulus', 'kind', number)}, expected one of "
                f"{', '.join(STIMULUS_KINDS)}{nearest(str(kind), STIMULUS_KINDS)}"
            )
        if kind == "text" and "seconds" not in row:
            at = self.lines.place("stimulus", "", number)
            raise CallError(f"found no 'seconds' in {named}{at}, expected how long it is shown")
        try:
            return make_item(row, folder=folder)
        except ItemFieldError as error:
            at = self.lines.place("stimulus", error.field, number)
            raise CallError(f"{named}: {error}{at}") from None

    def _file(self, item: Item, number: int) -> StimulusFile | None:
        try:
            return open_stimulus(item)
        except (CallError, DataError) as error:
            at = self.lines.place("stimulus", "file", number)
            raise type(error)(f"{_named('stimulus', number)}: {error}{at}") from None

    def _quadrant(self, values: Mapping[str, Any], number: int) -> str:
        stated = values["quadrant"]
        expected = quadrant_of(values["valence"], values["arousal"])
        if stated and stated != expected and "neutral" not in (stated, expected):
            raise CallError(
                f"found quadrant = {stated!r} with valence {values['valence']:g} and arousal "
                f"{values['arousal']:g} in {_named('stimulus', number)}"
                f"{self.lines.place('stimulus', 'quadrant', number)}, expected {expected!r}"
            )
        return stated or expected


def _named(section: str, number: int) -> str:
    if not section:
        return "the top section"
    return f"{section} {number}" if section in _ROWS else f"[{section}]"


def _seconds(item: Item, file: StimulusFile | None) -> float:
    """Return how long an item is shown."""
    if item.seconds is not None:
        return item.seconds
    end = item.stop_seconds
    if end is None:
        end = file.duration_seconds if file and file.duration_seconds else item.start_seconds
    return end - item.start_seconds
