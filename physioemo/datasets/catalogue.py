"""The data sets that can be read: one row each, and how a folder is recognised.

A new data set is a reader, the writer of its fixture, and a row here; the contract test of the
readers takes the row up by itself.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from physioemo.datasets.data_set import DataSet
from physioemo.datasets.deap import deap_sources
from physioemo.datasets.deap_fixture import write_deap_fixture
from physioemo.datasets.deap_raw import deap_raw_sources
from physioemo.datasets.deap_raw_fixture import write_deap_raw_fixture
from physioemo.datasets.dreamer import dreamer_sources
from physioemo.datasets.dreamer_fixture import write_dreamer_fixture
from physioemo.datasets.seed import seed_sources
from physioemo.datasets.seed_eye import seed_eye_sources
from physioemo.datasets.seed_features import seed_features_sources
from physioemo.datasets.seed_features_fixture import (
    write_seed_eye_fixture,
    write_seed_features_fixture,
)
from physioemo.datasets.seed_fixture import write_seed_fixture
from physioemo.datasets.seed_iv import seed_iv_sources
from physioemo.datasets.seed_iv_features import seed_iv_features_sources
from physioemo.datasets.seed_iv_fixture import (
    write_seed_iv_features_fixture,
    write_seed_iv_fixture,
)
from physioemo.datasets.seed_v import seed_v_sources
from physioemo.datasets.seed_v_features import seed_v_features_sources
from physioemo.datasets.seed_v_features_fixture import write_seed_v_features_fixture
from physioemo.datasets.seed_v_fixture import write_seed_v_fixture
from physioemo.errors import CallError, DataError, RecordingNotFoundError

__all__ = ["CATALOGUE", "DataSet", "dataset", "recognise"]

_END_USER_LICENCE = "end user licence agreement; academic research only, no redistribution"
_LICENCE = "licence agreement; academic research only, no redistribution"
_SEED = "ask for access at https://bcmi.sjtu.edu.cn/home/seed/"
_MAT = r"[A-Za-z0-9]+_\d{8}\.mat"
_SEED_FEATURES = tuple(
    f"eeg_{feature}_{smoothing}"
    for feature in ("de", "psd", "dasm", "rasm", "asm", "dcau")
    for smoothing in ("movingAve", "LDS")
)

_ROWS = (
    DataSet(
        name="deap",
        title="DEAP, preprocessed for Python",
        licence=_END_USER_LICENCE,
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
        licence=_END_USER_LICENCE,
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
        licence=_END_USER_LICENCE,
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
        licence=_LICENCE,
        obtain=_SEED,
        folder="Preprocessed_EEG",
        files={_MAT: "one file per subject and session", r"label\.mat": "the label of each clip"},
        variable=r"\w+_eeg\d+",
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
    DataSet(
        name="seed-features",
        title="SEED, extracted EEG features",
        licence=_LICENCE,
        obtain=_SEED,
        folder="ExtractedFeatures_1s",
        folders=("ExtractedFeatures_4s", "ExtractedFeatures"),
        files={_MAT: "one file per subject and session", r"label\.mat": "the label of each clip"},
        variable=r"(de|psd|dasm|rasm|asm|dcau)_(movingAve|LDS)\d+",
        derived_from="seed",
        stimuli="seed",
        sources=seed_features_sources,
        write_fixture=write_seed_features_fixture,
        small={"n_windows": 6, "sessions": 2},
        small_read={"n_windows": 6, "window_seconds": 1},
        published={
            "subjects": 15,
            "sessions": 3,
            "trials": 15,
            "rates_hz": dict.fromkeys(_SEED_FEATURES, 1.0),
            "scale": None,
            "baselines": 0,
        },
    ),
    DataSet(
        name="seed-eye",
        title="SEED, eye-tracking features",
        licence=_LICENCE,
        obtain=_SEED,
        folder="eye_tracking_feature",
        files={r"\d{1,2}_[123]": "one file per subject and session"},
        derived_from="seed",
        stimuli="seed",
        sources=seed_eye_sources,
        write_fixture=write_seed_eye_fixture,
        small={"n_windows": 6, "sessions": 2},
        small_read={"n_windows": 6},
        published={
            "subjects": 12,
            "sessions": 3,
            "trials": 15,
            "rates_hz": {"eye": 0.25},
            "scale": None,
            "baselines": 0,
        },
    ),
    DataSet(
        name="seed-iv",
        title="SEED-IV, EEG",
        licence=_LICENCE,
        obtain="ask for access at https://bcmi.sjtu.edu.cn/home/seed/seed-iv.html",
        folder="eeg_raw_data",
        below="[123]",
        files={_MAT: "one file per subject in the folder of each session"},
        variable=r"\w+_eeg\d+",
        sources=seed_iv_sources,
        write_fixture=write_seed_iv_fixture,
        small={"n_samples": 401, "sessions": 2},
        small_read={"n_samples": 401},
        published={
            "subjects": 15,
            "sessions": 3,
            "trials": 24,
            "rates_hz": {"eeg": 200.0},
            "eeg_channels": 62,
            "scale": None,
            "baselines": 0,
            "clips_per_session": True,
        },
    ),
    DataSet(
        name="seed-iv-features",
        title="SEED-IV, EEG and eye features",
        licence=_LICENCE,
        obtain="ask for access at https://bcmi.sjtu.edu.cn/home/seed/seed-iv.html",
        folder="eeg_feature_smooth",
        below="[123]",
        files={_MAT: "one file per subject in the folder of each session"},
        variable=r"(de|psd)_(movingAve|LDS)\d+",
        derived_from="seed-iv",
        stimuli="seed-iv",
        sources=seed_iv_features_sources,
        write_fixture=write_seed_iv_features_fixture,
        small={"n_windows": 6, "sessions": 2},
        small_read={"n_windows": 6},
        published={
            "subjects": 15,
            "sessions": 3,
            "trials": 24,
            "rates_hz": {**dict.fromkeys(_SEED_FEATURES[:4], 0.25), "eye": 0.25},
            "scale": None,
            "baselines": 0,
            "clips_per_session": True,
        },
    ),
    DataSet(
        name="seed-v",
        title="SEED-V, raw EEG",
        licence=_LICENCE,
        obtain="ask for access at https://bcmi.sjtu.edu.cn/home/seed/seed-v.html",
        folder="EEG_raw",
        files={r"\d{1,2}_[123]_\d{8}\.cnt": "one file per subject and session"},
        sources=seed_v_sources,
        write_fixture=write_seed_v_fixture,
        small={"clip_seconds": 1},
        small_read={"clip_seconds": 1},
        published={
            "subjects": 16,
            "sessions": 3,
            "trials": 15,
            "rates_hz": {"eeg": 1000.0, "eog": 1000.0},
            "eeg_channels": 62,
            "scale": None,
            "baselines": 0,
            "clips_per_session": True,
        },
    ),
    DataSet(
        name="seed-v-features",
        title="SEED-V, features of EEG and eyes",
        licence=_LICENCE,
        obtain="ask for access at https://bcmi.sjtu.edu.cn/home/seed/seed-v.html",
        folder="EEG_DE_features",
        files={r"\d{1,2}_123\.npz": "one file per subject"},
        derived_from="seed-v",
        stimuli="seed-v",
        sources=seed_v_features_sources,
        write_fixture=write_seed_v_features_fixture,
        small={"windows": 8},
        small_read={"windows": 8},
        published={
            "subjects": 16,
            "sessions": 3,
            "trials": 15,
            "rates_hz": {"eeg_de": 0.25, "eye_features": 0.25},
            "scale": None,
            "baselines": 0,
            "clips_per_session": True,
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
    located = {row.name: row for row in CATALOGUE.values() if row.locate(path)}
    found = [row for row in located.values() if row.derived_from not in located]
    if len(found) == 1:
        return found[0]
    what = f"the files of {' and '.join(r.name for r in found)}" if found else "no data set"
    expected = "; ".join(f"{r.name}: {' and '.join(r.files)}" for r in CATALOGUE.values())
    raise DataError(
        f"found {what} in {path}, expected the files of one ({expected}); check the path, or "
        "that files have not been renamed"
    )
