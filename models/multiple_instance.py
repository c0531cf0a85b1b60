"""One rating for a trial of many windows: which of them earned it is not known.

Each window becomes a vector; the trial is their mean, a mean weighted by what is learned
(Ilse, Tomczak & Welling 2018, arXiv 1802.04712), the most telling window of each class, or the
chance that at least one window has it (noisy-or: Maron & Lozano-Pérez 1998, NIPS 10). The mean is
the compulsory baseline: it cannot do better than a linear rule of the mean vector.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from physioemo.errors import CallError, SignalError

__all__ = ["POOLINGS", "PRESETS", "BagOutput", "MultipleInstance"]

POOLINGS = ("mean", "attention", "max", "noisy-or")
"""How a trial is made of its windows."""

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 32, "attention_dim": 32},
    "study": {"embed_dim": 256, "attention_dim": 128},
}
_LEAST_EVIDENCE = 1e-6


class BagOutput(NamedTuple):
    """What a model says of trials.

    Parameters
    ----------
    logits : Tensor, shape (trial, dimension, class)
        Where it abstains, the logarithm of the training prior.
    abstain : Tensor of bool, shape (trial,)
        True where no window is there.
    weights : Tensor, shape (trial, dimension, window)
        How much each window counted; they sum to 1, or to 0 where it abstains.
    """

    logits: Tensor
    abstain: Tensor
    weights: Tensor


class MultipleInstance(nn.Module):
    """Classify trials from their windows, of which any may be missing.

    Parameters
    ----------
    in_dim : int
        Length of a window's vector.
    dimensions : sequence of str
        Rated dimensions.
    n_outputs : int
        Classes of each; two for ``noisy-or``, of which the second is the one that a single window
        suffices for.
    pooling : str
        One of :data:`POOLINGS`.
    embed_dim, attention_dim : int
        Sizes.

    Raises
    ------
    CallError
        If the pooling is not known or cannot have so many classes, or there is no dimension.
    """

    prior_logits: Tensor

    def __init__(
        self,
        *,
        in_dim: int,
        dimensions: Sequence[str],
        n_outputs: int = 2,
        pooling: str = "attention",
        embed_dim: int = 32,
        attention_dim: int = 32,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS or not dimensions:
            raise CallError(
                f"found the pooling {pooling!r} for the dimensions {list(dimensions)}, expected "
                f"one of {', '.join(POOLINGS)} and one dimension or more"
            )
        if pooling == "noisy-or" and n_outputs != 2:
            raise CallError(f"found {n_outputs} classes for noisy-or, expected 2; use attention")
        self._config = {
            "in_dim": in_dim,
            "dimensions": list(dimensions),
            "n_outputs": n_outputs,
            "pooling": pooling,
            "embed_dim": embed_dim,
            "attention_dim": attention_dim,
        }
        self.pooling, self.shape = pooling, (len(dimensions), n_outputs)
        self.project = nn.Linear(in_dim, embed_dim)
        self.head = nn.Linear(embed_dim, math.prod(self.shape))
        if pooling == "attention":
            self.attention = _GatedAttention(embed_dim, attention_dim, len(dimensions))
        self.register_buffer("prior_logits", torch.zeros(self.shape))

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments, ready for JSON."""
        return dict(self._config)

    def forward(self, x: Tensor) -> BagOutput:
        """Return logits of each trial, and how much each window counted.

        Parameters
        ----------
        x : Tensor, shape (trial, window, in_dim)
            A window with a NaN is missing; so are those that fill a shorter trial up.

        Raises
        ------
        SignalError
            If the shape is another.
        """
        if x.ndim != 3 or x.shape[-1] != self._config["in_dim"]:
            raise SignalError(
                f"found trials of shape {tuple(x.shape)}, expected (trial, window, "
                f"{self._config['in_dim']})"
            )
        known = torch.isfinite(x).all(dim=-1)  # (trial, window)
        abstain = ~known.any(dim=1)
        seen = (known | abstain.unsqueeze(1)).unsqueeze(1)  # where all are missing, no NaN
        vectors = self.project(torch.where(known.unsqueeze(-1), x, 0.0))
        # The head is linear: logits of a weighted mean are the weighted mean of logits.
        each = self.head(vectors).unflatten(-1, self.shape).transpose(1, 2)
        logits, weights = self._pooled(each, vectors, seen)  # each: (trial, dimension, window, …)
        logits = torch.where(abstain[:, None, None], self.prior_logits.to(logits.dtype), logits)
        return BagOutput(logits, abstain, weights * known.unsqueeze(1))

    @torch.no_grad()
    def set_prior(self, share: Tensor) -> None:
        """Keep the shares of classes in training, shape (dimension, class)."""
        self.prior_logits.copy_(share.clamp(min=1e-6).log())

    def _pooled(self, each: Tensor, vectors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (trial, dimension, class) and weights (trial, dimension, window)."""
        if self.pooling == "max":
            return _most_telling(each, seen)
        if self.pooling == "noisy-or":
            return _any_of_them(each, seen)
        score = torch.zeros_like(each[..., 0])
        if self.pooling == "attention":
            score = self.attention(vectors)
        weights = score.masked_fill(~seen, -torch.inf).softmax(dim=-1)
        return (weights.unsqueeze(-1) * each).sum(dim=2), weights


class _GatedAttention(nn.Module):
    """A score of each window for each dimension: ``w · (tanh(V h) * sigmoid(U h))``."""

    def __init__(self, embed_dim: int, attention_dim: int, n_dimensions: int) -> None:
        super().__init__()
        self.content = nn.Linear(embed_dim, attention_dim)
        self.gate = nn.Linear(embed_dim, attention_dim)
        self.score = nn.Linear(attention_dim, n_dimensions)

    def forward(self, vectors: Tensor) -> Tensor:
        gated = self.content(vectors).tanh() * self.gate(vectors).sigmoid()
        return self.score(gated).transpose(1, 2)  # (trial, dimension, window)


def _most_telling(each: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Each class by the window that says it loudest; that of the winning class counts."""
    logits, where = each.masked_fill(~seen.unsqueeze(-1), -torch.inf).max(dim=2)
    winner = where.gather(-1, logits.argmax(dim=-1, keepdim=True))  # (trial, dimension, 1)
    return logits, torch.zeros_like(each[..., 0]).scatter(2, winner, 1.0)


def _any_of_them(each: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """``1 − Π (1 − p)`` as logarithms; a window counts by what it adds to the logarithm."""
    evidence = softplus(each[..., 1] - each[..., 0]) * seen  # −log(1 − p)
    none = -evidence.sum(dim=-1).clamp(min=_LEAST_EVIDENCE)
    logits = torch.stack([none, torch.log(-torch.expm1(none))], dim=-1)
    return logits, evidence / evidence.sum(dim=-1, keepdim=True).clamp(min=_LEAST_EVIDENCE)
