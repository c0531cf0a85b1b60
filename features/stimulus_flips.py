"""What the stimulus player showed, flip by flip, live and from a recording alike.

Between two flips nothing more is known than the last one's stamp. A run is a row of flips of one
item that agree with the file's clock; a pause, a jump or a second showing begins another. Which
file an item is, its marker says, and its SHA-256 must be that of the file which is given.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioemo.errors import DataError
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.features.stimulus_shown import ShownRows, named_stimuli, nothing_from
from physioemo.trials import parse_marker
from physioemo.xdf_chunks import parse_xml

__all__ = ["FLIP_CHANNELS", "FlipLog", "FlipTable", "Markers", "check_header"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

FLIP_CHANNELS = ("frame", "pts", "lateness", "dropped", "item")
"""Channels of the player's stream of flips, in this order."""

_BREAK_SECONDS = 0.1  # between the clock of the flips and that of the file
_SAME_FLIP_SECONDS = 0.05  # a marker has the stamp of its flip, up to the correction of clocks
_STAMP_SECONDS = 0.002
_SHOWN_KINDS = ("video", "image", "sound")
_MARKED = ("item_start", "item_stop", "session_start", "session_stop")
_SECONDS, _FRAME, _PTS, _CLOCK, _ITEM, _BEGIN, _BEGIN_CLOCK, _BEGIN_PTS, _BEFORE = range(9)


@dataclass(frozen=True)
class FlipLog:
    """Flips in the order in which they came, each with the beginning of its run.

    Parameters
    ----------
    table : ndarray, shape (flip, 9)
        Grown by :meth:`extended`.
    dropped_seconds : float
        What was on the screen before this time is forgotten.
    """

    table: Floats = field(default_factory=lambda: np.empty((0, 9)))
    dropped_seconds: float = -np.inf

    def extended(
        self, values: np.ndarray, time: np.ndarray, *, keep_seconds: float = np.inf
    ) -> "FlipLog":
        """Return the log with more flips; the old one stays valid.

        Parameters
        ----------
        values : ndarray, shape (flip, 5)
            In the order of :data:`FLIP_CHANNELS`.
        time : ndarray, shape (flip,)
            When they were, in session seconds.
        keep_seconds : float
            How much is kept before the newest one.

        Raises
        ------
        DataError
            If a frame, a stamp, an item or a time is not a number.
        """
        values, time = np.asarray(values, float).reshape(-1, 5), np.asarray(time, float)
        if not (np.isfinite(values[:, [0, 1, 4]]).all() and np.isfinite(time).all()):
            raise DataError(
                "found a flip whose frame, stamp, item or time is missing, expected numbers; "
                "check the stream of the stimulus player"
            )
        if not len(values):
            return self
        old = self.table[-1] if len(self.table) else None
        new = _rows_of_flips(values, time, old)
        first = int(np.searchsorted(self.table[:, _SECONDS], new[-1, _SECONDS] - keep_seconds))
        # The last one before is still on the screen when what is kept begins.
        kept = self.table[max(0, first - 1) :]
        dropped = float(kept[0, _SECONDS]) if first > 1 else self.dropped_seconds
        return FlipLog(np.concatenate([kept, new]), dropped)


def _rows_of_flips(values: Floats, time: Floats, old: Floats | None) -> Floats:
    new = np.empty((len(values), 9))
    # Stamps of two chunks may step back by what a clock was corrected; flips keep their order.
    earliest = -np.inf if old is None else old[_SECONDS]
    new[:, _SECONDS] = np.maximum(np.maximum.accumulate(time), earliest)
    new[:, _FRAME], new[:, _PTS], new[:, _ITEM] = values[:, 0], values[:, 1], values[:, 4]
    new[:, _CLOCK] = new[:, _SECONDS] - np.nan_to_num(values[:, 2])
    nothing = np.full((1, 9), np.nan)
    both = np.concatenate([nothing if old is None else old[None], new])
    step, same = np.diff(both, axis=0), both[1:, _ITEM] == both[:-1, _ITEM]
    off = np.abs(step[:, _CLOCK] - step[:, _PTS])
    goes_on = same & (step[:, _PTS] > 0) & (off <= _BREAK_SECONDS)
    begin = np.maximum.accumulate(np.where(goes_on, 0, np.arange(1, len(both))))
    new[:, _BEGIN], new[:, _BEGIN_CLOCK] = both[begin, _SECONDS], both[begin, _CLOCK]
    new[:, _BEGIN_PTS] = both[begin, _PTS]
    if old is not None:
        new[begin == 0, _BEGIN : _BEGIN_PTS + 1] = old[_BEGIN : _BEGIN_PTS + 1]
    new[:, _BEFORE] = np.where(goes_on, both[:-1, _FRAME], -1)
    return new


@dataclass(frozen=True)
class _Marker:
    seconds: float
    event: str
    item: int
    content: Mapping[str, Any]


@dataclass
class Markers:
    """The player's markers, and which file each item is, checked by its SHA-256.

    Parameters
    ----------
    stimuli : tuple of StimulusFeatures
        The files.
    """

    stimuli: tuple[StimulusFeatures, ...]
    latency_seconds: float | None = None
    _sorted: list[_Marker] = field(default_factory=list)

    def add(self, seconds: float, text: str) -> bool:
        """Take a marker, and tell whether it was one; others than the player's pass by.

        Raises
        ------
        DataError
            If it says that a file was shown that is not among the stimuli, or another latency of
            the display than one before.
        """
        content = parse_marker(text)
        if content is None or content["event"] not in _MARKED:
            return False
        item = content.get("item", -1)
        marker = _Marker(float(seconds), str(content["event"]), item, content)
        if marker.event == "item_start":
            if content.get("kind") in _SHOWN_KINDS:
                self.file_of(content)
            self._check_latency(content.get("latency_seconds"))
        insort(self._sorted, marker, key=lambda m: m.seconds)
        return True

    def file_of(self, start: Mapping[str, Any]) -> int:
        """Return which of the stimuli an item shows."""
        for i, features in enumerate(self.stimuli):
            if features.sha256 == start.get("sha256"):
                return i
        raise DataError(
            f"found that item {start.get('item')} showed {start.get('file')} (SHA-256 "
            f"{str(start.get('sha256'))[:12]}...), expected it among the given stimuli "
            f"({named_stimuli(self.stimuli)}); add the very file"
        )

    def start_of(self, item: int, begin: float, known: float) -> Mapping[str, Any] | None:
        """Return the marker of the item that a run of flips shows, as far as it was known.

        Parameters
        ----------
        item : int
            Number of the item.
        begin : float
            When the run's first flip was, in seconds.
        known : float
            Up to when markers were known, in seconds.
        """
        latest = min(begin + _SAME_FLIP_SECONDS, known)
        stop = bisect_right(self._sorted, latest, key=lambda m: m.seconds)
        for marker in reversed(self._sorted[:stop]):
            if marker.event == "item_start" and marker.item == item:
                return marker.content
            if marker.seconds < begin - _SAME_FLIP_SECONDS:
                return None  # another item, or its own end, came between
        return None

    def stops(self, start_seconds: float, stop_seconds: float) -> list[tuple[float, int]]:
        """Return when items ended in a stretch, and their numbers."""
        first, stop = (
            bisect_right(self._sorted, t, key=lambda m: m.seconds)
            for t in (start_seconds, stop_seconds)
        )
        found = self._sorted[first:stop]
        return [(m.seconds, m.item) for m in found if m.event == "item_stop"]

    def _check_latency(self, stated: float | None) -> None:
        stated = float(stated or 0.0)
        if self.latency_seconds is not None and self.latency_seconds != stated:
            raise DataError(
                f"found the display latencies {self.latency_seconds:g} and {stated:g} s in one "
                "recording, expected one; take the parts of the recording one by one"
            )
        self.latency_seconds = stated


@dataclass(frozen=True)
class FlipTable:
    """Rows of the player's flips.

    Parameters
    ----------
    log : FlipLog
        The flips.
    markers : Markers
        What each item is.
    sound_latency_seconds : float
        From the file's clock to sound.
    """

    log: FlipLog
    markers: Markers
    sound_latency_seconds: float = 0.0

    @property
    def stimuli(self) -> tuple[StimulusFeatures, ...]:
        """The files."""
        return self.markers.stimuli

    @property
    def latencies(self) -> tuple[float, float]:
        """Seconds from a flip to light, and from the file's clock to sound."""
        return self.markers.latency_seconds or 0.0, self.sound_latency_seconds

    def rows(self, start_seconds: float, stop_seconds: float, known_seconds: float) -> ShownRows:
        """Return the row at a time and all after it up to another, as it was known then.

        Raises
        ------
        DataError
            If a frame does not carry the stamp that its file has.
        """
        table = self.log.table
        first = int(np.searchsorted(table[:, _SECONDS], start_seconds, side="right")) - 1
        stop = int(np.searchsorted(table[:, _SECONDS], stop_seconds, side="right"))
        flips = table[max(0, first) : stop]
        columns = [flips[:, k].copy() for k in (_PTS, _CLOCK, _BEGIN_CLOCK, _BEGIN_PTS)]
        pts, clock, begin_clock, begin_pts = columns
        file, frame = np.full(len(flips), -1), np.full(len(flips), -1)
        before, runs_on = flips[:, _BEFORE].astype(int), np.zeros(len(flips), bool)
        for begin, item in {(float(r[_BEGIN]), int(r[_ITEM])) for r in flips}:
            start = self.markers.start_of(item, begin, known_seconds)
            if start is None or start.get("kind") not in _SHOWN_KINDS:
                continue
            mine = (flips[:, _BEGIN] == begin) & (flips[:, _ITEM] == item)
            file[mine] = number = self.markers.file_of(start)
            if start["kind"] == "sound":
                offset = float(start.get("start_seconds", 0.0))
                pts[mine], begin_pts[mine], runs_on[mine] = pts[mine] + offset, offset, True
            elif self.stimuli[number].has_video:
                frame[mine] = flips[mine, _FRAME].astype(int)
            if start["kind"] == "video":
                self._check_stamps(self.stimuli[number], frame[mine], pts[mine])
        shown = ShownRows(
            flips[:, _SECONDS], file, frame, pts, clock, begin_clock, begin_pts, before, runs_on
        )
        return self._ended(shown, flips[:, _ITEM], min(stop_seconds, known_seconds))

    def _ended(self, shown: ShownRows, item: Floats, stop_seconds: float) -> ShownRows:
        """Return the rows with an empty one wherever an item ended before the next flip."""
        if not len(item):
            return shown
        at, when = [], []
        for seconds, stopped in self.markers.stops(shown.seconds[0], stop_seconds):
            k = int(np.searchsorted(shown.seconds, seconds, side="right"))
            if k and item[k - 1] == stopped:
                at.append(k)
                when.append(seconds)
        empty = [nothing_from(seconds) for seconds in when]
        columns = [np.array([e[i][0] for e in empty]) for i in range(len(shown))]
        return ShownRows._make(
            np.insert(column, at, new) if at else column
            for column, new in zip(shown, columns, strict=True)
        )

    def _check_stamps(self, features: StimulusFeatures, frame: Ints, pts: Floats) -> None:
        inside = (frame >= 0) & (frame < len(features.frame_seconds))
        stamps = np.full(len(frame), np.nan)
        stamps[inside] = features.frame_seconds[frame[inside]]
        wrong = ~(np.abs(stamps - pts) <= _STAMP_SECONDS)
        if wrong.any():
            k = int(wrong.argmax())
            raise DataError(
                f"found frame {frame[k]} of {features.name} shown with the stamp {pts[k]:.4f} s, "
                f"expected {stamps[k]:.4f} s; give the very file that was shown"
            )


def check_header(xml: str, stimuli: Iterable[StimulusFeatures]) -> float:
    """Check the files of the header of the stream of flips; return the latency of sound.

    Parameters
    ----------
    xml : str
        LSL's header; empty if it is not known.
    stimuli : iterable of StimulusFeatures
        The files that are given.

    Returns
    -------
    float
        Seconds; 0 if it was not measured.

    Raises
    ------
    DataError
        If a file of the same name had other bytes.
    """
    if not xml:
        return 0.0
    try:
        player = parse_xml(xml).find("desc/player")
    except ValueError as error:
        raise DataError(
            f"found a header of the stream of flips that is no XML ({error}), expected that of the "
            "stimulus player; name the stream that it published"
        ) from error
    if player is None:
        return 0.0
    hashes: dict[str, set[str]] = {}
    for file in player.findall("files/file"):
        hashes.setdefault(file.findtext("name", ""), set()).add(file.findtext("sha256", ""))
    for features in stimuli:
        known = hashes.get(features.name)
        if known is not None and features.sha256 not in known:
            raise DataError(
                f"found {features.name} with the SHA-256 {features.sha256[:12]}..., expected "
                f"{min(known)[:12]}... as the header of the flips says; give the very file"
            )
    stated = player.findtext("sound_latency_seconds", "")
    try:
        return float(stated)
    except ValueError:
        return 0.0  # "unmeasured"
