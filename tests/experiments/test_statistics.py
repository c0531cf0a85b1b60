import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioemo.errors import CallError
from physioemo.experiments.statistics import (
    binomial_test,
    binomial_threshold,
    over_subjects,
    permutation_p,
)
from tests.experiments.made_groups import by_subject


def test_mean_and_sd_are_over_subjects():
    summary = over_subjects({"a": 0.5, "b": 0.6, "c": 0.7, "d": float("nan")})
    assert (summary.n, summary.n_missing) == (3, 1)
    assert summary.mean == pytest.approx(0.6) and summary.sd == pytest.approx(0.1)
    # Student's t of two degrees of freedom, from a printed table.
    assert summary.high - 0.6 == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert summary.low + summary.high == pytest.approx(1.2)
    assert json.loads(json.dumps(summary.to_dict()))["method"] == "t"


def test_an_interval_ends_where_scores_end():
    near_one = {"a": 0.9, "b": 1.0, "c": 1.0}
    assert over_subjects(near_one).high > 1
    assert over_subjects(near_one, bounds=(0.0, 1.0)).high == 1.0


def test_the_interval_does_not_depend_on_the_order_of_subjects():
    scores = by_subject(np.random.default_rng(0).normal(size=32))
    assert over_subjects(scores).method == "bca"
    assert over_subjects(scores) == over_subjects(dict(reversed(scores.items())))
    assert over_subjects(scores) != over_subjects(scores, seed=1)


def test_few_or_equal_subjects_have_the_interval_that_they_can_have():
    for method in ("auto", "bca"):
        one = over_subjects({"a": 0.5}, method=method)
        assert one.n == 1 and np.isnan([one.sd, one.low, one.high]).all()
        same = over_subjects({"a": 0.5, "b": 0.5}, method=method)
        assert (same.low, same.high, same.sd) == (0.5, 0.5, 0.0)
    with pytest.raises(CallError, match="found no score among 1 subjects"):
        over_subjects({"a": float("nan")})
    with pytest.raises(CallError, match="found the interval 'basic'"):
        over_subjects({"a": 0.5}, method="basic")


def test_the_bootstrap_of_subjects_agrees_with_an_independent_one():
    """Percentiles of means of subjects drawn with replacement, in plain NumPy."""
    rng = np.random.default_rng(8)
    values = rng.gamma(4.0, size=40)
    drawn = values[rng.integers(0, 40, (20_000, 40))].mean(axis=1)
    found = over_subjects(by_subject(values), method="percentile")
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)


@pytest.mark.parametrize(("method", "n"), [("bca", 32), ("percentile", 32), ("auto", 6)])
def test_the_interval_covers_the_true_mean_as_often_as_it_says(method, n):
    """Of skewed subjects; the bootstrap covers a little less than 95 %, of 6 far less."""
    rng, covered = np.random.default_rng(5), []
    for seed in range(300):
        values = by_subject(rng.gamma(4.0, size=n))
        summary = over_subjects(values, method=method, n_resamples=499, seed=seed)
        covered.append(summary.low <= 4.0 <= summary.high)
    assert 0.89 < np.mean(covered) < 0.98


@pytest.mark.parametrize(
    ("n", "chance", "percent"), [(20, 1 / 2, 70.0), (40, 1 / 2, 62.5), (100, 1 / 2, 58.0)]
)
def test_the_binomial_threshold_is_that_of_combrisson_and_jerbi(n, chance, percent):
    assert 100 * binomial_threshold(n, chance) == pytest.approx(percent)


@given(st.integers(1, 300), st.floats(0.1, 0.9), st.floats(0.001, 0.3))
def test_above_the_threshold_and_only_there_a_score_is_significant(n, chance, alpha):
    k = round(binomial_threshold(n, chance, alpha=alpha) * n)
    assert k == n or binomial_test(k + 1, n, chance).p <= alpha * (1 + 1e-9)
    assert binomial_test(k, n, chance).p >= alpha * (1 - 1e-9)


def test_null_data_stay_inside_the_binomial_band():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (2000, 40))
    accuracy = (rng.integers(0, 2, y.shape) == y).mean(1)
    above = (accuracy > binomial_threshold(40, 0.5)).mean()
    assert 0.02 < above <= 0.055


def test_a_binomial_test_by_hand():
    result = binomial_test(9, 10, 0.5)
    assert result.p == pytest.approx(11 / 1024)
    assert (result.n, result.unit, result.effect) == (10, "trials", 0.9)
    with pytest.raises(CallError, match="found 11 right answers in 10 trials"):
        binomial_test(11, 10, 0.5)
    with pytest.raises(CallError, match="found 0 trials"):
        binomial_threshold(0, 0.5)


def test_a_permutation_p_is_never_zero():
    assert permutation_p(0.9, [0.5] * 99).p == pytest.approx(0.01)
    result = permutation_p(0.6, [0.5, 0.6, 0.7])
    assert (result.p, result.n, result.unit) == (0.75, 3, "permutations")
    assert permutation_p(0.3, []).p == 1.0
    assert np.isnan(permutation_p(float("nan"), [0.5]).p)
    with pytest.raises(CallError, match="found 1 permuted scores of 2"):
        permutation_p(0.5, [0.5, np.nan])


def test_permutation_p_values_of_null_data_are_uniform():
    rng = np.random.default_rng(2)
    p = [permutation_p(rng.normal(), rng.normal(size=99)).p for _ in range(2000)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.015)
