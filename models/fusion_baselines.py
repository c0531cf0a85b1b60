"""Plainer fusions, which attention has to beat: side by side, late, and by gated experts.

All pool each modality's tokens to their mean first. ``ConcatFusion`` puts the means side by side
and is compulsory in every comparison. ``LateFusion`` gives each modality a model of its own and
averages their probabilities, so that nothing can depend on two modalities together. ``GatedFusion``
weighs such models by a gate that sees all modalities (Jacobs et al. 1991, Neural Computation
3:79-87).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from physioemo.models.fusion import FusionOutput, check_fusion, checked_tokens
from physioemo.models.missing_modalities import drop_modalities
from physioemo.models.modality_tokens import ModalityTokens, present_modalities

__all__ = ["PRESETS", "ConcatFusion", "GatedFusion", "LateFusion"]

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_dim": 64},
    "study": {"hidden_dim": 512},
}
_LOWEST = 1e-9


class _PooledFusion(nn.Module):
    """Checks, modality dropout and pooling, which all of them share."""

    prior_logits: Tensor

    def __init__(
        self,
        *,
        modalities: Mapping[str, int],
        dimensions: Sequence[str],
        n_outputs: int = 2,
        hidden_dim: int = 64,
        dropout: float = 0.0,
        modality_dropout: float = 0.3,
    ) -> None:
        super().__init__()
        check_fusion(modalities, dimensions, modality_dropout)
        self.modalities, self.dimensions = dict(modalities), tuple(dimensions)
        self.n_outputs, self.modality_dropout = n_outputs, modality_dropout
        self.register_buffer("prior_logits", torch.zeros(len(dimensions), n_outputs))
        self._build(hidden_dim, dropout)

    @property
    def _n_inputs(self) -> int:
        """The means of all modalities, and whether each is there."""
        return sum(self.modalities.values()) + len(self.modalities)

    @property
    def _n_logits(self) -> int:
        return len(self.dimensions) * self.n_outputs

    def _build(self, hidden_dim: int, dropout: float) -> None:
        """Make the layers."""
        raise NotImplementedError

    def forward(self, tokens: Mapping[str, ModalityTokens]) -> FusionOutput:
        """Return logits of each window; see :meth:`physioemo.models.fusion.QueryFusion.forward`."""
        tokens = checked_tokens(tokens, self.modalities)
        present = present_modalities(tokens)
        abstain = ~present.any(dim=1)
        if self.training and self.modality_dropout:
            present = drop_modalities(present, self.modality_dropout)
        pooled = [
            part.values.sum(dim=1) / part.mask.sum(dim=1, keepdim=True).clamp(min=1)
            for part in tokens.values()
        ]
        pooled = [p * present[:, i : i + 1] for i, p in enumerate(pooled)]  # (batch, embed) each
        logits, features = self._fuse(pooled, present)
        logits = torch.where(abstain[:, None, None], self.prior_logits.to(logits.dtype), logits)
        return FusionOutput(logits, abstain, features)

    def _fuse(self, pooled: list[Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (batch, dimension, class) and features (batch, dimension, embed)."""
        raise NotImplementedError

    def _shaped(self, flat: Tensor) -> Tensor:
        return flat.unflatten(-1, (len(self.dimensions), self.n_outputs))


def _perceptron(n_inputs: int, hidden_dim: int, n_outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_inputs, hidden_dim),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden_dim, hidden_dim),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden_dim, n_outputs),
    )


class ConcatFusion(_PooledFusion):
    """A perceptron on the means of all modalities and on which of them are there.

    Parameters
    ----------
    modalities, dimensions, n_outputs, dropout, modality_dropout
        See :class:`physioemo.models.fusion.QueryFusion`.
    hidden_dim : int
        Width of the hidden layers.
    """

    def _build(self, hidden_dim: int, dropout: float) -> None:
        self.net = _perceptron(self._n_inputs, hidden_dim, self._n_logits, dropout)

    def _fuse(self, pooled: list[Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([*pooled, present.to(pooled[0].dtype)], dim=1)
        features = self.net[:-1](x)
        return self._shaped(self.net[-1](features)), features[:, None].expand(
            -1, len(self.dimensions), -1
        )


class LateFusion(_PooledFusion):
    """The mean probability of one model per modality, over those that are there.

    Parameters
    ----------
    modalities, dimensions, n_outputs, hidden_dim, dropout, modality_dropout
        See :class:`ConcatFusion`.
    """

    def _build(self, hidden_dim: int, dropout: float) -> None:
        self.experts = nn.ModuleDict(
            {
                modality: _perceptron(n, hidden_dim, self._n_logits, dropout)
                for modality, n in self.modalities.items()
            }
        )

    def _fuse(self, pooled: list[Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        said = self._said(pooled)  # (batch, modality, dimension, class)
        weight = present.to(said.dtype) / present.sum(dim=1, keepdim=True).clamp(min=1)
        mixed = (said * weight[:, :, None, None]).sum(dim=1)
        return mixed.clamp(min=_LOWEST).log(), mixed

    def _said(self, pooled: list[Tensor]) -> Tensor:
        logits = [
            self._shaped(expert(x)) for expert, x in zip(self.experts.values(), pooled, strict=True)
        ]
        return torch.stack(logits, dim=1).softmax(dim=-1)


class GatedFusion(LateFusion):
    """Models of single modalities, weighted by a gate that sees all of them.

    Parameters
    ----------
    modalities, dimensions, n_outputs, hidden_dim, dropout, modality_dropout
        See :class:`ConcatFusion`.
    """

    def _build(self, hidden_dim: int, dropout: float) -> None:
        super()._build(hidden_dim, dropout)
        n_gates = len(self.modalities) * len(self.dimensions)
        self.gate = _perceptron(self._n_inputs, hidden_dim, n_gates, dropout)

    def _fuse(self, pooled: list[Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        said = self._said(pooled)
        x = torch.cat([*pooled, present.to(said.dtype)], dim=1)
        scores = self.gate(x).unflatten(-1, (len(pooled), len(self.dimensions)))
        hidden = ~present[:, :, None]  # (batch, modality, 1)
        lowest = torch.finfo(scores.dtype).min
        weight = scores.masked_fill(hidden, lowest).softmax(dim=1).masked_fill(hidden, 0.0)
        mixed = (said * weight[..., None]).sum(dim=1)  # (batch, dimension, class)
        return mixed.clamp(min=_LOWEST).log(), mixed
