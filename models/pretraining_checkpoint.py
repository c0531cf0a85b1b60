"""Where a pre-training stands, on disk after every epoch: weights, the optimiser's moments, JSON.

The tensors go into a file of their own per epoch; ``checkpoint.json`` names that file with its hash
and is replaced in one step. So a run that is killed at any moment finds the last whole epoch, and
nothing half.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from physioemo.atomic_file import new_path
from physioemo.errors import CheckpointError
from physioemo.models.pretraining import PretrainingModel
from physioemo.models.weights import parse_weights, read_bytes

__all__ = ["CHECKPOINT", "load_checkpoint", "remove_checkpoint", "save_checkpoint"]

CHECKPOINT = "checkpoint.json"
_FORMAT = 1
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_FILES = "epoch-*.safetensors"


def save_checkpoint(
    folder: str | Path,
    model: PretrainingModel,
    optimiser: torch.optim.Optimizer,
    history: list[dict[str, float]],
) -> None:
    """Write where training stands; the one before is removed when this one is there.

    Parameters
    ----------
    folder : path
        Created if needed.
    model : PretrainingModel
        With its heads.
    optimiser : torch.optim.AdamW
        Of its parameters.
    history : list of dict
        One row per finished epoch; JSON.

    Raises
    ------
    DiskFullError, StoreError
        If it cannot be written; the checkpoint before is kept.
    """
    folder = Path(folder)
    tensors = {f"model/{k}": v for k, v in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        state = optimiser.state.get(parameter, {})
        tensors |= {f"optimiser/{k}/{name}": state[k] for k in _MOMENTS if k in state}
    raw = safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
    path = folder / f"epoch-{len(history):05d}.safetensors"
    _write(path, raw)
    content = {
        "format": _FORMAT,
        "file": path.name,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "history": history,
    }
    _write(folder / CHECKPOINT, json.dumps(content, indent=1, allow_nan=False).encode())
    for old in folder.glob(_FILES):
        if old != path:
            old.unlink()


def load_checkpoint(
    folder: str | Path, model: PretrainingModel, optimiser: torch.optim.Optimizer
) -> list[dict[str, float]]:
    """Put model and optimiser where training stood; return the history.

    Parameters
    ----------
    folder : path
        What :func:`save_checkpoint` wrote into; without a checkpoint nothing is changed.
    model, optimiser
        As in :func:`save_checkpoint`, built alike.

    Raises
    ------
    CheckpointError
        If it is damaged or of another model.
    """
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        return []
    try:
        content = json.loads(read_bytes(path))
        name, sha256, history = content["file"], content["sha256"], list(content["history"])
        known = content["format"] == _FORMAT and name == Path(name).name
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, repr(error)) from error
    if not known:
        raise _damaged(path, f"format {content['format']!r}, file {name!r}")
    raw = read_bytes(path.with_name(name))
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise _damaged(path.with_name(name), "another SHA-256")
    tensors = parse_weights(raw, path.with_name(name))
    _restore(tensors, model, optimiser, path)
    return history


def remove_checkpoint(folder: str | Path) -> None:
    """Remove the checkpoint of a training that is finished, and what a killed one left half."""
    folder = Path(folder)
    for path in (folder / CHECKPOINT, *folder.glob(_FILES), *folder.glob(".partial-*")):
        with suppress(FileNotFoundError):
            path.unlink()


def _restore(
    tensors: dict[str, Tensor],
    model: PretrainingModel,
    optimiser: torch.optim.Optimizer,
    path: Path,
) -> None:
    weights = {k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise _damaged(path, f"weights of another model: {str(error).splitlines()[-1].strip()}") \
            from error  # fmt: skip
    for name, parameter in model.named_parameters():
        found = {k: tensors[key] for k in _MOMENTS if (key := f"optimiser/{k}/{name}") in tensors}
        if found:
            # AdamW counts its steps on the CPU.
            optimiser.state[parameter] = {
                k: v if k == "step" else v.to(parameter.device) for k, v in found.items()
            }


def _write(path: Path, raw: bytes) -> None:
    with new_path(path, overwrite=True) as partial:
        partial.write_bytes(raw)


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"found that {path} cannot be gone on from ({why:.160}), expected what 'physioemo "
        "pretrain' wrote; begin again with --overwrite"
    )
