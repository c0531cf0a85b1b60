"""Skin conductance against planted responses, NeuroKit2, a hot surface and a loose electrode."""

import numpy as np
import pytest

from physioemo.description import StreamDescription
from physioemo.errors import SignalError, UnitError
from physioemo.features.eda import EDA, EDA_UNITS, decompose_eda, find_scr, valid_eda
from physioemo.features.family import FamilyOptions, WindowGrid


def response(time, onset, amplitude):
    """A rise of some 2 s and a slow recovery."""
    late = np.clip(time - onset, 0, None)
    shape = np.exp(-late / 6) - np.exp(-late / 0.75)
    return amplitude * shape / shape.max()


def skin(sfreq, onsets, amplitude, seconds=200, slope=0.01, noise=0.0):
    time = np.arange(seconds * sfreq) / sfreq
    noise = noise * np.random.default_rng(3).normal(size=len(time))
    return 4 + slope * time + noise + sum(response(time, at, amplitude) for at in onsets)


def windows(signal, sfreq, hop=1.0, unit="uS"):
    """Return the ends of the windows in seconds and their values by name."""
    description = StreamDescription("skin", "EDA", float(sfreq), ("EDA",), (unit,))
    grid = WindowGrid.in_seconds(sfreq, 1.0, hop)
    values = EDA.prepare(description, grid, FamilyOptions()).batch(signal[None])[:, 0]
    return 1 + hop * np.arange(len(values)), dict(zip(EDA_UNITS, values.T, strict=True))


@pytest.fixture(scope="module")
def hot_surface(shared_data):
    import h5py

    with h5py.File(shared_data("biosignalsnotebooks") / "eda_hot_surface.h5") as file:
        counts = next(iter(file.values()))["raw"]["channel_3"][:, 0]
    return counts / 2**10 * 3.3 / 0.132


@pytest.fixture(scope="module")
def loose(shared_data):
    return np.loadtxt(shared_data("flirt-empatica-e4") / "EDA.csv", skiprows=2)


@pytest.fixture(scope="module")
def pictures(shared_data):
    path = shared_data("neurokit-bio") / "bio_eventrelated_100hz.csv"
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=1)


@pytest.mark.parametrize("sfreq", [4, 32, 250])
@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_planted_responses_are_found_where_they_are(sfreq, noise):
    onsets = np.arange(20, 180, 20)
    found = find_scr(skin(sfreq, onsets, 0.5, noise=noise), sfreq)
    assert len(found.onset_seconds) == len(onsets)
    np.testing.assert_allclose(found.onset_seconds, onsets, atol=0.35)
    np.testing.assert_allclose(found.amplitude_us, 0.5, rtol=0.1)
    assert (found.peak_seconds - found.onset_seconds == pytest.approx(2, abs=0.7)) or noise


@pytest.mark.parametrize(("amplitude", "count"), [(0.03, 0), (0.045, 0), (0.06, 8), (3.0, 8)])
def test_a_response_counts_from_50_nanosiemens_on(amplitude, count):
    found = find_scr(skin(32, np.arange(20, 180, 20), amplitude, slope=1e-4), 32)
    assert len(found.amplitude_us) == count


def test_a_slow_rise_of_the_level_is_no_response():
    for slope in (0.02, 0.1):
        level = skin(8, (), 0, slope=slope)
        assert not len(find_scr(level, 8).onset_seconds)
        parts = decompose_eda(level, 8)
        np.testing.assert_allclose(parts.tonic + parts.phasic, level, atol=1e-3)
        np.testing.assert_allclose(parts.phasic[400:-400], 0, atol=1e-3)


def test_the_parts_are_those_of_neurokit(pictures):
    import neurokit2 as nk

    parts = decompose_eda(pictures, 100)
    smoothed = parts.tonic + parts.phasic
    theirs = nk.eda_phasic(smoothed, sampling_rate=100, method="highpass")
    np.testing.assert_allclose(parts.phasic, theirs["EDA_Phasic"], atol=2e-3)


def test_responses_are_those_of_neurokit(pictures):
    import neurokit2 as nk

    found = find_scr(pictures, 100)
    _, theirs = nk.eda_process(pictures, sampling_rate=100)
    for peak, height in zip(theirs["SCR_Peaks"] / 100, theirs["SCR_Amplitude"], strict=True):
        if height > 0.9:
            nearest = np.abs(found.peak_seconds - peak).argmin()
            assert found.peak_seconds[nearest] == pytest.approx(peak, abs=0.2)
            assert found.amplitude_us[nearest] > 0.9 * height


def test_every_picture_is_followed_by_a_response(pictures):
    found = find_scr(pictures, 100)
    for shown in (10.24, 49.57, 92.24, 129.84):
        late = found.onset_seconds - shown
        assert ((late > 0) & (late < 13)).any()
    negative = [
        found.amplitude_us[np.abs(found.onset_seconds - shown - 2).argmin()]
        for shown in (10.24, 129.84)
    ]
    assert min(negative) > 1


def test_the_hot_surface_is_answered_at_7_seconds(hot_surface):
    found = find_scr(hot_surface, 1000)
    largest = found.amplitude_us.argmax()
    assert found.onset_seconds[largest] == pytest.approx(7.07, abs=0.3)
    grown = np.median(hot_surface[10_200:10_600]) - np.median(hot_surface[6_000:6_600])
    assert found.amplitude_us[largest] == pytest.approx(grown, rel=0.07)
    ends, values = windows(hot_surface, 1000)
    assert ends[values["tonic_slope"].argmax()] == pytest.approx(10, abs=1.5)
    assert values["quality"].min() == 1


def test_a_loose_electrode_is_flagged_and_not_measured(loose):
    assert not valid_eda(loose, 4).any()
    assert not len(find_scr(loose, 4).onset_seconds)
    _, values = windows(loose, 4, hop=10.0)
    assert (values["quality"] == 0).all()
    assert all(np.isnan(v).all() for k, v in values.items() if k != "quality")


def test_the_rules_of_quality_one_by_one():
    signal = skin(8, (), 0, seconds=100, slope=1e-4)
    seconds = np.arange(800) / 8

    def bad(changed, **options):
        lost = seconds[~valid_eda(changed, 8, **options)]
        return (round(lost[0]), round(lost[-1])) if len(lost) else None

    assert bad(signal) is None
    for value in (0.04, 60.5, np.nan):
        assert bad(np.where((seconds >= 40) & (seconds < 42), value, signal)) == (35, 47)
    assert bad(np.where(seconds >= 50, signal + 8, signal)) == (45, 55)
    assert bad(np.where(seconds >= 50, signal + 1, signal)) is None
    warmth = np.where(seconds < 20, 24.0, 33.0)
    assert bad(signal, temperature_celsius=warmth) == (0, 25)
    assert bad(signal - 3.9) == (0, 100)
    assert bad(np.where((seconds >= 40) & (seconds < 52), 25.0, signal + 21)) == (35, 57)
    one_lost = signal.copy()
    one_lost[400:403] = np.nan
    np.testing.assert_array_equal(np.flatnonzero(~valid_eda(one_lost, 8)), [400, 401, 402])


def test_a_jump_across_a_gap_is_no_response():
    signal = skin(8, (20, 150), 0.5)
    signal[8 * 80 : 8 * 90] = np.nan
    signal[8 * 90 :] += 3
    np.testing.assert_allclose(find_scr(signal, 8).onset_seconds, [20, 150], atol=0.3)
    ends, values = windows(signal, 8)
    assert np.isnan(values["tonic_mean"][(ends > 81) & (ends < 95)]).all()
    assert np.isnan(values["scr_count"][(ends > 95) & (ends < 110)]).all()
    assert values["scr_count"][ends == 145] == 0


def test_a_live_window_counts_the_responses_of_its_last_half_minute():
    onsets = np.array([50.0, 60.0, 70.0, 150.0])
    ends, values = windows(skin(32, onsets, 0.5), 32)
    for end, count, total in zip(
        ends, values["scr_count"], values["scr_amplitude_sum"], strict=True
    ):
        if end < 30:
            assert np.isnan(count)
        elif np.abs(end - onsets - 2.5).min() > 1.5 and np.abs(end - onsets - 32.5).min() > 1.5:
            assert count == np.sum((onsets + 2.5 < end) & (onsets + 32.5 > end))
            assert total == pytest.approx(0.5 * count, rel=0.15)
    none = values["scr_count"] == 0
    assert np.isnan(values["scr_amplitude_mean"][none]).all() and none.sum() > 60
    assert (values["scr_amplitude_sum"][none] == 0).all()


def test_a_line_has_its_own_level_and_slope():
    ends, values = windows(skin(16, (), 0, slope=0.02), 16)
    settled = ends > 90
    np.testing.assert_allclose(values["tonic_slope"][settled], 0.02, rtol=1e-3)
    np.testing.assert_allclose(values["phasic_mean"][settled], 0, atol=1e-3)
    # The smoothing is a quarter of a second late.
    level = 4 + 0.02 * (ends - 0.5)
    np.testing.assert_allclose(values["tonic_mean"][settled], level[settled], atol=0.01)


@pytest.mark.parametrize(
    ("unit", "convert"),
    [("nS", lambda us: 1e3 * us), ("S", lambda us: 1e-6 * us), ("kohm", lambda us: 1e3 / us)],
)
def test_other_units_of_conductance_and_resistance_are_converted(unit, convert):
    signal = skin(8, (20, 60), 0.5, seconds=90)
    _, expected = windows(signal, 8, hop=5.0)
    _, found = windows(convert(signal), 8, hop=5.0, unit=unit)
    for name in EDA_UNITS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-9)


def test_a_unit_that_is_no_conductance_is_refused():
    for unit in ("mV", "a.u."):
        with pytest.raises(UnitError, match=rf"conductance in '{unit}' in the stream 'skin'"):
            windows(np.ones(100), 8, unit=unit)


def test_wrong_signals_say_what_to_do():
    with pytest.raises(SignalError, match="rate of 2 Hz, expected at least 4 Hz"):
        find_scr(np.ones(100), 2)
    with pytest.raises(SignalError, match="rate of None Hz, .* it is never assumed"):
        decompose_eda(np.ones(100), None)
    with pytest.raises(SignalError, match=r"shape \(1, 100\), .* pick a channel first"):
        valid_eda(np.ones((1, 100)), 8)
    with pytest.raises(SignalError, match=r"\(9,\) samples of temperature and \(100,\) of skin"):
        valid_eda(np.ones(100), 8, temperature_celsius=np.ones(9))


@pytest.mark.parametrize("n", [0, 1, 2, 5, 9, 10])
def test_very_short_signals_have_no_responses_and_no_error(n):
    assert not len(find_scr(np.full(n, 3.0), 4).onset_seconds)
    assert decompose_eda(np.full(n, 3.0), 4).tonic.shape == (n,)
