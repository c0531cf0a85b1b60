"""Running producers and the recorder side by side over real LSL."""

import threading
import time
from contextlib import contextmanager

import numpy as np

from physioemo.acquisition.lsl import make_outlet, push
from physioemo.acquisition.recorder import record
from physioemo.acquisition.replay import replay


def record_replay(
    recording,
    out,
    *,
    speed=1.0,
    duration_seconds=None,
    idle_seconds=1.5,
    faults=(),
    seed=0,
    **options,
):
    """Replay a recording over LSL in a thread, record it, and return the summary."""
    failures = []

    def play():
        try:
            replay(
                recording,
                speed=speed,
                duration_seconds=duration_seconds,
                wait_seconds=30,
                faults=faults,
                seed=seed,
            )
        except BaseException as error:
            failures.append(error)

    player = threading.Thread(target=play)
    player.start()
    try:
        summary = record(
            out,
            stop_when_idle_seconds=idle_seconds,
            find_seconds=3.0,
            attrs={"subject": "t"},
            **options,
        )
    finally:
        player.join(60)
    assert not failures
    return summary


def assert_same_streams(source, recorded):
    """Every sample is the same, and time stamps agree within 1 ms relative to each other."""
    starts = {}
    for key in source.streams:
        name = source.description(key).name
        sent, got = source[key], recorded[name] if len(source[key].time) else None
        if got is None:
            continue
        a, b = sent["signal"].values, got["signal"].values
        assert a.shape == b.shape, f"{name}: {a.shape} sent, {b.shape} recorded"
        same = (
            a.astype(str) == b.astype(str)
            if a.dtype.kind in "OUT"
            else (a == b) | (a != a) & (b != b)
        )
        assert same.all(), name
        shift = got["time"].values - sent["time"].values
        assert np.ptp(shift) < 1e-3, name
        starts[name] = shift.mean()
    assert np.ptp(list(starts.values())) < 1e-3


@contextmanager
def producing(description, make_signal, *, chunk_seconds=0.05, sfreq=None):
    """Publish a stream from a thread until the block ends."""
    import pylsl

    stop = threading.Event()
    rate = sfreq or description.sfreq

    def run():
        outlet = make_outlet(description)
        base, sent = pylsl.local_clock(), 0
        while not stop.is_set():
            due = int((pylsl.local_clock() - base) * rate)
            if due > sent:
                index = np.arange(sent, due)
                push(outlet, make_signal(index), base + index / rate)
                sent = due
            time.sleep(chunk_seconds)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
