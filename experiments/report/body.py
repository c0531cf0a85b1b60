"""The report's part on heart, skin and breath: beats, variability and traces."""

from typing import TYPE_CHECKING

import numpy as np

from physioemo.clock import segment_bounds
from physioemo.errors import DataError
from physioemo.experiments.report.figures import (
    COLOURS,
    draw_trial_strip,
    encode_svg,
    envelope,
    label_time,
    new_canvas,
    shade_trials,
)
from physioemo.experiments.report.heart import heart_blocks
from physioemo.experiments.report.parts import Block, Figure, unit_text
from physioemo.experiments.report.session import Channel, Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["body_blocks"]

_TRACES = {
    "eda": ("skin conductance", COLOURS["orange"]),
    "respiration": ("respiration", COLOURS["sky"]),
    "temperature": ("temperature", COLOURS["purple"]),
}


def body_blocks(session: Session) -> list[Block]:
    """Return heart rate and its variability, then the slow traces of the body.

    Raises
    ------
    DataError
        If no channel of the body was recorded.
    """
    traces = [(kind, c) for kind in _TRACES for c in session.channels(kind)]
    blocks = [*heart_blocks(session), *([_trace_figure(session, traces)] if traces else [])]
    if not blocks:
        raise DataError(
            "found no ECG, pulse, skin, breath or temperature channel, expected at least one; "
            "state the channel types in the stream's description if there is one"
        )
    return blocks


def _trace_figure(session: Session, traces: list[tuple[str, Channel]]) -> Figure:
    canvas = new_canvas(0.8 + 1.25 * len(traces))
    strip, *panels = canvas.subplots(
        len(traces) + 1, 1, sharex=True, height_ratios=(0.16, *[1.0] * len(traces))
    )
    draw_trial_strip(strip, session)
    for axes, (kind, channel) in zip(panels, traces, strict=True):
        _draw_trace(axes, session, channel, *_TRACES[kind])
    label_time(panels[-1], session)
    canvas.align_ylabels(panels)
    words = ", ".join(f"{_TRACES[kind][0]} ({c.stream}: {c.name})" for kind, c in traces)
    caption = f"As recorded: {words}. Drawn from lowest to highest value; grey marks trials."
    return Figure(encode_svg(canvas), caption, words)


def _draw_trace(axes: "Axes", session: Session, channel: Channel, word: str, colour: str) -> None:
    stream, time = session.stream(channel.stream)
    values = np.asarray(stream["signal"].values[:, channel.index], float)
    shade_trials(axes, session)
    for first, last in segment_bounds(time, channel.sfreq):
        at, low, high = envelope(time[first:last], values[first:last])
        axes.fill_between(at, low, high, color=colour, lw=0.9, edgecolor=colour)
    axes.set_ylabel(f"{word}\n({unit_text(channel.unit)})")
