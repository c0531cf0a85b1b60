"""Video as tubelets: 2 frames × 16 × 16 pixels are one token.

As in VideoMAE (Tong et al. 2022, arXiv 2203.12602) and HiCMAE (arXiv 2401.05698). Where a person
looked can weigh what is pooled: :func:`gaze_pool`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from physioemo.errors import SignalError
from physioemo.models.fusion import FourierTime
from physioemo.models.modality_tokens import ModalityTokens
from physioemo.models.patch_blocks import PatchBlocks

__all__ = ["PRESETS", "VideoTubelets", "gaze_pool"]

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "size": 32, "embed_dim": 32, "n_heads": 4, "head_dim": 8, "mlp_dim": 64, "depth": 2,
    },
    "study": {
        "size": 160, "embed_dim": 384, "n_heads": 6, "head_dim": 64, "mlp_dim": 1536, "depth": 10,
    },
}  # fmt: skip


class VideoTubelets(nn.Module):
    """Frames to tokens.

    Parameters
    ----------
    size : int
        Height and width of the frames in pixels, a multiple of `patch`.
    patch, n_frames_each : int
        Edge of a tubelet in pixels, and its frames.
    n_colours : int
        3, or 1 for grey.
    embed_dim, n_heads, head_dim, mlp_dim, depth, dropout
        Sizes.
    """

    def __init__(
        self,
        *,
        size: int = 32,
        patch: int = 16,
        n_frames_each: int = 2,
        n_colours: int = 3,
        embed_dim: int = 32,
        n_heads: int = 4,
        head_dim: int = 8,
        mlp_dim: int = 64,
        depth: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if size % patch:
            raise SignalError(f"found frames of {size} pixels, expected a multiple of {patch}")
        self.size, self.patch, self.n_frames_each = size, patch, n_frames_each
        self.n_colours, self.embed_dim = n_colours, embed_dim
        self.project = nn.Linear(n_frames_each * patch * patch * n_colours, embed_dim)
        self.place = nn.Parameter(torch.randn((size // patch) ** 2, embed_dim) * 0.1)
        self.when = FourierTime(embed_dim)
        self.blocks = PatchBlocks(embed_dim, n_heads, head_dim, mlp_dim, depth, dropout)

    @property
    def grid(self) -> int:
        """Tubelets along each edge of a frame."""
        return self.size // self.patch

    def forward(self, values: Tensor, time_seconds: Tensor, *, return_stages: bool = False) -> Any:
        """Return one token per tubelet, steps in time first; one with a NaN is masked.

        Parameters
        ----------
        values : Tensor, shape (batch, frame, height, width, colour)
            Scaled to about 0 ± 1; frames need not lie at even distances.
        time_seconds : Tensor, shape (batch, frame)
            When each frame was shown, relative to the window's end; NaN where there is none.
        return_stages : bool
            Whether to return the values after every block as well.
        """
        n_batch, n_frames = values.shape[:2]
        expected = (self.size, self.size, self.n_colours)
        if values.ndim != 5 or tuple(values.shape[2:]) != expected or n_frames % self.n_frames_each:
            raise SignalError(
                f"found video of shape {tuple(values.shape)}, expected (batch, a multiple of "
                f"{self.n_frames_each} frames, {self.size}, {self.size}, {self.n_colours})"
            )
        n, p, k = self.grid, self.patch, self.n_frames_each
        cut = values.reshape(n_batch, n_frames // k, k, n, p, n, p, self.n_colours)
        tubes = cut.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)  # (batch, step, row, column, value)
        tubes = tubes.flatten(2, 3)  # (batch, step, place, value)
        seconds = time_seconds.reshape(n_batch, n_frames // k, k).mean(dim=2)
        mask = torch.isfinite(tubes).all(dim=-1) & torch.isfinite(seconds).unsqueeze(-1)
        seconds = torch.nan_to_num(seconds)
        x = self.project(tubes.masked_fill(~mask.unsqueeze(-1), 0.0)) + self.place
        x = (x + self.when(seconds).unsqueeze(2)).flatten(1, 2)
        mask = mask.flatten(1, 2)
        x, stages = self.blocks(x, mask)
        tokens = ModalityTokens(x, seconds.repeat_interleave(n * n, dim=1), mask)
        return (tokens, stages) if return_stages else tokens


def gaze_pool(tokens: ModalityTokens, gaze: Tensor, *, spread: float = 0.15) -> ModalityTokens:
    """Pool the places of each step in time by how near they are to where the person looked.

    Weights are a normal curve around the gaze, normalised over the usable places; without gaze all
    places count alike.

    Parameters
    ----------
    tokens : ModalityTokens
        Of :class:`VideoTubelets`: steps in time first, then the places of a square grid.
    gaze : Tensor, shape (batch, step, 2)
        x and y from the top left, in shares of the picture; NaN where it is not known.
    spread : float
        Standard deviation in shares of the picture; 0.15 is about the fovea and what surrounds
        it on a screen that fills 30 degrees.

    Returns
    -------
    ModalityTokens
        One token per step.
    """
    n_batch, n_steps = gaze.shape[:2]
    n_places = tokens.values.shape[1] // n_steps
    n = round(n_places**0.5)
    if n * n * n_steps != tokens.values.shape[1] or gaze.shape[2:] != (2,):
        raise SignalError(
            f"found gaze of shape {tuple(gaze.shape)} for {tokens.values.shape[1]} tokens, "
            "expected (batch, step, 2) with a square grid of tokens for each step"
        )
    middle = (torch.arange(n, device=gaze.device, dtype=gaze.dtype) + 0.5) / n
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    place = torch.stack([x.flatten(), y.flatten()], dim=-1)  # (place, 2)
    known = torch.isfinite(gaze).all(dim=-1)  # (batch, step)
    distance = (torch.nan_to_num(gaze).unsqueeze(2) - place).square().sum(dim=-1)
    weight = torch.where(known.unsqueeze(-1), torch.exp(-distance / (2 * spread**2)), 1.0)
    mask = tokens.mask.reshape(n_batch, n_steps, n_places)
    weight = weight.clamp(min=1e-12) * mask
    weight = weight / weight.sum(dim=-1, keepdim=True).clamp(min=1e-12)
    values = tokens.values.reshape(n_batch, n_steps, n_places, -1)
    pooled = (values * weight.unsqueeze(-1)).sum(dim=2)
    seconds = tokens.time_seconds.reshape(n_batch, n_steps, n_places)[:, :, 0]
    return ModalityTokens(pooled, seconds, mask.any(dim=-1))
