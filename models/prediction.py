"""Predict with a model: NumPy in, NumPy out, in batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from physioemo.errors import CallError
from physioemo.models.checks import checked_mask, checked_tokens

__all__ = [
    "call_model",
    "checked_windows",
    "forward_in_batches",
    "model_device",
    "predict_logits",
    "to_tensor",
]


def predict_logits(
    model: nn.Module,
    tokens: ArrayLike,
    electrode_mask: ArrayLike | None = None,
    *,
    batch_size: int = 256,
) -> NDArray[np.float32]:
    """Logits of windows in eval mode, without gradients; the model is left as it was.

    Matrix products round differently for different batch sizes: batched logits agree with
    those of single windows within 1e-5, not bit for bit.

    Parameters
    ----------
    model : nn.Module
        ``model(tokens)`` or ``model(tokens, electrode_mask)`` to logits.
    tokens : array_like, shape (window, electrode, band)
        Scaled tokens; those of electrodes outside the mask may be NaN.
    electrode_mask : array_like of bool, shape (window, electrode), optional
        True where an electrode is usable. Abstain where a window has none: its logits mean
        nothing.
    batch_size : int
        Windows per forward pass.

    Returns
    -------
    array of float32, shape (window, class) or (window, dimension, class)

    Raises
    ------
    SignalError
        If a shape does not fit or a usable token is not finite.
    CallError
        If ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise CallError(f"batch_size={batch_size!r} is out of range: give 1 or more.")
    values, mask = checked_windows(tokens, electrode_mask)
    device = model_device(model)
    mask_tensor = None if mask is None else to_tensor(mask, device)
    with _eval_mode(model):
        logits = forward_in_batches(model, to_tensor(values, device), mask_tensor, batch_size)
    return logits.float().cpu().numpy()


def checked_windows(
    tokens: ArrayLike, electrode_mask: ArrayLike | None, *, prefix: str = ""
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Check tokens and their mask together; ``prefix`` is what the message puts before both.

    Raises
    ------
    SignalError
        If a shape does not fit or a usable token is not finite.
    """
    n_windows, n_chans, *_ = (*np.shape(tokens), 0, 0)
    mask = checked_mask(electrode_mask, n_windows, n_chans, name=f"{prefix}electrode_mask")
    return checked_tokens(tokens, mask, name=f"{prefix}tokens"), mask


@torch.no_grad()
def forward_in_batches(
    model: nn.Module, tokens: Tensor, electrode_mask: Tensor | None, batch_size: int
) -> Tensor:
    """Logits of all windows, ``batch_size`` at a time, in the mode the model is in."""
    parts = [slice(start, start + batch_size) for start in range(0, len(tokens), batch_size)]
    masks = [None if electrode_mask is None else electrode_mask[part] for part in parts]
    return torch.cat(
        [call_model(model, tokens[part], mask) for part, mask in zip(parts, masks, strict=True)]
    )


def call_model(model: nn.Module, tokens: Tensor, electrode_mask: Tensor | None) -> Tensor:
    """Logits of one batch; a baseline that knows no mask is called without one."""
    return model(tokens) if electrode_mask is None else model(tokens, electrode_mask)


def model_device(model: nn.Module) -> torch.device:
    """Device of a model's weights."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def to_tensor(values: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to a device."""
    return torch.tensor(values, device=device)


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    if not any(module.training for module in model.modules()):
        yield  # going through all modules twice costs a live decoder a third of its time
        return
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
