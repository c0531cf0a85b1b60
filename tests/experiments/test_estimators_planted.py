"""Estimators find what is planted, where their features hold it, and nothing else."""

import numpy as np
import pytest
from scipy.stats import binomtest

from physioemo.experiments.estimator_inputs import connectivity_tokens
from physioemo.experiments.estimators import ESTIMATORS, build_estimator
from physioemo.experiments.estimators_torch import fit_together
from physioemo.models.training_plan import TrainingPlan

TOKEN_MODELS = ("logistic", "svm", "mlp", "deepsets", "intercortical")
RAW_MODELS = ("eegnet", "shallow", "conformer")


def score(name, train, test, **options):
    """Accuracy, as a plain float so that a failing test prints a line and no arrays."""
    estimator = build_estimator(name, "small", **options).fit(*train)
    return float((estimator.predict(test[0]) == test[1]).mean())


def band_power(n_windows, seed, effect=2.5):
    """Tokens of 8 electrodes; in class 1 two of them have more of band 1."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n_windows)
    X = rng.normal(size=(n_windows, 8, 4))
    X[:, 2:4, 1] += effect * y[:, np.newaxis]
    return X, y


def coupled(n_windows, seed, n_times=128):
    """Raw windows of 4 electrodes with equal variances; in class 1 the first two share a source."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n_windows)
    raw = rng.normal(size=(n_windows, 4, n_times))
    raw[:, 1] = np.where(y[:, np.newaxis], (raw[:, 0] + raw[:, 1]) / np.sqrt(2), raw[:, 1])
    return raw, y


def entropy_of(raw):
    """Differential entropy in one band, the whole."""
    return 0.5 * np.log(2 * np.pi * np.e * raw.var(axis=2))[:, :, np.newaxis]


def correlation_of(raw):
    """Fisher-z of each pair: (window, measure, pair, band)."""
    pairs = np.triu_indices(raw.shape[1], 1)
    values = np.array([np.corrcoef(window)[pairs] for window in raw])
    return np.arctanh(values)[:, np.newaxis, :, np.newaxis]


def pointer(n_windows, seed, n_targets=12):
    """Electrode 0's four bands name another electrode, whose band 1 is positive in class 1."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_windows, n_targets + 1, 4))
    named = rng.integers(0, n_targets, n_windows)
    codes = 2.0 * ((np.arange(n_targets)[:, np.newaxis] >> np.arange(4)) & 1) - 1
    X[:, 0] = codes[named] + 0.1 * rng.normal(size=(n_windows, 4))
    return X, (X[np.arange(n_windows), named + 1, 1] > 0).astype(int)


@pytest.mark.parametrize("name", TOKEN_MODELS)
def test_a_band_power_effect_is_found(name):
    assert score(name, band_power(600, 1), band_power(500, 2)) > 0.9


@pytest.mark.slow
def test_in_bfloat16_it_is_found_too_alike_alone_and_together():
    options = {"precision": "bfloat16", "n_epochs": 10}
    (X, y), (held_out, z) = band_power(600, 1), band_power(500, 2)
    fits = [{"X": X, "y": y}, {"X": X[:200], "y": y[:200]}]
    alone, *together = (build_estimator("mlp", "small", **options) for _ in range(3))
    probability = alone.fit(X, y).predict_proba(held_out)
    fit_together(together, fits, plan=TrainingPlan(2))
    np.testing.assert_array_equal(together[0].predict_proba(held_out), probability)
    assert (alone.predict(held_out) == z).mean() > 0.9
    default = build_estimator("mlp", "small", n_epochs=10).fit(X, y).predict_proba(held_out)
    assert 0 < np.abs(probability - default).max() < 0.2


@pytest.mark.parametrize("name", [*TOKEN_MODELS, "majority"])
def test_nothing_is_found_where_nothing_is(name):
    train, (X, y) = band_power(400, 1, effect=0.0), band_power(1000, 2, effect=0.0)
    right = round(score(name, train, (X, y)) * len(y))
    assert binomtest(right, len(y), 0.5).pvalue > 0.001


@pytest.mark.parametrize("name", RAW_MODELS)
def test_networks_on_raw_windows_find_a_rhythm(name):
    def rhythm(n_windows, seed):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, n_windows)
        raw = rng.normal(size=(n_windows, 4, 200))
        phase = rng.uniform(0, 2 * np.pi, (n_windows, 1))
        wave = np.sin(2 * np.pi * 10 * np.arange(200) / 100 + phase)
        raw[:, 1] += 2 * y[:, np.newaxis] * wave
        return raw, y

    options = {"n_epochs": 15, "learning_rate": 5e-3 if name == "eegnet" else 1e-3}
    assert score(name, rhythm(240, 1), rhythm(200, 2), **options) > 0.9


@pytest.mark.parametrize("name", ["logistic", "mlp", "deepsets", "intercortical"])
def test_entropies_do_not_hold_what_only_coupling_says(name):
    (raw, y), (held_out, z) = coupled(800, 1), coupled(1000, 2)
    assert score(name, (entropy_of(raw), y), (entropy_of(held_out), z)) <= 0.60


@pytest.mark.parametrize("name", ["intercortical-connectivity", "logistic"])
def test_connectivity_tokens_hold_what_only_coupling_says(name):
    def extended(raw):
        return connectivity_tokens(entropy_of(raw), correlation_of(raw))

    (raw, y), (held_out, z) = coupled(800, 1), coupled(1000, 2)
    assert score(name, (extended(raw), y), (extended(held_out), z)) > 0.95


@pytest.mark.slow
def test_attention_follows_a_pointer():
    options = {"n_epochs": 20, "patience": 20}
    assert score("intercortical", pointer(8000, 0), pointer(2000, 1), **options) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logistic", "svm", "mlp", "deepsets"])
def test_no_fair_baseline_follows_a_pointer(name):
    assert ESTIMATORS[name].reads in ("flat", "tokens")
    assert score(name, pointer(8000, 0), pointer(2000, 1)) < 0.85
