"""Streams that come while a recording runs: they are recorded from then on."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from physioemo.acquisition.recorder_threads import StreamTap
from physioemo.errors import PhysioEmoError
from physioemo.journal import FrameKind, Journal
from physioemo.overrides import Overrides

__all__ = ["LateWatch", "Latecomer"]

_LOOK_SECONDS = 2.0


class Latecomer(NamedTuple):
    """A stream that was not there when the recording began.

    Parameters
    ----------
    inlet : pylsl.StreamInlet
        Open.
    header : pylsl.StreamInfo
        Its full description.
    overrides : Overrides
        What is stated of it.
    joined : callable
        Called when it is being recorded.
    """

    inlet: Any
    header: Any
    overrides: Overrides
    joined: Callable[[], None]


class LateWatch:
    """Looks for streams that come late, and begins to record them.

    Parameters
    ----------
    look : callable
        Returns those that have come since it was asked last.
    make_tap : callable
        Makes a tap of one.
    taps, workers : list
        What the recorder runs; both grow.

    Attributes
    ----------
    problems : list of str
        Why one could not be recorded.
    """

    def __init__(
        self,
        look: Callable[[], Sequence[Latecomer]],
        make_tap: Callable[[Any, Any, Overrides], StreamTap],
        taps: list[StreamTap],
        workers: list[Any],
    ) -> None:
        self.look, self.make_tap = look, make_tap
        self.taps, self.workers = taps, workers
        self.problems: list[str] = []

    def start(self, journal: Journal, stop: threading.Event) -> threading.Thread:
        """Begin looking in a thread of its own."""
        thread = threading.Thread(target=self._run, args=(journal, stop), daemon=True)
        thread.start()
        return thread

    def _run(self, journal: Journal, stop: threading.Event) -> None:
        while not stop.wait(_LOOK_SECONDS):
            try:
                for late in self.look():
                    self._join(late, journal, stop)
            except Exception as error:  # those that are recorded already go on
                known = isinstance(error, PhysioEmoError)
                text = str(error) if known else f"{type(error).__name__}: {error}"
                if text not in self.problems:
                    self.problems.append(text)

    def _join(self, late: Latecomer, journal: Journal, stop: threading.Event) -> None:
        tap = self.make_tap(late.inlet, late.header, late.overrides)
        journal.append_json(FrameKind.STREAM, tap.number, tap.description.to_dict())
        self.taps.append(tap)
        self.workers.append(tap.start(journal, stop))
        late.joined()
