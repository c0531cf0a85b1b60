"""What a report shows of ordered classes: three scores, and which models knew of the order."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from physioemo.experiments.report.parts import NOTHING, Block, Note, Table, number_text
from physioemo.experiments.report.scores import p_text
from physioemo.experiments.study_order import ORDERED_SCORES, UNORDERED

__all__ = ["order_blocks"]

_TITLES = {
    "quadratic_weighted_kappa": "kappa",
    "rank_error": "rank error",
    "balanced_accuracy": "balanced accuracy",
}


def order_blocks(results: dict[str, Any], stamp: str) -> Iterator[Block]:
    """Yield the scores of ordered classes of every model, beside permuted labels.

    Parameters
    ----------
    results : dict
        From :func:`physioemo.experiments.study_run.run_study`.
    stamp : str
        What stands over the table; empty for none.
    """
    rows, unordered = [], set()
    for dimension, content in results["dimensions"].items():
        for label, scores in content["models"].items():
            cells = [c for name in ORDERED_SCORES for c in _cells(scores, name)]
            rows.append((dimension, label, scores["order"] or NOTHING, *cells))
            if scores["order"] == UNORDERED:
                unordered.add(label)
    columns = [c for name in ORDERED_SCORES for c in (_TITLES[name], "permuted", "p")]
    yield Table(
        "Ordered classes: scores of trials, mean over subjects",
        ("dimension", "model", "order", *columns),
        tuple(rows),
        stamp=stamp,
    )
    yield Note(
        "The class said is the median of the probabilities. Kappa is weighted by the squared "
        "distance in ranks: 0 is chance, 1 is always right. The rank error is the mean distance of "
        "the class said; less is better."
    )
    if unordered:
        yield Note(
            f"{', '.join(sorted(unordered))}: fitted to classes without an order, since the model "
            "cannot know of one or was told not to.",
            "warning",
        )


def _cells(scores: dict[str, Any], name: str) -> tuple[str, str, str]:
    """Return a score, its mean with permuted labels, and the probability of one as good."""
    found = scores["trial"].get(name)
    if found is None:
        return NOTHING, NOTHING, NOTHING
    permuted = [p["scores"][name]["trial"] for p in scores["permuted"]]
    test = scores["ordered_tests"].get(name, {}).get("trial")
    return (
        number_text(found["mean"], 3),
        number_text(float(np.mean(permuted)), 3) if permuted else NOTHING,
        p_text(test["p"]) if test else NOTHING,
    )
