"""What is shown is known live as offline, and nothing before it was shown."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CallError
from physioemo.features.stimulus_windows import LiveStimulus
from tests.features.made_stimuli import (
    flip_rows,
    frame_of,
    made_stimulus,
    played,
    start_marker,
    texts,
)
from tests.features.shown_windows import FIELDS, FILM, LAYOUT, by_flips, rows_of


def equal(one, two):
    return all(np.array_equal(getattr(one, n), getattr(two, n), equal_nan=True) for n in FIELDS)


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
