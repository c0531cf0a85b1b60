"""Policies: pure, recomputable from JSON, and never led by what is no evidence."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CallError
from physioemo.experiments.session.choosing import expected_effects
from physioemo.experiments.session.policies import (
    POLICIES,
    Decision,
    DecisionInputs,
    LatestPrediction,
    PolicyState,
    PredictionSummary,
    blinded,
    decide,
    start_policy,
    summarise,
)
from physioemo.experiments.session.yoke import read_decisions, write_decisions
from physioemo.prediction import Prediction
from tests.experiments.policy_questions import (
    POOL,
    choose,
    during,
    start,
    summary,
)


def test_steer_begins_with_the_stimulus_that_the_pool_expects_nearest_to_the_target():
    assert decide(start("steer"), choose(1))[0].stimulus == "thrill"
    low = start("steer", target_arousal=-0.5, target_valence=-0.5)
    assert decide(low, choose(1))[0].stimulus == "gloom"


def test_steer_learns_that_a_stimulus_does_nothing_to_this_participant():
    state, chosen = start("steer"), []
    last = ""
    for trial in range(1, 31):
        high = {"thrill": 0.05, "alarm": 0.95, "calm": 0.2, "gloom": 0.4}
        made = summary(arousal=high[last]) if last else summary(0)
        decision, state = decide(state, choose(trial, last, predictions=made))
        last = decision.stimulus
        chosen.append(last)
    assert all(a != b for a, b in itertools.pairwise(chosen))
    late = chosen[15:]
    assert late.count("alarm") >= 7 > late.count("thrill")


def test_estimates_are_shrunken_means_around_this_participants_bias():
    state = start("steer", prior_trials=2.0)
    for trial, (stimulus, p) in enumerate([("calm", 0.6), ("calm", 0.8), ("thrill", 1.0)], 2):
        _, state = decide(state, choose(trial, stimulus, predictions=summary(arousal=p)))
    calm, thrill = 2 / (2 + 2), 1 / (1 + 2)  # weights of two trials and of one
    bias = (calm * (0.4 - -0.6) + thrill * (1.0 - 0.8)) / (calm + thrill + 2)
    effects = expected_effects(state)
    assert effects["calm"]["arousal"] == pytest.approx((2 * (-0.6 + bias) + 0.8) / 4)
    assert effects["thrill"]["arousal"] == pytest.approx((2 * (0.8 + bias) + 1.0) / 3)
    assert effects["gloom"]["arousal"] == pytest.approx(-0.4 + bias)
    assert effects["gloom"]["valence"] == -0.5


def test_exploration_tries_what_was_never_seen():
    def seen_first(exploration):
        state, last, seen = start("steer", exploration=exploration), "", []
        for trial in range(1, 9):
            expected = {c.id: (c.arousal + 1) / 2 for c in POOL}
            made = summary(arousal=expected[last]) if last else summary(0)
            decision, state = decide(state, choose(trial, last, predictions=made))
            last = decision.stimulus
            seen.append(last)
        return set(seen)

    assert seen_first(0.0) == {"thrill", "alarm"}
    assert seen_first(5.0) == {"thrill", "alarm", "calm", "gloom"}


@pytest.mark.parametrize(
    "made",
    [summary(2, arousal=0.0), summary(0, n_abstained=9), summary(0, n_stale=9), summary(10)],
)
def test_without_usable_evidence_steer_says_so_and_learns_nothing(made):
    state = start("steer", min_predictions=3)
    before = expected_effects(state)
    decision, state = decide(state, choose(2, "thrill", predictions=made))
    assert "no usable evidence of trial 1" in decision.reason
    assert f"{made.n_abstained} abstained, {made.n_stale} stale" in decision.reason
    assert expected_effects(state) == before
    assert decision.stimulus == "alarm"


def test_the_same_trial_is_never_learnt_twice():
    inputs = choose(2, "calm", predictions=summary(arousal=1.0))
    _, once = decide(start("steer"), inputs)
    _, twice = decide(once, inputs)
    assert expected_effects(once) == expected_effects(twice)
    assert twice.memory["shown"] == {"calm": 1}


def test_evidence_may_come_from_ratings_or_from_both():
    inputs = choose(2, "calm", predictions=summary(arousal=0.25), ratings={"1": {"arousal": 9.0}})
    told = {
        kind: decide(start("steer", evidence=kind), inputs)[0].reason
        for kind in ("predictions", "ratings", "both")
    }
    assert "trial 1 evoked arousal -0.50" in told["predictions"]
    assert "trial 1 evoked arousal +1.00" in told["ratings"]
    assert "trial 1 evoked arousal +0.25" in told["both"]


def test_planned_trials_are_played_as_planned_and_learnt_from():
    state = start("steer")
    planned = choose(2, "calm", stimulus="gloom", predictions=summary(arousal=1.0))
    decision, state = decide(state, planned)
    assert (decision.action, decision.stimulus, decision.reason) == ("play", "gloom", "as planned")
    assert state.memory["observed"]["calm"]["arousal"] == [1, 1.0]


def test_candidates_and_the_number_of_shows_limit_the_choice():
    state = start("steer", max_shows=1)
    only = choose(1, candidates=("calm", "gloom"))
    assert decide(state, only)[0].stimulus == "gloom"
    _, state = decide(state, choose(2, "thrill"))
    _, state = decide(state, choose(3, "alarm"))
    decision, state = decide(state, choose(4, "calm"))
    assert decision.stimulus == "gloom"
    decision, state = decide(state, choose(5, "gloom"))
    assert "every stimulus was shown 1 times already" in decision.reason


def test_random_choices_are_even_and_known_from_seed_and_trial_alone():
    state, other = start("random"), start("steer")
    counts = dict.fromkeys([c.id for c in POOL], 0)
    for trial in range(1, 2001):
        counts[decide(state, choose(trial))[0].stimulus] += 1
    chi2 = sum((n - 500) ** 2 / 500 for n in counts.values())
    assert chi2 < 16.3  # p = 0.001 with 3 degrees of freedom
    late = decide(state, choose(1234))[0]
    assert late == decide(start("random"), choose(1234))[0]
    assert other.draws(3, "tie").uniform() != other.draws(4, "tie").uniform()


def test_a_sham_replays_another_session_whatever_happens():
    state = start("sham")
    decision, state = decide(state, choose(4, "thrill", predictions=summary(arousal=1.0)))
    assert decision.stimulus == "gloom"
    decision, state = decide(state, choose(5, "gloom"))
    assert decision.stimulus in {"thrill", "alarm", "calm"}
    assert "there is no choice 2 of the other session" in decision.reason
    values = [decide(state, during(t, None))[0].value for t in (0.5, 1.0, 2.9, 3.0, 60.0)]
    assert values == [0.5, 0.25, 0.25, 0.75, 0.75]


def test_recorded_decisions_come_back_from_their_file(tmp_path):
    state, made, last = start("random"), [], ""
    for trial in range(1, 9):
        planned = "calm" if trial == 3 else ""
        inputs = choose(trial, last, stimulus=planned)
        decision, state = decide(state, inputs)
        made.append((inputs, decision))
        last = decision.stimulus
    made.append((choose(9), Decision("stop", reason="distress rule")))
    path = tmp_path / "decisions.json"
    write_decisions(path, made, participant="01", session="1")
    rows = read_decisions(path, participant="02", session="1")
    assert [r["stimulus"] for r in rows] == [d.stimulus for i, d in made[:8] if not i.stimulus]
    with pytest.raises(CallError, match="participant 01's own session 1"):
        read_decisions(path, participant="01", session="1")


@pytest.mark.parametrize("text", ["", "[]", '{"format": "physioemo-decisions"}', None])
def test_a_wrong_file_of_decisions_is_refused(tmp_path, text):
    path = tmp_path / "d.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CallError, match=r"d\.json.*expected (the decisions|them)"):
        read_decisions(path)


RATING = st.dictionaries(st.sampled_from(["valence", "arousal"]), st.floats(1, 9), max_size=2)


AFFECT = st.fixed_dictionaries({d: st.floats(0, 1) for d in ("valence", "arousal")})


@st.composite
def histories(draw):
    """Draw the questions of a session."""
    questions, seconds, ratings, last = [], 0.0, {}, ("", 0)
    for trial in range(1, draw(st.integers(2, 6))):
        asked = {"time_seconds": seconds, "ratings": dict(ratings), "model_id": "m"}
        planned = draw(st.sampled_from(["", "calm"]))
        p = draw(AFFECT)
        made = PredictionSummary(p, p, draw(st.integers(0, 9)), 1, 2)
        shown = {"last_stimulus": last[0], "last_trial": last[1], "predictions": made}
        questions.append(DecisionInputs(trial=trial, stimulus=planned, **asked, **shown))
        for _ in range(draw(st.integers(0, 3))):
            seconds += draw(st.floats(0.1, 3))
            newest = LatestPrediction(seconds, draw(AFFECT), draw(AFFECT), draw(st.booleans()))
            more = {"moment": "during", "latest": newest, "trial_seconds": 1.5, "stimulus": "calm"}
            questions.append(DecisionInputs(trial, **{**asked, **more, "time_seconds": seconds}))
        ratings[str(trial)] = draw(RATING)
        last = (draw(st.sampled_from([c.id for c in POOL])), trial)
    return questions


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=40, deadline=None)
@given(history=histories())
def test_every_decision_is_recomputed_to_the_bit_from_json(name, history):
    rule = {"n_consecutive": 2, "action": "skip", "rated_valence_at_most": 3}
    state = again = start(name, distress=rule)
    for inputs in history:
        before = json.dumps(state.to_dict()), json.dumps(inputs.to_dict())
        decision, after = decide(state, inputs)
        assert (json.dumps(state.to_dict()), json.dumps(inputs.to_dict())) == before
        again = PolicyState.from_dict(json.loads(json.dumps(again.to_dict())))
        told = DecisionInputs.from_dict(json.loads(json.dumps(inputs.to_dict())))
        assert told == inputs
        recomputed, again = decide(again, told)
        assert recomputed == decision
        assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
        assert json.dumps(again.to_dict()) == json.dumps(after.to_dict())
        assert decision.reason
        assert decision.action != "feedback" or 0 <= decision.value <= 1
        state = after


def test_the_summary_leaves_out_what_abstains_or_comes_late():
    def made(p, abstain=False):
        return Prediction(10.0, {"arousal": p}, {"arousal": max(p, 1 - p)}, abstain, "", "m")

    told = [(made(0.2), 10.1), (made(0.9, True), 10.1), (made(0.8), 15.0), (made(0.6), 12.0)]
    found = summarise(told, max_age_seconds=2.0)
    assert found.probability["arousal"] == pytest.approx(0.4)
    assert found.confidence["arousal"] == pytest.approx(0.7)
    assert (found.n_used, found.n_abstained, found.n_stale) == (2, 1, 1)
    assert summarise([], max_age_seconds=2.0) == PredictionSummary()


def test_a_blinded_decision_does_not_tell_its_arm():
    decision, _ = decide(start("random"), choose(1))
    assert "drawn" in decision.reason
    assert "drawn" not in blinded(decision).reason
    assert blinded(decision).stimulus == decision.stimulus


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("stear", {}, r"found the policy 'stear'.*did you mean 'steer'"),
        ("steer", {"target_arousl": 1}, r"unknown field 'target_arousl'.*mean 'target_arousal'"),
        ("steer", {"exploration": 0.1}, "found no target"),
        ("steer", {"target_arousal": 3}, "found target_arousal = 3.*a number from -1 to 1"),
        ("hold-in-zone", {"low": 0.2, "high": 0.4}, "found no 'dimension'"),
        ("hold-in-zone", {"dimension": "arousl", "low": 0, "high": 1}, "did you mean 'arousal'"),
        ("hold-in-zone", {"dimension": "arousal", "low": 0.5, "high": 0.4}, "'high' above 'low'"),
        ("sham", {}, "no recorded decisions for the sham"),
    ],
)
def test_wrong_parameters_are_named(name, parameters, text):
    with pytest.raises(CallError, match=text):
        start_policy(name, parameters, seed=1, stimuli=POOL)


def test_an_unknown_moment_is_refused():
    with pytest.raises(CallError, match="found the moment 'later', expected one of choose, during"):
        decide(start("random"), DecisionInputs(1, 0.0, "later"))
