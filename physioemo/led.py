"""A program that another one leads: it goes when its leader goes."""

import signal
import sys
import threading
from collections import deque
from typing import Any

import click

__all__ = ["RECORDED_AGAIN", "RESTART", "Leader", "led_option"]

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
        while line := sys.stdin.readline():
            word, _, name = line.strip().partition(" ")
            if word == RESTART:
                self._restarts.append(name)
        self.gone.set()


def led_option(function: Any) -> Any:
    """Add the option by which a leader says that it leads."""
    option = click.option(
        "--led", is_flag=True, hidden=True, help="Stop when standard input ends; ignore Ctrl-C."
    )
    return option(function)
