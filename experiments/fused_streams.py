"""Tokens of the streams beside the EEG, however those are cut into chunks.

A side token is one window of one family: its numbers, and the stamp of the newest sample that it
used. An EEG window that ends at time t sees the newest token that ends at t or before, if it is
not older than the family allows.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from physioemo.clock import find_gaps, segment_bounds
from physioemo.description import StreamDescription
from physioemo.errors import SignalError, StreamDescriptionError
from physioemo.experiments.fused_sides import SideFamily, bind_side, find_side
from physioemo.recording import Recording

__all__ = ["CutSide", "SideHistory", "SideStream", "SideToken", "recording_side"]

_MOST_TOKENS = 4096


@dataclass(frozen=True)
class SideToken:
    """One window of one side family.

    Parameters
    ----------
    values : ndarray, shape (number,)
        NaN where a value could not be had.
    present : ndarray of bool, shape (number,)
        Where it could.
    stop_seconds : float
        Time of the newest sample that it used, on the clock of the stamps that were given.
    newest_stamp : float
        That sample's raw stamp, where raw stamps were given; else the same.
    first_stamp : float
        Raw stamp of the first sample that the features' state comes from.
    """

    values: np.ndarray
    present: np.ndarray
    stop_seconds: float
    newest_stamp: float
    first_stamp: float = float("nan")


class SideHistory:
    """The newest tokens of one family, as an EEG window sees them.

    Windows are asked for in the order of the EEG; what is older than the answer is forgotten.

    Parameters
    ----------
    tokens : sequence of SideToken, optional
        All of a recording; else no more than 4096 are kept that nobody asks for.
    """

    def __init__(self, tokens: Sequence[SideToken] | None = None) -> None:
        most = _MOST_TOKENS if tokens is None else None
        self._tokens: deque[tuple[float, SideToken]] = deque(maxlen=most)
        self._latest = -np.inf
        self.push(tokens or ())

    def push(self, tokens: Iterable[SideToken]) -> None:
        """Take tokens in the order of their stream."""
        for token in tokens:
            # A clock that stepped back brings nothing into the past of what was said already.
            self._latest = max(self._latest, token.stop_seconds)
            self._tokens.append((self._latest, token))

    def newest(self, time_seconds: float) -> SideToken | None:
        """Return the newest token that ends at a time or before; None if there is none."""
        while len(self._tokens) > 1 and self._tokens[1][0] <= time_seconds:
            self._tokens.popleft()
        if self._tokens and self._tokens[0][0] <= time_seconds:
            return self._tokens[0][1]
        return None


class SideStream:
    """Turns the samples of one stream into side tokens, however they are cut into chunks.

    Parameters
    ----------
    side : SideFamily
        The family as in training.
    description : StreamDescription
        The stream.

    Raises
    ------
    StreamDescriptionError
        If its features would not be those of training.
    """

    def __init__(self, side: SideFamily, description: StreamDescription) -> None:
        extractor, self._grid = side.choice.prepare(description)
        if extractor.fingerprint != side.fingerprint:
            found = bind_side(side.choice, description)
            raise StreamDescriptionError(
                f"stream {description.name!r}: found {side.choice.family} of "
                f"{found}, expected {side} as in training; use the same device and "
                "settings, or train a decoder on recordings with these"
            )
        self.side, self.description = side, description
        self.newest_seconds = -np.inf
        """Time of the newest sample so far: no token with an earlier end is still to come."""
        self.history = SideHistory()
        self._extractor = extractor
        self._start(0)

    def _start(self, segment: int) -> None:
        self._segment, self._state = segment, self._extractor.start()
        self._end = self._grid.window_samples  # of the next window, counted from the kept stamps
        self._stamps, self._raw = np.empty(0), np.empty(0)
        self._first_raw = float("nan")

    def step(
        self,
        signal: np.ndarray,
        stamps: np.ndarray,
        segment: int = 0,
        *,
        raw_stamps: np.ndarray | None = None,
    ) -> list[SideToken]:
        """Take the next samples; return the tokens that they complete, and keep them.

        Parameters
        ----------
        signal : ndarray, shape (time, channel)
            Any number of samples, none of them beyond a gap.
        stamps : ndarray, shape (time,)
            Time of each in seconds, on the clock of the EEG's.
        segment : int
            Another number after each gap: then everything starts from rest.
        raw_stamps : ndarray, shape (time,), optional
            Stamps in seconds as the device gave them.

        Raises
        ------
        SignalError
            If the shapes do not fit.
        """
        signal = np.asarray(signal, float)
        if signal.shape != (len(stamps), len(self.description.ch_names)):
            raise SignalError(
                f"found samples of shape {signal.shape} with {len(stamps)} stamps, expected "
                f"(time, {len(self.description.ch_names)}) of {self.description.name!r}"
            )
        if segment != self._segment:
            self._start(segment)
        if not len(stamps):
            return []
        self.newest_seconds = max(self.newest_seconds, float(np.max(stamps)))
        self._stamps = np.concatenate([self._stamps, np.asarray(stamps, float)])
        raw = np.asarray(stamps if raw_stamps is None else raw_stamps, float)
        self._first_raw = float(raw[0]) if np.isnan(self._first_raw) else self._first_raw
        self._raw = np.concatenate([self._raw, raw])
        values, self._state = self._extractor.step(signal.T, self._state)
        tokens = [self._token(v) for v in values]
        self._forget()
        self.history.push(tokens)
        return tokens

    def newest(self, time_seconds: float) -> SideToken | None:
        """Return the newest token that ends at a time or before; ask in the order of time."""
        return self.history.newest(time_seconds)

    def _token(self, values: np.ndarray) -> SideToken:
        last = self._end - 1
        self._end += self._grid.hop_samples
        flat = np.array(values, float).ravel()
        present = np.isfinite(flat)
        flat[~present] = np.nan
        stop, raw = float(self._stamps[last]), float(self._raw[last])
        return SideToken(flat, present, stop, raw, self._first_raw)

    def _forget(self) -> None:
        """Drop the stamps that no later window ends with."""
        n = min(len(self._stamps), self._end - 1)
        self._stamps, self._raw = self._stamps[n:].copy(), self._raw[n:].copy()
        self._end -= n


class CutSide:
    """A stream beside the EEG as its device stamps it: gaps are found here, on those stamps.

    Parameters
    ----------
    stream : SideStream
        Takes what lies between two gaps.
    """

    def __init__(self, stream: SideStream) -> None:
        self.stream = stream
        self._segment, self._last = 0, np.empty(0)

    def push(
        self, signal: np.ndarray, stamps: np.ndarray, *, offset_seconds: float = 0.0
    ) -> list[SideToken]:
        """Take the next samples; return the tokens that they complete.

        Parameters
        ----------
        signal : ndarray, shape (time, channel)
            Samples in order of arrival.
        stamps : ndarray, shape (time,)
            The device's own stamp of each in seconds.
        offset_seconds : float
            What has to be added to them for the clock of the EEG's windows.
        """
        if not len(stamps):
            return []
        n_before = len(self._last)
        known = np.concatenate([self._last, stamps])
        gaps = find_gaps(known, self.stream.description.sfreq) - n_before
        self._last = np.array(stamps[-1:], float)
        tokens: list[SideToken] = []
        for start, stop in pairwise(sorted({0, *gaps.tolist(), len(stamps)})):
            self._segment += start in gaps
            raw = np.asarray(stamps[start:stop], float)
            tokens += self.stream.step(
                signal[start:stop], raw + offset_seconds, self._segment, raw_stamps=raw
            )
        return tokens


def recording_side(recording: Recording, side: SideFamily) -> list[SideToken]:
    """Return all tokens of a recording, by the code that runs live; none without its stream."""
    streams = {key: recording.description(key) for key in recording.streams}
    key = find_side(streams, side.choice)
    if key is None:
        return []
    stream = SideStream(side, streams[key])
    signal, time = recording[key]["signal"].values, recording[key]["time"].values
    return [
        token
        for segment, (start, stop) in enumerate(segment_bounds(time, streams[key].sfreq))
        for token in stream.step(signal[start:stop], time[start:stop], segment)
    ]
