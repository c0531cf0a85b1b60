"""On noise with random labels every honest protocol stays at chance, for every model."""

import numpy as np
import pytest
from scipy.stats import binom

from physioemo.experiments.estimators import ESTIMATORS
from physioemo.experiments.study_config import ModelChoice
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from tests.experiments.made_study import made_up, study

PROTOCOLS = {
    "trial-grouped-k-fold": {"n_folds": 4, "within_subject": True},
    "leave-one-trial-out": {},
    "chronological": {"n_blocks": 2},
    "leave-one-subject-out": {},
    "leave-n-subjects-out": {},
}
FAST = ("logistic", "svm")
NETWORKS = [
    name
    for name, row in ESTIMATORS.items()
    if row.uses_torch and row.reads in ("tokens", "flat") and not row.needs_weights
]


def right_of(results, model):
    """Return how many trials were said rightly, and of how many."""
    subjects = results["dimensions"]["valence"]["models"][model]["subjects"].values()
    confusion = np.sum([s["trial"]["confusion"] for s in subjects], axis=0)
    return int(np.trace(confusion)), int(confusion.sum())


def run(tmp_path, seeds, models, protocol, options, **sizes):
    """Return right answers and trials of each model, over all seeds."""
    total = {m.label: np.zeros(2, int) for m in models}
    for seed in seeds:
        # Labels of each trial by a coin: where classes are balanced exactly, a trial that is
        # left out makes its own class the rarer one in training, and scores fall below chance.
        data = made_up(seed=100 + seed, balanced=False, **sizes)
        store = write_study_data(data, tmp_path / f"{seed}.zarr")
        declared = study(
            store,
            *models,
            protocol=protocol,
            protocol_options=options,
            n_permutations=0,
            seed=seed,
        )
        results = run_study(declared, tmp_path / f"out-{seed}")
        for label in total:
            total[label] += right_of(results, label)
    return total


def assert_at_chance(total):
    for label, (right, n) in total.items():
        low, high = binom.ppf([0.005, 0.995], n, 0.5)
        assert low <= right <= high, (label, right, n)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_linear_models_stay_at_chance_over_20_seeds(protocol, tmp_path):
    models = [ModelChoice(name) for name in FAST]
    sizes = {"n_subjects": 3, "n_trials": 20, "n_windows": 3, "n_channels": 3}
    total = run(tmp_path, range(20), models, protocol, PROTOCOLS[protocol], **sizes)
    assert all(n == 20 * 3 * 20 or protocol == "chronological" for _, n in total.values())
    assert_at_chance(total)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_stay_at_chance(name, tmp_path):
    models = [ModelChoice(name, preset="small", options={"n_epochs": 8})]
    sizes = {"n_subjects": 3, "n_trials": 16, "n_windows": 4, "n_channels": 3}
    protocol = "trial-grouped-k-fold"
    total = run(tmp_path, range(4), models, protocol, PROTOCOLS[protocol], **sizes)
    assert_at_chance(total)
