"""A made-up ``DREAMER.mat``, nested like the real one."""

from pathlib import Path
from typing import Any

import numpy as np

from physioemo.datasets.dreamer import DREAMER_EEG, DREAMER_EMOTIONS, ECG_HZ, EEG_HZ
from physioemo.datasets.synthetic import planted_eeg, pulse_wave
from physioemo.errors import RecordingExistsError

__all__ = ["write_dreamer_fixture"]

OFFSET_UV = 4200.0


def write_dreamer_fixture(
    folder: str | Path,
    *,
    subjects: int = 2,
    seed: int = 0,
    clip_seconds: int | None = None,
    baseline_seconds: int = 61,
    effect: float = 1.0,
) -> list[Path]:
    """Write made-up subjects as ``DREAMER.mat``.

    Valence raises the beta rhythm and arousal lowers the alpha rhythm of the EEG during clips.

    Parameters
    ----------
    folder : str or Path
        Where ``DREAMER.mat`` is written.
    subjects : int
        How many; the real file has 23.
    seed : int
        The same seed gives the same values.
    clip_seconds : int, optional
        Length of every clip; by default 65 to 393 s, as in the real file.
    baseline_seconds : int
        Length of every baseline.
    effect : float
        Strength of the planted effect; 0 plants nothing.

    Raises
    ------
    RecordingExistsError
        If the file is already there.
    """
    from scipy.io import savemat

    path = Path(folder) / "DREAMER.mat"
    if path.exists():
        raise RecordingExistsError(f"found {path}, expected nothing there; choose another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    n_clips = len(DREAMER_EMOTIONS)
    spread = np.linspace(65, 393, n_clips).astype(int)
    seconds = spread if clip_seconds is None else np.full(n_clips, clip_seconds)
    people = [
        _subject(np.random.default_rng([seed, s]), seconds, baseline_seconds, effect)
        for s in range(subjects)
    ]
    content = {
        "Data": _cells(people).T,
        "EEG_SamplingRate": EEG_HZ,
        "ECG_SamplingRate": ECG_HZ,
        "EEG_Electrodes": _cells(list(DREAMER_EEG)).T,
        "noOfSubjects": float(subjects),
        "noOfVideoSequences": float(n_clips),
        "Disclaimer": "made-up data",
        "Provider": "PhysioEmo",
        "Version": "1.0",
        "Acknowledgement": "none",
    }
    savemat(path, {"DREAMER": content}, do_compression=True)
    return [path]


def _cells(values: list[Any]) -> np.ndarray:
    """Return a column of MATLAB cells."""
    cells = np.empty((len(values), 1), object)
    for i, value in enumerate(values):
        cells[i, 0] = value
    return cells


def _subject(
    rng: np.random.Generator, seconds: np.ndarray, baseline_seconds: int, effect: float
) -> dict[str, Any]:
    scores = rng.integers(1, 6, (3, len(seconds))).astype(float)
    rest = [(baseline_seconds, 0.0, 0.0)] * len(seconds)
    clips = [
        (int(n), (v - 3) / 2, (a - 3) / 2) for n, v, a in zip(seconds, *scores[:2], strict=True)
    ]
    kinds = {"baseline": rest, "stimuli": clips}
    return {
        "Age": str(rng.integers(22, 34)),
        "Gender": str(rng.choice(["male", "female"])),
        "EEG": {k: _cells([_eeg(rng, *row, effect) for row in rows]) for k, rows in kinds.items()},
        "ECG": {k: _cells([_ecg(rng, row[0]) for row in rows]) for k, rows in kinds.items()},
        **{
            f"Score{name}": row[:, None]
            for name, row in zip(("Valence", "Arousal", "Dominance"), scores, strict=True)
        },
    }


def _eeg(
    rng: np.random.Generator, seconds: int, valence: float, arousal: float, effect: float
) -> np.ndarray:
    """Return EEG, shape (time, channel), on the headset's constant offset."""
    n = int(seconds * EEG_HZ)
    signal = planted_eeg(rng, 14, n, EEG_HZ, valence=valence, arousal=arousal, effect=effect)
    return np.ascontiguousarray(signal.T.round(3) + OFFSET_UV)


def _ecg(rng: np.random.Generator, seconds: int) -> np.ndarray:
    """Return ECG in the converter's steps, shape (time, lead)."""
    wave = pulse_wave(rng, int(seconds * ECG_HZ), ECG_HZ)
    return (2048 + 500 * np.stack([wave, 0.6 * wave], axis=1)).round()
