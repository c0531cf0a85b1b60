"""Train a fused model on arrays: seeded, grouped validation, the best epoch kept."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physioemo.errors import SignalError
from physioemo.models.checks import checked_labels
from physioemo.models.fused import FusedModel
from physioemo.models.losses import class_weights, weighted_cross_entropy
from physioemo.models.training import (
    TrainingConfig,
    TrainingResult,
    learning_rate_of,
    require_finite,
    seeded,
)

__all__ = ["predict_fused", "train_fused"]

Inputs = Mapping[str, Any]


def train_fused(
    model: FusedModel,
    inputs: Inputs,
    labels: Any,
    *,
    validation_inputs: Inputs,
    validation_labels: Any,
    config: TrainingConfig,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> TrainingResult:
    """Train a fused model in place and leave it in eval mode with its best weights.

    As :func:`physioemo.models.training.train_model`: AdamW with a cosine schedule, classes weighted
    equally, early stopping on the validation loss, the global random state left as it was.

    Parameters
    ----------
    model : FusedModel
        Stays on its device.
    inputs, validation_inputs : mapping of str to array_like or mapping of array_like
        For each modality values (window, ...) as its encoder takes them, NaN where missing. The
        two must come from different trials.
    labels, validation_labels : array_like of int, shape (window,) or (window, dimension)
        Classes from 0; −1 is a missing rating.
    config : TrainingConfig
        How to train; ``token_noise`` is not used.
    on_epoch : callable, optional
        Called with each new row of the history.

    Raises
    ------
    SignalError
        If lengths differ, a label is not a class, or nothing is rated.
    CallError
        If the loss becomes NaN or infinite.
    """
    device = next(model.parameters()).device
    shape = (len(model.config["dimensions"]), int(model.config["n_outputs"]))
    training = _prepared(inputs, labels, shape, device, "")
    validation = _prepared(validation_inputs, validation_labels, shape, device, "validation_")
    weights = class_weights(training[1], shape[1])
    counts = torch.nn.functional.one_hot(training[1].clamp(min=0), shape[1]).float()
    counts = (counts * (training[1] >= 0).unsqueeze(-1)).sum(dim=0)
    model.set_prior(counts / counts.sum(dim=-1, keepdim=True).clamp(min=1))
    with seeded(config.seed, device):
        result, best = _fit(model, training, validation, weights, config, on_epoch)
    model.load_state_dict(best)
    model.eval()
    return result


def predict_fused(
    model: FusedModel, inputs: Inputs, *, batch_size: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (window, dimension, class) and where the model abstains (window,).

    Parameters
    ----------
    model : FusedModel
        In any mode; it is left as it was.
    inputs : mapping
        As in :func:`train_fused`.
    batch_size : int
        How many windows at once.
    """
    device, was_training = next(model.parameters()).device, model.training
    tensors = _to_tensors(inputs, device)
    n = _length(tensors)
    model.eval()
    try:
        with torch.no_grad():
            parts = [
                model(_rows(tensors, slice(k, k + batch_size))) for k in range(0, n, batch_size)
            ]
    finally:
        model.train(was_training)
    if not parts:
        shape = (0, len(model.config["dimensions"]), model.config["n_outputs"])
        return np.empty(shape, np.float32), np.empty(0, bool)
    logits = torch.cat([p.logits for p in parts]).cpu().numpy()
    return logits, torch.cat([p.abstain for p in parts]).cpu().numpy()


def _fit(
    model: FusedModel,
    training: tuple[Any, Tensor],
    validation: tuple[Any, Tensor],
    weights: Tensor,
    config: TrainingConfig,
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> tuple[TrainingResult, dict[str, Tensor]]:
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    shuffle = torch.Generator().manual_seed(config.seed)
    history: list[dict[str, float]] = []
    best_epoch, best_loss, best = 0, math.inf, dict[str, Tensor]()
    for epoch in range(config.n_epochs):
        rate = learning_rate_of(config, epoch)
        for group in optimiser.param_groups:
            group["lr"] = rate
        order = torch.randperm(len(training[1]), generator=shuffle)
        lost = _run_epoch(model, training, order, weights, optimiser, config)
        checked = _loss(model, validation, weights, config.batch_size)
        require_finite(epoch, lost, checked, rate)
        row = {
            "epoch": epoch,
            "learning_rate": rate,
            "train_loss": lost,
            "validation_loss": checked,
        }
        history.append(row)
        if on_epoch is not None:
            on_epoch(dict(row))
        if checked < best_loss:
            best = {k: v.detach().clone() for k, v in model.state_dict().items()}
            best_epoch, best_loss = epoch, checked
        elif epoch - best_epoch >= config.patience:
            return TrainingResult(best_epoch, history, stopped_early=True), best
    return TrainingResult(best_epoch, history, stopped_early=False), best


def _run_epoch(
    model: FusedModel,
    split: tuple[Any, Tensor],
    order: Tensor,
    weights: Tensor,
    optimiser: torch.optim.Optimizer,
    config: TrainingConfig,
) -> float:
    model.train()
    inputs, labels = split
    total = torch.zeros((), device=labels.device)
    for rows in order.to(labels.device).split(config.batch_size):
        said = model(_rows(inputs, rows))
        loss = weighted_cross_entropy(
            said.logits, labels[rows], weights, label_smoothing=config.label_smoothing
        )
        optimiser.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()
            optimiser.step()
        total += loss.detach() * len(rows)
    return float(total) / len(order)


@torch.no_grad()
def _loss(model: FusedModel, split: tuple[Any, Tensor], weights: Tensor, batch_size: int) -> float:
    model.eval()
    inputs, labels = split
    parts = [
        model(_rows(inputs, slice(k, k + batch_size))).logits
        for k in range(0, len(labels), batch_size)
    ]
    return float(weighted_cross_entropy(torch.cat(parts), labels, weights))


def _prepared(
    inputs: Inputs, labels: Any, shape: tuple[int, int], device: torch.device, prefix: str
) -> tuple[Any, Tensor]:
    tensors = _to_tensors(inputs, device)
    classes = checked_labels(labels, _length(tensors), *shape, name=f"{prefix}labels")
    keep = (classes >= 0).any(axis=1)
    if not keep.any():
        raise SignalError(
            f"{prefix}labels have no rating, expected at least one: give rated "
            f"{prefix.replace('_', ' ')}windows."
        )
    rows = torch.from_numpy(np.flatnonzero(keep)).to(device)
    return _rows(tensors, rows), torch.from_numpy(classes[keep]).to(device)


def _to_tensors(inputs: Inputs, device: torch.device) -> dict[str, Any]:
    def convert(value: Any) -> Tensor:
        return torch.as_tensor(np.asarray(value, np.float32), device=device)

    return {
        name: {k: convert(v) for k, v in given.items()}
        if isinstance(given, Mapping)
        else convert(given)
        for name, given in inputs.items()
    }


def _leaves(inputs: Mapping[str, Any]) -> list[Tensor]:
    nested = [list(v.values()) if isinstance(v, dict) else [v] for v in inputs.values()]
    return [leaf for part in nested for leaf in part]


def _length(inputs: Mapping[str, Any]) -> int:
    lengths = {name: len(_leaves({name: part})[0]) for name, part in inputs.items()}
    if len(set(lengths.values())) != 1:
        raise SignalError(f"found {lengths} windows, expected the same number of each modality")
    return next(iter(lengths.values()))


def _rows(inputs: Mapping[str, Any], rows: Any) -> dict[str, Any]:
    return {
        name: {k: v[rows] for k, v in part.items()} if isinstance(part, dict) else part[rows]
        for name, part in inputs.items()
    }
