"""Train on sequences of windows: one rating for each window, or one for the whole trial."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from physioemo.errors import SignalError
from physioemo.models.checks import checked_labels
from physioemo.models.losses import class_weights, weighted_cross_entropy
from physioemo.models.training import (
    TrainingConfig,
    TrainingResult,
    fit_epochs,
    seeded,
)

__all__ = ["predict_sequences", "train_sequences"]


def train_sequences(
    model: nn.Module,
    sequences: ArrayLike,
    labels: ArrayLike,
    *,
    validation_sequences: ArrayLike,
    validation_labels: ArrayLike,
    config: TrainingConfig,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> TrainingResult:
    """Train a model of sequences in place and leave it in eval mode with its best weights.

    As :func:`physioemo.models.training.train_model`: AdamW with a cosine schedule, classes weighted
    equally, early stopping on the validation loss, the global random state left as it was. A batch
    is ``batch_size`` sequences.

    Parameters
    ----------
    model : nn.Module
        A :class:`~physioemo.models.temporal_context.ContextModel` for ratings of windows, or a
        :class:`~physioemo.models.multiple_instance.MultipleInstance` for ratings of trials.
    sequences, validation_sequences : array_like, shape (sequence, window, feature)
        NaN where a window is missing or a shorter sequence has ended. The two must come from
        different trials.
    labels, validation_labels : array_like of int
        (sequence, window, dimension) or (sequence, dimension), as the model's logits without
        their classes; the axis may be left out for one dimension. −1 is a missing rating.
    config : TrainingConfig
        How to train; ``token_noise`` is not used.
    on_epoch : callable, optional
        Called with each new row of the history.

    Raises
    ------
    SignalError
        If a shape does not fit, a label is not a class, or nothing is rated.
    CallError
        If the loss becomes NaN or infinite.
    """
    training = _prepared(model, sequences, labels, "")
    validation = _prepared(model, validation_sequences, validation_labels, "validation_")
    prior: Any = model.prior_logits
    n_outputs = int(prior.shape[-1])
    rated = training[1].flatten(0, -2)
    weights = class_weights(rated, n_outputs)
    counts = (rated.unsqueeze(-1) == torch.arange(n_outputs, device=rated.device)).sum(dim=0)
    model.set_prior(counts / counts.sum(dim=-1, keepdim=True).clamp(min=1))  # type: ignore[operator]
    with seeded(config.seed, rated.device):
        result, best = _fit(model, training, validation, weights, config, on_epoch)
    model.load_state_dict(best)
    model.eval()
    return result


def predict_sequences(
    model: nn.Module, sequences: ArrayLike, *, batch_size: int = 256
) -> NDArray[np.float32]:
    """Return logits of sequences, shape (sequence, window, dimension, class) or without window.

    Parameters
    ----------
    model : nn.Module
        In any mode; it is left as it was.
    sequences : array_like, shape (sequence, window, feature)
    batch_size : int
        How many sequences at once.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            parts = [model(x).logits for x in _tensor(model, sequences).split(batch_size)]
    finally:
        model.train(was_training)
    return torch.cat(parts).cpu().numpy()


def _fit(
    model: nn.Module,
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    weights: Tensor,
    config: TrainingConfig,
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> tuple[TrainingResult, dict[str, Tensor]]:
    return fit_epochs(
        model,
        len(training[0]),
        lambda batches, optimiser: _run_epoch(model, training, batches, weights, optimiser, config),
        lambda: _validation_loss(model, validation, weights, config.batch_size),
        config,
        on_epoch,
    )


def _run_epoch(
    model: nn.Module,
    split: tuple[Tensor, Tensor],
    batches: Sequence[Tensor],
    weights: Tensor,
    optimiser: torch.optim.Optimizer,
    config: TrainingConfig,
) -> float:
    model.train()
    sequences, labels = split
    total = torch.zeros((), device=labels.device)
    for rows in batches:
        loss = weighted_cross_entropy(
            model(sequences[rows]).logits.flatten(0, -3),
            labels[rows].flatten(0, -2),
            weights,
            label_smoothing=config.label_smoothing,
        )
        optimiser.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()
            optimiser.step()
        total += loss.detach() * len(rows)
    return float(total) / sum(map(len, batches))


@torch.no_grad()
def _validation_loss(
    model: nn.Module, split: tuple[Tensor, Tensor], weights: Tensor, batch_size: int
) -> float:
    model.eval()
    logits = torch.cat([model(x).logits for x in split[0].split(batch_size)])
    return float(weighted_cross_entropy(logits.flatten(0, -3), split[1].flatten(0, -2), weights))


def _prepared(
    model: nn.Module, sequences: ArrayLike, labels: ArrayLike, prefix: str
) -> tuple[Tensor, Tensor]:
    x = _tensor(model, sequences)
    with torch.no_grad():
        model.eval()
        *lead, n_dimensions, n_outputs = model(x[:1]).logits.shape
    lead[0] = len(x)
    given = np.asarray(labels)
    if given.shape == tuple(lead) and n_dimensions == 1:
        given = given[..., np.newaxis]
    if given.shape != (*lead, n_dimensions):
        raise SignalError(
            f"found {prefix}labels of shape {given.shape}, expected {(*lead, n_dimensions)}; give "
            "one class for each window or each trial, as the model says it"
        )
    classes = checked_labels(
        given.reshape(-1, n_dimensions),
        math.prod(lead),
        n_dimensions,
        n_outputs,
        name=f"{prefix}labels",
    ).reshape(given.shape)
    keep = (classes >= 0).reshape(len(x), -1).any(axis=1)
    if not keep.any():
        raise SignalError(
            f"found no rating in {prefix}labels, expected at least one; give rated sequences"
        )
    device = x.device
    return x[torch.from_numpy(keep).to(device)], torch.from_numpy(classes[keep]).to(device)


def _tensor(model: nn.Module, sequences: ArrayLike) -> Tensor:
    values = np.asarray(sequences, np.float32)
    if values.ndim != 3 or 0 in values.shape:
        raise SignalError(
            f"found sequences of shape {values.shape}, expected (sequence, window, feature), none "
            "of them zero"
        )
    return torch.as_tensor(values, device=next(model.parameters()).device)
