"""What a report shows of a model's electrodes: importance, pairs, attention, each with a null."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from physioemo.experiments.report.parts import (
    NOTHING,
    Block,
    Figure,
    Note,
    Table,
    number_text,
    plural,
    shorten,
)
from physioemo.experiments.report.scalp import FEWEST_ON_MAP, draw_values, positions
from physioemo.experiments.report.scores import p_text
from physioemo.experiments.statistics import least_p
from physioemo.experiments.study_figures import attention_figure, interaction_figure

__all__ = ["map_blocks"]


def map_blocks(maps: dict[str, Any], stamp: str) -> Iterator[Block]:
    """Yield what a report shows of one dimension.

    Parameters
    ----------
    maps : dict
        Of one dimension, from :func:`physioemo.experiments.study_maps.study_maps`.
    stamp : str
        What stands over every figure, such as ``LEAKY``; empty for none.
    """
    yield from _importance_blocks(maps, stamp)
    yield from _interaction_blocks(maps, stamp)
    if maps.get("attention"):
        yield from _attention_blocks(maps, stamp)


def _importance_blocks(maps: dict[str, Any], stamp: str) -> Iterator[Block]:
    importance = np.array(maps["importance"], float)[:, None]
    largest = max(maps["importance_null_largest"])
    yield Figure(
        draw_values(importance, tuple(maps["ch_names"]), ["without it"], "nats", "RdBu_r", stamp),
        "What is lost of the true class's log-probability without an electrode, mean over "
        f"{plural(maps['n_folds'], 'fold')}. Models of permuted labels reach up to "
        f"{number_text(largest, 4)} nats at their largest electrode: less means nothing.",
        "Importance of each electrode",
        width_inches=4.0,
        stamp=stamp,
    )
    unplaced = _unplaced(maps)
    if unplaced:
        yield Table("Electrodes without a place on the map", ("electrode", "nats"), unplaced,
                    stamp=stamp)  # fmt: skip


def _interaction_blocks(maps: dict[str, Any], stamp: str) -> Iterator[Block]:
    found = maps["interactions"]
    tested = shorten(", ".join(maps["interactions_tested"]), 80)
    yield Figure(
        interaction_figure(maps, stamp=stamp),
        "How far two electrodes act together on the log-odds (ablation), in units of their spread "
        "and less what either has in common with all others. 1 is the largest pair of "
        f"{plural(len(found['null_largest']), 'model')} fitted to permuted labels. Of one fold "
        f"only: {maps['interactions_fold']}, tested on {tested}. "
        f"The largest pair has p {p_text(found['p'])}, at least "
        f"{p_text(least_p(len(found['null_largest'])))} with so few permutations.",
        "Interaction of each pair of electrodes",
        width_inches=7.0,
        stamp=stamp,
    )
    if not found["winners"]:
        yield Note("No pair of electrodes exceeds what permuted labels give.")
        return
    rows = tuple(
        (f"{a} and {b}", number_text(v, 4), number_text(v / found["threshold"], 2))
        for a, b, v in found["winners"][:20]
    )
    yield Table(
        "Pairs above the largest of permuted labels",
        ("pair", "score", "times the null's largest"),
        rows,
        stamp=stamp,
    )


def _attention_blocks(maps: dict[str, Any], stamp: str) -> Iterator[Block]:
    found = maps["attention"]
    alike = [r for r in found["null_correlation"] if number_text(r) != NOTHING]
    yield Note(
        "Attention is not connectivity: it says which electrodes this network mixes, not which "
        "regions of a brain speak to each other. " + _alike_text(alike),
        "warning",
    )
    yield Figure(
        attention_figure(maps, stamp=stamp),
        "Raw attention of the same model on the same windows, mean over windows, layers and heads "
        "(rows attend to columns; 1 is the same to every electrode). Left: fitted to the true "
        f"labels. Right: mean of {plural(len(found['null_correlation']), 'model')} fitted to "
        "permuted labels, on the same scale. Rank correlation of attention with the ablation "
        f"above, over pairs: {number_text(found['interaction_correlation'])}.",
        "Attention between electrodes, with true and with permuted labels",
        stamp=stamp,
    )


def _alike_text(alike: list[float]) -> str:
    """Return how much of the attention is there without any label to learn."""
    if not alike:
        return "Whether it depends on the labels is not known here."
    return (
        f"The map of the true labels correlates with those of permuted labels by "
        f"{number_text(min(alike))} to {number_text(max(alike))}: so much of it is there with "
        "nothing to learn."
    )


def _unplaced(maps: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the electrodes that a topographic map leaves out."""
    placed, _ = positions(maps["ch_names"])
    if len(placed) < FEWEST_ON_MAP:
        return ()
    rows = zip(maps["ch_names"], maps["importance"], strict=True)
    return tuple((n, number_text(v, 4)) for k, (n, v) in enumerate(rows) if k not in placed)
