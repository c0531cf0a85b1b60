"""Policies that choose the next stimulus: steer, random, and a sham that replays another session.

Every function takes a state and inputs and returns a decision and the next state; nothing else
enters. Sums are taken in a fixed order with plain floats, so that recomputing gives the same bits.
"""

import math
from typing import Any

from physioemo.experiments.session.decisions import Decision, DecisionInputs
from physioemo.experiments.session.fields import Field, number, one_of, whole
from physioemo.experiments.session.policy_state import (
    Candidate,
    PolicyState,
    affect_of_probability,
    affect_of_rating,
)

__all__ = ["RANDOM", "SHAM", "STEER", "expected_effects", "play_random", "play_sham", "steer"]

_AFFECT = ("valence", "arousal")
_TIE = 1e-9

_MAX_SHOWS = {"max_shows": whole(0, 10_000, 0)}

STEER: dict[str, Field] = {
    "target_valence": number(-1, 1, None),
    "target_arousal": number(-1, 1, None),
    "evidence": one_of("predictions", "ratings", "both", default="predictions"),
    "prior_trials": number(0.1, 1000, 2.0),
    "exploration": number(0, 10, 0.2),
    "min_predictions": whole(1, 10_000, 3),
    **_MAX_SHOWS,
}
"""Parameters of :func:`steer`."""

RANDOM: dict[str, Field] = dict(_MAX_SHOWS)
"""Parameters of :func:`play_random`."""

SHAM: dict[str, Field] = dict(_MAX_SHOWS)
"""Parameters of :func:`play_sham`, besides the recorded decisions."""


def steer(state: PolicyState, inputs: DecisionInputs) -> tuple[Decision, PolicyState]:
    """Choose the stimulus whose expected effect is nearest to the target.

    What a stimulus does to this participant is estimated from the trials that showed it, shrunken
    to what the pool expects of it, corrected by how this participant answers on the whole. A bonus
    for stimuli that were seldom seen explores; the last stimulus is never repeated at once.
    """
    if inputs.moment == "during":
        return _goes_on(inputs), state
    state, learnt = _learn(state, inputs)
    if inputs.stimulus:
        return Decision("play", inputs.stimulus, reason="as planned"), state
    able, note = _able(state, inputs)
    effects = expected_effects(state)
    scores = [_score(state, effects[c.id], c.id) for c in able]
    best = max(scores)
    ties = [c for c, score in zip(able, scores, strict=True) if score >= best - _TIE]
    chosen = state.draws(inputs.trial, "tie").choose(ties)
    away = _distance(state, effects[chosen.id])
    effect = ", ".join(f"{d} {effects[chosen.id][d]:+.2f}" for d in _targets(state))
    reason = f"expected {effect}: {away:.2f} from the target; {learnt}{note}"
    return Decision("play", chosen.id, reason=reason), state


def play_random(state: PolicyState, inputs: DecisionInputs) -> tuple[Decision, PolicyState]:
    """Choose any stimulus but the last, each as likely as the others."""
    if inputs.moment == "during":
        return _goes_on(inputs), state
    state = _count_shown(state, inputs)
    if inputs.stimulus:
        return Decision("play", inputs.stimulus, reason="as planned"), state
    able, note = _able(state, inputs)
    chosen = state.draws(inputs.trial, "choice").choose(able)
    return Decision("play", chosen.id, reason=f"drawn from {len(able)} stimuli{note}"), state


def play_sham(state: PolicyState, inputs: DecisionInputs) -> tuple[Decision, PolicyState]:
    """Replay the decisions of another session, whatever this participant does.

    The n-th choice is the other session's n-th; feedback is what the other session had in the same
    trial at the same time after its onset. Where there is none, a random choice or half feedback.
    """
    if inputs.moment == "during":
        return _replay_feedback(state, inputs), state
    if inputs.stimulus:
        return play_random(state, inputs)
    index = int(state.memory.get("replayed", 0))
    choices = [y for y in state.yoked if y["action"] == "play"]
    state = state.remember(replayed=index + 1)
    wanted = choices[index]["stimulus"] if index < len(choices) else ""
    known = inputs.candidates or tuple(s.id for s in state.stimuli)
    if wanted in known:
        reason = f"choice {index + 1} of {len(choices)} of the other session"
        return Decision("play", wanted, reason=reason), _count_shown(state, inputs)
    drawn, state = play_random(state, inputs)
    why = f"{wanted!r} is no candidate" if wanted else f"there is no choice {index + 1}"
    reason = f"{why} of the other session; {drawn.reason}"
    return Decision("play", drawn.stimulus, reason=reason), state


def expected_effects(state: PolicyState) -> dict[str, dict[str, float]]:
    """Return what each stimulus is expected to evoke by now, by id and dimension, -1 to 1."""
    prior = float(state.parameters["prior_trials"])
    observed = state.memory.get("observed", {})
    bias = {d: _bias(state, d, prior) for d in _AFFECT}
    effects = {}
    for stimulus in state.stimuli:
        seen = observed.get(stimulus.id, {})
        effects[stimulus.id] = {
            d: (prior * (stimulus.expected(d) + bias[d]) + seen.get(d, (0, 0.0))[1])
            / (prior + seen.get(d, (0, 0.0))[0])
            for d in _AFFECT
        }
    return effects


def _bias(state: PolicyState, dimension: str, prior: float) -> float:
    """Return by how much this participant answers higher than expected, shrunken to 0.

    Stimuli are what is averaged: however often one was shown, it counts as one at most.
    """
    observed, weights, excess = state.memory.get("observed", {}), 0.0, 0.0
    for stimulus in state.stimuli:
        n, total = observed.get(stimulus.id, {}).get(dimension, (0, 0.0))
        if n:
            weight = n / (n + prior)
            weights += weight
            excess += weight * (total / n - stimulus.expected(dimension))
    return excess / (weights + prior)


def _targets(state: PolicyState) -> dict[str, float]:
    stated = {d: state.parameters[f"target_{d}"] for d in _AFFECT}
    return {d: float(v) for d, v in stated.items() if v is not None}


def _distance(state: PolicyState, effect: dict[str, float]) -> float:
    return math.sqrt(sum((effect[d] - aim) ** 2 for d, aim in _targets(state).items()))


def _score(state: PolicyState, effect: dict[str, float], stimulus: str) -> float:
    seen = state.memory.get("observed", {}).get(stimulus, {})
    n = max((seen[d][0] for d in seen), default=0)
    return float(state.parameters["exploration"]) / math.sqrt(1.0 + n) - _distance(state, effect)


def _learn(state: PolicyState, inputs: DecisionInputs) -> tuple[PolicyState, str]:
    """Return the state that knows the last trial, and in words what it was worth."""
    is_new = inputs.last_trial > state.memory.get("handled", 0)
    state = _count_shown(state, inputs)
    n_known = sum(bool(v) for v in state.memory.get("observed", {}).values())
    if not inputs.last_trial or not is_new:
        return state, f"{n_known} stimuli seen so far"
    if inputs.last_stimulus not in {s.id for s in state.stimuli}:
        return state, f"trial {inputs.last_trial} showed no stimulus of the pool"
    answer = _evidence(state, inputs)
    if not answer:
        made = inputs.predictions
        return state, (
            f"no usable evidence of trial {inputs.last_trial} (predictions: {made.n_used} used, "
            f"{made.n_abstained} abstained, {made.n_stale} stale; ratings: "
            f"{len(inputs.last_rating)}), chosen by what was known before"
        )
    observed = dict(state.memory.get("observed", {}))
    seen = dict(observed.get(inputs.last_stimulus, {}))
    for dimension, value in answer.items():
        count, total = seen.get(dimension, (0, 0.0))
        seen[dimension] = [count + 1, total + value]
    observed[inputs.last_stimulus] = seen
    told = ", ".join(f"{d} {v:+.2f}" for d, v in answer.items())
    return state.remember(observed=observed), f"trial {inputs.last_trial} evoked {told}"


def _evidence(state: PolicyState, inputs: DecisionInputs) -> dict[str, float]:
    """Return the last trial's answer, -1 to 1 by dimension, from what the parameters allow."""
    kind = state.parameters["evidence"]
    made = inputs.predictions
    enough = made.n_used >= state.parameters["min_predictions"]
    answer = {}
    for dimension in _AFFECT:
        values = []
        if kind in ("predictions", "both") and enough and dimension in made.probability:
            values.append(affect_of_probability(made.probability[dimension]))
        if kind in ("ratings", "both") and dimension in inputs.last_rating:
            values.append(affect_of_rating(inputs.last_rating[dimension]))
        if values:
            answer[dimension] = sum(values) / len(values)
    return answer


def _count_shown(state: PolicyState, inputs: DecisionInputs) -> PolicyState:
    """Return the state that has counted the last trial, once."""
    if inputs.last_trial <= state.memory.get("handled", 0):
        return state
    shown = dict(state.memory.get("shown", {}))
    shown[inputs.last_stimulus] = shown.get(inputs.last_stimulus, 0) + 1
    return state.remember(handled=inputs.last_trial, shown=shown)


def _able(state: PolicyState, inputs: DecisionInputs) -> tuple[list[Candidate], str]:
    """Return what may be chosen now, and what was given up to have something to choose."""
    asked = [s for s in state.stimuli if not inputs.candidates or s.id in inputs.candidates]
    fresh = [s for s in asked if s.id != inputs.last_stimulus]
    if not fresh:
        return asked, "; repeated, there is no other"
    most, shown = state.parameters["max_shows"], state.memory.get("shown", {})
    rare = [s for s in fresh if not most or shown.get(s.id, 0) < most]
    if not rare:
        return fresh, f"; every stimulus was shown {most} times already"
    return rare, ""


def _goes_on(inputs: DecisionInputs) -> Decision:
    return Decision("play", inputs.stimulus, reason="goes on")


def _replay_feedback(state: PolicyState, inputs: DecisionInputs) -> Decision:
    values: list[Any] = [
        y["value"]
        for y in state.yoked
        if y["action"] == "feedback"
        and y["trial"] == inputs.trial
        and y["trial_seconds"] <= inputs.trial_seconds
    ]
    if any(y["action"] == "feedback" for y in state.yoked):
        reason = "of the other session" if values else "the other session had none here"
        return Decision("feedback", inputs.stimulus, values[-1] if values else 0.5, reason)
    return _goes_on(inputs)
