"""Recordings that go through the store and come back."""

from physioemo.store import create_recording, open_recording


def stored(recording, path):
    """Return a recording as it is read back from a store at `path`."""
    streams = {k: recording[k] for k in recording.streams}
    tables = {k: getattr(recording, k) for k in ("trials", "ratings", "events")}
    create_recording(path, streams, **tables, attrs=recording.attrs)
    return open_recording(path)
