"""The jobs of a study: one model, one dimension, true or permuted labels, some folds.

A job is independent of all others and writes its predictions into one file
(:mod:`physioemo.experiments.study_pieces`).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.experiments.study_config import ModelChoice, Study
from physioemo.experiments.study_fits import (
    Lesson,
    prepare_lesson,
    said_of,
    spread_of,
    trains_together,
)
from physioemo.experiments.study_groups import kept_whole, names_of
from physioemo.experiments.study_inputs import StudyInputs
from physioemo.experiments.study_joint import ALL_COLUMNS, permuted_for, rated_rows
from physioemo.experiments.study_models import is_kept, keep_model
from physioemo.experiments.study_permuted import permuted_rows
from physioemo.experiments.study_pieces import compute_piece, is_there, read_piece
from physioemo.experiments.study_trust import Said, fold_promises, trust_parts

__all__ = [
    "TRUE_LABELS",
    "Job",
    "kind_of",
    "load_job",
    "n_permutations",
    "plan_jobs",
    "predictions_of",
    "run_job",
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
        at_once = _FOLDS_TOGETHER if trains_together(model) else _FOLDS_ALONE
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
    lesson = _lesson(job, study, inputs)
    rated = rated_rows(inputs, job.column)
    rows = {k: [part[rated[part]] for part in inputs.folds[k]] for k in job.folds}
    # Folds without a rated window to test have nothing to say.
    folds = [k for k in job.folds if len(rows[k][1])]
    parts = [trust_parts(study, inputs.groups, rows[k][0]) for k in folds]
    tests = [rows[k][1] for k in folds]
    fitted = lesson.fit([learned for learned, _ in parts], folds)
    if out is not None:
        for estimator, k in zip(fitted, folds, strict=True):
            keep_model(out, estimator, study, lesson.model, job.column, inputs, k)
    said = [
        said_of(estimator, lesson.features[test], inputs.groups.take(test))
        for estimator, test in zip(fitted, tests, strict=True)
    ]
    notes = [_notes(estimator, k) for estimator, k in zip(fitted, folds, strict=True)]
    promised = [np.empty((len(test), 0)) for test in tests]
    if study.trust is not None and job.permutation == TRUE_LABELS:
        for n, estimator in enumerate(fitted):
            tested = Said(said[n], spread_of(estimator, lesson.features[tests[n]]))
            promised[n], notes[n]["trust"] = _promises(lesson, estimator, parts[n], tested)
    n_columns = max(1, len(lesson.classes))
    shape = (0, len(inputs.columns), n_columns) if lesson.model.joint else (0, n_columns)
    return (
        np.concatenate([np.empty(0, int), *tests]),
        np.concatenate([np.empty(shape), *said]),
        np.concatenate(promised) if promised else np.empty((0, 0)),
        np.repeat(np.array(folds, int), [len(test) for test in tests]),
        notes,
    )


def _lesson(job: Job, study: Study, inputs: StudyInputs) -> Lesson:
    """Return what the model of a job learns from, with true labels or permuted ones."""
    model = study.models[job.model]
    y = inputs.targets if model.joint else inputs.targets[:, job.column]
    ratings = None if inputs.ratings is None else inputs.ratings[:, max(job.column, 0)]
    if job.permutation != TRUE_LABELS:
        y = permuted_for(model, inputs, job.column, job.permutation, study.seed)
        if ratings is not None and not model.joint:
            # A trial gets the rating and the class of the same other trial.
            ratings = ratings[permuted_rows(inputs, job.column, job.permutation, study.seed)]
    return prepare_lesson(study, inputs, job.model, job.column, y, ratings)


def _promises(
    lesson: Lesson, estimator: Any, parts: tuple[np.ndarray, np.ndarray], tested: Said
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return what is promised of tested windows, fitted on the second of the training parts."""
    apart, groups = parts[1], lesson.inputs.groups
    unit = kept_whole(lesson.study, groups.take(np.concatenate(parts)))
    of_learned, of_apart = (names_of(groups.take(rows), unit) for rows in parts)
    found = Said(
        said_of(estimator, lesson.features[apart], groups.take(apart)),
        spread_of(estimator, lesson.features[apart]),
    )
    return fold_promises(lesson.study, found, lesson.y[apart], of_apart, of_learned, tested)


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
