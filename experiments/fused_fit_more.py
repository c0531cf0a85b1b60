"""What is fitted beside the classes of single windows: ratings, a context, a bag of windows."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.fused_config import FusedConfig
from physioemo.experiments.fused_context import RunningBag, WindowContext, window_features
from physioemo.experiments.fused_heads import RatingHead, RatingScale
from physioemo.experiments.fused_lead import led_in
from physioemo.experiments.fused_training_data import FusedTrialData, take_rows, take_windows

__all__ = [
    "BATCH_OF_RATINGS",
    "ContextChoice",
    "SequenceWindows",
    "fit_context",
    "learn_context",
    "rating_head",
    "rating_task",
    "untrained_context",
]

BATCH_OF_RATINGS = 64
"""Fewest windows in a batch when ratings are learned."""

_SEQUENCES_IN_BATCH = 8


class ContextChoice(NamedTuple):
    """What :func:`learn_context` has to know, where there is no whole configuration.

    Parameters
    ----------
    context, pooling : str, optional
        One of them, as :class:`physioemo.experiments.fused_config.FusedConfig` says.
    preset : str
        Sizes.
    dimensions : tuple of str
        What is rated.
    training : TrainingConfig
        The schedule.
    seed : int
        Of the weights and the shuffles.
    """

    context: str | None
    pooling: str | None
    preset: str
    dimensions: tuple[str, ...]
    training: Any
    seed: int


class SequenceWindows(NamedTuple):
    """Windows of which some follow one another.

    Parameters
    ----------
    vectors : ndarray of float32, shape (window, feature)
        NaN where a window is missing.
    labels : ndarray of int, shape (window, dimension)
        -1 is missing.
    sequences : ndarray of int, shape (window,)
        Windows of one number follow one another, in order.
    """

    vectors: np.ndarray
    labels: np.ndarray
    sequences: np.ndarray


def rating_head(
    model: Any,
    data: FusedTrialData,
    inputs: Mapping[str, Any],
    rows: np.ndarray,
    config: FusedConfig,
) -> RatingHead | None:
    """Return an untrained head for ratings, if any are to be said.

    Parameters
    ----------
    model : FusedModel
        Whose features it reads.
    data : FusedTrialData
        All windows.
    inputs : mapping
        What the model takes of them.
    rows : ndarray of int
        Windows that are learned from.
    config : FusedConfig
        What is to be said.

    Raises
    ------
    DataError
        If there are no ratings, or their scales differ.
    """
    import torch

    from physioemo.models.fused_training import fused_outputs
    from physioemo.models.training import seeded

    if config.heads == "classes":
        return None
    if data.ratings is None or len(data.scales) != 1:
        scales = ", ".join(f"{low:g} to {high:g}" for low, high in data.scales) or "none"
        raise DataError(
            f"found ratings on the scales {scales}, expected one scale for heads = "
            f"{config.heads!r}; train on recordings of one scale, or on classes"
        )
    scale = RatingScale(*data.scales[0])
    known = scale.inwards(data.ratings[rows])
    prior = np.array([c[np.isfinite(c)].mean() if np.isfinite(c).any() else 0.0 for c in known.T])
    features = window_features(fused_outputs(model, take_rows(inputs, rows[:1]))).shape[1]
    with seeded(config.seed, torch.device("cpu")):
        return RatingHead.untrained(config.heads, scale, features, prior)


def rating_task(
    head: RatingHead | None,
    data: FusedTrialData,
    inner: np.ndarray,
    held: np.ndarray,
    config: FusedConfig,
) -> Any:
    """Return what is learned of ratings; None for nothing.

    Parameters
    ----------
    head : RatingHead, optional
        From :func:`rating_head`.
    data, config
        As there.
    inner, held : ndarray of int
        Windows that are learned from, and that stop it.
    """
    from physioemo.models.fused_training import RatingTask

    if head is None or data.ratings is None:
        return None
    return RatingTask(
        head.network,
        head.scale.inwards(data.ratings[inner]),
        head.scale.inwards(data.ratings[held]),
        weight=config.rating_weight,
        class_weight=1.0 if head.kind == "joint" else 0.0,
    )


def fit_context(
    data: FusedTrialData,
    vectors_of: Callable[[FusedTrialData], np.ndarray],
    inner: np.ndarray,
    held: np.ndarray,
    config: FusedConfig,
) -> WindowContext | RunningBag | None:
    """Fit what says the classes from several windows, on the features of a trained model.

    A context learns from trials with what led in to them; a bag from whole trials alone.

    Parameters
    ----------
    data : FusedTrialData
        All windows.
    vectors_of : callable
        What a context reads of windows, (window, feature).
    inner, held : ndarray of int
        Windows that are learned from, and that stop it.
    config : FusedConfig
        Which context or pooling; None of both gives None.
    """
    import torch

    from physioemo.models.training import seeded

    if config.context is None and config.pooling is None:
        return None
    n_before = 0
    if config.pooling is None:
        n_features = vectors_of(take_windows(data, inner[:1])).shape[1]
        with seeded(config.seed, torch.device("cpu")):
            n_before = WindowContext(untrained_context(n_features, 2, config), 1).n_before
    led = [led_in(data, rows, n_before) for rows in (inner, held)]
    first, second = (SequenceWindows(vectors_of(p.data), p.data.labels, p.sequences) for p in led)
    return learn_context(first, second, config)[0]


def learn_context(
    inner: "SequenceWindows", held: "SequenceWindows", config: Any, *, n_outputs: int = 2
) -> tuple[WindowContext | RunningBag, Any]:
    """Learn a context or a pooling from the features of windows.

    Parameters
    ----------
    inner, held : SequenceWindows
        What is learned from, and what stops it.
    config : FusedConfig or ContextChoice
        ``context`` or ``pooling``, ``preset``, ``dimensions``, ``training`` and ``seed``.
    n_outputs : int
        Classes of each dimension.

    Returns
    -------
    context : WindowContext or RunningBag
        Fitted, on the CPU.
    training : TrainingResult
        How it went.
    """
    import torch

    from physioemo.models.sequence_training import train_sequences
    from physioemo.models.training import seeded

    with seeded(config.seed, torch.device("cpu")):
        network = untrained_context(inner.vectors.shape[1], n_outputs, config)
    (x, y), (vx, vy) = (_padded(*part) for part in (inner, held))
    if config.pooling is not None:
        # A rating is of the whole trial.
        y, vy = y[:, 0], vy[:, 0]
    training = replace(
        config.training, seed=config.seed, batch_size=_SEQUENCES_IN_BATCH, token_noise=0.0
    )
    found = train_sequences(
        network, x, y, validation_sequences=vx, validation_labels=vy, config=training
    )
    if config.pooling is None:
        return WindowContext(network, x.shape[1]), found
    lengths = np.bincount(np.unique(inner.sequences, return_inverse=True)[1])
    return RunningBag(network, int(np.median(lengths))), found


def untrained_context(in_dim: int, n_outputs: int, config: Any) -> Any:
    """Return the network of a context or a pooling with random weights.

    Parameters
    ----------
    in_dim : int
        Length of a window's features.
    n_outputs, config
        As for :func:`learn_context`.
    """
    from physioemo.models.multiple_instance import PRESETS, MultipleInstance
    from physioemo.models.temporal_context import ContextModel

    about: dict[str, Any] = {
        "in_dim": in_dim, "dimensions": config.dimensions, "n_outputs": n_outputs,
    }  # fmt: skip
    if config.pooling is not None:
        return MultipleInstance(**about, pooling=config.pooling, **PRESETS[config.preset])
    return ContextModel(**about, context=config.context or "single", preset=config.preset)


def _padded(
    vectors: np.ndarray, labels: np.ndarray, sequences: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return windows as sequences (sequence, window, ...), NaN and -1 after the shorter ones."""
    _, at = np.unique(sequences, return_inverse=True)
    lengths = np.bincount(at)
    place = np.arange(len(at)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    x = np.full((len(lengths), lengths.max(), vectors.shape[1]), np.nan, np.float32)
    y = np.full((*x.shape[:2], labels.shape[1]), -1)
    x[at, place], y[at, place] = vectors, labels
    return x, y
