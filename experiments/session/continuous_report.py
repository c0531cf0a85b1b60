"""The report's part on continuous ratings: what was rated and predicted, moment by moment."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physioemo.experiments.live_outlets import PREDICTIONS
from physioemo.experiments.report.figures import (
    COLOURS,
    DIMENSION_COLOURS,
    draw_trial_strip,
    encode_svg,
    label_time,
    new_canvas,
    shade_trials,
)
from physioemo.experiments.report.parts import Block, Figure, Note, Table, number_text
from physioemo.experiments.report.predictions import Predictions, read_predictions
from physioemo.experiments.report.session import Session, Trial
from physioemo.experiments.session.continuous_traces import ContinuousTrace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["continuous_blocks"]


def continuous_blocks(traces: Sequence[ContinuousTrace], *, simulated: bool) -> list[Block]:
    """Return every continuous rating over time, beside the predictions, and a table of trials.

    Parameters
    ----------
    traces : sequence of ContinuousTrace
        Of all recordings.
    simulated : bool
        Whether a program moved the pointer.
    """
    if not traces:
        return [Note("The continuous rating was not recorded.", "warning")]
    blocks: list[Block] = []
    if simulated:
        blocks.append(Note("The pointer was moved by the SIMULATED participant.", "warning"))
    for trace in traces:
        if not np.isfinite(trace.values).any():
            text = f"{trace.name}: nobody moved the pointer while a stimulus was shown."
            blocks.append(Note(text, "warning"))
            continue
        predictions = _predictions(trace.session)
        blocks.append(_figure(trace, predictions))
        if trace.session.trials:
            blocks.append(_table(trace, predictions))
    return blocks


def _predictions(session: Session) -> Predictions | None:
    """Return what the live decoder said; None if nothing."""
    keys = session.with_modality("prediction")
    named = [k for k in keys if session.recording.description(k).name.startswith(PREDICTIONS)]
    return read_predictions(session, named[0]) if named else None


def _figure(trace: ContinuousTrace, predictions: Predictions | None) -> Figure:
    n, session = len(trace.dimensions), trace.session
    canvas = new_canvas(1.0 + 1.45 * n)
    strip, *panels = canvas.subplots(n + 1, 1, sharex=True, height_ratios=(0.14, *[1.0] * n))
    draw_trial_strip(strip, session)
    handles: dict[str, Any] = {}
    for number, axes in enumerate(panels):
        shade_trials(axes, session)
        _draw_rating(axes, trace, number)
        _draw_prediction(axes, predictions, trace.dimensions[number])
        handles |= {name: h for h, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    label_time(panels[-1], session)
    canvas.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=4)
    device = f", given with the {trace.device}" if trace.device else ""
    caption = (
        f"The continuous rating {trace.name}{device} (left axis: its scale), and the live "
        "prediction at the time of the newest sample that each used (right axis: probability of "
        "the high class). Raters answer 2 to 4 s late; here nothing is moved. Grey marks trials."
    )
    return Figure(encode_svg(canvas), caption, "Rating over time, " + ", ".join(trace.dimensions))


def _draw_rating(axes: "Axes", trace: ContinuousTrace, number: int) -> None:
    low, high = trace.scales[number]
    margin = 0.03 * (high - low)
    axes.axhline((low + high) / 2, color="#888888", lw=0.7)
    axes.plot(trace.time_seconds, trace.values[:, number], color=COLOURS["orange"], lw=1.8,
              label="continuous rating")  # fmt: skip
    axes.set(ylim=(low - margin, high + margin), yticks=(low, (low + high) / 2, high),
             ylabel=trace.dimensions[number])  # fmt: skip


def _draw_prediction(axes: "Axes", predictions: Predictions | None, dimension: str) -> None:
    if predictions is None or dimension not in predictions.probability:
        return
    low, high = axes.get_ylim()
    bottom, span = low + 0.03 / 1.06 * (high - low), (high - low) / 1.06
    shown = np.where(predictions.abstain, np.nan, predictions.probability[dimension])
    colour = DIMENSION_COLOURS.get(dimension, COLOURS["purple"])
    axes.plot(predictions.time_seconds, bottom + span * shown, "o", color=colour, ms=2.2,
              label=f"P(high {dimension})")  # fmt: skip
    right = axes.secondary_yaxis("right")
    right.set_yticks((bottom, bottom + span / 2, bottom + span), ("0", "0.5", "1"))
    right.tick_params(length=0)


def _table(trace: ContinuousTrace, predictions: Predictions | None) -> Table:
    columns: tuple[str, ...] = ("trial", "stimulus", "rated, % of the time", "first moved after, s")
    for dimension in trace.dimensions:
        columns += (f"{dimension}: mean while shown", "rated afterwards", "P(high)")
    rows = tuple(_row(trace, predictions, trial) for trial in trace.session.trials)
    caption = "Each trial: the continuous rating, the rating after it, and the mean probability."
    return Table(caption, columns, rows, folded=len(rows) > 12)


def _row(trace: ContinuousTrace, predictions: Predictions | None, trial: Trial) -> tuple[str, ...]:
    values = trace.in_trial(trial)
    rated = np.isfinite(values).all(axis=1)
    time = trace.time_seconds
    inside = time[(time >= trial.start_seconds) & (time <= trial.stop_seconds)]
    first = float(inside[rated][0] - trial.start_seconds) if rated.any() else np.nan
    share = 100 * float(rated.mean()) if len(rated) else np.nan
    cells = [str(trial.number), trial.stimulus or "–", number_text(share, 0), number_text(first, 1)]
    for number, dimension in enumerate(trace.dimensions):
        mean = float(values[rated, number].mean()) if rated.any() else np.nan
        said = np.nan
        if predictions is not None and dimension in predictions.probability:
            said = predictions.of_trial(trial, dimension)
        cells += [
            number_text(mean),
            number_text(trial.ratings.get(dimension), 1),
            number_text(said),
        ]
    return tuple(cells)
