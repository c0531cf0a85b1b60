"""A recorder that is told what to do by lines of text, and answers with what is so.

The verbs are LabRecorder's (``update``, ``select``, ``filename``, ``start``, ``stop``) and
``status``. LabRecorder answers every line with ``OK``; here a reply is ``OK ...`` only for what
has happened, and ``ERROR ...`` with a sentence otherwise.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from physioemo.acquisition.recorder import RecordingSummary
from physioemo.acquisition.recorder_threads import StreamStatus
from physioemo.acquisition.remote_filename import RecordingName, parse_filename
from physioemo.acquisition.status import status_line
from physioemo.errors import CallError, PhysioEmoError, StoreError
from physioemo.hints import nearest

__all__ = ["VERBS", "RecordFunction", "RemoteRecorder"]

VERBS = ("update", "select", "filename", "start", "stop", "status")


class RecordFunction(Protocol):
    """Records into a folder until told to stop."""

    def __call__(
        self,
        out: Path,
        *,
        should_stop: Callable[[], bool],
        on_status: Callable[[tuple[StreamStatus, ...]], None],
    ) -> RecordingSummary:
        """Return the summary of the sealed recording."""


class _Run:
    """One recording in a thread of its own."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.began = time.monotonic()
        self.stop = threading.Event()
        self.started = threading.Event()
        self.finished = threading.Event()
        self.statuses: tuple[StreamStatus, ...] = ()
        self.summary: RecordingSummary | None = None
        self.error = ""

    @property
    def state(self) -> str:
        """``"starting"``, ``"recording"``, ``"sealing"`` or ``"finished"``."""
        if self.finished.is_set():
            return "finished"
        if self.stop.is_set():
            return "sealing"
        return "recording" if self.started.is_set() else "starting"

    def work(self, record: RecordFunction) -> None:
        """Record; whatever goes wrong is kept for the reply."""
        try:
            self.summary = record(self.out, should_stop=self.stop.is_set, on_status=self._look)
        except PhysioEmoError as error:
            self.error = str(error)
        except Exception as error:  # a client is told, and the next start may work
            self.error = f"an unforeseen error ({type(error).__name__}: {error})"
        finally:
            self.finished.set()
            self.started.set()

    def _look(self, statuses: tuple[StreamStatus, ...]) -> None:
        self.statuses = statuses
        self.started.set()

    @property
    def outcome(self) -> str:
        """One sentence about a finished recording, after OK or ERROR."""
        if self.error:
            return f"ERROR {self.error}"
        problems = self.summary.problems if self.summary else ()
        told = f"; {len(problems)} problems: {' | '.join(problems)}" if problems else ""
        return f"OK recorded and sealed {self.out}{told}"


class RemoteRecorder:
    """Starts and stops recordings for any number of clients at once.

    Parameters
    ----------
    folder : str or Path
        Where all recordings lie.
    record : RecordFunction
        Records into a folder; raises if required streams are missing.
    look : callable
        Returns in words what is on the network.
    on_notice : callable
        Told when a recording starts, ends or fails, for the operator's screen.

    Attributes
    ----------
    n_failed : int
        Recordings that began and failed, or that have problems.
    """

    def __init__(
        self,
        folder: str | Path,
        record: RecordFunction,
        look: Callable[[], str],
        *,
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.name = RecordingName(Path(folder))
        self.record = record
        self.look = look
        self.on_notice = on_notice
        self.selected = True
        self.n_failed = 0
        self._run: _Run | None = None
        self._lock = threading.Lock()

    def answer(self, line: str) -> str:
        """Do what a line says and return the reply, one line without its end.

        Parameters
        ----------
        line : str
            A verb and what belongs to it.
        """
        verb, _, rest = line.strip().partition(" ")
        verbs: dict[str, Callable[[str], str]] = {
            "update": self._update,
            "select": self._select,
            "filename": self._filename,
            "start": self._start,
            "stop": self._stop,
            "status": self._status,
        }
        try:
            if verb not in verbs:
                hint = nearest(verb, VERBS)
                raise CallError(f"found {verb[:40]!r}, expected one of {', '.join(VERBS)}{hint}")
            reply = verbs[verb](rest.strip())
        except PhysioEmoError as error:
            reply = f"ERROR {error}"
        except Exception as error:  # one client's line must never end the server
            reply = f"ERROR an unforeseen error ({type(error).__name__}: {error})"
        return " ".join(reply.split())

    def _update(self, rest: str) -> str:
        return f"OK {self.look()}"

    def _select(self, rest: str) -> str:
        if rest not in ("all", "none"):
            raise CallError(f"found 'select {rest}', expected 'select all' or 'select none'")
        self.selected = rest == "all"
        return f"OK selected {rest}"

    def _filename(self, rest: str) -> str:
        with self._lock:
            self.name = parse_filename(rest, self.name)
            return f"OK the next recording is {self.name.path()}"

    def _start(self, rest: str) -> str:
        with self._lock:
            run = self._run
            if run is not None and run.state != "finished":
                raise CallError(
                    f"found that {run.out} is {run.state} already, expected no recording; send "
                    "'stop' first"
                )
            if not self.selected:
                raise CallError("found no stream selected, expected some; send 'select all'")
            run = self._run = _Run(self.name.path())
            threading.Thread(target=self._work, args=(run,), daemon=True).start()
        run.started.wait()
        if run.finished.is_set() and run.error:
            return run.outcome
        names = ", ".join(s.name for s in run.statuses)
        return f"OK recording {run.out}: {names}"

    def _work(self, run: _Run) -> None:
        self.on_notice(f"starting {run.out}")
        run.work(self.record)
        # A start that was refused has lost nothing.
        if run.statuses and (run.error or (run.summary and run.summary.problems)):
            self.n_failed += 1
        self.on_notice(run.outcome)

    def _stop(self, rest: str) -> str:
        run = self._run
        if run is None:
            raise CallError("found no recording, expected one that runs; send 'start' first")
        if run.state == "finished":
            raise CallError(f"found that the last recording has ended by itself ({run.outcome})")
        run.stop.set()
        run.finished.wait()
        with self._lock:
            # Another client may have stopped it as well, and a third begun the next.
            self._run = None if self._run is run else self._run
        return run.outcome

    def _status(self, rest: str) -> str:
        run = self._run
        if run is None or run.state == "finished":
            last = f"; the last: {run.outcome}" if run else ""
            return f"OK idle; the next recording is {self.name.path()}{last}"
        seconds = time.monotonic() - run.began
        streams = "; ".join(map(status_line, run.statuses))
        return f"OK {run.state} {run.out} for {seconds:.1f} s; {streams}"

    def close(self) -> None:
        """Stop and seal what is under way.

        Raises
        ------
        StoreError
            If it is interrupted before it is sealed.
        """
        run = self._run
        if run is None:
            return
        run.stop.set()
        try:
            while not run.finished.wait(0.1):
                pass
        except KeyboardInterrupt:
            raise StoreError(
                f"found that sealing {run.out} was interrupted, expected it to end; the journal "
                f"is whole and nothing is lost: run 'physioemo recover {run.out}'"
            ) from None
