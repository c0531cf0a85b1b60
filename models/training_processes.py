"""Train models side by side, each in a process of one thread.

With large batches a model alone fills the cores, but not well: after every operation the threads
of a process wait for each other. As many processes of one thread each, with a compiled step,
take two thirds of the time on two cores that have nothing else to do, and beside other work,
where one delayed thread holds up the others, a small part of it. A process takes one model after
the other, whenever it is free; weights, shuffles and noise are each model's own, so that the
result does not depend on how many processes there are.

A process holds one data set at a time, which it gets through a pipe. When the pipe closes, for
whatever reason, it ends.
"""

import copy
import multiprocessing
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import cast

import torch
from torch import Tensor, nn

from physioemo.models.training import TrainingConfig
from physioemo.models.training_slots import CheckedData, Room, TrainedModel
from physioemo.models.training_worker import Done, Epoch, Failed, Note, Setting, Task, serve

__all__ = ["LostProcessError", "TrainingProcesses"]

_GRACE_SECONDS = 5.0


class LostProcessError(Exception):
    """A process could not be started, or has died; what it did can be done elsewhere."""


@dataclass
class _Peer:
    """A process, this end of its pipe, and the data set that it is at."""

    process: BaseProcess
    connection: Connection
    index: int | None = None


class TrainingProcesses:
    """Processes that train models of one architecture; a context manager that ends them.

    Parameters
    ----------
    model : nn.Module
        Any model of the architecture.
    room : Room
        That of the largest data set.
    config : TrainingConfig
        How to train.
    n_processes : int
        How many, at about 0.7 GiB of memory each. They share this process's threads.
    compiled, bfloat16 : bool
        As in :class:`physioemo.models.training_plan.TrainingPlan`.

    Raises
    ------
    LostProcessError
        If a process cannot be started.
    """

    def __init__(
        self,
        model: nn.Module,
        room: Room,
        config: TrainingConfig,
        *,
        n_processes: int,
        compiled: bool = True,
        bfloat16: bool = False,
    ) -> None:
        self._peers: list[_Peer] = []
        skeleton = copy.deepcopy(model).to("meta")
        n_threads = 1 if bfloat16 else max(1, torch.get_num_threads() // n_processes)
        setting = Setting(skeleton, room, config, n_threads, compiled, bfloat16)
        try:
            for _ in range(n_processes):
                self._peers.append(_start(setting))
        except Exception as error:  # no memory, no right to, a model that cannot be sent
            self.close()
            raise LostProcessError(f"{type(error).__name__}: {error}") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "TrainingProcesses":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        self.close()

    def train(
        self,
        tasks: Iterable[tuple[int, CheckedData, Tensor]],
        on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    ) -> Iterator[tuple[int, TrainedModel]]:
        """Yield the number of each data set and what came of it, as they end.

        Parameters
        ----------
        tasks : iterable
            Number, data set and a row of untrained weights; each is asked for when a process is
            free.
        on_epoch : callable, optional
            Called with the number of a data set and each new row of its history.

        Raises
        ------
        LostProcessError
            If a process has died.
        CallError
            If a loss becomes NaN or infinite.
        """
        waiting = iter(tasks)
        for peer in self._peers:
            _give(peer, waiting)
        while busy := {p.connection: p for p in self._peers if p.index is not None}:
            for connection in wait(list(busy)):
                peer = busy[cast(Connection, connection)]
                message = _received(peer)
                if isinstance(message, Epoch) and on_epoch is not None:
                    on_epoch(message.index, message.row)
                if isinstance(message, Note):
                    warnings.warn(message.text, RuntimeWarning, stacklevel=2)
                if isinstance(message, Failed):
                    raise message.kind(message.message)
                if isinstance(message, Done):
                    index = cast(int, peer.index)
                    _give(peer, waiting)
                    weights = {k: torch.from_numpy(v) for k, v in message.weights.items()}
                    yield index, TrainedModel(message.result, weights)

    def close(self) -> None:
        """End the processes at once, whatever they do."""
        for peer in self._peers:
            peer.connection.close()  # an idle process ends by itself
            if peer.index is not None:
                peer.process.terminate()
        for peer in self._peers:
            peer.process.join(_GRACE_SECONDS)
            if peer.process.is_alive():
                peer.process.kill()
                peer.process.join()
            peer.process.close()
        self._peers = []


def _start(setting: Setting) -> _Peer:
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, setting), daemon=True)
    try:
        with _hidden_script():
            process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()  # or the end of the process would not close the pipe
    return _Peer(process, ours)


@contextmanager
def _hidden_script() -> Iterator[None]:
    """Keep a new process from running the user's script again, as it would without a guard."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _give(peer: _Peer, waiting: Iterator[tuple[int, CheckedData, Tensor]]) -> None:
    peer.index = None
    task = next(waiting, None)
    if task is None:
        return
    peer.index = task[0]
    try:
        peer.connection.send(Task.of(*task))
    except OSError as error:
        raise _lost(peer) from error


def _received(peer: _Peer) -> object:
    try:
        return peer.connection.recv()
    except (EOFError, OSError) as error:
        raise _lost(peer) from error


def _lost(peer: _Peer) -> LostProcessError:
    peer.process.join(_GRACE_SECONDS)
    return LostProcessError(
        f"a process ended with exit code {peer.process.exitcode} at data set {peer.index}"
    )
