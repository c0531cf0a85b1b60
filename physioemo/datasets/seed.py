"""SEED's folder ``Preprocessed_EEG`` as recordings, one per subject and session.

Zheng and Lu, "Investigating Critical Frequency Bands and Channels for EEG-Based Emotion
Recognition with Deep Neural Networks", IEEE Transactions on Autonomous Mental Development 7
(2015).

The files are called ``1_20131027.mat`` or, in older releases, ``dujingcheng_20131027.mat``. The
session is not in the file: it is the rank of the date among the subject's files, so the folder
must be whole. Each file holds 15 trials ``<initials>_eeg1`` to ``_eeg15`` of 62 channels at
200 Hz. There are no ratings: every clip has one label, -1 negative, 0 neutral, 1 positive, which
stands in the columns ``label`` and ``label_name`` of the table of trials.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.datasets.assemble import (
    GAP_SECONDS,
    assemble,
    check_finite,
    file_fingerprint,
    no_ratings,
    one_at_a_time,
    require_file,
    stretches_to_stream,
)
from physioemo.datasets.mat_file import load_mat, numbers
from physioemo.datasets.session_files import pick_session
from physioemo.datasets.source import Source
from physioemo.description import StreamDescription
from physioemo.errors import RecordingNotFoundError, UnreadableFileError
from physioemo.recording import Recording

__all__ = [
    "SEED_EEG",
    "SEED_SAMPLES",
    "SeedFile",
    "eeg_matrices",
    "read_seed",
    "read_seed_session",
    "seed_files",
    "seed_sources",
    "trial_labels",
]

# fmt: off
SEED_EEG = (
    "Fp1", "Fpz", "Fp2", "AF3", "AF4", "F7", "F5", "F3", "F1", "Fz", "F2", "F4", "F6", "F8",
    "FT7", "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6", "FT8",
    "T7", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "T8",
    "TP7", "CP5", "CP3", "CP1", "CPz", "CP2", "CP4", "CP6", "TP8",
    "P7", "P5", "P3", "P1", "Pz", "P2", "P4", "P6", "P8",
    "PO7", "PO5", "PO3", "POz", "PO4", "PO6", "PO8", "CB1", "O1", "Oz", "O2", "CB2",
)
"""The channels in the order of the file; CB1 and CB2 are in no standard montage."""

SEED_SAMPLES = (
    47001, 46601, 41201, 47601, 37001, 39001, 47401, 43201, 53001, 47401, 47001, 46601, 47001,
    47601, 41201,
)
"""Samples of each trial as published."""
# fmt: on

SFREQ_HZ = 200.0
LABEL_NAMES = {-1: "negative", 0: "neutral", 1: "positive"}
_FILE = re.compile(r"([A-Za-z0-9]+)_(\d{8})\.mat")
_TRIAL = re.compile(r"(\w+)_eeg(\d+)", re.ASCII)
_TOLERANCE = 200


@dataclass(frozen=True)
class SeedFile:
    """One session's file.

    Parameters
    ----------
    path : Path
        The file.
    subject : str
        Number or name, as the file name has it.
    session : int
        Rank of the date among the subject's files, from 1.
    date : str
        ``yyyymmdd``.
    """

    path: Path
    subject: str
    session: int
    date: str


def seed_files(folder: str | Path) -> list[SeedFile]:
    """Return the sessions in a folder, by subject and date.

    Raises
    ------
    RecordingNotFoundError
        If there is none.
    """
    by_subject: dict[str, list[tuple[str, Path]]] = {}
    for path in Path(folder).glob("*.mat"):
        if match := _FILE.fullmatch(path.name):
            by_subject.setdefault(match[1], []).append((match[2], path))
    if not by_subject:
        raise RecordingNotFoundError(
            f"found no file such as 1_20131027.mat in {folder}, expected SEED's folder "
            "Preprocessed_EEG; check the path"
        )
    subjects = sorted(by_subject, key=lambda s: (not s.isdigit(), int(s) if s.isdigit() else 0, s))
    return [
        SeedFile(path, subject, rank, date)
        for subject in subjects
        for rank, (date, path) in enumerate(sorted(by_subject[subject]), 1)
    ]


def seed_sources(folder: str | Path, *, n_samples: int | None = None) -> list[Source]:
    """Return the files of a folder, one per session; see :func:`read_seed_session`."""
    return [
        Source(
            f.path.stem, (f.path, f.path.with_name("label.mat")), partial(_read_one, f, n_samples)
        )
        for f in seed_files(folder)
    ]


def _read_one(file: SeedFile, n_samples: int | None) -> Iterator[Recording]:
    yield _recording(file, trial_labels(file.path.parent, "sessions"), n_samples)


def read_seed(folder: str | Path, *, n_samples: int | None = None) -> Iterator[Recording]:
    """Yield the recording of every subject and session, see :func:`read_seed_session`."""
    labels = trial_labels(Path(folder), "sessions")
    files = seed_files(folder)
    return one_at_a_time(_recording(file, labels, n_samples) for file in files)


def read_seed_session(
    folder: str | Path, subject: str | int, session: int, *, n_samples: int | None = None
) -> Recording:
    """Return one session's recording.

    Parameters
    ----------
    folder : str or Path
        The folder ``Preprocessed_EEG``.
    subject : str or int
        Number or name, as the file names have it.
    session : int
        From 1, in the order of the dates.
    n_samples : int, optional
        Samples of every trial of a fixture; by default those published, to within a second.

    Raises
    ------
    CallError
        If there is no such session.
    RecordingNotFoundError, UnreadableFileError
        If a file is missing or damaged.
    """
    file = pick_session(seed_files(folder), subject, session, folder)
    return _recording(file, trial_labels(Path(folder), "sessions"), n_samples)


def trial_labels(folder: Path, beside: str) -> list[int]:
    """Return the label of each trial, -1, 0 or 1, from ``label.mat``.

    Raises
    ------
    RecordingNotFoundError
        If it is not there.
    UnreadableFileError
        If it is damaged or of another data set.
    """
    path = require_file(folder / "label.mat", f"label.mat beside SEED's {beside}")
    place = f"label of {path}"
    label = numbers(load_mat(path).get("label"), (1, len(SEED_SAMPLES)), place)[0]
    outside = [v for v in label.tolist() if v not in LABEL_NAMES]
    if outside:
        raise UnreadableFileError(
            f"found {outside[0]} in {place}, expected -1, 0 or 1; the file is damaged or of "
            "another data set"
        )
    return [int(v) for v in label]


def _recording(file: SeedFile, labels: list[int], n_samples: int | None) -> Recording:
    trials = _trials(file.path, n_samples)
    seconds = [(len(t) - 1) / SFREQ_HZ for t in trials]
    onsets = np.concatenate([[0.0], np.cumsum(np.ceil(seconds) + GAP_SECONDS)[:-1]]).tolist()
    description = StreamDescription(
        name="SEED eeg",
        stype="EEG",
        sfreq=SFREQ_HZ,
        ch_names=SEED_EEG,
        units=("uV",) * len(SEED_EEG),
        channel_format="double64",
        source_id="seed-eeg",
    )
    rows = zip(onsets, seconds, strict=True)
    return assemble(
        {"eeg": stretches_to_stream(trials, onsets, description)},
        trials=[(k, t, s, f"seed-clip-{k:02d}") for k, (t, s) in enumerate(rows, 1)],
        ratings=no_ratings(),
        trial_columns={"label": labels, "label_name": [LABEL_NAMES[v] for v in labels]},
        attrs=_attributes(file),
    )


def _trials(path: Path, n_samples: int | None) -> list[np.ndarray]:
    """Return the trials by number, each (time, channel)."""
    matrices = eeg_matrices(path, len(SEED_SAMPLES))
    return [_trial(value, k, path, n_samples) for k, value in matrices]


def eeg_matrices(path: Path, n_trials: int) -> Iterator[tuple[int, Any]]:
    """Yield the number and the matrix of each trial of one person; none is kept meanwhile.

    Raises
    ------
    UnreadableFileError
        If the file does not hold ``<initials>_eeg1`` and so on, each once.
    """
    content = load_mat(path)
    named = {n: m for n in content if (m := _TRIAL.fullmatch(n))}
    found = sorted(int(m[2]) for m in named.values())
    if found != list(range(1, n_trials + 1)) or len({m[1] for m in named.values()}) != 1:
        raise UnreadableFileError(
            f"found {', '.join(sorted(content))[:200] or 'nothing'} in {path}, expected the "
            f"trials <initials>_eeg1 to _eeg{n_trials} of one person; the file is damaged or of "
            "another data set"
        )
    by_number = {int(m[2]): content.pop(name) for name, m in named.items()}
    for number in found:
        yield number, by_number.pop(number)


def _trial(value: Any, number: int, path: Path, n_samples: int | None) -> np.ndarray:
    place = f"trial {number} of {path}"
    signal = numbers(value, (len(SEED_EEG), None), place)
    wanted, tolerance = SEED_SAMPLES[number - 1], _TOLERANCE
    if n_samples is not None:
        wanted, tolerance = n_samples, 0
    if abs(signal.shape[1] - wanted) > tolerance:
        raise UnreadableFileError(
            f"found {signal.shape[1]} samples in {place}, expected {wanted} at 200 Hz; the file "
            "is damaged, resampled or of another data set"
        )
    check_finite(signal, place)
    return signal.T.astype(float, copy=False)


def _attributes(file: SeedFile) -> dict[str, Any]:
    return {
        "dataset": "seed",
        "subject": file.subject.zfill(2) if file.subject.isdigit() else file.subject,
        "session": str(file.session),
        "date": file.date,
        "licence": "SEED licence agreement: academic research only, no redistribution",
        "processing": "already at 200 Hz; already filtered 0-75 Hz",
        "trial_order": "the order of presentation, the same for all",
        "clock": f"made up: trials one after another, at least {GAP_SECONDS:g} s apart",
        "source_file": file.path.name,
        "source_fingerprint": file_fingerprint(file.path),
    }
