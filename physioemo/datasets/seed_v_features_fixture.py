"""Made-up files of SEED-V's folders ``EEG_DE_features`` and ``Eye_movement_features``.

``numpy.savez(file, data=pickle.dumps(...), label=pickle.dumps(...))``, with the pickles that
Python 3.6 and NumPy 1 wrote: protocol 3, and NumPy's functions under ``numpy.core``.
"""

import pickle
from pathlib import Path

import numpy as np

from physioemo.datasets.feature_stream import BANDS_HZ
from physioemo.datasets.fixture_folder import check_empty
from physioemo.datasets.seed import SEED_EEG
from physioemo.datasets.seed_v import SEED_V_LABELS
from physioemo.datasets.seed_v_features import (
    EYE_COLUMNS,
    WINDOW_SECONDS,
    Layout,
    eye_folder,
    feature_seconds,
)
from physioemo.datasets.seed_v_fixture import N_SUBJECTS, SEED_V_FEELINGS
from physioemo.errors import CallError

__all__ = ["dumps_as_numpy_1", "write_seed_v_features_fixture"]

_PROTOCOL = 3
_LEVEL = np.array([24.0, 22.0, 21.0, 20.0, 19.0])
_ALPHA, _BETA = (list(BANDS_HZ).index(band) for band in ("alpha", "beta"))


def write_seed_v_features_fixture(
    folder: str | Path,
    *,
    subjects: int = 2,
    seed: int = 0,
    windows: int | None = None,
    layout: Layout = "channel-band",
    eye: bool = True,
    effect: float = 1.0,
) -> list[Path]:
    """Write made-up features in SEED-V's form.

    The label's valence raises the entropy of the beta band and its arousal lowers that of the
    alpha band and raises the first feature of the eyes (their pupils).

    Parameters
    ----------
    folder : str or Path
        Where the files are written. The features of the eyes go to ``Eye_movement_features``,
        beside it if it is called ``EEG_DE_features`` and else inside it.
    subjects : int
        How many, at most 16.
    seed : int
        The same seed gives the same values.
    windows : int, optional
        Windows of every trial; by default those that fit the published seconds.
    layout : {"channel-band", "band-channel"}
        Which changes slower along the 310 columns.
    eye : bool
        Whether features of the eyes are written.
    effect : float
        Strength of the planted effect; 0 plants nothing.

    Raises
    ------
    CallError
        If there were never so many subjects, or so many windows do not fit.
    RecordingExistsError
        If a file is already there.
    """
    folders = [Path(folder), eye_folder(folder)] if eye else [Path(folder)]
    if not 1 <= subjects <= N_SUBJECTS:
        raise CallError(f"found {subjects} subjects, expected 1 to {N_SUBJECTS}")
    labels = _labels(windows)
    for where in folders:
        check_empty(where, "*.npz")
    paths = []
    for subject in range(1, subjects + 1):
        rng = np.random.default_rng([seed, subject])
        for where, make in zip(folders, (_eeg, _eye), strict=False):
            data = {k: make(rng, v, effect, layout) for k, v in labels.items()}
            path = where / f"{subject}_123.npz"
            np.savez(path, data=dumps_as_numpy_1(data), label=dumps_as_numpy_1(labels))
            paths.append(path)
    return paths


def dumps_as_numpy_1(value: object) -> np.bytes_:
    """Return the pickle that Python 3.6 with NumPy 1 made of containers and arrays."""
    data = pickle.dumps(value, protocol=_PROTOCOL)
    return np.bytes_(data.replace(b"cnumpy._core.", b"cnumpy.core.", 1))


def _labels(windows: int | None) -> dict[int, np.ndarray]:
    """Return one label per window of the trials 0 to 44."""
    trials = [
        (label, int((stop - start) // WINDOW_SECONDS))
        for session, labels in SEED_V_LABELS.items()
        for label, (start, stop) in zip(labels, feature_seconds(session, windows), strict=True)
    ]
    return {k: np.full(n, float(label)) for k, (label, n) in enumerate(trials)}


def _eeg(rng: np.random.Generator, labels: np.ndarray, effect: float, layout: str) -> np.ndarray:
    valence, arousal = SEED_V_FEELINGS[int(labels[0])]
    level = _LEVEL.copy()
    level[_BETA] += effect * valence * np.log(2)
    level[_ALPHA] -= effect * arousal * np.log(2)
    entropy = level + rng.normal(0, 0.5, (len(labels), len(SEED_EEG), len(BANDS_HZ)))
    if layout == "band-channel":
        entropy = entropy.swapaxes(1, 2)
    return entropy.reshape(len(labels), -1)


def _eye(rng: np.random.Generator, labels: np.ndarray, effect: float, layout: str) -> np.ndarray:
    features = rng.normal(10, 1, (len(labels), EYE_COLUMNS))
    features[:, 0] += effect * SEED_V_FEELINGS[int(labels[0])][1]
    return features
