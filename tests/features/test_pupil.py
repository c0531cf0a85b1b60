"""Pupil size against planted signals and real recordings with blinks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.description import StreamDescription
from physioemo.errors import CallError, StreamDescriptionError, UnitError
from physioemo.features import eye_events
from physioemo.features.eye_channels import pupil_eyes
from physioemo.features.family import FamilyOptions, WindowGrid
from physioemo.features.pupil import PUPIL, PUPIL_FEATURES, pupil_missing
from physioemo.files import read_recording
from tests.features.folding import folded

SFREQ = 200.0


def described(names=("pupil",), units=("mm",), sfreq=SFREQ, stype="Pupil", **changes):
    return StreamDescription("Eyes", stype, sfreq, names, units, "double64", **changes)


def values(signal, window_seconds=2.0, description=None):
    """Return the features of the first eye by name, each (window,)."""
    description = description or described()
    grid = WindowGrid.in_seconds(description.sfreq, window_seconds, window_seconds)
    found = PUPIL.prepare(description, grid, FamilyOptions()).batch(np.atleast_2d(signal))[:, 0]
    return dict(zip(PUPIL_FEATURES, found.T, strict=True))


def widening(n_seconds=8.0, slope=0.2, unrest=0.1):
    time = np.arange(round(n_seconds * SFREQ)) / SFREQ
    return 3 + slope * time + unrest * np.sqrt(2) * np.sin(2 * np.pi * 4 * time)


def with_blink(pupil, start, n=40, value=np.nan, edge=8):
    """Return a pupil that is half hidden for 40 ms before and after it is missing."""
    pupil = pupil.copy()
    pupil[start - edge : start + n + edge] *= np.linspace(1.0, 0.5, 2 * edge + n)
    pupil[start : start + n] = value
    return pupil


def test_mean_slope_and_unrest_of_a_known_pupil():
    found = values(widening())
    assert found["size_mean"] == pytest.approx([3.2, 3.6, 4.0, 4.4], abs=0.002)
    assert found["size_slope"] == pytest.approx([0.2] * 4, abs=0.02)
    assert found["size_sd"] == pytest.approx([0.1] * 4, abs=0.002)


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_blink_and_its_edges_change_nothing_but_the_blinks(value):
    plain = values(widening(unrest=0.0))
    blinked = values(with_blink(widening(unrest=0.0), 600, value=value))
    assert blinked["blink_count"].tolist() == [0, 1, 0, 0]
    assert blinked["blink_share"].tolist() == [0, 0.1, 0, 0]
    assert blinked["valid_share"].tolist() == [1, 1 - (40 + 10 + 20) / 400, 1, 1]
    assert blinked["size_slope"] == pytest.approx(plain["size_slope"], abs=1e-9)
    assert blinked["size_sd"] == pytest.approx([0] * 4, abs=1e-9)


def test_the_edge_of_a_blink_before_the_window_is_masked_in_it():
    pupil = with_blink(widening(unrest=0.0), 355)  # missing until sample 395 of 400
    found = values(pupil)
    assert found["blink_count"].tolist() == [1, 0, 0, 0]
    assert found["valid_share"][1] == 1 - 15 / 400
    assert found["size_sd"][1] == pytest.approx(0, abs=1e-9)


def test_closed_lids_hide_the_pupil_that_a_tracker_goes_on_giving():
    pupil, lids = widening(unrest=0.0), np.full(1600, 9.0)
    pupil[600:640], lids[600:640] = 1.2, 0.1
    names = ("pupil_diameter_left_mm", "eyelid_aperture_left_mm")
    found = values(np.stack([pupil, lids]), 2.0, described(names, ("mm", "mm")))
    assert found["blink_count"].tolist() == [0, 1, 0, 0]
    assert found["size_sd"] == pytest.approx([0] * 4, abs=1e-9)
    metres = values(np.stack([pupil, lids / 1000]), 2.0, described(names, ("mm", "m")))
    assert metres["blink_count"].tolist() == [0, 1, 0, 0]


def test_eyes_that_stay_closed_are_no_blink_and_no_pupil():
    names = ("pupil_left", "eyelid_aperture_left")
    found = values(
        np.stack([np.full(800, 2.0), np.full(800, 0.2)]), 2.0, described(names, ("mm", "mm"))
    )
    assert found["valid_share"].tolist() == [0, 0] and np.isnan(found["size_mean"]).all()
    assert found["blink_count"].tolist() == [0, 0] and found["blink_share"].tolist() == [0, 0]


def test_each_eye_keeps_its_own_row_and_unit():
    names = ("gaze_x", "gaze_y", "pupil_left", "pupil_right")
    types = ("gaze", "gaze", "pupil", "pupil")
    description = described(names, ("px", "px", "a.u.", "a.u."), stype="Gaze", ch_types=types)
    extractor = PUPIL.prepare(description, WindowGrid(400, 400), FamilyOptions())
    signal = np.stack([np.zeros(400), np.zeros(400), np.full(400, 900.0), np.full(400, 800.0)])
    assert extractor.coords["eye"] == ("left", "right")
    assert extractor.batch(signal)[0, :, 0].tolist() == [900.0, 800.0]
    assert extractor.units == ("a.u.", "a.u./s", "a.u.", "count", "ratio", "ratio")


def test_pupils_are_found_in_a_stream_whose_channels_all_are_called_gaze():
    names = ("left_x", "left_y", "left_pupil", "left_pupil_x", "pupilDiameterRight")
    eyes = pupil_eyes(described(names, ("px", "px", "mm", "px", "mm"), stype="Gaze"))
    assert [(e.side, e.pupil) for e in eyes] == [("left", 2), ("right", 4)]


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 1600), max_size=12), hop=st.sampled_from([0.1, 0.5, 1.0, 3.0]))
def test_chunks_change_no_bit(cuts, hop):
    pupil = with_blink(with_blink(widening(), 380), 1010)[None]
    grid = WindowGrid.in_seconds(SFREQ, 1.0, hop)
    extractor = PUPIL.prepare(described(), grid, FamilyOptions())
    found = folded(extractor, pupil, cuts)
    assert np.array_equal(found, extractor.batch(pupil), equal_nan=True)


@pytest.mark.parametrize(
    ("description", "error", "message"),
    [
        (described(sfreq=0.0), CallError, "found the irregular stream 'Eyes'"),
        (described(sfreq=10.0), CallError, "at 10 Hz, expected at least 20 Hz"),
        (described(("eyeball_x",)), StreamDescriptionError, "found no pupil among eyeball_x"),
        (
            described(("pupil_left", "eyelid_left"), ("mm", "normalized")),
            UnitError,
            "found the unit 'normalized', expected one that converts to 'mm'",
        ),
        (
            described(("pupil_left", "pupil_right"), ("mm", "a.u.")),
            StreamDescriptionError,
            "found the units a.u., mm, expected one",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_any_sample(description, error, message):
    with pytest.raises(error, match=message):
        PUPIL.prepare(description, WindowGrid(200, 200), FamilyOptions())


@pytest.mark.parametrize(("side", "n_more"), [("left", 0), ("right", 1)])
def test_neons_own_blinks_are_found(shared_data, side, n_more):
    recording = read_recording(shared_data("pupil-labs-neon"))
    eyes = recording["pupil"]
    time = eyes["time"].values
    pupil, lids = (
        eyes["signal"].sel(channel=f"{what}_{side}_mm").values.astype(float)
        for what in ("pupil_diameter", "eyelid_aperture")
    )
    runs = eye_events.blink_runs(pupil_missing(pupil, lids), 200.0)
    start, stop = time[runs.start], time[runs.stop - 1]
    device = recording["blinks"]
    device_start = device["time"].values
    device_stop = device_start + device["signal"].values[:, 0]
    inside = [
        np.flatnonzero((start > a) & (stop < b))
        for a, b in zip(device_start, device_stop, strict=True)
    ]
    # The device counts from the first movement of the lids, we from half closed.
    assert [len(i) for i in inside] == [1, 1]
    onset_error = start[np.concatenate(inside)] - device_start
    assert (onset_error > 0.02).all() and (onset_error < 0.06).all()
    assert len(runs.start) == 2 + n_more  # the right eye closes alone once more


def test_masking_keeps_the_blinks_of_neon_out_of_the_pupil(shared_data):
    recording = read_recording(shared_data("pupil-labs-neon"))
    extractor = PUPIL.prepare(recording.description("pupil"), WindowGrid(400, 400), FamilyOptions())
    signal = recording["pupil"]["signal"].values.T.astype(float)
    found = extractor.batch(signal)
    assert found[:, 0, PUPIL_FEATURES.index("blink_count")].tolist() == [0, 1, 1, 0]
    masked = found[:, 0, PUPIL_FEATURES.index("size_sd")]
    windows = signal[0, :1600].reshape(4, 400)
    plain = windows.std(axis=1)
    assert (masked[1:3] < 0.5 * plain[1:3]).all() and (masked < 0.2).all()
    usable = found[:, 0, PUPIL_FEATURES.index("valid_share")]
    assert (usable[1:3] > 0.75).all() and usable[[0, 3]] == pytest.approx([1, 1], abs=0.03)


def test_eyelinks_blinks_are_counted_in_windows(shared_data):
    recording = read_recording(shared_data("pypillometry-eyelink") / "002_rlmw_samples_short.asc")
    extractor = PUPIL.prepare(
        recording.description("eyelink"), WindowGrid(500, 500), FamilyOptions()
    )
    found = extractor.batch(recording["eyelink"]["signal"].values.T)
    assert found[:, :, PUPIL_FEATURES.index("blink_count")].sum(axis=0).tolist() == [11, 10]
    share = found[:, :, PUPIL_FEATURES.index("blink_share")].mean(axis=0)
    assert share == pytest.approx([561 / 20465, 389 / 20465], rel=0.03)
    mean = found[:, :, 0].mean(axis=0)
    assert mean == pytest.approx([1118, 946], rel=0.02)
