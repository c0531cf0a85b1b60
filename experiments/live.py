"""The live decoder: an EEG stream in, predictions out, both over LSL."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import clock_offset, describe, find_streams, open_inlet, pull
from physioemo.acquisition.stream_return import ReturnWatch, find_same_return
from physioemo.description import StreamDescription
from physioemo.errors import (
    AmbiguousStreamError,
    NoStreamError,
    PhysioEmoError,
    StreamDescriptionError,
)
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.live_decoding import FRESH_SECONDS, Decoded, LiveDecoding
from physioemo.experiments.live_outlets import LiveOutlets
from physioemo.overrides import Overrides
from physioemo.prediction import Prediction

__all__ = [
    "STALE_SECONDS",
    "LiveSummary",
    "open_fitting",
    "run_live",
    "summarise_run",
    "why_over",
]

STALE_SECONDS = 1.0
"""A stream that has been silent for this long is not believed any more."""

_OFFSET_SECONDS = 5.0
_PULL_SECONDS = 0.1
_KEPT_LATENCIES = 100_000


@dataclass(frozen=True)
class LiveSummary:
    """How a live run went.

    Parameters
    ----------
    n_predictions, n_abstained : int
        How many were published, and how many of them abstained.
    n_skipped : int
        Windows that were left out because newer ones were complete.
    n_segments : int
        1 + the number of gaps of the EEG stream.
    latency_p50_seconds, latency_p99_seconds : float
        From the time stamp of the newest sample used to the prediction on the wire; NaN
        without predictions; of the newest 100,000.
    compute_p50_seconds, compute_p99_seconds : float
        From the samples' arrival to the prediction.
    ended : str
        Why it ended.
    """

    n_predictions: int
    n_abstained: int
    n_skipped: int
    n_segments: int
    latency_p50_seconds: float
    latency_p99_seconds: float
    compute_p50_seconds: float
    compute_p99_seconds: float
    ended: str


def run_live(
    decoder: Decoder,
    *,
    predicates: tuple[str, ...] = (),
    overrides: Overrides | None = None,
    duration_seconds: float | None = None,
    stop_when_idle_seconds: float | None = None,
    stale_seconds: float = STALE_SECONDS,
    find_seconds: float = 5.0,
    should_stop: Callable[[], bool] = lambda: False,
    restarts: Callable[[], Collection[str]] = tuple,
    on_start: Callable[[StreamDescription], None] = lambda description: None,
    on_prediction: Callable[[Prediction, float], None] = lambda prediction, latency: None,
    on_notice: Callable[[str], None] = lambda text: None,
) -> LiveSummary:
    """Decode an EEG stream and publish ``PhysioEmo-VAD`` and ``PhysioEmo-Quality``.

    A stream that falls silent is told by predictions that abstain, one a second; decoding goes on
    by itself when it comes back. Of what has piled up the newest window is decoded, and what is
    older than half a second is skipped and counted.

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
    stale_seconds : float
        After how long a silence predictions abstain.
    find_seconds : float
        How long to look for the stream.
    should_stop, restarts, on_start, on_prediction, on_notice : callable
        Asked after every chunk, whether to stop, and which streams are to begin from rest, by
        their names, ``""`` for all (so that a recording that begins now, or has joined a stream
        anew, holds all it takes); told the stream that is decoded, once the predictions are
        published; told every prediction and its latency in seconds; told what happens besides.

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
    inlet, description = open_fitting(decoder, predicates, overrides or Overrides(), find_seconds)
    run = _Run(decoder, description, inlet, stale_seconds, on_prediction, on_notice)
    run.decoding.warm_up()
    on_start(description)
    began, ended = time.monotonic(), "the stream was lost"
    try:
        while True:
            run.turn()
            if {"", description.name}.intersection(restarts()):
                run.restart()
            if should_stop():
                ended = "stopped"
                break
            idle = run.silent_seconds if run.has_data else 0.0
            if over := why_over(began, duration_seconds, idle, stop_when_idle_seconds):
                ended = over
                break
    except KeyboardInterrupt:
        ended = "stopped"
    except pylsl.util.LostError:
        pass
    finally:
        run.inlet.close_stream()
    return run.summary(ended)


def why_over(
    began_seconds: float,
    duration_seconds: float | None,
    idle_seconds: float,
    longest_idle_seconds: float | None,
) -> str:
    """Return why a live run is over, or nothing while it goes on.

    Parameters
    ----------
    began_seconds : float
        When it began, by :func:`time.monotonic`.
    duration_seconds : float, optional
        How long it runs; without end by default.
    idle_seconds : float
        For how long the stream has been silent.
    longest_idle_seconds : float, optional
        For how long it may be.
    """
    if duration_seconds is not None and time.monotonic() - began_seconds >= duration_seconds:
        return "the time was up"
    if longest_idle_seconds is not None and idle_seconds >= longest_idle_seconds:
        return f"the stream had been silent for {idle_seconds:.1f} s"
    return ""


def open_fitting(
    decoder: Decoder | FusedDecoder,
    predicates: tuple[str, ...],
    overrides: Overrides,
    find_seconds: float,
) -> tuple[Any, StreamDescription]:
    """Return an inlet of the one stream that the decoder can read, and its description.

    Raises
    ------
    StreamError
        If no stream fits, several do, or the stream does not describe itself.
    """
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


class _Run:
    """One live run: inlet, outlets, decoding, and the counts."""

    def __init__(
        self,
        decoder: Decoder,
        description: StreamDescription,
        inlet: Any,
        stale_seconds: float,
        on_prediction: Callable[[Prediction, float], None],
        on_notice: Callable[[str], None],
    ) -> None:
        self.decoder, self.inlet = decoder, inlet
        self.decoding = LiveDecoding(decoder, description)
        self.has_data = False
        self._outlets = LiveOutlets(decoder)
        self._stale_seconds = stale_seconds
        self._on_prediction, self._on_notice = on_prediction, on_notice
        self._watch, self._uids = ReturnWatch(description), {inlet.info().uid()}
        self._offset, self._measured = 0.0, -np.inf
        self._arrived = time.monotonic()
        self._newest_stamp = np.nan
        self._n_told = 0
        self._latencies: deque[float] = deque(maxlen=_KEPT_LATENCIES)
        self._computed: deque[float] = deque(maxlen=_KEPT_LATENCIES)
        self._n, self._n_abstained = 0, 0

    @property
    def silent_seconds(self) -> float:
        """For how long nothing has come."""
        return time.monotonic() - self._arrived

    def restart(self) -> None:
        """Begin from rest with what comes from now on."""
        self.inlet.flush()
        self.decoding.restart()

    def turn(self) -> None:
        """Take what has come, say what it means, and mind a silence."""
        import pylsl

        if time.monotonic() - self._measured > _OFFSET_SECONDS and not self._n_told:
            triple = clock_offset(self.inlet, timeout_seconds=0.5)
            # Without an answer the previous one holds.
            self._offset = self._offset if triple is None else float(triple[1])
            self._measured = time.monotonic()
        signal, stamps = pull(self.inlet, timeout_seconds=_PULL_SECONDS)
        if not len(stamps):
            self._mind_silence()
            return
        if self._n_told:
            self._on_notice(f"{self.decoding.description.name} is back")
        self._arrived, self._n_told, self.has_data = time.monotonic(), 0, True
        self._newest_stamp = float(stamps[-1])
        began = time.perf_counter()
        wanted = pylsl.local_clock() - self._offset - FRESH_SECONDS
        for decoded in self.decoding.push(signal, stamps, newest_wanted_stamp=wanted):
            self._say(decoded, time.perf_counter() - began)

    def _mind_silence(self) -> None:
        """Abstain once a second; look whether the stream is back under another connection."""
        silent = self.silent_seconds
        if self.has_data and silent >= self._stale_seconds + self._n_told:
            self._n_told += 1
            reason = f"the stream has been silent for {silent:.1f} s"
            if self._n_told == 1:
                self._on_notice(f"{self.decoding.description.name}: {reason}")
            nothing = np.zeros(len(self.decoder.ch_names), bool)
            prediction = self.decoder.abstention(self._newest_stamp, reason)
            self._say(Decoded(prediction, np.nan, nothing, self.decoding.n_skipped), 0.0)
        if self._watch.is_due(silent):
            inlet = find_same_return(self.decoding.description, self._uids)
            if inlet is not None:
                self.inlet.close_stream()
                self.inlet, self._measured, self._n_told = inlet, -np.inf, 0
                self._arrived = time.monotonic()
                self._on_notice(f"{self.decoding.description.name} came back")

    def _say(self, decoded: Decoded, computing_seconds: float) -> None:
        stamp = decoded.prediction.time_seconds
        prediction = replace(decoded.prediction, time_seconds=stamp + self._offset)
        quality = {
            "first_stamp": decoded.first_stamp,
            "newest_stamp": stamp,
            "usable": float(decoded.usable.mean()),
            "skipped": decoded.n_skipped,
            "computing": computing_seconds,
        }
        latency = self._outlets.send(prediction, quality, decoded.usable)
        self._n += 1
        self._n_abstained += prediction.abstain
        if not np.isnan(decoded.first_stamp):
            self._latencies.append(latency)
            self._computed.append(computing_seconds)
        self._on_prediction(prediction, latency)

    def summary(self, ended: str) -> LiveSummary:
        """Return how it went."""
        return summarise_run(
            self._latencies,
            self._computed,
            n_predictions=self._n,
            n_abstained=self._n_abstained,
            n_skipped=self.decoding.n_skipped,
            n_segments=self.decoding.n_segments,
            ended=ended,
        )


def summarise_run(
    latencies: Iterable[float], computed: Iterable[float], **counts: Any
) -> LiveSummary:
    """Return a summary with the percentiles of times in seconds; NaN without any."""
    waits, work = list(latencies) or [np.nan], list(computed) or [np.nan]
    return LiveSummary(
        **counts,
        latency_p50_seconds=float(np.percentile(waits, 50)),
        latency_p99_seconds=float(np.percentile(waits, 99)),
        compute_p50_seconds=float(np.percentile(work, 50)),
        compute_p99_seconds=float(np.percentile(work, 99)),
    )
