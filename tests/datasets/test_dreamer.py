"""DREAMER: what is read is what its documentation says is there."""

import numpy as np
import pytest
import scipy.io

from physioemo.datasets import dreamer
from physioemo.datasets.dreamer import read_dreamer, read_dreamer_subject
from physioemo.datasets.dreamer_fixture import write_dreamer_fixture
from physioemo.errors import (
    CallError,
    RecordingExistsError,
    RecordingNotFoundError,
    UnreadableFileError,
)
from tests.datasets.mutations import mutations

SMALL = {"clip_seconds": 3, "baseline_seconds": 2}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_dreamer_fixture(tmp_path_factory.mktemp("dreamer"), **SMALL)[0]


@pytest.fixture(scope="module")
def recordings(path):
    return list(read_dreamer(path))


def changed(path, tmp_path, change):
    """Write a copy of the file in which `change` was made to the DREAMER struct."""
    content = scipy.io.loadmat(path)["DREAMER"]
    change(content[0, 0])
    scipy.io.savemat(tmp_path / "DREAMER.mat", {"DREAMER": content})
    return tmp_path / "DREAMER.mat"


def test_the_fixture_is_indexed_like_the_real_file(path):
    content = scipy.io.loadmat(path)
    subject = content["DREAMER"][0, 0]["Data"][0, 1]
    assert subject["EEG"][0, 0]["stimuli"][0, 0][17, 0].shape == (384, 14)
    assert subject["ECG"][0, 0]["baseline"][0, 0][0, 0].shape == (512, 2)
    assert subject["ScoreValence"][0, 0].shape == (18, 1)


def test_every_clip_is_the_one_of_the_file(path, recordings):
    content = scipy.io.loadmat(path)["DREAMER"][0, 0]["Data"]
    for number, recording in enumerate(recordings):
        subject = content[0, number]
        for trial in (1, 9, 18):
            row = recording.trials.sel(trial=trial)
            onset = float(row["onset_seconds"])
            window = recording.window(onset, onset + float(row["duration_seconds"]))
            for key in ("EEG", "ECG"):
                expected = subject[key][0, 0]["stimuli"][0, 0][trial - 1, 0]
                np.testing.assert_array_equal(window[key.lower()].signal.T, expected)


def test_the_baseline_lies_before_its_clip(path, recordings):
    baseline = scipy.io.loadmat(path)["DREAMER"][0, 0]["Data"][0, 0]["EEG"][0, 0]["baseline"]
    events = recordings[0].events
    assert events.sizes["event"] == 18 and set(events["description"].values) == {"baseline"}
    onset = float(events["onset_seconds"][4])
    part = recordings[0].window(onset, onset + 2, "eeg")["eeg"].signal
    np.testing.assert_array_equal(part.T, baseline[0, 0][4, 0])
    assert (events["onset_seconds"].values < recordings[0].trials["onset_seconds"].values).all()


def test_rates_channels_and_units_are_those_of_the_documentation(recordings):
    eeg, ecg = recordings[0]["eeg"], recordings[0]["ecg"]
    assert (eeg.attrs["sfreq"], ecg.attrs["sfreq"]) == (128.0, 256.0)
    assert (eeg.attrs["unit"], ecg.attrs["unit"]) == ("uV", "a.u.")
    names = "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4"
    assert " ".join(map(str, eeg["channel"].values)) == names


def test_the_headset_offset_is_left_in_and_stated(recordings):
    eeg = recordings[0]["eeg"]
    assert float(eeg["signal"].mean()) == pytest.approx(4200, abs=1)
    assert "4200 uV" in eeg.attrs["dc_offset"]


def test_ratings_are_those_of_the_file_on_their_own_scale(path, recordings):
    subject = scipy.io.loadmat(path)["DREAMER"][0, 0]["Data"][0, 1]
    ratings = recordings[1].ratings
    for name in ("valence", "arousal", "dominance"):
        expected = subject[f"Score{name.title()}"][0, 0][:, 0]
        np.testing.assert_array_equal(ratings["rating"].sel(dimension=name), expected)
    assert ratings.attrs == {"scale_minimum": 1.0, "scale_maximum": 5.0}


def test_clips_have_the_same_name_and_target_for_every_subject(recordings):
    first, second = (r.trials for r in recordings)
    assert list(first["stimulus"].values) == list(second["stimulus"].values)
    assert str(first["stimulus"].values[17]) == "dreamer-clip-18"
    assert list(first["target_emotion"].values[[0, 8, 17]]) == ["calmness", "sadness", "surprise"]


def test_torcheeg_reloads_the_file_once_per_subject_here_it_is_read_once(path, monkeypatch):
    passes = []
    walk = dreamer.struct_fields
    monkeypatch.setattr(dreamer, "struct_fields", lambda *a, **k: passes.append(k) or walk(*a, **k))
    assert len(list(read_dreamer(path))) == 2
    assert passes == [{"cells": "Data", "parse_cells": False}, {"cells": "Data"}]


def test_one_subject_alone_is_the_same_as_in_the_row(path, recordings):
    alone = read_dreamer_subject(path.parent, 2)
    assert alone.fingerprint() == recordings[1].fingerprint()
    with pytest.raises(CallError, match="found 2 subjects in .*DREAMER.mat, expected subject 3"):
        read_dreamer_subject(path, 3)


def test_no_window_spans_two_stretches(recordings):
    for key, sfreq in (("eeg", 128), ("ecg", 256)):
        windows = list(recordings[0].windows(key, sfreq))
        assert len(windows) == 18 * 5
        assert max(w.stop_seconds - w.start_seconds for w in windows) < 1


def test_the_planted_effect_is_in_the_signal(recordings):
    recording, log_power = recordings[0], []
    for onset in recording.trials["onset_seconds"].values:
        part = recording.window(onset, onset + 3, "eeg")["eeg"].signal
        log_power.append(np.log(np.abs(np.fft.rfft(part, axis=1)).mean(axis=0)[[30, 60]]))
    alpha, beta = np.array(log_power).T
    valence, arousal = recording.ratings["rating"].values[:, :2].T
    assert np.corrcoef(alpha, arousal)[0, 1] < -0.95
    assert np.corrcoef(beta, valence)[0, 1] > 0.95


def set_(name, value):
    def change(content):
        content[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_("EEG_SamplingRate", np.array([[200.0]])), "EEG_SamplingRate = 200.0"),
        (set_("noOfSubjects", np.array([[23.0]])), r"noOfSubjects = 23.0 in .*expected 2;"),
        (lambda c: c["EEG_Electrodes"].__setitem__((0, 0), "Fp1"), "EEG_Electrodes"),
        (lambda c: c["Data"].__setitem__((0, 0), np.zeros(3)), "no struct in subject 1 of"),
    ],
)
def test_a_file_that_contradicts_the_documentation_is_an_error(path, tmp_path, change, message):
    file = changed(path, tmp_path, change)
    with pytest.raises(UnreadableFileError, match=message) as caught:
        list(read_dreamer(file))
    assert "DREAMER.mat" in str(caught.value)


def test_a_missing_file_and_an_existing_one_are_errors(path, tmp_path):
    with pytest.raises(RecordingNotFoundError, match=r"expected DREAMER\.mat"):
        list(read_dreamer(tmp_path))
    with pytest.raises(RecordingExistsError, match=r"DREAMER\.mat"):
        write_dreamer_fixture(path.parent, **SMALL)


def test_a_damaged_file_is_an_error_that_names_it(tmp_path):
    whole = write_dreamer_fixture(
        tmp_path / "whole", subjects=1, clip_seconds=1, baseline_seconds=1
    )[0]
    data, file = whole.read_bytes(), tmp_path / "DREAMER.mat"
    original = next(read_dreamer(whole)).fingerprint()
    for damaged in mutations(data, n=200):
        file.write_bytes(damaged)
        try:
            found = [r.fingerprint() for r in read_dreamer(file)]
        except UnreadableFileError as error:
            assert "DREAMER.mat" in str(error)
        else:  # only the free text of the header may change
            assert found == [original]
            assert damaged[124:] == data[124:]
