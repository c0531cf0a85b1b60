"""A line through few ratings, shrunken to what is usual: the arithmetic of personal calibration.

In Python's floats and in the order of the ratings, so that on one computer the same ratings give
the same bits, live and offline and with any number of threads.
"""

import math
from collections.abc import Sequence

from physioemo.models.personal_prior import PersonalPrior

__all__ = ["posterior_mean", "posterior_mode", "sigmoid"]

_NEWTON_STEPS = 60
_CLOSE = 1e-13

Pairs = Sequence[tuple[float, float]]
Two = tuple[float, float]


# Both work on u, deviations from the prior's means in its standard deviations: the prior of u is
# the standard normal one, and a standard deviation of zero needs no case of its own.


def posterior_mean(pairs: Pairs, prior: PersonalPrior) -> Two:
    """Return the posterior mean of bias and scale for values with normal noise.

    Parameters
    ----------
    pairs : sequence of (prediction, rating)
        In the order of the ratings.
    prior : PersonalPrior
        What is usual.
    """
    weight = prior.noise_sd**-2
    a, b, c, g, h = 1.0, 0.0, 1.0, 0.0, 0.0
    for said, rating in pairs:
        x = said - prior.pivot
        left = rating - prior.pivot - prior.bias_mean - prior.scale_mean * x
        d0, d1 = prior.bias_sd, prior.scale_sd * x
        a, b, c = a + weight * d0 * d0, b + weight * d0 * d1, c + weight * d1 * d1
        g, h = g + weight * d0 * left, h + weight * d1 * left
    return _as_line(_solve(a, b, c, g, h), prior)


def posterior_mode(pairs: Pairs, prior: PersonalPrior) -> Two:
    """Return the posterior mode of bias and scale for ratings of 0 and 1, by Newton's method.

    Parameters
    ----------
    pairs : sequence of (logit of the prediction, rating)
        In the order of the ratings.
    prior : PersonalPrior
        What is usual, of logits.
    """
    points, u = [(z - prior.pivot, r) for z, r in pairs], (0.0, 0.0)
    value = _log_posterior(u, points, prior)
    for _ in range(_NEWTON_STEPS):
        a, b, c, g, h = 1.0, 0.0, 1.0, -u[0], -u[1]
        for x, rating in points:
            share = sigmoid(_line_at(u, x, prior))
            w, left = share * (1 - share), rating - share
            d0, d1 = prior.bias_sd, prior.scale_sd * x
            a, b, c = a + w * d0 * d0, b + w * d0 * d1, c + w * d1 * d1
            g, h = g + d0 * left, h + d1 * left
        step, length = _solve(a, b, c, g, h), 1.0
        while length > _CLOSE:
            tried = (u[0] + length * step[0], u[1] + length * step[1])
            reached = _log_posterior(tried, points, prior)
            if reached >= value:
                break
            length /= 2  # strictly concave: a short enough step always climbs
        if length <= _CLOSE or max(abs(s) for s in step) < _CLOSE:
            break
        u, value = tried, reached
    return _as_line(u, prior)


def _as_line(u: Two, prior: PersonalPrior) -> Two:
    return prior.bias_mean + prior.bias_sd * u[0], prior.scale_mean + prior.scale_sd * u[1]


def _line_at(u: Two, x: float, prior: PersonalPrior) -> float:
    bias, scale = _as_line(u, prior)
    return prior.pivot + bias + scale * x


def _log_posterior(u: Two, points: Pairs, prior: PersonalPrior) -> float:
    total = -0.5 * (u[0] * u[0] + u[1] * u[1])
    for x, rating in points:
        z = _line_at(u, x, prior) * (1 if rating else -1)
        total += -math.log1p(math.exp(-z)) if z > 0 else z - math.log1p(math.exp(z))
    return total


def _solve(a: float, b: float, c: float, g: float, h: float) -> Two:
    """Solve [[a, b], [b, c]] u = (g, h); the identity is part of it, so it can be solved."""
    determinant = a * c - b * b
    return (c * g - b * h) / determinant, (a * h - b * g) / determinant


def sigmoid(z: float) -> float:
    """Return the logistic function, without overflow."""
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))
