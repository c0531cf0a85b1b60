"""Studies of ordered classes: what is said and scored of them, and who knew of the order."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from physioemo.errors import CallError
from physioemo.experiments.metrics import (
    classification_scores,
    quadratic_weighted_kappa,
    said_classes,
)
from physioemo.experiments.study_config import ModelChoice
from physioemo.experiments.study_data import StudyData
from physioemo.experiments.study_order import CUMULATIVE, UNORDERED, permutation_tests
from physioemo.experiments.study_report import write_study_report
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.targets import Target
from tests.experiments.made_study import made_up, study
from tests.experiments.test_study_report import text_of

ORDINAL = Target("ordinal", ("valence",))


def graded(effect=1.0, n_levels=5, seed=0, **sizes):
    """Return trials rated 1 to 5, whose first electrode rises with the rating."""
    data = made_up(seed=seed, **sizes)
    rng = np.random.default_rng(seed + 50)
    ratings = data.ratings["valence"]
    for trial in dict.fromkeys(data.groups.trial_id):
        rows = data.groups.trial_id == trial
        ratings[rows] = level = rng.integers(1, n_levels + 1)
        data.families["de"][rows, 0] += effect * (level - (n_levels + 1) / 2)
    return StudyData(**{**vars(data), "scale": (1.0, float(n_levels))})


@pytest.fixture(scope="module")
def graded_store(tmp_path_factory):
    data = graded(n_subjects=3, n_trials=24, n_windows=3)
    return write_study_data(data, tmp_path_factory.mktemp("g") / "g.zarr")


def test_kappa_is_that_of_scikit_learn_also_where_a_class_is_absent():
    rng = np.random.default_rng(0)
    for classes in ((0, 1, 2, 3), (0, 3)):
        y, said = rng.choice(classes, 60), rng.choice(classes, 60)
        wanted = cohen_kappa_score(y, said, weights="quadratic", labels=range(4))
        assert quadratic_weighted_kappa(y, said, 4) == pytest.approx(wanted)
    assert quadratic_weighted_kappa(np.array([0, 1, 2]), np.array([1, 1, 1]), 3) == 0
    assert np.isnan(quadratic_weighted_kappa(np.array([1, 1]), np.array([1, 2]), 3))


def test_of_ordered_classes_the_median_is_said():
    probability = np.array([[0.4, 0.2, 0.1, 0.3], [0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.1, 0.9]])
    assert said_classes(probability).tolist() == [0, 0, 3]
    assert said_classes(probability, ordered=True).tolist() == [1, 0, 3]
    two = np.random.default_rng(0).dirichlet((1, 1), 50)
    assert (said_classes(two) == said_classes(two, ordered=True)).all()
    found = classification_scores(np.array([3, 0, 2]), probability, ordered=True)
    assert found["rank_error"] == pytest.approx((2 + 0 + 1) / 3)
    assert "rank_error" not in classification_scores(np.array([3, 0, 2]), probability)
    nothing = classification_scores(np.array([-1]), probability[:1], ordered=True)
    assert np.isnan(nothing["rank_error"]) and np.isnan(nothing["quadratic_weighted_kappa"])


def test_for_errors_permuted_labels_are_as_good_where_they_are_smaller():
    means = {"rank_error": {"trial": 0.5}, "balanced_accuracy": {"trial": 0.5}}
    permuted = [
        {"rank_error": {"trial": e}, "balanced_accuracy": {"trial": e}} for e in (0.4, 0.9, 1.0)
    ]
    found = permutation_tests(means, permuted)
    assert found["rank_error"]["trial"]["p"] == pytest.approx(2 / 4)
    assert found["balanced_accuracy"]["trial"]["p"] == pytest.approx(3 / 4)
    assert found["rank_error"]["trial"]["effect"] == 0.5


def test_a_planted_order_is_found_best_by_who_knows_of_it(graded_store, tmp_path):
    quick = {"n_epochs": 12}
    models = (
        ModelChoice("logistic"),
        ModelChoice("ordinal-logistic"),
        ModelChoice("mlp", preset="small", options=quick),
        ModelChoice("mlp", label="told", preset="small", options={**quick, "link": "softmax"}),
    )
    results = run_study(
        study(graded_store, *models, target=ORDINAL, n_permutations=2), tmp_path / "out"
    )
    found = results["dimensions"]["valence"]["models"]
    assert {k: v["order"] for k, v in found.items()} == {
        "majority": "",
        "logistic": UNORDERED,
        "ordinal-logistic": CUMULATIVE,
        "mlp": CUMULATIVE,
        "told": UNORDERED,
    }
    kappa = {k: v["trial"]["quadratic_weighted_kappa"]["mean"] for k, v in found.items()}
    error = {k: v["trial"]["rank_error"]["mean"] for k, v in found.items()}
    assert results["headline"] == "quadratic_weighted_kappa"
    assert kappa["ordinal-logistic"] > max(0.5, kappa["logistic"])
    assert kappa["mlp"] > 0.3 and kappa["majority"] < 0.1
    assert error["ordinal-logistic"] < error["logistic"] < error["majority"]
    permuted = found["ordinal-logistic"]["permuted"]
    assert all(abs(p["scores"]["quadratic_weighted_kappa"]["trial"]) < 0.4 for p in permuted)
    tests = found["ordinal-logistic"]["ordered_tests"]
    assert all(tests[name]["trial"]["p"] == pytest.approx(1 / 3) for name in tests)
    said = text_of(write_study_report(results, tmp_path / "out"))
    assert "logistic, told: fitted to classes without an order" in said
    assert "The class said is the median of the probabilities" in said


def test_two_runs_of_ordered_classes_are_identical(graded_store, tmp_path):
    model = ModelChoice("deepsets", preset="small", options={"n_epochs": 2})
    declared = study(graded_store, model, target=ORDINAL, n_permutations=1)
    one, two = (run_study(declared, tmp_path / name) for name in "ab")
    assert json.dumps(one, default=str) == json.dumps(two, default=str)


def test_names_without_an_order_are_no_ordered_classes(graded_store):
    labels = Target("labels", classes=("sad", "neutral", "happy"))
    with pytest.raises(CallError, match="'ordinal-logistic', which needs classes in an order"):
        study(graded_store, ModelChoice("ordinal-logistic"), target=labels)
    assert replace(study(graded_store, target=ORDINAL), seed=1).target.kind == "ordinal"
