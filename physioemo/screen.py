"""Showing how things stand without ever waiting for the screen."""

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["Latest"]

_END_SECONDS = 1.0


class Latest:
    """Calls a function with the newest of what it was told, in a thread of its own.

    A screen can stand still for as long as it likes: a paused terminal, a window in which somebody
    marks text, a pipe that nobody reads. Whoever measures may not stand still with it.

    Parameters
    ----------
    show : callable
        What may have to wait; what came meanwhile, but for the newest, is passed over.
    """

    def __init__(self, show: Callable[..., Any]) -> None:
        self._show = show
        self._news: tuple[Any, ...] | None = None
        self._ended = False
        self._told = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Latest":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._told:
            self._ended = True
            self._told.notify()
        self._thread.join(_END_SECONDS)

    def __call__(self, *news: Any) -> None:
        """Tell; returns at once."""
        with self._told:
            self._news = news
            self._told.notify()

    def _run(self) -> None:
        # A screen that is gone ends what is shown, and nothing else.
        with contextlib.suppress(OSError):
            while True:
                with self._told:
                    self._told.wait_for(lambda: self._ended or self._news is not None)
                    news, self._news = self._news, None
                    if news is None:
                        return
                self._show(*news)
