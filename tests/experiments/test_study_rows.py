"""Rows of several families: put together for some windows, equal to all of them at once."""

from dataclasses import replace

import numpy as np

from physioemo.experiments.estimators_fused import FusedClassifier
from physioemo.experiments.study_features import FamilyRows, feature_rows, features_for
from physioemo.experiments.study_inputs import load_inputs
from physioemo.experiments.study_jobs import Job, run_job
from physioemo.experiments.study_store import write_study_data
from tests.experiments.study_planted import fused, study, told_once


def test_some_rows_are_those_of_all_and_single_precision_stays():
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(9, 4, 3)), rng.normal(size=(9, 5)).astype(np.float32)]
    rows = FamilyRows(parts)
    whole = np.concatenate([p.reshape(9, -1) for p in parts], axis=1)
    assert len(rows) == 9 and np.array_equal(rows[np.array([3, 0])], whole[[3, 0]])
    assert rows[np.array([], int)].shape == (0, 17)
    assert FamilyRows(parts[1:])[np.arange(9)].dtype == np.float32


def test_a_study_puts_the_windows_of_one_fold_together_at_a_time(tmp_path, monkeypatch):
    data = told_once("first", n_trials=8)
    gaze = np.random.default_rng(0).normal(size=(len(data), 2)).astype(np.float32)
    families = {**data.families, "gaze": gaze}
    coords = {**data.coords, "gaze": {"feature": ("x", "y")}}
    made = replace(data, families=families, coords=coords)
    store = write_study_data(made, tmp_path / "two.zarr")
    model = fused("net", families=["de", "gaze"], n_epochs=1)
    four = {"n_folds": 4, "within_subject": False}
    declared = study(store, model, families=("de", "gaze"), protocol_options=four)
    inputs = load_inputs(declared)
    assert inputs.families["gaze"].dtype == np.float32
    rows = feature_rows(model, declared, inputs)
    assert np.array_equal(rows[np.arange(50)], features_for(model, declared, inputs)[:50])
    done = []
    take, fit = FamilyRows.__getitem__, FusedClassifier.fit

    def taken(self, rows):
        done.append("rows")
        return take(self, rows)

    def fitted(self, *given, **named):
        done.append("fit")
        return fit(self, *given, **named)

    monkeypatch.setattr(FamilyRows, "__getitem__", taken)
    monkeypatch.setattr(FusedClassifier, "fit", fitted)
    assert run_job(Job(1, 0, -1, (0, 1, 2, 3)), declared, tmp_path)["error"] == ""
    assert done == ["rows", "fit"] * 4 + ["rows"] * 4
