"""Whether two electrodes share a source: no entropy says so, connectivity does."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from physioemo.features.connectivity import connectivity
from physioemo.features.entropy import differential_entropy
from physioemo.models.fused import FusedModel
from tests.models.fused_data import accuracy, fit, new_seed, without

SFREQ_HZ = 128.0
WINDOW_SECONDS = 4.0
N_ELECTRODES = 4


def coupled_windows(n_windows, rng):
    """Raw windows one after the other; in class 1 two electrodes share half of their variance."""
    labels = rng.integers(0, 2, n_windows)
    raw = rng.standard_normal((N_ELECTRODES, n_windows, int(WINDOW_SECONDS * SFREQ_HZ)))
    shared = np.sqrt(0.5) * (raw[0] + raw[1])
    raw[1] = np.where(labels[:, None], shared, raw[1])
    return raw.reshape(N_ELECTRODES, -1), labels


def features(n_windows, rng):
    """Return entropies (window, electrode, band) and connectivity (window, pair, measure × band).

    Both as the recipes compute them, and standardised by their own windows.
    """
    raw, labels = coupled_windows(n_windows, rng)
    brain = differential_entropy(
        raw, SFREQ_HZ, window_seconds=WINDOW_SECONDS, definition="stft-hann-calibrated"
    )
    pairs = connectivity(raw, SFREQ_HZ, window_seconds=WINDOW_SECONDS).transpose(0, 2, 1, 3)
    inputs = {"brain": brain, "pairs": pairs.reshape(n_windows, pairs.shape[1], -1)}
    assert all(np.isfinite(v).all() for v in inputs.values())
    return {k: (v - v.mean(axis=0)) / v.std(axis=0) for k, v in inputs.items()}, labels


@pytest.fixture(scope="module")
def data():
    seed = new_seed()
    rng = np.random.default_rng(seed)
    return seed, features(1000, rng), features(1000, rng)


def test_entropies_do_not_say_whether_a_source_is_shared_and_connectivity_does(data):
    _, (train, y), (test, z) = data

    def flat(split, names):
        return np.concatenate([split[n].reshape(len(split[n]), -1) for n in names], axis=1)

    def score(*names):
        model = LogisticRegression(C=0.1, max_iter=500).fit(flat(train, names), y)
        return model.score(flat(test, names), z)

    print(f"entropies {score('brain'):.3f}, with connectivity {score('brain', 'pairs'):.3f}")
    assert score("brain") <= 0.60
    assert score("brain", "pairs") > 0.95


def test_a_fused_model_reads_it_from_the_pairs_and_not_from_the_electrodes(data):
    seed, (train, y), (test, z) = data
    shapes = {k: v.shape[1:] for k, v in train.items()}
    encoders = {
        k: {"encoder": "electrodes", "n_chans": n, "n_bands": width}
        for k, (n, width) in shapes.items()
    }
    torch.manual_seed(seed)
    model = FusedModel(encoders=encoders, dimensions=["valence"])
    fit(model, train, y, seed, n_epochs=12)
    print(f"both {accuracy(model, test, z):.3f}", end=", ")
    print(f"entropies alone {accuracy(model, without(test, 'pairs'), z):.3f}")
    assert accuracy(model, test, z) > 0.95
    assert accuracy(model, without(test, "pairs"), z) <= 0.60
