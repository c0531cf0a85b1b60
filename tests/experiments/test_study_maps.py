"""Attention between electrodes as it is in the model, beside models of permuted labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from physioemo.errors import CallError
from physioemo.experiments.estimators import build_estimator
from physioemo.experiments.study_config import ModelChoice
from physioemo.experiments.study_inputs import load_inputs
from physioemo.experiments.study_maps import attention_beside_null, study_maps
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from tests.experiments.made_study import made_up, study


def fitted(name="intercortical", n_windows=150, n_channels=5):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_windows, n_channels, 4)), rng.integers(0, 2, n_windows)
    return build_estimator(name, "small", n_epochs=1).fit(X, y), X


def test_attention_is_the_models_own_mean_over_windows_layers_and_heads():
    estimator, X = fitted()
    found = estimator.attention(X)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    scaled = torch.tensor(estimator.scaler_.apply(X), dtype=torch.float32)
    with torch.no_grad():
        _, attention = estimator.model_(scaled, return_attention=True)
    np.testing.assert_allclose(found, attention.mean(dim=(0, 1, 2)), atol=1e-6)


def test_an_electrode_that_is_missing_attends_to_nothing_and_is_not_attended():
    estimator, X = fitted()
    whole = estimator.attention(X)
    X[:75, 2] = np.nan
    half = estimator.attention(X)
    np.testing.assert_allclose(half.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(half[2], estimator.attention(X[75:])[2], atol=1e-6)
    assert half[0, 2] == pytest.approx(whole[0, 2] / 2, rel=0.3)
    X[:, 2] = np.nan
    never = estimator.attention(X)
    assert np.isnan(never[2]).all() and (never[[0, 1, 3, 4], 2] == 0).all()


def test_a_model_without_attention_says_so():
    estimator, X = fitted("deepsets")
    assert not estimator.attends
    with pytest.raises(CallError, match="found the model 'deepsets', which pays no attention"):
        estimator.attention(X)


def test_attention_is_compared_pair_by_pair_with_null_and_ablation():
    rng = np.random.default_rng(0)
    true = rng.random((6, 6))
    ablated = (true + true.T) / 2
    rows = [[None if i == j else float(v) for j, v in enumerate(r)] for i, r in enumerate(ablated)]
    found = attention_beside_null([true, true, 1 - true], rows)
    assert found["null_correlation"] == pytest.approx([1.0, -1.0])
    assert found["interaction_correlation"] == pytest.approx(1.0)
    np.testing.assert_allclose(found["null_mean"], 0.5)
    assert attention_beside_null([], rows) == {}
    flat = attention_beside_null([np.full((6, 6), 1 / 6), true], rows)
    assert np.isnan(flat["null_correlation"]).all() and np.isnan(flat["interaction_correlation"])


def test_maps_of_a_study_hold_attention_only_where_there_is_some(tmp_path, monkeypatch):
    monkeypatch.setattr("physioemo.experiments.study_maps._PERMUTATIONS", 2)
    monkeypatch.setattr("physioemo.experiments.study_maps._FOLDS", 1)
    store = write_study_data(made_up(n_subjects=1, effect=2.0), tmp_path / "s.zarr")
    model = ModelChoice("intercortical", preset="small", options={"n_epochs": 1})
    for name, there in (("intercortical", True), ("logistic", False)):
        declared = study(store, model, ModelChoice("logistic"), maps=name)
        found = study_maps(declared, load_inputs(declared), tmp_path / name)["valence"]["attention"]
        assert bool(found) == there
        if there:
            assert np.shape(found["mean"]) == (5, 5) and len(found["null_correlation"]) == 2


def test_maps_that_were_interrupted_go_on_and_come_out_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("physioemo.experiments.study_maps._PERMUTATIONS", 3)
    monkeypatch.setattr("physioemo.experiments.study_maps._FOLDS", 2)
    store = write_study_data(made_up(n_subjects=1, effect=2.0), tmp_path / "s.zarr")
    declared = study(store, ModelChoice("logistic"), maps="logistic")
    whole = run_study(declared, tmp_path / "whole")
    told = []

    def stop(done, total):
        told.append((done, total))
        if len(list((tmp_path / "out" / "jobs").glob("maps-*"))) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(declared, tmp_path / "out", on_progress=stop)
    done, total = told[-1]
    assert total - done == 2 * 2 and told[0][0] > 0  # two permutations of two folds are left
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "jobs").glob("maps-*")}

    def look(done, total):
        told.append((done, total))
        assert {p: p.stat().st_mtime_ns for p in written} == written

    assert run_study(declared, tmp_path / "out", on_progress=look)["maps"] == whole["maps"]
    assert told[-3:] == [(done, total), (done + 2, total), (total, total)]
    assert not (tmp_path / "out" / "jobs").exists()


def test_what_has_no_maps_is_said_before_anything_is_computed(tmp_path):
    data = made_up(n_subjects=1, effect=2.0)
    flat = {"eda": data.families["de"][:, :, 0]}
    axes = {"eda": {"measure": tuple("abcde")}}
    store = write_study_data(replace(data, families=flat, coords=axes), tmp_path / "s.zarr")
    declared = study(store, ModelChoice("logistic"), maps="logistic", families=("eda",))
    with pytest.raises(CallError, match=r"found features of shape \(\d+, 5\) for maps"):
        run_study(declared, tmp_path / "out")
    assert not (tmp_path / "out" / "jobs").exists()
