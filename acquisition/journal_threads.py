"""The threads that write the journal: nothing else can hold them up.

A screen that takes no more (a paused terminal, a window in which somebody marks text, a pipe that
nobody reads) stops whoever prints on it. So no thread here prints.
"""

import threading
import time
from collections.abc import Callable

from physioemo.errors import StoreError
from physioemo.journal import Journal

__all__ = ["JournalThreads"]

FLUSH_SECONDS = 0.25
SYNC_SECONDS = 1.0


class JournalThreads:
    """Flushes a journal every 0.25 s and forces it to disk every second.

    Parameters
    ----------
    journal : Journal
        Open; closing it is the caller's.

    Attributes
    ----------
    failure : StoreError or None
        Why nothing more can be written.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.failure: StoreError | None = None
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(journal.flush, FLUSH_SECONDS), daemon=True),
            # A thread of its own: a slow disk may take seconds, the next flush may not wait.
            threading.Thread(target=self._run, args=(journal.sync, SYNC_SECONDS), daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def _run(self, work: Callable[[], None], seconds: float) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = time.monotonic() + seconds
            try:
                work()
            except StoreError as error:
                self.failure = self.failure or error
                return

    def check(self) -> None:
        """Tell whether all is written.

        Raises
        ------
        StoreError
            If the disk is full or unwritable.
        """
        if self.failure is not None:
            raise self.failure

    def end(self) -> None:
        """Stop; the journal may be closed now."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
