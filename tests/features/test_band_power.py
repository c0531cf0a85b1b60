"""Band power against analytic values and SciPy's periodogram."""

import numpy as np
import pytest
from scipy.signal import periodogram, welch

from physioemo.errors import CallError, SignalError
from physioemo.features.band_power import band_power, hann_periodogram
from tests import realdata

SFREQ = 128.0
BANDS = {"theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 45)}


@pytest.mark.parametrize("hz", [10.0, 10.3, 10.5])
def test_a_sine_has_half_its_squared_amplitude(hz):
    signal = 20.0 * np.sin(2 * np.pi * hz * np.arange(4 * 512) / SFREQ + 0.7)[None] + 1000
    found = band_power(signal, SFREQ, window_seconds=4.0)
    assert found[:, 0, 1] == pytest.approx(200.0, rel=2e-3)
    assert found[:, 0, [0, 2, 3]].max() < 0.1
    share = band_power(signal, SFREQ, window_seconds=4.0, relative=True)
    assert share[:, 0, 1] == pytest.approx(1.0, abs=1e-3) and share.max() <= 1


@pytest.mark.parametrize(("window_seconds", "sfreq"), [(1.0, 128.0), (0.75, 200.0), (1.3, 250.0)])
def test_white_noise_has_its_variance_times_the_width_of_the_band(rng, window_seconds, sfreq):
    signal = rng.normal(0, 5.0, (4, int(1000 * sfreq)))
    found = band_power(signal, sfreq, window_seconds=window_seconds).mean(axis=(0, 1))
    expected = [25.0 * 2 * (high - low) / sfreq for low, high in BANDS.values()]
    assert found == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("n", [128, 129])
def test_the_density_is_scipys(rng, n):
    windows = rng.standard_normal((3, 2, n)) + 100
    expected = periodogram(windows, SFREQ, window="hann")[1]
    assert np.allclose(hann_periodogram(windows, SFREQ), expected, rtol=1e-9, atol=1e-18)


def test_a_band_is_the_trapezoid_under_scipys_density(rng):
    signal = rng.standard_normal((3, 640))
    at, density = welch(signal, SFREQ, window="hann", nperseg=128, noverlap=0)
    found = band_power(signal, SFREQ).mean(axis=0)
    for b, (low, high) in enumerate(BANDS.values()):
        inside = (at >= low) & (at <= high)
        expected = np.trapezoid(density[:, inside], at[inside])
        assert found[:, b] == pytest.approx(expected, rel=1e-9)


def test_a_cut_band_is_the_sum_of_its_pieces_wherever_the_cut_lies(rng):
    signal = rng.standard_normal((2, 1000))
    bands = {"whole": (4, 30), "low": (4, 11.37), "high": (11.37, 30)}
    found = band_power(signal, 100.0, bands=bands)
    assert found[..., 0] == pytest.approx(found[..., 1] + found[..., 2], rel=1e-12)


def test_shares_are_of_the_union_of_the_bands(rng):
    signal = rng.standard_normal((2, 1280))
    assert band_power(signal, SFREQ, relative=True).sum(axis=2) == pytest.approx(1.0, rel=1e-12)
    overlapping = {"alpha": (8, 13), "broad": (4, 20), "gamma": (30, 40)}
    found = band_power(signal, SFREQ, bands=overlapping, relative=True)
    assert found[..., 1] + found[..., 2] == pytest.approx(1.0, rel=1e-12)
    assert (found[..., 0] < found[..., 1]).all()


def test_a_signal_with_nothing_in_the_bands_has_no_shares():
    alternating = np.tile([1.0, -1.0], 64)[None]
    assert np.isnan(band_power(alternating, SFREQ, relative=True)).all()
    assert band_power(alternating, SFREQ) == pytest.approx(0.0, abs=1e-20)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"window_seconds": 0.125}, SignalError, "a resolution of 8 Hz, .* in the band theta 4-8"),
        ({"window_seconds": 99.0}, SignalError, "with at least 12672 samples, one window"),
        ({"window_seconds": 0.301}, CallError, "found a window of 0.301 s at 128 Hz"),
        ({"sfreq": 80.0}, SignalError, "found the band gamma 30-45 Hz at a sampling rate of 80 Hz"),
        ({"sfreq": float("nan")}, CallError, "found a window of 1 s at nan Hz"),
    ],
)
def test_wrong_calls_are_told_what_was_expected(rng, arguments, error, message):
    with pytest.raises(error, match=message):
        band_power(rng.standard_normal((2, 512)), **{"sfreq": SFREQ, **arguments})


def test_alpha_rises_when_the_eyes_close(shared_data):
    eyes = realdata.eyes_open_closed(shared_data("biosignalsnotebooks"))
    microvolts, line = (eyes[k]["signal"].values.T for k in ("eeg", "line"))
    alpha = band_power(microvolts, 1000.0, window_seconds=2.0)[:, 0, 1]
    level = line[0, : len(alpha) * 2000].reshape(-1, 2000) > 38_000
    opened, closed = level.all(axis=1), ~level.any(axis=1)
    assert np.median(alpha[closed]) > 2 * np.median(alpha[opened])
