"""Silence and sets of a fused decoder: what is promised is kept on new trials, or said."""

import json
from dataclasses import replace

import numpy as np
import pytest

from physioemo.errors import CallError, DataError
from physioemo.experiments.fused_fit import fit_fused, parts_of, said_of
from physioemo.experiments.fused_scores import trust_scores
from physioemo.experiments.fused_training import FusedConfig, train_fused_decoder
from physioemo.experiments.fused_trust import (
    Calibration,
    Trust,
    TrustChoice,
    fit_trust,
    require_enough_groups,
)
from physioemo.experiments.report.scores import score_blocks
from physioemo.experiments.train_config import read_train_file, train_config
from physioemo.experiments.training import StudyConfig
from physioemo.models.training import TrainingConfig
from tests.experiments.fused_planted import sure_and_unsure
from tests.experiments.trained import trained_by_command
from tests.simulated import simulated_recording

TRAINING = TrainingConfig(n_epochs=15, batch_size=64, learning_rate=5e-3, patience=15)
ASKED = TrustChoice(risk=0.15, coverage=0.85, thresholds=(0.7, 0.8, 0.9), calibration_share=0.5)


@pytest.fixture(scope="module")
def fitted():
    data = sure_and_unsure(0, 300)
    config = FusedConfig(dimensions=("valence",), training=TRAINING, trust=ASKED)
    return fit_fused(data, np.arange(len(data.trial)), config), sure_and_unsure(1, 600)


def test_silence_keeps_the_risk_and_sets_hold_the_truth_of_new_trials(fitted):
    decoder, new = fitted
    found = said_of(decoder, new, np.arange(len(new.trial)))
    always = ((found.high > 0.5) != (new.labels == 1)).mean()
    scores = trust_scores([(decoder.trust, found)], decoder.dimensions)
    assert always > 0.17  # the quiet fifth that is told by chance and wrongly
    assert scores["risk"] < 0.15 and 0.4 < scores["answered"] < 0.9
    covered = scores["dimensions"]["valence"]["covered"]
    assert 0.85 - 5 * np.sqrt(0.85 * 0.15 / 150) < covered < 1.0  # 150 calibration trials
    assert 0.3 < scores["dimensions"]["valence"]["one_class"] < 1.0


def test_the_promise_holds_with_the_certainty_that_was_asked_for():
    """Over many draws of calibration trials, for two dimensions under one threshold."""
    rng = np.random.default_rng(5)
    choice = TrustChoice(risk=0.2, certainty=0.8, thresholds=(0.55, 0.6, 0.75))
    groups, silent = np.arange(1500), np.zeros(1500, bool)
    found = []
    for _ in range(100):
        high = rng.uniform(0, 1, (1500, 2))
        labels = (rng.random((1500, 2)) < high).astype(int)  # what is said is the true chance
        draw = Calibration(high, silent, labels, groups)
        trust = fit_trust(choice, draw, training_groups=np.array(["x"]), strict=False)
        found.append(np.nan if trust.rule is None else trust.rule.threshold)
    # Above t a confidence is uniform up to 1, so that (1 - t) / 2 is wrong: 0.225 at 0.55.
    assert np.mean(np.array(found) == 0.55) < 0.2 and np.mean(np.array(found) == 0.75) > 0.6


def test_one_prediction_says_it(fitted):
    decoder, new = fitted
    found = said_of(decoder, new, np.arange(len(new.trial)))
    said = [decoder.predict_one(row, {}, 1.0) for row in new.values[:200]]
    silent = np.array([p.abstain for p in said])
    sure = np.maximum(found.high, 1 - found.high)[:200, 0]
    assert np.array_equal(silent, sure < decoder.trust.rule.threshold) and 20 < silent.sum() < 180
    (reason,) = {p.reason.split(" (")[0] for p in said if p.abstain}
    assert reason == "the confidence is too low"
    prior = float(decoder.prior[0])
    assert {p.probability["valence"] for p in said if p.abstain} == {prior}
    possible = decoder.trust.possible(found.high[:200])[:, 0]
    for p, (low, high) in zip(said, possible.tolist(), strict=True):
        wanted = ("low", "high") if p.abstain else ("low",) * low + ("high",) * high
        assert p.classes["valence"] == wanted
    nothing = decoder.predict_one(np.full((4, 3), np.nan), {}, 1.0)
    assert nothing.abstain and nothing.classes == {"valence": ("low", "high")}
    assert "electrodes are usable" in nothing.reason


def test_trust_has_trials_of_its_own_that_nothing_else_has_seen():
    data = sure_and_unsure(0, 40)
    config = FusedConfig(
        dimensions=("valence",), training=replace(TRAINING, n_epochs=1), trust=TrustChoice()
    )
    everything = np.arange(len(data.trial))
    parts = parts_of(data.groups, everything, config)
    sets = [set(data.groups[rows]) for rows in parts]
    assert sum(map(len, sets)) == 40 == len(set.union(*sets)) and len(sets[2]) == 10
    values = data.values.copy()
    values[parts.apart] *= 100.0
    one, other = (fit_fused(d, everything, config) for d in (data, replace(data, values=values)))
    assert one.id == other.id and np.array_equal(one.temperature, other.temperature)
    assert one.trust.sets != other.trust.sets and one.trust.n_groups == 10


def test_too_few_trials_are_an_error_if_it_was_asked_for_and_else_a_note():
    data = sure_and_unsure(0, 18 * 4)
    training = replace(TRAINING, n_epochs=1)
    config = FusedConfig(dimensions=("valence",), training=training, trust=TrustChoice())
    trust = fit_fused(data, np.arange(len(data.trial)), config).trust
    assert trust.sets is not None and trust.rule is None and len(trust.notes) == 1
    assert "found no threshold at which a risk of 0.25 can be promised" in trust.notes[0]
    asked = replace(config, trust=TrustChoice(coverage=0.95))
    wanted = "found 18 rated calibration groups in dimension 0, expected at least 19"
    with pytest.raises(DataError, match=wanted):
        fit_fused(data, np.arange(len(data.trial)), asked)
    noted = fit_fused(data, np.arange(len(data.trial)), asked, strict=False).trust
    assert noted.sets is None and wanted in noted.notes[0]


@pytest.mark.parametrize(
    ("choice", "least"),
    [
        (TrustChoice(coverage=0.95), 19),
        (TrustChoice(coverage=0.8), 4),
        (TrustChoice(risk=0.2, thresholds=(0.8,)), 11),  # 0.8 ** 11 < 0.1
        (TrustChoice(risk=0.2), 25),  # 0.8 ** 25 < 0.1 / 25
        (TrustChoice(risk=0.2, thresholds=(0.8,), coverage=0.95), 19),
    ],
)
def test_what_so_few_trials_can_never_keep_is_said_before_training(choice, least):
    require_enough_groups(choice, 100, least)
    told = f"found {least - 1} groups of trials to calibrate on .of 100., expected at least {least}"
    with pytest.raises(DataError, match=told):
        require_enough_groups(choice, 100, least - 1)
    flawless = Calibration(
        np.full((least, 1), 0.99), np.zeros(least, bool), np.ones((least, 1), int), np.arange(least)
    )
    fit_trust(choice, flawless, training_groups=np.array(["x"]), strict=True)
    require_enough_groups(TrustChoice(), 5, 1)  # nothing was asked for by name


def test_trust_survives_json_and_a_field_of_another_kind_does_not(fitted):
    trust = fitted[0].trust
    content = json.loads(json.dumps(trust.to_dict()))
    assert Trust.from_dict(content) == trust
    with pytest.raises(TypeError, match="another"):
        Trust.from_dict({**content, "another": 1})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("risks = 0.2", "the field of .trust. 'risks'.*did you mean 'risk'"),
        ("risk = 2", "found risk = 2, expected above 0 and below 1"),
        ("coverage = 'high'", "found coverage = 'high', expected a number"),
        ("cover = 'windows'", "expected one of window, group; did you mean 'window'"),
        ("thresholds = [0.3]", "expected confidences of two classes: from 0.5"),
        ("thresholds = ['x']", "expected a list of numbers"),
        ("calibration_share = 0.7", "expected above 0 and at most 0.5"),
    ],
)
def test_a_wrong_section_is_one_sentence(tmp_path, text, told):
    (tmp_path / "t.toml").write_text(f"[trust]\n{text}\n")
    with pytest.raises(CallError, match=told):
        train_config(read_train_file(tmp_path / "t.toml"))


def test_the_eeg_alone_can_be_trusted_too_but_not_by_the_model_eeg(tmp_path):
    (tmp_path / "t.toml").write_text("epochs = 3\n[trust]\nrisk = 0.2\nthresholds = [0.7, 0.9]\n")
    config = train_config(read_train_file(tmp_path / "t.toml"))
    assert config.trust == TrustChoice(risk=0.2, thresholds=(0.7, 0.9)) and not config.sides
    assert train_config({}) == StudyConfig()
    with pytest.raises(CallError, match="found trust for the model 'eeg', which reads the EEG"):
        train_config({"model": "eeg", "trust": {}})
    with pytest.raises(CallError, match="found .sides.eda. without families"):
        train_config({"trust": {}, "sides": {"eda": {}}})


def test_the_command_and_the_report_say_what_is_not_possible(tmp_path):
    text = "epochs = 1\nfolds = 2\npermutations = 0\n[trust]\n"
    _, folder, said = trained_by_command(tmp_path, text, n_trials=8)
    assert "Not promised: found no threshold at which a risk of 0.25" in said
    content = json.loads((folder / "evaluation.json").read_text())
    assert content["trust"]["n_with_rule"] == 0 and content["trust"]["risk"] is None
    assert content["notes"] and content["baselines"] == {}
    assert any("Not promised" in getattr(b, "text", "") for b in score_blocks(content))


def test_the_final_decoder_keeps_what_was_asked_for_or_there_is_none(tmp_path):
    recording = simulated_recording(tmp_path / "a.zarr", n_trials=8)
    config = FusedConfig(
        n_folds=2, n_permutations=0, training=replace(TRAINING, n_epochs=1),
        trust=TrustChoice(coverage=0.5),
    )  # fmt: skip
    refused = replace(config, trust=TrustChoice(coverage=0.95))
    with pytest.raises(DataError, match="expected at least 19 for a coverage of 0.95; record more"):
        train_fused_decoder({"a": recording}, refused)
    made = train_fused_decoder({"a": recording}, config)
    assert made.decoder.trust.sets.coverage == 0.5 and not made.decoder.trust.notes
    assert made.evaluation["trust"]["coverage_wanted"] == 0.5
    said = made.decoder.predict(recording)
    assert all(set(p.classes) == set(p.probability) for p in said)
