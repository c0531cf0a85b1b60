"""The folder of one session: what was asked for, how far it got, and its recordings."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from physioemo.acquisition.player.continuous import ContinuousRating
from physioemo.errors import CallError, StoreError, UnreadableFileError
from physioemo.experiments.session.protocol import Protocol
from physioemo.experiments.session.protocol_toml import parse_protocol

__all__ = ["SessionFolder"]

_SESSION, _PROGRESS, _PROTOCOL, _PLAYER = (
    "session.json",
    "progress.jsonl",
    "protocol.toml",
    "player",
)
_FORMAT = 1


@dataclass(frozen=True)
class SessionFolder:
    """Where a session lies.

    Parameters
    ----------
    path : Path
        The folder.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, facts: Mapping[str, Any], protocol_text: str) -> "SessionFolder":
        """Make a new folder.

        Raises
        ------
        StoreError
            If there is something already, or it cannot be written.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            hint = "; add --resume to go on with it" if (path / _SESSION).is_file() else ""
            raise StoreError(f"found that {path} exists, expected a new folder{hint}")
        try:
            (path / "logs").mkdir(parents=True)
            (path / _PROTOCOL).write_text(protocol_text, "utf-8")
            text = json.dumps({"format": _FORMAT, **facts}, indent=2, ensure_ascii=False)
            (path / _SESSION).write_text(text, "utf-8")
        except OSError as error:
            raise StoreError(
                f"found that {path} cannot be written ({error.strerror}), expected a writable place"
            ) from None
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "SessionFolder":
        """Return a session's folder.

        Raises
        ------
        CallError
            If it is none.
        """
        if not (path / _SESSION).is_file():
            raise CallError(
                f"found no {_SESSION} in {path}, expected the folder of 'physioemo session run'"
            )
        return cls(path)

    @property
    def facts(self) -> dict[str, Any]:
        """What was asked for.

        Raises
        ------
        UnreadableFileError
            If the file is damaged, or of a newer format.
        """
        path = self.path / _SESSION
        try:
            content: dict[str, Any] = json.loads(path.read_text("utf-8"))
            known = content["format"] <= _FORMAT
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnreadableFileError(
                f"found that {path} cannot be read ({error}), expected what 'physioemo session "
                "run' wrote"
            ) from None
        if not known:
            raise UnreadableFileError(
                f"found format {content['format']} in {path}, expected at most {_FORMAT}; update "
                "PhysioEmo to use it"
            )
        return content

    def protocol(self) -> Protocol:
        """Return what was declared; its stimuli are looked for where they were.

        Raises
        ------
        CallError
            If something in it is not right any more, such as a stimulus that was moved.
        """
        path = self.path / _PROTOCOL
        text = path.read_text("utf-8")
        return parse_protocol(text, where=str(path), folder=Path(self.facts["stimuli_folder"]))

    @property
    def recordings(self) -> list[Path]:
        """The recordings, in order."""
        found = self.path.glob("recording-*.zarr")
        return sorted(found, key=lambda p: int(p.stem.removeprefix("recording-")))

    def next_recording(self) -> Path:
        """Return where the next recording is to be written."""
        numbers = [int(p.stem.removeprefix("recording-")) for p in self.recordings]
        return self.path / f"recording-{max(numbers, default=0) + 1}.zarr"

    def log(self, name: str) -> Path:
        """Return the log file of a program."""
        return self.path / "logs" / f"{name}.txt"

    def note(self, **fields: Any) -> None:
        """Add a line to what has happened, at once and for good."""
        line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
        with (self.path / _PROGRESS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()

    def progress(self) -> list[dict[str, Any]]:
        """Return the lines of what has happened; one that was cut off at the end is left out."""
        path = self.path / _PROGRESS
        lines = []
        for line in path.read_text("utf-8").splitlines() if path.is_file() else []:
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
        return lines

    def write_player(
        self,
        rating_items: Iterable[Mapping[str, Any]],
        continuous: ContinuousRating | None = None,
        *,
        sounds: bool = True,
    ) -> Path:
        """Write the playlist that names the player's ratings, and return its path.

        Without `sounds` the player needs no sound device.
        """
        lines = ['title = "session"', *(() if sounds else ("[display]", "sound = false"))]
        if continuous is not None:
            stated = {f.name: getattr(continuous, f.name) for f in fields(continuous)}
            if len(continuous.dimensions) == 2:
                del stated["axis"]
            lines.append("[continuous]")
            lines += [f"{name} = {json.dumps(value)}" for name, value in stated.items()]
        for item in rating_items:
            lines.append("[[item]]")
            # The strings, numbers and lists of JSON are those of TOML.
            lines += [f"{name} = {json.dumps(value)}" for name, value in item.items()]
        path = self.path / f"{_PLAYER}.toml"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path
