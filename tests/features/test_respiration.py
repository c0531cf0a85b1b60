"""Breathing against sines, NeuroKit2's simulator, real belts and noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.description import StreamDescription
from physioemo.errors import SignalError
from physioemo.features.family import FamilyOptions, WindowGrid
from physioemo.features.respiration import CONTEXT_SECONDS, RESPIRATION, breathing


def sine(per_minute, amplitude, sfreq=25, seconds=30, phase=1.0):
    time = np.arange(seconds * sfreq) / sfreq
    return amplitude * np.sin(2 * np.pi * per_minute / 60 * time + phase)


@given(
    per_minute=st.floats(8, 40),
    amplitude=st.floats(1e-3, 1e3),
    offset=st.floats(-1, 1),
    phase=st.floats(0, 6.28),
    sfreq=st.sampled_from([10, 25, 128]),
)
@settings(max_examples=60, deadline=None)
def test_a_sine_has_its_rate_and_twice_its_amplitude(per_minute, amplitude, offset, phase, sfreq):
    signal = amplitude * offset + sine(per_minute, amplitude, sfreq, phase=phase)
    found = breathing(signal, sfreq)
    assert found.rate == pytest.approx(per_minute, rel=0.03)
    assert found.depth == pytest.approx(2 * amplitude, rel=0.06)
    assert found.quality > 0.9


@pytest.mark.parametrize("phase", np.arange(0, 6.3, 0.5))
def test_six_breaths_a_minute_are_seen_at_any_phase(phase):
    found = breathing(sine(6, 1, phase=phase), 25)
    assert found.rate == pytest.approx(6, rel=0.02) and found.depth == pytest.approx(2, rel=0.02)


def test_depth_grows_with_the_breath_and_a_drift_does_not_hide_it():
    drift = 0.2 * np.arange(750) / 25
    small, large = (breathing(a * sine(15, 1) + drift, 25) for a in (1, 3))
    assert large.depth == pytest.approx(3 * small.depth, rel=0.02)
    assert small.rate == pytest.approx(15, rel=0.02)


@pytest.mark.parametrize("rate", [10, 15, 22])
def test_the_rate_of_a_simulated_breath(rate):
    import neurokit2 as nk

    signal = nk.rsp_simulate(duration=40, sampling_rate=50, respiratory_rate=rate, random_state=4)
    assert breathing(signal, 50).rate == pytest.approx(rate, rel=0.06)


def trailing(signal, sfreq, hop=1.0):
    description = StreamDescription("belt", "RESP", float(sfreq), ("RSP",), ("a.u.",))
    grid = WindowGrid.in_seconds(sfreq, 1.0, hop)
    extractor = RESPIRATION.prepare(description, grid, FamilyOptions())
    assert extractor.units == ("bpm", "a.u.", "1")
    values = extractor.batch(signal[None])[:, 0]
    return 1 + hop * np.arange(len(values)), values


def test_a_belt_agrees_with_neurokit(shared_data):
    import neurokit2 as nk

    path = shared_data("neurokit-bio") / "bio_resting_5min_100hz.csv"
    signal = np.loadtxt(path, delimiter=",", skiprows=1, usecols=2)
    ends, values = trailing(signal, 100, hop=5.0)
    peaks = nk.rsp_findpeaks(nk.rsp_clean(signal, 100), 100)["RSP_Peaks"] / 100
    theirs = np.array(
        [60 / np.diff(peaks[(peaks > e - CONTEXT_SECONDS) & (peaks < e)]).mean() for e in ends[6:]]
    )
    assert np.isnan(values[:5]).all()
    given_ = np.isfinite(values[6:, 0])
    assert given_.mean() > 0.85
    assert np.median(np.abs(values[6:, 0] - theirs)[given_]) < 1
    assert np.nanmedian(values[:, 0]) == pytest.approx(15.9, abs=1.2)


def test_deeper_breaths_of_a_belt_are_slower_and_deeper(shared_data):
    import h5py

    with h5py.File(shared_data("biosignalsnotebooks") / "respiration_2018_7_5.h5") as file:
        signal = next(iter(file.values()))["raw"]["channel_1"][:, 0].astype(float)
    ends, values = trailing(signal, 1000, hop=10.0)
    full = values[ends > 30]
    assert np.isfinite(full).all()
    assert full[0, 0] > full[-1, 0] + 2 and full[-1, 1] > 2 * full[0, 1]
    assert full[:, 0].mean() == pytest.approx(13.9, abs=1.5)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_breath(seed):
    noise = np.random.default_rng(seed).normal(size=750)
    for signal in (noise, np.zeros(750), np.full(750, 3.3), np.full(750, np.nan)):
        rate, depth, quality = breathing(signal, 25)
        assert np.isnan(rate) and np.isnan(depth) and quality < 0.6


def test_wandering_is_seldom_a_breath():
    rng = np.random.default_rng(0)
    taken = [np.isfinite(breathing(rng.normal(size=750).cumsum(), 25).rate) for _ in range(200)]
    assert np.mean(taken) < 0.08


def test_a_gap_costs_the_breath_inside_and_a_long_one_all():
    signal = sine(15, 1)
    signal[300:340] = np.nan
    found = breathing(signal, 25)
    assert found.rate == pytest.approx(15, rel=0.02) and found.quality < 0.95
    signal[300:460] = np.nan
    assert np.isnan(breathing(signal, 25).rate)


def test_wrong_signals_say_what_to_do():
    with pytest.raises(SignalError, match="rate of 4 Hz, expected at least 5 Hz for respiration"):
        breathing(np.zeros(100), 4)
    with pytest.raises(SignalError, match=r"shape \(1, 100\), .* pick a channel first"):
        breathing(np.zeros((1, 100)), 25)
