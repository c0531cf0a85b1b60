"""Gaze against planted eye movements and against an eye tracker's own parser."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.acquisition.participant import ParticipantConfig
from physioemo.acquisition.simulate import simulated_streams
from physioemo.description import StreamDescription
from physioemo.errors import CallError, StreamDescriptionError
from physioemo.features import eye_events
from physioemo.features.eye_channels import gaze_eyes, resample_eyes_offline
from physioemo.features.family import FamilyOptions, WindowGrid
from physioemo.features.gaze import GAZE, GAZE_FEATURES, GazeWindow, gaze_features
from physioemo.files import read_recording
from physioemo.stream import make_stream
from tests.features.folding import folded

SFREQ = 250.0


def described(sfreq=SFREQ, names=("x", "y"), units=("deg", "deg"), **changes):
    return StreamDescription("Gaze", "Gaze", sfreq, names, units, "double64", **changes)


def moving_eye(rng, jumps, n_seconds=4.0, noise=0.02):
    """Return gaze (2, time) in degrees that jumps by (dx, dy) within 40 ms at each onset."""
    time = np.arange(round(n_seconds * SFREQ)) / SFREQ
    gaze = rng.normal(0, noise, (2, len(time)))
    for onset, dx, dy in jumps:
        part = np.clip((time - onset) / 0.04, 0, 1)
        minimum_jerk = part**3 * (10 - 15 * part + 6 * part**2)
        gaze += np.array([[dx], [dy]]) * minimum_jerk
    return gaze


def values(signal, window_seconds, description=None, hop_seconds=None):
    """Return the features of the first eye as (window, feature) and by name."""
    description = description or described()
    grid = WindowGrid.in_seconds(description.sfreq, window_seconds, hop_seconds or window_seconds)
    found = GAZE.prepare(description, grid, FamilyOptions()).batch(signal)[:, 0]
    return dict(zip(GAZE_FEATURES, found.T, strict=True))


def test_planted_saccades_and_fixations_are_found(rng):
    found = values(moving_eye(rng, [(1.0, 5, 0), (2.0, -3, 4), (3.0, 0, -8)]), 4.0)
    assert found["saccade_count"].tolist() == [3]
    assert found["saccade_amplitude"] == pytest.approx((5 + 5 + 8) / 3, rel=0.02)
    # The first fixation began before anybody looked; the last is cut off.
    assert found["fixation_count"].tolist() == [3]
    assert found["fixation_duration"] == pytest.approx(0.96, abs=0.03)
    assert found["blink_count"].tolist() == [0] and found["valid_share"].tolist() == [1]


def test_the_unit_only_scales_lengths(rng):
    gaze = moving_eye(rng, [(1.0, 5, 0), (2.0, -3, 4)])
    degrees = values(gaze, 2.0)
    pixels = values(gaze * 37, 2.0, described(units=("px", "px")))
    assert np.array_equal(degrees["saccade_count"], pixels["saccade_count"])
    assert pixels["dispersion_rms"] == pytest.approx(37 * degrees["dispersion_rms"])
    assert pixels["dispersion_bcea"] == pytest.approx(37**2 * degrees["dispersion_bcea"])
    assert pixels["saccade_amplitude"] == pytest.approx(37 * degrees["saccade_amplitude"])


def test_units_are_stated_as_the_stream_has_them():
    grid = WindowGrid(250, 250)
    pixels = GAZE.prepare(described(units=("px", "px")), grid, FamilyOptions())
    assert pixels.units[:2] == ("px", "px^2") and pixels.units[3] == "s"
    assert len(pixels.units) == len(GAZE_FEATURES) == len(pixels.coords["feature"])


def test_an_eye_slower_than_thirty_degrees_a_second_makes_no_saccade(rng):
    slow = rng.normal(0, 0.001, (2, 1000))
    slow[0] += np.interp(np.arange(1000) / SFREQ, [2.0, 2.2], [0.0, 4.0])  # 20 degrees a second
    assert values(slow, 4.0)["saccade_count"].tolist() == [0]
    # Where the unit says nothing of angles, only the window's own noise can tell.
    assert values(slow, 4.0, described(units=("px", "px")))["saccade_count"].tolist() == [1]


def test_the_ellipse_holds_68_percent_of_a_normal_distribution(rng):
    cloud = np.linalg.cholesky([[4.0, 1.5], [1.5, 1.0]]) @ rng.standard_normal((2, 40_000))
    found = gaze_features(GazeWindow(*cloud, np.zeros(40_000, bool), 0), SFREQ, degrees=True)
    by_name = dict(zip(GAZE_FEATURES, found, strict=True))
    assert by_name["dispersion_rms"] == pytest.approx(np.sqrt(5), rel=0.02)
    assert by_name["dispersion_bcea"] == pytest.approx(
        2 * 1.14 * np.pi * np.sqrt(4 * 1 - 1.5**2), rel=0.03
    )
    inverse = np.linalg.inv([[4.0, 1.5], [1.5, 1.0]])
    inside = np.einsum("ik,ij,jk->k", cloud, inverse, cloud) < 2 * 1.14
    assert inside.mean() == pytest.approx(0.682, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(
    places=st.lists(st.integers(0, 18), min_size=1, max_size=8, unique=True),
    length=st.integers(10, 80),
    shift=st.integers(1, 99),
)
def test_each_blink_counts_in_the_one_window_where_it_begins(places, length, shift):
    gaze = np.random.default_rng(0).normal(0, 0.1, (2, 2500))
    starts = [120 * place + shift for place in places]
    for start in starts:
        gaze[:, start : start + length] = np.nan
    found = values(gaze, 1.0)["blink_count"]
    assert found.tolist() == np.histogram(starts, bins=np.arange(0, 2501, 250))[0].tolist()


def test_a_blink_masks_what_lies_around_it(rng):
    gaze = moving_eye(rng, [])
    gaze[:, 500:550] = np.nan
    gaze[:, [498, 499, 550, 551]] = 40.0  # the lid pulls gaze away
    found = values(gaze, 4.0)
    assert found["blink_count"].tolist() == [1]
    assert found["blink_share"].tolist() == [0.05]
    assert found["valid_share"] == pytest.approx(1 - (50 + 13 + 25) / 1000)
    assert found["saccade_count"].tolist() == [0] and found["dispersion_rms"] < 0.1


def test_an_infinite_sample_is_a_missing_one(rng):
    gaze = moving_eye(rng, [(0.5, 2, 1), (1.5, -4, 2)])
    for what in (np.nan, np.inf):
        gaze[:, 230:245] = what
        found = values(gaze, 1.0)
        assert found["blink_count"].tolist() == [1, 0, 0, 0]
        assert found["valid_share"][:2] == pytest.approx([1 - 33 / 250, 1 - 20 / 250])


def test_without_an_eye_only_blinks_and_validity_are_numbers():
    found = values(np.full((2, 500), np.nan), 2.0)
    assert found["valid_share"].tolist() == [0] and found["blink_count"].tolist() == [0]
    names = [n for n in GAZE_FEATURES if "blink" not in n and n != "valid_share"]
    assert all(np.isnan(found[n]).all() for n in names)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 1000), max_size=12), hop=st.sampled_from([0.2, 0.5, 1.0, 1.4]))
def test_chunks_change_no_bit(cuts, hop):
    rng = np.random.default_rng(3)
    gaze = moving_eye(rng, [(0.5, 2, 1), (1.5, -4, 2), (2.9, 3, 3)])
    gaze[:, 600:640] = np.nan
    grid = WindowGrid.in_seconds(SFREQ, 1.0, hop)
    extractor = GAZE.prepare(described(), grid, FamilyOptions())
    found = folded(extractor, gaze, cuts)
    assert np.array_equal(found, extractor.batch(gaze), equal_nan=True)
    assert len(extractor.batch(gaze)) == grid.n_windows(1000)


def test_nothing_after_a_window_is_seen(rng):
    gaze = moving_eye(rng, [(0.5, 2, 1), (1.5, -4, 2)])
    changed = gaze.copy()
    changed[:, 500:] = rng.normal(0, 50, (2, 500))
    before, after = values(gaze, 1.0), values(changed, 1.0)
    for name in GAZE_FEATURES:
        assert np.array_equal(before[name][:2], after[name][:2], equal_nan=True)


@pytest.mark.parametrize(
    ("description", "error", "message"),
    [
        (described(0.0), CallError, "irregular stream 'Gaze', .*resample_eyes_offline"),
        (described(30.0), CallError, "at 30 Hz, expected at least 50 Hz: saccades last"),
        (described(names=("a", "b")), StreamDescriptionError, "no pair of gaze channels among a,"),
        (described(units=("px", "deg")), StreamDescriptionError, "units deg, px, expected one"),
        (described(names=("x", "gaze_x")), StreamDescriptionError, "'x' and 'gaze_x' for the same"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_sample(description, error, message):
    with pytest.raises(error, match=message):
        GAZE.prepare(description, WindowGrid(250, 250), FamilyOptions())


@pytest.mark.parametrize(
    "names",
    [
        ("x_left", "y_left", "x_right", "y_right"),
        ("leftEyeX", "leftEyeY", "rightEyeX", "rightEyeY"),
        ("L_gaze_x", "L_gaze_y", "R_gaze_x", "R_gaze_y"),
        ("xpos_left", "ypos_left", "xpos_right", "ypos_right"),
    ],
)
def test_eyes_are_found_by_name(names):
    eyes = gaze_eyes(described(names=names, units=("px",) * 4))
    assert [(e.side, e.x, e.y) for e in eyes] == [("left", 0, 1), ("right", 2, 3)]


def test_positions_in_space_are_no_gaze():
    names = ("confidence", "norm_pos_x", "norm_pos_y", "gaze_point_3d_x", "eye_center0_x")
    (eye,) = gaze_eyes(described(names=names, units=("normalized",) * 5))
    assert (eye.side, eye.x, eye.y) == ("both", 1, 2)


def test_what_the_device_calls_invalid_is_missing_for_that_eye_alone(rng):
    names = ("gaze_x_left", "gaze_y_left", "gaze_x_right", "gaze_y_right", "pupil_left",
             "gaze_point_valid_left", "pupil_valid_left")  # fmt: skip
    kinds = ("gaze",) * 4 + ("pupil",) + ("validity",) * 2
    units = ("deg",) * 4 + ("mm",) + ("bool",) * 2
    description = described(names=names, units=units, ch_types=kinds)
    left, right = gaze_eyes(description)
    assert (left.gaze_valid, left.pupil_valid, right.gaze_valid) == (5, 6, None)
    n = int(4 * SFREQ)
    signal = rng.normal(0, 0.1, (7, n))
    signal[4:] = 1.0
    signal[5, : n // 2] = 0
    grid = WindowGrid.in_seconds(SFREQ, 4.0, 4.0)
    (found,) = GAZE.prepare(description, grid, FamilyOptions()).batch(signal)
    share = found[:, GAZE_FEATURES.index("valid_share")]
    assert share[0] == pytest.approx(0.5, abs=0.06) and share[1] == 1.0


def test_resampling_bridges_no_gap_and_no_blink(rng):
    time = np.cumsum(rng.uniform(0.003, 0.006, 400))
    time[200:] += 1.0
    signal = np.stack([3 * time, -time], axis=1)
    signal[100] = np.nan
    regular = resample_eyes_offline(make_stream(signal, described(0.0), time=time), 200.0)
    grid, found = regular["time"].values, regular["signal"].values
    assert regular.attrs["sfreq"] == 200.0 and np.allclose(np.diff(grid), 0.005)
    seen = np.isfinite(found[:, 0])
    assert np.allclose(found[seen], np.stack([3 * grid, -grid], axis=1)[seen])
    in_gap = (grid > time[199]) & (grid < time[200])
    beside = (grid > time[99]) & (grid < time[101])
    assert not seen[in_gap].any() and not seen[beside].any() and seen[~in_gap & ~beside].all()


def test_the_simulated_eyes_are_seen_as_they_were_made():
    config = ParticipantConfig(seed=3)
    description, signal, _ = simulated_streams(config, duration_seconds=120.0)["gaze"]
    grid = WindowGrid.in_seconds(description.sfreq, 5.0, 5.0)
    found = GAZE.prepare(description, grid, FamilyOptions()).batch(np.asarray(signal).T)[:, 0]
    by_name = dict(zip(GAZE_FEATURES, found.T, strict=True))
    blinks = eye_events.mask_runs(np.isnan(np.asarray(signal)[:, 0]))
    assert by_name["blink_count"].sum() == (blinks.start < 120 * description.sfreq).sum()
    # About three fixations a second, less what blinks hide.
    assert 1.5 < by_name["fixation_count"].mean() / 5 < 3.5
    assert 0.2 < np.nanmean(by_name["fixation_duration"]) < 0.6


def parsed(recording, kind, side):
    """Return start, end of the tracker's own events of one eye."""
    stream = recording[f"{kind}s"]
    mine = stream["signal"].values[:, 0] == (side == "right")
    start = stream["time"].values[mine]
    return start, start + stream["signal"].values[mine, 1]


def agreement(ours, device):
    """Return the share of the device's events found, the number of false ones, onset errors."""
    (a, b), (start, stop) = ours, device
    overlap = np.minimum(b[None], stop[:, None]) - np.maximum(a[None], start[:, None])
    best = overlap.argmax(axis=1)
    found = overlap.max(axis=1) > 0
    return found.mean(), len(a) - len(set(best[found])), a[best[found]] - start[found]


@pytest.mark.parametrize("side", ["left", "right"])
def test_events_agree_with_the_trackers_own_parser(shared_data, side):
    recording = read_recording(shared_data("pypillometry-eyelink") / "002_rlmw_samples_short.asc")
    eye = recording["eyelink"]
    x, y = (eye["signal"].sel(channel=f"{c}_{side}").values.copy() for c in "xy")
    missing = np.isnan(x)
    blinks = eye_events.blink_runs(missing, 500.0)
    blink_start, blink_stop = parsed(recording, "blink", side)
    assert (blinks.start / 500).tolist() == pytest.approx(blink_start.tolist(), abs=1e-9)
    assert (blinks.stop / 500).tolist() == pytest.approx(blink_stop.tolist(), abs=1e-9)

    unusable = eye_events.padded(missing, 500.0)
    x[unusable] = y[unusable] = np.nan
    saccades = eye_events.saccade_runs(x, y, 500.0, degrees=False)
    start, stop = parsed(recording, "saccade", side)
    # The parser calls the closing of the lids a saccade around each blink; we mask it.
    apart = [
        (b < blink_start - 0.05).sum() + (a > blink_stop + 0.1).sum() == len(blink_start)
        for a, b in zip(start, stop, strict=True)
    ]
    share, false, error = agreement(
        (saccades.start / 500, saccades.stop / 500), (start[apart], stop[apart])
    )
    assert share >= 0.98 and false <= 6
    assert np.median(np.abs(error)) <= 0.004 and np.quantile(np.abs(error), 0.9) <= 0.006

    fixations = eye_events.fixation_runs(x, y, saccades, 500.0)
    share, false, error = agreement(
        (fixations.start / 500, fixations.stop / 500), parsed(recording, "fixation", side)
    )
    assert share >= 0.96 and false <= 8
    assert np.median(np.abs(error)) <= 0.012


def test_windows_of_a_real_recording_add_up(shared_data):
    recording = read_recording(shared_data("pypillometry-eyelink") / "002_rlmw_samples_short.asc")
    extractor = GAZE.prepare(
        recording.description("eyelink"), WindowGrid(1000, 1000), FamilyOptions()
    )
    found = extractor.batch(recording["eyelink"]["signal"].values.T)
    assert extractor.coords["eye"] == ("left", "right")
    total = dict(zip(GAZE_FEATURES, found.sum(axis=0).T.tolist(), strict=True))
    assert total["blink_count"] == [11, 10]
    assert total["saccade_count"] == pytest.approx([118, 121], abs=3)
    assert total["fixation_count"] == pytest.approx([129, 129], abs=4)  # as the tracker's parser
    assert (found[:, :, GAZE_FEATURES.index("valid_share")] > 0.5).all()
