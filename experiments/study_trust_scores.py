"""What a study's models promised, beside what came true on the tested windows of each subject."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from physioemo.experiments.study_config import Study
from physioemo.experiments.study_groups import kept_whole
from physioemo.experiments.study_inputs import StudyInputs
from physioemo.experiments.study_trust import wanted_risk

__all__ = ["Promised", "trust_scores", "trust_unit"]

Promised = tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]
"""Of a model: rows of tested windows, what was said, what was promised, and notes of each fold."""


def trust_unit(study: Study, inputs: StudyInputs) -> str:
    """Return for what promises are: a person, a stimulus or a trial."""
    return kept_whole(study, inputs.groups.take(inputs.folds[0][0]))


def trust_scores(
    study: Study,
    target: np.ndarray,
    person: np.ndarray,
    unit: np.ndarray,
    trial: np.ndarray,
    found: Iterable[Promised],
) -> dict[str, Any]:
    """Return of one model and dimension what was promised and what came true.

    Parameters
    ----------
    study : Study
        With ``[trust]``.
    target : ndarray, shape (window,)
        True classes or ratings of all windows.
    person, unit, trial : ndarray of str, shape (window,)
        Of all windows: the subject, what the promise is for (a person, a film or a trial), and the
        trial.
    found : iterable of Promised
        Of all folds; a window that several folds test counts in each.

    Returns
    -------
    dict
        ``coverage``, ``whole_trials`` (all windows of a trial covered), ``size`` (classes in a set,
        or width of an interval from -1 to 1), ``risk``, ``trial_risk`` and ``answered``, each with
        its ``mean`` over subjects and ``subjects``; None where no fold could promise it. Shares of
        windows are means over units. Also ``promised``, ``n_folds``, ``n_with_coverage``,
        ``n_with_risk`` and ``not_possible``.
    """
    parts = list(found)
    rows, said, promises = (np.concatenate([p[k] for p in parts]) for k in range(3))
    notes = [note["trust"] for p in parts for note in p[3] if "trust" in note]
    choice = study.trust
    ratings = target.dtype.kind == "f"
    truth, who, of, trials = target[rows], person[rows], unit[rows], trial[rows]
    scores: dict[str, Any] = {
        "promised": {
            "coverage": None if choice is None else choice.wanted_coverage,
            "cover": "window" if choice is None else choice.cover,
            "risk": wanted_risk(study),
            "certainty": None if choice is None else choice.certainty,
        },
        "n_folds": len(notes),
        "n_with_coverage": sum("quantile" in n for n in notes),
        "n_with_risk": sum("threshold" in n for n in notes),
        "not_possible": sorted({text for n in notes for text in n["not_possible"]}),
    }
    ends = promises if ratings else promises[:, :-1]
    known = np.isfinite(ends).all(axis=1)
    if ratings:
        holds = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
        size = ends[:, 1] - ends[:, 0]
    else:
        holds = np.take_along_axis(ends, truth[:, None].astype(int), axis=1)[:, 0] == 1
        size = ends.sum(axis=1)
    scores["coverage"] = _of_subjects(holds, known, who, of, whole=False)
    scores["whole_trials"] = _of_subjects(holds, known, who, trials, whole=True)
    scores["size"] = _of_subjects(size, known, who, of, whole=False)
    if not ratings:
        ruled = np.isfinite(promises[:, -1])
        speaks = ruled & (promises[:, -1] == 1)
        wrong = said.argmax(axis=1) != truth
        scores["answered"] = _of_subjects(speaks, ruled, who, of, whole=False)
        scores["risk"] = _of_subjects(wrong, speaks, who, of, whole=False)
        scores["trial_risk"] = _risk_of_trials(said, truth, speaks, who, trials)
    return scores


def _of_subjects(
    values: np.ndarray, counted: np.ndarray, who: np.ndarray, unit: np.ndarray, *, whole: bool
) -> dict[str, Any] | None:
    """Return the mean over each subject's units of their windows' mean, or of whether all hold."""
    subjects = {}
    for name in sorted(set(who.tolist())):
        mine = counted & (who == name)
        _, code = np.unique(unit[mine].astype(str), return_inverse=True)
        if not len(code):
            continue
        share = np.bincount(code, values[mine].astype(float)) / np.bincount(code)
        subjects[name] = float((share == 1.0).mean() if whole else share.mean())
    if not subjects:
        return None
    return {"mean": float(np.mean(list(subjects.values()))), "subjects": subjects}


def _risk_of_trials(
    said: np.ndarray, truth: np.ndarray, speaks: np.ndarray, who: np.ndarray, trials: np.ndarray
) -> dict[str, Any] | None:
    """Return the share of trials that the mean of their answered windows says wrongly."""
    subjects = {}
    for name in sorted(set(who.tolist())):
        mine = np.flatnonzero(speaks & (who == name))
        _, first, code = np.unique(trials[mine].astype(str), return_index=True, return_inverse=True)
        if not len(mine):
            continue
        sums = np.stack([np.bincount(code, c) for c in said[mine].T], axis=1)
        subjects[name] = float((sums.argmax(axis=1) != truth[mine][first]).mean())
    if not subjects:
        return None
    return {"mean": float(np.mean(list(subjects.values()))), "subjects": subjects}
