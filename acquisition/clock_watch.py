"""The recorder's thread that measures clocks: every stream's, every second."""

import threading
from collections.abc import Sequence

from physioemo.acquisition.lsl import clock_offset
from physioemo.acquisition.recorder_threads import StreamTap
from physioemo.journal import FrameKind, Journal

__all__ = ["ClockWatch"]

_CLOCK_SECONDS = 1.0  # liblsl measures every two seconds; what is new is written


class ClockWatch:
    """Writes every new measurement of every stream's clock offset.

    Parameters
    ----------
    taps : sequence of StreamTap
        The streams to measure; more may join while it runs.
    """

    def __init__(self, taps: Sequence[StreamTap]) -> None:
        self.taps = taps
        self._last: dict[int, float] = {}

    def start(self, journal: Journal, stop: threading.Event) -> threading.Thread:
        """Begin measuring in a thread of its own."""
        thread = threading.Thread(target=self._run, args=(journal, stop), daemon=True)
        thread.start()
        return thread

    def _run(self, journal: Journal, stop: threading.Event) -> None:
        while not stop.is_set():
            for tap in tuple(self.taps):
                if stop.is_set():
                    return
                try:
                    self._measure(tap, journal)
                except Exception as error:  # told of this stream; the other clocks go on
                    tap.warning = f"its clock cannot be measured ({type(error).__name__}: {error})"
            stop.wait(_CLOCK_SECONDS)

    def _measure(self, tap: StreamTap, journal: Journal) -> None:
        # Read before the measurement: a stream that comes back changed gets another number.
        number = tap.number
        # A probe of an answering stream takes 0.6 s once and nothing afterwards.
        triple = clock_offset(tap.inlet, timeout_seconds=1.0)
        if triple is None or triple[0] == self._last.get(number) or number != tap.number:
            return
        self._last[number] = float(triple[0])
        tap.clock_offset_seconds = float(triple[1])
        journal.append(FrameKind.CLOCK, number, triple.astype("<f8").tobytes())
