import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CallError, DataError
from physioemo.experiments.comparison import (
    compare_over_subjects,
    corrected_resampled_t,
    holm,
    wilcoxon_over_subjects,
)
from physioemo.experiments.metrics import (
    brier_score,
    classification_scores,
    concordance,
    expected_calibration_error,
    regression_scores,
    said_classes,
)
from physioemo.experiments.statistics import (
    binomial_test,
    binomial_threshold,
    over_subjects,
    permutation_p,
)
from physioemo.experiments.trial_scores import subject_scores, trial_mean, window_and_trial_scores

HAND_LABELS = np.array([0, 0, 0, 0, 1, 1])
HAND_PROBABILITY = np.array([0.1, 0.2, 0.4, 0.7, 0.8, 0.3])


def two(high):
    return np.stack([1 - np.asarray(high, float), high], axis=1)


def by_subject(values):
    return {f"s{i:02}": float(v) for i, v in enumerate(values)}


def test_scores_by_hand():
    """Said 0 0 0 1 1 0: recalls 3/4 and 1/2, precisions 3/4 and 1/2."""
    score = classification_scores(HAND_LABELS, two(HAND_PROBABILITY))
    assert score["n"] == 6 and score["n_per_class"] == [4, 2]
    assert score["accuracy"] == pytest.approx(4 / 6)
    assert score["balanced_accuracy"] == score["macro_f1"] == pytest.approx(0.625)
    assert score["kappa"] == score["mcc"] == pytest.approx(0.25)
    assert score["auc"] == pytest.approx(6 / 8)
    assert score["confusion"] == [[3, 1], [1, 1]]
    assert score["brier"] == pytest.approx((0.01 + 0.04 + 0.16 + 0.49 + 0.04 + 0.49) / 6)


@given(st.integers(0, 10_000), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_scores_agree_with_scikit_learn(seed, n_classes):
    from sklearn import metrics

    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, 40)])
    p = rng.dirichlet(np.ones(n_classes), len(y))
    score, said = classification_scores(y, p), p.argmax(1)
    expected = {
        "accuracy": metrics.accuracy_score(y, said),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, said),
        "macro_f1": metrics.f1_score(y, said, average="macro"),
        "kappa": metrics.cohen_kappa_score(y, said),
        "mcc": metrics.matthews_corrcoef(y, said),
        "auc": metrics.roc_auc_score(y, p[:, 1] if n_classes == 2 else p, multi_class="ovr"),
        "brier": metrics.brier_score_loss(y, p[:, 1] if n_classes == 2 else p),
    }
    assert {k: score[k] for k in expected} == pytest.approx(expected)
    assert score["confusion"] == metrics.confusion_matrix(y, said).tolist()


@pytest.mark.parametrize("n_classes", [2, 4])
def test_scores_agree_with_their_definitions_written_out(n_classes):
    """Cohen (1960); Gorodkin (2004); Hanley and McNeil (1982); van Rijsbergen (1979)."""
    rng = np.random.default_rng(6)
    y, p = rng.integers(0, n_classes, 60), rng.dirichlet(np.ones(n_classes), 60)
    said, score = p.argmax(1), classification_scores(y, p)
    true, called = np.eye(n_classes)[y], np.eye(n_classes)[said]
    seen, expected = (y == said).mean(), (true.mean(0) * called.mean(0)).sum()
    assert score["kappa"] == pytest.approx((seen - expected) / (1 - expected))
    xy, xx, yy = (((a - a.mean(0)) * (b - b.mean(0))).sum()
                  for a, b in ((true, called), (called, called), (true, true)))  # fmt: skip
    assert score["mcc"] == pytest.approx(xy / np.sqrt(xx * yy))
    hits = (true * called).sum(0)
    assert score["macro_f1"] == pytest.approx((2 * hits / (true.sum(0) + called.sum(0))).mean())
    area = []
    for c in range(1 if n_classes == 2 else 0, n_classes):
        apart = p[y == c, c][:, None] - p[y != c, c]
        area.append(((apart > 0) + 0.5 * (apart == 0)).mean())
    assert score["auc"] == pytest.approx(np.mean(area))


def test_the_calibration_error_by_hand_depends_on_its_bins():
    y, p = np.array([1, 0, 1, 1]), two([0.9, 0.9, 0.6, 0.7])
    # Bins of 0.1: two rows at 0.9 half right, one at 0.6, one at 0.7.
    assert expected_calibration_error(y, p, n_bins=10) == pytest.approx((0.8 + 0.4 + 0.3) / 4)
    assert expected_calibration_error(y, p, n_bins=1) == pytest.approx(abs(0.75 - 0.775))
    assert classification_scores(y, p, n_bins=10)["ece_bins"] == 10


def test_true_probabilities_are_calibrated_and_sharpened_ones_are_not():
    rng = np.random.default_rng(0)
    high = rng.random(20_000)
    y = (rng.random(20_000) < high).astype(int)
    assert expected_calibration_error(y, two(high)) < 0.02
    sharp = high**3 / (high**3 + (1 - high) ** 3)
    assert expected_calibration_error(y, two(sharp)) > 0.1
    assert brier_score(y, two(high)) == pytest.approx(1 / 6, abs=0.005)


def test_what_is_not_rated_or_not_predicted_is_left_out_and_counted():
    y = np.array([0, 1, -1, 1])
    score = classification_scores(y, two([0.1, 0.9, 0.5, np.nan]))
    assert (score["n"], score["n_unrated"], score["n_unpredicted"]) == (2, 1, 1)
    assert score["accuracy"] == 1.0


def test_a_score_that_is_not_defined_is_not_a_number():
    one_class = classification_scores(np.zeros(3, int), two([0.1, 0.2, 0.9]))
    nan = [k for k in ("balanced_accuracy", "kappa", "mcc", "auc") if np.isnan(one_class[k])]
    assert len(nan) == 4 and one_class["accuracy"] == pytest.approx(2 / 3)
    nothing = classification_scores(np.full(2, -1), two([0.1, 0.2]))
    assert nothing["n"] == 0 and np.isnan(nothing["accuracy"]) and np.isnan(nothing["ece"])


def test_always_saying_one_class_is_chance():
    score = classification_scores(np.array([0] * 8 + [1] * 2), two(np.full(10, 0.2)))
    assert (score["accuracy"], score["balanced_accuracy"]) == (0.8, 0.5)
    assert score["kappa"] == score["mcc"] == 0 and score["auc"] == 0.5


@pytest.mark.parametrize(
    ("labels", "probability", "message"),
    [
        ([0, 1], [0.2, 0.8], "with probabilities of shape"),
        ([0.0, 1.0], two([0.2, 0.8]), "type float64"),
        ([0, 2], two([0.2, 0.8]), "found the class 2, expected at most 1"),
        ([0, 1], [[0.2, 0.2], [1.0, 0.0]], "expected probabilities that add up to 1"),
        ([0, 1], [[2.0, -1.0], [1.0, 0.0]], "apply softmax to logits first"),
    ],
)
def test_what_is_no_probability_is_refused(labels, probability, message):
    with pytest.raises((CallError, DataError), match=message):
        classification_scores(np.array(labels), np.array(probability))


def test_concordance_by_hand():
    truth = np.array([1.0, 2.0, 3.0])
    assert concordance(truth, truth) == 1
    assert concordance(truth, -truth + 4) == -1
    # Variances 2/3, covariance 2/3, means 1 apart; with n - 1 it would be 2/3.
    assert concordance(truth, truth + 1) == pytest.approx((4 / 3) / (4 / 3 + 1))
    assert concordance(truth, np.full(3, 2.0)) == 0
    assert np.isnan(concordance(np.ones(3), np.ones(3)))


def test_continuous_scores_agree_with_scipy_and_leave_out_what_is_missing():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(1)
    y = rng.normal(size=50)
    p = y + rng.normal(size=50)
    y[3], p[7] = np.nan, np.nan
    both = ~np.isnan(y) & ~np.isnan(p)
    score = regression_scores(y, p)
    assert (score["n"], score["n_unrated"], score["n_unpredicted"]) == (48, 1, 1)
    assert score["spearman"] == pytest.approx(spearmanr(y[both], p[both]).statistic)
    assert score["rmse"] == pytest.approx(np.sqrt(np.mean((y - p)[both] ** 2)))
    assert np.isnan(regression_scores(y, np.ones(50))["spearman"])
    with pytest.raises(CallError, match="expected one column each"):
        regression_scores(y, p[:-1])


def test_trials_are_scored_by_the_mean_of_their_windows():
    trial = np.array(["t10", "t2", "t2", "t2", "t10"], object)
    y, p = np.array([1, 0, 0, 0, 1]), two([0.9, 0.1, 0.2, 0.9, 0.4])
    names, target, mean = trial_mean(y, p, trial)
    assert names == ["t2", "t10"] and target.tolist() == [0, 1]
    assert mean[:, 1] == pytest.approx([0.4, 0.65])
    score = window_and_trial_scores(y, p, trial)
    assert (score["window"]["accuracy"], score["window"]["n"]) == (0.6, 5)
    assert (score["trial"]["accuracy"], score["trial"]["n"]) == (1.0, 2)


def test_windows_without_a_prediction_do_not_count_and_trials_without_one_are_missing():
    trial = np.array(["a", "a", "b"], object)
    _, _, mean = trial_mean(np.array([1, 1, 0]), two([0.8, np.nan, np.nan]), trial)
    assert mean[0].tolist() == pytest.approx([0.2, 0.8]) and np.isnan(mean[1]).all()
    with pytest.raises(DataError, match="different targets in windows of trial a"):
        trial_mean(np.array([1, 0, 0]), two([0.8, 0.8, 0.8]), trial)
    ratings = np.array([np.nan, np.nan, 0.5])
    score = window_and_trial_scores(ratings, np.array([0.1, 0.2, 0.5]), trial)
    assert score["trial"]["n"] == 1 and score["trial"]["n_unrated"] == 1


def test_every_subject_has_its_own_confusion_matrix():
    person = np.array(["s10", "s2", "s2"], object)
    trial = np.array(["s10/1", "s2/1", "s2/2"], object)
    scores = subject_scores(np.array([1, 0, 1]), two([0.9, 0.1, 0.2]), trial, person)
    assert list(scores) == ["s2", "s10"]
    assert scores["s2"]["trial"]["confusion"] == [[1, 0], [1, 0]]
    assert scores["s10"]["trial"]["confusion"] == [[0, 0], [0, 1]]


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


def test_the_corrected_t_by_hand():
    """Differences 1, 2, 3: mean 2, variance 1; (1/3 + 1/2) instead of 1/3."""
    from scipy.stats import t

    result = corrected_resampled_t([2, 4, 6], [1, 2, 3], 80, 40)
    assert result.statistic == pytest.approx(2 / np.sqrt(1 / 3 + 1 / 2))
    assert result.p == pytest.approx(2 * t.sf(2 / np.sqrt(5 / 6), 2))
    assert (result.n, result.unit, result.effect) == (3, "folds", 2.0)
    swapped = corrected_resampled_t([1, 2, 3], [2, 4, 6], [80] * 3, [40] * 3)
    assert (swapped.p, swapped.effect) == (result.p, -2.0)


def test_the_corrected_t_keeps_its_level_where_the_plain_one_does_not():
    """Two equally good nearest-mean classifiers on different features, random 80:20 splits."""
    from scipy.stats import ttest_rel

    rng, corrected, plain = np.random.default_rng(3), [], []
    for _ in range(250):
        y = rng.permutation(np.repeat([0, 1], 30))
        x = rng.normal(size=(60, 2, 4)) + 0.35 * y[:, None, None]
        scores = np.zeros((10, 2))
        for fold in range(10):
            order = rng.permutation(60)
            train, test = order[:48], order[48:]
            low, high = (x[train][y[train] == c].mean(0) for c in (0, 1))
            said = ((x[test] - (low + high) / 2) * (high - low)).sum(2) > 0
            scores[fold] = (said == y[test][:, None]).mean(0)
        corrected.append(corrected_resampled_t(*scores.T, 48, 12).p < 0.05)
        plain.append(ttest_rel(*scores.T).pvalue < 0.05)
    assert np.mean(corrected) < 0.09
    assert np.mean(plain) > 2 * np.mean(corrected) and np.mean(plain) > 0.12


def test_folds_that_cannot_be_compared_are_said():
    assert corrected_resampled_t([0.5, 0.6], [0.5, 0.6], 8, 2).p == 1.0
    assert np.isnan(corrected_resampled_t([0.6, 0.7], [0.5, 0.6], 8, 2).p)
    with pytest.raises(CallError, match=r"found scores of shapes \(2,\) and \(3,\)"):
        corrected_resampled_t([1, 2], [1, 2, 3], 8, 2)
    with pytest.raises(CallError, match="found 0 training"):
        corrected_resampled_t([1, 2], [1, 3], 0, 2)


def test_wilcoxon_over_subjects_agrees_with_scipy_and_counts():
    from scipy.stats import wilcoxon

    rng = np.random.default_rng(4)
    a, b = rng.normal(0.3, 1, 20), rng.normal(0, 1, 20)
    result = wilcoxon_over_subjects(by_subject(a), by_subject(b))
    assert result.p == pytest.approx(wilcoxon(a, b).pvalue)
    assert (result.n, result.unit) == (20, "subjects")
    assert result.effect == pytest.approx(np.median(a - b))


def test_wilcoxon_is_the_share_of_all_signs_with_ranks_as_far_apart():
    """Every way to sign eight differences, as Wilcoxon (1945) counts them."""
    from itertools import product

    difference = np.array([0.9, -0.1, 0.4, 0.35, -0.25, 0.6, 0.05, 0.7])
    rank = np.argsort(np.argsort(np.abs(difference))) + 1
    signed = np.array(list(product((-1, 1), repeat=8))) @ rank
    expected = (np.abs(signed) >= abs(np.sign(difference) @ rank)).mean()
    zero = by_subject(np.zeros(8))
    assert wilcoxon_over_subjects(by_subject(difference), zero).p == pytest.approx(expected)


def test_wilcoxon_by_hand_with_equal_steps_of_accuracy():
    """Five subjects who all gain: the smallest p of five, 2 / 2**5; 0.6 - 0.5 is 0.7 - 0.6."""
    better = by_subject([0.6, 0.7, 0.8, 0.95, 0.9])
    worse = by_subject([0.5, 0.6, 0.7, 0.5, 0.2])
    assert wilcoxon_over_subjects(better, worse).p == pytest.approx(2 / 2**5)
    same = wilcoxon_over_subjects(better, better)
    assert same.p == 1.0 and same.note.startswith("5 without a difference")
    with pytest.raises(CallError, match="found the subject 's04' in one model only"):
        wilcoxon_over_subjects(better, by_subject([0.5] * 4))
    with pytest.raises(CallError, match="found no subject with scores of both"):
        wilcoxon_over_subjects({"a": float("nan")}, {"a": 1.0})


def test_holm_by_hand():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": float("nan")})
    assert adjusted == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02, "e": float("nan")}, nan_ok=True
    )
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    with pytest.raises(CallError, match="found the p-values"):
        holm({"a": 1.2})


def test_models_are_compared_with_one_and_adjusted_for_their_number():
    rng = np.random.default_rng(0)
    base = rng.normal(size=16)
    scores = {
        "majority": by_subject(base),
        "good": by_subject(base + 1 + rng.normal(0, 0.1, 16)),
        "same": by_subject(base + np.linspace(-0.1, 0.1, 16)),
    }
    compared = compare_over_subjects(scores, "majority")
    assert set(compared) == {"good", "same"}
    test, adjusted = compared["good"]
    assert test.p == pytest.approx(2 / 2**16) and adjusted == pytest.approx(4 / 2**16)
    assert compared["same"][1] > 0.05
    with pytest.raises(CallError, match="expected 'svm' too"):
        compare_over_subjects(scores, "svm")


def test_equal_probabilities_are_equal_whatever_their_last_bits():
    y = np.array([0, 1, 0, 1, 1, 0])
    third = np.array([1 / 3, np.nextafter(1 / 3, 1), np.nextafter(1 / 3, 0)] * 2)
    scores = classification_scores(y, np.stack([1 - third, third], axis=1))
    assert scores["auc"] == 0.5
    # At the edge of a bin confidence is in one bin, though its last bit may say the next.
    edge = np.array([0.6, np.nextafter(0.6, 1)] * 3)
    scores = classification_scores(y, np.stack([edge, 1 - edge], axis=1))
    assert scores["ece"] == pytest.approx(abs(0.5 - 0.6))


def test_of_equal_probabilities_the_first_class_is_said_whatever_their_last_bits():
    half = np.array([[0.5, 0.5], [np.nextafter(0.5, 0), np.nextafter(0.5, 1)]])
    assert said_classes(half).tolist() == [0, 0]
