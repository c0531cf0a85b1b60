"""The live decoder: an EEG stream in, predictions out, both over LSL."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import (
    clock_offset,
    describe,
    find_streams,
    make_outlet,
    open_inlet,
    pull,
)
from physioemo.description import StreamDescription
from physioemo.errors import (
    AmbiguousStreamError,
    NoStreamError,
    PhysioEmoError,
    StreamDescriptionError,
)
from physioemo.experiments.decoder import UNTRAINED, Decoder
from physioemo.overrides import Overrides
from physioemo.prediction import Prediction
from physioemo.ring import Ring

__all__ = ["LiveSummary", "prediction_description", "prediction_sample", "run_live"]

OUTLET_NAME = "PhysioEmo-VAD"
_OFFSET_SECONDS = 5.0


@dataclass(frozen=True)
class LiveSummary:
    """How a live run went.

    Parameters
    ----------
    n_predictions, n_abstained : int
        How many were published, and how many of them abstained.
    n_segments : int
        1 + the number of gaps of the EEG stream.
    latency_p50_seconds, latency_p99_seconds : float
        From the time stamp of the newest sample used to the prediction on the wire; NaN
        without predictions.
    compute_p50_seconds, compute_p99_seconds : float
        From the window being complete to the prediction.
    ended : str
        Why it ended.
    """

    n_predictions: int
    n_abstained: int
    n_segments: int
    latency_p50_seconds: float
    latency_p99_seconds: float
    compute_p50_seconds: float
    compute_p99_seconds: float
    ended: str


def prediction_description(decoder: Decoder) -> StreamDescription:
    """Return the description of the stream of predictions of a decoder."""
    names = [f"{d}_{what}" for d in decoder.dimensions for what in ("probability", "confidence")]
    mark = f"{UNTRAINED}-" if decoder.metadata.get(UNTRAINED) else ""
    return StreamDescription(
        name=OUTLET_NAME,
        stype="Prediction",
        sfreq=0.0,
        ch_names=(*names, "abstain"),
        units=("probability",) * len(names) + ("0 or 1",),
        channel_format="float32",
        source_id=f"physioemo-vad-{mark}{decoder.id}",
    )


def prediction_sample(prediction: Prediction) -> np.ndarray:
    """Return one sample of the stream of predictions, shape (1, channel)."""
    pairs = [(prediction.probability[d], prediction.confidence[d]) for d in prediction.probability]
    return np.array([[*np.ravel(pairs), float(prediction.abstain)]], np.float32)


def run_live(
    decoder: Decoder,
    *,
    predicates: tuple[str, ...] = (),
    overrides: Overrides | None = None,
    duration_seconds: float | None = None,
    stop_when_idle_seconds: float | None = None,
    find_seconds: float = 5.0,
    should_stop: Callable[[], bool] = lambda: False,
    on_start: Callable[[StreamDescription], None] = lambda description: None,
    on_prediction: Callable[[Prediction, float], None] = lambda prediction, latency: None,
) -> LiveSummary:
    """Decode an EEG stream and publish ``PhysioEmo-VAD`` until told to stop.

    Parameters
    ----------
    decoder : Decoder
        From ``physioemo train``.
    predicates : tuple of str
        XPath predicates that choose the stream; by default the one EEG stream on the network
        that has the decoder's electrodes and rate.
    overrides : Overrides, optional
        Names, units and rates for a stream that does not say them.
    duration_seconds : float, optional
        Stop after this long.
    stop_when_idle_seconds : float, optional
        Stop when data came and then none for this long.
    find_seconds : float
        How long to look for the stream.
    should_stop, on_start, on_prediction : callable
        Asked after every chunk; told the stream that is decoded, once the predictions are
        published; told every prediction and its latency in seconds.

    Returns
    -------
    LiveSummary

    Raises
    ------
    StreamError
        If no stream fits, several do, or the stream does not describe itself.
    """
    import pylsl
    import torch

    # One small model: a second thread only adds jitter.
    torch.set_num_threads(1)
    inlet, description = _open_fitting(decoder, predicates, overrides or Overrides(), find_seconds)
    outlet = make_outlet(prediction_description(decoder))
    session = _Session(decoder, description)
    session.warm_up()
    on_start(description)
    offset, measured = _offset(inlet, 0.0), time.monotonic()
    began, arrived, ended = time.monotonic(), None, "the stream was lost"
    try:
        while True:
            signal, stamps = pull(inlet, timeout_seconds=0.1)
            arrived = time.monotonic() if len(stamps) else arrived
            if time.monotonic() - measured > _OFFSET_SECONDS:
                offset, measured = _offset(inlet, offset), time.monotonic()
            for prediction, computed in session.take(signal, stamps + offset):
                sample = prediction_sample(prediction)[0].tolist()
                outlet.push_sample(sample, prediction.time_seconds)
                latency = pylsl.local_clock() - prediction.time_seconds
                session.count(prediction, latency, computed)
                on_prediction(prediction, latency)
            if should_stop():
                ended = "stopped"
                break
            if duration_seconds is not None and time.monotonic() - began >= duration_seconds:
                ended = "the time was up"
                break
            idle = time.monotonic() - arrived if arrived else 0.0
            if stop_when_idle_seconds is not None and idle >= stop_when_idle_seconds:
                ended = f"the stream had been silent for {idle:.1f} s"
                break
    except KeyboardInterrupt:
        ended = "stopped"
    except pylsl.util.LostError:
        pass
    finally:
        inlet.close_stream()
    return session.summary(ended)


def _offset(inlet: Any, previous: float) -> float:
    """Return the newest clock offset in seconds, or the previous one if there is no answer."""
    triple = clock_offset(inlet)
    return previous if triple is None else float(triple[1])


def _open_fitting(
    decoder: Decoder, predicates: tuple[str, ...], overrides: Overrides, find_seconds: float
) -> tuple[Any, StreamDescription]:
    """Open the one stream that the decoder can read."""
    infos = find_streams(predicates or ("type='EEG' or type='eeg'",), timeout_seconds=find_seconds)
    fitting, reasons = [], []
    for info in infos:
        try:
            inlet, full = open_inlet(info)
            description = describe(full, overrides)
            decoder.tokens(description)
        except PhysioEmoError as error:
            reasons.append(str(error))
        else:
            fitting.append((inlet, description))
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(f"{d.name!r} (source_id {d.source_id!r})" for _, d in fitting)
        raise AmbiguousStreamError(
            f"found {len(fitting)} streams that fit the decoder ({names}), expected one; choose it "
            "with --stream \"source_id='...'\""
        )
    if not reasons:
        raise NoStreamError("found no EEG stream, expected one; start the device's LSL app")
    raise StreamDescriptionError("no stream fits the decoder: " + "; ".join(reasons))


class _Session:
    """State of one live run: the ring, the decoder's state and the counts."""

    def __init__(self, decoder: Decoder, description: StreamDescription) -> None:
        self.decoder = decoder
        self.ring = Ring("eeg", description, decoder.recipe.hop_samples)
        self.tokens = decoder.tokens(description)
        self.state = self.tokens.start()
        self.latencies: list[float] = []
        self.computed: list[float] = []
        self.n_abstained = 0

    def warm_up(self) -> None:
        """Pay for lazy imports and first calls before the first sample."""
        description = self.ring.description
        n = self.decoder.recipe.window_samples + self.decoder.recipe.hop_samples
        noise = np.random.default_rng(0).standard_normal((len(description.ch_names), n))
        made, _ = self.tokens.step(noise, np.arange(n) / description.sfreq, 0, self.state)
        family = made["eeg_entropy"]
        self.decoder.probability(family.values[:1], family.present[:1])

    def take(self, signal: np.ndarray, stamps: np.ndarray) -> Iterator[tuple[Prediction, float]]:
        """Yield the predictions that new samples complete, each with its computing time."""
        for window in self.ring.push(signal, stamps):
            began = time.perf_counter()
            predictions, self.state = self.decoder.step(window, "eeg", self.tokens, self.state)
            for prediction in predictions:
                yield prediction, time.perf_counter() - began

    def count(self, prediction: Prediction, latency: float, computed: float) -> None:
        """Count one published prediction."""
        self.latencies.append(latency)
        self.computed.append(computed)
        self.n_abstained += prediction.abstain

    def summary(self, ended: str) -> LiveSummary:
        """Return how it went."""
        waits = self.latencies or [float("nan")]
        work = self.computed or [float("nan")]
        return LiveSummary(
            len(self.latencies),
            self.n_abstained,
            self.ring.segment + 1,
            latency_p50_seconds=float(np.percentile(waits, 50)),
            latency_p99_seconds=float(np.percentile(waits, 99)),
            compute_p50_seconds=float(np.percentile(work, 50)),
            compute_p99_seconds=float(np.percentile(work, 99)),
            ended=ended,
        )
