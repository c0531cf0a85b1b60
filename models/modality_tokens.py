"""What every encoder gives and every fusion takes: tokens with times and a mask."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from physioemo.errors import SignalError

__all__ = ["ModalityTokens", "fill_missing", "present_modalities"]


@dataclass(frozen=True)
class ModalityTokens:
    """Tokens of one modality for a batch of windows.

    Parameters
    ----------
    values : Tensor, shape (batch, token, embed)
        What is masked may hold anything but NaN.
    time_seconds : Tensor, shape (batch, token)
        Middle of what each token saw, relative to the window's end: 0 is now, −2 is two seconds
        ago. Modalities may have any rates and lags.
    mask : Tensor of bool, shape (batch, token)
        True where a token may be used.

    Raises
    ------
    SignalError
        If the shapes do not fit each other.
    """

    values: Tensor
    time_seconds: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        shape = self.values.shape[:2]
        fits = self.values.ndim == 3 and self.time_seconds.shape == shape
        if not fits or self.mask.shape != shape or self.mask.dtype != torch.bool:
            raise SignalError(
                f"found values of shape {tuple(self.values.shape)}, times of shape "
                f"{tuple(self.time_seconds.shape)} and a mask of {self.mask.dtype} and shape "
                f"{tuple(self.mask.shape)}, expected (batch, token, embed), (batch, token) and "
                "bool of shape (batch, token)"
            )


def present_modalities(tokens: Mapping[str, ModalityTokens]) -> Tensor:
    """Return which modalities have a usable token, bool of shape (batch, modality)."""
    return torch.stack([t.mask.any(dim=1) for t in tokens.values()], dim=1)


def fill_missing(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return values with NaN at zero, and where they were finite."""
    known = torch.isfinite(values)
    return torch.where(known, values, 0.0), known
