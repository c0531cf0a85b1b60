"""What is hidden from an encoder that learns by guessing it, and what there was to guess.

Half of the electrodes; tubes of video, the same places of the picture at all times (VideoMAE: Tong
et al. 2022, arXiv 2203.12602), nine of ten; patches of sound at random, four of five (HiCMAE: Sun
et al. 2024, arXiv 2401.05698). Every encoder takes NaN for missing, so what is hidden is NaN, and
the encoder says at the hidden place what it makes of the others (SimMIM: Xie et al. 2022, arXiv
2111.09886). Pixels and filter banks are normalised within their patch, entropies stay as they are.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from physioemo.models.audio_patches import AudioPatches
from physioemo.models.electrode_tokens import ElectrodeTokens
from physioemo.models.video_tubelets import VideoTubelets

__all__ = ["Guess", "can_mask", "hide", "hide_places", "hide_share", "patch_values"]

_FLAT = 1e-6


class Guess(NamedTuple):
    """A batch with something hidden.

    Parameters
    ----------
    inputs : mapping of str to Tensor
        By the encoder's argument names, NaN where hidden.
    hidden : Tensor of bool, shape (batch, token)
        Which tokens are.
    values : Tensor, shape (batch, token, value)
        What was there.
    """

    inputs: dict[str, Tensor]
    hidden: Tensor
    values: Tensor


def can_mask(encoder: nn.Module) -> bool:
    """Return whether an encoder's tokens exchange anything, so that one can be guessed."""
    return isinstance(encoder, ElectrodeTokens | AudioPatches | VideoTubelets)


def hide(
    encoder: nn.Module, inputs: dict[str, Tensor], share: float, generator: torch.Generator
) -> Guess:
    """Hide a share of the tokens that are there.

    Parameters
    ----------
    encoder : nn.Module
        One that :func:`can_mask`.
    inputs : mapping of str to Tensor
        By the encoder's argument names, ``values`` among them.
    share : float
        Of tokens, and of places in video.
    generator : torch.Generator
        Where chance comes from; on the CPU, so that devices agree.
    """
    values = inputs["values"]
    patches = patch_values(encoder, values)
    there = torch.isfinite(patches).all(dim=-1)
    if isinstance(encoder, VideoTubelets):
        n_steps = there.shape[1] // encoder.grid**2
        hidden = hide_places(there, n_steps, share, generator)
    else:
        hidden = hide_share(there, share, generator)
    gone = _as_input(encoder, hidden, values)
    if not isinstance(encoder, ElectrodeTokens):
        patches = _normalised(patches)
    return Guess({**inputs, "values": values.masked_fill(gone, torch.nan)}, hidden, patches)


def hide_share(there: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Choose a share of the tokens that are there, rounded, in every row by itself.

    One is hidden and one is kept wherever there are two or more.

    Parameters
    ----------
    there : Tensor of bool, shape (batch, token)
    share : float
    generator : torch.Generator

    Returns
    -------
    Tensor of bool, shape (batch, token)
    """
    n = there.sum(dim=1, keepdim=True)
    wanted = (n * share).round().long()
    wanted = torch.minimum(wanted.clamp(min=1), n - 1).clamp(min=0)
    chance = torch.rand(there.shape, generator=generator).to(there.device)
    place = chance.masked_fill(~there, 2.0).argsort(dim=1).argsort(dim=1)
    return (place < wanted) & there


def hide_places(there: Tensor, n_steps: int, share: float, generator: torch.Generator) -> Tensor:
    """Choose tubes: a share of the places, each hidden at every step in time.

    Parameters
    ----------
    there : Tensor of bool, shape (batch, token)
        Steps first, then places.
    n_steps : int
        Steps in time.
    share : float
        Of the places that are there at any step.
    generator : torch.Generator

    Returns
    -------
    Tensor of bool, shape (batch, token)
    """
    grid = there.unflatten(1, (n_steps, -1))  # (batch, step, place)
    places = hide_share(grid.any(dim=1), share, generator)
    return (places.unsqueeze(1) & grid).flatten(1)


def patch_values(encoder: nn.Module, values: Tensor) -> Tensor:
    """Return the values behind each token in the encoder's order, (batch, token, value)."""
    if isinstance(encoder, AudioPatches):
        p, n_steps = encoder.patch, values.shape[1] // encoder.patch
        whole = values[:, values.shape[1] - n_steps * p :]
        grid = whole.reshape(len(values), n_steps, p, encoder.n_mels // p, p)
        return grid.permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)
    if isinstance(encoder, VideoTubelets):
        n, p, k = encoder.grid, encoder.patch, encoder.n_frames_each
        cut = values.reshape(len(values), values.shape[1] // k, k, n, p, n, p, -1)
        return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4).flatten(1, 3)
    return values


def _as_input(encoder: nn.Module, hidden: Tensor, values: Tensor) -> Tensor:
    """Spread tokens that are hidden over the values behind them."""
    if isinstance(encoder, AudioPatches):
        p, n_rows = encoder.patch, encoder.n_mels // encoder.patch
        grid = hidden.unflatten(1, (-1, n_rows))
        wide = grid.repeat_interleave(p, dim=1).repeat_interleave(p, dim=2)
        before = values.shape[1] - wide.shape[1]
        return nn.functional.pad(wide, (0, 0, before, 0))
    if isinstance(encoder, VideoTubelets):
        n, p = encoder.grid, encoder.patch
        grid = hidden.unflatten(1, (-1, n, n)).repeat_interleave(encoder.n_frames_each, dim=1)
        return grid.repeat_interleave(p, dim=2).repeat_interleave(p, dim=3).unsqueeze(-1)
    return hidden.unsqueeze(-1)


def _normalised(patches: Tensor) -> Any:
    mean = patches.mean(dim=-1, keepdim=True)
    return (patches - mean) / (patches.var(dim=-1, keepdim=True) + _FLAT).sqrt()
