"""What every baseline over tokens asks of its arguments, and the shape of what it says."""

from typing import Any

import torch
from torch import Tensor

from physioemo.errors import CallError, SignalError

__all__ = ["check_sizes", "check_tokens", "n_logits", "per_dimension", "usable_electrodes"]


def check_sizes(config: dict[str, Any]) -> None:
    """Refuse constructor arguments that are no sizes.

    Raises
    ------
    CallError
        If a size is not a positive int, dropout is not in [0, 1), or there is no dimension or
        one twice.
    """
    for name, value in config.items():
        if name not in {"dimensions", "dropout"} and (type(value) is not int or value < 1):
            raise CallError(f"{name}={value!r} is not a size: give a Python int above zero.")
    if not 0.0 <= config["dropout"] < 1.0:
        raise CallError(f"dropout={config['dropout']!r} is not a probability: give 0 to below 1.")
    dimensions = config["dimensions"]
    if dimensions is not None and (not dimensions or len(set(dimensions)) < len(dimensions)):
        raise CallError(
            f"dimensions={dimensions!r} cannot name the outputs: expected one or more different "
            'names such as ("valence", "arousal").'
        )


def check_tokens(tokens: Tensor, electrode_mask: Tensor | None, config: dict[str, Any]) -> None:
    """Refuse tokens and masks that a model does not take.

    Parameters
    ----------
    tokens : Tensor, shape (batch, electrode, band)
    electrode_mask : Tensor of bool, shape (batch, electrode), or None
    config : dict
        The model's, with ``n_chans`` and ``n_bands``.

    Raises
    ------
    SignalError
        If the shapes do not fit the model or the mask is not boolean.
    """
    n_chans, n_bands = config["n_chans"], config["n_bands"]
    if tokens.ndim != 3 or tuple(tokens.shape[1:]) != (n_chans, n_bands):
        raise SignalError(
            f"tokens have shape {tuple(tokens.shape)}, but this model takes "
            f"(batch, {n_chans} electrodes, {n_bands} bands): "
            "use the montage and the bands that it was trained with."
        )
    if electrode_mask is None:
        return
    if electrode_mask.dtype != torch.bool or electrode_mask.shape != tokens.shape[:2]:
        raise SignalError(
            f"electrode_mask is {electrode_mask.dtype} of shape {tuple(electrode_mask.shape)}, "
            f"expected torch.bool of shape {tuple(tokens.shape[:2])}: "
            "give one True or False for each electrode of each window."
        )


def usable_electrodes(
    tokens: Tensor, electrode_mask: Tensor | None, config: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Return tokens with unusable electrodes at zero, and the mask, all True if there is none.

    Parameters and errors are those of :func:`check_tokens`.
    """
    check_tokens(tokens, electrode_mask, config)
    if electrode_mask is None:
        return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return tokens.masked_fill(~electrode_mask.unsqueeze(-1), 0.0), electrode_mask


def n_logits(config: dict[str, Any]) -> int:
    """Return how many logits a window has, of all dimensions together.

    Parameters
    ----------
    config : dict
        The model's, with ``n_outputs`` and ``dimensions``.
    """
    n: int = config["n_outputs"]
    return n if config["dimensions"] is None else n * len(config["dimensions"])


def per_dimension(logits: Tensor, config: dict[str, Any]) -> Tensor:
    """Return logits as (batch, dimension, class), or (batch, class) without named dimensions.

    Parameters
    ----------
    logits : Tensor, shape (batch, logit)
        Those of one dimension after those of the other.
    config : dict
        The model's.
    """
    if config["dimensions"] is None:
        return logits
    return logits.unflatten(-1, (len(config["dimensions"]), -1))
