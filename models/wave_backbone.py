"""A waveform through an encoder of speech such as wav2vec 2.0 (Baevski et al. 2020).

It stands where :class:`~physioemo.models.audio_wave.SmallWave` does. ``transformers`` builds the
network from the settings of a local ``config.json``; its weights come from a local file
(:meth:`WaveBackbone.load`) and stay as they are unless ``frozen`` is off.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from physioemo.errors import SignalError
from physioemo.models.backbones import build_network, load_weights, read_architecture
from physioemo.models.modality_tokens import ModalityTokens

__all__ = ["PRESETS", "WaveBackbone"]

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "architecture": {
            "model_type": "wav2vec2",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "conv_dim": [32] * 7,
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
        },
        "embed_dim": 32,
        "n_tokens": 2,
    },
    "study": {"architecture": {"model_type": "wav2vec2"}, "embed_dim": 256, "n_tokens": 8},
}
_SHORTEST_SECONDS = 0.05  # two steps of 20 ms, with what a step sees
_N_HASH = 32


class WaveBackbone(nn.Module):
    """A waveform to a few tokens.

    Parameters
    ----------
    architecture : mapping
        ``config.json`` of the model, as :func:`~physioemo.models.backbones.read_architecture`
        gives it; ``model_type`` is one of :data:`~physioemo.models.backbones.WAVE_MODELS`.
    sfreq : float
        Of the waveform in Hz: what the weights were trained with, 16,000 for all of them.
    embed_dim : int
        Width of the tokens.
    n_tokens : int
        Tokens that a window's steps are averaged to.
    frozen : bool
        Whether only the projection to the tokens is trained.

    Raises
    ------
    CallError
        If the architecture is not known.
    MissingExtraError
        If transformers is not installed.
    """

    weights_hash: Tensor

    def __init__(
        self,
        *,
        architecture: Mapping[str, Any],
        sfreq: float = 16000.0,
        embed_dim: int = 32,
        n_tokens: int = 8,
        frozen: bool = True,
    ) -> None:
        super().__init__()
        self.sfreq, self.embed_dim, self.n_tokens, self.frozen = sfreq, embed_dim, n_tokens, frozen
        kind = str(architecture.get("model_type"))
        network: Any = build_network("transformers", kind, architecture)
        network.requires_grad_(not frozen)
        self.network = network
        self.project = nn.Linear(int(network.config.hidden_size), embed_dim)
        self.register_buffer("weights_hash", torch.zeros(_N_HASH, dtype=torch.uint8))
        self.train(self.training)

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, sha256: str | None = None, prefix: str = "", **options: Any
    ) -> "WaveBackbone":
        """Build it from a folder with ``config.json`` and ``model.safetensors``.

        Parameters
        ----------
        folder : path
        sha256, prefix : str
            See :func:`~physioemo.models.backbones.load_weights`.
        **options
            Other arguments of the constructor.
        """
        encoder = cls(architecture=read_architecture(folder), **options)
        encoder.load(Path(folder) / "model.safetensors", sha256=sha256, prefix=prefix)
        return encoder

    def load(self, weights: str | Path, *, sha256: str | None = None, prefix: str = "") -> str:
        """Give the network weights from a local file, and return and keep its SHA-256."""
        found = load_weights(self.network, weights, sha256=sha256, prefix=prefix)
        self.weights_hash.copy_(torch.tensor(list(bytes.fromhex(found)), dtype=torch.uint8))
        return found

    @property
    def weights_sha256(self) -> str | None:
        """Hash of the file that the weights came from, None if they are random."""
        return bytes(self.weights_hash.tolist()).hex() if self.weights_hash.any() else None

    def train(self, mode: bool = True) -> "WaveBackbone":
        """Set the mode; a frozen network stays in eval mode, so that it drops nothing."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def forward(self, values: Tensor) -> ModalityTokens:
        """Return the tokens of each waveform; one with a NaN is masked.

        Parameters
        ----------
        values : Tensor, shape (batch, time)
            At least 0.05 s; each waveform is brought to mean 0 and variance 1.
        """
        least = int(_SHORTEST_SECONDS * self.sfreq)
        if values.ndim != 2 or values.shape[1] < least:
            raise SignalError(
                f"found waveforms of shape {tuple(values.shape)}, expected (batch, {least} or more "
                "samples)"
            )
        known = torch.isfinite(values).all(dim=1, keepdim=True)
        wave = torch.where(known, values, 0.0)
        spread = wave.var(dim=1, keepdim=True, unbiased=False)
        wave = (wave - wave.mean(dim=1, keepdim=True)) / (spread + 1e-7).sqrt()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            steps = self.network(wave).last_hidden_state  # (batch, step, hidden)
        pooled = adaptive_avg_pool1d(steps.transpose(1, 2), self.n_tokens).transpose(1, 2)
        share = (torch.arange(self.n_tokens, device=values.device) + 0.5) / self.n_tokens
        seconds = (share - 1) * values.shape[1] / self.sfreq
        mask = known.expand(-1, self.n_tokens)
        return ModalityTokens(self.project(pooled), seconds.expand(len(values), -1), mask)
