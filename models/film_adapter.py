"""A small adapter per participant: a scale and a shift of the features before the head.

Feature-wise linear modulation (Perez et al. 2018, arXiv 1709.07871) with nothing else trained: the
model stays as it is, and twice the width of its features is fitted per dimension by a few steps,
each held to 1 and 0 by a penalty. It is the last step of personal calibration and off until a
participant has rated enough trials; with fewer, an offset and a scale
(:mod:`physioemo.models.personal`) say all that can be said.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from physioemo.errors import CallError, CheckpointError, SignalError
from physioemo.models.checks import checked_labels
from physioemo.models.fusion import QueryFusion

__all__ = ["FilmState", "Head", "apply_film", "fit_film", "query_head"]

Head = Callable[[Tensor], Tensor]
"""Features (window, dimension, embed) to logits (window, dimension, class)."""

_FORMAT = 1
LEAST_RATINGS = 8


@dataclass(frozen=True)
class FilmState:
    """One participant's adapter.

    Parameters
    ----------
    scale, shift : ndarray of float32, shape (dimension, embed)
        1 and 0 where nothing was fitted.
    trials : tuple of str
        Trials that it was fitted to, none if it is off.
    """

    scale: NDArray[np.float32]
    shift: NDArray[np.float32]
    trials: tuple[str, ...] = ()

    @property
    def on(self) -> bool:
        """Whether anything was fitted."""
        return bool(self.trials)

    def to_json(self) -> str:
        """Return the state as JSON text, every number exact."""
        arrays = {k: getattr(self, k).astype(float).tolist() for k in ("scale", "shift")}
        return json.dumps({"format": _FORMAT, **arrays, "trials": list(self.trials)})

    @classmethod
    def from_json(cls, text: str) -> "FilmState":
        """Return the state that :meth:`to_json` wrote.

        Raises
        ------
        CheckpointError
            If it is something else.
        """
        try:
            content = json.loads(text)
            scale, shift = (np.array(content[k], np.float32) for k in ("scale", "shift"))
            fits = scale.ndim == 2 and scale.shape == shift.shape and content["format"] == _FORMAT
            if not fits or not (np.isfinite(scale) & np.isfinite(shift)).all():
                raise ValueError(f"shapes {scale.shape} and {shift.shape}")
            return cls(scale, shift, tuple(map(str, content["trials"])))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"found an adapter that cannot be read ({error!r:.120}), expected what to_json "
                "wrote; fit a new one or copy it again"
            ) from error


def query_head(fusion: QueryFusion) -> Head:
    """Return the heads of a fusion by queries as one function of its features."""

    def head(features: Tensor) -> Tensor:
        return torch.stack([h(features[:, i]) for i, h in enumerate(fusion.heads)], dim=1)

    return head


def fit_film(
    features: ArrayLike,
    labels: ArrayLike,
    trials: ArrayLike,
    head: Head,
    *,
    least_ratings: int = LEAST_RATINGS,
    n_steps: int = 30,
    learning_rate: float = 0.05,
    shrinkage: float = 3.0,
) -> FilmState:
    """Fit a participant's adapter to rated trials; the head is not changed.

    Nothing in it is random: the same windows give the same adapter on the same computer.

    Parameters
    ----------
    features : array_like, shape (window, dimension, embed)
        What the head reads (``FusionOutput.features``), model in eval mode.
    labels : array_like of int, shape (window,) or (window, dimension)
        −1 is a missing rating.
    trials : array_like of str, shape (window,)
        Of which trial; every trial counts alike, however many windows it has.
    head : callable
        For instance :func:`query_head`.
    least_ratings : int
        Rated trials below which the adapter is off and changes nothing.
    n_steps, learning_rate
        Steps of Adam over all windows.
    shrinkage : float
        How many trials the penalty ``½ Σ ((scale − 1)² + shift²)`` weighs.

    Raises
    ------
    SignalError
        If shapes do not fit, a feature is not finite, or the fit diverged.
    """
    x, names = _checked(features, trials)
    with torch.no_grad():
        n_outputs = head(x[:1]).shape[-1]
    classes = checked_labels(labels, len(x), x.shape[1], n_outputs)
    rated = (classes >= 0).any(axis=1)
    there = tuple(sorted(set(names[rated].tolist())))
    n_dimensions, width = x.shape[1:]
    scale = torch.ones(n_dimensions, width, requires_grad=True)
    shift = torch.zeros(n_dimensions, width, requires_grad=True)
    if len(there) < least_ratings:
        return FilmState(scale.detach().numpy(), shift.detach().numpy())
    x, targets = x[torch.from_numpy(rated)], torch.from_numpy(classes[rated])
    weight = _equal_trials(names[rated], targets >= 0)
    optimiser = torch.optim.Adam([scale, shift], lr=learning_rate)
    for _ in range(n_steps):
        logits = head(x * scale + shift)
        lost = cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="none"
        )
        penalty = 0.5 * ((scale - 1).square().sum() + shift.square().sum())
        loss = (lost.view_as(weight) * weight).sum() + shrinkage * penalty
        gradients = torch.autograd.grad(loss, [scale, shift])
        for value, gradient in zip((scale, shift), gradients, strict=True):
            value.grad = gradient
        optimiser.step()
    fitted = FilmState(scale.detach().numpy(), shift.detach().numpy(), there)
    if not (np.isfinite(fitted.scale) & np.isfinite(fitted.shift)).all():
        raise SignalError("found an adapter that diverged, expected finite; lower learning_rate")
    return fitted


def apply_film(
    state: FilmState, features: ArrayLike, head: Head, *, trial: str
) -> NDArray[np.float32]:
    """Return the logits (window, dimension, class) of one trial's windows with the adapter.

    Parameters
    ----------
    state : FilmState
        Fitted to other trials.
    features : array_like, shape (window, dimension, embed)
        As in :func:`fit_film`.
    head : callable
        The same.
    trial : str
        Of which trial the windows are.

    Raises
    ------
    CallError
        If the adapter was fitted to that trial.
    SignalError
        If the shapes do not fit.
    """
    if trial in state.trials:
        raise CallError(
            f"found a prediction of trial {trial!r} with an adapter that was fitted to its rating, "
            "expected another trial; use the adapter from before that rating"
        )
    x, _ = _checked(features, np.full(len(np.asarray(features)), trial))
    if x.shape[1:] != state.scale.shape:
        raise SignalError(
            f"found features of {tuple(x.shape[1:])}, expected {state.scale.shape} as fitted"
        )
    with torch.no_grad():
        said = head(x * torch.from_numpy(state.scale) + torch.from_numpy(state.shift))
    return said.numpy()


def _equal_trials(names: NDArray[np.str_], rated: Tensor) -> Tensor:
    """Return weights (window, dimension) that sum to 1 over the rated windows of each trial."""
    _, code = np.unique(names, return_inverse=True)
    index = torch.from_numpy(code)
    count = torch.zeros(int(code.max()) + 1, rated.shape[1]).index_add(0, index, rated.float())
    return rated / count[index].clamp(min=1)


def _checked(features: ArrayLike, trials: ArrayLike) -> tuple[Tensor, NDArray[np.str_]]:
    x, names = np.array(features, np.float32), np.asarray(trials).astype(str)
    if x.ndim != 3 or names.shape != x.shape[:1] or not len(x) or not np.isfinite(x).all():
        raise SignalError(
            f"found features of shape {x.shape} and trials of shape {names.shape}, expected finite "
            "(window, dimension, embed) and one name per window"
        )
    return torch.from_numpy(x), names
