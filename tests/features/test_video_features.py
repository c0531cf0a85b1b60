"""Pictures: movement that is known, planted cuts and flashes, frames at their times."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from physioemo.errors import CallError, SignalError
from physioemo.features.video_covariates import colourfulness, cut_flags, histogram_change, luma
from physioemo.features.video_motion import motion_frames, motion_magnitude, optical_flow
from physioemo.features.video_tubelets import frames_on_display, tubelets, untubed
from physioemo.media import iterate_frames

CLIPS = {
    "big_buck_bunny_0_30.webm": (720, 24),
    "bigbuckbunny_720p_5s.mp4": (132, 25),
    "no_face.mp4": (95, 24),
}


def texture(seed, height=54, width=96):
    """Return a function from a movement in pixels (right, down) to the moved texture."""
    rng = np.random.default_rng(seed)
    waves = [(rng.uniform(0.05, 0.5, 2), rng.uniform(0, 6.3)) for _ in range(20)]
    waves = [(k * rng.choice([-1, 1], 2), phase) for k, phase in waves]
    y, x = np.indices((height, width)).astype(float)

    def moved(right, down):
        parts = [np.sin(kx * (x - right) + ky * (y - down) + phase) for (kx, ky), phase in waves]
        return 0.5 + 0.08 * np.sum(parts, axis=0)

    return moved


@pytest.mark.parametrize("movement", [(0.5, 0.0), (1.0, -2.0), (3.0, 1.5), (-6.0, 2.0), (5.0, 5.0)])
def test_the_flow_of_a_moved_texture_is_its_movement(movement):
    flows, ratios, length = [], [], np.hypot(*movement)
    for seed in range(5):
        moved = texture(seed)
        flow = optical_flow(moved(0, 0), moved(*movement))
        flows.append(np.median(flow[:, 8:-8, 8:-8].reshape(2, -1), axis=1))
        # The mean has the edges in it, and by the last movement a seventh has left the picture.
        ratios.append(motion_magnitude(moved(0, 0), moved(*movement)) * 96 / length)
    if length < 7:
        worst = max(np.abs(np.array(flows) - movement).max(axis=1))
        assert worst < 0.1 * length and np.abs(np.array(ratios) - 1).max() < 0.1, (flows, ratios)
    # Of textures that moved seven pixels one in fifty is taken for a wave of its own further on.
    assert np.median(flows, axis=0) == pytest.approx(movement, abs=0.1 * length), flows
    assert np.median(ratios) == pytest.approx(1, rel=0.1), ratios


def test_what_stands_still_and_what_is_flat_does_not_move():
    still = texture(1)(0, 0)
    assert motion_magnitude(still, still) == 0
    assert motion_magnitude(np.full((54, 96), 0.2), np.full((54, 96), 0.9)) == 0
    with pytest.raises(SignalError, match="found pictures of shape \\(54, 96\\) and \\(54, 95\\)"):
        optical_flow(still, still[:, 1:])


def test_colours_and_brightness_are_known():
    grey = np.full((8, 8, 3), 128, np.uint8)
    assert colourfulness(grey) == 0 and luma(grey) == pytest.approx(128 / 255)
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    # rg = 255, yb = 127.5 everywhere: 0.3 times the length of the mean
    assert colourfulness(red) == pytest.approx(0.3 * np.hypot(255, 127.5))
    half = grey.copy()
    half[:4] = red[:4]
    assert histogram_change(grey, grey) == 0
    assert histogram_change(half, grey) == pytest.approx(0.5)
    assert histogram_change(red, grey) == 1


def test_planted_cuts_are_found_and_no_others():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        cuts = np.cumsum(rng.integers(8, 30, 5))
        colours, frames = rng.permutation(8)[:6], []
        base = gaussian_filter(rng.normal(0, 60, (32, 48, 1)), (2, 2, 0))
        for k in range(cuts[-1] + 10):
            bits = colours[np.searchsorted(cuts, k, side="right")]
            colour = [40 + 170 * (bits >> i & 1) for i in range(3)]
            frame = np.roll(base, k, axis=1) + colour + rng.normal(0, 3, (32, 48, 3))
            frames.append(np.clip(frame, 0, 255).astype(np.uint8))
        pairs = zip(frames[1:], frames[:-1], strict=True)
        change = [np.nan, *(histogram_change(a, b) for a, b in pairs)]
        assert np.flatnonzero(cut_flags(np.array(change))).tolist() == cuts.tolist(), seed


def test_the_cuts_of_a_real_clip_are_found_and_its_fade_is_none(shared_data):
    """Seen by eye: three cuts; the clip begins with a fade from black of two seconds."""
    frames = iterate_frames(shared_data("video-clips") / "big_buck_bunny_0_30.webm")
    small = [f.to_rgb((64, 36)) for f in frames]
    change = [np.nan, *(histogram_change(a, b) for a, b in pairwise(small))]
    assert np.flatnonzero(cut_flags(np.array(change))).tolist() == [283, 376, 551]


def test_a_planted_flash_is_chosen_where_even_sampling_misses_it():
    """60 new clips of 6 s; the flash is a patch that jumps into the picture for three frames."""
    n, n_chosen, hits, missed = 90, 6, 0, 0
    even = np.round((np.arange(n_chosen) + 0.5) * n / n_chosen).astype(int)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        allowed = [k for k in range(3, n - 4) if not set(range(k, k + 3)) & set(even)]
        flash = int(rng.choice(allowed))
        moved, drift = texture(seed, 24, 32), rng.uniform(-0.3, 0.3, 2)
        frames = [moved(*(drift * k)) + rng.normal(0, 0.01, (24, 32)) for k in range(n)]
        for k in range(flash, flash + 3):
            frames[k] = frames[k].copy()
            frames[k][6:18, 8:24] = 1.0
        motion = [np.nan, *(motion_magnitude(frames[k - 1], frames[k]) for k in range(1, n))]
        chosen = motion_frames(np.array(motion), np.arange(n) / 15, n_chosen)
        assert len(set(chosen)) == n_chosen
        hits += bool(set(range(flash, flash + 3)) & set(chosen.tolist()))
        missed += not set(range(flash, flash + 3)) & set(even.tolist())
    assert missed == 60 and hits >= 57


def test_without_movement_frames_are_spread_and_few_frames_are_all_taken():
    seconds = np.arange(100) / 10
    chosen = motion_frames(np.zeros(100), seconds, 4)
    assert np.diff(chosen).min() >= 15
    assert motion_frames(np.zeros(3), np.arange(3.0), 6).tolist() == [0, 1, 2]
    with pytest.raises(CallError, match="expected one magnitude per time"):
        motion_frames(np.zeros(3), np.arange(4.0), 6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.001, 2), min_size=1, max_size=30), st.floats(-1, 70))
def test_the_frame_on_display_is_the_last_that_has_begun(steps, wanted):
    seconds = np.cumsum(steps) - steps[0]
    until = seconds[-1] + 0.5
    found = frames_on_display(seconds, until, np.array([wanted]))[0]
    begun = np.flatnonzero(seconds <= wanted + 1e-6)
    assert found == (begun[-1] if len(begun) and wanted < until else -1)


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_of_a_real_clip_is_seen_at_its_own_time(shared_data, name):
    n_frames, rate = CLIPS[name]
    frames = list(iterate_frames(shared_data("video-clips") / name))
    seconds = np.array([f.seconds for f in frames])
    assert len(seconds) == n_frames
    on_display = frames_on_display(seconds, frames[-1].until_seconds, seconds + 0.4 / rate)
    assert on_display.tolist() == list(range(n_frames))
    assert (frames_on_display(seconds, frames[-1].until_seconds, seconds) >= 0).all()


def test_tubes_come_back_as_the_pictures_they_were_cut_from(rng):
    pictures = rng.integers(0, 255, (16, 160, 160, 3), np.uint8)
    tubes = tubelets(pictures)
    assert tubes.shape == (8, 10, 10, 2 * 16 * 16 * 3)
    assert np.array_equal(tubes[1, 2, 3].reshape(2, 16, 16, 3), pictures[2:4, 32:48, 48:64])
    assert np.array_equal(untubed(tubes), pictures)
    with pytest.raises(CallError, match="found 3 pictures of 64 x 64 pixels, expected whole tubes"):
        tubelets(np.zeros((3, 64, 64, 3)))
