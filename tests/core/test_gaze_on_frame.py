"""A gaze that follows a known target on known frames is found there."""

import hashlib

import numpy as np
import pytest
import xarray as xr

from physioemo.description import StreamDescription
from physioemo.errors import CallError, DataError, NoStreamError
from physioemo.gaze_on_frame import GazeConvention, gaze_maps, gaze_on_frame
from physioemo.recording import Recording
from physioemo.stream import make_stream
from physioemo.trials import derive_tables
from tests.streams import marker_stream

FPS, ITEM, ONSET = 25.0, 2, 10.0
SIZE, RECT, WINDOW, AT, SCREEN = (
    (640, 360),
    (100, 40, 1280, 720),
    (1480, 800),
    (20, 30),
    (1920, 1080),
)
DROPPED = (7, 8, 20)
START = {
    "event": "item_start",
    "item": ITEM,
    "kind": "video",
    "stimulus": "clip-07",
    "trial": 4,
    "file": "clip.mp4",
    "sha256": "ab" * 32,
    "size": SIZE,
    "rect": RECT,
    "window": WINDOW,
    "window_position": AT,
    "screen": SCREEN,
}


def target(frame):
    """Return where on the picture of a frame the person looks, in pixels of the file."""
    return np.stack([20.5 + 3.0 * frame, 300.5 - 2.0 * frame], axis=-1)


def flip_stream(frames, seconds, item=ITEM):
    frames = np.asarray(frames, float)
    gone = np.diff(frames, prepend=-1) - 1
    values = np.column_stack([frames, frames / FPS, 0 * frames, gone, 0 * frames + item])
    description = StreamDescription(
        "PhysioEmo-Frames",
        "Frames",
        0.0,
        ("frame", "pts", "lateness", "dropped", "item"),
        ("count", "s", "s", "count", "count"),
        "double64",
    )
    return make_stream(values, description, time=np.asarray(seconds, float))


def gaze_stream(time, xy, unit="normalized", names=("gaze_x", "gaze_y"), **changes):
    fields = {"name": "Tracker", "stype": "Gaze", "sfreq": 200.0, "device": "tobii-pro", **changes}
    description = StreamDescription(
        ch_names=names, units=(unit,) * len(names), channel_format="double64", **fields
    )
    return make_stream(np.asarray(xy, float), description, time=np.asarray(time, float))


def recording(streams, starts=((ONSET, START),)):
    streams = {**streams, "markers": marker_stream(starts)}
    tables = derive_tables(streams)
    return Recording(xr.DataTree.from_dict({"/": xr.Dataset(), **streams, **tables}))


def followed(latency=0.0, start=START, unit="normalized", origin="top-left", **changes):
    """Return a recording in which gaze follows the target, and the true frame of each sample."""
    shown = np.array([f for f in range(40) if f not in DROPPED])
    flips = ONSET + shown / FPS + np.random.default_rng(1).uniform(0, 0.004, len(shown))
    time = 9.8 + np.arange(400) / 200.0 + 0.0011
    index = np.searchsorted(flips + latency, time, side="right") - 1
    truth = np.where(index >= 0, shown[np.maximum(index, 0)], -1)
    screen = target(truth) / SIZE * RECT[2:] + RECT[:2] + AT
    screen = screen if origin == "top-left" else [0, SCREEN[1]] + screen * [1, -1]
    xy = screen / SCREEN if unit == "normalized" else screen
    streams = {"gaze": gaze_stream(time, xy, unit, **changes)}
    streams["frames"] = flip_stream(shown, flips)
    return recording(streams, [(ONSET, start)]), truth


@pytest.mark.parametrize(
    ("unit", "origin"), [("normalized", "top-left"), ("px", "top-left"), ("px", "bottom-left")]
)
def test_every_sample_is_on_its_frame_and_target(unit, origin):
    data, truth = followed(unit=unit, origin=origin)
    joined = gaze_on_frame(data, convention=GazeConvention(origin))
    on = truth >= 0
    assert np.array_equal(joined["frame"].values, truth)
    assert not np.isin(joined["frame"].values, DROPPED).any()
    assert joined["pts"].values[on] == pytest.approx(truth[on] / FPS)
    xy = np.column_stack([joined["x"].values, joined["y"].values])[on]
    assert np.abs(xy - target(truth[on])).max() < 1e-6
    assert joined["on_picture"].values[on].all() and not joined["on_picture"].values[~on].any()
    # After two dropped frames the one before them stays three times as long.
    assert joined["age_seconds"].values[truth == 6].max() > 0.11
    assert joined["sha256"].values[0] == "ab" * 32 and joined["trial"].values[0] == 4
    assert not joined.attrs["latency_applied"]


def test_before_the_first_flip_nothing_is_known():
    data, truth = followed()
    before = gaze_on_frame(data).isel(time=truth < 0)
    assert before.sizes["time"] >= 40
    assert (before["presentation"] == -1).all() and np.isnan(before["x"]).all()
    assert np.isnan(before["age_seconds"]).all() and (before["frame"] == -1).all()


def test_a_measured_latency_moves_the_frames():
    data, truth = followed(latency=0.03, start={**START, "latency_seconds": 0.03})
    joined = gaze_on_frame(data)
    assert np.array_equal(joined["frame"].values, truth)
    assert joined.attrs["latency_applied"] and joined.attrs["latency_seconds"] == 0.03
    data, truth = followed(latency=0.03)
    assert (gaze_on_frame(data)["frame"].values != truth).sum() > 100


def test_blinks_and_gaps_stay_empty_and_off_the_picture_is_flagged():
    time = np.array([10.01, 10.02, 10.9, 10.91])
    screen = np.array([[np.nan, 0.5], [0.5, 0.5], [0.01, 0.5], [0.5, 1.2]])
    data = recording({"gaze": gaze_stream(time, screen), "frames": flip_stream([0, 5], [10, 10.2])})
    joined = gaze_on_frame(data)
    assert joined["valid"].values.tolist() == [False, True, True, True]
    assert joined["on_picture"].values.tolist() == [False, True, False, False]
    assert np.isnan(joined["x"].values[0]) and joined["x"].values[2] < 0
    assert joined["age_seconds"].values == pytest.approx([0.01, 0.02, 0.7, 0.71])


def test_both_eyes_are_averaged_and_an_invalid_one_left_out():
    names = ("gaze_x_left", "gaze_y_left", "gaze_x_right", "gaze_y_right")
    rows = [[0.4, 0.5, 0.6, 0.5], [0.4, 0.5, np.nan, 0.5], [np.nan] * 4]
    time = [10.01, 10.02, 10.03]
    data = recording(
        {"gaze": gaze_stream(time, rows, names=names), "frames": flip_stream([0], [10])}
    )
    expected = np.array([0.5, 0.4, np.nan]) * SCREEN[0] - AT[0]
    assert gaze_on_frame(data)["window_x"].values == pytest.approx(expected, nan_ok=True)


def test_a_restarted_player_counts_its_items_anew():
    again = {**START, "sha256": "cd" * 32, "stimulus": "clip-08", "trial": 5}
    flips = flip_stream([0, 0], [10, 20])
    gaze = gaze_stream([10.5, 20.5], [[0.5, 0.5]] * 2)
    data = recording({"gaze": gaze, "frames": flips}, [(10, START), (20, again)])
    joined = gaze_on_frame(data)
    shown = joined["presentation"].values
    assert joined["stimulus"].values[shown].tolist() == ["clip-07", "clip-08"]


def test_an_item_without_its_marker_is_not_placed():
    data = recording(
        {"gaze": gaze_stream([10.5], [[0.5, 0.5]]), "frames": flip_stream([3], [10], item=9)}
    )
    joined = gaze_on_frame(data)
    assert joined["presentation"].item() == -1 and joined["item"].item() == 9
    assert np.isnan(joined["x"].item()) and joined["frame"].item() == 3


def test_unknown_coordinates_are_an_error():
    flips = flip_stream([0], [10])

    def joined(**changes):
        stream = gaze_stream([10.5], [[0.5, 0.5]], **changes)
        return gaze_on_frame(recording({"gaze": stream, "frames": flips}))

    with pytest.raises(DataError, match="no known device explains.*state convention="):
        joined(device="")
    with pytest.raises(DataError, match="gaze of a pupil-neon, which is in the picture"):
        joined(device="pupil-neon")
    with pytest.raises(DataError, match="found gaze in deg, expected 'normalized' or 'px'"):
        joined(unit="deg")
    with pytest.raises(DataError, match="expected gaze_x and gaze_y, or those of"):
        joined(names=("a", "b"))
    with pytest.raises(CallError, match="'top-right' on 'screen', expected one of top-left"):
        GazeConvention("top-right")


def test_wrong_streams_are_named():
    data, _ = followed()
    with pytest.raises(NoStreamError, match="expected one called 'flips'"):
        gaze_on_frame(data, frames="flips")
    with pytest.raises(DataError, match="gaze_y in the stream of flips, expected frame, pts"):
        gaze_on_frame(data, frames="gaze")


def test_the_files_that_were_shown_are_found_by_their_bytes(tmp_path):
    (tmp_path / "renamed.mp4").write_bytes(b"film")
    sha256 = hashlib.sha256(b"film").hexdigest()
    data, _ = followed(start={**START, "sha256": sha256})
    joined = gaze_on_frame(data, media=[tmp_path / "renamed.mp4"])
    assert joined["path"].values[0] == str(tmp_path / "renamed.mp4")
    data, _ = followed()
    with pytest.raises(DataError, match=r"item 2 showed clip.mp4 .SHA-256 abababababab\.\.\."):
        gaze_on_frame(data, media=[tmp_path / "renamed.mp4"])


def test_maps_hold_every_sample_in_its_cell():
    data, truth = followed()
    joined = gaze_on_frame(data)
    maps = gaze_maps(joined, 0, shape=(36, 64))
    shown = np.unique(truth[truth >= 0])
    assert np.array_equal(maps["frame"].values, shown)
    assert np.array_equal(maps.sum(("row", "column")).values, [(truth == f).sum() for f in shown])
    for number, one in zip(shown, maps.values, strict=True):
        row, column = np.unravel_index(one.argmax(), one.shape)
        assert (column, row) == tuple((target(number) // 10).astype(int))
    blurred = gaze_maps(joined, 0, shape=(36, 64), blur_cells=1.0).sel(frame=30)
    assert blurred.sum().item() == pytest.approx((truth == 30).sum(), rel=1e-3)
    with pytest.raises(CallError, match="found presentation 3, expected one of 1"):
        gaze_maps(joined, 3)
