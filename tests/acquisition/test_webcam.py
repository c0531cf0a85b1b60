"""A camera's pictures and the stream that says when each was taken belong together."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from physioemo.acquisition.recorder import record
from physioemo.acquisition.webcam import record_webcam
from physioemo.acquisition.webcam_source import (
    TEST_PATTERN,
    _camera,
    open_camera,
    read_pattern_number,
)
from physioemo.errors import CallError, RecordingExistsError, StreamError
from physioemo.media import import_av, iterate_frames, sha256_of
from tests.conftest import ROOT

pytestmark = pytest.mark.lsl

PATTERN = {"device": TEST_PATTERN, "size": (192, 96), "rate_hz": 30.0}


def _read(path):
    return [(f.index, f.seconds, read_pattern_number(f.to_rgb())) for f in iterate_frames(path)]


def test_each_sample_names_the_picture_that_was_taken_then(tmp_path):
    out, done = tmp_path / "face.mkv", []
    camera = threading.Thread(
        target=lambda: done.append(
            record_webcam(out, **PATTERN, duration_seconds=4.0, wait_seconds=20)
        )
    )
    camera.start()
    summary = record(
        tmp_path / "r", predicates=["starts-with(name,'PhysioEmo-Webcam')"], find_seconds=10,
        stop_when_idle_seconds=2.0,
    )  # fmt: skip
    camera.join(30)
    frames = summary.recording["PhysioEmo-Webcam"]
    index, pts, device = frames["signal"].values.T
    in_file = _read(out)
    assert len(index) == done[0].n_frames == len(in_file) > 60
    numbers = np.array([n for _, _, n in in_file])
    assert (numbers - numbers[0]).tolist() == index.tolist() == list(range(len(index)))
    assert pts == pytest.approx([s for _, s, _ in in_file], abs=1e-9)
    # The file's clock is that of the stamps, rounded to its milliseconds.
    stamps = frames["raw_time"].values
    apart = np.abs(pts - (stamps - stamps[0]))
    assert np.median(apart) < 1e-3 and apart.max() < 3e-2  # busy computers stamp late
    assert np.diff(device) == pytest.approx(1 / 30)
    texts = [json.loads(t) for t in summary.recording.events["description"].values]
    assert [t["event"] for t in texts] == ["video_start", "video_stop"]
    assert texts[1]["sha256"] == sha256_of(out) == done[0].sha256
    assert "<simulated>true" in frames.attrs["xml"] and summary.recording.simulated
    assert "<can_drop_samples>true" in frames.attrs["xml"]


def test_what_was_filmed_before_kill_minus_nine_can_be_read(tmp_path):
    out = tmp_path / "face.mkv"
    arguments = ["webcam", "--device", TEST_PATTERN, "--size", "192x96", "--out", out]
    process = subprocess.Popen(
        [sys.executable, "-m", "physioemo", *map(str, arguments)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    told = 0
    while told < 90:
        told = int(process.stdout.readline().split()[0])
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    numbers = [n for _, _, n in _read(out)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > told - 45


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits the size of files as POSIX does")
def test_a_full_disk_is_told_at_once_and_what_was_written_can_be_read(tmp_path):
    out = tmp_path / "face.mkv"
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "from physioemo.cli import main\nmain(sys.argv[1:])\n"
    )
    arguments = ["webcam", "--device", TEST_PATTERN, "--out", str(out)]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60,
        cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 1 and time.monotonic() - began < 30
    assert f"found that {out} cannot be written" in done.stderr
    assert "what was written before can be read" in done.stderr
    numbers = [n for _, _, n in _read(out)]
    assert len(numbers) > 10 and numbers == list(range(1, len(numbers) + 1))


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "face.mkv").write_text("precious")
    with pytest.raises(RecordingExistsError, match="expected nothing there; choose another --out"):
        record_webcam(tmp_path / "face.mkv", **PATTERN)
    assert (tmp_path / "face.mkv").read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("face.mp4", {}, r"expected one that ends in \.mkv"),
        ("face.mkv", {"size": (191, 96)}, "expected even numbers of pixels"),
        ("face.mkv", {"rate_hz": 0}, "expected more than 0"),
        ("face.mkv", {"size": (32, 16)}, "expected at least 64x32"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_leaves_nothing(tmp_path, name, change, message):
    with pytest.raises(CallError, match=message):
        record_webcam(tmp_path / name, **{**PATTERN, **change})
    assert not list(tmp_path.iterdir())


def test_a_camera_that_is_not_there_is_told_with_those_that_are(tmp_path):
    with pytest.raises(StreamError, match="the camera '97' cannot be opened.*this computer's"):
        record_webcam(tmp_path / "face.mkv", device="97")
    assert not list(tmp_path.iterdir())


def test_a_camera_that_is_pulled_out_is_told_and_its_pictures_are_kept(tmp_path, monkeypatch):
    pictures = itertools.islice(open_camera(TEST_PATTERN, (192, 96), 30.0), 20)

    def pulled_out(*_):
        yield from pictures
        raise StreamError("found that the camera '0' gives no more pictures")

    monkeypatch.setattr("physioemo.acquisition.webcam.open_camera", pulled_out)
    with pytest.raises(StreamError, match="gives no more pictures"):
        record_webcam(tmp_path / "face.mkv", size=(192, 96))
    assert json.loads((tmp_path / "face.json").read_text())["n_frames"] == 19
    assert len(_read(tmp_path / "face.mkv")) == 19


def test_a_device_that_ends_by_itself_is_no_end_that_was_asked_for(tmp_path):
    record_webcam(tmp_path / "face.mkv", **PATTERN, duration_seconds=0.5)
    with pytest.raises(StreamError, match="gives no more pictures .it ended., expected it until"):
        list(_camera(import_av().open(str(tmp_path / "face.mkv")), "0"))


def test_the_recording_of_a_camera_opens_again(tmp_path, physioemo):
    done = physioemo(
        "webcam", "--device", TEST_PATTERN, "--size", "128x64", "--duration", 1,
        "--out", tmp_path / "a b ü.mkv", "--json", check=0,
    )  # fmt: skip
    assert json.loads(done.stdout)["n_frames"] == len(_read(tmp_path / "a b ü.mkv"))
    assert "SIMULATED" in done.stderr
