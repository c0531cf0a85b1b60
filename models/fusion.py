"""Fusion by attention: one query per rated dimension reads the tokens of all modalities.

Each modality is projected to one width and told apart by a learned vector; when a token was is a
Fourier code of its time in seconds, so that modalities of unequal rates and lags meet on one axis.
The queries for valence, arousal and dominance are tokens like the others and always there, so that
attention is never over nothing: with every modality missing the model abstains and says the prior
of its training.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from physioemo.errors import CallError, SignalError
from physioemo.models.intercortical import InterCorticalBlock
from physioemo.models.missing_modalities import drop_modalities
from physioemo.models.modality_tokens import ModalityTokens, present_modalities

__all__ = ["PRESETS", "FourierTime", "FusionOutput", "QueryFusion"]

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 32, "n_heads": 4, "head_dim": 8, "mlp_dim": 64, "depth": 2},
    "study": {"embed_dim": 256, "n_heads": 8, "head_dim": 32, "mlp_dim": 512, "depth": 4},
}
_PERIODS_SECONDS = (0.05, 120.0)


class FusionOutput(NamedTuple):
    """What a fusion says of a batch of windows.

    Parameters
    ----------
    logits : Tensor, shape (batch, dimension, class)
        Where it abstains, the logarithm of the training prior.
    abstain : Tensor of bool, shape (batch,)
        True where no modality is there.
    features : Tensor, shape (batch, dimension, embed)
        What the logits were made of.
    """

    logits: Tensor
    abstain: Tensor
    features: Tensor


class FourierTime(nn.Module):
    """Times in seconds to a vector: sines and cosines of periods from 0.05 to 120 s.

    Tancik et al. 2020 (arXiv 2006.10739), with periods in geometric steps.

    Parameters
    ----------
    embed_dim : int
        Width of the result.
    n_periods : int
        How many periods.
    """

    frequencies: Tensor

    def __init__(self, embed_dim: int, n_periods: int = 16) -> None:
        super().__init__()
        low, high = (math.log(p) for p in _PERIODS_SECONDS)
        periods = torch.exp(torch.linspace(low, high, n_periods))
        self.register_buffer("frequencies", 2 * math.pi / periods, persistent=False)
        self.linear = nn.Linear(2 * n_periods, embed_dim)

    def forward(self, seconds: Tensor) -> Tensor:
        """``(batch, token)`` in seconds to ``(batch, token, embed)``."""
        phase = seconds.unsqueeze(-1) * self.frequencies
        return self.linear(torch.cat([phase.sin(), phase.cos()], dim=-1))


class QueryFusion(nn.Module):
    """Classify each rated dimension from the tokens of several modalities.

    Parameters
    ----------
    modalities : mapping of str to int
        Width of each modality's tokens.
    dimensions : sequence of str
        Rated dimensions, one query each.
    n_outputs : int
        Classes of each.
    embed_dim, n_heads, head_dim, mlp_dim, depth : int
        Sizes.
    dropout : float
        Everywhere in the blocks.
    modality_dropout : float
        Probability with which a modality is hidden from a window in training; one always stays.

    Raises
    ------
    CallError
        If there is no modality or no dimension.
    """

    prior_logits: Tensor

    def __init__(
        self,
        *,
        modalities: Mapping[str, int],
        dimensions: Sequence[str],
        n_outputs: int = 2,
        embed_dim: int = 32,
        n_heads: int = 4,
        head_dim: int = 8,
        mlp_dim: int = 64,
        depth: int = 2,
        dropout: float = 0.0,
        modality_dropout: float = 0.3,
    ) -> None:
        super().__init__()
        check_fusion(modalities, dimensions, modality_dropout)
        self.modalities, self.dimensions = dict(modalities), tuple(dimensions)
        self.modality_dropout = modality_dropout
        self.projections = nn.ModuleDict(
            {m: nn.Linear(n, embed_dim) for m, n in modalities.items()}
        )
        self.identity = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(embed_dim) * 0.5) for m in modalities}
        )
        self.when = FourierTime(embed_dim)
        self.queries = nn.Parameter(torch.randn(len(dimensions), embed_dim) * 0.5)
        self.blocks = nn.ModuleList(
            InterCorticalBlock(embed_dim, n_heads, head_dim, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.heads = nn.ModuleList(nn.Linear(embed_dim, n_outputs) for _ in dimensions)
        self.register_buffer("prior_logits", torch.zeros(len(dimensions), n_outputs))

    def forward(self, tokens: Mapping[str, ModalityTokens]) -> FusionOutput:
        """Return logits of each window.

        Parameters
        ----------
        tokens : mapping of str to ModalityTokens
            One entry for each modality of the model; what is missing is masked.

        Raises
        ------
        SignalError
            If a modality is not given, or has another width.
        """
        tokens = checked_tokens(tokens, self.modalities)
        present = present_modalities(tokens)  # (batch, modality)
        abstain = ~present.any(dim=1)
        if self.training and self.modality_dropout:
            present = drop_modalities(present, self.modality_dropout)
        parts, masks = [], []
        for i, (name, part) in enumerate(tokens.items()):
            parts.append(
                self.projections[name](part.values)
                + self.identity[name]
                + self.when(part.time_seconds)
            )
            masks.append(part.mask & present[:, i : i + 1])
        n_batch, n_queries = abstain.shape[0], len(self.dimensions)
        x = torch.cat([self.queries.expand(n_batch, -1, -1), *parts], dim=1)
        always = torch.ones(n_batch, n_queries, dtype=torch.bool, device=x.device)
        mask = torch.cat([always, *masks], dim=1)  # (batch, query + token)
        for block in self.blocks:
            x, _ = block(x, mask)
        features = self.norm(x[:, :n_queries])  # (batch, dimension, embed)
        logits = torch.stack([head(features[:, i]) for i, head in enumerate(self.heads)], dim=1)
        logits = torch.where(abstain[:, None, None], self.prior_logits.to(logits.dtype), logits)
        return FusionOutput(logits, abstain, features)


def check_fusion(
    modalities: Mapping[str, int], dimensions: Sequence[str], modality_dropout: float
) -> None:
    """Refuse a fusion of nothing.

    Raises
    ------
    CallError
        If there is no modality or no dimension, one dimension twice, or a modality would always
        be hidden.
    """
    if not modalities or not dimensions or len(set(dimensions)) < len(dimensions):
        raise CallError(
            f"found the modalities {list(modalities)} and dimensions {list(dimensions)}, expected "
            "one or more of both, each once"
        )
    if not 0.0 <= modality_dropout < 1.0:
        raise CallError(f"found modality_dropout={modality_dropout}, expected 0 to below 1")


def checked_tokens(
    tokens: Mapping[str, ModalityTokens], widths: Mapping[str, int]
) -> dict[str, ModalityTokens]:
    """Return the tokens in the model's order, what is masked at zero.

    Raises
    ------
    SignalError
        If a modality is not given, is not known, or has another width.
    """
    if set(tokens) != set(widths):
        raise SignalError(
            f"found the modalities {', '.join(tokens) or 'none'}, expected "
            f"{', '.join(widths)}; give each, with everything masked if it is missing"
        )
    checked = {}
    for name, width in widths.items():
        part = tokens[name]
        if part.values.shape[2] != width:
            raise SignalError(
                f"found tokens of width {part.values.shape[2]} for {name!r}, expected {width}"
            )
        values = part.values.masked_fill(~part.mask.unsqueeze(-1), 0.0)
        seconds = part.time_seconds.masked_fill(~part.mask, 0.0)
        checked[name] = ModalityTokens(values, seconds, part.mask)
    return checked
