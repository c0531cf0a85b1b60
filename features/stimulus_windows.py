"""The stimulus of a recording's windows: by its trials, by the player's flips, or live.

Offline and live are one computation: what a window holds depends on the flips and markers up to
its end only, so feeding them in chunks cannot change a bit.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.features.stimulus_flips import (
    FLIP_CHANNELS,
    FlipLog,
    FlipTable,
    Markers,
    check_header,
)
from physioemo.features.stimulus_shown import TrialTable, checked_stimuli
from physioemo.features.stimulus_tokens import (
    LATEST_SECONDS,
    StimulusLayout,
    StimulusTokens,
    cut_tokens,
)
from physioemo.recording import Recording
from physioemo.trials import parse_marker

__all__ = [
    "FRAMES_STREAM",
    "Fed",
    "LiveStimulus",
    "shown_files",
    "shown_sha256",
    "shown_stimulus_tokens",
    "trial_stimulus_tokens",
]

FRAMES_STREAM = "PhysioEmo-Frames"
_KEEP_SECONDS = 60.0  # beyond a window: predictions may be asked for late


def trial_stimulus_tokens(
    recording: Recording,
    end_seconds: np.ndarray,
    stimuli: Mapping[str, StimulusFeatures | None],
    layout: StimulusLayout | None = None,
) -> StimulusTokens:
    """Return the stimulus of windows, by the onset of the trials.

    A trial's file begins with the trial, or where the player's marker says; picture and sound run
    on from there until the trial or the file ends.

    Parameters
    ----------
    recording : Recording
        With a table of trials.
    end_seconds : ndarray, shape (window,)
        Session times at which windows end.
    stimuli : mapping of str to StimulusFeatures or None
        The file of each stimulus of the trials; None where there is none: it is masked.
    layout : StimulusLayout, optional
        What a window holds.

    Raises
    ------
    DataError
        If a stimulus is not in the mapping, or a marker says that it had other bytes.
    """
    starts: dict[int, float] = {}
    for text in recording.events["description"].values:
        marker = parse_marker(str(text)) or {}
        trial = marker.get("trial")
        if not isinstance(trial, int):
            continue
        if marker["event"] == "trial_start":
            _check_bytes(marker, stimuli.get(str(marker.get("stimulus", ""))))
        elif marker["event"] == "item_start" and "start_seconds" in marker:
            starts[trial] = float(marker["start_seconds"])
    table = TrialTable.of_trials(recording.trials, stimuli, starts)
    return cut_tokens(table, end_seconds, layout or StimulusLayout())


def shown_stimulus_tokens(
    recording: Recording,
    end_seconds: np.ndarray,
    stimuli: Iterable[StimulusFeatures],
    layout: StimulusLayout | None = None,
    *,
    frames: str = FRAMES_STREAM,
    allow_missing: bool = False,
) -> StimulusTokens:
    """Return the stimulus of windows, by the flips that the stimulus player published.

    Parameters
    ----------
    recording : Recording
        With the player's flips and its markers.
    end_seconds : ndarray, shape (window,)
        Session times at which windows end.
    stimuli : iterable of StimulusFeatures
        All files that were shown, in any order and under any name.
    layout : StimulusLayout, optional
        What a window holds.
    frames : str
        The stream of flips.
    allow_missing : bool
        Whether a file that is not among the stimuli is masked instead of refused.

    Raises
    ------
    NoStreamError
        If there is no such stream.
    DataError
        If a file that was shown is not among the stimuli, or the stream is not the player's.
    """
    stream, stimuli = recording[frames], list(stimuli)
    live = LiveStimulus(
        stimuli,
        layout,
        header=str(stream.attrs.get("xml", "")),
        channels=[str(c) for c in stream["channel"].values],
        keep_seconds=np.inf,
        allow_missing=allow_missing,
    )
    events = recording.events
    live.feed_markers(events["description"].values, events["onset_seconds"].values)
    live.feed_flips(stream["signal"].values, stream["time"].values)
    return live.tokens(end_seconds)


def shown_files(recording: Recording) -> list[str]:
    """Return the SHA-256 of each file that the player's markers name, in the order of time."""
    named = map(shown_sha256, recording.events["description"].values)
    return list(dict.fromkeys(sha256 for sha256 in named if sha256 is not None))


def shown_sha256(text: object) -> str | None:
    """Return which file a marker says is shown from now on; None if it says nothing of the kind."""
    marker = parse_marker(str(text)) or {}
    if marker.get("event") != "item_start" or marker.get("sha256") is None:
        return None
    return str(marker["sha256"])


class Fed(NamedTuple):
    """What of the player was fed, by the times that were given; NaN for nothing.

    Attributes
    ----------
    first_flip, newest_flip : float
        Of the flips.
    first_marker, newest_marker : float
        Of the markers that say what is shown; others pass by.
    """

    first_flip: float = float("nan")
    newest_flip: float = float("nan")
    first_marker: float = float("nan")
    newest_marker: float = float("nan")

    @property
    def is_nothing(self) -> bool:
        """Whether neither a flip nor a marker was fed."""
        return all(seconds != seconds for seconds in self)


class LiveStimulus:
    """What the player shows, fed as it comes, asked for windows.

    Parameters
    ----------
    stimuli : iterable of StimulusFeatures
        All files that may be shown.
    layout : StimulusLayout, optional
        What a window holds.
    header : str
        LSL's header of the stream of flips, whose files are checked.
    channels : sequence of str
        Channels of the stream of flips.
    keep_seconds : float
        How long what was shown is remembered, beyond a window.
    allow_missing : bool
        Whether a file that is not among the stimuli is masked instead of refused.

    Raises
    ------
    CallError
        If there are no stimuli, or of several recipes.
    DataError
        If a file of the header has other bytes, or a channel is missing.
    """

    def __init__(
        self,
        stimuli: Iterable[StimulusFeatures],
        layout: StimulusLayout | None = None,
        *,
        header: str = "",
        channels: Sequence[str] = FLIP_CHANNELS,
        keep_seconds: float = _KEEP_SECONDS,
        allow_missing: bool = False,
    ) -> None:
        self.layout = layout or StimulusLayout()
        self.stimuli = checked_stimuli(stimuli)
        if not set(FLIP_CHANNELS) <= set(channels):
            raise DataError(
                f"found the channels {', '.join(channels)} in the stream of flips, expected "
                f"{', '.join(FLIP_CHANNELS)}; name the stream that the stimulus player published"
            )
        self._columns = [list(channels).index(name) for name in FLIP_CHANNELS]
        self._sound_latency = check_header(header, self.stimuli)
        self._n_channels, self._keep_seconds = len(channels), keep_seconds
        self._reach_seconds = self.layout.window_seconds + LATEST_SECONDS
        self._log, self._markers = FlipLog(), Markers(self.stimuli)
        self._known = {s.sha256 for s in self.stimuli} if allow_missing else None
        self.fed = Fed()
        """What it stands on."""

    def feed_flips(self, values: np.ndarray, time: np.ndarray) -> None:
        """Take the next flips.

        Parameters
        ----------
        values : ndarray, shape (flip, channel)
            Samples of the stream.
        time : ndarray, shape (flip,)
            Their session times in seconds.

        Raises
        ------
        DataError
            If a frame, a stamp, an item or a time is not a number.
        """
        chosen = np.asarray(values, float).reshape(len(time), self._n_channels)[:, self._columns]
        kept = self._reach_seconds + self._keep_seconds
        self._log = self._log.extended(chosen, time, keep_seconds=kept)
        if len(time):
            first = self.fed.first_flip
            first = float(time[0]) if np.isnan(first) else first
            self.fed = self.fed._replace(first_flip=first, newest_flip=float(time[-1]))

    def feed_markers(self, texts: Iterable[str], time: Iterable[float]) -> None:
        """Take the next markers of the player; others pass by.

        Parameters
        ----------
        texts : iterable of str
            As they came.
        time : iterable of float
            Their session times in seconds.

        Raises
        ------
        DataError
            If a file was shown that is not among the stimuli, and none may be missing.
        """
        for text, seconds in zip(texts, time, strict=True):
            if self._known is not None and shown_sha256(text) not in (None, *self._known):
                continue
            if self._markers.add(float(seconds), str(text)):
                first = self.fed.first_marker
                first = float(seconds) if np.isnan(first) else first
                self.fed = self.fed._replace(first_marker=first, newest_marker=float(seconds))

    def tokens(self, end_seconds: float | np.ndarray) -> StimulusTokens:
        """Return the stimulus of the windows that end at some times.

        Everything that was shown until then has to be fed before.

        Raises
        ------
        CallError
            If it is asked for what is forgotten already.
        """
        ends = np.atleast_1d(np.asarray(end_seconds, float))
        table = FlipTable(self._log, self._markers, self._sound_latency)
        reach = self._reach_seconds + max(table.latencies)
        if len(ends) and ends.min() - reach < self._log.dropped_seconds:
            raise CallError(
                f"found a window that ends at {ends.min():.2f} s, expected one of the last "
                f"{self._keep_seconds:g} s; ask earlier or keep more with keep_seconds"
            )
        return cut_tokens(table, ends, self.layout)


def _check_bytes(marker: Mapping[str, object], features: StimulusFeatures | None) -> None:
    stated = marker.get("sha256")
    if features is not None and stated is not None and stated != features.sha256:
        raise DataError(
            f"found {features.name} with the SHA-256 {features.sha256[:12]}... for the stimulus "
            f"{marker.get('stimulus')!r}, expected {str(stated)[:12]}... as the marker of trial "
            f"{marker.get('trial')} says; give the very file"
        )
