"""Which file each stimulus of the trials is: found by its name, or by a table that says so.

Trials name stimuli (``deap-video-07``, ``clip-3``); files have names of their own. In a folder the
file of a stimulus is called like it (``deap-video-07.mp4``). A table, TOML or CSV, says it where
they are called otherwise; its paths are seen from its own folder::

    "deap-video-07" = "clips/wedding.mp4"

    stimulus,file
    deap-video-07,clips/wedding.mp4
"""

import csv
import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physioemo.errors import CallError, DataError, MissingExtraError, UnreadableFileError
from physioemo.features.stimulus_cache import stimulus_features
from physioemo.features.stimulus_features import StimulusFeatures, StimulusRecipe
from physioemo.media import probe_media, sha256_of

__all__ = ["StimulusFiles", "content_name", "find_stimuli", "known_name"]

_TABLES = (".toml", ".csv")
_COLUMNS = ("stimulus", "file")
_SHOWN = 3

# What the last recording showed: the next one often shows the same.
_held: dict[tuple[str, str], StimulusFeatures] = {}


@dataclass(frozen=True)
class StimulusFiles:
    """The files of stimuli, and where they are kept once decoded.

    Parameters
    ----------
    paths : mapping of str to Path
        File of each stimulus, by the name that trials give it.
    cache : Path, optional
        Folder of what was decoded; None keeps nothing.
    allow_missing : bool
        Whether a stimulus without a file is masked instead of refused.
    sha256 : mapping of str to str, optional
        Of the bytes of each; read from the files by default.

    Raises
    ------
    CallError
        If there is no file.
    """

    paths: Mapping[str, Path]
    cache: Path | None = None
    allow_missing: bool = False
    sha256: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.paths:
            raise CallError("found no stimuli, expected at least one file; check --stimuli")
        if not self.sha256:
            by_path = {p: sha256_of(p) for p in dict.fromkeys(self.paths.values())}
            hashes = {name: by_path[p] for name, p in self.paths.items()}
            object.__setattr__(self, "sha256", hashes)

    @property
    def about(self) -> dict[str, dict[str, Any]]:
        """Name, SHA-256 and length of each file by its stimulus, for the attributes of a store."""
        seconds = {path: _stated_seconds(path) for path in dict.fromkeys(self.paths.values())}
        return {
            name: {
                "file": path.name,
                "sha256": self.sha256[name],
                "duration_seconds": seconds[path],
            }
            for name, path in sorted(self.paths.items())
        }

    def named(self, stimuli: Iterable[str]) -> dict[str, str | None]:
        """Return which of the names that are known each stimulus of the trials is.

        A name counts with and without the ending of the file. None is a stimulus without a file.

        Raises
        ------
        CallError
            If a stimulus has no file, and that is not allowed.
        """
        found: dict[str, str | None] = {}
        files = {name: path.name for name, path in self.paths.items()}
        for stimulus in dict.fromkeys(stimuli):
            found[stimulus] = known_name(stimulus, files)
            if found[stimulus] is None and not self.allow_missing:
                near = difflib.get_close_matches(stimulus, self.paths, n=1, cutoff=0)[0]
                raise CallError(
                    f"found no file for the stimulus {stimulus!r} of the trials, expected one of "
                    f"that name among {_listed(self.paths)} (nearest: {near!r}); rename it, say in "
                    "a table which file it is, or mask it with --allow-missing-stimuli"
                )
        return found

    def features(self, names: Iterable[str], recipe: StimulusRecipe) -> dict[str, StimulusFeatures]:
        """Return what some files hold, decoding none twice.

        Parameters
        ----------
        names : iterable of str
            Stimuli that have a file.
        recipe : StimulusRecipe
            How.

        Raises
        ------
        DataError
            If a file has changed since its bytes were hashed.
        UnreadableFileError
            If one cannot be decoded.
        """
        wanted = {name: (self.sha256[name], recipe.fingerprint) for name in names}
        made = {key: _held[key] for key in wanted.values() if key in _held}
        for name, key in wanted.items():
            if key in made:
                continue
            made[key] = stimulus_features(self.paths[name], self.cache, recipe)
            if made[key].sha256 != key[0]:
                raise DataError(
                    f"found that {self.paths[name]} has changed since this run began, expected the "
                    "same bytes; run it again"
                )
        _held.clear()
        _held.update(made)
        return {name: made[key] for name, key in wanted.items()}


def content_name(stimulus: str, sha256: Mapping[str, str]) -> str | None:
    """Return the SHA-256 of a stimulus's file, by its name with or without the ending.

    Parameters
    ----------
    stimulus : str
        As a trial names it.
    sha256 : mapping of str to str
        Of the files of stimuli.
    """
    return sha256.get(stimulus) or sha256.get(Path(stimulus).stem)


def known_name(stimulus: str, files: Mapping[str, str]) -> str | None:
    """Return under which name a trial's stimulus is known, None if under none.

    Parameters
    ----------
    stimulus : str
        As a trial names it: with or without the ending of the file.
    files : mapping of str to str
        Name of each stimulus's file.
    """
    stem = Path(stimulus).stem
    if stimulus in files:
        return stimulus
    return stem if files.get(stem) == stimulus else None


def find_stimuli(
    where: str | Path | Sequence[str | Path],
    *,
    cache: str | Path | None = None,
    allow_missing: bool = False,
) -> StimulusFiles:
    """Return the stimuli of folders, of tables, or single ones.

    Parameters
    ----------
    where : str, Path or sequence of them
        A folder of files that are called like the stimuli, such a file, or a table (.toml, .csv).
    cache : str or Path, optional
        Folder of what was decoded.
    allow_missing : bool
        Whether stimuli without a file are masked.

    Raises
    ------
    CallError
        If there is nothing of the kind, a file is not there, or two files have one name.
    """
    paths: dict[str, Path] = {}
    for place in [where] if isinstance(where, str | Path) else where:
        for name, path in _found_at(Path(place)).items():
            if paths.setdefault(name, path) != path:
                raise _twice(name, paths[name], path)
    kept = None if cache is None else Path(cache).absolute()
    return StimulusFiles({k: p.absolute() for k, p in paths.items()}, kept, allow_missing)


def _stated_seconds(path: Path) -> float | None:
    """Return how long a file says that it is; None for a picture, or if it does not say."""
    try:
        seconds = probe_media(path).duration_seconds
    except (CallError, MissingExtraError, UnreadableFileError):
        return None  # moved since, or all was taken from the cache: what was made stands
    return seconds if seconds > 0 and not _is_picture(path) else None


def _is_picture(path: Path) -> bool:
    import mimetypes

    return (mimetypes.guess_type(path.name)[0] or "").startswith("image/")


def _found_at(place: Path) -> dict[str, Path]:
    if place.is_dir():
        return _of_folder(place)
    if place.is_file() and place.suffix.casefold() in _TABLES:
        return _of_table(place)
    if place.is_file() and _is_media(place):
        return {place.stem: place}
    what = "a file that is neither film nor table" if place.is_file() else "nothing"
    raise CallError(
        f"found {what} at {place}, expected a folder of the files that were shown, one of them, or "
        "a table of them (.toml, .csv); check --stimuli"
    )


def _twice(name: str, one: Path, other: Path) -> CallError:
    return CallError(
        f"found {one} and {other} for the stimulus {name!r}, expected one file; leave one out, or "
        "say in a table which it is"
    )


def _of_folder(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    # Licences, subtitles and tables lie beside films.
    for path in sorted(p for p in folder.iterdir() if p.is_file() and _is_media(p)):
        if path.stem in found:
            raise _twice(path.stem, found[path.stem], path)
        found[path.stem] = path
    if not found:
        raise CallError(
            f"found no video, sound or picture in {folder}, expected the files that were shown; "
            "check --stimuli"
        )
    return found


def _is_media(path: Path) -> bool:
    import mimetypes

    kind = mimetypes.guess_type(path.name)[0] or ""
    other = (".mkv", ".webm", ".flac", ".opus", ".m4a", ".ogg", ".avi", ".wmv")
    return kind.split("/")[0] in ("video", "audio", "image") or path.suffix.casefold() in other


def _of_table(table: Path) -> dict[str, Path]:
    rows = _toml_rows(table) if table.suffix.casefold() == ".toml" else _csv_rows(table)
    found: dict[str, Path] = {}
    for name, file in rows:
        path = table.parent / file
        if name in found:
            raise CallError(
                f"found the stimulus {name!r} twice in {table}, expected once; leave one out"
            )
        if not path.is_file():
            raise CallError(
                f"found no file at {path} for the stimulus {name!r} of {table}, expected one; "
                "paths are seen from the table's folder"
            )
        found[name] = path
    if not found:
        raise CallError(f"found no stimulus in {table}, expected at least one; add rows")
    return found


def _toml_rows(table: Path) -> list[tuple[str, str]]:
    try:
        content: dict[str, Any] = tomllib.loads(table.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CallError(
            f"found {table} that is no TOML ({error}), expected rows such as "
            '"clip-1" = "clips/one.mp4"'
        ) from error
    for name, file in content.items():
        if not isinstance(file, str):
            raise CallError(
                f"found {name} = {file!r} in {table}, expected the path of a file; write rows such "
                'as "clip-1" = "clips/one.mp4"'
            )
    return list(content.items())


def _csv_rows(table: Path) -> list[tuple[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), tuple(reader.fieldnames or ())
    except (UnicodeDecodeError, csv.Error) as error:
        raise CallError(
            f"found {table} that is no CSV ({error}), expected the columns stimulus and file"
        ) from error
    if not set(_COLUMNS) <= set(columns):
        raise CallError(
            f"found the columns {', '.join(columns) or 'none'} in {table}, expected "
            f"{' and '.join(_COLUMNS)}; name them in the first line"
        )
    return [(str(row["stimulus"]), str(row["file"])) for row in rows]


def _listed(names: Iterable[str]) -> str:
    there = sorted(names)
    return ", ".join(there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "")
