"""Temperature, intervals, sets and abstention on groups of their own: each keeps its promise."""

import json

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binom, norm

from physioemo.errors import CallError, DataError, SignalError
from physioemo.models.abstention import (
    abstain_where_unsure,
    fit_abstention,
    risk_coverage,
    risk_p_value,
)
from physioemo.models.calibration import calibrated_probability, expected_calibration_error
from physioemo.models.conformal import Conformal, fit_intervals, fit_sets, grouped_quantile
from physioemo.models.grouped_calibration import fit_grouped_temperature, require_separate_groups
from physioemo.prediction import Prediction
from tests.models.fused_data import new_seed

APART = {"training_groups": ["t1"], "test_groups": None}


def band(p, n):
    """Return how far a share of n draws may lie from p, five standard deviations."""
    return 5 * np.sqrt(p * (1 - p) / n)


def names(n, prefix="c"):
    return [f"{prefix}{i}" for i in range(n)]


def test_a_temperature_of_three_is_found_on_groups_of_their_own():
    rng = np.random.default_rng(new_seed())
    n = 40_000
    logits = 1.5 * rng.normal(size=(2 * n, 3))
    labels = (rng.random((2 * n, 1)) > softmax(logits, -1).cumsum(-1)[:, :-1]).sum(-1)
    found = fit_grouped_temperature(
        3 * logits[:n], labels[:n], calibration_groups=np.arange(n) // 20,
        training_groups=["a"], test_groups=np.arange(n, 2 * n) // 20,
    )  # fmt: skip
    assert found[0] == pytest.approx(3, abs=0.1)
    probability = calibrated_probability(3 * logits[n:], found)
    assert expected_calibration_error(probability, labels[n:])[0] < 0.02
    assert np.array_equal(probability.argmax(-1), logits[n:].argmax(-1))


@pytest.mark.parametrize("part", ["training", "test"])
def test_a_group_that_is_used_elsewhere_is_refused(part):
    parts = {"training": ["s1", "s2"], "calibration": ["s3", "s4"], "test": ["s5"]}
    require_separate_groups(**parts)
    parts[part] = ["s4", "s9"]
    told = rf"found 1 of the calibration groups in {part} too \(s4\), expected none: use for"
    with pytest.raises(CallError, match=told):
        require_separate_groups(**parts)


def test_every_kind_of_group_must_be_apart_and_unknown_names_are_nobodys():
    one = {"trial": ["1", "2"], "stimulus": ["film", ""]}
    two = {"trial": ["3", "4"], "stimulus": ["film", ""]}
    with pytest.raises(CallError, match=r"1 of the calibration stimuli in training too \(film"):
        require_separate_groups(training=one, calibration=two, test=None)
    two["stimulus"] = ["song", ""]
    require_separate_groups(training=one, calibration=two, test=None)
    with pytest.raises(CallError, match="the kinds trial for test and trial, stimulus for calibr"):
        require_separate_groups(training=one, calibration=two, test={"trial": ["9"]})


@pytest.mark.parametrize(
    ("calibration", "told"),
    [
        ([], "found no calibration windows, expected at least one"),
        ([0.5, 0.7], "found groups as float64 of shape .2,., expected one name or whole"),
        (["x"], "found 1 calibration groups for 2 windows, expected one for each"),
    ],
)
def test_groups_that_fit_nothing_are_told(calibration, told):
    with pytest.raises(CallError, match=told):
        fit_grouped_temperature(np.zeros((2, 2)), [0, 1], calibration_groups=calibration, **APART)


def test_intervals_cover_new_trials_as_often_as_they_say():
    """One window per trial: coverage is exactly 36 / 40, over trials and calibrations."""
    rng = np.random.default_rng(new_seed())
    n = 4000
    scores = np.abs(rng.standard_t(3, size=(n, 40)))
    covered = [
        new <= grouped_quantile(old, np.arange(39), 0.9)
        for old, new in zip(scores[:, :39], scores[:, 39], strict=True)
    ]
    assert np.mean(covered) == pytest.approx(0.9, abs=band(0.9, n))


@pytest.mark.parametrize("cover", ["window", "group"])
def test_the_quantile_of_single_windows_is_the_textbook_one(cover):
    scores = np.random.default_rng(0).permutation(99) + 1.0
    for coverage, wanted in ((0.9, 90), (0.5, 50), (0.905, 91), (0.99, 99)):
        assert grouped_quantile(scores, np.arange(99), coverage, cover) == wanted
    assert grouped_quantile(scores, np.arange(99), 0.995, cover) == np.inf
    # Three windows of one group are one group: the worst of them, or a third of its weight each.
    groups = np.array([0, 0, 0, 1, 2])
    assert grouped_quantile([1, 2, 9, 3, 4], groups, 0.75, "group") == 9
    assert grouped_quantile([1, 2, 9, 3, 4], groups, 0.6, "window") == 4


@pytest.mark.parametrize("cover", ["window", "group"])
def test_trials_of_unequal_length_are_covered_alike(cover):
    """Long calm trials and short wild ones: windows taken as exchangeable promise too much."""
    rng = np.random.default_rng(new_seed())
    covered, pooled, n = [], [], 1500
    for _ in range(n):
        wild = rng.random(60) < 0.5
        size = np.where(wild, 1, 30)
        groups = np.repeat(np.arange(60), size)
        level = np.repeat(rng.normal(size=60), size)
        scores = np.abs(level + rng.normal(size=len(groups))) * np.where(wild, 4, 1)[groups]
        last = groups == 59
        new = scores[last].max() if cover == "group" else rng.choice(scores[last])
        covered.append(new <= grouped_quantile(scores[~last], groups[~last], 0.9, cover))
        pooled.append(new <= np.quantile(scores[~last], 0.9))
    assert 0.9 - band(0.9, n) < np.mean(covered) < 0.9 + 2 / 60 + band(0.9, n)
    assert np.mean(pooled) < 0.8


def test_fitted_intervals_and_sets_cover_and_survive_json():
    rng = np.random.default_rng(new_seed())
    n, new = 2000, 20_000
    sd = rng.uniform(0.5, 2, (n + new, 2))
    mean = rng.normal(size=(n + new, 2))
    ratings = mean + sd * rng.normal(size=mean.shape)
    ratings[:200, 1] = np.nan
    fitted = fit_intervals(
        mean[:n], ratings[:n], sd=sd[:n], calibration_groups=names(n), coverage=0.8, **APART
    )
    again = Conformal.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted and fitted.n_groups == (2000, 1800)
    assert fitted.quantile[0] == pytest.approx(norm.ppf(0.9), abs=0.15)
    low, high = np.moveaxis(fitted.intervals(mean[n:], sd[n:]), -1, 0)
    inside = ((ratings[n:] >= low) & (ratings[n:] <= high)).mean(0)
    # The calibration's own quantile varies too: both errors are in the band.
    assert inside == pytest.approx(0.8, abs=band(0.8, n) + band(0.8, new))

    logits = 2 * rng.normal(size=(n + new, 4))
    share = softmax(logits, -1)
    labels = (rng.random((n + new, 1)) > share.cumsum(-1)[:, :-1]).sum(-1)
    sets = fit_sets(share[:n], labels[:n], calibration_groups=names(n), coverage=0.8, **APART)
    held = sets.sets(share[n:])[:, 0]
    hit = held[np.arange(new), labels[n:]].mean()
    assert hit == pytest.approx(0.8, abs=band(0.8, n) + band(0.8, new))
    assert 1 < held.sum(-1).mean() < 3


def test_sets_of_ordered_classes_have_no_gaps_and_cover_as_promised():
    """Probabilities with two peaks: plain sets leave out what lies between them."""
    rng = np.random.default_rng(new_seed())
    n, new = 2000, 20_000
    share = softmax(2 * rng.normal(size=(n + new, 5)), -1)
    labels = (rng.random((n + new, 1)) > share.cumsum(-1)[:, :-1]).sum(-1)
    how = {"calibration_groups": names(n), "coverage": 0.8, **APART}
    plain, ordered = (fit_sets(share[:n], labels[:n], ordered=o, **how) for o in (False, True))
    gaps = [
        (np.abs(np.diff(np.pad(s.sets(share[n:])[:, 0], ((0, 0), (1, 1))), axis=1)).sum(1) > 2)
        for s in (plain, ordered)
    ]
    assert gaps[0].mean() > 0.2 and not gaps[1].any()
    held = ordered.sets(share[n:])[:, 0]
    assert held[np.arange(new), labels[n:]].mean() == pytest.approx(
        0.8, abs=band(0.8, n) + band(0.8, new)
    )
    assert Conformal.from_dict(json.loads(json.dumps(ordered.to_dict()))) == ordered


def test_sets_of_ordered_classes_by_hand():
    share = np.array([[0.4, 0.1, 0.3, 0.2], [0.1, 0.5, 0.3, 0.1]])
    fitted = Conformal("set", (0.7,), 0.8, "window", (9,), ordered=True)
    # Of .3 or more: the first and the third, with what lies between; the second and the third.
    assert fitted.sets(share)[:, 0].tolist() == [
        [True, True, True, False],
        [False, True, True, False],
    ]


def test_too_few_groups_for_a_coverage_are_told():
    ratings = np.zeros((18, 1))
    # Twenty windows of each of 18 trials are 18 trials.
    many = {"calibration_groups": np.repeat(np.arange(18), 20), **APART}
    told = "18 rated calibration groups in dimension 0, expected at least 19 for a coverage of 0.95"
    with pytest.raises(DataError, match=told):
        fit_intervals(np.zeros((360, 1)), np.zeros((360, 1)), coverage=0.95, **many)
    with pytest.raises(CallError, match="a coverage of 1.5 for each 'window', expected above 0"):
        fit_intervals(ratings, ratings, coverage=1.5, calibration_groups=names(18), **APART)
    fitted = fit_intervals(ratings, ratings, calibration_groups=names(18), **APART)
    with pytest.raises(CallError, match="found a conformal interval, expected one fitted as set"):
        fitted.sets(np.full((3, 2), 0.5))
    with pytest.raises(SignalError, match="found 2 dimensions, expected 1 as calibrated"):
        fitted.intervals(np.zeros((3, 2)))


def test_the_curve_is_the_one_by_hand():
    curve = risk_coverage([0.9, 0.6, 0.8, 0.6], np.array([True, False, False, True]))
    np.testing.assert_allclose(curve.threshold, [0.9, 0.8, 0.6])
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 1])
    np.testing.assert_allclose(curve.risk, [0, 0.5, 0.5])
    assert curve.area == pytest.approx((0 + 0.5 + 0.5 + 0.5) / 4)
    with pytest.raises(SignalError, match="expected finite numbers and bool of one shape"):
        risk_coverage([0.5, np.nan], np.array([True, False]))


def test_the_test_of_a_risk_is_exact_for_zeros_and_ones_and_valid_for_shares():
    assert risk_p_value([0] * 58 + [1] * 2, 0.1) == pytest.approx(binom.cdf(2, 60, 0.1))
    assert risk_p_value([], 0.1) == 1
    rng = np.random.default_rng(new_seed())
    n = 4000
    for draw in (lambda: rng.binomial(10, 0.2, 40) / 10, lambda: rng.beta(0.2, 0.8, 40)):
        rejected = np.mean([risk_p_value(draw(), 0.2) <= 0.1 for _ in range(n)])
        assert rejected <= 0.1 + band(0.1, n)
    assert risk_p_value(rng.binomial(10, 0.05, 100) / 10, 0.2) < 0.01


def honest_answers(rng, n_trials, n_windows):
    """Answers that are right with the probability that they say."""
    sure = rng.uniform(0.5, 1, (n_trials, n_windows))
    right = rng.random(sure.shape) < sure
    return sure.ravel(), right.ravel(), np.repeat(np.arange(n_trials), n_windows)


@pytest.mark.parametrize("n_windows", [1, 8])
def test_the_promised_risk_is_kept_as_surely_as_promised(n_windows):
    rng = np.random.default_rng(new_seed())
    chosen, n = [], 300
    for _ in range(n):
        sure, right, trials = honest_answers(rng, 300, n_windows)
        where = {"calibration_groups": trials, "training_groups": [-1], "test_groups": None}
        try:
            rule = fit_abstention(sure, right, risk=0.2, certainty=0.8, **where)
            chosen.append(rule.threshold)
        except DataError:
            chosen.append(1.0)  # nothing promised, nothing broken
    # Confidence is uniform and honest: above t the risk is 1 − (1 + t) / 2, so 0.6 is the best.
    assert np.mean(np.array(chosen) < 0.6) <= 0.2 + band(0.2, n)
    assert np.median(chosen) < 0.85


def test_a_risk_that_cannot_be_promised_is_refused_and_options_checked():
    rng = np.random.default_rng(0)
    sure, right, trials = honest_answers(rng, 20, 1)
    where = {"calibration_groups": trials, "training_groups": [-1], "test_groups": None}
    with pytest.raises(DataError, match="no threshold at which a risk of 0.01 can be promised wi"):
        fit_abstention(sure, right, risk=0.01, **where)
    with pytest.raises(CallError, match="found a risk of 0, a certainty of 0.9 and 25 thresholds"):
        fit_abstention(sure, right, risk=0, **where)
    with pytest.raises(CallError, match=r"in training too \(3\)"):
        fit_abstention(sure, right, risk=0.2, **{**where, "training_groups": [3]})


def test_a_prediction_below_the_threshold_is_the_prior_and_says_why():
    sure, right, trials = honest_answers(np.random.default_rng(1), 400, 1)
    rule = fit_abstention(
        sure, right, calibration_groups=trials, training_groups=[-1], test_groups=None, risk=0.2
    )
    assert rule.abstain([0.5, 0.999, np.nan]).tolist() == [True, False, True]

    def said(p):
        confidence = {"valence": max(p, 1 - p)}
        return Prediction(1.0, {"valence": p}, confidence, False, "", "id")

    assert abstain_where_unsure(said(0.01), {"valence": rule}, {"valence": 0.4}) == said(0.01)
    unsure = abstain_where_unsure(said(0.52), {"valence": rule}, {"valence": 0.4})
    assert unsure.abstain and unsure.probability == {"valence": 0.4}
    assert unsure.confidence == {"valence": 0.6}
    assert unsure.reason.startswith("the confidence is too low (valence 0.52 of 0.")
