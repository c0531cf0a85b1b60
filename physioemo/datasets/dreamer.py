"""``DREAMER.mat`` as recordings.

Katsigiannis and Ramzan, "DREAMER: A Database for Emotion Recognition Through EEG and ECG Signals
From Wireless Low-cost Off-the-Shelf Devices", IEEE Journal of Biomedical and Health Informatics
22 (2018).

23 subjects saw the same 18 film clips in the same order; each clip has a baseline before it.
Baselines and clips are stored apart and are placed on the session clock with a gap between them,
so that no window spans two. The EEG of the EPOC headset carries a constant offset of about
4200 uV, which is left in: remove it before anything else. The ECG's unit is not documented.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.datasets.assemble import (
    GAP_SECONDS,
    assemble,
    check_finite,
    file_fingerprint,
    one_at_a_time,
    rate,
    require_file,
    stretches_to_stream,
)
from physioemo.datasets.mat_file import field, numbers
from physioemo.datasets.mat_stream import struct_fields
from physioemo.datasets.source import Source
from physioemo.description import StreamDescription
from physioemo.errors import CallError, UnreadableFileError
from physioemo.recording import Recording

__all__ = [
    "DREAMER_EEG",
    "DREAMER_EMOTIONS",
    "dreamer_sources",
    "read_dreamer",
    "read_dreamer_subject",
]

# fmt: off
DREAMER_EEG = (
    "AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4",
)
"""The EEG channels in the order of the file."""

DREAMER_EMOTIONS = (
    "calmness", "surprise", "amusement", "fear", "excitement", "disgust", "happiness", "anger",
    "sadness", "disgust", "calmness", "amusement", "happiness", "anger", "fear", "excitement",
    "sadness", "surprise",
)
"""The emotion that each clip was chosen for, in the order in which all saw them."""
# fmt: on

EEG_HZ, ECG_HZ = 128.0, 256.0
_SCORES = {"valence": "ScoreValence", "arousal": "ScoreArousal", "dominance": "ScoreDominance"}
_STREAMS = {
    "eeg": ("EEG", EEG_HZ, DREAMER_EEG, "uV"),
    "ecg": ("ECG", ECG_HZ, ("ECG1", "ECG2"), "a.u."),
}


def dreamer_sources(path: str | Path) -> list[Source]:
    """Return the one file that holds all subjects; see :func:`read_dreamer`."""
    path = Path(path)
    file = require_file(path / "DREAMER.mat" if path.is_dir() else path, "DREAMER.mat")
    return [Source("DREAMER", (file,), partial(read_dreamer, file))]


def read_dreamer(path: str | Path) -> Iterator[Recording]:
    """Yield every subject's recording; one subject is in memory at a time.

    The file is checked from end to end and then read through once, for all subjects.

    Parameters
    ----------
    path : str or Path
        ``DREAMER.mat`` or its folder.

    Raises
    ------
    RecordingNotFoundError
        If the file is not there.
    UnreadableFileError
        If it is damaged or not of DREAMER's structure.
    """
    path, _, fingerprint = _open(path)
    return one_at_a_time(_recordings(path, fingerprint))


def _recordings(path: Path, fingerprint: str) -> Iterator[Recording]:
    for name, index, cell in struct_fields(path, "DREAMER", cells="Data"):
        if name == "Data":
            made = [_recording(cell, index + 1, path, fingerprint)]
            del cell  # its arrays have been copied
            yield made.pop()  # who asked for it holds it alone


def read_dreamer_subject(path: str | Path, subject: int) -> Recording:
    """Return one subject's recording; for several, :func:`read_dreamer` reads the file once.

    Parameters
    ----------
    path : str or Path
        ``DREAMER.mat`` or its folder.
    subject : int
        From 1.

    Raises
    ------
    CallError
        If the file has no such subject.
    RecordingNotFoundError, UnreadableFileError
        As :func:`read_dreamer`.
    """
    path, n_subjects, fingerprint = _open(path)
    for name, index, cell in struct_fields(path, "DREAMER", cells="Data"):
        if name == "Data" and index + 1 == subject:
            return _recording(cell, subject, path, fingerprint)
    raise CallError(
        f"found {n_subjects} subjects in {path}, expected subject {subject}; choose one "
        f"from 1 to {n_subjects}"
    )


def _open(path: str | Path) -> tuple[Path, int, str]:
    """Check the whole file; return it, its number of subjects and its fingerprint."""
    path = Path(path)
    path = require_file(path / "DREAMER.mat" if path.is_dir() else path, "DREAMER.mat")
    place, content, n_subjects = f"DREAMER of {path}", {}, 0
    for name, index, value in struct_fields(path, "DREAMER", cells="Data", parse_cells=False):
        content[name] = value
        n_subjects = max(n_subjects, index + 1)
    stated = {
        "EEG_SamplingRate": EEG_HZ,
        "ECG_SamplingRate": ECG_HZ,
        "noOfVideoSequences": len(DREAMER_EMOTIONS),
        "noOfSubjects": n_subjects,
    }
    for name, wanted in stated.items():
        _expect(float(numbers(content.get(name), (1, 1), place)[0, 0]), wanted, name, path)
    cells = np.asarray(content.get("EEG_Electrodes"), object)
    names = tuple(str(c.flat[0]) if getattr(c, "size", 0) else "" for c in cells.flat)
    _expect(names, DREAMER_EEG, "EEG_Electrodes", path)
    return path, n_subjects, file_fingerprint(path)


def _expect(found: Any, wanted: Any, what: str, path: Path) -> None:
    if found != wanted:
        raise UnreadableFileError(
            f"found {what} = {found} in {path}, expected {wanted}; the file is damaged or of "
            "another release"
        )


def _recording(cell: Any, subject: int, path: Path, fingerprint: str) -> Recording:
    place = f"subject {subject} of {path}"
    clips = range(len(DREAMER_EMOTIONS))
    parts = {key: _stretches(cell, key, place) for key in _STREAMS}
    seconds = _durations(parts, place)
    # The next whole second after the end, and the gap: both streams start together.
    onsets = np.concatenate([[0.0], np.cumsum(np.ceil(seconds) + GAP_SECONDS)[:-1]])
    columns = [
        numbers(field(cell, name, place), (len(clips), 1), f"{name} of {place}")
        for name in _SCORES.values()
    ]
    sex, age = (_text(field(cell, name, place)) for name in ("Gender", "Age"))
    return assemble(
        {key: _stream(key, stretches, onsets) for key, stretches in parts.items()},
        trials=[
            (
                k + 1,
                float(onsets[2 * k + 1]),
                float(seconds[2 * k + 1]),
                f"dreamer-clip-{k + 1:02d}",
            )
            for k in clips
        ],
        ratings=rate((k + 1 for k in clips), list(_SCORES), np.hstack(columns), (1, 5), path),
        baselines=[(float(onsets[2 * k]), float(seconds[2 * k])) for k in clips],
        trial_columns={"target_emotion": DREAMER_EMOTIONS},
        attrs=_attributes(subject, path, fingerprint) | {"age": age, "gender": sex},
    )


def _text(value: Any) -> str:
    return str(value.flat[0]) if isinstance(value, np.ndarray) and value.size else ""


def _stretches(cell: Any, key: str, place: str) -> list[np.ndarray]:
    """Return baseline and clip by turns, each (time, channel)."""
    both = field(cell, key.upper(), place)
    n_channels, n_clips = len(_STREAMS[key][2]), len(DREAMER_EMOTIONS)
    cells = {kind: field(both, kind, f"{key} of {place}") for kind in ("baseline", "stimuli")}
    found = []
    for kind, column in cells.items():
        _expect(column.shape, (n_clips, 1), f"{key} {kind} (shape)", Path(place))
    for k in range(n_clips):
        for kind, column in cells.items():
            where = f"{key} {kind} {k + 1} of {place}"
            signal = numbers(column[k, 0], (None, n_channels), where).astype(float, copy=False)
            check_finite(signal, where)
            found.append(signal)
    return found


def _durations(parts: dict[str, list[np.ndarray]], place: str) -> np.ndarray:
    """Return each stretch's length in seconds, if EEG and ECG agree on it within one second."""
    eeg, ecg = (np.array([len(s) for s in parts[k]]) / _STREAMS[k][1] for k in ("eeg", "ecg"))
    apart = np.abs(eeg - ecg)
    if apart.max() > 1:
        k = int(apart.argmax())
        raise UnreadableFileError(
            f"found {eeg[k]:g} s of EEG and {ecg[k]:g} s of ECG in stretch {k + 1} of {place}, "
            "expected equal lengths at 128 and 256 Hz; the file is damaged"
        )
    return np.maximum(eeg, ecg)


def _stream(key: str, stretches: list[np.ndarray], onsets: np.ndarray) -> Any:
    stype, sfreq, names, unit = _STREAMS[key]
    description = StreamDescription(
        name=f"DREAMER {key}",
        stype=stype,
        sfreq=sfreq,
        ch_names=names,
        units=(unit,) * len(names),
        channel_format="double64",
        source_id=f"dreamer-{key}",
    )
    attrs = {"dc_offset": "about 4200 uV, left in: remove it first"} if key == "eeg" else {}
    return stretches_to_stream(stretches, [float(t) for t in onsets], description, attrs=attrs)


def _attributes(subject: int, path: Path, fingerprint: str) -> dict[str, Any]:
    return {
        "dataset": "dreamer",
        "subject": f"{subject:02d}",
        "session": "1",
        "licence": "DREAMER end user licence agreement: academic research only, no redistribution",
        "processing": "raw; the EEG carries the headset's constant offset of about 4200 uV",
        "trial_order": "the order in which every subject saw the clips",
        "clock": f"made up: baseline and clip by turns, at least {GAP_SECONDS:g} s apart",
        "source_file": path.name,
        "source_fingerprint": fingerprint,
    }
