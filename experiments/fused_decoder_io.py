"""A fused decoder as a folder: safetensors and JSON, ``decoder.json`` last."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CheckpointError
from physioemo.experiments.decoder import DECODER_JSON
from physioemo.experiments.estimator_inputs import Scaler
from physioemo.experiments.fused_context import load_context
from physioemo.experiments.fused_decoder import EEG, FusedDecoder
from physioemo.experiments.fused_emotions import EmotionHead
from physioemo.experiments.fused_heads import RatingHead
from physioemo.experiments.fused_modalities import FamilyScaler
from physioemo.experiments.fused_sides import SideFamily
from physioemo.experiments.fused_stimulus import StimulusChoice
from physioemo.experiments.fused_trust import Trust
from physioemo.features.artefact_gate import ArtefactGate
from physioemo.features.entropy import EntropyRecipe
from physioemo.features.stimulus_tokens import STIMULUS_SCALARS
from physioemo.models.checkpoint import load_model, save_model

__all__ = ["FUSED_KIND", "load_fused", "save_fused"]

FUSED_KIND = "fused"
_ARRAYS = "decoder.safetensors"
_CONTEXT = "context"
# A program that knows decoders of the EEG alone (format 1) says that it is too old.
_FORMAT = 3
# What a program that knows nothing of trust, ratings, context and names reads as it is meant.
_PLAIN_FORMAT = 2


def save_fused(decoder: FusedDecoder, folder: str | Path) -> Path:
    """Write a fused decoder.

    Parameters
    ----------
    decoder : FusedDecoder
        What to write.
    folder : str or Path
        A decoder that is there is replaced; while that goes on, the folder is none.

    Returns
    -------
    Path
        The folder.
    """
    from safetensors.numpy import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DECODER_JSON).unlink(missing_ok=True)
    for old in (folder / _CONTEXT).glob("model.*"):
        old.unlink()
    if decoder.context is not None:
        decoder.context.save(folder / _CONTEXT)
    save_model(folder, decoder.model, name="fused")
    arrays = {"temperature": np.asarray(decoder.temperature), "prior": np.asarray(decoder.prior)}
    for name, scaler in decoder.scalers.items():
        arrays[f"{name}/mean"] = scaler.scaler.mean
        arrays[f"{name}/scale"] = scaler.scaler.scale
        arrays[f"{name}/known"] = scaler.known
    if decoder.head is not None:
        arrays |= decoder.head.arrays()
    if decoder.emotions is not None:
        arrays |= decoder.emotions.arrays()
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / _ARRAYS)
    more = (decoder.trust, decoder.head, decoder.context, decoder.emotions)
    plain = all(part is None for part in more)
    content = {
        "format": _PLAIN_FORMAT if plain else _FORMAT,
        "kind": FUSED_KIND,
        "recipe": decoder.recipe.to_dict(),
        "recipe_fingerprint": decoder.recipe.fingerprint,
        "ch_names": list(decoder.ch_names),
        "unit": "uV",
        "dimensions": list(decoder.dimensions),
        "sides": [side.to_dict() for side in decoder.sides],
        "model_id": decoder.id,
        "metadata": decoder.metadata,
        "gate": None if decoder.gate is None else decoder.gate.to_dict(),
        "stimulus": None if decoder.stimulus is None else decoder.stimulus.to_dict(),
        "trust": None if decoder.trust is None else decoder.trust.to_dict(),
        "head": None if decoder.head is None else decoder.head.to_dict(),
        "context": None if decoder.context is None else decoder.context.to_dict(),
        "emotions": None if decoder.emotions is None else decoder.emotions.to_dict(),
        "offline_only": decoder.offline_only,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / DECODER_JSON).write_text(text, "utf-8")
    return folder


def load_fused(folder: str | Path, content: dict[str, Any]) -> FusedDecoder:
    """Read a fused decoder; :func:`physioemo.experiments.decoder_folder.load_decoder` calls it.

    Parameters
    ----------
    folder : str or Path
        What :func:`save_fused` wrote.
    content : dict
        What its ``decoder.json`` says.

    Raises
    ------
    CheckpointError
        If it is damaged, newer, or its parts do not belong together.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    _check_format(content, folder)
    model, _ = load_model(folder)
    try:
        arrays = load_file(folder / _ARRAYS)
        sides = tuple(SideFamily.from_dict(s) for s in content["sides"])
        gate, shown, trust = (content.get(k) for k in ("gate", "stimulus", "trust"))
        # Older folders do not name them.
        head, context, emotions = (content.get(k) for k in ("head", "context", "emotions"))
        names = [EEG, *(s.name for s in sides), *(["stimulus"] if _has_numbers(shown) else [])]
        decoder = FusedDecoder(
            recipe=EntropyRecipe.from_dict(content["recipe"]),
            ch_names=tuple(content["ch_names"]),
            dimensions=tuple(content["dimensions"]),
            sides=sides,
            scalers={name: _scaler(arrays, name) for name in names},
            model=model,
            temperature=arrays["temperature"],
            prior=arrays["prior"],
            metadata=content["metadata"],
            gate=None if gate is None else ArtefactGate.from_dict(gate),
            stimulus=None if shown is None else StimulusChoice.from_dict(shown),
            trust=None if trust is None else Trust.from_dict(trust),
            head=None if head is None else RatingHead.from_parts(head, arrays),
            context=None if context is None else load_context(context, folder / _CONTEXT),
            emotions=None if emotions is None else EmotionHead.from_parts(emotions, arrays),
        )
        fits = _fits(decoder, content)
    except Exception as error:  # safetensors, key and type errors all mean the same here
        raise CheckpointError(
            f"found a damaged decoder at {folder} ({error}), expected the folder that "
            "'physioemo train' wrote; copy it again"
        ) from error
    if not fits:
        raise CheckpointError(
            f"found parts of different decoders in {folder}, expected those that "
            "'physioemo train' wrote together; copy the folder again"
        )
    return decoder


def _check_format(content: dict[str, Any], folder: Path) -> None:
    version = content.get("format")
    if not isinstance(version, int) or isinstance(version, bool):
        raise CheckpointError(
            f"found that {folder / DECODER_JSON} is damaged (format {version!r}), expected what "
            "'physioemo train' wrote; copy the folder again"
        )
    if version > _FORMAT:
        raise CheckpointError(
            f"found decoder format {version} in {folder / DECODER_JSON}, expected at most "
            f"{_FORMAT}; update PhysioEmo to use it"
        )


def _has_numbers(shown: dict[str, Any] | None) -> bool:
    return shown is not None and "stimulus" in shown["modalities"]


def _scaler(arrays: dict[str, np.ndarray], name: str) -> FamilyScaler:
    scaler = Scaler(arrays[f"{name}/mean"], arrays[f"{name}/scale"])
    return FamilyScaler(scaler, arrays[f"{name}/known"])


def _fits(decoder: FusedDecoder, content: dict[str, Any]) -> bool:
    """Return whether recipe, scalers, families and weights are of one decoder."""
    shapes: dict[str, tuple[int, ...]] = {EEG: (len(decoder.ch_names), len(decoder.recipe.bands))}
    shapes |= {side.name: (side.n_values,) for side in decoder.sides}
    if "stimulus" in decoder.modalities:
        shapes["stimulus"] = (len(STIMULUS_SCALARS),)
    n = len(decoder.dimensions)
    config = decoder.model.config
    return (
        content["model_id"] == decoder.id
        and content["recipe_fingerprint"] == decoder.recipe.fingerprint
        and set(config["encoders"]) == set(decoder.modalities)
        and list(config["dimensions"]) == list(decoder.dimensions)
        and decoder.temperature.shape == decoder.prior.shape == (n,)
        and (decoder.head is None or decoder.head.prior.shape == (n,))
        and all(
            decoder.scalers[name].known.shape == shape
            and decoder.scalers[name].scaler.mean.shape == (1, *shape)
            for name, shape in shapes.items()
        )
    )
