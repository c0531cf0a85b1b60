"""Several dimensions in one network: masked losses, heads that learn, labels permuted together."""

import json

import numpy as np
import pytest
import torch

from physioemo.errors import CallError, DataError
from physioemo.experiments.estimators import build_estimator
from physioemo.experiments.estimators_torch import fit_together
from physioemo.experiments.study_config import ModelChoice, read_study
from physioemo.experiments.study_data import StudyData
from physioemo.experiments.study_inputs import load_inputs
from physioemo.experiments.study_joint import ALL_COLUMNS, permuted_together, rated_rows
from physioemo.experiments.study_plan import plan_study
from physioemo.experiments.study_report import write_study_report
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.targets import Target
from physioemo.models.losses import class_weights, weighted_cross_entropy
from physioemo.models.training_plan import TrainingPlan
from tests.experiments.made_study import TOML, made_up, study
from tests.experiments.test_study_report import text_of

DIMENSIONS = ("valence", "arousal")
BOTH = Target("binary", DIMENSIONS, threshold="midpoint")
QUICK = {"n_epochs": 12}


def two_sided(effect=2.0, **sizes):
    """Return windows whose first electrode tells valence and whose second tells arousal."""
    data = made_up(effect=effect, **sizes)
    rng = np.random.default_rng(7)
    arousal = np.empty(len(data))
    for k, trial in enumerate(dict.fromkeys(data.groups.trial_id)):
        rows = data.groups.trial_id == trial
        high = rng.random() < 0.5
        arousal[rows] = np.nan if k % 10 == 3 else (8.0 if high else 2.0)
        data.families["de"][rows, 1] += effect * (2 * high - 1)
    data.ratings["valence"][:4] = np.nan
    return StudyData(**{**vars(data), "ratings": {**data.ratings, "arousal": arousal}})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    data = two_sided(n_subjects=2, n_trials=24, n_windows=4)
    return write_study_data(data, tmp_path_factory.mktemp("joint") / "s.zarr")


def labelled(n=120, seed=0):
    """Return windows and classes of two dimensions, the second unrated in every third."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4, 3))
    y = (X[:, :2, 0] > 0).astype(int)
    y[::3, 1] = -1
    return X, y


def test_unrated_windows_add_nothing_to_the_gradient_of_a_head():
    X, y = labelled()
    estimator = build_estimator("mlp", "small", joint=True, n_epochs=1).fit(X, y)
    model, rated = estimator.build(), y[:, 1] >= 0
    tokens = torch.tensor(estimator._scaled(estimator._tokens(X))[0], dtype=torch.float32)
    labels = torch.tensor(y)
    weights = class_weights(labels, 2)

    def gradient(rows, which):
        model.zero_grad()
        of_rows = labels[rows].clone()
        of_rows[:, [d for d in (0, 1) if d not in which]] = -1
        weighted_cross_entropy(model(tokens[rows]), of_rows, weights).backward()
        return [p.grad.clone() for p in model.parameters()]

    every, only_rated = slice(None), torch.tensor(rated)
    for a, b in zip(gradient(every, (1,)), gradient(only_rated, (1,)), strict=True):
        torch.testing.assert_close(a, b)
    # And both dimensions together are the mean of each on what is rated of it.
    each = [gradient(every, (0,)), gradient(only_rated, (1,))]
    for both, *apart in zip(gradient(every, (0, 1)), *each, strict=True):
        torch.testing.assert_close(both, sum(apart) / 2)


def test_one_dimension_alone_is_the_plain_model():
    X, y = labelled()
    options = {"n_epochs": 4, "seed": 3}
    plain = build_estimator("mlp", "small", **options).fit(X, y[:, 0], classes=range(2))
    joint = build_estimator("mlp", "small", joint=True, **options)
    joint.fit(X, y[:, :1], classes=range(2))
    np.testing.assert_allclose(joint.predict_proba(X)[:, 0], plain.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "deepsets", "intercortical"])
@pytest.mark.parametrize("link", ["softmax", "cumulative"])
def test_many_joint_networks_together_are_those_alone(name, link):
    fits = [dict(zip("Xy", labelled(60 + 12 * k, k), strict=True)) for k in range(3)]
    for fit in fits:
        fit["y"] = np.where(fit["y"] < 0, -1, fit["y"] + (fit["X"][:, :2, 0] > 1))
    made = [
        [
            build_estimator(name, "small", joint=True, seed=k, n_epochs=2, link=link)
            for k in range(3)
        ]
        for _ in range(2)
    ]
    alone = [e.fit(**fit, classes=range(4)) for e, fit in zip(made[0], fits, strict=True)]
    together = fit_together(
        made[1], [{**f, "classes": range(4)} for f in fits], plan=TrainingPlan(2)
    )
    for a, b, fit in zip(alone, together, fits, strict=True):
        said = a.predict_proba(fit["X"])
        np.testing.assert_allclose(said, b.predict_proba(fit["X"]), atol=2e-5)
        np.testing.assert_allclose(said.sum(axis=2), 1)
        assert said.shape[1:] == (2, 4) and (said[..., 3] == 0).all()  # a class that never was


def test_labels_that_cannot_be_learned_are_told():
    X, y = labelled()
    with pytest.raises(CallError, match=r"found labels of shape \(120,\) and type int64"):
        build_estimator("mlp", "small", joint=True).fit(X, y[:, 0])
    same = y.copy()
    same[:, 1] = 1
    with pytest.raises(DataError, match="fewer than two classes of dimension 2 in the 96 windows"):
        build_estimator("mlp", "small", joint=True).fit(X, same)
    with pytest.raises(CallError, match="found the class 1, expected at most 0"):
        build_estimator("mlp", "small", joint=True).fit(X, y, classes=range(1))
    with pytest.raises(CallError, match="found joint = true for 'logistic', which predicts one"):
        build_estimator("logistic", joint=True)


def test_a_window_without_electrodes_gets_the_shares_of_each_dimension():
    X, y = labelled()
    validation = np.arange(120) >= 80
    estimator = build_estimator("deepsets", "small", joint=True, n_epochs=1)
    estimator.fit(X, y, validation=validation)
    nothing = estimator.predict_proba(np.full((1, 4, 3), np.nan))[0]
    for d in range(2):
        rated = y[:80, d][y[:80, d] >= 0]
        np.testing.assert_allclose(nothing[d, 1], rated.mean())


def test_permuted_trials_keep_their_dimensions_together(store):
    inputs = load_inputs(study(store, target=BOTH))
    permuted = permuted_together(inputs, 0, seed=1)
    rated = rated_rows(inputs, ALL_COLUMNS)
    assert (permuted != inputs.targets).any() and rated.sum() > inputs.rated(1).sum()
    for subject in set(inputs.groups.person):
        rows = np.flatnonzero(rated & (inputs.groups.person == subject))
        pairs = [sorted(map(tuple, t[rows].tolist())) for t in (inputs.targets, permuted)]
        assert pairs[0] == pairs[1]
    for trial in set(inputs.groups.trial_id[rated]):
        rows = rated & (inputs.groups.trial_id == trial)
        assert len(set(map(tuple, permuted[rows].tolist()))) == 1
    assert (permuted[~rated] == inputs.targets[~rated]).all()


def test_one_network_finds_what_each_dimension_holds(store, tmp_path):
    joint = ModelChoice("mlp", preset="small", joint=True, options=QUICK, label="joint")
    each = ModelChoice("mlp", preset="small", options=QUICK, label="each")
    declared = study(store, joint, each, target=BOTH, n_permutations=1)
    plan = plan_study(declared)
    assert plan.n_fits == {"majority": 16, "joint": 16, "each": 32}
    results = run_study(declared, tmp_path / "out")
    for dimension in DIMENSIONS:
        models = results["dimensions"][dimension]["models"]
        assert models["joint"]["trial"]["balanced_accuracy"]["mean"] > 0.8
        assert models["joint"]["permuted"][0]["trial"] < 0.75
        for subject, scores in models["joint"]["subjects"].items():
            own = models["each"]["subjects"][subject]["trial"]
            assert scores["trial"]["n"] == own["n"] == np.sum(scores["trial"]["confusion"])
    said = text_of(write_study_report(results, tmp_path / "out"))
    assert "with the models majority, joint, each (joint: all dimensions in one network)" in said
    again = run_study(declared, tmp_path / "again")
    assert json.dumps(again, default=str) == json.dumps(results, default=str)


def test_a_joint_model_is_declared_in_the_toml(tmp_path):
    text = TOML.replace('name = "logistic"', 'name = "deepsets"\njoint = true')
    (tmp_path / "s.toml").write_text(text)
    declared = read_study(tmp_path / "s.toml")
    assert declared.models[1].joint and declared.models[1].to_dict()["joint"] is True
    assert "joint" not in declared.models[0].to_dict()
    (tmp_path / "s.toml").write_text(text.replace("true", '"yes"'))
    with pytest.raises(CallError, match="found joint = 'yes', expected true or false"):
        read_study(tmp_path / "s.toml")
    (tmp_path / "s.toml").write_text(text.replace("deepsets", "svm"))
    with pytest.raises(CallError, match="found joint = true for 'svm', which predicts one dimensi"):
        read_study(tmp_path / "s.toml")


def test_what_needs_one_dimension_refuses_a_joint_model(store):
    joint = ModelChoice("deepsets", joint=True)
    with pytest.raises(CallError, match="found maps for 'deepsets', which predicts all dimensions"):
        study(store, joint, target=BOTH, maps="deepsets")
    with pytest.raises(CallError, match="found resample for 'deepsets', which predicts all dimens"):
        study(store, joint, target=BOTH, resample="smote")
