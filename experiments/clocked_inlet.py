"""An inlet beside its device's clock: what has to be added to the stamps, minded as it drifts."""

import time
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import clock_offset, pull
from physioemo.acquisition.stream_return import ReturnWatch, find_same_return
from physioemo.description import StreamDescription

__all__ = ["ClockedInlet"]

_DRIFT = 1e-4  # twice what crystal clocks differ by
_OFFSET_SECONDS, _RETRY_SECONDS = 5.0, 0.5


class ClockedInlet:
    """An inlet that knows how its device's clock runs to this computer's; it finds it again.

    Parameters
    ----------
    inlet : pylsl.StreamInlet
        Already open.
    description : StreamDescription
        Of its stream.
    """

    def __init__(self, inlet: Any, description: StreamDescription) -> None:
        self.inlet, self.description = inlet, description
        self.has_data = False
        self.offset_seconds = 0.0
        """What has to be added to the device's stamps for this computer's clock."""
        self._due = -np.inf  # when to measure it again
        self._sure_within, self._measured = np.inf, 0.0
        self._arrived = time.monotonic()
        self._watch, self._uids = ReturnWatch(description), {inlet.info().uid()}

    @property
    def knows_clock(self) -> bool:
        """Whether the offset has been measured."""
        return bool(np.isfinite(self._sure_within))

    @property
    def silent_seconds(self) -> float:
        """For how long nothing has come."""
        return time.monotonic() - self._arrived

    def pull(self, timeout_seconds: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Return what has come: samples (time, channel), and the device's own stamps."""
        if time.monotonic() > self._due:
            self._measure()
        signal, stamps = pull(self.inlet, timeout_seconds=timeout_seconds)
        if len(stamps):
            self.has_data, self._arrived = True, time.monotonic()
        elif self.description.sfreq > 0 and self._watch.is_due(self.silent_seconds):
            inlet = find_same_return(self.description, self._uids)
            if inlet is not None:
                self.inlet.close_stream()
                self.inlet, self._due, self._arrived = inlet, -np.inf, time.monotonic()
                self._sure_within = np.inf  # its clock may be another
        return signal, stamps

    def flush(self) -> None:
        """Drop what has come and was not pulled."""
        self.inlet.flush()

    def _measure(self) -> None:
        """Measure the offset; a worse measurement waits until the last may have drifted as far."""
        triple, now = clock_offset(self.inlet, timeout_seconds=0.2), time.monotonic()
        self._due = now + (_RETRY_SECONDS if triple is None else _OFFSET_SECONDS)
        if triple is None:
            return
        offset, uncertainty = float(triple[1]), float(triple[2])
        drifted = self._sure_within + _DRIFT * (now - self._measured)
        # Where both cannot be true the device has another clock now.
        is_another = abs(offset - self.offset_seconds) > uncertainty + drifted
        if uncertainty <= drifted or is_another:
            self.offset_seconds, self._sure_within, self._measured = offset, uncertainty, now

    def close(self) -> None:
        """Leave the stream."""
        self.inlet.close_stream()
