"""The last layer of a decoder fitted to one participant's rated trials, if that predicts better.

Each head's last layer is fitted by logistic regression on what the layers before it say of the
trials' windows, held near its old weights (a Gaussian prior around them). Whether it is better is
asked of trials that it was not fitted to: trials, never windows, are left out.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.session.refit_features import trial_features
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
    decoder : Decoder or FusedDecoder
        With new last layers where they predict better; the old one if none does.
    taken : tuple of str
        Dimensions with a new last layer.
    accuracy_before, accuracy_after : mapping of str to float
        Share of trials whose side was predicted, each by a head that was not fitted to it.
    n_trials : mapping of str to int
        Of so many rated trials; a rating in the middle is left out.
    """

    decoder: Decoder | FusedDecoder
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
        Stays as it is.
    recordings : sequence of Recording
        With the trials and the streams; they may still be running.
    ratings : mapping of str to mapping of str to float
        From 1 to 9, by trial number (as text) and dimension.
    stream : str, optional
        Name of the EEG stream; by default the one that fits the decoder.

    Raises
    ------
    CallError
        If the decoder has no such layer, or says and promises more than it does; or no dimension
        has six rated trials with two of each side.
    """
    model = copy.deepcopy(decoder.model).eval()
    layers = _last_layers(decoder, model)
    features, trial = trial_features(decoder, model, layers, recordings, ratings, stream)
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
        label = np.array([sides[t] for t in trial[used].tolist()])
        temperature = float(decoder.temperature[d])
        head = _Head(features[name][used], label, trial[used], layers[name], temperature)
        before[name], after[name] = head.accuracy_as_it_is(), head.accuracy_held_out()
        if after[name] > before[name]:
            head.fit(np.ones(len(label), bool)).write(layers[name])
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


def _last_layers(decoder: Decoder | FusedDecoder, model: Any) -> dict[str, Any]:
    """Return the linear layer of each dimension that says its classes, in a copy of the model."""
    instead = "calibrate by bias and scale instead"
    if isinstance(decoder, Decoder):
        heads = getattr(model, "classification_heads", None)
        if heads is None:
            raise CallError(
                f"found the model {type(model).__name__} without a head for each dimension, "
                f"expected the inter-cortical transformer; {instead}"
            )
        return {name: heads[name].mlp[-1] for name in decoder.dimensions}
    more = {
        "a context over windows": decoder.context is not None,
        "promises that were fitted to its answers": decoder.trust is not None,
        "classes that follow from ratings": decoder.head is not None
        and decoder.head.kind == "continuous",
        "the stimulus": decoder.stimulus is not None,
        f"the fusion {model.config['fusion']!r}": model.config["fusion"] != "queries",
    }
    there = [what for what, is_there in more.items() if is_there]
    if there:
        raise CallError(
            f"found a decoder with {there[0]}, expected one whose last layer says the classes of "
            f"a window of the body's streams; {instead}"
        )
    return dict(zip(decoder.dimensions, model.fusion.heads, strict=True))


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
