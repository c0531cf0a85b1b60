"""One recording becomes the features of the windows of its trials.

A trial's first window begins with the trial; no window reaches beyond it. What came before in the
same stretch (a baseline, in a live recording also the end of the previous trial) only warms
filters up, for as long as they remember. Missing samples are NaN, and a value that they touch is
NaN and not ``present``.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from physioemo.clock import segment_bounds
from physioemo.description import StreamDescription
from physioemo.errors import AmbiguousStreamError, CallError, NoStreamError
from physioemo.features.conditioning import condition
from physioemo.features.eeg_windows import eeg_channels
from physioemo.features.entropy_family import FILTER_MEMORY_SECONDS
from physioemo.features.family import Extractor, Family, WindowGrid
from physioemo.features.preprocess_arrays import (
    family_arrays,
    recording_columns,
    stimulus_arrays,
    window_columns,
)
from physioemo.features.preprocess_recipe import SMOOTHED, PreprocessRecipe
from physioemo.features.preprocess_trials import Trial, count_windows, n_windows, trials_of
from physioemo.features.smoothing import smooth
from physioemo.features.stimulus_files import StimulusFiles
from physioemo.recording import Recording
from physioemo.stream import describe_stream

__all__ = ["recording_features"]

_COORDINATES = ("subject", "session", "trial", "stimulus", "onset_seconds", "trial_seconds")
_SHARED_AXES = ("channel", "band")


@dataclass(frozen=True)
class _Stream:
    """One stream's samples (time, channel) and what is asked of it."""

    description: StreamDescription
    signal: np.ndarray
    time: np.ndarray
    segments: list[tuple[int, int]]
    grid: WindowGrid
    extractors: dict[str, Extractor]

    @property
    def is_eeg(self) -> bool:
        return self.description.modality == "eeg"


def recording_features(
    recording: Recording,
    recipe: PreprocessRecipe,
    *,
    name: str,
    stimuli: StimulusFiles | None = None,
) -> xr.Dataset:
    """Return the features of the windows of all trials.

    Parameters
    ----------
    recording : Recording
        With trials; each stream at its own rate.
    recipe : PreprocessRecipe
        What to compute.
    name : str
        What the recording is called where it states no subject.
    stimuli : StimulusFiles, optional
        The files of the recipe's stimuli, where families read them.

    Returns
    -------
    Dataset
        For each family an array (window, ...), NaN where a value could not be had, and
        ``<family>_present``; coordinates ``subject``, ``session``, ``trial``, ``stimulus``,
        ``onset_seconds`` (session clock, first sample) and ``trial_seconds`` (since the trial's
        onset) by window; ``rating`` (window, dimension) and other columns of the trials; and, of
        length one, ``recording`` with what must be known of it, among it ``<family>_mean`` and
        ``<family>_std``, the statistics for a normalisation that is applied later.

    Raises
    ------
    NoStreamError
        If no stream fits a family.
    CallError
        If a stimulus has no file, and that is not allowed.
    DataError
        If there are no trials, or one has no baseline where the recipe needs it, or a file is not
        the one that was shown.
    """
    streams = _open_streams(recording, recipe)
    trials = list(trials_of(recording, recipe))
    counts = [count_windows(trial, recipe) for trial in trials]
    tables = [_trial_values(t, n, streams, recipe) for t, n in zip(trials, counts, strict=True)]
    extractors = {k: e for s in streams for k, e in s.extractors.items()}
    arrays: dict[str, Any] = {}
    for family in recipe.families:
        extractor = extractors[family.name]
        values = np.concatenate([t[family.name] for t in tables])
        own = {_axis(family, k): v for k, v in extractor.coords.items()}
        arrays |= family_arrays(family.name, values, own, extractor.units, extractor.fingerprint)
    arrays |= stimulus_arrays(recording, recipe, trials, counts, stimuli)
    arrays |= window_columns(recording, trials, counts, recipe)
    arrays |= recording_columns(recording, name, sum(counts))
    return xr.Dataset(arrays).set_coords(_COORDINATES)


def _open_streams(recording: Recording, recipe: PreprocessRecipe) -> list[_Stream]:
    wanted: dict[str, list[Family]] = {}
    for family in recipe.families:
        wanted.setdefault(_stream_for(family, recording), []).append(family)
    streams = []
    for key, families in wanted.items():
        stream = recording[key]
        description = describe_stream(stream)
        signal, description = _eeg_in_microvolts(stream["signal"].values, description)
        grid = WindowGrid.in_seconds(description.sfreq, recipe.window_seconds, recipe.hop_seconds)
        time = np.maximum.accumulate(stream["time"].values)
        streams.append(
            _Stream(
                description,
                signal,
                time,
                list(segment_bounds(time, description.sfreq)),
                grid,
                {f.name: f.prepare(description, grid, recipe.options) for f in families},
            )
        )
    return streams


def _stream_for(family: Family, recording: Recording) -> str:
    described = {key: recording.description(key) for key in recording.streams}
    for modality in family.modalities:
        fitting = [k for k, d in described.items() if d.modality == modality]
        # Skin, breath and heart often share a stream of another kind.
        fitting = fitting or [k for k, d in described.items() if modality in d.ch_types]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise AmbiguousStreamError(
                f"found {len(fitting)} streams with {modality} ({', '.join(fitting)}) for the "
                f"feature {family.name!r}, expected one; leave the others out of the recording"
            )
    raise NoStreamError(
        f"found the streams {', '.join(recording.streams)}, expected one of the kind "
        f"{' or '.join(family.modalities)} for the feature {family.name!r}; leave it out of "
        "--features"
    )


def _eeg_in_microvolts(
    signal: np.ndarray, description: StreamDescription
) -> tuple[np.ndarray, StreamDescription]:
    """Return the EEG channels of an EEG stream in microvolts; other streams as they are."""
    if description.modality != "eeg":
        return signal, description
    channels = eeg_channels(description)
    if len(channels.index) == channels.n_channels and (channels.factor == 1).all():
        return signal, description
    return signal[:, channels.index] * channels.factor, replace(
        description,
        ch_names=channels.names,
        units=("uV",) * len(channels.names),
        ch_types=("eeg",) * len(channels.names),
    )


def _trial_values(
    trial: Trial, n: int, streams: list[_Stream], recipe: PreprocessRecipe
) -> dict[str, np.ndarray]:
    """Return each family's values (window, ...) of the windows of one trial."""
    found: dict[str, np.ndarray] = {}
    for stream in streams:
        values = _interval_values(stream, trial.onset_seconds, n, recipe)
        if trial.baseline and "de" in values:
            values["de"] = values["de"] - _baseline_mean(trial, stream, recipe)
        found |= values
    for name in set(SMOOTHED) & set(found):
        found[name] = smooth(found[name], recipe.smoothing, n_windows=recipe.smoothing_windows)
    return found


def _baseline_mean(trial: Trial, stream: _Stream, recipe: PreprocessRecipe) -> np.ndarray:
    """Return the mean entropy (channel, band) over the windows of the baseline."""
    assert trial.baseline is not None  # noqa: S101  (the caller has looked)
    onset, duration = trial.baseline
    n = n_windows(duration, recipe)
    if not n:
        raise CallError(
            f"found a baseline of {duration:g} s before trial {trial.number}, expected at least "
            f"one window of {recipe.window_seconds:g} s; use shorter windows or --baseline none"
        )
    values = _interval_values(stream, onset, n, recipe)["de"]
    count = np.isfinite(values).sum(axis=0)
    total = np.where(np.isfinite(values), values, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


def _interval_values(
    stream: _Stream, onset_seconds: float, n: int, recipe: PreprocessRecipe
) -> dict[str, np.ndarray]:
    """Return the values (window, ...) of `n` windows from an onset."""
    memory = [e.warm_up_seconds for e in stream.extractors.values()]
    if stream.is_eeg and recipe.conditioning.filters:
        memory.append(FILTER_MEMORY_SECONDS)
    signal, lead = _cut(stream, onset_seconds, n, max(memory))
    if stream.is_eeg:
        description = stream.description
        names, sfreq = description.ch_names, description.sfreq
        signal = condition(signal, names, sfreq, recipe.conditioning)
    return {name: e.batch(signal)[lead:] for name, e in stream.extractors.items()}


def _cut(
    stream: _Stream, onset_seconds: float, n_windows: int, memory_seconds: float
) -> tuple[np.ndarray, int]:
    """Return samples (channel, time) from whole hops before an onset, and how many hops.

    A sample that is not there is NaN.
    """
    sfreq, hop = stream.description.sfreq, stream.grid.hop_samples
    n = (n_windows - 1) * hop + stream.grid.window_samples
    wanted = math.ceil(memory_seconds * sfreq / hop)
    lead, parts = 0, []
    for first, last in stream.segments:
        # The nearest sample; within a stretch they are counted, so a rate that is off by a
        # few parts per million tears no hole.
        at = first + int(np.searchsorted(stream.time[first:last], onset_seconds - 0.5 / sfreq))
        if at == first:
            place = round((float(stream.time[first]) - onset_seconds) * sfreq)
        else:
            place = 0
            if at < last:
                lead = min(wanted, (at - first) // hop)
        if at < last and place < n:
            parts.append((place, at, min(last, at + n - place)))
    out = np.full((stream.signal.shape[1], lead * hop + n), np.nan)
    for place, start, stop in parts:
        back = lead * hop if place == 0 and lead else 0
        to = place + lead * hop - back
        out[:, to : to + stop - start + back] = stream.signal[start - back : stop].T
    return out, lead


def _axis(family: Family, axis: str) -> str:
    """Return the name of an axis: the EEG's channels and bands are shared, others are not."""
    name = family.name.replace("-", "_")
    shared = family.modalities == ("eeg",) and axis in _SHARED_AXES
    return axis if shared or axis.startswith(f"{name}_") else f"{name}_{axis}"
