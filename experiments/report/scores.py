"""The report's part on scores: every one beside its majority-class and permuted baselines."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from physioemo.errors import CheckpointError
from physioemo.experiments.report.figures import (
    COLOURS,
    DIMENSION_COLOURS,
    encode_svg,
    new_canvas,
)
from physioemo.experiments.report.parts import Block, Figure, Note, Table, number_text, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Evaluation", "read_evaluation", "score_blocks", "told_apart"]

Evaluation = Mapping[str, Any]
EVALUATION_JSON = "evaluation.json"
_FORMAT = 1
_LEAKY = "LEAKY"
_COLUMNS = (
    "dimension",
    "trials (high / low)",
    "balanced accuracy",
    "95 % interval",
    "permuted labels: mean (range)",
    "majority class",
    "accuracy (majority class)",
    "single windows",
    "p, binomial",
    "p, permutation",
)


def read_evaluation(decoder_folder: Path | None) -> Evaluation:
    """Return what ``evaluation.json`` of a decoder says.

    Raises
    ------
    CheckpointError
        If there is none, or it is not one that this version reads.
    """
    if decoder_folder is None:
        raise CheckpointError("found no decoder, expected its folder; name it to see scores here")
    path = Path(decoder_folder) / EVALUATION_JSON
    if not path.is_file():
        raise CheckpointError(
            f"found no {EVALUATION_JSON} in the decoder's folder {path.parent.name!r}, expected "
            "the scores of its training; train the decoder again to have them"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"found {EVALUATION_JSON} that is no JSON ({error}), expected the scores of a "
            "training; restore the decoder's folder from a copy"
        ) from error
    _check(content)
    return dict(content)


def _check(content: Any) -> None:
    found = content.get("format") if isinstance(content, dict) else None
    if found != _FORMAT or not isinstance(content.get("dimensions"), dict):
        raise CheckpointError(
            f"found {EVALUATION_JSON} of format {found!r}, expected format {_FORMAT} with "
            "'dimensions'; train the decoder with this version of PhysioEmo"
        )


def told_apart(score: Mapping[str, Any]) -> bool | None:
    """Return whether a dimension was told apart better than chance; None if that is not known.

    It was if the whole 95 % interval of the balanced accuracy lies above one half, and the
    score above the majority class and the 95th percentile of the permuted labels' scores.
    """
    value, interval = score.get("balanced_accuracy"), score.get("interval_95")
    permuted = permuted_scores(score)
    if not _is_number(value) or not interval or not _is_number(interval[0]) or not len(permuted):
        return None
    beaten = float(np.quantile(permuted, 0.95, method="higher"))
    majority = score.get("majority_balanced_accuracy", 0.5)
    return bool(interval[0] > 0.5 and value > beaten and value > majority)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def permuted_scores(score: Mapping[str, Any]) -> np.ndarray:
    """Return the balanced accuracies with permuted labels that are numbers."""
    values = score.get("permuted_balanced_accuracy") or []
    return np.array([float(v) for v in values if _is_number(v)])


def score_blocks(evaluation: Evaluation) -> list[Block]:
    """Return the table and figure of the scores, and the rule by which they are judged."""
    stamp = _LEAKY if evaluation.get("leaky") else ""
    return [
        *_warnings(evaluation),
        _table(evaluation, stamp),
        _figure(evaluation, stamp),
        Note(
            "A dimension counts as told apart if its whole 95 % interval lies above 0.5 and its "
            "score above the majority class and above 95 % of the scores with permuted labels. "
            "Scores are of whole trials (mean over a trial's windows); windows of one trial are "
            "not independent, so their score stands in the table for completeness only."
        ),
        *_trial_table(evaluation),
    ]


def _warnings(evaluation: Evaluation) -> list[Block]:
    protocol = f"Protocol: {evaluation.get('protocol', 'not stated')}"
    counts = (
        f"{plural(int(evaluation.get('n_trials') or 0), 'trial')}, "
        f"{plural(int(evaluation.get('n_windows') or 0), 'window')}, seed {evaluation.get('seed')}"
    )
    notes: list[Block] = [Note(f"{protocol}; {counts}.")]
    if evaluation.get("leaky"):
        notes.append(
            Note(
                "LEAKY: this protocol lets the decoder see the trials on which it is scored. The "
                "scores say nothing about new trials; they are shown to warn, not to report.",
                "warning",
            )
        )
    if evaluation.get("simulated"):
        notes.append(
            Note("These scores are of a simulated participant: they test the software.", "warning")
        )
    return [*notes, *(Note(str(text)) for text in evaluation.get("notes") or [])]


def _table(evaluation: Evaluation, stamp: str) -> Table:
    rows = tuple(_row(name, score) for name, score in evaluation["dimensions"].items())
    what = "trials that the decoder had seen" if stamp else "held-out trials"
    return Table(f"Scores on {what}, beside their baselines.", _COLUMNS, rows, stamp=stamp)


def _row(name: str, score: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(name),
        f"{score.get('n_trials', '–')} ({score.get('n_high', '–')} / {score.get('n_low', '–')})",
        number_text(score.get("balanced_accuracy")),
        interval_text(score.get("interval_95")),
        _permuted_text(permuted_scores(score)),
        number_text(score.get("majority_balanced_accuracy")),
        f"{number_text(score.get('accuracy'))} ({number_text(score.get('majority_accuracy'))})",
        number_text(score.get("window_balanced_accuracy")),
        p_text(score.get("p_binomial")),
        p_text(score.get("p_permutation")),
    )


def _permuted_text(permuted: np.ndarray) -> str:
    if not len(permuted):
        return "–"
    span = interval_text([float(permuted.min()), float(permuted.max())])
    return f"{number_text(float(permuted.mean()))} ({span})"


def interval_text(interval: Any) -> str:
    """Return two numbers as ``0.70 – 0.95``."""
    if not interval or len(interval) != 2:
        return "–"
    return f"{number_text(interval[0])} – {number_text(interval[1])}"


def p_text(value: Any) -> str:
    """Return a probability with three decimals, or in powers of ten below a thousandth."""
    if not _is_number(value):
        return "–"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}".replace("-", "−")


def _figure(evaluation: Evaluation, stamp: str) -> Figure:
    names = list(evaluation["dimensions"])
    canvas = new_canvas(1.25 + 0.55 * len(names))
    axes = canvas.subplots()
    axes.axvline(0.5, color="#555555", lw=0.8, ls=(0, (4, 3)), label="chance")
    for row, name in enumerate(names):
        _draw_score(axes, name, evaluation["dimensions"][name], row)
    axes.plot([], [], "o-", color="#444444", ms=7, lw=2.4, label="decoder, 95 % interval")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), xlabel="balanced accuracy")
    axes.tick_params(axis="y", length=0)
    canvas.legend(*_unique_labels(axes), loc="outside upper center", ncols=4)
    if stamp:
        axes.text(0.03, 0.5, stamp, transform=axes.transAxes, color="#C00000", size=30,
                  weight="bold", rotation=12, va="center", alpha=0.85)  # fmt: skip
    caption = (
        "Balanced accuracy of whole trials with its 95 % interval, beside the same procedure with "
        "permuted labels and the majority class."
    )
    return Figure(encode_svg(canvas), caption, "Scores and baselines", stamp=stamp)


def _draw_score(axes: "Axes", name: str, score: Mapping[str, Any], row: int) -> None:
    colour = DIMENSION_COLOURS.get(name, COLOURS["black"])
    permuted = permuted_scores(score)
    spread = np.linspace(-0.1, 0.1, len(permuted)) if len(permuted) > 1 else np.zeros(len(permuted))
    axes.plot(permuted, row + 0.2 + spread, "o", ms=3.5, color=COLOURS["grey"], alpha=0.7, mew=0,
              label="permuted labels")  # fmt: skip
    majority, value = score.get("majority_balanced_accuracy"), score.get("balanced_accuracy")
    if _is_number(majority):
        axes.plot([majority], [row - 0.12], "D", ms=6, mfc="white", mec=COLOURS["black"],
                  label="majority class")  # fmt: skip
    interval = score.get("interval_95") or []
    if len(interval) == 2 and all(map(_is_number, interval)):
        axes.plot(interval, [row - 0.12] * 2, color=colour, lw=2.4, solid_capstyle="round")
    if _is_number(value):
        axes.plot([value], [row - 0.12], "o", ms=8, color=colour, clip_on=False)


def _unique_labels(axes: "Axes") -> tuple[list[Any], list[str]]:
    by_label = {label: h for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    return list(by_label.values()), list(by_label)


def _trial_table(evaluation: Evaluation) -> list[Block]:
    rows = tuple(
        (
            str(name),
            str(t.get("recording", "")),
            str(t.get("trial", "")),
            {0: "low", 1: "high"}.get(t.get("label"), "–"),
            number_text(t.get("probability")),
        )
        for name, score in evaluation["dimensions"].items()
        for t in score.get("trials", [])
    )
    columns = ("dimension", "recording", "trial", "rated", "probability of high")
    return [Table("Every scored trial.", columns, rows, folded=True)] if rows else []
