"""How far a fused decoder may be trusted: when it says nothing, and sets that hold the truth.

A share of the training's trials is neither learned from nor used for stopping or the temperature:
on these alone the threshold of silence and the conformal sets and intervals are fitted. The
threshold is one for all dimensions, because a prediction is silent as a whole: of the answers that
are given, in all dimensions together, at most the wanted share is wrong. See
:mod:`physioemo.models.abstention` and :mod:`physioemo.models.conformal` for the promises.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.hints import unknown_name
from physioemo.models.abstention import AbstentionRule, abstain_where_unsure, fit_abstention
from physioemo.models.conformal import COVERS, Conformal, fit_intervals, fit_sets
from physioemo.prediction import Prediction

__all__ = [
    "CLASSES",
    "Calibration",
    "Trust",
    "TrustChoice",
    "fit_trust",
    "require_enough_groups",
]

CLASSES = ("low", "high")
"""Names of the classes, in their order."""

_DEFAULT_RISK, _DEFAULT_COVERAGE = 0.25, 0.8
_GRID_STEPS = 25
_LARGEST_SHARE = 0.5
_ROUNDING = 1e-9


@dataclass(frozen=True)
class TrustChoice:
    """What is wanted of a decoder's trust.

    With neither a risk nor a coverage both are tried with their defaults (0.25 and 0.8), and what
    is not possible is noted. What is named is promised, or training fails.

    Parameters
    ----------
    risk : float, optional
        Highest share of wrong answers; the decoder is silent where it is not sure enough.
    certainty : float
        Probability with which the risk holds.
    thresholds : tuple of float
        Confidences to choose the threshold from; 25 from 0.5 to 0.98 where none are given. Fewer
        need fewer trials.
    coverage : float, optional
        Share of windows of new trials whose truth lies in the set of classes (and in the interval,
        where ratings are predicted).
    cover : {"window", "group"}
        Whether a window of a new trial is covered that often, or all of its windows together.
    calibration_share : float
        Share of the training's groups of trials that is held out for this, at most a half.

    Raises
    ------
    CallError
        If a value is out of its range or a name is not known.
    """

    risk: float | None = None
    certainty: float = 0.9
    thresholds: tuple[float, ...] = ()
    coverage: float | None = None
    cover: str = "window"
    calibration_share: float = 0.25

    def __post_init__(self) -> None:
        if self.cover not in COVERS:
            raise unknown_name("cover =", self.cover, COVERS)
        for name in ("risk", "certainty", "coverage"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise CallError(f"found {name} = {value}, expected above 0 and below 1")
        if not 0 < self.calibration_share <= _LARGEST_SHARE:
            raise CallError(
                f"found calibration_share = {self.calibration_share}, expected above 0 and at "
                f"most {_LARGEST_SHARE:g}"
            )
        if not all(_LARGEST_SHARE <= t < 1 for t in self.thresholds):
            raise CallError(
                f"found thresholds = {list(self.thresholds)}, expected confidences of two classes: "
                "from 0.5 to below 1"
            )

    @property
    def is_asked(self) -> bool:
        """Whether a risk or a coverage was named, which then must be possible."""
        return self.risk is not None or self.coverage is not None

    @property
    def wanted_risk(self) -> float | None:
        """The risk to promise; None for none."""
        return self.risk if self.is_asked else _DEFAULT_RISK

    @property
    def wanted_coverage(self) -> float | None:
        """The coverage to promise; None for none."""
        return self.coverage if self.is_asked else _DEFAULT_COVERAGE

    @property
    def fewest_groups(self) -> int:
        """Groups without which nothing of this can be promised, however good the model is."""
        least = 1
        if self.wanted_coverage is not None:
            c = self.wanted_coverage
            least = math.ceil(c / (1 - c) - _ROUNDING)
        if self.wanted_risk is not None:
            level = (1 - self.certainty) / (len(self.thresholds) or _GRID_STEPS)
            flawless = math.log(level) / math.log(1 - self.wanted_risk)
            least = max(least, math.ceil(flawless - _ROUNDING))
        return least


@dataclass(frozen=True)
class Trust:
    """What was fitted, and what could not be.

    Parameters
    ----------
    n_groups : int
        Calibration groups.
    rule : AbstentionRule, optional
        When the decoder is silent.
    sets : Conformal, optional
        Which classes are possible.
    intervals : Conformal, optional
        Between what the rating lies, on the head's scale.
    notes : tuple of str
        What was not possible, and why.
    """

    n_groups: int
    rule: AbstentionRule | None = None
    sets: Conformal | None = None
    intervals: Conformal | None = None
    notes: tuple[str, ...] = ()

    def why_silent(self, prediction: Prediction) -> str:
        """Return why a prediction may not be said: which confidence is too low; else nothing."""
        if self.rule is None:
            return ""
        rules = dict.fromkeys(prediction.probability, self.rule)
        return abstain_where_unsure(prediction, rules, prediction.probability).reason

    def classes(self, prediction: Prediction) -> dict[str, tuple[str, ...]]:
        """Return the classes of each dimension that are possible."""
        possible = self.possible(np.array([list(prediction.probability.values())]))[0]
        return {
            dimension: tuple(c for c, there in zip(CLASSES, row, strict=True) if there)
            for dimension, row in zip(prediction.probability, possible.tolist(), strict=True)
        }

    def possible(self, high: np.ndarray) -> np.ndarray:
        """Return which classes are possible, bool, shape (window, dimension, class).

        Parameters
        ----------
        high : ndarray, shape (window, dimension)
            Probability of the high class.
        """
        if self.sets is None:
            return np.ones((*high.shape, len(CLASSES)), bool)
        return self.sets.sets(np.stack([1 - high, high], axis=-1))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Trust":
        """Return what :meth:`to_dict` gave; a field that is not known is an error."""
        rule, sets, intervals = (content[k] for k in ("rule", "sets", "intervals"))
        return cls(
            **{
                **content,
                "rule": None if rule is None else AbstentionRule(**rule),
                "sets": None if sets is None else Conformal.from_dict(sets),
                "intervals": None if intervals is None else Conformal.from_dict(intervals),
                "notes": tuple(content["notes"]),
            }
        )


@dataclass(frozen=True)
class Calibration:
    """What a model said of windows that it has not seen, beside the truth.

    Parameters
    ----------
    high : ndarray, shape (window, dimension)
        Probability of the high class.
    abstain : ndarray of bool, shape (window,)
        Where it had nothing to go by.
    labels : ndarray of int, shape (window, dimension)
        -1 is missing.
    groups : ndarray, shape (window,)
        Which windows belong together.
    mean, sd, ratings : ndarray, shape (window, dimension), optional
        Predicted and true ratings, where the decoder predicts any; NaN is not rated.
    emotions : ndarray, shape (window, emotion), optional
        Probability of named emotions, where the decoder says any.
    """

    high: np.ndarray
    abstain: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    mean: np.ndarray | None = None
    sd: np.ndarray | None = None
    ratings: np.ndarray | None = None
    emotions: np.ndarray | None = None


def require_enough_groups(choice: TrustChoice, n_groups: int, n_held_out: int) -> None:
    """Refuse a promise that was named and that so few groups can never keep, before training.

    Parameters
    ----------
    choice : TrustChoice
        What is wanted.
    n_groups, n_held_out : int
        Groups of trials of the training, and how many of them are held out for calibration.

    Raises
    ------
    DataError
        If there are too few.
    """
    if choice.is_asked and n_held_out < choice.fewest_groups:
        wanted = [
            f"{what} of {value:g}"
            for what, value in (("a coverage", choice.coverage), ("a risk", choice.risk))
            if value is not None
        ]
        raise DataError(
            f"found {n_held_out} groups of trials to calibrate on (of {n_groups}), expected at "
            f"least {choice.fewest_groups} for {' and '.join(wanted)}; record more trials, raise "
            "calibration_share, ask for less, or name neither and take what is possible"
        )


def fit_trust(
    choice: TrustChoice, found: Calibration, *, training_groups: np.ndarray, strict: bool
) -> Trust:
    """Fit what is wanted on windows of groups of their own.

    Parameters
    ----------
    choice : TrustChoice
        What is wanted.
    found : Calibration
        Of the calibration windows.
    training_groups : ndarray, shape (window,)
        Groups that were trained on; they must not be among the calibration's.
    strict : bool
        Whether what was named and is not possible is an error; else it is noted.

    Raises
    ------
    DataError
        If what was named is not possible.
    """
    seen = ~found.abstain
    apart = {"training_groups": training_groups.tolist(), "test_groups": None}
    groups = found.groups[seen].astype(str)
    fitted: dict[str, Any] = {}
    notes: list[str] = []

    def attempt(name: str, fit: Any) -> None:
        try:
            fitted[name] = fit()
        except DataError as error:
            if strict and choice.is_asked:
                raise
            notes.append(str(error))

    coverage, risk = choice.wanted_coverage, choice.wanted_risk
    if coverage is not None:
        how = {"coverage": coverage, "cover": choice.cover, "calibration_groups": groups, **apart}
        high = found.high[seen]
        shares = np.stack([1 - high, high], axis=-1)
        attempt("sets", lambda: fit_sets(shares, found.labels[seen], **how))
        if found.mean is not None and found.sd is not None and found.ratings is not None:
            mean, sd, ratings = found.mean[seen], found.sd[seen], found.ratings[seen]
            attempt("intervals", lambda: fit_intervals(mean, ratings, sd=sd, **how))
    if risk is not None:
        attempt("rule", lambda: _fit_rule(choice, risk, found, apart))
    return Trust(n_groups=len(set(groups.tolist())), notes=tuple(notes), **fitted)


def _fit_rule(
    choice: TrustChoice, risk: float, found: Calibration, apart: Mapping[str, Any]
) -> AbstentionRule:
    """Fit one threshold for all dimensions: each rated dimension of a window is an answer."""
    rated = (found.labels >= 0) & ~found.abstain[:, None]
    # A prediction is silent where the least sure of its dimensions is.
    sure = np.maximum(found.high, 1 - found.high).min(axis=1)
    window, dimension = np.nonzero(rated)
    if not len(window):
        raise DataError(
            "found no rated calibration window, expected some to choose a threshold of silence on"
        )
    right = (found.high > 0.5) == (found.labels == 1)
    return fit_abstention(
        sure[window],
        right[window, dimension],
        calibration_groups=found.groups[window].astype(str),
        risk=risk,
        certainty=choice.certainty,
        grid=choice.thresholds or None,
        **apart,
    )
