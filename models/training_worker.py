"""The other end of the pipe: a process that trains what it is sent, one after the other."""

import ctypes
import os
import signal
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import nn

from physioemo.errors import PhysioEmoError
from physioemo.models.stacked_step import Engine
from physioemo.models.stacked_weights import Architecture
from physioemo.models.training import Split, TrainingConfig, TrainingResult
from physioemo.models.training_slots import CheckedData, Room, Slots

__all__ = ["Done", "Epoch", "Failed", "Note", "Setting", "Task", "serve"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT_BYTES, _MOST_OF_OLD_GLIBC = 2**30, 2**25


@dataclass(frozen=True)
class Setting:
    """What a process has to know before its first model."""

    model: nn.Module  # without weights: on the device "meta"
    room: Room
    config: TrainingConfig
    n_threads: int
    compiled: bool
    bfloat16: bool


@dataclass(frozen=True)
class Task:
    """A data set and the untrained weights, as arrays.

    A tensor would travel as a file of shared memory, of which there may be few.
    """

    index: int
    weights: np.ndarray  # (parameter,)
    training: tuple[np.ndarray | None, ...]
    validation: tuple[np.ndarray | None, ...] | None
    logit_shape: tuple[int, int]
    seed: int | None

    @classmethod
    def of(cls, index: int, data: CheckedData, weights: torch.Tensor) -> "Task":
        """Pack a data set."""
        validation = None if data.validation is None else _arrays(data.validation)
        training = _arrays(data.training)
        return cls(index, weights.numpy(), training, validation, data.logit_shape, data.seed)

    def data(self) -> CheckedData:
        """Unpack it."""
        validation = None if self.validation is None else _split(self.validation)
        return CheckedData(_split(self.training), validation, self.logit_shape, self.seed)


@dataclass(frozen=True)
class Epoch:
    """A new row of a model's history."""

    index: int
    row: dict[str, float]


@dataclass(frozen=True)
class Done:
    """A model is trained."""

    result: TrainingResult
    weights: dict[str, np.ndarray]


@dataclass(frozen=True)
class Failed:
    """A model cannot be trained, for a reason that is the caller's to know."""

    kind: type[PhysioEmoError]
    message: str


@dataclass(frozen=True)
class Note:
    """A warning."""

    text: str


def serve(connection: Connection, setting: Setting) -> None:
    """Train what comes through the pipe until it closes."""
    # Ctrl-C reaches every process of a terminal; the one that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no processes of its own
    torch.set_num_threads(setting.n_threads)
    _keep_freed_memory()
    warnings.showwarning = lambda message, *_: connection.send(Note(str(message)))
    trainer = _Trainer(connection, setting)
    with suppress(EOFError, ConnectionError):  # the other end is gone
        while True:
            try:
                trainer.train(connection.recv())
            except PhysioEmoError as error:
                connection.send(Failed(type(error), str(error)))


def _keep_freed_memory() -> None:
    """Keep what a step frees for the next one: a fifth of its time would go into new pages."""
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # a C library without it
        set_option = ctypes.CDLL(None).mallopt
        if not set_option(_M_MMAP_THRESHOLD, _KEPT_BYTES):
            set_option(_M_MMAP_THRESHOLD, _MOST_OF_OLD_GLIBC)
        set_option(_M_TRIM_THRESHOLD, _KEPT_BYTES)


class _Trainer:
    """One slot, and the step that was compiled for it."""

    def __init__(self, connection: Connection, setting: Setting) -> None:
        device = torch.device("cpu")
        model = setting.model.to_empty(device=device)
        for weight in model.parameters():
            weight.data.zero_()  # each model brings its own
        architecture = Architecture(model)
        self.connection = connection
        self.slots = Slots.empty(1, setting.room, architecture, setting.config, device)
        self.engine = Engine(
            architecture, setting.config, compiled=setting.compiled, bfloat16=setting.bfloat16
        )

    def train(self, task: Task) -> None:
        self.slots.put(0, task.index, task.data(), torch.from_numpy(task.weights))
        while self.slots.runs[0] is not None:
            self.slots.epoch(self.engine, self._tell)
            for _, trained in self.slots.finished():
                weights = {name: value.numpy() for name, value in trained.weights.items()}
                self.connection.send(Done(trained.result, weights))

    def _tell(self, index: int, row: dict[str, float]) -> None:
        self.connection.send(Epoch(index, row))


def _arrays(split: Split) -> tuple[np.ndarray | None, ...]:
    mask = None if split.mask is None else split.mask.numpy()
    return split.tokens.numpy(), split.labels.numpy(), mask


def _split(arrays: tuple[np.ndarray | None, ...]) -> Split:
    tensors: list[Any] = [None if a is None else torch.from_numpy(a) for a in arrays]
    return Split(*tensors)
