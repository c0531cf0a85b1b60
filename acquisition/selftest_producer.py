"""One stream of the synchronisation self-test, in a process with a clock of its own.

Started by :mod:`physioemo.acquisition.selftest_sync` as ``python -m
physioemo.acquisition.selftest_producer PLAN`` with a JSON plan; the true moment of second 0 follows
on standard input. Every sample is taken at a known true moment and stamped with what this process's
clock shows then. Regular streams carry a pulse at each whole true second (channel 0) and the number
of the sample since second 0 (channel 1); markers say ``pulse N``. It runs until it is killed.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from physioemo.acquisition.skewed_clock import ClockSkew, true_seconds
from physioemo.description import StreamDescription

__all__ = ["Plan", "describe_plan", "main", "outside_gaps", "sample_values"]

CHUNK_SECONDS = 0.02


@dataclass(frozen=True)
class Plan:
    """What one producer does.

    Parameters
    ----------
    name, stype : str
        Of the LSL stream.
    sfreq : float
        Rate in Hz; 0 for markers at 1 Hz.
    n_channels : int
        At least 2 for a regular stream.
    source_id : str
        Of the LSL stream.
    origin_seconds : float
        True moment at which its clock began to drift.
    start_seconds, stop_seconds : float
        When it sends, since second 0. A stream that starts later is not there before.
    skew : ClockSkew
        How its clock is wrong.
    gaps : tuple of (float, float)
        Start and duration of stretches for which nothing is sent, since second 0.
    """

    name: str
    stype: str
    sfreq: float
    n_channels: int
    source_id: str
    origin_seconds: float
    start_seconds: float
    stop_seconds: float
    skew: ClockSkew
    gaps: tuple[tuple[float, float], ...] = ()

    def to_json(self) -> str:
        """Return the plan as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read a plan back."""
        fields: dict[str, Any] = json.loads(text)
        skew, gaps = ClockSkew(**fields.pop("skew")), fields.pop("gaps")
        return cls(**fields, skew=skew, gaps=tuple((float(a), float(b)) for a, b in gaps))


def describe_plan(plan: Plan) -> StreamDescription:
    """Return the description of a producer's stream."""
    more = (f"x{i}" for i in range(2, plan.n_channels))
    names: tuple[str, ...] = ("pulse", "counter", *more) if plan.sfreq else ("marker",)
    units = ("a.u." if plan.sfreq else "n/a",) * len(names)
    kind = "float32" if plan.sfreq else "string"
    return StreamDescription(
        plan.name,
        plan.stype,
        plan.sfreq,
        names,
        units,
        source_id=plan.source_id,
        channel_format=kind,
    )


def sample_values(plan: Plan, index: np.ndarray) -> np.ndarray:
    """Return the samples of the given numbers, shape (time, channel)."""
    if not plan.sfreq:
        return np.array([[f"pulse {i}"] for i in index], object).reshape(-1, 1)
    values = np.empty((len(index), plan.n_channels), np.float32)
    values[:] = np.sin(index / 7.0)[:, None]
    values[:, 0] = index % round(plan.sfreq) == 0
    values[:, 1] = index
    return values


def main() -> None:
    """Send until killed; one line on standard output says that the stream is there."""
    from physioemo.acquisition.lsl import make_outlet

    plan = Plan.from_json(sys.argv[1])
    zero = _read_zero() if plan.start_seconds > 0 else 0.0
    while zero and _elapsed(plan, zero) < plan.start_seconds:
        time.sleep(0.005)
    outlet = make_outlet(describe_plan(plan), simulated=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    _send(plan, outlet, zero or _read_zero())


def _read_zero() -> float:
    return float(sys.stdin.readline())


def _elapsed(plan: Plan, zero: float) -> float:
    """Return the true seconds since second 0, from the skewed clock of this process."""
    ahead = plan.skew.read(zero, plan.origin_seconds)
    return (true_seconds() - ahead) / (1 + 1e-6 * plan.skew.drift_ppm)


def _send(plan: Plan, outlet: Any, zero: float) -> None:
    from physioemo.acquisition.lsl import push

    rate = plan.sfreq or 1.0
    done = int(np.ceil(plan.start_seconds * rate))
    while True:
        due = int(np.floor(min(_elapsed(plan, zero), plan.stop_seconds) * rate)) + 1
        index = outside_gaps(plan.gaps, np.arange(done, max(due, done)), rate)
        done = max(due, done)
        stamps = plan.skew.read(zero + index / rate, plan.origin_seconds)
        push(outlet, sample_values(plan, index), stamps)
        time.sleep(CHUNK_SECONDS)


def outside_gaps(
    gaps: tuple[tuple[float, float], ...], index: np.ndarray, rate: float
) -> np.ndarray:
    """Return those sample numbers that are sent."""
    since = index / rate
    silent = np.zeros(len(index), bool)
    for start, duration in gaps:
        silent |= (since >= start) & (since < start + duration)
    return np.asarray(index[~silent])


if __name__ == "__main__":
    main()
