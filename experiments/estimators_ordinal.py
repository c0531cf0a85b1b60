"""The linear baseline of ordered classes: proportional odds, the cumulative-link model.

``P(y ≤ k) = sigmoid(threshold_k − weights · x)`` with thresholds that rise (McCullagh 1980,
Regression models for ordinal data, J. R. Stat. Soc. B 42:109-142): one set of weights for all
classes, where logistic regression has one for each. With two classes it is logistic regression.
"""

from typing import Any

import numpy as np

from physioemo.experiments.estimators_linear import PenaltyChoice

__all__ = ["OrdinalLogistic", "fit_proportional_odds", "ordered_probability"]

_MOST_ITERATIONS = 2000
_GRADIENT_TOLERANCE = 1e-7
_NARROWEST_STEP = 1e-6


class OrdinalLogistic(PenaltyChoice):
    """Proportional-odds regression, classes weighted equally, in the order of their names.

    Parameters as in :class:`physioemo.experiments.estimators_linear.PenaltyChoice`.
    """

    def _trained(self, rows: np.ndarray, codes: np.ndarray, penalty: float) -> Any:
        return fit_proportional_odds(rows, codes, penalty)

    def _said(self, model: Any, rows: np.ndarray) -> np.ndarray:
        weights, thresholds = model
        return ordered_probability(rows @ weights, thresholds)


def ordered_probability(score: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return the probability of each ordered class.

    Parameters
    ----------
    score : ndarray, shape (row,)
        Higher means a higher class.
    thresholds : ndarray, shape (class - 1,)
        Rising.

    Returns
    -------
    ndarray, shape (row, class)
    """
    from scipy.special import expit

    # From the side on which nothing is near 1, so that small probabilities keep their digits.
    distance = thresholds - score[:, None]
    below, above = expit(distance), expit(-distance)
    edge = np.zeros((len(score), 1))
    from_low = np.diff(np.hstack([edge, below, edge + 1]), axis=1)
    from_high = -np.diff(np.hstack([edge + 1, above, edge]), axis=1)
    lower = np.hstack([distance, edge + np.inf]) < 0
    return np.where(lower, from_low, from_high)


def fit_proportional_odds(
    rows: np.ndarray, codes: np.ndarray, penalty: float, *, balanced: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights and thresholds that make the ordered classes most likely.

    Minimised is ``½ |weights|² + penalty · Σ weight · loss``, by L-BFGS from the shares of the
    classes; thresholds are not penalised.

    Parameters
    ----------
    rows : ndarray, shape (row, feature)
        Complete and scaled.
    codes : ndarray of int, shape (row,)
        Classes from 0, each there at least once.
    penalty : float
        Inverse strength.
    balanced : bool
        Whether each class has the same say, or each row.

    Returns
    -------
    weights : ndarray, shape (feature,)
    thresholds : ndarray, shape (class - 1,)
    """
    from scipy.optimize import minimize
    from scipy.special import logit

    counts = np.bincount(codes)
    each = len(codes) / (len(counts) * counts) if balanced else np.ones(len(counts))
    shares = np.cumsum(counts * each)[:-1] / (counts * each).sum()
    thresholds = logit(shares)
    start = np.concatenate([np.zeros(rows.shape[1]), _parameters(thresholds)])
    found = minimize(
        _objective,
        start,
        args=(rows, codes, each[codes], penalty, len(counts)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MOST_ITERATIONS, "gtol": _GRADIENT_TOLERANCE, "ftol": 1e-15},
    )
    n = rows.shape[1]
    return found.x[:n], _thresholds(found.x[n:])


def _parameters(thresholds: np.ndarray) -> np.ndarray:
    """Return the first threshold, and the logarithm of ``exp(step) - 1`` of each step."""
    steps = np.diff(thresholds)
    return np.concatenate([thresholds[:1], np.log(np.expm1(steps))])


def _thresholds(parameters: np.ndarray) -> np.ndarray:
    steps = np.logaddexp(0.0, parameters[1:]) + _NARROWEST_STEP
    return parameters[0] + np.concatenate([[0.0], np.cumsum(steps)])


def _objective(
    x: np.ndarray, rows: np.ndarray, codes: np.ndarray, each: np.ndarray, penalty: float, k: int
) -> tuple[float, np.ndarray]:
    """Return the mean loss with its penalty, and the gradient."""
    from scipy.special import expit, log_expit

    n = rows.shape[1]
    thresholds = _thresholds(x[n:])
    score = rows @ x[:n]
    edges = np.concatenate([[-np.inf], thresholds, [np.inf]])
    low, high = edges[codes] - score, edges[codes + 1] - score
    # sigmoid(high) - sigmoid(low) = sigmoid(high) sigmoid(-low) (1 - exp(low - high))
    apart = -np.expm1(low - high)
    log_p = log_expit(high) + log_expit(-low) + np.log(apart)
    scale = each / each.sum()
    of_high = -scale * expit(-high) / (expit(-low) * apart)  # of the loss
    of_low = scale * expit(low) / (expit(high) * apart)
    on_edges = np.bincount(codes + 1, of_high, k + 1) + np.bincount(codes, of_low, k + 1)
    on_thresholds = on_edges[1:-1]
    on_steps = on_thresholds[::-1].cumsum()[::-1]
    on_steps[1:] *= expit(x[n + 1 :])
    strength = 1.0 / (penalty * each.sum())
    loss = -float(scale @ log_p) + 0.5 * strength * float(x[:n] @ x[:n])
    on_weights = -(of_high + of_low) @ rows + strength * x[:n]
    return loss, np.concatenate([on_weights, on_steps])
