"""What the processes of a session tell each other: JSON objects in two LSL marker streams.

``PhysioEmo-Session`` is what the conductor did, ``PhysioEmo-Operator`` what the operator asked
for. Both are recorded like every stream, so the recording says why everything happened.
"""

import contextlib
import json
import socket
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import make_outlet, open_inlet, pull, push
from physioemo.description import StreamDescription
from physioemo.errors import StreamError
from physioemo.units import NO_UNIT

__all__ = [
    "COMMANDS",
    "OPERATOR",
    "SESSION",
    "EventEar",
    "EventOutlet",
    "decode_event",
    "marker_description",
    "on_this_computer",
]

SESSION, OPERATOR = "PhysioEmo-Session", "PhysioEmo-Operator"
COMMANDS = ("start", "pause", "resume", "abort", "skip", "refit", "note")
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


def on_this_computer(name: str) -> str:
    """Return the predicate of a stream of that name of this computer: each booth has its own."""
    return f"name='{name}' and hostname='{socket.gethostname()}'"


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

    @property
    def source_id(self) -> str:
        """What tells this stream from another session's."""
        return str(self._outlet.get_info().source_id())

    def send(self, event: str, /, **fields: Any) -> float:
        """Publish an event; return its LSL time in seconds.

        Raises
        ------
        TypeError
            If JSON cannot hold a field.
        """
        import pylsl

        stamp = float(pylsl.local_clock())
        text = json.dumps({"event": event, **fields}, ensure_ascii=False, allow_nan=False)
        push(self._outlet, np.array([[text]], object), np.array([stamp]))
        return stamp


class EventEar:
    """The events of somebody else's stream on this computer; it may come later, and come back.

    Parameters
    ----------
    name : str
        ``SESSION`` or ``OPERATOR``.
    """

    def __init__(self, name: str) -> None:
        import pylsl

        self._resolver = pylsl.ContinuousResolver(pred=on_this_computer(name))
        self._inlets: dict[str, Any] = {}

    @property
    def is_connected(self) -> bool:
        """Whether there was such a stream so far."""
        return bool(self._inlets)

    def poll(self) -> list[dict[str, Any]]:
        """Return the events that have come."""
        for info in self._resolver.results():
            if info.uid() not in self._inlets:
                with contextlib.suppress(StreamError):  # gone again already
                    self._inlets[info.uid()], _ = open_inlet(info)
        found = []
        for inlet in self._inlets.values():
            texts, _ = pull(inlet, timeout_seconds=0.0)
            found += [c for t in np.ravel(texts).tolist() if (c := decode_event(t)) is not None]
        return found

    def close(self) -> None:
        """Leave the stream."""
        for inlet in self._inlets.values():
            inlet.close_stream()
