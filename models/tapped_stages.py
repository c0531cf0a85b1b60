"""Features tapped at three depths of an encoder and weighed by what is learned.

HiCMAE (Sun et al. 2024, arXiv 2401.05698) takes local and global features of encoders after early,
middle and late blocks, and fine-tunes with softmax weights over them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from physioemo.errors import CallError

__all__ = ["TappedStages", "tap_depths"]


def tap_depths(depth: int, n_taps: int = 3) -> tuple[int, ...]:
    """Return after which blocks to tap: evenly, the last among them (4, 7, 10 of ten).

    Raises
    ------
    CallError
        If there are fewer blocks than taps.
    """
    if depth < n_taps:
        raise CallError(f"found {depth} blocks, expected at least {n_taps} to tap")
    step = (depth - 1) // n_taps
    return (
        tuple(depth - 1 - step * k for k in range(n_taps))[::-1]
        if step
        else tuple(range(depth - n_taps, depth))
    )


class TappedStages(nn.Module):
    """The mean of several stages of an encoder, with learned weights that sum to 1.

    Parameters
    ----------
    depths : sequence of int
        Which stages, counted from 0.
    embed_dim : int
        Width of all of them; each is normalised first, since later ones are larger.
    """

    def __init__(self, depths: Sequence[int], embed_dim: int) -> None:
        super().__init__()
        self.depths = tuple(depths)
        self.weights = nn.Parameter(torch.zeros(len(self.depths)))
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dim) for _ in self.depths)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Stages of shape (batch, token, embed) to one of the same shape."""
        tapped = [norm(stages[d]) for d, norm in zip(self.depths, self.norms, strict=True)]
        shares = self.weights.softmax(dim=0)
        return torch.stack([w * x for w, x in zip(shares, tapped, strict=True)]).sum(dim=0)
