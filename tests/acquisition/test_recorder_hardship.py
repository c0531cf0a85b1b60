"""What a laboratory does to a recorder, over real LSL: nothing is lost or told wrongly."""

import os
import secrets
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
from physioemo.acquisition.streams import rate_problem
from physioemo.errors import DiskFullError
from physioemo.store import open_recording
from tests.conftest import ROOT
from tests.lsl import producing
from tests.streams import eeg_description

pytestmark = pytest.mark.lsl


def counted(n_channels):
    return lambda index: np.tile(index[:, None], n_channels).astype(np.float32)


def start(out, **pipes):
    command = [sys.executable, "-m", "physioemo", "record", str(out), "--find-seconds", "1"]
    return subprocess.Popen(command, cwd=ROOT, text=True, **pipes)


def journal_bytes(out):
    return sum(f.stat().st_size for f in (out / "journal").glob("*.journal"))


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe's size cannot be set there")
def test_a_screen_that_takes_no_more_does_not_hold_up_the_disk(tmp_path):
    import pylsl

    reader, screen = os.pipe()
    os.set_blocking(screen, False)
    while True:
        try:
            os.write(screen, b" " * 512)
        except BlockingIOError:
            break
    os.set_blocking(screen, True)
    with producing(eeg_description(), counted(4)):
        recorder = start(tmp_path / "r", stdout=subprocess.DEVNULL, stderr=screen)
        wait_for(lambda: journal_bytes(tmp_path / "r") > 20_000)
        killed = pylsl.local_clock()
        recorder.kill()
        recorder.wait()
    for file in (reader, screen):
        os.close(file)
    assert killed - open_recording(tmp_path / "r")["EEG"]["raw_time"].values[-1] <= 0.5


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX signals")
def test_a_terminal_that_is_closed_stops_and_seals(tmp_path):
    with producing(eeg_description(), counted(4)):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # A suite that nohup started would hand on that a closed terminal is to be ignored.
        inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            recorder = start(tmp_path / "r", **pipes)
        finally:
            signal.signal(signal.SIGHUP, inherited)
        wait_for(lambda: journal_bytes(tmp_path / "r") > 20_000)
        recorder.stdout.close()
        recorder.stderr.close()
        recorder.send_signal(signal.SIGHUP)
        recorder.wait(60)
    recording = open_recording(tmp_path / "r")
    assert recording.sealed and recording.notes == ()


def test_what_is_being_recorded_is_neither_sealed_nor_replaced_by_others(tmp_path, typed):
    out, done = tmp_path / "r", []
    with producing(eeg_description(), counted(4)):
        recorder = threading.Thread(
            target=lambda: done.append(record(out, duration_seconds=5, find_seconds=1.0))
        )
        recorder.start()
        wait_for(lambda: journal_bytes(out) > 10_000)
        for command in (("recover", out), ("record", out, "--overwrite", "--duration", 1)):
            failed = typed(*command, check=1)
            assert "is being recorded or sealed at this moment, expected nobody" in failed.stderr
        recorder.join()
    signal_ = done[0].recording["EEG"]["signal"].values[:, 0]
    assert len(signal_) > 4 * 250 and (np.diff(signal_) == 1).all()


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"ch_names": ("F3", "F4", "P3", "P4")}, "'F3', before 'E0'"),
        ({"ch_names": ("A", "B"), "units": ("uV",) * 2, "ch_types": ()}, "2 channels, before 4"),
    ],
    ids=["liblsl connects again", "liblsl refuses it"],
)
def test_a_stream_that_comes_back_changed_is_a_stream_of_its_own(tmp_path, change, difference):
    was = eeg_description(source_id=f'it\'s "that" {secrets.token_hex(4)}')
    now = replace(was, **change)
    seen, done = [0], []
    recorder = threading.Thread(
        target=lambda: done.append(
            record(
                tmp_path / "r",
                stop_when_idle_seconds=6.0,
                find_seconds=1.5,
                on_status=lambda statuses: seen.append(statuses[0].n_samples),
            )
        )
    )
    with producing(was, counted(4)):
        recorder.start()
        wait_for(lambda: seen[-1] > 250)
    before = seen[-1]
    time.sleep(0.5)
    with producing(now, counted(len(now.ch_names))):
        wait_for(lambda: seen[-1] > before + 300)
    recorder.join(60)
    first, second = done[0].recording["EEG"], done[0].recording["EEG-2"]
    assert first["channel"].values.tolist() == list(was.ch_names)
    assert second["channel"].values.tolist() == list(now.ch_names)
    for stream in (first, second):
        assert len(stream.time) > 250 and (np.diff(stream["signal"].values[:, 0]) == 1).all()
    assert any(f"came back changed ({difference}), expected" in p for p in done[0].problems)


def test_samples_without_a_stamp_and_a_name_without_end_can_be_sealed(tmp_path):
    description = eeg_description(name="\u7814\u7a76" * 60, source_id="no-stamps")
    outlet, stop = make_outlet(description), threading.Event()

    def push():
        while not stop.wait(0.004):
            outlet.push_sample([1.0] * 4, timestamp=float("nan"))

    producer = threading.Thread(target=push)
    producer.start()
    summary = record(tmp_path / "r", duration_seconds=1, find_seconds=1.0)
    stop.set()
    producer.join()
    (key,) = summary.recording.streams
    n = summary.recording[key].sizes["time"]
    assert len(key.encode()) < 255 and n > 100
    assert summary.recording[key]["time"].values[-1] == pytest.approx(now(), abs=3)
    assert any(f"found {n} samples whose time stamp is no number" in p for p in summary.problems)


def now():
    import pylsl

    return pylsl.local_clock()


def test_stamps_that_stand_still_or_run_backwards_are_told():
    for stamps in (np.ones(100), -np.arange(100) / 250.0):
        (problem,) = rate_problem("EEG", 250.0, stamps)
        assert "stand still or run backwards, expected 250 per second" in problem


def test_a_clock_that_never_answers_is_told_as_unsynced(tmp_path, monkeypatch):
    monkeypatch.setattr("physioemo.acquisition.clock_watch.clock_offset", lambda *_, **__: None)
    monkeypatch.setattr("physioemo.acquisition.recorder._UNSYNCED_SECONDS", 0.5)
    with producing(eeg_description(), counted(4)):
        summary = record(tmp_path / "r", duration_seconds=1.5, find_seconds=1.0)
    (problem,) = summary.problems
    assert "found no measurement of its clock" in problem and "it is unsynced" in problem


def test_a_disk_that_fills_while_the_recording_ends_is_told(tmp_path, monkeypatch):
    from physioemo.acquisition.recorder_threads import StreamTap
    from physioemo.journal import Journal

    flush, end = Journal.flush, StreamTap.end
    ending = threading.Event()

    def full_once(journal):
        if ending.is_set() and threading.current_thread() is not threading.main_thread():
            ending.clear()
            raise DiskFullError("found that the disk is full")
        flush(journal)

    monkeypatch.setattr(Journal, "flush", full_once)
    monkeypatch.setattr(StreamTap, "end", lambda tap: (ending.set(), time.sleep(0.5), end(tap)))
    with (
        producing(eeg_description(), counted(4)),
        pytest.raises(DiskFullError, match="the disk is full"),
    ):
        record(tmp_path / "r", duration_seconds=1, find_seconds=1.0)
    assert "ended early: found that the disk is full" in open_recording(tmp_path / "r").notes[0]
