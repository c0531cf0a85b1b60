"""The EEG of a fused decoder, window by window, on the device's own stamps."""

from typing import NamedTuple

import numpy as np

from physioemo.description import StreamDescription
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.tokens import FAMILY
from physioemo.ring import Ring

__all__ = ["EegRows", "EegWindow"]


class EegWindow(NamedTuple):
    """One window of the EEG.

    Parameters
    ----------
    values : ndarray, shape (channel, band)
        Entropies in nats, NaN where missing.
    first_stamp, newest_stamp : float
        The device's own stamps of the first sample that the filters' state comes from, and of the
        newest that the window used.
    segment : int
        The stretch without gaps in which it lies.
    """

    values: np.ndarray
    first_stamp: float
    newest_stamp: float
    segment: int


class EegRows:
    """Turns the samples of the EEG into windows, however they are cut into chunks.

    Gaps are found and windows are cut on the device's own stamps, so that the same samples in a
    recording give the same bits.

    Parameters
    ----------
    decoder : FusedDecoder
        Whose tokens.
    description : StreamDescription
        Of the EEG.

    Raises
    ------
    StreamDescriptionError
        If the stream is not as in training.
    """

    def __init__(self, decoder: FusedDecoder, description: StreamDescription) -> None:
        self._ring = Ring("eeg", description, decoder.recipe.hop_samples)
        self._tokens = decoder.tokens(description)
        self._state = self._tokens.start()
        self._first_stamp, self._segment = float("nan"), -1

    @property
    def n_segments(self) -> int:
        """1 + the number of gaps so far."""
        return self._ring.segment + 1

    def push(self, signal: np.ndarray, stamps: np.ndarray) -> list[EegWindow]:
        """Take the next samples (time, channel) and their stamps; return windows they complete."""
        rows: list[EegWindow] = []
        for window in self._ring.push(signal, stamps):
            part = window["eeg"]
            if window.segment != self._segment:
                self._segment, self._first_stamp = window.segment, float(part.time[0])
            made, self._state = self._tokens.step(
                part.signal, part.time, window.segment, self._state
            )
            for values, stop in zip(made[FAMILY].values, made.stop_seconds.tolist(), strict=True):
                rows.append(EegWindow(values, self._first_stamp, stop, window.segment))
        return rows
