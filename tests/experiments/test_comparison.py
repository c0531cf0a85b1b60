import numpy as np
import pytest

from physioemo.errors import CallError
from physioemo.experiments.comparison import (
    compare_over_subjects,
    corrected_resampled_t,
    holm,
    wilcoxon_over_subjects,
)
from tests.experiments.made_groups import by_subject


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
    same = corrected_resampled_t([0.6, 0.7], [0.5, 0.6], 8, 2)
    assert np.isnan(same.p) and same.note == "test/train 0.25, the same difference in all folds"
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
