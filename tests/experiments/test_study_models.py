"""Models that a study keeps: read back they say what was scored, bit for bit."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from physioemo.errors import CallError, CheckpointError, RecordingNotFoundError
from physioemo.experiments.estimator_store import ARRAYS
from physioemo.experiments.study_config import ModelChoice, read_study
from physioemo.experiments.study_jobs import TRUE_LABELS, Job, load_job
from physioemo.experiments.study_models import kept_folder, kept_predictions, load_kept
from physioemo.experiments.study_plan import plan_study
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.targets import Target
from tests.experiments.made_study import TOML, made_up, study
from tests.experiments.test_study_joint import BOTH, DIMENSIONS, two_sided

QUICK = {"n_epochs": 1}
MODELS = (
    ModelChoice("logistic"),
    ModelChoice("ordinal-logistic"),
    ModelChoice("svm", label="svm, C 2/3", options={"C": 2 / 3}),
    ModelChoice("deepsets", preset="small", options=QUICK),
    ModelChoice("mlp", preset="small", options=QUICK, joint=True, label="joint"),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    data = two_sided(n_subjects=2, n_trials=20, n_windows=2)
    return write_study_data(data, tmp_path_factory.mktemp("kept") / "s.zarr")


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    declared = study(store, *MODELS, target=BOTH, n_permutations=1, keep_models=True)
    out = tmp_path_factory.mktemp("kept") / "out"
    return declared, run_study(declared, out), out


def test_every_kept_model_says_what_was_scored(finished):
    declared, _, out = finished
    predicted = xr.open_zarr(out / "predictions.zarr", consolidated=False)["predicted"]
    for label in [m.label for m in declared.models]:
        for dimension in DIMENSIONS:
            for fold in (0, 5):
                rows, said = kept_predictions(out, declared, label, dimension, fold)
                stored = predicted.sel(model=label, dimension=dimension).values[rows]
                assert len(rows) and np.array_equal(said, stored)


def test_in_double_precision_too_before_the_jobs_are_thrown_away(store, tmp_path, monkeypatch):
    declared = study(store, *MODELS, target=BOTH, n_permutations=0, keep_models=True)
    jobs = tmp_path / "jobs"
    monkeypatch.setattr(
        "physioemo.experiments.study_run.shutil.rmtree",
        lambda path, **kwargs: shutil.copytree(path, jobs) if path.name == "jobs" else None,
    )
    run_study(declared, tmp_path / "out")
    for number, choice in enumerate(declared.models):
        column = -1 if choice.joint else 1
        folds = tuple(range(8))
        content = load_job(Job(number, column, TRUE_LABELS, folds), jobs)
        here = content["fold"] == 2
        wanted = content["predicted"][here]
        rows, said = kept_predictions(tmp_path / "out", declared, choice.label, "arousal", 2)
        assert np.array_equal(rows, content["rows"][here])
        assert np.array_equal(said, wanted[:, 1] if choice.joint else wanted)


def test_a_kept_model_knows_what_it_is(finished):
    declared, _, out = finished
    estimator, metadata = load_kept(out, "joint", "valence", 3)
    assert metadata["dimensions"] == ["valence", "arousal"] and metadata["classes"][1] == "high"
    assert metadata["study_hash"] == declared.fingerprint and metadata["simulated"]
    assert metadata["axes"]["de"]["channel"][0] == "E0"
    assert estimator.predict_proba(np.zeros((2, 5, 4))).shape == (2, 2, 2)
    files = [p.suffix for p in (out / "models").rglob("*") if p.is_file()]
    assert set(files) == {".json", ".safetensors"}
    assert len(files) == 2 * 8 * (5 * 2 + 1)  # the majority is kept as well; permuted ones are not


def test_keeping_models_changes_no_number(finished, store, tmp_path):
    declared, results, _ = finished
    plain = run_study(replace(declared, keep_models=False), tmp_path / "out")
    assert json.dumps(plain, default=str) == json.dumps(results, default=str)
    assert not (tmp_path / "out" / "models").exists()
    again = run_study(declared, tmp_path / "out")  # a finished study, now with its models
    assert json.dumps(again, default=str) == json.dumps(results, default=str)
    assert kept_predictions(tmp_path / "out", declared, "svm, C 2/3", "valence", 0)[1].size


def test_an_interrupted_study_keeps_what_is_missing(store, tmp_path):
    declared = study(store, n_permutations=0, keep_models=True)

    def stop(done, total):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(declared, tmp_path / "out", on_progress=stop)
    where = kept_folder(tmp_path / "out", declared.to_dict(), "logistic", "valence", 4)
    stamp = (where / ARRAYS).stat().st_mtime_ns
    missing = kept_folder(tmp_path / "out", declared.to_dict(), "majority", "valence", 1)
    shutil.rmtree(missing)
    run_study(declared, tmp_path / "out")
    assert (where / ARRAYS).stat().st_mtime_ns == stamp  # not fitted again
    assert (missing / ARRAYS).is_file()


def test_ratings_are_kept_as_well(tmp_path):
    store = write_study_data(made_up(n_subjects=2, effect=2.0), tmp_path / "s.zarr")
    target = Target("continuous", ("valence",))
    declared = study(store, ModelChoice("ridge"), target=target, n_permutations=0, keep_models=True)
    run_study(declared, tmp_path / "out")
    predicted = xr.open_zarr(tmp_path / "out" / "predictions.zarr", consolidated=False)["predicted"]
    for label in ("mean", "ridge"):
        rows, said = kept_predictions(tmp_path / "out", declared, label, "valence", 1)
        stored = predicted.sel(model=label, dimension="valence").values[rows]
        assert np.array_equal(said, stored)


def test_what_is_not_there_is_told(finished, store, tmp_path):
    declared, _, out = finished
    with pytest.raises(CallError, match="found the model 'forest', expected one of majority"):
        load_kept(out, "forest", "valence", 0)
    with pytest.raises(CallError, match="found the dimension 'liking', expected one of valence"):
        load_kept(out, "logistic", "liking", 0)
    with pytest.raises(RecordingNotFoundError, match="run the study with --keep-models"):
        load_kept(out, "logistic", "valence", 99)
    with pytest.raises(RecordingNotFoundError, match="found no study in"):
        load_kept(tmp_path, "logistic", "valence", 0)
    with pytest.raises(CallError, match="found a model of the study .*give the study that kept it"):
        kept_predictions(out, replace(declared, seed=9), "logistic", "valence", 0)
    copy = shutil.copytree(out, tmp_path / "copy")
    path = kept_folder(copy, declared.to_dict(), "logistic", "valence", 0) / ARRAYS
    path.write_bytes(path.read_bytes()[:-8] + b"\0" * 8)
    with pytest.raises(CheckpointError, match="it was cut off or changed"):
        load_kept(copy, "logistic", "valence", 0)


def test_the_toml_and_the_plan_take_it(tmp_path):
    text = TOML + "keep_models = true\n"
    (tmp_path / "s.toml").write_text(text)
    shutil.copytree(
        write_study_data(made_up(n_subjects=2, effect=2.0), tmp_path / "x.zarr"),
        tmp_path / "effect.zarr",
    )
    declared = read_study(tmp_path / "s.toml")
    assert declared.keep_models
    assert declared.fingerprint == replace(declared, keep_models=False).fingerprint
    before = sorted(p.name for p in tmp_path.iterdir())
    plan_study(declared)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
