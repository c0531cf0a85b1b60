"""The last layer of a decoder fitted to one participant's rated trials, if that predicts better.

Each head's last layer is fitted by logistic regression on what the layers before it say of the
trials' windows, held near its old weights (a Gaussian prior around them). Whether it is better is
asked of trials that it was not fitted to: trials, never windows, are left out.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.tokens import FAMILY
from physioemo.recording import Recording

__all__ = ["Refit", "refit_head"]

_FEWEST_TRIALS, _FEWEST_OF_A_SIDE = 6, 2
_N_FOLDS = 5
_PRIOR_WEIGHT = 0.1
_MIDDLE = 5.0


@dataclass(frozen=True)
class Refit:
    """What came of it.

    Parameters
    ----------
    decoder : Decoder
        With new last layers where they predict better; the old one if none does.
    taken : tuple of str
        Dimensions with a new last layer.
    accuracy_before, accuracy_after : mapping of str to float
        Share of trials whose side was predicted, each by a head that was not fitted to it.
    n_trials : mapping of str to int
        Of so many rated trials; a rating in the middle is left out.
    """

    decoder: Decoder
    taken: tuple[str, ...]
    accuracy_before: Mapping[str, float]
    accuracy_after: Mapping[str, float]
    n_trials: Mapping[str, int]


def refit_head(
    decoder: Decoder | FusedDecoder,
    recordings: Sequence[Recording],
    ratings: Mapping[str, Mapping[str, float]],
    *,
    stream: str | None = None,
) -> Refit:
    """Fit the last layer of each dimension to rated trials.

    Parameters
    ----------
    decoder : Decoder or FusedDecoder
        Of the EEG alone; stays as it is.
    recordings : sequence of Recording
        With the trials and the EEG; they may still be running.
    ratings : mapping of str to mapping of str to float
        From 1 to 9, by trial number (as text) and dimension.
    stream : str, optional
        Name of the EEG stream; by default the one that fits the decoder.

    Raises
    ------
    CallError
        If the decoder is of several streams, the model has no such layer, or no dimension has six
        rated trials with two of each side.
    """
    if not isinstance(decoder, Decoder):
        raise CallError(
            "found a decoder of several streams, expected one of the EEG alone for a refit; "
            "calibrate by bias and scale instead"
        )
    heads = getattr(decoder.model, "classification_heads", None)
    if heads is None:
        raise CallError(
            f"found the model {type(decoder.model).__name__} without a head for each dimension, "
            "expected the inter-cortical transformer; calibrate by bias and scale instead"
        )
    values, present, trial = _windows(decoder, recordings, ratings, stream)
    model = copy.deepcopy(decoder.model).eval()
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    counts: dict[str, int] = {}
    taken = []
    for d, name in enumerate(decoder.dimensions):
        rated = {int(t): r[name] for t, r in ratings.items() if name in r and r[name] != _MIDDLE}
        used = np.isin(trial, list(rated))
        sides = {t: int(rated[t] > _MIDDLE) for t in np.unique(trial[used]).tolist()}
        n_high = sum(sides.values())
        counts[name] = len(sides)
        few = min(n_high, len(sides) - n_high) < _FEWEST_OF_A_SIDE
        if len(sides) < _FEWEST_TRIALS or few:
            continue
        layer = model.classification_heads[name].mlp[-1]
        electrodes = np.asarray(present[used].all(axis=2))
        features = _before(model, layer, decoder.scaler(values[used]), electrodes)
        label = np.array([sides[t] for t in trial[used].tolist()])
        temperature = float(decoder.temperature[d])
        head = _Head(features, label, trial[used], layer, temperature)
        before[name], after[name] = head.accuracy_as_it_is(), head.accuracy_held_out()
        if after[name] > before[name]:
            head.fit(np.ones(len(label), bool)).write(layer)
            taken.append(name)
    if not before:
        raise CallError(
            f"found {max(counts.values(), default=0)} rated trials, expected {_FEWEST_TRIALS} or "
            f"more in a dimension with {_FEWEST_OF_A_SIDE} or more of each side; rate more first"
        )
    facts = {"accuracy_before": before, "accuracy_after": after, "n_trials": counts}
    metadata = {**decoder.metadata, "refit": {"of": decoder.id, "taken": taken, **facts}}
    fitted = replace(decoder, model=model, id="", metadata=metadata) if taken else decoder
    return Refit(fitted, tuple(taken), before, after, counts)


def _windows(
    decoder: Decoder,
    recordings: Sequence[Recording],
    ratings: Mapping[str, Any],
    stream: str | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tokens and where they are, (window, channel, band), and each window's trial."""
    values, present, trials = [], [], []
    for recording in recordings:
        key = recording.key(stream) if stream else _fitting(decoder, recording)
        tokens = decoder.tokens(recording.description(key))
        made = tokens.fold(recording.windows(key, decoder.recipe.hop_samples), key)
        table = recording.trials
        rows = zip(
            table["trial"].values.tolist(),
            table["onset_seconds"].values.tolist(),
            table["duration_seconds"].values.tolist(),
            strict=True,
        )
        for number, onset, duration in rows:
            within = (made.start_seconds >= onset) & (made.stop_seconds <= onset + duration)
            usable = made[FAMILY].present.all(axis=2).mean(axis=1) >= 0.5
            chosen = np.flatnonzero(within & usable)
            if str(number) in ratings and len(chosen):
                values.append(made[FAMILY].values[chosen])
                present.append(made[FAMILY].present[chosen])
                trials.append(np.full(len(chosen), number))
    if not trials:
        raise CallError("found no rated trial in the recordings, expected some; rate more first")
    return np.concatenate(values), np.concatenate(present), np.concatenate(trials)


def _fitting(decoder: Decoder, recording: Recording) -> str:
    from physioemo.errors import PhysioEmoError

    for key in recording.streams:
        try:
            decoder.tokens(recording.description(key))
        except PhysioEmoError:
            continue
        return key
    raise CallError(
        f"found the streams {', '.join(recording.streams)}, expected one that fits the decoder"
    )


def _before(model: Any, layer: Any, tokens: np.ndarray, electrodes: np.ndarray) -> np.ndarray:
    """Return what comes into a layer, (window, feature), float64."""
    from physioemo.models.prediction import predict_logits

    caught: list[np.ndarray] = []
    with _listening(layer, caught):
        predict_logits(model, tokens, electrodes)
    return np.concatenate(caught).astype(float)


@contextmanager
def _listening(layer: Any, caught: list[np.ndarray]) -> Iterator[None]:
    handle = layer.register_forward_pre_hook(
        lambda module, arguments: caught.append(arguments[0].detach().numpy().copy())
    )
    try:
        yield
    finally:
        handle.remove()


class _Head:
    """One linear layer of two classes, as a logistic regression on its input."""

    def __init__(
        self,
        features: np.ndarray,
        label: np.ndarray,
        trial: np.ndarray,
        layer: Any,
        temperature: float,
        weights: np.ndarray | None = None,
    ) -> None:
        self.features = np.column_stack([features, np.ones(len(features))])
        self.label, self.trial, self.temperature = label, trial, temperature
        weight, bias = (p.detach().numpy().astype(float) for p in (layer.weight, layer.bias))
        self._layer_arguments = (features, label, trial, layer, temperature)
        self.old = np.append(weight[1] - weight[0], bias[1] - bias[0]) / temperature
        self.weights = self.old if weights is None else weights

    def accuracy_as_it_is(self) -> float:
        """Return the share of trials whose side it predicts."""
        return self._accuracy(self._probability(np.ones(len(self.label), bool)))

    def accuracy_held_out(self) -> float:
        """Return the share of trials whose side is predicted by a fit to the others."""
        said = np.empty(len(self.label))
        numbers = np.unique(self.trial)
        # High and low trials in turn, so that each fold has both.
        side = np.array([self.label[self.trial == t][0] for t in numbers])
        order = numbers[np.lexsort((numbers, side))]
        for fold in range(min(_N_FOLDS, len(order))):
            held = np.isin(self.trial, order[fold::_N_FOLDS])
            said[held] = self.fit(~held)._probability(held)
        return self._accuracy(said)

    def fit(self, rows: np.ndarray) -> "_Head":
        """Return the head fitted to some windows; each trial counts alike."""
        from scipy.optimize import minimize

        x, y, trial = self.features[rows], self.label[rows], self.trial[rows]
        counts = {t: int((trial == t).sum()) for t in np.unique(trial).tolist()}
        weight = np.array([1.0 / counts[t] for t in trial.tolist()])

        def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
            z = x @ w
            p = 1.0 / (1.0 + np.exp(-np.clip(z, -50, 50)))
            value = weight @ (np.logaddexp(0, z) - y * z)
            away = w - self.old
            value += _PRIOR_WEIGHT * away @ away / 2
            return float(value), x.T @ (weight * (p - y)) + _PRIOR_WEIGHT * away

        found = minimize(loss, self.old, jac=True, method="L-BFGS-B", options={"maxiter": 200})
        return _Head(*self._layer_arguments, weights=found.x)

    def write(self, layer: Any) -> None:
        """Put the weights into the layer: half to the high class, half from the low one."""
        import torch

        change = (self.weights - self.old) * self.temperature / 2
        with torch.no_grad():
            for row, sign in ((1, 1.0), (0, -1.0)):
                layer.weight[row] += torch.tensor(sign * change[:-1], dtype=layer.weight.dtype)
                layer.bias[row] += torch.tensor(sign * change[-1], dtype=layer.bias.dtype)

    def _probability(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(
            1.0 / (1.0 + np.exp(-np.clip(self.features[rows] @ self.weights, -50, 50)))
        )

    def _accuracy(self, said: np.ndarray) -> float:
        numbers = np.unique(self.trial)
        right = [
            (said[self.trial == t].mean() > 0.5) == bool(self.label[self.trial == t][0])
            for t in numbers
        ]
        return float(np.mean(right))
