"""Made-up files of SEED-V's folder ``EEG_raw``: Neuroscan recordings of version 3.

Fields are where ``sethead.h`` of Paul Bourke's "NeuroScan EEG File Formats" (1997) puts them;
those that it names and no reader uses are left zero. Gain and order of the channels are those
of a SynAmps2 amplifier with a 64-channel Quik-Cap; the electrodes' places on the screen are a
circle.
"""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from physioemo.datasets.cnt_file import ELECTRODE_BYTES, SETUP_BYTES
from physioemo.datasets.fixture_folder import check_empty, check_number
from physioemo.datasets.seed import SEED_EEG
from physioemo.datasets.seed_v import (
    SEED_V_EOG,
    SEED_V_LABELS,
    SEED_V_MASTOIDS,
    SFREQ_HZ,
    trial_seconds,
)
from physioemo.datasets.synthetic import planted_eeg

__all__ = ["SEED_V_FEELINGS", "write_cnt", "write_seed_v_fixture"]

SEED_V_FEELINGS = {0: (-1.0, 0.3), 1: (-0.7, 1.0), 2: (-0.5, -0.5), 3: (0.0, -1.0), 4: (1.0, 0.5)}
"""Valence and arousal planted for each label, from -1 to 1."""

N_SUBJECTS = 16
_DATES = {1: "20180804", 2: "20180810", 3: "20180816"}
_LEFT, _RIGHT = SEED_V_MASTOIDS
_AT = SEED_EEG.index("TP7"), SEED_EEG.index("TP8") + 1
_CHANNELS = tuple(
    name.upper()
    for name in (
        *SEED_EEG[: _AT[0]],
        _LEFT,
        *SEED_EEG[_AT[0] : _AT[1]],
        _RIGHT,
        *SEED_EEG[_AT[1] :],
        *SEED_V_EOG,
    )
)
_SENSITIVITY = 6.1035  # 0.0298 uV per count with calib 1
_BASELINE = 3
_EVENT_BYTES, _EVENT_KIND, _VIDEO = 19, 2, 1


def write_seed_v_fixture(
    folder: str | Path,
    *,
    subjects: int = 2,
    sessions: int = 3,
    seed: int = 0,
    clip_seconds: int | None = None,
    effect: float = 1.0,
) -> list[Path]:
    """Write made-up sessions in SEED-V's form.

    The label's valence raises the beta rhythm and its arousal lowers the alpha rhythm of the EEG.
    A file of published length has about 890 million bytes.

    Parameters
    ----------
    folder : str or Path
        Where the files are written.
    subjects, sessions : int
        How many, at most 16 and 3.
    seed : int
        The same seed gives the same values.
    clip_seconds : int, optional
        Length of every trial; by default trials lie where they were published.
    effect : float
        Strength of the planted effect; 0 plants nothing.

    Raises
    ------
    CallError
        If there were never so many subjects or sessions.
    RecordingExistsError
        If a file is already there.
    """
    folder = Path(folder)
    check_number(subjects, N_SUBJECTS, sessions, len(_DATES))
    check_empty(folder, "*.cnt")
    paths = []
    for subject in range(1, subjects + 1):
        for session in range(1, sessions + 1):
            path = folder / f"{subject}_{session}_{_DATES[session]}.cnt"
            rng = np.random.default_rng([seed, subject, session])
            _write_session(path, rng, session, clip_seconds, effect)
            paths.append(path)
    return paths


def write_cnt(
    path: Path,
    ch_names: Iterable[str],
    sfreq: int,
    stretches: Iterable[tuple[int, np.ndarray]],
    n_samples: int,
    *,
    date: str = "08/04/18",
) -> None:
    """Write a continuous Neuroscan file of 32-bit samples.

    Parameters
    ----------
    path : Path
        The file.
    ch_names : iterable of str
        At most 9 letters each.
    sfreq : int
        Rate in Hz.
    stretches : iterable of (sample, ndarray of shape (channel, time))
        Microvolts from that sample on, rounded to whole counts; an event marks the start of each.
    n_samples : int
        Length of the recording; it is 0 volt between stretches.
    date : str
        ``mm/dd/yy``.
    """
    names = list(ch_names)
    calibrations = (1 + 0.001 * np.arange(len(names))).astype("<f4")
    gains = np.float32(_SENSITIVITY).astype(float) * calibrations / 204.8
    start = SETUP_BYTES + ELECTRODE_BYTES * len(names)
    events_at = start + n_samples * len(names) * 4
    events = []
    with path.open("wb") as file:
        file.write(_setup(len(names), sfreq, n_samples, events_at, date))
        for k, name in enumerate(names):
            file.write(_electrode(name, 2 * np.pi * k / len(names), float(calibrations[k])))
        for sample, signal in stretches:
            at = start + sample * len(names) * 4
            file.seek(at)
            file.write((signal.T / gains + _BASELINE).round().astype("<i4").tobytes())
            events.append(struct.pack("<HBBihhfBBB", _VIDEO, 0, 0, at, 0, 0, 0.0, 0, 0, 0))
        _write_events(file, events_at, events)


def _setup(n: int, sfreq: int, n_samples: int, events_at: int, date: str) -> bytes:
    setup = bytearray(SETUP_BYTES)
    fields = (
        (0, "12s", b"Version 3.0"),
        (225, "10s", date.encode()),
        (235, "12s", b"10:00:00"),
        (370, "<H", n),
        (376, "<H", sfreq),
        (864, "<i", n_samples),
        (886, "<i", events_at),
        (890, "<f", n_samples / sfreq),
    )
    for at, code, value in fields:
        struct.pack_into(code, setup, at, value)
    return bytes(setup)


def _electrode(name: str, angle: float, calibration: float) -> bytes:
    electrode = bytearray(ELECTRODE_BYTES)
    struct.pack_into("10s", electrode, 0, name.encode("ascii"))
    struct.pack_into("<ff", electrode, 19, np.cos(angle), np.sin(angle))
    struct.pack_into("<h", electrode, 47, _BASELINE)
    struct.pack_into("<f", electrode, 59, _SENSITIVITY)
    struct.pack_into("<f", electrode, 71, calibration)
    return bytes(electrode)


def _write_events(file: BinaryIO, at: int, events: list[bytes]) -> None:
    file.seek(at)
    file.write(struct.pack("<Bii", _EVENT_KIND, _EVENT_BYTES * len(events), 0))
    file.writelines(events)


def _write_session(
    path: Path, rng: np.random.Generator, session: int, clip_seconds: int | None, effect: float
) -> None:
    seconds = trial_seconds(session, clip_seconds)
    labels = SEED_V_LABELS[session]
    date = _DATES[session]
    write_cnt(
        path,
        _CHANNELS,
        SFREQ_HZ,
        (
            (start * SFREQ_HZ, _trial(rng, (stop - start) * SFREQ_HZ, label, effect))
            for (start, stop), label in zip(seconds, labels, strict=True)
        ),
        (seconds[-1][1] + 1) * SFREQ_HZ,
        date=f"{date[4:6]}/{date[6:]}/{date[2:4]}",
    )


def _trial(rng: np.random.Generator, n_samples: int, label: int, effect: float) -> np.ndarray:
    valence, arousal = SEED_V_FEELINGS[label]
    return planted_eeg(
        rng,
        len(_CHANNELS),
        n_samples,
        SFREQ_HZ,
        valence=valence,
        arousal=arousal,
        effect=effect,
    )
