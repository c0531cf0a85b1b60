"""Which electrodes face one another, and what their entropies say."""

import numpy as np
import pytest

from physioemo.datasets.seed import SEED_EEG
from physioemo.description import StreamDescription
from physioemo.errors import SignalError
from physioemo.features.asymmetry import (
    ASYMMETRY,
    RASM_BOUND_NATS,
    asymmetry,
    asymmetry_names,
    asymmetry_of_entropy,
)
from physioemo.features.electrode_pairs import caudality_pairs, homologous_pairs
from physioemo.features.entropy import differential_entropy
from physioemo.features.family import FamilyOptions, WindowGrid

SFREQ = 128.0
NAMES = ("F3", "Fz", "F4", "P3", "Pz", "P4")

# As Zheng and Lu (2015) list them for SEED's 62 electrodes.
DASM_OF_SEED = """FP1-FP2 F7-F8 F3-F4 FT7-FT8 FC3-FC4 T7-T8 P7-P8 C3-C4 TP7-TP8 CP3-CP4 P3-P4 O1-O2
AF3-AF4 F5-F6 F1-F2 FC5-FC6 FC1-FC2 C5-C6 C1-C2 CP5-CP6 CP1-CP2 P5-P6 P1-P2 PO7-PO8 PO5-PO6 PO3-PO4
CB1-CB2"""
DCAU_OF_SEED = """FT7-TP7 FC5-CP5 FC3-CP3 FC1-CP1 FCZ-CPZ FC2-CP2 FC4-CP4 FC6-CP6 FT8-TP8 F7-P7
F5-P5 F3-P3 F1-P1 FZ-PZ F2-P2 F4-P4 F6-P6 F8-P8 FP1-O1 FP2-O2 FPZ-OZ AF3-CB1 AF4-CB2"""


def names_of(pairs):
    return {pair.name.upper() for pair in pairs}


def test_seeds_electrodes_form_the_published_pairs():
    assert names_of(homologous_pairs(SEED_EEG)) == set(DASM_OF_SEED.split())
    assert names_of(caudality_pairs(SEED_EEG)) == set(DCAU_OF_SEED.split())
    assert len(asymmetry_names(SEED_EEG)) == 27 + 27 + 23


def test_old_names_and_any_case_are_the_same_electrodes():
    names = ("T4", "t3", "F7", "T5", "fc5h", "FC6H", "FZ", "Pz", "T6")
    assert [p.name for p in homologous_pairs(names)] == ["t3-T4", "T5-T6", "fc5h-FC6H"]
    assert [p.name for p in caudality_pairs(names)] == ["F7-T5", "FZ-Pz"]
    assert homologous_pairs(("T9", "T10", "F9", "F10"))[1][:2] == (2, 3)


def test_without_a_cerebellar_electrode_the_mirrored_row_stands_in():
    names = ("AF3", "PO3", "AF4", "PO4", "CB2")
    assert [p.name for p in caudality_pairs(names)] == ["AF3-PO3", "AF4-CB2"]


@pytest.mark.parametrize("name", ["A1", "M1", "EOG1", "Status", "E1", "F11", "F3-Ref", "EEG 001"])
def test_references_and_other_names_form_no_pair(name):
    partner = name.replace("1", "2").replace("3", "4")
    with pytest.raises(SignalError, match=f"found the channels {name}, {partner}, Cz, expected"):
        asymmetry_names((name, partner, "Cz"))


def test_two_channels_of_one_electrode_are_an_error():
    with pytest.raises(SignalError, match="found the channels 'T3' and 'T7', expected one channel"):
        homologous_pairs(("T3", "T4", "T7"))


def test_twice_the_amplitude_on_the_left_is_ln_two_of_dasm(rng):
    common = rng.normal(0, 10, 1280)
    signal = np.array([2.0, 1.0, 1.0, 1.0, 1.0, 0.5])[:, None] * common
    found = asymmetry(signal, SFREQ, NAMES)
    at = {name: found[:, k] for k, name in enumerate(asymmetry_names(NAMES))}
    assert at["DASM F3-F4"] == pytest.approx(np.log(2), rel=1e-9)
    assert at["DASM P3-P4"] == pytest.approx(np.log(2), rel=1e-9)
    assert at["DCAU F3-P3"] == pytest.approx(np.log(2), rel=1e-9)
    assert at["DCAU Fz-Pz"] == pytest.approx(0.0, abs=1e-12)
    entropy = differential_entropy(signal, SFREQ)
    assert np.array_equal(at["RASM F3-F4"], entropy[:, 0] / entropy[:, 2])


def test_a_ratio_is_missing_where_its_denominator_crosses_zero():
    left, right = 2.0, np.array([-1.0, -RASM_BOUND_NATS, -0.05, 0.0, 0.05, RASM_BOUND_NATS, np.nan])
    entropy = np.stack([np.full(7, left), right], axis=-1)[:, :, None]
    across = homologous_pairs(("F3", "F4"))
    dasm, rasm = asymmetry_of_entropy(entropy, across, ())[..., 0].T
    expected = [-2.0, -20.0, np.nan, np.nan, np.nan, 20.0, np.nan]
    assert rasm == pytest.approx(expected, nan_ok=True)
    assert dasm == pytest.approx(left - right, nan_ok=True)


def test_permuted_channels_give_the_same_asymmetries(rng):
    signal, order = rng.normal(0, 10, (6, 640)), [4, 2, 5, 0, 3, 1]
    names = tuple(NAMES[i] for i in order)
    plain, permuted = asymmetry(signal, SFREQ, NAMES), asymmetry(signal[order], SFREQ, names)
    for k, name in enumerate(asymmetry_names(NAMES)):
        assert np.array_equal(permuted[:, asymmetry_names(names).index(name)], plain[:, k])


@pytest.mark.parametrize("definition", ["gaussian-filter", "window-filter", "multitaper"])
def test_the_family_is_the_plain_function(rng, definition):
    names = (*NAMES, "A1")
    signal = rng.normal(0, 10, (7, 640))
    signal[1, 200:] = 3.0
    description = StreamDescription("eeg", "EEG", SFREQ, names, ("uV",) * 7)
    options = FamilyOptions(entropy_definition=definition)
    extractor = ASYMMETRY.prepare(description, WindowGrid(128, 96), options)
    expected = asymmetry(signal, SFREQ, names, hop_seconds=0.75, definition=definition)
    assert extractor.coords["pair"] == asymmetry_names(names)
    stepped, _ = extractor.step(signal, extractor.start())
    assert np.array_equal(stepped, expected, equal_nan=True)
    assert np.isnan(expected[-1, asymmetry_names(names).index("DCAU Fz-Pz")]).all()
    assert (extractor.warm_up_seconds > 0) == (definition == "gaussian-filter")
