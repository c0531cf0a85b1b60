"""SEED-V's folders ``EEG_DE_features`` and ``Eye_movement_features`` as recordings.

Liu, Qiu, Zheng and Lu, "Comparing Recognition Performance and Robustness of Multimodal Deep
Learning Models for Multimodal Emotion Recognition", IEEE Transactions on Cognitive and
Developmental Systems 14 (2022).

A file ``1_123.npz`` holds the three sessions of a subject, one recording each: the trials 0 to
44 are three times 15, and ``data[k]`` has one row per window of 4 s. The stream ``eeg_de`` has
62 channels x 5 bands of differential entropy, the stream ``eye_features`` 33 columns; the
folder of the eyes is looked for beside ``EEG_DE_features`` and is read along if it is there.
A sample is stamped with the start of its window.

What is not documented: the order of the 310 columns (readers disagree: the parameter `layout`),
the order of the 33 columns of the eyes (hence ``eye 01`` to ``eye 33``), and the base of the
logarithm, so that no unit is claimed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from physioemo.datasets.assemble import (
    assemble,
    check_finite,
    file_fingerprint,
    no_ratings,
    one_at_a_time,
    require_file,
)
from physioemo.datasets.feature_stream import (
    BANDS_HZ,
    eeg_feature_stream,
    eye_feature_stream,
    numbered,
)
from physioemo.datasets.mat_file import numbers
from physioemo.datasets.npz_file import load_npz_pickles
from physioemo.datasets.seed import SEED_EEG
from physioemo.datasets.seed_v import (
    LICENCE,
    SEED_V_LABEL_NAMES,
    SEED_V_LABELS,
    SEED_V_SECONDS,
    seed_v_stimulus,
)
from physioemo.datasets.source import Source
from physioemo.errors import CallError, RecordingNotFoundError, UnreadableFileError
from physioemo.recording import Recording

__all__ = [
    "EYE_COLUMNS",
    "MOST_WINDOWS",
    "WINDOW_SECONDS",
    "Layout",
    "SeedVFeatureFile",
    "eye_folder",
    "feature_seconds",
    "read_seed_v_features",
    "read_seed_v_features_session",
    "seed_v_features_files",
    "seed_v_features_sources",
]

Layout = Literal["channel-band", "band-channel"]
"""Which of channel and band changes slower along the 310 columns of a file."""

WINDOW_SECONDS = 4.0
EYE_COLUMNS = 33
MOST_WINDOWS = 18
"""Of every trial of a fixture: the closest two trials start 83 s apart."""

SESSIONS = tuple(SEED_V_LABELS)
_LAYOUTS = ("channel-band", "band-channel")
_FILE = re.compile(r"(\d{1,2})_123\.npz", re.ASCII)
_EEG_FOLDER, _EYE_FOLDER = "EEG_DE_features", "Eye_movement_features"
_UNIT_NOTE = "the data set states none, nor the base of its logarithm"
_LAYOUT_NOTE = (
    "electrodes, the bands of each run fastest; in the file as the layout says (disputed)"
)


@dataclass(frozen=True)
class SeedVFeatureFile:
    """One subject's files.

    Parameters
    ----------
    path : Path
        Features of the EEG.
    subject : int
        From 1, as the file name has it.
    eye : Path or None
        Features of the eyes, if they are read.
    """

    path: Path
    subject: int
    eye: Path | None = None


def eye_folder(folder: str | Path) -> Path:
    """Return where the features of the eyes lie: beside ``EEG_DE_features``, or else inside."""
    folder = Path(folder).absolute()
    return (folder.parent if folder.name == _EEG_FOLDER else folder) / _EYE_FOLDER


def seed_v_features_files(folder: str | Path, *, eye: bool | None = None) -> list[SeedVFeatureFile]:
    """Return the subjects in a folder, by number.

    Parameters
    ----------
    folder : str or Path
        The folder ``EEG_DE_features``.
    eye : bool, optional
        Whether the features of the eyes are read along; by default if their folder is there.

    Raises
    ------
    RecordingNotFoundError
        If there is none, or a wanted file of the eyes is missing.
    """
    matches = [(_FILE.fullmatch(p.name), p) for p in Path(folder).glob("*.npz")]
    found = sorted((int(m[1]), p) for m, p in matches if m)
    if not found:
        raise RecordingNotFoundError(
            f"found no file such as 1_123.npz in {folder}, expected SEED-V's folder "
            f"{_EEG_FOLDER}; check the path"
        )
    eyes = eye_folder(folder)
    if eye is False or (eye is None and not eyes.is_dir()):
        return [SeedVFeatureFile(path, subject) for subject, path in found]
    what = f"the features of the eyes of this subject, or none at all in {eyes}"
    return [
        SeedVFeatureFile(path, subject, require_file(eyes / path.name, what))
        for subject, path in found
    ]


def feature_seconds(session: int, windows: int | None = None) -> list[tuple[float, float]]:
    """Return the seconds of the recording at which a session's trials start and end.

    Parameters
    ----------
    session : int
        1 to 3.
    windows : int, optional
        Windows of every trial of a fixture; by default trials end where they were published.

    Raises
    ------
    CallError
        If so many windows do not fit between two trials.
    """
    published = [(float(start), float(stop)) for start, stop in SEED_V_SECONDS[session]]
    if windows is None:
        return published
    if not 1 <= windows <= MOST_WINDOWS:
        raise CallError(f"found {windows} windows per trial, expected 1 to {MOST_WINDOWS}")
    return [(start, start + windows * WINDOW_SECONDS) for start, _ in published]


def read_seed_v_features(
    folder: str | Path,
    *,
    layout: Layout = "channel-band",
    eye: bool | None = None,
    windows: int | None = None,
) -> Iterator[Recording]:
    """Yield every subject's three sessions, see :func:`read_seed_v_features_session`."""
    _check_layout(layout)
    files = seed_v_features_files(folder, eye=eye)
    return one_at_a_time(r for file in files for r in _recordings(file, layout, windows))


def read_seed_v_features_session(
    folder: str | Path,
    subject: str | int,
    session: int,
    *,
    layout: Layout = "channel-band",
    eye: bool | None = None,
    windows: int | None = None,
) -> Recording:
    """Return one session's recording.

    Parameters
    ----------
    folder : str or Path
        The folder ``EEG_DE_features``.
    subject : str or int
        Number, as the file names have it.
    session : int
        1 to 3.
    layout : {"channel-band", "band-channel"}
        Which changes slower along the columns of the file; channels of the stream are named
        ``"Fp1 delta"``, ``"Fp1 theta"`` and so on in either case.
    eye : bool, optional
        Whether the features of the eyes are read along; by default if their folder is there.
    windows : int, optional
        Windows of every trial of a fixture; by default those that fit the published seconds.

    Raises
    ------
    CallError
        If there is no such session or layout.
    RecordingNotFoundError, UnreadableFileError
        If a file is missing or damaged.
    """
    _check_layout(layout)
    files = seed_v_features_files(folder, eye=eye)
    for file in files:
        if str(file.subject) == str(subject) and session in SESSIONS:
            return next(_recordings(file, layout, windows, (session,)))
    raise CallError(
        f"found the subjects {', '.join(str(f.subject) for f in files)} with the sessions 1 to 3 "
        f"in {folder}, expected subject {subject} with a session {session}; check both"
    )


def seed_v_features_sources(
    folder: str | Path,
    *,
    layout: Layout = "channel-band",
    eye: bool | None = None,
    windows: int | None = None,
) -> list[Source]:
    """Return what can be read by itself: one file per subject, three recordings each."""
    _check_layout(layout)
    return [
        Source(
            file.path.stem,
            (file.path, file.eye) if file.eye else (file.path,),
            partial(_read, file, layout, windows),
        )
        for file in seed_v_features_files(folder, eye=eye)
    ]


def _read(file: SeedVFeatureFile, layout: Layout, windows: int | None) -> Iterator[Recording]:
    return one_at_a_time(_recordings(file, layout, windows))


def _check_layout(layout: str) -> None:
    if layout not in _LAYOUTS:
        raise CallError(f"found the layout {layout!r}, expected one of {', '.join(_LAYOUTS)}")


def _recordings(
    file: SeedVFeatureFile,
    layout: Layout,
    windows: int | None,
    sessions: tuple[int, ...] = SESSIONS,
) -> Iterator[Recording]:
    eeg = _trials(file.path, windows, eye=False)
    eye = _trials(file.eye, windows, eye=True) if file.eye else None
    attrs = _attributes(file)
    for session in sessions:
        n = len(SEED_V_LABELS[session])
        part = slice((session - 1) * n, session * n)
        seconds = feature_seconds(session, windows)
        onsets = [start for start, _ in seconds]
        streams = {"eeg_de": _eeg_stream(eeg[part], onsets, layout)}
        if file.eye and eye is not None:
            streams["eye_features"] = _eye_stream(eye[part], onsets, file.eye)
        labels = SEED_V_LABELS[session]
        yield assemble(
            streams,
            trials=[
                (k, start, stop - start, seed_v_stimulus(session, k))
                for k, (start, stop) in enumerate(seconds, 1)
            ],
            ratings=no_ratings(),
            trial_columns={"label": labels, "label_name": [SEED_V_LABEL_NAMES[v] for v in labels]},
            attrs={**attrs, "session": str(session)},
        )


def _trials(path: Path, windows: int | None, *, eye: bool) -> list[np.ndarray]:
    """Return the features of the 45 trials; their labels must be the published ones."""
    needed, optional = (("data",), ("label",)) if eye else (("data", "label"), ())
    content = load_npz_pickles(path, needed, optional)
    keys = [(session, k) for session in SESSIONS for k in range(len(SEED_V_LABELS[session]))]
    for member, trials in content.items():
        if not isinstance(trials, dict) or set(trials) != set(range(len(keys))):
            raise UnreadableFileError(
                f"found {str(list(trials) if isinstance(trials, dict) else trials)[:80]} in "
                f"{member} of {path}, expected the trials 0 to {len(keys) - 1}; the file is "
                "damaged or of another data set"
            )
    found = []
    for number, (session, k) in enumerate(keys):
        start, stop = feature_seconds(session, windows)[k]
        n = int((stop - start) // WINDOW_SECONDS)
        shape = (n, EYE_COLUMNS if eye else len(SEED_EEG) * len(BANDS_HZ))
        place = f"data {number} of {path}"
        features = numbers(content["data"][number], shape, place).astype(float)
        if not eye:
            check_finite(features, place)
        found.append(features)
        if "label" in content:
            place = f"label {number} of {path}"
            _check_label(content["label"][number], n, SEED_V_LABELS[session][k], place)
    return found


def _check_label(value: Any, n: int, label: int, place: str) -> None:
    found = set(numbers(value, (n,), place).tolist())
    if found != {label}:
        raise UnreadableFileError(
            f"found {', '.join(map(str, sorted(found)))[:80]} in {place}, expected {label} as "
            "published; the file is damaged or of another data set"
        )


def _eeg_stream(trials: list[np.ndarray], onsets: list[float], layout: Layout) -> xr.Dataset:
    if layout == "band-channel":
        shape = (-1, len(BANDS_HZ), len(SEED_EEG))
        trials = [t.reshape(shape).swapaxes(1, 2).reshape(len(t), -1) for t in trials]
    stream = eeg_feature_stream("de", SEED_EEG, trials, onsets, WINDOW_SECONDS, "SEED-V")
    known = {"layout": layout, "channel_order": _LAYOUT_NOTE, "unit_note": _UNIT_NOTE}
    return stream.assign_attrs({**known, "smoothing": "not documented"})


def _eye_stream(trials: list[np.ndarray], onsets: list[float], path: Path) -> xr.Dataset:
    channels, order = (
        numbered("eye", EYE_COLUMNS),
        "as in the file: which is which is not documented",
    )
    return eye_feature_stream(channels, trials, onsets, WINDOW_SECONDS, "SEED-V", order, path)


def _attributes(file: SeedVFeatureFile) -> dict[str, Any]:
    prints = [file_fingerprint(p) for p in (file.path, file.eye) if p]
    return {
        "dataset": "seed-v-features",
        "subject": f"{file.subject:02d}",
        "licence": LICENCE,
        "processing": f"features of windows of {WINDOW_SECONDS:g} s as published, without overlap",
        "trial_order": "the order of presentation, the same for all subjects of a session",
        "clock": "published seconds of the recording; windows lie end to end from a trial's start",
        "source_file": file.path.name,
        "source_fingerprint": "-".join(prints),
    }
