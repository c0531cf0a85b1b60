"""The layout of published RBTransformer checkpoints (arXiv 2511.13954), read off their weights."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from physioemo.errors import CheckpointError
from physioemo.models.weights import parse_weights, read_bytes

__all__ = ["published_arguments", "read_published"]

# Each size: the weight that shows it, the axis, and the name in the authors' config.json.
_SIZES = {
    "n_chans": ("electrode_id_embedding.embedding", 1, "num_electrodes"),
    "n_bands": ("bde_proj_layer.linear.weight", 1, "bde_dim"),
    "embed_dim": ("bde_proj_layer.linear.weight", 0, "embed_dim"),
    "mlp_dim": (
        "intercortical_attention_blocks.0.feed_forward.fn.net.0.weight",
        0,
        "mlp_hidden_dim",
    ),
    "n_outputs": ("classification_head.mlp.9.weight", 0, "num_classes"),
}
_OUTPUT = "intercortical_attention_blocks.0.attention.fn.to_out.0.weight"  # (embed, inner)
_PUBLISHED_HEADS = 6
_PUBLISHED_WIDTHS = (192, 96)


def read_published(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and, if there is one, the ``config.json`` of a published checkpoint.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file or a folder that holds ``model.safetensors``.

    Returns
    -------
    tensors : dict of Tensor
    settings : dict
        Empty for a single file or a folder without ``config.json``.

    Raises
    ------
    CheckpointError
        If either file is missing, damaged or of another format.
    """
    path = Path(path)
    weights = path / "model.safetensors" if path.is_dir() else path
    tensors = parse_weights(read_bytes(weights), weights)
    config = path / "config.json"
    return tensors, _read_settings(config) if config.is_file() else {}


def published_arguments(
    tensors: dict[str, Tensor],
    settings: dict[str, Any],
    source: str | Path,
    *,
    n_heads: int | None = None,
) -> dict[str, Any]:
    """Read the constructor arguments off a checkpoint in the published layout.

    Parameters
    ----------
    tensors : dict of Tensor
        State dict.
    settings : dict
        The authors' ``config.json``, or empty.
    source : path
        Where they came from, for the message.
    n_heads : int, optional
        Number of attention heads, if the caller knows it.

    Raises
    ------
    CheckpointError
        If a weight that shows a size is missing, if ``config.json`` contradicts the weights,
        or if the number of heads cannot be told.
    """
    _check_anchors(tensors, source)
    sizes = {name: tensors[key].shape[axis] for name, (key, axis, _) in _SIZES.items()}
    sizes["depth"] = _count_blocks(tensors)
    inner_dim = tensors[_OUTPUT].shape[1]
    heads = _head_count(inner_dim, settings, source, n_heads)
    sizes |= {"n_heads": heads, "head_dim": inner_dim // heads}
    _check_settings(sizes, settings, source, heads_given=n_heads is not None)
    return {**sizes, "dropout": _dropout(settings, source)}


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(read_bytes(path))
    except ValueError as error:
        raise CheckpointError(
            f"{path} is not JSON ({error}): expected the authors' settings; "
            "remove it to have the sizes read off the weights alone."
        ) from error
    if not isinstance(settings, dict):
        raise CheckpointError(
            f"{path} holds a {type(settings).__name__}, expected a JSON object with the authors' "
            "settings; remove it to have the sizes read off the weights alone."
        )
    return settings


def _check_anchors(tensors: dict[str, Tensor], source: str | Path) -> None:
    anchors = {key: 2 for key, _, _ in _SIZES.values()} | {_OUTPUT: 2, _SIZES["n_chans"][0]: 3}
    wrong = [
        name
        for name, n_axes in anchors.items()
        if name not in tensors or tensors[name].ndim != n_axes or 0 in tensors[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{source} is not in the published RBTransformer layout, missing or mis-shaped: "
            f"{', '.join(wrong)}; give a checkpoint of that architecture."
        )


def _count_blocks(tensors: dict[str, Tensor]) -> int:
    prefix = "intercortical_attention_blocks."
    return len({name.split(".")[1] for name in tensors if name.startswith(prefix)})


def _head_count(
    inner_dim: int, settings: dict[str, Any], source: str | Path, n_heads: int | None
) -> int:
    heads = n_heads if n_heads is not None else settings.get("heads")
    if heads is None and inner_dim in _PUBLISHED_WIDTHS:
        heads = _PUBLISHED_HEADS
    if heads is None:
        raise CheckpointError(
            f"{source} has attention {inner_dim} wide, which is neither of the published widths "
            "192 and 96, so the number of heads cannot be told: pass n_heads."
        )
    if type(heads) is not int or heads < 1 or inner_dim % heads:
        raise CheckpointError(
            f"{source} has attention {inner_dim} wide, which n_heads={heads!r} does not divide: "
            "pass the n_heads that it was trained with."
        )
    return heads


def _check_settings(
    sizes: dict[str, int], settings: dict[str, Any], source: str | Path, *, heads_given: bool
) -> None:
    names = {size: name for size, (_, _, name) in _SIZES.items()} | {"depth": "depth"}
    if not heads_given:
        names["head_dim"] = "head_dim"
    for size, name in names.items():
        if name in settings and settings[name] != sizes[size]:
            raise CheckpointError(
                f"{source} contradicts itself, {name} is {settings[name]!r} in config.json but "
                f"{sizes[size]} in the weights: use the config.json that came with the weights."
            )


def _dropout(settings: dict[str, Any], source: str | Path) -> float:
    dropout = settings.get("dropout", 0.1)
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise CheckpointError(
            f"{source} has dropout {dropout!r} in config.json, expected 0 to below 1: correct it."
        )
    return float(dropout)
