"""Training on the simulated participant: found when planted, not found when absent."""

import json

import numpy as np
import pytest
import xarray as xr

from physioemo.errors import CallError, DataError, RecordingExistsError
from physioemo.experiments.training import StudyConfig, train_decoder
from physioemo.experiments.trial_data import assign_trials, rating_labels
from physioemo.models.training import TrainingConfig
from physioemo.recording import Recording
from physioemo.store import create_recording
from physioemo.trials import make_ratings
from tests.simulated import simulated_recording
from tests.streams import eeg_stream, rating_stream, trial_markers

QUICK = StudyConfig(n_permutations=1, n_folds=2, training=TrainingConfig(n_epochs=2, batch_size=64))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=8)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_planted_effect_is_decoded_on_held_out_trials(tmp_path, seed):
    recording = simulated_recording(tmp_path / "a.zarr", n_trials=32, seed=seed)
    scores = train_decoder({"a": recording}, StudyConfig(n_permutations=0)).evaluation["dimensions"]
    for dimension in ("valence", "arousal"):
        assert scores[dimension]["balanced_accuracy"] >= 0.75
        assert scores[dimension]["p_binomial"] < 0.01


@pytest.mark.slow
def test_without_an_effect_nothing_is_decoded(tmp_path):
    recording = simulated_recording(tmp_path / "a.zarr", n_trials=32, effect=0.0)
    evaluation = train_decoder({"a": recording}, StudyConfig(n_permutations=0)).evaluation
    for score in evaluation["dimensions"].values():
        low, high = score["interval_95"]
        assert low < 0.5 < high
        assert score["p_binomial"] > 0.05


def test_the_result_says_how_it_was_made(small):
    evaluation = train_decoder({"session": small}, QUICK).evaluation
    assert evaluation["protocol"].startswith("trial-grouped 2-fold") and not evaluation["leaky"]
    assert evaluation["data_fingerprints"] == {"session": small.fingerprint()}
    assert evaluation["simulated"] and evaluation["n_trials"] == 8
    assert evaluation["versions"]["torch"].startswith("2.")
    assert len(evaluation["config_hash"]) == 16 and evaluation["config"]["seed"] == 0
    valence = evaluation["dimensions"]["valence"]
    assert {t["trial"] for t in valence["trials"]} == set(range(1, 9))
    assert len(valence["permuted_balanced_accuracy"]) == 1
    json.dumps(evaluation, allow_nan=False)


def test_the_same_call_gives_the_same_numbers(small):
    first, second = (train_decoder({"a": small}, QUICK) for _ in range(2))
    assert first.evaluation == second.evaluation and first.decoder.id == second.decoder.id


def test_a_decoder_is_not_overwritten_unasked(small, tmp_path):
    trained = train_decoder({"a": small}, QUICK)
    trained.save(tmp_path / "d")
    with pytest.raises(RecordingExistsError, match="pass --overwrite"):
        trained.save(tmp_path / "d")
    trained.save(tmp_path / "d", overwrite=True)


def rated(tmp_path, ratings, n_trials=6):
    """Return a recording of noise with trials of 4 s and the given ratings."""
    signal = np.random.default_rng(0).standard_normal((250 * 5 * n_trials, 4))
    trials = [(i + 1, 5.0 * i + 0.5, 4.0, "") for i in range(n_trials)]
    streams = {"EEG": eeg_stream(signal), "markers": trial_markers(trials)}
    if ratings:
        streams["ratings"] = rating_stream(ratings)
    return create_recording(tmp_path / "a.zarr", streams)


def test_recordings_without_ratings_are_refused(tmp_path):
    with pytest.raises(DataError, match="found no window within a rated trial in a"):
        train_decoder({"a": rated(tmp_path, [])}, QUICK)


def test_one_class_only_is_refused(tmp_path):
    ratings = [(5.0 * i + 4.6, i + 1, 8, 2 + 6 * (i % 2), 5 + i % 2) for i in range(6)]
    with pytest.raises(DataError, match="found only high ratings of valence"):
        train_decoder({"a": rated(tmp_path, ratings)}, QUICK)


def test_too_few_trials_for_the_folds_are_refused(tmp_path):
    ratings = [(5.0 * i + 4.6, i + 1, *[2 + 6 * (i % 2)] * 3) for i in range(6)]
    with pytest.raises(CallError, match="found 6 groups of trials for 9 folds"):
        train_decoder({"a": rated(tmp_path, ratings)}, StudyConfig(n_folds=9, n_permutations=0))


def test_a_rating_in_the_middle_is_what_was_stated(tmp_path):
    ratings = [(5.0 * i + 4.6, i + 1, 5, 4, 6) for i in range(3)]
    recording = rated(tmp_path, ratings)
    dimensions = ("valence", "arousal", "dominance")
    for midpoint, label in (("drop", -1), ("low", 0), ("high", 1)):
        assert rating_labels(recording, dimensions, midpoint)[1] == [label, 0, 1]
    with pytest.raises(CallError, match="expected one of drop, low, high"):
        rating_labels(recording, dimensions, "middle")


def test_a_dimension_that_was_not_rated_is_an_error():
    ratings = make_ratings([1], ["valence"], np.array([[7.0]]), scale=(1, 9))
    recording = Recording(xr.DataTree.from_dict({"ratings": ratings}))
    with pytest.raises(DataError, match="found ratings of valence, expected 'arousal' too"):
        rating_labels(recording, ("arousal",), "drop")


def test_windows_belong_to_a_trial_only_when_whole_within_it(tmp_path):
    recording = rated(tmp_path, [])
    start = np.array([0.4, 0.5, 3.5, 3.6])
    assert assign_trials(recording, start, start + 1.0).tolist() == [-1, 1, 1, -1]
    late = start - 1e-5  # the clocks of stream and markers differ by their noise
    found = assign_trials(recording, late, late + 1.0, tolerance_seconds=0.002)
    assert found.tolist() == [-1, 1, 1, -1]


def test_a_taken_name_is_refused_before_anything_is_trained(typed, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "notes.txt").write_text("mine")
    done = typed("train", tmp_path / "absent", "--out", tmp_path / "d", "--overwrite", check=2)
    assert "found something that is not a decoder" in done.stderr
    assert (tmp_path / "d" / "notes.txt").read_text() == "mine"
