"""How to train many small models: a measured table, and what the machine has free."""

import math
from dataclasses import dataclass

import torch

from physioemo.errors import CallError

__all__ = ["TrainingPlan", "training_plan"]

_LARGEST_BATCH_TOGETHER = 128
_TOGETHER_ON_CPU = 32
_STEPS_WORTH_COMPILING = 50_000
_MOST_ON_GPU = 256
_SHARE_OF_FREE_MEMORY = 0.6
_UNKNOWN_BYTES = 512 * 2**20


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Parameters
    ----------
    n_together : int
        Models in one program; 1 is one after the other.
    compiled : bool
        Whether ``torch.compile`` makes the step; without a compiler it falls back, with a
        warning, to the same numbers.
    cuda_graph : bool
        Whether the step is replayed as one CUDA graph.
    bfloat16 : bool
        Whether matrix products run in bfloat16. It changes the numbers, so no plan is made with
        it: it has to be asked for.
    reason : str
        Why, in words.
    """

    n_together: int
    compiled: bool = False
    cuda_graph: bool = False
    bfloat16: bool = False
    reason: str = "given"


def training_plan(
    batch_size: int,
    device: str | torch.device,
    n_models: int,
    *,
    n_steps: int | None = None,
    bytes_per_model: int | None = None,
) -> TrainingPlan:
    """Choose how to train ``n_models`` models of one architecture.

    Parameters
    ----------
    batch_size : int
        Windows in a step of one model.
    device : str or torch.device
        Where.
    n_models : int
        How many there are.
    n_steps : int, optional
        Steps of each, which decides whether compiling (half a minute on a CPU) is worth it.
    bytes_per_model : int, optional
        What a step of one model keeps in memory, for the number that fits on a GPU.

    Raises
    ------
    CallError
        If a number is below one.
    """
    for name, value in (("batch_size", batch_size), ("n_models", n_models)):
        if value < 1:
            raise CallError(f"{name}={value!r} is out of range: give 1 or more.")
    place = torch.device(device)
    if place.type == "cuda":
        return _on_gpu(place, n_models, bytes_per_model or _UNKNOWN_BYTES)
    return _on_cpu(batch_size, n_models, n_models * (n_steps or 0))


def _on_cpu(batch_size: int, n_models: int, total_steps: int) -> TrainingPlan:
    if batch_size > _LARGEST_BATCH_TOGETHER or n_models == 1:
        return TrainingPlan(1, reason=f"one model at batch {batch_size} fills the cores")
    n_together = min(n_models, _TOGETHER_ON_CPU)
    compiled = total_steps >= _STEPS_WORTH_COMPILING
    return TrainingPlan(n_together, compiled, reason="small batches leave the cores idle alone")


def _on_gpu(device: torch.device, n_models: int, bytes_per_model: int) -> TrainingPlan:
    free, _ = torch.cuda.mem_get_info(device)
    fitting = max(1, math.floor(_SHARE_OF_FREE_MEMORY * free / bytes_per_model))
    n_together = min(n_models, _MOST_ON_GPU, fitting)
    return TrainingPlan(
        n_together, True, True, reason=f"{fitting} models fit in {free / 2**30:.1f} GiB"
    )
