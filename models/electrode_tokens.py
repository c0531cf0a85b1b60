"""The inter-cortical transformer as an encoder: electrodes in, electrodes out, nothing pooled."""

from typing import Any

import torch
from torch import Tensor, nn

from physioemo.errors import SignalError
from physioemo.models.intercortical import ElectrodeIdentity, InterCorticalBlock, TokenProjection
from physioemo.models.modality_tokens import ModalityTokens

__all__ = ["PRESETS", "ElectrodeTokens"]

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 32, "n_heads": 4, "head_dim": 8, "mlp_dim": 64, "depth": 2},
    "study": {"embed_dim": 128, "n_heads": 6, "head_dim": 32, "mlp_dim": 128, "depth": 4},
}


class ElectrodeTokens(nn.Module):
    """Band entropies to one token per electrode, after attention between electrodes.

    Parameters
    ----------
    n_chans, n_bands : int
        Electrodes and bands.
    embed_dim, n_heads, head_dim, mlp_dim, depth, dropout
        As in :class:`physioemo.models.intercortical.InterCorticalTransformer`, whose parameter
        names its layers have, so that pre-trained weights fit.
    """

    def __init__(
        self,
        *,
        n_chans: int,
        n_bands: int,
        embed_dim: int = 32,
        n_heads: int = 4,
        head_dim: int = 8,
        mlp_dim: int = 64,
        depth: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_chans, self.n_bands, self.embed_dim = n_chans, n_bands, embed_dim
        self.bde_proj_layer = TokenProjection(n_bands, embed_dim)
        self.electrode_id_embedding = ElectrodeIdentity(n_chans, embed_dim)
        self.dropout = nn.Dropout(dropout)
        self.intercortical_attention_blocks = nn.ModuleList(
            InterCorticalBlock(embed_dim, n_heads, head_dim, mlp_dim, dropout) for _ in range(depth)
        )

    def forward(self, values: Tensor, *, return_stages: bool = False) -> Any:
        """Return one token per electrode.

        Parameters
        ----------
        values : Tensor, shape (batch, electrode, band)
            Scaled band entropies; an electrode with a NaN is missing.
        return_stages : bool
            Whether to return the values after every block as well, for
            :class:`physioemo.models.tapped_stages.TappedStages`.

        Returns
        -------
        tokens : ModalityTokens
        stages : list of Tensor, shape (batch, electrode, embed)
            Only on request.
        """
        if values.ndim != 3 or tuple(values.shape[1:]) != (self.n_chans, self.n_bands):
            raise SignalError(
                f"found entropies of shape {tuple(values.shape)}, expected (batch, {self.n_chans} "
                f"electrodes, {self.n_bands} bands); use the montage of training"
            )
        usable = torch.isfinite(values).all(dim=-1)
        x = self.bde_proj_layer(values.masked_fill(~usable.unsqueeze(-1), 0.0))
        x = self.dropout(self.electrode_id_embedding(x))
        stages = []
        for block in self.intercortical_attention_blocks:
            x, _ = block(x, usable)
            stages.append(x)
        tokens = ModalityTokens(x, torch.zeros_like(x[..., 0]), usable)
        return (tokens, stages) if return_stages else tokens
