"""Neurofeedback: hold a predicted dimension in a zone; the feedback falls with the distance."""

from typing import Any

from physioemo.experiments.session.decisions import Decision, DecisionInputs
from physioemo.experiments.session.distress import usable_latest
from physioemo.experiments.session.fields import Field, number, one_of
from physioemo.experiments.session.policy_state import PolicyState

__all__ = ["HOLD", "hold_in_zone"]

HOLD: dict[str, Field] = {
    "dimension": one_of("valence", "arousal", "dominance"),
    "low": number(0, 1),
    "high": number(0, 1),
    "hysteresis": number(0, 0.5, 0.05),
    "falloff": number(0.01, 1, 0.3),
    "smoothing": number(0, 0.99, 0.8),
    "min_confidence": number(0.5, 1, 0.5),
    "hold_seconds": number(0, 60, 3.0),
    "neutral": number(0, 1, 0.5),
    "output": one_of("bar", "volume", default="bar"),
}
"""Parameters of :func:`hold_in_zone`; the zone is in probabilities of the high class."""

_START: dict[str, Any] = {
    "trial": 0,
    "smooth": None,
    "inside": False,
    "value": None,
    "seen_seconds": None,
    "good_seconds": None,
}


def hold_in_zone(state: PolicyState, inputs: DecisionInputs) -> tuple[Decision, PolicyState]:
    """Return the height of a bar or the volume of a sound, 1 in the zone and 0 far from it.

    The prediction is smoothed over time. Once inside, it stays inside until it is `hysteresis`
    beyond an edge. Without a usable prediction the feedback stays as it is for `hold_seconds` and
    is neutral afterwards.
    """
    if inputs.moment != "during":
        return Decision("play", inputs.stimulus, reason="as planned"), state
    rule = state.parameters
    memory = {**_START, **state.memory.get("hold", {})}
    if memory["trial"] != inputs.trial:
        memory = {**_START, "trial": inputs.trial}
    latest, why_not = usable_latest(state, inputs)
    if latest is not None:
        sure = latest.confidence.get(rule["dimension"], 0.0)
        if rule["dimension"] not in latest.probability:
            why_not = f"the decoder does not predict {rule['dimension']}"
        elif sure < rule["min_confidence"]:
            why_not = f"the confidence is {sure:.2f}"
    if why_not or latest is None:
        decision, memory = _without(rule, memory, inputs, why_not)
    else:
        if latest.time_seconds != memory["seen_seconds"]:
            memory = _take(rule, memory, latest.probability[rule["dimension"]])
        memory |= {"seen_seconds": latest.time_seconds, "good_seconds": inputs.time_seconds}
        where = "in" if memory["inside"] else "outside"
        reason = (
            f"{rule['output']}: {rule['dimension']} {memory['smooth']:.2f} is {where} the zone "
            f"{rule['low']:g} to {rule['high']:g}"
        )
        decision = Decision("feedback", inputs.stimulus, memory["value"], reason)
    return decision, state.remember(hold=memory)


def _take(rule: Any, memory: dict[str, Any], probability: float) -> dict[str, Any]:
    """Return the memory after one more prediction."""
    before, keep = memory["smooth"], rule["smoothing"]
    smooth = probability if before is None else keep * before + (1.0 - keep) * probability
    outside = max(rule["low"] - smooth, smooth - rule["high"], 0.0)
    inside = outside <= (rule["hysteresis"] if memory["inside"] else 0.0)
    value = 1.0 if inside else max(0.0, 1.0 - outside / rule["falloff"])
    return {**memory, "smooth": smooth, "inside": inside, "value": value}


def _without(
    rule: Any, memory: dict[str, Any], inputs: DecisionInputs, why_not: str
) -> tuple[Decision, dict[str, Any]]:
    """Return the feedback where there is no usable prediction."""
    good = memory["good_seconds"]
    if good is not None and inputs.time_seconds - good <= rule["hold_seconds"]:
        reason = f"no usable evidence ({why_not}): stays as it was"
        return Decision("feedback", inputs.stimulus, memory["value"], reason), memory
    reason = f"no usable evidence ({why_not}): neutral"
    memory = {**_START, "trial": inputs.trial}
    return Decision("feedback", inputs.stimulus, rule["neutral"], reason), memory
