"""Running producers and the recorder side by side over real LSL."""

import subprocess
import sys
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
                wait_seconds=90,
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


def wait_until(ask, seconds=90.0):
    """Return the first answer that is true; a busy machine may take its time."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.02)
    return answer


def wait_for_journal(out, n_bytes=20_000):
    """Wait until a recorder has written so much."""

    def is_long():
        return sum(f.stat().st_size for f in (out / "journal").glob("*.journal")) > n_bytes

    wait_until(is_long)


_SLEEPER = """
import sys, threading, time
stop, longest, total = threading.Event(), 0.0, 0.0
threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
while not stop.is_set():
    began = time.monotonic()
    time.sleep(0.005)
    late = time.monotonic() - began - 0.005
    if late > 0.005:
        longest, total = max(longest, late), total + late
print(longest, total)
"""


class HeldUp:
    """How long a busy machine has held up a process that does nothing but sleep.

    What is held up for less than 5 ms is not counted: so much a calm machine does as well.
    """

    longest_seconds = 0.0
    total_seconds = 0.0


@contextmanager
def holdups():
    """Measure what the machine holds up during the block; it is known when the block has ended."""
    found, pipe = HeldUp(), subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _SLEEPER], stdin=pipe, stdout=pipe) as sleeper:
        try:
            yield found
        finally:
            said, _ = sleeper.communicate()
            found.longest_seconds, found.total_seconds = map(float, said.split())


@contextmanager
def running(run):
    """Call ``run(stop)`` in a thread, and set `stop` when the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def producing(description, make_signal, *, chunk_seconds=0.05, sfreq=None):
    """Publish a stream from a thread until the block ends."""
    import pylsl

    rate = sfreq or description.sfreq

    def run(stop):
        outlet = make_outlet(description)
        base, sent = pylsl.local_clock(), 0
        while not stop.is_set():
            due = int((pylsl.local_clock() - base) * rate)
            if due > sent:
                index = np.arange(sent, due)
                push(outlet, make_signal(index), base + index / rate)
                sent = due
            time.sleep(chunk_seconds)

    with running(run):
        yield
