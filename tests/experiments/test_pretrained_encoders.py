"""Studies and decoders that begin with pre-trained encoders, but not with what they know."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from physioemo.acquisition.simulate import simulated_recording
from physioemo.errors import CallError, CheckpointError
from physioemo.experiments.estimators import build_estimator
from physioemo.experiments.fused_training import train_fused_decoder
from physioemo.experiments.pretrain import PretrainPlan, pretrain
from physioemo.experiments.pretrain_data import read_recordings, read_stores
from physioemo.experiments.study_config import read_study
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.train_config import read_train_file, train_config
from physioemo.models.checkpoint import load_model
from physioemo.models.pretraining import PretrainingConfig
from tests.experiments.test_pretrain import unrated

STUDY = """
[data]
stores = ["store.zarr"]
families = ["de", "eda"]
[target]
kind = "binary"
dimensions = ["valence"]
threshold = "midpoint"
[protocol]
name = "trial-grouped-k-fold"
n_folds = 2
[evaluation]
n_permutations = 0
[[models]]
name = "concat-mlp"
preset = "small"
options = { size = "tiny", n_epochs = 1, learning_rate = 1e-9, pretrained = "before" }
"""


def plan():
    training = PretrainingConfig(n_epochs=2, batch_size=64, contrast_dim=8)
    return PretrainPlan(held_out_share=0.25, training=training)


def rated(seed, name, channels=None):
    data = unrated(seed)
    groups = data.groups
    ratings = {"valence": np.where(groups.trial % 2, 7.0, 3.0)}
    source = {"simulated": True, "dataset": name, "fingerprints": {"people": name}}
    coords = dict(data.coords)
    if channels:
        coords["de"] = {**coords["de"], "channel": channels}
    return replace(data, ratings=ratings, scale=(1.0, 9.0), source=source, coords=coords)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a study, its store, and a pre-training on other data."""
    folder = tmp_path_factory.mktemp("study")
    write_study_data(rated(1, "here"), folder / "store.zarr")
    other = write_study_data(rated(2, "elsewhere"), folder / "elsewhere.zarr")
    pretrain(read_stores([other]), plan(), folder / "before")
    (folder / "study.toml").write_text(STUDY, "utf-8")
    return folder


def test_a_study_begins_with_encoders_that_were_trained_on_other_data(folder, tmp_path):
    study = read_study(folder / "study.toml")
    results = run_study(study, tmp_path / "out")
    source, _ = load_model(folder / "before")
    assert results["pretrained"] == {"concat-mlp": source_id(folder / "before")}
    assert not results["leaky"] and results["leaks"] == []
    options = {**fused_options(study), "layout": [("de", (5, 4), 0, 20)]}
    fitted = build_estimator("concat-mlp", "small", **options)
    X, y = rated(1, "here").families["de"], rated(1, "here").ratings["valence"] > 5
    fitted.fit(np.nan_to_num(X, nan=5.0), y, validation=np.arange(len(y)) % 4 == 0)
    mine, theirs = fitted.model_.encoders["de"].state_dict(), source.encoders["de"].state_dict()
    assert all(torch.allclose(mine[k], theirs[k], atol=1e-6) for k in theirs)


def fused_options(study):
    return next(m.options for m in study.models if m.name == "concat-mlp")


def beginning_with(study, folder):
    options = {**fused_options(study), "pretrained": str(folder)}
    models = [replace(m, options=options) if m.options else m for m in study.models]
    return replace(study, models=tuple(models))


def source_id(folder):
    return json.loads((folder / "pretraining.json").read_text("utf-8"))["model_id"]


def test_encoders_that_know_what_is_tested_are_refused_or_stamped(folder, tmp_path):
    study = read_study(folder / "study.toml")
    pretrain(read_stores([folder / "store.zarr"]), plan(), tmp_path / "before")
    knowing = beginning_with(study, tmp_path / "before")
    with pytest.raises(
        CallError, match="found that the encoders of concat-mlp were pre-trained on 1"
    ):
        run_study(knowing, tmp_path / "a")
    allowed = {**knowing.protocol_options, "allow_leakage": True}
    results = run_study(replace(knowing, protocol_options=allowed), tmp_path / "b")
    assert results["leaky"] and "were pre-trained on 1 of the recordings" in results["leaks"][0]


def test_encoders_of_other_electrodes_or_of_nothing_are_refused(folder, tmp_path):
    study = read_study(folder / "study.toml")
    turned = rated(1, "turned", channels=("E4", "E3", "E2", "E1", "E0"))
    store = write_study_data(turned, tmp_path / "turned.zarr")
    with pytest.raises(CheckpointError, match="for the channel E0, E1, .*expected E4, E3"):
        run_study(replace(study, stores=(store,)), tmp_path / "a")
    with pytest.raises(CheckpointError, match="found no finished pre-training at"):
        run_study(beginning_with(study, tmp_path / "nothing"), tmp_path / "b")


def test_a_decoder_begins_with_encoders_of_other_recordings(tmp_path):
    one, two = (simulated_recording(tmp_path / f"{k}.zarr", n_trials=8, seed=k) for k in (1, 2))
    pretrain(read_recordings({"one": one}), plan(), tmp_path / "before")
    file = tmp_path / "train.toml"
    file.write_text('pretrained = "before"\nfolds = 2\npermutations = 0\nepochs = 1\n', "utf-8")
    config = train_config({**read_train_file(file), "model": "fused"})
    trained = train_fused_decoder({"two": two}, config)
    assert trained.evaluation["pretrained"] == source_id(tmp_path / "before")
    assert trained.decoder.metadata["pretrained"] == source_id(tmp_path / "before")
    with pytest.raises(CallError, match="found that one served the pre-training in .* too, expect"):
        train_fused_decoder({"one": one}, config)
