"""Cheap probes of a split: what a nearest neighbour knows about trials, labels or none.

A nearest neighbour does not depend on the labels, so one search serves any number of permuted
runs. Where no trial is recognised, the neighbour is of another trial, and with labels permuted
over N trials, n_c of class c, both have one class with probability
sum of n_c (n_c - 1) / (N (N - 1)). What the permuted runs score above that is leakage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physioemo.experiments.audit_report import PermutedRun
from physioemo.experiments.folds import Fold, name_codes
from physioemo.experiments.nearest import nearest
from physioemo.experiments.study_data import StudyData
from physioemo.features.stimulus_family import STIMULUS_FAMILIES

__all__ = [
    "Neighbours",
    "feature_matrix",
    "find_neighbours",
    "majority_hits",
    "nearest_in_time",
    "permuted_run",
    "shuffled_fold",
]

_RAW_AXIS = "sample"


@dataclass(frozen=True)
class Neighbours:
    """Test windows and the training window nearest to each, all folds together.

    Parameters
    ----------
    fold, test, train : ndarray of int, shape (pair,)
        Fold, test window, its neighbour.
    """

    fold: np.ndarray
    test: np.ndarray
    train: np.ndarray


def feature_matrix(data: StudyData) -> np.ndarray:
    """Return all features, (window, feature); raw samples only where there is nothing else.

    Families of the stimulus are those of the film, not of the person: they are left out too.
    """
    shown = {name.replace("-", "_") for name in STIMULUS_FAMILIES}
    chosen = [
        f for f in data.families if _RAW_AXIS not in data.coords.get(f, {}) and f not in shown
    ]
    parts = [
        np.asarray(data.families[f], np.float32).reshape(len(data), -1)
        for f in chosen or data.families
    ]
    return np.concatenate(parts, axis=1)


def find_neighbours(
    features: np.ndarray, folds: Sequence[Fold], *, max_windows: int, seed: int
) -> Neighbours:
    """Return each test window's nearest training window.

    Features are brought to mean 0 and standard deviation 1 of the training windows; what is
    missing is put at the mean. Of many test windows a sample is taken, evenly over the folds.

    Parameters
    ----------
    features : ndarray, shape (window, feature)
        NaN where missing.
    folds : sequence of (train, test)
        Window indices.
    max_windows : int
        Most test windows.
    seed : int
        Which are taken.
    """
    rng = np.random.default_rng(seed)
    n_tested = sum(len(test) for _, test in folds)
    share = min(1.0, max_windows / max(n_tested, 1))
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for k, (train, test) in enumerate(folds):
        if not (len(train) and len(test)):
            continue
        n = max(1, round(share * len(test)))
        rows = test if n == len(test) else np.sort(rng.choice(test, n, replace=False))
        mean, spread = _spread(features[train])
        known, asked = (_scaled(features[r], mean, spread) for r in (train, rows))
        found.append((np.full(n, k), rows, train[nearest(known, asked)[:, 0]]))
    empty = np.empty(0, int)
    parts = list(zip(*found, strict=True)) or [(empty,)] * 3
    fold, test, train = (np.concatenate(p) for p in parts)
    return Neighbours(fold, test, train)


def _spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    there = np.isfinite(values)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, values, 0).sum(axis=0, dtype=float) / count
    squares = np.where(there, (values - mean) ** 2, 0).sum(axis=0, dtype=float)
    return mean, np.sqrt(squares / count)


def _scaled(values: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    scaled = (values - mean) / np.where(spread > 0, spread, 1)
    return np.where(np.isfinite(scaled) & (spread > 0), scaled, 0).astype(np.float32)


def shuffled_fold(n_windows: int, *, seed: int) -> list[Fold]:
    """Return one fold that tests a fifth of the windows, drawn without regard to trials."""
    rows = np.random.default_rng(seed).permutation(n_windows)
    n_test = max(1, n_windows // 5)
    return [(np.sort(rows[n_test:]), np.sort(rows[:n_test]))]


def permuted_run(
    units: np.ndarray,
    labels: np.ndarray,
    pairs: Neighbours,
    *,
    unit: str,
    n_permutations: int,
    seed: int,
) -> PermutedRun | None:
    """Return what a nearest neighbour scores with labels permuted over units.

    Parameters
    ----------
    units : ndarray of str, shape (window,)
        Trial or stimulus of each window.
    labels : ndarray of int, shape (window,)
        -1 = none; those windows are in no pair.
    pairs : Neighbours
        From :func:`find_neighbours`.
    unit : str
        What the units are.
    n_permutations : int
        How many.
    seed : int
        Source of chance.

    Returns
    -------
    PermutedRun or None
        None if a unit has several classes or there are fewer than two units.
    """
    rated = np.flatnonzero(labels >= 0)
    names, code = name_codes(units[rated])
    if len(names) < 2 or not len(pairs.test):
        return None
    of_unit = np.zeros(len(names), int)
    of_unit[code] = labels[rated]
    if (of_unit[code] != labels[rated]).any():
        return None
    place = np.full(len(labels), -1)
    place[rated] = code
    rng = np.random.default_rng(seed)
    asked, found = place[pairs.test], place[pairs.train]
    scores = np.empty(n_permutations)
    for k in range(n_permutations):
        permuted = rng.permutation(of_unit)
        scores[k] = (permuted[asked] == permuted[found]).mean()
    low, high = np.percentile(scores, [2.5, 97.5])
    n, of_class = len(names), np.bincount(of_unit)
    chance = float((of_class * (of_class - 1)).sum() / (n * (n - 1)))
    return PermutedRun(
        unit, n, n_permutations, float(scores.mean()), float(low), float(high), chance
    )


def majority_hits(labels: np.ndarray, folds: Sequence[Fold]) -> float:
    """Return the accuracy of the most frequent class among each fold's training windows."""
    hits = total = 0
    for train, test in folds:
        classes, counts = np.unique(labels[train][labels[train] >= 0], return_counts=True)
        there = labels[test][labels[test] >= 0]
        if len(classes):
            hits, total = hits + int((there == classes[counts.argmax()]).sum()), total + len(there)
    return hits / total if total else float("nan")


def nearest_in_time(
    recordings: np.ndarray, onset_seconds: np.ndarray, labels: np.ndarray, folds: Sequence[Fold]
) -> float | None:
    """Return the accuracy of the class of the window that is nearest in time, if there is any.

    Parameters
    ----------
    recordings : ndarray of str, shape (window,)
        Recording of each window.
    onset_seconds : ndarray, shape (window,)
        On its clock.
    labels : ndarray of int, shape (window,)
        -1 = none.
    folds : sequence of (train, test)
        Window indices.
    """
    code = name_codes(recordings)[1]
    hits = total = 0
    for train, test in folds:
        known, asked = train[labels[train] >= 0], test[labels[test] >= 0]
        for recording in np.unique(code[asked]):
            there = known[code[known] == recording]
            mine = asked[code[asked] == recording]
            if not len(there):
                continue
            there = there[np.argsort(onset_seconds[there], kind="stable")]
            times = onset_seconds[there]
            after = np.searchsorted(times, onset_seconds[mine])
            left, right = np.maximum(after - 1, 0), np.minimum(after, len(times) - 1)
            to_left = np.abs(times[left] - onset_seconds[mine])
            to_right = np.abs(times[right] - onset_seconds[mine])
            best = there[np.where(to_left <= to_right, left, right)]
            hits, total = hits + int((labels[best] == labels[mine]).sum()), total + len(mine)
    return hits / total if total else None
