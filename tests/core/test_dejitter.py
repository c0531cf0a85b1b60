"""Stamps on lines: right where pyxdf is right, and where one line through everything is wrong."""

import numpy as np
import pytest

from physioemo.dejitter import dejitter, dejitter_recording
from physioemo.store import create_recording
from physioemo.xdf_export import export_xdf
from tests.realdata import muse_run
from tests.streams import eeg_stream, marker_stream

JITTER_SECONDS = 0.002


def jittered(rng, sfreq, *stretches):
    """Return true and jittered times of stretches (begin, seconds)."""
    true = np.concatenate([b + np.arange(round(s * sfreq)) / sfreq for b, s in stretches])
    return true, true + rng.normal(0, JITTER_SECONDS, len(true))


def error_ms(found, true):
    return 1e3 * np.abs(found - true)


@pytest.mark.parametrize("sfreq", [50.0, 250.0, 1000.0])
def test_jitter_goes_and_the_rate_that_a_device_really_has_stays(rng, sfreq):
    true, time = jittered(rng, sfreq * 1.003, (100.0, 120.0))
    before = time.copy()
    found = dejitter(time, sfreq)
    assert error_ms(found, true).max() < 0.2 and np.array_equal(time, before)


@pytest.mark.parametrize("gap_seconds", [0.15, 0.9, 5.0])
def test_no_line_spans_a_gap(rng, gap_seconds):
    true, time = jittered(rng, 250.0, (0.0, 30.0), (30.0 + gap_seconds, 30.0))
    assert error_ms(dejitter(time, 250.0), true).max() < 0.5


def test_one_lost_sample_moves_nothing(rng):
    true, time = jittered(rng, 250.0, (0.0, 40.0), (40.004, 40.0))
    found = error_ms(dejitter(time, 250.0), true)
    assert np.median(found) < 0.3 and found.max() < 4 * 1e3 * JITTER_SECONDS + 1
    even = np.delete(np.arange(20_000) / 250.0, 10_000)
    assert dejitter(even, 250.0) == pytest.approx(even, abs=1e-9)


def test_no_line_spans_a_return(rng):
    # The new program's samples are 1 ms further than the old one's: far less than a gap.
    true, time = jittered(rng, 250.0, (0.0, 60.0), (60.001, 60.0))
    assert error_ms(dejitter(time, 250.0, breaks=(15_000,)), true).max() < 0.2


def test_a_burst_of_late_packets_bends_nothing(rng):
    true, time = jittered(rng, 250.0, (0.0, 60.0))
    time[5000:5050] += 0.05
    late = np.zeros(len(true), bool)
    late[4995:5055] = True
    assert error_ms(dejitter(time, 250.0), true)[~late].max() < 0.5


def test_what_wanders_keeps_its_course(rng):
    true, time = jittered(rng, 250.0, (0.0, 400.0))
    wander = 0.02 * np.sin(2 * np.pi * true / 300)  # a clock in a room that warms up
    found = error_ms(dejitter(time + wander, 250.0), true + wander)
    assert found.max() < 4.5 * 1e3 * JITTER_SECONDS and np.median(found) < 1.5


def test_pyxdf_says_the_same_where_it_is_right_and_not_after_a_gap(rng, tmp_path):
    import pyxdf

    for name, stretches in {"whole": ((9.0, 60.0),), "gap": ((9.0, 30.0), (39.9, 30.0))}.items():
        true, time = jittered(rng, 250.0, *stretches)
        stream = eeg_stream(np.zeros((len(time), 2)), time=time)
        recording = create_recording(tmp_path / f"{name}.zarr", {"EEG": stream})
        export_xdf(recording, tmp_path / f"{name}.xdf")
        (theirs,), _ = pyxdf.load_xdf(tmp_path / f"{name}.xdf", synchronize_clocks=False)
        ours = dejitter_recording(recording)["EEG"]["time"].values
        apart = error_ms(ours, theirs["time_stamps"]).max()
        assert error_ms(ours, true).max() < 0.5
        assert apart < 0.1 if name == "whole" else apart > 400


def test_only_regular_streams_that_lose_nothing_are_dejittered(rng, tmp_path):
    _, time = jittered(rng, 250.0, (0.0, 10.0))
    signal = np.zeros((len(time), 2), np.float32)
    drops = "<info><desc><synchronization><can_drop_samples> true </can_drop_samples>"
    streams = {
        "EEG": eeg_stream(signal, time=time),
        "frames": eeg_stream(signal, time=time, name="frames", xml=drops),
        "markers": marker_stream([(t, "x") for t in time[:9]]),
    }
    recording = create_recording(tmp_path / "r.zarr", streams)
    even = dejitter_recording(recording)
    for key in streams:
        same = np.array_equal(even[key]["time"].values, recording[key]["time"].values)
        assert same == (key != "EEG")
    assert np.array_equal(even["EEG"]["raw_time"].values, recording["EEG"]["raw_time"].values)


def test_stamps_of_a_real_headband_that_run_backwards_run_forwards(shared_data):
    time = muse_run(shared_data("muse-lsl-eeg"), "visual/N170/**/*.csv")["muse"]["time"].values
    assert np.diff(time).min() < -0.01
    found = dejitter(time, 256.0)
    assert np.diff(found).min() > 0
    assert 1 / np.median(np.diff(found)) == pytest.approx(256.0, abs=0.05)
    assert np.abs(np.median(found - time)) < 1e-3
