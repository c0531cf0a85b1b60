"""Numbers beside the traces: heart rate, skin conductance, breathing, pupil, quality of the EEG.

Measured once a second or two from the newest stretch of the raw signal by the functions that are
used offline; for display only, nothing that is decoded depends on them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from physioemo.errors import PhysioEmoError
from physioemo.experiments.page.rows import Row
from physioemo.units import conversion_factor

__all__ = [
    "QUALITY_SECONDS",
    "Measured",
    "Reading",
    "Recent",
    "Snapshot",
    "eeg_quality",
    "measure",
    "read_body",
]

QUALITY_SECONDS = 2.0
"""How much EEG its quality is judged by."""

_HEART_SECONDS, _HEART_HZ = 15.0, 250.0
_BREATH_SECONDS = 30.0
_SKIN_SECONDS = 60.0
_SHORTEST_SKIN_SECONDS = 10.0
_PUPIL_SECONDS = 1.0
_SLOW_HZ = 25.0  # enough for skin and breath


@dataclass(frozen=True)
class Reading:
    """One number.

    Parameters
    ----------
    label, unit : str
        What it is and in what.
    value : float or None
        None where it cannot be told.
    note : str
        Why not, or what else there is to know.
    """

    label: str
    value: float | None
    unit: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


class Snapshot(NamedTuple):
    """The newest stretch of a stream.

    Parameters
    ----------
    number : int
        Of the stream.
    rows : tuple of Row
        Its traces.
    sfreq : float
        Its nominal rate in Hz.
    signal : ndarray, shape (time, row)
        In the units of the rows.
    """

    number: int
    rows: tuple[Row, ...]
    sfreq: float
    signal: np.ndarray


@dataclass(frozen=True)
class Measured:
    """The numbers beside the traces of one stream, one per row; None where there is none.

    Parameters
    ----------
    scores : tuple of (float or None)
        Quality of an EEG channel, 0 to 1.
    readings : tuple of (Reading or None)
        What the body does.
    """

    scores: tuple[float | None, ...]
    readings: tuple[Reading | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        readings = [None if r is None else r.to_dict() for r in self.readings]
        return {"scores": list(self.scores), "readings": readings}


class Recent:
    """The newest seconds of some channels.

    Parameters
    ----------
    sfreq : float
        Nominal rate in Hz.
    seconds : float
        How much to keep.
    """

    def __init__(self, sfreq: float, seconds: float) -> None:
        self._most = max(1, round(seconds * sfreq))
        self._chunks: deque[np.ndarray] = deque()
        self._n = 0

    def push(self, values: np.ndarray) -> None:
        """Take the next samples, shape (time, channel)."""
        self._chunks.append(values)
        self._n += len(values)
        while self._n - len(self._chunks[0]) >= self._most:
            self._n -= len(self._chunks.popleft())

    def newest(self, n_samples: int | None = None) -> np.ndarray:
        """Return the last samples (time, channel): all that are kept, or at most so many."""
        if not self._chunks:
            return np.empty((0, 0))
        n = self._most if n_samples is None else min(n_samples, self._most)
        return np.concatenate(self._chunks)[-n:]


def measure(snapshots: Iterable[Snapshot]) -> dict[int, Measured]:
    """Return what can be told of each stream, by its number."""
    made = {}
    for number, rows, sfreq, signal in snapshots:
        scores: list[float | None] = [None] * len(rows)
        eeg = [i for i, row in enumerate(rows) if row.kind == "eeg"]
        if eeg and sfreq > 0 and len(signal):
            found = eeg_quality(signal[:, eeg], [rows[i].unit for i in eeg], sfreq)
            for i, score in zip(eeg, found, strict=True):
                scores[i] = score
        readings = [
            read_body(row, np.asarray(signal[:, i], float), sfreq) if len(signal) else None
            for i, row in enumerate(rows)
        ]
        made[number] = Measured(tuple(scores), tuple(readings))
    return made


def eeg_quality(signal: np.ndarray, units: Sequence[str], sfreq: float) -> list[float | None]:
    """Return the score of each channel, 0 to 1, over the newest 2 s; None where it has none.

    Parameters
    ----------
    signal : ndarray, shape (time, channel)
        EEG in its own units.
    units : sequence of str
        One per channel; what does not convert to microvolts has no score.
    sfreq : float
        Rate in Hz.
    """
    from physioemo.features.signal_quality import signal_quality

    n_window = round(QUALITY_SECONDS * sfreq)
    scores: list[float | None] = [None] * len(units)
    factors = [_factor(unit, "uV") for unit in units]
    picks = [i for i, factor in enumerate(factors) if factor is not None]
    if len(signal) < n_window or not picks:
        return scores
    known = np.array([factors[i] for i in picks], float)
    in_uv = (signal[-n_window:, picks] * known).T
    try:
        made = signal_quality(in_uv, sfreq, window_seconds=n_window / sfreq)
    except PhysioEmoError:  # too slow a rate to tell muscles from brain: no score
        return scores
    for i, score in zip(picks, made[0, :, -1].tolist(), strict=True):
        scores[i] = round(score, 3)
    return scores


def read_body(row: Row, signal: np.ndarray, sfreq: float) -> Reading | None:
    """Return the number that belongs to a trace, or None if its kind has none.

    Parameters
    ----------
    row : Row
        The trace.
    signal : ndarray, shape (time,)
        Its newest samples, up to a minute.
    sfreq : float
        Nominal rate in Hz.
    """
    reader = _READERS.get(row.kind)
    if reader is None:
        return None
    try:
        return reader(row, signal, sfreq)
    except PhysioEmoError as error:
        return Reading(row.label, None, row.unit, str(error))
    except Exception as error:  # a number that cannot be had may not stop the traces
        return Reading(row.label, None, row.unit, f"{type(error).__name__}: {error}")


def _heart(row: Row, signal: np.ndarray, sfreq: float) -> Reading:
    from physioemo.features.heartbeats import find_beats

    slower, rate = _averaged(signal[-round(_HEART_SECONDS * sfreq) :], sfreq, _HEART_HZ)
    beats = find_beats(slower, rate, kind=row.kind)
    intervals, _ = beats.intervals()
    if beats.reason is not None or not len(intervals):
        return Reading("Heart", None, "/min", beats.reason or "no whole interval between beats")
    return Reading("Heart", 60 / float(np.median(intervals)), "/min")


def _breath(row: Row, signal: np.ndarray, sfreq: float) -> Reading:
    from physioemo.features.respiration import breathing

    if len(signal) < _BREATH_SECONDS * sfreq:
        left = _BREATH_SECONDS - len(signal) / sfreq
        return Reading("Breath", None, "/min", f"known in {left:.0f} s")
    slower, rate = _averaged(signal[-round(_BREATH_SECONDS * sfreq) :], sfreq, _SLOW_HZ)
    found = breathing(slower, rate)
    if not np.isfinite(found.rate):
        return Reading("Breath", None, "/min", f"no clear breaths (quality {found.quality:.2f})")
    return Reading("Breath", found.rate, "/min")


def _skin(row: Row, signal: np.ndarray, sfreq: float) -> Reading:
    from physioemo.features.eda import decompose_eda, find_scr

    slower, rate = _averaged(signal[-round(_SKIN_SECONDS * sfreq) :], sfreq, _SLOW_HZ)
    if len(slower) < _SHORTEST_SKIN_SECONDS * rate:
        return Reading("Skin", None, "µS", f"known after {_SHORTEST_SKIN_SECONDS:.0f} s")
    factor = _factor(row.unit, "uS")
    if factor is None:
        ohms = slower * conversion_factor(row.unit, "ohm")
        slower = np.divide(1e6, ohms, out=np.full(len(ohms), np.nan), where=ohms > 0)
    else:
        slower = slower * factor
    tonic = decompose_eda(slower, rate).tonic
    known = tonic[np.isfinite(tonic)]
    if not len(known) or not np.isfinite(tonic[-round(rate) :]).any():
        return Reading("Skin", None, "µS", "not skin conductance; check the electrodes")
    count = len(find_scr(slower, rate).peak_seconds)
    per_minute = 60 * count / (len(slower) / rate)
    return Reading("Skin", float(known[-1]), "µS", f"{per_minute:.0f} responses/min")


def _pupil(row: Row, signal: np.ndarray, sfreq: float) -> Reading:
    newest = signal[-max(1, round(_PUPIL_SECONDS * sfreq)) :] if sfreq > 0 else signal[-60:]
    seen = newest[np.isfinite(newest)]
    if not len(seen):
        return Reading("Pupil", None, row.unit, "no eye seen for 1 s")
    return Reading("Pupil", float(np.median(seen)), row.unit)


def _warmth(row: Row, signal: np.ndarray, sfreq: float) -> Reading:
    known = signal[np.isfinite(signal)]
    return Reading("Temp", float(known[-1]) if len(known) else None, row.unit.replace("deg", "°"))


_READERS: dict[str, Callable[[Row, np.ndarray, float], Reading]] = {
    "ecg": _heart,
    "pleth": _heart,
    "eda": _skin,
    "respiration": _breath,
    "pupil": _pupil,
    "temperature": _warmth,
}


def _averaged(signal: np.ndarray, sfreq: float, least_hz: float) -> tuple[np.ndarray, float]:
    """Return the means of as many samples as leave at least `least_hz`, and their rate."""
    n = max(1, int(sfreq // least_hz))
    whole = np.asarray(signal[len(signal) % n :], float).reshape(-1, n)
    return whole.mean(axis=1), sfreq / n


def _factor(unit: str, target: str) -> float | None:
    try:
        return conversion_factor(unit, target)
    except PhysioEmoError:
        return None
