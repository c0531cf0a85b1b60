"""Everything that can go wrong while recording, over real LSL."""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from physioemo.acquisition.lsl import make_outlet
from physioemo.acquisition.recorder import record
from physioemo.acquisition.streams import list_streams
from physioemo.errors import (
    AmbiguousStreamError,
    NoStreamError,
    StoreError,
    StreamDescriptionError,
)
from physioemo.overrides import Overrides
from physioemo.store import open_recording, seal
from tests.lsl import holdups, producing, wait_for_journal, wait_until
from tests.streams import eeg_description

pytestmark = pytest.mark.lsl


def noise(n_channels):
    return lambda index: np.tile(np.sin(index / 7.0)[:, None], n_channels).astype(np.float32)


def test_no_stream_is_an_error_and_leaves_nothing_behind(tmp_path):
    with pytest.raises(NoStreamError, match="found no LSL stream within 0.5 s"):
        record(tmp_path / "r", find_seconds=0.5)
    assert not (tmp_path / "r").exists()


def test_a_missing_stream_is_named_beside_those_that_are_there(tmp_path):
    with (
        producing(eeg_description(), noise(4)),
        pytest.raises(NoStreamError, match="found the streams EEG .*expected one that fits"),
    ):
        record(tmp_path / "r", predicates=["name='EGG'"], find_seconds=1.0)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("names", "stream 'bare': found no channel names"),
        ("units", "stream 'bare': found 0 units for 2 channels"),
        ("rate", r"stream 'bare': found a nominal rate of 0 Hz \(irregular\) for type 'EEG'"),
    ],
)
def test_an_undescribed_stream_is_refused_until_its_facts_are_stated(tmp_path, missing, message):
    import pylsl

    info = pylsl.StreamInfo("bare", "EEG", 2, 0 if missing == "rate" else 100, "float32", "bare-1")
    if missing != "names":
        info.set_channel_labels(["Fp1", "Fp2"])
    if missing != "units":
        info.set_channel_units(["microvolts", "microvolts"])
    outlet = pylsl.StreamOutlet(info)
    with pytest.raises(StreamDescriptionError, match=message):
        record(tmp_path / "r", find_seconds=1.0)
    assert not (tmp_path / "r").exists()
    stated = Overrides.parse(["bare=Fp1,Fp2"], ["bare=uV"], ["bare=100"])
    summary = record(tmp_path / "r", overrides=stated, duration_seconds=0.5, find_seconds=1.0)
    assert summary.recording.description("bare").units == ("uV", "uV")
    del outlet


def test_two_streams_of_one_name_and_source_are_refused(tmp_path):
    first, second = make_outlet(eeg_description()), make_outlet(eeg_description())
    with pytest.raises(AmbiguousStreamError, match="found 2 streams with the name 'EEG' and the"):
        record(tmp_path / "r", find_seconds=1.0)
    problems = [p for r in list_streams(measure_seconds=0.2) for p in r.problems]
    assert any("another stream has the same name" in p for p in problems)
    del first, second


def test_nan_samples_are_kept_and_told(tmp_path):
    def with_nan(index):
        values = noise(4)(index)
        values[index % 100 == 50, 2] = np.nan
        return values

    with producing(eeg_description(), with_nan):
        summary = record(tmp_path / "r", duration_seconds=2, find_seconds=1.0)
    assert any("NaN or infinite values" in p for p in summary.problems)
    found = summary.recording["eeg"]["signal"].values
    assert 2 <= np.isnan(found[:, 2]).sum() <= 6 and np.isfinite(found[:, [0, 1, 3]]).all()


def test_a_recording_with_problems_is_complete_but_exits_with_one(tmp_path, typed):
    with producing(eeg_description(), lambda i: np.full((len(i), 4), np.nan, np.float32)):
        done = typed("record", tmp_path / "r", "--duration", 1, check=1)
    assert "sealed and checked against the journal" in done.stdout
    assert "! stream 'EEG': found" in done.stderr and "NaN or infinite" in done.stderr
    assert open_recording(tmp_path / "r").sealed


def test_missing_gaze_is_no_problem(tmp_path):
    description = eeg_description(name="gaze", stype="Gaze", units=("normalized",) * 4)
    with producing(description, lambda i: np.full((len(i), 4), np.nan, np.float32)):
        summary = record(tmp_path / "r", duration_seconds=1, find_seconds=1.0)
    assert summary.problems == ()


def test_a_wrong_nominal_rate_is_told_and_nothing_is_lost(tmp_path):
    with producing(eeg_description(sfreq=250.0), noise(4), sfreq=200.0):
        reports = list_streams(measure_seconds=2.0)
        summary = record(tmp_path / "r", duration_seconds=4, find_seconds=1.0)
    assert reports[0].measured_rate_hz == pytest.approx(200, rel=0.02)
    assert "found 200" in reports[0].problems[0]
    assert any("expected the nominal 250 Hz" in p for p in summary.problems)
    assert summary.recording["eeg"].sizes["time"] > 600


def test_an_existing_recording_is_never_overwritten_unasked(tmp_path, typed):
    with producing(eeg_description(), noise(4)):
        record(tmp_path / "r", duration_seconds=0.5, find_seconds=1.0)
        before = open_recording(tmp_path / "r").fingerprint()
        done = typed("record", tmp_path / "r", "--duration", 1, check=2)
        assert "pass --overwrite" in done.stderr
        assert open_recording(tmp_path / "r").fingerprint() == before
        typed("record", tmp_path / "r", "--duration", 1, "--overwrite", check=0)
    assert open_recording(tmp_path / "r").fingerprint() != before


def start_recorder(out, *options, **how):
    command = [sys.executable, "-m", "physioemo", "record", str(out), *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes, **how)


def test_kill_minus_nine_loses_less_than_a_second(tmp_path, typed):
    import pylsl

    out = tmp_path / "r"
    with producing(eeg_description(), noise(4)), holdups() as held:
        recorder = start_recorder(out)
        wait_for_journal(out)
        time.sleep(2.0)
        killed = pylsl.local_clock()
        recorder.kill()
        recorder.communicate()
    recording = open_recording(out)
    assert "cut off: it ends at the last whole frame" in recording.notes[0]
    eeg = recording["eeg"]
    assert killed - eeg["time"].values[-1] < 1.0 + held.longest_seconds
    assert len(eeg["time"]) == len(eeg["signal"]) and np.diff(eeg["time"].values).max() < 0.01
    done = typed("inspect", out, check=0)
    assert "cut off" in done.stdout and "physioemo recover" in done.stdout
    typed("recover", out, check=0)
    sealed = open_recording(out)
    assert sealed.sealed and sealed.fingerprint() == recording.fingerprint()
    assert "cut off" in sealed.notes[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_seals_the_recording(tmp_path, number):
    out = tmp_path / "r"
    # As a shell starts a background command: with Ctrl-C ignored.
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    with producing(eeg_description(), noise(4)):
        recorder = start_recorder(out, **ignoring)
        wait_for_journal(out)
        recorder.send_signal(number)
        stdout, stderr = recorder.communicate(timeout=180)
    assert recorder.returncode == 0, stderr
    assert "sealed and checked" in stdout and "Next: physioemo report" in stdout
    assert open_recording(out).sealed


def test_an_interrupted_sealing_loses_nothing_and_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupted(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("physioemo.acquisition.recorder.seal", interrupted)
    with (
        producing(eeg_description(), noise(4)),
        pytest.raises(StoreError, match="the journal is whole .*run 'physioemo recover"),
    ):
        record(tmp_path / "r", duration_seconds=1, find_seconds=1.0)
    before = open_recording(tmp_path / "r")
    assert not before.sealed and before.notes == ()
    assert seal(tmp_path / "r").fingerprint() == before.fingerprint()


def test_a_stream_that_fails_is_told_and_does_not_stop_the_others(tmp_path, monkeypatch):
    from physioemo.acquisition import recorder_threads

    pull = recorder_threads.pull

    def failing(inlet, *, timeout_seconds):
        if inlet.info().name() == "bad":
            raise RuntimeError("broken packet")
        return pull(inlet, timeout_seconds=timeout_seconds)

    monkeypatch.setattr(recorder_threads, "pull", failing)
    bad = eeg_description(name="bad", source_id="bad-1")
    with producing(eeg_description(), noise(4)), producing(bad, noise(4)):
        summary = record(tmp_path / "r", duration_seconds=1.5, find_seconds=1.5)
    assert any("reading it failed (RuntimeError: broken packet)" in p for p in summary.problems)
    assert summary.recording["EEG"].sizes["time"] > 200


def test_a_sealing_without_space_is_one_sentence(tmp_path, monkeypatch):
    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("physioemo.acquisition.recorder.seal", full)
    with (
        producing(eeg_description(), noise(4)),
        pytest.raises(StoreError, match="the journal is kept, free some space"),
    ):
        record(tmp_path / "r", duration_seconds=1, find_seconds=1.0)
    assert open_recording(tmp_path / "r")["eeg"].sizes["time"] > 100


def full_disk(tmp_path):
    """Return a folder on a disk of 8 MB, or skip."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    return folder


def test_a_full_disk_ends_the_recording_at_once_and_harms_nothing(tmp_path):
    folder = full_disk(tmp_path)
    try:
        description = eeg_description(64, 2000.0)
        with producing(description, noise(64)):
            recorder = start_recorder(folder / "r")
            _, stderr = recorder.communicate(timeout=180)
        assert recorder.returncode == 1
        message = stderr.strip().splitlines()[-1]
        assert "cannot be written to (No space left on device), expected free space" in message
        recording = open_recording(folder / "r")
        assert "ended early" in recording.notes[0]
        time = recording["eeg"]["time"].values
        assert len(time) > 5000 and np.diff(time).max() < 0.01
        shutil.copytree(folder / "r", tmp_path / "rescued")
        assert seal(tmp_path / "rescued")["eeg"].sizes["time"] == len(time)
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def test_a_recorder_without_space_never_starts(tmp_path):
    folder = full_disk(tmp_path)
    try:
        (folder / "filler").write_bytes(b"\0" * (7 << 20))
        with producing(eeg_description(), noise(4)):
            recorder = start_recorder(folder / "r")
            _, stderr = recorder.communicate(timeout=180)
        assert recorder.returncode == 1 and "cannot be written to" in stderr
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with producing(eeg_description(), noise(4)):
        recorder = start_recorder(tmp_path / "file" / "r")
        _, stderr = recorder.communicate(timeout=180)
    assert recorder.returncode == 1
    assert re.search(r"cannot be created \(.+\), expected a writable place", stderr)
    assert len(stderr.strip().splitlines()) == 1


def test_a_producer_that_comes_back_is_recorded_with_its_gap(tmp_path):
    done, counts, stop = {}, [0], threading.Event()

    def run():
        told = {"on_status": lambda s: counts.append(s[0].n_samples), "should_stop": stop.is_set}
        done["s"] = record(tmp_path / "r", duration_seconds=120, find_seconds=1.0, **told)

    recorder = threading.Thread(target=run)
    with producing(eeg_description(), noise(4)):
        recorder.start()
        wait_until(lambda: counts[-1] > 400)
    time.sleep(1.0)
    before = counts[-1]
    with producing(eeg_description(), noise(4)):
        wait_until(lambda: counts[-1] > before + 400)
        stop.set()
        recorder.join()
    quality = done["s"].recording.quality()["EEG"]
    assert len(quality["gaps"]) == 1 and quality["gaps"][0]["duration_seconds"] > 0.9
    assert any("found 1 gap of" in p for p in done["s"].problems)


def test_streams_reports_what_the_network_holds(typed):
    described = replace(eeg_description(), name="Amp")
    with producing(described, noise(4)):
        found = json.loads(typed("streams", "--json", check=0).stdout)
        shown = typed("streams", check=0).stdout
    (amp,) = found
    assert (amp["name"], amp["nominal_rate_hz"], amp["units"]) == ("Amp", 250.0, ["uV"] * 4)
    assert amp["measured_rate_hz"] == pytest.approx(250, rel=0.02)
    assert amp["source_id"] == "test-eeg" and not amp["problems"]
    assert "Amp" in shown and "Next: physioemo record" in shown


def test_streams_without_any_stream_says_what_to_do(physioemo):
    done = physioemo("streams", check=1)
    assert "found no LSL stream" in done.stderr and "physioemo simulate" in done.stderr
