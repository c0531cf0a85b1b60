"""Whether one model is better than another on the same subjects or folds, each with its n."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.statistics import TestResult

__all__ = [
    "compare_over_folds",
    "compare_over_subjects",
    "corrected_resampled_t",
    "holm",
    "wilcoxon_over_subjects",
]

# Sums of the same numbers in another order: closer differences are none.
_ROUNDING_DIGITS = 12


def corrected_resampled_t(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    n_train: Sequence[int] | np.ndarray | int,
    n_test: Sequence[int] | np.ndarray | int,
) -> TestResult:
    """Compare two models over the same folds of one cross-validation, two-sided.

    Training sets of folds overlap, so the plain t-test finds differences where there are none; the
    variance is multiplied by 1/J + n_test/n_train. Nadeau and Bengio (2003), Inference for the
    generalization error, Machine Learning 52. For folds of one data set; where each subject has
    its own folds use :func:`wilcoxon_over_subjects`.

    Parameters
    ----------
    first, second : sequence of float, shape (fold,)
        Scores of both models, in the same order of folds.
    n_train, n_test : int or sequence of int, shape (fold,)
        Size of the sets, in the unit that is independent (trials, or subjects).

    Raises
    ------
    CallError
        If there are fewer than two folds, the lengths differ, or a score is not a number.
    """
    from scipy.stats import t

    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2 or not np.isfinite(a - b).all():
        raise CallError(
            f"found scores of shapes {a.shape} and {b.shape}, expected one number for each of the "
            "same two or more folds; leave out folds that one model lacks"
        )
    train, test = float(np.mean(n_train)), float(np.mean(n_test))
    if not (train > 0 and test > 0):
        raise CallError(f"found {train:g} training and {test:g} test samples, expected some")
    difference = a - b
    mean = float(difference.mean())
    error = float(np.sqrt((1 / len(a) + test / train) * difference.var(ddof=1)))
    note = f"test/train {test / train:.3g}"
    if not np.round(np.ptp(difference), _ROUNDING_DIGITS):
        # No spread: nothing to test, however large the difference.
        note += ", the same difference in all folds"
        statistic, p = float("nan"), 1.0 if not round(mean, _ROUNDING_DIGITS) else float("nan")
    else:
        statistic = mean / error
        p = float(2 * t.sf(abs(statistic), len(a) - 1))
    return TestResult("corrected resampled t", len(a), "folds", statistic, p, mean, note)


def wilcoxon_over_subjects(first: Mapping[str, float], second: Mapping[str, float]) -> TestResult:
    """Compare two models over the same subjects by Wilcoxon's signed ranks, two-sided.

    Parameters
    ----------
    first, second : mapping of str to float
        Scores by subject. Subjects without a score in either are left out and counted.

    Returns
    -------
    TestResult
        `effect` is the median difference; `n` is the number of pairs, of which the test leaves
        out those without a difference.

    Raises
    ------
    CallError
        If the subjects are not the same, or none has both scores.
    """
    from scipy.stats import wilcoxon

    alone = sorted(set(first) ^ set(second))
    if alone:
        raise CallError(
            f"found the subject {alone[0]!r} in one model only, expected the same subjects; run "
            "both models on the same folds"
        )
    pairs = np.array([(first[s], second[s]) for s in sorted(first)], float).reshape(-1, 2)
    difference = np.subtract(*pairs[np.isfinite(pairs).all(1)].T)
    if not len(difference):
        raise CallError("found no subject with scores of both models, expected at least one")
    # Equal steps of accuracy are ties, not noise of the last bit.
    difference = np.round(difference, _ROUNDING_DIGITS)
    n_zero, n_missing = int((difference == 0).sum()), len(pairs) - len(difference)
    statistic, p = 0.0, 1.0
    if n_zero < len(difference):
        result = wilcoxon(difference[difference != 0])
        statistic, p = float(result.statistic), float(result.pvalue)
    note = f"{n_zero} without a difference, {n_missing} without both scores"
    effect = float(np.median(difference))
    return TestResult(
        "Wilcoxon signed-rank", len(difference), "subjects", statistic, p, effect, note
    )


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for their number; NaN stays NaN and does not count.

    Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6.

    Parameters
    ----------
    p : mapping of str to float
        By comparison.

    Raises
    ------
    CallError
        If a value is not between 0 and 1.
    """
    outside = {k: v for k, v in p.items() if not (np.isnan(v) or 0 <= v <= 1)}
    if outside:
        raise CallError(f"found the p-values {outside}, expected numbers from 0 to 1")
    order = sorted((k for k in p if not np.isnan(p[k])), key=lambda k: p[k])
    adjusted, largest = dict.fromkeys(p, float("nan")), 0.0
    for i, name in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - i) * p[name]))
        adjusted[name] = float(largest)
    return adjusted


def compare_over_subjects(
    scores: Mapping[str, Mapping[str, float]], reference: str
) -> dict[str, tuple[TestResult, float]]:
    """Compare each model with one of them over subjects.

    Parameters
    ----------
    scores : mapping of str to mapping of str to float
        By model, then by subject.
    reference : str
        The model that the others are compared with.

    Returns
    -------
    dict
        For each other model :func:`wilcoxon_over_subjects` of it and the reference, and the
        p-value adjusted by :func:`holm` for the number of models.

    Raises
    ------
    CallError
        If there is no such model, or the subjects differ.
    """
    if reference not in scores:
        raise CallError(f"found the models {', '.join(scores)}, expected {reference!r} too")
    tests = {
        name: wilcoxon_over_subjects(values, scores[reference])
        for name, values in scores.items()
        if name != reference
    }
    adjusted = holm({name: test.p for name, test in tests.items()})
    return {name: (test, adjusted[name]) for name, test in tests.items()}


def compare_over_folds(
    scores: Mapping[str, Sequence[float]],
    reference: str,
    n_train: np.ndarray,
    n_test: np.ndarray,
) -> dict[str, tuple[TestResult, float]]:
    """Compare each model with one of them over the folds of one data set.

    Parameters
    ----------
    scores : mapping of str to sequence of float, shape (fold,)
        By model; NaN where a fold has no score, which leaves it out of both and is counted.
    reference : str
        The model that the others are compared with.
    n_train, n_test : ndarray, shape (fold,)
        As for :func:`corrected_resampled_t`.

    Returns
    -------
    dict
        For each other model :func:`corrected_resampled_t` of it and the reference, and the p-value
        adjusted by :func:`holm`; none where fewer than two folds have both scores.
    """
    tests = {}
    for name, values in scores.items():
        if name == reference:
            continue
        first, second = np.asarray(values, float), np.asarray(scores[reference], float)
        there = np.isfinite(first) & np.isfinite(second)
        if there.sum() < 2:
            continue
        test = corrected_resampled_t(first[there], second[there], n_train[there], n_test[there])
        missing = f", {int((~there).sum())} folds without both scores" if not there.all() else ""
        tests[name] = replace(test, note=test.note + missing)
    adjusted = holm({name: test.p for name, test in tests.items()})
    return {name: (test, adjusted[name]) for name, test in tests.items()}
