"""Scores of every fold of a study, and models compared over them.

Folds of one data set share most of their training windows, so the t-test is the corrected resampled
one. Where each subject has folds of its own there is no one set of folds, and subjects are compared
(:mod:`physioemo.experiments.comparison`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from physioemo.experiments.comparison import compare_over_folds
from physioemo.experiments.folds import name_codes
from physioemo.experiments.protocols import find_protocol
from physioemo.experiments.study_config import Study
from physioemo.experiments.study_inputs import StudyInputs
from physioemo.experiments.trial_scores import window_and_trial_scores

__all__ = ["fold_comparisons", "fold_scores"]

_OF_ONE_SET = (
    "trial-grouped-k-fold",
    "session-held-out",
    "leave-one-subject-out",
    "leave-n-subjects-out",
    "leave-stimulus-out",
)
"""Protocols whose folds each train on nearly all the others test, in no order."""


def fold_scores(
    study: Study, inputs: StudyInputs, column: int, predicted: np.ndarray, name: str
) -> list[float]:
    """Return the score of the trials that each fold tests, NaN where it has none.

    Parameters
    ----------
    study, inputs
        What was declared, and its data.
    column : int
        Which dimension.
    predicted : ndarray, shape (window, class)
        With the true labels.
    name : str
        Which score.

    Returns
    -------
    list of float
        None at all where the folds are not those of one data set.
    """
    if not _of_one_set(study, inputs):
        return []
    y, rated = inputs.targets[:, column], inputs.rated(column)
    said = predicted[:, 0] if y.dtype.kind == "f" else predicted
    trial, found = inputs.groups.trial_id, []
    for _, test in inputs.folds:
        rows = test[rated[test]]
        if not len(rows):
            found.append(float("nan"))
            continue
        ordered = study.target.kind == "ordinal"
        scores = window_and_trial_scores(y[rows], said[rows], trial[rows], ordered=ordered)
        found.append(float(scores["trial"][name]))
    return found


def fold_comparisons(
    study: Study,
    inputs: StudyInputs,
    column: int,
    scores: Mapping[str, list[float]],
    reference: str,
) -> dict[str, dict[str, Any]]:
    """Return each model against the reference over folds; nothing where that cannot be said.

    Parameters
    ----------
    study, inputs, column
        As for :func:`fold_scores`.
    scores : mapping of str to list of float
        By model, from :func:`fold_scores`.
    reference : str
        The model that the others are compared with.
    """
    if not scores.get(reference):
        return {}
    unit = "subject" if "subject" in find_protocol(study.protocol).disjoint else "trial"
    names = inputs.groups.person if unit == "subject" else inputs.groups.trial_id
    code, rated = name_codes(names)[1], inputs.rated(column)
    sizes = [
        [len(np.unique(code[side[rated[side]]])) for side in (train, test)]
        for train, test in inputs.folds
    ]
    n_train, n_test = np.array(sizes, float).T
    return {
        label: {**test.to_dict(), "note": f"{test.note}, in {unit}s", "p_holm": adjusted}
        for label, (test, adjusted) in compare_over_folds(
            scores, reference, n_train, n_test
        ).items()
    }


def _of_one_set(study: Study, inputs: StudyInputs) -> bool:
    if study.protocol not in _OF_ONE_SET:
        return False
    within = find_protocol(study.protocol).within_subject
    if not study.protocol_options.get("within_subject", within):
        return True
    return len(set(inputs.groups.person.tolist())) == 1
