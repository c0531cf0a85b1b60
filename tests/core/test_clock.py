import numpy as np
import pytest

from physioemo.clock import correct_time, find_gaps, fit_clock, measured_rate, segment_bounds
from physioemo.clock_epochs import Connection, correct_connections, correct_epochs


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


def two_programs(sfreq, offsets, drift=(0.0, 0.0), away=(20.0, 21.0), stop=40.0):
    """Return truth, stamps and measurements of a stream whose program came back, and when."""
    rate = sfreq or 1.0
    truth = np.arange(int(stop * rate)) / rate
    truth = truth[(truth < away[0]) | (truth >= away[1])]
    second = truth >= away[1]
    measured = np.concatenate([np.arange(1, away[0], 2), np.arange(away[1] + 1, stop, 2)])

    def wrong(true):
        late = true >= away[1]
        return np.where(late, offsets[1] + drift[1] * true, offsets[0] + drift[0] * true)

    back = Connection(int(np.argmax(second)), int(np.argmax(second)) + 30, away[1] + 0.1)
    return truth, truth + wrong(truth), measured + wrong(measured), -wrong(measured), back


@pytest.mark.parametrize("sfreq", [500.0, 0.0], ids=["regular", "sparse markers"])
@pytest.mark.parametrize("step", [0.8, -0.8, 0.3, 0.005, 1300.0])
def test_each_connection_follows_its_own_clock(sfreq, step):
    drift = (80e-6, -80e-6)
    truth, raw, clock, offset, back = two_programs(sfreq, (40.0, 40.0 + step), drift)
    corrected = correct_connections(raw, clock, offset, sfreq, [back])
    assert np.abs(corrected.time - truth).max() < 1e-4
    assert corrected.resets == (back.first_sample,) and corrected.n_unsynced == 0


def test_a_step_too_small_to_see_needs_the_connections():
    truth, raw, clock, offset, _ = two_programs(500.0, (40.0, 40.005))
    assert np.abs(correct_connections(raw, clock, offset, 500.0).time - truth).max() > 1e-3


def test_samples_that_were_waiting_when_the_stream_came_back_keep_their_own_clock():
    truth, raw, clock, offset, back = two_programs(500.0, (40.0, 39.2))
    early = back._replace(first_sample=back.first_sample - 12)
    corrected = correct_connections(raw, clock, offset, 500.0, [early])
    assert np.abs(corrected.time - truth).max() < 1e-4
    assert corrected.resets == (back.first_sample,)


def test_a_program_gone_before_its_clock_was_measured_is_counted_as_unsynced():
    truth, raw, clock, offset, back = two_programs(500.0, (40.0, 40.0))
    known = clock + offset < 20.5
    corrected = correct_connections(raw, clock[known], offset[known], 500.0, [back])
    assert corrected.n_unsynced == (truth >= 21.0).sum()
    assert np.abs(corrected.time - truth).max() < 1e-4


def test_one_connection_is_corrected_as_ever():
    _, raw, clock, offset, _ = two_programs(500.0, (40.0, 41.3))
    one, other = (
        correct_connections(raw, clock, offset, 500.0),
        correct_epochs(raw, clock, offset, 500.0),
    )
    assert np.array_equal(one.time, other.time) and one.resets == other.resets
    assert correct_connections(raw, clock[:0], offset[:0], 500.0).time.tolist() == raw.tolist()
