"""A participant and a decoder that are programs: known truth for policies. Everything is simulated.

The participant has a hidden valence and arousal, -1 to 1 and beyond, that relax with inertia to
what the running stimulus does to this one person, with noise of their own (an Ornstein-Uhlenbeck
process). The decoder sees them with a stated accuracy and says calibrated probabilities.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from physioemo.experiments.session.policy_state import Candidate
from physioemo.prediction import Prediction

__all__ = ["NoisyDecoder", "SimulatedParticipant", "Traits", "draw_traits"]

_AFFECT = ("valence", "arousal")
_BUFFER = 1024
_REFERENCE_SD = 0.5
_RATING_SD = 0.2


@dataclass(frozen=True)
class Traits:
    """What a simulated participant is like.

    Parameters
    ----------
    gain : float
        How strongly they answer to what the pool expects.
    own : mapping of str to mapping of str to float
        What each stimulus evokes in them besides, by id and dimension.
    inertia_seconds : float
        Time constant with which their state follows.
    noise : float
        Standard deviation of the state around what a stimulus evokes.
    """

    gain: float
    own: Mapping[str, Mapping[str, float]]
    inertia_seconds: float
    noise: float


def draw_traits(
    stimuli: Sequence[Candidate],
    rng: np.random.Generator,
    *,
    gain: float = 0.8,
    gain_sd: float = 0.2,
    own_sd: float = 0.5,
    inertia_seconds: tuple[float, float] = (2.0, 6.0),
    noise: float = 0.25,
) -> Traits:
    """Return a new participant.

    Parameters
    ----------
    stimuli : sequence of Candidate
        What can be shown.
    rng : numpy Generator
        Draws them.
    gain, gain_sd : float
        Over participants.
    own_sd : float
        How much participants differ in what one stimulus evokes.
    inertia_seconds : (float, float)
        Shortest and longest.
    noise : float
        Of the state.
    """
    return Traits(
        gain=float(rng.normal(gain, gain_sd)),
        own={
            s.id: dict(zip(_AFFECT, rng.normal(0.0, own_sd, len(_AFFECT)).tolist(), strict=True))
            for s in stimuli
        },
        inertia_seconds=float(rng.uniform(*inertia_seconds)),
        noise=noise,
    )


class SimulatedParticipant:
    """A hidden state that reacts to stimuli.

    Parameters
    ----------
    traits : Traits
        What they are like.
    stimuli : sequence of Candidate
        What can be shown.
    effect : float
        0: no stimulus does anything; 1: each does all that the traits say.
    rng : numpy Generator
        The noise.
    """

    simulated = True

    def __init__(
        self,
        traits: Traits,
        stimuli: Sequence[Candidate],
        *,
        effect: float,
        rng: np.random.Generator,
    ) -> None:
        self.traits = traits
        self.evoked = {
            s.id: {d: effect * (traits.gain * s.expected(d) + traits.own[s.id][d]) for d in _AFFECT}
            for s in stimuli
        }
        self._normal = _normals(rng)
        self.state = {d: traits.noise * next(self._normal) for d in _AFFECT}

    def live(self, seconds: float, stimulus: str = "") -> dict[str, float]:
        """Let time pass under a stimulus, or under none; return the state at its end."""
        keep = math.exp(-seconds / self.traits.inertia_seconds)
        spread = self.traits.noise * math.sqrt(1.0 - keep * keep)
        evoked = self.evoked.get(stimulus, {})
        self.state = {
            d: (aim := evoked.get(d, 0.0))
            + (self.state[d] - aim) * keep
            + spread * next(self._normal)
            for d in _AFFECT
        }
        return self.state

    def rate(self, felt: Mapping[str, float]) -> dict[str, float]:
        """Return ratings from 1 to 9 of what was felt in a trial."""
        told = {d: felt[d] + _RATING_SD * next(self._normal) for d in _AFFECT}
        return {d: float(min(9, max(1, round(5 + 4 * x)))) for d, x in told.items()}


class NoisyDecoder:
    """Predictions of a hidden state by a decoder of a known accuracy.

    Of a state that is normal around 0 with a standard deviation of 0.5, `accuracy` is the share of
    predictions whose more likely class is the true one. State and what is seen of it correlate
    by sin(pi (accuracy - 1/2)) (Sheppard, 1899), and the probability is the true one given what is
    seen.

    Parameters
    ----------
    accuracy : float
        0.5 (chance) to 1.
    rng : numpy Generator
        The noise.
    common : float
        Share of the noise that all predictions of a trial have in common, 0 to 1.
    abstains : float
        Share of predictions that abstain.
    """

    model_id = "simulated"

    def __init__(
        self,
        accuracy: float,
        rng: np.random.Generator,
        *,
        common: float = 0.5,
        abstains: float = 0.05,
    ) -> None:
        self._correlation = math.sin(math.pi * (accuracy - 0.5))
        self._noise = math.sqrt(max(0.0, 1.0 - self._correlation**2))
        self._common, self._own = math.sqrt(common), math.sqrt(1.0 - common)
        self._abstains = abstains
        self._rng, self._normal = rng, _normals(rng)
        self.begin_trial()

    def begin_trial(self) -> None:
        """Draw the noise that the predictions of the next trial have in common."""
        self._shared = {d: next(self._normal) for d in _AFFECT}

    def predict(self, state: Mapping[str, float], seconds: float) -> Prediction:
        """Return a prediction of a state at a time."""
        probability = {}
        for dimension in _AFFECT:
            noise = self._common * self._shared[dimension] + self._own * next(self._normal)
            seen = self._correlation * state[dimension] / _REFERENCE_SD + self._noise * noise
            z = self._correlation * seen / max(self._noise, 1e-9)
            probability[dimension] = 0.5 * (1.0 + math.erf(z / math.sqrt(2.0)))
        abstain = bool(self._rng.random() < self._abstains)
        return Prediction(
            time_seconds=seconds,
            probability=probability,
            confidence={d: max(p, 1.0 - p) for d, p in probability.items()},
            abstain=abstain,
            reason="simulated" if abstain else "",
            model_id=self.model_id,
        )


def _normals(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.standard_normal(_BUFFER).tolist()
