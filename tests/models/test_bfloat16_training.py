"""In bfloat16 a model comes out the same, to the bit, whatever is trained beside it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from physioemo.models.batched_training import train_models
from physioemo.models.training import TrainingConfig
from physioemo.models.training_plan import TrainingPlan, bfloat16_plan, training_plan
from tests.models.test_batched_training import N_CHANS, builder, data

CONFIG = TrainingConfig(n_epochs=3, batch_size=64, learning_rate=5e-3, token_noise=0.1)


def small(seed):
    """Build what a compiler is soon done with."""
    torch.manual_seed(seed)
    layers = (
        nn.Flatten(),
        nn.Linear(N_CHANS * 4, 16),
        nn.Dropout(0.1),
        nn.ReLU(),
        nn.Linear(16, 2),
    )
    return nn.Sequential(*layers)


def trained(build, datasets, plan):
    return train_models(build, datasets, CONFIG, plan=plan)


def assert_same_bits(one, other):
    assert one.result.best_epoch == other.result.best_epoch
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


@pytest.mark.slow
def test_alone_together_and_in_a_process_give_the_same_bits():
    datasets = [data(i, n, seed=i) for i, n in enumerate((40, 150))]  # one short of a batch
    together = trained(small, datasets, bfloat16_plan(2, TrainingPlan(2)))
    n_threads = torch.get_num_threads()
    (alone,) = trained(small, datasets[:1], bfloat16_plan(1))
    assert torch.get_num_threads() == n_threads
    in_process = bfloat16_plan(1, TrainingPlan(1, n_processes=2))
    (spread,) = trained(lambda _: small(1), datasets[1:], in_process)
    assert_same_bits(alone, together[0])
    assert_same_bits(spread, together[1])
    (float32,) = trained(small, datasets[:1], TrainingPlan(1))
    rows = zip(alone.result.history, float32.result.history, strict=True)
    differences = [abs(a["train_loss"] - b["train_loss"]) for a, b in rows]
    assert 0 < max(differences) < 0.02  # other numbers, of the same training


def test_it_is_chosen_by_no_plan_but_its_own():
    assert not training_plan(256, "cpu", 960, n_steps=900).bfloat16
    plan = bfloat16_plan(960)
    assert (plan.n_together, plan.compiled, plan.bfloat16) == (1, True, True)
    assert bfloat16_plan(5, TrainingPlan(2)).n_processes == 1


def test_without_a_compiler_it_says_that_roundings_differ(monkeypatch):
    def broken(function, **options):
        def compiled(*arguments):
            raise RuntimeError("no compiler")

        return compiled

    monkeypatch.setattr(torch, "compile", broken)
    config = replace(CONFIG, n_epochs=1)
    with pytest.warns(RuntimeWarning, match="uncompiled, at other roundings: RuntimeError no comp"):
        train_models(builder("mlp"), [data(0)], config, plan=bfloat16_plan(1))
