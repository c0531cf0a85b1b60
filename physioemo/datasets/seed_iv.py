"""SEED-IV's folder ``eeg_raw_data`` as recordings, one per subject and session.

Zheng, Liu, Lu, Lu and Cichocki, "EmotionMeter: A Multimodal Framework for Recognizing Human
Emotions", IEEE Transactions on Cybernetics 49 (2019).

The folders ``1``, ``2`` and ``3`` are the sessions; their files are called ``1_20160518.mat``
(subject and date). Each file holds 24 trials ``<initials>_eeg1`` to ``_eeg24`` of 62 channels in
SEED's order at 200 Hz (recorded at 1000 Hz, published at 200). The three sessions show different
clips. There are no ratings: every clip has one label, published in the read-me and the same for
all subjects; no file of the data set holds it.
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
    stretches_to_stream,
)
from physioemo.datasets.feature_stream import trial_onsets
from physioemo.datasets.mat_file import numbers
from physioemo.datasets.seed import SEED_EEG, eeg_matrices
from physioemo.datasets.session_files import pick_session
from physioemo.datasets.source import Source, read_sources
from physioemo.description import StreamDescription
from physioemo.errors import RecordingNotFoundError, UnreadableFileError
from physioemo.recording import Recording

__all__ = [
    "SEED_IV_LABELS",
    "SEED_IV_LABEL_NAMES",
    "SEED_IV_WINDOWS",
    "SeedIvFile",
    "read_seed_iv",
    "read_seed_iv_session",
    "seed_iv_attributes",
    "seed_iv_columns",
    "seed_iv_files",
    "seed_iv_sources",
    "seed_iv_trials",
]

# fmt: off
SEED_IV_LABELS = {
    1: (1, 2, 3, 0, 2, 0, 0, 1, 0, 1, 2, 1, 1, 1, 2, 3, 2, 2, 3, 3, 0, 3, 0, 3),
    2: (2, 1, 3, 0, 0, 2, 0, 2, 3, 3, 2, 3, 2, 0, 1, 1, 2, 1, 0, 3, 0, 1, 3, 1),
    3: (1, 2, 2, 1, 3, 3, 3, 1, 1, 2, 1, 0, 2, 3, 3, 0, 2, 3, 0, 0, 2, 0, 1, 0),
}
"""The label of each clip of each session as published."""

SEED_IV_WINDOWS = {
    1: (42, 23, 49, 32, 22, 40, 38, 52, 36, 42, 12, 27,
        54, 42, 64, 35, 17, 44, 35, 12, 28, 28, 43, 34),
    2: (55, 25, 34, 36, 53, 27, 34, 46, 34, 20, 60, 12,
        36, 27, 44, 15, 46, 49, 45, 10, 37, 44, 24, 19),
    3: (42, 32, 23, 45, 48, 26, 64, 23, 26, 16, 51, 41,
        39, 19, 28, 44, 14, 17, 45, 22, 39, 38, 41, 39),
}
"""Whole windows of 4 s in each clip of each session: 851, 832 and 822 together."""
# fmt: on

SEED_IV_LABEL_NAMES = {0: "neutral", 1: "sad", 2: "fear", 3: "happy"}
SFREQ_HZ = 200.0
WINDOW_SECONDS = 4.0
N_TRIALS = 24
_FILE = re.compile(r"([A-Za-z0-9]+)_(\d{8})\.mat")
_TOLERANCE = 200


@dataclass(frozen=True)
class SeedIvFile:
    """One session's file.

    Parameters
    ----------
    path : Path
        The file.
    subject : str
        Number, as the file name has it.
    session : int
        Number of the folder that holds the file.
    date : str
        ``yyyymmdd``.
    """

    path: Path
    subject: str
    session: int
    date: str


def seed_iv_files(folder: str | Path, name: str = "eeg_raw_data") -> list[SeedIvFile]:
    """Return the sessions in a folder, by subject and session.

    Parameters
    ----------
    folder : str or Path
        The folder that holds the folders 1, 2 and 3, or the one above it.
    name : str
        What the former is called.

    Raises
    ------
    RecordingNotFoundError
        If there is none.
    UnreadableFileError
        If a subject has two files in one session.
    """
    folder = Path(folder)
    top = next((p for p in (folder, folder / name) if any(p.glob("[123]/*.mat"))), folder)
    found: dict[tuple[str, int], SeedIvFile] = {}
    for path in sorted(top.glob("[123]/*.mat")):
        if not (match := _FILE.fullmatch(path.name)):
            continue
        file = SeedIvFile(path, match[1], int(path.parent.name), match[2])
        other = found.setdefault((file.subject, file.session), file)
        if other is not file:
            raise UnreadableFileError(
                f"found {other.path.name} and {path.name} in {path.parent}, expected one file per "
                "subject; remove the one that does not belong there"
            )
    if not found:
        raise RecordingNotFoundError(
            f"found no file such as 1/1_20160518.mat in {folder}, expected SEED-IV's folder "
            f"{name} with the folders 1, 2 and 3; check the path"
        )
    return sorted(found.values(), key=_rank)


def _rank(file: SeedIvFile) -> tuple[bool, int, str, int]:
    number = file.subject.isdigit()
    return not number, int(file.subject) if number else 0, file.subject, file.session


def seed_iv_sources(folder: str | Path, *, n_samples: int | None = None) -> list[Source]:
    """Return one source per subject and session, see :func:`read_seed_iv_session`."""
    return [
        Source(f"{f.session}-{f.path.stem}", (f.path,), partial(_read, f, n_samples))
        for f in seed_iv_files(folder)
    ]


def read_seed_iv(folder: str | Path, *, n_samples: int | None = None) -> Iterator[Recording]:
    """Yield the recording of every subject and session, see :func:`read_seed_iv_session`."""
    return read_sources(seed_iv_sources(folder, n_samples=n_samples))


def read_seed_iv_session(
    folder: str | Path, subject: str | int, session: int, *, n_samples: int | None = None
) -> Recording:
    """Return one session's recording.

    Parameters
    ----------
    folder : str or Path
        The folder ``eeg_raw_data``, or the one above it.
    subject : str or int
        Number, as the file names have it.
    session : int
        1, 2 or 3: the folder.
    n_samples : int, optional
        Samples of every trial of a fixture; by default those that fit the published number of
        windows.

    Raises
    ------
    CallError
        If there is no such session.
    RecordingNotFoundError, UnreadableFileError
        If a file is missing or damaged.
    """
    return next(_read(pick_session(seed_iv_files(folder), subject, session, folder), n_samples))


def _read(file: SeedIvFile, n_samples: int | None) -> Iterator[Recording]:
    trials = _trials(file, n_samples)
    seconds = [(len(t) - 1) / SFREQ_HZ for t in trials]
    onsets = trial_onsets(seconds)
    description = StreamDescription(
        name="SEED-IV eeg",
        stype="EEG",
        sfreq=SFREQ_HZ,
        ch_names=SEED_EEG,
        units=("uV",) * len(SEED_EEG),
        channel_format="double64",
        source_id="seed-iv-eeg",
    )
    yield assemble(
        {"eeg": stretches_to_stream(trials, onsets, description)},
        trials=seed_iv_trials(file.session, onsets, seconds),
        ratings=no_ratings(),
        trial_columns=seed_iv_columns(file.session),
        attrs={
            "dataset": "seed-iv",
            "processing": "recorded at 1000 Hz, published at 200 Hz; filters are not documented",
            **seed_iv_attributes(file),
        },
    )


def seed_iv_trials(
    session: int, onsets: list[float], seconds: list[float]
) -> list[tuple[int, float, float, str]]:
    """Return the rows of the table of trials; the clips of the sessions are different ones."""
    rows = enumerate(zip(onsets, seconds, strict=True), 1)
    return [(k, t, s, f"seed-iv-{session}-clip-{k:02d}") for k, (t, s) in rows]


def seed_iv_columns(session: int) -> dict[str, list[Any]]:
    """Return the columns ``label`` and ``label_name`` of a session."""
    labels = SEED_IV_LABELS[session]
    return {"label": list(labels), "label_name": [SEED_IV_LABEL_NAMES[v] for v in labels]}


def seed_iv_attributes(file: SeedIvFile) -> dict[str, Any]:
    """Return the session attributes that raw data and features share."""
    return {
        "subject": file.subject.zfill(2) if file.subject.isdigit() else file.subject,
        "session": str(file.session),
        "date": file.date,
        "licence": "SEED licence agreement: academic research only, no redistribution",
        "trial_order": "the order of presentation, the same for all in one session",
        "clock": f"made up: trials one after another, at least {GAP_SECONDS:g} s apart",
        "source_file": f"{file.session}/{file.path.name}",
        "source_fingerprint": file_fingerprint(file.path),
    }


def _trials(file: SeedIvFile, n_samples: int | None) -> list[np.ndarray]:
    """Return the trials by number, each (time, channel)."""
    return [_trial(value, k, file, n_samples) for k, value in eeg_matrices(file.path, N_TRIALS)]


def _trial(value: Any, number: int, file: SeedIvFile, n_samples: int | None) -> np.ndarray:
    place = f"trial {number} of {file.path}"
    signal = numbers(value, (len(SEED_EEG), None), place)
    windows = SEED_IV_WINDOWS[file.session][number - 1]
    least = round(windows * WINDOW_SECONDS * SFREQ_HZ) + 1 - _TOLERANCE
    most = round((windows + 1) * WINDOW_SECONDS * SFREQ_HZ) + _TOLERANCE
    if n_samples is not None:
        least = most = n_samples
    if not least <= signal.shape[1] <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise UnreadableFileError(
            f"found {signal.shape[1]} samples in {place}, expected {wanted} at 200 Hz; the file "
            "is damaged, resampled or of another session or data set"
        )
    check_finite(signal, place)
    return signal.T.astype(float, copy=False)
