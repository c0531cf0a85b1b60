import numpy as np
import pytest

from physioemo.experiments.scores import balanced_accuracy, score_trials, trial_means


def test_balanced_accuracy_is_the_mean_recall():
    labels = np.array([0, 0, 0, 0, 1, 1])
    assert balanced_accuracy(labels, np.array([0, 0, 0, 1, 1, 0])) == pytest.approx(0.625)
    assert balanced_accuracy(labels, np.zeros(6)) == 0.5
    assert np.isnan(balanced_accuracy(np.zeros(3, int), np.zeros(3)))


def test_a_perfect_score_on_ten_trials():
    labels = np.array([0, 1] * 5)
    score = score_trials(labels, labels * 0.8 + 0.1, np.array([0.4, 0.5, 0.6]))
    assert score["accuracy"] == score["balanced_accuracy"] == 1.0
    assert score["p_binomial"] == pytest.approx(2**-10)
    assert score["p_permutation"] == pytest.approx(1 / 4)
    # Wilson 95 % interval of 10 of 10, a textbook value.
    assert score["accuracy_interval_95"] == [pytest.approx(0.7225, abs=1e-3), pytest.approx(1.0)]


def test_always_saying_the_larger_class_is_not_significant():
    labels = np.array([1] * 8 + [0] * 2)
    score = score_trials(labels, np.ones(10), np.zeros(0))
    assert (score["accuracy"], score["majority_accuracy"]) == (0.8, 0.8)
    assert score["balanced_accuracy"] == 0.5 and score["p_binomial"] > 0.5


def test_unrated_trials_are_left_out():
    score = score_trials(np.array([0, 1, -1]), np.array([0.1, 0.9, 0.1]), np.zeros(0))
    assert (score["n_trials"], score["n_high"], score["n_low"]) == (2, 1, 1)


def test_a_trial_counts_once_however_many_windows_it_has():
    probability = np.array([[0.2], [0.4], [0.9]])
    names, means, labels = trial_means(
        probability, np.array([[0], [0], [1]]), np.array(["a", "a", "b"], object)
    )
    assert names == ["a", "b"]
    assert means[:, 0] == pytest.approx([0.3, 0.9]) and labels[:, 0].tolist() == [0, 1]
