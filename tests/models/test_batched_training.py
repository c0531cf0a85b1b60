"""Models trained together are the models trained one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from physioemo.errors import CallError, SignalError
from physioemo.models.batched_training import TrainingData, train_models
from physioemo.models.catalogue import MODELS, build_model
from physioemo.models.training import TrainingConfig, predict_logits, train_model
from physioemo.models.training_plan import TrainingPlan, training_plan

N_CHANS = 5
CONFIG = TrainingConfig(n_epochs=12, batch_size=16, learning_rate=3e-3, patience=3, seed=4)


def data(number, n_windows=60, *, masked=False, rule=True, dimensions=1, **more):
    rng = np.random.default_rng(number)
    n_validation = 20 + number
    tokens = rng.normal(size=(n_windows + n_validation, N_CHANS, 4))
    labels = (tokens[:, 3, 2] > 0.3).astype(int)
    if not rule:
        labels = rng.permutation(labels)
    if dimensions > 1:
        labels = np.stack([labels, 1 - labels, labels][:dimensions], axis=1)
        labels[::3, 0] = -1
    mask = rng.random((len(tokens), N_CHANS)) > 0.2 if masked else None
    if masked:
        tokens[~mask] = np.nan
    return TrainingData(
        tokens[:n_windows],
        labels[:n_windows],
        tokens[n_windows:],
        labels[n_windows:],
        None if mask is None else mask[:n_windows],
        None if mask is None else mask[n_windows:],
        **more,
    )


def builder(name="intercortical", **arguments):
    def build(index):
        return build_model(
            name, "tiny", **{"n_chans": N_CHANS, "n_bands": 4, "seed": index} | arguments
        )

    return build


def one_by_one(build, datasets, config):
    results = []
    for i, each in enumerate(datasets):
        model = build(i)
        result = train_model(
            model,
            each.tokens,
            each.labels,
            validation_tokens=each.validation_tokens,
            validation_labels=each.validation_labels,
            config=config if each.seed is None else replace(config, seed=each.seed),
            electrode_mask=each.electrode_mask,
            validation_electrode_mask=each.validation_electrode_mask,
        )
        results.append((model, result))
    return results


def assert_same(build, datasets, config, plan):
    together = train_models(build, datasets, config, plan=plan)
    for i, (alone, ours) in enumerate(
        zip(one_by_one(build, datasets, config), together, strict=True)
    ):
        model, result = alone
        assert ours.result.best_epoch == result.best_epoch
        assert ours.result.stopped_early == result.stopped_early
        assert len(ours.result.history) == len(result.history)
        for row, expected in zip(ours.result.history, result.history, strict=True):
            assert row == pytest.approx(expected, abs=1e-4)
        copy = build(i)
        copy.load_state_dict(ours.weights)
        tokens, mask = datasets[i].validation_tokens, datasets[i].validation_electrode_mask
        np.testing.assert_allclose(
            predict_logits(copy, tokens, mask), predict_logits(model, tokens, mask), atol=1e-4
        )
    return together


@pytest.mark.parametrize("n_together", [1, 2, 9])
def test_logits_and_stopping_epochs_are_those_of_training_alone(n_together):
    datasets = [data(seed, 40 + 13 * seed, rule=seed % 2 == 0, seed=seed) for seed in range(5)]
    together = assert_same(builder(), datasets, CONFIG, TrainingPlan(n_together))
    assert len({len(model.result.history) for model in together}) > 1  # some stopped early


@pytest.mark.parametrize("plan", [TrainingPlan(3), TrainingPlan(1, n_processes=2)])
def test_the_last_epoch_and_late_batches_are_those_of_training_alone(plan):
    datasets = [
        replace(
            data(seed, 40 + 13 * seed, seed=seed), validation_tokens=None, validation_labels=None
        )
        for seed in range(4)
    ]
    config = replace(CONFIG, n_epochs=4, late_batch_size=7, late_from_epoch=2)
    together = train_models(builder(), datasets, config, plan=plan)
    alone = one_by_one(builder(), datasets, config)
    for ours, (model, result), each in zip(together, alone, datasets, strict=True):
        assert ours.result.best_epoch == result.best_epoch == 3
        copy = builder()(0)
        copy.load_state_dict(ours.weights)
        np.testing.assert_allclose(
            predict_logits(copy, each.tokens), predict_logits(model, each.tokens), atol=1e-4
        )
    with pytest.raises(CallError, match="found data set 1 without validation windows among others"):
        train_models(builder(), [data(0), datasets[0]], config)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("masked", [False, True])
def test_every_model_with_dropout_noise_and_masks_trains_as_alone(name, masked):
    datasets = [data(seed, 50, masked=masked and seed > 0, seed=seed) for seed in range(3)]
    config = replace(CONFIG, n_epochs=5, token_noise=0.3)
    assert_same(builder(name, dropout=0.2), datasets, config, TrainingPlan(3))


def test_several_dimensions_with_missing_ratings_train_as_alone():
    build = builder(dimensions=["valence", "arousal"])
    datasets = [data(seed, dimensions=2) for seed in range(2)]
    assert_same(build, datasets, replace(CONFIG, n_epochs=4), TrainingPlan(2))


@pytest.mark.slow
def test_compiled_is_the_same():
    datasets = [data(seed, 40 + 13 * seed, seed=seed) for seed in range(3)]
    config = replace(CONFIG, n_epochs=4)
    assert_same(builder(dropout=0.1), datasets, config, TrainingPlan(2, compiled=True))


def test_without_a_compiler_training_goes_on_and_says_so(monkeypatch):
    def broken(function, **options):
        def compiled(*arguments):
            raise RuntimeError("Compiler: cl is not found.\nmore")

        return compiled

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(RuntimeWarning, match="training runs uncompiled.*RuntimeError Compiler: cl"):
        assert_same(builder(), [data(1)], replace(CONFIG, n_epochs=2), TrainingPlan(2, True))


def test_the_same_call_gives_the_same_bits_and_leaves_the_global_state():
    before = torch.get_rng_state()
    config = replace(CONFIG, n_epochs=2, token_noise=0.1)
    datasets = [data(seed) for seed in range(2)]
    first, second = (train_models(builder(dropout=0.2), datasets, config) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_is_told_for_each_model():
    seen = []
    config = replace(CONFIG, n_epochs=2)
    together = train_models(
        builder(), [data(0), data(1)], config, on_epoch=lambda i, row: seen.append((i, row))
    )
    for i, model in enumerate(together):
        assert [row for index, row in seen if index == i] == model.result.history
    assert train_models(builder(), [], CONFIG) == []


def test_bad_data_and_divergence_name_the_data_set():
    bad = data(1)
    bad.tokens[3, 1, 2] = np.nan
    with pytest.raises(SignalError, match=r"^data set 1: tokens\[3, 1, 2\] is nan, expected"):
        train_models(builder(), [data(0), bad], CONFIG)
    with pytest.raises(CallError, match=r"^data set 0: training diverged in epoch"):
        train_models(builder(), [data(0)], replace(CONFIG, learning_rate=1e30))


def test_models_that_cannot_be_stacked_are_refused():
    def normalised(index):
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.BatchNorm1d(N_CHANS * 4), torch.nn.Linear(N_CHANS * 4, 2)
        )

    with pytest.raises(CallError, match=r"found buffers in the model \(1.running_mean.*one by one"):
        train_models(normalised, [data(0)], CONFIG)
    with pytest.raises(CallError, match="weights differ in name or shape, expected one archi"):
        train_models(lambda i: builder(embed_dim=16 * (i + 1))(i), [data(0), data(1)], CONFIG)


def test_the_plan_follows_the_measured_table():
    assert training_plan(16, "cpu", 960).n_together > 8
    assert training_plan(256, "cpu", 960).n_together == 1
    assert not training_plan(16, "cpu", 4, n_steps=10).compiled
    assert training_plan(16, "cpu", 960, n_steps=900).compiled
    with pytest.raises(CallError, match="n_models=0 is out of range: give 1 or more"):
        training_plan(16, "cpu", 0)


def test_the_plan_on_a_gpu_follows_the_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**33))
    plan = training_plan(32, "cuda", 960, bytes_per_model=2**26)
    assert plan.n_together == 9
    assert plan.cuda_graph
    assert training_plan(32, "cuda", 960, bytes_per_model=2**10).n_together == 256
