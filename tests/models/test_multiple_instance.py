"""One rating for a trial: the window that earned it is found."""

import math

import numpy as np
import pytest
import torch

from physioemo.errors import CallError, SignalError
from physioemo.models.catalogue import SAVED, ModelRow
from physioemo.models.checkpoint import load_model, save_model
from physioemo.models.multiple_instance import POOLINGS, PRESETS, MultipleInstance
from physioemo.models.sequence_training import predict_sequences, train_sequences
from physioemo.models.training import TrainingConfig
from tests.models.fused_data import new_seed

EFFECT = 4.0
N_WINDOWS = 10


def build(pooling, seed=0, **options):
    torch.manual_seed(seed)
    options = {"in_dim": 6, "dimensions": ["valence", "arousal"], **options}
    return MultipleInstance(pooling=pooling, **options).eval()


def planted_data(n_trials, rng):
    """One of ten windows lies ±EFFECT along one direction, the others are noise."""
    x = rng.standard_normal((n_trials, N_WINDOWS, 6))
    labels, where = rng.integers(0, 2, n_trials), rng.integers(0, N_WINDOWS, n_trials)
    x[np.arange(n_trials), where, 2] += EFFECT * (2 * labels - 1)
    return x, labels, where


def fit(pooling, data, validation, seed):
    torch.manual_seed(seed)
    model = MultipleInstance(in_dim=6, dimensions=["valence"], pooling=pooling)
    config = TrainingConfig(
        n_epochs=40, batch_size=64, learning_rate=5e-3, label_smoothing=0.0, seed=seed
    )
    train_sequences(
        model, data[0], data[1], validation_sequences=validation[0],
        validation_labels=validation[1], config=config,
    )  # fmt: skip
    return model


def test_attention_finds_the_one_window_of_ten_and_the_mean_does_not():
    seed = new_seed()
    rng = np.random.default_rng(seed)
    data, validation, tests = (planted_data(n, rng) for n in (1500, 300, 3000))
    scores = {}
    for pooling in POOLINGS:
        model = fit(pooling, data, validation, seed)
        said = predict_sequences(model, tests[0])[:, 0].argmax(-1)
        scores[pooling] = (said == tests[1]).mean()
        if pooling in ("attention", "max"):
            with torch.no_grad():
                weights = model(torch.tensor(tests[0], dtype=torch.float32)).weights[:, 0].numpy()
            found = weights.argmax(axis=1) == tests[2]
            on_it = weights[np.arange(len(weights)), tests[2]].mean()
            print(pooling, f"found {found.mean():.3f}, weight on it {on_it:.3f}")
            assert found.mean() > 0.9 and on_it > 0.5
    print(scores)
    # The mean of ten has the effect over its standard deviation of EFFECT / √10: no linear rule
    # of it is right more often than this.
    ceiling = 0.5 * (1 + math.erf(EFFECT / math.sqrt(2 * N_WINDOWS)))
    assert ceiling - 0.04 < scores["mean"] < ceiling + 0.025
    assert min(scores["attention"], scores["max"]) > ceiling + 0.04
    assert scores["noisy-or"] > 0.85


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_trial_of_one_window_says_what_the_window_says(pooling):
    model = build(pooling)
    x = torch.randn(5, 1, 6)
    said = model(x)
    alone = model.head(model.project(x[:, 0])).unflatten(-1, (2, 2))
    assert torch.allclose(said.logits.softmax(-1), alone.softmax(-1), atol=1e-5)
    assert torch.allclose(said.weights, torch.ones(5, 2, 1))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_missing_windows_change_nothing_and_their_order_does_not_count(pooling):
    model = build(pooling)
    x = torch.randn(3, 7, 6)
    said = model(x)
    longer = torch.cat([torch.full((3, 2, 6), torch.nan), x.flip(1)], dim=1)
    other = model(longer)
    assert torch.allclose(other.logits, said.logits, atol=1e-5)
    assert torch.allclose(other.weights[..., 2:].flip(2), said.weights, atol=1e-5)
    assert not other.weights[..., :2].any()
    assert torch.allclose(said.weights.sum(-1), torch.ones(3, 2), atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_trial_without_a_window_is_the_prior(pooling):
    model = build(pooling)
    model.set_prior(torch.tensor([[0.3, 0.7], [0.5, 0.5]]))
    x = torch.randn(2, 4, 6)
    x[0] = torch.nan
    said = model.train()(x)
    assert said.abstain.tolist() == [True, False] and not said.weights[0].any()
    assert said.logits[0, 0].exp().tolist() == pytest.approx([0.3, 0.7], abs=1e-5)
    said.logits.square().sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_saved_model_says_the_same(tmp_path, monkeypatch):
    row = ModelRow("physioemo.models.multiple_instance", "MultipleInstance", "Trials.", ())
    monkeypatch.setitem(SAVED, "multiple-instance", row)
    model, x = build("attention"), torch.randn(2, 5, 6)
    save_model(tmp_path, model, name="multiple-instance")
    assert torch.equal(load_model(tmp_path)[0](x).logits, model(x).logits)


def test_noisy_or_is_the_chance_of_at_least_one():
    model = build("noisy-or")
    x = torch.randn(4, 5, 6)
    each = model.head(model.project(x)).unflatten(-1, (2, 2)).softmax(-1)[..., 1]
    some = 1 - (1 - each).prod(dim=1)
    said = model(x).logits.exp()
    assert torch.allclose(said[..., 1], some, atol=1e-5)
    assert torch.allclose(said.sum(-1), torch.ones(4, 2), atol=1e-5)
    assert torch.isfinite(model(1e4 * x).logits).all()  # certain, and yet no infinity


def test_each_dimension_has_its_own_window():
    seed = new_seed()
    rng = np.random.default_rng(seed)

    def draw(n):
        x, labels, where = planted_data(n, rng)
        again, there = rng.integers(0, 2, n), rng.integers(0, N_WINDOWS, n)
        x[np.arange(n), there, 4] += EFFECT * (2 * again - 1)
        return x, np.stack([labels, again], axis=1), np.stack([where, there], axis=1)

    data, validation, tests = draw(1500), draw(300), draw(1000)
    torch.manual_seed(seed)
    model = MultipleInstance(in_dim=6, dimensions=["valence", "arousal"])
    config = TrainingConfig(
        n_epochs=40, batch_size=64, learning_rate=5e-3, label_smoothing=0.0, seed=seed
    )
    train_sequences(
        model, data[0], data[1], validation_sequences=validation[0],
        validation_labels=validation[1], config=config,
    )  # fmt: skip
    with torch.no_grad():
        weights = model(torch.tensor(tests[0], dtype=torch.float32)).weights.numpy()
    assert ((weights.argmax(axis=2) == tests[2]).mean(axis=0) > 0.85).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": "median"}, "found the pooling 'median'.*expected one of mean, attention"),
        ({"dimensions": []}, r"for the dimensions \[\], expected"),
        ({"pooling": "noisy-or", "n_outputs": 3}, "found 3 classes for noisy-or, expected 2"),
    ],
)
def test_a_wrong_model_is_one_sentence(change, message):
    with pytest.raises(CallError, match=message):
        MultipleInstance(**{"in_dim": 3, "dimensions": ["valence"], **change})


def test_wrong_trials_are_one_sentence():
    with pytest.raises(SignalError, match=r"shape \(2, 6\), expected \(trial, window, 6\)"):
        build("mean")(torch.zeros(2, 6))
    assert set(PRESETS) == {"tiny", "study"}
