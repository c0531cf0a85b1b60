"""What each family of features gives to a fused model: alone, and when it is missing."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.estimators import find_estimator
from physioemo.experiments.report.parts import Block, Note, Table, number_text, plural
from physioemo.experiments.study_config import Study
from physioemo.experiments.study_inputs import FamilyRows, StudyInputs, feature_rows, with_layout
from physioemo.experiments.study_jobs import fit_fold, places
from physioemo.experiments.trial_scores import subject_scores

__all__ = ["modality_blocks", "n_modality_fits", "study_modalities"]

_FOLDS = 10
_LEVELS = ("trial", "window")
_TITLES = {"balanced_accuracy": "Balanced accuracy", "ccc": "Concordance"}


def study_modalities(study: Study, inputs: StudyInputs) -> dict[str, Any]:
    """Return the scores of one fused model with all families, each alone, and each missing.

    The model is fitted with all of them, to ten folds (or as many as there are) spread over all;
    what is left out is missing in the tested windows only.

    Raises
    ------
    CallError
        If the model does not read several families, or only one.
    """
    number = [m.label for m in study.models].index(study.modalities)
    choice = with_layout(study.models[number], study, inputs)
    if find_estimator(choice.name).reads != "modalities":
        raise CallError(
            f"found modalities = {study.modalities!r}, which reads no families side by side, "
            "expected a fused model such as 'fused-transformer'; leave modalities out"
        )
    families = [str(row[0]) for row in choice.options["layout"]]
    if len(families) < 2:
        raise CallError(
            f"found only the family {families[0]!r} in {study.modalities!r}, expected two or more "
            "to compare; name them in its families"
        )
    features = feature_rows(choice, study, inputs)
    folds = _spread_folds(len(inputs.folds))
    return {
        dimension: {
            "model": choice.label,
            "n_folds": len(folds),
            "families": families,
            "score": _score_name(study),
            "scores": _scores(study, inputs, features, number, column, folds, families),
        }
        for column, dimension in enumerate(inputs.columns)
    }


def n_modality_fits(n_columns: int, n_folds: int) -> int:
    """Return how many models are fitted to compare families.

    Parameters
    ----------
    n_columns, n_folds : int
        Dimensions, and folds of the study.
    """
    return n_columns * len(_spread_folds(n_folds))


def _score_name(study: Study) -> str:
    return "ccc" if study.target.kind == "continuous" else "balanced_accuracy"


def _spread_folds(n_folds: int) -> np.ndarray:
    return np.unique(np.linspace(0, n_folds - 1, _FOLDS).astype(int))


def _subsets(families: list[str]) -> dict[str, list[str]]:
    """Return which families are kept, by what the row is called."""
    kept = {"all": families, **{f"{f} alone": [f] for f in families}}
    if len(families) > 2:
        kept |= {f"without {f}": [g for g in families if g != f] for f in families}
    return kept


def _scores(
    study: Study,
    inputs: StudyInputs,
    features: np.ndarray | FamilyRows,
    model: int,
    column: int,
    folds: np.ndarray,
    families: list[str],
) -> dict[str, dict[str, float]]:
    subsets = _subsets(families)
    shape = (len(features), max(1, len(inputs.classes_of(column))))
    total = {name: np.zeros(shape) for name in subsets}
    count = np.zeros(len(features))
    y = inputs.targets[:, column]
    for fold in folds:
        estimator = fit_fold(study, inputs, model, column, int(fold), y)
        test = inputs.folds[fold][1]
        test = test[inputs.rated(column)[test]]
        if not len(test):
            continue
        count[test] += 1
        where = places(estimator, inputs.groups.take(test))
        for name, kept in subsets.items():
            if inputs.classes:
                said = estimator.predict_proba_from(features[test], kept, **where)
            else:
                said = estimator.predict_from(features[test], kept)[:, None]
            total[name][test] += said
    tested = np.flatnonzero(count)
    groups = inputs.groups.take(tested)
    found = {}
    for name, sums in total.items():
        said = sums[tested] / count[tested, None]
        by_subject = subject_scores(
            y[tested],
            said if inputs.classes else said[:, 0],
            groups.trial_id,
            groups.person,
            ordered=study.target.kind == "ordinal",
        )
        found[name] = {
            level: float(np.nanmean([s[level][_score_name(study)] for s in by_subject.values()]))
            for level in _LEVELS
        }
    return found


def modality_blocks(found: dict[str, Any], stamp: str) -> Iterator[Block]:
    """Yield what a report shows of one dimension."""
    rows = tuple(
        (name, number_text(score["trial"], 3), number_text(score["window"], 3))
        for name, score in found["scores"].items()
    )
    yield Table(
        f"{_TITLES[found.get('score', 'balanced_accuracy')]}, mean over subjects",
        ("what is there", "trials", "windows"),
        rows,
        stamp=stamp,
    )
    yield Note(
        f"Fitted with all families ({plural(found['n_folds'], 'fold')}); what is left out is "
        "missing in the tested windows alone, so this says what the model uses, not what a model "
        "of that family could reach. No interval is given: do not rank families by it."
    )
