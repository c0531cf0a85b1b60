"""A program that another one leads: it goes when its leader goes."""

import signal
import sys
import threading
from typing import Any

import click

__all__ = ["RESTART", "Leader", "led_option"]

RESTART = "restart"
"""What a leader says to a decoder that is to begin from rest."""


class Leader:
    """Who leads this program, through standard input; Ctrl-C is ignored from now on.

    Ctrl-C in a terminal reaches leader and followers alike; the leader decides who stops when. A
    leader that dies closes the pipe, so nothing is left running behind it.
    """

    def __init__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.gone, self._restart = threading.Event(), threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def is_gone(self) -> bool:
        """Return whether it has told us to go, or has gone itself."""
        return self.gone.is_set()

    def wants_restart(self) -> bool:
        """Return whether it has said so since the last call."""
        wants = self._restart.is_set()
        self._restart.clear()
        return wants

    def _listen(self) -> None:
        while line := sys.stdin.readline():
            if line.strip() == RESTART:
                self._restart.set()
        self.gone.set()


def led_option(function: Any) -> Any:
    """Add the option by which a leader says that it leads."""
    option = click.option(
        "--led", is_flag=True, hidden=True, help="Stop when standard input ends; ignore Ctrl-C."
    )
    return option(function)
