"""What training of continuous and ordinal ratings minimises.

Concordance (Lin 1989, Biometrics 45:255-268) is computed with variances that divide by n
(``ddof=0``), here and in :mod:`physioemo.experiments.metrics`: with n − 1, as in some toolkits, the
same predictions score a little differently.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from physioemo.errors import SignalError

__all__ = [
    "concordance",
    "concordance_loss",
    "gaussian_loss",
    "ordinal_log_probabilities",
    "ordinal_loss",
    "ordinal_probabilities",
]

_SMALL = 1e-12


def concordance(prediction: Tensor, target: Tensor) -> Tensor:
    """Concordance correlation of each dimension, over the windows that have a rating.

    ``2 cov / (var_p + var_t + (mean_p − mean_t)²)``, variances over n.

    Parameters
    ----------
    prediction, target : Tensor, shape (window, dimension)
        NaN in `target` is a missing rating.

    Returns
    -------
    Tensor, shape (dimension,)
        0 where fewer than two windows are rated, or nothing varies.

    Raises
    ------
    SignalError
        If the shapes differ.
    """
    known = _known(prediction, target)
    n = known.sum(dim=0)
    weight = known.to(prediction.dtype) / n.clamp(min=1)
    wanted = torch.where(known, target, 0.0)
    mean_p, mean_t = (prediction * weight).sum(0), (wanted * weight).sum(0)
    p, t = prediction - mean_p, wanted - mean_t
    covariance = (p * t * weight).sum(0)
    spread = (p**2 * weight).sum(0) + (t**2 * weight).sum(0) + (mean_p - mean_t) ** 2
    return torch.where((n > 1) & (spread > _SMALL), 2 * covariance / spread.clamp(min=_SMALL), 0.0)


def concordance_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """``1 − concordance``, averaged over the dimensions that have two rated windows or more.

    Concordance is a property of many windows: batches of 64 or more estimate it well.

    Parameters
    ----------
    prediction, target : Tensor, shape (window, dimension)
        NaN in `target` is a missing rating.

    Raises
    ------
    SignalError
        If the shapes differ.
    """
    usable = _known(prediction, target).sum(dim=0) > 1
    lost = torch.where(usable, 1.0 - concordance(prediction, target), 0.0)
    return lost.sum() / usable.sum().clamp(min=1)


def gaussian_loss(mean: Tensor, log_sd: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of ratings under a normal distribution with its own spread.

    ``½ ((t − μ)/σ)² + log σ + ½ log 2π``, averaged over what is rated (Nix & Weigend 1994).

    Parameters
    ----------
    mean, log_sd, target : Tensor, shape (window, dimension)
        NaN in `target` is a missing rating.

    Raises
    ------
    SignalError
        If the shapes differ.
    """
    known = _known(mean, target)
    wanted = torch.where(known, target, mean.detach())
    loss = 0.5 * ((wanted - mean) * torch.exp(-log_sd)) ** 2 + log_sd + 0.5 * math.log(2 * math.pi)
    return (loss * known).sum() / known.sum().clamp(min=1)


def ordinal_probabilities(score: Tensor, thresholds: Tensor) -> Tensor:
    """Probability of ordered classes: the cumulative-link (proportional odds) model.

    ``P(y ≤ k) = sigmoid(threshold_k − score)`` (McCullagh 1980, J. R. Stat. Soc. B 42:109-142).

    Parameters
    ----------
    score : Tensor, shape (window, dimension)
        Higher means a higher class.
    thresholds : Tensor, shape (dimension, class − 1)
        In rising order.

    Returns
    -------
    Tensor, shape (window, dimension, class)
        Rows sum to 1.
    """
    return ordinal_log_probabilities(score, thresholds).exp()


def ordinal_loss(score: Tensor, thresholds: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of ordered classes.

    Parameters
    ----------
    score : Tensor, shape (window, dimension)
    thresholds : Tensor, shape (dimension, class − 1)
    labels : Tensor of int, shape (window, dimension)
        Classes from 0; −1 is a missing rating.
    """
    known = labels >= 0
    log_p = ordinal_log_probabilities(score, thresholds)
    chosen = log_p.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(chosen * known).sum() / known.sum().clamp(min=1)


def ordinal_log_probabilities(score: Tensor, thresholds: Tensor) -> Tensor:
    """Logarithms of :func:`ordinal_probabilities`; arguments and shape as there."""
    distance = thresholds - score.unsqueeze(-1)  # (window, dimension, class − 1)
    below, above = logsigmoid(distance), logsigmoid(-distance)
    # log(sigmoid(b) − sigmoid(a)) for a < b, without the difference of two numbers near 1:
    # sigmoid(b) − sigmoid(a) = sigmoid(b) sigmoid(−a) (1 − exp(a − b))
    step = (thresholds[:, 1:] - thresholds[:, :-1]).clamp(min=1e-6)
    middle = below[..., 1:] + above[..., :-1] + torch.log(-torch.expm1(-step))
    return torch.cat([below[..., :1], middle, above[..., -1:]], dim=-1)


def _known(prediction: Tensor, target: Tensor) -> Tensor:
    if prediction.shape != target.shape or prediction.ndim != 2:
        raise SignalError(
            f"found predictions of shape {tuple(prediction.shape)} for ratings of shape "
            f"{tuple(target.shape)}, expected (window, dimension) for both"
        )
    return torch.isfinite(target)
