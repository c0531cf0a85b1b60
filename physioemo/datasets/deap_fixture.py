"""Made-up files of DEAP, byte for byte in the form of the real ones."""

import struct
from pathlib import Path

import numpy as np

from physioemo.datasets.deap import N_SAMPLES, N_TRIALS, SFREQ_HZ
from physioemo.datasets.synthetic import planted_eeg, pulse_wave, slow_wave
from physioemo.errors import RecordingExistsError

__all__ = ["deap_pickle", "write_deap_fixture"]


def write_deap_fixture(
    folder: str | Path,
    *,
    subjects: int = 2,
    seed: int = 0,
    n_samples: int = N_SAMPLES,
    effect: float = 1.0,
) -> list[Path]:
    """Write made-up subjects in DEAP's preprocessed form.

    Valence raises the beta rhythm and arousal lowers the alpha rhythm of the EEG, see
    :func:`physioemo.datasets.synthetic.planted_eeg`.

    Parameters
    ----------
    folder : str or Path
        Where ``s01.dat`` and so on are written.
    subjects : int
        How many.
    seed : int
        The same seed gives the same bytes.
    n_samples : int
        Samples per trial, 3 s of baseline included.
    effect : float
        Strength of the planted effect; 0 plants nothing.

    Raises
    ------
    RecordingExistsError
        If a file is already there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"s{subject:02d}.dat" for subject in range(1, subjects + 1)]
    for number, path in enumerate(paths):
        if path.exists():
            raise RecordingExistsError(
                f"found {path}, expected nothing there; choose another folder"
            )
        rng = np.random.default_rng([seed, number])
        labels = rng.uniform(1, 9, (N_TRIALS, 4)).round(2)
        trials = [_trial(rng, row, n_samples, effect) for row in labels]
        path.write_bytes(deap_pickle(np.array(trials), labels))
    return paths


def _trial(
    rng: np.random.Generator, ratings: np.ndarray, n_samples: int, effect: float
) -> np.ndarray:
    """Return one trial, shape (channel, time), in the file's own units."""
    valence, arousal = (ratings[:2] - 5) / 4
    eeg = planted_eeg(rng, 32, n_samples, SFREQ_HZ, valence=valence, arousal=arousal, effect=effect)
    eeg -= eeg.mean(axis=0)
    skin_ohm = 2e5 + 1e4 * slow_wave(rng, n_samples, SFREQ_HZ, 0.05)
    breath = 500 * slow_wave(rng, n_samples, SFREQ_HZ, 0.25)
    pleth = 1000 * pulse_wave(rng, n_samples, SFREQ_HZ)
    warmth = 30 + 0.1 * slow_wave(rng, n_samples, SFREQ_HZ, 0.01)
    muscles = rng.normal(0, 20, (4, n_samples))
    return np.concatenate([eeg, muscles, np.stack([skin_ohm, breath, pleth, warmth])])


def deap_pickle(data: np.ndarray, labels: np.ndarray) -> bytes:
    """Return the pickle that Python 2 made of ``{'labels': ..., 'data': ...}``.

    Parameters
    ----------
    data : ndarray, shape (trial, channel, time)
        Signals.
    labels : ndarray, shape (trial, dimension)
        Ratings.
    """
    parts = [b"\x80\x02}("]
    for name, array in (("labels", labels), ("data", data)):
        parts += [b"U", bytes([len(name)]), name.encode(), _array_opcodes(array)]
    return b"".join([*parts, b"u."])


def _array_opcodes(array: np.ndarray) -> bytes:
    raw = np.ascontiguousarray(array, "<f8").tobytes()
    shape = b"".join(_integer(n) for n in array.shape)
    closed = {2: shape + b"\x86", 3: shape + b"\x87"}[array.ndim]
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    number = b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNN"
    number += b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01" + closed + number + b"\x89T" + struct.pack("<i", len(raw))
    return made + state + raw + b"tb"


def _integer(n: int) -> bytes:
    if n < 256:
        return b"K" + bytes([n])
    return b"M" + struct.pack("<H", n) if n < 65536 else b"J" + struct.pack("<i", n)
