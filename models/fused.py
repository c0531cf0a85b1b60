"""A fused model: one encoder per modality, and a fusion of their tokens.

``ENCODERS`` and ``FUSIONS`` are tables: a new one is a file and a row, and the contract tests find
it. A model is described by JSON alone, so that a folder of safetensors and JSON holds all of it.
"""

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from physioemo.errors import CallError, SignalError
from physioemo.hints import unknown_name
from physioemo.models.fusion import FusionOutput
from physioemo.models.modality_tokens import ModalityTokens

__all__ = ["ENCODERS", "FUSIONS", "FusedModel", "PartRow"]


class PartRow(NamedTuple):
    """One row: where an encoder or a fusion lives, and what it is."""

    module: str
    class_name: str
    description: str

    def load_class(self) -> Any:
        """Import the module and return the class."""
        return getattr(import_module(self.module), self.class_name)

    def load_presets(self) -> dict[str, dict[str, Any]]:
        """Import the module and return its presets by name."""
        return import_module(self.module).PRESETS


_M = "physioemo.models"
ENCODERS: dict[str, PartRow] = {
    "electrodes": PartRow(
        f"{_M}.electrode_tokens", "ElectrodeTokens", "Band entropies, attention between electrodes."
    ),
    "scalars": PartRow(
        f"{_M}.scalar_tokens", "ScalarTokens", "Numbers such as heart-rate variability, one each."
    ),
    "series": PartRow(
        f"{_M}.eye_series", "EyeSeries", "Gaze, pupils or another body signal over time."
    ),
    "raw-eeg": PartRow(f"{_M}.raw_eeg", "RawEeg", "Raw EEG by a model of braindecode."),
    "audio-patches": PartRow(
        f"{_M}.audio_patches", "AudioPatches", "Filter banks of the sound, in patches."
    ),
    "audio-wave": PartRow(
        f"{_M}.audio_wave", "SmallWave", "The waveform, in fewer than 80,000 parameters."
    ),
    "video-tubelets": PartRow(
        f"{_M}.video_tubelets", "VideoTubelets", "Frames of the picture, in tubelets."
    ),
    "frame-backbone": PartRow(
        f"{_M}.frame_backbone", "FrameBackbone", "Frames by a network of torchvision or timm."
    ),
    "wave-backbone": PartRow(
        f"{_M}.wave_backbone", "WaveBackbone", "The waveform by an encoder of transformers."
    ),
}
FUSIONS: dict[str, PartRow] = {
    "queries": PartRow(f"{_M}.fusion", "QueryFusion", "A query per dimension reads all tokens."),
    "concat": PartRow(
        f"{_M}.fusion_baselines", "ConcatFusion", "Means side by side: the compulsory baseline."
    ),
    "late": PartRow(
        f"{_M}.fusion_baselines", "LateFusion", "The mean probability of single modalities."
    ),
    "gated": PartRow(
        f"{_M}.fusion_baselines", "GatedFusion", "Single modalities, weighted by a gate."
    ),
}


class FusedModel(nn.Module):
    """Encoders and a fusion.

    Parameters
    ----------
    encoders : mapping of str to mapping
        For each modality, by any name, ``{"encoder": row of ENCODERS, "preset": name, ...}`` with
        the arguments of its constructor.
    dimensions : sequence of str
        Rated dimensions.
    n_outputs : int
        Classes of each.
    fusion : str
        Row of :data:`FUSIONS`.
    preset : str
        Of the fusion.
    fusion_arguments : mapping, optional
        Arguments that win over the preset.

    Raises
    ------
    CallError
        If an encoder, a fusion, a preset or an argument is not known; the nearest is named.
    """

    def __init__(
        self,
        *,
        encoders: Mapping[str, Mapping[str, Any]],
        dimensions: Sequence[str],
        n_outputs: int = 2,
        fusion: str = "queries",
        preset: str = "tiny",
        fusion_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._config = {
            "encoders": {m: dict(e) for m, e in encoders.items()},
            "dimensions": list(dimensions),
            "n_outputs": n_outputs,
            "fusion": fusion,
            "preset": preset,
            "fusion_arguments": dict(fusion_arguments or {}),
        }
        self.encoders = nn.ModuleDict(
            {name: _build_encoder(name, about) for name, about in encoders.items()}
        )
        self.fusion: Any = _build(
            FUSIONS,
            "fusion",
            fusion,
            preset,
            {
                "modalities": {m: int(e.embed_dim) for m, e in self.encoders.items()},  # type: ignore[arg-type]
                "dimensions": tuple(dimensions),
                "n_outputs": n_outputs,
                **(fusion_arguments or {}),
            },
        )

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments, ready for JSON."""
        return dict(self._config)

    def encode(self, inputs: Mapping[str, Any]) -> dict[str, ModalityTokens]:
        """Return the tokens of each modality; see :meth:`forward`."""
        if set(inputs) != set(self.encoders):
            raise SignalError(
                f"found the modalities {', '.join(inputs) or 'none'}, expected "
                f"{', '.join(self.encoders)}; give each, filled with NaN if it is missing"
            )
        tokens = {}
        for name, encoder in self.encoders.items():
            given = inputs[name]
            tokens[name] = encoder(given) if isinstance(given, Tensor) else encoder(**given)
        return tokens

    def forward(self, inputs: Mapping[str, Any]) -> FusionOutput:
        """Return logits of each window, and where the model abstains.

        Parameters
        ----------
        inputs : mapping of str to Tensor or mapping
            For each modality what its encoder takes: a tensor of values, or all arguments by
            name. NaN is missing.
        """
        return self.fusion(self.encode(inputs))

    @torch.no_grad()
    def set_prior(self, share: Tensor) -> None:
        """Keep the shares of classes in training, which an abstaining model says.

        Parameters
        ----------
        share : Tensor, shape (dimension, class)
        """
        self.fusion.prior_logits.copy_(share.clamp(min=1e-6).log())


def _build_encoder(name: str, about: Mapping[str, Any]) -> nn.Module:
    arguments = dict(about)
    kind = arguments.pop("encoder", None)
    if not name.isidentifier():
        raise CallError(f"found the modality {name!r}, expected a plain name such as 'audio'")
    if kind is None:
        raise CallError(f"found no encoder for {name!r}, expected one of {', '.join(ENCODERS)}")
    return _build(ENCODERS, "encoder", kind, arguments.pop("preset", "tiny"), arguments)


def _build(
    table: Mapping[str, PartRow],
    what: str,
    name: str,
    preset: str,
    arguments: Mapping[str, Any],
) -> nn.Module:
    if name not in table:
        raise unknown_name(f"the {what}", name, table)
    presets = table[name].load_presets()
    if preset not in presets:
        raise unknown_name("the preset", preset, presets, of=name)
    part = table[name].load_class()
    known = inspect.signature(part).parameters
    for argument in arguments:
        if argument not in known:
            raise unknown_name("the argument", argument, known, of=name)
    complete = {**{k: v for k, v in presets[preset].items() if k in known}, **arguments}
    lacking = [k for k, p in known.items() if p.default is p.empty and k not in complete]
    if lacking:
        raise CallError(f"found no {', '.join(lacking)} for the {what} {name!r}, expected all")
    return part(**complete)
