"""A silent stream: find it again when its program is back under another connection.

liblsl reconnects by itself when a program comes back with the same ``source_id``. Now and then it
does not: its inlet stays connected to nothing, and delivers nothing for ever. So while a stream is
silent the recorder asks the network itself, and opens a new inlet if the stream is there under
another ``uid``.
"""

from typing import Any

from physioemo.acquisition.lsl import open_inlet
from physioemo.description import StreamDescription
from physioemo.errors import StreamError

__all__ = ["ReturnWatch", "find_return"]

_LOOK_SECONDS = 0.5
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


def find_return(description: StreamDescription, known_uids: set[str]) -> Any | None:
    """Return an open inlet of a stream that is back under a uid that is not known, or None.

    Parameters
    ----------
    description : StreamDescription
        The stream as it was; without a ``source_id`` nothing says that another is the same.
    known_uids : set of str
        Connections that were open before; the new one is added.

    Raises
    ------
    StreamError
        If it came back with other channels, or as two streams.
    """
    import pylsl

    if not description.source_id:
        return None
    found = {
        info.uid(): info
        for info in pylsl.resolve_byprop("source_id", description.source_id, 1, _LOOK_SECONDS)
        if info.name() == description.name and info.uid() not in known_uids
    }
    if not found:
        return None
    if len(found) > 1:
        hosts = ", ".join(sorted(info.hostname() for info in found.values()))
        raise StreamError(
            f"it came back {len(found)} times (on {hosts}), expected once; close the others"
        )
    (uid, info), *_ = found.items()
    number = int(getattr(pylsl, f"cf_{description.channel_format}"))
    if info.channel_count() != len(description.ch_names) or info.channel_format() != number:
        raise StreamError(
            f"it came back with {info.channel_count()} channels or samples of another kind, "
            f"expected {len(description.ch_names)} of {description.channel_format}; start a new "
            "recording"
        )
    inlet, _ = open_inlet(info)
    known_uids.add(uid)
    return inlet
