"""SEED-V's folder ``EEG_raw`` as recordings, one per subject and session.

Liu, Qiu, Zheng and Lu, "Comparing Recognition Performance and Robustness of Multimodal Deep
Learning Models for Multimodal Emotion Recognition", IEEE Transactions on Cognitive and
Developmental Systems 14 (2022).

The files are called ``1_1_20180804.cnt``: subject, session, date. The session is the set of
films that was shown, not the rank of the date. Each is a continuous Neuroscan recording of 66
channels at 1000 Hz, of which the 15 trials are read; the data set's
``trial_start_end_timestamp.txt`` says between which seconds of the recording they lie. VEO and
HEO become the stream ``eog``; the mastoids M1 and M2 are left out. Nothing is filtered and
nothing resampled. There are no ratings: every clip has one label from 0 to 4, which stands in
the columns ``label`` and ``label_name`` of the table of trials.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.datasets.assemble import assemble, file_fingerprint, no_ratings, one_at_a_time
from physioemo.datasets.cnt_file import CntHeader, read_cnt, read_cnt_header
from physioemo.datasets.seed import SEED_EEG
from physioemo.datasets.session_files import pick_session
from physioemo.datasets.source import Source
from physioemo.description import StreamDescription
from physioemo.errors import CallError, RecordingNotFoundError, UnreadableFileError
from physioemo.recording import Recording
from physioemo.stream import make_stream

__all__ = [
    "LICENCE",
    "SEED_V_EOG",
    "SEED_V_LABELS",
    "SEED_V_LABEL_NAMES",
    "SEED_V_MASTOIDS",
    "SEED_V_SECONDS",
    "SeedVFile",
    "read_seed_v",
    "read_seed_v_session",
    "seed_v_files",
    "seed_v_sources",
    "seed_v_stimulus",
    "trial_seconds",
]

SEED_V_EOG, SEED_V_MASTOIDS = ("VEO", "HEO"), ("M1", "M2")
SEED_V_LABEL_NAMES = {0: "disgust", 1: "fear", 2: "sad", 3: "neutral", 4: "happy"}
SEED_V_LABELS = {
    1: (4, 1, 3, 2, 0, 4, 1, 3, 2, 0, 4, 1, 3, 2, 0),
    2: (2, 1, 3, 0, 4, 4, 0, 3, 2, 1, 3, 4, 1, 2, 0),
    3: (2, 1, 3, 0, 4, 4, 0, 3, 2, 1, 3, 4, 1, 2, 0),
}
"""The label of each clip of a session, as published."""

# fmt: off
_STARTS = {
    1: (30, 132, 287, 555, 773, 982, 1271, 1628, 1730, 2025, 2227, 2435, 2667, 2932, 3204),
    2: (30, 299, 548, 646, 836, 1000, 1091, 1392, 1657, 1809, 1966, 2186, 2333, 2490, 2741),
    3: (30, 353, 478, 674, 825, 908, 1200, 1346, 1451, 1711, 2055, 2307, 2457, 2726, 2888),
}
_STOPS = {
    1: (102, 228, 524, 742, 920, 1240, 1568, 1697, 1994, 2166, 2401, 2607, 2901, 3172, 3359),
    2: (267, 488, 614, 773, 967, 1059, 1331, 1622, 1777, 1908, 2153, 2302, 2428, 2709, 2817),
    3: (321, 418, 643, 764, 877, 1147, 1284, 1418, 1679, 1996, 2275, 2425, 2664, 2857, 3066),
}
# fmt: on
SEED_V_SECONDS = {s: tuple(zip(_STARTS[s], _STOPS[s], strict=True)) for s in _STARTS}
"""Seconds of the recording at which each clip of a session starts and ends, as published."""

LICENCE = "SEED licence agreement: academic research only, no redistribution"
SFREQ_HZ = 1000
_PAUSE_SECONDS = 1
_GAIN_RATIO = 2.0
_FILE = re.compile(r"(\d{1,2})_([123])_(\d{8})\.cnt", re.ASCII)


@dataclass(frozen=True)
class SeedVFile:
    """One session's file.

    Parameters
    ----------
    path : Path
        The file.
    subject, session : int
        Both from 1, as the file name has them.
    date : str
        ``yyyymmdd``.
    """

    path: Path
    subject: int
    session: int
    date: str


def seed_v_files(folder: str | Path) -> list[SeedVFile]:
    """Return the sessions in a folder, by subject and session.

    Raises
    ------
    RecordingNotFoundError
        If there is none.
    UnreadableFileError
        If a session is there twice.
    """
    found: dict[tuple[int, int], SeedVFile] = {}
    for path in sorted(Path(folder).glob("*.cnt")):
        if match := _FILE.fullmatch(path.name):
            file = SeedVFile(path, int(match[1]), int(match[2]), match[3])
            other = found.setdefault((file.subject, file.session), file)
            if other is not file:
                raise UnreadableFileError(
                    f"found {other.path.name} and {path.name} in {folder}, expected one file per "
                    "subject and session; take one away"
                )
    if not found:
        raise RecordingNotFoundError(
            f"found no file such as 1_1_20180804.cnt in {folder}, expected SEED-V's folder "
            "EEG_raw; check the path"
        )
    return [found[key] for key in sorted(found)]


def trial_seconds(session: int, clip_seconds: int | None = None) -> list[tuple[int, int]]:
    """Return the seconds at which a session's trials start and end.

    Parameters
    ----------
    session : int
        1 to 3.
    clip_seconds : int, optional
        Length of every trial of a fixture, whose trials lie 1 s apart; by default those published.

    Raises
    ------
    CallError
        If the length is no whole second.
    """
    if clip_seconds is None:
        return list(SEED_V_SECONDS[session])
    if not isinstance(clip_seconds, int) or clip_seconds < 1:
        raise CallError(f"found trials of {clip_seconds!r} s, expected a whole number from 1")
    step = clip_seconds + _PAUSE_SECONDS
    starts = [_PAUSE_SECONDS + k * step for k in range(len(SEED_V_LABELS[session]))]
    return [(start, start + clip_seconds) for start in starts]


def seed_v_stimulus(session: int, trial: int) -> str:
    """Return the name of the clip of a trial, both counted from 1; each session has its own."""
    return f"seed-v-{session}-clip-{trial:02d}"


def read_seed_v(folder: str | Path, *, clip_seconds: int | None = None) -> Iterator[Recording]:
    """Yield the recording of every subject and session, see :func:`read_seed_v_session`."""
    files = seed_v_files(folder)
    return one_at_a_time(_recording(file, clip_seconds) for file in files)


def read_seed_v_session(
    folder: str | Path, subject: str | int, session: int, *, clip_seconds: int | None = None
) -> Recording:
    """Return one session's recording.

    Parameters
    ----------
    folder : str or Path
        The folder ``EEG_raw``.
    subject : str or int
        Number, as the file names have it.
    session : int
        1 to 3.
    clip_seconds : int, optional
        Length of every trial of a fixture, see :func:`trial_seconds`.

    Raises
    ------
    CallError
        If there is no such session.
    RecordingNotFoundError, UnreadableFileError
        If a file is missing or damaged.
    """
    file = pick_session(seed_v_files(folder), subject, session, folder)
    return _recording(file, clip_seconds)


def seed_v_sources(folder: str | Path, *, clip_seconds: int | None = None) -> list[Source]:
    """Return what can be read by itself: one file per subject and session."""
    return [
        Source(file.path.stem, (file.path,), partial(_read, file, clip_seconds))
        for file in seed_v_files(folder)
    ]


def _read(file: SeedVFile, clip_seconds: int | None) -> Iterator[Recording]:
    return one_at_a_time(_recording(f, clip_seconds) for f in (file,))


def _recording(file: SeedVFile, clip_seconds: int | None) -> Recording:
    header = read_cnt_header(file.path)
    seconds = trial_seconds(file.session, clip_seconds)
    positions = _positions(header, seconds[-1][1])
    eeg, eog = (
        _stream(header, seconds, [positions[n.upper()] for n in names], names, stype)
        for names, stype in ((SEED_EEG, "EEG"), (SEED_V_EOG, "EOG"))
    )
    labels = SEED_V_LABELS[file.session]
    return assemble(
        {"eeg": eeg, "eog": eog},
        trials=[
            (k, start, stop - start, seed_v_stimulus(file.session, k))
            for k, (start, stop) in enumerate(seconds, 1)
        ],
        ratings=no_ratings(),
        trial_columns={"label": labels, "label_name": [SEED_V_LABEL_NAMES[v] for v in labels]},
        attrs=_attributes(file),
    )


def _positions(header: CntHeader, last_second: int) -> dict[str, int]:
    """Return where each channel is; the file must be SEED-V's and hold all trials."""
    upper = [name.upper() for name in header.ch_names]
    expected = {n.upper() for n in (*SEED_EEG, *SEED_V_EOG, *SEED_V_MASTOIDS)}
    if set(upper) != expected or len(upper) != len(expected):
        odd = sorted(set(upper) ^ expected) or sorted({n for n in upper if upper.count(n) > 1})
        raise _other(header, f"{len(upper)} channels that differ in {', '.join(odd)[:80]}")
    if header.sfreq != SFREQ_HZ:
        raise _other(header, f"a rate of {header.sfreq:g} Hz")
    if header.n_samples < last_second * SFREQ_HZ:
        raise _other(
            header, f"{header.n_samples / SFREQ_HZ:g} s where trials end at {last_second} s"
        )
    gains = np.array([header.gains[upper.index(n.upper())] for n in SEED_EEG])
    ratio = gains / np.median(gains)
    if ratio.max() >= _GAIN_RATIO or ratio.min() <= 1 / _GAIN_RATIO:
        raise _other(header, f"{gains.min():g} to {gains.max():g} microvolts per count")
    return {name: position for position, name in enumerate(upper)}


def _other(header: CntHeader, found: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"found {found} in {header.path}, expected SEED-V's 66 channels of one amplifier at "
        f"{SFREQ_HZ} Hz and a recording of all trials; the file is damaged or of another data set"
    )


def _stream(
    header: CntHeader,
    seconds: list[tuple[int, int]],
    positions: list[int],
    names: tuple[str, ...],
    stype: str,
) -> xr.Dataset:
    """Return the trials of some channels; float32 holds the 24 bits of the amplifier."""
    bounds = [(start * SFREQ_HZ, stop * SFREQ_HZ) for start, stop in seconds]
    signal = np.empty((sum(b - a for a, b in bounds), len(names)), np.float32)
    at = 0
    for first, last in bounds:
        read_cnt(header, first, last, positions, signal[at : at + last - first])
        at += last - first
    description = StreamDescription(
        name=f"SEED-V {stype.lower()}",
        stype=stype,
        sfreq=float(SFREQ_HZ),
        ch_names=names,
        units=("uV",) * len(names),
        channel_format="float32",
        source_id=f"seed-v-{stype.lower()}",
    )
    time = np.concatenate([np.arange(a, b) for a, b in bounds]) / SFREQ_HZ
    return make_stream(signal, description, time=time)


def _attributes(file: SeedVFile) -> dict[str, Any]:
    return {
        "dataset": "seed-v",
        "subject": f"{file.subject:02d}",
        "session": str(file.session),
        "date": file.date,
        "licence": LICENCE,
        "processing": "raw at 1000 Hz: not filtered, not resampled; M1 and M2 are left out",
        "trial_order": "the order of presentation, the same for all subjects of a session",
        "clock": "seconds of the recording; what lies between trials is left out",
        "source_file": file.path.name,
        "source_fingerprint": file_fingerprint(file.path),
    }
