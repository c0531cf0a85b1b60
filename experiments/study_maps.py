"""Which electrodes one model of a study uses, and which pairs together, beside their nulls."""

from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.estimators import find_estimator
from physioemo.experiments.importance import electrode_importance, interactions_beside_null
from physioemo.experiments.study_config import Study
from physioemo.experiments.study_inputs import StudyInputs, features_for, permuted_targets
from physioemo.experiments.study_jobs import fit_fold

__all__ = ["study_maps"]

_FOLDS, _PERMUTATIONS = 8, 19


def study_maps(study: Study, inputs: StudyInputs) -> dict[str, Any]:
    """Return the maps of the model that the study names, by dimension.

    Importance is the mean over eight folds (or as many as there are), spread over all; the
    interactions are those of the first of them. Each stands beside the same with labels permuted,
    nineteen times.

    Raises
    ------
    CallError
        If the model does not read features by electrode, or the target is no class.
    """
    number = [m.label for m in study.models].index(study.maps)
    model = study.models[number]
    features = features_for(model.name, study, inputs)
    names = _electrodes(inputs, features)
    n_own = _own_features(model.name, inputs)
    if not inputs.classes:
        raise CallError("found maps for ratings, expected a target with classes; leave maps out")
    found = {}
    for column, dimension in enumerate(inputs.columns):
        chosen = np.unique(np.linspace(0, len(inputs.folds) - 1, _FOLDS).astype(int))
        importance, *null = (
            np.mean(
                [_importance(study, inputs, number, column, int(f), k, n_own) for f in chosen],
                axis=0,
            )
            for k in (None, *range(_PERMUTATIONS))
        )
        fold = int(chosen[0])
        test = inputs.folds[fold][1]
        interactions = interactions_beside_null(
            lambda k, c=column, f=fold: _fit(study, inputs, number, c, f, k),  # type: ignore[misc]
            features[test[inputs.rated(column)[test]]],
            names,
            n_permutations=_PERMUTATIONS,
            n_own=n_own,
        )
        found[dimension] = {
            "model": model.label,
            "ch_names": list(names),
            "n_folds": len(chosen),
            "importance": importance.tolist(),
            "importance_null_largest": [float(v.max()) for v in null],
            "interactions": interactions.to_dict(),
            "interactions_fold": fold + 1,
            "interactions_tested": sorted(set(inputs.groups.person[test].tolist())),
        }
    return found


def _electrodes(inputs: StudyInputs, features: np.ndarray) -> tuple[str, ...]:
    names = next((a["channel"] for a in inputs.coords.values() if "channel" in a), ())
    if features.ndim < 3 or features.shape[1] != len(names):
        raise CallError(
            f"found features of shape {features.shape} for maps, expected (window, channel, ...); "
            "name a model that reads 'de' alone"
        )
    return names


def _own_features(model: str, inputs: StudyInputs) -> int | None:
    """Return how many features are of an electrode alone, where others say how pairs go."""
    return inputs.families["de"].shape[2] if find_estimator(model).reads == "connectivity" else None


def _labels(study: Study, inputs: StudyInputs, column: int, permutation: int | None) -> np.ndarray:
    if permutation is None:
        return inputs.targets[:, column]
    return permuted_targets(inputs, column, permutation, study.seed + 1000)


def _fit(
    study: Study, inputs: StudyInputs, model: int, column: int, fold: int, permutation: int | None
) -> Any:
    y = _labels(study, inputs, column, permutation)
    return fit_fold(study, inputs, model, column, fold, y)


def _importance(
    study: Study,
    inputs: StudyInputs,
    model: int,
    column: int,
    fold: int,
    permutation: int | None,
    n_own: int | None,
) -> np.ndarray:
    y = _labels(study, inputs, column, permutation)
    test = inputs.folds[fold][1]
    test = test[inputs.rated(column)[test]]
    estimator = fit_fold(study, inputs, model, column, fold, y)
    features = features_for(study.models[model].name, study, inputs)
    return electrode_importance(estimator, features[test], y[test], n_own=n_own)
