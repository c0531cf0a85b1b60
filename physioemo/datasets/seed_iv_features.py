"""SEED-IV's folders ``eeg_feature_smooth`` and ``eye_feature_smooth`` as recordings.

Zheng, Liu, Lu, Lu and Cichocki, "EmotionMeter: A Multimodal Framework for Recognizing Human
Emotions", IEEE Transactions on Cybernetics 49 (2019).

Files are named as those of the raw data, see :mod:`physioemo.datasets.seed_iv`; all windows are
of 4 s. A file of EEG features holds 96 arrays (62 electrodes, window, 5 bands): differential
entropy and power, each smoothed in two ways, of 24 trials. A file of eye features holds ``eye_1``
to ``eye_24``, (31 features, window). The read-me says which group a row belongs to (pupil
diameter 1-12, dispersion 13-16, fixation duration 17-18, saccade 19-22, event statistics 23-31),
not which is which within a group: the channels are named by group and number.

A recording holds both, on one clock; without the folder of the eye features, the EEG alone.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from physioemo.datasets.assemble import (
    assemble,
    file_fingerprint,
    no_ratings,
    require_file,
)
from physioemo.datasets.feature_stream import (
    BANDS_HZ,
    SMOOTHINGS,
    check_windows,
    eeg_feature_stream,
    eye_feature_stream,
    numbered,
    trial_arrays,
    trial_onsets,
    windows_first,
)
from physioemo.datasets.mat_file import load_mat
from physioemo.datasets.seed import SEED_EEG
from physioemo.datasets.seed_iv import (
    N_TRIALS,
    SEED_IV_WINDOWS,
    WINDOW_SECONDS,
    SeedIvFile,
    seed_iv_attributes,
    seed_iv_columns,
    seed_iv_files,
    seed_iv_trials,
)
from physioemo.datasets.session_files import pick_session
from physioemo.datasets.source import Source, read_sources
from physioemo.recording import Recording

__all__ = [
    "SEED_IV_EYE",
    "SEED_IV_FEATURES",
    "read_seed_iv_features",
    "read_seed_iv_features_session",
    "seed_iv_features_sources",
]

SEED_IV_FEATURES = tuple(f"{f}_{s}" for f in ("de", "psd") for s in SMOOTHINGS)
"""The EEG features in the order of the file."""

SEED_IV_EYE = (
    *numbered("pupil diameter", 12),
    *numbered("dispersion", 4),
    *numbered("fixation duration", 2),
    *numbered("saccade", 4),
    *numbered("event statistic", 9),
)
"""The eye features in the order of the file."""

EEG_FOLDER, EYE_FOLDER = "eeg_feature_smooth", "eye_feature_smooth"
_ORDER = "the group is documented, the order within a group is not"


def seed_iv_features_sources(folder: str | Path, *, n_windows: int | None = None) -> list[Source]:
    """Return one source per subject and session, see :func:`read_seed_iv_features_session`."""
    return [
        Source(f"{f.session}-{f.path.stem}", _paths(f), partial(_read, f, n_windows))
        for f in seed_iv_files(folder, EEG_FOLDER)
    ]


def read_seed_iv_features(
    folder: str | Path, *, n_windows: int | None = None
) -> Iterator[Recording]:
    """Yield every subject and session, see :func:`read_seed_iv_features_session`."""
    return read_sources(seed_iv_features_sources(folder, n_windows=n_windows))


def read_seed_iv_features_session(
    folder: str | Path, subject: str | int, session: int, *, n_windows: int | None = None
) -> Recording:
    """Return one session's recording.

    Parameters
    ----------
    folder : str or Path
        The folder ``eeg_feature_smooth``, or the one above it; ``eye_feature_smooth`` is looked
        for beside the former.
    subject : str or int
        Number, as the file names have it.
    session : int
        1, 2 or 3: the folder.
    n_windows : int, optional
        Windows of every trial of a fixture; by default those published.

    Raises
    ------
    CallError
        If there is no such session.
    RecordingNotFoundError, UnreadableFileError
        If a file is missing or damaged.
    """
    file = pick_session(seed_iv_files(folder, EEG_FOLDER), subject, session, folder)
    return next(_read(file, n_windows))


def _paths(file: SeedIvFile) -> tuple[Path, ...]:
    """Return the file and that of the eye features, which must be there if their folder is."""
    eye_folder = file.path.parent.parent.parent / EYE_FOLDER
    if not eye_folder.is_dir():
        return (file.path,)
    eye = eye_folder / str(file.session) / file.path.name
    return file.path, require_file(eye, f"the eye features of {file.session}/{file.path.name}")


def _read(file: SeedIvFile, n_windows: int | None) -> Iterator[Recording]:
    paths = _paths(file)
    counts = list(SEED_IV_WINDOWS[file.session]) if n_windows is None else [n_windows] * N_TRIALS
    seconds = [n * WINDOW_SECONDS for n in counts]
    onsets = trial_onsets(seconds)
    streams = _eeg(file.path, counts, onsets)
    attributes = {
        "dataset": "seed-iv-features",
        "processing": "published features of windows of 4 s without overlap, smoothed over windows "
        "(whether over later ones too is not documented)",
        "window_seconds": WINDOW_SECONDS,
        **seed_iv_attributes(file),
    }
    if len(paths) == 1:
        attributes["eye_features"] = f"no folder {EYE_FOLDER} beside {EEG_FOLDER}"
    else:
        streams["eye"] = _eye(paths[1], counts, onsets)
        attributes["eye_features"] = f"of the file of the same name in {EYE_FOLDER}"
        attributes["eye_fingerprint"] = file_fingerprint(paths[1])
    yield assemble(
        streams,
        trials=seed_iv_trials(file.session, onsets, seconds),
        ratings=no_ratings(),
        trial_columns=seed_iv_columns(file.session),
        attrs=attributes,
    )


def _eeg(path: Path, counts: list[int], onsets: list[float]) -> dict[str, xr.Dataset]:
    content = load_mat(path)
    streams = {}
    for name in SEED_IV_FEATURES:
        arrays = trial_arrays(content, name, N_TRIALS, (len(SEED_EEG), None, len(BANDS_HZ)), path)
        check_windows([a.shape[1] for a in arrays], counts, f"{name} of {path}", 0)
        trials = [windows_first(a, f"{name}{k} of {path}") for k, a in enumerate(arrays, 1)]
        streams[f"eeg_{name}"] = eeg_feature_stream(
            name, SEED_EEG, trials, onsets, WINDOW_SECONDS, "SEED-IV"
        )
    return streams


def _eye(path: Path, counts: list[int], onsets: list[float]) -> xr.Dataset:
    arrays = trial_arrays(load_mat(path), "eye_", N_TRIALS, (len(SEED_IV_EYE), None), path)
    check_windows([a.shape[1] for a in arrays], counts, str(path), 0)
    trials = [np.asarray(a.T, float) for a in arrays]
    return eye_feature_stream(SEED_IV_EYE, trials, onsets, WINDOW_SECONDS, "SEED-IV", _ORDER, path)
