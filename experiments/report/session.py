"""A recording as the report looks at it: times from its start, trials with their ratings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from physioemo.errors import DataError
from physioemo.recording import Recording

__all__ = ["Channel", "Session", "Trial", "open_sessions", "recording_names"]


@dataclass(frozen=True)
class Trial:
    """One trial; times count from the start of the recording, ratings by dimension."""

    number: int
    start_seconds: float
    stop_seconds: float
    stimulus: str
    ratings: dict[str, float]


@dataclass(frozen=True)
class Channel:
    """One channel of a stream, with its time from the start of the recording."""

    stream: str
    name: str
    index: int
    unit: str
    sfreq: float


@dataclass(frozen=True)
class Session:
    """A recording with what every section of the report needs.

    Parameters
    ----------
    name : str
        How the report calls it.
    recording : Recording
        The recording itself.
    origin_seconds : float
        Session time of the first sample of any stream; the report counts from there.
    duration_seconds : float
        To the last sample of any stream.
    trials : tuple of Trial
        In order of time.
    scale : (float, float)
        Lowest and highest possible rating.
    """

    name: str
    recording: Recording
    origin_seconds: float
    duration_seconds: float
    trials: tuple[Trial, ...]
    scale: tuple[float, float]

    @property
    def rated_dimensions(self) -> tuple[str, ...]:
        """Dimensions for which at least one trial has a rating."""
        names = dict.fromkeys(d for t in self.trials for d in t.ratings)
        return tuple(names)

    def label(self, trial: Trial, dimension: str) -> int | None:
        """Return 1 for a rating above the middle of the scale, 0 below, None on it or without."""
        rating, middle = trial.ratings.get(dimension, np.nan), sum(self.scale) / 2
        if not np.isfinite(rating) or rating == middle:
            return None
        return int(rating > middle)

    def stream(self, key: str) -> tuple[xr.Dataset, np.ndarray]:
        """Return a stream and its time from the start of the recording in seconds."""
        stream = self.recording[key]
        return stream, np.asarray(stream["time"].values, float) - self.origin_seconds

    def with_modality(self, modality: str) -> tuple[str, ...]:
        """Return the streams of one modality that hold samples."""
        tree = self.recording.tree
        return tuple(
            k
            for k in self.recording.streams
            if tree[k].attrs["modality"] == modality and tree[k].sizes["time"]
        )

    def channels(self, channel_type: str) -> tuple[Channel, ...]:
        """Return all channels of a type, in any stream."""
        return tuple(
            Channel(key, str(name), i, str(unit), float(stream.attrs["sfreq"]))
            for key in self.recording.streams
            for stream in [self.recording[key]]
            for i, (name, unit, kind) in enumerate(
                zip(
                    stream["channel"].values,
                    stream["channel_unit"].values,
                    stream["channel_type"].values,
                    strict=True,
                )
            )
            if kind == channel_type and stream.attrs["sfreq"] > 0
        )

    def need_channels(self, channel_type: str, word: str) -> tuple[Channel, ...]:
        """Return all channels of a type.

        Raises
        ------
        DataError
            If there are none.
        """
        found = self.channels(channel_type)
        if not found:
            raise DataError(
                f"found no {word} channel, expected at least one; state the channel type "
                f"{channel_type!r} in the stream's description if there is one"
            )
        return found


def recording_names(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """Return a name for each recording, unique within the report."""
    names: list[str] = []
    for number, recording in enumerate(recordings, 1):
        name = recording.path.name if recording.path else f"recording {number}"
        names.append(name if name not in names else f"{name} ({number})")
    return tuple(names)


def open_sessions(recordings: Sequence[Recording]) -> tuple[Session, ...]:
    """Return each recording with its name, extent, trials and ratings."""
    names = recording_names(recordings)
    return tuple(_session(n, r) for n, r in zip(names, recordings, strict=True))


def _session(name: str, recording: Recording) -> Session:
    times = [recording[k]["time"].values for k in recording.streams]
    filled = [t for t in times if len(t)]
    origin = min((float(t.min()) for t in filled), default=0.0)
    end = max((float(t.max()) for t in filled), default=0.0)
    attrs = recording.ratings.attrs
    scale = (float(attrs.get("scale_minimum", 1)), float(attrs.get("scale_maximum", 9)))
    return Session(name, recording, origin, end - origin, _trials(recording, origin), scale)


def _trials(recording: Recording, origin_seconds: float) -> tuple[Trial, ...]:
    table, ratings = recording.trials, _ratings(recording)
    columns = (table[k].values for k in ("trial", "onset_seconds", "duration_seconds", "stimulus"))
    return tuple(
        Trial(
            int(number),
            float(onset) - origin_seconds,
            float(onset + duration) - origin_seconds,
            str(stimulus),
            ratings.get(int(number), {}),
        )
        for number, onset, duration, stimulus in zip(*columns, strict=True)
    )


def _ratings(recording: Recording) -> dict[int, dict[str, float]]:
    table = recording.ratings
    dimensions = [str(d) for d in table["dimension"].values]
    return {
        int(number): {d: float(v) for d, v in zip(dimensions, row, strict=True) if np.isfinite(v)}
        for number, row in zip(table["trial"].values, table["rating"].values, strict=True)
    }
