"""Made-up raw recordings of DEAP, byte for byte in the form of the real ones.

What differs between the real files differs here: the order of the EEG channels and the unit of
GSR1 (Twente, Geneva), the name of the status channel, an extra channel without a name in 29 to
32, the bits above the codes, extra codes before the first trial in Geneva's files.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from physioemo.datasets.deap import DEAP_EEG, N_TRIALS
from physioemo.datasets.deap_ratings import RATINGS_COLUMNS, RATINGS_FILE
from physioemo.datasets.deap_raw import LAST_TWENTE, RAW_SFREQ_HZ, TWENTE_EEG, VIDEO_SECONDS
from physioemo.datasets.synthetic import planted_eeg, pulse_wave, slow_wave
from physioemo.errors import CallError, RecordingExistsError

__all__ = ["bdf_header", "bdf_samples", "write_deap_raw_fixture"]

NO_FAMILIARITY = (2, 15, 23)
N_PARTICIPANTS, N_EXG = 32, 8
_PULSE_SAMPLES = 8
_HALF_BITS, _HALF_UV = 2**23, 2**18  # range of an electrode: 31.25 nV a bit
_START, _SYNC, _UNKNOWN, _STOP = 1, 2, 6, 7
_GENEVA_PREAMBLE = (7, 5, 2, 5, 2, 7, 2)  # made up but for the two 5: only their number is known
_SENSORS = ("GSR1", "GSR2", "Erg1", "Erg2", "Resp", "Plet", "Temp")
_SKIN_OHM = 2e5


@dataclass
class _Session:
    """Blocks of samples and the codes between them, while a recording is made."""

    n_samples: int = 0
    blocks: list[np.ndarray] = field(default_factory=list)
    codes: list[tuple[int, int]] = field(default_factory=list)

    def mark(self, code: int) -> None:
        self.codes.append((self.n_samples, code))

    def add(self, block: np.ndarray) -> None:
        self.blocks.append(block)
        self.n_samples += block.shape[1]


def write_deap_raw_fixture(
    folder: str | Path,
    *,
    subjects: int | Sequence[int] = 2,
    seed: int = 0,
    effect: float = 1.0,
    video_seconds: float = VIDEO_SECONDS,
    haste: float = 1.0,
) -> list[Path]:
    """Write made-up participants in the form of DEAP's raw recordings.

    Valence raises the beta rhythm and arousal lowers the alpha rhythm of the EEG during the
    videos, see :func:`physioemo.datasets.synthetic.planted_eeg`. The table of ratings is written
    for all 32 participants.

    Parameters
    ----------
    folder : str or Path
        Where ``s01.bdf`` and so on, and ``participant_ratings.csv``, are written.
    subjects : int or sequence of int
        How many, or the numbers of the participants.
    seed : int
        The same seed gives the same bytes.
    effect : float
        Strength of the planted effect; 0 plants nothing.
    video_seconds : float
        Duration of a video; the published one by default (about 260 MB a file).
    haste : float
        Divides the duration of everything else: rest, fixation, rating, break.

    Returns
    -------
    list of Path
        The recordings, then the table.

    Raises
    ------
    CallError
        If a participant is not one of 1 to 32.
    RecordingExistsError
        If a file is already there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = list(range(1, subjects + 1)) if isinstance(subjects, int) else list(subjects)
    if not all(1 <= n <= N_PARTICIPANTS for n in numbers):
        raise CallError(f"found the participants {numbers}, expected 1 to {N_PARTICIPANTS}")
    paths = [*(folder / f"s{n:02d}.bdf" for n in numbers), folder / RATINGS_FILE]
    for path in paths:
        if path.exists():
            raise RecordingExistsError(
                f"found {path}, expected nothing there; choose another folder"
            )
    pace = _Pace(video_seconds, haste)
    rows = [row for n in range(1, N_PARTICIPANTS + 1) for row in _rows(n, seed, pace)]
    with paths[-1].open("w", newline="", encoding="ascii") as file:
        csv.writer(file).writerows([RATINGS_COLUMNS, *rows])
    for number, path in zip(numbers, paths[:-1], strict=True):
        own = [row for row in rows if row[0] == number]
        _write_recording(path, number, own, seed, effect, pace)
    return paths


@dataclass(frozen=True)
class _Pace:
    """Durations in seconds; all are whole samples."""

    video: float
    haste: float

    def samples(self, seconds: float) -> int:
        return max(round(seconds * RAW_SFREQ_HZ / self.haste), 2 * _PULSE_SAMPLES)

    @property
    def video_samples(self) -> int:
        return round(self.video * RAW_SFREQ_HZ)


def _rating_samples(number: int, trial: int, pace: _Pace) -> int:
    return pace.samples(10 + (7 * number + 3 * trial) % 11)  # people take their time


def _rows(number: int, seed: int, pace: _Pace) -> Iterator[list[object]]:
    """Yield a participant's rows of the table in the order of presentation."""
    rng = np.random.default_rng([seed, number])
    ratings = rng.uniform(1, 9, (N_TRIALS, 4)).round(2)
    familiarity = rng.integers(1, 6, N_TRIALS)
    start = pace.samples(2) + pace.samples(120)
    for trial, video in enumerate(rng.permutation(N_TRIALS) + 1, 1):
        start += pace.samples(5)
        known = "" if number in NO_FAMILIARITY else int(familiarity[trial - 1])
        logged = round(1e6 * start / RAW_SFREQ_HZ)
        yield [number, trial, int(video), logged, *ratings[trial - 1].tolist(), known]
        start += pace.video_samples + pace.samples(3) + _rating_samples(number, trial, pace)
        if trial == N_TRIALS // 2:
            start += pace.samples(30)


def _write_recording(
    path: Path, number: int, rows: list[list[object]], seed: int, effect: float, pace: _Pace
) -> None:
    session = _session(number, rows, np.random.default_rng([seed, number, 1]), effect, pace)
    data = np.concatenate(session.blocks, axis=1)
    status = _status(number, session, data.shape[1])
    extra = [np.arange(data.shape[1], dtype=np.int32) % 251] if number >= 29 else []
    stored = np.vstack([data, *extra, status])
    per_record = int(RAW_SFREQ_HZ)
    n_records = -(-stored.shape[1] // per_record)
    lacking = n_records * per_record - stored.shape[1]
    stored = np.pad(stored, ((0, 0), (0, lacking)), mode="edge")
    with path.open("wb") as file:
        file.write(bdf_header(_channels(number), n_records))
        for block in np.split(stored, n_records, axis=1):
            file.write(bdf_samples(block))


def _session(
    number: int, rows: list[list[object]], rng: np.random.Generator, effect: float, pace: _Pace
) -> _Session:
    session = _Session()

    def quiet(samples: int) -> None:
        session.add(_block(number, rng, samples, (0.0, 0.0), 0.0))

    geneva = number > LAST_TWENTE
    for code in _GENEVA_PREAMBLE if geneva else ():
        quiet(pace.samples(2))
        session.mark(code)
    quiet(pace.samples(2))
    session.mark(_START)
    quiet(pace.samples(2))
    session.mark(_START)  # the second: the rest
    quiet(pace.samples(120))
    for trial, row in enumerate(rows, 1):
        session.mark(3)
        quiet(pace.samples(5))
        session.mark(4)
        feeling = ((float(str(row[4])) - 5) / 4, (float(str(row[5])) - 5) / 4)
        session.add(_block(number, rng, pace.video_samples, feeling, effect))
        session.mark(5)
        quiet(pace.samples(3))
        session.mark(1)
        quiet(_rating_samples(number, trial, pace))
        if trial == N_TRIALS // 2:
            session.mark(_SYNC if geneva else _UNKNOWN)
            quiet(pace.samples(30))
    session.mark(_STOP)
    quiet(pace.samples(2))
    return session


def _block(
    number: int,
    rng: np.random.Generator,
    n_samples: int,
    feeling: tuple[float, float],
    effect: float,
) -> np.ndarray:
    """Return all channels but the status as stored numbers, shape (channel, time)."""
    valence, arousal = feeling
    hz = RAW_SFREQ_HZ
    eeg = planted_eeg(rng, 32, n_samples, hz, valence=valence, arousal=arousal, effect=effect)
    offsets = 1e3 * np.arange(-16, 16)[:, None]  # an unreferenced electrode is far from zero
    order = DEAP_EEG if number > LAST_TWENTE else TWENTE_EEG
    eeg = (eeg + offsets)[[DEAP_EEG.index(name) for name in order]]
    muscles = rng.normal(0, 20, (N_EXG, n_samples))
    ohm = _SKIN_OHM + 1e4 * slow_wave(rng, n_samples, hz, 0.05)
    skin = ohm if number > LAST_TWENTE else 1e9 / ohm
    breath = 500 * slow_wave(rng, n_samples, hz, 0.25)
    pleth = 1000 * pulse_wave(rng, n_samples, hz)
    warmth = 30 + 0.1 * slow_wave(rng, n_samples, hz, 0.01)
    unused = np.zeros((3, n_samples))
    volts = np.vstack([eeg, muscles, unused, breath, pleth, warmth]) * (_HALF_BITS / _HALF_UV)
    stored = np.vstack([volts[:40], skin, volts[40:]])
    return np.clip(np.rint(stored), -_HALF_BITS, _HALF_BITS - 1).astype(np.int32)


def _status(number: int, session: _Session, n_samples: int) -> np.ndarray:
    """Return the status channel: codes in the lowest byte, the amplifier's own bits above."""
    status = np.zeros(n_samples, np.int32)
    for at, code in session.codes:
        status[at : at + _PULSE_SAMPLES] = code
    high = np.full(n_samples, 0x18FF00 if number > 23 else 0x180000, np.int32)
    if number > 23:
        high[n_samples * 3 // 4 :] = 0x58FF00
    return status | high


def _channels(number: int) -> list[tuple[str, str, int, int]]:
    """Return label, unit and physical range of each channel."""
    order = DEAP_EEG if number > LAST_TWENTE else TWENTE_EEG
    electrodes = [*order, *(f"EXG{k}" for k in range(1, N_EXG + 1)), *_SENSORS]
    skin = "Ohm" if number > LAST_TWENTE else "nS"
    bits = (-_HALF_BITS, _HALF_BITS - 1)
    channels = [
        (name, skin, *bits) if name == "GSR1" else (name, "uV", -_HALF_UV, _HALF_UV)
        for name in electrodes
    ]
    nameless = [("", "uV", -_HALF_UV, _HALF_UV)] if number >= 29 else []
    return [*channels, *nameless, ("Status" if number <= 23 else "", "Boolean", *bits)]


def bdf_header(
    channels: Sequence[tuple[str, str, int, int]],
    n_records: int,
    *,
    samples_per_record: int = int(RAW_SFREQ_HZ),
) -> bytes:
    """Return the header of a BioSemi file with records of one second.

    Parameters
    ----------
    channels : sequence of (label, unit, physical_minimum, physical_maximum)
        In the order of the file.
    n_records : int
        Number of data records.
    samples_per_record : int
        Of every channel.
    """
    n = len(channels)
    fixed = b"\xffBIOSEMI" + b"".join(
        str(text).ljust(width).encode("ascii")
        for text, width in (
            *(("", 80), ("", 80), ("01.03.10", 8), ("10.00.00", 8), (256 * (n + 1), 8)),
            *(("24BIT", 44), (n_records, 8), (1, 8), (n, 4)),
        )
    )
    electrode = ("Active Electrode", "Triggers and Status")
    columns: list[tuple[list[object], int]] = [
        ([c[0] for c in channels], 16),
        ([electrode[c[1] == "Boolean"] for c in channels], 80),
        ([c[1] for c in channels], 8),
        ([c[2] for c in channels], 8),
        ([c[3] for c in channels], 8),
        ([-_HALF_BITS] * n, 8),
        ([_HALF_BITS - 1] * n, 8),
        (["No filtering" if c[1] == "Boolean" else "HP: DC; LP: 104 Hz" for c in channels], 80),
        ([samples_per_record] * n, 8),
        (["Reserved"] * n, 32),
    ]
    own = (str(v).ljust(width).encode("ascii") for values, width in columns for v in values)
    return fixed + b"".join(own)


def bdf_samples(record: np.ndarray) -> bytes:
    """Return one data record: three bytes a sample, one channel after another.

    Parameters
    ----------
    record : ndarray of int, shape (channel, time)
        Stored numbers.
    """
    four = np.ascontiguousarray(record, "<i4").view(np.uint8).reshape(-1, 4)
    return four[:, :3].tobytes()
