"""The scores of a study: of every subject, over subjects, beside chance, and between models."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from physioemo.experiments.comparison import compare_over_subjects
from physioemo.experiments.statistics import (
    binomial_test,
    binomial_threshold,
    over_subjects,
    permutation_p,
)
from physioemo.experiments.study_config import Study
from physioemo.experiments.study_fold_scores import fold_comparisons, fold_scores
from physioemo.experiments.study_inputs import StudyInputs, protocol_line
from physioemo.experiments.study_jobs import TRUE_LABELS
from physioemo.experiments.study_joint import permuted_for
from physioemo.experiments.study_order import ORDERED_SCORES, order_of, permutation_tests
from physioemo.experiments.trial_scores import subject_scores

__all__ = ["headline", "study_scores"]

_LEVELS = ("trial", "window")
_CLASS_SCORES = (
    "balanced_accuracy",
    "accuracy",
    "macro_f1",
    "kappa",
    "mcc",
    "auc",
    "ece",
    "brier",
)
_RATING_SCORES = ("ccc", "rmse", "spearman")
_FROM_MINUS_ONE = ("kappa", "mcc", "ccc", "spearman", "quadratic_weighted_kappa")
_UNBOUNDED = ("rmse", "rank_error", "brier")

Run = tuple[str, int, int, np.ndarray, list[dict[str, Any]]]


def headline(study: Study) -> str:
    """Return the score that stands first."""
    return _scores_of(study)[0]


def _scores_of(study: Study) -> tuple[str, ...]:
    """Return the scores that are summarised, the first one first."""
    if study.target.kind == "continuous":
        return _RATING_SCORES
    if study.target.kind == "ordinal":
        return tuple(dict.fromkeys((*ORDERED_SCORES, *_CLASS_SCORES)))
    return _CLASS_SCORES


def study_scores(study: Study, inputs: StudyInputs, runs: Iterable[Run]) -> dict[str, Any]:
    """Return everything that is to be known of a study's predictions.

    Parameters
    ----------
    study : Study
        What was declared.
    inputs : StudyInputs
        Targets, groups and folds.
    runs : iterable
        Model label, column, permutation, predictions (window, class) and notes of each run.

    Returns
    -------
    dict
        ``protocol``, ``n_*``, ``headline``, ``dimensions``: for each its ``models`` (scores of
        every subject, their mean with its interval, permuted labels, binomial thresholds) and
        ``comparisons`` with the reference model, over subjects and, where the folds are of one
        data set, ``over_folds``; of a joint target also its ``classes``. For
        ordered classes each model also has ``order``, whether it knew them to be ordered, and
        permuted labels beside each of
        :data:`physioemo.experiments.study_order.ORDERED_SCORES`.
    """
    dimensions: dict[str, dict[str, Any]] = {
        name: {"models": {m.label: {} for m in study.models}} for name in inputs.columns
    }
    first = headline(study)
    ordered = study.target.kind == "ordinal"
    names = ORDERED_SCORES if ordered else (first,)
    choices = {m.label: m for m in study.models}
    over_folds: list[dict[str, list[float]]] = [{} for _ in inputs.columns]
    for label, column, permutation, predicted, notes in runs:
        models = dimensions[inputs.columns[column]]["models"]
        if permutation == TRUE_LABELS:
            models[label] |= _true_scores(study, inputs, column, predicted)
            over_folds[column][label] = fold_scores(study, inputs, column, predicted, first)
            models[label]["training"] = sorted(notes, key=lambda n: n["fold"])
        else:
            y = permuted_for(choices[label], inputs, column, permutation, study.seed)
            means = _mean_scores(_by_subject(study, inputs, y, predicted), names)
            more = {"scores": means} if ordered else {}
            models[label].setdefault("permuted", []).append({**means[first], **more})
    for column, content in enumerate(dimensions.values()):
        if inputs.column_classes:
            content["classes"] = list(inputs.classes_of(column))
        for scores in content["models"].values():
            _add_permutation_tests(scores, first)
            if ordered:
                _add_ordered_tests(scores)
        if ordered:
            for model in study.models:
                known = order_of(model.name, model.options, study.target)
                content["models"][model.label]["order"] = known
        content["comparisons"] = _comparisons(study, content["models"], first)
        content["comparisons"]["over_folds"] = fold_comparisons(
            study, inputs, column, over_folds[column], content["comparisons"]["reference"]
        )
    groups = inputs.groups
    return {
        "protocol": protocol_line(study),
        "headline": first,
        "classes": list(inputs.classes),
        "n_windows": len(groups),
        "n_trials": len(set(groups.trial_id.tolist())),
        "n_subjects": len(set(groups.person.tolist())),
        "n_stimuli": len(set(groups.stimulus.tolist()) - {""}),
        "n_folds": len(inputs.folds),
        "dimensions": dimensions,
    }


def _by_subject(
    study: Study, inputs: StudyInputs, y: np.ndarray, predicted: np.ndarray
) -> dict[str, dict[str, dict[str, Any]]]:
    # A joint model also speaks of windows that are rated in another dimension alone.
    tested = np.isfinite(predicted).all(axis=1) & ((y.dtype.kind == "f") | (y >= 0))
    said = predicted[:, 0] if y.dtype.kind == "f" else predicted
    groups = inputs.groups
    return subject_scores(
        y[tested],
        said[tested],
        groups.trial_id[tested],
        groups.person[tested],
        ordered=study.target.kind == "ordinal",
    )


def _true_scores(
    study: Study, inputs: StudyInputs, column: int, predicted: np.ndarray
) -> dict[str, Any]:
    by_subject = _by_subject(study, inputs, inputs.targets[:, column], predicted)
    found: dict[str, Any] = {"subjects": by_subject}
    for level in _LEVELS:
        found[level] = {
            name: over_subjects(
                {s: scores[level][name] for s, scores in by_subject.items()},
                seed=study.seed,
                bounds=_bounds(name),
            ).to_dict()
            for name in _scores_of(study)
            if any(np.isfinite(s[level][name]) for s in by_subject.values())
        }
    if study.target.kind != "continuous":
        found["chance"] = {s: _chance(scores["trial"]) for s, scores in by_subject.items()}
    return found


def _bounds(name: str) -> tuple[float, float]:
    """Return between what a score can lie."""
    return -1.0 if name in _FROM_MINUS_ONE else 0.0, np.inf if name in _UNBOUNDED else 1.0


def _chance(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return what accuracy a subject must exceed, trials being the independent pieces."""
    counts = np.array(scores["n_per_class"])
    n, share = int(counts.sum()), float(counts.max() / counts.sum())
    if share == 1.0:
        return {"n": n, "majority": 1.0, "threshold": None, "p": None}
    right = round(scores["accuracy"] * n)
    return {
        "n": n,
        "majority": share,
        "threshold": binomial_threshold(n, share),
        "p": binomial_test(right, n, share).p,
    }


def _mean_scores(
    by_subject: Mapping[str, Any], names: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Return the means over subjects, by score and level."""
    return {
        name: {
            level: float(np.nanmean([s[level][name] for s in by_subject.values()]))
            for level in _LEVELS
        }
        for name in names
    }


def _add_permutation_tests(scores: dict[str, Any], first: str) -> None:
    permuted = scores.setdefault("permuted", [])
    scores["permutation_tests"] = {
        level: permutation_p(scores[level][first]["mean"], [p[level] for p in permuted]).to_dict()
        for level in _LEVELS
        if permuted and first in scores[level]
    }


def _add_ordered_tests(scores: dict[str, Any]) -> None:
    means = {
        name: {level: scores[level][name]["mean"] for level in _LEVELS}
        for name in ORDERED_SCORES
        if all(name in scores[level] for level in _LEVELS)
    }
    permuted = [p["scores"] for p in scores["permuted"]]
    scores["ordered_tests"] = permutation_tests(means, permuted)


def _comparisons(study: Study, models: Mapping[str, Any], first: str) -> dict[str, Any]:
    """Return each model against the reference: Wilcoxon over subjects, Holm over models."""
    labels = list(models)
    reference = study.reference or labels[0]
    by_model = {
        label: {s: v["trial"][first] for s, v in models[label]["subjects"].items()}
        for label in labels
    }
    found = compare_over_subjects(by_model, reference)
    return {
        "reference": reference,
        "models": {
            label: {**test.to_dict(), "p_holm": adjusted}
            for label, (test, adjusted) in found.items()
        },
    }
