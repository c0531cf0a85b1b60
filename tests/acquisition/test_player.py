"""The player over real LSL: recorded by our recorder, seen on a real X screen, led as a child."""

import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest

from physioemo.acquisition.player.controlled import PlayerProcess
from physioemo.acquisition.player.marks import FrameMark, read_barcode
from physioemo.acquisition.recorder import record
from physioemo.errors import StreamError
from physioemo.gaze_on_frame import GazeConvention, gaze_on_frame
from physioemo.media import sha256_of
from physioemo.trials import parse_marker
from tests.conftest import ROOT
from tests.lsl import holdups

pytestmark = pytest.mark.lsl

# README: frames of the stretch that is played here
CLIPS = {
    "bigbuckbunny_720p_5s.mp4": ("", 132),
    "no_face.mp4": ("", 95),
    "big_buck_bunny_0_30.webm": ("start_seconds = 10\nstop_seconds = 14\n", 96),
}
ANY = "starts-with(name,'PhysioEmo-')"


@contextmanager
def playing(path, *options, env=None):
    command = [sys.executable, "-m", "physioemo", "play", str(path), "--json", "--wait", "90"]
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [*command, *options], stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=env
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def playlist(folder, *, barcode=False, size=(640, 360)):
    lines = ['title = "Three clips"', "[display]", 'mode = "window"', f"size = {list(size)}"]
    lines += ["latency_seconds = 0.012", f"barcode = {str(barcode).lower()}"]
    lines += ["[continuous]", 'dimensions = ["valence", "arousal"]']
    lines += ["[[item]]", 'kind = "fixation"', "seconds = 0.3"]
    for trial, (name, (stretch, _)) in enumerate(CLIPS.items(), 1):
        file = (folder / name).as_posix()
        lines += ["[[item]]", 'kind = "video"', f'file = "{file}"', f"trial = {trial}"]
        lines += [stretch, "[[item]]", 'kind = "sam"', f"trial = {trial}"]
    lines += ["[[item]]", 'kind = "slider"', "trial = 3", 'dimension = "liking"', 'label = "?"']
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def recorded(shared_data, tmp_path_factory):
    """Return the recording of a session, and what the player said of it."""
    folder = tmp_path_factory.mktemp("player")
    (folder / "a.toml").write_text(playlist(shared_data("video-clips")), "utf-8")
    player = playing(folder / "a.toml", "--headless", "--answers", "simulated:5")
    with player as child, holdups() as held:
        summary = record(
            folder / "session.zarr",
            predicates=[ANY],
            find_seconds=60.0,
            stop_when_idle_seconds=3.0,
            duration_seconds=240.0,
        )
        said, log = child.communicate(timeout=120)
    assert child.returncode == 0, log
    assert not summary.problems or all("before the end" in p for p in summary.problems)
    return summary.recording, json.loads(said) | {"held_up_ms": 1000 * held.total_seconds}


def test_all_frames_of_the_three_clips_are_recorded(recorded):
    recording, said = recorded
    held_up_ms, frames = said["held_up_ms"], recording["PhysioEmo-Frames"]
    table = {str(c): frames["signal"].values[:, i] for i, c in enumerate(frames["channel"].values)}
    shown = [item for item in said["items"] if item["kind"] == "video"]
    for item, (name, (_, n_frames)) in zip(shown, CLIPS.items(), strict=True):
        mine = table["item"] == item["item"]
        assert item["name"] == name and mine.sum() == item["n_shown"]
        assert mine.sum() + table["dropped"][mine].sum() == n_frames
        assert item["n_dropped"] <= n_frames // 10 + held_up_ms / 40
        stamps, pts = frames["time"].values[mine], table["pts"][mine]
        assert np.median(np.abs(np.diff(stamps) - np.diff(pts))) < 0.01
        assert item["clock"] == "sound samples"
    # The picture against the samples that were really handed to the sound device. The dummy one
    # is a sleeping thread, which a busy machine holds up as it does ours.
    drift_ms = np.abs([item["sound_drift_ms"] for item in shown])
    assert np.median(drift_ms) < 1.0 + held_up_ms and drift_ms.max() < 5.0 + held_up_ms
    assert (np.diff(frames["time"].values) > 0).all()


def test_trials_and_ratings_are_tables_by_themselves(recorded):
    recording, said = recorded
    assert recording.trials["stimulus"].values.tolist() == list(CLIPS)
    too_long = recording.trials["duration_seconds"].values - [5.31, 3.95, 4.0]
    assert too_long.min() > -0.3 and too_long.max() < 0.3 + said["held_up_ms"] / 1000
    ratings = recording.ratings
    assert ratings["dimension"].values.tolist() == ["valence", "arousal", "dominance", "liking"]
    answers = [item for item in said["items"] if item["kind"] == "sam"]
    for trial, item in enumerate(answers, 1):
        expected = list(item["values"].values())
        assert ratings["rating"].sel(trial=trial).values[:3].tolist() == expected
    assert np.isfinite(ratings["rating"].values[:, 3]).tolist() == [False, False, True]
    assert (ratings.attrs["scale_minimum"], ratings.attrs["scale_maximum"]) == (1, 9)
    assert recording.simulated
    texts = map(parse_marker, recording.events["description"].values)
    typed = [m for m in texts if m is not None and m["event"] == "rating"]
    assert len(typed) == 10 and all(m["scale"] == [1, 9] for m in typed)
    assert all(0.3 < m["seconds"] < 10 and m["trial"] in (1, 2, 3) for m in typed)


def test_a_continuous_rating_is_a_stream_of_its_own(recorded):
    from physioemo.acquisition.player.answers import SimulatedAnswers
    from physioemo.acquisition.player.continuous import ContinuousRating
    from physioemo.acquisition.player.item import make_item

    recording, said = recorded
    stream, rating = recording["PhysioEmo-Continuous"], ContinuousRating(("valence", "arousal"))
    assert stream.attrs["modality"] == "continuous_rating" and stream.attrs["sfreq"] == 20
    assert stream["channel_unit"].values.tolist() == ["1-9", "1-9"]
    time, values = stream["time"].values, stream["signal"].values
    assert not recording.quality()["PhysioEmo-Continuous"]["gaps"]
    assert np.median(np.diff(time)) == pytest.approx(0.05, abs=2e-3)
    on_screen = np.zeros(len(time), bool)
    trials = [item for item in said["items"] if item["kind"] == "video"]
    for number, item in enumerate(trials, 1):
        inside = (time > item["onset_seconds"]) & (time < item["stop_seconds"])
        on_screen |= inside
        # Missing until it reacts, then nearer and nearer to what it was drawn to aim at.
        assert np.isnan(values[inside & (time < item["onset_seconds"] + 0.5)]).all()
        item = make_item({"kind": "text", "text": "x", "seconds": 1, "trial": number})
        aims = np.array(list(SimulatedAnswers(5).pointing(item, rating).values()))
        last = np.array(5 + (aims - 5) * (1 - np.exp(-3)))
        assert np.abs(values[inside][-2] - aims).max() <= np.abs(last - aims).max() + 0.1
    assert np.isnan(values[~on_screen]).all() and np.isfinite(values[on_screen]).mean() > 0.7
    assert "<simulated>true" in recording.description("PhysioEmo-Continuous").xml


def test_the_headers_say_what_was_shown_and_how(recorded, shared_data):
    xml = recorded[0].description("PhysioEmo-Frames").xml
    for name in CLIPS:
        assert f"<sha256>{sha256_of(shared_data('video-clips') / name)}</sha256>" in xml
    for text in (
        "<rate>25</rate>",
        "<size_px>1280 720</size_px>",
        "<refresh_hz>unmeasured</refresh_hz>",
        "<latency_seconds>0.012</latency_seconds>",
        "<can_drop_samples>true</can_drop_samples>",
        "<clock>sound samples where there is sound, monotonic elsewhere</clock>",
        "<sound_driver>dummy (nothing is heard)</sound_driver>",
    ):
        assert text in xml
    assert "<simulated>" not in xml
    assert "<simulated>true" in recorded[0].description("PhysioEmo-Ratings").xml


def test_gaze_is_joined_with_the_frames_of_a_recording(recorded, shared_data, tmp_path):
    import xarray as xr

    from physioemo.recording import Recording
    from tests.core.test_gaze_on_frame import gaze_stream

    recording, _ = recorded
    frames = recording["PhysioEmo-Frames"]
    moments = frames["time"].values + 0.012 + 1e-4
    middle = np.full((len(moments), 2), 0.5)
    streams = {k: recording[k] for k in recording.streams}
    tree = {"/": xr.Dataset(), **streams, "events": recording.events}
    whole = Recording(xr.DataTree.from_dict({**tree, "gaze": gaze_stream(moments, middle)}))
    clips = [shared_data("video-clips") / name for name in CLIPS]
    joined = gaze_on_frame(whole, media=clips, convention=GazeConvention())
    assert np.array_equal(joined["frame"].values, frames["signal"].values[:, 0])
    assert joined.attrs["latency_applied"] and joined["age_seconds"].max() < 2e-4
    row = joined["presentation"].values
    names = np.where(row >= 0, joined["file"].values[row], "")
    bunny = names == "bigbuckbunny_720p_5s.mp4"
    assert bunny.sum() > 100 and (joined["x"].values[bunny] == 640).all()
    assert (joined["y"].values[names == "no_face.mp4"] == 270).all()


@pytest.fixture
def x_screen(tmp_path):
    """Return the environment of a virtual X screen, and a function that photographs it."""
    server = shutil.which("Xvfb")
    if server is None:
        pytest.skip("no Xvfb on this machine")
    ours, theirs = os.pipe()
    command = [server, "-displayfd", str(theirs), "-screen", "0", "640x360x24", "-fbdir"]
    child = subprocess.Popen(
        [*command, str(tmp_path), "-nolisten", "tcp"],
        pass_fds=[theirs],
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    with os.fdopen(ours) as said:
        display = said.readline().strip()
    env = {k: v for k, v in os.environ.items() if k != "SDL_VIDEODRIVER"}
    env |= {"DISPLAY": f":{display}", "SDL_VIDEODRIVER": "x11", "SDL_AUDIODRIVER": "dummy"}
    with (tmp_path / "Xvfb_screen0").open("rb") as file:
        picture = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    yield env, lambda: screenshot(picture)
    picture.close()
    child.terminate()
    child.wait(60)


def screenshot(picture):
    """Return what an X server shows: its own memory, in the format of xwd."""
    header = struct.unpack(">25I", picture[:100])
    size, width, height, line, colours = header[0], header[4], header[5], header[12], header[19]
    start = size + 12 * colours
    rows = np.frombuffer(picture[start : start + line * height], np.uint8).reshape(height, line)
    return rows[:, : 4 * width].reshape(height, width, 4)[:, :, 2::-1]


@pytest.mark.parametrize("mode", ["window", "fullscreen"])
def test_photographs_of_the_screen_show_the_frames_that_were_stamped(
    shared_data, tmp_path, x_screen, mode
):
    import pylsl

    from physioemo.acquisition.lsl import find_streams, open_inlet, pull

    env, photograph = x_screen
    file = (shared_data("video-clips") / "no_face.mp4").as_posix()
    text = f'[display]\nmode = "{mode}"\nsize = [640, 360]\nbarcode = true\n[[item]]\n'
    path = tmp_path / "a.toml"
    path.write_text(
        f'{text}kind = "video"\nfile = "{file}"\ntrial = 1\nstop_seconds = 2\n', "utf-8"
    )
    with playing(path, env=env) as child, holdups() as held:
        infos = find_streams([ANY], timeout_seconds=60.0)
        inlets = {info.name(): open_inlet(info)[0] for info in infos}
        photos, flips = [], []
        deadline = time.monotonic() + 90
        while child.poll() is None and time.monotonic() < deadline:
            before = pylsl.local_clock()
            picture = photograph()
            photos.append((before, pylsl.local_clock(), read_barcode(picture)))
            flips += zip(*pull(inlets["PhysioEmo-Frames"], timeout_seconds=0.007), strict=True)
        said = child.stdout.read()
        assert child.returncode == 0, child.stderr.read()
    (item,) = json.loads(said)["items"]
    assert item["n_shown"] + item["n_dropped"] == 48
    marks = [(FrameMark(int(row[0]), int(row[4])), stamp) for row, stamp in flips]
    until = [stamp for _, stamp in marks[1:]] + [float("inf")]
    on_screen = {m: (a, b) for (m, a), b in zip(marks, until, strict=True) if m.item == 1}
    seen = [(a, b, mark) for a, b, mark in photos if mark is not None and mark.item == 1]
    assert len(seen) > 30 and len({mark for _, _, mark in seen}) > item["n_shown"] * 0.4
    # The X server draws on its own: it may be a little later than the flip, never another frame.
    # A player that is held up between flip and stamp states a flip later than it was.
    slack = held.longest_seconds
    wrong = [
        (mark, a - on_screen[mark][0], b - on_screen[mark][1])
        for a, b, mark in seen
        if b < on_screen[mark][0] - 0.004 - slack or a > on_screen[mark][1] + 0.02 + slack
    ]
    assert len(wrong) <= len(seen) // 50, wrong[:5]


def test_a_led_player_shows_what_it_is_told(shared_data):
    clip = shared_data("video-clips") / "no_face.mp4"
    with PlayerProcess(headless=True, options=("--answers", "simulated:3")) as player:
        number = player.show({"kind": "fixation", "seconds": 0.2})
        started = player.wait_for(number, "started", 60)
        ended = player.wait_for(number, "ended", 60)
        assert ended["reason"] == "finished"
        assert 0.15 < ended["lsl_seconds"] - started["lsl_seconds"] < 1
        video = player.show({"kind": "video", "file": clip, "trial": 1})
        player.wait_for(video, "started", 60)
        time.sleep(0.5)
        player.stop()
        ended = player.wait_for(video, "ended", 60)
        assert ended["reason"] == "stopped" and 5 < ended["shown"] + ended["dropped"] < 90
        rating = player.show({"kind": "sam", "trial": 1})
        values = player.wait_for(rating, "rating", 60)["values"]
        assert set(values) == {"valence", "arousal", "dominance"}
        first = player.show({"kind": "blank", "seconds": 30})
        player.wait_for(first, "started", 60)
        second = player.show({"kind": "blank", "seconds": 0.1})
        assert player.wait_for(first, "ended", 60)["reason"] == "stopped"
        assert player.wait_for(second, "ended", 60)["reason"] == "finished"
    said = [*player.events(), *player.events(2)]
    assert said[-1]["event"] == "closed" and not player.alive


def test_a_led_player_answers_wrong_commands_and_goes_on(shared_data, tmp_path):
    clip = shared_data("video-clips") / "no_face.mp4"
    stretch = {"kind": "video", "file": clip, "trial": 1, "stop_seconds": 0.2}
    with PlayerProcess(headless=True) as player:
        for item, text in (
            ({"kind": "vdeo"}, "did you mean 'video'"),
            ({"kind": "video", "file": tmp_path / "no.mp4"}, "found no file"),
            ({"kind": "blank"}, "found a blank without 'seconds'"),
        ):
            with pytest.raises(StreamError, match=text):
                player.wait_for(player.show(item), "ended", 60)
        player.wait_for(player.show(stretch), "ended", 60)
        with pytest.raises(StreamError, match="found trial 1 again"):
            player.wait_for(player.show(stretch), "ended", 60)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_ctrl_c_in_the_terminal_leaves_the_player_to_its_leader():
    with PlayerProcess(headless=True) as player:
        first = player.show({"kind": "blank", "seconds": 0.4})
        player.wait_for(first, "started", 60)
        player._process.send_signal(signal.SIGINT)
        assert player.wait_for(first, "ended", 60)["reason"] == "finished"
        second = player.show({"kind": "blank", "seconds": 30})
        player.wait_for(second, "started", 60)
        player._process.stdin.write("nonsense\n")
        player.stop()
        assert player.wait_for(second, "ended", 60)["reason"] == "stopped"
        with pytest.raises(StreamError, match="do = 'nonsense'"):
            player.wait_for(99, "ended", 60)


def test_a_dead_player_is_noticed():
    with PlayerProcess(headless=True) as player:
        player.show({"kind": "blank", "seconds": 30})
        player._process.kill()
        died = [e for e in player.events(60) if e["event"] == "died"] or player.events(60)
        assert died[-1]["event"] == "died" and not player.alive
        with pytest.raises(StreamError, match="has ended"):
            for _ in range(50):
                player.stop()
                time.sleep(0.02)


def test_a_pipe_that_another_program_still_holds_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr("physioemo.acquisition.player.controlled._QUIT_SECONDS", 0.2)
    held = "import subprocess, sys, time; a = [sys.executable, '-c', 'import time; time.sleep(20)']"
    player = PlayerProcess(headless=True)
    player.command = [sys.executable, "-c", f"{held}; subprocess.Popen(a); time.sleep(60)"]
    began = time.monotonic()
    with pytest.raises(StreamError, match="found no sign of the stimulus player within 3 s"):
        player.start(3.0)
    assert time.monotonic() - began < 15.0


def test_a_player_ends_with_its_leader():
    with PlayerProcess(headless=True) as player:
        player._process.stdin.close()
        player._process.wait(60)
        assert player._process.returncode == 0


def test_a_player_that_cannot_start_says_why(tmp_path):
    (tmp_path / "a.toml").write_text("titel = 'x'")
    with pytest.raises(StreamError, match="did not start: .*did you mean 'title'"):
        PlayerProcess(headless=True, playlist=tmp_path / "a.toml").start()


def test_the_command_line_says_what_is_wrong(physioemo, typed, tmp_path):
    assert "expected PLAYLIST.toml; or pass --controlled" in typed("play", check=2).stderr
    done = typed("play", tmp_path / "no.toml", check=2)
    assert "no.toml, expected a playlist in TOML" in done.stderr
    (tmp_path / "a.toml").write_text('[[item]]\nkind = "blank"\nseconds = 0.1\n')
    done = typed("play", tmp_path / "a.toml", "--headless", "--answers", "x.json", check=2)
    assert "expected 'simulated:SEED' or a JSON file" in done.stderr
    done = physioemo("play", tmp_path / "a.toml", "--headless", check=0)
    assert "1/1  blank" in done.stdout and "Session finished." in done.stdout
