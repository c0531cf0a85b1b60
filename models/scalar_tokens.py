"""Numbers as tokens: heart-rate variability, skin conductance, pupil size, one token each.

Heart-rate variability needs minutes where entropy needs seconds, so a token also carries how long
its window was; how old it is stands in its time. A number that could not be had is masked, not
zero.
"""

from typing import Any

import torch
from torch import Tensor, nn

from physioemo.errors import SignalError
from physioemo.models.modality_tokens import ModalityTokens, fill_missing

__all__ = ["PRESETS", "ScalarTokens"]

PRESETS: dict[str, dict[str, Any]] = {"tiny": {"embed_dim": 32}, "study": {"embed_dim": 128}}


class ScalarTokens(nn.Module):
    """One token for each of a fixed list of numbers.

    Parameters
    ----------
    n_scalars : int
        How many; their order is part of what is learned.
    embed_dim : int
        Width of the tokens.
    """

    def __init__(self, *, n_scalars: int, embed_dim: int = 32) -> None:
        super().__init__()
        self.n_scalars, self.embed_dim = n_scalars, embed_dim
        self.scale = nn.Parameter(torch.randn(n_scalars, embed_dim) * 0.5)
        self.identity = nn.Parameter(torch.randn(n_scalars, embed_dim) * 0.5)
        self.length = nn.Linear(1, embed_dim)

    def forward(
        self,
        values: Tensor,
        *,
        time_seconds: Tensor | None = None,
        length_seconds: Tensor | None = None,
    ) -> ModalityTokens:
        """Return the tokens of numbers.

        Parameters
        ----------
        values : Tensor, shape (batch, scalar)
            Scaled as in training; NaN is missing.
        time_seconds : Tensor, shape (batch, scalar), optional
            When each was had, relative to the window's end; 0 by default.
        length_seconds : Tensor, shape (scalar,), optional
            How much signal each needs; not told by default.

        Raises
        ------
        SignalError
            If there are more or fewer numbers than the model knows.
        """
        if values.ndim != 2 or values.shape[1] != self.n_scalars:
            raise SignalError(
                f"found numbers of shape {tuple(values.shape)}, expected (batch, "
                f"{self.n_scalars}); give those that the model was trained with"
            )
        filled, known = fill_missing(values)
        tokens = filled.unsqueeze(-1) * self.scale + self.identity  # (batch, scalar, embed)
        if length_seconds is not None:
            tokens = tokens + self.length(torch.log1p(length_seconds).unsqueeze(-1))
        seconds = torch.zeros_like(filled) if time_seconds is None else time_seconds
        return ModalityTokens(tokens, seconds, known)
