"""Ordered classes: analytic thresholds, logistic regression as a special case, planted order."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from physioemo.errors import CallError
from physioemo.experiments import estimators_ordinal
from physioemo.experiments.estimators import ESTIMATORS, build_estimator
from physioemo.experiments.estimators_ordinal import fit_proportional_odds, ordered_probability
from physioemo.experiments.estimators_torch import fit_together
from physioemo.experiments.metrics import classification_scores
from physioemo.models.training_plan import TrainingPlan

NETWORKS = ("mlp", "deepsets", "intercortical")


def ordered(n, seed, n_features=6, n_levels=5, slope=1.5):
    """Return rows and levels cut from a logistic variable that one direction moves."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, n_features))
    hidden = slope * rows @ np.r_[1.0, -1.0, np.zeros(n_features - 2)] + rng.logistic(size=n)
    cuts = np.linspace(-3, 3, n_levels - 1)
    return rows, np.digitize(hidden, cuts), cuts


def test_without_features_the_thresholds_are_the_logits_of_the_shares():
    codes = np.repeat([0, 1, 2, 3], [10, 30, 40, 20])
    weights, thresholds = fit_proportional_odds(np.zeros((100, 2)), codes, 1.0, balanced=False)
    np.testing.assert_allclose(thresholds, logit([0.1, 0.4, 0.8]), atol=1e-5)
    np.testing.assert_allclose(weights, 0, atol=1e-8)
    balanced = fit_proportional_odds(np.zeros((100, 2)), codes, 1.0)[1]
    np.testing.assert_allclose(balanced, logit([0.25, 0.5, 0.75]), atol=1e-5)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_two_classes_are_logistic_regression(penalty):
    rows, levels, _ = ordered(300, 0, n_levels=2)
    levels = (rows[:, 0] + levels > 1).astype(int)
    weights, thresholds = fit_proportional_odds(rows, levels, penalty)
    plain = LogisticRegression(C=penalty, class_weight="balanced", tol=1e-8).fit(rows, levels)
    np.testing.assert_allclose(weights, plain.coef_[0], atol=1e-4)
    np.testing.assert_allclose(-thresholds, plain.intercept_, atol=1e-4)


def test_the_planted_slopes_and_cuts_come_back():
    rows, levels, cuts = ordered(20000, 1)
    weights, thresholds = fit_proportional_odds(rows, levels, 1e6, balanced=False)
    np.testing.assert_allclose(weights, [1.5, -1.5, 0, 0, 0, 0], atol=0.06)
    np.testing.assert_allclose(thresholds, cuts, atol=0.12)


def test_the_gradient_is_that_of_the_loss():
    rows, levels, _ = ordered(60, 2, n_features=3)
    x = np.random.default_rng(0).normal(size=3 + 4) * 0.5
    more = (rows, levels, np.linspace(0.5, 2, 60), 0.7, 5)
    error = check_grad(
        lambda v: estimators_ordinal._objective(v, *more)[0],
        lambda v: estimators_ordinal._objective(v, *more)[1],
        x,
    )
    assert error < 1e-6


def test_probabilities_add_up_and_keep_their_digits_far_out():
    thresholds = np.array([-2.0, 0.0, 2.0])
    said = ordered_probability(np.array([-60.0, 0.0, 60.0]), thresholds)
    np.testing.assert_allclose(said.sum(axis=1), 1)
    middle = 0.5 - expit(-2)
    np.testing.assert_allclose(said[1], [expit(-2), middle, middle, expit(-2)])
    np.testing.assert_allclose(said[0, 3], expit(-62), rtol=1e-9)
    np.testing.assert_allclose(said[2, 0], expit(-62), rtol=1e-9)
    assert (said >= 0).all()


def kappa(name, seed, **options):
    """Quadratic weighted kappa on new rows of a model that saw few."""
    rows, levels, _ = ordered(90, seed, n_features=12, slope=1.0)
    more, truth, _ = ordered(2000, seed + 100, n_features=12, slope=1.0)
    fitted = build_estimator(name, "small", **options).fit(rows, levels, classes=range(5))
    said = fitted.predict_proba(more)
    return classification_scores(truth, said, ordered=True)["quadratic_weighted_kappa"]


def test_with_few_rows_the_order_is_worth_knowing():
    ahead = [kappa("ordinal-logistic", s) - kappa("logistic", s) for s in range(8)]
    assert np.mean(ahead) > 0.03 and sum(a > 0 for a in ahead) >= 6


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_learn_ordered_classes_and_say_probabilities_of_them(name):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(260, 4, 3))
    levels = np.digitize(2 * X[:, 0, 0] + 0.5 * rng.logistic(size=260), [-2, 0, 2])
    estimator = build_estimator(name, "small", link="cumulative", n_epochs=25)
    estimator.fit(X[:160], levels[:160], classes=range(5))
    said = estimator.predict_proba(X[160:])
    np.testing.assert_allclose(said.sum(axis=1), 1)
    assert (said[:, 4] == 0).all()  # never seen
    thresholds = estimator.model_.thresholds.detach().numpy()
    assert thresholds.shape == (1, 3) and (np.diff(thresholds) > 0).all()
    found = classification_scores(levels[160:], said, ordered=True)
    assert found["quadratic_weighted_kappa"] > 0.6
    # One score orders all windows: the chance of exceeding a level never crosses.
    beyond = said[:, 1:].sum(axis=1), said[:, 2:].sum(axis=1)
    assert (np.diff(beyond[1][np.argsort(beyond[0])]) > -1e-6).all()


def test_many_ordered_networks_together_are_those_alone():
    fits = []
    for seed in range(3):
        rows, levels, _ = ordered(50 + 9 * seed, seed, n_features=12, n_levels=4)
        fits.append({"X": rows.reshape(-1, 4, 3), "y": levels, "classes": range(4)})
    options = {"n_epochs": 3, "link": "cumulative"}
    alone = [build_estimator("deepsets", "small", seed=i, **options) for i in range(3)]
    for estimator, fit in zip(alone, fits, strict=True):
        estimator.fit(**fit)
    together = [build_estimator("deepsets", "small", seed=i, **options) for i in range(3)]
    fit_together(together, fits, plan=TrainingPlan(2))
    for a, b, fit in zip(alone, together, fits, strict=True):
        np.testing.assert_allclose(a.predict_proba(fit["X"]), b.predict_proba(fit["X"]), atol=1e-5)


def test_an_unknown_link_is_told():
    rows, levels, _ = ordered(60, 0)
    with pytest.raises(CallError, match="found link = 'probit', expected one of softmax, cumula"):
        build_estimator("mlp", "small", link="probit").fit(rows, levels)
    assert ESTIMATORS["ordinal-logistic"].ordered == {} and ESTIMATORS["logistic"].ordered is None
