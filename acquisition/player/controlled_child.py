"""The child's side of a controlled player: commands from standard input, events to output."""

import json
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from physioemo.acquisition.player.answers import Answers, ToldAnswers
from physioemo.acquisition.player.item import STIMULUS_KINDS, Item, make_item
from physioemo.acquisition.player.playlist import Playlist
from physioemo.acquisition.player.session import (
    Stage,
    mark_session,
    open_stage,
    wait_for_listeners,
)
from physioemo.acquisition.player.stimulus_file import open_stimulus
from physioemo.errors import CallError, PhysioEmoError
from physioemo.led import told_lines

__all__ = ["run_controlled"]

_IDLE_SECONDS = 0.005


def run_controlled(
    playlist: Playlist,
    *,
    headless: bool = False,
    windowed: bool = False,
    answers: Answers | None = None,
    wait_seconds: float = 0.0,
) -> None:
    """Show what standard input asks for, until it says ``quit`` or ends.

    Parameters
    ----------
    playlist : Playlist
        Its display and the names of its ratings; its items are not shown.
    headless, windowed, answers
        See :func:`physioemo.acquisition.player.session.open_stage`.
    wait_seconds : float
        Wait at most this long until somebody listens to every stream.

    Raises
    ------
    StreamError
        If there is no screen or no sound card; it is written as an event too.
    """
    # Ctrl-C in a terminal reaches both; the leader decides when its player goes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox, voice = _Inbox(), _Voice()
    try:
        with open_stage(
            playlist,
            headless=headless,
            windowed=windowed,
            answers=answers,
            asked_to_stop=inbox.asked_to_stop,
            on_problem=lambda text: voice.say(event="problem", text=text),
            on_start=lambda number, stamp: voice.say(event="started", lsl_seconds=stamp),
        ) as stage:
            wait_for_listeners(stage, wait_seconds)
            mark_session(stage, "session_start", title=playlist.title)
            voice.say(event="ready")
            servant = _Servant(stage, inbox, voice, answers)
            servant.serve()
            servant.end()
    except PhysioEmoError as error:
        voice.say(event="error", text=str(error))
        raise


class _Servant:
    """Does what the commands say."""

    def __init__(
        self, stage: Stage, inbox: "_Inbox", voice: "_Voice", answers: Answers | None
    ) -> None:
        self.stage, self.inbox, self.voice, self.answers = stage, inbox, voice, answers
        self.number = 0
        self.trials: set[int] = set()
        self.is_over = False

    def serve(self) -> None:
        """Obey until the end."""
        self.inbox.on_feedback = self.stage.player.set_feedback
        while (command := self.inbox.next()) is not _QUIT:
            if command is None:
                self.stage.player.idle(_IDLE_SECONDS)
                continue
            self.voice.about = command.get("id")
            try:
                self._obey(command)
            except PhysioEmoError as error:
                self.voice.say(event="error", text=str(error))
            except Exception as error:  # the session goes on; its leader decides
                traceback.print_exc()
                text = f"an unforeseen error ({type(error).__name__}: {error})"
                self.voice.say(event="error", text=text)

    def _obey(self, command: dict[str, Any]) -> None:
        what = command.get("do")
        if what == "show":
            if isinstance(self.answers, ToldAnswers):
                self.answers.told = command.get("answers", {})
            self._show(make_item(command.get("item", {})))
        elif what == "end":
            self.end()
        elif what not in ("stop", "feedback"):  # nothing is shown that these could be about
            raise CallError(
                f"found do = {what!r}, expected 'show', 'stop', 'feedback', 'end' or 'quit'"
            )

    def end(self) -> None:
        """Say once that the session is over."""
        if not self.is_over:
            mark_session(self.stage, "session_stop", reason="finished")
        self.is_over = True

    def _show(self, item: Item) -> None:
        is_trial = item.kind in STIMULUS_KINDS and item.trial is not None
        if is_trial and item.trial in self.trials:
            raise CallError(
                f"found trial {item.trial} again, expected each trial number once in a session"
            )
        prepared = self.stage.prepare(item, open_stimulus(item))
        if is_trial and item.trial is not None:
            self.trials.add(item.trial)
        self.number += 1
        try:
            report = self.stage.player.show(self.number, prepared)
        finally:
            self.stage.player.show_background()
        if report.values:
            self.voice.say(event="rating", values=report.values, seconds=report.answer_seconds)
        self.voice.say(
            event="ended",
            reason=report.reason,
            lsl_seconds=report.stop_seconds,
            shown=report.n_shown,
            dropped=report.n_dropped,
        )


class _Voice:
    """Writes events to what was standard output; all else that is printed goes to the log."""

    def __init__(self) -> None:
        self.about: Any = None
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        # Libraries that print would break the lines that the parent reads.
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def say(self, **event: Any) -> None:
        if event["event"] != "ready" and self.about is not None:
            event = {"id": self.about, **event}
        try:
            self._out.write(json.dumps(event) + "\n")
            self._out.flush()
        except OSError:
            pass  # the parent is gone; its end of standard input says so too


_QUIT: dict[str, Any] = {"do": "quit"}


class _Inbox:
    """Commands from standard input, read by a thread of its own."""

    def __init__(self) -> None:
        self.on_feedback: Callable[..., None] = lambda value, is_volume: None
        self._commands: deque[dict[str, Any]] = deque()
        self._quit = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> dict[str, Any] | None:
        """Return the next command, or None if there is none yet."""
        if self._quit.is_set():
            return _QUIT
        return self._commands.popleft() if self._commands else None

    def asked_to_stop(self) -> str | None:
        """Return why the item that is shown is to end; a new item ends the one before."""
        if self._quit.is_set():
            return "stopped"
        for command in tuple(self._commands):
            if command.get("do") == "feedback":
                self._commands.remove(command)
                value, volume = command.get("value"), command.get("output") == "volume"
                if isinstance(value, int | float):
                    self.on_feedback(float(value), is_volume=volume)
            if command.get("do") == "stop":
                self._commands.remove(command)
            if command.get("do") in ("stop", "show", "end"):
                return "stopped"
        return None

    def _read(self) -> None:
        for line in told_lines():
            self._take(line)
        self._quit.set()

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            command = json.loads(line)
        except ValueError:
            command = None
        if not isinstance(command, dict):
            command = {"do": line.decode("utf-8", "replace").strip()}
        if command.get("do") == "quit":
            self._quit.set()
        else:
            self._commands.append(command)
