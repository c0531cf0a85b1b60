"""Recordings on disk: create, seal, validate, open.

A recording is a folder. While it runs it holds only ``journal/``; once sealed it is a Zarr v3
store with one group per stream and the tables ``trials``, ``ratings`` and ``events``. The
root ``zarr.json`` with ``n_committed`` is written last: a folder without it is read from its
journal.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from physioemo.description import group_key
from physioemo.errors import (
    CallError,
    RecordingExistsError,
    RecordingNotFoundError,
    StoreError,
)
from physioemo.folder_lock import refuse_in_use, sole_writer
from physioemo.journal_reader import (
    JournalContents,
    journal_segments,
    load_journal_stream,
    read_journal,
)
from physioemo.recording import Recording
from physioemo.sealed_store import (
    SCHEMA_VERSION,
    check_schema,
    open_sealed,
    publish,
    verify_stream,
    write_stream,
)
from physioemo.trials import derive_tables

__all__ = [
    "SCHEMA_VERSION",
    "create_recording",
    "open_recording",
    "prepare_folder",
    "refuse_existing",
    "seal",
]

JOURNAL = "journal"


def open_recording(path: str | Path) -> Recording:
    """Open a recording, sealed or still in its journal.

    Parameters
    ----------
    path : str or Path
        The folder of the recording.

    Returns
    -------
    Recording
        ``recording.notes`` says if it was cut off or damaged.

    Raises
    ------
    RecordingNotFoundError, NewerSchemaError, DamagedRecordingError
    """
    folder = Path(path)
    if (folder / "zarr.json").is_file():
        return open_sealed(folder)
    if journal_segments(folder / JOURNAL):
        return _open_journal(folder)
    what = "no such folder" if not folder.exists() else "neither zarr.json nor a journal"
    raise RecordingNotFoundError(
        f"found {what} at {folder}, expected a recording; check the path, or bring another "
        "format in with 'physioemo import'"
    )


def create_recording(
    path: str | Path,
    streams: Mapping[str, xr.Dataset],
    *,
    trials: xr.Dataset | None = None,
    ratings: xr.Dataset | None = None,
    events: xr.Dataset | None = None,
    attrs: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Recording:
    """Write streams that are already in memory as a sealed recording.

    Parameters
    ----------
    path : str or Path
        Folder to create.
    streams : mapping of str to Dataset
        From :func:`physioemo.stream.make_stream`; the keys become group names.
    trials, ratings, events : Dataset, optional
        Tables of :mod:`physioemo.trials`; by default those that marker and rating streams
        imply.
    attrs : mapping, optional
        Session attributes (JSON-able), such as ``subject``, ``session``, ``created_utc``.
    overwrite : bool
        Replace a recording that is already there.

    Raises
    ------
    RecordingExistsError
        If something is at `path` and `overwrite` is false.
    """
    folder = Path(path)
    if not streams:
        raise CallError("found no streams, expected at least one to make a recording of")
    keyed: dict[str, xr.Dataset] = {}
    for name, stream in streams.items():
        keyed[group_key(name, keyed)] = stream
    given = {"trials": trials, "ratings": ratings, "events": events}
    tables = derive_tables(keyed) | {k: v for k, v in given.items() if v is not None}
    prepare_folder(folder, overwrite=overwrite)
    for key, stream in keyed.items():
        write_stream(folder, key, stream)
    publish(folder, {k: s.sizes["time"] for k, s in keyed.items()}, tables, dict(attrs or {}))
    return open_recording(folder)


def refuse_existing(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that may not be used for a new recording; touch nothing.

    Raises
    ------
    RecordingExistsError
        If something is there and `overwrite` is false, or it is not a recording.
    StoreError
        If nobody may look there, or it is being recorded at this moment.
    """
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return
    except OSError as error:
        raise StoreError(_cannot_create(folder, error)) from error
    is_recording = (folder / "zarr.json").is_file() or (folder / JOURNAL).is_dir()
    if not overwrite or not is_recording:
        what = "a recording" if is_recording else "something that is not a recording"
        raise RecordingExistsError(
            f"found {what} at {folder}, expected nothing there; choose another name"
            + (" or pass --overwrite" if is_recording else "")
        )
    refuse_in_use(folder / JOURNAL)


def prepare_folder(folder: Path, *, overwrite: bool) -> None:
    """Create the folder of a new recording; an old recording goes only when asked.

    Raises
    ------
    RecordingExistsError
        If something is there and `overwrite` is false, or it is not a recording.
    StoreError
        If the folder cannot be created.
    """
    refuse_existing(folder, overwrite=overwrite)
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(_cannot_create(folder, error)) from error


def _cannot_create(folder: Path, error: OSError) -> str:
    return (
        f"found that {folder} cannot be created ({error.strerror}), expected a writable place; "
        "choose another folder or ask for permission"
    )


def seal(path: str | Path) -> Recording:
    """Turn a journal into a sealed store, check it against the journal, then drop the journal.

    Sealing an already sealed recording does nothing, so it can be repeated at any time.

    Raises
    ------
    DamagedRecordingError
        If the sealed samples differ from the journal's; the journal is kept.
    StoreError
        If it is being recorded or sealed at this moment.
    """
    folder = Path(path)
    journal = folder / JOURNAL
    if journal_segments(journal):
        with sole_writer(journal):
            if not (folder / "zarr.json").is_file():
                _seal_journal(folder, read_journal(journal))
    if (folder / "zarr.json").is_file():
        shutil.rmtree(journal, ignore_errors=True)
    return open_recording(folder)


def _seal_journal(folder: Path, contents: JournalContents) -> None:
    check_schema(contents.session, folder)
    committed = {}
    for number, key in contents.keys.items():
        stream = load_journal_stream(contents, number)
        shutil.rmtree(folder / key, ignore_errors=True)
        write_stream(folder, key, stream)
        verify_stream(folder, key, stream)
        committed[key] = stream.sizes["time"]
    light = _light_streams(contents)
    publish(folder, committed, derive_tables(light), _session_attrs(contents))


def _light_streams(contents: JournalContents) -> dict[str, xr.Dataset]:
    """Load the streams that tables are made of: text and ratings."""
    return {
        key: load_journal_stream(contents, number)
        for number, key in contents.keys.items()
        if contents.descriptions[number].is_text
        or contents.descriptions[number].modality == "ratings"
    }


def _session_attrs(contents: JournalContents) -> dict[str, Any]:
    notes = list(contents.damage)
    if contents.end is None:
        notes.insert(0, "the recording was cut off: it ends at the last whole frame")
    elif contents.end.get("reason", "stopped") != "stopped":
        notes.insert(0, f"the recording ended early: {contents.end['reason']}")
    session = {k: v for k, v in contents.session.items() if k != "schema_version"}
    return {**session, "recorder_events": contents.events, "notes": notes}


def _open_journal(folder: Path) -> Recording:
    contents = read_journal(folder / JOURNAL)
    check_schema(contents.session, folder)
    streams = {key: load_journal_stream(contents, n) for n, key in contents.keys.items()}
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs=_session_attrs(contents)), **streams, **derive_tables(streams)}
    )
    return Recording(tree, path=folder, sealed=False)
