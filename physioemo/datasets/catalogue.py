"""The data sets that can be read: one row each, and how a folder is recognised.

A new data set is a reader, the writer of its fixture, and a row here; the contract test of the
readers takes the row up by itself.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from physioemo.datasets.assemble import one_at_a_time
from physioemo.datasets.deap import deap_sources
from physioemo.datasets.deap_fixture import write_deap_fixture
from physioemo.datasets.deap_raw import deap_raw_sources
from physioemo.datasets.deap_raw_fixture import write_deap_raw_fixture
from physioemo.datasets.dreamer import dreamer_sources
from physioemo.datasets.dreamer_fixture import write_dreamer_fixture
from physioemo.datasets.seed import seed_sources
from physioemo.datasets.seed_fixture import write_seed_fixture
from physioemo.datasets.source import Source
from physioemo.errors import CallError, DataError, RecordingNotFoundError
from physioemo.recording import Recording

__all__ = ["CATALOGUE", "DataSet", "dataset", "recognise"]


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Parameters
    ----------
    name, title : str
        As on the command line, and in full.
    licence, obtain : str
        Who may use it, and where it is asked for.
    folder : str
        The published folder that holds the files, or empty.
    files : mapping of str to str
        Pattern of a file name (regular expression) and what it is; all must be there.
    sources : callable
        ``sources(folder) -> list of Source``, in the order of subjects and sessions.
    write_fixture : callable
        ``write_fixture(folder, *, subjects, seed, effect) -> list of Path``.
    stimuli : str
        What the names of its stimuli begin with, where it is not its own name: parts of one data
        set share their clips.
    small : mapping
        Options of `write_fixture` for a small fixture.
    small_read : mapping
        Options of `sources` that such a fixture needs.
    published : mapping
        Numbers that the whole data set must show.
    """

    name: str
    title: str
    licence: str
    obtain: str
    folder: str
    files: Mapping[str, str]
    sources: Callable[..., list[Source]]
    write_fixture: Callable[..., list[Path]]
    stimuli: str = ""
    small: Mapping[str, Any] = field(default_factory=dict)
    small_read: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, Any] = field(default_factory=dict)

    def read(self, folder: str | Path, **options: Any) -> Iterator[Recording]:
        """Yield every subject's and session's recording; one is in memory at a time."""
        sources = self.sources(folder, **options)
        return one_at_a_time(chain.from_iterable(source.read() for source in sources))

    def holds(self, folder: Path) -> bool:
        """Whether all expected kinds of file lie in a folder."""
        names = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
        return all(any(re.fullmatch(f, n) for n in names) for f in self.files)

    def is_one_of(self, file: Path) -> bool:
        """Whether a file has the name of one of the expected files."""
        return any(re.fullmatch(f, file.name) for f in self.files)

    def locate(self, path: str | Path) -> Path | None:
        """Return the folder of the files, at `path` or in the published folder below it."""
        path = Path(path)
        path = path.parent if path.is_file() else path
        below = [path / self.folder] if self.folder else []
        return next((p for p in (path, *below) if self.holds(p)), None)


_ROWS = (
    DataSet(
        name="deap",
        title="DEAP, preprocessed for Python",
        licence="end user licence agreement; academic research only, no redistribution",
        obtain="sign the agreement at https://www.eecs.qmul.ac.uk/mmv/datasets/deap/",
        folder="data_preprocessed_python",
        files={r"s\d\d\.dat": "one file per subject"},
        sources=deap_sources,
        write_fixture=write_deap_fixture,
        small={"n_samples": 1024},
        small_read={"n_samples": 1024},
        published={
            "subjects": 32,
            "sessions": 1,
            "trials": 40,
            "rates_hz": {
                "eeg": 128.0,
                "eog": 128.0,
                "emg": 128.0,
                "eda": 128.0,
                "respiration": 128.0,
                "pleth": 128.0,
                "temperature": 128.0,
            },
            "eeg_channels": 32,
            "scale": (1.0, 9.0),
            "baselines": 40,
        },
    ),
    DataSet(
        name="deap-raw",
        title="DEAP, raw recordings",
        licence="end user licence agreement; academic research only, no redistribution",
        obtain="sign the agreement at https://www.eecs.qmul.ac.uk/mmv/datasets/deap/",
        folder="data_original",
        files={r"s\d\d\.bdf": "one recording per subject"},
        sources=deap_raw_sources,
        write_fixture=write_deap_raw_fixture,
        stimuli="deap",
        small={"video_seconds": 2.0, "haste": 10.0},
        small_read={"video_seconds": 2.0},
        published={
            "subjects": 32,
            "sessions": 1,
            "trials": 40,
            "rates_hz": {
                "eeg": 512.0,
                "eog": 512.0,
                "emg": 512.0,
                "eda": 512.0,
                "respiration": 512.0,
                "pleth": 512.0,
                "temperature": 512.0,
            },
            "eeg_channels": 32,
            "scale": (1.0, 9.0),
            "baselines": 40,
        },
    ),
    DataSet(
        name="dreamer",
        title="DREAMER",
        licence="end user licence agreement; academic research only, no redistribution",
        obtain="ask for access at https://zenodo.org/records/546113",
        folder="",
        files={r"DREAMER\.mat": "all subjects"},
        sources=dreamer_sources,
        write_fixture=write_dreamer_fixture,
        small={"clip_seconds": 4, "baseline_seconds": 2},
        published={
            "subjects": 23,
            "sessions": 1,
            "trials": 18,
            "rates_hz": {"eeg": 128.0, "ecg": 256.0},
            "eeg_channels": 14,
            "scale": (1.0, 5.0),
            "baselines": 18,
        },
    ),
    DataSet(
        name="seed",
        title="SEED, preprocessed EEG",
        licence="licence agreement; academic research only, no redistribution",
        obtain="ask for access at https://bcmi.sjtu.edu.cn/home/seed/",
        folder="Preprocessed_EEG",
        files={
            r"[A-Za-z0-9]+_\d{8}\.mat": "one file per subject and session",
            r"label\.mat": "the label of each clip",
        },
        sources=seed_sources,
        write_fixture=write_seed_fixture,
        small={"n_samples": 801, "sessions": 2},
        small_read={"n_samples": 801},
        published={
            "subjects": 15,
            "sessions": 3,
            "trials": 15,
            "rates_hz": {"eeg": 200.0},
            "eeg_channels": 62,
            "scale": None,
            "baselines": 0,
        },
    ),
)

CATALOGUE: Mapping[str, DataSet] = MappingProxyType({row.name: row for row in _ROWS})
"""Every data set by its name."""


def dataset(name: str) -> DataSet:
    """Return a row of the catalogue.

    Raises
    ------
    CallError
        If there is none of this name.
    """
    if name not in CATALOGUE:
        raise CallError(f"found the data set {name!r}, expected one of {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def recognise(path: str | Path) -> DataSet:
    """Return the data set whose files lie at a path.

    Parameters
    ----------
    path : str or Path
        A folder, the folder above it, or one of the files.

    Raises
    ------
    RecordingNotFoundError
        If there is nothing at `path`.
    DataError
        If the files are those of none or of several data sets.
    """
    path = Path(path)
    if not path.exists():
        raise RecordingNotFoundError(
            f"found nothing at {path}, expected the folder of a data set; check the path"
        )
    found = [row for row in CATALOGUE.values() if row.locate(path)]
    if len(found) == 1:
        return found[0]
    what = f"the files of {' and '.join(r.name for r in found)}" if found else "no data set"
    expected = "; ".join(f"{r.name}: {' and '.join(r.files)}" for r in CATALOGUE.values())
    raise DataError(
        f"found {what} in {path}, expected the files of one ({expected}); check the path, or "
        "that files have not been renamed"
    )
