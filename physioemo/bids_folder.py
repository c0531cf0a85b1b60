"""The folder of a BIDS data set: what is there stays, and what it says of itself."""

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from physioemo import __version__
from physioemo.errors import RecordingExistsError, StoreError
from physioemo.recording import Recording

__all__ = [
    "describe_dataset",
    "recording_files",
    "source_folder",
    "unchanged_on_failure",
    "write_json",
]

_BIDS_VERSION = "1.11.0"
_SHARED = ("dataset_description.json", "participants.tsv", "participants.json")
_README = """Written by PhysioEmo.

Onsets in events.tsv are seconds since the first sample of the data file beside it. The columns
session_time and timestamp are seconds on the clock that all streams of a recording share; 0 is
the first sample of its (first) EEG, or of anything where there is no EEG.

What has to be known of single recordings:
"""


@contextmanager
def unchanged_on_failure(
    root: Path, folder: Path, entities: Mapping[str, str], *, overwrite: bool
) -> Iterator[None]:
    """Refuse what is there; put everything back as it was if the block fails.

    Parameters
    ----------
    root, folder : Path
        The data set, and the participant's or session's part of it.
    entities : mapping of str to str
        BIDS entities of the recording, such as ``{"sub": "01", "task": "films"}``.
    overwrite : bool
        Whether files of the same recording may be replaced.

    Raises
    ------
    RecordingExistsError
        If the recording is there and may not be replaced, or `root` is a file.
    StoreError
        If the block failed because something cannot be written.
    """
    if root.exists() and not root.is_dir():
        raise RecordingExistsError(
            f"found a file at {root}, expected the folder of a BIDS data set; choose another name"
        )
    folders = (folder, source_folder(root, folder))
    old = [p for f in folders for p in recording_files(f, entities)]
    if old and not overwrite:
        raise RecordingExistsError(
            f"found {old[0].name} in {old[0].parent}, expected nothing of this recording there; "
            "choose other labels or pass --overwrite"
        )
    new_root = not root.exists()
    aside = root / f".replaced-{secrets.token_hex(4)}"
    try:
        before = {p for f in folders for p in [f, *f.rglob("*")] if p.exists() and p not in old}
        texts = [p for p in before if p.suffix in {".tsv", ".json"}]
        texts += [p for p in (root / n for n in _SHARED) if p.is_file()] + _readmes(root)
        kept = {p: p.read_bytes() for p in texts}
        for path in old:
            _move(path, aside / path.relative_to(root))
        yield
    except BaseException as error:
        if new_root:
            shutil.rmtree(root, ignore_errors=True)
        else:
            _restore(root, folders, kept, before)
            for path in old:
                _move(aside / path.relative_to(root), path)
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise StoreError(
                f"found that {root} cannot be written ({error.strerror or error}), expected a "
                "writable place with enough room; choose another place or free some space"
            ) from error
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def source_folder(root: Path, folder: Path) -> Path:
    """Return the folder below ``sourcedata`` that belongs to a participant's or session's."""
    return root / "sourcedata" / folder.relative_to(root)


def _move(path: Path, target: Path) -> None:
    if path.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def recording_files(folder: Path, entities: Mapping[str, str]) -> list[Path]:
    """Return the files whose names have these entities; others, such as acq, may be there too."""
    found = []
    for path in sorted(p for kind in ("eeg", "beh", ".") for p in (folder / kind).glob("sub-*_*")):
        if path.name.endswith("_scans.tsv"):
            continue
        named = dict(part.split("-", 1) for part in path.name.split("_") if "-" in part)
        if all(named.get(e) == entities.get(e) for e in ("sub", "ses", "task", "run")):
            found.append(path)
    return found


def _restore(
    root: Path, folders: Sequence[Path], kept: Mapping[Path, bytes], before: set[Path]
) -> None:
    parents = [p for f in folders for p in f.parents if root in p.parents]
    there = [p for f in folders for p in [f, *f.rglob("*")] if p.exists()] + parents
    for path in sorted({p for p in there if p.exists()}, reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in before:
            path.unlink()
    for path in [*(root / name for name in _SHARED), *_readmes(root)]:
        if path not in kept:
            path.unlink(missing_ok=True)
    for path, content in kept.items():
        path.write_bytes(content)


def _readmes(root: Path) -> list[Path]:
    return sorted(root.glob("README*"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a sidecar."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def describe_dataset(
    recording: Recording,
    root: Path,
    entities: Mapping[str, str],
    *,
    is_new: bool,
    remarks: Sequence[str] = (),
) -> None:
    """Write what the data set says of itself, and what this recording adds to it.

    Parameters
    ----------
    recording : Recording
        The recording that was written.
    root : Path
        The data set.
    entities : mapping of str to str
        BIDS entities of the recording.
    is_new : bool
        Whether the data set had no description before; one that it had is kept.
    remarks : sequence of str, optional
        What has to be known beside the recording's notes.
    """
    description = root / "dataset_description.json"
    found: dict[str, Any] = {}
    if is_new:
        name = "Recordings of a simulated participant" if recording.simulated else root.name
        found = {"Name": name, "BIDSVersion": _BIDS_VERSION, "DatasetType": "raw"}
        found["GeneratedBy"] = [{"Name": "PhysioEmo", "Version": __version__}]
    else:
        found = json.loads(description.read_text("utf-8"))
    if recording.simulated:
        found["Keywords"] = sorted({*found.get("Keywords", []), "simulated"})
    write_json(description, found)
    _add_participant(root / "participants.tsv", f"sub-{entities['sub']}")
    readme = next(iter(_readmes(root)), root / "README")
    text = readme.read_text("utf-8") if readme.is_file() else _README
    name = "_".join(f"{k}-{v}" for k, v in entities.items())
    lines = ["SIMULATED participant; no person was measured"] if recording.simulated else []
    for line in (f"- {name}: {what}.\n" for what in [*lines, *recording.notes, *remarks]):
        text += "" if line in text else line
    readme.write_text(text, "utf-8")


def _add_participant(path: Path, participant: str) -> None:
    lines = path.read_text("utf-8-sig").splitlines() if path.is_file() else ["participant_id"]
    if participant not in {line.split("\t")[0] for line in lines[1:]}:
        n_columns = len(lines[0].split("\t"))
        lines.append("\t".join([participant, *["n/a"] * (n_columns - 1)]))
        path.write_text("\n".join(lines) + "\n", "utf-8")
