"""Personal calibration: as good as theory says, the same live and offline, blind to its trial."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physioemo.errors import CallError, CheckpointError, SignalError
from physioemo.models.film_adapter import FilmState, apply_film, fit_film, query_head
from physioemo.models.fusion import QueryFusion
from physioemo.models.personal import (
    PersonalState,
    TrialPrediction,
    adjust,
    adjust_in_order,
    adjust_prediction,
    personal_line,
    start_personal,
    update,
)
from physioemo.models.personal_prior import PersonalPrior, fit_personal_prior
from physioemo.models.resting_baseline import resting_mean, subtract_resting
from physioemo.prediction import Prediction
from tests.models.fused_data import new_seed


def rated(state, pairs, dimension="valence"):
    """Return the state after ratings of trials t0, t1, ..."""
    for i, (said, rating) in enumerate(pairs):
        state = update(state, TrialPrediction(f"t{i}", {dimension: said}), {dimension: rating})
    return state


@pytest.mark.parametrize("k", [1, 4, 16])
def test_the_error_of_an_offset_is_the_one_of_theory(k):
    """Offsets N(0, 1), noise 0.5: RMSE = 1 / √(1 + 4 k) after k ratings."""
    rng = np.random.default_rng(new_seed())
    n = 3000
    start = start_personal("value", {"valence": PersonalPrior(bias_sd=1.0, noise_sd=0.5)})
    squares = []
    for offset in rng.normal(size=n):
        said = rng.uniform(1, 9, k)
        pairs = zip(said, said + offset + 0.5 * rng.normal(size=k), strict=True)
        adjusted = adjust(rated(start, pairs), {"valence": 5.0}, trial="new")["valence"]
        squares.append((adjusted - 5.0 - offset) ** 2)
    expected = 1 / math.sqrt(1 + 4 * k)
    # The standard error of an RMSE of n normal errors is RMSE / √(2 n).
    assert math.sqrt(np.mean(squares)) == pytest.approx(expected, rel=5 / math.sqrt(2 * n))


def test_bias_and_scale_are_the_posterior_mean_of_the_textbook():
    rng = np.random.default_rng(0)
    prior = PersonalPrior(0.7, 0.3, 0.5, bias_mean=0.2, scale_mean=0.9, pivot=5.0)
    said, ratings = rng.uniform(1, 9, 6), rng.uniform(1, 9, 6)
    x = np.stack([np.ones(6), said - 5], axis=1)
    precision = np.diag([0.7**-2, 0.3**-2])
    wanted = np.linalg.solve(
        precision + 4 * x.T @ x, precision @ [0.2, 0.9] + 4 * x.T @ (ratings - 5)
    )
    state = rated(start_personal("value", {"valence": prior}), zip(said, ratings, strict=True))
    assert personal_line(state, "valence") == pytest.approx(wanted, abs=1e-12)
    assert adjust(state, {"valence": 6.0}, trial="x")["valence"] == pytest.approx(5 + wanted.sum())


def test_the_bias_of_probabilities_is_the_mode_of_the_posterior():
    from scipy.optimize import minimize

    rng = np.random.default_rng(new_seed())
    prior = PersonalPrior(1.2, 0.4, pivot=0.1)
    said = rng.uniform(0.05, 0.95, 9)
    y = rng.integers(0, 2, 9)
    z = np.log(said / (1 - said)) - 0.1

    def lost(line):
        share = np.clip(1 / (1 + np.exp(-(0.1 + line[0] + line[1] * z))), 1e-300, 1 - 1e-16)
        own = -np.log(np.where(y, share, 1 - share)).sum()
        return own + 0.5 * (line[0] / 1.2) ** 2 + 0.5 * ((line[1] - 1) / 0.4) ** 2

    best = minimize(lost, [0, 1], method="BFGS", options={"gtol": 1e-9}).x
    state = rated(start_personal("probability", {"valence": prior}), zip(said, y, strict=True))
    assert personal_line(state, "valence") == pytest.approx(best, abs=1e-5)


def test_a_few_ratings_help_a_biased_participant_and_do_no_harm_to_others():
    rng = np.random.default_rng(new_seed())
    start = start_personal("probability", {"valence": PersonalPrior(bias_sd=1.5, scale_sd=0.3)})

    def losses(bias_sd):
        before, after = [], []
        for _ in range(400):
            bias = bias_sd * rng.normal()
            z = rng.normal(0, 1.5, 12)
            y = rng.random(12) < 1 / (1 + np.exp(-z - bias))
            said = 1 / (1 + np.exp(-z))
            pairs = [
                (TrialPrediction(str(i), {"valence": p}), {"valence": float(r)})
                for i, (p, r) in enumerate(zip(said, y, strict=True))
            ]
            adjusted, _ = adjust_in_order(start, pairs)
            own = np.array([a["valence"] for a in adjusted])[4:]
            for p, into in ((said[4:], before), (own, after)):
                into.append(-np.log(np.where(y[4:], p, 1 - p)).mean())
        return np.mean(before), np.mean(after)

    before, after = losses(1.5)
    assert after < before - 0.05
    before, after = losses(0.0)
    assert after < before + 0.08


@pytest.mark.parametrize("kind", ["value", "probability"])
def test_a_session_recomputed_offline_gives_the_same_bits(kind):
    rng = np.random.default_rng(new_seed())
    prior = PersonalPrior(0.8, 0.2, 0.6 if kind == "value" else 1.0, pivot=0.3)
    start = start_personal(kind, {"valence": prior, "arousal": prior})
    trials = []
    for i in range(15):
        said = {d: float(rng.random()) for d in start.priors}
        rating = {d: float(rng.integers(0, 2)) for d in start.priors}
        if i % 3 == 0:
            rating["arousal"] = math.nan
        trials.append((TrialPrediction(f"trial {i}", said), rating))
    live, state = [], start
    for prediction, rating in trials:
        live.append(adjust(state, prediction.values, trial=prediction.trial))
        # The session is killed and goes on from what it wrote.
        state = PersonalState.from_json(update(state, prediction, rating).to_json())
    offline, last = adjust_in_order(start, trials)
    assert live == offline and state == last
    assert json.loads(state.to_json()) == json.loads(last.to_json())
    assert all(personal_line(state, d) == personal_line(last, d) for d in start.priors)
    assert live[0] == pytest.approx(trials[0][0].values) and live[5] != trials[5][0].values
    assert len([r for _, r in state.rated if "arousal" in r]) == 10


@given(
    st.lists(
        st.tuples(st.text(max_size=5), st.floats(-1e12, 1e12), st.floats(-1e12, 1e12)),
        max_size=8, unique_by=lambda row: row[0],
    ),
    st.floats(0, 1e6), st.floats(-1e6, 1e6),
)  # fmt: skip
def test_any_state_of_finite_numbers_survives_json_to_the_bit(rows, spread, pivot):
    state = start_personal("value", {"valence": PersonalPrior(spread, spread, pivot=pivot)})
    for trial, said, rating in rows:
        state = update(state, TrialPrediction(trial, {"valence": said}), {"valence": rating})
    again = PersonalState.from_json(state.to_json())
    assert again == state and again.to_json() == state.to_json()
    line = personal_line(state, "valence")
    assert personal_line(again, "valence") == line and all(map(math.isfinite, line))


def test_a_rating_cannot_reach_its_own_prediction():
    start = start_personal("probability", {"valence": PersonalPrior(1.0)})
    state = rated(start, [(0.3, 1.0), (0.4, 0.0)])
    assert state.trials == ("t0", "t1") and start.trials == ()
    told = "found a prediction of trial 't1' with a state that was fitted to its rating, expected"
    with pytest.raises(CallError, match=told):
        adjust(state, {"valence": 0.4}, trial="t1")
    said = Prediction(1.0, {"valence": 0.4}, {"valence": 0.6}, False, "", "id")
    with pytest.raises(CallError, match=told):
        adjust_prediction(state, said, trial="t1")
    with pytest.raises(CallError, match="found a second rating of trial 't1', expected one for ea"):
        update(state, TrialPrediction("t1", {"valence": 0.4}), {"valence": 1.0})


def test_a_prediction_of_classes_is_moved_with_its_confidence():
    start = start_personal("probability", {"valence": PersonalPrior(2.0)})
    state = rated(start, [(0.5, 1.0)] * 6)
    said = Prediction(1.0, {"valence": 0.45, "arousal": 0.2}, {}, False, "", "id")
    moved = adjust_prediction(state, said, trial="new")
    assert moved.probability["valence"] > 0.6 and moved.probability["arousal"] == 0.2
    assert moved.confidence == {"valence": moved.probability["valence"], "arousal": 0.8}
    silent = Prediction(1.0, {"valence": 0.5}, {"valence": 0.5}, True, "blink", "id")
    assert adjust_prediction(state, silent, trial="new") is silent
    with pytest.raises(CallError, match="a personal state of kind 'value', expected 'probability'"):
        adjust_prediction(start_personal("value", state.priors), said, trial="new")


@pytest.mark.parametrize(
    ("kind", "said", "rating", "told"),
    [
        ("probability", 1.2, 1.0, "the prediction 1.2 and the rating 1.0 of valence, expected fin"),
        ("probability", 0.2, 0.5, "expected finite a probability and a rating of 0 or 1"),
        ("value", math.nan, 3.0, "the prediction nan and the rating 3.0 of valence, expected"),
        ("value", 3.0, math.inf, "the rating inf of valence, expected finite numbers"),
        ("value", None, 3.0, "the prediction None and the rating 3.0 of valence"),
    ],
)
def test_numbers_that_mean_nothing_are_told(kind, said, rating, told):
    start = start_personal(kind, {"valence": PersonalPrior(1.0)})
    with pytest.raises(SignalError, match=told):
        update(start, TrialPrediction("t", {"valence": said}), {"valence": rating})


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "kind": "value"}'])
def test_a_damaged_state_is_told(text):
    with pytest.raises(CheckpointError, match="a personal state that cannot be read .*expected wh"):
        PersonalState.from_json(text)
    with pytest.raises(CheckpointError, match="found an adapter that cannot be read"):
        FilmState.from_json(text)


def draw_people(rng, n_people, n_trials, kind, bias_sd, scale_sd):
    who = np.repeat(np.arange(n_people), n_trials)
    x = rng.normal(5 if kind == "value" else 0, 1.5, len(who))
    bias, scale = bias_sd * rng.normal(size=n_people), 1 + scale_sd * rng.normal(size=n_people)
    line = (bias[who] + scale[who] * (x - x.mean())) + x.mean()
    if kind == "value":
        return x, line + 0.5 * rng.normal(size=len(x)), who
    return 1 / (1 + np.exp(-x)), (rng.random(len(x)) < 1 / (1 + np.exp(-line))).astype(float), who


@pytest.mark.parametrize("kind", ["value", "probability"])
def test_how_much_people_differ_is_estimated_from_others(kind):
    rng = np.random.default_rng(new_seed())
    prior = fit_personal_prior(*draw_people(rng, 400, 60, kind, 0.6, 0.3), kind=kind)
    # One step of logistic regression shrinks large effects a little.
    wide = 0.08 if kind == "value" else 0.16
    assert prior.bias_sd == pytest.approx(0.6, abs=wide)
    assert prior.scale_sd == pytest.approx(0.3, abs=wide)
    assert prior.noise_sd == pytest.approx(0.5 if kind == "value" else 1, abs=0.02)
    alike = fit_personal_prior(*draw_people(rng, 400, 60, kind, 0.0, 0.0), kind=kind)
    assert alike.bias_sd < 0.15 and alike.scale_sd < 0.15
    assert abs(alike.bias_mean) < 0.1 and alike.scale_mean == pytest.approx(1, abs=0.1)


def test_a_prior_of_two_people_is_refused():
    with pytest.raises(
        SignalError, match="found 2 participants with two or more ratings, expected"
    ):
        fit_personal_prior([1, 2, 3, 4.0], [1, 2, 3, 4], list("aabb"), kind="value")
    with pytest.raises(CallError, match="found the kind 'logit', expected one of value, probabili"):
        fit_personal_prior([1.0], [1], ["a"], kind="logit")
    with pytest.raises(CallError, match="deviations of 0 or more and noise_sd above 0"):
        PersonalPrior(-1.0)


def turned_person(rng, n_trials, embed=6):
    """Features whose second half is switched in sign for this participant."""
    labels = rng.integers(0, 2, n_trials)
    signal = 1.2 * (2 * labels - 1)[:, None]
    features = np.concatenate([0.3 * signal, -signal], axis=1) @ np.repeat(np.eye(2), 3, axis=1)
    windows = np.repeat(np.arange(n_trials), 4)
    noise = rng.normal(size=(len(windows), embed))
    return (features[windows] + noise)[:, None], labels[windows], windows.astype(str)


def test_the_adapter_learns_a_participant_and_is_off_before_eight_ratings():
    rng = np.random.default_rng(new_seed())
    torch.manual_seed(0)
    fusion = QueryFusion(modalities={"eeg": 4}, dimensions=["valence"], embed_dim=6)
    with torch.no_grad():  # the head of everybody else: all features mean the same
        fusion.heads[0].weight.copy_(torch.tensor([[-1.0] * 6, [1.0] * 6]))
        fusion.heads[0].bias.zero_()
    head = query_head(fusion)
    before = [p.detach().clone() for p in fusion.parameters()]
    few = fit_film(*turned_person(rng, 7), head)
    assert not few.on and (few.scale == 1).all() and (few.shift == 0).all()
    features, labels, trials = turned_person(rng, 20)
    fitted = fit_film(features, labels, trials, head)
    assert fitted.on and len(fitted.trials) == 20
    again = fit_film(features, labels, trials, head)
    assert np.array_equal(fitted.scale, again.scale)
    new, truth, _ = turned_person(rng, 200)

    def right(state):
        said = apply_film(state, new, head, trial="new")
        return (said[:, 0].argmax(-1) == truth).mean()

    assert right(few) < 0.2 and right(fitted) > 0.6
    assert all(torch.equal(a, b) for a, b in zip(before, fusion.parameters(), strict=True))
    copy = FilmState.from_json(fitted.to_json())
    assert np.array_equal(copy.scale, fitted.scale) and np.array_equal(copy.shift, fitted.shift)
    assert copy.trials == fitted.trials
    with pytest.raises(CallError, match="trial '3' with an adapter that was fitted to its rating"):
        apply_film(fitted, features[trials == "3"], head, trial="3")
    with pytest.raises(SignalError, match=r"found features of \(1, 3\), expected \(1, 6\) as fitt"):
        apply_film(fitted, features[..., :3], head, trial="x")


def test_rest_is_taken_from_every_feature_and_a_missing_rest_is_missing():
    rng = np.random.default_rng(0)
    person = rng.normal(0, 3, (4, 2))
    rest = person + rng.normal(size=(400, 4, 2))
    rest[5:, 1, 0] = np.nan
    mean = resting_mean(rest)
    assert np.isnan(mean[1, 0]) and np.isfinite(mean).sum() == 7
    moved = subtract_resting(person + 1.0 + np.zeros((3, 4, 2)), mean)
    np.testing.assert_allclose(moved[0][np.isfinite(mean)], 1.0, atol=0.3)
    assert np.isnan(moved[:, 1, 0]).all()
    with pytest.raises(SignalError, match="found 4 resting windows with at most 4 usable"):
        resting_mean(rest[:4])
    with pytest.raises(SignalError, match="features of shape .3, 4. and a resting mean of .4, 2."):
        subtract_resting(np.zeros((3, 4)), mean)
