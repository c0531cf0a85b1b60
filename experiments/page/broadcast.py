"""What every open page is told: a source is asked 20 times a second, pages get the news."""

import asyncio
import json
from typing import Any, Protocol

from physioemo.experiments.page.readings import Measured, Snapshot, measure

__all__ = ["Broadcast", "Listener", "Source"]

FRAMES_HZ = 20.0
_STATUS_SECONDS = 0.5
_MEASURE_SECONDS = 2.0
_QUEUE_MESSAGES = 40  # two seconds; who reads slower loses frames, never the server its time


class Source(Protocol):
    """Where the page's data come from: live streams, or a stored recording."""

    def tick(self) -> tuple[list[dict[str, Any]], bytes | None]:
        """Return the messages and the traces that are new."""

    def greeting(self) -> tuple[list[dict[str, Any]], bytes | None]:
        """Return everything that a page needs when it is opened."""

    def status(self) -> dict[str, Any]:
        """Return what changes slowly."""

    def wants_measuring(self) -> bool:
        """Return whether what was measured is void, so that it is measured before its time."""

    def snapshots(self) -> list[Snapshot]:
        """Return what is to be measured in another thread."""

    def keep(self, measured: dict[int, Measured]) -> None:
        """Take what was measured."""

    def act(self, content: dict[str, Any]) -> dict[str, Any]:
        """Do what the operator asks for, or raise CallError."""


class Listener:
    """One open page and the messages that it has not read yet."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | bytes] = asyncio.Queue(_QUEUE_MESSAGES)

    def put(self, message: str | bytes) -> None:
        """Queue a message; where the page is too slow, the oldest is dropped."""
        if self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(message)


class Broadcast:
    """Asks a source 20 times a second and tells every open page.

    Parameters
    ----------
    source : Source
        Where the data come from.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.listeners: set[Listener] = set()
        self.failure: Exception | None = None
        self._measuring: asyncio.Task[None] | None = None

    def tell(self, messages: list[dict[str, Any]], traces: bytes | None) -> None:
        """Queue messages for every page."""
        for message in messages:
            text = json.dumps(message, ensure_ascii=False, allow_nan=False)
            for listener in self.listeners:
                listener.put(text)
        if traces is not None:
            for listener in self.listeners:
                listener.put(traces)

    async def run(self) -> None:
        """Go on until cancelled; a page that cannot go on says why, and ends."""
        try:
            await self._run()
        except Exception as error:
            self.failure = error

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due, n = loop.time(), 0
        every = round(_STATUS_SECONDS * FRAMES_HZ)
        while True:
            messages, traces = self.source.tick()
            if n % every == 0:
                messages.append(self.source.status())
            if n % round(_MEASURE_SECONDS * FRAMES_HZ) == 0 or self.source.wants_measuring():
                self._measure()
            self.tell(messages, traces)
            n += 1
            due = max(due + 1 / FRAMES_HZ, loop.time())
            await asyncio.sleep(due - loop.time())

    def _measure(self) -> None:
        if self._measuring is None or self._measuring.done():
            if self._measuring is not None:
                self._measuring.result()
            self._measuring = asyncio.create_task(self._measured(self.source.snapshots()))

    async def _measured(self, snapshots: list[Snapshot]) -> None:
        self.source.keep(await asyncio.to_thread(measure, snapshots))

    def greet(self, listener: Listener) -> None:
        """Tell a new page everything, and from now on the news."""
        messages, traces = self.source.greeting()
        for message in [*messages, self.source.status()]:
            listener.put(json.dumps(message, ensure_ascii=False, allow_nan=False))
        if traces is not None:
            listener.put(traces)
        self.listeners.add(listener)
