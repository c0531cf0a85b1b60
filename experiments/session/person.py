"""The decoder fitted to the participant of a session, rating by rating."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from physioemo.experiments.session.declaration import Calibration
from physioemo.experiments.session.hearing import Heard
from physioemo.models.personal import (
    PersonalState,
    TrialPrediction,
    adjust,
    adjust_prediction,
    personal_line,
    start_personal,
    update,
)
from physioemo.models.personal_prior import PersonalPrior

__all__ = ["Person"]

# Logits: people differ by about one in where they draw the line, and half as much in how far
# their answers go; weak enough for twenty ratings to speak against it.
_BIAS_SD, _SCALE_SD = 1.0, 0.5
_MIDDLE = 5.0


@dataclass(frozen=True)
class Person:
    """What is known of the participant so far; every rating returns the next.

    Parameters
    ----------
    calibration : Calibration or None
        When it is applied; None never.
    state : PersonalState
        The ratings so far.
    n_right, n_right_before : mapping of str to int
        Trials whose side was predicted rightly, by the decoder as fitted at that time and without;
        each trial by what was known before its rating.
    n_rated : mapping of str to int
        Of so many.
    """

    calibration: Calibration | None
    state: PersonalState
    n_right: Mapping[str, int] = field(default_factory=dict)
    n_right_before: Mapping[str, int] = field(default_factory=dict)
    n_rated: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def start(cls, calibration: Calibration | None, dimensions: tuple[str, ...]) -> "Person":
        """Return the state before the first rating."""
        scale = _SCALE_SD if calibration and calibration.method == "bias-and-scale" else 0.0
        prior = PersonalPrior(bias_sd=_BIAS_SD, scale_sd=scale)
        return cls(calibration, start_personal("probability", dict.fromkeys(dimensions, prior)))

    @property
    def is_applied(self) -> bool:
        """Whether there are enough ratings."""
        return self.calibration is not None and (
            len(self.state.trials) >= self.calibration.after_trials
        )

    def adjusted(self, heard: Heard, trial: int) -> Heard:
        """Return a prediction as this participant would rate it."""
        if not self.is_applied or str(trial) in self.state.trials:
            return heard
        return replace(
            heard, prediction=adjust_prediction(self.state, heard.prediction, trial=str(trial))
        )

    def learn(
        self, trial: int, probability: Mapping[str, float], rating: Mapping[str, float]
    ) -> "Person":
        """Return what is known after one more rated trial.

        Parameters
        ----------
        trial : int
            Its number.
        probability : mapping of str to float
            Mean probability of the high class over its predictions, as the decoder gave it.
        rating : mapping of str to float
            From 1 to 9; the middle is neither high nor low, and is left out.
        """
        rated = {
            d: float(rating[d] > _MIDDLE)
            for d in self.state.priors
            if d in rating and d in probability and rating[d] != _MIDDLE
        }
        if not rated:
            return self
        fitted = adjust(self.state, probability, trial=str(trial)) if self.is_applied else None
        right, before, n = dict(self.n_right), dict(self.n_right_before), dict(self.n_rated)
        for d, high in rated.items():
            said = (fitted or probability)[d]
            right[d] = right.get(d, 0) + int((said > 0.5) == bool(high))
            before[d] = before.get(d, 0) + int((probability[d] > 0.5) == bool(high))
            n[d] = n.get(d, 0) + 1
        state = update(self.state, TrialPrediction(str(trial), dict(probability)), rated)
        return Person(self.calibration, state, right, before, n)

    def told(self) -> dict[str, Any]:
        """Return what the operator and the recording are told."""
        lines = {d: personal_line(self.state, d) for d in self.state.priors}
        return {
            "n_rated": len(self.state.trials),
            "applied": self.is_applied,
            "bias": {d: line[0] for d, line in lines.items()},
            "scale": {d: line[1] for d, line in lines.items()},
            "accuracy_before": self._share(self.n_right_before),
            "accuracy_after": self._share(self.n_right),
        }

    def _share(self, right: Mapping[str, int]) -> dict[str, float]:
        return {d: right[d] / n for d, n in self.n_rated.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            "state": self.state.to_json(),
            "n_right": dict(self.n_right),
            "n_right_before": dict(self.n_right_before),
            "n_rated": dict(self.n_rated),
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], calibration: Calibration | None) -> "Person":
        """Return what :meth:`to_dict` wrote."""
        state = PersonalState.from_json(table["state"])
        counts = [dict(table[name]) for name in ("n_right", "n_right_before", "n_rated")]
        return cls(calibration, state, *counts)
