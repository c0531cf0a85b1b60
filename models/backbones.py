"""Networks of other libraries with weights of the user's own: from a local file, or not at all.

torchvision, timm and transformers build the architecture; the weights are one safetensors file
that the user gives. Nothing is fetched, no pickle is opened, no code that comes with a file is
run, and no weights are a default: many that were published for affect may not be used
commercially. The file's SHA-256 is returned, and can be required.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from physioemo.errors import CallError, CheckpointError, MissingExtraError
from physioemo.hints import nearest
from physioemo.models.weights import check_fit, parse_weights, read_bytes

__all__ = [
    "HEADS",
    "KINDS",
    "WAVE_MODELS",
    "build_network",
    "load_backbone",
    "load_weights",
    "read_architecture",
]

KINDS = ("torchvision", "timm", "transformers")
"""Libraries that build architectures."""

WAVE_MODELS = ("data2vec-audio", "hubert", "wav2vec2", "wavlm")
"""``model_type`` of what transformers may build: encoders of a waveform, whole in the library."""

HEADS = ("fc.", "classifier.", "heads.", "head.", "head_dist.")
"""How the names of a classifier's weights begin in torchvision and timm."""

_FETCHING = ("pretrained", "checkpoint_path", "weights", "weights_backbone", "pretrained_cfg")
_RENAMED = (("weight_g", "parametrizations.weight.original0"),
            ("weight_v", "parametrizations.weight.original1"))  # fmt: skip
_SHORTEST_HASH = 8


def load_backbone(
    kind: str,
    name: str,
    *,
    weights: str | Path,
    sha256: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[nn.Module, str]:
    """Build a network without its classifier and give it weights from a local file.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`.
    name : str
        Of torchvision's or timm's architecture, or one of :data:`WAVE_MODELS`.
    weights : path
        A safetensors file; for transformers the folder of ``config.json`` and
        ``model.safetensors``. A classifier in the file is left out.
    sha256 : str, optional
        What the file's hash has to begin with, 8 digits or more.
    arguments : mapping, optional
        Of the architecture, for instance ``{"img_size": 96}``; for transformers they win over
        ``config.json``.

    Returns
    -------
    network : nn.Module
        On the CPU, in eval mode.
    sha256 : str
        Of the weights' file.

    Raises
    ------
    CallError
        If the kind or the architecture is not known, or an argument would fetch weights.
    CheckpointError
        If the file does not fit the architecture exactly, is damaged, or another than required.
    MissingExtraError
        If the library is not installed.
    """
    path, settings = Path(weights), dict(arguments or {})
    if kind == "transformers":
        settings = {**read_architecture(path), **settings}
        if settings["model_type"] != name:
            raise CheckpointError(
                f"found a model of type {settings['model_type']!r} in {path}, expected {name!r}"
            )
        path = path / "model.safetensors"
    network = build_network(kind, name, settings)
    leave_out = () if kind == "transformers" else HEADS
    found = load_weights(network, path, sha256=sha256, leave_out=leave_out)
    return network.eval(), found


def load_weights(
    module: nn.Module,
    path: str | Path,
    *,
    sha256: str | None = None,
    prefix: str = "",
    leave_out: Sequence[str] = (),
) -> str:
    """Give a module the weights of a safetensors file, all of them and no others.

    Parameters
    ----------
    module : nn.Module
        Changed in place, once everything has been checked.
    path : path
        The file.
    sha256 : str, optional
        What its hash has to begin with, 8 digits or more.
    prefix : str
        Taken off the names in the file, for instance ``"wav2vec2."``; names without it are left
        out.
    leave_out : sequence of str
        Names in the file that begin so are left out, unless the module has them.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    CheckpointError
        If the file is no whole safetensors file, another than required, or a weight is missing,
        unexpected, of another shape or kind, or not finite.
    CallError
        If `sha256` is too short to mean anything.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"found a folder at {path}, expected one safetensors file")
    raw = read_bytes(path)
    found = hashlib.sha256(raw).hexdigest()
    if sha256 is not None and len(sha256) < _SHORTEST_HASH:
        raise CallError(f"found the hash {sha256!r}, expected {_SHORTEST_HASH} digits or more")
    if sha256 is not None and not found.startswith(sha256.lower()):
        raise CheckpointError(
            f"found SHA-256 {found[:12]}… of {path}, expected {sha256[:12]}…; it was cut off, "
            "changed or is another file, so get it again where you trust it"
        )
    expected = module.state_dict()
    tensors = _named_as(expected, parse_weights(raw, path), prefix, tuple(leave_out))
    check_fit(expected, tensors, path)
    module.load_state_dict(tensors)
    return found


def read_architecture(folder: str | Path) -> dict[str, Any]:
    """Return the sizes of a transformers model from its ``config.json``, and nothing else of it.

    Raises
    ------
    CheckpointError
        If there is none, or it is of a type that is not one of :data:`WAVE_MODELS`.
    MissingExtraError
        If transformers is not installed.
    """
    path = Path(folder) / "config.json"
    raw = read_bytes(path)
    try:
        about = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"found no JSON in {path} ({type(error).__name__})") from None
    kind = about.get("model_type") if isinstance(about, dict) else None
    if kind not in WAVE_MODELS:
        raise CheckpointError(
            f"found the model type {kind!r} in {path}, expected one of {', '.join(WAVE_MODELS)}"
        )
    transformers = _import("transformers")
    return {"model_type": kind, **_sizes(transformers.AutoConfig.for_model(kind), about)}


def build_network(kind: str, name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build an architecture with random weights and without its classifier.

    Raises
    ------
    CallError
        If the kind, the architecture or an argument is not known, or one would fetch weights.
    MissingExtraError
        If the library is not installed.
    """
    builders = {"torchvision": _torchvision, "timm": _timm, "transformers": _transformers}
    if kind not in builders:
        raise CallError(f"found the kind {kind!r}, expected one of {', '.join(KINDS)}")
    fetching = [a for a in arguments if a in _FETCHING]
    if fetching:
        raise CallError(
            f"found the argument {fetching[0]!r}, expected none that fetches weights; give a "
            "local file instead"
        )
    try:
        return builders[kind](name, dict(arguments))
    except (TypeError, ValueError, AssertionError) as error:
        if isinstance(error, CallError):
            raise
        raise CallError(f"found arguments that {name!r} does not take ({error})") from error


def _torchvision(name: str, arguments: dict[str, Any]) -> nn.Module:
    models = _import("torchvision.models")
    _check_name(name, models.list_models(module=models))  # not detectors: theirs are fetched
    network: nn.Module = models.get_model(name, weights=None, **arguments)
    for head in HEADS:
        if hasattr(network, head[:-1]):
            setattr(network, head[:-1], nn.Identity())
    return network


def _timm(name: str, arguments: dict[str, Any]) -> nn.Module:
    timm = _import("timm")
    _check_name(name, timm.list_models())  # a name such as hf_hub:… would be fetched
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **arguments)
    return network


def _transformers(name: str, arguments: dict[str, Any]) -> nn.Module:
    transformers = _import("transformers")
    _check_name(name, WAVE_MODELS)
    sizes = _sizes(transformers.AutoConfig.for_model(name), arguments)
    config = transformers.AutoConfig.for_model(name, **sizes)
    network: nn.Module = transformers.AutoModel.from_config(config, trust_remote_code=False)
    return network


def _sizes(default: Any, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model of this type has of itself; other keys can fetch kernels or run code."""
    unused = ("architectures", "dtype", "model_type", "return_dict", "transformers_version")
    known = {k for k in default.to_dict() if k not in unused and not k.startswith("_")}
    return {k: v for k, v in about.items() if k in known}


def _import(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"found no {package}, expected it for networks with weights of your own; install it "
            "with pip install 'physioemo[backbones]'"
        ) from error


def _check_name(name: str, known: Sequence[str]) -> None:
    if name not in known:
        hint = nearest(name, known)
        raise CallError(f"found no architecture {name!r}, expected one of {len(known)}{hint}")


def _named_as(
    expected: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    prefix: str,
    leave_out: tuple[str, ...],
) -> dict[str, Tensor]:
    """Return the file's tensors by the module's names, without what is left out."""
    named = {}
    for name, tensor in found.items():
        if not name.startswith(prefix):
            continue
        own = name[len(prefix) :]
        for old, new in _RENAMED:  # of torch's weight norm, before and after 2.0
            stem = own.removesuffix(old)
            if own not in expected and stem != own and stem + new in expected:
                own = stem + new
        if own in expected or not own.startswith(leave_out or "\0"):
            named[own] = tensor
    return named
