"""A recording: one group per stream, each with its own time, plus trials, ratings, events."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
import xarray as xr

from physioemo.clock import segment_bounds
from physioemo.description import StreamDescription
from physioemo.errors import AmbiguousStreamError, CallError, NoStreamError
from physioemo.fingerprint import array_fingerprint
from physioemo.stream import describe_stream, stream_quality
from physioemo.window import StreamWindow, Window, present_mask

__all__ = ["TABLES", "Recording"]

TABLES = ("trials", "ratings", "events")
_SIMULATED = "<simulated>true</simulated>"


class Recording:
    """Streams on one session clock, with trials, ratings and events.

    ``recording["eeg"]`` is a :class:`xarray.Dataset` with ``signal`` (time, channel), its own
    ``time`` (float64 seconds), ``raw_time`` and attributes ``sfreq`` and ``unit``. A stream is
    found by group name, by its LSL name, or by its modality where only one stream has it.

    Parameters
    ----------
    tree : DataTree
        One group per stream, and the three tables.
    path : Path, optional
        Where it is stored.
    sealed : bool
        False while it is read from its journal.
    """

    def __init__(self, tree: xr.DataTree, *, path: Path | None = None, sealed: bool = True) -> None:
        self.tree = tree
        self.path = path
        self.sealed = sealed

    def __repr__(self) -> str:
        streams = ", ".join(f"{k} ({self[k].sizes['time']} samples)" for k in self.streams)
        return f"<Recording {self.path or ''}: {streams or 'no streams'}>"

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the files."""
        self.tree.close()

    @property
    def attrs(self) -> dict[str, Any]:
        """Session attributes."""
        return cast(dict[str, Any], self.tree.attrs)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know: cut off, damaged, ended early."""
        return tuple(self.attrs.get("notes", ()))

    @property
    def simulated(self) -> bool:
        """Whether any stream comes from the simulated participant."""
        marked = any(_SIMULATED in self.tree[k].attrs["xml"] for k in self.streams)
        return marked or bool(self.attrs.get("simulated", False))

    @property
    def streams(self) -> tuple[str, ...]:
        """Group names of the streams."""
        return tuple(str(k) for k in self.tree.children if k not in TABLES)

    @property
    def trials(self) -> xr.Dataset:
        """Trials: ``onset_seconds``, ``duration_seconds``, ``stimulus`` by ``trial``."""
        return self.tree["trials"].to_dataset()

    @property
    def ratings(self) -> xr.Dataset:
        """Ratings: ``rating`` (trial, dimension) and the scale."""
        return self.tree["ratings"].to_dataset()

    @property
    def events(self) -> xr.Dataset:
        """Events: ``onset_seconds``, ``duration_seconds``, ``description``, ``stream``."""
        return self.tree["events"].to_dataset()

    def key(self, name: str) -> str:
        """Return the group name of a stream given by group name, LSL name or modality.

        Raises
        ------
        NoStreamError, AmbiguousStreamError
        """
        if name in self.streams:
            return name
        for attribute in ("name", "modality"):
            found = [k for k in self.streams if self.tree[k].attrs[attribute] == name]
            if len(found) == 1:
                return found[0]
            if found:
                raise AmbiguousStreamError(
                    f"found {len(found)} streams with the {attribute} {name!r} "
                    f"({', '.join(found)}), expected one; name the group"
                )
        near = difflib.get_close_matches(name, self.streams, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise NoStreamError(
            f"found the streams {', '.join(self.streams)}, expected one called {name!r}{hint}"
        )

    def __getitem__(self, name: str) -> xr.Dataset:
        return self.tree[self.key(name)].to_dataset()

    def description(self, name: str) -> StreamDescription:
        """Return a stream's description."""
        return describe_stream(self[name])

    def quality(self) -> dict[str, dict[str, Any]]:
        """Return :func:`physioemo.stream.stream_quality` of every stream."""
        return {key: stream_quality(self[key]) for key in self.streams}

    def fingerprint(self) -> str:
        """Return a hash over all samples and stamps."""
        arrays = (self[k][v].values for k in self.streams for v in ("signal", "time"))
        return array_fingerprint(arrays)

    def window(self, start_seconds: float, stop_seconds: float, *names: str) -> Window:
        """Return the samples of some streams (all by default) in [start, stop)."""
        if not stop_seconds > start_seconds:
            raise CallError(
                f"found the window {start_seconds} to {stop_seconds} s, expected a later end"
            )
        keys = [self.key(n) for n in names] or list(self.streams)
        parts = {k: _cut(self[k], start_seconds, stop_seconds) for k in keys}
        return Window(start_seconds, stop_seconds, parts)

    def windows(self, lead: str, hop_samples: int) -> Iterator[Window]:
        """Yield consecutive windows of one stream, each of exactly `hop_samples` samples.

        They start anew after each gap; an incomplete last window is left out. A
        :class:`physioemo.ring.Ring` fed with the same samples yields the same windows.
        """
        stream, key = self[lead], self.key(lead)
        description = describe_stream(stream)
        signal, time = stream["signal"].values, stream["time"].values
        for segment, (first, last) in enumerate(segment_bounds(time, description.sfreq)):
            for start in range(first, last - hop_samples + 1, hop_samples):
                part = slice(start, start + hop_samples)
                yield hop_window(key, description, signal[part], time[part], segment)

    def to_mne(self, name: str) -> Any:
        """Return one stream as :class:`mne.io.RawArray`, see :func:`physioemo.mne_io.to_raw`."""
        from physioemo.mne_io import to_raw

        return to_raw(self, name)


def hop_window(
    key: str, description: StreamDescription, signal: np.ndarray, time: np.ndarray, segment: int
) -> Window:
    """Return a window of one stream from samples (time, channel)."""
    part = _stream_window(description, signal, time)
    return Window(float(time[0]), float(time[-1]), {key: part}, segment)


def _stream_window(
    description: StreamDescription, signal: np.ndarray, time: np.ndarray
) -> StreamWindow:
    by_channel = np.array(signal.T, order="C")  # a copy: the ring is written over
    return StreamWindow(
        by_channel,
        np.array(time, float),
        present_mask(by_channel),
        description.sfreq,
        description.ch_names,
        description.units,
    )


def _cut(stream: xr.Dataset, start_seconds: float, stop_seconds: float) -> StreamWindow:
    # Stamps of some devices step backwards; the running maximum makes the cut well defined.
    time = np.maximum.accumulate(stream["time"].values)
    first, last = np.searchsorted(time, [start_seconds, stop_seconds])
    part = stream.isel(time=slice(int(first), int(last)))
    return _stream_window(describe_stream(stream), part["signal"].values, part["time"].values)
