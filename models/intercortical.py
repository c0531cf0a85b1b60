"""The inter-cortical transformer: electrodes as tokens, attention between electrodes.

Architecture of RBTransformer (arXiv 2511.13954): every electrode is one token that holds its
band differential entropies; a learned identity is added per electrode, pre-norm attention
blocks let electrodes exchange information, and the mean over electrodes is classified.
Parameter names and shapes are those of the published checkpoints. Two things are added: a
mask of usable electrodes, and one head per rated dimension.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from physioemo.errors import CallError
from physioemo.models.published import published_arguments, read_published
from physioemo.models.token_input import check_tokens
from physioemo.models.weights import fit_weights

__all__ = ["PRESETS", "InterCorticalTransformer"]

PRESETS: dict[str, dict[str, Any]] = {
    "published": {"embed_dim": 128, "n_heads": 6, "head_dim": 32, "mlp_dim": 128, "depth": 4},
    # For one session's trials: token noise in training takes the place of dropout.
    "tiny": {
        "embed_dim": 32,
        "n_heads": 4,
        "head_dim": 8,
        "mlp_dim": 64,
        "depth": 2,
        "dropout": 0.0,
    },
}


class TokenProjection(nn.Module):
    """Project band differential entropies to the embedding width."""

    def __init__(self, n_bands: int, embed_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_bands, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, electrode, band)`` to ``(batch, electrode, embed)``."""
        return self.linear(tokens)


class ElectrodeIdentity(nn.Module):
    """Add one learned vector per electrode, so that attention knows which is which."""

    def __init__(self, n_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(1, n_chans, embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, electrode, embed)`` to the same shape."""
        return x + self.embedding


class Attention(nn.Module):
    """Multi-head attention between electrodes, written out so that its weights can be seen."""

    def __init__(self, embed_dim: int, n_heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        inner_dim = n_heads * head_dim
        self.n_heads = n_heads
        self.scale = head_dim**-0.5
        self.to_qkv = nn.Linear(embed_dim, 3 * inner_dim, bias=False)
        self.attention_dropout = nn.Dropout(dropout)
        self.to_out = nn.Sequential(nn.Linear(inner_dim, embed_dim), nn.Dropout(dropout))

    def forward(self, x: Tensor, electrode_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(batch, electrode, embed)`` to the same, and the attention before dropout."""
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (batch, head, electrode, dim)
            for part in self.to_qkv(x).chunk(3, dim=-1)
        )
        scores = q @ k.transpose(-1, -2) * self.scale  # (batch, head, electrode, electrode)
        attention = masked_softmax(scores, electrode_mask)
        mixed = self.attention_dropout(attention) @ v  # (batch, head, electrode, dim)
        return self.to_out(mixed.transpose(1, 2).flatten(2)), attention


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU, for each electrode alone."""

    def __init__(self, embed_dim: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(embed_dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, embed_dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, electrode, embed)`` to the same shape."""
        return self.net(x)


class PreNorm(nn.Module):
    """LayerNorm before another module; a container that gives the published key names."""

    def __init__(self, embed_dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dim)
        self.fn = fn

    def forward(self, x: Tensor, *arguments: Tensor | None) -> Any:
        """Whatever ``fn`` makes of the normalised ``x``."""
        return self.fn(self.norm(x), *arguments)


class InterCorticalBlock(nn.Module):
    """One pre-norm transformer block over electrodes."""

    def __init__(
        self, embed_dim: int, n_heads: int, head_dim: int, mlp_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = PreNorm(embed_dim, Attention(embed_dim, n_heads, head_dim, dropout))
        self.feed_forward = PreNorm(embed_dim, FeedForward(embed_dim, mlp_dim, dropout))

    def forward(self, x: Tensor, electrode_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(batch, electrode, embed)`` to the same, and the block's attention."""
        exchanged, attention = self.attention(x, electrode_mask)
        x = x + exchanged
        return x + self.feed_forward(x), attention


class ClassificationHead(nn.Module):
    """LayerNorm and a four-layer perceptron on the mean over electrodes."""

    def __init__(self, embed_dim: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        widths = [embed_dim, 2 * embed_dim, 2 * embed_dim, embed_dim]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU(), nn.Dropout(dropout)]
        self.norm = nn.LayerNorm(embed_dim)
        self.mlp = nn.Sequential(*layers, nn.Linear(embed_dim, n_outputs))

    def forward(self, pooled: Tensor) -> Tensor:
        """``(batch, embed)`` to logits ``(batch, class)``."""
        return self.mlp(self.norm(pooled))


class InterCorticalTransformer(nn.Module):
    """Classify emotion from band entropies by attention between electrodes (arXiv 2511.13954).

    Parameters
    ----------
    n_chans : int
        Number of electrodes; their order is part of what the model learns.
    n_bands : int
        Number of frequency bands per electrode.
    n_outputs : int
        Number of classes, of each dimension if there are several.
    dimensions : sequence of str, optional
        Rated dimensions such as ``("valence", "arousal", "dominance")``: one head each.
        Without it there is the one head of the published model.
    embed_dim, n_heads, head_dim, mlp_dim, depth : int
        Sizes; the defaults are the published ones.
    dropout : float
        Probability of dropout everywhere in the model.

    Raises
    ------
    CallError
        If a size is not positive, dropout is not in [0, 1), or a dimension cannot be a name.
    """

    def __init__(
        self,
        *,
        n_chans: int,
        n_bands: int = 4,
        n_outputs: int = 2,
        dimensions: Sequence[str] | None = None,
        embed_dim: int = 128,
        n_heads: int = 6,
        head_dim: int = 32,
        mlp_dim: int = 128,
        depth: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self._config = {
            "n_chans": n_chans,
            "n_bands": n_bands,
            "n_outputs": n_outputs,
            "dimensions": None if dimensions is None else list(dimensions),
            "embed_dim": embed_dim,
            "n_heads": n_heads,
            "head_dim": head_dim,
            "mlp_dim": mlp_dim,
            "depth": depth,
            "dropout": dropout,
        }
        _check_arguments(self._config)
        self.bde_proj_layer = TokenProjection(n_bands, embed_dim)
        self.electrode_id_embedding = ElectrodeIdentity(n_chans, embed_dim)
        self.dropout = nn.Dropout(dropout)
        self.intercortical_attention_blocks = nn.ModuleList(
            InterCorticalBlock(embed_dim, n_heads, head_dim, mlp_dim, dropout) for _ in range(depth)
        )
        if dimensions is None:
            self.classification_head = ClassificationHead(embed_dim, n_outputs, dropout)
        else:
            self.classification_heads = nn.ModuleDict(
                {name: ClassificationHead(embed_dim, n_outputs, dropout) for name in dimensions}
            )

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments, ready for JSON."""
        return dict(self._config)

    def forward(
        self,
        tokens: Tensor,
        electrode_mask: Tensor | None = None,
        *,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of each window, and on request the attention behind them.

        Parameters
        ----------
        tokens : Tensor, shape (batch, electrode, band)
            Band differential entropies, scaled as in training, in the model's own dtype.
        electrode_mask : Tensor of bool, shape (batch, electrode), optional
            True where an electrode is usable. Others are neither attended to nor averaged, and
            their tokens, which may be NaN, change nothing. A window without any usable
            electrode gives finite logits that mean nothing (the head of a zero vector):
            the caller abstains there. Without a mask the computation is the published one.
        return_attention : bool
            Whether to return the attention as well.

        Returns
        -------
        logits : Tensor, shape (batch, class) or (batch, dimension, class)
        attention : Tensor, shape (batch, layer, head, electrode, electrode)
            Only on request; before dropout. Each row is one attending electrode and sums to 1
            (to 0 in a window without any usable electrode).

        Raises
        ------
        SignalError
            If the shapes do not fit the model or the mask is not boolean.
        """
        check_tokens(tokens, electrode_mask, self._config)
        if electrode_mask is not None:
            tokens = tokens.masked_fill(~electrode_mask.unsqueeze(-1), 0.0)
        x = self.bde_proj_layer(tokens)  # (batch, electrode, embed)
        x = self.dropout(self.electrode_id_embedding(x))  # (batch, electrode, embed)
        layers = []
        for block in self.intercortical_attention_blocks:
            x, attention = block(x, electrode_mask)  # (batch, head, electrode, electrode)
            if return_attention:
                layers.append(attention)
        logits = self._classify(masked_mean(x, electrode_mask))
        return (logits, torch.stack(layers, dim=1)) if return_attention else logits

    @classmethod
    def from_published(cls, path: str | Path, *, n_heads: int | None = None) -> Self:
        """Load a checkpoint in the published layout; sizes are read off the weights.

        Parameters
        ----------
        path : path
            A ``.safetensors`` file, or a folder with ``model.safetensors`` and, if there is
            one, the authors' ``config.json``.
        n_heads : int, optional
            Number of attention heads, which no shape shows. Otherwise ``config.json`` tells
            it, or the published 6 is taken for the two published widths, 192 and 96.

        Returns
        -------
        InterCorticalTransformer
            In eval mode.

        Raises
        ------
        CheckpointError
            If the file is missing, damaged or not safetensors (nothing else is ever opened),
            if weights are missing, unexpected or of the wrong shape, or if the number of
            heads cannot be told.
        """
        tensors, settings = read_published(path)
        arguments = published_arguments(tensors, settings, path, n_heads=n_heads)
        return fit_weights(lambda: cls(**arguments), tensors, path)

    def _classify(self, pooled: Tensor) -> Tensor:
        if self._config["dimensions"] is None:
            return self.classification_head(pooled)  # (batch, class)
        heads = self.classification_heads.values()
        return torch.stack([head(pooled) for head in heads], dim=1)  # (batch, dimension, class)


def masked_softmax(scores: Tensor, electrode_mask: Tensor | None) -> Tensor:
    """Softmax over the last axis of ``(batch, head, electrode, electrode)``, usable keys only.

    Where no key is usable the result is zero, not NaN.
    """
    if electrode_mask is None:
        return scores.softmax(dim=-1)
    unusable = ~electrode_mask[:, None, None, :]  # (batch, 1, 1, electrode)
    lowest = torch.finfo(scores.dtype).min  # not -inf: a row of -inf has NaN gradients
    return scores.masked_fill(unusable, lowest).softmax(dim=-1).masked_fill(unusable, 0.0)


def masked_mean(x: Tensor, electrode_mask: Tensor | None) -> Tensor:
    """Mean of ``(batch, electrode, embed)`` over usable electrodes; zero where there is none."""
    if electrode_mask is None:
        return x.mean(dim=1)
    usable = electrode_mask.unsqueeze(-1)  # (batch, electrode, 1)
    return x.masked_fill(~usable, 0.0).sum(dim=1) / usable.sum(dim=1).clamp(min=1)


def _check_arguments(config: dict[str, Any]) -> None:
    for name, value in config.items():
        if name not in {"dimensions", "dropout"} and (type(value) is not int or value < 1):
            raise CallError(f"{name}={value!r} is not a size: give a Python int above zero.")
    if not 0.0 <= config["dropout"] < 1.0:
        raise CallError(f"dropout={config['dropout']!r} is not a probability: give 0 to below 1.")
    if config["dimensions"] is not None:
        _check_dimensions(config["dimensions"])


def _check_dimensions(dimensions: list[str]) -> None:
    # A key of ModuleDict that shadows one of its own attributes is refused by torch.
    usable = [
        isinstance(name, str) and name.isidentifier() and not hasattr(nn.ModuleDict, name)
        for name in dimensions
    ]
    if not dimensions or not all(usable) or len(set(dimensions)) < len(dimensions):
        raise CallError(
            f"dimensions={dimensions!r} cannot name the heads: expected one or more different "
            'plain names such as ("valence", "arousal").'
        )
