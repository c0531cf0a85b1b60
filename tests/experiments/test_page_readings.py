import numpy as np
import pytest

from physioemo.acquisition.participant import ParticipantConfig
from physioemo.acquisition.simulate import simulated_streams
from physioemo.experiments.page.hub import Hub
from physioemo.experiments.page.readings import Recent, Snapshot, eeg_quality, measure, read_body
from physioemo.experiments.page.rows import Row, trace_rows
from tests.streams import eeg_description


def body_row(kind, unit):
    return Row(0, "a sensor", unit, kind, "body")


def beats(rate, seconds, sfreq):
    """Return narrow bumps, so many per minute, with a little noise."""
    time = np.arange(round(seconds * sfreq)) / sfreq
    phase = (time * rate / 60) % 1
    noise = np.random.default_rng(0).normal(0, 0.01, len(time))
    return np.exp(-0.5 * ((phase - 0.5) * 60 / rate / 0.012) ** 2) + noise


@pytest.mark.parametrize(("rate", "sfreq"), [(72, 250.0), (110, 2048.0)])
def test_heart_rate_is_that_of_the_beats(rate, sfreq):
    reading = read_body(body_row("ecg", "mV"), beats(rate, 20, sfreq), sfreq)
    assert (reading.label, reading.unit) == ("Heart", "/min")
    assert reading.value == pytest.approx(rate, rel=0.01)


def test_a_heart_that_cannot_be_seen_has_no_rate_but_a_reason():
    reading = read_body(body_row("ecg", "mV"), np.zeros(5000), 250.0)
    assert (reading.value, "flat or stuck" in reading.note) == (None, True)


def test_breathing_rate_is_known_after_half_a_minute():
    time = np.arange(0, 40, 0.04)
    breath = np.sin(2 * np.pi * 0.25 * time)
    row = body_row("respiration", "a.u.")
    assert read_body(row, breath, 25.0).value == pytest.approx(15, rel=0.02)
    early = read_body(row, breath[:500], 25.0)
    assert (early.value, early.note) == (None, "known in 10 s")


@pytest.mark.parametrize(
    ("unit", "values", "expected"), [("uS", 4.0, 4.0), ("kohm", 250.0, 4.0), ("nS", 4000.0, 4.0)]
)
def test_skin_conductance_is_told_in_microsiemens(unit, values, expected):
    ripple = 1 + 1e-3 * np.sin(np.arange(1500) / 30)
    reading = read_body(body_row("eda", unit), values * ripple, 25.0)
    assert (reading.unit, reading.value) == ("µS", pytest.approx(expected, rel=0.01))


def test_a_detached_electrode_is_no_skin():
    reading = read_body(body_row("eda", "uS"), np.full(1500, 0.01), 25.0)
    assert (reading.value, "check the electrodes" in reading.note) == (None, True)


def test_a_closed_eye_has_no_pupil():
    row = body_row("pupil", "mm")
    open_ = np.full(240, 3.5)
    closed = np.concatenate([open_, np.full(130, np.nan)])
    assert read_body(row, open_, 120.0).value == 3.5
    assert read_body(row, closed, 120.0).value is None


def test_quality_of_a_channel_is_that_of_its_own_signal():
    generator = np.random.default_rng(0)
    brain = np.cumsum(generator.normal(0, 2, (1000, 4)), axis=0)
    brain -= np.linspace(0, 1, 1000)[:, None] * brain[-1]
    brain *= 20 / brain.std(axis=0)
    hum = 60 * np.sin(2 * np.pi * 50 * np.arange(1000) / 250)
    brain[:, 1] += hum
    brain[:, 2] = 0
    scores = eeg_quality(brain * 1e-6, ["V", "V", "V", "a.u."], 250.0)
    assert scores[0] > 0.7
    assert scores[1] < 0.5 and scores[2] == 0
    assert scores[3] is None


def test_the_simulated_participant_can_be_read():
    made = simulated_streams(ParticipantConfig(0), duration_seconds=62.0)
    description, signal, _ = made["physiology"]
    rows = trace_rows(description)
    found = measure([Snapshot(7, rows, description.sfreq, signal[:, [r.channel for r in rows]])])
    heart, skin, breath = (reading.value for reading in found[7].readings)
    assert 50 < heart < 110 and 1 < skin < 20 and 8 < breath < 25


def test_only_what_flows_is_measured():
    hub = Hub()
    channel = hub.add(eeg_description(2))
    seconds = np.arange(1000) / 250
    hub.push(channel, np.zeros((1000, 2)), seconds, seconds)
    assert [s.number for s in hub.snapshots()] == [channel.number]
    channel.health.failure = "its program has gone"
    assert hub.snapshots() == []
    assert len(hub.snapshots(at_seconds=4.5)) == 1 and hub.snapshots(at_seconds=6.0) == []


def test_the_newest_samples_are_kept_in_fixed_memory():
    recent = Recent(100.0, 2.0)
    for start in range(0, 5000, 30):
        recent.push(np.arange(start, start + 30)[:, None])
    kept = recent.newest()[:, 0]
    assert kept.tolist() == list(range(5010 - 200, 5010))
    assert recent.newest(3)[:, 0].tolist() == [5007, 5008, 5009]


def test_potentials_are_drawn_in_microvolts():
    rows = trace_rows(eeg_description(2, units=("mV", "a.u.")))
    assert [(row.unit, row.gain) for row in rows] == [("uV", pytest.approx(1e3)), ("a.u.", 1.0)]
    hub = Hub()
    channel = hub.add(eeg_description(2, units=("mV", "uV")))
    hub.push(channel, np.ones((600, 2)), np.arange(600) / 250, np.arange(600) / 250)
    assert channel.recent.newest()[0].tolist() == pytest.approx([1000.0, 1.0])
