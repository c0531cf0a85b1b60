"""As many permutations as a p of 0.05 takes, counted in the plan; fewer are said to be too few."""

from dataclasses import replace

import pytest

from physioemo.experiments.statistics import FEWEST_PERMUTATIONS, least_p, permutation_p
from physioemo.experiments.study_config import ModelChoice, Study, read_study
from physioemo.experiments.study_plan import plan_study
from physioemo.experiments.study_store import write_study_data
from tests.experiments.made_study import TOML, made_up, study
from tests.experiments.test_study_report import results, text_of, write_study_report


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    data = made_up(n_subjects=2, effect=2.0)
    return write_study_data(data, tmp_path_factory.mktemp("p") / "effect.zarr")


def test_the_default_can_give_a_p_of_five_per_cent(tmp_path):
    assert least_p(FEWEST_PERMUTATIONS) == pytest.approx(0.05)
    assert least_p(FEWEST_PERMUTATIONS - 1) > 0.05
    assert least_p(Study.n_permutations) < 0.05
    assert permutation_p(1.0, [0.5] * Study.n_permutations).p == least_p(Study.n_permutations)
    (tmp_path / "s.toml").write_text(TOML.replace("n_permutations = 1", ""))
    assert read_study(tmp_path / "s.toml").n_permutations == Study.n_permutations


def test_the_plan_counts_permuted_labels_and_maps(store):
    plain = study(store, ModelChoice("logistic"), ModelChoice("svm", n_permutations=3))
    plan = plan_study(replace(plain, n_permutations=20))
    assert plan.n_fits == {"majority": 8, "logistic": 8 * 21, "svm": 8 * 4}
    assert plan.n_permutations == {"majority": 0, "logistic": 20, "svm": 3}
    assert plan.n_more_fits == {}
    mapped = plan_study(replace(plain, n_permutations=20, maps="logistic"))
    # True and 19 permuted labels, on eight folds.
    assert mapped.n_more_fits == {"logistic": 20 * 8}
    assert plan.ablation_seconds == 0 < mapped.ablation_seconds
    same = replace(mapped, seconds=dict.fromkeys(mapped.seconds, 1.0), ablation_seconds=7.0)
    assert same.total_seconds == 8 + 8 * 21 + 8 * 4 + 20 * 8 + 7
    assert same.seconds_in(2) == same.total_seconds / 2


def test_a_page_says_which_models_were_permuted_too_rarely(tmp_path):
    found = results()
    models = found["dimensions"]["valence"]["models"]
    said = text_of(write_study_report(found, tmp_path))
    assert "too few for a p of 0.05, which takes 19: a (2, p at least 0.333), b (2, p" in said
    models["a"]["permuted"] = []
    models["b"]["permuted"] = models["b"]["permuted"] * 10
    assert "too few" not in text_of(write_study_report(found, tmp_path))
