"""Made-up windows of several streams whose answer is known."""

from dataclasses import replace

import numpy as np

from physioemo.experiments.fused_training_data import FusedTrialData
from physioemo.features.entropy import EntropyRecipe

RECIPE = EntropyRecipe(250.0, 250, 125, (("a", 4.0, 8.0), ("b", 8.0, 14.0), ("c", 14.0, 30.0)))


def planted(values, labels, trial, **more):
    """Return windows of the EEG alone, each trial with a stimulus of its own."""
    n = len(trial)
    return FusedTrialData(
        values=values,
        present=np.ones(values.shape, bool),
        labels=labels.reshape(n, -1),
        recording=np.full(n, "a", object),
        trial=trial,
        stimulus=np.array([str(t) for t in trial], object),
        dimensions=("valence", "arousal", "dominance")[: labels.reshape(n, -1).shape[1]],
        fingerprints={},
        recipe=RECIPE,
        ch_names=("F3", "F4", "P3", "P4"),
        sides=(),
        side_values={},
        ages={},
        **more,
    )


def sure_and_unsure(seed, n_trials, n_windows=4):
    """Return windows of which some say their class loudly, and others by chance."""
    rng = np.random.default_rng(seed)
    trial = np.repeat(np.arange(n_trials), n_windows)
    high, loud = rng.random(n_trials) < 0.5, rng.random(n_trials) < 0.6
    told = np.where(loud | (rng.random(n_trials) < 0.5), high, ~high)
    values = rng.normal(0, 0.3, (len(trial), 4, 3))
    size = np.where(loud, 1.5, 0.15)
    values[:, :2] += (size * (2 * told - 1))[trial][:, None, None]
    return planted(values, high.astype(int)[trial], trial)


def rated(seed, n_trials, n_windows=4, spread=0.4):
    """Return windows of trials whose two ratings, 1 to 9, two electrodes say with some noise."""
    rng = np.random.default_rng(seed)
    trial = np.repeat(np.arange(n_trials), n_windows)
    latent = rng.uniform(-1, 1, (n_trials, 2))
    values = rng.normal(0, 0.3, (len(trial), 4, 3))
    values[:, :2] += 2.0 * latent[trial][:, :, None]
    noisy = np.clip(latent + rng.normal(0, spread / 4, latent.shape), -1, 1)
    ratings = (5 + 4 * noisy)[trial]
    labels = (ratings > 5).astype(int)
    return planted(values, labels, trial, ratings=ratings, scales=((1.0, 9.0),))


def told_early(seed, n_trials, n_windows=10):
    """Return trials whose class is told by their first two windows alone."""
    rng = np.random.default_rng(seed)
    trial = np.repeat(np.arange(n_trials), n_windows)
    high = rng.permutation(np.arange(n_trials) % 2)[trial]
    values = rng.normal(0, 0.3, (len(trial), 4, 3))
    early = np.tile(np.arange(n_windows) < 2, n_trials)
    values[early, :2] += (1.5 * (2 * high - 1))[early, None, None]
    return planted(values, high, trial)


def with_rest(data, n_before=6, hop_seconds=0.5):
    """Return the trials on one clock, each after a rest of some windows that say nothing."""
    lengths = np.bincount(data.trial)
    n = lengths + n_before
    starts = np.cumsum(n) - n
    place = np.concatenate(
        [s + n_before + np.arange(k) for s, k in zip(starts, lengths, strict=True)]
    )
    rest = np.concatenate([s + np.arange(n_before) for s in starts])
    rng = np.random.default_rng(9)
    blank = planted(
        rng.normal(0, 0.3, (len(rest), 4, 3)),
        np.full((len(rest), data.labels.shape[1]), -1),
        np.full(len(rest), -1),
        stop_seconds=1.0 + hop_seconds * rest,
    )
    return replace(data, stop_seconds=1.0 + hop_seconds * place, rest=blank)


def rated_or_named(seed, n_each, n_windows=4, effect=1.0):
    """Return trials of which the first half has a rating, and the second one of three emotions.

    Two electrodes say the class of the rating, the bands of two others the emotion.
    """
    rng = np.random.default_rng(seed)
    high, emotion = rng.permutation(np.arange(n_each) % 2), rng.permutation(np.arange(n_each) % 3)
    trial = np.repeat(np.arange(2 * n_each), n_windows)
    values = rng.normal(0, 0.3, (len(trial), 4, 3))
    is_rated = trial < n_each
    values[is_rated, :2] += effect * (2 * high - 1)[trial[is_rated], None, None]
    number = emotion[trial[~is_rated] - n_each]
    values[np.flatnonzero(~is_rated), 2:, number] += 2 * effect
    labels, emotions = np.full((2, len(trial)), -1)
    labels[is_rated], emotions[~is_rated] = high[trial[is_rated]], number
    found = planted(values, labels, trial, emotions=emotions)
    return replace(found, recording=np.where(is_rated, "a", "b").astype(object))
