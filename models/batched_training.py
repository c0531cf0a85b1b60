"""Train many small models in one program, each as ``train_model`` would have trained it alone.

A subject-dependent study is hundreds of models of one architecture, each with its own windows,
seed, class weights and early stopping. Alone each is bound by the cost of starting operations;
together their weights are one array and an operation serves all. Models take slots: when one
stops early, the next data set takes its place. Numbers are float32 unless a plan says bfloat16.

The results are those of :func:`physioemo.models.training.train_model` one by one, to rounding:
the same shuffles, token noise and dropout from each model's own seed. On a GPU noise and dropout
are drawn for all models at once, so there a model with either agrees only within seed noise.

With large batches stacking does not pay on a CPU: there the models are spread over processes
(:mod:`physioemo.models.training_processes`).
"""

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from physioemo.errors import CallError, PhysioEmoError
from physioemo.models.stacked_step import Engine
from physioemo.models.stacked_weights import Architecture
from physioemo.models.training import (
    Split,
    TrainingConfig,
    logit_shape_of,
    prepared_split,
    validation_split,
)
from physioemo.models.training_plan import TrainingPlan, training_plan
from physioemo.models.training_slots import CheckedData, Room, Slots, TrainedModel

__all__ = ["TrainedModel", "TrainingData", "train_models"]

_LEAST_FULL = 0.8


@dataclass(frozen=True)
class TrainingData:
    """What one model is trained on; the arguments of ``train_model``.

    Parameters
    ----------
    tokens, validation_tokens : array_like, shape (window, electrode, band)
        Scaled tokens; those outside the mask may be NaN.
    labels, validation_labels : array_like of int, shape (window,) or (window, dimension)
        Classes from 0; −1 is a missing rating. All data sets have validation windows or none has.
    electrode_mask, validation_electrode_mask : array_like of bool, optional
        True where an electrode is usable.
    seed : int, optional
        Seed of shuffles, noise and dropout; that of the configuration by default.
    """

    tokens: ArrayLike
    labels: ArrayLike
    validation_tokens: ArrayLike | None = None
    validation_labels: ArrayLike | None = None
    electrode_mask: ArrayLike | None = None
    validation_electrode_mask: ArrayLike | None = None
    seed: int | None = None


def train_models(
    build: Callable[[int], nn.Module],
    datasets: Sequence[TrainingData],
    config: TrainingConfig,
    *,
    device: str | torch.device = "cpu",
    plan: TrainingPlan | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> list[TrainedModel]:
    """Train one model for each data set, several at a time.

    Parameters
    ----------
    build : callable
        From the index of a data set to its untrained model; all of one architecture.
    datasets : sequence of TrainingData
        One per model; their sizes may differ.
    config : TrainingConfig
        How to train each of them.
    device : str or torch.device
        Where to compute.
    plan : TrainingPlan, optional
        How many at a time, in how many processes and whether compiled; :func:`training_plan`
        chooses by default.
    on_epoch : callable, optional
        Called with the index of a data set and each new row of its history; where a process dies
        that was training, again from the first.

    Returns
    -------
    list of TrainedModel
        In the order of the data sets.

    Raises
    ------
    CallError
        If the models differ in architecture, keep statistics between batches, a loss becomes NaN
        or infinite, or some data sets have validation windows and others have not.
    SignalError
        If windows cannot be trained on. The message begins with the data set's number.
    """
    if not datasets:
        return []
    place = torch.device(device)
    model = build(0).cpu()  # data wait on the CPU for their slot
    architecture = Architecture(copy.deepcopy(model).to(place))
    splits = [_checked(i, model, data) for i, data in enumerate(datasets)]
    without = [i for i, split in enumerate(splits) if split.validation is None]
    if 0 < len(without) < len(splits):
        raise CallError(
            f"found data set {without[0]} without validation windows among others that have some, "
            "expected all or none; train them apart"
        )
    if plan is None:
        plan = _own_plan(architecture, splits, config, place)
    reproducible = plan.bfloat16 and place.type == "cpu"
    job = _Job(build, splits, architecture, config, place, on_epoch, reproducible)
    # Neighbours of one size waste no padding, and the longest does not come last.
    order = sorted(range(len(splits)), key=lambda i: -len(splits[i].training.tokens))
    done: dict[int, TrainedModel] = {}
    if plan.n_processes > 1 and place.type == "cpu":
        done = _in_processes(job, plan, order)
    rest = [i for i in order if i not in done]
    if rest:
        with _one_thread() if job.reproducible else nullcontext():
            done |= _in_slots(job, plan, rest)
    return [done[i] for i in range(len(datasets))]


@dataclass(frozen=True)
class _Job:
    """The arguments of ``train_models``, checked."""

    build: Callable[[int], nn.Module]
    splits: list[CheckedData]
    architecture: Architecture
    config: TrainingConfig
    device: torch.device
    on_epoch: Callable[[int, dict[str, float]], None] | None
    reproducible: bool  # to the bit, so that shapes and threads depend on no other model

    @property
    def room(self) -> Room:
        batch_size = self.config.batch_size
        return Room.for_all(self.splits, batch_size, full_batches=self.reproducible)


@contextmanager
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _in_processes(job: _Job, plan: TrainingPlan, order: list[int]) -> dict[int, TrainedModel]:
    """Return what processes of their own have trained: all, unless one of them dies."""
    from physioemo.models.training_processes import LostProcessError, TrainingProcesses

    done: dict[int, TrainedModel] = {}
    tasks = ((i, job.splits[i], job.architecture.flatten(job.build(i).cpu())) for i in order)
    try:
        with TrainingProcesses(
            job.build(order[0]).cpu(),
            job.room,
            job.config,
            n_processes=min(plan.n_processes, len(order)),
            compiled=plan.compiled,
            bfloat16=plan.bfloat16,
        ) as processes:
            for index, trained in processes.train(tasks, job.on_epoch):
                done[index] = trained
    except LostProcessError as error:
        warnings.warn(
            f"the other {len(order) - len(done)} of {len(order)} models are trained in this "
            f"process, at the same numbers but slower: {error}",
            RuntimeWarning,
            stacklevel=3,
        )
    return done


def _in_slots(job: _Job, plan: TrainingPlan, order: list[int]) -> dict[int, TrainedModel]:
    """Return what this process has trained, several at a time."""
    done: dict[int, TrainedModel] = {}
    n_slots = min(plan.n_together, len(order))
    slots = Slots.empty(n_slots, job.room, job.architecture, job.config, job.device)
    engine = Engine(
        job.architecture,
        job.config,
        compiled=plan.compiled,
        cuda_graph=plan.cuda_graph,
        bfloat16=plan.bfloat16,
    )
    plain = engine
    if engine.fast:
        plain = Engine(job.architecture, job.config, bfloat16=plan.bfloat16)
    waiting = iter(order)
    slots.fill(job.build, job.splits, waiting)
    while any(run is not None for run in slots.runs):
        slots.epoch(engine, job.on_epoch)
        for index, trained in slots.finished():
            done[index] = trained
        slots.fill(job.build, job.splits, waiting)
        n_busy = sum(run is not None for run in slots.runs)
        if 0 < n_busy <= len(slots.runs) // 2:
            slots, engine = slots.compact(), plain  # a new shape would be compiled anew
    return done


def _checked(index: int, model: nn.Module, data: TrainingData) -> CheckedData:
    try:
        shape = logit_shape_of(model, data.tokens, data.electrode_mask)
        training = prepared_split(model, data.tokens, data.labels, data.electrode_mask, shape, "")
        validation = validation_split(
            model,
            data.validation_tokens,
            data.validation_labels,
            data.validation_electrode_mask,
            shape,
        )
    except PhysioEmoError as error:
        raise type(error)(f"data set {index}: {error}") from error
    return CheckedData(training, validation, shape, data.seed)


def _own_plan(
    architecture: Architecture,
    splits: list[CheckedData],
    config: TrainingConfig,
    device: torch.device,
) -> TrainingPlan:
    sizes = [len(s.training.tokens) for s in splits]
    width = min(config.batch_size, max(sizes))
    n_steps = math.ceil(max(sizes) / width)
    plan = training_plan(
        width,
        device,
        len(splits),
        n_steps=config.n_epochs * n_steps,
        bytes_per_model=_bytes_per_model(architecture, splits[0].training, width),
    )
    # A compiled step has one shape, so that what is short of it is computed for nothing.
    full = sum(sizes) / (len(sizes) * n_steps * width)
    if plan.n_together == 1 and full < _LEAST_FULL:
        return replace(plan, compiled=False)
    return plan


def _bytes_per_model(architecture: Architecture, split: Split, width: int) -> int:
    """Measure what one model's step keeps: weights, moments, gradients and activations."""
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    example = architecture.training
    place = next(example.parameters()).device
    rows = split.tokens[:1].expand(4, -1, -1).to(place)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        example(rows)
    return 2 * (kept // 4 * width) + 32 * architecture.n_parameters
