"""How every stream is doing: rate, loss, gaps, clock, age, counted as the samples arrive."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from physioemo.clock import GAP_SECONDS
from physioemo.description import StreamDescription

__all__ = ["STALLED_SECONDS", "HealthRow", "StreamHealth", "bare_row"]

STALLED_SECONDS = 1.5
"""A regular stream without a sample for this long is stalled."""

_SLOW_SAMPLES = 3.0  # what is slower than two samples per second may take three samples
_RATE_SECONDS = 5.0
_RATE_TOLERANCE = 0.05


@dataclass(frozen=True)
class HealthRow:
    """One stream in the table.

    Parameters
    ----------
    name : str
        LSL name.
    state : str
        ``"waiting"``, ``"live"``, ``"slow"`` or ``"fast"`` (a rate 5 % off), ``"stalled"``,
        ``"quiet"`` (irregular streams may be), ``"lost"``, ``"missing"``, ``"unreadable"`` or
        ``"stored"``.
    nominal_hz, measured_hz : float or None
        Declared rate (0 = irregular) and the rate of arrival over the last seconds.
    loss : float or None
        Share of the samples that the stamps say are missing; None for an irregular stream.
    gaps : int
        Stretches that are missing.
    offset_ms : float or None
        Latest offset of the stream's clock.
    age_seconds : float or None
        Since a sample arrived; None if none did.
    note : str
        Why it is lost, missing or unreadable.
    """

    name: str
    state: str
    nominal_hz: float
    measured_hz: float | None
    loss: float | None
    gaps: int
    offset_ms: float | None
    age_seconds: float | None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def bare_row(name: str, state: str, nominal_hz: float, note: str) -> HealthRow:
    """Return the row of a stream of which nothing is counted: it is missing or unreadable."""
    return HealthRow(name, state, nominal_hz, None, None, 0, None, None, note)


class StreamHealth:
    """Counts one stream.

    Parameters
    ----------
    description : StreamDescription
        Of the stream.
    """

    def __init__(self, description: StreamDescription) -> None:
        self.description = description
        self.clock_offset_seconds: float | None = None
        self.failure = ""
        self.n_gaps = self.n_samples = self.n_lost = 0
        self._last_stamp: float | None = None
        self._arrived: float | None = None
        self._arrivals: deque[tuple[float, int]] = deque()

    def count(self, stamps: np.ndarray, now_seconds: float) -> None:
        """Take the stamps of samples that arrived now (any clock that only goes forward)."""
        if not len(stamps):
            return
        sfreq = self.description.sfreq
        before = stamps[0] if self._last_stamp is None else self._last_stamp
        if sfreq > 0:
            steps = np.diff(stamps, prepend=before)
            missing = steps[steps > 1 / sfreq + GAP_SECONDS]
            self.n_gaps += len(missing) + int(np.count_nonzero(steps < -GAP_SECONDS))
            self.n_lost += int(np.maximum(np.round(missing * sfreq) - 1, 0).sum())
        self.n_samples += len(stamps)
        self._last_stamp, self._arrived = float(stamps[-1]), now_seconds
        self._arrivals.append((now_seconds, self.n_samples))
        while now_seconds - self._arrivals[0][0] > _RATE_SECONDS:
            self._arrivals.popleft()

    def age(self, now_seconds: float) -> float | None:
        """Return the seconds since a sample arrived, or None if none did."""
        return None if self._arrived is None else max(0.0, now_seconds - self._arrived)

    def state(self, now_seconds: float) -> str:
        """Return the word for how it is doing."""
        sfreq, age = self.description.sfreq, self.age(now_seconds)
        if self.failure:
            return "lost"
        if sfreq <= 0:
            return "live" if age is not None and age <= STALLED_SECONDS else "quiet"
        if age is None:
            return "waiting"
        if age > max(STALLED_SECONDS, _SLOW_SAMPLES / sfreq):
            return "stalled"
        rate = self._rate()
        if rate is None or abs(rate / sfreq - 1) <= _RATE_TOLERANCE:
            return "live"
        return "slow" if rate < sfreq else "fast"

    def _rate(self) -> float | None:
        recent = self._arrivals
        if len(recent) < 2 or recent[-1][0] - recent[0][0] < _RATE_SECONDS / 2:
            return None
        return (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])

    def row(self, now_seconds: float) -> HealthRow:
        """Return the stream's row of the table."""
        sfreq, expected = self.description.sfreq, self.n_samples + self.n_lost
        offset = self.clock_offset_seconds
        return HealthRow(
            self.description.name,
            self.state(now_seconds),
            sfreq,
            self._rate(),
            self.n_lost / expected if sfreq > 0 and expected else None,
            self.n_gaps,
            None if offset is None else 1e3 * offset,
            self.age(now_seconds),
            self.failure,
        )
