"""The arrays of a recording's feature store: families of values, and what is known of windows."""

from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.features.preprocess_trials import TRIAL_COLUMNS, Trial
from physioemo.features.stimulus_family import stimulus_values
from physioemo.features.stimulus_files import StimulusFiles
from physioemo.recording import Recording

__all__ = ["family_arrays", "recording_columns", "stimulus_arrays", "window_columns"]


def stimulus_arrays(
    recording: Recording,
    recipe: PreprocessRecipe,
    trials: list[Trial],
    counts: list[int],
    stimuli: StimulusFiles | None,
) -> dict[str, Any]:
    """Return the arrays of the families that read the stimulus.

    Parameters
    ----------
    recording, recipe, stimuli
        As in :func:`physioemo.features.preprocess.recording_features`.
    trials, counts : list
        The trials, and how many windows each has.

    Raises
    ------
    CallError
        If the files are not those of the recipe, or a stimulus has none.
    DataError
        If a file is not the one that was shown, or cannot be decoded.
    """
    families, cut, seconds = recipe.stimulus_families, recipe.stimulus_cut, recipe.window_seconds
    if not families:
        return {}
    if stimuli is None or dict(stimuli.sha256) != dict(recipe.stimuli):
        raise CallError(
            f"found {'no' if stimuli is None else 'other'} files for the feature "
            f"{families[0].name!r}, expected those of the recipe; pass them as stimuli"
        )
    starts = [t.onset_seconds + np.arange(n) * recipe.hop_seconds
              for t, n in zip(trials, counts, strict=True)]  # fmt: skip
    ends = np.concatenate(starts) + seconds
    values = stimulus_values(recording, ends, families, stimuli, cut, seconds)
    arrays: dict[str, Any] = {}
    for family in families:
        prefix = family.name.replace("-", "_")
        own = {f"{prefix}_{axis}": n for axis, n in family.coords(cut, seconds).items()}
        arrays |= family_arrays(
            family.name, values[family.name], own, family.units, cut.fingerprint(seconds)
        )
    return arrays


def family_arrays(
    family: str,
    values: np.ndarray,
    own: dict[str, tuple[str, ...]],
    units: tuple[str, ...],
    fingerprint: str,
) -> dict[str, Any]:
    """Return the values of a family, what is present, and mean and spread of the recording.

    Parameters
    ----------
    family : str
        Its name.
    values : ndarray, shape (window, ...)
        NaN where missing.
    own : mapping of str to tuple of str
        Names of the axes after ``window``, and what stands along each.
    units : tuple of str
        One for all, or one per entry of the last axis.
    fingerprint : str
        Hash of what made it.
    """
    name = family.replace("-", "_")
    dims = tuple(own)
    present = np.isfinite(values)
    count = present.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, values, 0.0).sum(axis=0, dtype=float) / count
        squares = np.where(present, (values - mean) ** 2, 0.0).sum(axis=0)
        std = np.sqrt(squares / count)
    attrs = {"recipe_fingerprint": fingerprint, "units": ", ".join(units)}
    return {
        **{axis: (axis, _text(entries)) for axis, entries in own.items()},
        name: (("window", *dims), np.where(present, values, np.nan), attrs),
        f"{name}_present": (("window", *dims), present),
        f"{name}_mean": (("recording", *dims), mean[None]),
        f"{name}_std": (("recording", *dims), std[None]),
    }


def window_columns(
    recording: Recording, trials: list[Trial], counts: list[int], recipe: PreprocessRecipe
) -> dict[str, Any]:
    """Return what is known of each window: trial, stimulus, times, ratings and other columns."""
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
    others = [c for c in recording.trials.data_vars if c not in TRIAL_COLUMNS]
    for column in others:
        values = recording.trials[column].values
        by_window = np.repeat(
            values.astype(object) if values.dtype.kind in "OUT" else values, counts
        )
        columns[str(column)] = ("window", by_window)
    return columns


def recording_columns(recording: Recording, name: str, n_windows: int) -> dict[str, Any]:
    """Return what is known of the recording, and by window whose it is."""
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
