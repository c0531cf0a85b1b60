"""Several streams being decoded: samples in as they come, predictions out. It knows nothing of LSL.

A window of the EEG waits a moment for the other streams: until each has brought a sample from the
window's end or after, so that no token that belongs to it can still come. Who waits long enough
says what an offline run says, to the bit. A stream that has fallen silent is not waited for.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from physioemo.description import StreamDescription
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_eeg import EegRows, EegWindow
from physioemo.experiments.fused_streams import CutSide, SideToken
from physioemo.features.stimulus_tokens import StimulusTokens
from physioemo.features.stimulus_windows import Fed
from physioemo.models.temporal_context import require_causal
from physioemo.prediction import Prediction

__all__ = ["PATIENCE_SECONDS", "SILENT_SECONDS", "FusedDecoded", "FusedLive", "ShownWindow"]

PATIENCE_SECONDS = 0.25
"""How long a window waits for the other streams, in time of the EEG."""

SILENT_SECONDS = 1.0
"""A stream whose newest sample is this far behind the EEG's is not waited for."""


@dataclass(frozen=True)
class ShownWindow:
    """The stimulus of one window, and what of the player it stands on.

    Parameters
    ----------
    tokens : StimulusTokens
        What was shown.
    stop_stamp : float
        The window's end in seconds on the clock of the player.
    fed : Fed
        Which of its flips and markers had come, by its own stamps.
    """

    tokens: StimulusTokens
    stop_stamp: float
    fed: Fed


@dataclass(frozen=True)
class FusedDecoded:
    """A prediction, and what it stands on.

    Parameters
    ----------
    prediction : Prediction
        Its time is the end of the window on this computer's clock.
    window : EegWindow
        The window, with the EEG device's own stamps.
    sides : mapping of str to SideToken or None
        The newest token of each side family; it may have been too old to be used.
    shown : ShownWindow, optional
        The stimulus; None where no player was heard.
    """

    prediction: Prediction
    window: EegWindow
    sides: Mapping[str, SideToken | None]
    shown: ShownWindow | None = None

    @property
    def usable(self) -> np.ndarray:
        """Electrodes of which all values could be had, bool, shape (channel,)."""
        return np.asarray(np.isfinite(self.window.values).all(axis=1))

    def age_seconds(self, name: str) -> float:
        """Return how long before the window's end a family's token ends; NaN without one."""
        token = self.sides.get(name)
        return float("nan") if token is None else self.prediction.time_seconds - token.stop_seconds


class FusedLive:
    """A fused decoder at work.

    Every stream is cut at its gaps and into windows on the stamps of its own device; which token
    belongs to which window is decided on the clock that the offsets lead to.

    Parameters
    ----------
    decoder : FusedDecoder
        What decodes.
    description : StreamDescription
        Of the EEG.
    sides : mapping of str to StreamDescription
        The stream of each side family that there is, by the family's name; the others are missing.
    stimulus : callable, optional
        ``stimulus(time_seconds)``: what was shown in the window that ends then, or None, such as
        :meth:`physioemo.experiments.fused_player.PlayerEar.window`.
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
        stimulus: Callable[[float], ShownWindow | None] | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        require_causal(decoder.network)
        self.decoder = decoder
        self.n_hurried = 0
        """Windows that did not wait until all streams had come."""
        self._stimulus = stimulus
        self._patience_seconds, self._silent_seconds = patience_seconds, silent_seconds
        self._description, self._described = description, dict(sides)
        self._sides: dict[str, CutSide] = {}
        self.restart()

    def restart(self, stream: str = "") -> None:
        """Begin from rest, as if the stream of a name, or by default all, had just begun."""
        if stream in ("", self._description.name):
            self._eeg = EegRows(self.decoder, self._description)
            self._remembered = self.decoder.start()
            self._waiting: deque[tuple[EegWindow, float]] = deque()
            self._newest_seconds = -np.inf
        for name, described in self._described.items():
            if stream in ("", described.name):
                self._sides[name] = CutSide(self.decoder.side_tokens(name, described))

    @property
    def n_segments(self) -> int:
        """1 + the number of gaps of the EEG so far."""
        return self._eeg.n_segments

    def push_side(
        self, name: str, signal: np.ndarray, stamps: np.ndarray, *, offset_seconds: float = 0.0
    ) -> None:
        """Take the next samples of the stream of a family; gaps are found here.

        Parameters
        ----------
        name : str
            Of the family; a stream of two families is given to each.
        signal : ndarray, shape (time, channel)
            Samples in order of arrival.
        stamps : ndarray, shape (time,)
            The device's own stamp of each in seconds.
        offset_seconds : float
            What has to be added to them for the clock of the predictions.
        """
        self._sides[name].push(signal, stamps, offset_seconds=offset_seconds)

    def push(
        self, signal: np.ndarray, stamps: np.ndarray, *, offset_seconds: float = 0.0
    ) -> list[FusedDecoded]:
        """Take the next samples of the EEG; return what can be said now.

        Parameters
        ----------
        signal, stamps, offset_seconds
            As in :meth:`push_side`.
        """
        for window in self._eeg.push(signal, stamps):
            self._waiting.append((window, window.newest_stamp + offset_seconds))
        if len(stamps):
            newest = float(np.max(stamps)) + offset_seconds
            self._newest_seconds = max(self._newest_seconds, newest)
        return self.ready()

    def ready(self) -> list[FusedDecoded]:
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

    def finish(self) -> list[FusedDecoded]:
        """Return the predictions of all windows that still wait: nothing more will come."""
        return [self._say(*self._waiting.popleft()) for _ in range(len(self._waiting))]

    def _say(self, window: EegWindow, stop_seconds: float) -> FusedDecoded:
        newest = {name: side.stream.newest(stop_seconds) for name, side in self._sides.items()}
        shown = None if self._stimulus is None else self._stimulus(stop_seconds)
        said, self._remembered = self.decoder.step(
            window.values,
            newest,
            stop_seconds,
            self._remembered,
            segment=window.segment,
            stimulus=None if shown is None else shown.tokens,
        )
        return FusedDecoded(said, window, newest, shown)
