"""Replay: any recording as live LSL streams, with its own rates, names and markers."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace as replaced
from itertools import islice

import numpy as np

from physioemo.acquisition.faults import Fault
from physioemo.acquisition.publish import Block
from physioemo.acquisition.publish_faults import publish_with_faults
from physioemo.description import StreamDescription
from physioemo.errors import CallError
from physioemo.recording import Recording
from physioemo.stream import describe_stream
from physioemo.table_streams import table_streams

__all__ = ["replay", "replay_blocks", "replay_streams"]

_BLOCK_SECONDS = 1.0


def replay(
    recording: Recording,
    *,
    speed: float = 1.0,
    duration_seconds: float | None = None,
    wait_seconds: float = 0.0,
    faults: Sequence[Fault] = (),
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> int:
    """Publish every stream of a recording; return the number of samples pushed.

    Parameters
    ----------
    recording : Recording
        What to replay.
    speed : float
        How many times faster than real time; stamps keep the recording's own rates.
    duration_seconds : float, optional
        Stop after this much of the recording (whole seconds are published).
    wait_seconds : float
        Wait at most this long until somebody listens to every stream.
    faults : sequence of Fault
        What to plant; see :mod:`physioemo.acquisition.faults`.
    seed : int
        Same seed, same faults.
    should_stop, on_progress : callable
        See :func:`physioemo.acquisition.publish.publish`.

    Raises
    ------
    CallError
        If the speed is not positive, or a fault is for a stream that is not there.
    """
    if not speed > 0:
        raise CallError(f"found a speed of {speed}, expected a positive number such as 1 or 10")
    streams = replay_streams(recording)
    n_blocks = None if duration_seconds is None else math.ceil(duration_seconds / _BLOCK_SECONDS)
    return publish_with_faults(
        islice(replay_blocks(streams), n_blocks),
        {key: description for key, (description, _, _) in streams.items()},
        faults,
        seed=seed,
        speed=speed,
        simulated=recording.simulated,
        wait_seconds=wait_seconds,
        should_stop=should_stop,
        on_progress=on_progress,
    )


Streams = Mapping[str, tuple[StreamDescription, np.ndarray, np.ndarray]]


def replay_streams(recording: Recording) -> Streams:
    """Return description, samples (time, channel) and times of each stream to publish.

    Events, trials and ratings that no stream of the recording holds become streams, too.
    """
    streams = {}
    for key in recording.streams:
        description = recording.description(key)
        stream = recording[key]
        origin = description.source_id or description.name
        description = _as_replay(description, f"replay-{origin}")
        streams[key] = (description, stream["signal"].values, stream["time"].values)
    for key, stream in table_streams(recording).items():
        description = _as_replay(describe_stream(stream), f"replay-{key}")
        streams[key] = (description, stream["signal"].values, stream["time"].values)
    return streams


def _as_replay(description: StreamDescription, source_id: str) -> StreamDescription:
    return replaced(description, source_id=source_id, uid="", hostname="")


def replay_blocks(streams: Streams) -> Iterator[Block]:
    """Yield all streams in stretches of a second."""
    order = {k: np.maximum.accumulate(t) for k, (_, _, t) in streams.items() if len(t)}
    if not order:
        return
    start = min(float(t[0]) for t in order.values())
    stop = max(float(t[-1]) for t in order.values())
    done = dict.fromkeys(order, 0)
    n_blocks = int((stop - start) / _BLOCK_SECONDS) + 1
    for i in range(n_blocks):
        edge = start + (i + 1) * _BLOCK_SECONDS
        parts = {}
        for key, times in order.items():
            _, signal, stamps = streams[key]
            cut = int(np.searchsorted(times, edge))
            if cut > done[key]:
                parts[key] = (signal[done[key] : cut], stamps[done[key] : cut])
                done[key] = cut
        yield Block(edge - _BLOCK_SECONDS, edge, parts)
