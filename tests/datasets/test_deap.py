"""DEAP: what is read is what DEAP's documentation says is there."""

import pickle
import pickletools

import numpy as np
import pytest

from physioemo.datasets.deap import deap_subjects, read_deap, read_deap_all
from physioemo.datasets.deap_fixture import deap_pickle, write_deap_fixture
from physioemo.errors import RecordingExistsError, RecordingNotFoundError, UnreadableFileError
from tests.datasets.mutations import mutations
from tests.datasets.stored import stored

N = 1024  # 8 s: 3 s of baseline and 5 s of video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deap")
    write_deap_fixture(folder, subjects=2, n_samples=N)
    return folder


def python2(path):
    """Load a file as everybody loads DEAP."""
    with path.open("rb") as file:
        return pickle.load(file, encoding="latin1")


def write(folder, data, labels, name="s01.dat"):
    (folder / name).write_bytes(deap_pickle(data, labels))
    return folder


def test_a_fixture_is_the_pickle_of_python_2(folder):
    data = (folder / "s01.dat").read_bytes()
    assert data.startswith(b"\x80\x02}(U\x06labelscnumpy.core.multiarray\n_reconstruct\ncnumpy\n")
    names = {op.name for op, _, _ in pickletools.genops(data)}
    assert {"SHORT_BINSTRING", "BINSTRING", "SETITEMS"} <= names
    assert not names & {"BINUNICODE", "BINBYTES", "STACK_GLOBAL"}
    with pytest.raises(UnicodeDecodeError):
        pickle.loads(data)


def test_a_full_size_file_is_as_large_as_the_real_ones(tmp_path):
    data = deap_pickle(np.zeros((40, 40, 8064)), np.ones((40, 4)))
    assert round(len(data) / 2**20, 3) == 98.439


def test_every_channel_is_the_one_of_the_file(folder):
    data = python2(folder / "s01.dat")["data"]
    recording = read_deap(folder, 1, n_samples=N)
    for key, first, last in (("eeg", 0, 32), ("eog", 32, 34), ("emg", 34, 36), ("pleth", 38, 39)):
        found = recording[key]["signal"].values.reshape(40, N, -1).transpose(0, 2, 1)
        np.testing.assert_array_equal(found, data[:, first:last])


def test_channels_units_and_rates_are_those_of_the_documentation(folder):
    recording = read_deap(folder, 1, n_samples=N)
    names = [str(c) for c in recording["eeg"]["channel"].values]
    assert names[:6] == ["Fp1", "AF3", "F3", "F7", "FC5", "FC1"]
    assert names[14:18] == ["Oz", "Pz", "Fp2", "AF4"] and names[31] == "O2"
    units = {k: recording[k].attrs["unit"] for k in recording.streams}
    assert units == {
        "eeg": "uV",
        "eog": "uV",
        "emg": "uV",
        "eda": "uS",
        "respiration": "a.u.",
        "pleth": "a.u.",
        "temperature": "a.u.",
    }
    assert {recording[k].attrs["sfreq"] for k in recording.streams} == {128.0}
    assert "4-45 Hz" in recording["eeg"].attrs["processing"]


def test_skin_resistance_becomes_conductance(tmp_path):
    data = np.ones((40, 40, N))
    data[:, 36] = 200_000.0
    data[3, 36, 5] = -1.0
    recording = read_deap(write(tmp_path, data, np.full((40, 4), 5.0)), 1, n_samples=N)
    skin = recording["eda"]["signal"].values[:, 0]
    assert skin[0] == 5.0 and np.isnan(skin[3 * N + 5]) and np.isnan(skin).sum() == 1
    assert recording.notes == (
        "1 samples of skin resistance are not positive and were taken as missing",
    )


def test_libeer_shuffled_labels_ratings_stay_with_their_video(tmp_path):
    """The .dat holds trials and ratings in the order of Experiment_id; both stay in it."""
    labels = np.linspace(1, 9, 160).reshape(40, 4)
    data = np.ones((40, 40, N)) * np.arange(1, 41)[:, None, None]
    recording = read_deap(write(tmp_path, data, labels), 1, n_samples=N)
    for trial in (1, 17, 40):
        row = recording.trials.sel(trial=trial)
        onset = float(row["onset_seconds"])
        part = recording.window(onset, onset + float(row["duration_seconds"]), "eeg")["eeg"]
        assert str(row["stimulus"].item()) == f"deap-video-{trial:02d}"
        assert part.signal.shape == (32, N - 384) and (part.signal == trial).all()
        rating = recording.ratings["rating"].sel(trial=trial)
        np.testing.assert_array_equal(rating, labels[trial - 1])
    assert "Experiment_id" in recording.attrs["trial_order"]


def test_torcheeg_and_libeer_midpoint_five_stays_five_and_nan_stays_missing(tmp_path):
    labels = np.full((40, 4), 5.0)
    labels[2, 0] = np.nan
    recording = read_deap(write(tmp_path, np.ones((40, 40, N)), labels), 1, n_samples=N)
    rating = recording.ratings["rating"].values
    assert rating[0].tolist() == [5.0] * 4 and np.isnan(rating[2, 0])
    assert "label" not in recording.trials
    assert recording.ratings.attrs == {"scale_minimum": 1.0, "scale_maximum": 9.0}
    assert list(recording.ratings["dimension"].values) == [
        "valence",
        "arousal",
        "dominance",
        "liking",
    ]


def test_the_baseline_is_the_three_seconds_before_the_video(folder):
    recording = read_deap(folder, 1, n_samples=N)
    events, trials = recording.events, recording.trials
    assert set(events["description"].values) == {"baseline"} and events.sizes["event"] == 40
    np.testing.assert_array_equal(events["duration_seconds"], 3.0)
    np.testing.assert_array_equal(events["onset_seconds"] + 3, trials["onset_seconds"])


def test_a_published_trial_is_a_minute_after_three_seconds(tmp_path):
    data = np.ones((40, 40, 8064), np.float64)
    recording = read_deap(write(tmp_path, data, np.full((40, 4), 5.0)), 1)
    assert recording.trials["duration_seconds"].values.tolist() == [60.0] * 40
    assert recording.trials["onset_seconds"].values[:3].tolist() == [3.0, 73.0, 143.0]


def test_no_window_spans_two_trials(folder):
    recording = read_deap(folder, 2, n_samples=N)
    windows = list(recording.windows("eeg", 300))
    assert len(windows) == 40 * (N // 300)
    assert max(w.stop_seconds - w.start_seconds for w in windows) < 300 / 128


def test_the_planted_effect_is_in_the_signal(folder):
    recording = read_deap(folder, 1, n_samples=N)
    signal = recording["eeg"]["signal"].values.reshape(40, N, 32)
    power = np.abs(np.fft.rfft(signal, axis=1)).mean(axis=2)
    alpha, beta = (np.log(power[:, f * N // 128]) for f in (10, 20))
    valence, arousal = recording.ratings["rating"].values[:, :2].T
    assert np.corrcoef(alpha, arousal)[0, 1] < -0.95
    assert np.corrcoef(beta, valence)[0, 1] > 0.95


def test_the_same_seed_writes_the_same_bytes(folder, tmp_path):
    write_deap_fixture(tmp_path, subjects=1, n_samples=N)
    assert (tmp_path / "s01.dat").read_bytes() == (folder / "s01.dat").read_bytes()
    with pytest.raises(RecordingExistsError, match=r"s01\.dat"):
        write_deap_fixture(tmp_path, subjects=1, n_samples=N)


def test_a_recording_survives_the_store(folder, tmp_path):
    recording = read_deap(folder, 1, n_samples=N)
    back = stored(recording, tmp_path / "a.zarr")
    for key in recording.streams:
        np.testing.assert_array_equal(back[key]["signal"], recording[key]["signal"])
        np.testing.assert_array_equal(back[key]["time"], recording[key]["time"])
    np.testing.assert_array_equal(back.ratings["rating"], recording.ratings["rating"])
    assert back.attrs["licence"] == recording.attrs["licence"]


def test_subjects_are_read_in_order_and_fingerprinted(folder):
    recordings = list(read_deap_all(folder, n_samples=N))
    assert [r.attrs["subject"] for r in recordings] == ["01", "02"]
    assert deap_subjects(folder) == [1, 2]
    assert len({r.attrs["source_fingerprint"] for r in recordings}) == 2


def test_a_wrong_folder_or_subject_is_an_error(folder, tmp_path):
    with pytest.raises(RecordingNotFoundError, match="data_preprocessed_python"):
        list(read_deap_all(tmp_path))
    with pytest.raises(RecordingNotFoundError, match=r"no file at .*s07\.dat"):
        read_deap(folder, 7)


def test_a_shape_that_is_not_deaps_is_an_error(folder, tmp_path):
    with pytest.raises(UnreadableFileError, match=r"\(40, 40, 1024\).*s01.*\(40, 40, 8064\)"):
        read_deap(folder, 1)
    (tmp_path / "s01.dat").write_bytes(pickle.dumps({"x": 1, "data": 2}))
    with pytest.raises(UnreadableFileError, match=r"found 'data', 'x' in .*s01\.dat"):
        read_deap(tmp_path, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_an_impossible_sample_or_rating_is_an_error(tmp_path, value):
    data = np.ones((40, 40, N))
    data[7, 3, 9] = value
    with pytest.raises(UnreadableFileError, match=r"s01\.dat"):
        read_deap(write(tmp_path, data, np.full((40, 4), 5.0)), 1, n_samples=N)
    labels = np.full((40, 4), 9.5)
    with pytest.raises(UnreadableFileError, match=r"s01\.dat: found the valence rating 9\.5"):
        read_deap(write(tmp_path, np.ones((40, 40, N)), labels), 1, n_samples=N)


def test_a_damaged_file_is_an_error_that_names_it_or_reads_whole(tmp_path):
    small = 400
    write_deap_fixture(tmp_path / "whole", subjects=1, n_samples=small)
    data = (tmp_path / "whole" / "s01.dat").read_bytes()
    refused = 0
    for damaged in mutations(data, n=200):
        (tmp_path / "s01.dat").write_bytes(damaged)
        try:
            recording = read_deap(tmp_path, 1, n_samples=small)
        except UnreadableFileError as error:
            assert "s01.dat" in str(error)
            refused += 1
        else:  # a flipped bit inside a number cannot be told from another number
            assert recording["eeg"]["signal"].shape == (40 * small, 32)
            assert len(damaged) == len(data)
    assert refused >= 120
