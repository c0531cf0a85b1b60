"""What is fitted beside the classes of single windows: ratings, a context, a bag of windows."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.fused_config import FusedConfig
from physioemo.experiments.fused_context import (
    RunningBag,
    WindowContext,
    sequence_codes,
    window_features,
)
from physioemo.experiments.fused_heads import RatingHead, RatingScale
from physioemo.experiments.fused_training_data import FusedTrialData

__all__ = [
    "BATCH_OF_RATINGS",
    "fit_context",
    "rating_head",
    "rating_task",
    "sequences_of",
    "take_rows",
]

BATCH_OF_RATINGS = 64
"""Fewest windows in a batch when ratings are learned."""

_SEQUENCES_IN_BATCH = 8


def take_rows(inputs: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Return some windows of inputs, of which some have parts."""
    return {
        name: {k: v[rows] for k, v in part.items()} if isinstance(part, dict) else part[rows]
        for name, part in inputs.items()
    }


def sequences_of(data: FusedTrialData, rows: np.ndarray) -> np.ndarray:
    """Return a number for the stretch of each of some windows: a trial, until a gap."""
    stops = None if data.stop_seconds is None else data.stop_seconds[rows]
    return sequence_codes(data.trial_ids[rows], stops, data.recipe.hop_samples / data.recipe.sfreq)


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
    model: Any,
    data: FusedTrialData,
    inputs: Mapping[str, Any],
    inner: np.ndarray,
    held: np.ndarray,
    config: FusedConfig,
) -> WindowContext | RunningBag | None:
    """Fit what says the classes from several windows, on the features of a trained model.

    Parameters
    ----------
    model : FusedModel
        Trained; it stays as it is.
    data : FusedTrialData
        All windows.
    inputs : mapping
        What the model takes of them.
    inner, held : ndarray of int
        Windows that are learned from, and that stop it.
    config : FusedConfig
        Which context or pooling; None of both gives None.
    """
    import torch

    from physioemo.models.fused_training import fused_outputs
    from physioemo.models.sequence_training import train_sequences
    from physioemo.models.training import seeded

    if config.context is None and config.pooling is None:
        return None
    split = []
    for rows in (inner, held):
        vectors = window_features(fused_outputs(model, take_rows(inputs, rows)))
        split.append(_padded(vectors, data.labels[rows], sequences_of(data, rows)))
    (x, y), (vx, vy) = split
    about: dict[str, Any] = {"in_dim": x.shape[2], "dimensions": data.dimensions}
    with seeded(config.seed, torch.device("cpu")):
        network = _network(about, config)
    if config.pooling is not None:
        # A rating is of the whole trial.
        y, vy = y[:, 0], vy[:, 0]
    training = replace(
        config.training, seed=config.seed, batch_size=_SEQUENCES_IN_BATCH, token_noise=0.0
    )
    train_sequences(network, x, y, validation_sequences=vx, validation_labels=vy, config=training)
    if config.pooling is None:
        return WindowContext(network)
    lengths = np.bincount(sequences_of(data, inner))
    return RunningBag(network, int(np.median(lengths)))


def _network(about: Mapping[str, Any], config: FusedConfig) -> Any:
    from physioemo.models.multiple_instance import PRESETS, MultipleInstance
    from physioemo.models.temporal_context import ContextModel

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
