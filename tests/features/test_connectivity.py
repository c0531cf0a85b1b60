"""Connectivity against planted couplings and plain reference code."""

import numpy as np
import pytest
from scipy.signal import butter, coherence, detrend, hilbert, sosfiltfilt

from physioemo.errors import SignalError
from physioemo.features.connectivity import (
    HIGHEST_CORRELATION,
    MEASURES,
    connectivity,
    connectivity_pairs,
)

SFREQ = 128.0
BANDS = {"theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 45)}
AMPLITUDE, COHERENCE, LOCKING = range(3)


def noise_in(rng, low, high, shape):
    sections = butter(4, (low, high), "bandpass", fs=SFREQ, output="sos")
    return sosfiltfilt(sections, rng.standard_normal(shape), axis=-1)


def test_phase_and_amplitude_are_those_of_the_hilbert_transform(rng):
    window = np.cumsum(rng.standard_normal((3, 256)), axis=1)
    spectrum = np.fft.fft(detrend(window))
    frequencies = np.abs(np.fft.fftfreq(256, 1 / SFREQ))
    for b, (low, high) in enumerate(BANDS.values()):
        inside = (frequencies >= low) & (frequencies < high)
        analytic = hilbert(np.fft.ifft(spectrum * inside).real)
        found = connectivity(window, SFREQ, window_seconds=2.0)[0, :, :, b]
        for k, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
            phases = np.angle(analytic[i]) - np.angle(analytic[j])
            correlation = np.corrcoef(np.abs(analytic[[i, j]]))[0, 1]
            assert found[LOCKING, k] == pytest.approx(abs(np.exp(1j * phases).mean()), rel=1e-9)
            assert found[AMPLITUDE, k] == pytest.approx(np.arctanh(correlation), rel=1e-9)


@pytest.mark.parametrize("sfreq", [128.0, 250.0])
def test_coherence_is_scipys_mean_over_the_band(rng, sfreq):
    signal = rng.standard_normal((3, int(4 * sfreq)))
    signal[1] += signal[0]
    found = connectivity(signal, sfreq, window_seconds=4.0)[0, COHERENCE]
    m = round(sfreq / 2)
    for k, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        at, expected = coherence(signal[i], signal[j], sfreq, nperseg=m, noverlap=m - m // 2)
        for b, (low, high) in enumerate(BANDS.values()):
            inside = (at >= low) & (at < high)
            assert found[k, b] == pytest.approx(expected[inside].mean(), rel=1e-9)


def test_a_planted_amplitude_coupling_is_found_with_its_size_and_nowhere_else(rng):
    planted, n = 0.6, 40 * 20 * 128
    slow = noise_in(rng, 0.1, 1.0, (4, n))
    slow /= slow.std(axis=1, keepdims=True)
    slow[1] = planted * slow[0] + np.sqrt(1 - planted**2) * slow[1]
    hz = np.array([10.2, 10.6, 10.4, 10.8])[:, None]
    alpha = (1 + 0.25 * slow) * np.cos(2 * np.pi * hz * np.arange(n) / SFREQ)
    signal = 10 * alpha + noise_in(rng, 15, 28, (4, n))
    found = connectivity(signal, SFREQ, window_seconds=20.0)[:, AMPLITUDE].mean(axis=0)
    pairs = connectivity_pairs(("a", "b", "c", "d"))
    assert np.tanh(found[pairs.index("a-b"), 1]) == pytest.approx(planted, abs=0.06)
    assert np.abs(found[1:, 1]).max() < 0.12
    assert np.abs(found[:, 2]).max() < 0.06


def test_a_constant_lag_locks_phases_whatever_its_size(rng):
    base = noise_in(rng, 6, 20, (2, 100 * 512))
    lagged = (hilbert(base[0]) * np.exp(-1j * np.pi / 3)).real
    signal = np.array([base[0], lagged + 0.02 * base[1]])
    found = connectivity(signal, SFREQ, bands={"alpha": (8, 13)}, window_seconds=4.0)[..., 0, 0]
    assert found[:, LOCKING].mean() > 0.99 and found[:, COHERENCE].mean() > 0.98


@pytest.mark.parametrize(("seconds", "segments"), [(1.0, 3), (4.0, 15)])
def test_independent_noise_shows_the_known_bias_and_no_more(rng, seconds, segments):
    signal = rng.standard_normal((6, int(200 * seconds * SFREQ)))
    found = connectivity(signal, SFREQ, window_seconds=seconds).mean(axis=(0, 2))
    n = seconds * np.array([high - low for low, high in BANDS.values()])
    assert found[LOCKING] == pytest.approx(0.8 / np.sqrt(n), rel=0.05)
    assert found[COHERENCE] == pytest.approx(1 / segments, rel=0.12)
    assert found[AMPLITUDE] == pytest.approx(0.0, abs=0.05)


def test_permuted_channels_give_permuted_values(rng):
    signal, order = np.cumsum(rng.standard_normal((5, 384)), axis=1), [3, 0, 4, 2, 1]
    plain, permuted = (connectivity(x, SFREQ) for x in (signal, signal[order]))
    first, second = np.triu_indices(5, 1)
    where = {frozenset(p): k for k, p in enumerate(zip(first, second, strict=True))}
    moved = [where[frozenset((order[i], order[j]))] for i, j in zip(first, second, strict=True)]
    assert np.allclose(permuted, plain[:, :, moved], rtol=1e-9, atol=1e-12)


def test_bridged_electrodes_are_bounded(rng):
    found = connectivity(np.tile(rng.standard_normal(256), (2, 1)), SFREQ)
    assert found[:, AMPLITUDE] == pytest.approx(np.arctanh(HIGHEST_CORRELATION), abs=1e-6)
    assert found[:, [COHERENCE, LOCKING]] == pytest.approx(1.0, abs=1e-12)
    assert found[:, [COHERENCE, LOCKING]].max() <= 1


def test_scale_offset_and_trend_change_nothing(rng):
    signal = rng.standard_normal((3, 512))
    other = np.array([[1.0], [-50.0], [1e-6]]) * signal + 4200
    assert np.allclose(connectivity(other, SFREQ), connectivity(signal, SFREQ), atol=1e-5)
    plain, tilted = (
        connectivity(x, SFREQ)[:, [AMPLITUDE, LOCKING]]
        for x in (signal, signal + 30 * np.arange(512) / SFREQ)
    )
    assert np.allclose(tilted, plain, atol=1e-9)


def test_a_channel_with_nothing_in_a_band_is_nan_there(rng):
    signal = rng.standard_normal((3, 128))
    signal[1] = 0.1 * np.arange(128) - 3  # a straight line, and nothing else
    found = connectivity(signal, SFREQ)
    assert np.isnan(found[:, :, [0, 2]]).all() and np.isfinite(found[:, :, 1]).all()


@pytest.mark.parametrize(
    ("n_channels", "seconds", "bands", "message"),
    [
        (1, 1.0, BANDS, "found 1 channel, expected at least 2"),
        (2, 0.5, BANDS, "found windows of 0.5 s, 2 frequencies in the band theta 4-8 Hz"),
        (2, 0.75, {"x": (8, 30)}, "found windows of 0.75 s, 2 overlapping segments of 0.5 s"),
        (2, 4.0, {"x": (8.5, 9.5)}, "found the band x 8.5-9.5 Hz, .* a multiple of 2 Hz"),
    ],
)
def test_too_little_is_told_and_never_a_coherence_of_one(n_channels, seconds, bands, message):
    signal = np.random.default_rng(0).standard_normal((n_channels, 1280))
    with pytest.raises(SignalError, match=message):
        connectivity(signal, SFREQ, bands=bands, window_seconds=seconds)


def test_the_measures_and_pairs_are_named_in_their_order():
    assert MEASURES == ("amplitude_correlation", "coherence", "phase_locking")
    assert connectivity_pairs(("F3", "F4", "P3")) == ("F3-F4", "F3-P3", "F4-P3")
