"""Recordings on disk: create, seal, validate, open.

A recording is a folder. While it runs it holds only ``journal/``; once sealed it is a Zarr v3
store with one group per stream and the tables ``trials``, ``ratings`` and ``events``. The
root ``zarr.json`` with ``n_committed`` is written last: a folder without it is read from its
journal.
"""

import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.description import group_key
from physioemo.errors import (
    CallError,
    DamagedRecordingError,
    NewerSchemaError,
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
from physioemo.recording import TABLES, Recording
from physioemo.stream import describe_stream
from physioemo.trials import derive_tables

__all__ = [
    "SCHEMA_VERSION",
    "create_recording",
    "open_recording",
    "prepare_folder",
    "refuse_existing",
    "seal",
]

SCHEMA_VERSION = 1
JOURNAL = "journal"
_CHUNK_SECONDS, _SHARD_CHUNKS = 4, 30


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
        return _open_sealed(folder)
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
        _write_stream(folder, key, stream)
    _publish(folder, {k: s.sizes["time"] for k, s in keyed.items()}, tables, dict(attrs or {}))
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
    _check_schema(contents.session, folder)
    committed = {}
    for number, key in contents.keys.items():
        stream = load_journal_stream(contents, number)
        shutil.rmtree(folder / key, ignore_errors=True)
        _write_stream(folder, key, stream)
        _verify(folder, key, stream)
        committed[key] = stream.sizes["time"]
    light = _light_streams(contents)
    _publish(folder, committed, derive_tables(light), _session_attrs(contents))


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
    _check_schema(contents.session, folder)
    streams = {key: load_journal_stream(contents, n) for n, key in contents.keys.items()}
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs=_session_attrs(contents)), **streams, **derive_tables(streams)}
    )
    return Recording(tree, path=folder, sealed=False)


def _open_sealed(folder: Path) -> Recording:
    import zarr

    try:
        root = zarr.open_group(str(folder), mode="r")
        _check_schema(dict(root.attrs), folder)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Object at journal")
            tree = xr.open_datatree(str(folder), engine="zarr", chunks=None)
    except NewerSchemaError:
        raise
    except Exception as error:  # zarr and xarray raise many kinds for damaged metadata
        raise DamagedRecordingError(
            f"found a store at {folder} that cannot be opened ({error}), expected a sealed "
            "recording; restore the folder from a copy"
        ) from error
    _validate(tree, folder)
    return Recording(tree.map_over_datasets(_plain_text), path=folder, sealed=True)


def _plain_text(dataset: xr.Dataset) -> xr.Dataset:
    """Return text as Python strings: NumPy's own variable-length type does not sort or cast."""
    text = {
        name: (variable.dims, variable.values.astype(object), variable.attrs)
        for name, variable in dataset.variables.items()
        if variable.dtype.kind == "T"
    }
    return dataset.assign({k: v for k, v in text.items() if k in dataset.data_vars}).assign_coords(
        {k: v for k, v in text.items() if k in dataset.coords}
    )


def _check_schema(attrs: Mapping[str, Any], folder: Path) -> None:
    version = attrs.get("schema_version")
    if not isinstance(version, int):
        raise DamagedRecordingError(
            f"found no schema_version in {folder}, expected a PhysioEmo recording; it may be "
            "another program's Zarr store"
        )
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"found schema version {version} in {folder}, expected at most {SCHEMA_VERSION}; "
            "update PhysioEmo to read this recording"
        )


def _validate(tree: xr.DataTree, folder: Path) -> None:
    """Check what is in a sealed store against what its root says is in it."""
    for key, n_committed in tree.attrs["n_committed"].items():
        if key not in tree.children:
            raise DamagedRecordingError(
                f"found no group {key!r} in {folder}, expected the stream that the recording "
                "lists; restore the folder from a copy"
            )
        stream = tree[key]
        missing = [v for v in ("signal", "raw_time") if v not in stream.data_vars]
        missing += [c for c in ("time", "channel", "channel_unit") if c not in stream.coords]
        if missing:
            raise DamagedRecordingError(
                f"found no array {missing[0]!r} in {folder / key}, expected it beside the "
                "others; restore the folder from a copy"
            )
        if stream.sizes["time"] != n_committed:
            raise DamagedRecordingError(
                f"found {stream.sizes['time']} samples in {folder / key}, expected "
                f"{n_committed}; restore the folder from a copy"
            )
        describe_stream(stream.to_dataset())


def _write_stream(folder: Path, key: str, stream: xr.Dataset) -> None:
    import zarr

    group = zarr.create_group(
        str(folder / key),
        zarr_format=3,
        attributes={**stream.attrs, "coordinates": "channel_unit channel_type"},
    )
    per_chunk = max(int(_CHUNK_SECONDS * float(stream.attrs["sfreq"])), 256)
    for name, variable in {**stream.coords, **stream.data_vars}.items():
        _write_array(group, str(name), variable, per_chunk)


def _write_array(group: Any, name: str, variable: xr.DataArray, per_chunk: int) -> None:
    from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

    values = variable.values
    is_text = values.dtype.kind in "OUT"
    # Compressed data have no checksum of their own: one flipped bit would be another number.
    options: dict[str, Any] = {"compressors": (ZstdCodec(), Crc32cCodec())}
    if variable.dims[0] == "time" and len(values) and not is_text:
        other = values.shape[1:]
        # Whole shards, written once: zarr pads the last one, so small arrays get small shards.
        n_chunks = min(-(-len(values) // per_chunk), _SHARD_CHUNKS)
        options = {
            "chunks": (per_chunk, *other),
            "shards": (per_chunk * n_chunks, *other),
            "compressors": (
                BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
                Crc32cCodec(),
            ),
        }
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=str if is_text else values.dtype,
        dimension_names=[str(d) for d in variable.dims],
        attributes=dict(variable.attrs),
        **options,
    )
    for rows in _stretches(values, array):
        array[rows] = np.asarray(values[rows], dtype=object if is_text else values.dtype)


def _stretches(values: np.ndarray, array: Any) -> Iterator[slice]:
    """Yield whole shards: what is written or compared at once is a small part of a long stream."""
    step = (array.shards or array.shape)[0] if values.size else 1
    for start in range(0, len(values) if values.size else 0, step):
        yield slice(start, start + step)


def _verify(folder: Path, key: str, stream: xr.Dataset) -> None:
    import zarr

    group = zarr.open_group(str(folder / key), mode="r")
    for name in ("signal", "raw_time", "time"):
        wanted = stream[name].values
        array: Any = group[name]
        equal_nan = wanted.dtype.kind == "f"
        same = array.shape == wanted.shape and all(
            np.array_equal(
                np.asarray(array[rows]).astype(wanted.dtype, copy=False),
                wanted[rows],
                equal_nan=equal_nan,
            )
            for rows in _stretches(wanted, array)
        )
        if not same:
            raise DamagedRecordingError(
                f"found other values in {folder / key / name} than in the journal, expected the "
                "same; the journal is kept, check the disk and run 'physioemo recover'"
            )


def _publish(
    folder: Path,
    n_committed: dict[str, int],
    tables: Mapping[str, xr.Dataset],
    attrs: dict[str, Any],
) -> None:
    """Write the tables and then, last, the root that makes the store readable."""
    import zarr

    for name in TABLES:
        shutil.rmtree(folder / name, ignore_errors=True)
        table = tables[name]
        group = zarr.create_group(str(folder / name), zarr_format=3, attributes=table.attrs)
        for variable, values in {**table.coords, **table.data_vars}.items():
            _write_array(group, str(variable), values, 256)
    root = {**attrs, "schema_version": SCHEMA_VERSION, "n_committed": n_committed}
    zarr.create_group(str(folder), zarr_format=3, attributes=root)
    with warnings.catch_warnings():
        # Readers without consolidated metadata find the groups by listing the folder.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        # The journal lies here until the sealed store has been checked.
        warnings.filterwarnings("ignore", message="Object at journal")
        zarr.consolidate_metadata(str(folder))
