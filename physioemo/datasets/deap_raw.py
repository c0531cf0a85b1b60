"""DEAP's raw recordings ``data_original/sNN.bdf`` as recordings.

Koelstra et al., "DEAP: A Database for Emotion Analysis Using Physiological Signals", IEEE
Transactions on Affective Computing 3 (2012), and the data set's own readme.

Each file is one continuous BioSemi recording at 512 Hz; time is its sample clock. Nothing is
filtered or referenced: subtract a reference (BioSemi stores none) before anything else.

Trials are in the order of presentation, and the preprocessed files are in that of the video:
the video and the ratings of a trial come from ``participant_ratings.csv``, joined on participant
and trial. Stimuli have the names that they have in the preprocessed data set.

Participants 1 to 22 were recorded in Twente and 23 to 32 in Geneva. The order of the EEG channels
differs, so channels are picked by name, and so does the skin's channel GSR1: conductance in nS in
Twente, resistance in ohm in Geneva; the units of respiration, plethysmograph and temperature are
not documented: ``a.u.``. The electrodes EXG1 to EXG8 lie left and right of the eyes (hEOG1,
hEOG2), above and below the right eye (vEOG1, vEOG2), on the zygomaticus (zEMG1, zEMG2) and on the
trapezius (tEMG1, tEMG2); each is kept by itself. GSR2, Erg1 and Erg2 were not used.

The status channel is called ``Status`` (1 to 23), has no
name (24 to 28), or is the second of two without a name (29 to 32). Its lowest byte holds the
code; the bits above it change within a recording.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.datasets.assemble import (
    assemble,
    file_fingerprint,
    one_at_a_time,
    rate,
    require_file,
    stretches_to_stream,
)
from physioemo.datasets.bdf_file import BdfFile, open_bdf
from physioemo.datasets.deap import DEAP_DIMENSIONS, DEAP_EEG, N_TRIALS
from physioemo.datasets.deap_ratings import RATINGS_FILE, ratings_file, read_deap_ratings
from physioemo.datasets.source import Source
from physioemo.description import StreamDescription
from physioemo.errors import RecordingNotFoundError, UnitError, UnreadableFileError
from physioemo.recording import Recording
from physioemo.trials import make_events
from physioemo.units import canonical_unit, conversion_factor

__all__ = [
    "TWENTE_EEG",
    "deap_raw_sources",
    "deap_raw_subjects",
    "read_deap_raw",
    "read_deap_raw_all",
]

# fmt: off
TWENTE_EEG = (
    "Fp1", "AF3", "F7", "F3", "FC1", "FC5", "T7", "C3",
    "CP1", "CP5", "P7", "P3", "Pz", "PO3", "O1", "Oz",
    "O2", "PO4", "P4", "P8", "CP6", "CP2", "C4", "T8",
    "FC6", "FC2", "F4", "F8", "AF4", "Fp2", "Fz", "Cz",
)
# fmt: on
"""The EEG channels in the order of the files from Twente; Geneva's is that of ``DEAP_EEG``."""

RAW_SFREQ_HZ, LAST_TWENTE = 512.0, 22
VIDEO_SECONDS, REST_SECONDS = 60.0, 120.0
CODE_MASK = 0xFF
RATING, FIXATION, VIDEO, VIDEO_END = 1, 3, 4, 5
STATUS_NAMES = ("Status", "-1", "")
_VIDEO_TOLERANCE = 0.1  # of the video's duration, between the codes of its start and end
_LOG_TOLERANCE_SECONDS = 1.0

# group -> (type, {channel in the file: channel in the recording})
_STREAMS: dict[str, tuple[str, dict[str, str]]] = {
    "eeg": ("EEG", {name: name for name in DEAP_EEG}),
    "eog": ("EOG", {"EXG1": "hEOG1", "EXG2": "hEOG2", "EXG3": "vEOG1", "EXG4": "vEOG2"}),
    "emg": ("EMG", {"EXG5": "zEMG1", "EXG6": "zEMG2", "EXG7": "tEMG1", "EXG8": "tEMG2"}),
    "eda": ("EDA", {"GSR1": "GSR"}),
    "respiration": ("Respiration", {"Resp": "Respiration"}),
    "pleth": ("PPG", {"Plet": "Plethysmograph"}),
    "temperature": ("Temperature", {"Temp": "Temperature"}),
}
_ELECTRODES = ("eeg", "eog", "emg")


def deap_raw_subjects(folder: str | Path) -> list[int]:
    """Return the participants whose files lie in a folder.

    Raises
    ------
    RecordingNotFoundError
        If there is none.
    """
    subjects = sorted(int(f.stem[1:]) for f in Path(folder).glob("s[0-9][0-9].bdf"))
    if not subjects:
        raise RecordingNotFoundError(
            f"found no s01.bdf to s32.bdf in {folder}, expected DEAP's folder data_original; "
            "check the path"
        )
    return subjects


def deap_raw_sources(folder: str | Path, *, video_seconds: float = VIDEO_SECONDS) -> list[Source]:
    """Return one source per participant, see :func:`read_deap_raw`."""
    return [
        Source(
            f"s{subject:02d}",
            (Path(folder) / f"s{subject:02d}.bdf", ratings_file(folder)),
            partial(_read_one, folder, subject, video_seconds),
        )
        for subject in deap_raw_subjects(folder)
    ]


def _read_one(folder: str | Path, subject: int, video_seconds: float) -> Iterator[Recording]:
    yield read_deap_raw(folder, subject, video_seconds=video_seconds)


def read_deap_raw_all(
    folder: str | Path, *, video_seconds: float = VIDEO_SECONDS
) -> Iterator[Recording]:
    """Yield the recording of every participant in a folder, see :func:`read_deap_raw`."""
    subjects = deap_raw_subjects(folder)
    return one_at_a_time(read_deap_raw(folder, s, video_seconds=video_seconds) for s in subjects)


def read_deap_raw(
    folder: str | Path, subject: int, *, video_seconds: float = VIDEO_SECONDS
) -> Recording:
    """Return one participant's recording.

    Trials have the numbers and the order of presentation. The 5 s of fixation before each video
    are the event ``baseline``; the rest before the first trial is ``resting_baseline`` (120 s
    from the last code 1 before the first video, if that is at least the second). ``familiarity``
    is a column of the trials (1 to 5, NaN where it was not asked).

    Parameters
    ----------
    folder : str or Path
        The folder ``data_original``; ``participant_ratings.csv`` lies in it, in the folder above,
        or in a folder ``metadata_csv`` beside or in it.
    subject : int
        1 to 32.
    video_seconds : float
        Duration of a video; only fixtures have shorter ones than the published 60 s.

    Raises
    ------
    RecordingNotFoundError
        If a file is not there.
    UnreadableFileError
        If a file is damaged or not DEAP's.
    """
    folder = Path(folder)
    path = require_file(folder / f"s{subject:02d}.bdf", "a raw recording of DEAP")
    table = read_deap_ratings(ratings_file(folder), subject)
    file = open_bdf(path)
    _check_header(file, subject)
    onsets, codes = _codes(file)
    starts, stops, fixations = _videos(onsets, codes, video_seconds, path)
    seconds = np.minimum(stops - starts, video_seconds)
    streams = {key: _stream(key, file, subject) for key in _STREAMS}
    numbers = range(1, N_TRIALS + 1)
    recording = assemble(
        streams,
        trials=[
            (k, float(start), float(s), f"deap-video-{int(video):02d}")
            for k, start, s, video in zip(numbers, starts, seconds, table.videos, strict=True)
        ],
        ratings=rate(numbers, DEAP_DIMENSIONS, table.ratings, (1, 9), table.path),
        trial_columns={"familiarity": table.familiarity.tolist()},
        attrs=_attributes(subject, path, table.path),
    )
    events = [
        (float(f), float(s - f), "baseline", "") for f, s in zip(fixations, starts, strict=True)
    ]
    rest = _rest(onsets, codes, float(starts[0]))
    recording.tree["events"] = xr.DataTree(make_events([*events, *rest]))
    recording.attrs["notes"] = [
        *_eda_notes(streams["eda"], file, subject),
        *_log_notes(starts, table.start_times),
        *([] if rest else ["found no second code 1 before the first video: no resting baseline"]),
    ]
    return recording


def _check_header(file: BdfFile, subject: int) -> None:
    """Refuse another rate, unequal electrodes, and the other laboratory's order of channels."""
    for name in (_status_name(file), *(n for _, names in _STREAMS.values() for n in names)):
        if file.sfreq(name) != RAW_SFREQ_HZ:
            raise UnreadableFileError(
                f"found channel {name!r} at {file.sfreq(name):g} Hz in {file.path}, expected "
                f"{RAW_SFREQ_HZ:g} Hz; is it a raw recording of DEAP?"
            )
    # One amplifier has one range: a channel that differs has a damaged header.
    electrodes = [file.channel(n) for key in _ELECTRODES for n in _STREAMS[key][1]]
    ranges = {(c.physical, c.unit) for c in electrodes}
    if len(ranges) > 1:
        raise UnreadableFileError(
            f"found {len(ranges)} different ranges or units of the electrodes in {file.path}, "
            "expected one for all; the header is damaged: copy the file again"
        )
    orders = {"Twente": TWENTE_EEG, "Geneva": DEAP_EEG}
    found = tuple(n for n in file.names if n in DEAP_EEG)
    other = "Geneva" if subject <= LAST_TWENTE else "Twente"
    if found == orders[other]:
        raise UnreadableFileError(
            f"found the channels of {file.path} in the order of {other}, expected that of "
            f"participant {subject}'s laboratory; has the file been renamed?"
        )


def _status_name(file: BdfFile) -> str:
    name = next((n for n in STATUS_NAMES if n in file.names), None)
    if name is None:
        raise UnreadableFileError(
            f"found the channels {', '.join(map(repr, file.names))} in {file.path}, expected one "
            "called 'Status' or one or two without a name; is it a raw recording of DEAP?"
        )
    return name


def _codes(file: BdfFile) -> tuple[np.ndarray, np.ndarray]:
    """Return onset in seconds and code of every trigger."""
    status = file.digital(_status_name(file)) & CODE_MASK
    changed = np.flatnonzero(np.diff(status, prepend=0))
    first = changed[status[changed] > 0]
    return first / RAW_SFREQ_HZ, status[first]


def _videos(
    onsets: np.ndarray, codes: np.ndarray, video_seconds: float, path: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return start and end of each video and the start of the fixation before it, in seconds."""
    videos = np.flatnonzero(codes == VIDEO)
    if len(videos) != N_TRIALS:
        raise UnreadableFileError(
            f"found {len(videos)} starts of a video (code {VIDEO}) in {path}, expected "
            f"{N_TRIALS}; the file is damaged or not a raw recording of DEAP"
        )
    starts, stops, fixations = onsets[videos], [], []
    # A code 5 that follows no video comes in the files from Geneva before the first trial.
    for trial, (before, at) in enumerate(zip([-1, *videos[:-1]], videos, strict=True), 1):
        after = videos[trial] if trial < N_TRIALS else len(codes)
        ends = at + np.flatnonzero(codes[at:after] == VIDEO_END)
        marks = before + 1 + np.flatnonzero(codes[before + 1 : at] == FIXATION)
        seconds = float(onsets[ends[0]] - onsets[at]) if len(ends) else float("nan")
        if not len(marks) or not abs(seconds - video_seconds) <= _VIDEO_TOLERANCE * video_seconds:
            raise UnreadableFileError(
                f"found {len(marks)} fixations (code {FIXATION}) before and {seconds:g} s of video "
                f"(code {VIDEO} to {VIDEO_END}) in trial {trial} of {path}, expected a fixation "
                f"and {video_seconds:g} s; the status channel is damaged"
            )
        stops.append(onsets[ends[0]])
        fixations.append(onsets[marks[-1]])
    return starts, np.array(stops), np.array(fixations)


def _rest(
    onsets: np.ndarray, codes: np.ndarray, first_start: float
) -> list[tuple[float, float, str, str]]:
    """Return the event of the rest before the first trial, or nothing."""
    marks = np.flatnonzero((codes == RATING) & (onsets < first_start))
    if len(marks) < 2:
        return []
    onset, after = float(onsets[marks[-1]]), float(onsets[marks[-1] + 1])
    return [(onset, min(after - onset, REST_SECONDS), "resting_baseline", "")]


def _stream(key: str, file: BdfFile, subject: int) -> xr.Dataset:
    stype, names = _STREAMS[key]
    signal, units = file.physical(list(names)), [file.channel(n).unit for n in names]
    attrs = {"source_channels": " ".join(names)}
    if key in _ELECTRODES:
        try:
            signal *= np.float32(conversion_factor(units[0], "uV"))
        except UnitError as error:
            raise UnreadableFileError(
                f"{file.path}, channel {next(iter(names))}: {error}"
            ) from error
        units = ["uV"] * len(names)
    elif key == "eda":
        signal, attrs["converted"] = _conductance(signal, subject)
        units = ["uS"]
    else:  # what the recorder wrote there is not documented
        attrs["header_unit"] = units[0]
        units = ["a.u."]
    if key == "eeg":
        attrs["reference"] = "none (BioSemi CMS/DRL): subtract one before anything else"
    description = StreamDescription(
        name=f"DEAP raw {key}",
        stype=stype,
        sfreq=RAW_SFREQ_HZ,
        ch_names=tuple(names.values()),
        units=tuple(units),
        source_id=f"deap-raw-{key}",
    )
    return stretches_to_stream([signal], [0.0], description, attrs=attrs)


def _conductance(signal: np.ndarray, subject: int) -> tuple[np.ndarray, str]:
    """Return microsiemens and how they were made; what is not positive becomes NaN."""
    positive = np.where(signal > 0, signal, np.float32(np.nan))
    if subject <= LAST_TWENTE:
        return positive / np.float32(1e3), "uS = nS / 1e3 (Twente)"
    return np.float32(1e6) / positive, "uS = 1e6 / ohm (Geneva)"


def _eda_notes(eda: xr.Dataset, file: BdfFile, subject: int) -> list[str]:
    notes = []
    missing = int(np.isnan(eda["signal"].values).sum())
    if missing:
        notes.append(f"{missing} samples of GSR1 are not positive and were taken as missing")
    unit = file.channel("GSR1").unit
    stated = canonical_unit(unit) if unit else ""
    documented = "nS" if subject <= LAST_TWENTE else "ohm"
    if stated in {"S", "uS", "nS", "ohm", "kohm"} - {documented}:
        notes.append(
            f"the header states GSR1 in {unit}, and DEAP's documentation {documented}: it was "
            "converted as documented"
        )
    return notes


def _log_notes(starts: np.ndarray, logged: np.ndarray) -> list[str]:
    """Say if the logged start times do not fit the codes, whatever the unit of the log."""
    if not np.isfinite(logged).all() or np.ptp(logged) == 0:
        return ["the ratings hold no start times: the order of the trials was not checked"]
    slope, offset = np.polyfit(logged - logged[0], starts, 1)
    apart = float(np.abs(starts - offset - slope * (logged - logged[0])).max())
    if slope > 0 and apart <= _LOG_TOLERANCE_SECONDS:
        return []
    return [
        f"the videos' starts in the recording and in {RATINGS_FILE} are up to {apart:.1f} s "
        "apart: the ratings may be another participant's or in another order"
    ]


def _attributes(subject: int, path: Path, ratings: Path) -> dict[str, Any]:
    return {
        "dataset": "deap-raw",
        "subject": f"{subject:02d}",
        "session": "1",
        "site": "Twente" if subject <= LAST_TWENTE else "Geneva",
        "licence": "DEAP end user licence agreement: academic research only, no redistribution",
        "processing": "none: 512 Hz as recorded, without a reference and unfiltered",
        "trial_order": "presentation",
        "clock": "sample clock of the recording",
        "source_file": path.name,
        "source_fingerprint": file_fingerprint(path),
        "ratings_fingerprint": file_fingerprint(ratings),
    }
