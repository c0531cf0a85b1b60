"""Pulse rate and amplitude against sines, NeuroKit2's simulator and real pulse waves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.description import StreamDescription
from physioemo.features.family import FamilyOptions, WindowGrid
from physioemo.features.heartbeats import find_beats
from physioemo.features.pleth import PULSE, pulse


def wave(per_minute, amplitude, sfreq=100, seconds=10):
    time = np.arange(seconds * sfreq) / sfreq
    return amplitude * np.sin(2 * np.pi * per_minute / 60 * time)


def trailing(signal, sfreq, hop=1.0):
    description = StreamDescription("finger", "PPG", float(sfreq), ("PPG",), ("a.u.",))
    grid = WindowGrid.in_seconds(sfreq, 1.0, hop)
    values = PULSE.prepare(description, grid, FamilyOptions()).batch(signal[None])[:, 0]
    return 1 + hop * np.arange(len(values)), values


@given(
    per_minute=st.floats(50, 110), amplitude=st.floats(1e-3, 1e3), sfreq=st.sampled_from([64, 100])
)
@settings(max_examples=20, deadline=None)
def test_a_sine_has_its_rate_and_twice_its_amplitude(per_minute, amplitude, sfreq):
    found = pulse(wave(per_minute, amplitude, sfreq), sfreq)
    assert found.rate == pytest.approx(per_minute, rel=0.02)
    assert found.amplitude == pytest.approx(2 * amplitude, rel=0.03)


@pytest.mark.parametrize("rate", [60, 75, 95])
def test_the_rate_of_a_simulated_pulse(rate):
    import neurokit2 as nk

    signal = nk.ppg_simulate(
        duration=60, sampling_rate=100, heart_rate=rate, motion_amplitude=0, random_state=5
    )
    _, values = trailing(signal, 100)
    assert np.nanmean(values[:, 0]) == pytest.approx(rate, rel=0.04)
    swing = np.percentile(signal, 99) - np.percentile(signal, 1)
    assert np.nanmedian(values[:, 1]) == pytest.approx(swing, rel=0.35)


def test_a_vessel_that_narrows_halves_the_amplitude_and_not_the_rate():
    wide = pulse(wave(72, 2) + 5, 100)
    narrow = pulse(wave(72, 1) + 5, 100)
    assert narrow.amplitude == pytest.approx(wide.amplitude / 2, rel=1e-6)
    assert narrow.rate == pytest.approx(wide.rate, rel=1e-6)


def test_pulse_and_heart_of_one_person_have_one_rate(shared_data):
    path = shared_data("neurokit-bio") / "bio_resting_5min_100hz.csv"
    ecg, ppg = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(0, 1), unpack=True)
    beats = find_beats(ecg, 100, kind="ecg").beat_seconds
    ends, values = trailing(ppg, 100, hop=5.0)
    full = ends >= 11
    assert np.isnan(values[~full][:2]).all() and np.isfinite(values[full]).mean() > 0.95
    for end, (rate, _, _) in zip(ends[full], values[full], strict=True):
        own = beats[(beats > end - 10) & (beats < end)]
        if np.isfinite(rate):
            assert rate == pytest.approx(60 / np.diff(own).mean(), abs=4)


def test_a_wrist_that_moves_is_flagged(shared_data):
    bvp = np.loadtxt(shared_data("flirt-empatica-e4") / "BVP.csv", skiprows=2)
    _, values = trailing(bvp, 64, hop=2.0)
    refused = np.isnan(values[:, 0])
    assert refused.mean() > 0.6
    np.testing.assert_array_equal(refused, ~(values[:, 2] >= 0.6))


def test_nothing_to_see_is_nan_with_quality_0():
    for signal in (np.zeros(1000), np.full(1000, np.nan)):
        rate, amplitude, quality = pulse(signal, 100)
        assert np.isnan(rate) and np.isnan(amplitude) and quality == 0


def test_noise_is_no_pulse():
    rng = np.random.default_rng(0)
    taken = [np.isfinite(pulse(rng.normal(size=1000), 100).rate) for _ in range(40)]
    assert not any(taken)


def test_a_short_gap_costs_only_its_beat():
    signal = wave(72, 1) + 5
    signal[400:440] = np.nan
    found = pulse(signal, 100)
    assert found.rate == pytest.approx(72, rel=0.01)
    assert found.amplitude == pytest.approx(2, rel=0.02)
