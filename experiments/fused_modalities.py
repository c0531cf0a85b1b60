"""What a fused model knows of a family of features: its name, its encoder, its scale."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.estimator_inputs import Scaler

__all__ = ["FUSION_NAMES", "SIZES", "FamilyScaler", "encoder_of", "modality_name", "noisy_inputs"]

FUSION_NAMES = ("queries", "concat", "late", "gated")
"""Rows of :data:`physioemo.models.fused.FUSIONS`, here without importing torch."""

SIZES = ("tiny", "study")
"""Presets of encoders and fusions."""

MOST_SCALARS = 512
"""Attention over more single numbers than this costs more than it can tell."""

_BY_ELECTRODE = ("de", "psd", "relative_psd")


def modality_name(family: str) -> str:
    """Return the name that a family has in a model: a plain identifier."""
    return family.replace("-", "_")


def encoder_of(family: str, shape: Sequence[int], size: str) -> dict[str, Any]:
    """Return what a fused model has to know of a family.

    Parameters
    ----------
    family : str
        Name, for the message.
    shape : sequence of int
        Axes after ``window``: (channel, band) of ``de`` and the band powers, else any.
    size : {"tiny", "study"}
        Preset of the encoder.

    Raises
    ------
    CallError
        If the family has too many single numbers.
    """
    if modality_name(family) in _BY_ELECTRODE and len(shape) == 2:
        return {"encoder": "electrodes", "preset": size, "n_chans": shape[0], "n_bands": shape[1]}
    n = int(np.prod(shape))
    if n > MOST_SCALARS:
        raise CallError(
            f"found {n} numbers per window in the family {family!r}, expected at most "
            f"{MOST_SCALARS} for a fused model; leave it out, or choose a family of fewer numbers"
        )
    return {"encoder": "scalars", "preset": size, "n_scalars": n}


class FamilyScaler:
    """Mean and standard deviation of each number of a family over the windows that train.

    Parameters
    ----------
    scaler : Scaler
        Of the training windows.
    known : ndarray of bool
        False where training had no value: what comes there later means nothing to the model.
    """

    def __init__(self, scaler: Scaler, known: np.ndarray) -> None:
        self.scaler, self.known = scaler, known

    @classmethod
    def fit(cls, values: np.ndarray) -> "FamilyScaler":
        """Learn from training windows (window, ...), NaN where missing."""
        return cls(Scaler.fit(values), np.isfinite(values).any(axis=0))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return scaled values (window, ...) as float32, NaN where missing or never learned."""
        return np.asarray(np.where(self.known, self.scaler.apply(values), np.nan), np.float32)


@contextmanager
def noisy_inputs(model: Any, noise: float) -> Iterator[None]:
    """Add Gaussian noise to a fused model's scaled numbers while it is in training mode.

    As :class:`physioemo.models.training.TrainingConfig` says of ``token_noise``: it keeps few
    trials from being learned by heart. Noise comes from torch's global generator, which training
    seeds; what is missing stays missing.

    Parameters
    ----------
    model : FusedModel
        As it was afterwards.
    noise : float
        Standard deviation; 0 for none.
    """
    import torch

    def noisy(values: Any) -> Any:
        return values + noise * torch.randn_like(values)

    def before(module: Any, arguments: tuple[Any, ...]) -> Any:
        if not module.training:
            return None
        (inputs,) = arguments
        return (
            {
                name: {**part, "values": noisy(part["values"])}
                if isinstance(part, dict)
                else noisy(part)
                for name, part in inputs.items()
            },
        )

    hook = model.register_forward_pre_hook(before) if noise else None
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()
