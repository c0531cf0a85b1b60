"""Made-up files of SEED-IV: raw EEG, EEG features and eye features."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from physioemo.datasets.fixture_folder import check_empty, check_number
from physioemo.datasets.seed import SEED_EEG
from physioemo.datasets.seed_iv import (
    SEED_IV_LABELS,
    SEED_IV_WINDOWS,
    SFREQ_HZ,
    WINDOW_SECONDS,
)
from physioemo.datasets.seed_iv_features import (
    EEG_FOLDER,
    EYE_FOLDER,
    SEED_IV_EYE,
    SEED_IV_FEATURES,
)
from physioemo.datasets.synthetic import planted_eeg
from physioemo.datasets.synthetic_features import planted_entropy, planted_eye

__all__ = ["write_seed_iv_features_fixture", "write_seed_iv_fixture"]

_INITIALS = "cz ha hql ldy ly mhw mz qyt rx tyc whh wll wq zjd zjy".split()  # noqa: SIM905
_DATES = {1: "20160518", 2: "20161125", 3: "20161126"}
_VALENCE = {0: 0.0, 1: -0.5, 2: -1.0, 3: 1.0}  # neutral, sad, fear, happy
_Content = dict[str, np.ndarray]


def write_seed_iv_fixture(
    folder: str | Path,
    *,
    subjects: int = 2,
    sessions: int = 3,
    seed: int = 0,
    n_samples: int | None = None,
    effect: float = 1.0,
) -> list[Path]:
    """Write made-up sessions in the form of SEED-IV's folder ``eeg_raw_data``.

    The label raises the beta rhythm and lowers the alpha rhythm: happy most, fear least.

    Parameters
    ----------
    folder : str or Path
        Where the folders 1, 2 and 3 are written.
    subjects, sessions : int
        How many, at most 15 and 3.
    seed : int
        The same seed gives the same values.
    n_samples : int, optional
        Samples of every trial; by default those that fit the published windows.
    effect : float
        Strength of the planted effect; 0 plants nothing.

    Raises
    ------
    CallError
        If there were never so many subjects or sessions.
    RecordingExistsError
        If a file is already there.
    """

    def trials(rng: np.random.Generator, subject: int, session: int) -> _Content:
        content = {}
        for k, (label, windows) in enumerate(_clips(session), 1):
            n = n_samples or round((windows * WINDOW_SECONDS + 2) * SFREQ_HZ) + 1
            valence = _VALENCE[label]
            signal = planted_eeg(
                rng, len(SEED_EEG), n, SFREQ_HZ, valence=valence, arousal=valence, effect=effect
            )
            content[f"{_INITIALS[subject]}_eeg{k}"] = signal.round(3)
        return content

    return _write(Path(folder), subjects, sessions, seed, trials)


def write_seed_iv_features_fixture(
    folder: str | Path,
    *,
    subjects: int = 2,
    sessions: int = 3,
    seed: int = 0,
    n_windows: int | None = None,
    effect: float = 1.0,
    eye: bool = True,
) -> list[Path]:
    """Write made-up features in the form of SEED-IV.

    The label raises beta and gamma, lowers alpha and widens the pupil.

    Parameters
    ----------
    folder : str or Path
        The folder ``eeg_feature_smooth``, with ``eye_feature_smooth`` beside it; under another
        name, the folder in which both are made.
    subjects, sessions : int
        How many, at most 15 and 3.
    seed : int
        The same seed gives the same values.
    n_windows : int, optional
        Windows of every trial; by default those published.
    effect : float
        Strength of the planted effect; 0 plants nothing.
    eye : bool
        Whether eye features are written too.

    Raises
    ------
    CallError
        If there were never so many subjects or sessions.
    RecordingExistsError
        If a file is already there.
    """

    def eeg_trials(rng: np.random.Generator, subject: int, session: int) -> _Content:
        content = {}
        for k, (label, windows) in enumerate(_clips(session), 1):
            for name in SEED_IV_FEATURES:
                de = planted_entropy(rng, n_windows or windows, _VALENCE[label], effect)
                content[f"{name}{k}"] = de if name.startswith("de") else np.exp2(de - 10)
        return content

    def eye_trials(rng: np.random.Generator, subject: int, session: int) -> _Content:
        return {
            f"eye_{k}": planted_eye(
                rng, len(SEED_IV_EYE), n_windows or windows, _VALENCE[label], effect
            )
            for k, (label, windows) in enumerate(_clips(session), 1)
        }

    folder = Path(folder)
    root = folder.parent if folder.name == EEG_FOLDER else folder
    paths = _write(root / EEG_FOLDER, subjects, sessions, seed, eeg_trials)
    if eye:
        paths += _write(root / EYE_FOLDER, subjects, sessions, seed + 1, eye_trials)
    return paths


def _clips(session: int) -> list[tuple[int, int]]:
    return list(zip(SEED_IV_LABELS[session], SEED_IV_WINDOWS[session], strict=True))


def _write(
    folder: Path,
    subjects: int,
    sessions: int,
    seed: int,
    trials: Callable[[np.random.Generator, int, int], _Content],
) -> list[Path]:
    """Write one file per subject and session, those of a session into its folder."""
    from scipy.io import savemat

    check_number(subjects, len(_INITIALS), sessions, len(_DATES))
    paths = []
    for session in range(1, sessions + 1):
        check_empty(folder / str(session), "*.mat")
        for subject in range(subjects):
            path = folder / str(session) / f"{subject + 1}_{_DATES[session]}.mat"
            rng = np.random.default_rng([seed, subject, session])
            savemat(path, trials(rng, subject, session), do_compression=True)
            paths.append(path)
    return paths
