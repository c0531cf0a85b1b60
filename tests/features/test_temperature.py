"""Skin temperature against lines, a real wrist and a sensor in the air."""

import numpy as np
import pytest

from physioemo.description import StreamDescription
from physioemo.errors import UnitError
from physioemo.features.family import FamilyOptions, WindowGrid
from physioemo.features.temperature import TEMPERATURE, TEMPERATURE_UNITS


def windows(signal, sfreq=4, unit="degC"):
    description = StreamDescription("wrist", "Temperature", float(sfreq), ("T",), (unit,))
    grid = WindowGrid.in_seconds(sfreq, 1.0, 1.0)
    extractor = TEMPERATURE.prepare(description, grid, FamilyOptions())
    assert extractor.units == tuple(TEMPERATURE_UNITS.values())
    return dict(zip(TEMPERATURE_UNITS, extractor.batch(signal[None])[:, 0].T, strict=True))


def test_a_line_has_its_mean_and_slope():
    minutes = np.arange(400) / 4 / 60
    found = windows(30 + 0.6 * minutes)
    np.testing.assert_allclose(found["mean"], 30 + 0.6 * minutes.reshape(-1, 4).mean(axis=1))
    assert np.isnan(found["slope"][:29]).all()
    np.testing.assert_allclose(found["slope"][29:], 0.6, rtol=1e-9)


def test_a_wrist_warms_up_as_recorded(shared_data):
    signal = np.loadtxt(shared_data("flirt-empatica-e4") / "TEMP.csv", skiprows=2)
    found = windows(signal)
    assert found["quality"].min() == 1
    assert 31.9 < found["mean"].min() < found["mean"].max() < 33.42
    risen = found["slope"][29:].mean() * len(signal) / 4 / 60
    assert risen == pytest.approx(signal[-1] - signal[0], abs=0.3)


def test_missing_samples_and_air_are_left_out():
    signal = np.full(400, 33.0)
    signal[200:203] = np.nan
    signal[240:280] = 3.0
    signal[320:322] = 60.0
    found = windows(signal)
    assert found["quality"][50] == 0.25 and np.isnan(found["mean"][50])
    assert np.isnan(found["mean"][60:70]).all() and (found["quality"][60:70] == 0).all()
    assert np.isnan(found["slope"][69:80]).all() and np.isfinite(found["slope"][98])
    assert found["quality"][80] == 0.5 and found["mean"][80] == 33
    np.testing.assert_allclose(found["slope"][np.isfinite(found["slope"])], 0, atol=1e-9)


def test_another_unit_is_refused():
    with pytest.raises(UnitError, match="temperature 'T' of the stream 'wrist' in 'degF'"):
        windows(np.full(100, 90.0), unit="degF")
