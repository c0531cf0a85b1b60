"""A decoder of several streams as one graph: what :mod:`physioemo.experiments.decoder_onnx` writes.

Each modality is an input of its own, NaN where it is missing. Beside the numbers of a family stands
how old they are; too old ones are missing, as live. What is said of single windows is in the graph:
scalers, encoders, fusion, temperature, ratings, named emotions and silence.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from physioemo.errors import CallError
from physioemo.experiments.fused_decoder import EEG, FusedDecoder
from physioemo.experiments.fused_modalities import FamilyScaler

__all__ = ["FusedAnswer", "fused_expected", "fused_inputs", "fused_probes", "refuse_sequences"]

_USABLE_SHARE = 0.5
_AGE = "_age_seconds"
_VIDEO_SECONDS = "video_time_seconds"
_WINDOWS = 12


def refuse_sequences(decoder: FusedDecoder) -> None:
    """Refuse a decoder whose answer is not that of a single window, or not in the graph.

    Raises
    ------
    CallError
        If it has a context or a pooling, or its classes follow from ratings.
    """
    if decoder.context is not None:
        raise CallError(
            "found a fused decoder with a context or a pooling, which remembers windows, expected "
            "one that says each window alone: a graph has no state; train it without"
        )
    if decoder.head is not None and decoder.head.kind == "continuous":
        raise CallError(
            "found a fused decoder with heads = 'continuous', expected 'classes' or 'joint': ONNX "
            "has no logarithm of the normal distribution, and far from the middle its parts lose "
            "all digits; train it with other heads"
        )


def fused_inputs(decoder: FusedDecoder) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the inputs of the graph: type, and shape after the window.

    Parameters
    ----------
    decoder : FusedDecoder
        The decoder.
    """
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        EEG: ("float64", (len(decoder.ch_names), len(decoder.recipe.bands)))
    }
    for side in decoder.sides:
        found[side.name] = ("float64", (side.n_values,))
        found[side.name + _AGE] = ("float64", ())
    if decoder.stimulus is not None:
        for name, part in decoder.stimulus.nothing(1).items():
            if isinstance(part, dict):
                found[name] = ("float32", part["values"].shape[1:])
                found[_VIDEO_SECONDS] = ("float32", part["time_seconds"].shape[1:])
            else:
                found[name] = ("float32", part.shape[1:])
    return found


class _Scale(nn.Module):
    """A family's scaler as part of the graph."""

    mean: Tensor
    scale: Tensor
    known: Tensor

    def __init__(self, scaler: FamilyScaler) -> None:
        super().__init__()
        for name, value in (("mean", scaler.scaler.mean), ("scale", scaler.scaler.scale)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))
        self.register_buffer("known", torch.tensor(scaler.known))

    def forward(self, values: Tensor) -> Tensor:
        """Return scaled values (window, ...), NaN where missing or never learned."""
        scaled = (values.double() - self.mean) / self.scale
        return torch.where(self.known, scaled, torch.nan).float()


class FusedAnswer(nn.Module):
    """From what is known of windows to everything that the decoder says of them.

    Parameters
    ----------
    decoder : FusedDecoder
        One that :func:`refuse_sequences` lets pass.
    """

    temperature: Tensor
    prior: Tensor
    rating_prior: Tensor
    emotion_prior: Tensor

    def __init__(self, decoder: FusedDecoder) -> None:
        super().__init__()
        self.model: nn.Module = decoder.model
        self.names = list(fused_inputs(decoder))
        self.ages = {side.name: side.choice.max_age_seconds for side in decoder.sides}
        self.scalers = nn.ModuleDict({n: _Scale(s) for n, s in decoder.scalers.items()})
        rule = None if decoder.trust is None else decoder.trust.rule
        self.threshold = None if rule is None else rule.threshold
        self.head = None if decoder.head is None else decoder.head.network
        self.emotions = None if decoder.emotions is None else decoder.emotions.network
        self.emotion_temperature = 1.0
        priors = {"temperature": decoder.temperature, "prior": decoder.prior}
        if decoder.head is not None:
            scale = decoder.head.scale
            self.lowest, self.highest = scale.lowest, scale.highest
            priors["rating_prior"] = scale.outwards(decoder.head.prior)
        if decoder.emotions is not None:
            self.emotion_temperature = decoder.emotions.temperature
            priors["emotion_prior"] = decoder.emotions.prior
        for name, value in priors.items():
            self.register_buffer(name, torch.tensor(np.asarray(value), dtype=torch.float64))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what is said, in order."""
        more = (("rating", self.head), ("emotion", self.emotions))
        there = [name for name, part in more if part is not None]
        return ("logits", "probability", "abstain", *there)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Take the inputs of :func:`fused_inputs` in their order."""
        said = self.model(self._scaled(dict(zip(self.names, tensors, strict=True))))
        high = (said.logits.double() / self.temperature.unsqueeze(-1)).softmax(-1)[..., 1]
        abstain = said.abstain
        if self.threshold is not None:
            sure = torch.maximum(high, 1 - high).min(dim=1).values
            abstain = abstain | ~(sure >= self.threshold)
        silent = abstain.unsqueeze(-1)
        found = [said.logits, torch.where(silent, self.prior, high), abstain]
        features = said.features.flatten(1)
        if self.head is not None:
            half, middle = (self.highest - self.lowest) / 2, (self.highest + self.lowest) / 2
            rating = (middle + half * self.head.mean(features).double()).clamp(
                self.lowest, self.highest
            )
            found.append(torch.where(silent, self.rating_prior, rating))
        if self.emotions is not None:
            named = (self.emotions(features).double() / self.emotion_temperature).softmax(-1)
            found.append(torch.where(silent, self.emotion_prior, named))
        return tuple(found)

    def _scaled(self, given: dict[str, Tensor]) -> dict[str, Any]:
        """Return what the fused model takes, all that is missing, too old or too little at NaN."""
        eeg = given[EEG]
        usable = torch.isfinite(eeg).all(dim=2).double().mean(dim=1) >= _USABLE_SHARE
        inputs: dict[str, Any] = {
            EEG: self.scalers[EEG](torch.where(usable[:, None, None], eeg, torch.nan))
        }
        for name, most in self.ages.items():
            age = given[name + _AGE]
            fresh = (torch.isfinite(age) & (age <= most)).unsqueeze(1)
            seconds = torch.where(fresh, -age.unsqueeze(1), 0.0)
            inputs[name] = {
                "values": self.scalers[name](torch.where(fresh, given[name], torch.nan)),
                "time_seconds": seconds.expand_as(given[name]).float(),
            }
        for name in self.names:
            if name in inputs or name.endswith(_AGE) or name == _VIDEO_SECONDS:
                continue
            part = self.scalers[name](given[name]) if name in self.scalers else given[name]
            inputs[name] = part
            if _VIDEO_SECONDS in given and name == "video":
                inputs[name] = {"values": part, "time_seconds": given[_VIDEO_SECONDS]}
        return inputs


def fused_expected(decoder: FusedDecoder, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the decoder itself says of windows, one at a time as live.

    Parameters
    ----------
    decoder : FusedDecoder
        The decoder.
    given : dict of str to ndarray
        The inputs of the graph.
    """
    rows = [_said(decoder, {k: v[i : i + 1] for k, v in given.items()}) for i in _windows(given)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _windows(given: dict[str, np.ndarray]) -> range:
    return range(len(given[EEG]))


def _said(decoder: FusedDecoder, one: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from physioemo.experiments.fused_saying import say, say_nothing

    names = [side.name for side in decoder.sides]
    shown: dict[str, Any] | None = None
    if decoder.stimulus is not None:
        shown = {m: one[m] for m in decoder.stimulus.modalities}
        if "video" in shown:
            shown["video"] = {"values": one["video"], "time_seconds": one[_VIDEO_SECONDS]}
    found = decoder.outputs(
        one[EEG], {n: one[n] for n in names}, {n: one[n + _AGE] for n in names}, shown
    )
    said = say_nothing(decoder, 0.0, "nothing") if found.abstain[0] else say(decoder, found, 0, 0.0)
    answer = {
        "logits": found.logits.astype(float),
        "probability": np.array([list(said.probability.values())]),
        "abstain": np.array([float(said.abstain)]),
    }
    for name, values in (("rating", said.value), ("emotion", said.emotions)):
        if values:
            answer[name] = np.array([list(values.values())])
    return answer


def fused_probes(decoder: FusedDecoder) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Return windows to compare on: usual and far ones, and all ways to lack modalities.

    Parameters
    ----------
    decoder : FusedDecoder
        The decoder.
    """
    rng = np.random.default_rng(0)
    usual = {
        name: _drawn(decoder, name, kind, shape, rng)
        for name, (kind, shape) in fused_inputs(decoder).items()
    }
    for side in decoder.sides:
        usual[side.name + _AGE] = rng.uniform(0, side.choice.max_age_seconds, _WINDOWS)
    parts = [EEG, *(n for n in usual if n != EEG and n != _VIDEO_SECONDS and _AGE not in n)]
    probes = [("random windows", usual), ("one window", _rows(usual, slice(1)))]
    far = {k: v * 5 if v.dtype == np.float64 and _AGE not in k else v for k, v in usual.items()}
    probes.append(("windows far from those of training", far))
    for name in parts:
        probes.append((f"windows without {name}", _without(usual, [name])))
        probes.append((f"{name} alone", _without(usual, [p for p in parts if p != name])))
    probes.append(("windows without anything", _without(usual, parts)))
    old = {k: np.full_like(v, 1e6) if _AGE in k else v for k, v in usual.items()}
    probes.append(("tokens that are too old", old))
    holes = {k: v.copy() for k, v in usual.items()}
    for name in parts:
        hidden = rng.random(holes[name].shape[: 2 if name in ("audio", "video") else None]) < 0.3
        holes[name][hidden] = np.nan
    probes.append(("windows with holes", holes))
    return probes


def _drawn(
    decoder: FusedDecoder, name: str, kind: str, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    if name == _VIDEO_SECONDS:
        seconds = -decoder.stimulus.window_seconds if decoder.stimulus else 0.0
        return np.tile(np.linspace(seconds, 0.0, shape[0]), (_WINDOWS, 1)).astype(kind)
    values = rng.standard_normal((_WINDOWS, *shape))
    if name in decoder.scalers:
        scaler = decoder.scalers[name].scaler
        values = scaler.mean + scaler.scale * values
    return np.asarray(values, kind)


def _without(given: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    return {k: np.full_like(v, np.nan) if k in names else v for k, v in given.items()}


def _rows(given: dict[str, np.ndarray], rows: slice) -> dict[str, np.ndarray]:
    return {k: v[rows] for k, v in given.items()}
