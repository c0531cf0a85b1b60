"""braindecode's models as encoders of raw EEG: everything before their last layer.

Weights come from a local file (:func:`physioemo.models.backbones.load_weights`) or not at all.
"""

from typing import Any

import torch
from torch import Tensor, nn

from physioemo.errors import CallError, SignalError
from physioemo.models.modality_tokens import ModalityTokens

__all__ = ["PRESETS", "RawEeg"]

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"model": "EEGNet", "embed_dim": 32},
    "study": {"model": "EEGConformer", "embed_dim": 128},
}


class RawEeg(nn.Module):
    """Raw windows to one token.

    Parameters
    ----------
    n_chans, n_times : int
        Electrodes and samples of a window.
    sfreq : float
        In Hz.
    model : str
        Class of ``braindecode.models`` whose last layer is called ``final_layer``.
    embed_dim : int
        Width of the token.
    sizes : dict, optional
        More arguments of that class.

    Raises
    ------
    CallError
        If braindecode has no such model, or its last layer is another.
    """

    def __init__(
        self,
        *,
        n_chans: int,
        n_times: int,
        sfreq: float,
        model: str = "EEGNet",
        embed_dim: int = 32,
        sizes: dict[str, Any] | None = None,
    ) -> None:
        import braindecode.models  # takes seconds to import

        super().__init__()
        found = getattr(braindecode.models, model, None)
        if not isinstance(found, type):
            raise CallError(f"found the model {model!r}, expected a class of braindecode.models")
        self.n_chans, self.n_times, self.sfreq = n_chans, n_times, sfreq
        self.embed_dim = embed_dim
        network: Any = found(
            n_chans=n_chans, n_times=n_times, sfreq=sfreq, n_outputs=2, **(sizes or {})
        )
        if not isinstance(getattr(network, "final_layer", None), nn.Module):
            raise CallError(f"found no final_layer in {model}, expected one to take off")
        network.final_layer = nn.Flatten()
        self.network = network
        training = network.training
        network.eval()
        with torch.no_grad():
            width = network(torch.zeros(1, n_chans, n_times)).shape[1]
        network.train(training)
        self.project = nn.Linear(width, embed_dim)

    def forward(self, values: Tensor) -> ModalityTokens:
        """Return one token per window.

        Parameters
        ----------
        values : Tensor, shape (batch, electrode, time)
            Scaled. A missing sample (NaN) counts as the mean, 0; a window with more than half of
            its samples missing is masked.
        """
        if values.ndim != 3 or tuple(values.shape[1:]) != (self.n_chans, self.n_times):
            raise SignalError(
                f"found windows of shape {tuple(values.shape)}, expected (batch, {self.n_chans} "
                f"electrodes, {self.n_times} samples)"
            )
        known = torch.isfinite(values)
        features = self.network(torch.where(known, values, 0.0))
        mask = known.flatten(1).float().mean(dim=1, keepdim=True) > 0.5
        middle = torch.full_like(values[:, :1, 0], -self.n_times / self.sfreq / 2)
        return ModalityTokens(self.project(features).unsqueeze(1), middle, mask)
