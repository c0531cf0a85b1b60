"""DEAP's preprocessed files ``data_preprocessed_python/sNN.dat`` as recordings.

Koelstra et al., "DEAP: A Database for Emotion Analysis Using Physiological Signals", IEEE
Transactions on Affective Computing 3 (2012).

Each file holds 40 trials of 63 s at 128 Hz in the order of ``Experiment_id`` (the video), not in
the order in which they were seen. The first 3 s of a trial are its baseline. The trials are
placed on the session clock one after another with a gap between them, so that no window spans
two. The EEG has been filtered to 4-45 Hz and referenced to the common average: it has no delta
band, and its rank is one less than its number of channels.

Skin resistance in ohm becomes conductance, ``uS = 1e6 / ohm``; a resistance that is not positive
has no conductance and becomes missing (NaN), and the recording's notes count such samples. The
units of respiration, plethysmograph and temperature are not documented: ``a.u.``.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

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
from physioemo.datasets.safe_pickle import load_pickle
from physioemo.datasets.source import Source
from physioemo.description import StreamDescription
from physioemo.errors import RecordingNotFoundError, UnreadableFileError
from physioemo.recording import Recording

__all__ = ["DEAP_EEG", "deap_sources", "deap_subjects", "read_deap", "read_deap_all"]

# fmt: off
DEAP_EEG = (
    "Fp1", "AF3", "F3", "F7", "FC5", "FC1", "C3", "T7",
    "CP5", "CP1", "P3", "P7", "PO3", "O1", "Oz", "Pz",
    "Fp2", "AF4", "Fz", "F4", "F8", "FC6", "FC2", "Cz",
    "C4", "T8", "CP6", "CP2", "P4", "P8", "PO4", "O2",
)
# fmt: on
"""The EEG channels in the order of the file (Geneva's)."""

DEAP_DIMENSIONS = ("valence", "arousal", "dominance", "liking")
SFREQ_HZ, BASELINE_SECONDS = 128.0, 3.0
N_TRIALS, N_CHANNELS, N_SAMPLES = 40, 40, 8064

# group -> (type, unit in the recording, first channel in the file, channel names)
_STREAMS: dict[str, tuple[str, str, int, tuple[str, ...]]] = {
    "eeg": ("EEG", "uV", 0, DEAP_EEG),
    "eog": ("EOG", "uV", 32, ("hEOG", "vEOG")),
    "emg": ("EMG", "uV", 34, ("zEMG", "tEMG")),
    "eda": ("EDA", "uS", 36, ("GSR",)),
    "respiration": ("Respiration", "a.u.", 37, ("Respiration",)),
    "pleth": ("PPG", "a.u.", 38, ("Plethysmograph",)),
    "temperature": ("Temperature", "a.u.", 39, ("Temperature",)),
}


def deap_subjects(folder: str | Path) -> list[int]:
    """Return the subjects whose files lie in a folder.

    Raises
    ------
    RecordingNotFoundError
        If there is none.
    """
    files = Path(folder).glob("s[0-9][0-9].dat")
    subjects = sorted(int(f.stem[1:]) for f in files)
    if not subjects:
        raise RecordingNotFoundError(
            f"found no s01.dat to s32.dat in {folder}, expected DEAP's folder "
            "data_preprocessed_python; check the path"
        )
    return subjects


def read_deap_all(folder: str | Path, *, n_samples: int = N_SAMPLES) -> Iterator[Recording]:
    """Yield the recording of every subject in a folder, see :func:`read_deap`."""
    subjects = deap_subjects(folder)
    return one_at_a_time(read_deap(folder, s, n_samples=n_samples) for s in subjects)


def deap_sources(folder: str | Path, *, n_samples: int = N_SAMPLES) -> list[Source]:
    """Return the files of a folder, one per subject; see :func:`read_deap`."""
    folder = Path(folder)
    return [
        Source(f"s{s:02d}", (folder / f"s{s:02d}.dat",), partial(_read_one, folder, s, n_samples))
        for s in deap_subjects(folder)
    ]


def _read_one(folder: Path, subject: int, n_samples: int) -> Iterator[Recording]:
    yield read_deap(folder, subject, n_samples=n_samples)


def read_deap(folder: str | Path, subject: int, *, n_samples: int = N_SAMPLES) -> Recording:
    """Return one subject's recording.

    Parameters
    ----------
    folder : str or Path
        The folder ``data_preprocessed_python``.
    subject : int
        1 to 32.
    n_samples : int
        Samples per trial; only fixtures have fewer than the published 8064.

    Raises
    ------
    RecordingNotFoundError
        If the file is not there.
    UnreadableFileError
        If the file is damaged, unsafe or not of DEAP's shape.
    """
    path = require_file(Path(folder) / f"s{subject:02d}.dat", "a preprocessed file of DEAP")
    data, labels = _arrays(load_pickle(path), path, n_samples)
    check_finite(data, str(path))
    onsets = np.arange(N_TRIALS) * (n_samples / SFREQ_HZ + GAP_SECONDS)
    streams = {key: _stream(key, data, onsets) for key in _STREAMS}
    numbers = range(1, N_TRIALS + 1)
    duration = n_samples / SFREQ_HZ - BASELINE_SECONDS
    return assemble(
        streams,
        trials=[
            (k, float(onset) + BASELINE_SECONDS, duration, f"deap-video-{k:02d}")
            for k, onset in zip(numbers, onsets, strict=True)
        ],
        ratings=rate(numbers, DEAP_DIMENSIONS, labels, (1, 9), path),
        baselines=[(float(onset), BASELINE_SECONDS) for onset in onsets],
        attrs=_attributes(subject, path) | {"notes": _notes(streams["eda"])},
    )


def _arrays(content: Any, path: Path, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return data and labels if the file holds exactly what DEAP's files hold."""
    wanted = {"data": (N_TRIALS, N_CHANNELS, n_samples), "labels": (N_TRIALS, 4)}
    found = set(content) if isinstance(content, dict) else {type(content).__name__}
    if found != set(wanted):
        raise UnreadableFileError(
            f"found {', '.join(sorted(map(repr, found)))[:200]} in {path}, expected 'data' and "
            "'labels'; is it a file of DEAP's data_preprocessed_python?"
        )
    for name, shape in wanted.items():
        array = content[name]
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind != "f":
            what = getattr(array, "shape", type(array).__name__)
            raise UnreadableFileError(
                f"found {name} of shape {what} and type {getattr(array, 'dtype', 'none')} in "
                f"{path}, expected floating-point numbers of shape {shape}; is it a preprocessed "
                "file of DEAP?"
            )
    return content["data"], content["labels"]


def _stream(key: str, data: np.ndarray, onsets: np.ndarray) -> xr.Dataset:
    stype, unit, first, names = _STREAMS[key]
    signal = np.asarray(data[:, first : first + len(names)], float)
    if key == "eda":
        with np.errstate(divide="ignore"):
            signal = np.where(signal > 0, 1e6 / signal, np.nan)
    description = StreamDescription(
        name=f"DEAP {key}",
        stype=stype,
        sfreq=SFREQ_HZ,
        ch_names=names,
        units=(unit,) * len(names),
        channel_format="double64",
        source_id=f"deap-{key}",
    )
    done = {"processing": "filtered 4-45 Hz, eye movements removed, common average reference"}
    attrs = done if key == "eeg" else {"converted": "uS = 1e6 / ohm"} if key == "eda" else {}
    return stretches_to_stream([t.T for t in signal], list(onsets), description, attrs=attrs)


def _notes(eda: xr.Dataset) -> list[str]:
    missing = int(np.isnan(eda["signal"].values).sum())
    plural = f"{missing} samples of skin resistance are not positive and were taken as missing"
    return [plural] if missing else []


def _attributes(subject: int, path: Path) -> dict[str, Any]:
    return {
        "dataset": "deap",
        "subject": f"{subject:02d}",
        "session": "1",
        "licence": "DEAP end user licence agreement: academic research only, no redistribution",
        "processing": "already at 128 Hz; EEG already filtered 4-45 Hz, common average",
        "trial_order": "Experiment_id (the video), not the order of presentation",
        "clock": f"made up: trials one after another, {GAP_SECONDS:g} s apart",
        "source_file": path.name,
        "source_fingerprint": file_fingerprint(path),
    }
