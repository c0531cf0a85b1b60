"""Transformer blocks over a sequence of patches, shared by the encoders of sound and video."""

from torch import Tensor, nn

from physioemo.models.intercortical import InterCorticalBlock

__all__ = ["PatchBlocks"]


class PatchBlocks(nn.Module):
    """Pre-norm blocks; the values after each of them can be tapped.

    Parameters
    ----------
    embed_dim, n_heads, head_dim, mlp_dim, depth, dropout
        Sizes.
    """

    def __init__(
        self,
        embed_dim: int,
        n_heads: int,
        head_dim: int,
        mlp_dim: int,
        depth: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            InterCorticalBlock(embed_dim, n_heads, head_dim, mlp_dim, dropout) for _ in range(depth)
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
        """``(batch, patch, embed)`` to the same, and the values after every block."""
        stages = []
        for block in self.blocks:
            x, _ = block(x, mask)
            stages.append(x)
        return x, stages
