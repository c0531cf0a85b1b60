"""Electrodes that move too far, or not at all, are masked: live, offline and by the fast engine."""

import numpy as np
import pytest

from physioemo.errors import CallError
from physioemo.experiments.tokens import FAMILY, TokenStream
from physioemo.features.artefact_gate import ArtefactGate, start_gate, step_gate
from physioemo.features.entropy import EntropyRecipe
from physioemo.ring import Ring
from tests.streams import eeg_description


def masked_hops(signal, gate=None, *, n_hop=25, window_samples=100):
    state, found = start_gate(len(signal)), []
    for start in range(0, signal.shape[1], n_hop):
        masked, state = step_gate(
            signal[:, start : start + n_hop],
            state,
            gate or ArtefactGate(after_seconds=0.2),
            sfreq=250.0,
            window_samples=window_samples,
        )
        found.append(masked)
    return np.array(found)


def test_a_jump_masks_its_electrode_until_window_and_filters_have_forgotten_it():
    signal = np.random.default_rng(0).normal(0, 10, (2, 1000))
    signal[1, 310] = 700
    masked = masked_hops(signal)
    # Sample 310 is in hop 12; 4 hops of a window and 2 of 0.2 s follow with it.
    assert np.flatnonzero(masked[:, 1]).tolist() == list(range(12, 18))
    assert not masked[:, 0].any()


def test_a_flat_electrode_is_masked_after_one_window_and_a_missing_one_is_no_artefact():
    signal = np.random.default_rng(0).normal(0, 10, (2, 1000))
    signal[0, 200:500] = 3.0
    signal[1] = np.nan
    masked = masked_hops(signal)
    assert np.flatnonzero(masked[:, 0]).tolist() == list(range(11, 25))
    assert not masked[:, 1].any()


@pytest.mark.parametrize("window_seconds", [1.0, 0.7])
def test_the_fast_engine_masks_the_same_windows(window_seconds):
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 10, (3000, 3))
    for _ in range(4):
        signal[rng.integers(3000), rng.integers(3)] = 900
    recipe = EntropyRecipe.in_seconds(250.0, window_seconds=window_seconds, hop_seconds=0.2)
    description = eeg_description(3, 250.0, ch_names=("Fz", "Cz", "Pz"))
    tokens = TokenStream(description, ("Fz", "Cz", "Pz"), recipe, ArtefactGate())
    time = np.arange(3000) / 250
    windows = Ring("eeg", description, recipe.hop_samples).push(signal, time)
    folded = tokens.fold(iter(windows), "eeg")[FAMILY]
    batch = tokens.batch(signal, time)[FAMILY]
    assert np.array_equal(folded.present, batch.present)
    assert 0 < (~folded.present).sum() < folded.present.size
    free = TokenStream(description, ("Fz", "Cz", "Pz"), recipe).fold(iter(windows), "eeg")[FAMILY]
    assert free.present.all()
    assert np.array_equal(free.values[folded.present], folded.values[folded.present])


def test_limits_that_contradict_each_other_are_refused():
    with pytest.raises(CallError, match="flat_uv below peak_to_peak_uv"):
        ArtefactGate(peak_to_peak_uv=1.0, flat_uv=2.0)
    gate = ArtefactGate(200.0, 0.5, 1.0)
    assert ArtefactGate.from_dict(gate.to_dict()) == gate
