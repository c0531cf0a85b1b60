"""The loop's policies: pure functions of a state and inputs, so that a decision can be recomputed.

``decide(state, inputs) -> (decision, state)`` is all there is: no clock, no global, no file. State,
inputs and decision are JSON, so a recording that holds them proves every decision.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from physioemo.errors import CallError
from physioemo.experiments.session.choosing import (
    RANDOM,
    SHAM,
    STEER,
    play_random,
    play_sham,
    steer,
)
from physioemo.experiments.session.decisions import (
    MOMENTS,
    Decision,
    DecisionInputs,
    LatestPrediction,
    PredictionSummary,
    blinded,
    summarise,
)
from physioemo.experiments.session.distress import DISTRESS, apply_distress_rule
from physioemo.experiments.session.fields import Field, read_fields
from physioemo.experiments.session.hold import HOLD, hold_in_zone
from physioemo.experiments.session.policy_state import Candidate, PolicyState
from physioemo.hints import nearest

__all__ = [
    "POLICIES",
    "Candidate",
    "Decision",
    "DecisionInputs",
    "LatestPrediction",
    "Policy",
    "PolicyState",
    "PredictionSummary",
    "blinded",
    "decide",
    "find_policy",
    "read_parameters",
    "start_policy",
    "summarise",
]

_Decide = Callable[[PolicyState, DecisionInputs], tuple[Decision, PolicyState]]


@dataclass(frozen=True)
class Policy:
    """One row of the table of policies.

    Attributes
    ----------
    function : callable
        Takes a state and inputs; returns a decision and the next state.
    parameters : mapping of str to Field
        Its parameters, with their ranges and defaults.
    title : str
        What it does, in words.
    chooses, feeds_back : bool
        Whether it chooses stimuli, and whether it sets a feedback.
    is_control : bool
        Whether it is there to be compared with.
    """

    function: _Decide
    parameters: Mapping[str, Field]
    title: str
    chooses: bool = False
    feeds_back: bool = False
    is_control: bool = False


POLICIES: dict[str, Policy] = {
    "steer": Policy(steer, STEER, "chooses the stimulus nearest to a target", chooses=True),
    "hold-in-zone": Policy(
        hold_in_zone, HOLD, "feeds back how near a dimension is to a zone", feeds_back=True
    ),
    "random": Policy(
        play_random, RANDOM, "chooses stimuli at random", chooses=True, is_control=True
    ),
    "sham": Policy(
        play_sham,
        SHAM,
        "replays another session",
        chooses=True,
        feeds_back=True,
        is_control=True,
    ),
}
"""Every policy by name."""


def find_policy(name: str) -> Policy:
    """Return a row of the table.

    Raises
    ------
    CallError
        If there is no such policy.
    """
    if name not in POLICIES:
        raise CallError(
            f"found the policy {name!r}, expected one of {', '.join(POLICIES)}"
            f"{nearest(name, POLICIES)}"
        )
    return POLICIES[name]


def read_parameters(
    name: str,
    table: Mapping[str, Any],
    *,
    named: str = "",
    also: tuple[str, ...] = (),
    place: Callable[[str], str] = lambda name: "",
) -> dict[str, Any]:
    """Return all parameters of a policy, those that are not stated by their defaults.

    Parameters
    ----------
    name : str
        Of the policy.
    table : mapping
        What is stated.
    named, also, place
        As for :func:`physioemo.experiments.session.fields.read_fields`.

    Raises
    ------
    CallError
        If one is unknown, wrong, missing or contradicts another.
    """
    named = named or f"the parameters of {name!r}"
    values = read_fields(table, find_policy(name).parameters, named, also=also, place=place)
    if name == "steer" and values["target_valence"] is None and values["target_arousal"] is None:
        raise CallError(
            f"found no target in {named}{place('')}, expected target_valence or target_arousal"
        )
    if name == "hold-in-zone" and values["high"] <= values["low"]:
        raise CallError(
            f"found a zone from {values['low']:g} to {values['high']:g} in {named}"
            f"{place('high')}, expected 'high' above 'low'"
        )
    return values


def start_policy(
    name: str,
    parameters: Mapping[str, Any],
    *,
    seed: int,
    stimuli: Iterable[Candidate] = (),
    max_age_seconds: float = 2.0,
    distress: Mapping[str, Any] | None = None,
    yoked: Iterable[Mapping[str, Any]] = (),
) -> PolicyState:
    """Return the state in which a policy begins a session.

    Parameters
    ----------
    name : str
        Row of :data:`POLICIES`.
    parameters : mapping
        Those that differ from their defaults.
    seed : int
        Random choices come from it and the trial number.
    stimuli : iterable of Candidate
        What can be chosen.
    max_age_seconds : float
        A prediction whose newest sample is older is stale.
    distress : mapping, optional
        Parameters of the distress rule; without it there is none.
    yoked : iterable of mapping
        Decisions of another session, from
        :func:`physioemo.experiments.session.yoke.read_decisions`.

    Raises
    ------
    CallError
        If a parameter is wrong, a policy that chooses has nothing to choose from, or a sham
        nothing to replay.
    """
    values = read_parameters(name, parameters)
    choices, replayed = tuple(stimuli), tuple(dict(y) for y in yoked)
    if POLICIES[name].chooses and not POLICIES[name].feeds_back and not choices:
        raise CallError(f"found no stimuli for the policy {name!r}, expected some to choose from")
    if name == "sham" and not replayed:
        raise CallError("found no recorded decisions for the sham, expected those of a session")
    rule = None if distress is None else read_fields(distress, DISTRESS, "the distress rule")
    return PolicyState(
        policy=name,
        parameters=values,
        seed=seed,
        stimuli=choices,
        max_age_seconds=max_age_seconds,
        distress=rule,
        yoked=replayed,
    )


def decide(state: PolicyState, inputs: DecisionInputs) -> tuple[Decision, PolicyState]:
    """Return what happens next, and the state for the next question.

    The distress rule comes first. Asked before every trial (also before a planned one: the last
    trial is learnt then) and, while a trial runs, after every prediction.

    Raises
    ------
    CallError
        If the moment is unknown.
    """
    if inputs.moment not in MOMENTS:
        raise CallError(f"found the moment {inputs.moment!r}, expected one of {', '.join(MOMENTS)}")
    urgent, state = apply_distress_rule(state, inputs)
    if urgent is not None:
        return urgent, state
    return find_policy(state.policy).function(state, inputs)
