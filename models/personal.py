"""Personal calibration: a new participant's own offset and scale from their first ratings.

``rating = pivot + bias + scale · (prediction − pivot)``, for probabilities the same of logits. Bias
and scale are shrunken to what is usual by a prior from other people
(:mod:`physioemo.models.personal_prior`): for values the posterior mean in closed form (Lindley &
Smith 1972, J. R. Stat. Soc. B 34:1-41), for probabilities the posterior mode, by Newton's method.

Everything is pure: a state is an argument and a result, and computed in Python's floats in the
order of the ratings. So a session that is recomputed offline gives the same bits, and the state
goes through JSON without a change. A state refuses to predict a trial that it was fitted to, so a
rating cannot reach its own prediction.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from physioemo.errors import CallError, CheckpointError, SignalError
from physioemo.models.personal_line import posterior_mean, posterior_mode, sigmoid
from physioemo.models.personal_prior import KINDS, PersonalPrior, to_logit
from physioemo.prediction import Prediction

__all__ = [
    "PersonalState",
    "TrialPrediction",
    "adjust",
    "adjust_in_order",
    "adjust_prediction",
    "personal_line",
    "start_personal",
    "update",
]

_FORMAT = 1


@dataclass(frozen=True)
class TrialPrediction:
    """What the model said of a whole trial, before it was rated and without this module.

    Parameters
    ----------
    trial : str
        Its name, unique for the participant.
    values : mapping of str to float
        By dimension: a value, or the probability of the high class (a mean over windows).
    """

    trial: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class PersonalState:
    """What is known of one participant.

    Parameters
    ----------
    kind : {"value", "probability"}
        What is predicted.
    priors : mapping of str to PersonalPrior
        By dimension.
    rated : tuple of (trial, {dimension: (prediction, rating)})
        The ratings so far, in their order.
    """

    kind: str
    priors: Mapping[str, PersonalPrior]
    rated: tuple[tuple[str, Mapping[str, tuple[float, float]]], ...] = ()

    @property
    def trials(self) -> tuple[str, ...]:
        """Trials that it was fitted to."""
        return tuple(trial for trial, _ in self.rated)

    def to_json(self) -> str:
        """Return the state as JSON text, every number exact."""
        content = {
            "format": _FORMAT,
            "kind": self.kind,
            "priors": {d: asdict(p) for d, p in self.priors.items()},
            "rated": [[t, {d: list(pair) for d, pair in r.items()}] for t, r in self.rated],
        }
        return json.dumps(content, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "PersonalState":
        """Return the state that :meth:`to_json` wrote.

        Raises
        ------
        CheckpointError
            If it is something else, or of a newer format.
        """
        try:
            content = json.loads(text)
            if content["format"] != _FORMAT or content["kind"] not in KINDS:
                raise ValueError(f"format {content['format']!r}, kind {content['kind']!r}")
            priors = {d: PersonalPrior.from_dict(p) for d, p in content["priors"].items()}
            rated = tuple(
                (str(t), {d: (float(p), float(r)) for d, (p, r) in pairs.items() if d in priors})
                for t, pairs in content["rated"]
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"found a personal state that cannot be read ({error!r:.120}), expected what "
                "to_json wrote; start a new one or copy it again"
            ) from error
        return cls(content["kind"], priors, rated)


def start_personal(kind: str, priors: Mapping[str, PersonalPrior]) -> PersonalState:
    """Return the state before the first rating.

    Parameters
    ----------
    kind : {"value", "probability"}
        What is predicted.
    priors : mapping of str to PersonalPrior
        By dimension; others are passed through unchanged.

    Raises
    ------
    CallError
        If the kind is not known or there is no dimension.
    """
    if kind not in KINDS or not priors:
        raise CallError(
            f"found the kind {kind!r} with {len(priors)} priors, expected one of "
            f"{', '.join(KINDS)} and one prior or more"
        )
    return PersonalState(kind, dict(priors))


def update(
    state: PersonalState, prediction: TrialPrediction, rating: Mapping[str, float]
) -> PersonalState:
    """Return the state after one more rated trial.

    Parameters
    ----------
    state : PersonalState
        Stays as it is.
    prediction : TrialPrediction
        What the model said, without personal calibration.
    rating : mapping of str to float
        By dimension; a dimension that is not there, or NaN, was not rated. 0 or 1 for
        probabilities.

    Raises
    ------
    CallError
        If the trial was given before.
    SignalError
        If a number is not finite or out of its range.
    """
    if prediction.trial in state.trials:
        raise CallError(
            f"found a second rating of trial {prediction.trial!r}, expected one for each trial; "
            "name every trial differently"
        )
    pairs = {}
    for dimension in state.priors:
        said, rated = prediction.values.get(dimension), rating.get(dimension)
        if rated is None or math.isnan(rated):
            continue
        pairs[dimension] = _checked_pair(state.kind, dimension, said, float(rated))
    return replace(state, rated=(*state.rated, (prediction.trial, pairs)))


def adjust(state: PersonalState, values: Mapping[str, float], *, trial: str) -> dict[str, float]:
    """Return predictions as this participant would rate them.

    Parameters
    ----------
    state : PersonalState
        Fitted to other trials.
    values : mapping of str to float
        By dimension: of a trial or of one of its windows.
    trial : str
        Of which trial.

    Raises
    ------
    CallError
        If the state was fitted to that trial.
    SignalError
        If a prediction is not finite or out of its range.
    """
    if trial in state.trials:
        raise CallError(
            f"found a prediction of trial {trial!r} with a state that was fitted to its rating, "
            "expected another trial; use the state from before that rating"
        )
    adjusted = dict(values)
    for dimension, prior in state.priors.items():
        if dimension not in values:
            continue
        said, _ = _checked_pair(state.kind, dimension, values[dimension], 0.0)
        bias, scale = personal_line(state, dimension)
        x = to_logit(said) if state.kind == "probability" else said
        moved = prior.pivot + bias + scale * (x - prior.pivot)
        adjusted[dimension] = sigmoid(moved) if state.kind == "probability" else moved
    return adjusted


def adjust_prediction(state: PersonalState, prediction: Prediction, *, trial: str) -> Prediction:
    """Return a decoder's prediction as this participant would rate it.

    One that abstains is returned as it is.

    Raises
    ------
    CallError
        If the state is not one of probabilities, or was fitted to that trial.
    """
    if state.kind != "probability":
        raise CallError(
            f"found a personal state of kind {state.kind!r}, expected 'probability' for a "
            "prediction of classes"
        )
    high = adjust(state, prediction.probability, trial=trial)
    if prediction.abstain:
        return prediction
    confidence = {d: max(p, 1 - p) for d, p in high.items()}
    return replace(prediction, probability=high, confidence=confidence)


def adjust_in_order(
    state: PersonalState, trials: Iterable[tuple[TrialPrediction, Mapping[str, float]]]
) -> tuple[list[dict[str, float]], PersonalState]:
    """Adjust each trial with the ratings before it, as in the session: the fold of the two verbs.

    Parameters
    ----------
    state : PersonalState
        At the beginning.
    trials : iterable of (TrialPrediction, mapping)
        What was said and what was rated, in the order of the session.

    Returns
    -------
    adjusted : list of dict
        One per trial.
    state : PersonalState
        After the last.
    """
    adjusted = []
    for prediction, rating in trials:
        adjusted.append(adjust(state, prediction.values, trial=prediction.trial))
        state = update(state, prediction, rating)
    return adjusted, state


def personal_line(state: PersonalState, dimension: str) -> tuple[float, float]:
    """Return the participant's bias and scale, shrunken to what is usual.

    Parameters
    ----------
    state : PersonalState
        Without ratings, the prior's means.
    dimension : str
        One with a prior.
    """
    prior = state.priors[dimension]
    pairs = [r[dimension] for _, r in state.rated if dimension in r]
    if state.kind == "value":
        return posterior_mean(pairs, prior)
    return posterior_mode([(to_logit(p), r) for p, r in pairs], prior)


def _checked_pair(
    kind: str, dimension: str, said: float | None, rated: float
) -> tuple[float, float]:
    fits = said is not None and math.isfinite(said) and math.isfinite(rated)
    if fits and kind == "probability":
        fits = 0 <= said <= 1 and rated in (0.0, 1.0)  # type: ignore[operator]
    if not fits or said is None:
        expected = "a probability and a rating of 0 or 1" if kind == "probability" else "numbers"
        raise SignalError(
            f"found the prediction {said} and the rating {rated} of {dimension}, expected finite "
            f"{expected}"
        )
    return float(said), rated
