"""Reading a journal back: what was recorded up to the last whole frame."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.clock_epochs import Connection
from physioemo.description import CHANNEL_FORMATS, StreamDescription, group_key
from physioemo.errors import DamagedRecordingError
from physioemo.journal import (
    RECONNECTED,
    Frame,
    FrameKind,
    count_samples,
    decode_samples,
    scan_frames,
)
from physioemo.stream import make_stream

__all__ = ["JournalContents", "journal_segments", "load_journal_stream", "read_journal"]


@dataclass
class JournalContents:
    """Everything in a journal but the samples.

    Parameters
    ----------
    folder : Path
        Where the journal lies.
    session : dict
        Session attributes as the recorder wrote them.
    keys : dict of int to str
        Stream number to group name.
    descriptions : dict of int to StreamDescription
        Stream number to description.
    clock_offsets : dict of int to list of (3,) arrays
        Remote time, offset, uncertainty in seconds.
    events : list of dict
        Events of the recorder itself.
    end : dict or None
        Why and when the recording ended; None if it was cut off.
    damage : list of str
        One sentence per damaged stretch.
    """

    folder: Path
    session: dict[str, Any] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)
    descriptions: dict[int, StreamDescription] = field(default_factory=dict)
    clock_offsets: dict[int, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    events: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    damage: list[str] = field(default_factory=list)


def journal_segments(folder: Path) -> list[Path]:
    """Return the files of a journal in order."""
    return sorted(folder.glob("*.journal"))


def _frames(folder: Path, damage: list[str] | None = None) -> Iterator[Frame]:
    for segment in journal_segments(folder):
        found: list[str] = []
        yield from scan_frames(memoryview(segment.read_bytes()), found)
        if damage is not None:
            damage.extend(f"{segment.name}: {sentence}" for sentence in found)


def read_journal(folder: Path) -> JournalContents:
    """Return everything in a journal but the samples.

    Raises
    ------
    DamagedRecordingError
        If not even the session frame can be read.
    """
    contents = JournalContents(folder)
    for frame in _frames(folder, contents.damage):
        match frame.kind:
            case FrameKind.SESSION:
                contents.session = frame.json()
            case FrameKind.STREAM:
                description = StreamDescription.from_dict(frame.json())
                key = group_key(description.name, contents.keys.values())
                contents.keys[frame.stream] = key
                contents.descriptions[frame.stream] = description
            case FrameKind.CLOCK:
                contents.clock_offsets[frame.stream].append(np.frombuffer(frame.payload, "<f8"))
            case FrameKind.EVENT:
                contents.events.append(frame.json())
            case FrameKind.END:
                contents.end = frame.json()
    if not contents.session:
        raise DamagedRecordingError(
            f"found no readable session frame in {folder}, expected a journal written by "
            "'physioemo record'; nothing can be recovered from it"
        )
    return contents


def load_journal_stream(contents: JournalContents, number: int) -> xr.Dataset:
    """Return one stream of a journal, from its first to its last whole frame."""
    description = contents.descriptions[number]
    n_channels, dtype = len(description.ch_names), CHANNEL_FORMATS[description.channel_format]
    lengths, back = _outline(contents.folder, number)
    # Filled frame by frame: a recording of hours is in memory once, not twice.
    stamps, values = np.zeros(sum(lengths)), np.zeros((sum(lengths), n_channels), dtype or object)
    # A sample without a stamp gets the one that its own clock showed when it arrived.
    n_unstamped, offset_then, at = 0, 0.0, 0
    for frame in _frames(contents.folder):
        if frame.stream != number:
            continue
        if frame.kind is FrameKind.CLOCK:
            offset_then = float(np.frombuffer(frame.payload, "<f8")[1])
        elif frame.kind is FrameKind.SAMPLES:
            if at + count_samples(frame.payload) > len(stamps):
                break  # written since, by a recorder that goes on
            part, rows, received = decode_samples(frame.payload, n_channels, dtype)
            unstamped = ~np.isfinite(part)
            n_unstamped += int(unstamped.sum())
            stop = at + len(part)
            stamps[at:stop] = np.where(unstamped, received - offset_then, part)
            values[at:stop] = rows
            at = stop
    offsets = contents.clock_offsets.get(number)
    stream = make_stream(
        values,
        description,
        raw_time=stamps,
        clock_offsets=np.stack(offsets) if offsets else None,
        connections=_connections(back, lengths),
    )
    return stream.assign_attrs(n_unstamped_samples=n_unstamped) if n_unstamped else stream


def _outline(folder: Path, number: int) -> tuple[list[int], list[tuple[int, float]]]:
    """Return the length of each frame of samples, and before which a stream came back, and when.

    The first length is that of nothing, before the first frame.
    """
    lengths: list[int] = [0]
    back: list[tuple[int, float]] = []
    for frame in _frames(folder):
        if frame.stream != number:
            continue
        if frame.kind is FrameKind.EVENT and frame.json().get("event") == RECONNECTED:
            back.append((len(lengths), float(frame.json()["local_seconds"])))
        elif frame.kind is FrameKind.SAMPLES:
            lengths.append(count_samples(frame.payload))
    return lengths, back


def _connections(back: list[tuple[int, float]], lengths: list[int]) -> list[Connection]:
    ends = np.cumsum(lengths).tolist()
    # The frame after a connection was noticed may begin with samples of the one before.
    return [
        Connection(ends[frame - 1], ends[min(frame, len(ends) - 1)], seconds)
        for frame, seconds in back
    ]
