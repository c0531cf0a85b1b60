"""What the processes of a session tell each other: JSON objects in two LSL marker streams.

``PhysioEmo-Session`` is what the conductor did, ``PhysioEmo-Operator`` what the operator asked
for. Both are recorded like every stream, so the recording says why everything happened.
"""

import json
import socket
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import (
    clock_offset,
    find_streams,
    make_outlet,
    open_inlet,
    pull,
    push,
)
from physioemo.description import StreamDescription
from physioemo.units import NO_UNIT

__all__ = [
    "COMMANDS",
    "OPERATOR",
    "SESSION",
    "EventInlet",
    "EventOutlet",
    "decode_event",
    "marker_description",
]

SESSION, OPERATOR = "PhysioEmo-Session", "PhysioEmo-Operator"
COMMANDS = ("start", "pause", "resume", "abort", "skip", "note")
"""The events of the operator's stream; a note has a ``text``."""


def marker_description(name: str, token: str = "") -> StreamDescription:
    """Return the description of a stream of JSON objects.

    Parameters
    ----------
    name : str
        Name of the stream.
    token : str
        Part of the source_id that tells two sessions on one computer apart.
    """
    place = f"{socket.gethostname()}-{token}" if token else socket.gethostname()
    return StreamDescription(
        name=name,
        stype="Markers",
        sfreq=0.0,
        ch_names=("marker",),
        units=(NO_UNIT,),
        channel_format="string",
        source_id=f"{name.lower()}-{place}",
    )


def decode_event(text: str | bytes) -> dict[str, Any] | None:
    """Return the object in a marker, or None if it is no JSON object with an ``event``."""
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) and isinstance(content.get("event"), str) else None


class EventOutlet:
    """A stream of events.

    Parameters
    ----------
    name : str
        ``SESSION`` or ``OPERATOR``.
    token : str
        Part of the source_id.
    simulated : bool
        Whether a program stands for a person in this session.
    """

    def __init__(self, name: str, token: str = "", *, simulated: bool = False) -> None:
        self._outlet = make_outlet(marker_description(name, token), simulated=simulated)

    @property
    def has_listeners(self) -> bool:
        """Whether anybody reads it."""
        return bool(self._outlet.have_consumers())

    def send(self, event: str, seconds: float | None = None, **fields: Any) -> float:
        """Publish an event; return its LSL time in seconds.

        Raises
        ------
        TypeError
            If JSON cannot hold a field.
        """
        import pylsl

        stamp = pylsl.local_clock() if seconds is None else seconds
        text = json.dumps({"event": event, **fields}, ensure_ascii=False, allow_nan=False)
        push(self._outlet, np.array([[text]], object), np.array([stamp]))
        return stamp


class EventInlet:
    """The events of somebody else's stream, on this computer's LSL clock.

    Parameters
    ----------
    name : str
        ``SESSION`` or ``OPERATOR``.
    timeout_seconds : float
        How long to look for it.

    Raises
    ------
    NoStreamError
        If it is not there.
    """

    def __init__(self, name: str, timeout_seconds: float = 5.0) -> None:
        infos = find_streams((f"name='{name}'",), timeout_seconds=timeout_seconds)
        self._inlet, _ = open_inlet(infos[-1])
        triple = clock_offset(self._inlet)
        self._offset = 0.0 if triple is None else float(triple[1])

    def poll(self, timeout_seconds: float = 0.0) -> list[tuple[float, dict[str, Any]]]:
        """Return the events that have come, each with its time in seconds."""
        texts, stamps = pull(self._inlet, timeout_seconds=timeout_seconds)
        found = []
        for text, stamp in zip(np.ravel(texts).tolist(), stamps.tolist(), strict=True):
            content = decode_event(text)
            if content is not None:
                found.append((stamp + self._offset, content))
        return found

    def close(self) -> None:
        """Leave the stream."""
        self._inlet.close_stream()
