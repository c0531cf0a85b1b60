"""Train a model on tokens: plain tensors, seeded, the global random state left alone."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from physioemo.errors import CallError, SignalError
from physioemo.models.checks import checked_labels
from physioemo.models.losses import class_weights, weighted_cross_entropy
from physioemo.models.prediction import (
    call_model,
    checked_windows,
    forward_in_batches,
    model_device,
    predict_logits,
    to_tensor,
)

__all__ = ["TrainingConfig", "TrainingResult", "predict_logits", "train_model"]

FINAL_LEARNING_RATE = 1e-6


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train; ``dataclasses.asdict`` of it is JSON.

    Learning rate, weight decay, label smoothing and batch size are those published with
    RBTransformer (arXiv 2511.13954). ``patience`` is the number of epochs without a better
    validation loss after which training stops. ``token_noise`` is the standard deviation of
    Gaussian noise added to scaled tokens while training: for few trials it regularises as ridge
    does (Bishop 1995, Neural Computation 7:108-116). From the epoch ``late_from_epoch`` on (counted
    from 0) batches have ``late_batch_size`` windows; both are given or neither.

    Raises
    ------
    CallError
        If a value is out of its range.
    """

    n_epochs: int = 100
    batch_size: int = 256
    late_batch_size: int | None = None
    late_from_epoch: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.12
    patience: int = 15
    token_noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_epochs", "batch_size", "patience", "late_batch_size", "late_from_epoch"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "1 or more")
        if (self.late_batch_size is None) != (self.late_from_epoch is None):
            raise CallError(
                f"found late_batch_size={self.late_batch_size} and late_from_epoch="
                f"{self.late_from_epoch}, expected both or neither; give the other one too"
            )
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        _require(self.token_noise >= 0, "token_noise", self.token_noise, "0 or more")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        _require(
            0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "0 to below 1"
        )

    def batch_size_at(self, epoch: int) -> int:
        """Return how many windows a batch of an epoch has."""
        if self.late_batch_size is None or self.late_from_epoch is None:
            return self.batch_size
        return self.batch_size if epoch < self.late_from_epoch else self.late_batch_size


@dataclass(frozen=True)
class TrainingResult:
    """What training did.

    ``history`` has one dict per epoch: ``epoch`` (from 0), ``learning_rate``, ``train_loss``
    (smoothed), and with validation windows ``validation_loss`` (not smoothed). Without them the
    best epoch is the last.
    """

    best_epoch: int
    history: list[dict[str, float]]
    stopped_early: bool


@dataclass(frozen=True)
class Split:
    """Rated windows of one side of a split, on the model's device."""

    tokens: Tensor  # (window, electrode, band)
    labels: Tensor  # (window, dimension)
    mask: Tensor | None  # (window, electrode)


def train_model(
    model: nn.Module,
    tokens: ArrayLike,
    labels: ArrayLike,
    *,
    config: TrainingConfig,
    validation_tokens: ArrayLike | None = None,
    validation_labels: ArrayLike | None = None,
    electrode_mask: ArrayLike | None = None,
    validation_electrode_mask: ArrayLike | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> TrainingResult:
    """Train a model in place and leave it in eval mode with its best weights.

    AdamW with a cosine schedule to 1e-6; cross-entropy with classes weighted by the training
    labels, per dimension; early stopping on the validation loss (mean over dimensions). Without
    validation windows all epochs are trained, and the weights of the last one count. The
    same model, data and config give the same weights on the same machine, and the global
    random state is left as it was. Windows without a rating or a usable electrode are left out.

    Parameters
    ----------
    model : nn.Module
        ``model(tokens)`` or ``model(tokens, electrode_mask)`` to logits; stays on its device.
    tokens : array_like, shape (window, electrode, band)
        Scaled tokens; those of electrodes outside the mask may be NaN.
    labels : array_like of int, shape (window,) or (window, dimension)
        Classes from 0; −1 is a missing rating.
    config : TrainingConfig
        How to train.
    validation_tokens, validation_labels : array_like, optional
        As tokens and labels, of other trials, or the validation loss sees what was trained on.
    electrode_mask, validation_electrode_mask : array_like of bool, shape (window, electrode)
        True where an electrode is usable.
    on_epoch : callable, optional
        Called with each new row of the history, for progress.

    Returns
    -------
    TrainingResult

    Raises
    ------
    SignalError
        If a shape does not fit, a usable token is not finite, a label is not a class (the
        message gives the index), or no window has a rating.
    CallError
        If the loss becomes NaN or infinite.
    """
    logit_shape = logit_shape_of(model, tokens, electrode_mask)
    training = prepared_split(model, tokens, labels, electrode_mask, logit_shape, "")
    validation = validation_split(
        model, validation_tokens, validation_labels, validation_electrode_mask, logit_shape
    )
    with seeded(config.seed, training.tokens.device):
        result, best = _fit(model, training, validation, config, logit_shape[1], on_epoch)
    model.load_state_dict(best)
    model.eval()
    return result


def _fit(
    model: nn.Module,
    training: Split,
    validation: Split | None,
    config: TrainingConfig,
    n_outputs: int,
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> tuple[TrainingResult, dict[str, Tensor]]:
    weights = class_weights(training.labels, n_outputs)
    return fit_epochs(
        model,
        len(training.tokens),
        lambda batches, optimiser: _run_epoch(model, training, batches, weights, optimiser, config),
        None
        if validation is None
        else lambda: _validation_loss(model, validation, weights, config.batch_size),
        config,
        on_epoch,
    )


def fit_epochs(
    model: nn.Module,
    n_rows: int,
    run_epoch: Callable[[Sequence[Tensor], torch.optim.Optimizer], float],
    validate: Callable[[], float] | None,
    config: TrainingConfig,
    on_epoch: Callable[[dict[str, float]], None] | None,
    *,
    beside: Iterable[nn.Parameter] = (),
) -> tuple[TrainingResult, dict[str, Tensor]]:
    """Train until the validation loss gets no better; return the history and the best weights.

    Parameters
    ----------
    model : nn.Module
        What is trained; it is left as after the last epoch.
    n_rows : int
        Of the training set.
    run_epoch : callable
        Trains on the rows of each batch in turn; returns their mean loss.
    validate : callable or None
        Returns the validation loss; without it the last epoch counts.
    config : TrainingConfig
        Epochs, batches, learning rate, weight decay, patience and seed of the order.
    on_epoch : callable, optional
        Called with each new row of the history.
    beside : iterable of nn.Parameter
        Parameters that are trained with the model's and not kept.

    Raises
    ------
    CallError
        If the loss becomes NaN or infinite.
    """
    optimiser = torch.optim.AdamW(
        [*model.parameters(), *beside], lr=config.learning_rate, weight_decay=config.weight_decay
    )
    shuffle, device = torch.Generator().manual_seed(config.seed), model_device(model)
    history: list[dict[str, float]] = []
    best_epoch, best_loss, best = 0, math.inf, dict[str, Tensor]()
    for epoch in range(config.n_epochs):
        _set_learning_rate(optimiser, config, epoch)
        order = torch.randperm(n_rows, generator=shuffle).to(device)
        train_loss = run_epoch(order.split(config.batch_size_at(epoch)), optimiser)
        validation_loss = None if validate is None else validate()
        history.append(history_row(config, epoch, train_loss, validation_loss))
        if on_epoch is not None:
            on_epoch(dict(history[-1]))
        if validation_loss is None:
            if epoch + 1 == config.n_epochs:
                best_epoch, best = epoch, _copy_weights(model)
        elif validation_loss < best_loss:
            best_epoch, best_loss, best = epoch, validation_loss, _copy_weights(model)
        elif epoch - best_epoch >= config.patience:
            return TrainingResult(best_epoch, history, stopped_early=True), best
    return TrainingResult(best_epoch, history, stopped_early=False), best


def _run_epoch(
    model: nn.Module,
    split: Split,
    batches: Sequence[Tensor],
    weights: Tensor,
    optimiser: torch.optim.Optimizer,
    config: TrainingConfig,
) -> float:
    model.train()
    total = torch.zeros((), device=split.tokens.device)
    for rows in batches:
        mask = None if split.mask is None else split.mask[rows]
        tokens = split.tokens[rows]
        if config.token_noise:
            tokens = tokens + config.token_noise * torch.randn_like(tokens)
        logits = per_dimension(call_model(model, tokens, mask))
        loss = weighted_cross_entropy(
            logits, split.labels[rows], weights, label_smoothing=config.label_smoothing
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total += loss.detach() * len(rows)
    return float(total) / sum(map(len, batches))


@torch.no_grad()
def _validation_loss(model: nn.Module, split: Split, weights: Tensor, batch_size: int) -> float:
    model.eval()
    logits = forward_in_batches(model, split.tokens, split.mask, batch_size)
    return float(weighted_cross_entropy(per_dimension(logits), split.labels, weights))


def per_dimension(logits: Tensor) -> Tensor:
    """Logits as ``(window, dimension, class)``."""
    return logits if logits.ndim == 3 else logits.unsqueeze(1)


def logit_shape_of(
    model: nn.Module, tokens: ArrayLike, electrode_mask: ArrayLike | None
) -> tuple[int, int]:
    """(dimension, class) of a model's logits."""
    first = np.asarray(tokens)[:1]
    mask = None if electrode_mask is None else np.asarray(electrode_mask)[:1]
    shape = predict_logits(model, first, mask).shape
    return (1, shape[1]) if len(shape) == 2 else (shape[1], shape[2])


def prepared_split(
    model: nn.Module,
    tokens: ArrayLike,
    labels: ArrayLike,
    electrode_mask: ArrayLike | None,
    logit_shape: tuple[int, int],
    prefix: str,
) -> Split:
    """Check windows, leave out those without a rating or an electrode, and move the rest."""
    values, mask = checked_windows(tokens, electrode_mask, prefix=prefix)
    classes = checked_labels(labels, len(values), *logit_shape, name=f"{prefix}labels")
    keep = (classes >= 0).any(axis=1)
    if mask is not None:
        keep &= mask.any(axis=1)
    if not keep.any():
        raise SignalError(
            f"{prefix}labels have no rating in a window with a usable electrode, expected at "
            f"least one: give rated {prefix.replace('_', ' ')}windows."
        )
    device = model_device(model)
    return Split(
        to_tensor(values[keep], device),
        to_tensor(classes[keep], device),
        None if mask is None else to_tensor(mask[keep], device),
    )


def validation_split(
    model: nn.Module,
    tokens: ArrayLike | None,
    labels: ArrayLike | None,
    electrode_mask: ArrayLike | None,
    logit_shape: tuple[int, int],
) -> Split | None:
    """Check validation windows as :func:`prepared_split` does; None if there are none."""
    if tokens is None and labels is None:
        return None
    if tokens is None or labels is None:
        there = "tokens" if labels is None else "labels"
        raise SignalError(
            f"found validation_{there} alone, expected tokens and labels of the same windows, or "
            "neither; give both"
        )
    return prepared_split(model, tokens, labels, electrode_mask, logit_shape, "validation_")


def _copy_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def learning_rate_of(config: TrainingConfig, epoch: int) -> float:
    """Cosine annealing (Loshchilov & Hutter 2017, arXiv 1608.03983), one step per epoch."""
    share = 0.5 * (1.0 + math.cos(math.pi * epoch / config.n_epochs))
    return FINAL_LEARNING_RATE + share * (config.learning_rate - FINAL_LEARNING_RATE)


def _set_learning_rate(
    optimiser: torch.optim.Optimizer, config: TrainingConfig, epoch: int
) -> None:
    rate = learning_rate_of(config, epoch)
    for group in optimiser.param_groups:
        group["lr"] = rate


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch within a block, and leave the global random state as it was."""
    # torch.manual_seed would reseed every device, and not all of them are restored here.
    with torch.random.fork_rng(devices=[device.index] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _require(holds: bool, name: str, value: Any, expected: str) -> None:
    if not holds:
        raise CallError(f"{name}={value!r} is out of range: give {expected}.")


def history_row(
    config: TrainingConfig, epoch: int, train_loss: float, validation_loss: float | None
) -> dict[str, float]:
    """Return what is written down of an epoch.

    Raises
    ------
    CallError
        If the training diverged.
    """
    rate = learning_rate_of(config, epoch)
    row = {"epoch": epoch, "learning_rate": rate, "train_loss": train_loss}
    if validation_loss is not None:
        row["validation_loss"] = validation_loss
    if not all(map(math.isfinite, row.values())):
        checked = "" if validation_loss is None else f", validation loss {validation_loss:g}"
        raise CallError(
            f"training diverged in epoch {epoch} (training loss {train_loss:g}{checked}) at "
            f"learning rate {rate:g}: lower learning_rate or check the scale of the tokens."
        )
    return row
