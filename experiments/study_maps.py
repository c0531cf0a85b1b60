"""Which electrodes one model of a study uses, and which pairs together, beside their nulls."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.estimators import find_estimator
from physioemo.experiments.importance import (
    electrode_importance,
    electrode_interactions,
    interactions_beside_null,
)
from physioemo.experiments.study_config import Study
from physioemo.experiments.study_inputs import StudyInputs, features_for, permuted_targets
from physioemo.experiments.study_jobs import fit_folds

__all__ = ["ablation_seconds", "attention_beside_null", "n_map_fits", "study_maps"]

_FOLDS, _PERMUTATIONS = 8, 19


def study_maps(study: Study, inputs: StudyInputs) -> dict[str, Any]:
    """Return the maps of the model that the study names, by dimension.

    Importance is the mean over eight folds (or as many as there are), spread over all; the
    interactions, and the attention of a model that pays any, are those of the first of them. Each
    stands beside the same with labels permuted, nineteen times.

    Raises
    ------
    CallError
        If the model does not read features by electrode, or the target is no class.
    """
    number = [m.label for m in study.models].index(study.maps)
    model = study.models[number]
    features = features_for(model.name, study, inputs)
    names = _electrodes(inputs, features)
    _require_classes(inputs)
    return {
        dimension: {"model": model.label, "ch_names": list(names)}
        | _dimension_maps(study, inputs, number, column, features, names)
        for column, dimension in enumerate(inputs.columns)
    }


def _dimension_maps(
    study: Study,
    inputs: StudyInputs,
    model: int,
    column: int,
    features: np.ndarray,
    names: tuple[str, ...],
) -> dict[str, Any]:
    n_own = _own_features(study.models[model].name, inputs)
    folds = _spread_folds(len(inputs.folds)).tolist()
    tests = [inputs.folds[f][1][inputs.rated(column)[inputs.folds[f][1]]] for f in folds]
    importance, of_first_fold = [], []
    for permutation in (None, *range(_PERMUTATIONS)):
        y = _labels(study, inputs, column, permutation)
        fitted = fit_folds(study, inputs, model, column, folds, y)
        of_first_fold.append(fitted[0])
        each = [
            electrode_importance(estimator, features[test], y[test], n_own=n_own)
            for estimator, test in zip(fitted, tests, strict=True)
        ]
        importance.append(np.mean(each, axis=0))
    tested = features[tests[0]]
    interactions = interactions_beside_null(
        lambda permutation: of_first_fold[0 if permutation is None else permutation + 1],
        tested,
        names,
        n_permutations=_PERMUTATIONS,
        n_own=n_own,
    )
    attends = getattr(of_first_fold[0], "attends", False)
    attention = [estimator.attention(tested) for estimator in of_first_fold] if attends else []
    return {
        "n_folds": len(folds),
        "importance": importance[0].tolist(),
        "importance_null_largest": [float(v.max()) for v in importance[1:]],
        "interactions": interactions.to_dict(),
        "interactions_fold": folds[0] + 1,
        "interactions_tested": sorted(set(inputs.groups.person[tests[0]].tolist())),
        "attention": attention_beside_null(attention, interactions.score),
    }


def n_map_fits(n_columns: int, n_folds: int) -> int:
    """Return how many models the maps of a study are made of.

    Parameters
    ----------
    n_columns, n_folds : int
        Dimensions, and folds of the study.
    """
    return n_columns * (1 + _PERMUTATIONS) * len(_spread_folds(n_folds))


def ablation_seconds(study: Study, inputs: StudyInputs) -> float:
    """Tell how long the maps of a study take once their models are fitted, from one model here.

    Raises
    ------
    CallError
        As :func:`study_maps`.
    """
    number = [m.label for m in study.models].index(study.maps)
    name = study.models[number].name
    features, n_own = features_for(name, study, inputs), _own_features(name, inputs)
    n_channels = len(_electrodes(inputs, features))
    _require_classes(inputs)
    labels = _labels(study, inputs, 0, None)
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


def _electrodes(inputs: StudyInputs, features: np.ndarray) -> tuple[str, ...]:
    names = next((a["channel"] for a in inputs.coords.values() if "channel" in a), ())
    if features.ndim < 3 or features.shape[1] != len(names):
        raise CallError(
            f"found features of shape {features.shape} for maps, expected (window, channel, ...); "
            "name a model that reads 'de' alone"
        )
    return names


def _require_classes(inputs: StudyInputs) -> None:
    if not inputs.classes:
        raise CallError("found maps for ratings, expected a target with classes; leave maps out")


def _own_features(model: str, inputs: StudyInputs) -> int | None:
    """Return how many features are of an electrode alone, where others say how pairs go."""
    return inputs.families["de"].shape[2] if find_estimator(model).reads == "connectivity" else None


def _labels(study: Study, inputs: StudyInputs, column: int, permutation: int | None) -> np.ndarray:
    if permutation is None:
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
