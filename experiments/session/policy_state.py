"""The state of a policy: what it was set up with, and what it remembers; JSON holds all of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from physioemo.experiments.session.draws import Draws

__all__ = ["Candidate", "PolicyState", "affect_of_probability", "affect_of_rating"]


@dataclass(frozen=True)
class Candidate:
    """A stimulus that a policy may choose.

    Parameters
    ----------
    id : str
        As in the protocol.
    valence, arousal : float
        What it is expected to evoke, -1 to 1.
    """

    id: str
    valence: float
    arousal: float

    def expected(self, dimension: str) -> float:
        """Return what it is expected to evoke on a dimension."""
        return self.valence if dimension == "valence" else self.arousal


@dataclass(frozen=True)
class PolicyState:
    """One policy in one session; every decision returns the next.

    Parameters
    ----------
    policy : str
        Row of :data:`physioemo.experiments.session.policies.POLICIES`.
    parameters : mapping
        All of them, defaults included; texts, numbers and switches.
    seed : int
        Of the session: random choices come from it and the trial number.
    stimuli : tuple of Candidate
        What can be chosen.
    max_age_seconds : float
        Older predictions are stale.
    distress : mapping or None
        Parameters of the distress rule; None without one.
    yoked : tuple of mapping
        Decisions of another session, for a sham.
    memory : mapping
        What it has learnt: the only part that changes.
    """

    policy: str
    parameters: Mapping[str, Any]
    seed: int
    stimuli: tuple[Candidate, ...] = ()
    max_age_seconds: float = 2.0
    distress: Mapping[str, Any] | None = None
    yoked: tuple[Mapping[str, Any], ...] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)

    def remember(self, **changes: Any) -> "PolicyState":
        """Return the state with parts of its memory replaced."""
        return replace(self, memory={**self.memory, **changes})

    def draws(self, trial: int, purpose: str) -> Draws:
        """Return the random numbers of a trial."""
        return Draws(self.seed, self.policy, trial, purpose)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            **vars(self),
            "parameters": dict(self.parameters),
            "stimuli": [asdict(s) for s in self.stimuli],
            "distress": None if self.distress is None else dict(self.distress),
            "yoked": [dict(y) for y in self.yoked],
            "memory": dict(self.memory),
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "PolicyState":
        """Return the state that :meth:`to_dict` wrote."""
        fields = {
            **table,
            "stimuli": tuple(Candidate(**s) for s in table["stimuli"]),
            "yoked": tuple(table["yoked"]),
        }
        return cls(**fields)


def affect_of_probability(probability: float) -> float:
    """Return a probability of the high class as a number from -1 to 1."""
    return 2.0 * probability - 1.0


def affect_of_rating(rating: float) -> float:
    """Return a rating from 1 to 9 as a number from -1 to 1."""
    return (rating - 5.0) / 4.0
