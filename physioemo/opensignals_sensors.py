"""What PLUX's sensors measure, and how their counts become physical units.

Each data sheet gives a transfer function of the count ``c``, the resolution ``n`` in bits and the
supply voltage ``VCC`` (3.0 V in biosignalsplux, 3.3 V in BITalino (r)evolution):

=============== =================================== ============ ============================
sensor          formula                             BITalino     data sheet of PLUX
=============== =================================== ============ ============================
ECG (mV)        1000 VCC (c/2^n - 1/2) / G          G = 1100     biosignalsplux: G = 1019
EMG (mV)        1000 VCC (c/2^n - 1/2) / G          G = 1009     biosignalsplux: G = 1000
EEG (uV)        10^6 VCC (c/2^n - 1/2) / G          G = 41782    biosignalsplux: G = 41782
EDA (uS)        VCC (c/2^n) / R                     R = 0.132    biosignalsplux: R = 0.12
TEMP (degC)     1/(a0 + a1 ln r + a2 ln^3 r)        --           NTC, r = 10^4 c / (2^n - c)
=============== =================================== ============ ============================

BITalino's EDA has R = 0.132, which is its stated range of 25 uS at 3.3 V; sheets that print 0.12
contradict that range. Accelerometers need the calibration of the single sensor, respiration
belts are relative, and channels called RAW can be anything: these stay counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["COUNT_UNIT", "Sensor", "sensor_of"]

COUNT_UNIT = "a.u."
"""The unit of what is not converted."""

Transfer = Callable[[np.ndarray, int], np.ndarray]
_PLUX_VOLTS, _BITALINO_VOLTS = 3.0, 3.3
_PLUX_DEVICES = {"biosignalsplux", "bioplux", "channeller", "swifter", "explorer", "hybrid8"}
_NTC = (1.12764514e-3, 2.34282709e-4, 8.77303013e-8)
_NTC_OHM, _KELVIN = 1e4, 273.15


@dataclass(frozen=True)
class Sensor:
    """What a channel measures.

    Parameters
    ----------
    modality : str
        Row of :data:`physioemo.modality.MODALITIES`.
    unit : str
        Unit after conversion.
    transfer : callable, optional
        ``transfer(counts, bits) -> values``; None where counts stay counts.
    """

    modality: str
    unit: str = COUNT_UNIT
    transfer: Transfer | None = None


def _centred(volts: float, gain: float, factor: float) -> Transfer:
    return lambda counts, bits: (counts / 2**bits - 0.5) * volts / gain * factor


def _conductance(volts: float, ohms: float) -> Transfer:
    return lambda counts, bits: counts / 2**bits * volts / ohms


def _thermistor(counts: np.ndarray, bits: int) -> np.ndarray:
    # At either end of the range the sensor is shorted or not there: no temperature.
    inside = (counts > 0) & (counts < 2**bits)
    safe = np.where(inside, counts, 1.0)
    log = np.log(_NTC_OHM * safe / (2**bits - safe))
    celsius = 1 / (_NTC[0] + _NTC[1] * log + _NTC[2] * log**3) - _KELVIN
    return np.where(inside, celsius, np.nan)


_PLUX: Mapping[str, Sensor] = {
    "ECG": Sensor("ecg", "mV", _centred(_PLUX_VOLTS, 1019, 1e3)),
    "EMG": Sensor("emg", "mV", _centred(_PLUX_VOLTS, 1000, 1e3)),
    "EEG": Sensor("eeg", "uV", _centred(_PLUX_VOLTS, 41782, 1e6)),
    "EDA": Sensor("eda", "uS", _conductance(_PLUX_VOLTS, 0.12)),
    "TEMP": Sensor("temperature", "degC", _thermistor),
}
_BITALINO: Mapping[str, Sensor] = {
    "ECGBIT": Sensor("ecg", "mV", _centred(_BITALINO_VOLTS, 1100, 1e3)),
    "EMGBITREV": Sensor("emg", "mV", _centred(_BITALINO_VOLTS, 1009, 1e3)),
    "EEGBITREV": Sensor("eeg", "uV", _centred(_BITALINO_VOLTS, 41782, 1e6)),
    "EDABITREV": Sensor("eda", "uS", _conductance(_BITALINO_VOLTS, 0.132)),
}
_BY_DEVICE = {**dict.fromkeys(_PLUX_DEVICES, _PLUX), "bitalino_rev": _BITALINO}

# Beginning of a sensor's name -> what it measures, where the counts stay counts.
_KINDS = {
    "ECG": "ecg",
    "EMG": "emg",
    "EEG": "eeg",
    "EDA": "eda",
    "TEMP": "temperature",
    "NTC": "temperature",
    "RESP": "respiration",
    "PZT": "respiration",
    "RIP": "respiration",
    "BVP": "pleth",
    "PPG": "pleth",
    "XYZ": "acceleration",
    "ACC": "acceleration",
    "EOG": "eog",
}


def sensor_of(device: str, name: str) -> Sensor:
    """Return what a sensor measures, by the device and the sensor that the header names.

    Parameters
    ----------
    device, name : str
        As in the header, such as ``"biosignalsplux"`` and ``"EDA"``.
    """
    found = _BY_DEVICE.get(device.lower(), {}).get(name.upper())
    if found is not None:
        return found
    kind = next((k for start, k in _KINDS.items() if name.upper().startswith(start)), "physiology")
    return Sensor(kind)
