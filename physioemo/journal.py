"""The journal: what a recording writes while it runs.

One append-only file of frames. A frame is a 28-byte header and a payload::

    magic "PEj1" | kind u8 | 0 u8 | stream u16 | length u32 | sequence u64 | payload CRC u32
    | header CRC u32

all little-endian. Nothing that was written is touched again. A reader takes every whole
frame; a frame whose CRC fails costs that frame alone, and a torn tail is where the recording
ends. Payloads: ``SESSION``, ``STREAM``, ``EVENT`` and ``END`` hold JSON; ``SAMPLES`` holds
``count u32 | received f64 | stamps f64[count] | values``; ``CLOCK`` holds three f64 (remote
time, offset, uncertainty). Text values are ``length u32 | bytes``, exactly as received.
"""

import contextlib
import errno
import json
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from physioemo.errors import DiskFullError, StoreError
from physioemo.folder_lock import FolderLock

__all__ = [
    "CHANGED",
    "RECONNECTED",
    "Frame",
    "FrameKind",
    "Journal",
    "count_samples",
    "decode_samples",
    "encode_samples",
    "scan_frames",
]

MAGIC = b"PEj1"
RECONNECTED = "reconnected"
"""Name of the event that stands before the first samples of a stream that came back."""
CHANGED = "changed"
"""Name of the event of a stream that is the continuation of another under another header."""

_HEADER = struct.Struct("<4sBBHIQII")
_SAMPLES = struct.Struct("<Id")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


class FrameKind(IntEnum):
    """What a frame holds."""

    SESSION = 1
    STREAM = 2
    SAMPLES = 3
    CLOCK = 4
    EVENT = 5
    END = 6


class Frame(NamedTuple):
    """One whole frame of a journal."""

    kind: FrameKind
    stream: int
    sequence: int
    payload: memoryview

    def json(self) -> dict[str, Any]:
        """Return the payload of a JSON frame."""
        return json.loads(bytes(self.payload))


def encode_frame(kind: FrameKind, stream: int, sequence: int, payload: bytes) -> bytes:
    """Return the bytes of one frame."""
    head = _HEADER.pack(MAGIC, kind, 0, stream, len(payload), sequence, zlib.crc32(payload), 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(head)) + payload


def encode_samples(stamps: np.ndarray, values: np.ndarray, received_seconds: float) -> bytes:
    """Return the payload of a SAMPLES frame.

    Parameters
    ----------
    stamps : ndarray of float64, shape (time,)
        Device stamps in seconds.
    values : ndarray, shape (time, channel)
        Numbers, or an object array of bytes for text.
    received_seconds : float
        When they arrived on the recorder's clock.
    """
    head = _SAMPLES.pack(len(stamps), received_seconds)
    if values.dtype.kind == "O":
        body = b"".join(struct.pack("<I", len(v)) + v for v in values.ravel())
    else:
        body = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    return head + np.ascontiguousarray(stamps, "<f8").tobytes() + body


def count_samples(payload: memoryview) -> int:
    """Return how many samples a SAMPLES frame holds."""
    return int(_SAMPLES.unpack_from(payload)[0])


def decode_samples(
    payload: memoryview, n_channels: int, dtype: str
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return stamps (time,), values (time, channel) and the time of arrival of a frame.

    An empty `dtype` means text; bytes that are not UTF-8 are shown by the replacement sign.
    """
    count, received = _SAMPLES.unpack_from(payload)
    start = _SAMPLES.size + 8 * count
    stamps = np.frombuffer(payload[_SAMPLES.size : start], "<f8")
    if dtype:
        values = np.frombuffer(payload[start:], dtype).reshape(count, n_channels)
    else:
        values = _decode_text(payload[start:], count * n_channels).reshape(count, n_channels)
    return stamps, values, received


def _decode_text(body: memoryview, n: int) -> np.ndarray:
    values, at = np.empty(n, object), 0
    for i in range(n):
        (length,) = struct.unpack_from("<I", body, at)
        values[i] = bytes(body[at + 4 : at + 4 + length]).decode("utf-8", "replace")
        at += 4 + length
    return values


def scan_frames(buffer: memoryview, damage: list[str] | None = None) -> Iterator[Frame]:
    """Yield every whole frame of a journal.

    Parameters
    ----------
    buffer : memoryview
        The bytes of one journal file.
    damage : list of str, optional
        One sentence is appended for each damaged stretch that was passed over.
    """
    damage = [] if damage is None else damage
    at = 0
    while at + _HEADER.size <= len(buffer):
        magic, kind, _, stream, length, sequence, crc, head_crc = _HEADER.unpack_from(buffer, at)
        body = at + _HEADER.size
        whole_head = magic == MAGIC and zlib.crc32(buffer[at : body - 4]) == head_crc
        if whole_head and body + length > len(buffer):
            break
        if not whole_head:
            after = _next_frame(buffer, at + 1)
            if after is None:
                break
            damage.append(f"bytes {at} to {after} of the journal are damaged and were passed over")
            at = after
            continue
        payload = buffer[body : body + length]
        if zlib.crc32(payload) == crc:
            yield Frame(FrameKind(kind), stream, sequence, payload)
        else:
            damage.append(f"the frame at byte {at} of the journal is damaged and was left out")
        at = body + length
    if at < len(buffer):
        damage.append(f"the last {len(buffer) - at} bytes of the journal are a torn frame")


def _next_frame(buffer: memoryview, start: int) -> int | None:
    """Return where the next valid header begins, or None."""
    data = bytes(buffer[start:])
    at = data.find(MAGIC)
    while at >= 0 and at + _HEADER.size <= len(data):
        head = data[at : at + _HEADER.size]
        if zlib.crc32(head[:-4]) == _HEADER.unpack(head)[-1]:
            return start + at
        at = data.find(MAGIC, at + 1)
    return None


class Journal:
    """The writing end of a journal; safe to append to from several threads.

    Parameters
    ----------
    folder : Path
        Folder to create; an existing one is never touched.
    segment_bytes : int
        A new file is begun after this many bytes.
    ballast_bytes : int
        Space kept aside so that a full disk still takes the last frames and the reason.

    Raises
    ------
    DiskFullError
        If the disk is full or unwritable, now or in :meth:`flush`.
    """

    def __init__(
        self, folder: Path, *, segment_bytes: int = 64 << 20, ballast_bytes: int = 4 << 20
    ) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._ballast = folder / "ballast"
        self._pending: list[bytes] = []
        self._sequence = 0
        self._segment = self._file = -1
        self._written = 0
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        try:
            folder.mkdir(parents=True)
            self._in_use = FolderLock(folder)
        except OSError as error:
            raise self._failure(error) from error
        try:
            self._reserve_ballast(ballast_bytes)
            self._open_next_segment()
        except OSError as error:
            self._release_ballast()
            self._in_use.release()
            raise self._failure(error) from error

    def append(self, kind: FrameKind, stream: int, payload: bytes) -> None:
        """Queue one frame; :meth:`flush` writes it."""
        with self._lock:
            self._pending.append(encode_frame(kind, stream, self._sequence, payload))
            self._sequence += 1

    def append_json(self, kind: FrameKind, stream: int, content: dict[str, Any]) -> None:
        """Queue one JSON frame."""
        self.append(kind, stream, json.dumps(content, ensure_ascii=False).encode())

    def flush(self) -> None:
        """Hand all queued frames to the operating system: they survive a killed process."""
        with self._write_lock:
            with self._lock:
                data, self._pending = b"".join(self._pending), []
            try:
                self._write(data)
            except OSError as error:
                self._release_ballast()
                with contextlib.suppress(OSError):
                    self._write(data)
                raise self._failure(error) from error
            try:
                if self._written >= self._segment_bytes:
                    self._open_next_segment()
            except OSError as error:
                self._release_ballast()
                raise self._failure(error) from error

    def sync(self) -> None:
        """Force what was flushed onto the disk: it survives a power cut.

        A slow disk keeps nobody from flushing meanwhile.
        """
        try:
            with self._write_lock:
                file = os.dup(self._file)
            try:
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Flush, sync and close; the ballast is released."""
        try:
            self.flush()
            self.sync()
        finally:
            os.close(self._file)
            self._release_ballast()
            self._in_use.release()

    def _open_next_segment(self) -> None:
        path = self.folder / f"{self._segment + 1:06d}.journal"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        if self._segment >= 0:
            os.fsync(self._file)
        file = os.open(path, flags, 0o644)
        if self._segment >= 0:
            os.close(self._file)
        self._file, self._written, self._segment = file, 0, self._segment + 1

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        done = 0
        try:
            while done < len(view):
                done += os.write(self._file, view[done:])
        except OSError:
            # Cut back to the last whole write, so that no torn frame precedes later ones.
            os.ftruncate(self._file, self._written)
            os.lseek(self._file, self._written, os.SEEK_SET)
            raise
        self._written += len(view)

    def _reserve_ballast(self, n_bytes: int) -> None:
        with self._ballast.open("xb") as file:
            file.write(b"\0" * n_bytes)
            file.flush()
            os.fsync(file.fileno())

    def _release_ballast(self) -> None:
        with contextlib.suppress(OSError):
            self._ballast.unlink(missing_ok=True)

    def _failure(self, error: OSError) -> StoreError:
        kind = DiskFullError if error.errno in _FULL else StoreError
        return kind(
            f"found that {self.folder.parent} cannot be written to ({error.strerror}), expected "
            "free space for the recording; everything written before is kept: free some space, "
            "then run 'physioemo inspect' on it"
        )
