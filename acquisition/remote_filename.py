"""LabRecorder's ``filename {option:value} ...``: where the next recording goes, safely.

Options and placeholders are those of LabRecorder's remote control (App-LabRecorder, README and
``MainWindow::rcsUpdateFilename``); whatever they say, the path stays inside the recorder's folder.
"""

import re
import socket
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from physioemo.description import WINDOWS_DEVICES
from physioemo.errors import CallError
from physioemo.hints import nearest

__all__ = ["FILENAME_OPTIONS", "RecordingName", "parse_filename"]

FILENAME_OPTIONS = (
    "root",
    "template",
    "task",
    "run",
    "participant",
    "session",
    "acquisition",
    "modality",
)
_BIDS = "sub-%p/ses-%s/%m/sub-%p_ses-%s_task-%b{acquisition}_run-%r_%m"
_OPTION = re.compile(r"\{(\w+):([^{}]*)\}")
_PLACEHOLDER = re.compile(r"%(datetime|date|time|hostname|[bpsamnr]|.?)")
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_LONGEST = 200
_RUNS = 999


@dataclass(frozen=True)
class RecordingName:
    """How recordings are named.

    Parameters
    ----------
    folder : Path
        The recorder's folder; nothing is written outside it.
    root : str
        A folder inside it.
    template : str
        Path below the root with ``%p`` participant, ``%s`` session, ``%b`` task, ``%a``
        acquisition, ``%m`` modality, ``%n`` or ``%r`` run (three digits), ``%date``, ``%time``,
        ``%datetime`` (local time) and ``%hostname``; BIDS's own if empty.
    task, participant, session, acquisition, modality : str
        What the placeholders stand for; LabRecorder's defaults.
    run : int, optional
        The run; the first that is free if not stated.
    """

    folder: Path
    root: str = ""
    template: str = ""
    task: str = "Default"
    participant: str = "P001"
    session: str = "S001"
    acquisition: str = ""
    modality: str = "eeg"
    run: int | None = None

    def path(self) -> Path:
        """Return where the next recording goes.

        Raises
        ------
        CallError
            If it would lie outside the recorder's folder, or no name can be made of it.
        """
        if self.run is not None:
            return self._path(self.run)
        runs = (self._path(run) for run in range(1, _RUNS + 1))
        first = self._path(1)
        counts = first != self._path(2)
        free = next((p for p in runs if not p.exists()), None) if counts else first
        if free is None:
            raise CallError(f"found {_RUNS} runs at {first.parent}, expected fewer; state a run")
        return free

    def _path(self, run: int) -> Path:
        acquisition = "_acq-%a" if self.acquisition else ""
        template = self.template or _BIDS.replace("{acquisition}", acquisition)
        relative = _PLACEHOLDER.sub(lambda m: self._value(m[1], run), template)
        relative = re.sub(r"(\.xdf|\.zarr)?$", ".zarr", relative, count=1, flags=re.IGNORECASE)
        parts = _parts(self.root) + _parts(relative)
        path = self.folder.joinpath(*parts)
        # A link inside the folder may lead out of it.
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise CallError(
                f"found a name that leads to {path.resolve()}, expected one inside {self.folder}"
            )
        return path

    def _value(self, word: str, run: int) -> str:
        now = datetime.now().astimezone()
        values = {
            "b": self.task,
            "p": self.participant,
            "s": self.session,
            "a": self.acquisition,
            "m": self.modality,
            "n": f"{run:03d}",
            "r": f"{run:03d}",
            "date": f"{now:%Y-%m-%d}",
            "time": f"{now:%H-%M-%S}",
            "datetime": f"{now:%Y-%m-%dT%H-%M-%S}",
            "hostname": re.sub(r"[^\w.-]", "_", socket.gethostname()),
        }
        if word not in values:
            known = ", ".join(f"%{w}" for w in values)
            raise CallError(f"found the placeholder '%{word}', expected one of {known}")
        return values[word]


def _parts(text: str) -> list[str]:
    """Return the folders of a relative path; both kinds of slash count."""
    parts = [p for p in re.split(r"[\\/]+", text) if p]
    for part in parts:
        odd = part.strip(" .") == "" or part != part.strip() or _FORBIDDEN.search(part)
        # Windows drops a dot at the end, and takes CON and its like for devices.
        if odd or part.endswith(".") or part.split(".")[0].casefold() in WINDOWS_DEVICES:
            raise CallError(f"found {part!r} in {text!r}, expected names of folders inside it")
        if len(part.encode()) > _LONGEST:
            raise CallError(f"found a name of {len(part)} letters, expected at most {_LONGEST}")
    return parts


def parse_filename(text: str, current: RecordingName) -> RecordingName:
    """Return how recordings are named after ``filename {option:value} ...``.

    What is not stated stays as it was, but for the template, which is BIDS's unless stated.

    Parameters
    ----------
    text : str
        What follows the verb.
    current : RecordingName
        How they are named until now.

    Raises
    ------
    CallError
        If an option is unknown, or the result would lie outside the recorder's folder.
    """
    rest = _OPTION.sub("", text).strip()
    if rest or not _OPTION.search(text):
        raise CallError(
            f"found {rest or text!r}, expected options such as {{participant:P01}} {{task:rest}}"
        )
    changed = replace(current, template="")
    for option, value in _OPTION.findall(text):
        changed = _with(changed, option.lower(), value.strip())
    changed.path()
    return changed


def _with(name: RecordingName, option: str, value: str) -> RecordingName:
    if option not in FILENAME_OPTIONS:
        known = ", ".join(FILENAME_OPTIONS)
        hint = nearest(option, FILENAME_OPTIONS)
        raise CallError(f"found the option {option!r}, expected one of {known}{hint}")
    if option == "run":
        if not value.isascii() or not value.isdigit() or not 0 < int(value) <= _RUNS:
            raise CallError(f"found the run {value!r}, expected a number from 1 to {_RUNS}")
        return replace(name, run=int(value))
    if option == "root":
        return replace(name, root=_root(name.folder, value))
    if option == "template":
        if re.match(r"[\\/]|[A-Za-z]:", value):
            raise CallError(f"found the template {value!r}, expected a path below the root")
        return replace(name, template=value)
    if "%" in value or re.search(r"[\\/]", value) or (value and _parts(value) != [value]):
        raise CallError(f"found {value!r} as {option}, expected a name without slashes and '%'")
    if not value and option != "acquisition":
        raise CallError(f"found nothing as {option}, expected a name")
    stated: dict[str, Any] = {option: value}
    return replace(name, **stated)


def _root(folder: Path, value: str) -> str:
    """Return a root, absolute or not, relative to the recorder's folder."""
    refused = CallError(
        f"found the root {value!r}, expected a folder inside {folder}; start the recorder in "
        "another folder if recordings belong there"
    )
    if Path(value).is_absolute():
        inside = Path(value).resolve()
        if not inside.is_relative_to(folder.resolve()):
            raise refused
        return inside.relative_to(folder.resolve()).as_posix().removeprefix(".")
    try:
        _parts(value)
    except CallError:
        raise refused from None
    return value
