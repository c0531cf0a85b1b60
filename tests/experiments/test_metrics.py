import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CallError, DataError
from physioemo.experiments.metrics import (
    brier_score,
    classification_scores,
    concordance,
    expected_calibration_error,
    regression_scores,
    said_classes,
)
from physioemo.experiments.trial_scores import subject_scores, trial_mean, window_and_trial_scores

HAND_LABELS = np.array([0, 0, 0, 0, 1, 1])
HAND_PROBABILITY = np.array([0.1, 0.2, 0.4, 0.7, 0.8, 0.3])


def two(high):
    return np.stack([1 - np.asarray(high, float), high], axis=1)


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
