"""Importance and interactions: what was planted is found, and noise has no winner."""

import numpy as np
import pytest

from physioemo.errors import CallError
from physioemo.experiments.estimator_inputs import connectivity_tokens
from physioemo.experiments.estimators import build_estimator
from physioemo.experiments.importance import (
    electrode_importance,
    electrode_interactions,
    interactions_beside_null,
)

NAMES = ["F3", "F4", "C3", "C4", "P3"]


def windows(kind, n=400, seed=0):
    """Return tokens whose class hangs on electrode 2 alone, or on the product of 1 and 3."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(NAMES), 2))
    hidden = x[:, 2, 0] if kind == "one" else x[:, 1, 0] * x[:, 3, 0]
    if kind == "none":
        hidden = rng.normal(size=n)
    return x, (hidden > 0).astype(int)


class Exact:
    """A model that is known: log-odds 2 a + b c."""

    classes_ = np.array([0, 1])

    def predict_proba(self, X):
        filled = np.where(np.isnan(X), 0.0, X)[..., 0]
        odds = np.exp(2 * filled[:, 0] + filled[:, 1] * filled[:, 3])
        return np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)


def test_the_second_difference_of_a_known_model_is_its_product_term():
    x = np.random.default_rng(1).normal(size=(100, 5, 1)) * 0.7
    found = electrode_interactions(Exact(), x)
    assert found[1, 3] == pytest.approx(np.abs(x[:, 1, 0] * x[:, 3, 0]).mean(), rel=1e-6)
    others = [found[i, j] for i in range(5) for j in range(i) if {i, j} != {1, 3}]
    assert max(others) < 1e-9 and np.isnan(np.diag(found)).all()


def test_the_planted_electrode_is_the_one_that_matters():
    x, y = windows("one")
    model = build_estimator("logistic").fit(x[:300], y[:300])
    importance = electrode_importance(model, x[300:], y[300:])
    assert importance.argmax() == 2 and importance[2] > 0.2
    assert np.abs(np.delete(importance, 2)).max() < 0.05


def test_a_planted_pair_ranks_first_and_stands_above_its_null():
    x, y = windows("pair")

    def fit(permutation):
        labels = y[:300]
        if permutation is not None:
            labels = np.random.default_rng(permutation).permutation(labels)
        return build_estimator("svm", C=10.0).fit(x[:300], labels)

    found = interactions_beside_null(fit, x[300:], NAMES, n_permutations=3)
    assert found.winners and set(found.winners[0][:2]) == {"F4", "C4"}
    assert found.winners[0][2] > 1.3 * found.threshold


def test_an_exclusive_or_of_two_of_fourteen_electrodes_stands_far_above_all_other_pairs():
    rng = np.random.default_rng(0)
    bits, x = rng.integers(0, 2, (900, 2)), rng.normal(size=(900, 14, 1))
    x[:, [3, 9], 0] = 2 * bits - 1 + 0.3 * x[:, [3, 9], 0]
    y = bits[:, 0] ^ bits[:, 1]

    def fit(permutation):
        labels = y[:700]
        if permutation is not None:
            labels = np.random.default_rng(permutation).permutation(labels)
        return build_estimator("svm", C=10.0).fit(x[:700], labels)

    names = [f"E{k}" for k in range(14)]
    found = interactions_beside_null(fit, x[700:760], names, n_permutations=2)
    assert [set(w[:2]) for w in found.winners] == [{"E3", "E9"}]
    scores = np.sort(np.array(found.score, float)[np.triu_indices(14, 1)])
    assert len(scores) == 91 and scores[-1] >= 5 * scores[-2]


def test_electrodes_that_add_up_are_not_called_a_web_of_pairs():
    def added(n, seed):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, n)
        x = rng.normal(size=(n, 8, 4))
        x[:, 2:4, 1] += 2.0 * y[:, None]
        return x, y

    x, y = added(300, 0)

    def fit(permutation):
        labels = y if permutation is None else np.random.default_rng(permutation).permutation(y)
        return build_estimator("deepsets", "small").fit(x, labels)

    held_out = added(150, 50)[0]
    found = interactions_beside_null(fit, held_out, [f"E{k}" for k in range(8)])
    # In plain log-odds all 28 pairs exceed those of permuted labels. Only the two that carry the
    # effect meet in the curved head behind the mean.
    assert len(found.winners) <= 2
    assert not found.winners or set(found.winners[0][:2]) == {"E2", "E3"}


def test_an_electrode_leaves_with_what_others_say_of_it():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    raw = rng.normal(size=(400, 4, 128))
    raw[:, 1] = np.where(y[:, None], (raw[:, 0] + raw[:, 1]) / np.sqrt(2), raw[:, 1])
    pairs = np.triu_indices(4, 1)
    fisher = np.arctanh([np.corrcoef(w)[pairs] for w in raw])[:, None, :, None]
    x = connectivity_tokens(np.log(raw.var(axis=2))[:, :, None], fisher)
    model = build_estimator("logistic").fit(x[:300], y[:300])
    kept = electrode_importance(model, x[300:], y[300:])
    gone = electrode_importance(model, x[300:], y[300:], n_own=1)
    assert set(gone.argsort()[2:]) == {0, 1} and gone[:2].min() > 1.5 * kept[:2].max()
    found = electrode_interactions(model, x[300:], n_own=1)
    assert np.nanargmax(found) in (1, 4) and found[0, 1] > 5 * found[2, 3]


def test_noise_has_no_winner():
    x, y = windows("none")

    def fit(permutation):
        labels = y[:300]
        if permutation is not None:
            labels = np.random.default_rng(100 + permutation).permutation(labels)
        return build_estimator("logistic").fit(x[:300], labels)

    assert interactions_beside_null(fit, x[300:], NAMES, n_permutations=4).winners == []


def test_a_linear_model_has_no_interactions_however_sure_it_is():
    x, _ = windows("one")
    y = (x[:, 2, 0] + x[:, 4, 1] > 0).astype(int)  # separable: probabilities of nearly 0 and 1

    def fit(permutation):
        labels = y if permutation is None else np.random.default_rng(permutation).permutation(y)
        return build_estimator("logistic", penalties=(100.0,)).fit(x, labels)

    assert fit(None).predict_proba(x).max() > 0.9999
    found = interactions_beside_null(fit, x, NAMES, n_permutations=2)
    assert found.winners == [] and np.nanmax(np.array(found.score, float), initial=0) < 1e-6


def test_what_has_no_electrodes_or_no_null_is_refused():
    x, y = windows("one")
    with pytest.raises(CallError, match=r"expected \(window, channel, \.\.\.\)"):
        electrode_importance(Exact(), x[:, 0], y)
    with pytest.raises(CallError, match="a pair means nothing without its null"):
        interactions_beside_null(lambda k: Exact(), x, NAMES, n_permutations=0)
