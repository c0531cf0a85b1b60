"""What the real player showed, recorded over real LSL, is found again in every window."""

import subprocess
import sys

import numpy as np
import pytest

from physioemo.acquisition.recorder import record
from physioemo.features.stimulus_features import StimulusRecipe, decode_stimulus
from physioemo.features.stimulus_tokens import StimulusLayout
from physioemo.features.stimulus_windows import LiveStimulus, shown_stimulus_tokens
from tests.conftest import ROOT

pytestmark = pytest.mark.lsl

LAYOUT = StimulusLayout(window_seconds=1.0, n_pictures=4, n_selected=2)
PLAYLIST = """
title = "One clip"
[display]
mode = "window"
size = [320, 180]
[[item]]
kind = "fixation"
seconds = 0.5
[[item]]
kind = "video"
file = "{file}"
trial = 1
"""


@pytest.fixture(scope="module")
def session(shared_data, tmp_path_factory):
    """Return the clip's features and the recording of a session that showed it."""
    path = shared_data("video-clips") / "no_face.mp4"
    for _ in range(4):
        recording = played(tmp_path_factory.mktemp("shown"), path)
        flips = recording["PhysioEmo-Frames"]
        film = flips["signal"].values[:, 4] == 2
        time, pts = flips["time"].values[film], flips["signal"].values[film, 1]
        # What a busy machine held up or slowed down says nothing; it is played again.
        if np.diff(time).max() < 0.2 and abs(np.ptp(time) - np.ptp(pts)) < 0.1:
            break
    return decode_stimulus(path, StimulusRecipe(picture_px=16)), recording


def played(folder, path):
    """Return the recording of a session that shows a clip."""
    (folder / "a.toml").write_text(PLAYLIST.format(file=path.as_posix()), "utf-8")
    command = [sys.executable, "-m", "physioemo", "play", str(folder / "a.toml")]
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [*command, "--headless", "--wait", "90"], stdout=pipe, stderr=pipe, text=True, cwd=ROOT
    )
    try:
        summary = record(
            folder / "session.zarr",
            predicates=["starts-with(name,'PhysioEmo-')"],
            find_seconds=90.0,
            stop_when_idle_seconds=3.0,
            duration_seconds=120.0,
        )
        _, log = child.communicate(timeout=120)
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    assert child.returncode == 0, log
    return summary.recording


def test_every_window_of_a_real_session_holds_what_was_on_the_screen(session):
    clip, recording = session
    flips = recording["PhysioEmo-Frames"]
    rows, time = np.asarray(flips["signal"].values, float), flips["time"].values
    # Just after each flip of the film its frame is the newest picture, and nothing newer is heard;
    # but for the first ones, whose marker may come a moment later.
    onset = time[rows[:, 4] == 2][0]
    film = (rows[:, 4] == 2) & (time > onset + 0.05)
    ends = time[film] + 1e-6
    tokens = shown_stimulus_tokens(recording, ends, [clip], LAYOUT)
    newest = clip.pictures[rows[film, 0].astype(int)].astype(np.float32) / np.float32(127.5) - 1
    assert len(ends) > 40 and np.array_equal(tokens.pictures[:, -1], newest)
    places = np.searchsorted(clip.sound_seconds, rows[film, 1] + 1e-6, side="right") - 1
    heard = np.isfinite(tokens.sound[:, -1, 0]) & (places >= 0)
    assert heard.mean() > 0.7
    assert np.array_equal(tokens.sound[heard, -1], clip.fbank[places[heard]])
    before = shown_stimulus_tokens(recording, [onset - 0.01], [clip], LAYOUT)
    assert before.seen == 0 and before.heard == 0


def test_a_real_session_is_the_same_live(session):
    clip, recording = session
    flips, events = recording["PhysioEmo-Frames"], recording.events
    values, time = np.asarray(flips["signal"].values, float), flips["time"].values
    ends = np.arange(time[0], time[-1], 0.2)
    offline = shown_stimulus_tokens(recording, ends, [clip], LAYOUT)
    live = LiveStimulus([clip], LAYOUT, header=str(flips.attrs["xml"]))
    onset, before = events["onset_seconds"].values, -np.inf
    for k, end in enumerate(ends):
        new = (time > before) & (time <= end)
        live.feed_flips(values[new], time[new])
        marked = (onset > before) & (onset <= end)
        live.feed_markers(events["description"].values[marked], onset[marked])
        tokens, before = live.tokens(end), end
        for name in ("sound", "pictures", "selected", "scalars"):
            one, two = getattr(tokens, name)[0], getattr(offline, name)[k]
            assert np.array_equal(one, two, equal_nan=True), (name, k)
    assert offline.seen.max() == pytest.approx(1.0)
