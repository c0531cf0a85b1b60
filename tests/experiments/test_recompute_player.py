"""What a decoder had seen of a player comes out of a recording again, whatever its clock."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from physioemo.description import StreamDescription
from physioemo.errors import DataError
from physioemo.experiments.session.recompute_places import LackError
from physioemo.experiments.session.recompute_player import RecordedPlayer
from physioemo.features.stimulus_flips import FLIP_CHANNELS
from physioemo.features.stimulus_tokens import StimulusLayout
from physioemo.features.stimulus_windows import Fed, LiveStimulus
from physioemo.recording import Recording
from physioemo.stream import make_stream
from tests.features.made_stimuli import made_stimulus, played, start_marker
from tests.streams import marker_stream

LAYOUT = StimulusLayout(2.0, 4)
FILMS = [made_stimulus("a.mkv", frames=100, base=1), made_stimulus("b.mkv", frames=100, base=2)]
START, DRIFT = 9e4, 4e-5  # of the player's clock


def shown():
    """Return flips, their times and markers of two films, on the player's clock."""
    flips, times, markers = [], [], []
    for number, (film, onset) in enumerate(zip(FILMS, (1.0, 6.0), strict=True), 1):
        rows, at = played(film, onset, item=number, lateness=0.003)
        flips.append(rows)
        times.append(at)
        markers.append((at[0], start_marker(film, number)))
        markers.append((at[-1] + 0.03, {"event": "trial_stop", "trial": number}))
        markers.append((at[-1] + 0.03, {"event": "item_stop", "item": number}))
    raw = np.concatenate(times) * (1 - DRIFT) + START
    return np.concatenate(flips), raw, [(s * (1 - DRIFT) + START, m) for s, m in markers]


def session_time(raw):
    return (np.asarray(raw) - START) / (1 - DRIFT)


def recording(flips, raw, markers):
    about = StreamDescription(
        "PhysioEmo-Frames", "Frames", 0.0, FLIP_CHANNELS, ("n/a",) * 5, "double64"
    )
    stamps = np.array([s for s, _ in markers])
    said = marker_stream(markers, name="PhysioEmo-Player")
    said["raw_time"] = ("time", stamps)
    said = said.assign_coords(time=session_time(stamps))
    frames = make_stream(flips, about, time=session_time(raw), raw_time=raw)
    streams = {"frames": frames, "said": said}
    return Recording(xr.DataTree.from_dict({"/": xr.Dataset(), **streams}))


def heard(rng):
    """Return, for windows while chunks come late, what was seen and what it stands on."""
    flips, raw, markers = shown()
    live, found, fed, told = LiveStimulus(FILMS, LAYOUT), [], 0, 0
    for stop in START + np.arange(1.5, 11.0, 0.37):
        fed_to = max(fed, int(np.searchsorted(raw, stop - rng.exponential(0.1))))
        told_to = max(told, int(rng.integers(sum(s <= stop for s, _ in markers) + 1)))
        live.feed_markers(
            [json.dumps(m) for _, m in markers[told:told_to]],
            [s for s, _ in markers[told:told_to]],
        )
        live.feed_flips(flips[fed:fed_to], raw[fed:fed_to])
        fed, told = fed_to, told_to
        if not live.fed.is_nothing:
            found.append((stop, live.fed, live.tokens(stop)))
    return found


def same(one, two):
    return all(
        np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True)
        for name in one.__dataclass_fields__
    )


@pytest.mark.parametrize("seed", range(4))
def test_what_had_come_is_taken_and_nothing_else(seed):
    player = RecordedPlayer(recording(*shown()), LAYOUT, FILMS[::-1])
    found = heard(np.random.default_rng(seed))
    seen = [tokens.seen[0] for *_, tokens in found]
    assert len(found) > 15 and max(seen) > 0.9 and min(seen) == 0.0
    # In any order: a decoder that was started again begins with what came later.
    for stop, fed, tokens in [*found, *found[::-3]]:
        assert same(player.tokens(stop, fed), tokens)
        assert abs(player.time_at(stop) - session_time(stop)) < 1e-3


def test_what_is_not_recorded_or_not_there_is_named():
    flips, raw, markers = shown()
    (stop, fed, _) = heard(np.random.default_rng(0))[8]
    late = RecordedPlayer(recording(flips[10:], raw[10:], markers), LAYOUT, FILMS)
    with pytest.raises(LackError, match=r"PhysioEmo-Frames at 90001\.\d+ s is not recorded"):
        late.tokens(stop, fed)
    nothing = RecordedPlayer(Recording(xr.DataTree.from_dict({"/": xr.Dataset()})), LAYOUT, FILMS)
    with pytest.raises(LackError, match=r"PhysioEmo-Frames at 90001\.\d+ s is not recorded"):
        nothing.tokens(stop, fed)
    other = RecordedPlayer(recording(flips, raw, markers), LAYOUT, FILMS[1:])
    with pytest.raises(LackError, match=r"again without a.mkv \(SHA-256 010101010101...\)"):
        other.tokens(stop, fed)
    everything = Fed(raw[0], raw[-1], markers[0][0], markers[-1][0])
    assert other.tokens(START + 10.0, everything).seen[0] > 0.5  # the other film is there
    moved = flips.copy()
    moved[:, 1] += 0.01
    contradicting = RecordedPlayer(recording(moved, raw, markers), LAYOUT, FILMS)
    with pytest.raises(DataError, match=r"frame \d+ of a.mkv shown with the stamp"):
        contradicting.tokens(stop, fed)
    renamed = [replace(film, name="c.mkv") for film in FILMS]
    assert same(
        RecordedPlayer(recording(flips, raw, markers), LAYOUT, renamed).tokens(stop, fed),
        RecordedPlayer(recording(flips, raw, markers), LAYOUT, FILMS).tokens(stop, fed),
    )
