"""The decoder: recipe, scaler, model and calibration, saved as one folder.

It runs live and offline by the same code: :meth:`Decoder.step` takes one window and the state,
and :meth:`Decoder.predict` folds it over a recording.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.description import StreamDescription
from physioemo.errors import CheckpointError
from physioemo.experiments.tokens import FAMILY, TokenState, TokenStream
from physioemo.features.artefact_gate import ArtefactGate
from physioemo.features.entropy import EntropyRecipe
from physioemo.models.calibration import calibrated_probability
from physioemo.models.checkpoint import load_model, model_id, save_model
from physioemo.models.prediction import predict_logits
from physioemo.prediction import Prediction
from physioemo.recording import Recording
from physioemo.tokens import TokenSet
from physioemo.window import Window

__all__ = ["DECODER_JSON", "UNTRAINED", "Decoder", "Scaler", "fit_scaler"]

UNTRAINED = "untrained"
"""Key in the metadata, and mark in the stream name, of a decoder with random weights."""

DECODER_JSON, _ARRAYS = "decoder.json", "decoder.safetensors"
USABLE_SHARE = 0.5
_FORMAT = 1


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of each token in the training windows.

    Parameters
    ----------
    mean, scale : ndarray, shape (channel, band)
        In nats.
    """

    mean: np.ndarray
    scale: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return standardised tokens as float32, shape (window, channel, band)."""
        return np.asarray((values - self.mean) / self.scale, np.float32)


def fit_scaler(values: np.ndarray) -> Scaler:
    """Fit a scaler on training windows only, shape (window, channel, band), NaN = missing."""
    present = np.isfinite(values)
    n = np.maximum(present.sum(axis=0), 1)
    mean = np.where(present, values, 0.0).sum(axis=0) / n
    variance = np.where(present, (values - mean) ** 2, 0.0).sum(axis=0) / n
    return Scaler(mean, np.sqrt(np.where(variance > 0, variance, 1.0)))


@dataclass(frozen=True)
class Decoder:
    """From EEG windows to predictions.

    Parameters
    ----------
    recipe : EntropyRecipe
        How tokens are made.
    ch_names : tuple of str
        Electrodes, in the order of the tokens.
    dimensions : tuple of str
        What is predicted.
    scaler : Scaler
        Fitted on training windows.
    model : nn.Module
        Tokens (window, electrode, band) to logits (window, dimension, class).
    temperature : ndarray, shape (dimension,)
        Calibration fitted on validation trials.
    prior : ndarray, shape (dimension,)
        Share of the high class in training; what an abstaining decoder says.
    metadata : dict
        How it was made.
    gate : ArtefactGate, optional
        Which electrodes are masked, and when; None masks none.
    """

    recipe: EntropyRecipe
    ch_names: tuple[str, ...]
    dimensions: tuple[str, ...]
    scaler: Scaler
    model: Any
    temperature: np.ndarray
    prior: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    gate: ArtefactGate | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", self.id or model_id(self.model))

    def tokens(self, description: StreamDescription) -> TokenStream:
        """Return what turns windows of a stream into this decoder's tokens."""
        return TokenStream(description, self.ch_names, self.recipe, self.gate)

    def step(
        self, window: Window, key: str, tokens: TokenStream, state: TokenState
    ) -> tuple[list[Prediction], TokenState]:
        """Take one window; return a prediction for each entropy window that it completes.

        Each is computed alone, so that live and offline give the same bits.
        """
        part = window[key]
        made, state = tokens.step(part.signal, part.time, window.segment, state)
        return [self.predict_one(made, i) for i in range(len(made))], state

    def predict(self, recording: Recording, *, stream: str = "eeg") -> list[Prediction]:
        """Return the predictions of a recording, window by window exactly as live."""
        return list(self._fold(recording, recording.key(stream)))

    def _fold(self, recording: Recording, key: str) -> Iterator[Prediction]:
        tokens = self.tokens(recording.description(key))
        state = tokens.start()
        for window in recording.windows(key, self.recipe.hop_samples):
            made, state = self.step(window, key, tokens, state)
            yield from made

    def predict_batch(self, recording: Recording, *, stream: str = "eeg") -> list[Prediction]:
        """Return the same predictions by the vectorised engines.

        Tokens by matrix products (within 1e-9 of the stream's) and one batched forward pass:
        probabilities agree with :meth:`predict` within 1e-5.
        """
        key = recording.key(stream)
        data = recording[key]
        made = self.tokens(recording.description(key)).batch(
            data["signal"].values, data["time"].values
        )
        probability = self.probability(made[FAMILY].values, made[FAMILY].present)
        return [self._prediction(made, i, probability[i]) for i in range(len(made))]

    def probability(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Return the probability of the high class, shape (window, dimension).

        Parameters
        ----------
        values, present : ndarray, shape (window, channel, band)
            Tokens in nats and where they are.
        """
        if not len(values):
            return np.empty((0, len(self.dimensions)))
        electrodes = present.all(axis=2)
        logits = predict_logits(self.model, self.scaler(values), electrodes)
        return calibrated_probability(logits, self.temperature)[..., 1]

    def predict_one(self, made: TokenSet, i: int) -> Prediction:
        """Return the prediction of window `i`, computed alone: its bits depend on no other."""
        family = made[FAMILY]
        alone = self.probability(family.values[i : i + 1], family.present[i : i + 1])
        return self._prediction(made, i, alone[0])

    def _prediction(self, made: TokenSet, i: int, probability: np.ndarray) -> Prediction:
        usable = int(made[FAMILY].present[i].all(axis=1).sum())
        abstain = usable < USABLE_SHARE * len(self.ch_names)
        if abstain:
            reason = f"only {usable} of {len(self.ch_names)} electrodes are usable"
            return self.abstention(float(made.stop_seconds[i]), reason)
        return self._said(float(made.stop_seconds[i]), probability)

    def abstention(self, time_seconds: float, reason: str) -> Prediction:
        """Return what is said when there is nothing to go by: the training prior."""
        return replace(self._said(time_seconds, self.prior), abstain=True, reason=reason)

    def _said(self, time_seconds: float, high: np.ndarray) -> Prediction:
        sure = np.maximum(high, 1 - high)
        return Prediction(
            time_seconds=time_seconds,
            probability=dict(zip(self.dimensions, map(float, high), strict=True)),
            confidence=dict(zip(self.dimensions, map(float, sure), strict=True)),
            abstain=False,
            reason="",
            model_id=self.id,
        )

    def save(self, folder: str | Path) -> Path:
        """Write the decoder as a folder of safetensors and JSON.

        ``decoder.json`` is written last: a folder without it is not a decoder.
        """
        from safetensors.numpy import save_file

        folder = Path(folder)
        save_model(folder, self.model, name="intercortical")
        arrays = {
            "scaler_mean": self.scaler.mean,
            "scaler_scale": self.scaler.scale,
            "temperature": self.temperature,
            "prior": self.prior,
        }
        save_file({k: np.ascontiguousarray(v, float) for k, v in arrays.items()}, folder / _ARRAYS)
        content = {
            "format": _FORMAT,
            "recipe": self.recipe.to_dict(),
            "recipe_fingerprint": self.recipe.fingerprint,
            "ch_names": list(self.ch_names),
            "unit": "uV",
            "dimensions": list(self.dimensions),
            "model_id": self.id,
            "metadata": self.metadata,
            "gate": None if self.gate is None else self.gate.to_dict(),
        }
        (folder / DECODER_JSON).write_text(
            json.dumps(content, indent=2, ensure_ascii=False), "utf-8"
        )
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> "Decoder":
        """Read a decoder that :meth:`save` wrote.

        Raises
        ------
        CheckpointError
            If it is not a decoder, damaged, or its parts do not belong together.
        """
        from safetensors.numpy import load_file

        folder = Path(folder)
        content = _read_json(folder)
        model, _ = load_model(folder)
        try:
            arrays = load_file(folder / _ARRAYS)
            decoder = cls(
                recipe=EntropyRecipe.from_dict(content["recipe"]),
                ch_names=tuple(content["ch_names"]),
                dimensions=tuple(content["dimensions"]),
                scaler=Scaler(arrays["scaler_mean"], arrays["scaler_scale"]),
                model=model,
                temperature=arrays["temperature"],
                prior=arrays["prior"],
                metadata=content["metadata"],
                gate=_gate_of(content),
            )
        except Exception as error:  # safetensors, key and type errors all mean the same here
            raise CheckpointError(
                f"found a damaged decoder at {folder} ({error}), expected the folder that "
                "'physioemo train' wrote; copy it again"
            ) from error
        decoder._check_parts(content, folder)
        return decoder

    def _check_parts(self, content: dict[str, Any], folder: Path) -> None:
        shape = (len(self.ch_names), len(self.recipe.bands))
        fits = self.scaler.mean.shape == shape == self.scaler.scale.shape
        known = content["model_id"] == self.id
        if not (fits and known and content["recipe_fingerprint"] == self.recipe.fingerprint):
            raise CheckpointError(
                f"found parts of different decoders in {folder}, expected those that "
                "'physioemo train' wrote together; copy the folder again"
            )


def _gate_of(content: dict[str, Any]) -> ArtefactGate | None:
    fields = content.get("gate")
    return None if fields is None else ArtefactGate.from_dict(fields)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / DECODER_JSON
    if not path.is_file():
        raise CheckpointError(
            f"found no {DECODER_JSON} in {folder}, expected the folder of a decoder; make one with "
            "'physioemo train'"
        )
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        version = int(content["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"found that {path} is damaged ({error}), expected what 'physioemo train' wrote; copy "
            "the folder again"
        ) from error
    if version > _FORMAT:
        raise CheckpointError(
            f"found decoder format {version} in {path}, expected at most {_FORMAT}; update "
            "PhysioEmo to use it"
        )
    return content
