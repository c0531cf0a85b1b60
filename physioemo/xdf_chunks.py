"""Chunks of an XDF file: where each begins and ends, and whether its content can be right.

An XDF file (https://github.com/sccn/xdf/wiki/Specifications) is a run of chunks: the number of
bytes of the length (1, 4 or 8), the length, a tag, for most tags the number of a stream, and the
content. Nothing in it is a checksum. What can be checked is checked: a content must end exactly
where its chunk ends, a stamp has 0 or 8 bytes, a boundary is one fixed number, XML must parse.
"""

import re
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "BOUNDARY",
    "MAGIC",
    "Chunk",
    "Samples",
    "Tag",
    "candidates",
    "chunk_at",
    "decode_numbers",
    "decode_texts",
    "fill_stamps",
    "parse_xml",
]

MAGIC = b"XDF:"
BOUNDARY = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")

_LENGTH_BYTES = (1, 4, 8)
_STAMP_BYTES = 8
# The length's own length, the length, a known tag; overlapping matches through the lookahead.
_HEADER = re.compile(rb"(?=(?:\x01.|\x04.{4}|\x08.{6}\0\0)[\x01-\x06]\0)", re.DOTALL)


class Tag(IntEnum):
    """What a chunk holds."""

    FILE_HEADER = 1
    STREAM_HEADER = 2
    SAMPLES = 3
    CLOCK_OFFSET = 4
    BOUNDARY = 5
    STREAM_FOOTER = 6


_OF_A_STREAM = {Tag.STREAM_HEADER, Tag.SAMPLES, Tag.CLOCK_OFFSET, Tag.STREAM_FOOTER}


class Chunk(NamedTuple):
    """Place of a chunk: bytes `start` to `end`, the content from `content` on."""

    start: int
    content: int
    end: int
    tag: int
    stream: int


class Samples(NamedTuple):
    """Content of a chunk of samples.

    Parameters
    ----------
    stamps : ndarray, shape (time,)
        Seconds; NaN where the file has none and it follows from the one before.
    stated : ndarray of bool, shape (time,)
        Whether the file has the stamp.
    values : ndarray, shape (time, channel)
        Numbers as in the file, or texts.
    n_mended : int
        Texts with bytes that are not UTF-8, which were replaced.
    """

    stamps: np.ndarray
    stated: np.ndarray
    values: np.ndarray
    n_mended: int = 0


def chunk_at(buffer: Any, position: int) -> Chunk | None:
    """Return the chunk whose header stands at a position; None if none can stand there.

    Its end may lie beyond the buffer: then it is cut off, or its length is wrong.
    """
    head = bytes(buffer[position : position + 15])
    if not head or head[0] not in _LENGTH_BYTES or len(head) < 3 + head[0]:
        return None
    after = 1 + head[0]
    length = int.from_bytes(head[1:after], "little")
    tag = int.from_bytes(head[after : after + 2], "little")
    own = 6 if tag in _OF_A_STREAM else 2
    if length < own or len(head) < after + own:
        return None
    stream = int.from_bytes(head[after + 2 : after + own], "little")
    content = position + after + own
    return Chunk(position, content, position + after + length, tag, stream)


def candidates(buffer: Any, position: int) -> Iterator[Chunk]:
    """Yield what may be chunks from a position on, by their headers alone."""
    for match in _HEADER.finditer(buffer, position):
        chunk = chunk_at(buffer, match.start())
        if chunk is not None and chunk.end <= len(buffer):
            yield chunk


def parse_xml(content: bytes | str) -> Any:
    """Return the root element of an XML text.

    Raises
    ------
    ValueError
        If it is not XML, or declares entities, which no header has and which may explode.
    """
    from xml.etree.ElementTree import ParseError, fromstring

    text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("a document type in XML")
    try:
        return fromstring(text)  # noqa: S314 (entities are refused above)
    except ParseError as error:
        raise ValueError(str(error)) from error


def _count(content: bytes, position: int) -> tuple[int, int]:
    """Return a number of variable length and the position after it."""
    width = content[position]
    end = position + 1 + width
    if width not in _LENGTH_BYTES or end > len(content):
        raise ValueError("a number with a wrong length")
    return int.from_bytes(content[position + 1 : end], "little"), end


def decode_numbers(
    content: bytes, n_channels: int, dtype: np.dtype[Any], *, cut: bool = False
) -> Samples:
    """Return the samples of a chunk of numbers.

    Parameters
    ----------
    content : bytes
        The content after the stream's number.
    n_channels : int
        Channels of the stream.
    dtype : dtype
        Little-endian number type.
    cut : bool
        The file ends within the chunk: return the samples that are whole.

    Raises
    ------
    ValueError, IndexError
        If the content does not end exactly with the last value, or a stamp has another length.
    """
    n, first = _count(content, 0)
    size = n_channels * dtype.itemsize
    starts = _sample_starts(content, n, first, size, cut=cut)
    raw = np.frombuffer(content, np.uint8)
    stated = raw[starts] == _STAMP_BYTES
    stamps = np.full(len(starts), np.nan)
    stamps[stated] = _gather(raw, starts[stated] + 1, _STAMP_BYTES).view("<f8")[:, 0]
    values = _gather(raw, starts + 1 + _STAMP_BYTES * stated, size).view(dtype)
    return Samples(stamps, stated, values.reshape(len(starts), n_channels))


def _gather(raw: np.ndarray, starts: np.ndarray, size: int) -> np.ndarray:
    """Return `size` bytes from each start, shape (start, size)."""
    step = starts[1] - starts[0] if len(starts) > 1 else size
    if len(starts) and (np.diff(starts) == step).all():
        # Equal distances: a view instead of an index per byte.
        shape, strides = (len(starts), size), (int(step), 1)
        view = np.lib.stride_tricks.as_strided(raw[starts[0] :], shape, strides)
        return np.ascontiguousarray(view)
    return raw[starts[:, None] + np.arange(size)].reshape(-1, size)


def _sample_starts(content: bytes, n: int, first: int, size: int, *, cut: bool) -> np.ndarray:
    """Return where the samples of a chunk begin, each at the length of its stamp."""
    if not cut:
        n_stated, rest = divmod(len(content) - first - n * (1 + size), _STAMP_BYTES)
        if rest or not 0 <= n_stated <= n:
            raise ValueError("samples that do not fill their chunk")
        if n_stated in (0, n):
            width = _STAMP_BYTES if n_stated else 0
            starts = first + np.arange(n) * (1 + width + size)
            if (np.frombuffer(content, np.uint8)[starts] != width).any():
                raise ValueError("a stamp with a wrong length")
            return starts
    return _walk(content, n, first, size, cut=cut)


def _walk(content: bytes, n: int, first: int, size: int, *, cut: bool) -> np.ndarray:
    starts: list[int] = []
    position = first
    while len(starts) < n and position < len(content):
        width = content[position]
        if width not in (0, _STAMP_BYTES):
            raise ValueError("a stamp with a wrong length")
        end = position + 1 + width + size
        if end > len(content):
            break
        starts.append(position)
        position = end
    if not cut and (len(starts) < n or position != len(content)):
        raise ValueError("samples that do not fill their chunk")
    return np.array(starts, int)


def decode_texts(content: bytes, n_channels: int, *, cut: bool = False) -> Samples:
    """Return the samples of a chunk of texts, see :func:`decode_numbers`."""
    n, position = _count(content, 0)
    stamps: list[float | None] = []
    rows: list[list[bytes]] = []
    while len(rows) < n:
        try:
            stamp, row, position = _text_sample(content, position, n_channels)
        except (ValueError, IndexError):
            if not cut:
                raise
            break
        stamps.append(stamp)
        rows.append(row)
    if not cut and position != len(content):
        raise ValueError("texts that do not fill their chunk")
    values = np.empty((len(rows), n_channels), object)
    n_mended = 0
    for i, row in enumerate(rows):
        for j, raw in enumerate(row):
            values[i, j] = raw.decode("utf-8", "replace")
            n_mended += values[i, j].encode() != raw
    stated = np.array([s is not None for s in stamps], bool)
    found = np.array([np.nan if s is None else s for s in stamps], float)
    return Samples(found, stated, values, n_mended)


def _text_sample(
    content: bytes, position: int, n_channels: int
) -> tuple[float | None, list[bytes], int]:
    width = content[position]
    if width not in (0, _STAMP_BYTES):
        raise ValueError("a stamp with a wrong length")
    position += 1
    stamp: float | None = None
    if width:
        if position + width > len(content):
            raise ValueError("a stamp that is cut off")
        stamp = struct.unpack_from("<d", content, position)[0]
        position += width
    row = []
    for _ in range(n_channels):
        length, start = _count(content, position)
        position = start + length
        if position > len(content):
            raise ValueError("a text that is cut off")
        row.append(content[start:position])
    return stamp, row, position


def fill_stamps(stamps: np.ndarray, stated: np.ndarray, step: float) -> np.ndarray:
    """Return the stamps with those that the file leaves out: each the one before and a step.

    Parameters
    ----------
    stamps : ndarray, shape (time,)
        Seconds, anything where the file states none.
    stated : ndarray of bool, shape (time,)
        Whether the file states the stamp.
    step : float
        Seconds between two samples, 0 for an irregular stream.
    """
    if stated.all():
        return stamps
    filled = stamps.copy()
    edges = np.flatnonzero(stated)
    starts = edges if len(edges) and edges[0] == 0 else np.concatenate([[0], edges])
    stops = np.append(starts[1:], len(stamps))
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        # One addition after the other, as every reader of XDF does it: the same last bits.
        steps = np.full(stop - start, step)
        steps[0] = stamps[start] if stated[start] else step
        filled[start:stop] = np.add.accumulate(steps)
    return filled
