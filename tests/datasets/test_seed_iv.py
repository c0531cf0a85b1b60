"""SEED-IV: what is read is what its documentation says is there."""

import pickle
import shutil

import numpy as np
import pytest
import scipy.io

from physioemo.datasets import seed_iv
from physioemo.datasets.mat_names import first_variable
from physioemo.datasets.seed_iv import read_seed_iv, read_seed_iv_session, seed_iv_files
from physioemo.datasets.seed_iv_features import (
    read_seed_iv_features,
    read_seed_iv_features_session,
    seed_iv_features_sources,
)
from physioemo.datasets.seed_iv_fixture import (
    write_seed_iv_features_fixture,
    write_seed_iv_fixture,
)
from physioemo.errors import (
    CallError,
    RecordingExistsError,
    RecordingNotFoundError,
    UnreadableFileError,
)
from tests.datasets.mutations import mutations

N = 401  # 200 Hz for 2 s, and one sample more, as in the real files
W = 3
LABELS = {
    1: "123020010121112322330303",
    2: "213002023323201121030131",
    3: "122133311210233023002010",
}
NAMES = {"0": "neutral", "1": "sad", "2": "fear", "3": "happy"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("iv") / "eeg_raw_data"
    write_seed_iv_fixture(folder, subjects=2, n_samples=N)
    return folder


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ivf") / "eeg_feature_smooth"
    write_seed_iv_features_fixture(folder, subjects=2, n_windows=W)
    return folder


def variables(path):
    return {k: v for k, v in scipy.io.loadmat(path).items() if k[0] != "_"}


def test_every_trial_is_the_one_of_its_number(folder):
    recording = read_seed_iv_session(folder, 2, 3, n_samples=N)
    content = scipy.io.loadmat(folder / "3" / "2_20161126.mat")
    for trial in (1, 2, 10, 24):
        onset = float(recording.trials["onset_seconds"].sel(trial=trial))
        part = recording.window(onset, onset + 2.005, "eeg")["eeg"].signal
        np.testing.assert_array_equal(part, content[f"ha_eeg{trial}"])
    names = [str(c) for c in recording["eeg"]["channel"].values]
    assert names[:3] == ["Fp1", "Fpz", "Fp2"] and names[27] == "Cz" and len(names) == 62


@pytest.mark.parametrize("session", [1, 2, 3])
def test_each_session_has_its_own_labels_and_clips(folder, features, session):
    raw = read_seed_iv_session(folder, 1, session, n_samples=N)
    smooth = read_seed_iv_features_session(features, 1, session, n_windows=W)
    for recording in (raw, smooth):
        trials = recording.trials
        assert "".join(map(str, trials["label"].values)) == LABELS[session]
        assert [str(n) for n in trials["label_name"].values] == [NAMES[c] for c in LABELS[session]]
        assert str(trials["stimulus"].values[23]) == f"seed-iv-{session}-clip-24"
        assert recording.attrs["session"] == str(session)
        assert recording.attrs["source_file"].startswith(f"{session}/1_2016")


def test_every_class_has_six_clips_a_session_and_windows_are_the_published_ones():
    for session in (1, 2, 3):
        labels = seed_iv.SEED_IV_LABELS[session]
        assert [labels.count(c) for c in range(4)] == [6, 6, 6, 6]
    assert [sum(w) for w in seed_iv.SEED_IV_WINDOWS.values()] == [851, 832, 822]


def test_eegain_rate_of_1000_hz_here_the_rate_is_the_files_own(folder):
    eeg = read_seed_iv_session(folder, 1, 1, n_samples=N)["eeg"]
    assert eeg.attrs["sfreq"] == 200.0 and eeg.attrs["unit"] == "uV"
    spectrum = np.abs(np.fft.rfft(eeg["signal"].values[:400], axis=0)).mean(axis=1)
    hz = np.fft.rfftfreq(400, 1 / eeg.attrs["sfreq"])
    assert sorted(hz[np.argsort(spectrum)[-2:]]) == pytest.approx([10.0, 20.0])


def test_eegain_rate_trials_that_were_sampled_at_1000_hz_are_an_error(tmp_path):
    samples = {k: 200 * s + 1 for k, s in ((1, 168), (2, 95), (3, 199))}  # as in real files
    content = {f"cz_eeg{k}": np.zeros((62, n), np.int8) for k, n in samples.items()}
    windows = seed_iv.SEED_IV_WINDOWS[1]
    content |= {
        f"cz_eeg{k}": np.zeros((62, 800 * windows[k - 1] + 1), np.int8) for k in range(4, 25)
    }
    (tmp_path / "1").mkdir()
    scipy.io.savemat(tmp_path / "1" / "1_20160518.mat", content, do_compression=True)
    found = next(read_seed_iv(tmp_path)).trials["duration_seconds"].values
    assert found[:4].tolist() == [168.0, 95.0, 199.0, 128.0]
    content["cz_eeg2"] = np.zeros((62, 95 * 1000 + 1), np.int8)
    scipy.io.savemat(tmp_path / "1" / "1_20160518.mat", content, do_compression=True)
    with pytest.raises(UnreadableFileError, match=r"95001 samples in trial 2 of .*at 200 Hz"):
        next(read_seed_iv(tmp_path))


def test_a_file_in_another_sessions_folder_does_not_fit_its_windows(features, tmp_path):
    source = tmp_path / "eeg_feature_smooth"
    write_seed_iv_features_fixture(source, subjects=1, sessions=1, eye=False)
    assert next(read_seed_iv_features(source))["eeg_de_LDS"].sizes["time"] == 851
    (source / "1").rename(source / "2")
    with pytest.raises(UnreadableFileError, match=r"found 42 windows in trial 1 .*expected 55"):
        next(read_seed_iv_features(source))


def test_torcheeg_label_mat_which_seed_iv_has_not_is_not_needed_nor_read(folder, tmp_path):
    shutil.copytree(folder / "1", tmp_path / "1")
    scipy.io.savemat(tmp_path / "1" / "label.mat", {"label": np.zeros((1, 24))})
    recording = next(read_seed_iv(tmp_path, n_samples=N))
    assert recording.trials["label"].values.tolist()[:3] == [1, 2, 3]


def test_torcheeg_claim_of_asm_in_seed_iv_there_are_only_de_and_psd(features):
    names = [n for n, _, _ in scipy.io.whosmat(features / "1" / "1_20160518.mat")]
    assert len(names) == 96
    assert names[:5] == ["de_movingAve1", "de_LDS1", "psd_movingAve1", "psd_LDS1", "de_movingAve2"]
    recording = next(read_seed_iv_features(features, n_windows=W))
    assert set(recording.streams) == {
        "eeg_de_movingAve", "eeg_de_LDS", "eeg_psd_movingAve", "eeg_psd_LDS", "eye"
    }  # fmt: skip


def test_features_stand_where_their_names_say(features):
    recording = read_seed_iv_features_session(features, 2, 2, n_windows=W)
    eeg = scipy.io.loadmat(features / "2" / "2_20161125.mat")
    eye = scipy.io.loadmat(features.parent / "eye_feature_smooth" / "2" / "2_20161125.mat")
    for trial in (1, 13, 24):
        onset = float(recording.trials["onset_seconds"].sel(trial=trial))
        window = recording.window(onset, onset + 4 * W, "eeg_psd_LDS", "eye")
        part = window["eeg_psd_LDS"]
        row = part.ch_names.index("Cz gamma")
        np.testing.assert_array_equal(part.signal[row], eeg[f"psd_LDS{trial}"][27, :, 4])
        np.testing.assert_array_equal(window["eye"].signal, eye[f"eye_{trial}"])
    assert recording["eye"].attrs["sfreq"] == recording["eeg_de_LDS"].attrs["sfreq"] == 0.25
    assert set(recording.trials["duration_seconds"].values) == {4.0 * W}


def test_the_31_eye_features_are_in_the_groups_of_the_read_me(features):
    eye = next(read_seed_iv_features(features, n_windows=W))["eye"]
    names = [str(c) for c in eye["channel"].values]
    assert len(names) == 31
    starts = {1: "pupil", 12: "pupil", 13: "dispersion", 16: "dispersion", 17: "fixation",
              18: "fixation", 19: "saccade", 22: "saccade", 23: "event", 31: "event"}  # fmt: skip
    assert all(names[k - 1].startswith(group) for k, group in starts.items())
    assert "within a group is not" in eye.attrs["channel_order"]


def test_the_label_moves_brain_and_pupil(features):
    recording = next(read_seed_iv_features(features, n_windows=W))
    happy = recording.trials["label"].values == 3
    for key, column in (("eeg_de_LDS", "Fp1 beta"), ("eye", "pupil diameter 01")):
        names = [str(c) for c in recording[key]["channel"].values]
        signal = recording[key]["signal"].values[:, names.index(column)].reshape(24, W).mean(axis=1)
        assert signal[happy].mean() > signal[~happy].mean() + 0.5


def test_sources_sessions_and_subjects_have_one_order(features):
    sources = seed_iv_features_sources(features.parent, n_windows=W)
    assert [s.name for s in sources] == [
        "1-1_20160518", "2-1_20161125", "3-1_20161126",
        "1-2_20160518", "2-2_20161125", "3-2_20161126",
    ]  # fmt: skip
    assert [p.parent.parent.name for p in sources[0].files] == [
        "eeg_feature_smooth",
        "eye_feature_smooth",
    ]
    again = next(pickle.loads(pickle.dumps(sources[4])).read())
    direct = read_seed_iv_features_session(features, 2, 2, n_windows=W)
    assert again.fingerprint() == direct.fingerprint()
    found = [(r.attrs["subject"], r.attrs["session"]) for r in read_seed_iv_features(
        features, n_windows=W)]  # fmt: skip
    assert found == [(s, n) for s in ("01", "02") for n in "123"]


def test_subjects_are_in_the_order_of_their_numbers(tmp_path):
    for name in ("1/10_20151014", "1/2_20150915", "2/2_20150920", "3/x_20150101", "4/1_20150101"):
        path = tmp_path / f"{name}.mat"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = [(f.subject, f.session) for f in seed_iv_files(tmp_path)]
    assert found == [("2", 1), ("2", 2), ("10", 1), ("x", 3)]
    (tmp_path / "1" / "2_20150916.mat").touch()
    with pytest.raises(UnreadableFileError, match=r"found 2_20150915\.mat and 2_20150916\.mat"):
        seed_iv_files(tmp_path)


def test_eye_features_may_lack_as_a_folder_but_not_for_one_session(features, tmp_path):
    shutil.copytree(features, tmp_path / "eeg_feature_smooth")
    recording = next(read_seed_iv_features(tmp_path, n_windows=W))
    assert "eye" not in recording.streams and "no folder" in recording.attrs["eye_features"]
    eye = tmp_path / "eye_feature_smooth"
    shutil.copytree(features.parent / "eye_feature_smooth", eye)
    (eye / "3" / "2_20161126.mat").unlink()
    with pytest.raises(RecordingNotFoundError, match=r"eye features of 3/2_20161126\.mat"):
        list(read_seed_iv_features(tmp_path, n_windows=W))


def test_a_missing_session_or_folder_is_an_error(folder, features, tmp_path):
    with pytest.raises(CallError, match=r"subjects 1, 2 in .*expected subject 9"):
        read_seed_iv_session(folder, 9, 1, n_samples=N)
    with pytest.raises(RecordingNotFoundError, match="eeg_raw_data with the folders 1, 2 and 3"):
        list(read_seed_iv(tmp_path))
    with pytest.raises(RecordingNotFoundError, match="eeg_feature_smooth"):
        list(read_seed_iv_features(tmp_path))
    with pytest.raises(RecordingExistsError, match=r"\.mat files"):
        write_seed_iv_fixture(folder)
    with pytest.raises(CallError, match="found 16 subjects and 3 sessions, expected 1 to 15"):
        write_seed_iv_fixture(tmp_path, subjects=16)


def test_raw_and_features_of_the_same_name_are_told_apart(folder, features):
    assert first_variable(folder / "1" / "1_20160518.mat") == "cz_eeg1"
    assert first_variable(features / "1" / "1_20160518.mat") == "de_movingAve1"
    eye = features.parent / "eye_feature_smooth" / "1" / "1_20160518.mat"
    assert first_variable(eye) == "eye_1"
    with pytest.raises(UnreadableFileError, match="found cz_eeg1, .*expected de_movingAve1"):
        list(read_seed_iv_features(folder))
    with pytest.raises(UnreadableFileError, match="found de_LDS1, .*expected the trials"):
        list(read_seed_iv(features))


@pytest.mark.parametrize("change", ["missing", "mixed", "short", "nan", "text"])
def test_a_file_without_its_24_trials_is_an_error(folder, tmp_path, change):
    content = variables(folder / "1" / "1_20160518.mat")
    trial = content.pop("cz_eeg7")
    new = {"mixed": ("ha_eeg7", trial), "short": ("cz_eeg7", trial[:, :-1]), "missing": None,
           "nan": ("cz_eeg7", trial * np.nan), "text": ("cz_eeg7", "text")}[change]  # fmt: skip
    if new:
        content[new[0]] = new[1]
    (tmp_path / "1").mkdir()
    scipy.io.savemat(tmp_path / "1" / "1_20160518.mat", content)
    with pytest.raises(UnreadableFileError, match=r"1_20160518\.mat"):
        list(read_seed_iv(tmp_path, n_samples=N))


def test_eye_and_eeg_of_unequal_length_are_an_error(features, tmp_path):
    shutil.copytree(features.parent, tmp_path / "iv")
    path = tmp_path / "iv" / "eye_feature_smooth" / "1" / "1_20160518.mat"
    content = variables(path)
    content["eye_5"] = content["eye_5"][:, :2]
    scipy.io.savemat(path, content)
    with pytest.raises(UnreadableFileError, match=r"found 2 windows in trial 5 of .*expected 3"):
        list(read_seed_iv_features(tmp_path / "iv", n_windows=W))


@pytest.mark.parametrize("kind", ["raw", "eeg", "eye"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, kind):
    if kind == "raw":
        write_seed_iv_fixture(tmp_path, subjects=1, sessions=1, n_samples=21)
        path, read, small = tmp_path / "1" / "1_20160518.mat", read_seed_iv, {"n_samples": 21}
    else:
        write_seed_iv_features_fixture(tmp_path, subjects=1, sessions=1, n_windows=1)
        path = tmp_path / f"{kind}_feature_smooth" / "1" / "1_20160518.mat"
        read, small = read_seed_iv_features, {"n_windows": 1}
    data = path.read_bytes()
    original = next(read(tmp_path, **small)).fingerprint()
    refused = 0
    for damaged in mutations(data, 200):
        path.write_bytes(damaged)
        try:
            found = [r.fingerprint() for r in read(tmp_path, **small)]
        except UnreadableFileError as error:
            assert f"{kind}_feature_smooth" in str(error) or kind == "raw"
            assert "1_20160518.mat" in str(error)
            refused += 1
        else:  # only the free text of the header may change
            assert found == [original]
            assert damaged[124:] == data[124:]
    assert refused > 130
