"""What is fitted beside the classes of single windows: ratings, a context, a bag of windows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.fused_config import FusedConfig
from physioemo.experiments.fused_context import RunningBag, WindowContext, window_features
from physioemo.experiments.fused_heads import RatingHead, RatingScale
from physioemo.experiments.fused_lead import led_in
from physioemo.experiments.fused_training_data import FusedTrialData, take_rows, take_windows

__all__ = [
    "BATCH_OF_RATINGS",
    "fit_context",
    "rating_head",
    "rating_task",
]

BATCH_OF_RATINGS = 64
"""Fewest windows in a batch when ratings are learned."""

_SEQUENCES_IN_BATCH = 8


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

    from physioemo.models.sequence_training import train_sequences
    from physioemo.models.training import seeded

    if config.context is None and config.pooling is None:
        return None
    n_features = vectors_of(take_windows(data, inner[:1])).shape[1]
    with seeded(config.seed, torch.device("cpu")):
        network = _network(n_features, data.dimensions, config)
    n_before = WindowContext(network, 1).n_before if config.pooling is None else 0
    led = [led_in(data, rows, n_before) for rows in (inner, held)]
    split = [_padded(vectors_of(p.data), p.data.labels, p.sequences) for p in led]
    (x, y), (vx, vy) = split
    if config.pooling is not None:
        # A rating is of the whole trial.
        y, vy = y[:, 0], vy[:, 0]
    training = replace(
        config.training, seed=config.seed, batch_size=_SEQUENCES_IN_BATCH, token_noise=0.0
    )
    train_sequences(network, x, y, validation_sequences=vx, validation_labels=vy, config=training)
    if config.pooling is None:
        return WindowContext(network, x.shape[1])
    return RunningBag(network, int(np.median(np.bincount(led[0].sequences))))


def _network(in_dim: int, dimensions: Sequence[str], config: FusedConfig) -> Any:
    from physioemo.models.multiple_instance import PRESETS, MultipleInstance
    from physioemo.models.temporal_context import ContextModel

    about: dict[str, Any] = {"in_dim": in_dim, "dimensions": dimensions}
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
