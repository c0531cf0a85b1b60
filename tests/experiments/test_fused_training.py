"""Training on several streams: found where only all together know it, and said how it was made."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from physioemo.errors import CallError, DataError, NoStreamError, RecordingNotFoundError
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_sides import SideChoice, SideFamily
from physioemo.experiments.fused_training import (
    FusedConfig,
    default_side,
    fit_fused,
    train_fused_decoder,
)
from physioemo.experiments.fused_training_data import (
    FusedTrialData,
    bound_sides,
    collect_fused_trials,
    without_eeg,
    without_sides,
)
from physioemo.experiments.train_config import SETTINGS, read_train_file, train_config
from physioemo.experiments.training import StudyConfig, shared_recipe
from physioemo.features.entropy import EntropyRecipe
from physioemo.models.training import TrainingConfig
from physioemo.recording import Recording
from tests.simulated import simulated_recording

SIDES = (
    SideChoice("eda", window_seconds=2.0, hop_seconds=1.0),
    SideChoice("gaze", window_seconds=1.0, hop_seconds=0.5),
)
QUICK = FusedConfig(
    sides=SIDES,
    n_permutations=1,
    n_folds=2,
    training=TrainingConfig(n_epochs=2, batch_size=64),
)
EDA = SideFamily(
    SideChoice("eda"), 250.0, ("EDA",), {"feature": ("tonic", "phasic", "count")}, ("uS",), "x"
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=8)


def xor_data(seed, n_trials=80, n_windows=4):
    """Return windows whose class is a bit of the brain XOR a bit of the skin."""
    rng = np.random.default_rng(seed)
    trial = np.repeat(np.arange(n_trials), n_windows)
    bits = rng.permutation(np.arange(n_trials) % 4)[trial]
    brain, skin = bits % 2, bits // 2
    n = len(trial)
    values = rng.normal(size=(n, 4, 3))
    values[:, :2] += 2.0 * (2 * brain - 1)[:, None, None]
    numbers = rng.normal(0, 0.5, (n, 3))
    numbers[:, 0] += 2.0 * (2 * skin - 1)
    names = np.array([str(t) for t in trial], object)
    return FusedTrialData(
        values=values,
        present=np.ones(values.shape, bool),
        labels=(brain ^ skin)[:, None],
        recording=np.full(n, "a", object),
        trial=trial,
        stimulus=names,
        dimensions=("valence",),
        fingerprints={},
        recipe=EntropyRecipe(250.0, 250, 125, (("a", 4, 8), ("b", 8, 14), ("c", 14, 30))),
        ch_names=("F3", "F4", "P3", "P4"),
        sides=(EDA,),
        side_values={"eda": numbers},
        ages={"eda": rng.uniform(0, 1, n)},
    )


def accuracy(decoder, data):
    high = decoder.outputs(data.values, data.side_values, data.ages).high
    return float(((high[:, 0] > 0.5) == data.labels[:, 0]).mean())


def test_a_bit_of_the_brain_and_a_bit_of_the_skin_are_only_known_together():
    training = TrainingConfig(n_epochs=20, batch_size=16, learning_rate=3e-3, patience=20)
    config = FusedConfig(
        dimensions=("valence",), sides=(EDA.choice,), training=training, modality_dropout=0.1
    )
    data, tests = xor_data(0), xor_data(1)
    decoder = fit_fused(data, np.arange(len(data.values)), config)
    assert accuracy(decoder, tests) > 0.95
    for less in (
        without_eeg(tests),
        replace(tests, ages={"eda": np.full(len(tests.trial), np.nan)}),
        replace(tests, ages={"eda": np.full(len(tests.trial), 3.1)}),  # older than the limit
    ):
        assert abs(accuracy(decoder, less) - 0.5) < 0.15
    # What is missing makes it less sure.
    sure = [
        np.abs(decoder.outputs(d.values, d.side_values, d.ages).high - 0.5).mean()
        for d in (tests, replace(tests, side_values={}, ages={}))
    ]
    assert sure[0] > 0.3 and sure[1] < sure[0]
    alone = fit_fused(without_sides(data), np.arange(len(data.values)), replace(config, sides=()))
    assert abs(accuracy(alone, without_sides(tests)) - 0.5) < 0.15


def test_validation_and_held_out_windows_reach_no_scaler():
    data = xor_data(0, n_trials=20)
    train = np.flatnonzero(data.trial < 10)
    config = replace(QUICK, dimensions=("valence",), sides=(EDA.choice,))
    spoilt = replace(data, values=np.where((data.trial < 10)[:, None, None], data.values, 1e6))
    one, other = (fit_fused(d, train, config) for d in (data, spoilt))
    assert one.id == other.id
    for name in ("eeg", "eda"):
        a, b = one.scalers[name].scaler, other.scalers[name].scaler
        assert np.array_equal(a.mean, b.mean) and np.array_equal(a.scale, b.scale)


@pytest.fixture(scope="module")
def trained(small):
    told = []
    made = train_fused_decoder(
        {"session": small}, QUICK, on_progress=lambda what, done, total: told.append((done, total))
    )
    return made, told


def test_the_result_says_how_it_was_made_and_what_less_would_reach(small, trained):
    made, told = trained
    found = made.evaluation
    assert found["modalities"] == ["eeg", "eda", "gaze"]
    assert found["protocol"].startswith("trial-grouped 2-fold") and not found["leaky"]
    assert set(found["baselines"]) == {"EEG alone", "without EEG"}
    assert set(found["baselines"]["EEG alone"]) == set(found["dimensions"])
    valence = found["dimensions"]["valence"]
    assert valence["majority_balanced_accuracy"] == 0.5
    assert len(valence["permuted_balanced_accuracy"]) == 1
    assert found["simulated"] and found["config"]["sides"][0]["family"] == "eda"
    assert found["data_fingerprints"] == {"session": small.fingerprint()}
    assert made.decoder.metadata["modalities"] == found["modalities"]
    assert (made.decoder.temperature > 0).all()
    json.dumps(found, allow_nan=False)
    assert told == [(k + 1, 10) for k in range(10)]


def test_the_same_call_gives_the_same_numbers(small, trained):
    again = train_fused_decoder({"session": small}, QUICK)
    assert again.evaluation == trained[0].evaluation
    assert again.decoder.id == trained[0].decoder.id


def test_a_folder_holds_all_of_it(small, trained, tmp_path):
    trained[0].save(tmp_path / "d")
    loaded = load_decoder(tmp_path / "d")
    assert isinstance(loaded, FusedDecoder)
    said = loaded.predict(small)
    assert said == trained[0].decoder.predict(small) and len(said) > 100


def test_a_training_window_sees_what_a_live_one_would(small):
    config = StudyConfig()
    recipe, ch_names = shared_recipe({"a": small}, config)
    data = collect_fused_trials({"a": small}, recipe, ch_names, SIDES)
    for side in data.sides:
        ages = data.ages[side.name]
        assert np.nanmin(ages) >= 0 and np.nanmax(ages) <= side.choice.hop_seconds + 0.01
    assert len(data.values) == len(data.ages["eda"]) == 8 * 15


def without(recording, *keys):
    kept = {k: recording[k].load() for k in recording.streams if k not in keys}
    tables = {t: getattr(recording, t) for t in ("trials", "ratings", "events")}
    return Recording(xr.DataTree.from_dict({**kept, **tables}))


def test_a_recording_that_lacks_a_stream_misses_it_and_one_must_have_it(small):
    blind = without(small, "Simulated-Gaze")
    config = StudyConfig()
    recipe, ch_names = shared_recipe({"a": small}, config)
    data = collect_fused_trials({"a": small, "b": blind}, recipe, ch_names, SIDES)
    there = np.isfinite(data.ages["gaze"])
    assert set(data.recording[there]) == {"a"} and there.sum() == 120
    assert np.isfinite(data.ages["eda"]).all()
    with pytest.raises(NoStreamError, match="in b, expected one with gaze for the family 'gaze'"):
        bound_sides({"b": blind}, SIDES)


def test_recordings_of_other_devices_are_refused(small):
    slower = small["Simulated-Gaze"].load().isel(time=slice(None, None, 2))
    slower.attrs = {**slower.attrs, "sfreq": 60.0}
    other = without(small, "Simulated-Gaze")
    other = Recording(
        xr.DataTree.from_dict({**{k: other[k] for k in other.streams}, "Simulated-Gaze": slower})
    )
    with pytest.raises(DataError, match=r"found gaze that differs between recordings \(a 120 Hz"):
        bound_sides({"a": small, "b": other}, SIDES)


TOML = """
families = ["eda", "hrv"]
fusion = "gated"
folds = 3
epochs = 4
window_seconds = 2
[sides.hrv]
window_seconds = 10.0
max_age_seconds = 20
"""


def test_a_file_says_it_all(tmp_path):
    (tmp_path / "t.toml").write_text(TOML)
    config = train_config({**read_train_file(tmp_path / "t.toml"), "seed": 5})
    assert isinstance(config, FusedConfig)
    assert (config.fusion, config.n_folds, config.seed) == ("gated", 3, 5)
    assert config.training.n_epochs == 4 and config.window_seconds == 2.0
    assert config.sides[0] == default_side("eda")
    assert config.sides[1].window_seconds == 10.0 and config.sides[1].max_age_seconds == 20.0
    plain = train_config({"model": "eeg"})
    assert plain == StudyConfig() and train_config({}) == plain
    assert "model" in SETTINGS


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("fusion", "fuson", "found the field 'fuson'.*did you mean 'fusion'"),
        ('"gated"', '"gate"', "found the fusion 'gate'.*did you mean 'gated'"),
        ('"eda"', '"edda"', "the family 'edda' beside the EEG.*did you mean 'eda'"),
        ('["eda", "hrv"]', "[1]", "expected a list of names"),
        ("sides.hrv", "sides.gaze", "of the family 'gaze', expected one of eda, hrv"),
        ("max_age_seconds", "max_age", "did you mean 'max_age_seconds'"),
        ("= 20", '= "x"', "expected a number"),
        ("folds = 3", "folds = 3.5", "found folds = 3.5, expected a whole number"),
        ("[sides.hrv]", "[sides]\nhrv = 3\n[x]", "found the field 'x'|expected a section"),
        ("epochs = 4", 'model = "eeg"', "found families for the model 'eeg', which reads the EEG"),
        ('families = ["eda", "hrv"]', 'model = "fused"', "found no families for the model 'fused'"),
        ('["eda", "hrv"]', '["eda", "hrv", "eda"]', "expected each once"),
        ("epochs = 4", 'preset = "small"', "found the preset 'small', expected one of tiny, study"),
        ("folds =", "folds", "that is no TOML"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, old, new, text):
    assert old in TOML
    (tmp_path / "t.toml").write_text(TOML.replace(old, new, 1))
    with pytest.raises(CallError, match=f"(?s){text}"):
        train_config(read_train_file(tmp_path / "t.toml"))


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(RecordingNotFoundError, match="found no file at .*expected a TOML file"):
        read_train_file(tmp_path / "t.toml")


def test_nothing_to_train_on_is_said(small):
    with pytest.raises(CallError, match="found no families beside the EEG, expected at least one"):
        train_fused_decoder({"a": small}, replace(QUICK, sides=()))
    with pytest.raises(CallError, match="found no recordings, expected at least one"):
        train_fused_decoder({}, QUICK)


def test_the_command_trains_and_the_report_opens_the_folder(typed, tmp_path):
    simulated_recording(tmp_path / "a.zarr", n_trials=6)
    (tmp_path / "t.toml").write_text('families = ["eda"]\nepochs = 1\nfolds = 3\npermutations = 1')
    arguments = ["--config", tmp_path / "t.toml", "--folds", 2, "--families", "eda,gaze"]
    done = typed("train", tmp_path / "a.zarr", "--out", tmp_path / "d", *arguments, check=0)
    assert "trial-grouped 2-fold" in done.stdout and "majority class 0.50" in done.stdout
    assert "EEG alone: valence" in done.stdout and "without EEG: valence" in done.stdout
    content = json.loads((tmp_path / "d" / "decoder.json").read_text())
    assert content["kind"] == "fused" and [s["family"] for s in content["sides"]] == ["eda", "gaze"]
    assert content["metadata"]["config"]["training"]["n_epochs"] == 1
    page = tmp_path / "r.html"
    typed("report", tmp_path / "a.zarr", "--out", page, "--decoder", tmp_path / "d", check=0)
    assert "held-out trials" in page.read_text("utf-8")
    wrong = ("--out", tmp_path / "e", "--families", "edda")
    refused = typed("train", tmp_path / "a.zarr", *wrong, check=2)
    assert "did you mean 'eda'" in refused.stderr and not (tmp_path / "e").exists()
