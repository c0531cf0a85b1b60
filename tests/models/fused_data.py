"""Windows of several modalities whose best possible accuracy is known."""

import math
import os
import sys
import zlib
from pathlib import Path

import numpy as np

from physioemo.models.fused import FusedModel
from physioemo.models.fused_training import predict_fused, train_fused
from physioemo.models.training import TrainingConfig

FAST = {"n_epochs": 25, "batch_size": 256, "learning_rate": 3e-3, "label_smoothing": 0.0}


def new_seed():
    """Return a seed of the test that asks, the same in each run, and print it.

    PHYSIOEMO_TEST_SEED=1 (or any text) in the environment draws others, for whoever wants to see
    that no promise hangs on these.
    """
    caller = sys._getframe(1).f_code
    asked = f"{Path(caller.co_filename).stem} {caller.co_name}"
    seed = zlib.crc32(f"{os.environ.get('PHYSIOEMO_TEST_SEED', '')} {asked}".encode()) // 2
    print(f"seed {seed}")
    return seed


def effects_data(effects, n_windows, rng, n_values=4):
    """Modality i has values ±effect/2 along one direction, in noise of unit variance.

    The best accuracy from it alone is Φ(effect / 2 · 2) = Φ(effect), with effect half the distance
    between the classes.
    """
    labels = rng.integers(0, 2, n_windows)
    inputs = {}
    for i, effect in enumerate(effects):
        direction = np.zeros(n_values)
        direction[i % n_values] = 1.0
        noise = rng.standard_normal((n_windows, n_values))
        inputs[f"m{i}"] = noise + effect * (2 * labels - 1)[:, None] * direction
    return inputs, labels


def bayes(*effects):
    """Return the best accuracy from some of the modalities together."""
    return 0.5 * (1 + math.erf(math.sqrt(sum(e * e for e in effects)) / math.sqrt(2)))


def scalars(n_modalities, n_values=4, **options):
    """Return a fused model of modalities of numbers."""
    encoders = {f"m{i}": {"encoder": "scalars", "n_scalars": n_values} for i in range(n_modalities)}
    return FusedModel(encoders=encoders, dimensions=["valence"], **options)


def fit(model, inputs, labels, seed, **changes):
    """Train on four fifths; windows here are independent, each its own trial."""
    cut = len(labels) * 4 // 5
    return train_fused(
        model,
        {k: v[:cut] for k, v in inputs.items()},
        labels[:cut],
        validation_inputs={k: v[cut:] for k, v in inputs.items()},
        validation_labels=labels[cut:],
        config=TrainingConfig(seed=seed, **{**FAST, **changes}),
    )


def accuracy(model, inputs, labels):
    logits, _ = predict_fused(model, inputs)
    return float((logits[:, 0].argmax(-1) == labels).mean())


def without(inputs, *names):
    """Return inputs of which some modalities are missing."""
    return {k: np.full_like(v, np.nan) if k in names else v for k, v in inputs.items()}
