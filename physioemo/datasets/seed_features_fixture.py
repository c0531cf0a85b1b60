"""Made-up files of SEED's folders ``ExtractedFeatures_1s`` and ``_4s``, and of its eye features."""

import pickle
from pathlib import Path

import numpy as np

from physioemo.datasets.feature_stream import SMOOTHINGS
from physioemo.datasets.fixture_folder import check_empty, check_number
from physioemo.datasets.seed import SEED_EEG
from physioemo.datasets.seed_eye import EYE_CHANNELS, EYE_WINDOWS, N_TRAIN
from physioemo.datasets.seed_features import FEATURES, SEED_SECONDS
from physioemo.datasets.seed_fixture import SEED_LABELS
from physioemo.datasets.synthetic_features import planted_entropy, planted_eye

__all__ = ["python3_pickle", "write_seed_eye_fixture", "write_seed_features_fixture"]

_DATES = ("20131027", "20131030", "20131107")
_EYE_SUBJECTS = (1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14)
_N_SUBJECTS = 15
# The pairs of the paper. In which order a file has them is not documented: left and right run
# here in the order of the electrodes, front and back in that of the paper.
_LEFT = [name for name in SEED_EEG if name[-1] in "13579"]
_RIGHT = [f"{name[:-1]}{int(name[-1]) + 1}" for name in _LEFT]
_FRONT = "FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 F7 F5 F3 F1 Fz F2 F4 F6 F8 Fp1 Fp2 Fpz AF3 AF4"
_BACK = "TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 P7 P5 P3 P1 Pz P2 P4 P6 P8 O1 O2 Oz CB1 CB2"


def write_seed_features_fixture(
    folder: str | Path,
    *,
    subjects: int = 2,
    sessions: int = 3,
    seed: int = 0,
    window_seconds: float = 1.0,
    n_windows: int | None = None,
    effect: float = 1.0,
) -> list[Path]:
    """Write made-up features in SEED's form, and ``label.mat``.

    The label raises beta and gamma and lowers alpha, see
    :func:`physioemo.datasets.synthetic_features.planted_entropy`.

    Parameters
    ----------
    folder : str or Path
        Where the files are written.
    subjects, sessions : int
        How many, at most 15 and 3.
    seed : int
        The same seed gives the same values.
    window_seconds : float
        1 or 4.
    n_windows : int, optional
        Windows of every trial; by default those published.
    effect : float
        Strength of the planted effect; 0 plants nothing.

    Raises
    ------
    CallError
        If there were never so many subjects or sessions.
    RecordingExistsError
        If a file is already there.
    """
    from scipy.io import savemat

    folder = Path(folder)
    check_number(subjects, _N_SUBJECTS, sessions, len(_DATES))
    check_empty(folder, "*.mat")
    savemat(folder / "label.mat", {"label": np.array([SEED_LABELS], np.int16)})
    counts = [n_windows or int(s // window_seconds) for s in SEED_SECONDS]
    paths = []
    for subject in range(subjects):
        for session in range(sessions):
            path = folder / f"{subject + 1}_{_DATES[session]}.mat"
            rng = np.random.default_rng([seed, subject, session])
            content: dict[str, np.ndarray] = {}
            for k, (label, n) in enumerate(zip(SEED_LABELS, counts, strict=True), 1):
                content |= _trial(rng, k, n, label, effect)
            savemat(path, content, do_compression=True)
            paths.append(path)
    return paths


def _trial(
    rng: np.random.Generator, number: int, n_windows: int, label: float, effect: float
) -> dict[str, np.ndarray]:
    """Return one trial's twelve arrays, named and ordered as in the real files."""
    made = {}
    for smoothing in SMOOTHINGS:
        de = planted_entropy(rng, n_windows, label, effect)
        sides = (_LEFT, _RIGHT, _FRONT.split(), _BACK.split())
        left, right, front, back = (de[[SEED_EEG.index(e) for e in side]] for side in sides)
        made[f"de_{smoothing}"] = de
        made[f"psd_{smoothing}"] = np.exp2(de - 10)
        made[f"dasm_{smoothing}"] = left - right
        made[f"rasm_{smoothing}"] = left / right
        made[f"asm_{smoothing}"] = np.concatenate([left - right, left / right])
        made[f"dcau_{smoothing}"] = front - back
    order = [f"{feature}_{smoothing}" for feature in FEATURES for smoothing in SMOOTHINGS]
    return {f"{name}{number}": made[name] for name in order}


def write_seed_eye_fixture(
    folder: str | Path,
    *,
    subjects: int = 2,
    sessions: int = 3,
    seed: int = 0,
    n_windows: int | None = None,
    effect: float = 1.0,
) -> list[Path]:
    """Write made-up eye features in SEED's form; the label widens the pupil.

    Parameters
    ----------
    folder : str or Path
        Where the files are written.
    subjects, sessions : int
        How many, at most 12 and 3; the subjects 6, 7 and 15 have none.
    seed : int
        The same seed gives the same bytes.
    n_windows : int, optional
        Windows of every trial; by default those published.
    effect : float
        Strength of the planted effect; 0 plants nothing.

    Raises
    ------
    CallError
        If there were never so many subjects or sessions.
    RecordingExistsError
        If a file is already there.
    """
    folder = Path(folder)
    check_number(subjects, len(_EYE_SUBJECTS), sessions, len(_DATES))
    check_empty(folder, "*_[123]")
    paths = []
    for subject in _EYE_SUBJECTS[:subjects]:
        for session in range(1, sessions + 1):
            path = folder / f"{subject}_{session}"
            rng = np.random.default_rng([seed, subject, session])
            trials = [
                planted_eye(rng, len(EYE_CHANNELS), n_windows or n, label, effect).T
                for n, label in zip(EYE_WINDOWS, SEED_LABELS, strict=True)
            ]
            halves = {
                "train_data_eye": np.concatenate(trials[:N_TRAIN]),
                "test_data_eye": np.concatenate(trials[N_TRAIN:]),
            }
            path.write_bytes(python3_pickle(halves))
            paths.append(path)
    return paths


def python3_pickle(content: dict[str, np.ndarray]) -> bytes:
    """Return the pickle that Python 3 with a NumPy of that time (1.x) made of arrays.

    SEED's eye features open in Python 3 without an ``encoding``, so they are not of Python 2.
    """
    ordered = {name: np.ascontiguousarray(array, "<f8") for name, array in content.items()}
    data = pickle.dumps(ordered, protocol=3)
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)
