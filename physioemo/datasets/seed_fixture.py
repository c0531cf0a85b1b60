"""Made-up files of SEED's folder ``Preprocessed_EEG``."""

from pathlib import Path

import numpy as np

from physioemo.datasets.fixture_folder import check_empty, check_number
from physioemo.datasets.seed import SEED_EEG, SEED_SAMPLES, SFREQ_HZ
from physioemo.datasets.synthetic import planted_eeg

__all__ = ["SEED_LABELS", "write_seed_fixture"]

SEED_LABELS = (1, 0, -1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 0, 1, -1)
"""The label of each clip as published."""

_INITIALS = "djc jl jj lqj ly mhw phl sxy wk ww wsf wyw xyl ys zjy".split()  # noqa: SIM905
_DATES = ("20131027", "20131030", "20131107")


def write_seed_fixture(
    folder: str | Path,
    *,
    subjects: int = 2,
    sessions: int = 3,
    seed: int = 0,
    n_samples: int | None = None,
    names: bool = False,
    effect: float = 1.0,
) -> list[Path]:
    """Write made-up sessions in SEED's form, and ``label.mat``.

    The label raises the beta rhythm and lowers the alpha rhythm of the EEG.

    Parameters
    ----------
    folder : str or Path
        Where the files are written.
    subjects, sessions : int
        How many, at most 15 and 3.
    seed : int
        The same seed gives the same values.
    n_samples : int, optional
        Samples of every trial; by default those published.
    names : bool
        File names of the older releases, ``name_20131027.mat``.
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
    check_number(subjects, len(_INITIALS), sessions, len(_DATES))
    check_empty(folder, "*.mat")
    savemat(folder / "label.mat", {"label": np.array([SEED_LABELS], np.int16)})
    paths = []
    for subject in range(subjects):
        for session in range(sessions):
            who = f"{_INITIALS[subject]}name" if names else str(subject + 1)
            path = folder / f"{who}_{_DATES[session]}.mat"
            rng = np.random.default_rng([seed, subject, session])
            savemat(path, _trials(rng, _INITIALS[subject], n_samples, effect), do_compression=True)
            paths.append(path)
    return paths


def _trials(
    rng: np.random.Generator, initials: str, n_samples: int | None, effect: float
) -> dict[str, np.ndarray]:
    return {
        f"{initials}_eeg{k}": planted_eeg(
            rng,
            len(SEED_EEG),
            n_samples or published,
            SFREQ_HZ,
            valence=label,
            arousal=label,
            effect=effect,
        ).round(3)
        for k, (label, published) in enumerate(zip(SEED_LABELS, SEED_SAMPLES, strict=True), 1)
    }
