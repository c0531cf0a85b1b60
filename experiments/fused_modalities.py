"""What a fused model knows of a family of features: its name, its encoder, its scale."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.estimator_inputs import Scaler

__all__ = [
    "FUSION_NAMES",
    "SIZES",
    "FamilyScaler",
    "axis_seconds",
    "encoder_of",
    "has_fixed_scale",
    "modality_name",
    "model_input",
    "noisy_inputs",
]

FUSION_NAMES = ("queries", "concat", "late", "gated")
"""Rows of :data:`physioemo.models.fused.FUSIONS`, here without importing torch."""

SIZES = ("tiny", "study")
"""Presets of encoders and fusions."""

MOST_SCALARS = 512
"""Attention over more single numbers than this costs more than it can tell."""

_BY_ELECTRODE = ("de", "psd", "relative_psd")
_SOUND, _PICTURES = "audio", "video"
_TIME_AXIS = {_SOUND: "row", _PICTURES: "picture"}


def modality_name(family: str) -> str:
    """Return the name that a family has in a model: a plain identifier."""
    return family.replace("-", "_")


def has_fixed_scale(family: str) -> bool:
    """Return whether a family is the sound's filter bank or pictures, which are scaled already."""
    return modality_name(family) in _TIME_AXIS


def axis_seconds(family: str, coords: Mapping[str, Sequence[str]]) -> tuple[float, ...]:
    """Return when the rows of sound or the pictures of a window were played or shown.

    Parameters
    ----------
    family : str
        Name of the family.
    coords : mapping of str to sequence of str
        Its axes after ``window``, and what stands along each.

    Returns
    -------
    tuple of float
        Seconds relative to the window's end; none for other families.

    Raises
    ------
    DataError
        If they are not said.
    """
    axis = _TIME_AXIS.get(modality_name(family))
    if axis is None:
        return ()
    try:
        return tuple(float(text) for text in coords[axis])
    except (KeyError, ValueError) as error:
        raise DataError(
            f"found the family {family!r} with the axes {', '.join(coords)}, expected one called "
            f"{axis!r} in seconds before the window's end; make the store with 'physioemo "
            "preprocess --stimuli'"
        ) from error


def model_input(
    family: str, values: np.ndarray, shape: Sequence[int], seconds: Sequence[float] = ()
) -> Any:
    """Return what the encoder of :func:`encoder_of` takes.

    Parameters
    ----------
    family : str
        Name of the family.
    values : ndarray, shape (window, ...)
        Scaled, flat or not, NaN where missing.
    shape : sequence of int
        Its axes after ``window``.
    seconds : sequence of float
        Of :func:`axis_seconds`.

    Returns
    -------
    ndarray or dict of ndarray
        Electrodes (window, channel, band), sound (window, row, mel), pictures with the time of
        each, and anything else flat.
    """
    name, n = modality_name(family), len(values)
    if name == _PICTURES and len(seconds):
        pictures = values.reshape(n, *shape)
        shown = np.isfinite(pictures).reshape(n, shape[0], -1).all(axis=2)
        times = np.where(shown, np.asarray(seconds, np.float32), np.float32(np.nan))
        return {"values": pictures, "time_seconds": times}
    whole = (name == _SOUND and len(seconds)) or (name in _BY_ELECTRODE and len(shape) == 2)
    return values.reshape(n, *shape) if whole else values.reshape(n, -1)


def encoder_of(
    family: str, shape: Sequence[int], size: str, seconds: Sequence[float] = ()
) -> dict[str, Any]:
    """Return what a fused model has to know of a family.

    Parameters
    ----------
    family : str
        Name, for the message.
    shape : sequence of int
        Axes after ``window``: (channel, band) of ``de`` and the band powers, (row, mel) of
        ``audio``, (picture, y, x, colour) of ``video``, else any.
    size : {"tiny", "study"}
        Preset of the encoder.
    seconds : sequence of float
        Of :func:`axis_seconds`, for sound and pictures.

    Raises
    ------
    CallError
        If the family has too many single numbers.
    """
    if modality_name(family) in _BY_ELECTRODE and len(shape) == 2:
        return {"encoder": "electrodes", "preset": size, "n_chans": shape[0], "n_bands": shape[1]}
    if modality_name(family) == _SOUND and len(seconds) > 1:
        # Rounded, so that a pre-trained encoder fits whatever the window's length was.
        hop = round((seconds[-1] - seconds[0]) / (len(seconds) - 1), 9)
        return {
            "encoder": "audio-patches", "preset": size, "n_mels": shape[1], "hop_seconds": hop,
        }  # fmt: skip
    if modality_name(family) == _PICTURES and len(seconds):
        return {"encoder": "video-tubelets", "preset": size, "size": shape[1]}
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
