"""How much people differ: the prior of personal calibration, from other people's ratings.

Empirical Bayes in closed form: each participant's one-step estimate of an offset and a slope, with
its sampling variance, and the variance between participants by moments (DerSimonian & Laird 1986,
Control. Clin. Trials 7:177-188). For probabilities the one-step estimates are those of logistic
regression (Yusuf et al. 1985), on logits.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.errors import CallError, SignalError

__all__ = ["KINDS", "PersonalPrior", "fit_personal_prior", "to_logit"]

KINDS = ("value", "probability")
"""What is calibrated: a continuous rating, or the probability of the high class."""

_EDGE = 1e-6


@dataclass(frozen=True)
class PersonalPrior:
    """What is expected of a person before the first rating; ``asdict`` of it is JSON.

    ``rating = pivot + bias + scale · (prediction − pivot) + noise``, with bias and scale drawn
    anew for each person; for probabilities the same of logits, and no noise but that of the coin.

    Parameters
    ----------
    bias_sd, scale_sd : float
        How much people differ; 0 holds it at its mean.
    noise_sd : float
        Standard deviation of a rating around the line; 1 for probabilities.
    bias_mean, scale_mean : float
        What is corrected for everybody.
    pivot : float
        Prediction at which the bias is told.

    Raises
    ------
    CallError
        If one is not finite, or a standard deviation out of its range.
    """

    bias_sd: float
    scale_sd: float = 0.0
    noise_sd: float = 1.0
    bias_mean: float = 0.0
    scale_mean: float = 1.0
    pivot: float = 0.0

    def __post_init__(self) -> None:
        finite = all(math.isfinite(v) for v in asdict(self).values())
        if not finite or min(self.bias_sd, self.scale_sd) < 0 or self.noise_sd <= 0:
            raise CallError(
                f"found the prior {asdict(self)}, expected finite numbers, deviations of 0 or more "
                "and noise_sd above 0"
            )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "PersonalPrior":
        """Return the prior that ``asdict`` gave."""
        return cls(**{f.name: float(content[f.name]) for f in fields(cls)})


def fit_personal_prior(
    predictions: ArrayLike, ratings: ArrayLike, participants: ArrayLike, *, kind: str
) -> PersonalPrior:
    """Estimate the prior of one dimension from participants who rated many trials.

    Parameters
    ----------
    predictions, ratings : array_like, shape (trial,)
        The model's predictions of people it was not trained on, one per trial: values, or
        probabilities of the high class with ratings of 0 and 1. NaN in `ratings` is missing.
    participants : array_like, shape (trial,)
        Who rated; three or more people with two or more ratings each.
    kind : {"value", "probability"}
        What the predictions are.

    Raises
    ------
    CallError
        If the kind is not known.
    SignalError
        If shapes do not fit, a number is out of its range, or there are too few people.
    """
    x, y, who = _checked(predictions, ratings, participants, kind)
    pivot = float(x.mean())
    noise = 1.0 if kind == "probability" else _noise_sd(x, y, who)
    if kind == "probability":
        share = 1 / (1 + np.exp(-x))
        weight, residual = share * (1 - share), y - share
    else:
        weight, residual = np.full(len(x), noise**-2), (y - x) * noise**-2
    bias, slope = [], []
    for person in np.unique(who):
        w, r, d = (v[who == person] for v in (weight, residual, x - pivot))
        centre = (w * d).sum() / w.sum()
        spread = (w * (d - centre) ** 2).sum()
        bias.append((r.sum() / w.sum(), w.sum()))
        if spread > 0:
            slope.append(((r * (d - centre)).sum() / spread, spread))
    bias_mean, bias_sd = _between(np.array(bias))
    change, scale_sd = _between(np.array(slope)) if len(slope) > 2 else (0.0, 0.0)
    return PersonalPrior(bias_sd, scale_sd, noise, bias_mean, 1.0 + change, pivot)


def to_logit(probability: float) -> float:
    """Return the logit, of probabilities no nearer to 0 and 1 than a millionth."""
    p = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(p / (1 - p))


def _between(estimates: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation between people of (estimate, precision) rows."""
    value, precision = estimates.T
    total = precision.sum()
    common = (precision * value).sum() / total
    excess = (precision * (value - common) ** 2).sum() - (len(value) - 1)
    variance = max(0.0, excess / (total - (precision**2).sum() / total))
    share = 1 / (variance + 1 / precision)
    return float((share * value).sum() / share.sum()), float(np.sqrt(variance))


def _noise_sd(x: NDArray[np.float64], y: NDArray[np.float64], who: NDArray[np.int64]) -> float:
    """Return the spread of ratings around each participant's own line."""
    squares, freedom = 0.0, 0
    for person in np.unique(who):
        d, r = x[who == person], y[who == person]
        n_parameters = min(2, len(np.unique(d)))
        design = np.stack([np.ones_like(d), d], axis=1)[:, :n_parameters]
        left = r - design @ np.linalg.lstsq(design, r, rcond=None)[0]
        squares, freedom = squares + float(left @ left), freedom + len(d) - n_parameters
    if freedom < 1 or squares <= 0:
        raise SignalError(
            "found ratings that leave nothing around each participant's own line, expected three "
            "or more ratings of each; give more trials"
        )
    return math.sqrt(squares / freedom)


def _checked(
    predictions: ArrayLike, ratings: ArrayLike, participants: ArrayLike, kind: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    if kind not in KINDS:
        raise CallError(f"found the kind {kind!r}, expected one of {', '.join(KINDS)}")
    x, y = np.asarray(predictions, float), np.asarray(ratings, float)
    names = np.asarray(participants)
    if not (x.ndim == 1 and x.shape == y.shape == names.shape):
        raise SignalError(
            f"found predictions of shape {x.shape}, ratings of {y.shape} and participants of "
            f"{names.shape}, expected one of each per trial"
        )
    rated = np.isfinite(y)
    x, y, who = x[rated], y[rated], np.unique(names.astype(str), return_inverse=True)[1][rated]
    sizes = np.bincount(who) if len(who) else np.zeros(0)
    kept = sizes[who] >= 2 if len(who) else np.zeros(0, bool)
    x, y, who = x[kept], y[kept], who[kept]
    shares = kind != "probability" or (((x >= 0) & (x <= 1)).all() and np.isin(y, (0, 1)).all())
    if not np.isfinite(x).all() or not shares or len(np.unique(who)) < 3:
        raise SignalError(
            f"found {len(np.unique(who))} participants with two or more ratings, expected three or "
            f"more, with finite predictions{' from 0 to 1 and ratings of 0 and 1' * (not shares)}"
        )
    if kind == "probability":
        x = np.array([to_logit(float(p)) for p in x])
    return x, y, who
