"""Skin temperature: its mean in a window and its slope over the last half minute.

Skin answers over tens of seconds and sensors step by hundredths of a degree, so the slope of a
single second is noise. Samples outside 15-42 degC are not skin and count as missing. Where a data
set does not say its unit (``a.u.``), the values keep it, and no range can be checked.
"""

import numpy as np
from numpy.typing import NDArray

from physioemo.description import StreamDescription
from physioemo.errors import UnitError
from physioemo.features.family import Extractor, Family, FamilyOptions, WindowGrid
from physioemo.features.trailing import channels_of_kind, trailing_extractor
from physioemo.units import conversion_factor

__all__ = ["SLOPE_SECONDS", "TEMPERATURE", "TEMPERATURE_UNITS"]

Floats = NDArray[np.float64]

TEMPERATURE_UNITS = {"mean": "degC", "slope": "degC/min", "quality": "1"}
"""The values of a window and their units; the quality is its share of valid samples."""

SLOPE_SECONDS = 30.0
LEAST_HZ = 0.5
_UNDOCUMENTED = "a.u."
_SKIN_CELSIUS = (15.0, 42.0)
_MIN_VALID_WINDOW = 0.5
_MIN_VALID_SLOPE = 0.8


def _window_values(
    context: Floats, sfreq: float, n_window: int, skin: tuple[float, float]
) -> Floats:
    valid = np.isfinite(context) & (context >= skin[0]) & (context <= skin[1])
    quality = float(valid[-n_window:].mean())
    mean = slope = np.nan
    if quality >= _MIN_VALID_WINDOW:
        mean = float(context[-n_window:][valid[-n_window:]].mean())
    n_slope = round(SLOPE_SECONDS * sfreq)
    recent = np.flatnonzero(valid[-n_slope:])
    if len(context) >= n_slope and len(recent) >= max(2, _MIN_VALID_SLOPE * n_slope):
        given = context[-n_slope:][recent]
        minutes = (recent - recent.mean()) / sfreq / 60
        slope = float(minutes @ (given - given.mean()) / (minutes @ minutes))
    return np.array([mean, slope, quality])


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    _, picks = channels_of_kind(description, TEMPERATURE.modalities, least_hz=LEAST_HZ)
    units = {description.units[i] for i in picks}
    if units != {_UNDOCUMENTED}:
        _require_celsius(description, picks)
    skin = (-np.inf, np.inf) if units == {_UNDOCUMENTED} else _SKIN_CELSIUS
    unit = _UNDOCUMENTED if units == {_UNDOCUMENTED} else "degC"

    def values(context: Floats, channel: int) -> Floats:
        return _window_values(context, description.sfreq, grid.window_samples, skin)

    return trailing_extractor(
        values,
        description,
        picks,
        grid,
        context_seconds=SLOPE_SECONDS,
        axis="temperature_feature",
        units={k: u.replace("degC", unit) for k, u in TEMPERATURE_UNITS.items()},
        recipe={
            "family": "temperature",
            "version": 1,
            "unit": unit,
            "valid": [*_SKIN_CELSIUS, _MIN_VALID_WINDOW, _MIN_VALID_SLOPE],
        },
    )


def _require_celsius(description: StreamDescription, picks: list[int]) -> None:
    for i in picks:
        try:
            conversion_factor(description.units[i], "degC")
        except UnitError as error:
            raise UnitError(
                f"found the temperature {description.ch_names[i]!r} of the stream "
                f"{description.name!r} in {description.units[i]!r}, expected 'degC'; convert it"
            ) from error


TEMPERATURE = Family("temperature", "skin temperature: mean and slope", ("temperature",), _prepare)
"""Row of the table of families.

The mean is NaN where less than half of the window is valid, the slope where less than 80 % of the
last 30 s is, and until a stretch has lasted as long.
"""
