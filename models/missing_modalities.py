"""Modalities that are hidden on purpose: in training to be missed later, in tests to be missed now.

Positions, blocks and whole modalities go missing in labs: a blink, an electrode that fell off for a
minute, a tracker that was never started.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from physioemo.errors import CallError
from physioemo.models.modality_tokens import ModalityTokens

__all__ = ["PATTERNS", "drop_modalities", "hide_tokens"]

PATTERNS = ("positions", "blocks", "modalities")
"""How :func:`hide_tokens` can hide: single tokens, one stretch of them, or all of a modality."""


def drop_modalities(
    present: Tensor, probability: float, *, generator: torch.Generator | None = None
) -> Tensor:
    """Hide modalities at random, but never the last one of a window.

    Parameters
    ----------
    present : Tensor of bool, shape (batch, modality)
        Which are there.
    probability : float
        With which each is hidden.
    generator : torch.Generator, optional
        Where chance comes from.

    Returns
    -------
    Tensor of bool, shape (batch, modality)
        At least one True wherever `present` has one.
    """
    chance = torch.rand(present.shape, generator=generator, device=present.device)
    kept = present & (chance >= probability)
    # Where all would go, the one with the highest draw stays.
    last = chance.masked_fill(~present, -1.0).argmax(dim=1, keepdim=True)
    alone = torch.zeros_like(present).scatter(1, last, True) & present
    return torch.where(kept.any(dim=1, keepdim=True), kept, alone)


def hide_tokens(
    tokens: Mapping[str, ModalityTokens],
    share: float,
    pattern: str,
    *,
    generator: torch.Generator | None = None,
) -> dict[str, ModalityTokens]:
    """Return tokens of which a share is masked; nothing keeps a window from losing everything.

    Parameters
    ----------
    tokens : mapping of str to ModalityTokens
        What is there.
    share : float
        How much is hidden: of tokens (``positions``), of each modality's time in one stretch
        (``blocks``), or of modalities (``modalities``).
    pattern : str
        One of :data:`PATTERNS`.
    generator : torch.Generator, optional
        Where chance comes from.

    Raises
    ------
    CallError
        If the pattern is not known or the share not between 0 and 1.
    """
    if pattern not in PATTERNS or not 0 <= share <= 1:
        raise CallError(
            f"found the pattern {pattern!r} with a share of {share}, expected one of "
            f"{', '.join(PATTERNS)} and 0 to 1"
        )
    hidden = {}
    for name, part in tokens.items():
        n_batch, n_tokens = part.mask.shape
        if pattern == "modalities":
            lost = torch.rand(n_batch, 1, generator=generator) < share
        elif pattern == "positions":
            lost = torch.rand(n_batch, n_tokens, generator=generator) < share
        else:
            length = share * n_tokens
            start = torch.rand(n_batch, 1, generator=generator) * (n_tokens - length)
            index = torch.arange(n_tokens)[None] + 0.5
            lost = (index >= start) & (index < start + length)
        hidden[name] = replace(part, mask=part.mask & ~lost.to(part.mask.device))
    return hidden
