"""What was shown when, by the player's flips: drops, pauses, latencies, other files."""

import numpy as np
import pytest

from physioemo.errors import CallError, DataError, NoStreamError
from physioemo.features.stimulus_features import StimulusRecipe, decode_stimulus
from physioemo.features.stimulus_tokens import STIMULUS_SCALARS, StimulusLayout
from physioemo.features.stimulus_windows import LiveStimulus, shown_stimulus_tokens
from physioemo.features.video_tubelets import frames_on_display
from tests.features.made_stimuli import (
    frame_of,
    header_of,
    made_recording,
    made_stimulus,
    played,
    start_marker,
)
from tests.features.shown_windows import FILM, by_flips, by_trials, rows_of


def scalar(tokens, name):
    return tokens.scalars[:, list(STIMULUS_SCALARS).index(name)]


def test_by_flips_the_newest_row_is_the_last_that_was_shown():
    flips, times = played(FILM, 100.0)
    tokens = by_flips([103.0, 103.03], flips, times, [(100.002, start_marker(FILM))])
    # The last flip before 103 s is frame 74 of 2.96 s; row 293 ends at 2.955 s.
    assert np.array_equal(rows_of(tokens), np.arange(294 - 200, 294))
    assert tokens.sound_age_seconds == pytest.approx([0.04, 0.03])
    assert frame_of(tokens.pictures)[0].tolist() == [31, 37, 43, 49, 56, 62, 68, 74]
    assert (tokens.heard == 1).all() and tokens.seen == pytest.approx([1, 1])


def test_flips_and_trials_agree_on_pictures(shared_data):
    clip = decode_stimulus(shared_data("video-clips") / "no_face.mp4", StimulusRecipe(4, 100, 16))
    flips, times = played(clip, 50.0, lateness=0.0)
    times = 50.0 + clip.frame_seconds
    ends = np.linspace(50, 53.9, 30)
    one = by_flips(ends, flips, times, [(50.0, start_marker(clip))], [clip])
    two = by_trials(ends, clip, [(1, 50.0, 20.0, "film")])
    for name in ("pictures", "picture_seconds", "selected", "selected_seconds", "seen"):
        assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True), name
    found = frames_on_display(clip.frame_seconds, clip.until_seconds, ends - 50)
    assert np.array_equal(one.pictures[:, -1], clip.pictures[found].astype("f4") / 127.5 - 1)


def test_dropped_frames_make_no_hole_in_the_sound():
    kept = [k for k in range(250) if k % 7 and not 60 <= k < 62]
    late = np.random.default_rng(0).uniform(0, 0.012, len(kept))
    flips, times = played(FILM, 100.0, kept, lateness=late)
    tokens = by_flips([103.35], flips, times, [(100.0, start_marker(FILM))])
    newest = rows_of(tokens)[-1]
    assert rows_of(tokens).tolist() == list(np.arange(newest - 199, newest + 1))
    assert set(frame_of(tokens.selected)[0].tolist()) <= set(kept)


def test_a_pause_is_a_hole_and_what_comes_after_is_where_it_was():
    flips, times = played(FILM, 100.0)
    times = times + np.where(np.arange(250) >= 75, 1.5, 0.0)
    tokens = by_flips([104.0, 105.0], flips, times, [(100.0, start_marker(FILM))])
    paused, resumed = rows_of(tokens), rows_of(tokens, 1)
    # Frame 74 was due until 3.0 s; a second of the window lies in the pause.
    assert np.isnan(paused[97:]).all() and np.isfinite(paused[:95]).all()
    assert tokens.seen[0] == pytest.approx((1.0 + 0.25) / 2, abs=0.01)
    holes = np.flatnonzero(np.isnan(resumed))
    assert len(holes) == pytest.approx(154, abs=4) and np.ptp(holes) == len(holes) - 1
    assert np.isfinite(resumed[-40:]).all() and resumed[-1] == 345
    assert frame_of(tokens.pictures)[1, -1] == 87


def test_pictures_and_sounds_without_flips_are_known_until_the_next_one():
    still = made_stimulus("photo.png", stamps=[0.0], sound_seconds=0, base=1)
    song = made_stimulus("song.wav", stamps=[], sound_seconds=10.0, base=2)
    rows = [(0, 0, 0, 0, 1), (0, 0, 0, 0, 2), (0, 0, 0, 0, 3), (0, 0, 0, 0, 0)]
    markers = [
        (10.0, start_marker(still, 1, "image")),
        (20.0, {"event": "item_start", "item": 2, "kind": "fixation"}),
        (30.0, start_marker(song, 3, "sound", start_seconds=1.0)),
    ]
    ends = [15.0, 21.0, 25.0, 33.0, 36.0, 39.5]
    tokens = by_flips(ends, rows, [10.0, 20.0, 30.0, 35.0], markers, [still, song])
    assert tokens.seen == pytest.approx([1, 0.5, 0, 0, 0, 0])
    assert tokens.heard == pytest.approx([0, 0, 0, 1, 0.5, 0], abs=0.01)
    assert (frame_of(tokens.selected)[0] == [-1, -1, -1, 0]).all()
    # Three seconds after the onset the file stands at 4 s.
    assert rows_of(tokens, 3)[-1] == 2 + 397 and np.isnan(tokens.scalars[2]).all()


def test_a_song_or_picture_ends_with_its_marker_if_no_flip_comes():
    still = made_stimulus("photo.png", stamps=[0.0], sound_seconds=0, base=1)
    song = made_stimulus("song.wav", stamps=[], sound_seconds=50.0, base=2)
    rows = [(0, 0, 0, 0, 1), (0, 0, 0, 0, 2)]
    markers = [
        (10.0, start_marker(still, 1, "image")),
        (13.0, {"event": "item_stop", "item": 1, "reason": "finished"}),
        (20.0, start_marker(song, 2, "sound")),
        (29.0, {"event": "item_stop", "item": 2, "reason": "stopped"}),
    ]
    tokens = by_flips(
        [12.5, 14.0, 19.0, 28.9, 30.0, 40.0], rows, [10.0, 20.0], markers, [still, song]
    )
    assert tokens.seen == pytest.approx([1, 0.5, 0, 0, 0, 0])
    assert tokens.heard == pytest.approx([0, 0, 0, 1, 0.5, 0], abs=0.01)


def test_a_restarted_player_counts_its_items_anew():
    other = made_stimulus("other.mp4", base=7)
    one, two = played(FILM, 100.0, range(50)), played(other, 110.0, range(50))
    flips, times = np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1]])
    markers = [(100.002, start_marker(FILM)), (110.002, start_marker(other))]
    tokens = by_flips([101.5, 111.5], flips, times, markers, [other, FILM])
    assert (tokens.pictures[:, -1, 0, 0, 1] + 1) * 127.5 == pytest.approx([0, 7])
    assert rows_of(tokens, 1)[-1] - rows_of(tokens)[-1] == 7


def test_an_item_without_its_marker_is_masked():
    flips, times = played(FILM, 100.0, item=4)
    stop = {"event": "item_start", "item": 5, "kind": "text"}
    for markers in ([], [(90.0, start_marker(FILM, 4)), (95.0, stop)]):
        tokens = by_flips([103.0], flips, times, markers)
        assert tokens.seen == 0 and tokens.heard == 0 and np.isnan(tokens.pictures).all()


def test_stated_latencies_move_picture_and_sound():
    flips, times = played(FILM, 100.0)
    marker = start_marker(FILM, latency_seconds=0.1)
    header = header_of((FILM.name, FILM.sha256), sound_latency="0.3")
    moved = by_flips([103.0], flips, times, [(100.0, marker)], header=header)
    plain = by_flips([102.9, 102.7], flips, times, [(100.0, start_marker(FILM))])
    assert np.array_equal(moved.pictures[0], plain.pictures[0])
    assert np.array_equal(moved.sound[0], plain.sound[1])
    markers = [(100.0, marker), (104.0, start_marker(FILM, 2))]
    with pytest.raises(DataError, match="display latencies 0.1 and 0 s in one recording"):
        by_flips([103.0], flips, times, markers)


def test_another_file_is_refused():
    flips, times = played(FILM, 100.0)
    wrong = start_marker(made_stimulus(base=9), 2)
    with pytest.raises(
        DataError, match=r"item 2 showed film.mp4 .SHA-256 090909090909\.\.\.\), ex"
    ):
        by_flips([103.0], flips, times, [(100.0, wrong)])
    with pytest.raises(
        DataError, match=r"found film.mp4 .*, expected abababababab\.\.\. as the he"
    ):
        LiveStimulus([FILM], header=header_of(("film.mp4", "ab" * 32)))
    slow = flips.copy()
    slow[:, 1] *= 1.01
    with pytest.raises(DataError, match="found frame 5 of film.mp4 shown with the stamp 0.2020 s"):
        by_flips([101.01, 103.0], slow, times, [(100.0, start_marker(FILM))])
    with pytest.raises(CallError, match="found stimuli of several recipes"):
        LiveStimulus([FILM, decode_alike()])


def decode_alike():
    from dataclasses import replace

    return replace(FILM, sha256="cd" * 32, recipe=StimulusRecipe(16, 100, 32))


def test_other_streams_are_named():
    flips, times = played(FILM, 100.0)
    with pytest.raises(NoStreamError, match="expected one called 'PhysioEmo-Frames'"):
        shown_stimulus_tokens(made_recording(), [1.0], [FILM])
    with pytest.raises(
        DataError, match="found the channels a, b in the stream of flips, expected f"
    ):
        LiveStimulus([FILM], channels=["a", "b"])
    with pytest.raises(CallError, match="found no stimuli, expected at least one"):
        by_flips([103.0], flips, times, [], [])
    flips[3, 1] = np.nan
    with pytest.raises(DataError, match="found a flip whose frame, stamp, item or time is missing"):
        by_flips([103.0], flips, times, [])
    with pytest.raises(CallError, match="found 5 pictures per window, expected an even number"):
        StimulusLayout(n_pictures=5)
    with pytest.raises(CallError, match="found windows of 0 s with 16 pictures and 6 selected"):
        StimulusLayout(window_seconds=0)


def test_numbers_of_a_window_are_its_means_and_sums():
    flips, times = played(FILM, 100.0, lateness=0.0)
    tokens = by_flips([103.98], flips, times, [(100.0, start_marker(FILM))])
    shown = np.arange(50, 100)  # came within the window; frame 49 was on display when it began
    assert scalar(tokens, "rms") == pytest.approx(np.mean(rows_of(tokens)))
    # Half of frame 49 and half of frame 99 were on display.
    assert scalar(tokens, "brightness") == pytest.approx(0.074, rel=1e-4)
    assert scalar(tokens, "flow") == pytest.approx(shown.sum() / 1000 / 2, rel=1e-3)
    assert scalar(tokens, "cuts") == pytest.approx((shown % 10 == 0).sum() / 2, rel=1e-3)
    assert scalar(tokens, "change") == pytest.approx(len(shown) * 0.01 / 2, rel=1e-3)
    kept = [k for k in range(250) if k % 10]  # the cuts themselves are dropped
    flips, times = played(FILM, 100.0, kept, lateness=0.0)
    dropped = by_flips([103.98], flips, times, [(100.0, start_marker(FILM))])
    assert scalar(dropped, "cuts") == scalar(tokens, "cuts")
