"""The samples themselves as a family of features, for networks that read raw windows: ``raw``."""

import numpy as np

from physioemo.description import StreamDescription
from physioemo.features.family import (
    Extractor,
    Family,
    FamilyOptions,
    WindowGrid,
    window_local,
)
from physioemo.fingerprint import config_fingerprint

__all__ = ["RAW_WINDOWS"]


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    names = tuple(str(k) for k in range(grid.window_samples))
    return window_local(
        _as_they_are,
        len(description.ch_names),
        grid,
        coords={"channel": description.ch_names, "sample": names},
        units=("uV",),
        fingerprint=config_fingerprint({"family": "raw", "n_samples": grid.window_samples}),
    )


def _as_they_are(windows: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(windows), windows, np.nan)


RAW_WINDOWS = Family("raw", "the EEG samples of each window", ("eeg",), _prepare)
