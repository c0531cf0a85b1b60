"""A fused decoder on a whole recording: window by window, as live; or all at once, offline only."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from physioemo.experiments.fused_context import window_features
from physioemo.experiments.fused_saying import say
from physioemo.experiments.fused_stimulus import recording_stimulus
from physioemo.experiments.fused_streams import SideHistory, SideToken, recording_side
from physioemo.experiments.tokens import FAMILY
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.features.stimulus_tokens import StimulusTokens
from physioemo.prediction import Prediction
from physioemo.recording import Recording

if TYPE_CHECKING:
    from physioemo.experiments.fused_decoder import FusedDecoder

__all__ = ["Heard", "heard_windows", "predict_recording"]


class Heard(NamedTuple):
    """One EEG window and what stands beside it."""

    eeg_tokens: np.ndarray
    sides: dict[str, SideToken | None]
    stop_seconds: float
    segment: int


def predict_recording(
    decoder: "FusedDecoder",
    recording: Recording,
    stream: str,
    stimuli: Sequence[StimulusFeatures],
) -> list[Prediction]:
    """Return the predictions of a recording.

    Parameters
    ----------
    decoder, recording, stream, stimuli
        As in :meth:`physioemo.experiments.fused_decoder.FusedDecoder.predict`.
    """
    heard = heard_windows(decoder, recording, recording.key(stream))
    ends = np.array([window.stop_seconds for window in heard])
    shown = None
    if decoder.stimulus is not None and len(stimuli):
        shown = recording_stimulus(recording, ends, stimuli, decoder.stimulus)
    if decoder.offline_only:
        return _all_at_once(decoder, heard, shown)
    state, said = decoder.start(), []
    for row, newest, stop, segment in heard:
        one, state = decoder.step(row, newest, stop, state, segment=segment, stimulus=shown)
        said.append(one)
    return said


def heard_windows(decoder: "FusedDecoder", recording: Recording, key: str) -> list[Heard]:
    """Return the EEG's windows of a recording, each with the newest token of every side family.

    Parameters
    ----------
    decoder : FusedDecoder
        Whose windows and families.
    recording : Recording
        With the streams.
    key : str
        Of the EEG.

    Raises
    ------
    StreamDescriptionError, AmbiguousStreamError
        If a stream is not that of training, or two carry one family.
    """
    windows = list(_windows(decoder, recording, key))
    sides = {s.name: SideHistory(recording_side(recording, s)) for s in decoder.sides}
    return [
        Heard(row, {name: side.newest(stop) for name, side in sides.items()}, stop, segment)
        for row, stop, segment in windows
    ]


def _all_at_once(
    decoder: "FusedDecoder", heard: Sequence[Heard], shown: StimulusTokens | None
) -> list[Prediction]:
    """Return the predictions of a context that sees a whole stretch of windows."""
    if not heard or decoder.context is None:
        return []
    read = [decoder.read_one(row, newest, stop, shown) for row, newest, stop, _ in heard]
    found = type(read[0])(*(np.concatenate(part) for part in zip(*read, strict=True)))
    segments = np.array([window.segment for window in heard])
    logits, abstain = decoder.context.batch(window_features(found), segments)
    outputs = decoder.outputs_of(found, logits, abstain)
    return [
        decoder.abstention(window.stop_seconds, decoder.why_nothing(window.eeg_tokens))
        if outputs.abstain[i]
        else say(decoder, outputs, i, window.stop_seconds)
        for i, window in enumerate(heard)
    ]


def _windows(
    decoder: "FusedDecoder", recording: Recording, key: str
) -> Iterator[tuple[np.ndarray, float, int]]:
    """Yield the EEG's tokens (channel, band) of each window, when it ends, and its segment."""
    tokens = decoder.tokens(recording.description(key))
    state = tokens.start()
    for window in recording.windows(key, decoder.recipe.hop_samples):
        part = window[key]
        made, state = tokens.step(part.signal, part.time, window.segment, state)
        for row, stop in zip(made[FAMILY].values, made.stop_seconds.tolist(), strict=True):
            yield row, stop, window.segment
