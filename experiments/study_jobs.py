"""The jobs of a study: one model, one dimension, true or permuted labels, some folds.

A job is independent of all others and writes its predictions into one file
(:mod:`physioemo.experiments.study_pieces`).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.experiments.estimator_inputs import training_rows
from physioemo.experiments.estimators import build_estimator, find_estimator
from physioemo.experiments.smote import smote
from physioemo.experiments.study_config import ModelChoice, Study
from physioemo.experiments.study_data import Groups
from physioemo.experiments.study_groups import kept_whole, names_of
from physioemo.experiments.study_inputs import (
    FamilyRows,
    StudyInputs,
    feature_rows,
    with_layout,
)
from physioemo.experiments.study_joint import ALL_COLUMNS, permuted_for, rated_rows
from physioemo.experiments.study_models import is_kept, keep_model
from physioemo.experiments.study_order import ordered_options
from physioemo.experiments.study_permuted import permuted_rows
from physioemo.experiments.study_pieces import compute_piece, is_there, read_piece
from physioemo.experiments.study_trust import Said, fold_promises, trust_parts
from physioemo.experiments.study_validation import later_trials

__all__ = [
    "TRUE_LABELS",
    "Job",
    "fit_fold",
    "fit_folds",
    "kind_of",
    "load_job",
    "n_permutations",
    "places",
    "plan_jobs",
    "predictions_of",
    "run_job",
    "said_of",
]

TRUE_LABELS = -1
_FOLDS_ALONE, _FOLDS_TOGETHER = 20, 64


@dataclass(frozen=True)
class Job:
    """One piece of a study.

    Parameters
    ----------
    model : int
        Number of the model in the study.
    column : int
        Number of the dimension, or :data:`physioemo.experiments.study_joint.ALL_COLUMNS`.
    permutation : int
        Number of the permutation, or :data:`TRUE_LABELS`.
    folds : tuple of int
        Numbers of the folds.
    """

    model: int
    column: int
    permutation: int
    folds: tuple[int, ...]

    @property
    def name(self) -> str:
        """A name fit for a file."""
        column = "all" if self.column == ALL_COLUMNS else str(self.column)
        kind = kind_of(self.permutation)
        return f"model{self.model:02d}-{column}-{kind}-fold{self.folds[0]:04d}"

    @property
    def n_fits(self) -> int:
        """How many models it fits."""
        return len(self.folds)


def kind_of(permutation: int) -> str:
    """Return what the labels of a piece are called in the name of its file."""
    return "true" if permutation == TRUE_LABELS else f"permuted{permutation:04d}"


def plan_jobs(study: Study, n_columns: int, n_folds: int) -> list[Job]:
    """Return the jobs of a study; those with the true labels come first."""
    jobs = []
    for number, model in enumerate(study.models):
        at_once = _FOLDS_TOGETHER if _trains_together(model) else _FOLDS_ALONE
        parts = [tuple(range(k, min(k + at_once, n_folds))) for k in range(0, n_folds, at_once)]
        columns = (ALL_COLUMNS,) if model.joint else range(n_columns)
        for permutation in (TRUE_LABELS, *range(n_permutations(study, model))):
            jobs += [Job(number, column, permutation, part) for column in columns for part in parts]
    return sorted(jobs, key=lambda job: job.permutation != TRUE_LABELS)


def n_permutations(study: Study, model: ModelChoice) -> int:
    """Return how often a model is repeated with permuted labels."""
    if model.name in ("majority", "mean"):
        return 0  # they know no features: permuting labels over trials changes nothing
    return study.n_permutations if model.n_permutations is None else model.n_permutations


def _trains_together(model: ModelChoice) -> bool:
    return find_estimator(model.name).class_name == "TokenClassifier"


def run_job(job: Job, study: Study, folder: Path) -> dict[str, Any]:
    """Compute one job, unless it is there; return its name and what went wrong.

    What cannot be fitted is reported, not raised, so that a study says which fold it is.
    """
    keeps = study.keep_models and job.permutation == TRUE_LABELS
    if is_there(job.name, folder) and (not keeps or _all_kept(job, study, folder)):
        return {"job": job.name, "reused": True, "error": ""}

    def work(inputs: StudyInputs) -> dict[str, np.ndarray]:
        out = folder.parent if keeps else None
        rows, predicted, promised, fold, notes = predictions_of(job, study, inputs, out)
        return {
            "rows": rows,
            "predicted": predicted,
            "promised": promised,
            "fold": fold,
            "notes": np.array(json.dumps(notes)),
        }

    return compute_piece(job.name, study, folder, job.model, work)


def _all_kept(job: Job, study: Study, folder: Path) -> bool:
    """Return whether the models of a job that is done are there, as they were asked for."""
    folds = np.unique(load_job(job, folder)["fold"])
    return is_kept(folder.parent, study, job.model, job.column, folds)


def load_job(job: Job, folder: Path) -> dict[str, Any]:
    """Return what a job wrote: ``rows``, ``predicted``, ``promised``, ``fold``, ``notes``."""
    content: dict[str, Any] = read_piece(job.name, folder)
    # A study that an earlier version began promised nothing.
    content.setdefault("promised", np.empty((len(content["rows"]), 0)))
    return {**content, "notes": json.loads(str(content["notes"]))}


def predictions_of(
    job: Job, study: Study, inputs: StudyInputs, out: Path | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Fit the models of a job; return what :func:`load_job` does, as a tuple.

    Parameters
    ----------
    job, study, inputs
        What is to be done, and with what.
    out : Path or None
        Folder of the study in which the models are kept, if they are.

    Returns
    -------
    rows, predicted, promised, fold, notes
        The windows that were tested, what was said of them, (window, dimension, class) by a joint
        model, else (window, class), what was promised, the fold of each, and notes of the fits.
    """
    model = with_layout(study.models[job.model], study, inputs)
    features = feature_rows(model, study, inputs)
    rated = rated_rows(inputs, job.column)
    classes = _classes_of(inputs, job.column)
    y = inputs.targets if model.joint else inputs.targets[:, job.column]
    ratings = None if inputs.ratings is None else inputs.ratings[:, max(job.column, 0)]
    if job.permutation != TRUE_LABELS:
        y = permuted_for(model, inputs, job.column, job.permutation, study.seed)
        if ratings is not None and not model.joint:
            # A trial gets the rating and the class of the same other trial.
            ratings = ratings[permuted_rows(inputs, job.column, job.permutation, study.seed)]
    fits, tests, parts = [], [], []
    for fold in job.folds:
        train, test = (rows[rated[rows]] for rows in inputs.folds[fold])
        parts.append(trust_parts(study, inputs.groups, train))
        given = (study, model, inputs, features, y, parts[-1][0], fold, ratings, classes)
        fits.append(partial(_fit_arguments, *given))
        tests.append(test)
    # Folds without a rated window to test have nothing to say.
    kept = [k for k, test in enumerate(tests) if len(test)]
    fitted = _fitted(model, study, [fits[k] for k in kept], [job.folds[k] for k in kept])
    for estimator, k in zip(fitted, kept, strict=True):
        if out is not None:
            keep_model(out, estimator, study, model, job.column, inputs, job.folds[k])
    said = [
        said_of(estimator, features[tests[k]], inputs.groups.take(tests[k]))
        for estimator, k in zip(fitted, kept, strict=True)
    ]
    notes = [_notes(e, job.folds[k]) for e, k in zip(fitted, kept, strict=True)]
    promised = [np.empty((len(tests[k]), 0)) for k in kept]
    if study.trust is not None and job.permutation == TRUE_LABELS:
        for n, (estimator, k) in enumerate(zip(fitted, kept, strict=True)):
            tested = Said(said[n], spread_of(estimator, features[tests[k]]))
            promised[n], notes[n]["trust"] = _promises(
                study, inputs, estimator, features, y, parts[k], tested
            )
    rows = [tests[k] for k in kept]
    fold_of = [np.full(len(tests[k]), job.folds[k]) for k in kept]
    n_columns = max(1, len(classes))
    shape = (0, len(inputs.columns), n_columns) if model.joint else (0, n_columns)
    return (
        np.concatenate([np.empty(0, int), *rows]),
        np.concatenate([np.empty(shape), *said]),
        np.concatenate(promised) if promised else np.empty((0, 0)),
        np.concatenate([np.empty(0, int), *fold_of]),
        notes,
    )


def _classes_of(inputs: StudyInputs, column: int) -> tuple[str, ...]:
    """Return the classes that a model tells apart: of a column, or the widest of all together."""
    return inputs.classes if column == ALL_COLUMNS else inputs.classes_of(column)


def fit_fold(
    study: Study, inputs: StudyInputs, model: int, column: int, fold: int, y: np.ndarray
) -> Any:
    """Return one model of a study fitted to the training windows of one fold."""
    return fit_folds(study, inputs, model, column, [fold], y)[0]


def fit_folds(
    study: Study, inputs: StudyInputs, model: int, column: int, folds: Sequence[int], y: np.ndarray
) -> list[Any]:
    """Return models of a study fitted to the training windows of some folds, together if they can.

    Parameters
    ----------
    study, inputs
        What was declared, and its data.
    model, column : int
        Numbers of the model and of the dimension.
    folds : sequence of int
        Numbers of the folds.
    y : ndarray, shape (window,)
        True or permuted labels; of a model that learns ratings beside them, the true ones.
    """
    choice = with_layout(study.models[model], study, inputs)
    features = feature_rows(choice, study, inputs)
    rated = inputs.rated(column)
    ratings = None if inputs.ratings is None else inputs.ratings[:, column]
    fits = []
    for fold in folds:
        train = inputs.folds[fold][0]
        train, _ = trust_parts(study, inputs.groups, train[rated[train]])
        classes = inputs.classes_of(column)
        given = (study, choice, inputs, features, y, train, fold, ratings, classes)
        fits.append(partial(_fit_arguments, *given))
    return _fitted(choice, study, fits, list(folds))


def _fit_arguments(
    study: Study,
    model: ModelChoice,
    inputs: StudyInputs,
    features: np.ndarray | FamilyRows,
    y: np.ndarray,
    train: np.ndarray,
    fold: int,
    ratings: np.ndarray | None,
    classes: Sequence[str],
) -> dict[str, Any]:
    windows = inputs.groups.take(train)
    later = later_trials(study.protocol, model.options, windows, y[train])
    fit = {
        "X": features[train],
        "y": y[train],
        "groups": _inner_groups(study, inputs, train),
        "classes": range(len(classes)) if classes else None,
        "windows": windows,
        "ratings": None if ratings is None else ratings[train],
        **({} if later is None else {"validation": later}),
    }
    if study.resample != "smote":
        return fit
    return _resampled(fit, study, fold, all_rows=model.options.get("keep") == "last")


def _inner_groups(study: Study, inputs: StudyInputs, train: np.ndarray) -> np.ndarray:
    groups = inputs.groups.take(train)
    return names_of(groups, kept_whole(study, groups))


def _promises(
    study: Study,
    inputs: StudyInputs,
    estimator: Any,
    features: np.ndarray | FamilyRows,
    y: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray],
    tested: Said,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return what is promised of tested windows, fitted on the second of the training parts."""
    apart = parts[1]
    unit = kept_whole(study, inputs.groups.take(np.concatenate(parts)))
    of_learned, of_apart = (names_of(inputs.groups.take(rows), unit) for rows in parts)
    found = Said(
        said_of(estimator, features[apart], inputs.groups.take(apart)),
        spread_of(estimator, features[apart]),
    )
    return fold_promises(study, found, y[apart], of_apart, of_learned, tested)


def _resampled(
    fit: dict[str, Any], study: Study, fold: int, *, all_rows: bool = False
) -> dict[str, Any]:
    """Return a fit whose training windows are resampled; those that choose are not."""
    x, y, seed = fit["X"], fit["y"], study.seed + fold
    rows, chosen = np.arange(len(x)), np.empty(0, int)
    if not all_rows:
        rows, chosen = training_rows(
            len(x), fit["groups"], fit.get("validation"), seed=seed, labels=y
        )
    flat, classes = smote(x[rows].reshape(len(rows), -1), y[rows], seed=seed)
    values = np.concatenate([flat.reshape(-1, *x.shape[1:]), x[chosen]])
    held = np.arange(len(values)) >= len(flat)
    labels = np.concatenate([classes, y[chosen]])
    chooses = {} if all_rows else {"validation": held}
    return {"X": values, "y": labels, **chooses, "classes": fit["classes"]}


def _fitted(
    model: ModelChoice, study: Study, fits: Sequence[Callable[[], dict[str, Any]]], folds: list[int]
) -> list[Any]:
    """Return fitted estimators; the windows of a fold are put together when it is its turn."""
    options = ordered_options(model.name, model.options, study.target)
    estimators = [
        build_estimator(
            model.name, model.preset, seed=study.seed + fold, joint=model.joint, **options
        )
        for fold in folds
    ]
    if _trains_together(model) and len(fits) > 1:
        from physioemo.experiments.estimators_torch import fit_together

        return fit_together(estimators, [fit() for fit in fits])
    for estimator, fit in zip(estimators, fits, strict=True):
        own = {k: v for k, v in fit().items() if k != "classes" or v is not None}
        of, ratings = own.pop("windows", None), own.pop("ratings", None)
        own |= {"ratings": ratings} if getattr(estimator, "reads_ratings", False) else {}
        own |= {} if of is None else places(estimator, of)
        estimator.fit(own.pop("X"), own.pop("y"), **own)
    return estimators


def said_of(estimator: Any, features: np.ndarray, groups: Groups) -> np.ndarray:
    """Return what an estimator says of windows: probabilities, or one column of ratings.

    Parameters
    ----------
    estimator : object
        Fitted.
    features : ndarray, shape (window, ...)
        What it reads.
    groups : Groups
        Of the same windows, for a model that says one from several of its trial.
    """
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(features, **places(estimator, groups)), float)
    return np.asarray(estimator.predict(features), float)[:, None]


def spread_of(estimator: Any, features: np.ndarray) -> np.ndarray | None:
    """Return the standard deviation of a rating, of a model that says one; else None."""
    if not hasattr(estimator, "predict_spread"):
        return None
    return np.asarray(estimator.predict_spread(features), float)


def places(estimator: Any, groups: Groups) -> dict[str, np.ndarray]:
    """Return of windows what an estimator asks for beside features: trials and times, if it does.

    Parameters
    ----------
    estimator : object
        Fitted or not.
    groups : Groups
        Of the windows.
    """
    if not getattr(estimator, "reads_trials", False):
        return {}
    return {"trials": groups.trial_id, "onset_seconds": groups.onset_seconds}


def _notes(estimator: Any, fold: int) -> dict[str, Any]:
    """Return what is worth keeping of a fit: the course of training, or the penalty."""
    notes: dict[str, Any] = {"fold": int(fold)}
    training = getattr(estimator, "training_", None)
    if training is not None:
        notes["best_epoch"] = int(training.best_epoch)
        notes["train_loss"] = [round(h["train_loss"], 5) for h in training.history]
        if "validation_loss" in training.history[0]:
            notes["validation_loss"] = [round(h["validation_loss"], 5) for h in training.history]
    if hasattr(estimator, "penalty_"):
        notes["penalty"] = float(estimator.penalty_)
    in_context = getattr(estimator, "context_training_", None)
    if in_context is not None:
        notes["context_best_epoch"] = int(in_context.best_epoch)
    return notes
