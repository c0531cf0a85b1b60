"""What a policy is told and what it decides: plain values that JSON holds exactly."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from physioemo.prediction import Prediction

__all__ = [
    "MOMENTS",
    "Decision",
    "DecisionInputs",
    "LatestPrediction",
    "PredictionSummary",
    "blinded",
    "summarise",
]

MOMENTS = ("choose", "during")


@dataclass(frozen=True)
class Decision:
    """What happens next.

    Parameters
    ----------
    action : {"play", "skip", "stop", "feedback"}
        Show `stimulus` (or let it go on), leave out the trial (or end it), end the session, set
        the feedback to `value`.
    stimulus : str
        Id of the stimulus, empty where there is none.
    value : float or None
        Of the feedback, 0 to 1.
    reason : str
        In words, from what it was decided.
    """

    action: str
    stimulus: str = ""
    value: float | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "Decision":
        """Return the decision that :meth:`to_dict` wrote."""
        return cls(**table)


def blinded(decision: Decision) -> Decision:
    """Return a decision without its reason, which would tell the arm."""
    return replace(decision, reason="hidden: the session is blinded")


@dataclass(frozen=True)
class PredictionSummary:
    """The predictions of one trial.

    Parameters
    ----------
    probability, confidence : mapping of str to float
        Means over the predictions that were used, by dimension; empty without any.
    n_used, n_abstained, n_stale : int
        How many counted, how many abstained, and how many came too late to count.
    """

    probability: Mapping[str, float] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)
    n_used: int = 0
    n_abstained: int = 0
    n_stale: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            **vars(self),
            "probability": dict(self.probability),
            "confidence": dict(self.confidence),
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "PredictionSummary":
        """Return the summary that :meth:`to_dict` wrote."""
        return cls(**table)


@dataclass(frozen=True)
class LatestPrediction:
    """The newest prediction.

    Parameters
    ----------
    time_seconds : float
        Of its newest sample, on the clock of the inputs.
    probability, confidence : mapping of str to float
        By dimension.
    abstain : bool
        Whether the decoder abstained.
    """

    time_seconds: float
    probability: Mapping[str, float]
    confidence: Mapping[str, float]
    abstain: bool

    @classmethod
    def of(cls, prediction: Prediction) -> "LatestPrediction":
        """Return what a policy is told of a prediction."""
        return cls(
            time_seconds=float(prediction.time_seconds),
            probability={k: float(v) for k, v in prediction.probability.items()},
            confidence={k: float(v) for k, v in prediction.confidence.items()},
            abstain=bool(prediction.abstain),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            **vars(self),
            "probability": dict(self.probability),
            "confidence": dict(self.confidence),
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "LatestPrediction":
        """Return the prediction that :meth:`to_dict` wrote."""
        return cls(**table)


@dataclass(frozen=True)
class DecisionInputs:
    """Everything that a decision may depend on, besides the policy's state.

    Parameters
    ----------
    trial : int
        The trial that is about to be shown, or that is running.
    time_seconds : float
        Session time of the question.
    moment : {"choose", "during"}
        Before a trial, or while one runs.
    stimulus : str
        What is planned for the trial, or running; empty where the policy chooses.
    candidates : tuple of str
        Ids to choose from; all that the policy knows if empty.
    last_trial : int
        The trial that was shown last, whatever block it was in; 0 for none.
    last_stimulus : str
        Its stimulus.
    predictions : PredictionSummary
        Of `last_trial` before a trial, of the trial so far while one runs.
    latest : LatestPrediction or None
        The newest prediction of a running trial.
    ratings : mapping of str to mapping of str to float
        All ratings so far on their scale from 1 to 9, by trial number (as text) and dimension.
    trial_seconds : float
        Time since the running trial's onset.
    model_id : str
        Which weights made the predictions.
    """

    trial: int
    time_seconds: float
    moment: str = "choose"
    stimulus: str = ""
    candidates: tuple[str, ...] = ()
    last_trial: int = 0
    last_stimulus: str = ""
    predictions: PredictionSummary = field(default_factory=PredictionSummary)
    latest: LatestPrediction | None = None
    ratings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    trial_seconds: float = 0.0
    model_id: str = ""

    @property
    def last_rating(self) -> Mapping[str, float]:
        """The ratings of the last trial."""
        return self.ratings.get(str(self.last_trial), {})

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            **vars(self),
            "candidates": list(self.candidates),
            "predictions": self.predictions.to_dict(),
            "latest": self.latest.to_dict() if self.latest else None,
            "ratings": {k: dict(v) for k, v in self.ratings.items()},
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "DecisionInputs":
        """Return the inputs that :meth:`to_dict` wrote."""
        latest = table["latest"]
        fields = {
            **table,
            "candidates": tuple(table["candidates"]),
            "predictions": PredictionSummary.from_dict(table["predictions"]),
            "latest": LatestPrediction.from_dict(latest) if latest else None,
        }
        return cls(**fields)


def summarise(
    predictions: Iterable[tuple[Prediction, float]], *, max_age_seconds: float
) -> PredictionSummary:
    """Return the summary of a trial's predictions.

    Parameters
    ----------
    predictions : iterable of (Prediction, float)
        Each with the time in seconds when it arrived, on its own clock.
    max_age_seconds : float
        One whose newest sample was older on arrival is stale: counted, and used for nothing.
    """
    used: list[Prediction] = []
    n_abstained = n_stale = 0
    for prediction, arrived in predictions:
        if prediction.abstain:
            n_abstained += 1
        elif not arrived - prediction.time_seconds <= max_age_seconds:
            n_stale += 1
        else:
            used.append(prediction)
    names = tuple(used[0].probability) if used else ()
    return PredictionSummary(
        probability={d: _mean([p.probability[d] for p in used]) for d in names},
        confidence={d: _mean([p.confidence[d] for p in used]) for d in names},
        n_used=len(used),
        n_abstained=n_abstained,
        n_stale=n_stale,
    )


def _mean(values: list[float]) -> float:
    return float(sum(values)) / len(values)  # in order, so that recomputing gives the same bits
