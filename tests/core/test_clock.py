import numpy as np
import pytest

from physioemo.clock import correct_time, find_gaps, fit_clock, measured_rate, segment_bounds


def test_a_drifting_clock_is_followed():
    measured = np.arange(0, 600, 5.0)
    truth = 1000.0 - 80e-6 * measured
    noise = np.random.default_rng(0).normal(0, 50e-6, len(measured))
    line = fit_clock(measured, truth + noise)
    assert line.drift == pytest.approx(-80e-6, abs=1e-6)
    corrected = correct_time(measured, measured, truth + noise)
    assert np.abs(corrected - (measured + truth)).max() < 1e-4


def test_one_wild_measurement_moves_nothing():
    measured = np.arange(0, 300, 5.0)
    offset = np.full(len(measured), 2.0)
    offset[30] = 0.0
    assert np.abs(correct_time(measured, measured, offset) - measured - 2.0).max() < 1e-4


def test_few_close_measurements_invent_no_drift():
    line = fit_clock(np.array([10.0, 10.1]), np.array([1e-4, 3e-4]))
    assert abs(line.drift) < 1e-5


def test_a_drift_is_not_carried_far_beyond_its_measurements():
    measured = np.arange(0, 30, 5.0)
    offset = 3.0 + np.random.default_rng(0).normal(0, 50e-6, len(measured))
    raw = np.linspace(0, 1800, 1000)
    assert np.ptp(correct_time(raw, measured, offset) - raw) < 2e-4


def test_no_measurement_leaves_the_stamps_alone():
    raw = np.array([1.0, 2.0])
    corrected = correct_time(raw, np.zeros(0), np.zeros(0))
    assert np.array_equal(corrected, raw) and corrected is not raw


def test_gaps_and_backward_jumps_are_found():
    time = np.arange(100) / 100
    time[50:] += 0.5
    time[80:] -= 5.0
    assert find_gaps(time, 100.0).tolist() == [50, 80]
    assert segment_bounds(time, 100.0) == [(0, 50), (50, 80), (80, 100)]


def test_packet_jitter_is_not_a_gap():
    # A headset that stamps packets of 12 samples at 256 Hz steps by -27 to +33 ms.
    time = np.arange(1200) / 256 + np.random.default_rng(0).uniform(-0.03, 0.03, 1200)
    assert len(find_gaps(time, 256.0)) == 0


def test_the_rate_is_measured_without_the_gaps():
    time = np.concatenate([np.arange(500) / 93, 100 + np.arange(500) / 93])
    assert measured_rate(time, 100.0) == pytest.approx(93)
    assert np.isnan(measured_rate(time[:1], 100.0))


def test_irregular_streams_have_no_gaps():
    assert len(find_gaps(np.array([0.0, 50.0]), 0.0)) == 0
