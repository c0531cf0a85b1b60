"""When to say nothing: the risk of what is answered, and a threshold that keeps it low.

Of a model that answers only where its confidence reaches a threshold, the risk is the share of
wrong answers, and the coverage the share that is answered (El-Yaniv & Wiener 2010, JMLR 11:1605;
Geifman & El-Yaniv 2017, arXiv 1705.08500). The threshold is chosen from a grid that is fixed
beforehand, on calibration groups; for each threshold of the grid it is tested whether the risk is
above the wanted one, and of those where that is rejected the lowest is taken. Tests are at level
(1 − certainty) / grid (Bonferroni), so that with the wanted certainty the promise holds whichever
is taken (Learn then Test: Angelopoulos et al. 2021, arXiv 2110.01052).

The unit is the group: a group's loss is the share of its answered windows that are wrong, and the
risk is that of a new group that has an answer. With losses of 0 and 1 alone, as with one window
per group, the test is the exact binomial one; else that of Hoeffding and Bentkus (Bates et al.
2021, JACM 68:43).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.errors import CallError, DataError, SignalError
from physioemo.models.grouped_calibration import (
    GroupNames,
    group_codes,
    require_one_per_window,
    require_separate_groups,
)
from physioemo.prediction import Prediction

__all__ = [
    "AbstentionRule",
    "RiskCoverage",
    "abstain_where_unsure",
    "fit_abstention",
    "risk_coverage",
    "risk_p_value",
]

_GRID_STEPS = 25


class RiskCoverage(NamedTuple):
    """A curve; one entry per threshold, from the strictest on.

    Parameters
    ----------
    threshold, coverage, risk : ndarray
        Confidence from which on is answered, share of windows that is, and share of those that is
        wrong.
    area : float
        Mean risk over the windows' coverages; 0 is perfect, a random order gives the error rate.
    """

    threshold: NDArray[np.float64]
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    area: float


@dataclass(frozen=True)
class AbstentionRule:
    """Answer where the confidence reaches a threshold; ``asdict`` of it is JSON.

    Parameters
    ----------
    threshold : float
        Lowest confidence that is answered.
    risk, certainty : float
        What is promised, and how surely.
    p_value : float
        Of the test of this threshold, before the correction.
    n_groups, n_answered : int
        Calibration groups, and how many of them had an answer.
    calibration_risk, calibration_coverage : float
        Mean loss of those groups, and share of calibration windows that was answered.
    """

    threshold: float
    risk: float
    certainty: float
    p_value: float
    n_groups: int
    n_answered: int
    calibration_risk: float
    calibration_coverage: float

    def abstain(self, confidence: ArrayLike) -> NDArray[np.bool_]:
        """Return where the model says nothing; a confidence of NaN is never enough."""
        return ~(np.asarray(confidence, float) >= self.threshold)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> RiskCoverage:
    """Return the risk-coverage curve of some windows; ties are answered together.

    Parameters
    ----------
    confidence : array_like, shape (window,)
        Of the class that is said.
    correct : array_like of bool, shape (window,)
        Whether it is the right one; leave out windows without a rating.

    Raises
    ------
    SignalError
        If the shapes differ, there is no window, or a confidence is not finite.
    """
    sure, right = _checked(confidence, correct)
    order = np.argsort(-sure, kind="stable")
    last = np.append(np.flatnonzero(np.diff(sure[order])), len(sure) - 1)
    answered = last + 1.0
    risk = np.cumsum(~right[order])[last] / answered
    area = float(np.sum(risk * np.diff(answered, prepend=0)) / len(sure))
    return RiskCoverage(sure[order][last], answered / len(sure), risk, area)


def fit_abstention(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    calibration_groups: GroupNames,
    training_groups: GroupNames,
    test_groups: GroupNames | None,
    risk: float,
    certainty: float = 0.9,
    grid: ArrayLike | None = None,
    unit: str | None = None,
) -> AbstentionRule:
    """Choose the lowest threshold at which the risk is promised.

    Parameters
    ----------
    confidence, correct : array_like, shape (window,)
        As in :func:`risk_coverage`, of the rated calibration windows of one dimension.
    calibration_groups, training_groups, test_groups
        As in :func:`physioemo.models.grouped_calibration.require_separate_groups`.
    risk : float
        Highest wanted share of wrong answers.
    certainty : float
        Probability, over calibration groups, with which the promise holds.
    grid : array_like, optional
        Thresholds to choose from, fixed without a look at the labels; 25 from 0.5 to 0.98 if not
        given, for two classes.
    unit : str, optional
        Which kind of group is exchangeable, where several are given.

    Raises
    ------
    CallError
        If groups overlap, or an option is out of its range.
    DataError
        If no threshold of the grid can be promised.
    SignalError
        As in :func:`risk_coverage`.
    """
    thresholds = _checked_grid(grid, risk, certainty)
    require_separate_groups(
        training=training_groups, calibration=calibration_groups, test=test_groups
    )
    sure, right = _checked(confidence, correct)
    require_one_per_window(calibration_groups, len(sure))
    groups = group_codes(calibration_groups, unit)
    losses = [_group_losses(sure >= t, right, groups) for t in thresholds]
    values = np.array([risk_p_value(x, risk) for x in losses])
    promised = np.flatnonzero(values <= (1 - certainty) / len(thresholds))
    if not promised.size:
        raise DataError(
            f"found no threshold at which a risk of {risk:g} can be promised with "
            f"{certainty:.0%} certainty from {groups.max() + 1} calibration groups, expected "
            "enough right answers; hold out more groups or allow a higher risk"
        )
    best = int(promised[0])
    return AbstentionRule(
        threshold=float(thresholds[best]),
        risk=risk,
        certainty=certainty,
        p_value=float(values[best]),
        n_groups=int(groups.max()) + 1,
        n_answered=len(losses[best]),
        calibration_risk=float(losses[best].mean()),
        calibration_coverage=float((sure >= thresholds[best]).mean()),
    )


def risk_p_value(losses: ArrayLike, risk: float) -> float:
    """Return the p-value of "the mean loss is at least `risk`", losses from 0 to 1.

    Parameters
    ----------
    losses : array_like, shape (group,)
        Independent; none gives 1.
    risk : float
        Between 0 and 1.
    """
    from scipy.stats import binom

    values = np.asarray(losses, float)
    n = len(values)
    if not n:
        return 1.0
    if np.isin(values, (0.0, 1.0)).all():
        return float(binom.cdf(values.sum(), n, risk))
    mean = min(float(values.mean()), risk)
    divergence = _term(mean, risk) + _term(1 - mean, 1 - risk)
    bentkus = np.e * float(binom.cdf(np.ceil(values.sum()), n, risk))
    return float(min(1.0, np.exp(-n * divergence), bentkus))


def abstain_where_unsure(
    prediction: Prediction, rules: Mapping[str, AbstentionRule], prior: Mapping[str, float]
) -> Prediction:
    """Return the prediction, or the prior with ``abstain`` if it is unsure in any ruled dimension.

    Parameters
    ----------
    prediction : Prediction
        One that abstains already is returned as it is.
    rules : mapping of str to AbstentionRule
        By dimension.
    prior : mapping of str to float
        Share of the high class in training, by dimension.
    """
    unsure = [d for d, rule in rules.items() if bool(rule.abstain(prediction.confidence[d]))]
    if prediction.abstain or not unsure:
        return prediction
    needed = ", ".join(
        f"{d} {prediction.confidence[d]:.2f} of {rules[d].threshold:.2f}" for d in unsure
    )
    high = {d: float(prior[d]) for d in prediction.probability}
    return replace(
        prediction,
        probability=high,
        confidence={d: max(p, 1 - p) for d, p in high.items()},
        abstain=True,
        reason=f"the confidence is too low ({needed})",
    )


def _group_losses(
    answered: NDArray[np.bool_], right: NDArray[np.bool_], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the share of wrong answers of each group that has an answer."""
    size = np.bincount(groups, weights=answered)
    wrong = np.bincount(groups, weights=answered & ~right)
    return wrong[size > 0] / size[size > 0]


def _term(p: float, q: float) -> float:
    return 0.0 if p == 0 else p * float(np.log(p / q))


def _checked(
    confidence: ArrayLike, correct: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    sure, right = np.asarray(confidence, float), np.asarray(correct)
    fits = sure.ndim == 1 and sure.shape == right.shape and right.dtype == np.bool_
    if not fits or not sure.size or not np.isfinite(sure).all():
        raise SignalError(
            f"found confidences of shape {sure.shape} and {right.dtype} of shape {right.shape}, "
            "expected finite numbers and bool of one shape (window,), at least one window"
        )
    return sure, right


def _checked_grid(grid: ArrayLike | None, risk: float, certainty: float) -> NDArray[np.float64]:
    default = 0.5 + 0.48 * np.arange(_GRID_STEPS) / (_GRID_STEPS - 1)
    thresholds = np.sort(np.asarray(default if grid is None else grid, float).ravel())
    fits = thresholds.size and np.isfinite(thresholds).all()
    if not (0 < risk < 1 and 0 < certainty < 1 and fits):
        raise CallError(
            f"found a risk of {risk}, a certainty of {certainty} and {thresholds.size} thresholds, "
            "expected both between 0 and 1 and one or more finite thresholds"
        )
    return thresholds
