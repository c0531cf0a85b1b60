"""Pushing signals into LSL at the pace of their own time stamps."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import make_outlet, push
from physioemo.description import StreamDescription

__all__ = ["Block", "publish"]

CHUNK_SECONDS = 0.02
"""Samples are pushed this often in real time, as amplifiers do."""

_GRACE_SECONDS = 2.0
_SETTLE_SECONDS = 1.0
_FLUSH_SECONDS = 0.3
_NOTHING = np.zeros(0)


@dataclass(frozen=True)
class Block:
    """A stretch of several streams.

    Parameters
    ----------
    start_seconds, stop_seconds : float
        The stretch on the publisher's own time axis.
    parts : mapping of str to (signal, time)
        Samples (time, channel) and times (time,) of each stream, by outlet key.
    due : mapping of str to ndarray
        When each sample is sent, on the same axis and not decreasing; when it was, if not given.
    """

    start_seconds: float
    stop_seconds: float
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]]
    due: Mapping[str, np.ndarray] = field(default_factory=dict)


def publish(
    blocks: Iterable[Block],
    descriptions: Mapping[str, StreamDescription],
    *,
    speed: float = 1.0,
    simulated: bool = False,
    wait_seconds: float = 0.0,
    faults: Mapping[str, Sequence[str]] = MappingProxyType({}),
    outages: Mapping[str, Sequence[tuple[float, float]]] = MappingProxyType({}),
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> int:
    """Publish blocks as LSL streams; return the number of samples that were pushed.

    Stamps are the start of the publication plus the block's own time, whatever the speed: a
    faster replay keeps the recording's own rates.

    Parameters
    ----------
    blocks : iterable of Block
        In order of time.
    descriptions : mapping of str to StreamDescription
        One outlet is opened for each.
    speed : float
        How many times faster than real time.
    simulated : bool
        Mark all streams as simulated.
    wait_seconds : float
        Wait at most this long until somebody listens to every stream.
    faults : mapping of str to sequence of str
        What the header of each stream says is wrong with it on purpose.
    outages : mapping of str to sequence of (float, float)
        From when to when each stream is off the network, in seconds since the beginning.
    should_stop : callable
        Asked before every push.
    on_progress : callable
        Told the published time in seconds after each block.
    """
    import pylsl

    def outlet_of(key: str) -> Any:
        description = descriptions[key]
        return make_outlet(description, simulated=simulated, faults=faults.get(key, ()))

    outlets = {key: outlet_of(key) for key in descriptions}
    _wait_for_consumers(outlets, wait_seconds, should_stop)
    n_pushed, began, base, first = 0, time.perf_counter(), pylsl.local_clock(), None
    for block in blocks:
        first = block.start_seconds if first is None else first
        for at, key, signal, stamps in _chunks(block, CHUNK_SECONDS * max(1.0, speed)):
            _sleep_until(began + (at - first) / speed, should_stop)
            if should_stop():
                return n_pushed
            for gone in outages:
                _switch(outlets, gone, at - first, outages[gone], outlet_of)
            if key in outlets:
                push(outlets[key], signal, base + (stamps - first))
                n_pushed += len(signal)
        on_progress(block.stop_seconds - first)
    if any(outlet.have_consumers() for outlet in outlets.values()):
        # liblsl drops what is still in its send buffers when an outlet goes.
        _sleep_until(time.perf_counter() + _GRACE_SECONDS, should_stop)
    return n_pushed


def _switch(
    outlets: dict[str, Any],
    key: str,
    now: float,
    outages: Sequence[tuple[float, float]],
    outlet_of: Callable[[str], Any],
) -> None:
    """Take a stream off the network, or put it back, as its outages say."""
    is_gone = any(start <= now < stop for start, stop in outages)
    if is_gone and key in outlets:
        # What the outlet still has in its buffers is sent while a reference lives.
        time.sleep(_FLUSH_SECONDS)
        del outlets[key]
    elif not is_gone and key not in outlets:
        outlets[key] = outlet_of(key)


def _wait_for_consumers(
    outlets: Mapping[str, Any], seconds: float, should_stop: Callable[[], bool]
) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not should_stop():
        if all(outlet.have_consumers() for outlet in outlets.values()):
            # A second listener may still be on its way to the same streams.
            time.sleep(_SETTLE_SECONDS)
            return
        time.sleep(0.05)


def _chunks(
    block: Block, chunk_seconds: float
) -> Iterator[tuple[float, str, np.ndarray, np.ndarray]]:
    """Cut a block into short chunks; each is due when its last sample has been taken.

    After each comes one of no stream, so that time goes on where nothing is sent.
    """
    edges = np.arange(block.start_seconds, block.stop_seconds, chunk_seconds)[1:]
    edges = np.append(edges, block.stop_seconds)
    # Stamps of some devices step backwards; the running maximum keeps the order of samples.
    cuts = {
        key: np.searchsorted(np.maximum.accumulate(block.due.get(key, stamps)), edges)
        if len(stamps)
        else None
        for key, (_, stamps) in block.parts.items()
    }
    done = dict.fromkeys(block.parts, 0)
    for i, edge in enumerate(edges):
        for key, (signal, stamps) in block.parts.items():
            cut = cuts[key]
            if cut is None:
                continue
            stop = len(stamps) if i == len(edges) - 1 else int(cut[i])
            if stop > done[key]:
                part = slice(done[key], stop)
                done[key] = stop
                yield float(edge), key, signal[part], stamps[part]
        yield float(edge), "", _NOTHING, _NOTHING


def _sleep_until(due: float, should_stop: Callable[[], bool]) -> None:
    while (left := due - time.perf_counter()) > 0 and not should_stop():
        time.sleep(min(left, 0.1))
