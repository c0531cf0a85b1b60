"""One stream of a recording as an :class:`xarray.Dataset`."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from physioemo.clock import find_gaps, fit_clock, measured_rate
from physioemo.clock_epochs import (
    Connection,
    CorrectedTime,
    correct_connections,
    measurement_epochs,
)
from physioemo.description import CHANNEL_FORMATS, StreamDescription
from physioemo.errors import SignalError
from physioemo.units import joint_unit

__all__ = [
    "describe_stream",
    "make_stream",
    "may_drop_samples",
    "stream_quality",
]

_FEWEST_OFFSETS = 3
_FEWEST_COUNTS = 100
_COUNTERS = {"nseq", "samplecounter", "counter"}


def make_stream(
    signal: np.ndarray,
    description: StreamDescription,
    *,
    time: np.ndarray | None = None,
    raw_time: np.ndarray | None = None,
    clock_offsets: np.ndarray | None = None,
    connections: Sequence[Connection] = (),
) -> xr.Dataset:
    """Return a stream of a recording.

    Parameters
    ----------
    signal : ndarray, shape (time, channel)
        Samples in the units of the description, in the device's own number type.
    description : StreamDescription
        Names, units, rate and origin.
    time : ndarray, shape (time,), optional
        Session time in seconds; by default computed from `raw_time` and `clock_offsets`,
        or else ``arange(n) / sfreq``.
    raw_time : ndarray, shape (time,), optional
        Stamps as the device's computer gave them, in seconds.
    clock_offsets : ndarray, shape (measurement, 3), optional
        Remote time, offset and uncertainty, all in seconds.
    connections : sequence of Connection, optional
        When the stream's program came back; the attribute ``reconnected_samples`` says where,
        ``n_unsynced_samples`` how many samples no measurement of their own clock covers.

    Raises
    ------
    SignalError
        If shapes contradict each other or stamps are not finite.
    """
    signal = np.asarray(signal)
    offsets = np.zeros((0, 3)) if clock_offsets is None else np.asarray(clock_offsets, float)
    if signal.ndim != 2 or signal.shape[1] != len(description.ch_names):
        raise SignalError(
            f"stream {description.name!r}: found samples of shape {signal.shape}, expected "
            f"(time, {len(description.ch_names)})"
        )
    attrs = _attributes(description)
    if time is None and raw_time is not None:
        corrected = _corrected(raw_time, offsets, description, connections)
        time = corrected.time
        if connections:
            attrs["reconnected_samples"] = list(corrected.resets)
            attrs["n_unsynced_samples"] = corrected.n_unsynced
    elif time is None:
        time = _default_time(len(signal), description)
    raw_time = time if raw_time is None else raw_time
    for what, stamps in (("time", time), ("raw_time", raw_time)):
        _check_stamps(stamps, len(signal), f"stream {description.name!r}: {what}")
    dtype = object if description.is_text else CHANNEL_FORMATS[description.channel_format]
    return xr.Dataset(
        {
            "signal": (("time", "channel"), signal.astype(dtype, copy=False)),
            "raw_time": ("time", np.asarray(raw_time, float), {"units": "s"}),
            "clock_offset": (("clock_measurement", "clock_field"), offsets, {"units": "s"}),
        },
        coords={
            "time": ("time", np.asarray(time, float), {"units": "s"}),
            "channel": ("channel", np.array(description.ch_names, dtype=object)),
            "channel_unit": ("channel", np.array(description.units, dtype=object)),
            "channel_type": ("channel", np.array(description.ch_types, dtype=object)),
            "clock_field": ["remote_time", "offset", "uncertainty"],
        },
        attrs=attrs,
    )


def _attributes(description: StreamDescription) -> dict[str, Any]:
    fields = description.to_dict()
    for name in ("ch_names", "units", "ch_types"):
        del fields[name]
    return {
        **fields,
        "sfreq": float(description.sfreq),
        "unit": joint_unit(description.units),
    }


def _corrected(
    raw_time: np.ndarray,
    offsets: np.ndarray,
    description: StreamDescription,
    connections: Sequence[Connection],
) -> CorrectedTime:
    clock_time, offset = offsets[:, 0], offsets[:, 1]
    return correct_connections(raw_time, clock_time, offset, description.sfreq, connections)


def _default_time(n: int, description: StreamDescription) -> np.ndarray:
    if description.sfreq <= 0 and n:
        raise SignalError(
            f"stream {description.name!r}: found an irregular stream without time stamps, "
            "expected one stamp per sample"
        )
    return np.arange(n) / description.sfreq if n else np.zeros(0)


def _check_stamps(stamps: np.ndarray, n: int, what: str) -> None:
    stamps = np.asarray(stamps)
    if stamps.shape != (n,):
        raise SignalError(f"{what}: found shape {stamps.shape}, expected ({n},), one per sample")
    if not np.isfinite(stamps).all():
        first = int(np.flatnonzero(~np.isfinite(stamps))[0])
        raise SignalError(f"{what}: found {stamps[first]} at sample {first}, expected seconds")


def describe_stream(stream: xr.Dataset) -> StreamDescription:
    """Return the description of a stream of a recording."""
    names = {
        "ch_names": [str(c) for c in stream["channel"].values],
        "units": [str(c) for c in stream["channel_unit"].values],
        "ch_types": [str(c) for c in stream["channel_type"].values],
    }
    fields = {k: v for k, v in stream.attrs.items() if k in StreamDescription.__annotations__}
    return StreamDescription.from_dict({**fields, **names})


def may_drop_samples(stream: xr.Dataset) -> bool:
    """Return whether a stream's header says that samples may be missing from it (a camera's)."""
    words = re.sub(r"\s+", "", str(stream.attrs.get("xml", ""))).casefold()
    return "<can_drop_samples>true</can_drop_samples>" in words


def stream_quality(stream: xr.Dataset) -> dict[str, Any]:
    """Return what can be said of a stream's completeness, as plain numbers.

    Returns
    -------
    dict
        ``n_samples``; ``n_expected`` (by nominal rate over the spanned time);
        ``duration_seconds``; ``nominal_rate_hz`` and ``measured_rate_hz``; ``gaps`` (list of
        ``{"onset_seconds", "duration_seconds"}``); ``n_missing_values`` (NaN or infinite);
        ``flat_channels`` (never change); ``jitter_seconds`` (standard deviation of the stamp
        steps); ``clock_drift_ppm`` (of the device's computer against the session's clock) and
        ``sync_error_seconds`` (how far 95 % of the measured offsets are from their line, no less
        than half the shortest round trip), both since the last reset and NaN with fewer than
        three measurements; ``n_lost`` (samples that the device's own counter says were lost, None
        if it has none).
    """
    time, sfreq = stream["time"].values, float(stream.attrs["sfreq"])
    gaps = find_gaps(time, sfreq)
    span = float(time[-1] - time[0]) if len(time) else 0.0
    within = np.delete(np.diff(time), gaps - 1) if len(time) > 1 else np.zeros(0)
    values = stream["signal"].values
    numeric = values.dtype.kind in "fiu"
    flat = (values == values[:1]).all(axis=0) if numeric and len(values) > 1 else np.zeros(0, bool)
    names = [str(c) for c in stream["channel"].values]
    return {
        "n_samples": len(time),
        "n_expected": round(span * sfreq) + 1 if sfreq > 0 and len(time) else len(time),
        "duration_seconds": span,
        "nominal_rate_hz": sfreq,
        "measured_rate_hz": measured_rate(time, sfreq),
        "gaps": [
            {"onset_seconds": float(time[i - 1]), "duration_seconds": float(time[i] - time[i - 1])}
            for i in gaps
        ],
        "n_missing_values": int((~np.isfinite(values)).sum()) if values.dtype.kind == "f" else 0,
        "flat_channels": [n for n, f in zip(names, flat, strict=False) if f],
        "jitter_seconds": float(within.std()) if len(within) and sfreq > 0 else float("nan"),
        **_clock_quality(stream),
        "n_lost": _lost_by_counter(names, values),
    }


def _lost_by_counter(names: list[str], values: np.ndarray) -> int | None:
    """Return how many samples a device's counter has skipped; None without one that counts by 1."""
    found = [i for i, name in enumerate(names) if name.casefold() in _COUNTERS]
    if not found or values.dtype.kind not in "fiu" or len(values) < _FEWEST_COUNTS:
        return None
    count = values[:, found[0]].astype(float)
    if not np.isfinite(count).all():
        return None
    step = np.diff(count)
    if np.median(step) != 1:
        return None
    # A counter that begins again has reached its end: the largest number that it ever shows.
    modulus = count.max() + 1 if (step < 0).any() else np.inf
    # A sample that came twice is not lost.
    return int(np.where(step == 0, 0, np.mod(step - 1, modulus)).sum())


def _clock_quality(stream: xr.Dataset) -> dict[str, float]:
    """Return drift and synchronisation error of a stream's last connection."""
    triples = np.asarray(stream["clock_offset"].values, float) if "clock_offset" in stream else None
    returned = list(stream.attrs.get("reconnected_samples", ()))
    if triples is not None and returned and returned[-1] < stream.sizes["time"]:
        triples = triples[triples[:, 0] >= stream["raw_time"].values[returned[-1]]]
    if triples is not None and len(triples):
        # A clock that was reset has a line of its own after it.
        raw_time = stream["raw_time"].values
        triples = triples[measurement_epochs(triples[:, 0], triples[:, 1], raw_time)[-1]]
    if triples is None or len(triples) < _FEWEST_OFFSETS:
        return {"clock_drift_ppm": float("nan"), "sync_error_seconds": float("nan")}
    at, offset, round_trip = triples.T
    line = fit_clock(at, offset)
    fitted = line.intercept_seconds + line.drift * (at - line.centre_seconds)
    scatter = float(np.percentile(np.abs(offset - fitted), 95))
    return {
        "clock_drift_ppm": -1e6 * line.drift,
        "sync_error_seconds": max(scatter, float(round_trip.min()) / 2),
    }
