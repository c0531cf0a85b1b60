"""Study data on disk, as a feature store that studies and the audit can open."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.experiments.study_data import StudyData
from physioemo.features.feature_store import STORE_VERSION
from physioemo.fingerprint import config_fingerprint

__all__ = ["write_study_data"]


def write_study_data(data: StudyData, path: str | Path) -> Path:
    """Write windows that were made in memory as a feature store.

    Parameters
    ----------
    data : StudyData
        Families, groups, ratings or labels.
    path : str or Path
        The store; one that is there is replaced.

    Returns
    -------
    Path
    """
    path = Path(path)
    arrays: dict[str, Any] = {}
    for family, values in data.families.items():
        axes = {_axis(family, a): names for a, names in data.coords[family].items()}
        dims = ("window", *axes)
        arrays |= {axis: (axis, _text(names)) for axis, names in axes.items()}
        arrays[family] = (dims, values, {"units": "as the recipe says"})
        arrays[f"{family}_present"] = (dims, np.isfinite(values))
    groups = data.groups
    for column in ("subject", "session", "stimulus"):
        arrays[column] = ("window", _text(getattr(groups, column)))
    arrays["trial"] = ("window", groups.trial)
    arrays["onset_seconds"] = ("window", groups.onset_seconds)
    if data.ratings and data.scale:
        scale = {"scale_minimum": data.scale[0], "scale_maximum": data.scale[1]}
        rating = np.stack(list(data.ratings.values()), axis=1)
        arrays["rating"] = (("window", "dimension"), rating, scale)
        arrays["dimension"] = ("dimension", _text(data.ratings))
    if data.labels is not None:
        arrays["label_name"] = ("window", _text(data.labels))
    simulated = bool(data.source.get("simulated", False))
    arrays["recording_simulated"] = ("recording", np.array([simulated]))
    recipe = {"window_seconds": groups.window_seconds, **dict(data.source.get("recipe", {}))}
    store = xr.Dataset(arrays).assign_attrs(
        feature_store_version=STORE_VERSION,
        dataset=str(data.source.get("dataset", "made in memory")),
        recipe=recipe,
        recipe_hash=config_fingerprint(recipe),
        sources=[
            {"name": str(k), "files": v if isinstance(v, dict) else {"all": str(v)}}
            for k, v in dict(data.source.get("fingerprints", {})).items()
        ],
        leaky=bool(data.source.get("leaky", False)),
        synthetic=simulated,
    )
    shutil.rmtree(path, ignore_errors=True)
    store.to_zarr(path, zarr_format=3, consolidated=False)
    return path


def _axis(family: str, axis: str) -> str:
    return axis if axis in ("channel", "band") else f"{family}_{axis}"


def _text(values: Any) -> np.ndarray:
    return np.array([str(v) for v in values], np.dtypes.StringDType())
