"""The models of a study: fitted to training windows of folds, and asked about others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.experiments.estimator_inputs import training_rows
from physioemo.experiments.estimators import build_estimator, find_estimator
from physioemo.experiments.smote import smote
from physioemo.experiments.study_config import ModelChoice, Study
from physioemo.experiments.study_data import Groups
from physioemo.experiments.study_features import FamilyRows, feature_rows, with_layout
from physioemo.experiments.study_groups import kept_whole, names_of
from physioemo.experiments.study_inputs import StudyInputs
from physioemo.experiments.study_joint import ALL_COLUMNS
from physioemo.experiments.study_order import ordered_options
from physioemo.experiments.study_trust import trust_parts
from physioemo.experiments.study_validation import later_trials

__all__ = [
    "Lesson",
    "fit_fold",
    "fit_folds",
    "places",
    "prepare_lesson",
    "said_of",
    "spread_of",
    "trains_together",
]


@dataclass(frozen=True)
class Lesson:
    """What one model of a study learns from, in every fold alike.

    Parameters
    ----------
    study : Study
        What was declared.
    inputs : StudyInputs
        Its data.
    model : ModelChoice
        With its layout.
    features : ndarray or FamilyRows
        What it reads of each window.
    column : int
        Number of the dimension, or :data:`physioemo.experiments.study_joint.ALL_COLUMNS`.
    y : ndarray, shape (window,) or (window, dimension)
        True or permuted targets.
    ratings : ndarray, shape (window,), optional
        Ratings beside classes, true or permuted as they are.
    """

    study: Study
    inputs: StudyInputs
    model: ModelChoice
    features: np.ndarray | FamilyRows
    column: int
    y: np.ndarray
    ratings: np.ndarray | None

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it tells apart: of a column, or the widest of all together."""
        inputs = self.inputs
        return inputs.classes if self.column == ALL_COLUMNS else inputs.classes_of(self.column)

    def fit(self, trains: Sequence[np.ndarray], folds: Sequence[int]) -> list[Any]:
        """Return an estimator for each fold, fitted together if they can be.

        Parameters
        ----------
        trains : sequence of ndarray of int
            Training windows of each fold.
        folds : sequence of int
            Their numbers.
        """
        study, model = self.study, self.model
        options = ordered_options(model.name, model.options, study.target)
        estimators = [
            build_estimator(
                model.name, model.preset, seed=study.seed + fold, joint=model.joint, **options
            )
            for fold in folds
        ]
        if trains_together(model) and len(estimators) > 1:
            from physioemo.experiments.estimators_torch import fit_together

            return fit_together(estimators, list(map(self._arguments, trains, folds)))
        for estimator, train, fold in zip(estimators, trains, folds, strict=True):
            # The windows of a fold are put together when it is its turn, and let go after it.
            own = self._arguments(train, fold)
            own = {k: v for k, v in own.items() if k != "classes" or v is not None}
            of, ratings = own.pop("windows", None), own.pop("ratings", None)
            own |= {"ratings": ratings} if getattr(estimator, "reads_ratings", False) else {}
            own |= {} if of is None else places(estimator, of)
            estimator.fit(own.pop("X"), own.pop("y"), **own)
        return estimators

    def _arguments(self, train: np.ndarray, fold: int) -> dict[str, Any]:
        """Return what a fit takes; ``windows`` and ``ratings`` only of estimators that ask."""
        study, groups = self.study, self.inputs.groups.take(train)
        later = later_trials(study.protocol, self.model.options, groups, self.y[train])
        fit = {
            "X": self.features[train],
            "y": self.y[train],
            "groups": names_of(groups, kept_whole(study, groups)),
            "classes": range(len(self.classes)) if self.classes else None,
            "windows": groups,
            "ratings": None if self.ratings is None else self.ratings[train],
            **({} if later is None else {"validation": later}),
        }
        if study.resample != "smote":
            return fit
        return _resampled(fit, study, fold, all_rows=self.model.options.get("keep") == "last")


def prepare_lesson(
    study: Study,
    inputs: StudyInputs,
    model: int,
    column: int,
    y: np.ndarray,
    ratings: np.ndarray | None,
) -> Lesson:
    """Return what a model of a study learns from.

    Parameters
    ----------
    study, inputs, column, y, ratings
        As in :class:`Lesson`.
    model : int
        Number of the model.
    """
    choice = with_layout(study.models[model], study, inputs)
    features = feature_rows(choice, study, inputs)
    return Lesson(study, inputs, choice, features, column, y, ratings)


def trains_together(model: ModelChoice) -> bool:
    """Return whether the models of several folds can be fitted at once."""
    return find_estimator(model.name).class_name == "TokenClassifier"


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
    ratings = None if inputs.ratings is None else inputs.ratings[:, column]
    lesson = prepare_lesson(study, inputs, model, column, y, ratings)
    rated = inputs.rated(column)
    trains = [train[rated[train]] for train, _ in (inputs.folds[fold] for fold in folds)]
    return lesson.fit([trust_parts(study, inputs.groups, t)[0] for t in trains], folds)


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
