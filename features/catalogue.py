"""The table of feature families: one row each.

A new family is a module with a :class:`physioemo.features.family.Family` and a row here; the
contract tests take it up by themselves. Families that read the stimulus instead of a stream have a
table of their own, :data:`physioemo.features.stimulus_family.STIMULUS_FAMILIES`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from physioemo.features.asymmetry import ASYMMETRY
from physioemo.features.band_power import BAND_POWER, RELATIVE_BAND_POWER
from physioemo.features.connectivity import CONNECTIVITY
from physioemo.features.eda import EDA
from physioemo.features.entropy_family import ENTROPY
from physioemo.features.family import Family
from physioemo.features.gaze import GAZE
from physioemo.features.pleth import PULSE
from physioemo.features.pupil import PUPIL
from physioemo.features.raw_windows import RAW_WINDOWS
from physioemo.features.respiration import RESPIRATION
from physioemo.features.signal_quality import SIGNAL_QUALITY
from physioemo.features.sliding_hrv import HRV
from physioemo.features.temperature import TEMPERATURE

__all__ = ["FAMILIES"]

_ROWS = (
    ENTROPY,
    BAND_POWER,
    RELATIVE_BAND_POWER,
    ASYMMETRY,
    CONNECTIVITY,
    SIGNAL_QUALITY,
    RAW_WINDOWS,
    HRV,
    EDA,
    RESPIRATION,
    PULSE,
    TEMPERATURE,
    GAZE,
    PUPIL,
)

FAMILIES: Mapping[str, Family] = MappingProxyType({row.name: row for row in _ROWS})
"""Every family by its name."""
