"""Continuous Neuroscan files (``.cnt``, version 3) of 32-bit samples, checked before they are read.

A header of 900 bytes (structure ``SETUP``), 75 bytes per electrode (``ELECTLOC``), the samples
multiplexed one electrode after another, and a table of events (``TEEG``); all little-endian, as
written down by Paul Bourke, "NeuroScan EEG File Formats" (``sethead.h``, 1997). A sample in
microvolts is ``(count - baseline) * sensitivity * calib / 204.8``. The file has no checksum: a
changed sample cannot be told from a true one, but every size in the header is held against the
file before anything is made room for.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from physioemo.errors import CallError, UnreadableFileError

__all__ = ["ELECTRODE_BYTES", "SETUP_BYTES", "CntHeader", "read_cnt", "read_cnt_header"]

SETUP_BYTES, ELECTRODE_BYTES = 900, 75
_CHANNELS_AT, _RATE_AT, _SAMPLES_AT, _EVENTS_AT, _BLOCK_AT = 370, 376, 864, 886, 894
_SAMPLE_BYTES = 4
_EVENTS_HEAD_BYTES = 9
_EVENT_BYTES = {1: 8, 2: 19, 3: 19}
_MULTIPLEXED = (0, 1, _SAMPLE_BYTES)
_GAIN_UV = (1e-5, 1e3)
_CHUNK_SAMPLES = 10_000
_ELECTRODE = np.dtype(
    {
        "names": ["label", "baseline", "sensitivity", "calibration"],
        "formats": ["S10", "<i2", "<f4", "<f4"],
        "offsets": [0, 47, 59, 71],
        "itemsize": ELECTRODE_BYTES,
    }
)


@dataclass(frozen=True)
class CntHeader:
    """What a file says of itself.

    Parameters
    ----------
    path : Path
        The file.
    ch_names : tuple of str
        Electrode labels as they are written.
    sfreq : float
        Rate in Hz.
    n_samples : int
        Samples per channel.
    baselines : tuple of int
        What is taken from a channel's counts.
    gains : tuple of float
        Microvolts per count of each channel.
    """

    path: Path
    ch_names: tuple[str, ...]
    sfreq: float
    n_samples: int
    baselines: tuple[int, ...]
    gains: tuple[float, ...]


def read_cnt_header(path: Path) -> CntHeader:
    """Return the header of a file whose sizes fit the file.

    Raises
    ------
    UnreadableFileError
        If it is no such file, or one of 16-bit samples or of samples in blocks, or damaged.
    """
    try:
        with path.open("rb") as file:
            return _header(file, path)
    except OSError as error:
        raise _damaged(path, f"that it cannot be opened ({error.strerror})") from error


def read_cnt(
    header: CntHeader, start: int, stop: int, channels: Sequence[int], out: np.ndarray
) -> None:
    """Read samples `start` to `stop` of some channels, in microvolts.

    Parameters
    ----------
    header : CntHeader
        From :func:`read_cnt_header`.
    start, stop : int
        Samples; they must be in the file.
    channels : sequence of int
        Positions in ``header.ch_names``.
    out : ndarray, shape (stop - start, channel)
        Filled in place.

    Raises
    ------
    CallError
        If the file has no such samples.
    UnreadableFileError
        If the file ends early.
    """
    n, picks = len(header.ch_names), list(channels)
    if not 0 <= start <= stop <= header.n_samples or out.shape != (stop - start, len(picks)):
        raise CallError(
            f"found samples {start} to {stop} wanted of {header.path} with {header.n_samples}, "
            f"for an array of shape {out.shape}; expected samples of the file and room for them"
        )
    baselines, gains = np.array(header.baselines)[picks], np.array(header.gains)[picks]
    with header.path.open("rb") as file:
        file.seek(SETUP_BYTES + n * (ELECTRODE_BYTES + start * _SAMPLE_BYTES))
        for first in range(0, len(out), _CHUNK_SAMPLES):
            part = out[first : first + _CHUNK_SAMPLES]
            counts = np.fromfile(file, "<i4", len(part) * n)
            if counts.size != len(part) * n:
                raise _damaged(header.path, "that it ends early")
            part[:] = (counts.reshape(-1, n)[:, picks] - baselines) * gains


def _header(file: BinaryIO, path: Path) -> CntHeader:
    size = file.seek(0, 2)
    file.seek(0)
    setup = file.read(SETUP_BYTES)
    if len(setup) < SETUP_BYTES or not setup.startswith(b"Version 3"):
        raise _damaged(path, f"{setup[:12]!r} at its start and {size} bytes")
    (n,) = struct.unpack_from("<H", setup, _CHANNELS_AT)
    (rate,) = struct.unpack_from("<H", setup, _RATE_AT)
    n_samples, events = (struct.unpack_from("<i", setup, at)[0] for at in (_SAMPLES_AT, _EVENTS_AT))
    (block,) = struct.unpack_from("<i", setup, _BLOCK_AT)
    expected = SETUP_BYTES + n * (ELECTRODE_BYTES + n_samples * _SAMPLE_BYTES)
    if n < 1 or rate < 1 or n_samples < 1 or events != expected or events > size:
        raise _damaged(
            path,
            f"{n} channels of {n_samples} samples at {rate} Hz, and the table of events at byte "
            f"{events} of {size} where samples of 32 bits would end at {expected},",
        )
    if block not in _MULTIPLEXED:
        raise _damaged(path, f"samples in blocks of {block} bytes")
    _check_events(file, events, size, path)
    file.seek(SETUP_BYTES)
    return _with_electrodes(file.read(n * ELECTRODE_BYTES), rate, n_samples, path)


def _check_events(file: BinaryIO, at: int, size: int, path: Path) -> None:
    file.seek(at)
    head = file.read(_EVENTS_HEAD_BYTES).ljust(_EVENTS_HEAD_BYTES, b"\0")
    kind, length, _ = struct.unpack("<Bii", head)
    each = _EVENT_BYTES.get(kind)
    if not each or not 0 <= length <= size - at - _EVENTS_HEAD_BYTES or length % each:
        raise _damaged(path, f"a table of events of kind {kind} and {length} bytes at byte {at}")


def _with_electrodes(data: bytes, rate: int, n_samples: int, path: Path) -> CntHeader:
    table = np.frombuffer(data, _ELECTRODE)
    labels = [bytes(label).split(b"\0")[0] for label in table["label"]]
    with np.errstate(all="ignore"):
        gains = table["sensitivity"].astype(float) * table["calibration"] / 204.8
    for label, gain in zip(labels, gains, strict=True):
        if not label.strip().isalnum():  # also true of no label at all
            raise _damaged(path, f"the electrode {label!r}")
        if not _GAIN_UV[0] <= gain <= _GAIN_UV[1]:
            raise _damaged(path, f"{gain:g} microvolts per count for electrode {label.decode()}")
    names = tuple(label.decode("ascii").strip() for label in labels)
    return CntHeader(
        path,
        names,
        float(rate),
        n_samples,
        tuple(table["baseline"].tolist()),
        tuple(gains.tolist()),
    )


def _damaged(path: Path, found: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"found {found} in {path}, expected a whole Neuroscan file of version 3 with 32-bit "
        "samples, one channel after another; the file is damaged or of another kind"
    )
