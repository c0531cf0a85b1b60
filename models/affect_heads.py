"""Heads for ratings: ordered classes, a number with its uncertainty, or both at once."""

import torch
from torch import Tensor, nn

from physioemo.models.affect_losses import (
    concordance_loss,
    gaussian_loss,
    ordinal_loss,
    ordinal_probabilities,
)
from physioemo.models.losses import weighted_cross_entropy
from physioemo.models.ordinal_link import OrderedThresholds

__all__ = ["GaussianHead", "JointHead", "NamedHead", "OrdinalHead"]


class OrdinalHead(OrderedThresholds):
    """A score and ordered thresholds for each dimension (cumulative-link model).

    Parameters
    ----------
    embed_dim : int
        Width of the features.
    n_dimensions, n_outputs : int
        Rated dimensions and ordered classes of each, two or more.
    """

    def __init__(self, *, embed_dim: int, n_dimensions: int, n_outputs: int) -> None:
        super().__init__(n_dimensions=n_dimensions, n_outputs=n_outputs)
        self.score = nn.Linear(embed_dim, n_dimensions, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features (window, embed) to probabilities (window, dimension, class)."""
        return ordinal_probabilities(self.score(features), self.thresholds)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Negative log-likelihood of labels (window, dimension); −1 is missing."""
        return ordinal_loss(self.score(features), self.thresholds, labels)


class NamedHead(nn.Module):
    """One question whose answer is one of several names, such as the emotion of a film.

    Parameters
    ----------
    embed_dim, n_outputs : int
        Width of the features, and how many names there are.
    """

    def __init__(self, *, embed_dim: int, n_outputs: int) -> None:
        super().__init__()
        self.out = nn.Linear(embed_dim, n_outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Features (window, embed) to logits (window, name)."""
        return self.out(features)

    def loss(
        self, features: Tensor, labels: Tensor, weights: Tensor, *, label_smoothing: float = 0.0
    ) -> Tensor:
        """Return the weighted cross-entropy of the windows whose name is known.

        Parameters
        ----------
        features : Tensor, shape (window, embed)
        labels : Tensor of int, shape (window,)
            −1 is missing.
        weights : Tensor, shape (1, name)
        label_smoothing : float
            Share of the target that is spread over all names.
        """
        logits = self.out(features).unsqueeze(1)
        return weighted_cross_entropy(
            logits, labels.unsqueeze(1), weights, label_smoothing=label_smoothing
        )


class GaussianHead(nn.Module):
    """Mean and standard deviation of a continuous rating for each dimension.

    Parameters
    ----------
    embed_dim, n_dimensions : int
        Width of the features and number of rated dimensions.
    likelihood_weight : float
        How much the likelihood counts beside concordance in :meth:`loss`.
    """

    def __init__(
        self, *, embed_dim: int, n_dimensions: int, likelihood_weight: float = 0.1
    ) -> None:
        super().__init__()
        self.mean = nn.Linear(embed_dim, n_dimensions)
        self.log_sd = nn.Linear(embed_dim, n_dimensions)
        self.likelihood_weight = likelihood_weight

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (window, embed) to mean and standard deviation (window, dimension)."""
        return self.mean(features), self.log_sd(features).exp()

    def loss(self, features: Tensor, ratings: Tensor) -> Tensor:
        """``1 − concordance + λ · NLL`` of ratings (window, dimension); NaN is missing."""
        mean, log_sd = self.mean(features), self.log_sd(features)
        return concordance_loss(mean, ratings) + self.likelihood_weight * gaussian_loss(
            mean, log_sd, ratings
        )


class JointHead(nn.Module):
    """Classes and continuous ratings from the same features; each may be missing anywhere.

    Parameters
    ----------
    embed_dim, n_dimensions, n_outputs : int
        Width, rated dimensions, classes of the one categorical question.
    categorical_weight : float
        How much the classes count beside the ratings.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        n_dimensions: int,
        n_outputs: int,
        categorical_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.classes = nn.Linear(embed_dim, n_outputs)
        self.ratings = GaussianHead(embed_dim=embed_dim, n_dimensions=n_dimensions)
        self.categorical_weight = categorical_weight

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (window, embed) to logits (window, class), mean and standard deviation."""
        return self.classes(features), *self.ratings(features)

    def loss(self, features: Tensor, labels: Tensor, ratings: Tensor) -> Tensor:
        """Sum of both losses.

        Parameters
        ----------
        features : Tensor, shape (window, embed)
        labels : Tensor of int, shape (window,)
            −1 is missing.
        ratings : Tensor, shape (window, dimension)
            NaN is missing.
        """
        logits = self.classes(features).unsqueeze(1)
        weights = torch.ones(1, logits.shape[-1], dtype=logits.dtype, device=logits.device)
        named = weighted_cross_entropy(logits, labels.unsqueeze(1), weights)
        return self.categorical_weight * named + self.ratings.loss(features, ratings)
