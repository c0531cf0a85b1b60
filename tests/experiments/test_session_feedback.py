"""Rules during a trial: feedback that holds in a zone, and the end of what distresses."""

import pytest

from physioemo.experiments.session.policies import (
    LatestPrediction,
    decide,
)
from tests.experiments.policy_questions import DISTRESSED, choose, during, latest, start


def hold(values, **parameters):
    """Return the feedback for a series of probabilities, one a second."""
    state, given = start("hold-in-zone", **{"smoothing": 0.0, **parameters}), []
    for second, p in enumerate(values, 1):
        decision, state = decide(state, during(second, latest(second, arousal=p)))
        given.append(decision.value)
    return given


def test_feedback_is_full_in_the_zone_and_falls_with_the_distance():
    given = hold([0.5, 0.9, 0.75, 0.3, 0.0], hysteresis=0.0, falloff=0.3)
    assert given == pytest.approx([1.0, 0.0, 0.5, 1 - 0.1 / 0.3, 0.0])


def test_hysteresis_keeps_inside_what_was_inside():
    assert hold([0.63, 0.58, 0.63, 0.66, 0.63], hysteresis=0.05, falloff=0.3) == pytest.approx(
        [0.9, 1.0, 1.0, 0.8, 0.9]
    )


def test_feedback_is_smoothed_and_a_prediction_counts_once():
    state = start("hold-in-zone", smoothing=0.5, falloff=1.0)
    _, state = decide(state, during(1.0, latest(1.0, arousal=1.0)))
    _, state = decide(state, during(1.5, latest(1.5, arousal=0.8)))
    decision, state = decide(state, during(1.6, latest(1.5, arousal=0.8)))
    assert decision.value == pytest.approx(1 - 0.3)


def test_stale_abstaining_and_unsure_predictions_hold_the_feedback_then_neutral():
    state = start("hold-in-zone", min_confidence=0.6, hold_seconds=3.0, neutral=0.4)
    decision, state = decide(state, during(1, latest(1, arousal=0.5)))
    assert decision.value == 1.0
    for second, newest, why in (
        (2, latest(2, arousal=0.0, abstain=True), "the decoder abstains"),
        (3, latest(3, confidence=0.55, arousal=0.0), "the confidence is 0.55"),
        (4, latest(1.5, arousal=0.0), "is 2.5 s old"),
    ):
        decision, state = decide(state, during(second, newest))
        assert decision.value == 1.0
        assert why in decision.reason
        assert "stays as it was" in decision.reason
    decision, state = decide(state, during(4.5, None))
    assert decision.value == 0.4
    assert "neutral" in decision.reason


def run_distress(rule, probabilities, **fields):
    state, actions = start("random", distress=rule), []
    for second, p in enumerate(probabilities, 1):
        newest = p if isinstance(p, LatestPrediction) else latest(second, **p)
        decision, state = decide(state, during(second, newest, **fields))
        actions.append(decision.action)
    return actions


def test_distress_stops_after_so_many_in_a_row_and_not_before():
    calm = {"valence": 0.6, "arousal": 0.9}
    rule = {"n_consecutive": 3}
    assert run_distress(rule, [DISTRESSED] * 3) == ["play", "play", "stop"]
    assert run_distress(rule, [DISTRESSED, DISTRESSED, calm, DISTRESSED, DISTRESSED])[-1] == "play"


def test_what_is_no_evidence_neither_counts_as_distress_nor_breaks_the_row():
    abstaining = latest(2, abstain=True, **DISTRESSED)
    stale = latest(-1.0, **DISTRESSED)
    actions = run_distress({"n_consecutive": 2}, [DISTRESSED, abstaining, stale, DISTRESSED])
    assert actions == ["play", "play", "play", "stop"]
    unsure = latest(2, confidence=0.6, **DISTRESSED)
    assert run_distress({"n_consecutive": 2}, [DISTRESSED, unsure, DISTRESSED])[-1] == "play"
    same = [latest(1, **DISTRESSED)] * 2
    assert run_distress({"n_consecutive": 2}, same) == ["play", "play"]


def test_skipping_too_often_stops_and_a_new_trial_begins_a_new_row():
    state = start("steer", distress={"action": "skip", "n_consecutive": 2, "stop_after_skips": 2})
    actions = []
    for second, trial in enumerate([1, 2, 2, 3, 3], 1):
        newest = latest(second, **DISTRESSED)
        decision, state = decide(state, during(second, newest, trial=trial))
        actions.append(decision.action)
    assert actions == ["play", "play", "skip", "play", "stop"]
    assert "trials skipped: 2" in decision.reason


@pytest.mark.parametrize(
    ("limits", "rating", "action"),
    [
        ({"rated_valence_at_most": 2}, {"valence": 2.0, "arousal": 1.0}, "stop"),
        ({"rated_valence_at_most": 2}, {"valence": 2.5}, "play"),
        ({"rated_valence_at_most": 2, "rated_arousal_at_least": 8}, {"valence": 1.0}, "play"),
        (
            {"rated_valence_at_most": 2, "rated_arousal_at_least": 8},
            {"valence": 1.0, "arousal": 8.0},
            "stop",
        ),
        ({}, {"valence": 1.0, "arousal": 9.0}, "play"),
    ],
)
def test_a_rating_beyond_every_stated_limit_is_distress_once(limits, rating, action):
    state = start("steer", distress=limits)
    inputs = choose(2, "alarm", ratings={"1": rating})
    decision, state = decide(state, inputs)
    assert decision.action == action
    assert decide(state, inputs)[0].action == "play"
