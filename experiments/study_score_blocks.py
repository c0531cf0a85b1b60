"""What a report shows of scores: their means beside baselines, comparisons, and every subject."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from physioemo.experiments.report.parts import (
    NOTHING,
    Block,
    Note,
    Table,
    number_text,
    plural,
    shorten,
)
from physioemo.experiments.report.scores import p_text
from physioemo.experiments.statistics import FEWEST_PERMUTATIONS, least_p
from physioemo.experiments.study_order import ORDERED_SCORES
from physioemo.experiments.study_order_blocks import order_blocks

__all__ = [
    "BASELINES",
    "interval_text",
    "permuted_scores",
    "score_blocks",
    "score_title",
    "shown_label",
    "subject_table",
]

_FEW_SUBJECTS = 15
_METHODS = {
    "t": "Student's t over subjects",
    "bca": "bootstrap of subjects, BCa",
    "percentile": "bootstrap of subjects",
}
BASELINES = ("majority", "mean")
_TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "mcc": "MCC",
    "auc": "AUC",
    "ece": "calibration error",
    "brier": "Brier",
    "ccc": "concordance",
    "rmse": "RMSE, of −1 to 1",
    "spearman": "Spearman",
    "quadratic_weighted_kappa": "weighted kappa",
    "rank_error": "rank error",
}
_LESS_IS_BETTER = ("ece", "brier", "rmse", "rank_error")
_TOLERANCE = 0.02


def shown_label(results: dict[str, Any], label: str) -> str:
    """Return what a model is called, and whether it is for offline use only."""
    return f"{label} (offline only)" if label in results.get("offline", {}) else label


def permuted_scores(scores: dict[str, Any]) -> list[float]:
    """Return the scores of trials that permuted labels reached."""
    return [p["trial"] for p in scores["permuted"] if number_text(p["trial"]) != NOTHING]


def interval_text(results: dict[str, Any]) -> str:
    """Return how the intervals over subjects were made."""
    name = results["headline"]
    made = {
        scores["trial"][name].get("method", "bca")
        for content in results["dimensions"].values()
        for scores in content["models"].values()
        if name in scores["trial"] and scores["trial"][name]["n"] > 1
    }
    return " or ".join(_METHODS[m] for m in sorted(made)) or "none"


def score_blocks(results: dict[str, Any], stamp: str) -> Iterator[Block]:
    """Yield the scores of every model beside its baselines, and what else must be known of them.

    Parameters
    ----------
    results : dict
        From :func:`physioemo.experiments.study_run.run_study`.
    stamp : str
        What stands over every table; empty for none.
    """
    yield _headline_table(results, stamp)
    if results["study"]["target"]["kind"] == "ordinal":
        yield from order_blocks(results, stamp)
    for label, why in results.get("offline", {}).items():
        yield Note(f"{label}: offline only, {why}; no live session can say this.", "warning")
    yield from _warnings(results)
    yield from _other_scores(results, stamp)
    for dimension, content in results["dimensions"].items():
        if content["comparisons"]["models"]:
            yield _comparison_table(dimension, content["comparisons"], stamp)
        if content["comparisons"].get("over_folds"):
            yield _fold_table(dimension, content["comparisons"], stamp)


def _headline_table(results: dict[str, Any], stamp: str) -> Table:
    name = results["headline"]
    rows = [
        (dimension, shown_label(results, label), *_score_cells(scores, name))
        for dimension, content in results["dimensions"].items()
        for label, scores in content["models"].items()
    ]
    columns = (
        "dimension",
        "model",
        "trials, mean",
        "SD",
        "95 % interval",
        "windows, mean",
        "permuted, mean (range)",
        "p (permutations)",
        "subjects",
    )
    caption = (
        f"{score_title(name).capitalize()} over subjects; {_chance_text(results)}, 1 is best; "
        f"interval: "
        f"{interval_text(results)}"
    )
    return Table(caption, columns, tuple(rows), stamp=stamp)


def _chance_of(results: dict[str, Any], dimension: str) -> float:
    """Return the balanced accuracy by chance in one dimension, whose classes may be its own."""
    return 1 / len(results["dimensions"][dimension].get("classes", results["classes"]))


def _chance_text(results: dict[str, Any]) -> str:
    if results["headline"] != "balanced_accuracy":
        return "chance is 0"
    dimensions: dict[str, list[str]] = {}
    for name in results["dimensions"]:
        dimensions.setdefault(number_text(_chance_of(results, name), 3), []).append(name)
    if len(dimensions) == 1:
        return f"chance is {next(iter(dimensions))}"
    return "chance is " + " and ".join(f"{k} of {', '.join(v)}" for k, v in dimensions.items())


def _fewest_subjects(results: dict[str, Any]) -> int:
    """Return of how few subjects a mean in the first table is."""
    name = results["headline"]
    counts = [
        scores["trial"][name]["n"]
        for content in results["dimensions"].values()
        for scores in content["models"].values()
        if name in scores["trial"]
    ]
    return min(counts, default=results["n_subjects"])


def _score_cells(scores: dict[str, Any], name: str) -> tuple[str, ...]:
    trial, window = scores["trial"].get(name), scores["window"].get(name)
    if trial is None or window is None:
        return (NOTHING,) * 7
    permuted = permuted_scores(scores)
    test = scores["permutation_tests"].get("trial", {})
    return (
        number_text(trial["mean"], 3),
        number_text(trial["sd"], 3),
        _range(trial["low"], trial["high"]),
        number_text(window["mean"], 3),
        f"{number_text(float(np.mean(permuted)), 3)} ({_range(min(permuted), max(permuted))})"
        if permuted
        else NOTHING,
        f"{p_text(test['p'])} ({test['n']})" if test else NOTHING,
        str(trial["n"]),
    )


def _range(low: Any, high: Any) -> str:
    ends = number_text(low, 3), number_text(high, 3)
    return NOTHING if NOTHING in ends else f"{ends[0]} to {ends[1]}"


def score_title(name: str) -> str:
    """Return what a score is called in a sentence."""
    return _TITLES.get(name, name.replace("_", " "))


def _warnings(results: dict[str, Any]) -> Iterator[Note]:
    few = _few_permutations(results)
    if few:
        yield Note(few, "warning")
    n = _fewest_subjects(results)
    if results["n_subjects"] == 1:
        yield Note("One subject: nothing is known of others, and there is no interval.", "warning")
    elif n < _FEW_SUBJECTS:
        yield Note(
            f"With {plural(n, 'subject')} an interval is easily too narrow. In simulations with 5 "
            "to 15 subjects Student's t held the true mean in 94 to 95 % of cases where scores lie "
            "about the middle, but in 82 to 93 % where they lie near 1 or few subjects score high "
            "(the bootstrap in 85 to 93 % and in 74 to 92 %).",
            "warning",
        )
    low = _low_baselines(results)
    if low:
        yield Note(
            f"{' and '.join(low)}: the majority class scores below chance where classes are nearly "
            "even, since the larger one of the training trials is often the smaller one of those "
            "tested."
        )


def _few_permutations(results: dict[str, Any]) -> str:
    """Return which models were permuted too rarely for a small p; empty if none was."""
    counts = {
        label: len(scores["permuted"])
        for content in results["dimensions"].values()
        for label, scores in content["models"].items()
    }
    few = [
        f"{shorten(label)} ({n}, p at least {p_text(least_p(n))})"
        for label, n in counts.items()
        if 0 < n < FEWEST_PERMUTATIONS
    ]
    if not few:
        return ""
    names = ", ".join(few)
    return f"Permutations too few for a p of 0.05, which takes {FEWEST_PERMUTATIONS}: {names}."


def _low_baselines(results: dict[str, Any]) -> list[str]:
    """Return the dimensions in which the majority class scores below chance."""
    name = results["headline"]
    labels = [m["label"] for m in results["study"]["models"] if m.get("name") in BASELINES]
    if name != "balanced_accuracy" or not labels:
        return []
    means = {
        dimension: content["models"][labels[0]]["trial"].get(name, {}).get("mean")
        for dimension, content in results["dimensions"].items()
    }
    return [
        d
        for d, mean in means.items()
        if mean is not None and mean < _chance_of(results, d) - _TOLERANCE
    ]


def _other_scores(results: dict[str, Any], stamp: str) -> Iterator[Table]:
    """Yield all other scores, if there are any."""
    models = [
        (dimension, label, scores["trial"])
        for dimension, content in results["dimensions"].items()
        for label, scores in content["models"].items()
    ]
    shown = {results["headline"]}
    if results["study"]["target"]["kind"] == "ordinal":
        shown |= set(ORDERED_SCORES)  # in a table of their own
    names = list(dict.fromkeys(n for _, _, s in models for n in s if n not in shown))
    if not names:
        return
    rows = tuple(
        (dimension, label, *(_mean_and_sd(scores.get(name)) for name in names))
        for dimension, label, scores in models
    )
    less = [score_title(n) for n in names if n in _LESS_IS_BETTER]
    better = f"; of {' and '.join(less)} less is better" if less else ""
    yield Table(
        f"All other scores of trials, mean ± SD over {plural(results['n_subjects'], 'subject')} "
        f"(in brackets: of how many it is, where of fewer){better}",
        ("dimension", "model", *map(score_title, names)),
        tuple(_with_fewer(row, names, results["n_subjects"], models[k][2])
              for k, row in enumerate(rows)),
        folded=True,
        stamp=stamp,
    )  # fmt: skip


def _mean_and_sd(score: dict[str, Any] | None) -> str:
    if score is None:
        return NOTHING
    sd = number_text(score["sd"])
    return number_text(score["mean"]) + (f" ± {sd}" if sd != NOTHING else "")


def _with_fewer(
    row: tuple[str, ...], names: list[str], n_subjects: int, scores: dict[str, Any]
) -> tuple[str, ...]:
    """Return a row that says of how many subjects a score is, where some have none."""
    counts = [scores[n]["n"] if n in scores else n_subjects for n in names]
    cells = [
        cell if n == n_subjects else f"{cell} ({n})"
        for cell, n in zip(row[2:], counts, strict=True)
    ]
    return (*row[:2], *cells)


def _comparison_table(dimension: str, found: dict[str, Any], stamp: str) -> Table:
    rows = tuple(
        (
            label,
            number_text(t["effect"], 3),
            p_text(t["p"]),
            p_text(t["p_holm"]),
            str(t["n"]),
        )
        for label, t in found["models"].items()
    )
    n = max(t["n"] for t in found["models"].values())
    least = f"; of {plural(n, 'subject')} p is at least {p_text(min(1.0, 2.0 ** (1 - n)))}"
    return Table(
        f"{dimension}: difference from {found['reference']} (Wilcoxon over subjects, corrected by "
        f"Holm{least})",
        ("model", "median difference", "p", "p corrected", "subjects"),
        rows,
        folded=True,
        stamp=stamp,
    )


def _fold_table(dimension: str, found: dict[str, Any], stamp: str) -> Table:
    rows = tuple(
        (
            label,
            number_text(t["effect"], 3),
            number_text(t["statistic"], 3),
            str(t["n"] - 1),
            p_text(t["p"]),
            p_text(t["p_holm"]),
            str(t["n"]),
            t["note"],
        )
        for label, t in found["over_folds"].items()
    )
    return Table(
        f"{dimension}: difference from {found['reference']} over folds (corrected resampled "
        "t-test, Nadeau and Bengio 2003; corrected for the number of models by Holm)",
        (
            "model",
            "mean difference",
            "t",
            "degrees of freedom",
            "p",
            "p corrected",
            "folds",
            "sizes",
        ),
        rows,
        folded=True,
        stamp=stamp,
    )


def subject_table(content: dict[str, Any], results: dict[str, Any], stamp: str) -> Table:
    """Return the scores of every subject in one dimension, beside chance.

    Parameters
    ----------
    content : dict
        Of the dimension.
    results : dict
        From :func:`physioemo.experiments.study_run.run_study`.
    stamp : str
        What stands over the table.
    """
    name = results["headline"]
    rows = []
    for label, scores in content["models"].items():
        for subject, s in scores["subjects"].items():
            chance = scores.get("chance", {}).get(subject, {})
            beside = (
                number_text(s["trial"].get("accuracy"), 3),
                number_text(chance.get("majority"), 3),
                number_text(chance.get("threshold"), 3),
                p_text(chance.get("p")),
            )
            rows.append(
                (
                    label,
                    subject,
                    number_text(s["trial"][name], 3),
                    number_text(s["window"][name], 3),
                    *(beside if results["classes"] else ()),
                    str(s["trial"]["n"]),
                    str(s["window"]["n"]),
                )
            )
    accuracy = ("accuracy of trials", "largest class", "threshold (5 %)", "p (binomial)")
    columns = (
        "model",
        "subject",
        f"{score_title(name)}, trials",
        f"{score_title(name)}, windows",
        *(accuracy if results["classes"] else ()),
        "n trials",
        "n windows",
    )
    return Table("Every subject", columns, tuple(rows), folded=True, stamp=stamp)
