"""Stimulus features on disk: a file is decoded once, whatever it is called and wherever it lies.

A cache file is named by the SHA-256 of the stimulus' bytes and the fingerprint of the recipe. It
is safetensors, so nothing in it can be executed; it is there whole or not at all, and carries a
hash of its numbers: one that is damaged is told, and made anew.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.atomic_file import new_path
from physioemo.errors import StoreError
from physioemo.features.stimulus_features import (
    StimulusFeatures,
    StimulusRecipe,
    decode_stimulus,
)
from physioemo.fingerprint import array_fingerprint, canonical_json
from physioemo.media import sha256_of

__all__ = ["stimulus_features"]

_ARRAYS = (
    "sound_seconds",
    "fbank",
    "descriptors",
    "frame_seconds",
    "pictures",
    "motion",
    "covariates",
)
_KINDS = {"F64": "<f8", "F32": "<f4", "U8": "u1"}
_ABOUT, _HASH = "about", "hash"

Say = Callable[[str], None]


def stimulus_features(
    path: str | Path,
    cache: str | Path | None,
    recipe: StimulusRecipe | None = None,
    *,
    say: Say | None = None,
    mapped: bool = False,
) -> StimulusFeatures:
    """Return the features of a stimulus file, decoding it only if nobody has before.

    Parameters
    ----------
    path : str or Path
        Video, sound or picture.
    cache : str, Path or None
        The folder of the decoded features, made if it is not there; None keeps nothing.
    recipe : StimulusRecipe, optional
        How to decode.
    say : callable, optional
        Told a sentence if a cache file is damaged or cannot be written; a warning by default.
    mapped : bool
        Whether the numbers stay in the cache file, and the operating system reads what is asked
        for and forgets it when memory is short: for many files, or long ones.

    Raises
    ------
    CallError, UnreadableFileError
        As :func:`physioemo.features.stimulus_features.decode_stimulus`.
    """
    path, recipe, say = Path(path), recipe or StimulusRecipe(), say or _warn
    if cache is None or not path.is_file():
        return decode_stimulus(path, recipe)
    sha256 = sha256_of(path)
    kept = Path(cache) / f"{sha256}-{recipe.fingerprint}.safetensors"
    if kept.exists():
        found = _loaded(kept, sha256, recipe, mapped)
        if found is not None:
            return replace(found, name=path.name)
        say(
            f"found that {kept} is damaged, expected the features of {path.name}; they are "
            "computed again"
        )
    made = decode_stimulus(path, recipe, sha256=sha256)
    try:
        _save(kept, made)
    except StoreError as error:
        say(f"{error}; the features of {path.name} are used but not kept")
        return made
    again = _loaded(kept, sha256, recipe, mapped) if mapped else None
    return made if again is None else replace(again, name=path.name)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def _save(path: Path, features: StimulusFeatures) -> None:
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(getattr(features, name)) for name in _ARRAYS}
    about = {"name": features.name, "until_seconds": features.until_seconds}
    # One entry only: safetensors writes several in any order.
    metadata = {_ABOUT: canonical_json({**about, _HASH: _hash_of(arrays, about)})}
    with new_path(path, overwrite=True) as partial:
        save_file(arrays, partial, metadata)


def _loaded(
    path: Path, sha256: str, recipe: StimulusRecipe, mapped: bool
) -> StimulusFeatures | None:
    """Return what a cache file holds, None if it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {})[_ABOUT])
            # One that safetensors opens has a header as its format says.
            arrays: dict[str, Any] = (
                _mapped(path) if mapped else {name: file.get_tensor(name) for name in _ARRAYS}
            )
        if about.pop(_HASH) != _hash_of(arrays, about):
            return None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError):
        return None
    return StimulusFeatures(sha256=sha256, recipe=recipe, **about, **arrays)


def _mapped(path: Path) -> dict[str, np.ndarray]:
    """Return arrays that lie in a file of safetensors; see its format's description."""
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(n_header))
    found = {}
    for name in _ARRAYS:
        about = header[name]
        kind, shape = np.dtype(_KINDS[about["dtype"]]), tuple(about["shape"])
        at = 8 + n_header + about["data_offsets"][0]
        # Nothing cannot be mapped.
        found[name] = (
            np.asarray(np.memmap(path, kind, "r", at, shape))
            if np.prod(shape)
            else np.empty(shape, kind)
        )
    return found


def _hash_of(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> str:
    text = np.array([canonical_json(about)])
    return array_fingerprint([*(arrays[name] for name in _ARRAYS), text])
