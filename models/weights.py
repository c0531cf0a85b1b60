"""Weights on disk: safetensors, read whole into memory, and a strict fit to a model.

Nothing here can execute what a file says: safetensors is a JSON header and raw numbers, and
no other format is opened.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from physioemo.errors import CheckpointError

__all__ = ["check_fit", "fit_weights", "parse_weights", "read_bytes"]

Model = TypeVar("Model", bound=nn.Module)

_NAMED = 5


def read_bytes(path: Path) -> bytes:
    """Read a file of a checkpoint whole.

    Raises
    ------
    CheckpointError
        If it does not exist or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} does not exist: give a folder or file that holds a saved model."
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}): expected a readable file of a saved model."
        ) from error


def parse_weights(raw: bytes, source: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name.

    Parameters
    ----------
    raw : bytes
        The whole file.
    source : path
        Where it came from, for the message.

    Raises
    ------
    CheckpointError
        If the bytes are not one whole safetensors file.
    """
    # torch.save writes a zip, older tools a bare pickle; a safetensors header has "{" at 8.
    if raw[8:9] != b"{" and raw.startswith((b"PK\x03\x04", b"\x80")):
        raise CheckpointError(
            f"{source} holds pickled weights, which are never opened because they can run code: "
            "convert it to safetensors where you trust it."
        )
    try:
        return safetensors.torch.load(raw)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{source} is not a whole safetensors file ({_printable(str(error))}): "
            "it may be cut off or of another format, so copy or export it again."
        ) from error


def fit_weights(
    build: Callable[[], Model], tensors: dict[str, Tensor], source: str | Path
) -> Model:
    """Build a model and give it these weights, all of them and no others.

    Parameters
    ----------
    build : callable
        Makes the model.
    tensors : dict of Tensor
        State dict; floating-point weights are converted to the model's own precision.
    source : path
        Where they came from, for the message.

    Returns
    -------
    nn.Module
        In eval mode; the global random state is left as it was.

    Raises
    ------
    CheckpointError
        If weights are missing, unexpected, of another shape or kind, or not finite.
    """
    # On the meta device nothing is allocated, so absurd sizes fail here and not in memory.
    with torch.device("meta"):
        expected = build().state_dict()
    check_fit(expected, tensors, source)
    with torch.random.fork_rng(devices=[]):
        model = build()
    model.load_state_dict(tensors)
    return model.eval()


def check_fit(expected: dict[str, Tensor], found: dict[str, Tensor], source: str | Path) -> None:
    """Refuse weights that do not fit exactly; the first of each kind of problem are named.

    Parameters
    ----------
    expected, found : dict of Tensor
        State dicts of the model (its values do not matter) and of the file.
    source : path
        Where they came from, for the message.

    Raises
    ------
    CheckpointError
        If weights are missing, unexpected, of another shape or kind, or not finite.
    """
    shared = [name for name in expected if name in found]
    problems = [
        _listed("missing", (name for name in expected if name not in found)),
        _listed("unexpected", (name for name in found if name not in expected)),
        _listed(
            "of another shape",
            (
                f"{name} {tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
                for name in shared
                if found[name].shape != expected[name].shape
            ),
        ),
        _listed(
            "of another kind",
            (
                f"{name} {found[name].dtype} instead of {expected[name].dtype}"
                for name in shared
                if found[name].is_floating_point() != expected[name].is_floating_point()
            ),
        ),
        _listed("not finite", (name for name in shared if not found[name].isfinite().all())),
    ]
    told = "; ".join(problem for problem in problems if problem)
    if told:
        raise CheckpointError(
            f"{source} does not fit the model, {told}: use weights that were saved from this "
            "architecture and these sizes."
        )


def _listed(what: str, names: Iterable[str]) -> str:
    every = list(names)
    if not every:
        return ""
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return _printable(f"{what}: {', '.join(every[:_NAMED])}{more}")


def _printable(text: str) -> str:
    # Names come out of the file: a line break or a terminal code in one must not get further.
    return "".join(letter if letter.isprintable() else "?" for letter in text)
