"""Named emotions beside rated dimensions in one decoder: each learned where it is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from physioemo.datasets.seed import LABEL_NAMES, read_seed
from physioemo.datasets.seed_fixture import SEED_LABELS, write_seed_fixture
from physioemo.errors import CallError, CheckpointError, DataError
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_emotion_fit import SaidEmotions, emotion_scores
from physioemo.experiments.fused_emotions import trial_emotions
from physioemo.experiments.fused_fit import fit_fused, said_of
from physioemo.experiments.fused_training import FusedConfig, train_fused_decoder
from physioemo.experiments.live_outlets import (
    prediction_description,
    prediction_sample,
    read_prediction,
)
from physioemo.experiments.train_config import train_config
from physioemo.experiments.trial_data import with_permuted_trials
from physioemo.models.affect_heads import NamedHead
from physioemo.models.fused import FusedModel
from physioemo.models.fused_training import NamedTask, train_fused
from physioemo.models.training import TrainingConfig
from physioemo.trials import make_ratings
from tests.experiments.fused_planted import rated_or_named
from tests.experiments.trained import trained_by_command

EMOTIONS = ("negative", "neutral", "positive")
CONFIG = FusedConfig(
    dimensions=("valence",),
    training=TrainingConfig(n_epochs=20, learning_rate=5e-3, patience=20),
    emotions=EMOTIONS,
)


@pytest.fixture(scope="module")
def fitted():
    data = rated_or_named(0, 60)
    return fit_fused(data, np.arange(len(data.trial)), CONFIG), rated_or_named(1, 150)


def test_one_decoder_says_ratings_and_names_of_new_trials(fitted):
    decoder, new = fitted
    said = said_of(decoder, new, np.arange(len(new.trial)))
    rated = new.labels[:, 0] >= 0
    assert np.mean((said.high[rated, 0] > 0.5) == new.labels[rated, 0]) > 0.9
    named = said.emotions[~rated]
    assert np.mean(named.argmax(axis=1) == new.emotions[~rated]) > 0.9
    np.testing.assert_allclose(said.emotions.sum(axis=1), 1, atol=1e-9)


def test_what_nothing_says_stays_at_chance():
    blind = rated_or_named(0, 60, effect=0.0)
    decoder = fit_fused(blind, np.arange(len(blind.trial)), CONFIG)
    new = rated_or_named(1, 150, effect=0.0)
    said = said_of(decoder, new, np.arange(len(new.trial)))
    found = SaidEmotions(said.emotions, new.emotions, new.trial_ids)
    scores = emotion_scores([found], [], EMOTIONS)
    assert scores["n_trials"] == 150
    assert abs(scores["balanced_accuracy"] - 1 / 3) < 4 * np.sqrt(2 / 9 / 150)


def test_folder_and_stream_carry_the_names(fitted, tmp_path):
    decoder, new = fitted
    loaded = load_decoder(decoder.save(tmp_path / "d"))
    assert loaded.id == decoder.id != replace(decoder, emotions=None, id="").id
    plain = prediction_description(replace(decoder, emotions=None))
    full = prediction_description(decoder)
    assert full.ch_names == (*plain.ch_names, *(f"emotion_{e}" for e in EMOTIONS))
    for row in new.values[:12]:
        said = loaded.predict_one(row, {}, 1.0)
        assert said == decoder.predict_one(row, {}, 1.0)
        read = read_prediction(prediction_sample(said)[0], full.ch_names, 1.0, loaded.id)
        assert read.emotions == pytest.approx(said.emotions) and len(read.emotions) == 3
    nothing = loaded.predict_one(np.full((4, 3), np.nan), {}, 1.0)
    assert nothing.abstain and list(nothing.emotions.values()) == decoder.emotions.prior.tolist()
    path = tmp_path / "d" / "decoder.json"
    content = json.loads(path.read_text())
    for changed in ({"names": ["a", "b"]}, {"features": 3}, {"more": 1}, {"temperature": 0}):
        damaged = {**content, "emotions": {**content["emotions"], **changed}}
        path.write_text(json.dumps(damaged))
        with pytest.raises(CheckpointError, match="found a damaged decoder"):
            load_decoder(tmp_path / "d")


def learned(n_unknown, task=True):
    """Return the weights after windows of which the last say nothing were shown as well."""
    rng = np.random.default_rng(0)
    n = 48 + n_unknown
    values = rng.normal(size=(n, 4, 3)).astype(np.float32)
    values[48:] = 1e6
    labels, names = np.full((n, 1), -1), np.full(n, -1)
    labels[:24, 0], names[24:48] = np.arange(24) % 2, np.arange(24) % 3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        brain = {"encoder": "electrodes", "n_chans": 4, "n_bands": 3}
        model = FusedModel(encoders={"brain": brain}, dimensions=["valence"])
        head = NamedHead(embed_dim=model({"brain": torch.zeros(1, 4, 3)}).features[0].numel(),
                         n_outputs=3)  # fmt: skip
    train_fused(
        model, {"brain": values}, labels,
        validation_inputs={"brain": values[:48]}, validation_labels=labels[:48],
        config=TrainingConfig(n_epochs=3, batch_size=16),
        named=NamedTask(head, names, names[:48]) if task else None,
    )  # fmt: skip
    return [p.detach().numpy() for p in (*model.parameters(), *head.parameters())]


def test_windows_of_which_nothing_is_known_change_no_weight():
    few, many = learned(0), learned(40)
    assert all(np.array_equal(a, b) for a, b in zip(few, many, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(few, learned(0, task=False), strict=True))


def test_a_window_without_a_name_adds_nothing_to_the_loss_of_names():
    rng = np.random.default_rng(0)
    features, names = torch.tensor(rng.normal(size=(60, 8)), dtype=torch.float32), torch.arange(60)
    head, weights = NamedHead(embed_dim=8, n_outputs=3), torch.ones(1, 3)
    names = torch.where(names < 20, -1, names % 3)
    every, some = (head.loss(features[k:], names[k:], weights) for k in (0, 20))
    torch.testing.assert_close(every, some)
    none = head.loss(features[:20], names[:20], weights)
    assert float(none.detach()) == 0.0


def test_permuted_trials_keep_what_kind_of_answer_they_have():
    data = rated_or_named(0, 30)
    moved = with_permuted_trials(data, np.random.default_rng(0))
    assert ((moved.labels >= 0) == (data.labels >= 0)).all()
    assert ((moved.emotions >= 0) == (data.emotions >= 0)).all()
    assert (moved.labels != data.labels).any() and (moved.emotions != data.emotions).any()
    for trial in range(60):
        rows = data.trial == trial
        assert len(set(moved.emotions[rows])) == 1
    plain = replace(data, emotions=None)
    order = np.random.default_rng(0).permutation(60)
    first = np.unique(plain.trial_ids.astype(str), return_index=True)[1]
    again = with_permuted_trials(plain, np.random.default_rng(0))
    assert np.array_equal(again.labels[first], plain.labels[first][order])


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """Return one recording with the emotions of its films and one with ratings of them."""
    folder = tmp_path_factory.mktemp("seed")
    write_seed_fixture(folder, subjects=1, sessions=2, n_samples=1001, effect=2.0)
    named, rated = read_seed(folder, n_samples=1001)
    trials = rated.trials["trial"].values
    valence = 5 + 3 * np.array(SEED_LABELS, float)[:, None]
    valence[2] = np.nan
    rated.tree["trials"] = xr.DataTree(rated.trials.drop_vars(["label", "label_name"]))
    rated.tree["ratings"] = xr.DataTree(make_ratings(trials, ["valence"], valence, scale=(1, 9)))
    return {"named": named, "rated": rated}


def test_recordings_with_names_and_with_ratings_train_one_decoder(pooled):
    config = replace(
        CONFIG, midpoint="low", n_folds=2, n_permutations=1, hop_seconds=1.0, fusion="concat",
        training=TrainingConfig(n_epochs=10, batch_size=16, learning_rate=5e-3, patience=12),
    )  # fmt: skip
    trained = train_fused_decoder(pooled, config)
    found = trained.evaluation["emotions"]
    assert found["n_per_emotion"] == [5, 5, 5] and len(found["permuted_balanced_accuracy"]) == 1
    assert found["balanced_accuracy"] > 0.6 > found["permuted_balanced_accuracy"][0]
    valence = trained.evaluation["dimensions"]["valence"]
    assert valence["n_trials"] == 14 and valence["balanced_accuracy"] > 0.7
    assert any(note.startswith("Emotions (negative, neutral, positive): balanced accuracy")
               for note in trained.evaluation["notes"])  # fmt: skip
    said = trained.decoder.predict(pooled["named"])
    assert all(len(p.emotions) == 3 and p.probability for p in said) and len(said) > 50


def test_emotions_come_from_the_trials_or_from_their_stimuli(pooled):
    found = trial_emotions(pooled["named"], EMOTIONS, {})
    assert [EMOTIONS[e] for e in found.values()] == [LABEL_NAMES[v] for v in SEED_LABELS]
    assert trial_emotions(pooled["rated"], EMOTIONS, {}) == {}
    stimulus = str(pooled["rated"].trials["stimulus"].values[3])
    assert trial_emotions(pooled["rated"], EMOTIONS, {stimulus: "positive"}) == {4: 2}
    with pytest.raises(DataError, match="found the emotion 'neutral' of trial 2, expected one of"):
        trial_emotions(pooled["named"], ("negative", "positive"), {})


def test_emotions_that_are_nowhere_are_refused_before_training(pooled):
    with pytest.raises(DataError, match="found trials of the emotions none, expected two or more"):
        train_fused_decoder({"rated": pooled["rated"]}, replace(CONFIG, midpoint="low"))


TOML = """
dimensions = ["valence", "arousal"]
emotions = ["calm", "glad"]
fusion = "concat"
epochs = 2
folds = 2
permutations = 0
[emotion_of]
"""


def test_the_command_learns_names_from_a_table_of_stimuli(tmp_path):
    stimuli = "".join(f'"clip-{k:02d}" = "{("calm", "glad")[k % 2]}"\n' for k in range(60))
    recording, folder, output = trained_by_command(tmp_path, TOML + stimuli, n_trials=8)
    assert "Emotions (calm, glad): balanced accuracy" in output
    decoder = load_decoder(folder)
    assert decoder.dimensions == ("valence", "arousal") and decoder.emotions.names[1] == "glad"
    said = decoder.predict(recording)
    assert all(sum(p.emotions.values()) == pytest.approx(1) for p in said)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"emotions": ["glad"]}, "found the emotions glad, expected two or more, each once"),
        ({"emotion_of": {"a": "b"}}, "found \\[emotion_of\\] without emotions, expected all their"),
        (
            {"emotions": ["calm", "glad"], "emotion_of": {"a": "gald"}},
            "the emotion of the stimulus 'a', 'gald'.*did you mean 'glad'",
        ),
        ({"emotions": ["a", "b"], "emotion_weight": 0.0}, "found emotion_weight = 0.0, expected a"),
        ({"model": "eeg", "emotions": ["a", "b"]}, "found emotions for the model 'eeg'"),
        ({"dimensions": []}, "found dimensions = \\[\\], expected one or more"),
    ],
)
def test_what_cannot_be_learned_is_one_sentence(settings, told):
    with pytest.raises(CallError, match=told):
        train_config(settings)
