"""SEED's eye-tracking features as recordings, one per subject and session.

Lu, Zheng, Li and Lu, "Combining Eye Movements and EEG to Enhance Emotion Recognition", IJCAI
(2015). The folder is ``SEED_Multimodal/Chinese/04-Eye-tracking-feature/eye_tracking_feature``;
its files are called ``1_1`` (subject and session, no ending) and are pickles of
``{'train_data_eye', 'test_data_eye'}``: windows of 4 s by 33 features, of the trials 1 to 9 and
10 to 15, one after another. Where a trial ends follows from the published lengths. Twelve of
SEED's fifteen subjects are there (1 to 5 and 8 to 14).

The clips, their order and labels are SEED's. Which column is which feature is not documented
for SEED: the channels are numbered. Only :mod:`physioemo.datasets.safe_pickle` opens the file.
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
    file_fingerprint,
    no_ratings,
)
from physioemo.datasets.feature_stream import eye_feature_stream, numbered, trial_onsets
from physioemo.datasets.mat_file import numbers
from physioemo.datasets.safe_pickle import load_pickle
from physioemo.datasets.seed import LABEL_NAMES
from physioemo.datasets.seed_features import SEED_SECONDS
from physioemo.datasets.session_files import pick_session
from physioemo.datasets.source import Source, read_sources
from physioemo.errors import RecordingNotFoundError, UnreadableFileError
from physioemo.recording import Recording

__all__ = [
    "CLIP_LABELS",
    "EYE_CHANNELS",
    "EYE_WINDOWS",
    "N_TRAIN",
    "SeedEyeFile",
    "read_seed_eye",
    "read_seed_eye_session",
    "seed_eye_files",
    "seed_eye_sources",
]

CLIP_LABELS = (1, 0, -1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 0, 1, -1)
"""The label of each clip as published; the folder holds none."""

WINDOW_SECONDS = 4.0
EYE_WINDOWS = tuple(int(s // WINDOW_SECONDS) for s in SEED_SECONDS)
"""Windows of each trial: 499 in the first nine, 343 in the others."""

N_TRAIN = 9
EYE_CHANNELS = numbered("eye", 33)
_FILE = re.compile(r"(\d+)_([123])")
_ORDER = (
    "not documented for SEED; the paper lists pupil diameter, dispersion, fixation, blink, "
    "saccade and event statistics"
)


@dataclass(frozen=True)
class SeedEyeFile:
    """One session's file.

    Parameters
    ----------
    path : Path
        The file.
    subject, session : int
        As its name says.
    """

    path: Path
    subject: int
    session: int


def seed_eye_files(folder: str | Path) -> list[SeedEyeFile]:
    """Return the sessions in a folder, by subject and session.

    Raises
    ------
    RecordingNotFoundError
        If there is none.
    """
    found = [
        SeedEyeFile(path, int(match[1]), int(match[2]))
        for path in Path(folder).glob("*_[123]")
        if (match := _FILE.fullmatch(path.name)) and path.is_file()
    ]
    if not found:
        raise RecordingNotFoundError(
            f"found no file such as 1_1 (without ending) in {folder}, expected SEED's folder "
            "eye_tracking_feature; check the path"
        )
    return sorted(found, key=lambda f: (f.subject, f.session))


def seed_eye_sources(folder: str | Path, *, n_windows: int | None = None) -> list[Source]:
    """Return one source per subject and session, see :func:`read_seed_eye_session`."""
    return [
        Source(f.path.name, (f.path,), partial(_read, f, n_windows)) for f in seed_eye_files(folder)
    ]


def read_seed_eye(folder: str | Path, *, n_windows: int | None = None) -> Iterator[Recording]:
    """Yield the recording of every subject and session, see :func:`read_seed_eye_session`."""
    return read_sources(seed_eye_sources(folder, n_windows=n_windows))


def read_seed_eye_session(
    folder: str | Path, subject: str | int, session: int, *, n_windows: int | None = None
) -> Recording:
    """Return one session's recording.

    Parameters
    ----------
    folder : str or Path
        The folder ``eye_tracking_feature``.
    subject : str or int
        1 to 15.
    session : int
        1 to 3.
    n_windows : int, optional
        Windows of every trial of a fixture; by default those published.

    Raises
    ------
    CallError
        If there is no such session.
    RecordingNotFoundError, UnreadableFileError
        If a file is missing or damaged.
    """
    file = pick_session(seed_eye_files(folder), subject, session, folder)
    return next(_read(file, n_windows))


def _read(file: SeedEyeFile, n_windows: int | None) -> Iterator[Recording]:
    counts = EYE_WINDOWS if n_windows is None else (n_windows,) * len(EYE_WINDOWS)
    trials = _trials(file.path, counts)
    seconds = [n * WINDOW_SECONDS for n in counts]
    onsets = trial_onsets(seconds)
    stream = eye_feature_stream(
        EYE_CHANNELS, trials, onsets, WINDOW_SECONDS, "SEED", _ORDER, file.path
    )
    rows = zip(onsets, seconds, strict=True)
    n_test = len(counts) - N_TRAIN
    yield assemble(
        {"eye": stream},
        trials=[(k, t, s, f"seed-clip-{k:02d}") for k, (t, s) in enumerate(rows, 1)],
        ratings=no_ratings(),
        trial_columns={
            "label": CLIP_LABELS,
            "label_name": [LABEL_NAMES[v] for v in CLIP_LABELS],
            "published_split": ["train"] * N_TRAIN + ["test"] * n_test,
        },
        attrs=_attributes(file),
    )


def _trials(path: Path, counts: tuple[int, ...]) -> list[np.ndarray]:
    """Return the trials, each (window, feature)."""
    content = load_pickle(path)
    halves = {"train_data_eye": counts[:N_TRAIN], "test_data_eye": counts[N_TRAIN:]}
    if not isinstance(content, dict) or not set(halves) <= set(content):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content)
        raise UnreadableFileError(
            f"found {str(found)[:200] or 'nothing'} in {path}, expected train_data_eye and "
            "test_data_eye; the file is damaged or of another data set"
        )
    trials: list[np.ndarray] = []
    for name, part in halves.items():
        place = f"{name} of {path}"
        values = numbers(content[name], (None, len(EYE_CHANNELS)), place)
        if len(values) != sum(part):
            raise UnreadableFileError(
                f"found {len(values)} windows in {place}, expected {sum(part)}: without the "
                "published number the ends of the trials are not known; get the file from the "
                "data set's own site"
            )
        trials += np.split(values.astype(float, copy=False), np.cumsum(part)[:-1])
    return trials


def _attributes(file: SeedEyeFile) -> dict[str, Any]:
    return {
        "dataset": "seed-eye",
        "subject": f"{file.subject:02d}",
        "session": str(file.session),
        "licence": "SEED licence agreement: academic research only, no redistribution",
        "processing": "published features of windows of 4 s without overlap",
        "window_seconds": WINDOW_SECONDS,
        "trial_order": "the order of presentation, the same for all",
        "clock": f"made up: trials one after another, at least {GAP_SECONDS:g} s apart",
        "source_file": file.path.name,
        "source_fingerprint": file_fingerprint(file.path),
    }
