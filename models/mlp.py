"""A multilayer perceptron on all electrodes at once: the baseline that knows no structure.

Every electrode's band entropies and whether it is usable stand side by side; an unusable
electrode is zero, its mean after scaling.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from physioemo.models.token_input import (
    check_sizes,
    n_logits,
    per_dimension,
    usable_electrodes,
)

__all__ = ["PRESETS", "FlatPerceptron"]

PRESETS: dict[str, dict[str, Any]] = {
    "default": {"hidden_dim": 256, "depth": 2, "dropout": 0.1},
    "tiny": {"hidden_dim": 64, "depth": 2, "dropout": 0.0},
}


class FlatPerceptron(nn.Module):
    """Classify the concatenated tokens of all electrodes.

    Parameters
    ----------
    n_chans : int
        Number of electrodes; their order is part of what the model learns.
    n_bands : int
        Number of features per electrode.
    n_outputs : int
        Number of classes, of each dimension if there are several.
    dimensions : sequence of str, optional
        Rated dimensions, with ``n_outputs`` logits each.
    hidden_dim, depth : int
        Width and number of hidden layers.
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
        hidden_dim: int = 256,
        depth: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self._config: dict[str, Any] = {
            "n_chans": n_chans,
            "n_bands": n_bands,
            "n_outputs": n_outputs,
            "dimensions": None if dimensions is None else list(dimensions),
            "hidden_dim": hidden_dim,
            "depth": depth,
            "dropout": dropout,
        }
        check_sizes(self._config)
        widths = [n_chans * (n_bands + 1)] + [hidden_dim] * depth
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden_dim, n_logits(self._config)))

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
            True where an electrode is usable; the values of others, which may be NaN, change
            nothing.

        Returns
        -------
        Tensor, shape (batch, class) or (batch, dimension, class)

        Raises
        ------
        SignalError
            If the shapes do not fit the model or the mask is not boolean.
        """
        tokens, usable = usable_electrodes(tokens, electrode_mask, self._config)
        known = usable.unsqueeze(-1).to(tokens.dtype)
        logits = self.layers(torch.cat([tokens, known], dim=-1).flatten(1))
        return per_dimension(logits, self._config)
