"""Clock correction across resets: a computer that restarted, or was exchanged for another.

Each stretch of time for which one clock ran is an epoch with a line of its own
(:func:`physioemo.clock.correct_time`). A new epoch begins where the measured offset steps by more
than the measurements scatter and stays there; one measurement alone that is out of line (some
recorders write one that was never measured) is not used. Steps far below a second are seen, which
rules on the time between measurements miss.

Between the last measurement of one epoch and the first of the next, the samples say where the
clock changed: at the step of their stamps that fits least to the others.

Where the recorder noticed that a stream's program had gone and come back
(:func:`correct_connections`), nothing has to be guessed from values: each connection has its own
measurements, so that even a clock that differs by a millisecond is told from the one before.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from physioemo.clock import correct_time

__all__ = [
    "Connection",
    "CorrectedTime",
    "correct_connections",
    "correct_epochs",
    "measurement_epochs",
]

_STEP_SECONDS = 0.02  # offsets over a busy wireless network scatter by less
_STEP_SCATTERS = 10.0
_DRIFT = 1e-3  # no clock of a computer is wrong by more
_REACH_SECONDS = 10.0  # a measurement speaks for samples this near
_FAR_SECONDS = 5.0
_OVERLAP_SECONDS = 1.0  # samples are written up to this long after their stamps
_NOTICE_SECONDS = 0.2  # the recorder notices a new connection up to this late


class Connection(NamedTuple):
    """A stream came back: its program was started again, perhaps on another computer.

    Parameters
    ----------
    first_sample, stop_sample : int
        The first sample of the new connection is one of these (the end excluded).
    noticed_seconds : float
        When the recorder noticed, on its own clock.
    """

    first_sample: int
    stop_sample: int
    noticed_seconds: float


class CorrectedTime(NamedTuple):
    """Stamps on the session clock, and how they came about.

    Parameters
    ----------
    time : ndarray, shape (time,)
        Seconds.
    resets : tuple of int
        First sample of each later epoch.
    n_ignored : int
        Measurements that were out of line and not used.
    n_unsynced : int
        Samples of connections that ended before their clock was measured; they are corrected
        by the clock of the connection before, or after, and may be wrong.
    """

    time: np.ndarray
    resets: tuple[int, ...]
    n_ignored: int
    n_unsynced: int = 0


def correct_epochs(
    raw_time: np.ndarray, clock_time: np.ndarray, offset_seconds: np.ndarray, sfreq: float
) -> CorrectedTime:
    """Map a device's stamps to the session clock, across resets of its clock.

    Parameters
    ----------
    raw_time : ndarray, shape (time,)
        Stamps in seconds, in the order in which they were recorded.
    clock_time, offset_seconds : ndarray, shape (measurement,)
        Time on the device's clock and what has to be added, in the order of measurement.
    sfreq : float
        Nominal rate in Hz, 0 for an irregular stream. There, a reset of less than the time
        between samples is placed at the nearest measurement.
    """
    raw_time = np.asarray(raw_time, float)
    clock_time, offset = np.asarray(clock_time, float), np.asarray(offset_seconds, float)
    epochs = measurement_epochs(clock_time, offset, raw_time)
    n_ignored = len(clock_time) - sum(len(e) for e in epochs)
    if not len(raw_time) or not epochs:
        return CorrectedTime(np.array(raw_time), (), n_ignored)
    edges = [0]
    for before, after in itertools.pairwise(epochs):
        last, first = clock_time[before[-1]], clock_time[after[0]]
        edges.append(_reset(raw_time, edges[-1], last, first, sfreq))
    edges.append(len(raw_time))
    time = np.concatenate(
        [
            correct_time(raw_time[start:stop], clock_time[epoch], offset[epoch])
            for epoch, start, stop in zip(epochs, edges[:-1], edges[1:], strict=True)
        ]
    )
    resets = tuple(i for i in edges[1:-1] if 0 < i < len(raw_time))
    return CorrectedTime(time, resets, n_ignored)


def correct_connections(
    raw_time: np.ndarray,
    clock_time: np.ndarray,
    offset_seconds: np.ndarray,
    sfreq: float,
    connections: Sequence[Connection] = (),
) -> CorrectedTime:
    """Map a device's stamps to the session clock, each connection by its own measurements.

    Parameters
    ----------
    raw_time : ndarray, shape (time,)
        Stamps in seconds, in the order in which they were recorded.
    clock_time, offset_seconds : ndarray, shape (measurement,)
        Time on the device's clock and what has to be added, in the order of measurement.
    sfreq : float
        Nominal rate in Hz, 0 for an irregular stream.
    connections : sequence of Connection
        Every later connection, in order; with none this is :func:`correct_epochs`.
    """
    raw_time = np.asarray(raw_time, float)
    clock_time, offset = np.asarray(clock_time, float), np.asarray(offset_seconds, float)
    edges = [0, *(_first_sample(raw_time, sfreq, c) for c in connections), len(raw_time)]
    noticed = np.array([c.noticed_seconds for c in connections]) - _NOTICE_SECONDS
    number = np.searchsorted(noticed, clock_time + offset, side="right")
    measured = np.unique(number)
    parts, n_unsynced = [], 0
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        # The clock of the connection before is the likelier one: programs restart, too.
        source = i if i in measured else _nearest_before(i, measured)
        own = number == source
        parts.append(correct_epochs(raw_time[start:stop], clock_time[own], offset[own], sfreq))
        n_unsynced += 0 if i == source else stop - start
    resets = {e for e in edges[1:-1] if 0 < e < len(raw_time)}
    resets |= {start + r for start, part in zip(edges, parts, strict=False) for r in part.resets}
    time = np.concatenate([part.time for part in parts])
    ignored = sum(p.n_ignored for i, p in enumerate(parts) if i in measured)
    return CorrectedTime(time, tuple(sorted(resets)), ignored, n_unsynced)


def _nearest_before(number: int, measured: np.ndarray) -> int:
    before = measured[measured < number]
    if len(before):
        return int(before[-1])
    return int(measured[0]) if len(measured) else -1


def _first_sample(raw_time: np.ndarray, sfreq: float, connection: Connection) -> int:
    """Return the first sample of a connection: where the stamps step out of line."""
    first, stop = connection.first_sample, min(connection.stop_sample, len(raw_time))
    if sfreq <= 0 or stop - first < 2 or first < 1:
        return min(first, len(raw_time))
    odd = np.abs(np.diff(raw_time[first - 1 : stop]) - 1 / sfreq)
    return first + int(np.argmax(odd))


def measurement_epochs(
    clock_time: np.ndarray, offset_seconds: np.ndarray, raw_time: np.ndarray
) -> list[np.ndarray]:
    """Return the indices of the measurements of each epoch, those out of line left out.

    Parameters
    ----------
    clock_time, offset_seconds : ndarray, shape (measurement,)
        Measurements in their order.
    raw_time : ndarray, shape (time,)
        Stamps of the stream: a single measurement far from all others is an epoch only if
        samples were stamped around it.
    """
    if not len(clock_time):
        return []
    groups: list[list[int]] = []
    for run in _runs(clock_time, offset_seconds):
        alone = len(run) == 1 and len(clock_time) > 1
        if alone and not _has_samples(run[0], clock_time, offset_seconds, raw_time):
            continue
        if groups and _agree(groups[-1][-1], run[0], clock_time, offset_seconds):
            groups[-1].extend(run)
        else:
            groups.append(run)
    return [np.array(g) for g in groups] or [np.array([0])]


def _runs(clock_time: np.ndarray, offset: np.ndarray) -> list[list[int]]:
    """Return stretches of measurements of which each agrees with the one before."""
    runs = [[0]]
    for i in range(1, len(offset)):
        if _agree(i - 1, i, clock_time, offset):
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def _agree(i: int, j: int, clock_time: np.ndarray, offset: np.ndarray) -> bool:
    steps = np.abs(np.diff(offset))
    scatter = 1.4826 * float(np.median(steps)) if len(steps) > 2 else 0.0
    # On the recorder's clock, which never steps, unlike the one that is measured.
    elapsed = abs((clock_time[j] + offset[j]) - (clock_time[i] + offset[i]))
    most = max(_STEP_SECONDS, _STEP_SCATTERS * scatter) + _DRIFT * min(elapsed, 60.0)
    return bool(abs(offset[j] - offset[i]) <= most)


def _has_samples(i: int, clock_time: np.ndarray, offset: np.ndarray, raw_time: np.ndarray) -> bool:
    others = np.delete(np.arange(len(offset)), i)
    if np.abs(offset[others] - offset[i]).min() < _FAR_SECONDS:
        return False
    reach = np.abs(clock_time[others][:, None] - clock_time[i]).min()
    near = np.abs(raw_time - clock_time[i]) < min(_REACH_SECONDS, reach / 2)
    return bool(near.any())


def _reset(raw_time: np.ndarray, start: int, last: float, first: float, sfreq: float) -> int:
    """Return the first sample of the next epoch.

    `last` and `first` are the times of the last measurement before the reset and the first
    after it, each on its own clock.
    """
    tail = raw_time[start:]
    later = np.abs(tail - last) >= np.abs(tail - first)
    nearest = start + (int(np.argmax(later)) if later.any() else len(tail))
    low = nearest
    while low > start + 1 and raw_time[low - 1] > last - _OVERLAP_SECONDS:
        low -= 1
    high = nearest
    while high < len(raw_time) and raw_time[high] < first + _OVERLAP_SECONDS:
        high += 1
    steps = np.diff(raw_time[max(low - 1, start) : high])
    if not len(steps):
        return nearest
    odd = np.abs(steps - 1 / sfreq) if sfreq > 0 else -steps
    if odd.max() < (_STEP_SECONDS if sfreq > 0 else 0.0):
        return nearest
    return max(low - 1, start) + int(np.argmax(odd)) + 1
