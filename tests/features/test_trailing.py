"""What holds for every family that looks back: chunks, causality, gaps, wrong streams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.description import StreamDescription
from physioemo.errors import SignalError
from physioemo.features.eda import EDA
from physioemo.features.family import FamilyOptions, WindowGrid
from physioemo.features.pleth import PULSE
from physioemo.features.respiration import RESPIRATION
from physioemo.features.sliding_hrv import HRV
from physioemo.features.temperature import TEMPERATURE
from physioemo.features.turning_points import rises
from tests.features.folding import folded

SECONDS = 75


def pulses(rng, n, sfreq):
    time = np.arange(n) / sfreq
    phase = 1.2 * time + 0.1 * np.sin(0.6 * time)
    return np.exp(-0.5 * ((phase % 1 - 0.5) / 0.04) ** 2) + 0.01 * rng.normal(size=n)


def skin(rng, n, sfreq):
    time = np.arange(n) / sfreq
    level = 5 + 0.003 * time + 0.002 * rng.normal(size=n)
    return level + sum(
        0.4 * np.clip((time - at) / 2, 0, 1) * np.exp(-np.clip(time - at - 2, 0, None) / 5)
        for at in range(4, SECONDS, 13)
    )


def waves(rng, n, sfreq):
    return 30 + np.sin(2 * np.pi * 0.27 * np.arange(n) / sfreq) + 0.01 * rng.normal(size=n)


CASES = {  # family, unit, rate in Hz, signal, kind
    "hrv": (HRV, "mV", 100, pulses, "ecg"),
    "eda": (EDA, "uS", 8, skin, "eda"),
    "respiration": (RESPIRATION, "a.u.", 10, waves, "respiration"),
    "pulse": (PULSE, "a.u.", 50, pulses, "pleth"),
    "temperature": (TEMPERATURE, "degC", 4, waves, "temperature"),
}


def prepared(name, hop_seconds=1.0, n_channels=1, **replaced):
    family, unit, sfreq, _, kind = CASES[name]
    fields = {
        "name": "band",
        "stype": kind,
        "sfreq": float(sfreq),
        "ch_names": tuple(f"c{i}" for i in range(n_channels)),
        "units": (unit,) * n_channels,
    }
    description = StreamDescription(**(fields | replaced))
    grid = WindowGrid.in_seconds(sfreq, 1.0, hop_seconds)
    return family.prepare(description, grid, FamilyOptions())


def signal_of(name, seed=0, n_channels=1):
    _, _, sfreq, wave, _ = CASES[name]
    rng = np.random.default_rng(seed)
    return np.stack([wave(rng, SECONDS * sfreq, sfreq) for _ in range(n_channels)])


@pytest.mark.parametrize("name", CASES)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=4, deadline=None)
def test_no_cut_into_chunks_changes_a_bit(name, data, seed):
    hop = data.draw(st.sampled_from([2.0, 5.0, 7.0]))
    signal = signal_of(name, seed)
    n = signal.shape[1]
    for _ in range(data.draw(st.integers(0, 2))):
        start, length = data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, n // 6))
        signal[0, start : start + length] = data.draw(st.sampled_from([np.nan, np.inf]))
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=12)))
    extractor = prepared(name, hop)
    before = signal.copy()
    whole = extractor.batch(signal)
    np.testing.assert_array_equal(folded(extractor, signal, cuts), whole)
    np.testing.assert_array_equal(signal, before)


@pytest.mark.parametrize("name", CASES)
def test_one_sample_at_a_time_is_the_same_and_values_are_there(name):
    extractor, signal = prepared(name, 5.0), signal_of(name)
    values = extractor.batch(signal)
    np.testing.assert_array_equal(folded(extractor, signal, range(1, signal.shape[1])), values)
    shape = tuple(len(names) for names in extractor.coords.values())
    assert values.shape == (len(range(0, SECONDS, 5)), *shape)
    assert len(extractor.units) == shape[-1]
    assert np.isfinite(values[-1, 0, 0]) and values[-1, 0, -1] > 0.8


@pytest.mark.parametrize("name", CASES)
def test_nothing_after_a_window_and_nothing_before_the_context_is_seen(name):
    sfreq, signal = CASES[name][2], signal_of(name)
    extractor = prepared(name)
    values = extractor.batch(signal)
    changed = signal.copy()
    changed[:, 65 * sfreq :] = -7.0
    np.testing.assert_array_equal(extractor.batch(changed)[:65], values[:65])
    changed = signal.copy()
    changed[:, : 5 * sfreq] = 99.0
    seen = 5 + round(extractor.warm_up_seconds)
    np.testing.assert_array_equal(extractor.batch(changed)[seen:], values[seen:])


@pytest.mark.parametrize("name", CASES)
def test_a_lost_signal_has_no_values_and_no_quality(name):
    extractor = prepared(name, 5.0)
    lost = np.full_like(signal_of(name), np.nan)
    values = extractor.batch(lost)
    assert np.isnan(values[..., :-1]).all()
    assert np.nan_to_num(values[..., -1]).max() == 0


@pytest.mark.parametrize("name", CASES)
def test_channels_stand_side_by_side_and_others_are_passed_over(name):
    kind, unit = CASES[name][4], CASES[name][1]
    signal = signal_of(name, n_channels=3)
    signal[1] = np.nan
    three = prepared(
        name, 5.0, 3, stype="Physiology", ch_types=(kind, "stim", kind), units=(unit, "V", unit)
    )
    values = three.batch(signal)
    assert three.coords["channel"] == ("c0", "c2")
    for k, row in enumerate((0, 2)):
        alone = prepared(name, 5.0).batch(signal[[row]])
        np.testing.assert_array_equal(values[:, k], alone[:, 0])


@pytest.mark.parametrize("name", CASES)
def test_a_stream_without_its_channels_or_too_slow_is_refused(name):
    with pytest.raises(SignalError, match=r"channels c0 \(acceleration\) in the stream 'band'"):
        prepared(name, stype="ACC")
    with pytest.raises(SignalError, match=r"rate of 0.4 Hz in the stream 'band', expected"):
        prepared(name, sfreq=0.4)


def test_what_changes_the_values_changes_the_fingerprint():
    marks = {prepared(n, hop).fingerprint for n in CASES for hop in (1.0, 2.0)}
    assert len(marks) == 2 * len(CASES)
    assert prepared("eda").fingerprint == prepared("eda").fingerprint
    assert prepared("eda").fingerprint != prepared("eda", units=("nS",)).fingerprint


def test_rises_leave_ripples_and_unfinished_ones_out():
    wave = np.array([3, 1, 2, 1.9, 4, 3.95, 5, 2, 2.5, 2.45, 2.6, 0, 4.0])
    np.testing.assert_array_equal(rises(wave, 0.2), [[1, 6], [7, 10]])
    np.testing.assert_array_equal(rises(wave, 0.7), [[1, 6]])
    assert rises(np.arange(9.0), 0.1).shape == rises(np.zeros(9), 0.1).shape == (0, 2)


@given(values=st.lists(st.floats(-5, 5), min_size=2, max_size=60), reversal=st.floats(0.01, 2))
@settings(max_examples=100, deadline=None)
def test_every_rise_goes_up_by_more_than_the_reversal(values, reversal):
    wave = np.array(values)
    found = rises(wave, reversal)
    assert (np.diff(found.ravel()) > 0).all()
    for trough, peak in found:
        assert wave[peak] - wave[trough] > reversal
        assert (
            wave[trough] == wave[trough : peak + 1].min()
            and wave[peak] == wave[trough:][: peak - trough + 1].max()
        )
