"""The page of a stored recording: played at any speed, or scrolled."""

import time
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.page.columns import WINDOW_SECONDS
from physioemo.experiments.page.health import HealthRow, StreamHealth
from physioemo.experiments.page.hub import UNLOGGED, Channel, Hub
from physioemo.experiments.page.readings import Measured, Snapshot
from physioemo.experiments.page.story import Event, Segment, Story, read_marker, tell
from physioemo.recording import Recording

__all__ = ["StoredPage"]

_BLOCK_SECONDS = 10.0
_BODY_SECONDS = 60.0
_SETTLE_SECONDS = 2.0  # what the display filter needs before the window begins
_SPEEDS = (0.1, 20.0)
_MOST_TICKS = 2000


class _Track:
    """One stream of the recording, read in blocks."""

    def __init__(self, recording: Recording, key: str, channel: Channel) -> None:
        self.channel = channel
        dataset = recording[key]
        self.time = np.asarray(dataset["time"].values, float)
        self._signal = dataset["signal"]
        rate = channel.description.sfreq
        self._n_block = max(1, round(_BLOCK_SECONDS * rate)) if rate > 0 else max(len(self.time), 1)
        self._blocks: dict[int, np.ndarray] = {}

    def between(self, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples in [start, stop) and their times."""
        first, last = np.searchsorted(self.time, [start, stop]).tolist()
        if last <= first:
            return np.empty((0, len(self.channel.description.ch_names))), self.time[:0]
        n = self._n_block
        parts = [self._block(k) for k in range(first // n, (last - 1) // n + 1)]
        offset = first // n * n
        return np.concatenate(parts)[first - offset : last - offset], self.time[first:last]

    def _block(self, number: int) -> np.ndarray:
        if number not in self._blocks:
            while len(self._blocks) > _BODY_SECONDS / _BLOCK_SECONDS + 2:
                self._blocks.pop(next(iter(self._blocks)))
            part = slice(number * self._n_block, (number + 1) * self._n_block)
            self._blocks[number] = np.asarray(self._signal[part].values)
        return self._blocks[number]


class StoredPage:
    """The source of the page of a recording.

    Parameters
    ----------
    recording : Recording
        What to show.
    title : str
        What it is called.
    blinded : bool
        Whether the arm and what tells it are hidden.

    Raises
    ------
    CallError
        If there is nothing in it.
    """

    def __init__(self, recording: Recording, title: str, *, blinded: bool = False) -> None:
        self.hub = Hub(blinded=blinded, is_live=False)
        self.title = title
        self.simulated = recording.simulated
        self.tracks: list[_Track] = []
        self.events: list[Event] = []
        for key in recording.streams:
            track = _Track(recording, key, self.hub.add(recording.description(key)))
            if track.channel.description.is_text:
                self.events += _events(track, blinded)
            self.tracks.append(track)
        times = [track.time for track in self.tracks if len(track.time)]
        if not times:
            raise CallError(f"found no sample in {title}, expected a recording with some")
        self.start_seconds = float(min(t[0] for t in times))
        self.stop_seconds = float(max(t[-1] for t in times))
        self.events += [] if self.events else _table_events(recording)
        self.events.sort(key=lambda event: event.seconds)
        self.segments = _segments(self.events) or _trial_segments(recording)
        self.rows = [_stored_row(track) for track in self.tracks]
        self.playing, self.speed = False, 1.0
        self.position = self.start_seconds
        self._due = self._unmeasured = False
        self._last = time.monotonic()
        self._seek(self.start_seconds + WINDOW_SECONDS)

    def tick(self) -> tuple[list[dict[str, Any]], bytes | None]:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        now = time.monotonic()
        elapsed, self._last = now - self._last, now
        if self.playing:
            self._advance(min(self.position + elapsed * self.speed, self.stop_seconds))
        if self._due:
            self._due = False
            messages, traces = self._everything()
            return [*messages, self._place()], traces
        messages = self.hub.news()
        if self.playing:
            messages.append(self._place())
            self.playing = self.position < self.stop_seconds
        return messages, self.hub.traces(self.position)

    def greeting(self) -> tuple[list[dict[str, Any]], bytes | None]:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        hello = {
            "type": "hello",
            "mode": "stored",
            "blinded": self.hub.blinded,
            "controls": False,
            "title": self.title,
        }
        ticks = [e.seconds for e in self.events if e.name not in UNLOGGED][:_MOST_TICKS]
        recording = {
            **self._place(),
            "start": self.start_seconds,
            "stop": self.stop_seconds,
            "title": self.title,
            "segments": [segment.__dict__ for segment in self.segments],
            "ticks": ticks,
        }
        messages, traces = self._everything()
        layout = {**self.hub.layout(), "simulated": self.simulated}
        return [hello, layout, recording, *messages], traces

    def status(self) -> dict[str, Any]:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        rows = [row.to_dict() for row in self.rows]
        return {**self.hub.status(), "now": time.time(), "health": rows}

    def wants_measuring(self) -> bool:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        return self._unmeasured

    def snapshots(self) -> list[Snapshot]:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        self._unmeasured = False
        return self.hub.snapshots(self.position)

    def keep(self, measured: dict[int, Measured]) -> None:
        """See :class:`physioemo.experiments.page.broadcast.Source`."""
        self.hub.keep(measured)

    def act(self, content: dict[str, Any]) -> dict[str, Any]:
        """Play, stop, go to a time, or change the speed.

        Raises
        ------
        CallError
            If it is none of these.
        """
        what = content.get("do")
        if what == "play":
            if self.position >= self.stop_seconds:
                self._seek(self.start_seconds)
            self.playing, self._due = True, True
        elif what == "stop":
            self.playing, self._due = False, True
        elif what == "seek":
            self._seek(_number(content, "seconds", (self.start_seconds, self.stop_seconds)))
        elif what == "speed":
            self.speed = _number(content, "speed", _SPEEDS)
        else:
            raise CallError(f"found {what!r}, expected play, stop, seek or speed")
        return {"seconds": self.position}

    def _seek(self, seconds: float) -> None:
        self.position = min(max(seconds, self.start_seconds), self.stop_seconds)
        self.hub.restart()
        for track in self.tracks:
            is_eeg = all(row.panel == "eeg" for row in track.channel.rows)
            before = WINDOW_SECONDS + _SETTLE_SECONDS if is_eeg else _BODY_SECONDS
            self._feed(track, self.position - before, self.position)
        for event in self.events:
            if event.seconds < self.position:
                self.hub.note(event)
        self.hub.traces(self.position)
        self.hub.news()
        self._due = self._unmeasured = True

    def _advance(self, seconds: float) -> None:
        before, self.position = self.position, seconds
        for track in self.tracks:
            self._feed(track, before, seconds)
        for event in self.events:
            if before <= event.seconds < seconds:
                self.hub.note(event)

    def _feed(self, track: _Track, start: float, stop: float) -> None:
        if not track.channel.description.is_text:
            values, seconds = track.between(start, stop)
            self.hub.push(track.channel, values, seconds, seconds)

    def _everything(self) -> tuple[list[dict[str, Any]], bytes | None]:
        return self.hub.history(), self.hub.backlog(self.position)

    def _place(self) -> dict[str, Any]:
        place = {"seconds": self.position, "playing": self.playing, "speed": self.speed}
        return {"type": "position", **place}


def _events(track: _Track, blinded: bool) -> list[Event]:
    name, (texts, seconds) = track.channel.description.name, track.between(-np.inf, np.inf)
    pairs = zip(texts[:, 0].tolist(), seconds.tolist(), strict=True)
    return [read_marker(name, text, at, blinded=blinded) for text, at in pairs]


def _table_events(recording: Recording) -> list[Event]:
    """Return the table of events of a recording without a stream of markers."""
    events = recording.events
    if "onset_seconds" not in events:
        return []
    rows = zip(events["onset_seconds"].values, events["description"].values, strict=True)
    return [Event(float(at), "events", "marker", str(text)) for at, text in rows]


def _segments(events: list[Event]) -> list[Segment]:
    story = Story()
    for event in events:
        story = tell(story, event)
    return list(story.segments)


def _trial_segments(recording: Recording) -> list[Segment]:
    trials = recording.trials
    if "onset_seconds" not in trials:
        return []
    columns = (trials["trial"], trials["onset_seconds"], trials["duration_seconds"])
    rows = zip(*(column.values.tolist() for column in columns), strict=True)
    return [Segment("trial", str(trial), at, at + lasts) for trial, at, lasts in rows]


def _stored_row(track: _Track) -> HealthRow:
    """Return what the stamps of a whole stream say."""
    from dataclasses import replace

    from physioemo.clock import measured_rate

    health = StreamHealth(track.channel.description)
    health.count(track.time, 0.0)
    rate = measured_rate(track.time, track.channel.description.sfreq)
    known = float(rate) if np.isfinite(rate) else None
    return replace(health.row(0.0), state="stored", measured_hz=known, age_seconds=None)


def _number(content: dict[str, Any], name: str, limits: tuple[float, float]) -> float:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise CallError(f"found {name} = {value!r}, expected a number")
    return float(np.clip(value, *limits))
