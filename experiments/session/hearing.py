"""The predictions of a running decoder, each with how old its newest sample was."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import describe, find_streams, open_inlet, pull
from physioemo.experiments.live_outlets import PREDICTIONS, QUALITY, read_prediction
from physioemo.experiments.session.messages import on_this_computer
from physioemo.prediction import Prediction

__all__ = ["Heard", "PredictionEar", "predictions_come"]

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Heard:
    """One prediction.

    Parameters
    ----------
    prediction : Prediction
        Its time is the decoder's own stamp.
    staleness_seconds : float
        How old its newest sample was when it was sent.
    """

    prediction: Prediction
    staleness_seconds: float

    @property
    def arrived_seconds(self) -> float:
        """When it was sent, on the clock of its time."""
        return self.prediction.time_seconds + self.staleness_seconds


def predictions_come(decoder_id: str, seconds: float, runs: Callable[[], bool]) -> bool:
    """Wait until a decoder of this computer publishes; return whether it does.

    Parameters
    ----------
    decoder_id : str
        Whose predictions.
    seconds : float
        How long to wait.
    runs : callable
        Whether its program still runs: of one that has ended nothing comes.
    """
    import pylsl

    looking = pylsl.ContinuousResolver(pred=_of(QUALITY, decoder_id))
    deadline = time.monotonic() + seconds
    while not (found := bool(looking.results())) and runs() and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return found


def _of(name: str, decoder_id: str) -> str:
    return f"{on_this_computer(name)} and contains(source_id,'{decoder_id}')"


class PredictionEar:
    """Both streams of one decoder; it may go and come back.

    Parameters
    ----------
    decoder_id : str
        Whose predictions.
    find_seconds : float
        How long to look for them.

    Raises
    ------
    NoStreamError
        If they are not there.
    """

    def __init__(self, decoder_id: str, find_seconds: float) -> None:
        self.decoder_id = decoder_id
        self._inlets: dict[str, Any] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._waiting: dict[str, deque[tuple[float, list[float]]]] = {}
        for name in (PREDICTIONS, QUALITY):
            found = find_streams((_of(name, decoder_id),), timeout_seconds=find_seconds)
            self._inlets[name], full = open_inlet(found[-1])
            self._names[name] = describe(full).ch_names
            self._waiting[name] = deque(maxlen=1000)

    def poll(self) -> list[Heard]:
        """Return the predictions that have come."""
        for name, inlet in self._inlets.items():
            rows, stamps = pull(inlet, timeout_seconds=0.0)
            self._waiting[name].extend(
                zip(stamps.tolist(), np.asarray(rows, float).tolist(), strict=True)
            )
        said, quality = self._waiting[PREDICTIONS], self._waiting[QUALITY]
        at = self._names[QUALITY].index("staleness")
        found = []
        while said and quality:
            # What has no other beside it was lost on the way.
            if said[0][0] < quality[0][0]:
                said.popleft()
            elif said[0][0] > quality[0][0]:
                quality.popleft()
            else:
                stamp, row = said.popleft()
                names = self._names[PREDICTIONS]
                prediction = read_prediction(row, names, stamp, self.decoder_id)
                found.append(Heard(prediction, quality.popleft()[1][at]))
        return found

    def close(self) -> None:
        """Leave the streams."""
        for inlet in self._inlets.values():
            inlet.close_stream()
