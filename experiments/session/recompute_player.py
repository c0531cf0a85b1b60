"""What a live decoder had seen of the player, computed again from a recording's raw stamps.

A prediction says where its window ended on the player's clock, and which flips and markers had come
by then. Exactly those are taken from the recording, so no offset between clocks is needed.
"""

from collections.abc import Sequence

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.fused_player import MARKERS_STREAM, marker_texts
from physioemo.experiments.session.recompute_places import LackError, Places
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.features.stimulus_tokens import LATEST_SECONDS, StimulusLayout, StimulusTokens
from physioemo.features.stimulus_windows import FRAMES_STREAM, Fed, LiveStimulus, shown_sha256
from physioemo.recording import Recording
from physioemo.trials import parse_marker

__all__ = ["RecordedPlayer"]


class RecordedPlayer:
    """The player of one recording.

    Parameters
    ----------
    recording : Recording
        With the player's flips and markers, or without.
    layout : StimulusLayout
        What a window holds.
    stimuli : sequence of StimulusFeatures
        Files; those that the player showed are chosen by their SHA-256.
    """

    def __init__(
        self,
        recording: Recording,
        layout: StimulusLayout,
        stimuli: Sequence[StimulusFeatures],
    ) -> None:
        self._layout = layout
        self._flips, self._markers = (
            _Recorded(recording, name) for name in (FRAMES_STREAM, MARKERS_STREAM)
        )
        self._texts = marker_texts(self._markers.signal)
        self._stimuli = tuple(stimuli)
        self._lacking = self._lacking_stretches()
        self._begun: tuple[float, float] | None = None
        self._live: LiveStimulus | None = None
        self._taken = (0, 0)

    def tokens(self, stop_stamp: float, fed: Fed) -> StimulusTokens:
        """Return what was shown in a window.

        Parameters
        ----------
        stop_stamp : float
            The window's end in seconds on the player's clock.
        fed : Fed
            Which flips and markers had come.

        Raises
        ------
        LackError
            If the recording lacks some of them, or a file that was shown is not there.
        DataError
            If the flips contradict the files.
        """
        flips = self._flips.between(fed.first_flip, fed.newest_flip)
        markers = self._markers.between(fed.first_marker, fed.newest_marker)
        reach = self._layout.window_seconds + LATEST_SECONDS
        for start, stop, name in self._lacking:
            if start <= stop_stamp and stop >= stop_stamp - reach - 1.0:
                raise LackError(f"what was shown is not computed again without {name}")
        try:
            return self._fed(flips, markers).tokens(stop_stamp)
        except CallError as error:  # no file is there
            raise LackError(str(error)) from None

    def time_at(self, stamp: float) -> float:
        """Return the recording's time of a moment of the player's clock."""
        stream = self._flips if len(self._flips.raw) else self._markers
        at = min(int(np.searchsorted(stream.raw, stamp)), len(stream.raw) - 1)
        return stamp + float(stream.time[at] - stream.raw[at])

    def _fed(self, flips: tuple[int, int], markers: tuple[int, int]) -> LiveStimulus:
        """Return the stimulus as it was when these flips and markers had come, and no others."""
        live, begun = self._live, (flips[0], markers[0])
        stops = (flips[1], markers[1])
        is_before = stops[0] < self._taken[0] or stops[1] < self._taken[1]
        if live is None or begun != self._begun or is_before:
            live = self._live = self._new_stimulus()
            self._begun, self._taken = begun, begun
        taken = self._taken
        part = slice(taken[1], markers[1])
        live.feed_markers(self._texts[part], self._markers.raw[part].tolist())
        part = slice(taken[0], flips[1])
        if flips[1] > taken[0]:
            live.feed_flips(self._flips.signal[part], self._flips.raw[part])
        self._taken = stops
        return live

    def _new_stimulus(self) -> LiveStimulus:
        return LiveStimulus(
            self._stimuli,
            self._layout,
            header=self._flips.xml,
            channels=self._flips.ch_names,
            keep_seconds=np.inf,
            allow_missing=True,
        )

    def _lacking_stretches(self) -> list[tuple[float, float, str]]:
        """Return from when to when files were shown that are not among the stimuli."""
        known = {features.sha256 for features in self._stimuli}
        found: list[tuple[float, float, str]] = []
        shown: tuple[float, str] | None = None
        for text, stamp in zip(self._texts, self._markers.raw.tolist(), strict=True):
            marker = parse_marker(text) or {}
            if marker.get("event") not in ("item_start", "item_stop", "session_start"):
                continue
            if shown is not None:
                found.append((shown[0], stamp, shown[1]))
            sha256, shown = shown_sha256(text), None
            if sha256 is not None and sha256 not in known:
                shown = (stamp, f"{marker.get('file')} (SHA-256 {sha256[:12]}...)")
        return found if shown is None else [*found, (shown[0], np.inf, shown[1])]


class _Recorded:
    """One of the player's streams, with its own stamps."""

    def __init__(self, recording: Recording, name: str) -> None:
        keys = [k for k in recording.streams if recording.description(k).name == name]
        stream = recording[keys[0]] if keys else None
        self.name, self.xml = name, ""
        self.ch_names: tuple[str, ...] = ()
        self.signal, self.raw, self.time = np.empty((0, 1)), np.empty(0), np.empty(0)
        if stream is not None:
            self.signal = stream["signal"].values
            self.raw, self.time = stream["raw_time"].values, stream["time"].values
            described = recording.description(keys[0])
            self.xml, self.ch_names = described.xml, described.ch_names
        self._places = Places(self.raw)

    def between(self, first: float, newest: float) -> tuple[int, int]:
        """Return the bounds of the samples from a stamp to another; of none for NaN.

        Raises
        ------
        LackError
            If one of the two is not recorded.
        """
        if np.isnan(newest):
            return 0, 0
        start, last = self._places.of(first), self._places.last_of(newest)
        for at, stamp in ((start, first), (last, newest)):
            if at is None:
                raise LackError(f"{self.name} at {stamp:.3f} s is not recorded")
        assert start is not None and last is not None  # noqa: S101 -- just looked for
        return start, last + 1
