"""The feature store: parts that are finished one by one, and the Zarr store they become.

While it is being built, everything lies in ``<out>.partial/<hash of the recipe>/``: one file per
recording, renamed into place when it is complete, and one small JSON file per source once all its
recordings are there. At the end the parts become one Zarr v3 store, which takes its place in one
rename. So a run can be killed at any time, a finished recording is never computed again, and a
part of another recipe is never used.
"""

import json
import os
import shutil
import string
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import xarray as xr

from physioemo.errors import (
    DamagedRecordingError,
    DataError,
    NewerSchemaError,
    RecordingExistsError,
    RecordingNotFoundError,
)
from physioemo.features.preprocess_recipe import PreprocessRecipe

__all__ = ["STORE_VERSION", "Workshop", "family_axes", "open_features"]

STORE_VERSION = 1
_CAPITALS_AND_TILDE = frozenset(string.ascii_uppercase + "~")
_WINDOWS_PER_CHUNK = 4096
_ROWS = ("window", "recording")


def open_features(path: str | Path) -> xr.Dataset:
    """Open a feature store.

    Parameters
    ----------
    path : str or Path
        What ``physioemo preprocess --out`` wrote.

    Returns
    -------
    Dataset
        Arrays are read when they are used; text is Python's. ``attrs`` hold the recipe, its
        hash, versions, and the fingerprints of the sources.

    Raises
    ------
    RecordingNotFoundError, NewerSchemaError, DamagedRecordingError
        If there is no feature store at `path`, or not one that can be read.
    """
    folder = Path(path)
    if not (folder / "zarr.json").is_file():
        unfinished = folder.with_name(folder.name + ".partial").is_dir()
        what = "one that is not finished" if unfinished else "nothing"
        what = "something else" if folder.exists() and not unfinished else what
        raise RecordingNotFoundError(
            f"found {what} at {folder}, expected a feature store; run 'physioemo preprocess'"
            + (" again, it goes on where it stopped" if unfinished else "")
        )
    try:
        with warnings.catch_warnings():
            # Stores written by others, or by studies, are small: no list of all arrays is needed.
            warnings.filterwarnings("ignore", message="Failed to open Zarr store with consolidated")
            dataset = xr.open_zarr(folder, chunks=None)
        version = dataset.attrs["feature_store_version"]
    except Exception as error:  # zarr and xarray raise many kinds for damaged metadata
        raise DamagedRecordingError(
            f"found a store at {folder} that cannot be opened as features ({error!r:.200}), "
            "expected what 'physioemo preprocess' wrote; check the path"
        ) from error
    if version > STORE_VERSION:
        raise NewerSchemaError(
            f"found feature store version {version} in {folder}, expected at most "
            f"{STORE_VERSION}; update PhysioEmo to read it"
        )
    return _plain_text(dataset)


def family_axes(store: xr.Dataset, family: str) -> dict[str, tuple[str, ...]]:
    """Return the labels along each axis of a family's values but the window, by the axis' name.

    Parameters
    ----------
    store : Dataset
        From :func:`open_features`.
    family : str
        A family that it holds, such as ``"de"``.
    """
    dims = store[family].dims[1:]
    return {str(d).removeprefix(f"{family}_"): tuple(str(v) for v in store[d].values) for d in dims}


def _plain_text(dataset: xr.Dataset) -> xr.Dataset:
    text = {k: v for k, v in dataset.variables.items() if v.dtype.kind in "TU"}
    plain = {k: (v.dims, v.values.astype(object), v.attrs) for k, v in text.items()}
    coords = [k for k in plain if k in dataset.coords]
    return dataset.assign(plain).set_coords(coords)


@dataclass(frozen=True)
class Workshop:
    """Where a feature store is built.

    Parameters
    ----------
    out : Path
        The store.
    recipe : PreprocessRecipe
        What it is made by.
    """

    out: Path
    recipe: PreprocessRecipe

    @property
    def partial(self) -> Path:
        """Everything that is not finished."""
        return self.out.with_name(self.out.name + ".partial")

    @property
    def folder(self) -> Path:
        """What belongs to this recipe."""
        return self.partial / self.recipe.fingerprint

    def check_out(self, *, overwrite: bool) -> None:
        """Refuse to replace something else than a store of the same recipe, unless asked.

        Raises
        ------
        RecordingExistsError
            If something is there that is no feature store, or one of another recipe.
        """
        if not self.out.exists():
            return
        if not (self.out / "zarr.json").is_file():
            raise RecordingExistsError(
                f"found something at {self.out} that is no feature store, expected nothing "
                "there; choose another --out"
            )
        with open_features(self.out) as found:
            other = found.attrs["recipe_hash"]
        if other != self.recipe.fingerprint and not overwrite:
            raise RecordingExistsError(
                f"found a feature store of another recipe (hash {other}) at {self.out}, expected "
                f"{self.recipe.fingerprint}; choose another --out, or replace it with --overwrite"
            )

    def part_path(self, source: str, recording: str) -> Path:
        """Return the file of one recording's features."""
        return self.folder / f"{_file_name(source)}~{_file_name(recording)}.npz"

    def save_part(self, source: str, recording: str, part: xr.Dataset) -> None:
        """Write one recording's features; the file is there whole or not at all."""
        path = self.part_path(source, recording)
        _replace_file(path, lambda file: _write_part(file, part))

    def finished(self, source: str, fingerprints: Mapping[str, str]) -> list[str] | None:
        """Return the recordings of a source if all are there and its files are unchanged."""
        note = self._note(source)
        if note is None or note["files"] != dict(fingerprints):
            return None
        names: list[str] = note["recordings"]
        return names if all(self.part_path(source, n).is_file() for n in names) else None

    def begin(self, source: str, fingerprints: Mapping[str, str]) -> None:
        """Drop the parts of a source whose files have changed since."""
        started = self._beside(source, "started.json")
        text = json.dumps(dict(fingerprints), sort_keys=True)
        if started.is_file() and started.read_text(encoding="utf-8") == text:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._beside(source, "json").unlink(missing_ok=True)
        for part in self.folder.glob(f"{_literal(_file_name(source))}~*.npz"):
            part.unlink()
        _replace_file(started, lambda file: file.write(text.encode()))

    def finish(
        self, source: str, fingerprints: Mapping[str, str], recordings: Sequence[str]
    ) -> None:
        """Note that all recordings of a source are there."""
        note = {"files": dict(fingerprints), "recordings": list(recordings)}
        path = self._beside(source, "json")
        _replace_file(path, lambda file: file.write(json.dumps(note).encode()))

    def _beside(self, source: str, suffix: str) -> Path:
        return self.folder / f"{_file_name(source)}.{suffix}"

    def _note(self, source: str) -> dict[str, Any] | None:
        path = self._beside(source, "json")
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def holds(self, sources: Mapping[str, Mapping[str, str]]) -> bool:
        """Return whether the finished store is of this recipe and of exactly these files."""
        if not self.out.exists():
            return False
        with open_features(self.out) as store:
            there = {s["name"]: s["files"] for s in store.attrs["sources"]}
            same_recipe = store.attrs["recipe_hash"] == self.recipe.fingerprint
        return same_recipe and there == {k: dict(v) for k, v in sources.items()}

    def take_over(self) -> None:
        """Make parts of a finished store of the same recipe, so that only news are computed."""
        if not self.out.exists() or self.folder.exists():
            return
        with open_features(self.out) as store:
            if store.attrs["recipe_hash"] != self.recipe.fingerprint:
                return
            stops = np.cumsum(store["recording_windows"].values)
            at = 0
            for source in store.attrs["sources"]:
                self.begin(source["name"], source["files"])
                for recording in source["recordings"]:
                    rows = slice(
                        int(stops[at] - store["recording_windows"].values[at]), int(stops[at])
                    )
                    part = store.isel(recording=[at], window=rows).load()
                    self.save_part(source["name"], recording, part)
                    at += 1
                self.finish(source["name"], source["files"], source["recordings"])

    def publish(self, sources: Sequence[str], attrs: Mapping[str, Any]) -> Path:
        """Join the parts of all sources, in that order, and put the store in its place.

        Raises
        ------
        DataError
            If two recordings do not have the same channels, bands or other axes.
        """
        notes = {s: self._note(s) for s in sources}
        rows = [
            {"name": s, "files": n["files"], "recordings": n["recordings"]}
            for s, n in notes.items()
            if n is not None
        ]
        paths = [self.part_path(r["name"], name) for r in rows for name in r["recordings"]]
        ready = self.folder / "store.zarr"
        shutil.rmtree(ready, ignore_errors=True)
        root = {
            **attrs,
            "recipe": self.recipe.to_dict(),
            "recipe_hash": self.recipe.fingerprint,
            "offline_only": self.recipe.offline_only,
            "sources": rows,
            "feature_store_version": STORE_VERSION,
        }
        _join(paths, ready, root)
        old = self.folder / "old.zarr"
        shutil.rmtree(old, ignore_errors=True)
        if self.out.exists():
            self.out.rename(old)
        ready.rename(self.out)
        shutil.rmtree(self.partial, ignore_errors=True)
        return self.out


def _file_name(name: str) -> str:
    """Return a name of part of a file: a slash must not lead elsewhere, nor 'A' be the file of 'a'.

    Windows and macOS do not know capitals from small letters; a tilde stands between two names.
    """
    return "".join(f"%{ord(c):x}" if c in _CAPITALS_AND_TILDE else quote(c, safe="") for c in name)


def _literal(name: str) -> str:
    import glob

    return glob.escape(name)


def _replace_file(path: Path, write: Any) -> None:
    """Write a file beside its place, force it to disk, and rename it into its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _write_part(file: Any, part: xr.Dataset) -> None:
    layout = {
        str(name): {
            "dims": [str(d) for d in v.dims],
            "attrs": dict(v.attrs),
            "coordinate": name in part.coords,
            "text": v.dtype.kind in "OUT",
        }
        for name, v in part.variables.items()
    }
    arrays: dict[str, Any] = {
        str(name): v.values.astype(str) if v.dtype.kind in "OUT" else v.values
        for name, v in part.variables.items()
    }
    np.savez(file, **{"/layout": np.array(json.dumps(layout)), **arrays})


def read_part(path: Path) -> xr.Dataset:
    """Return the part in a file."""
    with np.load(path, allow_pickle=False) as file:
        layout = json.loads(str(file["/layout"]))
        arrays = {
            name: (
                row["dims"],
                file[name].astype(object) if row["text"] else file[name],
                row["attrs"],
            )
            for name, row in layout.items()
        }
    coordinates = [name for name, row in layout.items() if row["coordinate"]]
    return xr.Dataset(arrays).set_coords(coordinates)


def _parts(paths: Sequence[Path]) -> Iterator[tuple[Path, xr.Dataset]]:
    for path in paths:
        yield path, read_part(path)


def _join(paths: Sequence[Path], folder: Path, attrs: Mapping[str, Any]) -> None:
    """Write parts as one store; one part is in memory at a time."""
    import zarr

    first = read_part(paths[0])
    totals = dict.fromkeys(_ROWS, 0)
    for path, part in _parts(paths):
        _check_same_axes(first, part, paths[0], path)
        for axis in _ROWS:
            totals[axis] += part.sizes[axis]
    group = zarr.create_group(str(folder), zarr_format=3)
    arrays = {
        str(name): _create_array(group, str(name), variable, totals)
        for name, variable in first.variables.items()
    }
    at = dict.fromkeys(_ROWS, 0)
    for _, part in _parts(paths):
        for name, variable in part.variables.items():
            _write_rows(arrays[str(name)], variable, at)
        for axis in _ROWS:
            at[axis] += part.sizes[axis]
    coordinates = " ".join(sorted(str(c) for c in first.coords if c not in first.dims))
    group.update_attributes({**attrs, "coordinates": coordinates})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(str(folder))


def _check_same_axes(first: xr.Dataset, part: xr.Dataset, wanted: Path, found: Path) -> None:
    names = set(map(str, first.variables)), set(map(str, part.variables))
    apart = names[0] ^ names[1]
    differing = [
        str(axis)
        for axis in first.dims
        if axis not in _ROWS and not apart and not np.array_equal(first[axis], part[axis])
    ]
    if apart or differing:
        what = f"the column {min(apart)!r} in only one" if apart else f"another {differing[0]!r}"
        raise DataError(
            f"found {what} of the recordings {wanted.stem} and {found.stem}, expected the same "
            "channels, features and columns in all; make a store of those that are alike"
        )


def _create_array(group: Any, name: str, variable: Any, totals: Mapping[str, int]) -> Any:
    from zarr.codecs import BloscCodec

    text = variable.dtype.kind in "OUT"
    shape = tuple(totals.get(d, n) for d, n in zip(variable.dims, variable.shape, strict=True))
    chunks = tuple(
        max(1, min(n, _WINDOWS_PER_CHUNK)) if d in _ROWS else max(1, n)
        for d, n in zip(variable.dims, shape, strict=True)
    )
    shuffle = {} if text else {"compressors": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")}
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=str if text else variable.dtype,
        dimension_names=[str(d) for d in variable.dims],
        attributes=dict(variable.attrs),
        **shuffle,
    )


def _write_rows(array: Any, variable: Any, at: Mapping[str, int]) -> None:
    axis = str(variable.dims[0])
    values = variable.values
    if axis not in _ROWS:
        if at["recording"] == 0:
            array[...] = values
    elif len(values):
        array[at[axis] : at[axis] + len(values)] = values
