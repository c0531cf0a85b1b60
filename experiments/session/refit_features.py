"""What the layers before the last say of a participant's rated trials, for a refit of the last."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from physioemo.errors import CallError, PhysioEmoError
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_predict import heard_windows
from physioemo.experiments.tokens import FAMILY
from physioemo.recording import Recording

__all__ = ["trial_features"]


def trial_features(
    decoder: Decoder | FusedDecoder,
    model: Any,
    layers: Mapping[str, Any],
    recordings: Sequence[Recording],
    ratings: Mapping[str, Any],
    stream: str | None,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return what comes into each dimension's last layer, and in which trial it was seen.

    Parameters
    ----------
    decoder : Decoder or FusedDecoder
        Whose windows.
    model : nn.Module
        A copy of its model.
    layers : mapping of str to nn.Linear
        Of that copy, by dimension.
    recordings : sequence of Recording
        With trials and streams.
    ratings : mapping
        By trial number (as text); trials without are left out.
    stream : str, optional
        Name of the EEG stream; by default the one that fits the decoder.

    Returns
    -------
    dict of str to ndarray, shape (window, feature)
    ndarray of int, shape (window,)

    Raises
    ------
    CallError
        If no stream fits, or no rated trial is there.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in decoder.dimensions}
    trials = []
    for recording in recordings:
        key = recording.key(stream) if stream else _fitting(decoder, recording)
        if isinstance(decoder, Decoder):
            found, trial = _of_eeg(decoder, layers, model, recording, key, ratings)
        else:
            found, trial = _of_streams(decoder, recording, key, ratings)
        if len(trial):
            trials.append(trial)
            for name, part in found.items():
                parts[name].append(part)
    if not trials:
        raise CallError("found no rated trial in the recordings, expected some; rate more first")
    return {name: np.concatenate(part) for name, part in parts.items()}, np.concatenate(trials)


def _of_eeg(
    decoder: Decoder,
    layers: Mapping[str, Any],
    model: Any,
    recording: Recording,
    key: str,
    ratings: Mapping[str, Any],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return features and trials of a decoder of the EEG alone."""
    tokens = decoder.tokens(recording.description(key))
    made = tokens.fold(recording.windows(key, decoder.recipe.hop_samples), key)
    there = np.asarray(made[FAMILY].present.all(axis=2))
    trial = _trial_of(recording, made.start_seconds, made.stop_seconds, ratings)
    rows = np.flatnonzero((trial >= 0) & (there.mean(axis=1) >= 0.5))
    if not len(rows):
        return {}, trial[rows]
    values = decoder.scaler(made[FAMILY].values[rows])
    found = {name: _before(model, layers[name], values, there[rows]) for name in layers}
    return found, trial[rows]


def _of_streams(
    decoder: FusedDecoder, recording: Recording, key: str, ratings: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return features and trials of a decoder of several streams, read window by window."""
    heard = heard_windows(decoder, recording, key)
    stops = np.array([window.stop_seconds for window in heard])
    seconds = decoder.recipe.window_samples / decoder.recipe.sfreq
    trial = _trial_of(recording, stops - seconds, stops, ratings)
    rows, features = [], []
    for row in np.flatnonzero(trial >= 0).tolist():
        window = heard[row]
        read = decoder.read_one(window.eeg_tokens, window.sides, window.stop_seconds, None)
        if not read.abstain[0]:
            rows.append(row)
            features.append(np.asarray(read.features[0], float))  # (dimension, feature)
    return {
        name: np.array([f[d] for f in features]) for d, name in enumerate(decoder.dimensions)
    }, trial[rows]


def _trial_of(
    recording: Recording, start: np.ndarray, stop: np.ndarray, ratings: Mapping[str, Any]
) -> np.ndarray:
    """Return the rated trial that each window lies in (window,); -1 for none."""
    table = recording.trials
    columns = [table[c].values.tolist() for c in ("trial", "onset_seconds", "duration_seconds")]
    found = np.full(len(start), -1)
    for number, onset, seconds in zip(*columns, strict=True):
        if str(number) in ratings:
            found[(start >= onset) & (stop <= onset + seconds)] = number
    return found


def _fitting(decoder: Decoder | FusedDecoder, recording: Recording) -> str:
    for key in recording.streams:
        try:
            decoder.tokens(recording.description(key))
        except PhysioEmoError:
            continue
        return key
    raise CallError(
        f"found the streams {', '.join(recording.streams)}, expected one that fits the decoder"
    )


def _before(model: Any, layer: Any, tokens: np.ndarray, electrodes: np.ndarray) -> np.ndarray:
    """Return what comes into a layer, (window, feature), float64."""
    from physioemo.models.prediction import predict_logits

    caught: list[np.ndarray] = []
    with _listening(layer, caught):
        predict_logits(model, tokens, electrodes)
    return np.concatenate(caught).astype(float)


@contextmanager
def _listening(layer: Any, caught: list[np.ndarray]) -> Iterator[None]:
    handle = layer.register_forward_pre_hook(
        lambda module, arguments: caught.append(arguments[0].detach().numpy().copy())
    )
    try:
        yield
    finally:
        handle.remove()
