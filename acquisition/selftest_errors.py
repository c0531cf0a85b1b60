"""What a recording of the synchronisation self-test says, beside the truth."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from physioemo.acquisition.selftest_producer import outside_gaps
from physioemo.acquisition.skewed_clock import ClockSkew
from physioemo.recording import Recording

__all__ = ["Life", "PairError", "PulsedStream", "SelfTest", "StreamTruth", "judge"]

MEDIAN_LIMIT_MS = 0.2
"""Between two streams, at most this much in the median over all pulses..."""

MAX_LIMIT_MS = 1.0
"""...and this much for the worst pulse."""


@dataclass(frozen=True)
class Life:
    """A stretch of time for which one program serves a stream.

    Parameters
    ----------
    start_seconds, stop_seconds : float
        When it sends.
    skew : ClockSkew
        How the clock of its process is wrong.
    """

    start_seconds: float
    stop_seconds: float
    skew: ClockSkew


@dataclass(frozen=True)
class PulsedStream:
    """A stream of the self-test.

    Parameters
    ----------
    name, stype : str
        Of the LSL stream.
    sfreq : float
        Rate in Hz; 0 for markers at 1 Hz.
    n_channels : int
        At least 2 for a regular stream.
    lives : tuple of Life
        More than one is a producer that is killed and started again.
    gaps : tuple of (float, float)
        Start and duration of stretches for which nothing is sent.
    """

    name: str
    stype: str
    sfreq: float
    n_channels: int
    lives: tuple[Life, ...]
    gaps: tuple[tuple[float, float], ...] = ()

    @property
    def drift_ppm(self) -> float:
        """The largest drift of its clocks."""
        return max((life.skew.drift_ppm for life in self.lives), key=abs)


@dataclass(frozen=True)
class StreamTruth:
    """One stream beside the truth.

    Parameters
    ----------
    name : str
        Of the stream.
    n_expected, n_received : int
        Samples that were sent while the recorder was connected, and that are recorded.
    n_pulses : int
        Pulses that are recorded.
    median_ms, max_ms : float
        Error of the pulses, absolute.
    """

    name: str
    n_expected: int
    n_received: int
    n_pulses: int
    median_ms: float
    max_ms: float


@dataclass(frozen=True)
class PairError:
    """How far apart two streams put what happened at the same moment.

    Parameters
    ----------
    first, second : str
        Names of the streams.
    n_pulses : int
        Pulses that both recorded.
    median_ms, max_ms : float
        Absolute difference of their errors.
    """

    first: str
    second: str
    n_pulses: int
    median_ms: float
    max_ms: float

    @property
    def ok(self) -> bool:
        """Whether it is within the limits."""
        return self.median_ms <= MEDIAN_LIMIT_MS and self.max_ms <= MAX_LIMIT_MS


@dataclass(frozen=True)
class SelfTest:
    """The result of the self-test.

    Parameters
    ----------
    skewed : bool
        Whether the producers' clocks were wrong on purpose.
    streams : tuple of StreamTruth
        Each stream beside the truth.
    pairs : tuple of PairError
        Every two streams.
    """

    skewed: bool
    streams: tuple[StreamTruth, ...]
    pairs: tuple[PairError, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for everything that is not as it must be."""
        lost = [
            f"{s.name}: found {s.n_received} of {s.n_expected} samples, expected all of them"
            for s in self.streams
            if s.n_received != s.n_expected
        ]
        apart = [
            f"{p.first} and {p.second}: found an error of {p.median_ms:.3f} ms (median) and "
            f"{p.max_ms:.3f} ms (worst) over {p.n_pulses} pulses, expected at most "
            f"{MEDIAN_LIMIT_MS} and {MAX_LIMIT_MS}"
            for p in self.pairs
            if not p.ok
        ]
        return tuple(lost + apart)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        found = asdict(self)
        found["limits_ms"] = {"median": MEDIAN_LIMIT_MS, "max": MAX_LIMIT_MS}
        return {**found, "problems": list(self.problems), "ok": not self.problems}


def judge(
    recording: Recording, streams: Sequence[PulsedStream], zero: float, *, skewed: bool
) -> SelfTest:
    """Compare a recording with the truth.

    Parameters
    ----------
    recording : Recording
        Of `streams`.
    streams : sequence of PulsedStream
        What was sent.
    zero : float
        True moment of second 0 on the recorder's clock.
    skewed : bool
        Whether the clocks were wrong.
    """
    errors, truths = {}, []
    for stream in streams:
        index, time = _numbered(recording, stream)
        rate = stream.sfreq or 1.0
        whole = index % round(rate) == 0
        seconds = index[whole] // round(rate)
        found = 1e3 * (time[whole] - zero - seconds)
        errors[stream.name] = dict(zip(seconds.tolist(), found.tolist(), strict=True))
        n_expected = len(_expected(stream, index, rate))
        median, most = _median_max(found)
        truths.append(StreamTruth(stream.name, n_expected, len(index), len(found), median, most))
    pairs = [_pair(a, b, errors) for a, b in itertools.combinations(errors, 2)]
    return SelfTest(skewed, tuple(truths), tuple(pairs))


def _numbered(recording: Recording, stream: PulsedStream) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the recorded samples and their times."""
    found = recording[stream.name]
    values = found["signal"].values
    if stream.sfreq:
        return values[:, 1].astype(int), found["time"].values
    return np.array([int(str(v).split()[1]) for v in values[:, 0]], int), found["time"].values


def _expected(stream: PulsedStream, received: np.ndarray, rate: float) -> np.ndarray:
    """Return the numbers of all samples that a connected recorder must hold."""
    parts = []
    for i, life in enumerate(stream.lives):
        start = int(np.ceil(life.start_seconds * rate))
        stop = int(np.floor(life.stop_seconds * rate)) + 1
        there = received[(received >= start) & (received < stop)]
        if i and len(there):
            # Whatever a new program sends before the recorder has found it is nobody's loss.
            start = int(there.min())
        parts.append(np.arange(start, stop))
    return outside_gaps(stream.gaps, np.concatenate(parts), rate)


def _pair(first: str, second: str, errors: dict[str, dict[int, float]]) -> PairError:
    shared = sorted(errors[first].keys() & errors[second].keys())
    apart = np.array([errors[first][s] - errors[second][s] for s in shared])
    return PairError(first, second, len(shared), *_median_max(apart))


def _median_max(errors_ms: np.ndarray) -> tuple[float, float]:
    if not len(errors_ms):
        return float("inf"), float("inf")
    return float(np.median(np.abs(errors_ms))), float(np.abs(errors_ms).max())
