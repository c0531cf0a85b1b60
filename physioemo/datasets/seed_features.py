"""SEED's folders ``ExtractedFeatures_1s`` and ``_4s`` as recordings, one per subject and session.

Zheng and Lu, "Investigating Critical Frequency Bands and Channels for EEG-Based Emotion
Recognition with Deep Neural Networks", IEEE Transactions on Autonomous Mental Development 7
(2015). The older release has one folder ``ExtractedFeatures``, of 1 s.

Files and labels are named as those of the preprocessed EEG, see :mod:`physioemo.datasets.seed`.
Each file holds 180 arrays (place, window, band): for each of 15 trials the differential entropy
(``de``), power (``psd``), differences and ratios of left and right (``dasm``, ``rasm``, together
``asm``) and of front and back (``dcau``), each smoothed in two ways. Each of the twelve is a
stream. The pairs are those of the paper, but which is which in the file is not documented: they
are numbered, not named.

The length of the windows is not in the file: it follows from the published number of windows.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.datasets.assemble import (
    GAP_SECONDS,
    assemble,
    file_fingerprint,
    no_ratings,
)
from physioemo.datasets.feature_stream import (
    BANDS_HZ,
    SMOOTHINGS,
    check_windows,
    eeg_feature_stream,
    numbered,
    trial_arrays,
    trial_onsets,
    windows_first,
)
from physioemo.datasets.mat_file import load_mat
from physioemo.datasets.seed import LABEL_NAMES, SEED_EEG, SeedFile, seed_files, trial_labels
from physioemo.datasets.session_files import pick_session
from physioemo.datasets.source import Source, read_sources
from physioemo.errors import CallError
from physioemo.recording import Recording

__all__ = [
    "FEATURES",
    "SEED_SECONDS",
    "read_seed_features",
    "read_seed_features_session",
    "seed_features_sources",
]

SEED_SECONDS = (235, 233, 206, 238, 185, 195, 237, 216, 265, 237, 235, 233, 235, 238, 206)
"""Windows of 1 s in each trial as published; there are a quarter as many of 4 s, rounded down."""

FEATURES = {
    "de": SEED_EEG,
    "psd": SEED_EEG,
    "dasm": numbered("pair", 27),
    "rasm": numbered("pair", 27),
    "asm": numbered("asymmetry", 54),
    "dcau": numbered("pair", 23),
}
"""The features in the order of the file, and the places of each."""

WINDOWS_SECONDS = (1.0, 4.0)
_N_TRIALS = len(SEED_SECONDS)


def read_seed_features(
    folder: str | Path, *, window_seconds: float | None = None, n_windows: int | None = None
) -> Iterator[Recording]:
    """Yield the recording of every subject and session.

    Parameters and errors are those of :func:`read_seed_features_session`.
    """
    return read_sources(
        seed_features_sources(folder, window_seconds=window_seconds, n_windows=n_windows)
    )


def read_seed_features_session(
    folder: str | Path,
    subject: str | int,
    session: int,
    *,
    window_seconds: float | None = None,
    n_windows: int | None = None,
) -> Recording:
    """Return one session's recording.

    Parameters
    ----------
    folder : str or Path
        The folder ``ExtractedFeatures_1s``, ``ExtractedFeatures_4s`` or ``ExtractedFeatures``.
    subject : str or int
        Number or name, as the file names have it.
    session : int
        From 1, in the order of the dates.
    window_seconds : float, optional
        1 or 4; by default the one that the published numbers of windows show.
    n_windows : int, optional
        Windows of every trial of a fixture (then `window_seconds` is needed); by default those
        published, to within one.

    Raises
    ------
    CallError
        If there is no such session or the options contradict each other.
    RecordingNotFoundError, UnreadableFileError
        If a file is missing or damaged.
    """
    _check_options(window_seconds, n_windows)
    file = pick_session(seed_files(folder), subject, session, folder)
    return next(_read(file, window_seconds, n_windows))


def seed_features_sources(
    folder: str | Path, *, window_seconds: float | None = None, n_windows: int | None = None
) -> list[Source]:
    """Return one source per subject and session.

    Parameters and errors are those of :func:`read_seed_features_session`.
    """
    _check_options(window_seconds, n_windows)
    return [
        Source(
            file.path.stem,
            (file.path, file.path.with_name("label.mat")),
            partial(_read, file, window_seconds, n_windows),
        )
        for file in seed_files(folder)
    ]


def _check_options(window_seconds: float | None, n_windows: int | None) -> None:
    if window_seconds is None and n_windows is not None:
        raise CallError(
            f"found n_windows={n_windows} alone, expected window_seconds with it; state 1 or 4"
        )
    if window_seconds is not None and window_seconds not in WINDOWS_SECONDS:
        raise CallError(f"found window_seconds={window_seconds}, expected 1 or 4, as published")


def _read(
    file: SeedFile, window_seconds: float | None, n_windows: int | None
) -> Iterator[Recording]:
    labels = trial_labels(file.path.parent, "features")
    features = _features(file.path)
    counts = [len(trial) for trial in features["de_LDS"]]
    window = _window_seconds(counts, file.path, window_seconds, n_windows)
    seconds = [n * window for n in counts]
    onsets = trial_onsets(seconds)
    rows = zip(onsets, seconds, strict=True)
    yield assemble(
        {
            f"eeg_{name}": eeg_feature_stream(
                name, FEATURES[name.partition("_")[0]], trials, onsets, window, "SEED"
            )
            for name, trials in features.items()
        },
        trials=[(k, t, s, f"seed-clip-{k:02d}") for k, (t, s) in enumerate(rows, 1)],
        ratings=no_ratings(),
        trial_columns={"label": labels, "label_name": [LABEL_NAMES[v] for v in labels]},
        attrs=_attributes(file, window),
    )


def _features(path: Path) -> dict[str, list[np.ndarray]]:
    """Return each feature's trials, (window, place and band)."""
    content = load_mat(path)
    features: dict[str, list[np.ndarray]] = {}
    for feature, places in FEATURES.items():
        for smoothing in SMOOTHINGS:
            name = f"{feature}_{smoothing}"
            shape = (len(places), None, len(BANDS_HZ))
            arrays = trial_arrays(content, name, _N_TRIALS, shape, path)
            features[name] = [
                windows_first(array, f"{name}{k} of {path}") for k, array in enumerate(arrays, 1)
            ]
    first = [len(trial) for trial in features["de_LDS"]]
    for name, trials in features.items():
        check_windows([len(trial) for trial in trials], first, f"{name} of {path}", 0)
    return features


def _window_seconds(
    counts: list[int], path: Path, window_seconds: float | None, n_windows: int | None
) -> float:
    """Return the length of the windows, from their number."""
    seconds = float(window_seconds or 0)
    if window_seconds is None:  # the nearer one, so that the error compares with it
        seconds = min(WINDOWS_SECONDS, key=lambda s: abs(sum(counts) * s - sum(SEED_SECONDS)))
    if n_windows is None:
        check_windows(counts, [int(s // seconds) for s in SEED_SECONDS], str(path), 1)
    else:
        check_windows(counts, [n_windows] * _N_TRIALS, str(path), 0)
    return seconds


def _attributes(file: SeedFile, window_seconds: float) -> dict[str, Any]:
    return {
        "dataset": "seed-features",
        "subject": file.subject.zfill(2) if file.subject.isdigit() else file.subject,
        "session": str(file.session),
        "date": file.date,
        "licence": "SEED licence agreement: academic research only, no redistribution",
        "processing": f"published features of windows of {window_seconds:g} s without overlap, "
        "smoothed over windows (whether over later ones too is not documented)",
        "window_seconds": window_seconds,
        "trial_order": "the order of presentation, the same for all",
        "clock": f"made up: trials one after another, at least {GAP_SECONDS:g} s apart",
        "source_file": file.path.name,
        "source_fingerprint": file_fingerprint(file.path),
    }
