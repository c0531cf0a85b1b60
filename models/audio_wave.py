"""A small model of the voice for closed loops: fewer than 80,000 parameters.

Of the class of Wav2Small (Wagner et al. 2024, arXiv 2408.13920): the waveform is normalised, a
short-time spectrum of 64 samples with a hop of 32 becomes 26 mel bands in decibels, seven
convolutions of 3 × 3 follow, and a softmax over time pools their values. The filters are fixed, so
that the features are the same everywhere; weights that were published with it may not be used
commercially and are not part of this.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from physioemo.errors import SignalError
from physioemo.models.modality_tokens import ModalityTokens

__all__ = ["PRESETS", "SmallWave", "mel_filters"]

PRESETS: dict[str, dict[str, Any]] = {"tiny": {"n_channels": 13}, "study": {"n_channels": 26}}
_N_FFT, _HOP, _N_MELS = 64, 32, 26
_FLOOR = 1e-10


def mel_filters(sfreq: float, n_fft: int, n_mels: int) -> Tensor:
    """Return triangles on the mel scale of O'Shaughnessy (1987), shape (frequency, mel).

    ``mel = 2595 log10(1 + f / 700)``; each triangle reaches 1 at its middle.
    """
    most = 2595 * math.log10(1 + sfreq / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, most, n_mels + 2, dtype=torch.float64) / 2595) - 1)
    frequency = torch.linspace(0, sfreq / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    up = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    return torch.minimum(up, down).clamp(min=0).float()


class SmallWave(nn.Module):
    """A waveform to one token.

    Parameters
    ----------
    sfreq : float
        Of the waveform in Hz; 16,000 as in the paper.
    n_channels : int
        Of the convolutions.
    """

    mel: Tensor
    window: Tensor

    def __init__(self, *, sfreq: float = 16000.0, n_channels: int = 13) -> None:
        super().__init__()
        self.sfreq = sfreq
        self.register_buffer("mel", mel_filters(sfreq, _N_FFT, _N_MELS), persistent=False)
        self.register_buffer("window", torch.hann_window(_N_FFT), persistent=False)
        layers: list[nn.Module] = []
        for i in range(7):
            layers += [
                nn.Conv2d(1 if i == 0 else n_channels, n_channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(n_channels),
                nn.ReLU(),
            ]
            if i == 2:
                layers.append(nn.MaxPool2d((2, 2)))  # time and bands, once
        self.convolutions = nn.Sequential(*layers)
        self.value = nn.Conv2d(n_channels, n_channels, 1)
        self.attention = nn.Conv2d(n_channels, n_channels, 1)
        self.embed_dim = n_channels * (_N_MELS // 2)

    def forward(self, values: Tensor) -> ModalityTokens:
        """Return one token per waveform; one with a NaN is masked.

        Parameters
        ----------
        values : Tensor, shape (batch, time)
            At least 128 samples.
        """
        if values.ndim != 2 or values.shape[1] < 2 * _N_FFT:
            raise SignalError(
                f"found waveforms of shape {tuple(values.shape)}, expected (batch, {2 * _N_FFT} or "
                "more samples)"
            )
        mask = torch.isfinite(values).all(dim=1, keepdim=True)
        wave = torch.where(mask, values, 0.0)
        spread = wave.std(dim=1, keepdim=True, unbiased=False).clamp(min=1e-7)
        wave = (wave - wave.mean(dim=1, keepdim=True)) / spread
        spectrum = torch.stft(
            wave, _N_FFT, _HOP, window=self.window, center=False, return_complex=True
        )
        power = spectrum.abs() ** 2  # (batch, frequency, frame)
        decibels = 10 * (power.transpose(1, 2) @ self.mel).clamp(min=_FLOOR).log10()
        x = self.convolutions(decibels.unsqueeze(1))  # (batch, channel, frame, band)
        pooled = (self.value(x) * self.attention(x).softmax(dim=2)).sum(dim=2)  # over time
        middle = -values.shape[1] / self.sfreq / 2
        seconds = torch.full_like(mask, 0, dtype=values.dtype) + middle
        return ModalityTokens(pooled.flatten(1).unsqueeze(1), seconds, mask)
