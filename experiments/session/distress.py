"""The distress rule: it comes before every policy and cannot be overruled by one."""

from collections.abc import Mapping
from typing import Any

from physioemo.experiments.session.decisions import Decision, DecisionInputs, LatestPrediction
from physioemo.experiments.session.fields import Field, number, one_of, whole
from physioemo.experiments.session.policy_state import PolicyState

__all__ = ["DISTRESS", "apply_distress_rule", "usable_latest"]

DISTRESS: dict[str, Field] = {
    "action": one_of("skip", "stop", default="stop"),
    "n_consecutive": whole(1, 1000, 3),
    "valence_below": number(0, 1, 0.3),
    "arousal_above": number(0, 1, 0.7),
    "min_confidence": number(0.5, 1, 0.7),
    "rated_valence_at_most": number(1, 9, None),
    "rated_arousal_at_least": number(1, 9, None),
    "stop_after_skips": whole(1, 1000, 3),
}
"""Its parameters; probabilities of the high class, ratings from 1 to 9."""

_START: dict[str, Any] = {"trial": 0, "streak": 0, "seen_seconds": None, "rated": 0, "skips": 0}


def apply_distress_rule(
    state: PolicyState, inputs: DecisionInputs
) -> tuple[Decision | None, PolicyState]:
    """Return the decision to skip or stop, or None, and the next state.

    While a trial runs, `n_consecutive` usable predictions in a row of low valence and high
    arousal, both with confidence, are distress. One that abstains or is stale is no evidence of
    distress and none of calm: it neither counts nor breaks the row. Before a trial, a rating of
    the last one beyond every limit that is stated is distress.
    """
    rule = state.distress
    if rule is None:
        return None, state
    memory = {**_START, **state.memory.get("distress", {})}
    if inputs.moment == "during":
        memory, reason = _from_predictions(rule, memory, state, inputs)
    else:
        memory, reason = _from_ratings(rule, memory, inputs)
    if not reason:
        return None, state.remember(distress=memory)
    action = rule["action"]
    if action == "skip":
        memory["skips"] += 1
        if memory["skips"] >= rule["stop_after_skips"]:
            action, reason = "stop", f"{reason}; trials skipped: {memory['skips']}"
    decision = Decision(action, inputs.stimulus, reason=f"distress rule: {reason}")
    return decision, state.remember(distress=memory)


def usable_latest(
    state: PolicyState, inputs: DecisionInputs
) -> tuple[LatestPrediction | None, str]:
    """Return the newest prediction if it is evidence, or else None and why it is none."""
    latest = inputs.latest
    if latest is None:
        return None, "no prediction yet"
    if latest.abstain:
        return None, "the decoder abstains"
    age = inputs.time_seconds - latest.time_seconds
    if not age <= state.max_age_seconds:
        return None, f"the newest prediction is {age:.1f} s old"
    return latest, ""


def _from_predictions(
    rule: Mapping[str, Any], memory: dict[str, Any], state: PolicyState, inputs: DecisionInputs
) -> tuple[dict[str, Any], str]:
    if memory["trial"] != inputs.trial:
        memory = {**memory, "trial": inputs.trial, "streak": 0}
    latest, _ = usable_latest(state, inputs)
    if latest is None or latest.time_seconds == memory["seen_seconds"]:
        return memory, ""
    memory = {**memory, "seen_seconds": latest.time_seconds}
    if not {"valence", "arousal"} <= set(latest.probability):
        return memory, ""
    valence, arousal = latest.probability["valence"], latest.probability["arousal"]
    sure = min(latest.confidence.get(d, 0.0) for d in ("valence", "arousal"))
    distressed = valence < rule["valence_below"] and arousal > rule["arousal_above"]
    memory["streak"] = memory["streak"] + 1 if distressed and sure >= rule["min_confidence"] else 0
    if memory["streak"] < rule["n_consecutive"]:
        return memory, ""
    reason = (
        f"{memory['streak']} predictions in a row of low valence and high arousal (now "
        f"{valence:.2f} and {arousal:.2f})"
    )
    return {**memory, "streak": 0}, reason


def _from_ratings(
    rule: Mapping[str, Any], memory: dict[str, Any], inputs: DecisionInputs
) -> tuple[dict[str, Any], str]:
    if inputs.last_trial <= memory["rated"] or not inputs.last_rating:
        return memory, ""
    memory = {**memory, "rated": inputs.last_trial}
    given, beyond = inputs.last_rating, []
    lowest, highest = rule["rated_valence_at_most"], rule["rated_arousal_at_least"]
    if lowest is not None:
        beyond.append("valence" in given and given["valence"] <= lowest)
    if highest is not None:
        beyond.append("arousal" in given and given["arousal"] >= highest)
    if not beyond or not all(beyond):
        return memory, ""
    rated = ", ".join(f"{d} {given[d]:g}" for d in ("valence", "arousal") if d in given)
    return memory, f"trial {inputs.last_trial} was rated {rated}"
