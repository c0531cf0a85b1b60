"""Recordings from OpenSignals (PLUX): HDF5 files and text files.

A text file begins with ``# OpenSignals Text File Format``, then one line of JSON with a header for
each device by its address, then ``# EndOfHeader`` and the columns of all devices side by side. An
HDF5 file has one group per device with the same facts as attributes, and the samples under
``raw``. Rate, resolution and sensors come from the header; counts become physical units only where
it names a sensor with a transfer function (:mod:`physioemo.opensignals_sensors`).

Each device becomes a stream, and its digital lines another. ``time`` counts from the first sample
by the device's own sequence numbers, so that lost samples are gaps. In a file of several devices,
and where the numbers cannot be used, it counts rows, and a note says so. The header's wall clock
is only a note: clocks of two computers differ by seconds, and no time zone is stated.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.description import StreamDescription, group_key
from physioemo.device_export import export_recording, first_bytes, read_text, unreadable
from physioemo.errors import UnreadableFileError
from physioemo.opensignals_sensors import COUNT_UNIT, sensor_of
from physioemo.opensignals_time import OpenSignalsDevice, sample_times
from physioemo.recording import Recording
from physioemo.stream import make_stream

__all__ = ["is_opensignals", "read_opensignals"]

_TITLE = b"# OpenSignals Text File Format"
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def is_opensignals(path: str | Path) -> bool:
    """Return whether a file looks like one of OpenSignals."""
    path = Path(path)
    head = first_bytes(path, 64)
    if head.startswith(_TITLE):
        return True
    if not head.startswith(_HDF5_MAGIC):
        return False
    import h5py

    try:
        with h5py.File(path) as file:
            return any(
                isinstance(g, h5py.Group) and "raw" in g and "sampling rate" in g.attrs
                for g in file.values()
            )
    except (OSError, RuntimeError, KeyError):
        # Damaged, but the name says what it was meant to be only to its own reader.
        return False


def read_opensignals(path: str | Path) -> Recording:
    """Read a file of OpenSignals.

    Parameters
    ----------
    path : str or Path
        A ``.h5`` or ``.txt`` file.

    Returns
    -------
    Recording
        One stream per device by its address, and one of its digital lines.

    Raises
    ------
    UnreadableFileError
        If the file is damaged or does not say rate, resolution or sensors.
    """
    path = Path(path)
    is_text = first_bytes(path, 64).startswith(_TITLE)
    devices = _read_text_devices(path) if is_text else _read_hdf5_devices(path)
    streams: dict[str, xr.Dataset] = {}
    notes: list[str] = []
    for device in devices:
        time, found = sample_times(device, synchronised=len(devices) > 1)
        notes += found
        streams[group_key(device.address.replace(":", "-"), streams)] = _analog(device, time, path)
        if device.digital:
            key = group_key(f"{device.address.replace(':', '-')} digital", streams)
            streams[key] = _digital(device, time)
    if len({d.started for d in devices}) > 1:
        starts = ", ".join(f"{d.address} {d.started}" for d in devices)
        notes.append(f"the devices' headers state different starts ({starts}); both begin at 0")
    attrs = {
        "source_file": path.name,
        "clock": "seconds since the first sample of each device",
        "device": ", ".join(d.model for d in devices),
        "device_date": devices[0].started,
        "notes": notes,
    }
    return export_recording(streams, [], attrs)


def _analog(device: OpenSignalsDevice, time: np.ndarray, path: Path) -> xr.Dataset:
    sensors = [sensor_of(device.model, name) for name in device.sensors]
    columns, converted = [], any(s.transfer for s in sensors)
    for i, (sensor, bits) in enumerate(zip(sensors, device.bits, strict=True)):
        counts = device.samples[:, i]
        outside = np.flatnonzero((counts < 0) | (counts >= 2**bits))
        if len(outside):
            raise unreadable(
                path,
                f"the count {counts[outside[0]]:g} in channel {device.labels[i]!r}",
                f"0 to {2**bits - 1} at the stated {bits} bits; the file is damaged",
            )
        columns.append(sensor.transfer(counts, bits) if sensor.transfer else counts)
    kinds = {s.modality for s in sensors}
    return make_stream(
        np.stack(columns, axis=1),
        StreamDescription(
            device.address,
            kinds.pop() if len(kinds) == 1 else "physiology",
            device.sfreq,
            tuple(_unique(device.labels)),
            tuple(s.unit for s in sensors),
            "double64" if converted else "int32",
            ch_types=tuple(s.modality for s in sensors),
            source_id=f"opensignals-{device.address}",
        ),
        time=time,
    )


def _digital(device: OpenSignalsDevice, time: np.ndarray) -> xr.Dataset:
    return make_stream(
        np.stack(list(device.digital.values()), axis=1),
        StreamDescription(
            f"{device.address} digital",
            "stim",
            device.sfreq,
            tuple(device.digital),
            (COUNT_UNIT,) * len(device.digital),
            "int32",
            source_id=f"opensignals-{device.address}-digital",
        ),
        time=time,
    )


def _unique(labels: list[str]) -> list[str]:
    return [n if labels.count(n) == 1 else f"{n}-{i + 1}" for i, n in enumerate(labels)]


def _header(
    fields: dict[str, Any], address: str, sensors: list[str], labels: list[str], path: Path
) -> dict[str, Any]:
    """Return the arguments of a device that both kinds of file state, checked."""
    try:
        sfreq, n = float(fields["sampling rate"]), len(sensors)
        bits = [int(b) for b in np.atleast_1d(fields["resolution"])]
        # BITalino states the sequence number's and the digital lines' bits first.
        bits = bits[len(bits) - n :]
        if not 0 < sfreq <= 1e5 or len(bits) != n or len(labels) != n or not n:
            raise ValueError(f"{sfreq:g} Hz, {len(bits)} resolutions for {n} channels")
        if not all(1 <= b <= 24 for b in bits):
            raise ValueError(f"a resolution of {max(bits)} bits")
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(
            path,
            f"a header of the device {address} that cannot be used ({error})",
            "its sampling rate and the resolution, sensor and label of each channel; export the "
            "recording again",
        ) from error
    started = f"{fields.get('date', '')} {fields.get('time', '')}".strip()
    return {
        "address": address,
        "model": str(fields.get("device", "")),
        "sfreq": sfreq,
        "bits": bits,
        "sensors": sensors,
        "labels": labels,
        "started": started,
    }


def _read_text_devices(path: Path) -> list[OpenSignalsDevice]:
    lines = read_text(path).splitlines()
    try:
        end = next(i for i, line in enumerate(lines[:50]) if line.strip() == "# EndOfHeader")
        header = json.loads("".join(line.lstrip("# ") for line in lines[1:end]))
        columns = {a: [str(c) for c in f["column"]] for a, f in header.items()}
    except (
        StopIteration,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise unreadable(
            path,
            f"no header ({type(error).__name__})",
            "a line of JSON with 'column' for each device, then '# EndOfHeader'",
        ) from error
    table = _columns(lines, end + 1, sum(map(len, columns.values())), path)
    devices, at = [], 0
    for address, names in columns.items():
        part = table[:, at : at + len(names)]
        at += len(names)
        devices.append(_text_device(header[address], address, names, part, path))
    if not devices or not len(table):
        raise unreadable(path, "no samples", "lines of numbers after the header")
    return devices


def _text_device(
    fields: dict[str, Any], address: str, names: list[str], part: np.ndarray, path: Path
) -> OpenSignalsDevice:
    sensors = [str(s) for s in fields.get("sensor", [])]
    labels = names[len(names) - len(sensors) :] if sensors else []
    known = _header(fields, address, sensors, labels, path)
    rest = names[: len(names) - len(sensors)]
    sequence = part[:, rest.index("nSeq")] if "nSeq" in rest else None
    digital = {n: part[:, i] for i, n in enumerate(rest) if n != "nSeq"}
    analog = part[:, len(rest) :]
    return OpenSignalsDevice(samples=analog, sequence=sequence, digital=digital, **known)


def _columns(lines: list[str], first: int, n_columns: int, path: Path) -> np.ndarray:
    rows = np.empty((len(lines) - first, n_columns))
    n = 0
    for number, line in enumerate(lines[first:], first + 1):
        words = line.split()
        if not words:
            continue
        try:
            rows[n] = [int(w) for w in words]
        except (ValueError, OverflowError) as error:
            raise unreadable(
                path,
                f"the line {line[:60]!r} (line {number})",
                f"{n_columns} whole numbers; the file is damaged, or holds converted values "
                "instead of counts: export the raw data",
            ) from error
        n += 1
    return rows[:n]


def _read_hdf5_devices(path: Path) -> list[OpenSignalsDevice]:
    import h5py

    try:
        with h5py.File(path) as file:
            groups = {a: g for a, g in file.items() if isinstance(g, h5py.Group) and "raw" in g}
            if not groups:
                raise unreadable(path, "no device", "a group per device with its samples in 'raw'")
            return [_hdf5_device(address, group, path) for address, group in groups.items()]
    except UnreadableFileError:
        raise
    except Exception as error:  # h5py raises whatever the damage makes the library raise
        raise unreadable(
            path,
            f"a damaged HDF5 file ({str(error).splitlines()[0] if str(error) else 'no reason'})",
            "a complete file of OpenSignals; copy it again",
        ) from error


def _hdf5_device(address: str, group: Any, path: Path) -> OpenSignalsDevice:
    raw, fields = group["raw"], dict(group.attrs)
    names = sorted((n for n in raw if n.startswith("channel_")), key=lambda n: int(n[8:]))
    columns = [np.asarray(raw[n][()], float).reshape(-1) for n in names]
    sensors = [str(raw[n].attrs.get("sensor", "")) for n in names]
    labels = [str(raw[n].attrs.get("label", n)) for n in names]
    known = _header(fields, address, sensors, labels, path)
    digital = group.get("digital", {})
    lines = {n: np.asarray(digital[n][()], float).reshape(-1) for n in sorted(digital)}
    sequence = np.asarray(raw["nSeq"][()], float).reshape(-1) if "nSeq" in raw else None
    lengths = {len(c) for c in (*columns, *lines.values())}
    stated = int(fields.get("nsamples", len(columns[0])))
    if lengths != {stated} or (sequence is not None and len(sequence) != stated):
        raise unreadable(
            path,
            f"columns of {sorted(lengths)} samples for the device {address}",
            f"{stated} in each, as its header states; copy the file again",
        )
    samples = np.stack(columns, axis=1)
    return OpenSignalsDevice(samples=samples, sequence=sequence, digital=lines, **known)
