"""One stream being decoded: samples in, predictions and their quality out, in fixed memory.

It knows nothing of LSL. Gaps are found and windows are cut on the device's own stamps, so that
the same samples in a recording give the same bits (:mod:`physioemo.experiments.session.verify`).
"""

from dataclasses import dataclass

import numpy as np

from physioemo.description import StreamDescription
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.tokens import FAMILY
from physioemo.prediction import Prediction
from physioemo.ring import Ring
from physioemo.tokens import TokenSet

__all__ = ["FRESH_SECONDS", "Decoded", "LiveDecoding"]

FRESH_SECONDS = 0.5
"""A window that is older than this, with a newer one complete, is skipped."""


@dataclass(frozen=True)
class Decoded:
    """A prediction, and what it stands on.

    Parameters
    ----------
    prediction : Prediction
        Its time is the device's own stamp of the newest sample that it used.
    first_stamp : float
        Device's stamp of the first sample that the decoder's state comes from.
    usable : ndarray of bool, shape (channel,)
        Electrodes whose tokens were used.
    n_skipped : int
        Windows skipped so far because newer ones were complete.
    """

    prediction: Prediction
    first_stamp: float
    usable: np.ndarray
    n_skipped: int


class LiveDecoding:
    """The decoder at work on one stream.

    Parameters
    ----------
    decoder : Decoder
    description : StreamDescription
        Of the stream.
    """

    def __init__(self, decoder: Decoder, description: StreamDescription) -> None:
        self.decoder = decoder
        self.description = description
        self.n_skipped = 0
        self._tokens = decoder.tokens(description)
        self.restart()

    def restart(self) -> None:
        """Begin from rest, as if the stream had just begun."""
        self._ring = Ring("eeg", self.description, self.decoder.recipe.hop_samples)
        self._state = self._tokens.start()
        self._first_stamp = float("nan")
        self._segment = -1

    @property
    def n_segments(self) -> int:
        """1 + the number of gaps so far."""
        return self._ring.segment + 1

    def warm_up(self) -> None:
        """Pay for lazy imports and first calls before the first sample."""
        n = self.decoder.recipe.window_samples + self.decoder.recipe.hop_samples
        noise = np.random.default_rng(0).standard_normal((len(self.description.ch_names), n))
        made, _ = self._tokens.step(
            noise, np.arange(n) / self.description.sfreq, 0, self._tokens.start()
        )
        self.decoder.probability(made[FAMILY].values[:1], made[FAMILY].present[:1])

    def push(
        self, signal: np.ndarray, stamps: np.ndarray, *, newest_wanted_stamp: float = -np.inf
    ) -> list[Decoded]:
        """Take the next samples; return a prediction for each window that they complete.

        Parameters
        ----------
        signal : ndarray, shape (time, channel)
            Samples in order of arrival.
        stamps : ndarray, shape (time,)
            The device's own stamp of each in seconds.
        newest_wanted_stamp : float
            Windows that end before it are skipped and counted, all but the newest: what has piled
            up is not worth waiting for. Their samples have been through the filters all the same.
        """
        rows: list[tuple[TokenSet, int, float]] = []
        for window in self._ring.push(signal, stamps):
            part = window["eeg"]
            if window.segment != self._segment:
                self._segment, self._first_stamp = window.segment, float(part.time[0])
            made, self._state = self._tokens.step(
                part.signal, part.time, window.segment, self._state
            )
            rows += [(made, i, self._first_stamp) for i in range(len(made))]
        wanted = [row for row in rows[:-1] if row[0].stop_seconds[row[1]] >= newest_wanted_stamp]
        self.n_skipped += len(rows[:-1]) - len(wanted)
        return [self._decoded(*row) for row in wanted + rows[-1:]]

    def _decoded(self, made: TokenSet, i: int, first_stamp: float) -> Decoded:
        prediction = self.decoder.predict_one(made, i)
        usable = made[FAMILY].present[i].all(axis=1)
        return Decoded(prediction, first_stamp, usable, self.n_skipped)
