"""A fused decoder live: the EEG leads, other streams and the player's frames join, over LSL."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import describe, find_streams, open_inlet
from physioemo.description import StreamDescription
from physioemo.errors import CallError, NoStreamError, PhysioEmoError
from physioemo.experiments.clocked_inlet import ClockedInlet
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_live import PATIENCE_SECONDS, FusedDecoded, FusedLive
from physioemo.experiments.fused_player import PlayerEar
from physioemo.experiments.fused_sides import find_side
from physioemo.experiments.fused_stimulus import stimulus_files
from physioemo.experiments.live import (
    STALE_SECONDS,
    LiveSummary,
    open_fitting,
    summarise_run,
    why_over,
)
from physioemo.experiments.live_outlets import LiveOutlets, side_quality
from physioemo.features.stimulus_cache import stimulus_features
from physioemo.models.temporal_context import require_causal
from physioemo.overrides import Overrides
from physioemo.prediction import Prediction

__all__ = ["run_fused_live"]

_PULL_SECONDS = 0.05
_KEPT_LATENCIES = 100_000
_DESCRIBE_SECONDS = 3.0


def run_fused_live(
    decoder: FusedDecoder,
    *,
    predicates: tuple[str, ...] = (),
    beside: tuple[str, ...] | None = None,
    overrides: Overrides | None = None,
    stimuli: Sequence[str | Path] = (),
    cache: str | Path | None = None,
    which_player: str = "",
    duration_seconds: float | None = None,
    stop_when_idle_seconds: float | None = None,
    find_seconds: float = 5.0,
    should_stop: Callable[[], bool] = lambda: False,
    restarts: Callable[[], Collection[str]] = tuple,
    on_start: Callable[[StreamDescription], None] = lambda description: None,
    on_prediction: Callable[[Prediction, float], None] = lambda prediction, latency: None,
    on_notice: Callable[[str], None] = lambda text: None,
) -> LiveSummary:
    """Decode an EEG stream and what stands beside it; publish the streams of a live decoder.

    A family without a stream, or whose stream falls silent, is missing: the model goes on with the
    rest. A window waits a quarter of a second at most for the others.

    Parameters
    ----------
    decoder : FusedDecoder
        From ``physioemo train``.
    predicates : tuple of str
        XPath predicates that choose the EEG; by default the one stream that fits.
    beside : tuple of str, optional
        XPath predicates of the streams beside it; by default all that there are.
    stimuli : sequence of str or Path
        Files, or folders of files, that the player shows; needed if the decoder reads them.
    cache : str or Path, optional
        Folder where decoded stimuli are kept; needed with `stimuli`.
    which_player : str
        XPath predicate of the player, such as ``"hostname='lab2'"``; any by default. It may come
        later, go and come back: in between what is shown is missing.
    overrides, duration_seconds, stop_when_idle_seconds, find_seconds, should_stop, \
restarts, on_start, on_prediction, on_notice
        See :func:`physioemo.experiments.live.run_live`.

    Raises
    ------
    CallError
        If the decoder reads stimuli and none are given, or it sees later windows.
    StreamError
        If no EEG fits, several do, or several streams carry a family.
    """
    import torch

    require_causal(decoder.network)
    torch.set_num_threads(1)
    shown = _shown(decoder, stimuli, cache, on_notice)
    inlet, description = open_fitting(decoder, predicates, overrides or Overrides(), find_seconds)
    eeg = ClockedInlet(inlet, description)
    sides = _open_sides(decoder, description, beside, overrides or Overrides(), on_notice)
    player = None
    if decoder.stimulus is not None:
        player = PlayerEar(shown, decoder.stimulus.layout, which=which_player, on_notice=on_notice)
    run = _Run(decoder, eeg, sides, player, on_prediction, on_notice)
    on_start(description)
    began, ended = time.monotonic(), "stopped"
    try:
        while not should_stop():
            run.turn()
            run.restart(restarts())
            idle = eeg.silent_seconds if eeg.has_data else 0.0
            if over := why_over(began, duration_seconds, idle, stop_when_idle_seconds):
                ended = over
                break
    except KeyboardInterrupt:
        pass
    finally:
        for ear in {id(ear): ear for ear in (eeg, *sides.values())}.values():
            ear.close()
        if player is not None:
            player.close()
    return run.summary(ended)


def _shown(
    decoder: FusedDecoder,
    stimuli: Sequence[str | Path],
    cache: str | Path | None,
    on_notice: Callable[[str], None],
) -> list[Any]:
    """Return what is seen and heard in the stimuli."""
    if decoder.stimulus is None:
        return []
    if not stimuli or cache is None:
        raise CallError(
            "found a decoder that reads what is shown, and no stimuli, expected the files that "
            "the player shows; name them, or their folder, with --stimuli"
        )
    return [
        stimulus_features(path, cache, decoder.stimulus.recipe, say=on_notice, mapped=True)
        for path in stimulus_files(stimuli)
    ]


def _open_sides(
    decoder: FusedDecoder,
    eeg: StreamDescription,
    beside: tuple[str, ...] | None,
    overrides: Overrides,
    on_notice: Callable[[str], None],
) -> dict[str, ClockedInlet]:
    """Open the stream of each family that there is, by the family's name; each stream once."""
    infos: dict[str, Any] = {}
    # Without a predicate all streams are looked for.
    for predicates in [()] if beside is None else [(one,) for one in beside]:
        with contextlib.suppress(NoStreamError):
            infos |= {info.uid(): info for info in find_streams(predicates)}
    described = {eeg.uid: eeg}
    for uid, info in infos.items():
        # What cannot be read carries nothing that was trained on.
        with contextlib.suppress(PhysioEmoError):
            described.setdefault(uid, _described(info, overrides))
    ears: dict[str, ClockedInlet] = {}
    opened: dict[str, ClockedInlet] = {}
    for side in decoder.sides:
        found = find_side(described, side.choice)
        if found is None or found == eeg.uid:
            on_notice(f"no stream of its own for {side.name!r}: it is missing")
            continue
        if found not in opened:
            opened[found] = ClockedInlet(open_inlet(infos[found])[0], described[found])
        ears[side.name] = opened[found]
    return ears


def _described(info: Any, overrides: Overrides) -> StreamDescription:
    """Return a stream's description without listening to it: a player may wait for listeners."""
    import pylsl

    try:
        return describe(pylsl.StreamInlet(info).info(_DESCRIBE_SECONDS), overrides)
    except (pylsl.util.TimeoutError, pylsl.util.LostError) as error:
        raise NoStreamError(f"found no answer of {info.name()!r}, expected one") from error


class _Run:
    """One live run: what is heard, decoded, published and counted."""

    def __init__(
        self,
        decoder: FusedDecoder,
        eeg: ClockedInlet,
        sides: Mapping[str, ClockedInlet],
        player: PlayerEar | None,
        on_prediction: Callable[[Prediction, float], None],
        on_notice: Callable[[str], None],
    ) -> None:
        self.decoder, self.eeg, self.player = decoder, eeg, player
        self._beside = {
            id(ear): (ear, [name for name, other in sides.items() if other is ear])
            for ear in sides.values()
        }
        self.live = FusedLive(
            decoder,
            eeg.description,
            {name: ear.description for name, ear in sides.items()},
            stimulus=None if player is None else player.window,
        )
        self._outlets = LiveOutlets(decoder)
        self._on_prediction, self._on_notice = on_prediction, on_notice
        self._n_told, self._newest_stamp = 0, np.nan
        self._latencies: deque[float] = deque(maxlen=_KEPT_LATENCIES)
        self._computed: deque[float] = deque(maxlen=_KEPT_LATENCIES)
        self._n, self._n_abstained = 0, 0

    def restart(self, names: Collection[str]) -> None:
        """Begin from rest with what comes from now on, of some streams or (``""``) of all.

        The player waits for the recorder when it is back, so it is not among the ``names``.
        """
        for ear in (self.eeg, *(ear for ear, _ in self._beside.values())):
            if {"", ear.description.name}.intersection(names):
                ear.flush()
                self.live.restart(ear.description.name)
        if self.player is not None and "" in names:
            self.player.restart()

    def turn(self) -> None:
        """Take what has come, say what it means, and mind a silence."""
        signal, stamps = self.eeg.pull(_PULL_SECONDS)
        # Looking for another stream takes its time, and is no silence of the EEG.
        silent = 0.0 if len(stamps) else self.eeg.silent_seconds
        began = time.perf_counter()
        for ear, names in self._beside.values():
            values, times = ear.pull()
            for name in names if len(times) else ():
                self.live.push_side(name, values, times, offset_seconds=ear.offset_seconds)
        if self.player is not None:
            self.player.listen()
        if len(stamps):
            self._n_told, self._newest_stamp = 0, float(stamps[-1])
            said = self.live.push(signal, stamps, offset_seconds=self.eeg.offset_seconds)
        elif silent < PATIENCE_SECONDS:
            said = self.live.ready()
        else:
            said = self.live.finish()
        for decoded in said:
            self._say_window(decoded, time.perf_counter() - began)
        self._mind_silence(silent)

    def _mind_silence(self, silent: float) -> None:
        if self.eeg.has_data and silent >= STALE_SECONDS + self._n_told:
            self._n_told += 1
            reason = f"the EEG has been silent for {silent:.1f} s"
            if self._n_told == 1:
                self._on_notice(reason)
            newest = self._newest_stamp + self.eeg.offset_seconds
            quality = {"first_stamp": np.nan, "newest_stamp": self._newest_stamp}
            nothing = np.zeros(len(self.decoder.ch_names), bool)
            self._say(
                self.decoder.abstention(newest, reason),
                {**quality, **side_quality(self.decoder, None), "computing": 0.0},
                nothing,
            )

    def _say_window(self, decoded: FusedDecoded, computing_seconds: float) -> None:
        window = decoded.window
        quality = {"first_stamp": window.first_stamp, "newest_stamp": window.newest_stamp}
        quality |= {**side_quality(self.decoder, decoded), "computing": computing_seconds}
        latency = self._say(decoded.prediction, quality, decoded.usable)
        self._latencies.append(latency)
        self._computed.append(computing_seconds)

    def _say(self, prediction: Prediction, quality: dict[str, float], usable: np.ndarray) -> float:
        quality |= {"usable": float(usable.mean()), "skipped": self.live.n_hurried}
        latency = self._outlets.send(prediction, quality, usable)
        self._n += 1
        self._n_abstained += prediction.abstain
        self._on_prediction(prediction, latency)
        return latency

    def summary(self, ended: str) -> LiveSummary:
        """Return how it went."""
        return summarise_run(
            self._latencies,
            self._computed,
            n_predictions=self._n,
            n_abstained=self._n_abstained,
            n_skipped=0,
            n_segments=self.live.n_segments,
            ended=ended,
        )
