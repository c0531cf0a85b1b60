"""When the samples of an OpenSignals device were taken, by its sequence numbers."""

from dataclasses import dataclass

import numpy as np

__all__ = ["OpenSignalsDevice", "sample_times"]

_WRAPS = (16, 256, 32_768, 65_536)  # the counters of BITalino, and of PLUX's hubs
_MOST_LOST = 0.5


@dataclass(frozen=True)
class OpenSignalsDevice:
    """What a file holds of one device.

    Parameters
    ----------
    address, model : str
        Bluetooth address, and kind of device.
    sfreq : float
        Rate in Hz.
    bits : list of int
        Resolution of each channel.
    sensors, labels : list of str
        Sensor and name of each channel.
    started : str
        The header's wall clock.
    samples : ndarray, shape (time, channel)
        Counts.
    sequence : ndarray, shape (time,), optional
        Sequence numbers.
    digital : dict of str to ndarray
        Digital lines.
    """

    address: str
    model: str
    sfreq: float
    bits: list[int]
    sensors: list[str]
    labels: list[str]
    started: str
    samples: np.ndarray
    sequence: np.ndarray | None
    digital: dict[str, np.ndarray]


def sample_times(
    device: OpenSignalsDevice, *, synchronised: bool = False
) -> tuple[np.ndarray, list[str]]:
    """Return the seconds of each sample since the first, and what a reader has to know.

    A sequence number counts samples and begins anew at a power of two. Where it jumps, samples
    were lost; as many as it says at least, since whole turns of the counter do not show.

    Parameters
    ----------
    device : OpenSignalsDevice
        The samples.
    synchronised : bool
        Whether the file has several devices. OpenSignals aligns their rows, and then the rows
        keep step with each other where the numbers jump: rows are counted.
    """
    n = len(device.samples)
    rows = np.arange(n) / device.sfreq
    if device.sequence is None or n < 2:
        return rows, []
    step = _steps(device.sequence)
    lost, jumps = int((step - 1).sum()), int((step > 1).sum())
    if (step < 1).any() or lost > _MOST_LOST * n:
        return rows, [
            f"the sequence numbers of {device.address} do not count samples: lost ones would not "
            "show"
        ]
    if not lost:
        return rows, []
    if synchronised:
        return rows, [
            f"the sequence numbers of {device.address} jump in {jumps} places; its samples are "
            "counted by row, as they lie beside those of the other device"
        ]
    number = np.concatenate([[0], np.cumsum(step)])
    return number / device.sfreq, [
        f"{device.address} lost at least {lost} samples in {jumps} places, by its sequence numbers"
    ]


def _steps(sequence: np.ndarray) -> np.ndarray:
    step = np.diff(sequence)
    wrap = next((w for w in _WRAPS if sequence.max() < w), None)
    return np.where(step < 0, step + wrap, step) if wrap else step
