"""What the page knows: samples and markers in, messages for the browser out.

Live inlets and a stored recording feed the same hub, so that both look the same.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physioemo.description import StreamDescription
from physioemo.experiments.page.columns import (
    WINDOW_SECONDS,
    Block,
    Columns,
    DisplayFilter,
    encode_blocks,
)
from physioemo.experiments.page.health import STALLED_SECONDS, HealthRow, StreamHealth
from physioemo.experiments.page.readings import QUALITY_SECONDS, Measured, Recent, Snapshot
from physioemo.experiments.page.rows import Row, filtered_rows, trace_rows
from physioemo.experiments.page.story import Event, Story, read_marker, tell
from physioemo.prediction import DIMENSIONS

__all__ = ["PREDICTIONS", "QUALITY", "UNLOGGED", "Channel", "Hub", "quality_lines"]

# As experiments/live_outlets.py names them, which brings torch along.
PREDICTIONS, QUALITY = "PhysioEmo-VAD", "PhysioEmo-Quality"

UNLOGGED = ("monitor",)
"""Events of the conductor that come several times a second and would fill the log."""

_BODY_SECONDS = 60.0
_IRREGULAR_HZ = 60.0  # how many samples of an irregular stream are kept per second
_MOST_EVENTS = 400
_MOST_POINTS = 600
_MARK = "0 or 1"
_SIMULATED = "<simulated>true</simulated>"
_FLOWING = ("live", "slow", "fast")


@dataclass
class Channel:
    """One stream on its way to the page.

    Parameters
    ----------
    number : int
        Its number in messages; never used again for another stream.
    description : StreamDescription
        Of the stream.
    health : StreamHealth
        Its counts.
    rows : tuple of Row
        What is drawn of it.
    """

    number: int
    description: StreamDescription
    health: StreamHealth
    rows: tuple[Row, ...]
    picks: list[int] = field(default_factory=list)
    filtered: list[int] = field(default_factory=list)
    columns: Columns | None = None
    filters: DisplayFilter | None = None
    recent: Recent | None = None
    last_values: list[float] = field(default_factory=list)
    newest_seconds: float | None = None
    gain: np.ndarray | None = None

    def restart(self) -> None:
        """Forget every sample."""
        sfreq = self.description.sfreq
        self.last_values, self.newest_seconds = [], None
        self.health = StreamHealth(self.description)
        if self.rows:
            self.columns = Columns(len(self.rows), sfreq)
            is_eeg = all(row.panel == "eeg" for row in self.rows)
            seconds = QUALITY_SECONDS if is_eeg else _BODY_SECONDS
            self.recent = Recent(sfreq or _IRREGULAR_HZ, seconds)
        if self.filtered:
            self.filters = DisplayFilter(sfreq, len(self.filtered))


class Hub:
    """All streams, what happened, and what the browsers have not been told yet.

    Parameters
    ----------
    blinded : bool
        Whether the arm, the policy and the inputs of decisions are kept from the page.
    is_live : bool
        Whether a session that says that it is blinded blinds the page.
    """

    def __init__(self, *, blinded: bool = False, is_live: bool = True) -> None:
        self.blinded = blinded
        self.is_live = is_live
        self.channels: dict[int, Channel] = {}
        self.story = Story()
        self.events: list[Event] = []
        self.points: list[list[float | None]] = []
        self._numbers = 0
        self._new_events: list[Event] = []
        self._new_points: list[list[float | None]] = []
        self._measured: dict[int, Measured] = {}

    def add(self, description: StreamDescription) -> Channel:
        """Begin with a stream."""
        rows = trace_rows(description)
        channel = Channel(self._numbers, description, StreamHealth(description), rows)
        channel.picks = [row.channel for row in rows]
        channel.filtered = filtered_rows(rows, description.sfreq)
        if any(row.gain != 1 for row in rows):
            channel.gain = np.array([row.gain for row in rows])
        channel.restart()
        self.channels[channel.number] = channel
        self._numbers += 1
        return channel

    def remove(self, number: int) -> None:
        """Forget a stream."""
        self.channels.pop(number, None)
        self._measured.pop(number, None)

    def restart(self) -> None:
        """Forget everything but which streams there are."""
        for channel in self.channels.values():
            channel.restart()
        self.story = Story()
        self.events, self._new_events = [], []
        self.points, self._new_points = [], []
        self._measured = {}

    def push(
        self, channel: Channel, values: np.ndarray, seconds: np.ndarray, stamps: np.ndarray
    ) -> None:
        """Take samples of a stream.

        Parameters
        ----------
        channel : Channel
            Of which stream.
        values : ndarray, shape (time, channel)
            As they came.
        seconds, stamps : ndarray, shape (time,)
            Their time on the page's clock, and their raw stamps.
        """
        if not len(stamps):
            return
        channel.health.count(stamps, time.monotonic())
        channel.newest_seconds = float(seconds[-1])
        description = channel.description
        if description.is_text:
            for text, at in zip(values[:, 0].tolist(), seconds.tolist(), strict=True):
                self.note(self._read(description.name, text, at))
        elif channel.columns is not None and channel.recent is not None:
            picked = values[:, channel.picks]
            if channel.gain is not None:
                picked = picked * channel.gain
            channel.recent.push(picked)
            channel.columns.push(self._shown(channel, picked), seconds)
        elif description.modality == "prediction":
            channel.last_values = [float(v) for v in values[-1]]
            if description.name.startswith(PREDICTIONS):
                self._take_points(description.ch_names, values, seconds)
        elif description.name.startswith(QUALITY):
            channel.last_values = [float(v) for v in values[-1]]

    def _read(self, name: str, text: str | bytes, seconds: float) -> Event:
        event = read_marker(name, text, seconds, blinded=self.blinded)
        if self.is_live and not self.blinded and event.content.get("blinded") is True:
            # The session says so itself, whoever opened the page.
            self.blinded = True
            return read_marker(name, text, seconds, blinded=True)
        return event

    def _shown(self, channel: Channel, picked: np.ndarray) -> np.ndarray:
        if channel.filters is None:
            return picked
        if len(channel.filtered) == picked.shape[1]:
            return channel.filters(picked)
        shown = np.array(picked, float)
        shown[:, channel.filtered] = channel.filters(picked[:, channel.filtered])
        return shown

    def _take_points(self, names: Sequence[str], values: np.ndarray, seconds: np.ndarray) -> None:
        """Keep predictions: time, probability and confidence of each dimension, abstention."""
        wanted = [f"{d}_{w}" for w in ("probability", "confidence") for d in DIMENSIONS]
        at = [names.index(n) if n in names else None for n in (*wanted, "abstain")]
        for row, when in zip(values.tolist(), seconds.tolist(), strict=True):
            point = [when, *(None if i is None else _finite(row[i]) for i in at)]
            self.points = [*self.points[-_MOST_POINTS + 1 :], point]
            self._new_points.append(point)

    def note(self, event: Event) -> None:
        """Take something that happened."""
        self.story = tell(self.story, event)
        if event.name in UNLOGGED:
            return
        self.events = [*self.events[-_MOST_EVENTS + 1 :], event]
        self._new_events.append(event)

    def layout(self) -> dict[str, Any]:
        """Return the message that says which traces there are."""
        streams = [
            {
                "id": channel.number,
                "name": channel.description.name,
                "rate": channel.columns.rate,
                "rows": [
                    {"panel": r.panel, "label": r.label, "unit": r.unit, "kind": r.kind}
                    for r in channel.rows
                ],
            }
            for channel in self.channels.values()
            if channel.columns is not None
        ]
        simulated = any(_SIMULATED in c.description.xml for c in self.channels.values())
        return {
            "type": "layout",
            "window": WINDOW_SECONDS,
            "streams": streams,
            "simulated": simulated,
        }

    def history(self) -> list[dict[str, Any]]:
        """Return what a page that is opened now has missed."""
        return [
            {"type": "events", "events": [e.to_dict() for e in self.events], "restarts": True},
            {"type": "points", "points": self.points, "restarts": True},
            {"type": "story", "story": self.story.to_dict()},
        ]

    def traces(self, now_seconds: float) -> bytes | None:
        """Return the columns that are new, or None."""
        blocks = [(c.number, c.columns.take()) for c in self.channels.values() if c.columns]
        return _encoded(blocks, now_seconds)

    def backlog(self, now_seconds: float) -> bytes | None:
        """Return the columns of the last window, or None."""
        blocks = [(c.number, c.columns.kept()) for c in self.channels.values() if c.columns]
        return _encoded(blocks, now_seconds)

    def news(self) -> list[dict[str, Any]]:
        """Return the messages about events and predictions that are new."""
        messages: list[dict[str, Any]] = []
        if self._new_events:
            events = [e.to_dict() for e in self._new_events]
            messages.append({"type": "events", "events": events})
            messages.append({"type": "story", "story": self.story.to_dict()})
        if self._new_points:
            messages.append({"type": "points", "points": self._new_points})
        self._new_events, self._new_points = [], []
        return messages

    def health(self) -> list[HealthRow]:
        """Return the table of streams."""
        now = time.monotonic()
        return [channel.health.row(now) for channel in self.channels.values()]

    def snapshots(self, at_seconds: float | None = None) -> list[Snapshot]:
        """Return what :func:`physioemo.experiments.page.readings.measure` measures.

        Parameters
        ----------
        at_seconds : float, optional
            Where in a recording; live, what does not flow is left out.
        """
        now = time.monotonic()

        def flows(channel: Channel) -> bool:
            if at_seconds is None:
                return channel.health.state(now) in _FLOWING
            newest = channel.newest_seconds
            return newest is not None and at_seconds - newest <= STALLED_SECONDS

        return [
            Snapshot(c.number, c.rows, c.description.sfreq, c.recent.newest())
            for c in self.channels.values()
            if c.recent is not None and flows(c)
        ]

    def keep(self, measured: Mapping[int, Measured]) -> None:
        """Take the numbers beside the traces; what is not among them is known no more."""
        self._measured = {n: m for n, m in measured.items() if n in self.channels}

    def status(self) -> dict[str, Any]:
        """Return the message about everything slow but the health of streams."""
        quality = [
            line
            for c in self.channels.values()
            if c.description.name.startswith(QUALITY)
            for line in quality_lines(c.description, c.last_values)
        ]
        return {
            "type": "status",
            "measured": {str(n): m.to_dict() for n, m in self._measured.items()},
            "decoder_quality": quality,
            "blinded": self.blinded,
        }


def quality_lines(description: StreamDescription, values: Sequence[float]) -> list[dict[str, Any]]:
    """Return name, value and unit of what predictions stand on.

    Stamps say nothing to a reader and are left out; the marks of single electrodes, 0 or 1, become
    one line, which says what ``usable`` says.

    Parameters
    ----------
    description : StreamDescription
        Of ``PhysioEmo-Quality``.
    values : sequence of float
        Its newest sample; empty before the first.
    """
    rows = list(zip(description.ch_names, values, description.units, strict=False))
    marks = [value for _, value, unit in rows if unit == _MARK]
    unsaid = ("usable",) if marks else ()
    lines = [
        {"name": name, "value": _finite(value), "unit": unit}
        for name, value, unit in rows
        if unit != _MARK and not name.endswith("_stamp") and name not in unsaid
    ]
    if marks:
        used = int(sum(value == 1 for value in marks))
        lines.append({"name": "electrodes", "value": used, "unit": f"of {len(marks)}"})
    return lines


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _encoded(blocks: Sequence[tuple[int, Block | None]], now_seconds: float) -> bytes | None:
    there = [(number, block) for number, block in blocks if block is not None]
    return encode_blocks(there, now_seconds) if there else None
