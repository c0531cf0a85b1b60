"""Frames of a picture through a network of torchvision or timm: one token per frame.

It stands where :class:`~physioemo.models.video_tubelets.VideoTubelets` does. The network's weights
come from a local file (:meth:`FrameBackbone.load`) and stay as they are unless ``frozen`` is off;
a fused model that is saved afterwards carries them and their hash.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from physioemo.errors import CallError, SignalError
from physioemo.models.backbones import HEADS, build_network, load_weights
from physioemo.models.modality_tokens import ModalityTokens

__all__ = ["PRESETS", "FrameBackbone"]

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"kind": "timm", "name": "test_resnet", "size": 32, "embed_dim": 32},
    "study": {"kind": "torchvision", "name": "resnet50", "size": 224, "embed_dim": 256},
}
_N_HASH = 32


class FrameBackbone(nn.Module):
    """Frames to tokens.

    Parameters
    ----------
    kind : str
        ``torchvision`` or ``timm``.
    name : str
        Of the architecture.
    size : int
        Height and width of the frames in pixels.
    embed_dim : int
        Width of the tokens.
    frozen : bool
        Whether only the projection to the tokens is trained.
    arguments : mapping, optional
        Of the architecture.

    Raises
    ------
    CallError
        If the architecture is not known, or takes no such frames.
    MissingExtraError
        If the library is not installed.
    """

    weights_hash: Tensor

    def __init__(
        self,
        *,
        kind: str,
        name: str,
        size: int = 224,
        embed_dim: int = 32,
        frozen: bool = True,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if kind not in ("torchvision", "timm"):
            raise CallError(f"found the kind {kind!r} for frames, expected torchvision or timm")
        self.size, self.embed_dim, self.frozen = size, embed_dim, frozen
        self.network = build_network(kind, name, arguments or {})
        self.network.requires_grad_(not frozen)
        self.project = nn.Linear(self._width(name), embed_dim)
        self.register_buffer("weights_hash", torch.zeros(_N_HASH, dtype=torch.uint8))
        self.train(self.training)

    def load(self, weights: str | Path, *, sha256: str | None = None) -> str:
        """Give the network weights from a local file; see :func:`.backbones.load_weights`.

        Returns
        -------
        str
            SHA-256 of the file, which the encoder keeps.
        """
        found = load_weights(self.network, weights, sha256=sha256, leave_out=HEADS)
        self.weights_hash.copy_(torch.tensor(list(bytes.fromhex(found)), dtype=torch.uint8))
        return found

    @property
    def weights_sha256(self) -> str | None:
        """Hash of the file that the weights came from, None if they are random."""
        return bytes(self.weights_hash.tolist()).hex() if self.weights_hash.any() else None

    def train(self, mode: bool = True) -> "FrameBackbone":
        """Set the mode; a frozen network stays in eval mode, so that its norms do not move."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def forward(self, values: Tensor, time_seconds: Tensor) -> ModalityTokens:
        """Return one token per frame; one with a NaN or without a time is masked.

        Parameters
        ----------
        values : Tensor, shape (batch, frame, height, width, colour)
            Scaled as the network was trained; three colours.
        time_seconds : Tensor, shape (batch, frame)
            When each frame was shown, relative to the window's end; NaN where there is none.
        """
        if values.ndim != 5 or tuple(values.shape[2:]) != (self.size, self.size, 3):
            raise SignalError(
                f"found video of shape {tuple(values.shape)}, expected (batch, frame, {self.size}, "
                f"{self.size}, 3)"
            )
        mask = torch.isfinite(values).flatten(2).all(dim=2) & torch.isfinite(time_seconds)
        frames = torch.where(mask[:, :, None, None, None], values, 0.0)
        flat = frames.flatten(0, 1).movedim(-1, 1).contiguous()  # (batch × frame, colour, …)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.network(flat).flatten(1)
        tokens = self.project(features).unflatten(0, values.shape[:2])
        return ModalityTokens(tokens, torch.nan_to_num(time_seconds), mask)

    def _width(self, name: str) -> int:
        training = self.network.training
        self.network.eval()
        try:
            with torch.no_grad():
                features = self.network(torch.zeros(1, 3, self.size, self.size))
        except (RuntimeError, AssertionError, ValueError, TypeError) as error:
            raise CallError(
                f"found that {name!r} takes no frames of {self.size} x {self.size} pixels "
                f"({error}), expected a network of pictures"
            ) from error
        self.network.train(training)
        return int(features.flatten(1).shape[1])
