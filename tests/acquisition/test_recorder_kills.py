"""A recorder that is killed or stopped, and producers that come and go, over real LSL."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from physioemo.acquisition.selftest_errors import Life, PulsedStream
from physioemo.acquisition.selftest_sync import run_selftest
from physioemo.acquisition.skewed_clock import ClockSkew
from physioemo.store import open_recording
from tests.lsl import holdups, producing, wait_for_journal
from tests.streams import eeg_description

pytestmark = [pytest.mark.lsl, pytest.mark.slow]

N_KILLS, AT_ONCE = int(os.environ.get("PHYSIOEMO_TEST_KILLS", "20")), 5
GAZE = eeg_description(2, 120.0, name="Gaze", stype="Gaze", source_id="test-gaze")


def counted(n_channels):
    """Return a signal whose value is the number of the sample."""
    return lambda index: np.tile(index[:, None], n_channels).astype(np.float32)


def start(out, *options):
    command = [sys.executable, "-m", "physioemo", "record", str(out), "--find-seconds", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, *options], **quiet)


def kill_at_random(out, moment, killed):
    import pylsl

    recorder = start(out)
    wait_for_journal(out, 4000)
    time.sleep(moment)
    killed[out] = pylsl.local_clock()
    recorder.kill()
    recorder.wait()


def test_twenty_kills_at_random_moments_each_lose_half_a_second_at_most(tmp_path):
    moments = [random.Random(i).uniform(0.0, 3.0) for i in range(N_KILLS)]
    killed = {}
    brain, gaze = producing(eeg_description(), counted(4)), producing(GAZE, counted(2))
    with brain, gaze, holdups() as held:
        for first in range(0, N_KILLS, AT_ONCE):
            threads = [
                threading.Thread(
                    target=kill_at_random, args=(tmp_path / f"r{i}", moments[i], killed)
                )
                for i in range(first, first + AT_ONCE)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert len(killed) == N_KILLS
    for out, when in killed.items():
        recording = open_recording(out)
        assert "cut off" in recording.notes[0]
        for name, rate in (("EEG", 250.0), ("Gaze", 120.0)):
            assert_whole(recording[name], rate)
            assert when - recording[name]["raw_time"].values[-1] <= 0.5 + held.longest_seconds


def assert_whole(stream, rate):
    """No sample is missing, doubled, or made up of zeros."""
    values, time_ = stream["signal"].values, stream["raw_time"].values
    assert len(values) == len(time_) == len(stream["time"]) > 0
    assert (np.diff(values[:, 0]) == 1).all() and (values == values[:, :1]).all()
    assert np.allclose(np.diff(time_), 1 / rate, atol=1e-6)


@pytest.mark.skipif(os.name == "nt", reason="a program cannot be stopped for a while there")
def test_a_recorder_that_stands_still_for_ten_seconds_loses_nothing(tmp_path):
    with producing(eeg_description(), counted(4)), producing(GAZE, counted(2)):
        recorder = start(tmp_path / "r", "--duration", "14")
        wait_for_journal(tmp_path / "r", 4000)
        time.sleep(1.0)
        recorder.send_signal(signal.SIGSTOP)
        time.sleep(10.0)
        recorder.send_signal(signal.SIGCONT)
        assert recorder.wait(180) == 0
    recording = open_recording(tmp_path / "r")
    for name, rate in (("EEG", 250.0), ("Gaze", 120.0)):
        assert_whole(recording[name], rate)
        assert len(recording[name]["time"]) > 12 * rate


def test_every_return_of_a_killed_producer_is_recorded(tmp_path):
    right = ClockSkew()
    lives = [Life(a, b, right) for a, b in ((0, 5), (6, 11.5), (12.5, 18), (19, 25))]
    streams = (
        PulsedStream("EEG", "EEG", 250.0, 4, tuple(lives)),
        PulsedStream("Markers", "Markers", 0.0, 1, (Life(0, 25, right),)),
    )
    result = run_selftest(tmp_path, seconds=25.0, streams=streams, skewed=False)
    recording = open_recording(tmp_path / "recording")
    assert result.problems == ()
    stream = recording["EEG"]
    first = stream.attrs["reconnected_samples"]
    assert len(first) == 3 and len(recording.quality()["EEG"]["gaps"]) == 3
    steps = np.diff(stream["time"].values)
    assert (np.flatnonzero(steps > 0.1) + 1).tolist() == first and steps.min() > 0
    assert recording["Markers"].sizes["time"] == 26
