"""The Zarr store of a sealed recording: written in whole shards, verified, published last, opened.

One group per stream, and one per table. The root ``zarr.json`` with ``n_committed`` is written when
everything else is there.
"""

import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.errors import DamagedRecordingError, NewerSchemaError
from physioemo.recording import TABLES, Recording
from physioemo.stream import describe_stream

__all__ = [
    "SCHEMA_VERSION",
    "check_schema",
    "open_sealed",
    "publish",
    "verify_stream",
    "write_stream",
]

SCHEMA_VERSION = 1
_CHUNK_SECONDS, _SHARD_CHUNKS = 4, 30


def write_stream(folder: Path, key: str, stream: xr.Dataset) -> None:
    """Write one stream as a group of its own; without a root it is not yet readable."""
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


def verify_stream(folder: Path, key: str, stream: xr.Dataset) -> None:
    """Compare what was written of a stream with what it was written from.

    Raises
    ------
    DamagedRecordingError
        If one sample or one stamp differs.
    """
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


def publish(
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


def open_sealed(folder: Path) -> Recording:
    """Open a sealed recording, checked against what its root says is in it.

    Raises
    ------
    NewerSchemaError, DamagedRecordingError
    """
    import zarr

    try:
        root = zarr.open_group(str(folder), mode="r")
        check_schema(dict(root.attrs), folder)
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


def check_schema(attrs: Mapping[str, Any], folder: Path) -> None:
    """Refuse what is no recording, or one of a later PhysioEmo.

    Parameters
    ----------
    attrs : mapping
        Of the store's root or of the journal's session.
    folder : Path
        Of the recording.
    """
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
