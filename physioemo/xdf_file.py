"""Everything that an XDF file holds, whole or damaged, as it stands in the file.

The file is read chunk by chunk (:mod:`physioemo.xdf_chunks`). A chunk that cannot be right is left
out, and reading goes on at the next one that is: the chunk that follows, or else the next place
where a whole, valid chunk stands. A file that ends within a chunk of samples keeps those that are
whole. Each of these is told in a sentence; nothing is made up in the place of what is missing.

XDF has no checksums. What is wrong inside a sample, a stamp or a clock offset (a flipped bit, bytes
that were overwritten) cannot be seen in the file, nor in the letters of a header, nor that two
streams with equal formats exchanged their numbers.
"""

import gzip
import math
import mmap
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.description import CHANNEL_FORMATS
from physioemo.errors import UnreadableFileError
from physioemo.xdf_chunks import (
    BOUNDARY,
    MAGIC,
    Chunk,
    Samples,
    Tag,
    candidates,
    chunk_at,
    decode_numbers,
    decode_texts,
    fill_stamps,
    parse_xml,
)

__all__ = ["XdfFile", "XdfStream", "read_chunks"]

_MOST_SENTENCES = 20
_SMALLEST_CHUNK_BYTES = 8
_MOST_SEARCHED = 4  # times the size of the file
_LATEST_STAMP_SECONDS = 1e11  # year 5138 in UTC seconds; no clock of a computer shows more


@dataclass
class XdfStream:
    """One stream as the file holds it.

    Parameters
    ----------
    number : int
        The stream's number in the file.
    header, footer : str
        XML; the footer is empty where the file was not closed.
    n_channels, sfreq, channel_format
        What the header says.
    stamps : ndarray, shape (time,)
        Raw stamps in seconds; one that the file leaves out is the one before plus ``1/sfreq``.
    values : ndarray, shape (time, channel)
        Samples in the stream's own number type, or texts.
    clock_offsets : ndarray, shape (measurement, 2)
        Time on the stream's clock and offset, in seconds.
    """

    number: int
    header: str
    n_channels: int
    sfreq: float
    channel_format: str
    footer: str = ""
    stamps: np.ndarray = field(default_factory=lambda: np.zeros(0))
    values: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    clock_offsets: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))

    @property
    def name(self) -> str:
        """The stream's name for people."""
        return parse_xml(self.header).findtext("name") or f"number {self.number}"


@dataclass
class XdfFile:
    """An XDF file: its header (XML), its streams by number, and a sentence per damage."""

    header: str
    streams: dict[int, XdfStream]
    damage: tuple[str, ...]


def read_chunks(path: str | Path) -> XdfFile:
    """Read everything in an XDF file.

    Parameters
    ----------
    path : str or Path
        ``.xdf``, or compressed ``.xdfz`` or ``.xdf.gz``.

    Raises
    ------
    UnreadableFileError
        If it is no XDF file or holds no readable stream.
    """
    path = Path(path)
    damage: list[str] = []
    try:
        buffer = _content(path, damage)
    except OSError as error:
        raise _unreadable(path, str(error)) from error
    if bytes(buffer[: len(MAGIC)]) != MAGIC:
        raise _unreadable(path, f"it begins with {bytes(buffer[:4])!r} and not with 'XDF:'")
    reader = _Reader(buffer, damage)
    reader.read()
    if not reader.parts:
        raise _unreadable(path, "it has no readable stream header")
    streams = {number: parts.stream(damage) for number, parts in reader.parts.items()}
    if len(damage) > _MOST_SENTENCES:
        damage[_MOST_SENTENCES:] = [f"{len(damage) - _MOST_SENTENCES} more damages like these"]
    return XdfFile(reader.header, streams, tuple(damage))


def _unreadable(path: Path, reason: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"found that {path} cannot be read as XDF ({reason}), expected an XDF file; check that "
        "the recording program wrote it and that it was copied whole"
    )


def _content(path: Path, damage: list[str]) -> Any:
    """Return the bytes of a file, without loading it where it is not compressed."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        if not compressed:
            size = path.stat().st_size
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    pieces = []
    try:
        with gzip.open(path) as stream:
            while piece := stream.read1(1 << 16):
                pieces.append(piece)
    except (EOFError, zlib.error, OSError) as error:
        damage.append(f"the compressed file is damaged ({error}) and was read up to there")
    return b"".join(pieces)


class _Parts:
    """What has been read of one stream so far."""

    def __init__(self, number: int, header: str) -> None:
        root = parse_xml(header)
        self.number, self.header, self.footer = number, header, ""
        self.n_channels = int(root.findtext("channel_count", ""))
        self.sfreq = float(root.findtext("nominal_srate", ""))
        self.channel_format = root.findtext("channel_format", "").strip()
        if self.channel_format not in CHANNEL_FORMATS or self.n_channels < 1:
            raise ValueError("a header without a channel format or channels")
        if not (math.isfinite(self.sfreq) and self.sfreq >= 0):
            raise ValueError("a header without a rate")
        dtype = CHANNEL_FORMATS[self.channel_format]
        self.dtype = np.dtype(dtype) if dtype else None
        self.samples: list[Samples] = []
        self.offsets: list[tuple[float, float]] = []
        self.broken = False
        self.n_undated, self.n_doubtful = 0, 0

    def decode(self, content: bytes, *, cut: bool = False) -> Samples:
        if self.dtype is None:
            return decode_texts(content, self.n_channels, cut=cut)
        return decode_numbers(content, self.n_channels, self.dtype, cut=cut)

    def add(self, samples: Samples) -> None:
        """Keep samples; after damage, only from the next stated stamp on."""
        if self.broken:
            first = int(np.argmax(samples.stated)) if samples.stated.any() else len(samples.stated)
            self.n_undated += first
            self.broken = first == len(samples.stated)
            samples = samples._replace(
                stamps=samples.stamps[first:],
                stated=samples.stated[first:],
                values=samples.values[first:],
            )
        self.samples.append(samples)

    def drop_last(self) -> None:
        """Leave out the last sample read: damage follows it directly."""
        last = self.samples[-1]
        self.n_doubtful += len(last.stamps[-1:])
        self.samples[-1] = last._replace(
            stamps=last.stamps[:-1], stated=last.stated[:-1], values=last.values[:-1]
        )

    def stream(self, damage: list[str]) -> XdfStream:
        """Return the stream, and add what was found wrong with it to `damage`."""
        empty = np.empty((0, self.n_channels), self.dtype or object)
        stamps = np.concatenate([np.zeros(0), *(s.stamps for s in self.samples)])
        stated = np.concatenate([np.zeros(0, bool), *(s.stated for s in self.samples)])
        values = np.concatenate([empty, *(s.values for s in self.samples)])
        with np.errstate(invalid="ignore"):
            wild = stated & ~(np.abs(stamps) < _LATEST_STAMP_SECONDS)
        stamps = fill_stamps(stamps, stated & ~wild, 1 / self.sfreq if self.sfreq else 0.0)
        offsets = np.array(self.offsets, float).reshape(-1, 2)
        lost = np.zeros(len(stamps), bool) if not wild.any() else _until_stated(stated, wild)
        kept = np.isfinite(offsets).all(axis=1)
        found = XdfStream(
            self.number,
            self.header,
            self.n_channels,
            self.sfreq,
            self.channel_format,
            self.footer,
            stamps[~lost],
            values[~lost],
            offsets[kept],
        )
        damage.extend(
            f"stream {found.name!r}: {sentence}"
            for sentence in self._sentences(int(lost.sum()), int((~kept).sum()), len(found.stamps))
        )
        return found

    def _sentences(self, n_wild: int, n_bad_offsets: int, n_samples: int) -> list[str]:
        sentences = []
        n_mended = sum(s.n_mended for s in self.samples)
        if self.n_undated:
            sentences.append(
                f"{self.n_undated} samples after damage have no time and were left out"
            )
        if self.n_doubtful:
            sentences.append(f"{self.n_doubtful} samples just before damage were left out")
        if n_wild:
            sentences.append(f"{n_wild} samples with an impossible stamp were left out")
        if n_bad_offsets:
            sentences.append(f"{n_bad_offsets} clock offsets that are no numbers were left out")
        if n_mended:
            sentences.append(f"{n_mended} texts are not UTF-8; what is not was replaced")
        if not self.footer:
            sentences.append("the file has no footer; it was not closed and may be cut off")
        else:
            stated = parse_xml(self.footer).findtext("sample_count", "").strip()
            if stated.isdigit() and int(stated) != n_samples:
                sentences.append(f"the footer counts {stated} samples, the file has {n_samples}")
        return sentences


def _until_stated(stated: np.ndarray, wild: np.ndarray) -> np.ndarray:
    """Return which samples have a wild stamp or one that follows from it."""
    index = np.maximum.accumulate(np.where(stated, np.arange(len(stated)), 0))
    return np.asarray(wild[index])


class _Reader:
    """Walks through the chunks and keeps what is valid."""

    def __init__(self, buffer: Any, damage: list[str]) -> None:
        self.buffer, self.damage = buffer, damage
        self.header = ""
        self.parts: dict[int, _Parts] = {}
        self.refused: set[int] = set()
        self.orphans: Counter[int] = Counter()
        self.searched = 0
        self.last: tuple[_Parts | None, int] = (None, 0)

    def read(self) -> None:
        position = len(MAGIC)
        while position < len(self.buffer):
            chunk = chunk_at(self.buffer, position)
            content = self._decoded(chunk)
            if chunk is None or content is None:
                position = self._skip(position, chunk)
            else:
                self._keep(chunk, content)
                position = chunk.end
        for number, n in sorted(self.orphans.items()):
            self.damage.append(f"{n} chunks of stream {number}, which has no header, left out")

    def _decoded(self, chunk: Chunk | None) -> Any:
        """Return what a chunk holds; None if it cannot be right."""
        if chunk is None or chunk.end > len(self.buffer):
            return None
        content = bytes(self.buffer[chunk.content : chunk.end])
        try:
            return self._content(chunk, content)
        except (ValueError, IndexError):
            return None

    def _content(self, chunk: Chunk, content: bytes) -> Any:
        match chunk.tag:
            case Tag.FILE_HEADER | Tag.STREAM_FOOTER:
                parse_xml(content)
                return content.decode("utf-8", "replace")
            case Tag.STREAM_HEADER:
                return _Parts(chunk.stream, content.decode("utf-8", "replace"))
            case Tag.CLOCK_OFFSET:
                return tuple(np.frombuffer(content, "<f8").tolist()) if len(content) == 16 else None
            case Tag.BOUNDARY:
                return content if content == BOUNDARY else None
            case Tag.SAMPLES if chunk.stream in self.parts:
                return self.parts[chunk.stream].decode(content)
            case Tag.SAMPLES:  # its format is not known: what follows has to fit
                return content if self._fits(chunk.end) else None
        return None

    def _fits(self, position: int) -> bool:
        """Whether the file ends at a position, or a chunk may begin there."""
        chunk = chunk_at(self.buffer, position)
        if chunk is None:
            return len(self.buffer) - position < _SMALLEST_CHUNK_BYTES
        return chunk.tag in set(Tag)

    def _keep(self, chunk: Chunk, content: Any) -> None:
        parts = self.parts.get(chunk.stream)
        match chunk.tag:
            case Tag.FILE_HEADER:
                self.header = content
            case Tag.STREAM_HEADER:
                self._add_stream(content)
            case Tag.BOUNDARY:
                pass
            case _ if parts is None:
                self.orphans[chunk.stream] += 1
            case Tag.SAMPLES:
                parts.add(content)
                self.last = (parts, chunk.end)
            case Tag.CLOCK_OFFSET:
                parts.offsets.append(content)
            case Tag.STREAM_FOOTER:
                parts.footer = content

    def _add_stream(self, parts: _Parts) -> None:
        known = self.parts.get(parts.number)
        if known is None and parts.number not in self.refused:
            self.parts[parts.number] = parts
        elif known is None or known.header != parts.header:
            # Whose samples these are cannot be told any more.
            self.parts.pop(parts.number, None)
            self.refused.add(parts.number)
            self.damage.append(f"stream {parts.number} has two different headers and was left out")

    def _skip(self, position: int, chunk: Chunk | None) -> int:
        """Return where reading goes on after a chunk that cannot be right."""
        size = len(self.buffer)
        after = self._next_valid(position, chunk)
        if after == size and chunk is not None and chunk.end > size:
            self._salvage(chunk)
            return size
        before, end = self.last
        if before is not None and end == position:
            before.drop_last()  # damage that begins within a last sample shows first after it
        for parts in self.parts.values():
            parts.broken = True  # whose samples were lost is not sure: the number may be damaged
        self.damage.append(f"bytes {position} to {after} cannot be read and were left out")
        return after

    def _next_valid(self, position: int, chunk: Chunk | None) -> int:
        """Return where the next valid chunk begins, or the end of the file."""
        size = len(self.buffer)
        if chunk is not None and chunk.end <= size:
            following = chunk_at(self.buffer, chunk.end)
            if chunk.end == size or self._decoded(following) is not None:
                return chunk.end
        for found in candidates(self.buffer, position + 1):
            if not self._fits(found.end):
                continue
            self.searched += found.end - found.start
            if self.searched > _MOST_SEARCHED * size:
                # What is made to look like chunks is not searched for ever.
                boundary = self.buffer.find(BOUNDARY, found.start)
                return size if boundary < 0 else boundary + len(BOUNDARY)
            if self._decoded(found) is not None:
                return found.start
        return size

    def _salvage(self, chunk: Chunk) -> None:
        """Keep the whole samples of a chunk within which the file ends."""
        parts, kept = self.parts.get(chunk.stream), 0
        if chunk.tag == Tag.SAMPLES and parts is not None:
            try:
                samples = parts.decode(bytes(self.buffer[chunk.content :]), cut=True)
            except (ValueError, IndexError):
                pass
            else:
                parts.add(samples)
                kept = len(samples.stamps)
        self.damage.append(
            f"the file ends within a chunk (byte {chunk.start}); {kept} whole samples of it were "
            "kept"
        )
