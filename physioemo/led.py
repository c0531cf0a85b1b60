"""A program that another one leads: it goes when its leader goes."""

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import click

__all__ = ["RECORDED_AGAIN", "RESTART", "Leader", "led_option", "told_lines"]

_LOOK_SECONDS = 0.02

RESTART = "restart"
"""What a leader says to a decoder that is to begin from rest; with a stream's name, that stream."""

RECORDED_AGAIN = " is recorded again"
"""What a recorder tells its leader of a stream whose program had gone, behind the name."""


class Leader:
    """Who leads this program, through standard input; Ctrl-C is ignored from now on.

    Ctrl-C in a terminal reaches leader and followers alike; the leader decides who stops when. A
    leader that dies closes the pipe, so nothing is left running behind it.
    """

    def __init__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.gone, self._restarts = threading.Event(), deque[str]()
        threading.Thread(target=self._listen, daemon=True).start()

    def is_gone(self) -> bool:
        """Return whether it has told us to go, or has gone itself."""
        return self.gone.is_set()

    def restarts(self) -> tuple[str, ...]:
        """Return which streams are to begin from rest since the last call; ``""`` means all."""
        return tuple(self._restarts.popleft() for _ in range(len(self._restarts)))

    def _listen(self) -> None:
        for line in told_lines():
            word, _, name = line.decode("utf-8", "replace").strip().partition(" ")
            if word == RESTART:
                self._restarts.append(name)
        self.gone.set()


def told_lines(descriptor: int = 0) -> Iterator[bytes]:
    """Yield the lines that a leader writes, as they come, until it is gone.

    Unbuffered: a buffer's lock, held by a waiting thread, would hinder Python's end.

    Parameters
    ----------
    descriptor : int
        Of the pipe; standard input by default.
    """
    rest = b""
    try:
        while block := _next_block(descriptor):
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
    except OSError:
        return  # closed, or broken by the end of the leader


def _next_block(descriptor: int) -> bytes:
    if sys.platform == "win32":
        # A read that waits there holds up whoever asks about the pipe meanwhile; libraries such
        # as OpenBLAS do so while they are loaded (github.com/numpy/numpy/issues/24290).
        import _winapi
        import msvcrt

        pipe = msvcrt.get_osfhandle(descriptor)
        while not _winapi.PeekNamedPipe(pipe)[0]:
            time.sleep(_LOOK_SECONDS)
    return os.read(descriptor, 65536)


def led_option(function: Any) -> Any:
    """Add the option by which a leader says that it leads."""
    option = click.option(
        "--led", is_flag=True, hidden=True, help="Stop when standard input ends; ignore Ctrl-C."
    )
    return option(function)
