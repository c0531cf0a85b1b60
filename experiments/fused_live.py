"""Several streams being decoded: samples in as they come, predictions out. It knows nothing of LSL.

A window of the EEG waits a moment for the other streams: until each has brought a sample from the
window's end or after, so that no token that belongs to it can still come. Who waits long enough
says what an offline run says, to the bit. A stream that has fallen silent is not waited for.
"""

from collections import deque
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from physioemo.clock import find_gaps
from physioemo.description import StreamDescription
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_streams import SideStream
from physioemo.experiments.tokens import FAMILY
from physioemo.features.stimulus_tokens import StimulusTokens
from physioemo.models.temporal_context import require_causal
from physioemo.prediction import Prediction
from physioemo.ring import Ring

__all__ = ["PATIENCE_SECONDS", "SILENT_SECONDS", "FusedLive"]

PATIENCE_SECONDS = 0.25
"""How long a window waits for the other streams, in time of the EEG."""

SILENT_SECONDS = 1.0
"""A stream whose newest sample is this far behind the EEG's is not waited for."""


class FusedLive:
    """A fused decoder at work.

    Parameters
    ----------
    decoder : FusedDecoder
        What decodes.
    description : StreamDescription
        Of the EEG.
    sides : mapping of str to StreamDescription
        The stream of each side family that there is, by the family's name; the others are missing.
    stimulus : callable, optional
        ``stimulus(time_seconds)``: what was shown in the window that ends then, such as
        :meth:`physioemo.features.stimulus_windows.LiveStimulus.tokens`.
    patience_seconds, silent_seconds : float
        See :data:`PATIENCE_SECONDS` and :data:`SILENT_SECONDS`.

    Raises
    ------
    StreamDescriptionError
        If a stream is not as in training.
    CallError
        If the decoder has no such family, or it sees later windows.
    """

    def __init__(
        self,
        decoder: FusedDecoder,
        description: StreamDescription,
        sides: Mapping[str, StreamDescription],
        *,
        stimulus: Callable[[float], StimulusTokens] | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        require_causal(decoder.network)
        self.decoder = decoder
        self.n_hurried = 0
        """Windows that did not wait until all streams had come."""
        self._stimulus = stimulus
        self._patience_seconds, self._silent_seconds = patience_seconds, silent_seconds
        self._ring = Ring("eeg", description, decoder.recipe.hop_samples)
        self._tokens = decoder.tokens(description)
        self._state = self._tokens.start()
        self._sides = {name: _Side(decoder.side_tokens(name, d)) for name, d in sides.items()}
        self._remembered = decoder.start()
        self._waiting: deque[tuple[np.ndarray, float, int]] = deque()
        self._newest_seconds = -np.inf

    @property
    def n_segments(self) -> int:
        """1 + the number of gaps of the EEG so far."""
        return self._ring.segment + 1

    def push_side(self, name: str, signal: np.ndarray, stamps: np.ndarray) -> None:
        """Take the next samples of the stream of a family; gaps are found here.

        Parameters
        ----------
        name : str
            Of the family; a stream of two families is given to each.
        signal : ndarray, shape (time, channel)
            Samples in order of arrival.
        stamps : ndarray, shape (time,)
            Their times on the clock of the EEG's stamps.
        """
        self._sides[name].push(signal, stamps)

    def push(self, signal: np.ndarray, stamps: np.ndarray) -> list[Prediction]:
        """Take the next samples of the EEG; return what can be said now.

        Parameters
        ----------
        signal : ndarray, shape (time, channel)
            Samples in order of arrival.
        stamps : ndarray, shape (time,)
            Their times.
        """
        for window in self._ring.push(signal, stamps):
            part = window["eeg"]
            made, self._state = self._tokens.step(
                part.signal, part.time, window.segment, self._state
            )
            for row, stop in zip(made[FAMILY].values, made.stop_seconds.tolist(), strict=True):
                self._waiting.append((row, stop, window.segment))
        if len(stamps):
            self._newest_seconds = max(self._newest_seconds, float(np.max(stamps)))
        return self.ready()

    def ready(self) -> list[Prediction]:
        """Return the predictions of the windows that need not wait any more, in their order."""
        said = []
        while self._waiting:
            stop = self._waiting[0][1]
            late = [
                side
                for side in self._sides.values()
                if side.stream.newest_seconds < stop
                and side.stream.newest_seconds >= self._newest_seconds - self._silent_seconds
            ]
            if late and self._newest_seconds - stop < self._patience_seconds:
                break
            self.n_hurried += bool(late)
            said.append(self._say(*self._waiting.popleft()))
        return said

    def finish(self) -> list[Prediction]:
        """Return the predictions of all windows that still wait: nothing more will come."""
        return [self._say(*self._waiting.popleft()) for _ in range(len(self._waiting))]

    def _say(self, row: np.ndarray, stop_seconds: float, segment: int) -> Prediction:
        newest = {name: side.stream.newest(stop_seconds) for name, side in self._sides.items()}
        shown = None if self._stimulus is None else self._stimulus(stop_seconds)
        said, self._remembered = self.decoder.step(
            row, newest, stop_seconds, self._remembered, segment=segment, stimulus=shown
        )
        return said


class _Side:
    """One stream beside the EEG, cut at its gaps."""

    def __init__(self, stream: SideStream) -> None:
        self.stream = stream
        self._segment, self._last = 0, np.empty(0)

    def push(self, signal: np.ndarray, stamps: np.ndarray) -> None:
        if not len(stamps):
            return
        n_before = len(self._last)
        known = np.concatenate([self._last, stamps])
        gaps = find_gaps(known, self.stream.description.sfreq) - n_before
        self._last = np.array(stamps[-1:], float)
        for start, stop in pairwise(sorted({0, *gaps.tolist(), len(stamps)})):
            self._segment += start in gaps
            self.stream.step(signal[start:stop], stamps[start:stop], self._segment)
