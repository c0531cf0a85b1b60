import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import AmbiguousStreamError, CallError, DataError, NoStreamError
from physioemo.ring import Ring
from physioemo.store import create_recording
from physioemo.stream import describe_stream
from physioemo.trials import make_ratings, parse_marker, rating_scale
from tests.streams import eeg_stream, marker_stream, rating_stream, trial_markers


@pytest.fixture
def recording(tmp_path):
    ramp = np.arange(500.0)[:, None] + [0, 1000]
    streams = {
        "EEG": eeg_stream(ramp, ch_names=("Fp1", "Fp2"), units=("mV", "mV")),
        "left": eeg_stream(ramp, stype="Gaze", name="gaze-left"),
        "right": eeg_stream(ramp, stype="Gaze", name="gaze-right"),
        "m": marker_stream([(0.5, "hello")]),
    }
    return create_recording(tmp_path / "a.zarr", streams)


def test_a_stream_is_found_by_group_name_lsl_name_or_modality(recording):
    assert recording.key("left") == "left"
    assert recording.key("gaze-left") == "left"
    assert recording.key("eeg") == "EEG"


def test_an_ambiguous_or_unknown_stream_names_what_is_there(recording):
    with pytest.raises(AmbiguousStreamError, match=r"found 2 streams .* 'gaze' .left, right."):
        recording["gaze"]
    with pytest.raises(NoStreamError, match="did you mean 'left'"):
        recording["lefd"]


def test_a_window_holds_the_samples_between_two_times(recording):
    window = recording.window(0.1, 0.2, "EEG")
    assert window["EEG"].signal.shape == (2, 25)
    assert window["EEG"].signal[0].tolist() == list(range(25, 50))
    with pytest.raises(CallError, match="expected a later end"):
        recording.window(1.0, 1.0)


def test_windows_cut_streams_whose_stamps_step_backwards(tmp_path):
    time = np.arange(500) / 250 + np.tile([0.0, 0.02, 0.01, -0.01, 0.0], 100)
    r = create_recording(tmp_path / "a.zarr", {"EEG": eeg_stream(np.zeros((500, 2)), time=time)})
    parts = [r.window(a, a + 0.5)["EEG"].time for a in (0.0, 0.5, 1.0, 1.5)]
    joined = np.concatenate(parts)
    assert np.array_equal(joined, time[: len(joined)])
    assert len(joined) >= 490


def test_missing_values_are_masked(tmp_path):
    signal = np.ones((100, 2), np.float32)
    signal[10, 1] = np.nan
    r = create_recording(tmp_path / "a.zarr", {"EEG": eeg_stream(signal)})
    present = r.window(0, 1)["EEG"].present
    assert not present[1, 10] and present.sum() == 199


def test_quality_counts_gaps_missing_and_flat(tmp_path):
    time = np.arange(500) / 250
    time[250:] += 1.0
    signal = np.random.default_rng(0).standard_normal((500, 2))
    signal[:, 1] = 3.0
    signal[7, 0] = np.inf
    r = create_recording(tmp_path / "a.zarr", {"EEG": eeg_stream(signal, time=time)})
    quality = r.quality()["EEG"]
    assert quality["n_expected"] - quality["n_samples"] == 250
    assert quality["gaps"][0]["duration_seconds"] == pytest.approx(1.004)
    assert quality["flat_channels"] == ["E1"] and quality["n_missing_values"] == 1
    assert quality["measured_rate_hz"] == pytest.approx(250)


def test_windows_never_span_a_gap(tmp_path):
    time = np.arange(500) / 250
    time[255:] += 1.0
    r = create_recording(tmp_path / "a.zarr", {"EEG": eeg_stream(np.zeros((500, 1)), time=time)})
    windows = list(r.windows("EEG", 50))
    assert [w.segment for w in windows] == [0] * 5 + [1] * 4
    assert all(np.ptp(w["EEG"].time) < 0.21 for w in windows)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 120), min_size=1, max_size=30), st.integers(1, 70), st.data())
def test_the_ring_gives_the_recordings_windows_however_it_is_fed(chunks, hop, data):
    n = sum(chunks)
    steps = data.draw(st.lists(st.sampled_from([0.004] * 9 + [0.5, -0.5]), min_size=n, max_size=n))
    time = np.cumsum(np.array(steps, float))
    stream = eeg_stream(np.arange(2.0 * n).reshape(n, 2), time=time)
    import xarray as xr

    from physioemo.recording import Recording

    expected = list(Recording(xr.DataTree.from_dict({"EEG": stream})).windows("EEG", hop))
    ring, made, at = Ring("EEG", describe_stream(stream), hop), [], 0
    for size in chunks:
        part = slice(at, at + size)
        made += ring.push(stream["signal"].values[part], time[part])
        at += size
    assert len(made) == len(expected)
    for a, b in zip(made, expected, strict=True):
        assert (a.start_seconds, a.stop_seconds, a.segment) == (
            b.start_seconds,
            b.stop_seconds,
            b.segment,
        )
        assert np.array_equal(a["EEG"].signal, b["EEG"].signal)


def test_ratings_join_their_trials_and_the_last_one_counts(tmp_path):
    streams = {
        "EEG": eeg_stream(np.zeros((500, 1))),
        "m": trial_markers([(1, 0.1, 0.5, "a"), (2, 1.0, 0.5, "b")]),
        "r": rating_stream([(0.7, 1, 2, 8, 5), (1.6, 2, 7, 3, 5), (1.8, 2, 8, 3, 5)]),
    }
    ratings = create_recording(tmp_path / "a.zarr", streams).ratings
    assert ratings["rating"].values.tolist() == [[2, 8, 5], [8, 3, 5]]
    assert (ratings.attrs["scale_minimum"], ratings.attrs["scale_maximum"]) == (1, 9)


@pytest.mark.parametrize("unit", ["", "points", "9-1"])
def test_an_unknown_rating_scale_is_an_error(unit):
    with pytest.raises(DataError, match="expected their scale such as '1-9'"):
        rating_scale(unit)


def test_a_rating_outside_its_scale_is_an_error():
    with pytest.raises(DataError, match="found the valence rating 10 in row 0, expected 1 to 9"):
        make_ratings([1], ["valence"], np.array([[10.0]]), scale=(1, 9))


def test_a_trial_number_that_comes_twice_is_an_error(tmp_path):
    from physioemo.trials import make_trials

    with pytest.raises(DataError, match="found trial 1 more than once"):
        make_trials([(1, 0.0, 1.0, ""), (1, 2.0, 1.0, "")])


@pytest.mark.parametrize("text", ["hello", "{", '{"trial": 1}', "[1]", ""])
def test_other_markers_are_plain_text(text):
    assert parse_marker(text) is None
