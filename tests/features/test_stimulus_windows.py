"""What was shown when: by trials, by the player's flips, live; never a moment too early."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CallError, DataError, NoStreamError
from physioemo.features.stimulus_features import StimulusRecipe, decode_stimulus
from physioemo.features.stimulus_tokens import STIMULUS_SCALARS, StimulusLayout
from physioemo.features.stimulus_windows import (
    LiveStimulus,
    shown_stimulus_tokens,
    trial_stimulus_tokens,
)
from physioemo.features.video_tubelets import frames_on_display
from physioemo.trials import make_trials
from tests.features.made_stimuli import (
    FPS,
    flip_rows,
    frame_of,
    header_of,
    made_recording,
    made_stimulus,
    played,
    start_marker,
    texts,
)

LAYOUT = StimulusLayout(window_seconds=2.0, n_pictures=8, n_selected=4)
FILM = made_stimulus()
FIELDS = (
    "sound",
    "sound_age_seconds",
    "pictures",
    "picture_seconds",
    "selected",
    "selected_seconds",
    "scalars",
    "seen",
    "heard",
)


def equal(one, two):
    return all(np.array_equal(getattr(one, n), getattr(two, n), equal_nan=True) for n in FIELDS)


def rows_of(tokens, window=0):
    """Return the numbers of the rows of sound of a window, NaN for none."""
    return tokens.sound[window, :, 0].astype(float)


def scalar(tokens, name):
    return tokens.scalars[:, list(STIMULUS_SCALARS).index(name)]


def by_trials(ends, features=FILM, trials=((1, 100.0, 10.0, "film"),), markers=()):
    table = make_trials(trials)
    stimuli = {"film": features}
    return trial_stimulus_tokens(
        made_recording(markers=markers, trials=table), ends, stimuli, LAYOUT
    )


def by_flips(ends, flips, times, markers, stimuli=(FILM,), **told):
    recording = made_recording(flips, times, markers, **told)
    return shown_stimulus_tokens(recording, ends, stimuli, LAYOUT)


def test_by_trials_a_window_holds_the_files_last_two_seconds():
    tokens = by_trials([103.0, 105.503])
    # Row k ends at 0.025 + k / 100 s: at 3 s the newest is row 297.
    assert np.array_equal(rows_of(tokens), np.arange(298 - 200, 298))
    assert rows_of(tokens, 1)[-1] == 547
    assert frame_of(tokens.pictures)[0].tolist() == [31, 37, 43, 50, 56, 62, 68, 75]
    assert tokens.picture_seconds[0] == pytest.approx(np.arange(-1.75, 0.1, 0.25))
    assert tokens.seen.tolist() == [1, 1] and tokens.heard.tolist() == [1, 1]
    assert tokens.selected_seconds[0] == pytest.approx(frame_of(tokens.selected)[0] / FPS - 3)


def test_before_between_and_after_trials_everything_is_masked():
    tokens = by_trials([99.0, 100.0, 101.0, 111.5, 113.0, 500.0])
    assert tokens.seen == pytest.approx([0, 0, 0.5, 0.25, 0, 0], abs=0.01)
    assert tokens.heard == pytest.approx([0, 0, 0.49, 0.25, 0, 0], abs=0.01)
    assert np.isnan(tokens.sound[[0, 4, 5]]).all() and np.isnan(tokens.scalars[[0, 4, 5]]).all()
    # One second into the trial: the older half of the window is empty.
    assert np.isnan(rows_of(tokens, 2)[:100]).all() and rows_of(tokens, 2)[-1] == 97
    assert frame_of(tokens.pictures)[2].tolist() == [-1, -1, -1, 0, 6, 12, 18, 25]
    # A second and a half after it: what was last is where it was.
    assert rows_of(tokens, 3)[:50].tolist() == list(range(948, 998))
    assert np.isnan(rows_of(tokens, 3)[50:]).all()


def test_sound_that_is_shorter_than_the_picture_is_masked_not_stretched():
    tokens = by_trials([105.0], made_stimulus(sound_seconds=4.0))
    assert rows_of(tokens)[:100].tolist() == list(range(298, 398))
    assert np.isnan(rows_of(tokens)[100:]).all() and tokens.seen == 1
    late = by_trials([102.0], made_stimulus(sound_start=1.3))
    assert np.isnan(rows_of(late)[:130]).all() and rows_of(late)[-1] == 67


def test_frames_at_uneven_times_are_those_on_display():
    for seed in np.random.SeedSequence().generate_state(20):
        rng = np.random.default_rng(seed)
        stamps = np.cumsum(rng.uniform(0.005, 0.4, 40)) - 0.005
        film = made_stimulus(stamps=stamps, sound_seconds=0)
        ends = 100 + rng.uniform(0, 10, 10)
        tokens = by_trials(ends, film)
        for k, end in enumerate(ends):
            wanted = end - 100 + np.arange(-1.75, 0.1, 0.25)
            begun = np.searchsorted(stamps, wanted, side="right") - 1
            expected = np.where(wanted < film.until_seconds, begun, -1)
            assert frame_of(tokens.pictures[k]).tolist() == expected.tolist(), (seed, k)


def test_a_trial_that_begins_in_the_middle_of_its_file_says_so():
    marker = start_marker(FILM, trial=1, start_seconds=4.0)
    tokens = by_trials([101.0], markers=[(100.0, marker)])
    assert rows_of(tokens)[-1] == 497 and np.isnan(rows_of(tokens)[:100]).all()
    # The first row that began after the beginning ends 25 ms later.
    assert np.nanmin(rows_of(tokens)) == 400
    assert frame_of(tokens.pictures)[0].tolist() == [-1, -1, -1, 100, 106, 112, 118, 125]


def test_each_stimulus_needs_its_file_or_none():
    table = make_trials([(1, 100.0, 10.0, "film"), (2, 120.0, 10.0, "a real person")])
    recording = made_recording(trials=table)
    stimuli = {"film": FILM, "a real person": None}
    tokens = trial_stimulus_tokens(recording, [103.0, 123.0], stimuli, LAYOUT)
    assert tokens.seen.tolist() == [1, 0] and np.isnan(tokens.scalars[1]).all()
    with pytest.raises(DataError, match="found no file for the stimulus 'other', expected one"):
        by_trials([103.0], trials=((1, 100.0, 10.0, "other"),))
    marker = {"event": "trial_start", "trial": 1, "stimulus": "film", "sha256": "ab" * 32}
    with pytest.raises(DataError, match=r"found film.mp4 .* 0000.* expected abababababab... as"):
        by_trials([103.0], markers=[(100.0, marker)])


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
    late = np.random.default_rng().uniform(0, 0.012, len(kept))
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


def test_windows_are_what_the_fused_model_takes(rng):
    torch = pytest.importorskip("torch")
    from physioemo.models.fused import FusedModel

    encoders = {
        "audio": {"encoder": "audio-patches", "n_mels": 16},
        "video": {"encoder": "video-tubelets", "size": 16},
        "stimulus": {"encoder": "scalars", "n_scalars": len(STIMULUS_SCALARS)},
    }
    model = FusedModel(encoders=encoders, dimensions=["valence"]).eval()

    def tensors(value):
        if isinstance(value, dict):
            return {k: tensors(v) for k, v in value.items()}
        return torch.as_tensor(np.asarray(value))

    tokens = by_trials([50.0, 101.0, 105.0])
    for selected in (False, True):
        with torch.no_grad():
            out = model(tensors(tokens.inputs(selected=selected)))
        assert torch.isfinite(out.logits).all()
        assert out.abstain.tolist() == [True, False, False]


def a_session(rng):
    """Return flips, times, markers and stimuli of a session in which everything goes wrong."""
    stimuli = [
        made_stimulus(),
        made_stimulus("uneven.mp4", stamps=np.cumsum(rng.uniform(0.01, 0.3, 40)), base=1),
        made_stimulus("song.wav", stamps=[], base=2),
        made_stimulus("photo.png", stamps=[0.0], sound_seconds=0, base=3),
    ]
    flips, times, markers, now = [], [], [], 10.0
    for item in range(1, int(rng.integers(2, 6))):
        kind = rng.choice(["video", "video", "uneven", "sound", "image", "text"])
        now += rng.uniform(0, 2)
        if kind in ("video", "uneven"):
            film = stimuli[int(kind == "uneven")]
            first = int(rng.integers(0, 30))
            frames = np.arange(first, int(rng.integers(first + 1, 41)))
            frames = frames[rng.random(len(frames)) > 0.15]
            late = rng.uniform(-0.004, 0.02, len(frames))
            rows, at = played(film, now - film.frame_seconds[first], frames, item, late)
            at = at + (np.arange(len(at)) >= rng.integers(0, 60)) * rng.uniform(0, 1)  # a pause
            marker = start_marker(film, item, start_seconds=float(film.frame_seconds[first]))
        else:
            rows, at = flip_rows([0], [0.0], 0.0, item), np.array([now])
            film = stimuli[3 if kind == "image" else 2]
            marker = start_marker(film, item, str(kind), start_seconds=1.5)
        if len(at):
            markers.append((float(at[0]) + rng.uniform(-0.003, 0.003), marker))
            flips, times = [*flips, *rows.tolist()], [*times, *at.tolist()]
            now = float(at[-1]) + rng.uniform(0, 3)
            if rng.random() < 0.5:
                end = {"event": "item_stop", "item": item, "reason": "finished"}
                markers.append((now, end))
    order = np.argsort(times, kind="stable")
    return np.array(flips).reshape(-1, 5)[order], np.array(times)[order], markers, stimuli


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_live_equals_offline_however_chunked(seed):
    rng = np.random.default_rng(seed)
    flips, times, markers, stimuli = a_session(rng)
    ends = np.sort(rng.uniform(9, (times[-1] if len(times) else 10) + 3, 8))
    offline = by_flips(ends, flips, times, markers, stimuli)
    live = LiveStimulus(stimuli, LAYOUT, keep_seconds=float(rng.uniform(1, 5)))
    done, marked = 0, 0
    for k, end in enumerate(ends):
        due = int(np.searchsorted(times, end, side="right"))
        while done < due:
            n = int(rng.integers(1, 20))
            live.feed_flips(flips[done : min(due, done + n)], times[done : min(due, done + n)])
            done = min(due, done + n)
        now = [m for m in markers[marked:] if m[0] <= end]
        live.feed_markers(*texts(now))
        marked += len(now)
        alone = live.tokens(end)
        for name in FIELDS:
            one, two = getattr(alone, name)[0], getattr(offline, name)[k]
            assert np.array_equal(one, two, equal_nan=True), (name, k)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_nothing_is_used_that_was_not_shown_before(seed):
    rng = np.random.default_rng(seed)
    flips, times, markers, stimuli = a_session(rng)
    ends = rng.uniform(9, (times[-1] if len(times) else 10) + 3, 8)
    tokens = by_flips(ends, flips, times, markers, stimuli)
    start = {m["item"]: m for _, m in markers if m["event"] == "item_start"}
    for k, end in enumerate(ends):
        known = times <= end
        by_file = {f.sha256: (set(), 0.0) for f in stimuli}
        for row, at in zip(flips[known], times[known], strict=True):
            marker = start[int(row[4])]
            until = row[1] if marker["kind"] == "video" else 1.5 + end - at
            frames, latest = by_file[marker["sha256"]]
            by_file[marker["sha256"]] = (frames | {int(row[0])}, max(latest, until))
        for pictures in (tokens.pictures[k], tokens.selected[k]):
            for number, base in zip(
                frame_of(pictures), (pictures[:, 0, 0, 1] + 1) * 127.5, strict=True
            ):
                if number >= 0:
                    assert number in by_file[f"{round(float(base)):02x}" * 32][0]
        # Whichever file it is of, no row is newer than what any of them had played.
        heard = rows_of(tokens, k)[np.isfinite(rows_of(tokens, k))]
        latest = max(until for _, until in by_file.values())
        assert not len(heard) or (heard.max() - 2) / 100 + 0.025 <= latest + 1e-6
        shown = tokens.selected_seconds[k]
        assert not (shown > 0).any() and not (tokens.picture_seconds[k] > 1e-6).any()


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_what_is_shown_later_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    flips, times, markers, stimuli = a_session(rng)
    end = rng.uniform(9, (times[-1] if len(times) else 10) + 3)
    known = times <= end
    so_far = [m for m in markers if m[0] <= end]
    one = by_flips([end], flips, times, markers, stimuli)
    two = by_flips([end], flips[known], times[known], so_far, stimuli)
    assert equal(one, two)


def test_what_is_forgotten_is_not_guessed():
    live = LiveStimulus([FILM], LAYOUT, keep_seconds=1.0)
    live.feed_markers(*texts([(100.0, start_marker(FILM))]))
    flips, times = played(FILM, 100.0)
    for k in range(0, 250, 5):
        live.feed_flips(flips[k : k + 5], times[k : k + 5])
    assert live.tokens(109.9).seen == pytest.approx(1)
    with pytest.raises(
        CallError, match="found a window that ends at 105.00 s, expected one of the"
    ):
        live.tokens(105.0)


def test_without_windows_the_shapes_stay():
    tokens = by_trials([])
    assert tokens.sound.shape == (0, 200, 16) and tokens.pictures.shape == (0, 8, 16, 16, 3)
    assert tokens.scalars.shape == (0, 15) and len(tokens.end_seconds) == 0
