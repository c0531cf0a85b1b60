"""The trial that was finished last: its predictions, and what policies are told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from physioemo.experiments.session.decisions import PredictionSummary, summarise
from physioemo.experiments.session.hearing import Heard

__all__ = ["LastTrial", "summary_of", "trial_predictions"]


@dataclass(frozen=True)
class LastTrial:
    """The trial that was finished last, if there was one.

    Parameters
    ----------
    trial : int
        Its number, 0 for none.
    stimulus : str
        What was shown.
    summary : PredictionSummary
        What was predicted, as fitted to the participant at that time.
    """

    trial: int = 0
    stimulus: str = ""
    summary: PredictionSummary = field(default_factory=PredictionSummary)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {**vars(self), "summary": self.summary.to_dict()}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "LastTrial":
        """Return what :meth:`to_dict` wrote."""
        return cls(**{**table, "summary": PredictionSummary.from_dict(table["summary"])})


def trial_predictions(heard: list[Heard], start_seconds: float, stop_seconds: float) -> list[Heard]:
    """Return the predictions whose newest sample lies in a stretch."""
    return [h for h in heard if start_seconds < h.prediction.time_seconds <= stop_seconds]


def summary_of(heard: list[Heard], max_age_seconds: float) -> PredictionSummary:
    """Return the summary of predictions as policies are told it."""
    pairs = [(h.prediction, h.arrived_seconds) for h in heard]
    return summarise(pairs, max_age_seconds=max_age_seconds)
