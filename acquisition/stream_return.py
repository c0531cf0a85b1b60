"""A silent stream: find it again when its program is back under another connection.

liblsl reconnects by itself when a program comes back with the same ``source_id``. Now and then it
does not: its inlet stays connected to nothing, and delivers nothing for ever. So while a stream is
silent the recorder asks the network itself, and opens a new inlet if the stream is there under
another ``uid``.

A program may come back changed: with another cap, other units, twice the rate. Its samples may not
stand under the old names, and may not be lost either: they become a stream of their own.
"""

import re
from typing import Any

from physioemo.acquisition.lsl import open_inlet, xpath_text
from physioemo.description import StreamDescription
from physioemo.errors import StreamError

__all__ = ["ReturnWatch", "find_return", "find_same_return", "read_header", "same_content"]

_LOOK_SECONDS = 0.5
_HEADER_SECONDS = 1.0
_REGULAR_SECONDS, _IRREGULAR_SECONDS = 1.5, 5.0
_MOST_SECONDS = 10.0


class ReturnWatch:
    """When to look for a stream that is silent: rarely, and ever more rarely.

    Parameters
    ----------
    description : StreamDescription
        Of the stream; one that is irregular may be silent for a while.
    """

    def __init__(self, description: StreamDescription) -> None:
        self._first = _REGULAR_SECONDS if description.sfreq > 0 else _IRREGULAR_SECONDS
        self._wait = self._first
        self._due = self._first

    def is_due(self, age_seconds: float) -> bool:
        """Return whether to look now, when the newest sample is so old."""
        if age_seconds < self._first:
            self._wait = self._due = self._first
            return False
        if age_seconds < self._due:
            return False
        self._due = age_seconds + self._wait
        self._wait = min(2 * self._wait, _MOST_SECONDS)
        return True


def find_return(description: StreamDescription, known_uids: set[str]) -> tuple[Any, Any] | None:
    """Return an open inlet, and the header, of a stream that is back under a new uid, or None.

    Parameters
    ----------
    description : StreamDescription
        The stream as it was; without a ``source_id`` nothing says that another is the same.
    known_uids : set of str
        Connections that were open before; the new one is added.

    Raises
    ------
    StreamError
        If it came back as two streams.
    """
    import pylsl

    if not description.source_id:
        return None
    found = {
        info.uid(): info
        for info in pylsl.resolve_bypred(_same(description), 1, _LOOK_SECONDS)
        if info.uid() not in known_uids
    }
    if not found:
        return None
    if len(found) > 1:
        hosts = ", ".join(sorted(info.hostname() for info in found.values()))
        raise StreamError(
            f"it came back {len(found)} times (on {hosts}), expected once; close the others"
        )
    (uid, info), *_ = found.items()
    inlet, full = open_inlet(info)
    known_uids.add(uid)
    return inlet, full


def find_same_return(description: StreamDescription, known_uids: set[str]) -> Any | None:
    """Return an open inlet of a stream that is back as it was, or None.

    One that does not answer yet, or is there twice, may be found later; one with other channels or
    another rate is another stream, which nobody asked for.

    Parameters
    ----------
    description : StreamDescription
        The stream as it was.
    known_uids : set of str
        Connections that were open before; the new one is added.
    """
    try:
        found = find_return(description, known_uids)
    except (RuntimeError, ValueError):  # StreamError, and what pylsl raises
        return None
    if found is None:
        return None
    inlet, header = found
    if _shape(header.as_xml()) == _shape(description.xml):
        return inlet
    inlet.close_stream()
    return None


def _shape(xml: str) -> list[str]:
    """Return what a header says of its samples."""
    fields = r"(<(channel_count|channel_format|nominal_srate|channels)>.*?</\2>)"
    return ["".join(text.split()) for text, _ in re.findall(fields, xml, re.DOTALL)]


def read_header(description: StreamDescription) -> Any | None:
    """Return what a stream that has just come back says of itself, or None if it does not answer.

    liblsl connects again by itself and keeps the header of the first connection.
    """
    import pylsl

    try:
        found = pylsl.resolve_bypred(_same(description), 1, _HEADER_SECONDS)
        if len(found) != 1:
            return None
        return pylsl.StreamInlet(found[0], recover=False, processing_flags=0).info(_HEADER_SECONDS)
    except (OSError, RuntimeError, ValueError):  # whatever pylsl raises: the samples still come
        return None


def same_content(one: StreamDescription, other: StreamDescription) -> bool:
    """Return whether samples of both may stand in one table."""
    words = ("ch_names", "units", "sfreq", "channel_format")
    return all(getattr(one, word) == getattr(other, word) for word in words)


def _same(description: StreamDescription) -> str:
    name, source_id = xpath_text(description.name), xpath_text(description.source_id)
    return f"name={name} and source_id={source_id}"
