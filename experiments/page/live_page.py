"""The operator's page of a live session: streams in, the operator's events out."""

import socket
from pathlib import Path
from typing import Any

from physioemo.acquisition.rig import Rig
from physioemo.errors import AmbiguousStreamError, CallError
from physioemo.experiments.page.hub import Hub
from physioemo.experiments.page.live_source import LiveSource
from physioemo.experiments.page.readings import Measured, Snapshot
from physioemo.experiments.page.story import Event
from physioemo.experiments.page.system import SystemWatch
from physioemo.experiments.session.messages import COMMANDS, OPERATOR, EventOutlet
from physioemo.overrides import Overrides

__all__ = ["LivePage"]

_LONGEST_NOTE = 2000
_LOOK_SECONDS = 1.0


class LivePage:
    """The source of the page of a live session.

    Parameters
    ----------
    rig : Rig, optional
        Which streams; by default all.
    overrides : Overrides, optional
        What streams do not say.
    blinded : bool
        Whether the arm and what tells it are hidden.
    watch_only : bool
        Whether the page has no controls and publishes nothing.
    folder : Path
        Where recordings are written; its disk is watched.

    Raises
    ------
    AmbiguousStreamError
        If another page holds the controls.
    """

    def __init__(
        self,
        *,
        rig: Rig | None = None,
        overrides: Overrides | None = None,
        blinded: bool = False,
        watch_only: bool = False,
        folder: Path = Path(),
    ) -> None:
        if not watch_only:
            _refuse_second_page()
        self.hub = Hub(blinded=blinded)
        self.watch_only = watch_only
        self.outlet: EventOutlet | None = None
        self.source = LiveSource(
            self.hub, rig=rig, overrides=overrides, own_names=() if watch_only else (OPERATOR,)
        )
        self.system = SystemWatch(folder)
        self._states: list[tuple[str, str]] = []

    def start(self) -> None:
        """Publish the operator's stream and begin to look for others."""
        if not self.watch_only:
            self.outlet = EventOutlet(OPERATOR)
        self.source.start()

    def close(self) -> None:
        """Leave every stream, and take the operator's off the network."""
        self.source.close()
        self.outlet = None

    def tick(self) -> tuple[list[dict[str, Any]], bytes | None]:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        import pylsl

        messages = [self.hub.layout()] if self.source.poll() else []
        rows = self.source.health()
        states = [(row.name, row.state) for row in rows]
        if states != self._states:  # a stream that stalls is told at once
            self._states = states
            messages.append(self._health(rows))
        return [*messages, *self.hub.news()], self.hub.traces(pylsl.local_clock())

    def greeting(self) -> tuple[list[dict[str, Any]], bytes | None]:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        import pylsl

        now = pylsl.local_clock()
        first = {
            "type": "hello",
            "mode": "live",
            "blinded": self.hub.blinded,
            "controls": not self.watch_only,
            "rig": self.source.rig.name if self.source.rig else "",
        }
        health = self._health(self.source.health())
        return [first, self.hub.layout(), *self.hub.history(), health], self.hub.backlog(now)

    def status(self) -> dict[str, Any]:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        import pylsl

        return {
            **self.hub.status(),
            "now": pylsl.local_clock(),
            "health": [row.to_dict() for row in self.source.health()],
            "system": self.system(),
            "listened": self.outlet.has_listeners if self.outlet else None,
        }

    def wants_measuring(self) -> bool:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        return False

    def snapshots(self) -> list[Snapshot]:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        return self.hub.snapshots()

    def keep(self, measured: dict[int, Measured]) -> None:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        self.hub.keep(measured)

    def act(self, content: dict[str, Any]) -> dict[str, Any]:
        """Publish what the operator asks for as an event of ``PhysioEmo-Operator``.

        Raises
        ------
        CallError
            If it is none of the operator's events, or a note without a text.
        """
        event, text = content.get("event"), content.get("text", "")
        if self.outlet is None:
            raise CallError("found a page opened with --watch, expected one with controls")
        if event not in COMMANDS:
            raise CallError(f"found the event {event!r}, expected one of {', '.join(COMMANDS)}")
        if not isinstance(text, str) or len(text) > _LONGEST_NOTE:
            raise CallError(f"found no text of at most {_LONGEST_NOTE} signs, expected one")
        if event == "note" and not text.strip():
            raise CallError("found an empty note, expected a text; type one")
        fields: dict[str, Any] = {"text": text.strip()} if text.strip() else {}
        listened = self.outlet.has_listeners
        seconds = self.outlet.send(str(event), **fields)
        said = f"{event} · {fields['text']}" if fields else str(event)
        self.hub.note(Event(seconds, OPERATOR, str(event), said, {"event": event, **fields}))
        return {"seconds": seconds, "listened": listened}

    def _health(self, rows: list[Any]) -> dict[str, Any]:
        return {"type": "health", "health": [row.to_dict() for row in rows]}


def _refuse_second_page() -> None:
    import pylsl

    found = pylsl.resolve_byprop("name", OPERATOR, 1, _LOOK_SECONDS)
    if any(info.hostname() == socket.gethostname() for info in found):
        raise AmbiguousStreamError(
            f"found that the stream {OPERATOR!r} is already published on this computer, expected "
            "one page with controls; close the other, or open this one with --watch"
        )
