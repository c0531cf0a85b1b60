"""Ratings as numbers: told on new trials, within intervals that hold, live as in the folder."""

import json
from dataclasses import replace

import numpy as np
import pytest

from physioemo.errors import CallError, CheckpointError, DataError
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_fit import fit_fused, said_of
from physioemo.experiments.fused_heads import RatingHead, RatingScale
from physioemo.experiments.fused_scores import rating_scores, trust_scores
from physioemo.experiments.fused_training import FusedConfig
from physioemo.experiments.fused_trust import TrustChoice
from physioemo.experiments.live_outlets import (
    prediction_description,
    prediction_sample,
    read_prediction,
)
from physioemo.experiments.train_config import train_config
from physioemo.models.training import TrainingConfig
from tests.experiments.fused_planted import rated
from tests.experiments.trained import trained_by_command

CONFIG = FusedConfig(
    dimensions=("valence", "arousal"),
    training=TrainingConfig(n_epochs=25, learning_rate=5e-3, patience=25),
    heads="joint",
    trust=TrustChoice(coverage=0.8, calibration_share=0.33),
)


@pytest.fixture(scope="module", params=["joint", "continuous"])
def fitted(request):
    data = rated(0, 180)
    config = replace(CONFIG, heads=request.param)
    return fit_fused(data, np.arange(len(data.trial)), config), rated(1, 300)


def test_ratings_of_new_trials_are_told_and_intervals_hold_them(fitted):
    decoder, new = fitted
    found = said_of(decoder, new, np.arange(len(new.trial)))
    scores = rating_scores([(decoder.head, found, new.trial_ids)], decoder.dimensions)
    for score in scores.values():
        assert score["ccc"] > 0.9 and score["n_trials"] == 300
        assert score["mae"] < 0.4 * score["mae_of_mean"]
    covered = trust_scores([(decoder.trust, found)], decoder.dimensions)["dimensions"]
    for score in covered.values():
        # 60 calibration trials: five standard deviations of their quantile.
        assert 0.8 - 5 * np.sqrt(0.16 / 60) < score["rating_covered"] < 1.0
    assert np.mean((found.high > 0.5) == new.labels) > 0.9


def test_a_continuous_head_says_the_classes_that_its_rating_says(fitted):
    decoder, new = fitted
    said = [decoder.predict_one(row, {}, 1.0) for row in new.values[:80]]
    sides = [(p.probability[d] > 0.5, p.value[d] > 5) for p in said for d in p.value]
    agree = np.mean([high == above for high, above in sides])
    assert agree == 1.0 if decoder.head.kind == "continuous" else agree > 0.9
    for p in said:
        for d, (low, high) in p.interval.items():
            assert 1 <= low <= p.value[d] <= high <= 9
    nothing = decoder.predict_one(np.full((4, 3), np.nan), {}, 1.0)
    assert nothing.interval == {"valence": (1, 9), "arousal": (1, 9)}
    prior = decoder.head.scale.outwards(decoder.head.prior)
    assert list(nothing.value.values()) == prior.tolist() and 4 < prior[0] < 6


def test_a_folder_holds_the_head_and_its_id_knows_of_it(fitted, tmp_path):
    decoder, new = fitted
    loaded = load_decoder(decoder.save(tmp_path / "d"))
    for row in new.values[:20]:
        assert loaded.predict_one(row, {}, 1.0) == decoder.predict_one(row, {}, 1.0)
    assert loaded.id == decoder.id != replace(decoder, head=None, id="").id
    path = tmp_path / "d" / "decoder.json"
    content = json.loads(path.read_text())
    for changed in ({"kind": "other"}, {"features": 3}, {"more": 1}, {"highest": 1.0}):
        path.write_text(json.dumps({**content, "head": {**content["head"], **changed}}))
        with pytest.raises(CheckpointError, match="found a damaged decoder"):
            load_decoder(tmp_path / "d")


def test_the_stream_of_predictions_gets_channels_behind_those_it_always_had(fitted):
    decoder, new = fitted
    plain = prediction_description(replace(decoder, head=None, trust=None))
    assert plain.ch_names[-1] == "abstain" and len(plain.ch_names) == 5
    full = prediction_description(decoder)
    assert full.ch_names[:5] == plain.ch_names and len(full.ch_names) == len(full.units) == 11
    assert full.ch_names[5:8] == ("valence_value", "valence_value_low", "valence_value_high")
    said = decoder.predict_one(new.values[0], {}, 1.0)
    for one in (said, decoder.abstention(1.0, "x")):
        row = prediction_sample(one)[0]
        assert len(row) == 11
        read = read_prediction(row, full.ch_names, 1.0, decoder.id)
        assert read.value == pytest.approx(one.value)
        assert read.interval["arousal"] == pytest.approx(one.interval["arousal"])
    short = replace(decoder, trust=None)
    assert len(prediction_description(short).ch_names) == 7
    assert len(prediction_sample(short.predict_one(new.values[0], {}, 1.0))[0]) == 7


def test_the_middle_of_the_scale_is_where_high_begins():
    scale = RatingScale(1, 9)
    assert scale.inwards([1, 5, 9]).tolist() == [-1, 0, 1]
    assert scale.outwards([-2, -1, 0, 0.5, 7]).tolist() == [1, 1, 5, 7, 9]
    logits = RatingHead.logits(np.array([[0.0, 1.0]]), np.array([[0.3, 1.0]]))
    assert np.exp(logits)[0] == pytest.approx(
        np.array([[0.5, 0.5], [0.158655, 0.841345]]), abs=1e-6
    )
    with pytest.raises(DataError, match="found a scale of ratings from 9 to 1"):
        RatingScale(9, 1)


def test_ratings_of_two_scales_are_refused():
    data = replace(rated(0, 20), scales=((0.0, 1.0), (1.0, 9.0)))
    told = "found ratings on the scales 0 to 1, 1 to 9, expected one scale for heads = 'joint'"
    with pytest.raises(DataError, match=told):
        fit_fused(data, np.arange(len(data.trial)), CONFIG)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"heads": "continous"}, "expected one of classes, joint, continuous; did you mean 'conti"),
        ({"heads": "joint", "rating_weight": 0.0}, "found rating_weight = 0.0, expected above 0"),
        ({"heads": "continuous", "context": "single"}, "'continuous' with a context, which says"),
        ({"model": "eeg", "heads": "joint"}, "found heads for the model 'eeg'"),
    ],
)
def test_a_wrong_head_is_one_sentence(settings, told):
    with pytest.raises(CallError, match=told):
        train_config(settings)


def test_the_command_trains_ratings_and_says_how_well_they_are_told(tmp_path):
    text = 'heads = "joint"\nepochs = 2\nfolds = 2\npermutations = 0\n[trust]\ncoverage = 0.5\n'
    recording, folder, output = trained_by_command(tmp_path, text, n_trials=8)
    assert "Ratings of valence: concordance" in output
    assert "Intervals held the truth of held-out trials in valence" in output
    said = load_decoder(folder).predict(recording)
    low, high = (recording.ratings.attrs[f"scale_{k}"] for k in ("minimum", "maximum"))
    assert all(low <= v <= high for p in said for v in p.value.values()) and len(said) > 100
