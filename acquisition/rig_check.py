"""Check a rig before the participant arrives: every stream at once, with the numbers.

A check fails when something that the rig states is not so, or when an EEG channel is flat, railed
or noisy (:mod:`physioemo.acquisition.rig_signal`). What is only worth knowing is a note.
"""

import math
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from physioemo.acquisition.lsl import open_inlet, raw_fields
from physioemo.acquisition.rig import Rig
from physioemo.acquisition.rig_judge import Problem, StreamCheck, judge
from physioemo.acquisition.rig_measure import watch
from physioemo.acquisition.rig_network import RigMatch, adapted_fields, find_rig
from physioemo.errors import PhysioEmoError

__all__ = ["RigCheck", "check_rig"]

WATCH_SECONDS = 3.0
_COPIES = 2
"""While a recording is sealed, its journal and its store lie side by side."""

_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class RigCheck:
    """How a whole rig is.

    Parameters
    ----------
    rig : Rig
        What was checked.
    streams : tuple of StreamCheck
        In the rig's order.
    free_bytes, needed_bytes : float
        Free disk, and what the planned time needs at the measured rate of bytes while it is
        sealed (NaN if no time is planned).
    problems : tuple of Problem
        Of the computer.
    """

    rig: Rig
    streams: tuple[StreamCheck, ...]
    free_bytes: float
    needed_bytes: float
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that is required is as the rig says."""
        return not self.problems and not any(s.problems for s in self.streams if s.required)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; what is unknown is None."""
        streams = []
        for one in self.streams:
            fields = {k: v for k, v in asdict(one).items() if k != "fields"}
            fields["problems"] = [p._asdict() for p in one.problems]
            streams.append(fields)
        return _plain(
            {
                "rig": self.rig.name,
                "ok": self.ok,
                "free_bytes": self.free_bytes,
                "needed_bytes": self.needed_bytes,
                "problems": [p._asdict() for p in self.problems],
                "streams": streams,
            }
        )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_rig(
    rig: Rig,
    *,
    seconds: float = WATCH_SECONDS,
    wait_seconds: float = 0.0,
    folder: str | Path = ".",
    should_stop: Callable[[], bool] = lambda: False,
) -> RigCheck:
    """Return how a rig is; all its streams are watched at the same time.

    Parameters
    ----------
    rig : Rig
        What is asked for.
    seconds : float
        How long to watch; a rate is known the better the longer.
    wait_seconds : float
        How long to wait for streams that are not there.
    folder : str or Path
        Where recordings will lie.
    should_stop : callable
        Asked while waiting.
    """
    matches = find_rig(rig, wait_seconds=wait_seconds, should_stop=should_stop)
    with ThreadPoolExecutor(len(matches)) as pool:
        streams = tuple(pool.map(lambda m: _check_stream(m, rig, seconds), matches))
    free = float(shutil.disk_usage(_existing(Path(folder))).free)
    rate = sum(s.bytes_per_second for s in streams)
    needed = _COPIES * rate * 60 * rig.planned_minutes if rig.planned_minutes else math.nan
    problems = tuple(_disk_problems(rig, free, needed))
    return RigCheck(
        rig=rig, streams=streams, free_bytes=free, needed_bytes=needed, problems=problems
    )


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _disk_problems(rig: Rig, free: float, needed: float) -> list[Problem]:
    found = f"found {free / _GIB:.2f} GiB of free disk"
    do = "free some, or record to another disk"
    problems = []
    if rig.min_free_gib is not None and free < rig.min_free_gib * _GIB:
        problems.append(f"{found}, expected the rig's minimum of {rig.min_free_gib:g} GiB; {do}")
    if free < needed:
        problems.append(
            f"{found}, expected {needed / _GIB:.2f} GiB for {rig.planned_minutes:g} minutes at the "
            f"measured rate (twice: journal and store while sealing); {do}"
        )
    return [Problem("disk", text) for text in problems]


def _check_stream(match: RigMatch, rig: Rig, seconds: float) -> StreamCheck:
    stream = match.stream
    facts: dict[str, Any] = {
        "key": stream.key,
        "query": stream.query_text,
        "required": stream.required,
        "source_ids": tuple(i.source_id() for i in match.infos),
        "hostnames": tuple(i.hostname() for i in match.infos),
    }
    if match.problem:
        kind = "ambiguous" if match.infos else "missing"
        return StreamCheck(**facts, problems=(Problem(kind, match.problem),))
    try:
        inlet, full = open_inlet(match.infos[0])
    except PhysioEmoError as error:
        return StreamCheck(**facts, problems=(Problem("missing", str(error)),))
    try:
        watched = watch(inlet, seconds)
    finally:
        inlet.close_stream()
    return judge(stream, rig, facts, adapted_fields(raw_fields(full), stream, rig), watched)
