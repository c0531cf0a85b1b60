"""One recording becomes the features of the windows of its trials.

A trial's first window begins with the trial; no window reaches beyond it. What came before in the
same stretch (a baseline, in a live recording also the end of the previous trial) only warms
filters up, for as long as they remember. Missing samples are NaN, and a value that they touch is
NaN and not ``present``.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from physioemo.clock import segment_bounds
from physioemo.description import StreamDescription
from physioemo.errors import AmbiguousStreamError, CallError, DataError, NoStreamError
from physioemo.features.conditioning import condition
from physioemo.features.eeg_windows import eeg_channels
from physioemo.features.entropy_family import FILTER_MEMORY_SECONDS
from physioemo.features.family import Extractor, Family, WindowGrid
from physioemo.features.preprocess_recipe import SMOOTHED, PreprocessRecipe
from physioemo.features.smoothing import smooth
from physioemo.recording import Recording
from physioemo.stream import describe_stream

__all__ = ["recording_features"]

_COORDINATES = ("subject", "session", "trial", "stimulus", "onset_seconds", "trial_seconds")
_SHARED_AXES = ("channel", "band")
_TRIAL_COLUMNS = ("onset_seconds", "duration_seconds", "stimulus")


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


@dataclass(frozen=True)
class _Trial:
    number: int
    onset_seconds: float
    duration_seconds: float
    stimulus: str
    baseline: tuple[float, float] | None


def recording_features(recording: Recording, recipe: PreprocessRecipe, *, name: str) -> xr.Dataset:
    """Return the features of the windows of all trials.

    Parameters
    ----------
    recording : Recording
        With trials; each stream at its own rate.
    recipe : PreprocessRecipe
        What to compute.
    name : str
        What the recording is called where it states no subject.

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
    DataError
        If there are no trials, or one has no baseline where the recipe needs it.
    """
    streams = _open_streams(recording, recipe)
    trials = list(_trials(recording, recipe))
    tables = [_trial_values(trial, streams, recipe) for trial in trials]
    counts = [next(iter(t.values())).shape[0] for t in tables]
    extractors = {k: e for s in streams for k, e in s.extractors.items()}
    arrays: dict[str, Any] = {}
    for family in recipe.families:
        extractor = extractors[family.name]
        values = np.concatenate([t[family.name] for t in tables])
        arrays |= _family_arrays(family, values, extractor)
    arrays |= _window_columns(recording, trials, counts, recipe)
    arrays |= _recording_columns(recording, name, sum(counts))
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


def _trials(recording: Recording, recipe: PreprocessRecipe) -> Iterator[_Trial]:
    table, events = recording.trials, recording.events
    if not table.sizes["trial"]:
        raise DataError(
            "found no trials, expected at least one; record trial_start and trial_stop markers"
        )
    kinds = events["description"].values.astype(object)
    baselines = [
        (float(onset), float(seconds))
        for onset, seconds, kind in zip(
            events["onset_seconds"].values, events["duration_seconds"].values, kinds, strict=True
        )
        if kind == "baseline"
    ]
    columns = (table["trial"].values, *(table[c].values for c in _TRIAL_COLUMNS))
    previous = -math.inf
    for number, onset, duration, stimulus in zip(*columns, strict=True):
        own = [b for b in baselines if previous <= b[0] and b[0] + b[1] <= onset + 1e-3]
        if recipe.baseline == "subtract" and not own:
            raise DataError(
                f"found no baseline before trial {number}, expected one to subtract; use "
                "--baseline none"
            )
        baseline = own[-1] if own and recipe.baseline == "subtract" else None
        yield _Trial(int(number), float(onset), float(duration), str(stimulus), baseline)
        previous = float(onset)


def _trial_values(
    trial: _Trial, streams: list[_Stream], recipe: PreprocessRecipe
) -> dict[str, np.ndarray]:
    """Return each family's values (window, ...) of one trial, all with as many windows."""
    n = _n_windows(trial.duration_seconds, recipe)
    if not n:
        raise DataError(
            f"found trial {trial.number} of {trial.duration_seconds:g} s, expected at least one "
            f"window of {recipe.window_seconds:g} s; use shorter windows"
        )
    found: dict[str, np.ndarray] = {}
    for stream in streams:
        values = _interval_values(stream, trial.onset_seconds, n, recipe)
        if trial.baseline and "de" in values:
            values["de"] = values["de"] - _baseline_mean(trial, stream, recipe)
        found |= values
    for name in set(SMOOTHED) & set(found):
        found[name] = smooth(found[name], recipe.smoothing, n_windows=recipe.smoothing_windows)
    return found


def _n_windows(duration_seconds: float, recipe: PreprocessRecipe) -> int:
    hops = (duration_seconds - recipe.window_seconds) / recipe.hop_seconds
    # Stamps and markers carry noise: a thousandth of a hop decides nothing.
    return max(0, math.floor(hops + 1e-3) + 1)


def _baseline_mean(trial: _Trial, stream: _Stream, recipe: PreprocessRecipe) -> np.ndarray:
    """Return the mean entropy (channel, band) over the windows of the baseline."""
    assert trial.baseline is not None  # noqa: S101  (the caller has looked)
    onset, duration = trial.baseline
    n = _n_windows(duration, recipe)
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
    stream: _Stream, onset_seconds: float, n_windows: int, recipe: PreprocessRecipe
) -> dict[str, np.ndarray]:
    """Return the values (window, ...) of `n_windows` windows from an onset."""
    memory = [e.warm_up_seconds for e in stream.extractors.values()]
    if stream.is_eeg and recipe.conditioning.filters:
        memory.append(FILTER_MEMORY_SECONDS)
    signal, lead = _cut(stream, onset_seconds, n_windows, max(memory))
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


def _family_arrays(family: Family, values: np.ndarray, extractor: Extractor) -> dict[str, Any]:
    name = family.name.replace("-", "_")
    own = {_axis(family, k): v for k, v in extractor.coords.items()}
    dims = tuple(own)
    present = np.isfinite(values)
    count = present.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, values, 0.0).sum(axis=0) / count
        squares = np.where(present, (values - mean) ** 2, 0.0).sum(axis=0)
        std = np.sqrt(squares / count)
    attrs = {"recipe_fingerprint": extractor.fingerprint, "units": ", ".join(extractor.units)}
    return {
        **{axis: (axis, _text(entries)) for axis, entries in own.items()},
        name: (("window", *dims), np.where(present, values, np.nan), attrs),
        f"{name}_present": (("window", *dims), present),
        f"{name}_mean": (("recording", *dims), mean[None]),
        f"{name}_std": (("recording", *dims), std[None]),
    }


def _window_columns(
    recording: Recording, trials: list[_Trial], counts: list[int], recipe: PreprocessRecipe
) -> dict[str, Any]:
    since = np.concatenate([np.arange(n) * recipe.hop_seconds for n in counts])
    onset = np.repeat([t.onset_seconds for t in trials], counts)
    numbers = np.repeat([t.number for t in trials], counts)
    columns: dict[str, Any] = {
        "trial": ("window", numbers),
        "stimulus": ("window", _text(np.repeat([t.stimulus for t in trials], counts))),
        "onset_seconds": ("window", onset + since),
        "trial_seconds": ("window", since),
    }
    ratings = recording.ratings
    if ratings.sizes["trial"]:
        rows = {
            int(t): r
            for t, r in zip(ratings["trial"].values, ratings["rating"].values, strict=True)
        }
        nothing = np.full(ratings.sizes["dimension"], np.nan)
        rated = np.array([rows.get(t.number, nothing) for t in trials])
        columns["rating"] = (
            ("window", "dimension"),
            np.repeat(rated, counts, axis=0),
            dict(ratings.attrs),
        )
        columns["dimension"] = ("dimension", _text(ratings["dimension"].values))
    others = [c for c in recording.trials.data_vars if c not in _TRIAL_COLUMNS]
    for column in others:
        values = recording.trials[column].values
        by_window = np.repeat(
            values.astype(object) if values.dtype.kind in "OUT" else values, counts
        )
        columns[str(column)] = ("window", by_window)
    return columns


def _recording_columns(recording: Recording, name: str, n_windows: int) -> dict[str, Any]:
    attrs = recording.attrs
    subject, session = str(attrs.get("subject") or name), str(attrs.get("session") or "1")
    simulated = recording.simulated or bool(attrs.get("synthetic", False))
    own = {
        "recording_name": name,
        "recording_subject": subject,
        "recording_session": session,
        "recording_notes": "; ".join(recording.notes),
        "recording_source_file": str(attrs.get("source_file", name)),
        "recording_source_fingerprint": str(attrs.get("source_fingerprint", "")),
    }
    columns: dict[str, Any] = {k: ("recording", _text([v])) for k, v in own.items()}
    columns["recording_windows"] = ("recording", np.array([n_windows]))
    columns["recording_simulated"] = ("recording", np.array([simulated]))
    columns["subject"] = ("window", _text([subject] * n_windows))
    columns["session"] = ("window", _text([session] * n_windows))
    return columns


def _text(values: Any) -> np.ndarray:
    return np.array([str(v) for v in values], object)
