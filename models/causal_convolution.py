"""Dilated causal convolution over windows: each layer looks twice as far back as the one before.

Bai, Kolter & Koltun 2018 (arXiv 1803.01271). A layer keeps the inputs that its next outputs will
need, so that a window costs the same however long the session has run.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from physioemo.errors import CallError

__all__ = ["PRESETS", "CausalConvolution"]

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 32, "kernel": 3, "depth": 3},
    "study": {"embed_dim": 256, "kernel": 3, "depth": 5},
}


class CausalConvolution(nn.Module):
    """Context from earlier windows, as many as ``field_windows`` with the newest.

    Parameters
    ----------
    embed_dim : int
        Width.
    kernel : int
        Taps of each layer, two or more.
    depth : int
        Layers; the distance between taps is 1, 2, 4 …
    dropout : float
        In each layer.

    Raises
    ------
    CallError
        If there is no layer or a layer has one tap.
    """

    offline_only = False

    def __init__(
        self, *, embed_dim: int = 32, kernel: int = 3, depth: int = 3, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if kernel < 2 or depth < 1:
            raise CallError(
                f"found {depth} layers of {kernel} taps, expected one or more of two or more"
            )
        self.embed_dim = embed_dim
        self.reaches = tuple((kernel - 1) * 2**i for i in range(depth))
        self.blocks = nn.ModuleList(_Block(embed_dim, kernel, 2**i, dropout) for i in range(depth))

    @property
    def field_windows(self) -> int:
        """How many windows an output depends on, the newest among them."""
        return 1 + sum(self.reaches)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """All windows at once: ``(batch, window, embed)`` to the same.

        Parameters
        ----------
        x : Tensor, shape (batch, window, embed)
        known : Tensor of bool, shape (batch, window)
            Not needed here: what is missing is zero.
        """
        for block in self.blocks:
            x = block(x)
        return x

    def start(self) -> tuple[Tensor, ...]:
        """Return the state before the first window: nothing but zeros."""
        weight = next(self.parameters())
        return tuple(weight.new_zeros(reach, self.embed_dim) for reach in self.reaches)

    def step(
        self, x: Tensor, known: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One window ``(embed,)`` to the same, and the state after it."""
        after = []
        for block, earlier in zip(self.blocks, state, strict=True):
            x, earlier = block.step(x, earlier)  # type: ignore[operator]
            after.append(earlier)
        return x, tuple(after)


class _Block(nn.Module):
    """Norm, dilated convolution, GELU, a linear layer, beside what came in."""

    def __init__(self, embed_dim: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation, self.reach = dilation, (kernel - 1) * dilation
        self.norm = nn.LayerNorm(embed_dim)
        self.taps = nn.Linear(kernel * embed_dim, embed_dim)  # the earliest tap first
        self.mix = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(embed_dim, embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        normed = pad(self.norm(x), (0, 0, self.reach, 0))  # (batch, reach + window, embed)
        seen = normed.unfold(1, self.reach + 1, 1)[..., :: self.dilation]
        taps = seen.transpose(2, 3).flatten(2)  # (batch, window, tap × embed)
        return x + self.mix(self.taps(taps))

    def step(self, x: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.cat([earlier, self.norm(x).unsqueeze(0)])  # (reach + 1, embed)
        taps = seen[:: self.dilation].flatten()
        return x + self.mix(linear(taps, self.taps.weight, self.taps.bias)), seen[1:]
