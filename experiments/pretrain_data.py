"""Windows that nobody rated: from feature stores or recordings, with what may not be a negative."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.fused_modalities import has_fixed_scale
from physioemo.experiments.tokens import FAMILY, TokenStream
from physioemo.experiments.trial_data import assign_trials
from physioemo.features.entropy import EntropyRecipe
from physioemo.features.feature_store import family_axes, open_features
from physioemo.features.stimulus_family import STIMULUS_FAMILIES, StimulusCut, stimulus_values
from physioemo.features.stimulus_files import StimulusFiles, content_name
from physioemo.fingerprint import array_fingerprint
from physioemo.recording import Recording

__all__ = ["UnlabelledData", "is_feature_store", "read_recordings", "read_stores"]

_BLOCK_SECONDS = 60.0
_EEG = "de"
_OF_ELECTRODES = {"channel", "pair"}


@dataclass(frozen=True)
class UnlabelledData:
    r"""Windows of one or more modalities.

    Parameters
    ----------
    families : mapping of str to ndarray, shape (window, \*dims)
        Features by family, NaN where missing; each is a modality.
    coords : mapping of str to mapping of str to tuple of str
        Axes of each family after ``window``.
    trial, stimulus : ndarray of str, shape (window,)
        Unique over all sources; the stimulus is empty where it is not known.
    block : ndarray of str, shape (window,)
        What is held out together where there is no stimulus: the trial, or a minute of rest.
    sources : list of mapping
        What stands in the results: names, recipes, fingerprints, simulated.
    """

    families: Mapping[str, np.ndarray]
    coords: Mapping[str, Mapping[str, tuple[str, ...]]]
    trial: np.ndarray
    stimulus: np.ndarray
    block: np.ndarray
    sources: list[Mapping[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.trial)

    @property
    def fingerprint(self) -> str:
        """Hash of every value, and of every trial's and stimulus's name."""
        arrays = [self.families[f] for f in sorted(self.families)]
        return array_fingerprint([*arrays, self.trial, self.stimulus])

    @property
    def groups(self) -> np.ndarray:
        """What is held out together: the stimulus where it is known, else the block."""
        rows = zip(self.stimulus.tolist(), self.block.tolist(), strict=True)
        return np.array([f"stimulus {s}" if s else b for s, b in rows], object)


def is_feature_store(path: Path) -> bool:
    """Return whether a folder is a feature store, and not a recording."""
    try:
        content = json.loads((path / "zarr.json").read_text("utf-8"))
        return "feature_store_version" in content["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_stores(paths: Sequence[Path], families: Sequence[str] = ()) -> UnlabelledData:
    """Read feature stores; ratings and labels in them are not looked at.

    Parameters
    ----------
    paths : sequence of Path
        What ``physioemo preprocess --out`` wrote, all with the same recipe.
    families : sequence of str
        Which features; by default the entropies and what is not of the electrodes: others of the
        same EEG would be found by what they share with it. Nor are descriptors of a sound that is
        there itself, or of pictures.

    Raises
    ------
    DataError
        If a store lacks a family, two stores do not fit together, or there is no window.
    """
    parts = [_read_store(path, families) for path in paths]
    first = parts[0]
    for path, part in zip(paths[1:], parts[1:], strict=True):
        if part.coords != first.coords:
            raise DataError(
                f"found other features or axes in {path} than in {paths[0]}, expected the same; "
                "make both with the same recipe, or choose what they share with --families"
            )
    return UnlabelledData(
        {f: np.concatenate([p.families[f] for p in parts]) for f in first.families},
        first.coords,
        np.concatenate([p.trial for p in parts]),
        np.concatenate([p.stimulus for p in parts]),
        np.concatenate([p.block for p in parts]),
        [s for p in parts for s in p.sources],
    )


def _read_store(path: Path, families: Sequence[str]) -> UnlabelledData:
    with open_features(path) as store:
        # Sorted: a folder lists its arrays in any order, and the order decides the numbers.
        there = sorted(str(n) for n in store.data_vars if f"{n}_present" in store.data_vars)
        wanted = [f.replace("-", "_") for f in families] or [
            f for f in there if _by_default(store, f)
        ]
        missing = [f for f in wanted if f not in there]
        if missing or not wanted or not store.sizes.get("window"):
            raise DataError(
                f"found the features {', '.join(there) or 'none'} of "
                f"{store.sizes.get('window', 0)} windows in {path}, expected "
                f"{', '.join(missing) or 'de or a body signal'} and at least one window; choose "
                "--families, or make a store with 'physioemo preprocess'"
            )
        name = str(store.attrs["dataset"])
        hashes = dict(store.attrs["recipe"]).get("stimuli", {})
        ids = zip(*(store[c].values.tolist() for c in ("subject", "session", "trial")), strict=True)
        trial = np.array(["/".join(map(str, (name, *row))) for row in ids], object)
        return UnlabelledData(
            families={
                f: np.asarray(store[f].values, np.float32 if has_fixed_scale(f) else np.float64)
                for f in wanted
            },
            coords={f: family_axes(store, f) for f in wanted},
            trial=trial,
            block=trial,
            stimulus=np.array(
                [_stimulus_name(str(s), hashes, f"{name}/") for s in store["stimulus"].values],
                object,
            ),
            sources=[
                {
                    "dataset": name,
                    "recipe": store.attrs["recipe"],
                    "recipe_hash": store.attrs["recipe_hash"],
                    "fingerprints": {s["name"]: s["files"] for s in store.attrs["sources"]},
                    "simulated": bool(store["recording_simulated"].any())
                    or bool(store.attrs.get("synthetic")),
                }
            ],
        )


def _stimulus_name(stimulus: str, sha256: Mapping[str, str], prefix: str = "") -> str:
    """Return one name for one film: its bytes where they are known.

    Stimuli of two data sets have the same name by accident.
    """
    content = content_name(stimulus, sha256)
    if content is not None:
        return f"file {content[:16]}"
    return f"{prefix}{stimulus}" if stimulus else ""


def _by_default(store: Any, family: str) -> bool:
    whole = family.removesuffix("_descriptors")
    if whole != family and whole in store:
        return False
    return family == "de" or not _OF_ELECTRODES & set(family_axes(store, family))


def read_recordings(
    recordings: Mapping[str, Recording],
    *,
    window_seconds: float = 1.0,
    hop_seconds: float = 0.5,
    stimuli: StimulusFiles | None = None,
    families: Sequence[str] = (),
    cut: StimulusCut | None = None,
) -> UnlabelledData:
    """Compute the band entropies of whole recordings, rated or not, and read what was shown.

    Windows between trials, or of a recording without trials, are one trial of that recording, so
    that none of them is a negative of another; they are held out by whole minutes.

    Parameters
    ----------
    recordings : mapping of str to Recording
        By a name that stands in every result.
    window_seconds, hop_seconds : float
        Length of a window and the step between two.
    stimuli : StimulusFiles, optional
        The files that were shown.
    families : sequence of str
        With stimuli, some of ``de`` and
        :data:`physioemo.features.stimulus_family.STIMULUS_FAMILIES`; by default the entropies, the
        sound and the pictures.
    cut : StimulusCut, optional
        How files are decoded and cut.

    Raises
    ------
    CallError
        If there is no recording, a family is not known, or a stimulus has no file and that is not
        allowed.
    DataError
        If rates differ, no electrode is shared, there is no window, or a file cannot be used.
    """
    if not recordings:
        raise CallError("found no recordings, expected at least one")
    sfreq, ch_names = _shared_electrodes(recordings)
    recipe = EntropyRecipe.in_seconds(sfreq, window_seconds=window_seconds, hop_seconds=hop_seconds)
    shown = None if stimuli is None else _Shown(stimuli, cut or StimulusCut(), _chosen(families))
    parts = [_read_recording(n, r, recipe, ch_names, shown) for n, r in sorted(recordings.items())]
    found = {f: np.concatenate([p.families[f] for p in parts]) for f in parts[0].families}
    trial, stimulus, block = (
        np.concatenate([getattr(p, k) for p in parts]) for k in ("trial", "stimulus", "block")
    )
    if not len(trial):
        raise DataError(
            f"found no window in {', '.join(sorted(recordings))}, expected recordings longer than "
            f"{recipe.window_samples / recipe.sfreq:g} s"
        )
    source = {
        "dataset": "recordings",
        "recipe": recipe.to_dict(),
        "recipe_hash": recipe.fingerprint,
        "fingerprints": {n: r.fingerprint() for n, r in sorted(recordings.items())},
        "simulated": any(r.simulated for r in recordings.values()),
    }
    if shown is not None:
        source["stimuli"] = shown.files.about
    return UnlabelledData(found, parts[0].coords, trial, stimulus, block, [source])


@dataclass(frozen=True)
class _Shown:
    """What is read of the stimuli of recordings."""

    files: StimulusFiles
    cut: StimulusCut
    families: tuple[str, ...]

    def values(
        self, recording: Recording, stop_seconds: np.ndarray, window_seconds: float
    ) -> dict[str, np.ndarray]:
        """Return the families of the stimulus in the windows that end at some times."""
        rows = tuple(STIMULUS_FAMILIES[f] for f in self.families if f != _EEG)
        return stimulus_values(recording, stop_seconds, rows, self.files, self.cut, window_seconds)

    def coords(self, window_seconds: float) -> dict[str, Mapping[str, tuple[str, ...]]]:
        """Return the axes of the families of the stimulus."""
        named = [f for f in self.families if f != _EEG]
        return {f: STIMULUS_FAMILIES[f].coords(self.cut, window_seconds) for f in named}


def _chosen(families: Sequence[str]) -> tuple[str, ...]:
    """Return the families that are read of recordings with stimuli."""
    known = (_EEG, *STIMULUS_FAMILIES)
    for family in families:
        if family not in known:
            raise CallError(
                f"found the family {family!r} of recordings, expected some of {', '.join(known)}; "
                "for others make a feature store with 'physioemo preprocess recording'"
            )
    return tuple(families) or (_EEG, "audio", "video")


def _read_recording(
    name: str,
    recording: Recording,
    recipe: EntropyRecipe,
    ch_names: Sequence[str],
    shown: _Shown | None,
) -> UnlabelledData:
    """Return a recording's windows."""
    key = recording.key("eeg")
    stream = TokenStream(recording.description(key), ch_names, recipe)
    data = recording[key]
    tokens = stream.batch(data["signal"].values, data["time"].values)
    start, stop = tokens.start_seconds, tokens.stop_seconds
    number = assign_trials(recording, start, stop, tolerance_seconds=0.5 / recipe.sfreq)
    table = recording.trials
    hashes = {} if shown is None else shown.files.sha256
    names = [_stimulus_name(str(s), hashes) for s in table["stimulus"].values]
    stimulus_of = dict(zip(table["trial"].values.tolist(), names, strict=True))
    first = start[0] if len(start) else 0.0
    minute, last = ((t - first) // _BLOCK_SECONDS for t in (start, stop))
    # A window of rest that reaches into the next minute would be in both.
    kept = (number >= 0) | (minute == last)
    rows = list(zip(number[kept].tolist(), minute[kept].astype(int).tolist(), strict=True))
    trial = [f"{name} trial {t}" if t >= 0 else f"{name} rest" for t, _ in rows]
    block = [f"{name} trial {t}" if t >= 0 else f"{name} minute {m}" for t, m in rows]
    families: dict[str, np.ndarray] = {_EEG: tokens[FAMILY].values[kept]}
    coords: dict[str, Mapping[str, tuple[str, ...]]] = {
        _EEG: {"channel": tuple(ch_names), "band": tuple(recipe.band_names)}
    }
    if shown is not None:
        seconds = recipe.window_samples / recipe.sfreq
        for family, values in shown.values(recording, stop[kept], seconds).items():
            # Where a film reaches into a window of rest, the window is not known to be of it, and
            # might become a negative of the film's own windows.
            values[number[kept] < 0] = np.nan
            families[family] = values
        coords |= shown.coords(seconds)
    chosen = (_EEG,) if shown is None else shown.families
    return UnlabelledData(
        {f.replace("-", "_"): families[f] for f in chosen},
        {f.replace("-", "_"): coords[f] for f in chosen},
        np.array(trial, object),
        np.array([stimulus_of.get(t, "") for t, _ in rows], object),
        np.array(block, object),
    )


def _shared_electrodes(recordings: Mapping[str, Recording]) -> tuple[float, tuple[str, ...]]:
    """Return the EEG rate and the electrodes that all recordings have."""
    described = {name: r.description("eeg") for name, r in sorted(recordings.items())}
    rates = {d.sfreq for d in described.values()}
    first, *others = described.values()
    shared = tuple(
        n
        for n, kind in zip(first.ch_names, first.ch_types, strict=True)
        if kind == "eeg" and all(n in d.ch_names for d in others)
    )
    if len(rates) > 1 or not shared:
        found = ", ".join(f"{n}: {d.sfreq:g} Hz" for n, d in described.items())
        raise DataError(
            f"found recordings with {len(shared)} EEG electrodes in common ({found}), expected the "
            "same rate and montage; pre-train on recordings that are alike"
        )
    return first.sfreq, shared
