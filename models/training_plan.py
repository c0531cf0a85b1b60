"""How to train many small models: a measured table, and what the machine has free."""

import math
import multiprocessing
import threading
from dataclasses import dataclass

import torch

from physioemo.errors import CallError

__all__ = ["TrainingPlan", "bfloat16_plan", "training_plan"]

# On a CPU: up to which batch, how many in one program, whether spread over processes, and why.
# Measured by benchmarks/bench_training.py.
_ON_CPU = (
    (128, 32, False, "small batches leave the cores idle alone"),
    (math.inf, 1, True, "at large batches threads wait for each other, processes do not"),
)
_WINDOWS_WORTH_COMPILING = 1_000_000  # half a minute of compiling is won back
_MOST_PROCESSES = 16  # of about 0.7 GiB each
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
        it: it has to be asked for, see :func:`bfloat16_plan`.
    n_processes : int
        Processes of one thread, each with its share of the models one after the other; 1 is this
        process alone.
    reason : str
        Why, in words.
    """

    n_together: int
    compiled: bool = False
    cuda_graph: bool = False
    bfloat16: bool = False
    n_processes: int = 1
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
        Steps of each, which decides whether compiling and starting processes (half a minute on a
        CPU) are worth it.
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


def bfloat16_plan(n_models: int, plan: TrainingPlan | None = None) -> TrainingPlan:
    """Choose how to train on a CPU in bfloat16: to the same bits, however many models there are.

    Two ways that round a sum differently part soon in bfloat16, where a weight has three digits.
    So there is one way: each model alone, in a compiled step of one shape and one thread.

    Parameters
    ----------
    n_models : int
        How many models of one architecture there are.
    plan : TrainingPlan, optional
        How many processes; as many as there are free threads by default.
    """
    n_processes = min(_free_threads(), n_models) if plan is None else plan.n_processes
    reason = "in bfloat16 there is one way, whatever the number of models"
    return TrainingPlan(1, True, False, True, n_processes, reason)


def _on_cpu(batch_size: int, n_models: int, total_steps: int) -> TrainingPlan:
    _, together, spread, reason = next(row for row in _ON_CPU if batch_size <= row[0])
    compiled = total_steps * batch_size >= _WINDOWS_WORTH_COMPILING
    if spread and compiled and (n_processes := min(_free_threads(), n_models)) > 1:
        return TrainingPlan(1, compiled, n_processes=n_processes, reason=reason)
    if spread or n_models == 1:
        reason = f"one model at batch {batch_size} fills the cores"
        return TrainingPlan(1, compiled, reason=reason)
    return TrainingPlan(min(n_models, together), compiled, reason=reason)


def _free_threads() -> int:
    """Return how many processes may be started: none beside the others of a pool or server."""
    alone = multiprocessing.parent_process() is None
    if not alone or threading.current_thread() is not threading.main_thread():
        return 1
    return min(torch.get_num_threads(), _MOST_PROCESSES)


def _on_gpu(device: torch.device, n_models: int, bytes_per_model: int) -> TrainingPlan:
    free, _ = torch.cuda.mem_get_info(device)
    fitting = max(1, math.floor(_SHARE_OF_FREE_MEMORY * free / bytes_per_model))
    n_together = min(n_models, _MOST_ON_GPU, fitting)
    return TrainingPlan(
        n_together, True, True, reason=f"{fitting} models fit in {free / 2**30:.1f} GiB"
    )
