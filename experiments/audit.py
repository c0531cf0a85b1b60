"""The audit: what these folds score for a model that has learned nothing.

Three things are looked at. What is on both sides of a fold: samples, trials, subjects, stimuli,
against what the declared protocol promises. What was fitted on more than the training windows, as
far as a study declares it or its recipe shows it. And what a nearest neighbour scores when the
labels are permuted over trials: what it scores above chance is the number by which the split
inflates scores (compare arXiv 2508.02417 on published studies, and Varoquaux 2018, NeuroImage
180:68-77, on the width of such numbers).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.audit_findings import notes, problems
from physioemo.experiments.audit_probes import (
    feature_matrix,
    find_neighbours,
    majority_hits,
    nearest_in_time,
    permuted_run,
    shuffled_fold,
)
from physioemo.experiments.audit_report import AuditReport, PermutedRun, TargetAudit
from physioemo.experiments.audit_shared import (
    SHARED_KINDS,
    check_folds,
    group_names,
    overlap_of,
    shared_groups,
)
from physioemo.experiments.folds import Fold, name_codes
from physioemo.experiments.protocols import find_protocol
from physioemo.experiments.study_data import StudyData

__all__ = ["audit", "default_targets"]

_MAX_WINDOWS = 4000


def audit(
    data: StudyData,
    folds: Sequence[Fold],
    *,
    protocol: str | None = None,
    targets: Mapping[str, np.ndarray] | None = None,
    fitted_on: Mapping[str, str] | None = None,
    declared_leaky: bool = False,
    n_permutations: int = 200,
    max_windows: int = _MAX_WINDOWS,
    seed: int = 0,
) -> AuditReport:
    """Audit the folds of a study.

    Parameters
    ----------
    data : StudyData
        What the study is made on.
    folds : sequence of (train, test)
        Window indices. What selects epochs or options counts as training.
    protocol : str, optional
        A row of :data:`physioemo.experiments.protocols.PROTOCOLS` that the folds claim to be of.
    targets : mapping of str to ndarray of int, shape (window,), optional
        Classes, -1 = none; :func:`default_targets` where they are not given.
    fitted_on : mapping of str to str, optional
        For scaler, smoother, resampler, selection and so on, on what each was fitted: one of
        :data:`physioemo.experiments.audit_findings.FITTED_ON`; anything else leaks.
    declared_leaky : bool
        Whether the study says itself that it leaks.
    n_permutations : int
        Runs with permuted labels.
    max_windows : int
        Most test windows of which neighbours are looked for.
    seed : int
        Source of chance.

    Raises
    ------
    CallError
        If there is no such protocol, targets have another length, or there are fewer than two
        permutations.
    DataError
        If the folds are no split of these windows, or onsets are missing.
    """
    if n_permutations < 2:
        raise CallError(f"found {n_permutations} permutations, expected at least 2")
    declared = find_protocol(protocol) if protocol else None
    check_folds(folds, len(data))
    classes = _checked_targets(targets if targets is not None else default_targets(data), len(data))
    features, groups = feature_matrix(data), data.groups
    pairs = find_neighbours(features, folds, max_windows=max_windows, seed=seed)
    inside = find_neighbours(
        features, shuffled_fold(len(data), seed=seed), max_windows=max_windows, seed=seed
    )
    trial = name_codes(groups.trial_id)[1]
    audited = [
        _target(name, labels, data, folds, features, n_permutations, max_windows, seed)
        for name, labels in classes.items()
    ]
    shared = {kind: shared_groups(kind, groups, folds, declared) for kind in SHARED_KINDS}
    overlap = overlap_of(groups, features, folds, _look_back_seconds(data))
    steps = dict(fitted_on or {})
    tested = np.bincount(np.concatenate([test for _, test in folds]), minlength=len(data))
    report = AuditReport(
        n_windows=len(data),
        n_folds=len(folds),
        n_untested=int((tested == 0).sum()),
        n_tested_twice=int((tested > 1).sum()),
        protocol=protocol,
        declared_leaky=declared_leaky,
        overlap=overlap,
        shared=shared,
        fitted_on=steps,
        smoothing=_smoothing(data),
        named_trial=float((trial[inside.test] == trial[inside.train]).mean()),
        named_trial_chance=float((np.bincount(trial) ** 2).sum() / len(trial) ** 2),
        named_trial_here=float((trial[pairs.test] == trial[pairs.train]).mean()),
        targets=tuple(t for t in audited if t is not None),
    )
    return replace(
        report,
        problems=tuple(problems(report, groups, folds, declared)),
        notes=tuple(notes(report, data)),
    )


def default_targets(data: StudyData) -> dict[str, np.ndarray]:
    """Return the label, or for each rated dimension low (0) and high (1), -1 at the mid-point."""
    if data.labels is not None:
        return {"label": name_codes(data.labels)[1]}
    found: dict[str, np.ndarray] = {}
    for name, rating in data.ratings.items():
        if data.scale is None:
            raise DataError(
                f"found ratings of {name} without a scale, expected its lowest and highest value; "
                "give the classes as targets"
            )
        middle = sum(data.scale) / 2
        unclear = ~np.isfinite(rating) | (rating == middle)
        found[name] = np.where(unclear, -1, (rating > middle).astype(int))
    return found


def _checked_targets(targets: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    for name, labels in targets.items():
        if np.shape(labels) != (n,):
            raise CallError(
                f"found classes of {name} of shape {np.shape(labels)}, expected one for each of "
                f"{n} windows"
            )
    return {name: np.asarray(labels) for name, labels in targets.items()}


def _recipe(data: StudyData) -> Mapping[str, Any]:
    recipe: Mapping[str, Any] = data.source.get("recipe", {})
    return recipe


def _look_back_seconds(data: StudyData) -> float:
    """Return how much further than its window the slowest feature looks back."""
    recipe = _recipe(data)
    if "hrv" not in recipe.get("features", ()):
        return 0.0
    return max(0.0, float(recipe["hrv_window_seconds"]) - data.groups.window_seconds)


def _smoothing(data: StudyData) -> str | None:
    recipe = _recipe(data)
    return str(recipe.get("smoothing", "none")) if recipe else None


def _target(
    name: str,
    labels: np.ndarray,
    data: StudyData,
    folds: Sequence[Fold],
    features: np.ndarray,
    n_permutations: int,
    max_windows: int,
    seed: int,
) -> TargetAudit | None:
    """Return one target's scores, None where no fold has two classes to tell apart."""
    rated = [(train[labels[train] >= 0], test[labels[test] >= 0]) for train, test in folds]
    if len(np.unique(labels[labels >= 0])) < 2:
        return None
    pairs = find_neighbours(features, rated, max_windows=max_windows, seed=seed)
    if not len(pairs.test):
        return None

    def permuted(unit: str) -> PermutedRun | None:
        units = group_names(unit, data.groups)
        if (units[labels >= 0] == "").any():
            return None
        return permuted_run(
            units, labels, pairs, unit=unit, n_permutations=n_permutations, seed=seed
        )

    over_trials = permuted("trial")
    if over_trials is None:
        raise DataError(
            f"found several classes of {name} in one trial, or one trial only, expected a class "
            "for each of several trials; give one class per trial"
        )
    onsets = np.asarray(data.groups.onset_seconds, float)
    return TargetAudit(
        name=name,
        n_windows=len(pairs.test),
        n_trials=over_trials.n_units,
        nearest=float((labels[pairs.test] == labels[pairs.train]).mean()),
        majority=majority_hits(labels, rated),
        nearest_in_time=nearest_in_time(group_names("session", data.groups), onsets, labels, rated),
        permuted=over_trials,
        permuted_stimuli=permuted("stimulus"),
    )
