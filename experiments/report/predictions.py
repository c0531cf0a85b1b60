"""The report's part on predictions: what was said live, over what was rated or simulated."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from physioemo.errors import DataError
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
from physioemo.experiments.report.session import Session, Trial
from physioemo.experiments.scores import balanced_accuracy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LiveScore", "Predictions", "live_score", "prediction_blocks", "read_predictions"]

_TRIAL_CAPTION = "Each trial: its rating and mean probability, ✓ where both are on one side."
LEAD_SECONDS = 1.0
"""Predictions this soon after a trial began used samples from before it and are not counted."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of one stream.

    Parameters
    ----------
    stream : str
        Group of the stream.
    time_seconds : ndarray, shape (prediction,)
        Newest sample that each used, from the start of the recording.
    probability : dict of str to ndarray
        Of the high class, by dimension.
    abstain : ndarray of bool, shape (prediction,)
        Where the decoder did not decide.
    """

    stream: str
    time_seconds: np.ndarray
    probability: dict[str, np.ndarray]
    abstain: np.ndarray

    def in_trial(self, trial: Trial) -> np.ndarray:
        """Return which predictions rest on the trial alone."""
        first = trial.start_seconds + LEAD_SECONDS
        time = self.time_seconds
        return np.asarray((time >= first - 1e-6) & (time <= trial.stop_seconds + 1e-6))

    def of_trial(self, trial: Trial, dimension: str) -> float:
        """Return the mean probability in a trial; NaN where all predictions abstain."""
        values = self.probability[dimension][self.in_trial(trial) & ~self.abstain]
        values = values[np.isfinite(values)]
        return float(values.mean()) if len(values) else math.nan


class LiveScore(NamedTuple):
    """How many rated trials were told right, and what the baseline would have got."""

    n_trials: int
    n_right: int
    n_majority: int
    balanced_accuracy: float


def read_predictions(session: Session, key: str) -> Predictions:
    """Return the predictions of a stream.

    Raises
    ------
    DataError
        If it has no channel that ends in ``_probability``.
    """
    stream, time = session.stream(key)
    names = [str(c) for c in stream["channel"].values]
    values = np.asarray(stream["signal"].values, float)
    ending = "_probability"
    found = {n.removesuffix(ending): i for i, n in enumerate(names) if n.endswith(ending)}
    if not found:
        raise DataError(
            f"found the channels {', '.join(names)} in {key!r}, expected 'valence_probability' "
            "and the like; predict with 'physioemo live'"
        )
    nothing = np.zeros(len(time))
    abstain = values[:, names.index("abstain")] if "abstain" in names else nothing
    return Predictions(key, time, {d: values[:, i] for d, i in found.items()}, abstain > 0.5)


def live_score(session: Session, predictions: Predictions, dimension: str) -> LiveScore:
    """Count the rated trials whose mean probability lies on the side of the rating."""
    pairs = [
        (session.label(t, dimension), predictions.of_trial(t, dimension)) for t in session.trials
    ]
    kept = [(label, p) for label, p in pairs if label is not None and np.isfinite(p)]
    labels = np.array([label for label, _ in kept], int)
    high = np.array([p > 0.5 for _, p in kept], int)
    majority = max(int(labels.sum()), len(labels) - int(labels.sum()))
    score = balanced_accuracy(labels, high) if len(labels) else math.nan
    return LiveScore(len(labels), int((labels == high).sum()), majority, score)


def prediction_blocks(session: Session) -> list[Block]:
    """Return predictions over the trials, their score and a table of trials."""
    keys = session.with_modality("prediction")
    if not keys:
        raise DataError(
            "found no stream of predictions, expected one as 'physioemo live' sends it; record "
            "while a decoder runs to see it here"
        )
    read = [read_predictions(session, key) for key in keys]
    return [block for predictions in read for block in _stream_blocks(session, predictions)]


def _stream_blocks(session: Session, predictions: Predictions) -> list[Block]:
    return [
        _figure(session, predictions),
        *_score_table(session, predictions),
        *_trial_table(session, predictions),
    ]


def _figure(session: Session, predictions: Predictions) -> Figure:
    dimensions = list(predictions.probability)
    canvas = new_canvas(1.0 + 1.45 * len(dimensions))
    strip, *panels = canvas.subplots(
        len(dimensions) + 1, 1, sharex=True, height_ratios=(0.14, *[1.0] * len(dimensions))
    )
    draw_trial_strip(strip, session)
    handles: dict[str, Any] = {}
    for axes, dimension in zip(panels, dimensions, strict=True):
        _draw_dimension(axes, session, predictions, dimension)
        handles |= {n: h for h, n in zip(*axes.get_legend_handles_labels(), strict=True)}
    label_time(panels[-1], session)
    canvas.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=4)
    caption = (
        f"Predictions of {predictions.stream} at the time of the newest sample that each used. "
        "Left axis: probability of the high class. Right axis, the same height: "
        f"{_truth_words(session)}. Grey marks trials, hatching the times at which the decoder "
        "abstained."
    )
    return Figure(encode_svg(canvas), caption, "Predictions over time, " + ", ".join(dimensions))


def _truth_words(session: Session) -> str:
    hidden = bool(session.with_modality("ground_truth"))
    words = ["the hidden state of the simulation (−1 to 1)"] if hidden else []
    if session.rated_dimensions:
        words.append(f"ratings ({session.scale[0]:g} to {session.scale[1]:g})")
    return " and ".join(words) or "nothing, for there is neither a rating nor a known truth"


def _draw_dimension(
    axes: "Axes", session: Session, predictions: Predictions, dimension: str
) -> None:
    shade_trials(axes, session)
    axes.axhline(0.5, color="#888888", lw=0.7)
    _draw_truth(axes, session, dimension)
    _draw_ratings(axes, session, dimension)
    _draw_abstentions(axes, predictions)
    colour = DIMENSION_COLOURS.get(dimension, COLOURS["purple"])
    shown = np.where(predictions.abstain, np.nan, predictions.probability[dimension])
    time, shown = _broken_at_pauses(predictions.time_seconds, shown)
    axes.plot(time, shown, color=colour, marker="o", ms=1.6, lw=1.0, label=f"P(high {dimension})")
    axes.set(ylim=(-0.03, 1.03), yticks=(0, 0.5, 1), ylabel=dimension)
    right = axes.secondary_yaxis("right")
    right.set_yticks((0, 0.5, 1), ("low", "middle", "high"))
    right.tick_params(length=0)


def _broken_at_pauses(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same points with a NaN in every pause, so that no line bridges it."""
    if len(time) < 3:
        return time, values
    step = np.diff(time)
    pause = np.flatnonzero(step > 3 * np.median(step)) + 1
    return np.insert(time, pause, time[pause - 1]), np.insert(values, pause, np.nan)


def _draw_truth(axes: "Axes", session: Session, dimension: str) -> None:
    for key in session.with_modality("ground_truth"):
        stream, time = session.stream(key)
        names = [str(c) for c in stream["channel"].values]
        if dimension in names:
            values = np.asarray(stream["signal"].values[:, names.index(dimension)], float)
            step = max(1, len(time) // 3000)
            axes.plot(time[::step], (values[::step] + 1) / 2, color=COLOURS["black"], lw=0.9,
                      ls=(0, (3, 1.5)), label="hidden state of the simulation")  # fmt: skip


def _draw_ratings(axes: "Axes", session: Session, dimension: str) -> None:
    low, high = session.scale
    rated = [t for t in session.trials if dimension in t.ratings]
    heights = [(t.ratings[dimension] - low) / (high - low) for t in rated]
    starts, stops = [t.start_seconds for t in rated], [t.stop_seconds for t in rated]
    if rated:
        axes.hlines(heights, starts, stops, color=COLOURS["orange"], lw=2.6, label="rating")


def _draw_abstentions(axes: "Axes", predictions: Predictions) -> None:
    time = predictions.time_seconds
    if not predictions.abstain.any():
        return
    step = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    bars = [(t - step, step) for t in time[predictions.abstain]]
    axes.broken_barh(bars, (-0.03, 1.06), facecolor="#F3E3EC", edgecolor=COLOURS["purple"],
                     hatch="////", lw=0, label="abstained")  # fmt: skip


def _score_table(session: Session, predictions: Predictions) -> list[Block]:
    rows = []
    for dimension in predictions.probability:
        score = live_score(session, predictions, dimension)
        if score.n_trials:
            share, majority = score.n_right / score.n_trials, score.n_majority / score.n_trials
            rows.append(
                (
                    dimension,
                    f"{score.n_right} / {score.n_trials}",
                    number_text(share),
                    number_text(majority),
                    number_text(score.balanced_accuracy),
                    "0.50",
                )
            )
    if not rows:
        return [Note("No trial has both a rating and a prediction, so nothing can be counted.")]
    columns = (
        "dimension",
        "trials right",
        "accuracy",
        "always the larger class",
        "balanced accuracy",
        "chance",
    )
    caption = (
        "Live, trial by trial: the mean probability of a trial (abstentions left out) against its "
        "rating, high above and low below the middle of the scale."
    )
    return [Table(caption, columns, tuple(rows))]


def _trial_table(session: Session, predictions: Predictions) -> list[Block]:
    if not session.trials:
        return []
    dimensions = list(predictions.probability)
    columns: tuple[str, ...] = ("trial", "stimulus", "predictions", "abstained")
    for dimension in dimensions:
        columns += (f"{dimension}: rated", "P(high)")
    rows = tuple(_trial_row(session, predictions, t, dimensions) for t in session.trials)
    return [Table(_TRIAL_CAPTION, columns, rows, folded=len(rows) > 12)]


def _trial_row(
    session: Session, predictions: Predictions, trial: Trial, dimensions: list[str]
) -> tuple[str, ...]:
    inside = predictions.in_trial(trial)
    cells = [str(trial.number), trial.stimulus or "–", str(int(inside.sum()))]
    cells.append(str(int((inside & predictions.abstain).sum())))
    for dimension in dimensions:
        mean = predictions.of_trial(trial, dimension)
        label = session.label(trial, dimension)
        known = label is not None and np.isfinite(mean)
        right = (" ✓" if int(mean > 0.5) == label else " ✗") if known else ""
        cells += [number_text(trial.ratings.get(dimension), 1), number_text(mean) + right]
    return tuple(cells)
