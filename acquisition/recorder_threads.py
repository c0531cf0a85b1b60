"""The recorder's threads that read: one per stream."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import pull
from physioemo.acquisition.stream_return import (
    ReturnWatch,
    find_return,
    read_header,
    same_content,
)
from physioemo.clock import find_gaps
from physioemo.description import StreamDescription
from physioemo.errors import PhysioEmoError
from physioemo.journal import CHANGED, RECONNECTED, FrameKind, Journal, encode_samples

__all__ = ["SILENT_SECONDS", "StreamStatus", "StreamTap"]

_POLL_SECONDS = 0.02
_RATE_SECONDS = 5.0
_DRAIN_SECONDS = 10.0  # a stream that brings more than can be read would never be empty
SILENT_SECONDS = 1.5


@dataclass(frozen=True)
class StreamStatus:
    """How one stream is doing right now.

    Parameters
    ----------
    name : str
        LSL name.
    state : str
        ``"waiting"`` (nothing yet), ``"live"``, ``"silent"`` (nothing for 1.5 s; normal for
        markers) or ``"lost"``.
    n_samples : int
        Received so far.
    nominal_rate_hz, measured_rate_hz : float
        Declared rate and the rate of arrival over the last seconds (NaN if unknown).
    age_seconds : float
        Since the last sample arrived.
    n_gaps, n_missing_values : int
        Gaps by time stamps; NaN or infinite values.
    clock_offset_seconds : float
        Latest offset of the stream's clock (NaN if unknown).
    failure : str
        Why nothing more is read from it; empty while all is well.
    warning : str
        What changed when it came back, or why it could not be taken up again.
    uid : str
        Of its first connection.
    n_returns : int
        How often its program had gone and its samples are recorded again.
    """

    name: str
    state: str
    n_samples: int
    nominal_rate_hz: float
    measured_rate_hz: float
    age_seconds: float
    n_gaps: int
    n_missing_values: int
    clock_offset_seconds: float
    failure: str = ""
    warning: str = ""
    uid: str = ""
    n_returns: int = 0


class StreamTap:
    """Pulls one inlet and appends what comes to the journal.

    Parameters
    ----------
    number : int
        The stream's number in the journal.
    inlet : pylsl.StreamInlet
        Already open.
    description : StreamDescription
        Of this stream.
    redescribe : callable, optional
        Makes a description of a header; without it a stream that comes back is taken for what it
        was.
    next_number : callable, optional
        Gives the number of a further stream of the journal, for one that comes back changed.
    """

    def __init__(
        self,
        number: int,
        inlet: Any,
        description: StreamDescription,
        *,
        redescribe: Callable[[Any], StreamDescription] | None = None,
        next_number: Callable[[], int] = lambda: 0,
    ) -> None:
        self.number = number
        self.inlet = inlet
        self.description = self._first = description
        self._redescribe, self._next_number = redescribe, next_number
        self.clock_offset_seconds = float("nan")
        self._n_samples = self._n_gaps = self._n_missing = 0
        self._last_stamp = self._newest_stamps = np.zeros(0)
        self._last_arrival = time.monotonic()
        self._recent: list[tuple[float, int]] = []
        self._uids = {description.uid}
        self._watch = ReturnWatch(description)
        self._drained = np.zeros(0)
        self._returns_with_next = False
        self._n_returns, self._noted_at = 0, -1
        self._is_back, self._n_back = False, 0
        self._ended: float | None = None
        self.failure = ""
        self.warning = self._change = ""

    def end(self) -> None:
        """Say that the recording ends now: a silence after that is none."""
        self._ended = time.monotonic()

    def start(self, journal: Journal, stop: threading.Event) -> threading.Thread:
        """Begin pulling in a thread of its own."""
        thread = threading.Thread(target=self._run, args=(journal, stop), daemon=True)
        thread.start()
        return thread

    def _run(self, journal: Journal, stop: threading.Event) -> None:
        import pylsl

        try:
            while not stop.is_set():
                if not self._pull(journal, timeout_seconds=0.2):
                    self._look_for_return(journal)
                time.sleep(_POLL_SECONDS)
            end = time.monotonic() + _DRAIN_SECONDS
            while self._pull(journal, timeout_seconds=0.0) and time.monotonic() < end:
                pass
        except pylsl.util.LostError:
            self.failure = "the stream was lost"
        except Exception as error:  # one bad stream must be told, and must not stop the others
            self.failure = f"reading it failed ({type(error).__name__}: {error})"
        finally:
            with contextlib.suppress(Exception):
                self.inlet.close_stream()

    def _pull(self, journal: Journal, *, timeout_seconds: float) -> int:
        from pylsl import local_clock

        values, stamps = pull(self.inlet, timeout_seconds=timeout_seconds)
        if self.inlet.was_clock_reset():
            self._note_return(journal, local_clock())
            self._follow(journal, read_header)
        if len(self._drained) and len(stamps):
            # The inlet before was not dead: it has brought these already.
            new = ~np.isin(stamps, self._drained)
            values, stamps = values[new], stamps[new]
            self._drained = self._drained if not len(stamps) else np.zeros(0)
        if not len(stamps):
            return 0
        if self._returns_with_next:
            self._note_return(journal, local_clock())
        payload = encode_samples(stamps, values, local_clock())
        journal.append(FrameKind.SAMPLES, self.number, payload)
        self._count(values, stamps, time.monotonic())
        self._n_back += self._is_back
        self._is_back = False
        return len(stamps)

    def _look_for_return(self, journal: Journal) -> None:
        """Open a new inlet if the stream is silent here, and back under another connection."""
        if not self._watch.is_due(time.monotonic() - self._last_arrival):
            return
        try:
            found = find_return(self.description, self._uids)
        except (RuntimeError, ValueError) as error:  # StreamError, and what pylsl raises
            self.warning = str(error)
            return
        if found is None:
            return
        inlet, header = found
        self.warning = self._change
        n_returns, drained = self._n_returns, []
        while self._pull(journal, timeout_seconds=0.0):
            drained.append(self._newest_stamps)
        self._drained = np.concatenate([np.zeros(0), *drained])
        old, self.inlet = self.inlet, inlet
        old.close_stream()
        # An inlet that had come back by itself has told so.
        self._returns_with_next = self._n_returns == n_returns
        self._follow(journal, lambda description: header)

    def _follow(self, journal: Journal, header_of: Callable[[StreamDescription], Any]) -> None:
        """Go on as another stream of the journal if what came back is not what it was."""
        if self._redescribe is None:
            return
        header, was = header_of(self.description), self.description
        if header is None:
            return
        try:
            now = self._redescribe(header)
        except PhysioEmoError as error:
            self.warning = f"it came back with a header that says less than before ({error})"
            if not _fits(header, was):
                raise
            return
        if same_content(was, now):
            return
        self.number, self.description = self._next_number(), now
        self._last_stamp, self._returns_with_next = np.zeros(0), False
        self._watch = ReturnWatch(now)
        self.warning = self._change = (
            f"it came back changed ({_difference(was, now)}), expected what it was; from there on "
            "it is a stream of its own in the recording"
        )
        event = {"event": CHANGED, "stream": was.name, "difference": _difference(was, now)}
        journal.append_json(FrameKind.STREAM, self.number, now.to_dict())
        journal.append_json(FrameKind.EVENT, self.number, event)

    def _note_return(self, journal: Journal, now: float) -> None:
        """Write that the stream came back: from here on its clock may be another one."""
        self._n_returns += 1
        self._returns_with_next = False
        if self._n_samples == self._noted_at:
            return  # the same return, told by the old inlet and by the new one
        self._noted_at, self._is_back = self._n_samples, True
        event = {
            "event": RECONNECTED,
            "stream": self.description.name,
            "n_samples_before": self._n_samples,
            "local_seconds": now,
        }
        journal.append_json(FrameKind.EVENT, self.number, event)

    def _count(self, values: np.ndarray, stamps: np.ndarray, received: float) -> None:
        joined = np.concatenate([self._last_stamp, stamps])
        self._n_gaps += len(find_gaps(joined, self.description.sfreq))
        if values.dtype.kind == "f":
            self._n_missing += int((~np.isfinite(values)).sum())
        self._n_samples += len(stamps)
        self._last_stamp, self._last_arrival = stamps[-1:], received
        self._newest_stamps = stamps
        recent = [(t, n) for t, n in self._recent if received - t <= _RATE_SECONDS]
        self._recent = [*recent, (received, self._n_samples)]

    def status(self) -> StreamStatus:
        """Return how the stream is doing right now."""
        now = time.monotonic() if self._ended is None else self._ended
        age = max(0.0, now - self._last_arrival)
        silent = "silent" if age > SILENT_SECONDS else "live"
        state = "lost" if self.failure else silent if self._n_samples else "waiting"
        return StreamStatus(
            self.description.name,
            state,
            self._n_samples,
            self.description.sfreq,
            self._arrival_rate(),
            age,
            self._n_gaps,
            self._n_missing,
            self.clock_offset_seconds,
            self.failure,
            self.warning,
            self._first.uid,
            self._n_back,
        )

    def _arrival_rate(self) -> float:
        recent = self._recent
        if len(recent) < 2 or recent[-1][0] == recent[0][0]:
            return float("nan")
        return (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])


def _fits(header: Any, description: StreamDescription) -> bool:
    import pylsl

    number = int(getattr(pylsl, f"cf_{description.channel_format}"))
    same_count = header.channel_count() == len(description.ch_names)
    return bool(same_count and header.channel_format() == number)


def _difference(was: StreamDescription, now: StreamDescription) -> str:
    """Return in words what differs first."""
    if len(was.ch_names) != len(now.ch_names):
        return f"{len(now.ch_names)} channels, before {len(was.ch_names)}"
    if was.sfreq != now.sfreq:
        return f"{now.sfreq:g} Hz, before {was.sfreq:g} Hz"
    if was.channel_format != now.channel_format:
        return f"{now.channel_format}, before {was.channel_format}"
    pairs = zip((*now.ch_names, *now.units), (*was.ch_names, *was.units), strict=True)
    new, old = next(pair for pair in pairs if pair[0] != pair[1])
    return f"{new!r}, before {old!r}"
