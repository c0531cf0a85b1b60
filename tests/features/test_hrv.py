"""Heart-rate variability against published numbers, NeuroKit2 and closed forms."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from physioemo.errors import CallError, SignalError
from physioemo.features.hrv import (
    MEASURES,
    MINIMUM_SECONDS,
    artefact_intervals,
    heart_rate_variability,
    hrv_from_signal,
)

ANY_LENGTH = dict.fromkeys(MEASURES, 0.0)
TIME_MS = ("MeanNN", "SDNN", "RMSSD", "SDSD")
intervals = arrays(float, st.integers(100, 300), elements=st.floats(0.3, 2.0))

REFERENCES = {  # from pyHRV's own reports, SDSD from its definition
    "Long": {
        "MeanNN": 768.438,
        "SDNN": 85.357,
        "RMSSD": 60.523,
        "SDSD": 60.530,
        "pNN50": 28.571,
        "MeanHR": 78.990,
    },
    "Short": {
        "MeanNN": 888.955,
        "SDNN": 95.690,
        "RMSSD": 101.301,
        "SDSD": 101.452,
        "pNN50": 48.512,
        "MeanHR": 68.215,
    },
}


def modulated(frequency, amplitude_ms, mean=0.8, duration=300.0):
    """Intervals that swing sinusoidally in time around their mean, in seconds."""
    time, rr = 0.0, []
    while time < duration:
        rr.append(mean + amplitude_ms / 1e3 * np.sin(2 * np.pi * frequency * time))
        time += rr[-1]
    return np.array(rr)


@pytest.fixture(params=REFERENCES)
def series(request, shared_data):
    path = shared_data("pyhrv-nni") / f"SampleNNISeries{request.param}.npy"
    return request.param, np.load(path) / 1e3


def test_published_numbers_to_three_decimals(series):
    name, rr = series
    found = heart_rate_variability(rr)
    assert not found.reasons and tuple(found) == MEASURES
    for measure, expected in REFERENCES[name].items():
        assert found[measure] == pytest.approx(expected, abs=6e-4), measure


def test_time_domain_is_that_of_neurokit(series):
    import neurokit2 as nk

    _, rr = series
    found = heart_rate_variability(rr)
    peaks = nk.intervals_to_peaks(rr * 1e3, sampling_rate=1000)
    theirs = nk.hrv_time(peaks, sampling_rate=1000)
    for name in TIME_MS:
        assert found[name] == pytest.approx(theirs[f"HRV_{name}"].iloc[0], rel=1e-6), name
    one_more = (len(rr) - 1) / len(rr)
    assert found["pNN50"] * one_more == pytest.approx(theirs["HRV_pNN50"].iloc[0], rel=1e-6)


@pytest.mark.parametrize(
    ("frequency", "band"), [(0.06, "LF"), (0.1, "LF"), (0.2, "HF"), (0.25, "HF"), (0.3, "HF")]
)
def test_a_sine_has_half_its_squared_amplitude_as_power(frequency, band):
    found = heart_rate_variability(modulated(frequency, 30.0))
    other = {"LF": "HF", "HF": "LF"}[band]
    assert found[band] == pytest.approx(30.0**2 / 2, rel=0.03)
    assert found[other] < 0.01 * found[band]
    assert found["LFHF"] == found["LF"] / found["HF"]


def test_half_of_the_differences_above_50_ms_are_half():
    found = heart_rate_variability(np.tile([0.80, 0.86, 0.90], 50), minimum_seconds=ANY_LENGTH)
    assert found["pNN50"] == pytest.approx(100 * 99 / 149)  # +60, +40, -100 ms
    assert found["pNN20"] == 100


def test_a_difference_of_exactly_50_ms_does_not_exceed_50_ms():
    for rr in (np.tile([0.80, 0.85], 60), np.tile([0.75, 0.70], 60)):
        assert heart_rate_variability(rr)["pNN50"] == 0


@given(rr=intervals, factor=st.floats(0.5, 2.0))
@settings(max_examples=50, deadline=None)
def test_times_scale_with_the_intervals(rr, factor):
    one, other = (heart_rate_variability(x, minimum_seconds=ANY_LENGTH) for x in (rr, factor * rr))
    for name in TIME_MS:
        assert other[name] == pytest.approx(factor * one[name], rel=1e-6, abs=1e-6), name


@given(rr=intervals)
@settings(max_examples=50, deadline=None)
def test_measures_keep_their_order_and_range(rr):
    found = heart_rate_variability(rr, minimum_seconds=ANY_LENGTH)
    assert 0 <= found["pNN50"] <= found["pNN20"] <= 100
    assert found["RMSSD"] <= 2 * found["SDNN"] + 1e-6  # var(a - b) <= 4 var, up to the edges
    assert found["LF"] >= 0 and found["HF"] >= 0
    backwards = heart_rate_variability(rr[::-1], minimum_seconds=ANY_LENGTH)
    for name in ("MeanNN", "SDNN", "RMSSD", "pNN50", "MeanHR"):
        assert backwards[name] == pytest.approx(found[name], rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize("name", MEASURES)
def test_a_window_that_is_too_short_for_a_measure_gives_nan_and_the_reason(name):
    least = MINIMUM_SECONDS[name]
    short = heart_rate_variability(modulated(0.1, 30.0, duration=least - 4))
    assert np.isnan(short[name])
    assert short.reasons[name].startswith(f"{name} needs a window of at least {least:g} s, found")
    whole = heart_rate_variability(modulated(0.1, 30.0, duration=least - 1.6))
    assert np.isfinite(whole[name]) and name not in whole.reasons


def test_minimum_lengths_can_be_replaced():
    rr = modulated(0.1, 30.0, duration=20)
    found = heart_rate_variability(rr, minimum_seconds={"RMSSD": 10.0})
    assert np.isfinite(found["RMSSD"]) and np.isnan(found["SDNN"])


def test_a_metronome_has_no_ratio_of_powers():
    found = heart_rate_variability(np.full(200, 0.8))
    assert found["SDNN"] == pytest.approx(0, abs=1e-9) and np.isnan(found["LFHF"])
    assert found.reasons == {
        "LFHF": "LFHF divides by the power in HF, which is zero; the intervals do not vary"
    }


def test_too_few_intervals_say_so_at_any_length():
    found = heart_rate_variability([0.8], minimum_seconds=ANY_LENGTH)
    assert found["MeanNN"] == pytest.approx(800) and found["MeanHR"] == pytest.approx(75)
    assert set(found.reasons) == set(MEASURES) - {"MeanNN", "MeanHR"}
    assert found.reasons["SDNN"].startswith("SDNN needs more successive intervals than the 1 found")


def test_no_difference_is_taken_across_a_gap():
    rr = np.concatenate([np.full(60, 0.8), np.full(60, 1.0)])
    times = np.cumsum(rr)
    joined = heart_rate_variability(rr, rr_times_seconds=times)
    times[60:] += 3.0
    parted = heart_rate_variability(rr, rr_times_seconds=times)
    assert joined["RMSSD"] > 15 and parted["RMSSD"] == pytest.approx(0, abs=1e-9)
    assert parted["SDNN"] == joined["SDNN"]


def test_long_gaps_leave_no_spectrum():
    rr = modulated(0.1, 30.0)
    times = np.cumsum(rr)
    times[100:] += 60
    found = heart_rate_variability(rr, rr_times_seconds=times)
    assert np.isfinite(found["RMSSD"])
    assert set(found.reasons) == {"LF", "HF", "LFHF"}
    assert "found 17% of the time missing, expected at most 10%" in found.reasons["LF"]


def test_a_premature_beat_and_its_pause_can_be_dropped():
    rr = modulated(0.1, 20.0)
    ectopic = rr.copy()
    ectopic[100:102] += -0.3, 0.3
    assert list(np.flatnonzero(artefact_intervals(ectopic))) == [100, 101]
    clean, kept, dropped = (
        heart_rate_variability(x, artefacts=a)
        for x, a in ((rr, "keep"), (ectopic, "keep"), (ectopic, "drop"))
    )
    assert kept["RMSSD"] > 3 * clean["RMSSD"]
    for name in ("SDNN", "RMSSD", "LF"):
        assert dropped[name] == pytest.approx(clean[name], rel=0.02), name


def test_too_many_artefacts_leave_nothing():
    rr = np.tile([0.8, 0.8, 1.2], 100)
    found = heart_rate_variability(rr, artefacts="drop")
    assert all(np.isnan(v) for v in found.values())
    assert found.reasons["SDNN"].startswith("33% of the 300 intervals are artefacts")


def test_a_clean_signal_gives_all_measures(shared_data):
    path = shared_data("neurokit-bio") / "bio_resting_5min_100hz.csv"
    ecg, pulse = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(0, 1), unpack=True)
    one = hrv_from_signal(ecg, 100, kind="ecg")
    other = hrv_from_signal(pulse, 100, kind="pleth")
    assert not one.reasons and not other.reasons
    assert one["MeanNN"] == pytest.approx(other["MeanNN"], rel=0.005)
    assert one["SDNN"] == pytest.approx(other["SDNN"], rel=0.1)


def test_a_signal_without_clear_beats_gives_nan_and_its_reason(shared_data):
    noisy = np.loadtxt(shared_data("heartpy-ecg-ppg") / "118e00.csv")
    found = hrv_from_signal(noisy, 360, kind="ecg")
    assert tuple(found) == MEASURES and all(np.isnan(v) for v in found.values())
    assert all(r.startswith("the beats are uncertain: quality 0.3") for r in found.reasons.values())


def test_a_copy_keeps_the_reasons():
    found = heart_rate_variability(np.full(30, 0.8))
    assert copy.deepcopy(found).reasons == found.reasons != {}


@pytest.mark.parametrize(
    ("rr", "text"),
    [
        ([], r"found intervals of shape \(0,\), expected at least one"),
        ([[0.8, 0.9]], r"found intervals of shape \(1, 2\)"),
        ([0.8, -0.1], "found -0.1 s as interval 1, expected positive, finite seconds"),
        ([0.8, 0.0], "found 0 s as interval 1"),
        ([np.nan, 0.8], "found nan s as interval 0"),
        ([812.0, 795.0, 803.0], "median interval of 803 s, which looks like milliseconds"),
    ],
)
def test_wrong_intervals_are_named(rr, text):
    with pytest.raises(SignalError, match=text):
        heart_rate_variability(rr)


def test_wrong_calls_say_what_to_do():
    rr = np.full(5, 0.8)
    with pytest.raises(SignalError, match=r"times of shape \(4,\) for 5 intervals"):
        heart_rate_variability(rr, rr_times_seconds=np.arange(4.0))
    with pytest.raises(SignalError, match="closer together than the interval between them"):
        heart_rate_variability(rr, rr_times_seconds=0.5 * np.arange(5))
    with pytest.raises(CallError, match="artefacts='fix', expected 'keep' or 'drop'"):
        heart_rate_variability(rr, artefacts="fix")
    with pytest.raises(
        CallError, match="measure 'SDRR' in minimum_seconds, expected one of MeanNN"
    ):
        heart_rate_variability(rr, minimum_seconds={"SDRR": 1.0})
