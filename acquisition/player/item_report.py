"""How an item went: an account of every frame, and of sound against picture."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["ItemReport", "sound_drift"]

_SETTLE_SECONDS = 0.5  # until the rate of the sound card is known


@dataclass
class ItemReport:
    """How an item went.

    Attributes
    ----------
    number : int
        Of the item, from 1.
    kind, name, clock : str
        What it was, and which clock led it.
    reason : str
        Why it ended: ``finished``, ``key``, ``answered``, ``timeout``, ``stopped`` (by the
        experimenter) or ``aborted`` (Escape, or the window was closed).
    onset_seconds, stop_seconds : float
        LSL's time of its first flip and of its end.
    n_shown, n_dropped : int
        Frames of a video.
    lateness : list of float
        Of each frame shown, in seconds.
    sound_drift_seconds : float
        How far the frames ran away from the sound over the item; NaN without sound.
    values : dict of str to float
        Answers.
    answer_seconds : float
        From the onset of a rating to its answer.
    """

    number: int
    kind: str
    name: str
    clock: str = "monotonic"
    reason: str = "finished"
    onset_seconds: float = math.nan
    stop_seconds: float = math.nan
    n_shown: int = 0
    n_dropped: int = 0
    lateness: list[float] = field(default_factory=list)
    sound_drift_seconds: float = math.nan
    values: dict[str, float] = field(default_factory=dict)
    answer_seconds: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; what is unknown is None."""
        late = np.array(self.lateness) if self.lateness else np.array([np.nan])
        numbers = {
            "onset_seconds": self.onset_seconds,
            "stop_seconds": self.stop_seconds,
            "median_lateness_ms": 1000 * float(np.median(late)),
            "max_lateness_ms": 1000 * float(late.max()),
            "sound_drift_ms": 1000 * self.sound_drift_seconds,
        }
        return {
            "item": self.number,
            "kind": self.kind,
            "name": self.name,
            "clock": self.clock,
            "reason": self.reason,
            "n_shown": self.n_shown,
            "n_dropped": self.n_dropped,
            **{k: v if math.isfinite(v) else None for k, v in numbers.items()},
            "values": self.values,
        }


def sound_drift(lateness: list[tuple[float, float]], readings: list[tuple[float, float]]) -> float:
    """Return by how much frames run later against the sound in their last third than in the first.

    Parameters
    ----------
    lateness : list of (float, float)
        When each frame was shown, and how late by the clock that led it.
    readings : list of (float, float)
        When the samples that were handed to the sound device were counted, and how far their
        count was ahead of that clock.

    Returns
    -------
    float
        Seconds; NaN where there are too few.
    """
    if not readings or not lateness:
        return math.nan
    first, last = readings[0][0] + _SETTLE_SECONDS, min(readings[-1][0], lateness[-1][0])
    edges = first + (last - first) * np.array([0, 1, 2, 3]) / 3
    frames, counts = np.array(lateness), np.array(readings)
    early, late = (_behind(frames, counts, edges[i], edges[i + 1]) for i in (0, 2))
    return late - early


def _behind(frames: np.ndarray, counts: np.ndarray, start: float, stop: float) -> float:
    late, ahead = (
        rows[(rows[:, 0] >= start) & (rows[:, 0] < stop), 1] for rows in (frames, counts)
    )
    if len(late) < 3 or len(ahead) < 3:
        return math.nan
    # The count steps by whole blocks, which a mean evens out; a stall now and then is left out.
    ahead = np.sort(ahead)[len(ahead) // 10 : len(ahead) - len(ahead) // 10]
    return float(ahead.mean() + np.median(late))
