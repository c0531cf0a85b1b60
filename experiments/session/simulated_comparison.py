"""Policies compared on simulated participants: steering must steer, and only where it can."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.session.policies import start_policy
from physioemo.experiments.session.protocol import Protocol, read_protocol
from physioemo.experiments.session.simulated_participant import (
    NoisyDecoder,
    SimulatedParticipant,
    draw_traits,
)
from physioemo.experiments.session.simulation import SimulatedSession, simulate_session
from physioemo.experiments.session.yoke import replayed
from physioemo.experiments.statistics import permutation_p

__all__ = ["SimulatedComparison", "compare_policies", "permutation_of_sessions"]

CONTROLS = ("random", "sham")
_ARMS = ("steer", *CONTROLS)


@dataclass(frozen=True)
class SimulatedComparison:
    """How long the hidden arousal was in the target zone, by policy. Simulated.

    Parameters
    ----------
    shares : mapping of str to tuple of float
        Share of the policy's trials' time in the zone, of every session, by policy.
    p : mapping of str to float
        Of the difference between steering and each control.
    settings : mapping
        What was simulated.
    n_trials : int
        In all.
    """

    shares: Mapping[str, tuple[float, ...]]
    p: Mapping[str, float]
    settings: Mapping[str, Any]
    n_trials: int
    simulated: bool = True

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table, one row for each policy."""
        steering = np.mean(self.shares["steer"])
        return [
            {
                "policy": name,
                "sessions": len(values),
                "in_zone": float(np.mean(values)),
                "sd": float(np.std(values, ddof=1)),
                "steer_minus_it": float(steering - np.mean(values)),
                "p": self.p.get(name, float("nan")),
            }
            for name, values in self.shares.items()
        ]

    def __str__(self) -> str:
        said = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [
            f"simulated participants and decoder ({said})",
            f"{'policy':<8} {'sessions':>8} {'in zone':>9} {'SD':>7} {'steer - it':>11} {'p':>8}",
        ]
        for row in self.rows:
            line = (
                f"{row['policy']:<8} {row['sessions']:>8} {row['in_zone']:>9.3f} {row['sd']:>7.3f}"
            )
            if not math.isnan(row["p"]):
                line += f" {row['steer_minus_it']:>+11.3f} {row['p']:>8.4f}"
            lines.append(line)
        return "\n".join(lines)


def compare_policies(
    *,
    effect: float = 1.0,
    accuracy: float = 0.75,
    n_sessions: int = 40,
    seed: int = 0,
    target: float = 0.6,
    zone: tuple[float, float] = (0.35, 0.85),
    n_permutations: int = 9999,
    protocol: Protocol | None = None,
    n_trials: int | None = None,
) -> SimulatedComparison:
    """Simulate sessions of steering, random and yoked sham, each with a participant of its own.

    A sham session replays what a steering session of another participant chose, so that it has
    the same stimuli as often; only the choice's dependence on the participant is gone. There is no
    distress rule: it would end the sessions of some policies earlier than those of others.

    Parameters
    ----------
    effect : float
        How much stimuli do, 0 to 1.
    accuracy : float
        Of the decoder, 0.5 to 1.
    n_sessions : int
        Of each policy, each of another participant.
    seed : int
        Draws everything.
    target : float
        Arousal that is steered to, -1 to 1.
    zone : (float, float)
        Of the hidden arousal.
    n_permutations : int
        Of sessions among two policies.
    protocol : Protocol, optional
        With adaptive blocks; by default the one that comes with PhysioEmo.
    n_trials : int, optional
        Of its adaptive blocks, if other than declared.

    Raises
    ------
    CallError
        If the numbers make no comparison, or the protocol has no adaptive block.
    """
    if n_sessions < 2 or not 0 <= effect <= 1 or not 0.5 <= accuracy <= 1:
        raise CallError(
            f"found {n_sessions} sessions, effect {effect:g} and accuracy {accuracy:g}, expected "
            "2 or more, 0 to 1 and 0.5 to 1"
        )
    world = _World(_declared(protocol, n_trials), effect, accuracy, seed)
    parameters = {"target_arousal": target}
    steered = [world.session("steer", n, parameters, ()) for n in range(n_sessions)]
    yoked = [replayed(steered[(n + 1) % n_sessions].decisions) for n in range(n_sessions)]
    sessions = {
        "steer": steered,
        "random": [world.session("random", n, {}, ()) for n in range(n_sessions)],
        "sham": [world.session("sham", n, {}, yoked[n]) for n in range(n_sessions)],
    }
    shares = {
        name: tuple(s.share_in_zone("arousal", *zone) for s in made)
        for name, made in sessions.items()
    }
    rng = np.random.default_rng([seed, 99])
    return SimulatedComparison(
        shares=shares,
        p={
            name: permutation_of_sessions(shares["steer"], shares[name], n_permutations, rng)
            for name in CONTROLS
        },
        settings={
            "effect": effect,
            "decoder accuracy": accuracy,
            "target arousal": target,
            "zone": f"{zone[0]:g} to {zone[1]:g}",
            "seed": seed,
        },
        n_trials=sum(len(s.trials) for made in sessions.values() for s in made),
    )


def permutation_of_sessions(
    first: Sequence[float],
    second: Sequence[float],
    n_permutations: int,
    rng: np.random.Generator,
) -> float:
    """Return how often sessions dealt at random differ as much as these, first over second.

    Exact in that a true null hypothesis is refused as often as it says: the session is the unit.
    """
    values = np.concatenate([first, second])
    deals = rng.permuted(np.tile(np.arange(len(values)), (n_permutations, 1)), axis=1)
    part = values[deals[:, : len(first)]].sum(axis=1)
    rest = values.sum() - part
    null = part / len(first) - rest / len(second)
    return permutation_p(float(np.mean(first) - np.mean(second)), null).p


@dataclass(frozen=True)
class _World:
    """What all simulated sessions have in common."""

    protocol: Protocol
    effect: float
    accuracy: float
    seed: int

    def session(
        self,
        policy: str,
        number: int,
        parameters: Mapping[str, Any],
        yoked: Sequence[Mapping[str, Any]],
    ) -> SimulatedSession:
        """Run one session with a new participant."""
        rng = np.random.default_rng([self.seed, _ARMS.index(policy), number])
        names, stimuli = self.protocol.participants, self.protocol.candidates
        steps = self.protocol.plan(names[number % len(names)], self.protocol.sessions[0])
        seed = int(np.random.default_rng([self.seed, number]).integers(2**31))
        state = start_policy(policy, parameters, seed=seed, stimuli=stimuli, yoked=yoked)
        traits = draw_traits(stimuli, rng)
        participant = SimulatedParticipant(traits, stimuli, effect=self.effect, rng=rng)
        seconds_of = {s.id: s.seconds for s in self.protocol.stimuli}
        decoder = NoisyDecoder(self.accuracy, rng)
        return simulate_session(steps, state, participant, decoder, seconds_of=seconds_of)


def _declared(protocol: Protocol | None, n_trials: int | None) -> Protocol:
    """Return the protocol with so many trials in its adaptive blocks."""
    declared = protocol or read_protocol("steer-arousal")
    if not any(b.order == "adaptive" for b in declared.blocks):
        raise CallError(
            f"found no adaptive block in {declared.title!r}, expected one for a policy to choose in"
        )
    if n_trials is None:
        return declared
    blocks = (
        replace(b, n_trials=n_trials) if b.order == "adaptive" else b for b in declared.blocks
    )
    return replace(declared, blocks=tuple(blocks))
