"""What each family of features gives to a fused model: alone, and when it is missing."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.estimators import find_estimator
from physioemo.experiments.report.parts import Block, Note, Table, number_text, plural
from physioemo.experiments.study_config import Study
from physioemo.experiments.study_features import feature_rows, with_layout
from physioemo.experiments.study_fits import fit_fold, places
from physioemo.experiments.study_inputs import StudyInputs
from physioemo.experiments.study_pieces import compute_piece, is_there, raise_error, read_piece
from physioemo.experiments.trial_scores import subject_scores

__all__ = [
    "FamilyPart",
    "modality_blocks",
    "plan_modalities",
    "run_family_part",
    "study_modalities",
]

_FOLDS = 10
_LEVELS = ("trial", "window")
_TITLES = {"balanced_accuracy": "Balanced accuracy", "ccc": "Concordance"}


@dataclass(frozen=True)
class FamilyPart:
    """What the comparison of families needs of one dimension and fold.

    Parameters
    ----------
    column, fold : int
        Numbers of the dimension and of the fold.
    """

    column: int
    fold: int

    @property
    def name(self) -> str:
        """A name fit for a file."""
        return f"families-{self.column}-fold{self.fold:04d}"

    @property
    def n_fits(self) -> int:
        """How many models it fits."""
        return 1


def plan_modalities(study: Study, inputs: StudyInputs) -> list[FamilyPart]:
    """Return the parts of the comparison that a study names; none if it names none.

    Raises
    ------
    CallError
        If the model does not read several families, or only one.
    """
    if not study.modalities:
        return []
    _families_of(study, inputs)
    folds = _spread_folds(len(inputs.folds)).tolist()
    return [FamilyPart(column, k) for column in range(len(inputs.columns)) for k in folds]


def run_family_part(part: FamilyPart, study: Study, folder: Path) -> dict[str, Any]:
    """Compute one part of the comparison, unless it is there; tell its name and what went wrong."""
    if is_there(part.name, folder):
        return {"job": part.name, "reused": True, "error": ""}
    work = partial(_family_part, part, study)
    return compute_piece(part.name, study, folder, _number(study), work)


def study_modalities(study: Study, inputs: StudyInputs, folder: Path) -> dict[str, Any]:
    """Return the scores of one fused model with all families, each alone, and each missing.

    The model is fitted with all of them, to ten folds (or as many as there are) spread over all;
    what is left out is missing in the tested windows only.

    Parameters
    ----------
    study : Study
        What was declared.
    inputs : StudyInputs
        Its data.
    folder : Path
        Where the parts lie that :func:`run_family_part` wrote; one that is missing is computed.

    Raises
    ------
    CallError
        If the model does not read several families, or only one.
    """
    families = _families_of(study, inputs)
    parts = plan_modalities(study, inputs)
    for part in parts:
        raise_error([run_family_part(part, study, folder)])
    return {
        dimension: {
            "model": study.modalities,
            "n_folds": sum(part.column == column for part in parts),
            "families": families,
            "score": _score_name(study),
            "scores": _scores(
                study,
                inputs,
                column,
                list(_subsets(families)),
                [read_piece(part.name, folder) for part in parts if part.column == column],
            ),
        }
        for column, dimension in enumerate(inputs.columns)
    }


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


def _number(study: Study) -> int:
    return [m.label for m in study.models].index(study.modalities)


def _families_of(study: Study, inputs: StudyInputs) -> list[str]:
    """Return the families that the model reads side by side."""
    choice = with_layout(study.models[_number(study)], study, inputs)
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
    return families


def _family_part(part: FamilyPart, study: Study, inputs: StudyInputs) -> dict[str, np.ndarray]:
    """Return the tested windows, and what is said of them with each subset of the families."""
    number = _number(study)
    features = feature_rows(with_layout(study.models[number], study, inputs), study, inputs)
    subsets = _subsets(_families_of(study, inputs))
    y = inputs.targets[:, part.column]
    estimator = fit_fold(study, inputs, number, part.column, part.fold, y)
    test = inputs.folds[part.fold][1]
    test = test[inputs.rated(part.column)[test]]
    said = np.zeros((len(subsets), len(test), max(1, len(inputs.classes_of(part.column)))))
    if len(test):
        where = places(estimator, inputs.groups.take(test))
        for k, kept in enumerate(subsets.values()):
            if inputs.classes:
                said[k] = estimator.predict_proba_from(features[test], kept, **where)
            else:
                said[k] = estimator.predict_from(features[test], kept)[:, None]
    return {"rows": test, "said": said}


def _scores(
    study: Study,
    inputs: StudyInputs,
    column: int,
    names: list[str],
    parts: list[dict[str, np.ndarray]],
) -> dict[str, dict[str, float]]:
    n_windows = len(inputs.groups)
    shape = (n_windows, max(1, len(inputs.classes_of(column))))
    total = {name: np.zeros(shape) for name in names}
    count = np.zeros(n_windows)
    y = inputs.targets[:, column]
    for part in parts:
        count[part["rows"]] += 1
        for k, name in enumerate(names):
            total[name][part["rows"]] += part["said"][k]
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
