"""SEED: what is read is what its documentation says is there."""

import shutil

import numpy as np
import pytest
import scipy.io

from physioemo.datasets.seed import read_seed, read_seed_session, seed_files
from physioemo.datasets.seed_fixture import write_seed_fixture
from physioemo.errors import (
    CallError,
    RecordingExistsError,
    RecordingNotFoundError,
    UnreadableFileError,
)
from tests.datasets.mutations import mutations

N = 601  # 200 Hz for 3 s, and one sample more, as in the real files
LABELS = [1, 0, -1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 0, 1, -1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seed")
    write_seed_fixture(folder, subjects=2, sessions=2, n_samples=N)
    return folder


@pytest.fixture(scope="module")
def recording(folder):
    return read_seed_session(folder, 1, 1, n_samples=N)


def test_every_trial_is_the_one_of_its_number(folder, recording):
    content = scipy.io.loadmat(folder / "1_20131027.mat")
    for trial in (1, 2, 10, 15):
        onset = float(recording.trials["onset_seconds"].sel(trial=trial))
        part = recording.window(onset, onset + 3.005, "eeg")["eeg"].signal
        np.testing.assert_array_equal(part, content[f"djc_eeg{trial}"])


def test_the_label_is_the_clips_and_there_are_no_ratings(recording):
    assert recording.trials["label"].values.tolist() == LABELS
    assert list(recording.trials["label_name"].values[:3]) == ["positive", "neutral", "negative"]
    assert recording.ratings.sizes["trial"] == 0


def test_torcheeg_default_rate_of_128_hz_here_the_rate_is_the_files_own(recording):
    eeg = recording["eeg"]
    assert eeg.attrs["sfreq"] == 200.0 and eeg.attrs["unit"] == "uV"
    spectrum = np.abs(np.fft.rfft(eeg["signal"].values[:600], axis=0)).mean(axis=1)
    hz = np.fft.rfftfreq(600, 1 / eeg.attrs["sfreq"])
    assert sorted(hz[np.argsort(spectrum)[-2:]]) == pytest.approx([10.0, 20.0])


def test_the_channels_are_the_published_ones(recording):
    names = [str(c) for c in recording["eeg"]["channel"].values]
    assert len(names) == 62 == len(set(names))
    assert names[:3] == ["Fp1", "Fpz", "Fp2"] and names[27] == "Cz" and names[-1] == "CB2"


def test_a_trial_of_200_samples_a_second_and_one_lasts_whole_seconds(recording):
    assert set(recording.trials["duration_seconds"].values) == {3.0}
    windows = list(recording.windows("eeg", 200))
    assert len(windows) == 15 * 3
    assert max(w.stop_seconds - w.start_seconds for w in windows) < 1


def test_sessions_are_ranked_by_date_within_the_subject(tmp_path):
    for name in ("2_20140101", "10_20131016", "2_20131231", "1_20140411", "10_20131009"):
        (tmp_path / f"{name}.mat").touch()
    (tmp_path / "label.mat").touch()
    found = [(f.subject, f.session, f.date) for f in seed_files(tmp_path)]
    assert found == [
        ("1", 1, "20140411"),
        ("2", 1, "20131231"),
        ("2", 2, "20140101"),
        ("10", 1, "20131009"),
        ("10", 2, "20131016"),
    ]


def test_torcheeg_order_by_hash_here_the_order_is_always_the_same(folder):
    found = [(r.attrs["subject"], r.attrs["session"]) for r in read_seed(folder, n_samples=N)]
    assert found == [("01", "1"), ("01", "2"), ("02", "1"), ("02", "2")]


def test_the_older_file_names_give_the_same_recordings(folder, tmp_path, recording):
    write_seed_fixture(tmp_path, subjects=1, sessions=1, n_samples=N, names=True)
    found = next(read_seed(tmp_path, n_samples=N))
    assert found.attrs["subject"] == "djcname"
    assert found.fingerprint() == recording.fingerprint()


def test_clips_have_the_same_name_for_every_subject(folder, recording):
    other = read_seed_session(folder, "2", 2, n_samples=N)
    assert list(recording.trials["stimulus"].values) == list(other.trials["stimulus"].values)
    assert str(other.trials["stimulus"].values[14]) == "seed-clip-15"


def test_eegain_rate_other_lengths_than_the_published_ones_are_an_error(folder):
    with pytest.raises(UnreadableFileError, match=r"601 samples in trial 1 of .*expected 47001"):
        read_seed_session(folder, 1, 1)


def test_a_missing_label_session_or_folder_is_an_error(folder, tmp_path):
    with pytest.raises(RecordingNotFoundError, match="Preprocessed_EEG"):
        seed_files(tmp_path)
    with pytest.raises(CallError, match=r"subjects 1, 2 in .*expected subject 3"):
        read_seed_session(folder, 3, 1)
    with pytest.raises(RecordingExistsError, match=r"\.mat files"):
        write_seed_fixture(folder)
    shutil.copy(folder / "1_20131027.mat", tmp_path)
    with pytest.raises(RecordingNotFoundError, match=r"label\.mat"):
        list(read_seed(tmp_path, n_samples=N))


def test_a_label_of_another_data_set_is_an_error(folder, tmp_path):
    shutil.copy(folder / "1_20131027.mat", tmp_path)
    scipy.io.savemat(tmp_path / "label.mat", {"label": np.array([[2] * 15])})
    with pytest.raises(UnreadableFileError, match=r"found 2 in label of .*label\.mat"):
        list(read_seed(tmp_path, n_samples=N))


@pytest.mark.parametrize("change", ["missing", "mixed", "renamed", "text"])
def test_a_file_without_its_fifteen_trials_is_an_error(folder, tmp_path, change):
    shutil.copy(folder / "label.mat", tmp_path)
    content = {k: v for k, v in scipy.io.loadmat(folder / "1_20131027.mat").items() if k[0] != "_"}
    trial = content.pop("djc_eeg7")
    if change != "missing":
        name = {"mixed": "jl_eeg7", "renamed": "djc_eeg16"}.get(change, "djc_eeg7")
        content[name] = "text" if change == "text" else trial
    scipy.io.savemat(tmp_path / "1_20131027.mat", content)
    with pytest.raises(UnreadableFileError, match=r"1_20131027\.mat"):
        list(read_seed(tmp_path, n_samples=N))


def test_a_damaged_file_is_an_error_that_names_it(folder, tmp_path):
    write_seed_fixture(tmp_path / "whole", subjects=1, sessions=1, n_samples=51)
    data = (tmp_path / "whole" / "1_20131027.mat").read_bytes()
    shutil.copy(folder / "label.mat", tmp_path)
    original = next(read_seed(tmp_path / "whole", n_samples=51)).fingerprint()
    for damaged in mutations(data, n=200):
        (tmp_path / "1_20131027.mat").write_bytes(damaged)
        try:
            found = [r.fingerprint() for r in read_seed(tmp_path, n_samples=51)]
        except UnreadableFileError as error:
            assert "1_20131027.mat" in str(error)
        else:  # only the free text of the header may change
            assert found == [original]
            assert damaged[124:] == data[124:]
