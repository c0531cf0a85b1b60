"""Live streams for the page: found, opened and clocked in the background, pulled by the page.

One thread looks for streams and opens their inlets, one measures clocks; both may block. Samples
are pulled without waiting by whoever calls :meth:`LiveSource.poll`.
"""

import contextlib
import queue
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from physioemo.acquisition.lsl import clock_offset, describe, open_inlet, pull
from physioemo.acquisition.rig import Rig
from physioemo.description import StreamDescription
from physioemo.errors import PhysioEmoError
from physioemo.experiments.page.health import STALLED_SECONDS, HealthRow, bare_row
from physioemo.experiments.page.hub import Channel, Hub
from physioemo.overrides import Overrides

__all__ = ["LiveSource"]

_OURS = "PhysioEmo-"  # conductor, player and decoder are in no rig
_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 2.0
_NOBODY = "nobody on the network answers for it"
_GONE_LOOKS = 3  # queries are lost now and then
_CLOCK_SECONDS = 2.0
_OPEN_SECONDS = 3.0
_NETWORK = "the network"


@dataclass
class _Opened:
    """An inlet that is new, or replaces one that is dead."""

    inlet: Any
    description: StreamDescription


@dataclass
class _Tap:
    inlet: Any
    channel: Channel
    offset_seconds: float = 0.0


class LiveSource:
    """Every stream on the network, or those of a rig, into a hub.

    Parameters
    ----------
    hub : Hub
        Where samples go.
    rig : Rig, optional
        Which streams; the rig's that are not there are listed as missing.
    overrides : Overrides, optional
        Names, units and rates that streams do not say.
    own_names : tuple of str
        Streams that are the page's own, which are not opened: a page that listens to itself
        could not tell whether anybody else does.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        rig: Rig | None = None,
        overrides: Overrides | None = None,
        own_names: tuple[str, ...] = (),
    ) -> None:
        self.hub = hub
        self.rig = rig
        self.overrides = overrides or Overrides()
        self.own_names = own_names
        self.taps: list[_Tap] = []
        self._opened: queue.Queue[_Opened] = queue.Queue()
        self._missing: list[HealthRow] = []
        self._refused: dict[str, HealthRow] = {}
        self._unseen: dict[str, int] = {}
        self._uids: dict[str, tuple[str, str]] = {}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._look, daemon=True),
            threading.Thread(target=self._measure_clocks, daemon=True),
        ]

    def start(self) -> None:
        """Begin to look for streams."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Leave every stream."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)
        while not self._opened.empty():
            self._opened.get().inlet.close_stream()
        for tap in self.taps:
            tap.inlet.close_stream()

    def poll(self) -> bool:
        """Hand what has arrived to the hub; return whether there is another stream than before."""
        changed = self._take_opened()
        for tap in self.taps:
            self._pull(tap)
        return changed

    def health(self) -> list[HealthRow]:
        """Return the table of streams, with those that are missing or cannot be read."""
        return [*self._missing, *self._refused.values(), *self.hub.health()]

    def _pull(self, tap: _Tap) -> None:
        import pylsl

        try:
            values, stamps = pull(tap.inlet, timeout_seconds=0.0)
        except pylsl.util.LostError:
            tap.channel.health.failure = "its program has gone"
            return
        if not len(stamps):
            return
        tap.channel.health.failure = ""
        self.hub.push(tap.channel, values, stamps + tap.offset_seconds, stamps)

    def _take_opened(self) -> bool:
        changed = False
        while not self._opened.empty():
            new = self._opened.get()
            old = next(
                (t for t in self.taps if _same(t.channel.description, new.description)), None
            )
            if old is None:
                self.taps.append(_Tap(new.inlet, self.hub.add(new.description)))
                changed = True
                continue
            old.inlet, inlet = new.inlet, old.inlet
            old.channel.health.failure = ""
            with contextlib.suppress(Exception):
                inlet.close_stream()
            if old.channel.description.ch_names != new.description.ch_names:
                self.hub.remove(old.channel.number)
                old.channel = self.hub.add(new.description)
                changed = True
        return changed

    def _look(self) -> None:
        import pylsl

        while not self._stop.is_set():
            try:
                self._judge(pylsl.resolve_streams(_LOOK_SECONDS))
            except Exception as error:  # shown as a red line; the next look may succeed
                reason = str(error) if isinstance(error, PhysioEmoError) else _unforeseen(error)
                self._refused[_NETWORK] = bare_row(_NETWORK, "unreadable", 0.0, reason)
            else:
                self._refused.pop(_NETWORK, None)
            self._stop.wait(_PAUSE_SECONDS if self.taps else 0.0)

    def _judge(self, infos: list[Any]) -> None:
        keys: dict[str, str] = {}
        if self.rig is not None:
            infos, keys = self._of_rig(self.rig, infos)
        wanted = {info.uid(): info for info in infos if info.name() not in self.own_names}
        self._note_gone(set(wanted))
        there = {info.name() for info in wanted.values()}
        for name in [n for n in self._refused if n not in there]:
            del self._refused[name]  # what could not be read has gone
        for uid, info in wanted.items():
            if self._stop.is_set():
                return
            if uid not in self._uids and not self._returned_by_itself(info):
                self._open(info, keys.get(info.uid()))

    def _of_rig(self, rig: Rig, infos: list[Any]) -> tuple[list[Any], dict[str, str]]:
        """Return the streams of a rig and of a session here, and the rig's keys by uid."""
        from physioemo.acquisition.rig_network import match_rig

        matches = match_rig(rig, infos)
        found = {m.stream.key: m.infos[0] for m in matches if len(m.infos) == 1}
        open_names = {tap.channel.description.name for tap in list(self.taps)}
        self._missing = [
            bare_row(m.stream.key, "missing", m.stream.sfreq, m.problem)
            for m in matches
            if m.stream.key not in found and m.stream.query.get("name") not in open_names
        ]
        ours = [
            info
            for info in infos
            if info.name().startswith(_OURS) and info.hostname() == socket.gethostname()
        ]
        wanted = {info.uid(): info for info in [*found.values(), *ours]}
        return list(wanted.values()), {info.uid(): key for key, info in found.items()}

    def _note_gone(self, uids: set[str]) -> None:
        """Say of a stream that nobody answers for any more that it is lost."""
        for uid in list(self._uids):
            self._unseen[uid] = 0 if uid in uids else self._unseen.get(uid, 0) + 1
            tap = self._tap_of(*self._uids[uid])
            is_silent = tap is not None and (_age(tap) or 0.0) > STALLED_SECONDS
            if tap is None or uid != self._newest_uid(*self._uids[uid]):
                continue
            if is_silent and self._unseen[uid] >= _GONE_LOOKS:
                tap.channel.health.failure = _NOBODY
            elif self._unseen[uid] == 0 and tap.channel.health.failure == _NOBODY:
                tap.channel.health.failure = ""

    def _newest_uid(self, name: str, source_id: str) -> str:
        return [uid for uid, who in self._uids.items() if who == (name, source_id)][-1]

    def _returned_by_itself(self, info: Any) -> bool:
        """Return whether an inlet that we have goes on under a connection that is new."""
        tap = self._tap_of(info.name(), info.source_id())
        if tap is None or not info.source_id() or tap.channel.health.failure:
            return False
        age = _age(tap)
        if age is None or age > STALLED_SECONDS:
            return False
        self._uids[info.uid()] = (info.name(), info.source_id())
        return True

    def _open(self, info: Any, key: str | None) -> None:
        try:
            inlet, full = open_inlet(info, timeout_seconds=_OPEN_SECONDS)
            description = describe(full, self._overrides(full, key))
        except Exception as error:  # one bad stream must be told, and must not stop the others
            reason = str(error) if isinstance(error, PhysioEmoError) else _unforeseen(error)
            rate = float(info.nominal_srate())
            self._refused[info.name()] = bare_row(info.name(), "unreadable", rate, reason)
            return
        self._refused.pop(info.name(), None)
        self._uids[info.uid()] = (info.name(), info.source_id())
        self._opened.put(_Opened(inlet, description))

    def _overrides(self, full: Any, key: str | None) -> Overrides:
        """Return what the user, or the rig, states that a stream does not say itself."""
        if self.rig is None or key is None:
            return self.overrides
        from physioemo.acquisition.lsl import raw_fields
        from physioemo.acquisition.rig_network import rig_overrides

        return rig_overrides({key: raw_fields(full)}, self.rig)

    def _tap_of(self, name: str, source_id: str) -> _Tap | None:
        for tap in list(self.taps):
            if (tap.channel.description.name, tap.channel.description.source_id) == (
                name,
                source_id,
            ):
                return tap
        return None

    def _measure_clocks(self) -> None:
        while not self._stop.is_set():
            for tap in list(self.taps):
                if self._stop.is_set() or tap.channel.health.failure:
                    continue
                with contextlib.suppress(Exception):  # an inlet that is closed meanwhile
                    triple = clock_offset(tap.inlet, timeout_seconds=1.0)
                    if triple is not None:
                        tap.offset_seconds = float(triple[1])
                        tap.channel.health.clock_offset_seconds = float(triple[1])
            self._stop.wait(_CLOCK_SECONDS)


def _unforeseen(error: Exception) -> str:
    return f"it cannot be read ({type(error).__name__}: {error})"


def _same(one: StreamDescription, other: StreamDescription) -> bool:
    if not one.source_id:
        return one.uid == other.uid
    return (one.name, one.source_id) == (other.name, other.source_id)


def _age(tap: _Tap) -> float | None:
    return tap.channel.health.age(time.monotonic())
