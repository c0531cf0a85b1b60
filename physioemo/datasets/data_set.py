"""One data set: what its files are, how they are read, and what must be in them."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physioemo.datasets.mat_names import first_variable
from physioemo.datasets.source import Source, read_sources
from physioemo.recording import Recording

__all__ = ["DataSet"]


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Parameters
    ----------
    name, title : str
        As on the command line, and in full.
    licence, obtain : str
        Who may use it, and where it is asked for.
    folder : str
        The published folder that holds the files, or empty.
    files : mapping of str to str
        Pattern of a file name (regular expression) and what it is; all must be there.
    sources : callable
        ``sources(folder) -> list of Source``, in the order of subjects and sessions.
    write_fixture : callable
        ``write_fixture(folder, *, subjects, seed, effect) -> list of Path``.
    folders : tuple of str
        Other published names of that folder.
    below : str
        Sub-folders that hold the files (regular expression).
    variable : str
        Name of the first variable of a MATLAB file (regular expression), where parts of a data
        set name their files alike.
    derived_from : str
        The data set whose features these are: where both lie, that one is meant.
    stimuli : str
        What the names of its stimuli begin with, where it is not its own name: parts of one data
        set share their clips.
    small : mapping
        Options of `write_fixture` for a small fixture.
    small_read : mapping
        Options of `sources` that such a fixture needs.
    published : mapping
        Numbers that the whole data set must show.
    """

    name: str
    title: str
    licence: str
    obtain: str
    folder: str
    files: Mapping[str, str]
    sources: Callable[..., list[Source]]
    write_fixture: Callable[..., list[Path]]
    folders: tuple[str, ...] = ()
    below: str = ""
    variable: str = ""
    derived_from: str = ""
    stimuli: str = ""
    small: Mapping[str, Any] = field(default_factory=dict)
    small_read: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, Any] = field(default_factory=dict)

    def read(self, folder: str | Path, **options: Any) -> Iterator[Recording]:
        """Yield every subject's and session's recording; one is in memory at a time."""
        sources = self.sources(folder, **options)
        return read_sources(sources)

    def holds(self, folder: Path) -> bool:
        """Whether all expected kinds of file lie in a folder."""
        if not folder.is_dir():
            return False
        places = [folder]
        if self.below:
            inside = (p for p in folder.iterdir() if p.is_dir())
            places = sorted(p for p in inside if re.fullmatch(self.below, p.name))
        files = [p for place in places for p in sorted(place.iterdir()) if p.is_file()]
        fitting = [[p for p in files if re.fullmatch(f, p.name)] for f in self.files]
        return all(fitting) and (not self.variable or self._holds_variable(fitting[0]))

    def _holds_variable(self, files: list[Path]) -> bool:
        unreadable = 0
        for file in files:
            name = first_variable(file)
            if re.fullmatch(self.variable, name, re.ASCII):
                return True
            unreadable += not name
        # All damaged: say so of the original, not that nothing is there.
        return unreadable == len(files) and not self.derived_from

    def is_one_of(self, file: Path) -> bool:
        """Whether a file has the name of one of the expected files."""
        return any(re.fullmatch(f, file.name) for f in self.files)

    def locate(self, path: str | Path) -> Path | None:
        """Return the folder of the files, at `path` or in the published folder below it."""
        path = Path(path)
        path = path.parent if path.is_file() else path
        if self.below and re.fullmatch(self.below, path.name):
            path = path.parent
        names = [n for n in (self.folder, *self.folders) if n]
        return next((p for p in (path, *(path / n for n in names)) if self.holds(p)), None)
