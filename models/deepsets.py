"""Deep Sets: every electrode is seen alone, and only their mean is judged.

The baseline that tells whether attention between electrodes is needed (Zaheer et al. 2017,
arXiv 1703.06114): one perceptron for each electrode's band entropies, to which a learned identity
is added, the mean over usable electrodes, and a second perceptron. Without the identity the model
could not tell electrodes apart; with it the order of electrodes still does not matter.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from physioemo.models.token_input import (
    check_sizes,
    n_logits,
    per_dimension,
    usable_electrodes,
)

__all__ = ["PRESETS", "DeepSets"]

PRESETS: dict[str, dict[str, Any]] = {
    "default": {"embed_dim": 128, "hidden_dim": 256, "dropout": 0.1},
    "tiny": {"embed_dim": 32, "hidden_dim": 64, "dropout": 0.0},
}


class DeepSets(nn.Module):
    """Classify the mean over electrodes of what each says alone (arXiv 1703.06114).

    Parameters
    ----------
    n_chans : int
        Number of electrodes.
    n_bands : int
        Number of features per electrode.
    n_outputs : int
        Number of classes, of each dimension if there are several.
    dimensions : sequence of str, optional
        Rated dimensions, with ``n_outputs`` logits each.
    embed_dim, hidden_dim : int
        Width of what an electrode says, and of the layers before and after it.
    dropout : float
        Probability of dropout after each hidden layer.

    Raises
    ------
    CallError
        If a size is not positive, or dropout is not in [0, 1).
    """

    def __init__(
        self,
        *,
        n_chans: int,
        n_bands: int = 4,
        n_outputs: int = 2,
        dimensions: Sequence[str] | None = None,
        embed_dim: int = 128,
        hidden_dim: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self._config: dict[str, Any] = {
            "n_chans": n_chans,
            "n_bands": n_bands,
            "n_outputs": n_outputs,
            "dimensions": None if dimensions is None else list(dimensions),
            "embed_dim": embed_dim,
            "hidden_dim": hidden_dim,
            "dropout": dropout,
        }
        check_sizes(self._config)
        self.projection = nn.Linear(n_bands, hidden_dim)
        self.identity = nn.Parameter(torch.randn(1, n_chans, hidden_dim))
        self.each = nn.Sequential(
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, embed_dim),
        )
        self.all = nn.Sequential(
            nn.LayerNorm(embed_dim),
            nn.Linear(embed_dim, hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, n_logits(self._config)),
        )

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments, ready for JSON."""
        return dict(self._config)

    def forward(self, tokens: Tensor, electrode_mask: Tensor | None = None) -> Tensor:
        """Logits of each window.

        Parameters
        ----------
        tokens : Tensor, shape (batch, electrode, band)
        electrode_mask : Tensor of bool, shape (batch, electrode), optional
            True where an electrode is usable; others, which may be NaN, change nothing.

        Returns
        -------
        Tensor, shape (batch, class) or (batch, dimension, class)

        Raises
        ------
        SignalError
            If the shapes do not fit the model or the mask is not boolean.
        """
        tokens, usable = usable_electrodes(tokens, electrode_mask, self._config)
        said = self.each(self.projection(tokens) + self.identity)  # (batch, electrode, embed)
        weight = usable.unsqueeze(-1).to(said.dtype)
        mean = (said * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        return per_dimension(self.all(mean), self._config)
