"""Which electrodes one model of a study uses, and which pairs together, beside their nulls."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.estimators import find_estimator
from physioemo.experiments.importance import (
    beside_null,
    electrode_importance,
    electrode_interactions,
    model_interactions,
)
from physioemo.experiments.study_config import Study
from physioemo.experiments.study_features import features_for
from physioemo.experiments.study_fits import fit_folds
from physioemo.experiments.study_inputs import StudyInputs
from physioemo.experiments.study_jobs import TRUE_LABELS, kind_of
from physioemo.experiments.study_permuted import permuted_targets
from physioemo.experiments.study_pieces import compute_piece, is_there, raise_error, read_piece

__all__ = [
    "MapPart",
    "ablation_seconds",
    "attention_beside_null",
    "plan_maps",
    "run_map_part",
    "study_maps",
]

_FOLDS, _PERMUTATIONS = 8, 19


@dataclass(frozen=True)
class MapPart:
    """What the maps need of one dimension, with its true labels or with one permutation of them.

    Parameters
    ----------
    column : int
        Number of the dimension.
    permutation : int
        Number of the permutation, or :data:`physioemo.experiments.study_jobs.TRUE_LABELS`.
    n_fits : int
        How many models it fits, one to each fold that is used.
    """

    column: int
    permutation: int
    n_fits: int

    @property
    def name(self) -> str:
        """A name fit for a file."""
        return f"maps-{self.column}-{kind_of(self.permutation)}"


def plan_maps(study: Study, inputs: StudyInputs) -> list[MapPart]:
    """Return the parts of the maps that a study names; none if it names none.

    Raises
    ------
    CallError
        If the model does not read features by electrode, or the target is no class.
    """
    if not study.maps:
        return []
    _named_features(study, inputs)
    n_fits = len(_spread_folds(len(inputs.folds)))
    permutations = (TRUE_LABELS, *range(_PERMUTATIONS))
    columns = range(len(inputs.columns))
    return [MapPart(column, k, n_fits) for column in columns for k in permutations]


def run_map_part(part: MapPart, study: Study, folder: Path) -> dict[str, Any]:
    """Compute one part of the maps, unless it is there; return its name and what went wrong."""
    if is_there(part.name, folder):
        return {"job": part.name, "reused": True, "error": ""}
    work = partial(_map_part, part, study)
    return compute_piece(part.name, study, folder, _number(study), work)


def study_maps(study: Study, inputs: StudyInputs, folder: Path) -> dict[str, Any]:
    """Return the maps of the model that the study names, by dimension.

    Importance is the mean over eight folds (or as many as there are), spread over all; the
    interactions, and the attention of a model that pays any, are those of the first of them. Each
    stands beside the same with labels permuted, nineteen times.

    Parameters
    ----------
    study : Study
        What was declared.
    inputs : StudyInputs
        Its data.
    folder : Path
        Where the parts lie that :func:`run_map_part` wrote; one that is missing is computed.

    Raises
    ------
    CallError
        If the model does not read features by electrode, or the target is no class.
    """
    _, names = _named_features(study, inputs)
    found: dict[str, Any] = {}
    for part in plan_maps(study, inputs):
        raise_error([run_map_part(part, study, folder)])
        found.setdefault(inputs.columns[part.column], []).append(read_piece(part.name, folder))
    folds = _spread_folds(len(inputs.folds)).tolist()
    first_test = inputs.folds[folds[0]][1]
    maps = {}
    for column, dimension in enumerate(inputs.columns):
        tested = first_test[inputs.rated(column)[first_test]]
        maps[dimension] = {
            "model": study.maps,
            "ch_names": list(names),
            "n_folds": len(folds),
            **_beside_null(found[dimension], names),
            "interactions_fold": folds[0] + 1,
            "interactions_tested": sorted(set(inputs.groups.person[tested].tolist())),
        }
    return maps


def _beside_null(parts: Sequence[Mapping[str, np.ndarray]], names: Sequence[str]) -> dict[str, Any]:
    """Put the part of the true labels beside those of permuted ones."""
    true, *null = parts
    interactions = beside_null(true["log_odds"], true["score"], [n["score"] for n in null], names)
    attention = [part["attention"] for part in parts if len(part["attention"])]
    return {
        "importance": true["importance"].tolist(),
        "importance_null_largest": [float(n["importance"].max()) for n in null],
        "interactions": interactions.to_dict(),
        "attention": attention_beside_null(attention, interactions.score),
    }


def _map_part(part: MapPart, study: Study, inputs: StudyInputs) -> dict[str, np.ndarray]:
    number = _number(study)
    features, _ = _named_features(study, inputs)
    n_own = _own_features(study.models[number].name, inputs)
    folds = _spread_folds(len(inputs.folds)).tolist()
    rated = inputs.rated(part.column)
    tests = [inputs.folds[f][1][rated[inputs.folds[f][1]]] for f in folds]
    y = _labels(study, inputs, part.column, part.permutation)
    fitted = fit_folds(study, inputs, number, part.column, folds, y)
    each = [
        electrode_importance(estimator, features[test], y[test], n_own=n_own)
        for estimator, test in zip(fitted, tests, strict=True)
    ]
    first, tested = fitted[0], features[tests[0]]
    log_odds, score = model_interactions(first, tested, n_own=n_own)
    attends = getattr(first, "attends", False)
    return {
        "importance": np.mean(each, axis=0),
        "log_odds": log_odds,
        "score": score,
        "attention": first.attention(tested) if attends else np.empty(0),
    }


def ablation_seconds(study: Study, inputs: StudyInputs) -> float:
    """Tell how long the maps of a study take once their models are fitted, from one model here.

    Raises
    ------
    CallError
        As :func:`study_maps`.
    """
    number = _number(study)
    features, names = _named_features(study, inputs)
    n_own, n_channels = _own_features(study.models[number].name, inputs), len(names)
    labels = _labels(study, inputs, 0, TRUE_LABELS)
    (estimator,) = fit_folds(study, inputs, number, 0, [0], labels)
    test = inputs.folds[0][1][inputs.rated(0)[inputs.folds[0][1]]]
    began = time.perf_counter()
    electrode_importance(estimator, features[test], labels[test], n_own=n_own)
    importance = time.perf_counter() - began
    pairs = [(i, j) for i in range(n_channels) for j in range(i)]
    some = pairs[:n_channels]
    began = time.perf_counter()
    electrode_interactions(estimator, features[test], pairs=some, n_own=n_own)
    one_pass = (time.perf_counter() - began) / (2 + n_channels + len(some))
    interactions = one_pass * (2 + n_channels + len(pairs))
    of_permutation = importance * len(_spread_folds(len(inputs.folds))) + interactions
    return len(inputs.columns) * (1 + _PERMUTATIONS) * of_permutation


def _spread_folds(n_folds: int) -> np.ndarray:
    return np.unique(np.linspace(0, n_folds - 1, _FOLDS).astype(int))


def _number(study: Study) -> int:
    return [m.label for m in study.models].index(study.maps)


def _named_features(study: Study, inputs: StudyInputs) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return what the model of the maps reads, and its electrodes."""
    if not inputs.classes:
        raise CallError("found maps for ratings, expected a target with classes; leave maps out")
    name = study.models[_number(study)].name
    features = features_for(name, study, inputs)
    names = next((a["channel"] for a in inputs.coords.values() if "channel" in a), ())
    if features.ndim < 3 or features.shape[1] != len(names):
        raise CallError(
            f"found features of shape {features.shape} for maps, expected (window, channel, ...); "
            "name a model that reads 'de' alone"
        )
    return features, names


def _own_features(model: str, inputs: StudyInputs) -> int | None:
    """Return how many features are of an electrode alone, where others say how pairs go."""
    return inputs.families["de"].shape[2] if find_estimator(model).reads == "connectivity" else None


def _labels(study: Study, inputs: StudyInputs, column: int, permutation: int) -> np.ndarray:
    if permutation == TRUE_LABELS:
        return inputs.targets[:, column]
    return permuted_targets(inputs, column, permutation, study.seed + 1000)


def attention_beside_null(
    attention: Sequence[np.ndarray], interactions: Sequence[Sequence[float | None]]
) -> dict[str, Any]:
    """Return the attention of a model beside that of models of permuted labels.

    Parameters
    ----------
    attention : sequence of ndarray, shape (channel, channel)
        Of the model of the true labels, then of those of permuted ones; may be empty.
    interactions : (channel, channel)
        What ablation says of each pair, None where nothing is known.

    Returns
    -------
    dict
        Empty without attention; else ``mean`` and ``null_mean`` (channel, channel);
        ``null_correlation``: Pearson's with each model of permuted labels, over pairs;
        ``interaction_correlation``: Spearman's of attention both ways with the interactions.
    """
    if not attention:
        return {}
    from scipy.stats import spearmanr

    true, *null = attention
    pairs = np.tril_indices(len(true), -1)
    apart = ~np.eye(len(true), dtype=bool)
    both_ways = ((true + true.T) / 2)[pairs]
    ablated = np.array(interactions, float)[pairs]
    known = np.isfinite(ablated) & np.isfinite(both_ways)
    varied = known.sum() > 2 and np.ptp(ablated[known]) > 0 and np.ptp(both_ways[known]) > 0
    rank = spearmanr(both_ways[known], ablated[known]).statistic if varied else float("nan")
    return {
        "mean": true.tolist(),
        "null_mean": np.mean(null, axis=0).tolist(),
        "null_correlation": [_correlation(true[apart], other[apart]) for other in null],
        "interaction_correlation": float(rank),
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    if len(a) < 3 or not (np.ptp(a) > 0 and np.ptp(b) > 0):
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
