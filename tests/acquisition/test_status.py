"""What the recorder shows while it runs, and says at the end."""

import shutil
import threading
import time
from collections import namedtuple

import numpy as np
import pytest

from physioemo.acquisition import status
from physioemo.acquisition.status import DiskWatch
from physioemo.core_cli import print_quality
from physioemo.screen import Latest
from physioemo.stream import make_stream, stream_quality
from tests.streams import eeg_description

Usage = namedtuple("Usage", "total used free")


def test_the_minutes_that_a_disk_lasts_follow_from_what_is_written(tmp_path, monkeypatch):
    journal = tmp_path / "journal"
    journal.mkdir()
    clock, free = [1000.0], [610_000_000]
    monkeypatch.setattr(status.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free[0]))
    disk = DiskWatch(tmp_path)
    assert disk.text() == ""
    (journal / "000001.journal").write_bytes(bytes(10_000_000))
    clock[0] += 60
    # 10 MB a minute, each written twice once it is sealed; 10 MB are still to be.
    assert disk.minutes_left() == pytest.approx(30.0) and disk.text() == "disk for 30 min"
    free[0] = 10**12
    clock[0] += 1
    assert disk.text() == "disk for 30 min"  # looked at every two seconds
    clock[0] += 3
    assert disk.text().endswith(" h")


def test_a_screen_that_stands_still_or_is_gone_stops_nobody():
    waiting, go, shown = threading.Event(), threading.Event(), []

    def show(number):
        waiting.set()
        go.wait(10)
        shown.append(number)
        if number == 9:
            raise BrokenPipeError

    with Latest(show) as tell:
        for number in range(10):
            tell(number)
            assert number or waiting.wait(10)
        go.set()
        _until(lambda: shown == [0, 9])
        tell(10)
    assert shown == [0, 9]  # the newest, once the screen goes on


def _until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_drift_and_synchronisation_error_are_those_of_the_measured_offsets(rng, capsys):
    n, drift = 200, 40e-6
    at = 5000 + 2.0 * np.arange(n)
    noise = rng.normal(0, 50e-6, n)
    offsets = np.column_stack([at, 3.0 - drift * (at - 5000) + noise, np.full(n, 80e-6)])
    raw = 5000 + np.arange(4000) / 10
    stream = make_stream(
        np.zeros((4000, 4), np.float32),
        eeg_description(4, 10.0),
        raw_time=raw,
        clock_offsets=offsets,
    )
    quality = stream_quality(stream)
    assert quality["clock_drift_ppm"] == pytest.approx(40, abs=1)
    assert quality["sync_error_seconds"] == pytest.approx(1.96 * 50e-6, rel=0.3)
    print_quality({"eeg": quality})
    said = capsys.readouterr().out
    assert "expected" in said and "sync error ms" in said and " 40" in said.replace("39.", " 40.")
    alone = stream_quality(make_stream(np.zeros((5, 4), np.float32), eeg_description()))
    assert np.isnan([alone["clock_drift_ppm"], alone["sync_error_seconds"]]).all()


@pytest.mark.parametrize(("modulus", "name"), [(16, "nSeq"), (10**9, "SampleCounter")])
def test_what_a_device_says_that_it_lost_is_counted(modulus, name, rng):
    kept = np.sort(rng.permutation(1000)[:970])
    kept = np.union1d(kept, [0, 999])  # what is lost at the ends, no counter shows
    twice = np.sort([*kept, 500]) if 500 in kept else kept
    signal = np.column_stack([rng.normal(size=len(twice)), twice % modulus]).astype(np.float32)
    described = eeg_description(2, 250.0, ch_names=("Fz", name), units=("uV", "a.u."))
    assert stream_quality(make_stream(signal, described))["n_lost"] == 1000 - len(kept)
    whole = eeg_description(2, 250.0, ch_names=("Fz", "Cz"))
    assert stream_quality(make_stream(signal, whole))["n_lost"] is None
