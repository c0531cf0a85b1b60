"""The ear of a live decoder for the player: it joins late, leaves, and believes no other file."""

import contextlib
import json
import time

import numpy as np
import pylsl
import pytest

from physioemo.acquisition.lsl import make_outlet, push
from physioemo.description import StreamDescription
from physioemo.experiments.fused_player import PlayerEar
from physioemo.features.stimulus_flips import FLIP_CHANNELS
from physioemo.features.stimulus_tokens import StimulusLayout
from tests.features.made_stimuli import header_of, made_stimulus, played, start_marker

pytestmark = pytest.mark.lsl

LAYOUT = StimulusLayout(2.0, 4)
FILM, OTHER = made_stimulus("a.mkv", base=1), made_stimulus("b.mkv", base=2)


@contextlib.contextmanager
def player(header=""):
    """Publish both streams of a player; yield what shows a film, and leave."""
    common = {"sfreq": 0.0, "xml": header}
    frames = StreamDescription(
        "PhysioEmo-Frames",
        "Frames",
        ch_names=FLIP_CHANNELS,
        units=("count", "s", "s", "count", "count"),
        channel_format="double64",
        source_id="p-Frames",
        **common,
    )
    said = StreamDescription(
        "PhysioEmo-Player",
        "Markers",
        ch_names=("marker",),
        units=("n/a",),
        channel_format="string",
        source_id="p-Player",
        **common,
    )
    outlets = [make_outlet(frames), make_outlet(said)]

    def show(film, item):
        onset = pylsl.local_clock() - 4.0 + 2.0 * item
        rows, times = played(film, onset, np.arange(25), item=item)
        text = json.dumps(start_marker(film, item))
        push(outlets[1], np.array([[text]], object), times[:1])
        push(outlets[0], rows, times)
        return times[-1]

    yield lambda: all(o.have_consumers() for o in outlets), show
    outlets.clear()


def until(ear, condition, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        ear.listen()
        time.sleep(0.02)


def test_a_player_that_comes_late_and_goes_is_heard_while_it_is_there():
    notices = []
    ear = PlayerEar([FILM], LAYOUT, on_notice=notices.append)
    ear.listen()
    assert ear.window(pylsl.local_clock()) is None
    for n_told in (0, 2):
        with player() as (is_heard, show):
            until(ear, is_heard)
            stop = show(OTHER, 1)  # of no file that is given: masked, and told
            until(ear, lambda at=stop: ear.window(at) is not None)
            assert ear.window(stop).tokens.seen[0] == 0.0
            stop = show(FILM, 2)
            until(ear, lambda at=stop: ear.window(at).tokens.seen[0] > 0.45)
            found = ear.window(stop)
            assert found.tokens.end_seconds == stop
            assert abs(found.stop_stamp - stop) < 0.01 and found.fed.newest_flip <= stop
            ear.restart()
            assert ear.window(stop) is None
        until(ear, lambda at=stop, n=n_told: len(notices) >= n + 2)
        assert ear.window(stop) is None
    ear.close()
    assert '"b.mkv"' in notices[0] and "is none of the given stimuli" in notices[0]
    gone = "the player is gone: what is shown is missing until it is back"
    assert notices[1:] == [gone, "the player is back", gone]


def test_a_header_that_names_other_bytes_is_not_believed():
    notices = []
    ear = PlayerEar([FILM], LAYOUT, on_notice=notices.append)
    with player(header_of(("a.mkv", "ab" * 32))) as (_, show):
        until(ear, lambda: notices)
        stop = show(FILM, 1)
        ear.listen()
        assert ear.window(stop) is None
    ear.close()
    (told,) = notices
    assert "found a.mkv with the SHA-256 010101010101..., expected abababababab..." in told
