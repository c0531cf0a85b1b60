"""A model as a folder: ``model.safetensors`` for the weights, ``model.json`` for the rest.

The JSON is written last and carries the hash of the weights, so a folder whose writing was cut
short is refused and never half loaded. No pickle is written or read.
"""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors.torch
import torch
from torch import nn

import physioemo
from physioemo.errors import CallError, CheckpointError
from physioemo.models.catalogue import find_saved
from physioemo.models.weights import fit_weights, parse_weights, read_bytes

__all__ = ["FORMAT", "load_model", "model_id", "save_model"]

FORMAT = 1
WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
_FIELDS = {"name": str, "config": dict, "sha256": str, "metadata": dict}


def save_model(
    folder: str | Path, model: nn.Module, *, name: str, metadata: dict[str, Any] | None = None
) -> None:
    """Write a model into a folder; each file appears whole or not at all.

    Parameters
    ----------
    folder : path
        Created if needed; a model that is already in it is replaced.
    model : nn.Module
        A model of the catalogue, on any device.
    name : str
        Its name in the catalogue.
    metadata : dict, optional
        Anything JSON can hold, for instance channel names and the recipe's fingerprint.

    Raises
    ------
    CallError
        If the name is not that of the model or the metadata are not JSON; nothing is written.
    CheckpointError
        If the folder cannot be written.
    """
    if not isinstance(model, find_saved(name).load_class()):
        raise CallError(
            f"a {type(model).__name__} cannot be saved as {name!r}, which is a "
            f"{find_saved(name).class_name}: give the model's own name."
        )
    raw = _weights_bytes(model)
    description = _described(model, name, metadata or {}, hashlib.sha256(raw).hexdigest())
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(folder / WEIGHTS, raw)
        _write_whole(folder / DESCRIPTION, description)
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be written ({error.strerror}): expected a folder with free space "
            "that you may write to."
        ) from error


def load_model(folder: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Read a model that ``save_model`` wrote.

    Parameters
    ----------
    folder : path
        Holds ``model.json`` and ``model.safetensors``.

    Returns
    -------
    model : nn.Module
        On the CPU, in eval mode.
    metadata : dict
        As it was saved.

    Raises
    ------
    CheckpointError
        If anything is missing, damaged, changed since it was written, or from a newer format.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is not a folder: expected one that holds {DESCRIPTION} and {WEIGHTS}."
        )
    description = _read_description(folder / DESCRIPTION)
    raw = read_bytes(folder / WEIGHTS)
    found = hashlib.sha256(raw).hexdigest()
    if found != description["sha256"]:
        raise CheckpointError(
            f"{folder / WEIGHTS} has SHA-256 {found[:12]}… where {DESCRIPTION} says "
            f"{description['sha256'][:12]}…: the weights were cut off or changed after they were "
            "saved, so copy the folder again."
        )
    try:
        model_class = find_saved(description["name"]).load_class()
        tensors = parse_weights(raw, folder / WEIGHTS)
        model = fit_weights(lambda: model_class(**description["config"]), tensors, folder / WEIGHTS)
    except (CallError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder / DESCRIPTION} does not describe a model of this PhysioEmo ({error}): "
            "load it with the version that saved it."
        ) from error
    return model, description["metadata"]


def model_id(model: str | Path | nn.Module) -> str:
    """Short name of a model's weights: the first 12 hex digits of their SHA-256.

    Parameters
    ----------
    model : path or nn.Module
        A saved model's folder, or a model; both give the same id.

    Raises
    ------
    CheckpointError
        If the folder holds no readable weights.
    """
    raw = (
        _weights_bytes(model) if isinstance(model, nn.Module) else read_bytes(Path(model) / WEIGHTS)
    )
    return hashlib.sha256(raw).hexdigest()[:12]


def _weights_bytes(model: nn.Module) -> bytes:
    state = model.state_dict()
    return safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in state.items()})


def _described(model: nn.Module, name: str, metadata: dict[str, Any], sha256: str) -> bytes:
    description = {
        "format": FORMAT,
        "name": name,
        "config": cast(Any, model).config,
        "sha256": sha256,
        "versions": {
            "physioemo": physioemo.__version__,
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        "metadata": metadata,
    }
    try:
        return json.dumps(description, indent=2, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise CallError(
            f"the metadata cannot be written as JSON ({error}): give only text, finite numbers, "
            "booleans, lists and dicts."
        ) from error


def _write_whole(path: Path, raw: bytes) -> None:
    # The temporary file lies in the same folder: only there is replacing atomic.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(read_bytes(path))
    except ValueError as error:
        raise CheckpointError(
            f"{path} is not JSON ({error}): it may be cut off, so copy the folder again."
        ) from error
    version = description.get("format") if isinstance(description, dict) else None
    if type(version) is int and version > FORMAT:
        raise CheckpointError(
            f"{path} is of format {version}, this PhysioEmo reads up to {FORMAT}: update PhysioEmo."
        )
    wrong = [
        k for k, kind in _FIELDS.items() if version and not isinstance(description.get(k), kind)
    ]
    if version != FORMAT or wrong:
        raise CheckpointError(
            f"{path} does not describe a saved model, missing or wrong: "
            f"{', '.join(wrong or ['format'])}; expected what save_model writes."
        )
    return description
