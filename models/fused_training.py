"""Train a fused model on arrays: seeded, grouped validation, the best epoch kept."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from physioemo.errors import SignalError
from physioemo.models.checks import checked_labels
from physioemo.models.fused import FusedModel
from physioemo.models.fusion import FusionOutput
from physioemo.models.losses import class_weights, weighted_cross_entropy
from physioemo.models.modality_inputs import count_windows, rows_of, to_tensors
from physioemo.models.training import (
    TrainingConfig,
    TrainingResult,
    fit_epochs,
    seeded,
)

__all__ = [
    "FusedOutputs",
    "NamedTask",
    "RatingTask",
    "fused_outputs",
    "predict_fused",
    "train_fused",
]

Inputs = Mapping[str, Any]


class FusedOutputs(NamedTuple):
    """What a fused model says of windows, as arrays.

    Parameters
    ----------
    logits : ndarray, shape (window, dimension, class)
    abstain : ndarray of bool, shape (window,)
    features : ndarray, shape (window, dimension, embed)
        What the logits were made of.
    """

    logits: np.ndarray
    abstain: np.ndarray
    features: np.ndarray


class RatingTask(NamedTuple):
    """Continuous ratings that are learned with the classes, from the same features.

    Parameters
    ----------
    head : nn.Module
        Such as :class:`physioemo.models.affect_heads.GaussianHead`, on the features of all
        dimensions side by side; it is trained in place.
    ratings, validation_ratings : array_like, shape (window, dimension)
        NaN is missing.
    weight, class_weight : float
        How much ratings and classes count.
    """

    head: nn.Module
    ratings: Any
    validation_ratings: Any
    weight: float = 1.0
    class_weight: float = 1.0


class NamedTask(NamedTuple):
    """One question more, whose answer is a name, learned from the same features.

    Parameters
    ----------
    head : NamedHead
        :class:`physioemo.models.affect_heads.NamedHead`, on the features of all dimensions side by
        side; it is trained in place.
    labels, validation_labels : array_like of int, shape (window,)
        Number of the name, -1 = missing.
    weight : float
        How much it counts beside the rest.
    """

    head: Any
    labels: Any
    validation_labels: Any
    weight: float = 1.0


class _Split(NamedTuple):
    inputs: Mapping[str, Any]
    labels: Tensor  # (window, dimension)
    ratings: Tensor | None  # (window, dimension)
    names: Tensor | None  # (window,)

    def take(self, rows: Any) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the answers of some windows."""
        more = (None if part is None else part[rows] for part in (self.ratings, self.names))
        return self.labels[rows], *more  # type: ignore[return-value]


def train_fused(
    model: FusedModel,
    inputs: Inputs,
    labels: Any,
    *,
    validation_inputs: Inputs,
    validation_labels: Any,
    config: TrainingConfig,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    task: RatingTask | None = None,
    named: NamedTask | None = None,
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
    task : RatingTask, optional
        Ratings to learn as well.
    named : NamedTask, optional
        Names to learn as well. A window that has only one kind of answer teaches that one.

    Raises
    ------
    SignalError
        If lengths differ, a label is not a class, or nothing is rated.
    CallError
        If the loss becomes NaN or infinite.
    """
    device = next(model.parameters()).device
    shape = (len(model.config["dimensions"]), int(model.config["n_outputs"]))
    rated = (None, None) if task is None else (task.ratings, task.validation_ratings)
    called = (None, None) if named is None else (named.labels, named.validation_labels)
    training = _prepared(inputs, labels, rated[0], called[0], shape, device, "")
    validation = _prepared(
        validation_inputs, validation_labels, rated[1], called[1], shape, device, "validation_"
    )
    weights = class_weights(training.labels, shape[1])
    counts = torch.nn.functional.one_hot(training.labels.clamp(min=0), shape[1]).float()
    counts = (counts * (training.labels >= 0).unsqueeze(-1)).sum(dim=0)
    model.set_prior(counts / counts.sum(dim=-1, keepdim=True).clamp(min=1))
    loss = _Loss(model, weights, task, named, training.names)
    heads = [each.head for each in (task, named) if each is not None]
    whole = nn.ModuleList([model, *heads]) if heads else model
    with seeded(config.seed, device):
        result, best = fit_epochs(
            whole,
            len(training.labels),
            lambda batches, optimiser: _run_epoch(
                whole, loss, training, batches, optimiser, config
            ),
            lambda: loss.of_split(validation, config.batch_size),
            config,
            on_epoch,
        )
    whole.load_state_dict(best)
    whole.eval()
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
    return fused_outputs(model, inputs, batch_size=batch_size)[:2]


def fused_outputs(model: FusedModel, inputs: Inputs, *, batch_size: int = 1024) -> FusedOutputs:
    """Return all that a fused model says of windows.

    Parameters
    ----------
    model, inputs, batch_size
        As in :func:`predict_fused`.
    """
    device, was_training = next(model.parameters()).device, model.training
    tensors = to_tensors(inputs, device)
    n = count_windows(tensors)
    model.eval()
    try:
        with torch.no_grad():
            parts = [
                model(rows_of(tensors, slice(k, k + batch_size))) for k in range(0, n, batch_size)
            ]
    finally:
        model.train(was_training)
    if not parts:
        n_dimensions, n_outputs = len(model.config["dimensions"]), model.config["n_outputs"]
        nothing = np.empty((0, n_dimensions, n_outputs), np.float32)
        return FusedOutputs(nothing, np.empty(0, bool), nothing[..., :0])
    return FusedOutputs(*(torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True)))


def _run_epoch(
    whole: nn.Module,
    loss: "_Loss",
    split: _Split,
    batches: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
    config: TrainingConfig,
) -> float:
    whole.train()
    total = torch.zeros((), device=split.labels.device)
    for rows in batches:
        lost = loss(
            loss.model(rows_of(split.inputs, rows)),
            *split.take(rows),
            label_smoothing=config.label_smoothing,
        )
        optimiser.zero_grad(set_to_none=True)
        if lost.requires_grad:
            lost.backward()
            optimiser.step()
        total += lost.detach() * len(rows)
    whole.eval()
    return float(total) / sum(map(len, batches))


class _Loss:
    """Cross-entropy of the classes, and what heads say of ratings and of names."""

    def __init__(
        self,
        model: FusedModel,
        weights: Tensor,
        task: RatingTask | None,
        named: NamedTask | None,
        names: Tensor | None,
    ) -> None:
        self.model, self.weights, self.task, self.named = model, weights, task, named
        if named is not None and names is not None:
            self.name_weights = class_weights(names.unsqueeze(1), named.head.out.out_features)

    def __call__(
        self,
        said: FusionOutput,
        labels: Tensor,
        ratings: Tensor | None,
        names: Tensor | None,
        *,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        lost = weighted_cross_entropy(
            said.logits, labels, self.weights, label_smoothing=label_smoothing
        )
        # Of a window without anything nothing is learned.
        features = said.features.flatten(1)
        if self.task is not None and ratings is not None:
            wanted = torch.where(said.abstain.unsqueeze(1), torch.nan, ratings)
            of_ratings = self.task.head.loss(features, wanted)  # type: ignore[operator]
            lost = self.task.class_weight * lost + self.task.weight * of_ratings
        if self.named is not None and names is not None:
            known = torch.where(said.abstain, -1, names)
            of_names = self.named.head.loss(
                features, known, self.name_weights, label_smoothing=label_smoothing
            )
            lost = lost + self.named.weight * of_names
        return lost

    @torch.no_grad()
    def of_split(self, split: _Split, batch_size: int) -> float:
        """Return the loss of all windows of a split together."""
        parts = [
            self.model(rows_of(split.inputs, slice(k, k + batch_size)))
            for k in range(0, len(split.labels), batch_size)
        ]
        said = FusionOutput(*(torch.cat(part) for part in zip(*parts, strict=True)))
        return float(self(said, *split.take(slice(None))))


def _prepared(
    inputs: Inputs,
    labels: Any,
    ratings: Any,
    names: Any,
    shape: tuple[int, int],
    device: torch.device,
    prefix: str,
) -> _Split:
    tensors = to_tensors(inputs, device)
    classes = checked_labels(labels, count_windows(tensors), *shape, name=f"{prefix}labels")
    rated = None if ratings is None else np.asarray(ratings, np.float32)
    if rated is not None and rated.shape != classes.shape:
        raise SignalError(
            f"found {prefix}ratings of shape {rated.shape}, expected {classes.shape} (window, "
            "dimension) as the labels"
        )
    keep = (classes >= 0).any(axis=1)
    if rated is not None:
        keep |= np.isfinite(rated).any(axis=1)
    called = None if names is None else np.asarray(names, np.int64)
    if called is not None and called.shape != classes.shape[:1]:
        raise SignalError(
            f"found {prefix}names of shape {called.shape}, expected ({len(classes)},), one for "
            "each window"
        )
    if called is not None:
        keep |= called >= 0
    if not keep.any():
        raise SignalError(
            f"{prefix}labels have no rating, expected at least one: give rated "
            f"{prefix.replace('_', ' ')}windows."
        )
    rows = torch.from_numpy(np.flatnonzero(keep)).to(device)
    return _Split(
        rows_of(tensors, rows),
        torch.from_numpy(classes[keep]).to(device),
        None if rated is None else torch.from_numpy(rated[keep]).to(device),
        None if called is None else torch.from_numpy(called[keep]).to(device),
    )
