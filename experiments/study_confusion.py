"""Confusion matrices subject by subject: counts for the report and as a table on disk.

A matrix that is pooled over subjects hides one who is always said to be of one class.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.experiments.report.parts import Block, Figure, Table, shorten
from physioemo.experiments.study_figures import subject_confusion_figure

__all__ = ["CONFUSION", "classes_of", "confusion_blocks", "subject_confusions", "write_confusion"]

CONFUSION = "confusion.csv"
_LEVELS = ("trial", "window")


def subject_confusions(scores: dict[str, Any], level: str = "trial") -> dict[str, np.ndarray]:
    """Return the confusion matrix of each subject, true classes by rows.

    Parameters
    ----------
    scores : dict
        Of one model in one dimension of ``results.json``.
    level : {"trial", "window"}
        What is counted.
    """
    return {s: np.array(v[level]["confusion"], int) for s, v in scores["subjects"].items()}


def write_confusion(results: dict[str, Any], folder: str | Path) -> Path | None:
    """Write every count of every subject into ``confusion.csv``.

    Parameters
    ----------
    results : dict
        From :func:`physioemo.experiments.study_run.run_study`.
    folder : str or Path
        The study's folder.

    Returns
    -------
    Path or None
        The table; None, and no file, for ratings.
    """
    if not results["classes"]:
        return None
    path = Path(folder) / CONFUSION
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("dimension", "model", "subject", "level", "true", "said", "n"))
        for dimension, content in results["dimensions"].items():
            classes = classes_of(results, content)
            for label, scores in content["models"].items():
                for level in _LEVELS:
                    for subject, counts in subject_confusions(scores, level).items():
                        where = (dimension, label, subject, level)
                        table.writerows(
                            (*where, classes[i], classes[j], int(n))
                            for (i, j), n in np.ndenumerate(counts)
                        )
    return path


def classes_of(results: dict[str, Any], content: dict[str, Any]) -> list[str]:
    """Return the names of the classes of one dimension; none for ratings.

    Parameters
    ----------
    results : dict
        From :func:`physioemo.experiments.study_run.run_study`.
    content : dict
        One of its ``dimensions``.
    """
    return list(content.get("classes", results["classes"]))


def confusion_blocks(
    content: dict[str, Any], headline: str, classes: list[str], stamp: str
) -> Iterator[Block]:
    """Yield the matrices of the best model by subject, and all counts as a table.

    Parameters
    ----------
    content : dict
        One dimension of ``results.json``.
    headline : str
        Score by which a model is the best.
    classes : list of str
        Names of the classes.
    stamp : str
        What stands over every figure; empty for none.
    """
    models = content["models"]
    scored = {k: v["trial"][headline]["mean"] for k, v in models.items() if headline in v["trial"]}
    if scored:
        best = max(scored, key=lambda k: scored[k])
        yield Figure(
            subject_confusion_figure(subject_confusions(models[best]), classes, stamp=stamp),
            f"Trials of each subject said by {shorten(best)}, the best of "
            f"{len(models)} models here: true classes by rows, said by columns, counts of trials.",
            f"Confusion matrix of every subject, {best}",
            stamp=stamp,
        )
    rows = tuple(
        (shorten(label), subject, classes[i], *(str(n) for n in row), str(int(row.sum())))
        for label, scores in models.items()
        for subject, counts in subject_confusions(scores).items()
        for i, row in enumerate(counts)
    )
    yield Table(
        "Confusion of every subject: trials of each true class by the class said",
        ("model", "subject", "true class", *(f"said {c}" for c in classes), "n trials"),
        rows,
        folded=True,
        stamp=stamp,
    )
