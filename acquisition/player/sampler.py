"""A continuous rating as a regular stream: where the pointer stood, many times a second.

The window's events belong to the thread that shows; it notes the pointer's place whenever it takes
them (every 4 ms, and after each frame). A thread of its own publishes that place at a fixed rate,
with LSL's time of that moment, also while nothing is shown: what is not rated is NaN, not a gap.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from physioemo.acquisition.player.continuous import ContinuousRating
from physioemo.acquisition.player.item import STIMULUS_KINDS, Item
from physioemo.acquisition.player.pointer import Places, Pointer

__all__ = ["RatingSampler"]

_STALE_SECONDS = 0.25
"""A place that was noted longer ago is not published: the window has stood still."""

_END_SECONDS = 2.0


class RatingSampler:
    """Publishes a pointer while a trial's stimulus is on screen.

    Parameters
    ----------
    rating : ContinuousRating
        What is rated.
    pointer : Pointer
        What is moved.
    send : callable
        Told the values and LSL's time of each sample, from another thread.
    """

    def __init__(
        self,
        rating: ContinuousRating,
        pointer: Pointer,
        send: Callable[[np.ndarray, float], None],
    ) -> None:
        self.rating, self.pointer, self._send = rating, pointer, send
        self._noted: tuple[Places | None, float] = (None, 0.0)
        self._is_on = False
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="continuous rating", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self) -> None:
        """End; nothing is sent afterwards."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join(_END_SECONDS)

    def begin(self, item: Item) -> bool:
        """Make ready for an item; tell whether it is rated: a stimulus that is a trial."""
        is_rated = item.kind in STIMULUS_KINDS and item.trial is not None
        if is_rated:
            self.pointer.begin(item)
        return is_rated

    def show(self) -> None:
        """Take it that the stimulus is on screen from now on."""
        self.pointer.start()
        self.note()
        self._is_on = True

    def hide(self) -> None:
        """Take it that nothing is rated from now on."""
        self._is_on = False

    def note(self) -> Places | None:
        """Note where the pointer is; return it."""
        places = self.pointer.read()
        self._noted = (places, time.perf_counter())
        return places

    def hear(self, event: Any) -> None:
        """Take a pygame event."""
        self.pointer.hear(event)

    def sample(self) -> np.ndarray:
        """Return the values of this moment; NaN where nothing is rated."""
        places, noted = self._noted
        is_fresh = time.perf_counter() - noted < _STALE_SECONDS
        return self.rating.values(places if self._is_on and is_fresh else None)

    def _run(self) -> None:
        import pylsl

        step = 1 / self.rating.sfreq
        due = time.perf_counter()
        while not self._ends.wait(max(0.0, due - time.perf_counter())):
            # The time first: a value is never stamped after the item's end because the thread was
            # held up in between.
            stamp = float(pylsl.local_clock())
            self._send(self.sample(), stamp)
            # Whole steps that were slept through are left out, never sent afterwards.
            due += step * (1 + max(0, int((time.perf_counter() - due) / step)))
