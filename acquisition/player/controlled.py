"""The player as a child process that shows what it is told, one JSON line at a time.

The parent writes ``{"do": "show", "item": {...}, "id": 1}`` (with ``"answers": {...}`` for
``--answers told``), ``{"do": "stop"}``, ``{"do": "feedback", "value": 0.7}``, ``{"do": "end"}``
and ``{"do": "quit"}``; the child answers ``{"event": "ready"}``, ``{"id": 1, "event": "started",
"lsl_seconds": ...}``, ``{"id": 1, "event": "rating", "values": {...}, "seconds": ...}``, ``{"id":
1, "event": "ended", "reason": ...}``, ``{"event": "problem", "text": ...}`` and ``{"event":
"error", "text": ...}``. Two threads read the
child's pipes, so it works wherever processes do.
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from physioemo.errors import CallError, StreamError

__all__ = ["PlayerProcess"]

_START_SECONDS = 90.0
_QUIT_SECONDS = 10.0


class PlayerProcess:
    """A player in a process of its own.

    Parameters
    ----------
    headless : bool
        Without window and sound device.
    playlist : str or Path, optional
        Where display, sound and the names of the ratings are taken from; its items are not
        shown.
    options : sequence of str
        More options of ``physioemo play``, such as ``("--answers", "simulated:3")``.

    Raises
    ------
    StreamError
        On entering, if the child does not start.
    """

    def __init__(
        self,
        *,
        headless: bool = False,
        playlist: str | Path | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.command = [sys.executable, "-m", "physioemo", "play", "--controlled"]
        self.command += [str(playlist)] if playlist is not None else []
        self.command += ["--headless"] if headless else []
        self.command += list(options)
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._kept: list[dict[str, Any]] = []
        self._is_closing = False
        self._log: deque[str] = deque(maxlen=50)
        self._next_id = 1
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "PlayerProcess":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """The last lines that the child wrote to its log."""
        return "\n".join(self._log)

    def start(self, timeout_seconds: float = _START_SECONDS) -> None:
        """Start the child and wait until its window and its streams are there.

        Raises
        ------
        StreamError
            If it ends, or says nothing in time.
        """
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(  # noqa: S603 -- our own program
            self.command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            encoding="utf-8",
            errors="replace",  # the log of a C library is in any encoding
        )
        log = threading.Thread(target=self._read_log, args=(self._process.stderr,), daemon=True)
        events = threading.Thread(target=self._read_events, args=(self._process, log), daemon=True)
        self._threads = [log, events]
        for thread in self._threads:
            thread.start()
        deadline = time.monotonic() + timeout_seconds
        while (left := deadline - time.monotonic()) > 0:
            for event in self.events(left):
                if event["event"] == "ready":
                    return
                if event["event"] in ("error", "died"):
                    self.close()
                    raise StreamError(f"the stimulus player did not start: {event['text']}")
        self.close()
        raise StreamError(
            f"found no sign of the stimulus player within {timeout_seconds:g} s, expected it to "
            f"be ready; its log ends: {self.log[-300:]!r}"
        )

    def show(self, item: Mapping[str, Any], *, answers: Mapping[str, float] | None = None) -> int:
        """Show an item, given by the fields of a playlist's ``[[item]]``; return its id.

        Files are looked for from the current folder. An item that is still shown ends first.

        Parameters
        ----------
        item : mapping
            Its fields.
        answers : mapping of str to float, optional
            What a program answers in the participant's place, with ``--answers told``.

        Raises
        ------
        StreamError
            If the child has died.
        """
        with self._lock:
            number, self._next_id = self._next_id, self._next_id + 1
        fields = {k: str(v) if isinstance(v, Path) else v for k, v in item.items()}
        told = {} if answers is None else {"answers": dict(answers)}
        self._send({"do": "show", "item": fields, "id": number, **told})
        return number

    def stop(self) -> None:
        """End the item that is shown.

        Raises
        ------
        StreamError
            If the child has died.
        """
        self._send({"do": "stop"})

    def end(self) -> None:
        """Say in the markers that the session is over; streams go on until :meth:`close`.

        A recorder that ends in between finds a continuous rating whole to its end.

        Raises
        ------
        StreamError
            If the child has died.
        """
        self._send({"do": "end"})

    def feedback(self, value: float, *, output: str = "bar") -> None:
        """Show the participant a value from 0 to 1 while the item lasts.

        Parameters
        ----------
        value : float
            Height of a bar at the edge of the picture, or volume of the item's sound.
        output : {"bar", "volume"}

        Raises
        ------
        StreamError
            If the child has died.
        """
        self._send({"do": "feedback", "value": value, "output": output})

    def events(self, timeout: float = 0.0) -> list[dict[str, Any]]:
        """Return what the child has said since the last call.

        Parameters
        ----------
        timeout : float
            Wait this many seconds if it has said nothing yet.

        Returns
        -------
        list of dict
            In order. When the child has died, the last is ``{"event": "died", "returncode":
            ..., "text": ...}``; when it was told to go, ``{"event": "closed", ...}``.
        """
        found, self._kept = self._kept, []
        return found or self._arrived(timeout)

    def wait_for(self, number: int, event: str, timeout: float) -> dict[str, Any]:
        """Return the first event of a kind about an item; :meth:`events` still gives the others.

        Raises
        ------
        StreamError
            If it does not come in time, the child dies, or it says that there is an error.
        """
        deadline = time.monotonic() + timeout
        new, self._kept = self._kept, []
        while True:
            for i, found in enumerate(new):
                is_about = found.get("id") in (number, None)
                if found["event"] in ("died", "closed", "error") and is_about:
                    self._kept += new[i + 1 :]
                    raise StreamError(f"the stimulus player says: {found['text']}")
                if found["event"] == event and found.get("id") == number:
                    self._kept += new[i + 1 :]
                    return found
                self._kept.append(found)
            if (left := deadline - time.monotonic()) <= 0:
                break
            new = self._arrived(left)
        raise StreamError(
            f"found no {event!r} of item {number} within {timeout:g} s, expected it; look at the "
            "player's window"
        )

    def close(self) -> int | None:
        """End the child, by force if it does not go; return its exit code."""
        process = self._process
        if process is None:
            return None
        self._is_closing = True
        with contextlib.suppress(StreamError):
            self._send({"do": "quit"})
        try:
            process.wait(_QUIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join(_QUIT_SECONDS)
        # A pipe that a program of the child still holds is read for ever, and cannot be closed.
        is_held = any(thread.is_alive() for thread in self._threads)
        for stream in (process.stdin, *(() if is_held else (process.stdout, process.stderr))):
            # What could not be sent to a dead child is still in its pipe's buffer.
            with contextlib.suppress(OSError):
                stream and stream.close()
        return process.returncode

    def _arrived(self, timeout: float) -> list[dict[str, Any]]:
        found = []
        try:
            found.append(self._events.get(timeout > 0, max(timeout, 0.0)))
            while True:
                found.append(self._events.get_nowait())
        except queue.Empty:
            return found

    def _send(self, command: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise CallError("found a player that was not started, expected 'with PlayerProcess()'")
        try:
            line = json.dumps(command)
        except (TypeError, ValueError) as error:
            raise CallError(
                f"found an item that JSON cannot hold ({error}), expected numbers, texts and lists"
            ) from None
        try:
            with self._lock:
                process.stdin.write(line + "\n")
                process.stdin.flush()
        except (OSError, ValueError) as error:
            raise StreamError(
                f"found that the stimulus player has ended ({error}), expected it to run; its log "
                f"ends: {self.log[-300:]!r}"
            ) from None

    def _read_events(self, process: subprocess.Popen[str], log: threading.Thread) -> None:
        for line in process.stdout or ():
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if isinstance(event, dict) and "event" in event:
                self._events.put(event)
            else:
                self._log.append(line.rstrip())
        code = process.wait()
        log.join(1.0)
        text = f"found that the player ended with code {code}; its log ends: {self.log[-300:]!r}"
        event = "closed" if self._is_closing and code == 0 else "died"
        self._events.put({"event": event, "returncode": code, "text": text})

    def _read_log(self, stream: IO[str]) -> None:
        for line in stream:
            self._log.append(line.rstrip())
