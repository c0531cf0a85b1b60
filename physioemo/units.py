"""Units as streams and files write them, brought to one spelling and converted."""

from collections.abc import Sequence

import numpy as np

from physioemo.errors import UnitError

__all__ = ["NO_UNIT", "canonical_unit", "conversion_factor", "joint_unit"]

NO_UNIT = "n/a"
"""What text has instead of a unit (the spelling of BIDS)."""

# canonical spelling -> (quantity, factor to the quantity's base unit, other spellings)
_UNITS: dict[str, tuple[str, float, tuple[str, ...]]] = {
    "V": ("voltage", 1.0, ("volt", "volts")),
    "mV": ("voltage", 1e-3, ("millivolt", "millivolts")),
    "uV": ("voltage", 1e-6, ("µV", "μV", "microvolt", "microvolts", "micro-volt")),
    "nV": ("voltage", 1e-9, ("nanovolt", "nanovolts")),
    "S": ("conductance", 1.0, ("siemens",)),
    "uS": ("conductance", 1e-6, ("µS", "μS", "microsiemens", "micro-siemens")),
    "nS": ("conductance", 1e-9, ("nanosiemens",)),
    "ohm": ("resistance", 1.0, ("Ω", "Ohm", "ohms")),
    "kohm": ("resistance", 1e3, ("kΩ", "kOhm", "kiloohm", "kiloohms")),
    "s": ("time", 1.0, ("sec", "second", "seconds")),
    "ms": ("time", 1e-3, ("millisecond", "milliseconds")),
    "us": ("time", 1e-6, ("µs", "μs", "microsecond", "microseconds")),
    "Hz": ("frequency", 1.0, ("hertz",)),
    "bpm": ("frequency", 1 / 60, ("beats/min", "1/min")),
    "m": ("length", 1.0, ("meter", "meters", "metre")),
    "mm": ("length", 1e-3, ("millimeter", "millimeters", "millimetre")),
    "px": ("pixel", 1.0, ("pixel", "pixels")),
    "deg": ("angle", np.pi / 180, ("degree", "degrees", "°")),
    "rad": ("angle", 1.0, ("radian", "radians")),
    "degC": ("temperature", 1.0, ("°C", "celsius", "Celsius", "oC")),
    "g": ("acceleration", 9.80665, ("g-force",)),
    "m/s^2": ("acceleration", 1.0, ("m/s²", "m/s2")),
    "T": ("flux density", 1.0, ("tesla",)),
    "T/m": ("flux gradient", 1.0, ()),
    "normalized": ("ratio", 1.0, ("normalised", "norm", "NU")),
    "%": ("ratio", 1e-2, ("percent",)),
    "a.u.": ("arbitrary", 1.0, ("au", "AU", "arbitrary", "arbitrary units", "adu", "counts")),
    "n/a": ("none", 1.0, ("na", "none", "text", "string")),
}
_SPELLINGS = {s: name for name, (_, _, others) in _UNITS.items() for s in (name, *others)}
_FOLDED = {s.casefold(): name for s, name in _SPELLINGS.items() if len(s) > 2}


def canonical_unit(unit: str) -> str:
    """Return the one spelling of a unit; an unlisted unit is kept as it was written.

    Parameters
    ----------
    unit : str
        For example ``"microvolts"``, ``"µV"`` or ``"uV"``.

    Returns
    -------
    str
        For example ``"uV"``.

    Raises
    ------
    UnitError
        If the unit is empty: an unknown unit is never guessed.
    """
    text = str(unit).strip()
    if not text or text.casefold() in {"unknown", "undefined"}:
        raise UnitError(
            f"found the unit {unit!r}, expected a stated unit such as 'uV', 'mV' or 'uS'; "
            "state the unit of the signal ('a.u.' if it truly is arbitrary)"
        )
    return _SPELLINGS.get(text) or _FOLDED.get(text.casefold()) or text


def conversion_factor(unit: str, target: str) -> float:
    """Return the number by which values in `unit` are multiplied to be in `target`.

    Raises
    ------
    UnitError
        If either unit is not in the table or they measure different quantities.
    """
    found, wanted = canonical_unit(unit), canonical_unit(target)
    if found == wanted:
        return 1.0
    if found not in _UNITS or wanted not in _UNITS or _UNITS[found][0] != _UNITS[wanted][0]:
        raise UnitError(
            f"found the unit {unit!r}, expected one that converts to {target!r}; "
            "state the unit in which the signal really is"
        )
    return _UNITS[found][1] / _UNITS[wanted][1]


def joint_unit(units: Sequence[str]) -> str:
    """Return the unit that all channels share, or ``"mixed"``."""
    return units[0] if len(set(units)) == 1 else "mixed"
