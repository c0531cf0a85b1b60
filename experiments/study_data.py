"""What a study is made on: labelled windows from a feature store, and where each comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.features.feature_store import family_axes, open_features

__all__ = ["Groups", "StudyData", "open_study_data"]


@dataclass(frozen=True)
class Groups:
    """Where each window comes from; one entry per window in every array.

    Parameters
    ----------
    subject, session, stimulus : ndarray of str, shape (window,)
        The same clip has the same stimulus for every subject; empty where nothing is known.
    trial : ndarray of int, shape (window,)
        Number within subject and session.
    onset_seconds : ndarray, shape (window,)
        First sample of the window, on the recording's own clock.
    window_seconds : float
        Length of a window: two of one recording whose onsets are closer share samples.
    dataset : ndarray of str, shape (window,), optional
        Which data set a window is of, where there are several.
    """

    subject: np.ndarray
    session: np.ndarray
    trial: np.ndarray
    stimulus: np.ndarray
    onset_seconds: np.ndarray
    window_seconds: float
    dataset: np.ndarray = field(default_factory=lambda: np.empty(0, object))

    def __post_init__(self) -> None:
        if not len(self.dataset):
            object.__setattr__(self, "dataset", np.full(len(self.trial), "", object))
        lengths = {k: len(v) for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        if len(set(lengths.values())) != 1:
            raise CallError(f"found groups of the lengths {lengths}, expected one length")

    def __len__(self) -> int:
        return len(self.trial)

    @property
    def person(self) -> np.ndarray:
        """Name of the subject within its data set, one per window."""
        return _joined(self.dataset, self.subject)

    @property
    def trial_id(self) -> np.ndarray:
        """Name of the trial, unique over all recordings, one per window."""
        return _joined(self.dataset, self.subject, self.session, self.trial)

    def take(self, rows: np.ndarray) -> "Groups":
        """Return the groups of some windows."""
        arrays = {k: v[rows] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return replace(self, **arrays)


def _joined(*columns: np.ndarray) -> np.ndarray:
    rows = zip(*columns, strict=True)
    return np.array(["/".join(str(c) for c in row if str(c)) for row in rows], object)


@dataclass(frozen=True)
class StudyData:
    r"""Windows with features, ratings or labels, and groups.

    Parameters
    ----------
    families : mapping of str to ndarray, shape (window, \\*dims)
        Features by family, NaN where missing.
    coords : mapping of str to mapping of str to tuple of str
        For each family its axes after ``window`` in order, and what stands along each.
    groups : Groups
        Where each window comes from.
    ratings : mapping of str to ndarray, shape (window,)
        Ratings by dimension, NaN where missing.
    scale : tuple of (float, float) or None
        Lowest and highest rating.
    labels : ndarray of str, shape (window,), or None
        Class of the clip, where the data set has labels instead of ratings.
    source : mapping
        What stands in every result: data set, recipe and its hash, fingerprints, simulated.
    """

    families: Mapping[str, np.ndarray]
    coords: Mapping[str, Mapping[str, tuple[str, ...]]]
    groups: Groups
    ratings: Mapping[str, np.ndarray]
    scale: tuple[float, float] | None
    labels: np.ndarray | None
    source: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.groups)

    def take(self, rows: np.ndarray) -> "StudyData":
        """Return some windows."""
        return replace(
            self,
            families={k: v[rows] for k, v in self.families.items()},
            groups=self.groups.take(rows),
            ratings={k: v[rows] for k, v in self.ratings.items()},
            labels=None if self.labels is None else self.labels[rows],
        )


def open_study_data(path: str | Path, families: Sequence[str] | None = None) -> StudyData:
    """Read a feature store for a study.

    Parameters
    ----------
    path : str or Path
        What ``physioemo preprocess --out`` wrote.
    families : sequence of str, optional
        Which families to read, all by default.

    Raises
    ------
    DataError
        If the store lacks a family, or has neither ratings nor labels.
    """
    with open_features(path) as store:
        there = [str(n) for n in store.data_vars if f"{n}_present" in store.data_vars]
        wanted = [f.replace("-", "_") for f in families] if families else there
        missing = [f for f in wanted if f not in there]
        if missing:
            raise DataError(
                f"found the features {', '.join(there)} in {path}, expected {missing[0]!r} too; "
                "make a store with 'physioemo preprocess --features'"
            )
        rated = "rating" in store
        if not rated and "label_name" not in store:
            raise DataError(
                f"found neither ratings nor labels in {path}, expected one of them; a study "
                "needs something to predict"
            )
        source = {
            "path": str(path),
            "dataset": store.attrs["dataset"],
            "recipe": store.attrs["recipe"],
            "recipe_hash": store.attrs["recipe_hash"],
            "fingerprints": {s["name"]: s["files"] for s in store.attrs["sources"]},
            "simulated": bool(store["recording_simulated"].any())
            or bool(store.attrs.get("synthetic")),
        }
        return StudyData(
            families={f: store[f].values for f in wanted},
            coords={f: family_axes(store, f) for f in wanted},
            groups=_groups(store),
            ratings=_ratings(store) if rated else {},
            scale=_scale(store) if rated else None,
            labels=store["label_name"].values if "label_name" in store else None,
            source=source,
        )


def _groups(store: Any) -> Groups:
    return Groups(
        subject=store["subject"].values,
        session=store["session"].values,
        trial=store["trial"].values,
        stimulus=store["stimulus"].values,
        onset_seconds=store["onset_seconds"].values,
        window_seconds=float(store.attrs["recipe"]["window_seconds"]),
        dataset=np.full(store.sizes["window"], store.attrs["dataset"], object),
    )


def _ratings(store: Any) -> dict[str, np.ndarray]:
    return {str(d): store["rating"].sel(dimension=d).values for d in store["dimension"].values}


def _scale(store: Any) -> tuple[float, float]:
    about = store["rating"].attrs
    return about["scale_minimum"], about["scale_maximum"]
