"""Gaze and pupils as a time series: strided convolutions, then attention over time."""

from typing import Any

import torch
from torch import Tensor, nn

from physioemo.errors import SignalError
from physioemo.models.modality_tokens import ModalityTokens
from physioemo.models.patch_blocks import PatchBlocks

__all__ = ["PRESETS", "EyeSeries"]

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 32, "n_heads": 4, "head_dim": 8, "mlp_dim": 64, "depth": 2},
    "study": {"embed_dim": 128, "n_heads": 4, "head_dim": 32, "mlp_dim": 256, "depth": 2},
}
_STRIDE = 4


class EyeSeries(nn.Module):
    """A few channels over time to tokens: position, pupils, velocity, of any body signal too.

    Parameters
    ----------
    n_channels : int
        Such as x, y, pupil left, pupil right, velocity. Whether each sample was valid is added by
        the model: a NaN is invalid.
    sfreq : float
        In Hz, for the times of the tokens.
    embed_dim, n_heads, head_dim, mlp_dim, depth, dropout
        Sizes.
    """

    def __init__(
        self,
        *,
        n_channels: int,
        sfreq: float,
        embed_dim: int = 32,
        n_heads: int = 4,
        head_dim: int = 8,
        mlp_dim: int = 64,
        depth: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_channels, self.sfreq, self.embed_dim = n_channels, sfreq, embed_dim
        self.first = nn.Conv1d(2 * n_channels, embed_dim, _STRIDE, stride=_STRIDE)
        self.second = nn.Conv1d(embed_dim, embed_dim, _STRIDE, stride=_STRIDE)
        self.blocks = PatchBlocks(embed_dim, n_heads, head_dim, mlp_dim, depth, dropout)

    def forward(self, values: Tensor, *, return_stages: bool = False) -> Any:
        """Return one token per 16 samples; one that saw no valid sample is masked.

        Parameters
        ----------
        values : Tensor, shape (batch, channel, time)
            Scaled; NaN is missing. Samples that fill no token are left out at the beginning.
        return_stages : bool
            Whether to return the values after every block as well.
        """
        span = _STRIDE * _STRIDE
        if values.ndim != 3 or values.shape[1] != self.n_channels or values.shape[2] < span:
            raise SignalError(
                f"found a series of shape {tuple(values.shape)}, expected (batch, "
                f"{self.n_channels} channels, {span} or more samples)"
            )
        n_tokens = values.shape[2] // span
        values = values[:, :, values.shape[2] - n_tokens * span :]
        known = torch.isfinite(values)
        filled = torch.where(known, values, 0.0)
        x = torch.cat([filled, known.to(filled.dtype)], dim=1)
        x = self.second(nn.functional.gelu(self.first(x))).transpose(1, 2)  # (batch, token, embed)
        mask = known.any(dim=1).reshape(len(values), n_tokens, span).any(dim=2)
        x, stages = self.blocks(x.masked_fill(~mask.unsqueeze(-1), 0.0), mask)
        middle = (torch.arange(n_tokens, device=x.device, dtype=x.dtype) - n_tokens + 0.5) * span
        tokens = ModalityTokens(x, (middle / self.sfreq).expand(len(x), -1), mask)
        return (tokens, stages) if return_stages else tokens
