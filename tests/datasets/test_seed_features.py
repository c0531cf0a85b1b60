"""SEED's published features: what is read is what its documentation says is there."""

import os
import pickle
import pickletools
import shutil

import numpy as np
import pytest
import scipy.io

from physioemo.datasets import seed, seed_eye, seed_fixture
from physioemo.datasets.mat_names import first_variable
from physioemo.datasets.seed_eye import read_seed_eye, read_seed_eye_session, seed_eye_sources
from physioemo.datasets.seed_features import (
    read_seed_features,
    read_seed_features_session,
    seed_features_sources,
)
from physioemo.datasets.seed_features_fixture import (
    python3_pickle,
    write_seed_eye_fixture,
    write_seed_features_fixture,
)
from physioemo.errors import (
    CallError,
    RecordingExistsError,
    RecordingNotFoundError,
    UnreadableFileError,
)
from tests.datasets.mutations import mutations
from tests.datasets.stored import stored

N = 6
SMALL = {"window_seconds": 1, "n_windows": N}
LABELS = [1, 0, -1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 0, 1, -1]
PLACES = {"de": 62, "psd": 62, "dasm": 27, "rasm": 27, "asm": 54, "dcau": 23}
SECONDS = [235, 233, 206, 238, 185, 195, 237, 216, 265, 237, 235, 233, 235, 238, 206]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ExtractedFeatures_1s")
    write_seed_features_fixture(folder, subjects=2, sessions=2, n_windows=N)
    return folder


@pytest.fixture(scope="module")
def recording(folder):
    return read_seed_features_session(folder, 1, 1, **SMALL)


@pytest.fixture(scope="module")
def eye_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eye_tracking_feature")
    write_seed_eye_fixture(folder, subjects=7, sessions=2, n_windows=N)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Return folders of 1 s and 4 s with all the windows that SEED has."""
    folders = {}
    for seconds in (1, 4):
        folders[seconds] = tmp_path_factory.mktemp(f"published_{seconds}s")
        write_seed_features_fixture(
            folders[seconds], subjects=1, sessions=1, window_seconds=seconds
        )
    return folders


def rewrite(folder, target, change):
    """Copy the first session with its variables changed."""
    shutil.copy(folder / "label.mat", target)
    content = {k: v for k, v in scipy.io.loadmat(folder / "1_20131027.mat").items() if k[0] != "_"}
    change(content)
    scipy.io.savemat(target / "1_20131027.mat", content)
    return target


def test_a_file_has_the_180_arrays_of_the_release_in_its_order(folder):
    found = scipy.io.whosmat(folder / "1_20131027.mat")
    assert len(found) == 180
    assert [name for name, _, _ in found[:13]] == [
        "de_movingAve1", "de_LDS1", "psd_movingAve1", "psd_LDS1", "dasm_movingAve1", "dasm_LDS1",
        "rasm_movingAve1", "rasm_LDS1", "asm_movingAve1", "asm_LDS1", "dcau_movingAve1",
        "dcau_LDS1", "de_movingAve2",
    ]  # fmt: skip
    assert {n.split("_")[0]: s for n, s, _ in found} == {k: (p, N, 5) for k, p in PLACES.items()}


def test_every_number_stands_where_its_name_says(folder, recording):
    content = scipy.io.loadmat(folder / "1_20131027.mat")
    bands = ["delta", "theta", "alpha", "beta", "gamma"]
    for name, electrode in (("de_LDS", "Fp1"), ("psd_movingAve", "Cz"), ("de_movingAve", "CB2")):
        for trial in (1, 10, 15):
            onset = float(recording.trials["onset_seconds"].sel(trial=trial))
            part = recording.window(onset, onset + N, f"eeg_{name}")[f"eeg_{name}"]
            for band in bands:
                row = part.ch_names.index(f"{electrode} {band}")
                wanted = content[f"{name}{trial}"][
                    seed.SEED_EEG.index(electrode), :, bands.index(band)
                ]
                np.testing.assert_array_equal(part.signal[row], wanted)


def test_pairs_are_numbered_because_their_order_is_not_documented(folder, recording):
    content = scipy.io.loadmat(folder / "1_20131027.mat")
    for feature, places in PLACES.items():
        assert recording[f"eeg_{feature}_LDS"].sizes["channel"] == places * 5
    dasm = recording["eeg_dasm_LDS"]
    assert "not documented" in dasm.attrs["channel_order"]
    assert "as documented" in recording["eeg_de_LDS"].attrs["channel_order"]
    names = [str(c) for c in dasm["channel"].values]
    assert names[0] == "pair 01 delta" and names[-1] == "pair 27 gamma"
    np.testing.assert_array_equal(
        dasm["signal"].values[:N, names.index("pair 03 beta")], content["dasm_LDS1"][2, :, 3]
    )


def test_the_fixtures_pairs_are_left_and_right(folder):
    content = scipy.io.loadmat(folder / "1_20131027.mat")
    de = dict(zip(seed.SEED_EEG, content["de_LDS4"], strict=True))
    np.testing.assert_allclose(content["dasm_LDS4"][0], de["Fp1"] - de["Fp2"])
    np.testing.assert_allclose(content["rasm_LDS4"][26], de["O1"] / de["O2"])
    np.testing.assert_allclose(content["dcau_LDS4"][22], de["AF4"] - de["CB2"])
    np.testing.assert_allclose(content["asm_LDS4"][25], de["CB1"] - de["CB2"])


def test_unit_rate_and_stamp_of_a_feature_are_stated(recording):
    stream = recording["eeg_de_LDS"]
    assert len(recording.streams) == 12
    assert stream.attrs["sfreq"] == 1.0 and stream.attrs["unit"] == "a.u."
    assert "not the nats" in stream.attrs["unit_note"]
    assert stream.attrs["window_seconds"] == 1.0 and "start" in stream.attrs["stamp"]
    assert stream.attrs["bands_hz"]["gamma"] == [31, 50]
    assert stream["time"].values[:7].tolist() == [0, 1, 2, 3, 4, 5, 13]  # 6 s and a gap of 7


def test_clips_and_labels_are_those_of_seed(recording):
    assert recording.trials["label"].values.tolist() == LABELS
    assert list(recording.trials["label_name"].values[:3]) == ["positive", "neutral", "negative"]
    assert [str(s) for s in recording.trials["stimulus"].values][::14] == [
        "seed-clip-01",
        "seed-clip-15",
    ]
    assert seed_eye.CLIP_LABELS == seed_fixture.SEED_LABELS == tuple(LABELS)


def test_the_label_moves_beta_up_and_alpha_down(recording):
    stream, trials = recording["eeg_de_LDS"], recording.trials
    onsets = trials["onset_seconds"].values
    means = {}
    for band in ("alpha", "beta"):
        columns = [str(c).endswith(band) for c in stream["channel"].values]
        signal = stream["signal"].values[:, columns].mean(axis=1)
        by_trial = signal.reshape(len(onsets), N).mean(axis=1)
        means[band] = np.corrcoef(by_trial, trials["label"].values)[0, 1]
    assert means["alpha"] < -0.9 and means["beta"] > 0.9


@pytest.mark.parametrize("seconds", [1, 4])
def test_the_length_of_the_windows_follows_from_their_published_number(published, seconds):
    recording = next(read_seed_features(published[seconds]))
    assert recording.attrs["window_seconds"] == seconds
    assert recording["eeg_psd_LDS"].attrs["sfreq"] == 1 / seconds
    found = recording.trials["duration_seconds"].values.tolist()
    assert found == [s // seconds * seconds for s in SECONDS]
    assert recording["eeg_de_LDS"].sizes["time"] == {1: 3394, 4: 842}[seconds]


def test_windows_of_another_length_than_stated_are_an_error(published, folder):
    with pytest.raises(UnreadableFileError, match=r"found 58 windows in trial 1 of .*expected 235"):
        read_seed_features_session(published[4], 1, 1, window_seconds=1)
    with pytest.raises(UnreadableFileError, match="found 6 windows in trial 1"):
        read_seed_features_session(folder, 1, 1)
    with pytest.raises(CallError, match="window_seconds with it"):
        read_seed_features_session(folder, 1, 1, n_windows=N)
    with pytest.raises(CallError, match="found window_seconds=2, expected 1 or 4"):
        list(read_seed_features(folder, window_seconds=2))


def test_sources_are_read_one_by_one_elsewhere(folder):
    sources = seed_features_sources(folder, **SMALL)
    assert [s.name for s in sources] == [
        "1_20131027", "1_20131030", "2_20131027", "2_20131030"
    ]  # fmt: skip
    assert [p.name for p in sources[1].files] == ["1_20131030.mat", "label.mat"]
    again = pickle.loads(pickle.dumps(sources[1]))
    whole = list(read_seed_features(folder, **SMALL))
    assert next(again.read()).fingerprint() == whole[1].fingerprint()
    assert [(r.attrs["subject"], r.attrs["session"]) for r in whole] == [
        ("01", "1"), ("01", "2"), ("02", "1"), ("02", "2")
    ]  # fmt: skip


def test_a_missing_session_folder_or_label_is_an_error(folder, tmp_path):
    with pytest.raises(CallError, match=r"subjects 1, 2 in .*expected subject 3"):
        read_seed_features_session(folder, 3, 1, **SMALL)
    with pytest.raises(RecordingExistsError, match=r"\.mat files"):
        write_seed_features_fixture(folder)
    with pytest.raises(CallError, match="found 16 subjects and 3 sessions"):
        write_seed_features_fixture(tmp_path, subjects=16)
    shutil.copy(folder / "1_20131027.mat", tmp_path)
    with pytest.raises(RecordingNotFoundError, match=r"label\.mat"):
        list(read_seed_features(tmp_path, **SMALL))
    scipy.io.savemat(tmp_path / "label.mat", {"label": np.full((1, 15), 3)})
    with pytest.raises(UnreadableFileError, match=r"found 3 in label of"):
        list(read_seed_features(tmp_path, **SMALL))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("asm_LDS7"), "asm_LDS7 is missing"),
        (lambda c: c.update(de_LDS3=c["de_LDS3"].transpose(0, 2, 1)), "de_LDS3 of .*62 x n x 5"),
        (
            lambda c: c.update(psd_LDS2=c["psd_LDS2"][:, :4]),
            "found 4 windows in trial 2 of psd_LDS",
        ),
        (lambda c: c.update(rasm_LDS2=c["rasm_LDS2"] * np.nan), "found the value nan in rasm_LDS2"),
        (lambda c: c.update(dcau_LDS1="text"), "dcau_LDS1"),
    ],
)
def test_a_file_without_its_arrays_is_an_error(folder, tmp_path, change, message):
    rewrite(folder, tmp_path, change)
    with pytest.raises(UnreadableFileError, match=message) as caught:
        list(read_seed_features(tmp_path, **SMALL))
    assert "1_20131027.mat" in str(caught.value)


def test_raw_eeg_of_the_same_name_is_not_taken_for_features(tmp_path):
    seed_fixture.write_seed_fixture(tmp_path, subjects=1, sessions=1, n_samples=51)
    with pytest.raises(UnreadableFileError, match="found djc_eeg1, .*expected de_movingAve1"):
        list(read_seed_features(tmp_path))


def test_a_file_is_told_from_its_namesakes_by_its_first_variable(folder, tmp_path):
    assert first_variable(folder / "1_20131027.mat") == "de_movingAve1"
    assert first_variable(folder / "label.mat") == "label"
    for compressed in (True, False):
        for name in ("abc", "djc_eeg1"):  # short names stand in the tag
            scipy.io.savemat(tmp_path / "a.mat", {name: np.eye(3)}, do_compression=compressed)
            assert first_variable(tmp_path / "a.mat") == name
    for content in (b"", b"text", (folder / "1_20131027.mat").read_bytes()[:140]):
        (tmp_path / "b.mat").write_bytes(content)
        assert first_variable(tmp_path / "b.mat") == ""
    assert first_variable(tmp_path) == ""
    data = (folder / "1_20131027.mat").read_bytes()[:600]
    for damaged in mutations(data, 200):
        (tmp_path / "b.mat").write_bytes(damaged)
        assert isinstance(first_variable(tmp_path / "b.mat"), str)


def test_a_recording_of_features_survives_the_store(recording, tmp_path):
    back = stored(recording, tmp_path / "r.zarr")
    assert back["eeg_asm_LDS"].attrs["bands_hz"] == recording["eeg_asm_LDS"].attrs["bands_hz"]
    assert back.description("eeg_de_LDS").modality == "other"
    np.testing.assert_array_equal(back["eeg_de_LDS"]["signal"], recording["eeg_de_LDS"]["signal"])


def test_a_damaged_file_is_an_error_that_names_it(folder, tmp_path):
    write_seed_features_fixture(tmp_path / "whole", subjects=1, sessions=1, n_windows=1)
    small = {"window_seconds": 4, "n_windows": 1}
    data = (tmp_path / "whole" / "1_20131027.mat").read_bytes()
    shutil.copy(folder / "label.mat", tmp_path)
    original = next(read_seed_features(tmp_path / "whole", **small)).fingerprint()
    refused = 0
    for damaged in mutations(data, 200):
        (tmp_path / "1_20131027.mat").write_bytes(damaged)
        try:
            found = [r.fingerprint() for r in read_seed_features(tmp_path, **small)]
        except UnreadableFileError as error:
            assert "1_20131027.mat" in str(error)
            refused += 1
        else:  # only the free text of the header may change
            assert found == [original]
            assert damaged[124:] == data[124:]
    assert refused > 130


def test_an_eye_file_is_a_pickle_that_python_3_opens_without_an_encoding(eye_folder):
    data = (eye_folder / "1_1").read_bytes()
    content = pickle.loads(data)
    assert list(content) == ["train_data_eye", "test_data_eye"]
    assert [a.shape for a in content.values()] == [(9 * N, 33), (6 * N, 33)]
    names = [arg for op, arg, _ in pickletools.genops(data) if op.name == "GLOBAL"]
    assert names == ["numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"]


def test_eye_windows_belong_to_their_trial_and_clip(eye_folder):
    content = pickle.loads((eye_folder / "8_2").read_bytes())
    recording = read_seed_eye_session(eye_folder, 8, 2, n_windows=N)
    eye, trials = recording["eye"], recording.trials
    for trial, rows in ((1, ("train", 0)), (9, ("train", 8)), (10, ("test", 0)), (15, ("test", 5))):
        onset = float(trials["onset_seconds"].sel(trial=trial))
        part = recording.window(onset, onset + 4 * N, "eye")["eye"].signal
        half, place = rows
        wanted = content[f"{half}_data_eye"][place * N : (place + 1) * N].T
        np.testing.assert_array_equal(part, wanted)
        assert str(trials["published_split"].sel(trial=trial).values) == half
    assert eye.attrs["sfreq"] == 0.25 and eye.attrs["window_seconds"] == 4.0
    assert str(eye["channel"].values[32]) == "eye 33" and eye.attrs["unit"] == "a.u."
    assert "not documented" in eye.attrs["channel_order"]
    assert trials["label"].values.tolist() == LABELS
    assert str(trials["stimulus"].values[9]) == "seed-clip-10"


def test_the_published_numbers_of_eye_windows_are_those_of_the_papers(tmp_path):
    assert sum(seed_eye.EYE_WINDOWS[:9]) == 499 and sum(seed_eye.EYE_WINDOWS[9:]) == 343
    write_seed_eye_fixture(tmp_path, subjects=1, sessions=1)
    recording = next(read_seed_eye(tmp_path))
    assert recording["eye"].sizes["time"] == 842
    assert recording.trials["duration_seconds"].values.tolist() == [s // 4 * 4 for s in SECONDS]


def test_subjects_without_eye_data_are_not_made_up(eye_folder):
    sources = seed_eye_sources(eye_folder, n_windows=N)
    assert [s.name for s in sources][::2] == ["1_1", "2_1", "3_1", "4_1", "5_1", "8_1", "9_1"]
    with pytest.raises(CallError, match="expected subject 6 with a session 1"):
        read_seed_eye_session(eye_folder, 6, 1, n_windows=N)


def test_eye_windows_that_fit_no_trial_are_an_error(eye_folder, tmp_path):
    with pytest.raises(UnreadableFileError, match=r"found 54 windows in .*expected 499.*not known"):
        read_seed_eye_session(eye_folder, 1, 1)
    with pytest.raises(RecordingNotFoundError, match="eye_tracking_feature"):
        list(read_seed_eye(tmp_path))
    with pytest.raises(RecordingExistsError):
        write_seed_eye_fixture(eye_folder)
    half = {"train_data_eye": np.ones((9, 33)), "test_data_eye": np.ones((6, 32))}
    (tmp_path / "1_1").write_bytes(python3_pickle(half))
    with pytest.raises(UnreadableFileError, match="test_data_eye of .*expected n x 33"):
        list(read_seed_eye(tmp_path, n_windows=1))
    (tmp_path / "1_1").write_bytes(python3_pickle({"data": np.ones((9, 33))}))
    with pytest.raises(UnreadableFileError, match="found data in .*expected train_data_eye"):
        list(read_seed_eye(tmp_path, n_windows=1))


def test_a_missing_eye_value_stays_missing_and_an_infinite_one_is_an_error(tmp_path):
    values = np.ones((9, 33))
    values[2, 4] = np.nan
    content = {"train_data_eye": values, "test_data_eye": np.ones((6, 33))}
    (tmp_path / "1_1").write_bytes(python3_pickle(content))
    signal = next(read_seed_eye(tmp_path, n_windows=1))["eye"]["signal"].values
    assert np.argwhere(np.isnan(signal)).tolist() == [[2, 4]]
    values[2, 4] = -np.inf
    (tmp_path / "1_1").write_bytes(python3_pickle(content))
    with pytest.raises(UnreadableFileError, match=r"found the value inf in .*trial 3 of .*1_1"):
        list(read_seed_eye(tmp_path, n_windows=1))


class Exploit:
    def __reduce__(self):
        return os.system, ("touch exploited",)


@pytest.mark.parametrize("place", ["whole", "value", "after"])
def test_an_eye_file_with_a_payload_is_refused_and_nothing_is_run(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    halves = {"train_data_eye": np.ones((9, 33)), "test_data_eye": np.ones((6, 33))}
    content = {"whole": Exploit(), "value": {**halves, "train_data_eye": Exploit()}}.get(place)
    data = pickle.dumps(content) if content else python3_pickle(halves) + pickle.dumps(Exploit())
    (tmp_path / "1_1").write_bytes(data)
    with pytest.raises(UnreadableFileError, match=r"1_1, .*nothing in it was run"):
        list(read_seed_eye(tmp_path, n_windows=1))
    assert not (tmp_path / "exploited").exists()


def test_a_damaged_eye_file_is_an_error_or_whole(tmp_path):
    write_seed_eye_fixture(tmp_path, subjects=1, sessions=1, n_windows=1)
    data = (tmp_path / "1_1").read_bytes()
    refused = 0
    for damaged in mutations(data, 200):
        (tmp_path / "1_1").write_bytes(damaged)
        try:
            recording = next(read_seed_eye(tmp_path, n_windows=1))
        except UnreadableFileError as error:
            assert "1_1" in str(error)
            refused += 1
        else:  # a flipped bit inside a number cannot be told from another number
            assert recording["eye"]["signal"].shape == (15, 33)
            assert len(damaged) == len(data)
    assert refused > 120
