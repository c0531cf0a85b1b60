"""A decoder as one ONNX file, for programs that are not in Python.

The graph goes from band entropies (and the numbers of other streams) to what
:class:`physioemo.experiments.decoder.Decoder` or a fused decoder says of one window: scaler,
network, temperature and abstention are inside. How the entropies are made is
not; the recipe stands in the file's metadata. PhysioEmo itself never reads the file: live and
offline are equal to the bit because both run the same engine, and ONNX Runtime is another. Its
answers are compared with the decoder's before the file gets its name.
"""

import json
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from physioemo import __version__
from physioemo.atomic_file import new_path, refuse_existing_file, require_ending
from physioemo.errors import CheckpointError, MissingExtraError
from physioemo.experiments.decoder import UNTRAINED, USABLE_SHARE, Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_onnx import (
    FusedAnswer,
    fused_expected,
    fused_inputs,
    fused_probes,
    refuse_sequences,
)
from physioemo.models.prediction import predict_logits

__all__ = ["LARGEST_DIFFERENCE", "export_onnx", "onnx_metadata"]

LARGEST_DIFFERENCE = 1e-5
"""Of a probability, and of a logit (of a large one, this share of it)."""

_INPUT, _OUTPUTS = "tokens", ("logits", "probability", "abstain")
_OPSET = 18
_RANDOM_WINDOWS = 64


class _Answer(nn.Module):
    """From tokens in nats to logits, calibrated probability and abstention."""

    mean: Tensor
    scale: Tensor
    temperature: Tensor
    prior: Tensor

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.model: nn.Module = decoder.model
        self.least = USABLE_SHARE * len(decoder.ch_names)
        for name in ("temperature", "prior"):
            self.register_buffer(name, torch.tensor(getattr(decoder, name), dtype=torch.float64))
        self.register_buffer("mean", torch.tensor(decoder.scaler.mean, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(decoder.scaler.scale, dtype=torch.float64))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take (window, electrode, band), NaN = missing."""
        electrodes = torch.isfinite(tokens).all(dim=2)  # (window, electrode)
        present = torch.where(electrodes.unsqueeze(-1), tokens, self.mean)
        scaled = ((present - self.mean) / self.scale).float()
        logits = self.model(scaled, electrodes)  # (window, dimension, class)
        high = (logits.double() / self.temperature.unsqueeze(-1)).softmax(-1)[..., 1]
        abstain = electrodes.sum(dim=1) < self.least
        return logits, torch.where(abstain.unsqueeze(-1), self.prior, high), abstain


def export_onnx(
    decoder: Decoder | FusedDecoder, path: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a decoder as an ONNX file, compared with the decoder first.

    Of a decoder of the EEG alone the input ``tokens`` is float64, shape (window, electrode, band),
    in nats, NaN = missing; any number of windows. Outputs are ``logits``, float32, shape (window,
    dimension, class); ``probability`` of the high class, float64, shape (window, dimension),
    calibrated, and the training prior in a window that ``abstain``, bool, shape (window,), says is
    not decoded.

    A fused decoder has an input for each modality (:func:`physioemo.experiments.fused_onnx.\
fused_inputs`), NaN where it is missing, and with ratings or named emotions outputs ``rating``
    and ``emotion``.

    Parameters
    ----------
    decoder : Decoder or FusedDecoder
        As ``physioemo train`` wrote it.
    path : str or Path
        A name that ends in ``.onnx``.
    overwrite : bool
        Replace a file that is already there.

    Returns
    -------
    Path
        The file, which is there whole or not at all.

    Raises
    ------
    CallError
        If the decoder remembers windows, or the name is another.
    MissingExtraError
        If ONNX is not installed.
    RecordingExistsError
        If something is at `path` and `overwrite` is false.
    CheckpointError
        If ONNX Runtime says something else than the decoder; nothing is written.
    """
    path = Path(path)
    require_ending(path, ".onnx")
    if isinstance(decoder, FusedDecoder):
        refuse_sequences(decoder)
    refuse_existing_file(path, overwrite=overwrite)
    onnx, runtime = _packages()
    program = onnx.load_from_string(_exported(decoder))
    _forget_origin(program.graph)
    onnx.helper.set_model_props(program, onnx_metadata(decoder))
    program.producer_name, program.producer_version = "physioemo", __version__
    raw = program.SerializeToString()
    _compare(decoder, runtime.InferenceSession(raw, providers=["CPUExecutionProvider"]))
    with new_path(path, overwrite=overwrite) as partial:
        partial.write_bytes(raw)
    return path


def onnx_metadata(decoder: Decoder | FusedDecoder) -> dict[str, str]:
    """Return what stands in the file beside the graph; lists and tables are JSON.

    Parameters
    ----------
    decoder : Decoder or FusedDecoder
        The decoder.
    """
    recipe = decoder.recipe
    content: dict[str, Any] = {
        "decoder_id": decoder.id,
        "recipe_fingerprint": recipe.fingerprint,
        "recipe": recipe.to_dict(),
        "gate": None if decoder.gate is None else decoder.gate.to_dict(),
        "ch_names": decoder.ch_names,
        "band_names": [name for name, _, _ in recipe.bands],
        "bands_hz": [[low, high] for _, low, high in recipe.bands],
        "signal_unit": "uV",
        "token_unit": "nat",
        "window_seconds": recipe.window_samples / recipe.sfreq,
        "hop_seconds": recipe.hop_samples / recipe.sfreq,
        "dimensions": decoder.dimensions,
        "classes": ["low", "high"],
        "temperature": decoder.temperature.tolist(),
        "prior": decoder.prior.tolist(),
        "least_usable_share": USABLE_SHARE,
        "untrained": bool(decoder.metadata.get(UNTRAINED)),
    }
    if isinstance(decoder, FusedDecoder):
        content |= _fused_metadata(decoder)
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in content.items()
    }


def _fused_metadata(decoder: FusedDecoder) -> dict[str, Any]:
    """Return what else stands in the file of a decoder of several streams."""
    trust, stimulus = decoder.trust, decoder.stimulus
    return {
        "modalities": decoder.modalities,
        "inputs": {n: ["window", *shape] for n, (_, shape) in fused_inputs(decoder).items()},
        "sides": [side.to_dict() for side in decoder.sides],
        "stimulus": None if stimulus is None else stimulus.to_dict(),
        "emotions": [] if decoder.emotions is None else decoder.emotions.names,
        "rating_scale": None
        if decoder.head is None
        else [decoder.head.scale.lowest, decoder.head.scale.highest],
        # The rule of silence is in the graph; sets and intervals are not.
        "trust": None if trust is None else trust.to_dict(),
    }


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (torch writes ONNX with it)
    except ImportError as error:
        raise MissingExtraError(
            f"found no {error.name}, expected it for ONNX; install it with "
            "pip install 'physioemo[onnx]'"
        ) from error
    return onnx, onnxruntime


def _exported(decoder: Decoder | FusedDecoder) -> bytes:
    """Return the graph as torch writes it, for any number of windows."""
    window = {0: torch.export.Dim("window")}
    if isinstance(decoder, FusedDecoder):
        fused = FusedAnswer(decoder)
        usual = fused_probes(decoder)[0][1]
        example = tuple(torch.tensor(usual[name][:2]) for name in fused.names)
        shapes: tuple[Any, ...] = (tuple(window for _ in example),)
        answer, names, outputs = fused, fused.names, fused.outputs
    else:
        example = (torch.tensor(np.repeat(decoder.scaler.mean[None], 2, axis=0)),)
        answer, names, outputs, shapes = _Answer(decoder), [_INPUT], _OUTPUTS, (window,)  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as made, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about its own future
        file = Path(made) / "model.onnx"
        torch.onnx.export(
            answer.eval().cpu(),
            example,
            file,
            input_names=names,
            output_names=list(outputs),
            dynamic_shapes=shapes,
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        return file.read_bytes()


def _forget_origin(graph: Any) -> None:
    """Take out the lines of code, with the paths of this computer, that torch leaves in a graph."""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _compare(decoder: Decoder | FusedDecoder, session: Any) -> None:
    """Refuse a graph that says something else than the decoder."""
    names = [output.name for output in session.get_outputs()]
    for what, given, expected in _comparisons(decoder):
        found = dict(zip(names, session.run(names, given), strict=True))
        for name, wanted in expected.items():
            apart = np.abs(found[name].astype(float) - wanted) / np.maximum(np.abs(wanted), 1.0)
            if found[name].shape != wanted.shape or not (apart <= LARGEST_DIFFERENCE).all():
                raise CheckpointError(
                    f"found that ONNX Runtime's {name} differs from the decoder's by "
                    f"{np.max(apart):.2g} for {what}, expected at most {LARGEST_DIFFERENCE:g}; "
                    "nothing was written, use another version of onnxruntime or torch"
                )


def _comparisons(
    decoder: Decoder | FusedDecoder,
) -> Iterator[tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Yield windows of a kind, what goes into the graph, and what has to come out."""
    if isinstance(decoder, FusedDecoder):
        for what, given in fused_probes(decoder):
            yield what, given, fused_expected(decoder, given)
    else:
        for what, tokens in _probes(decoder):
            yield what, {_INPUT: tokens}, _expected(decoder, tokens)


def _expected(decoder: Decoder, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the decoder itself says, one window at a time as live."""
    present = np.isfinite(tokens)
    electrodes = present.all(axis=2)
    abstain = electrodes.sum(axis=1) < USABLE_SHARE * len(decoder.ch_names)
    rows = [slice(i, i + 1) for i in range(len(tokens))]
    high = [decoder.probability(tokens[row], present[row]) for row in rows]
    logits = [
        predict_logits(decoder.model, decoder.scaler(tokens[row]), electrodes[row]) for row in rows
    ]
    return {
        "logits": np.concatenate(logits).astype(float),
        "probability": np.where(abstain[:, None], decoder.prior, np.concatenate(high)),
        "abstain": abstain.astype(float),
    }


def _probes(decoder: Decoder) -> list[tuple[str, np.ndarray]]:
    """Return windows to compare on: usual and far ones, and all ways to lack electrodes."""
    mean, scale = decoder.scaler.mean, decoder.scaler.scale
    n = len(decoder.ch_names)
    rng = np.random.default_rng(0)
    usual = mean + scale * rng.standard_normal((_RANDOM_WINDOWS, *mean.shape))
    one_missing = np.where(np.eye(n, dtype=bool)[:, :, None], np.nan, usual[:1])
    fewer = np.where(np.tri(n + 1, n, -1, dtype=bool)[:, :, None], np.nan, usual[1:2])
    one_band = usual[2:3].copy()
    one_band[0, 0, 0] = np.nan
    return [
        ("random windows", usual),
        ("one window", usual[:1]),
        ("windows far from those of training", mean + 10 * (usual - mean)),
        ("each electrode missing alone", one_missing),
        ("ever fewer electrodes, down to none", fewer),
        ("one band of an electrode missing", one_band),
    ]
