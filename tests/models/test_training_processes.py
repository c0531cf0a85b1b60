"""Models trained in processes of their own are the models trained one by one."""

import multiprocessing
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from functools import partial

import pytest
import torch

from physioemo.errors import CallError
from physioemo.models import training_processes
from physioemo.models.batched_training import _checked, train_models
from physioemo.models.stacked_weights import Architecture
from physioemo.models.training import TrainingConfig
from physioemo.models.training_plan import TrainingPlan, training_plan
from physioemo.models.training_processes import TrainingProcesses
from physioemo.models.training_slots import Room
from tests.models.test_batched_training import assert_same, builder, data

CONFIG = TrainingConfig(n_epochs=12, batch_size=256, learning_rate=5e-3, patience=2)
TWO = TrainingPlan(1, n_processes=2)


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    assert multiprocessing.active_children() == []


def in_processes(n_processes, build, datasets, config):
    model = build(0)
    architecture = Architecture(model)
    splits = [_checked(i, model, each) for i, each in enumerate(datasets)]
    room = Room.for_all(splits, config.batch_size)
    tasks = [(i, split, architecture.flatten(build(i))) for i, split in enumerate(splits)]
    with TrainingProcesses(
        model, room, config, n_processes=n_processes, compiled=False
    ) as processes:
        first = dict(processes.train(tasks))
        assert dict(processes.train(tasks[:1])).keys() == {0}  # and serve again
    return first


def test_logits_and_stopping_epochs_are_those_of_training_alone():
    datasets = [data(seed, 300 + 90 * seed, rule=seed % 2 == 0, seed=seed) for seed in range(5)]
    trained = assert_same(builder(), datasets, CONFIG, TWO)
    assert len({len(model.result.history) for model in trained}) > 1  # some stopped early


def test_masks_noise_dropout_and_dimensions_too():
    build = builder(dropout=0.2, dimensions=["valence", "arousal"])
    datasets = [data(i, 280, masked=i > 0, dimensions=2, seed=i) for i in range(3)]
    assert_same(build, datasets, replace(CONFIG, n_epochs=3, token_noise=0.3), TWO)


def test_the_number_of_processes_changes_no_bit():
    config = replace(CONFIG, n_epochs=3, token_noise=0.1)
    datasets = [data(seed, 280 + 20 * seed) for seed in range(3)]
    two, one = (in_processes(n, builder(dropout=0.2), datasets, config) for n in (2, 1))
    assert two.keys() == one.keys() == {0, 1, 2}
    for i in one:
        assert one[i].result == two[i].result
        assert all(torch.equal(one[i].weights[k], two[i].weights[k]) for k in one[i].weights)


def test_divergence_names_the_data_set():
    config = replace(CONFIG, learning_rate=1e30)
    with pytest.raises(CallError, match=r"^data set 0: training diverged in epoch 0"):
        train_models(builder(), [data(0)], config, plan=TWO)


def test_what_a_dead_process_was_at_is_trained_here():
    def kill_one(index, row):
        if row["epoch"] == 1 and not killed:
            killed.append(index)
            multiprocessing.active_children()[0].kill()

    killed = []
    train = partial(train_models, on_epoch=kill_one)
    datasets = [data(seed, 300, seed=seed) for seed in range(3)]
    with pytest.warns(RuntimeWarning, match=r"models are trained in this process.*exit code -?\d"):
        trained = train(builder(), datasets, CONFIG, plan=TWO)
    alone = train_models(builder(), datasets, CONFIG, plan=TrainingPlan(1))
    assert [m.result.best_epoch for m in trained] == [m.result.best_epoch for m in alone]


def test_ctrl_c_ends_all_processes():
    def interrupt(index, row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_models(builder(), [data(0), data(1)], CONFIG, plan=TWO, on_epoch=interrupt)


def test_where_no_process_can_be_started_training_goes_on_here(monkeypatch):
    def refuse(setting):
        raise PermissionError("not here")

    monkeypatch.setattr(training_processes, "_start", refuse)
    datasets = [data(0, seed=3), data(1)]
    with pytest.warns(RuntimeWarning, match="2 of 2 models are trained in this.*Error: not here"):
        assert_same(builder(), datasets, replace(CONFIG, n_epochs=2), TWO)


def test_without_a_compiler_processes_go_on_and_say_so(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "/no/such/compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plan = replace(TWO, compiled=True)
    config = replace(CONFIG, n_epochs=2)
    with pytest.warns(RuntimeWarning, match="training runs uncompiled, at the same numbers"):
        assert_same(builder("mlp"), [data(0)], config, plan)


def test_a_script_without_a_guard_runs_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import numpy as np
            from physioemo.models.batched_training import TrainingData, train_models
            from physioemo.models.catalogue import build_model
            from physioemo.models.training import TrainingConfig
            from physioemo.models.training_plan import TrainingPlan

            print("begun")
            tokens, labels = np.random.default_rng(0).normal(size=(40, 3, 4)), np.arange(40) % 2
            trained = train_models(
                lambda index: build_model("mlp", "tiny", n_chans=3, n_bands=4, seed=index),
                [TrainingData(tokens, labels, tokens, labels)],
                TrainingConfig(n_epochs=1),
                plan=TrainingPlan(1, n_processes=2),
            )
            print(len(trained))
            """
        )
    )
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["begun", "1"]


def test_the_plan_spreads_large_batches_unless_it_is_one_of_several_itself(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    many = partial(training_plan, 256, "cpu", n_steps=900)
    assert many(960).n_processes == 4
    assert many(960).compiled
    assert many(3 * 8).n_together == 1
    assert many(1).n_processes == 1
    assert training_plan(256, "cpu", 4, n_steps=10).n_processes == 1
    assert training_plan(64, "cpu", 960, n_steps=900).n_processes == 1
    plans = []
    thread = threading.Thread(target=lambda: plans.append(many(960)))
    thread.start()
    thread.join()
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: "a dask worker's nanny")
    plans.append(many(960))
    assert [plan.n_processes for plan in plans] == [1, 1]
