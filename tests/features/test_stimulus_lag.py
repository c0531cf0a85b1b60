"""A planted lag is found within a frame; where there is none, nothing is claimed."""

import numpy as np
import pytest

from physioemo.errors import CallError, SignalError
from physioemo.features.stimulus_lag import estimate_lag

FRAME_HZ = 25.0


def slow_noise(rng, n, memory=0.8):
    from scipy.signal import lfilter

    return lfilter([1.0], [1.0, -memory], rng.normal(size=n + 200))[200:]


def answered(rng, lag_seconds, n=4500, noise=1.5):
    """Return a response and the feature that it answers, 3 min at 25 frames per second."""
    lag = round(lag_seconds * FRAME_HZ)
    feature = slow_noise(rng, n + lag)
    response = feature[:n] + noise * feature.std() * rng.normal(size=n)
    return response, feature[lag : lag + n]


def test_a_planted_lag_of_an_audio_feature_is_found_within_one_frame():
    for seed in range(40):
        response, feature = answered(np.random.default_rng(seed), 2.4)
        found = estimate_lag(response, feature, FRAME_HZ, 8.0)
        assert found.seconds == pytest.approx(2.4, abs=1 / FRAME_HZ), seed
        assert found.p_value <= 0.01 and found.correlation > 0.3, seed


def test_a_response_that_falls_and_has_holes_and_a_trend_is_found_too():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        response, feature = answered(rng, 1.2, noise=1.0)
        response = 40 - response + np.linspace(0, 30, len(response))
        response[rng.random(len(response)) < 0.1] = np.nan
        found = estimate_lag(response, feature, FRAME_HZ, 5.0)
        assert found.seconds == pytest.approx(1.2, abs=1 / FRAME_HZ), seed
        assert found.correlation < -0.3, seed


def test_a_lag_between_two_samples_and_a_negative_one_are_found():
    time = np.arange(0, 300, 0.25)
    rng = np.random.default_rng(0)
    hz, phase = rng.uniform(0.02, 0.3, 40), rng.uniform(0, 6.3, 40)

    def series(at):
        return np.sin(2 * np.pi * np.outer(at, hz) + phase).sum(axis=1)

    late = estimate_lag(series(time - 2.35), series(time), 4.0, 8.0)
    assert late.seconds == pytest.approx(2.35, abs=0.04)
    early = estimate_lag(series(time + 1.0), series(time), 4.0, 8.0, min_lag_seconds=-8.0)
    assert early.seconds == pytest.approx(-1.0, abs=0.04)


def test_independent_series_are_called_significant_at_the_stated_rate_only():
    """Also where a minute holds only 14 searches that do not overlap."""
    rng = np.random.default_rng(11)
    found = np.array(
        [
            estimate_lag(
                slow_noise(rng, 1500, 0.9),
                slow_noise(rng, 1500, 0.9),
                FRAME_HZ,
                4.0,
                n_shifts=199,
            ).p_value
            for _ in range(400)
        ]
    )
    # 20 and 4 are expected of exact chances; each bound is passed once in 2,000 runs.
    assert (found <= 0.05).sum() < 36
    assert (found <= 0.01).sum() < 12
    assert 0.4 < found.mean() < 0.65


def test_a_few_bursts_that_meet_by_accident_are_no_answer():
    rng = np.random.default_rng(12)

    def bursts():
        series = np.zeros(4500)
        series[rng.choice(4500, 15)] = rng.exponential(size=15)
        return series

    found = [estimate_lag(bursts(), bursts(), FRAME_HZ, 4.0, n_shifts=99) for _ in range(200)]
    # Phases drawn anew alone would call a quarter of them significant.
    assert sum(one.p_value <= 0.05 for one in found) < 25


def test_what_cannot_be_compared_is_told():
    good = np.random.default_rng(1).normal(size=500)
    with pytest.raises(SignalError, match="found a response of shape \\(500,\\) and a feature of"):
        estimate_lag(good, good[1:], 25.0, 2.0)
    with pytest.raises(SignalError, match="found a feature that never changes"):
        estimate_lag(good, np.full(500, 3.0), 25.0, 2.0)
    with pytest.raises(SignalError, match="at least 750 samples; use longer"):
        estimate_lag(good, good, 25.0, 10.0)
    with pytest.raises(CallError, match="found lags from 3 to 2 s at 25 Hz"):
        estimate_lag(good, good, 25.0, 2.0, min_lag_seconds=3.0)
