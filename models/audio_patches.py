"""Sound as patches of a filter-bank spectrogram: an audio patch transformer.

Patches of 16 × 16 of a 128-band filter bank with a 10 ms hop, each projected to one token, as in
AST (Gong et al. 2021, arXiv 2104.01778) and HiCMAE (Sun et al. 2024, arXiv 2401.05698). Positions
are a learned vector per band patch and a Fourier code of time, so that any length fits.
"""

from typing import Any

import torch
from torch import Tensor, nn

from physioemo.errors import SignalError
from physioemo.models.fusion import FourierTime
from physioemo.models.modality_tokens import ModalityTokens
from physioemo.models.patch_blocks import PatchBlocks

__all__ = ["PRESETS", "AudioPatches"]

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 32, "n_heads": 4, "head_dim": 8, "mlp_dim": 64, "depth": 2},
    "study": {"embed_dim": 384, "n_heads": 6, "head_dim": 64, "mlp_dim": 1536, "depth": 10},
}


class AudioPatches(nn.Module):
    """Filter-bank spectrograms to tokens.

    Parameters
    ----------
    n_mels, patch : int
        Bands, and edge of a patch in bands and frames; bands must divide into patches.
    hop_seconds : float
        Between two frames.
    embed_dim, n_heads, head_dim, mlp_dim, depth, dropout
        Sizes.
    """

    def __init__(
        self,
        *,
        n_mels: int = 128,
        patch: int = 16,
        hop_seconds: float = 0.01,
        embed_dim: int = 32,
        n_heads: int = 4,
        head_dim: int = 8,
        mlp_dim: int = 64,
        depth: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if n_mels % patch:
            raise SignalError(f"found {n_mels} bands, expected a multiple of the patch of {patch}")
        self.n_mels, self.patch, self.hop_seconds = n_mels, patch, hop_seconds
        self.embed_dim = embed_dim
        self.project = nn.Linear(patch * patch, embed_dim)
        self.band = nn.Parameter(torch.randn(n_mels // patch, embed_dim) * 0.1)
        self.when = FourierTime(embed_dim)
        self.blocks = PatchBlocks(embed_dim, n_heads, head_dim, mlp_dim, depth, dropout)

    def forward(self, values: Tensor, *, return_stages: bool = False) -> Any:
        """Return one token per patch; a patch with a NaN is masked.

        Parameters
        ----------
        values : Tensor, shape (batch, frame, band)
            Scaled filter-bank energies that end where the window ends; frames that fill no patch
            are left out at the beginning.
        return_stages : bool
            Whether to return the values after every block as well.
        """
        if values.ndim != 3 or values.shape[2] != self.n_mels or values.shape[1] < self.patch:
            raise SignalError(
                f"found filter banks of shape {tuple(values.shape)}, expected (batch, {self.patch} "
                f"or more frames, {self.n_mels} bands)"
            )
        n_steps = values.shape[1] // self.patch
        whole = values[:, values.shape[1] - n_steps * self.patch :]
        n_rows = self.n_mels // self.patch
        grid = whole.reshape(values.shape[0], n_steps, self.patch, n_rows, self.patch)
        patches = grid.permute(0, 1, 3, 2, 4).flatten(3)  # (batch, step, row, pixel)
        mask = torch.isfinite(patches).all(dim=-1)
        x = self.project(patches.masked_fill(~mask.unsqueeze(-1), 0.0)) + self.band
        length = self.patch * self.hop_seconds
        ends = torch.arange(n_steps, device=values.device) - n_steps + 0.5
        seconds = (ends * length).to(x.dtype)  # (step,)
        x = x + self.when(seconds)[:, None]
        x, mask = x.flatten(1, 2), mask.flatten(1, 2)
        x, stages = self.blocks(x, mask)
        times = seconds.repeat_interleave(n_rows).expand(values.shape[0], -1)
        tokens = ModalityTokens(x, times, mask)
        return (tokens, stages) if return_stages else tokens
