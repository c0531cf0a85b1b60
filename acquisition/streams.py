"""What is on the network: every stream with its rate, units and problems."""

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import find_streams, open_inlet, pull, raw_fields
from physioemo.acquisition.outlet_header import stated_faults
from physioemo.clock import measured_rate
from physioemo.devices import adapt_description
from physioemo.errors import PhysioEmoError
from physioemo.overrides import Overrides, complete_description

__all__ = ["RATE_TOLERANCE", "StreamReport", "list_streams", "rate_problem"]

RATE_TOLERANCE = 0.01
"""A measured rate further than this fraction from the nominal one is a problem."""


@dataclass(frozen=True)
class StreamReport:
    """One stream on the network.

    Parameters
    ----------
    name, stype, source_id, hostname, uid, channel_format : str
        As LSL reports them.
    n_channels : int
        Number of channels.
    ch_names, units : tuple of str
        Empty where the stream does not say.
    nominal_rate_hz, measured_rate_hz : float
        The declared rate (0 = irregular) and the one that the stamps show; NaN if unknown.
    problems : tuple of str
        What would keep it from being recorded, or would surprise later.
    device : str
        Row of the device table that it fits; empty if none.
    notes : tuple of str
        How it is read: what the device table fills in, and which faults it was made with.
    """

    name: str
    stype: str
    source_id: str
    hostname: str
    uid: str
    channel_format: str
    n_channels: int
    ch_names: tuple[str, ...]
    units: tuple[str, ...]
    nominal_rate_hz: float
    measured_rate_hz: float
    problems: tuple[str, ...]
    device: str = ""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; an unknown rate is None."""
        rate = self.measured_rate_hz
        return {**asdict(self), "measured_rate_hz": rate if np.isfinite(rate) else None}


def list_streams(
    predicates: Sequence[str] = (), *, measure_seconds: float = 2.0, timeout_seconds: float = 2.0
) -> list[StreamReport]:
    """Return every stream on the network, its rate measured over a short time.

    Raises
    ------
    NoStreamError
        If there is none.
    """
    infos = find_streams(predicates, timeout_seconds=timeout_seconds)
    twins = Counter((i.name(), i.source_id()) for i in infos)
    with ThreadPoolExecutor(len(infos)) as pool:
        return list(pool.map(lambda i: _report(i, measure_seconds, twins), infos))


def _report(info: Any, measure_seconds: float, twins: Counter[tuple[str, str]]) -> StreamReport:
    problems: list[str] = []
    stamps = np.zeros(0)
    notes: tuple[str, ...] = ()
    fields = raw_fields(info)
    try:
        inlet, full = open_inlet(info)
        fields, notes = adapt_description(raw_fields(full))
        notes = (*notes, *(f"made with a fault: {text}" for text in stated_faults(fields["xml"])))
        complete_description(fields, Overrides())
    except PhysioEmoError as error:
        problems.append(str(error))
    else:
        stamps = _listen(inlet, measure_seconds)
        inlet.close_stream()
    sfreq = fields["sfreq"]
    if sfreq > 0 and not problems:
        rate = measured_rate(stamps, sfreq)
        problems += rate_problem(fields["name"], sfreq, stamps)
    else:
        rate = measured_rate(stamps, 0.0) if len(stamps) else float("nan")
    if twins[fields["name"], fields["source_id"]] > 1:
        problems.append("another stream has the same name and source_id")
    if not fields["source_id"]:
        problems.append("has no source_id: it cannot be found again after an interruption")
    return StreamReport(
        **{k: fields[k] for k in ("name", "stype", "source_id", "hostname", "uid")},
        **{k: fields[k] for k in ("channel_format", "n_channels", "ch_names", "units")},
        nominal_rate_hz=sfreq,
        measured_rate_hz=rate,
        problems=tuple(problems),
        device=fields.get("device", ""),
        notes=notes,
    )


def _listen(inlet: Any, seconds: float) -> np.ndarray:
    end = time.monotonic() + seconds
    stamps = [np.zeros(0)]
    while (left := end - time.monotonic()) > 0:
        stamps.append(pull(inlet, timeout_seconds=min(left, 0.2))[1])
    return np.concatenate(stamps)


def rate_problem(name: str, sfreq: float, stamps: np.ndarray) -> list[str]:
    """Return a sentence if a regular stream's stamps contradict its nominal rate."""
    rate = measured_rate(stamps, sfreq)
    if len(stamps) < 2:
        return [f"stream {name!r}: found no data, expected {sfreq:g} samples per second"]
    if not np.isfinite(rate):
        return [
            f"stream {name!r}: found time stamps that stand still or run backwards, expected "
            f"{sfreq:g} per second; mend the program that stamps its samples"
        ]
    # Packets make the first and last stamp uncertain; a short look may not blame the device.
    span = float(np.ptp(stamps))
    tolerance = max(RATE_TOLERANCE, 0.1 / span if span else 1.0)
    if not abs(rate / sfreq - 1) > tolerance:
        return []
    return [
        f"stream {name!r}: found {rate:.2f} Hz by its time stamps, expected the nominal "
        f"{sfreq:g} Hz; set the device's real rate in its LSL app, or state it with --sfreq"
    ]
