"""Slots in which models train side by side, each at its own epoch of its own data set.

A slot is a row of every array. Data sets of different lengths are padded with windows that have
no label; a model that has no step left in an epoch, or whose run has ended, is kept as it is.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from physioemo.errors import CallError
from physioemo.models.losses import class_weights, weighted_cross_entropy
from physioemo.models.stacked_step import Engine, adamw_coefficients
from physioemo.models.stacked_weights import Architecture, State, draw_noise
from physioemo.models.training import (
    Split,
    TrainingConfig,
    TrainingResult,
    history_row,
    learning_rate_of,
)

__all__ = ["CheckedData", "Room", "Slots", "TrainedModel"]


@dataclass(frozen=True)
class TrainedModel:
    """What training one data set gave: the course of it, and the best weights on the CPU."""

    result: TrainingResult
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class CheckedData:
    """A data set that can be trained on."""

    training: Split
    validation: Split | None
    logit_shape: tuple[int, int]
    seed: int | None


@dataclass(frozen=True)
class Room:
    """The size of a slot: that of the largest data set, so that all have one shape."""

    n_training: int
    n_validation: int
    token_shape: tuple[int, int]
    logit_shape: tuple[int, int]
    masked: bool

    @classmethod
    def for_all(
        cls, splits: list[CheckedData], batch_size: int, *, full_batches: bool = False
    ) -> "Room":
        """Return the room that each of some data sets fits in, perhaps none short of a batch."""
        least = batch_size if full_batches else 1
        checks = [s.validation for s in splits if s.validation is not None]
        n_validation = max((max(least, len(v.tokens)) for v in checks), default=0)
        n_validation += -n_validation % max(1, min(batch_size, n_validation))
        _, n_tokens, n_features = splits[0].training.tokens.shape
        return cls(
            max(least, *(len(s.training.tokens) for s in splits)),
            n_validation,
            (n_tokens, n_features),
            splits[0].logit_shape,
            any(v.mask is not None for v in [*checks, *(s.training for s in splits)]),
        )


@dataclass
class Run:
    """One data set on its way through a slot."""

    index: int
    config: TrainingConfig
    n_training: int
    shuffle: torch.Generator
    noise: torch.Generator
    epoch: int = 0
    n_steps: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)
    stopped_early: bool | None = None


@dataclass
class Slots:
    """Models in training: a row of every array, and a run or None, for each slot."""

    architecture: Architecture
    config: TrainingConfig
    device: torch.device
    state: State
    best: Tensor  # (slot, parameter)
    training: Split  # (slot, window + 1, ...); the last window is the padding
    validation: Split
    class_weights: Tensor  # (slot, dimension, class)
    runs: list[Run | None]
    together: torch.Generator | None

    @classmethod
    def empty(
        cls,
        n_slots: int,
        room: Room,
        architecture: Architecture,
        config: TrainingConfig,
        device: torch.device,
    ) -> "Slots":
        """Return free slots."""
        together = None
        if device.type == "cuda":
            together = torch.Generator(device).manual_seed(config.seed)
        return cls(
            architecture,
            config,
            device,
            State.empty(n_slots, architecture.n_parameters, device),
            torch.zeros(n_slots, architecture.n_parameters, device=device),
            _padding(n_slots, room.n_training + 1, room, device),
            _padding(n_slots, room.n_validation, room, device),
            torch.zeros(n_slots, *room.logit_shape, device=device),
            [None] * n_slots,
            together,
        )

    def fill(
        self, build: Callable[[int], nn.Module], splits: list[CheckedData], waiting: Iterator[int]
    ) -> None:
        """Give every free slot the next data set that waits."""
        for k, run in enumerate(self.runs):
            if run is not None:
                continue
            index = next(waiting, None)
            if index is None:
                return
            self.put(k, index, splits[index], self.architecture.flatten(build(index)))

    def put(self, k: int, index: int, split: CheckedData, weights: Tensor) -> None:
        """Begin a data set in slot ``k`` from a row of untrained weights."""
        config = self.config
        if split.seed is not None:
            config = replace(config, seed=split.seed)
        for array in (self.state.weights, self.best):
            array[k] = weights.to(self.device)
        self.state.first[k] = self.state.second[k] = 0.0
        _put(self.training, k, split.training)
        if split.validation is not None:
            _put(self.validation, k, split.validation)
        n_classes = split.logit_shape[1]
        self.class_weights[k] = class_weights(split.training.labels, n_classes)
        self.runs[k] = Run(
            index,
            config,
            len(split.training.tokens),
            torch.Generator().manual_seed(config.seed),
            torch.Generator().manual_seed(config.seed),
        )

    def epoch(
        self, engine: Engine, on_epoch: Callable[[int, dict[str, float]], None] | None
    ) -> None:
        """Run one epoch of every run, and judge it."""
        training = self._train(engine)
        validation = self._validate(engine)
        improved = []
        for k, run in enumerate(self.runs):
            if run is None:
                continue
            _judge(run, training[k], validation[k])
            if on_epoch is not None:
                on_epoch(run.index, dict(run.history[-1]))
            if run.best_epoch == run.epoch - 1:
                improved.append(k)
        self.best[improved] = self.state.weights[improved]

    def finished(self) -> Iterator[tuple[int, TrainedModel]]:
        """Empty the slots whose run has ended, and yield what came of it."""
        for k, run in enumerate(self.runs):
            if run is None or run.stopped_early is None:
                continue
            result = TrainingResult(run.best_epoch, run.history, run.stopped_early)
            yield run.index, TrainedModel(result, self.architecture.unflatten(self.best[k].cpu()))
            self.runs[k] = None

    def compact(self) -> "Slots":
        """Return the busy slots alone."""
        busy = [k for k, run in enumerate(self.runs) if run is not None]
        rows = torch.tensor(busy, device=self.device)
        return replace(
            self,
            state=self.state.take(rows),
            best=self.best[rows],
            training=_take(self.training, rows),
            validation=_take(self.validation, rows),
            class_weights=self.class_weights[rows],
            runs=[self.runs[k] for k in busy],
        )

    def _train(self, engine: Engine) -> list[float]:
        orders, sizes, coefficients = self._schedule()
        n_slots = len(self.runs)
        n_windows = self.training.tokens.shape[1]
        offset = n_windows * torch.arange(n_slots, device=self.device).unsqueeze(1)
        counts = torch.tensor(sizes, dtype=torch.float32, device=self.device)
        total = torch.zeros(n_slots, device=self.device)
        for step, rows in enumerate((orders.to(self.device) + offset).unbind()):
            # A compiled step wants one shape; else rows that are padding for all are left out.
            width = rows.shape[1] if engine.fast else int(sizes[step].max())
            batch = _gather(self.training, rows[:, :width].reshape(-1), (n_slots, width))
            tokens, factors = self._noisy(batch, sizes[step].tolist())
            self.state, losses = engine.step(
                self.state,
                tokens,
                batch.mask,
                batch.labels,
                self.class_weights,
                coefficients[step],
                factors,
            )
            total += losses * counts[step]
        n_training = [1 if run is None else run.n_training for run in self.runs]
        sums: list[float] = total.tolist()
        return [value / n for value, n in zip(sums, n_training, strict=True)]

    def _noisy(self, batch: Split, n_rows: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        generators = [None if run is None else run.noise for run in self.runs]
        noise, factors = draw_noise(
            self.architecture,
            generators if self.together is None else [self.together],
            batch.tokens,
            batch.mask,
            n_rows,
            self.config,
        )
        return batch.tokens if noise is None else batch.tokens + noise, factors

    def _schedule(self) -> tuple[Tensor, "np.ndarray", Tensor]:
        """Rows (step, slot, row), their number (step, slot), and AdamW's coefficients."""
        padding = self.training.tokens.shape[1] - 1
        widths = [1 if r is None else r.config.batch_size_at(r.epoch) for r in self.runs]
        width = min(max(widths), padding)
        pairs = zip(self.runs, widths, strict=True)
        n_steps = max(math.ceil(r.n_training / w) for r, w in pairs if r is not None)
        orders = torch.full((n_steps, len(self.runs), width), padding)
        sizes = np.zeros((n_steps, len(self.runs)), int)
        idle = adamw_coefficients(self.config, 0.0, 0, active=False)
        coefficients = np.tile(np.array(idle, np.float32), (n_steps, len(self.runs), 1))
        for k, run in enumerate(self.runs):
            if run is None:
                continue
            order = torch.randperm(run.n_training, generator=run.shuffle)
            rate = learning_rate_of(run.config, run.epoch)
            for step, rows in enumerate(order.split(widths[k])):
                orders[step, k, : len(rows)] = rows
                sizes[step, k] = len(rows)
                coefficients[step, k] = adamw_coefficients(
                    run.config, rate, run.n_steps, active=True
                )
                run.n_steps += 1
        return orders, sizes, torch.tensor(coefficients, device=self.device)

    def _validate(self, engine: Engine) -> list[float | None]:
        if not self.validation.tokens.shape[1]:
            return [None] * len(self.runs)
        split, width = self.validation, min(self.config.batch_size, self.validation.tokens.shape[1])
        masks = [None] * split.tokens.shape[1] if split.mask is None else split.mask.split(width, 1)
        parts = [
            engine.logits(self.state.weights, tokens.contiguous(), mask)
            for tokens, mask in zip(split.tokens.split(width, 1), masks, strict=False)
        ]
        loss = torch.func.vmap(weighted_cross_entropy)
        with torch.no_grad():
            losses = loss(torch.cat(parts, dim=1), split.labels, self.class_weights)
        return list(losses.tolist())


def _judge(run: Run, train_loss: float, validation_loss: float | None) -> None:
    """Write the epoch down; stop where training alone would have stopped."""
    try:
        row = history_row(run.config, run.epoch, train_loss, validation_loss)
    except CallError as error:
        raise CallError(f"data set {run.index}: {error}") from error
    run.history.append(row)
    if validation_loss is None:
        run.best_epoch = run.epoch  # the last one counts
    elif validation_loss < run.best_loss:
        run.best_epoch, run.best_loss = run.epoch, validation_loss
    elif run.epoch - run.best_epoch >= run.config.patience:
        run.stopped_early = True
    run.epoch += 1
    if run.stopped_early is None and run.epoch == run.config.n_epochs:
        run.stopped_early = False


def _padding(n_slots: int, n_windows: int, room: Room, device: torch.device) -> Split:
    electrodes = (n_slots, n_windows, room.token_shape[0])
    dimensions = room.logit_shape[0]
    return Split(
        torch.zeros(*electrodes, room.token_shape[1], device=device),
        torch.full((n_slots, n_windows, dimensions), -1, device=device),
        torch.ones(electrodes, dtype=torch.bool, device=device) if room.masked else None,
    )


def _put(slots: Split, k: int, split: Split) -> None:
    n = len(split.tokens)
    slots.tokens[k, :n], slots.tokens[k, n:] = split.tokens, 0.0
    slots.labels[k, :n], slots.labels[k, n:] = split.labels, -1
    if slots.mask is not None:
        slots.mask[k] = True
        if split.mask is not None:
            slots.mask[k, :n] = split.mask


def _take(split: Split, rows: Tensor) -> Split:
    mask = None if split.mask is None else split.mask[rows]
    return Split(split.tokens[rows], split.labels[rows], mask)


def _gather(split: Split, rows: Tensor, shape: tuple[int, int]) -> Split:
    def pick(array: Tensor) -> Tensor:
        return array.flatten(0, 1)[rows].unflatten(0, shape)

    mask = None if split.mask is None else pick(split.mask)
    return Split(pick(split.tokens), pick(split.labels), mask)
