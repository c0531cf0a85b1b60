"""The report's part on the heart: its rate over time, and its variability with units."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from physioemo.clock import segment_bounds
from physioemo.errors import PhysioEmoError, SignalError
from physioemo.experiments.report.figures import (
    COLOURS,
    draw_trial_strip,
    encode_svg,
    label_time,
    new_canvas,
    shade_trials,
)
from physioemo.experiments.report.parts import Block, Figure, Note, Table, number_text, plural
from physioemo.experiments.report.session import Channel, Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Beats", "heart_blocks", "trusted_beats"]

_UNITS = {
    **dict.fromkeys(("MeanNN", "SDNN", "RMSSD", "SDSD"), "ms"),
    **dict.fromkeys(("pNN20", "pNN50"), "%"),
    **dict.fromkeys(("LF", "HF"), "ms²"),
    "MeanHR": "beats/min",
    "LFHF": "ratio",
}


class Beats(NamedTuple):
    """Intervals between beats and when each ends, per stretch without a gap, all in seconds.

    Times count from the start of the recording; `distrusted` says why a stretch is left out.
    """

    stretches: list[tuple[np.ndarray, np.ndarray]]
    distrusted: list[str]


def heart_blocks(session: Session) -> list[Block]:
    """Return heart rate and variability of every ECG and pulse channel; nothing without one."""
    kinds = [(kind, c) for kind in ("ecg", "pleth") for c in session.channels(kind)]
    return [block for kind, c in kinds for block in _channel_blocks(session, c, kind)]


def _channel_blocks(session: Session, channel: Channel, kind: str) -> list[Block]:
    name = f"{channel.stream}: {channel.name}"
    try:
        beats = trusted_beats(session, channel, kind)
        left_out: list[Block] = [
            Note(f"{name}: a stretch is left out, {reason}.", "warning")
            for reason in beats.distrusted
        ]
        return [*left_out, _rate_figure(session, name, beats), _variability_table(name, beats)]
    except PhysioEmoError as error:
        return [Note(f"No heart rate from {name}: {error}.", "missing")]


def trusted_beats(session: Session, channel: Channel, kind: str) -> Beats:
    """Return the intervals between beats of each stretch in which they can be trusted.

    Raises
    ------
    SignalError
        If there is no such stretch.
    """
    from physioemo.features.heartbeats import find_beats

    stream, time = session.stream(channel.stream)
    signal = np.asarray(stream["signal"].values[:, channel.index], float)
    beats = Beats([], [])
    for first, last in segment_bounds(time, channel.sfreq):
        found = find_beats(signal[first:last], channel.sfreq, kind=kind)
        if found.reason:
            beats.distrusted.append(found.reason)
        else:
            rr, at = found.intervals()
            beats.stretches.append((rr, at + time[first]))
    if not beats.stretches:
        reasons = beats.distrusted or ["found no sample, expected a signal"]
        raise SignalError("; ".join(dict.fromkeys(reasons)))
    return beats


def _rate_figure(session: Session, name: str, beats: Beats) -> Figure:
    canvas = new_canvas(2.3)
    strip, axes = canvas.subplots(2, 1, sharex=True, height_ratios=(0.14, 1.0))
    draw_trial_strip(strip, session)
    shade_trials(axes, session)
    for rr, at in beats.stretches:
        _draw_rate(axes, rr, at)
    axes.set_ylabel("heart rate (beats/min)")
    label_time(axes, session)
    n = sum(len(rr) for rr, _ in beats.stretches)
    caption = (
        f"Heart rate from {name}: 60 s divided by each of {plural(n, 'interval')}, at the beat "
        "that ends it. Crosses mark intervals that look ectopic or wrong, which the table leaves "
        "out; grey marks trials."
    )
    return Figure(encode_svg(canvas), caption, f"Heart rate from {name} over time")


def _draw_rate(axes: "Axes", rr: np.ndarray, at: np.ndarray) -> None:
    from physioemo.features.hrv import artefact_intervals

    if not len(rr):
        return
    flagged, rate = artefact_intervals(rr), 60 / rr
    normal = np.where(flagged, np.nan, rate)
    axes.plot(at, normal, "o-", ms=2, lw=0.9, color=COLOURS["red"])
    axes.plot(at[flagged], rate[flagged], "x", ms=5, color=COLOURS["black"])


def _variability_table(name: str, beats: Beats) -> Table:
    from physioemo.features.hrv import heart_rate_variability

    rr = np.concatenate([rr for rr, _ in beats.stretches])
    at = np.concatenate([at for _, at in beats.stretches])
    caption = f"Heart-rate variability from {name}, over {rr.sum():.0f} s of intervals."
    measures = heart_rate_variability(rr, rr_times_seconds=at, artefacts="drop")
    columns: tuple[str, ...] = ("measure", "value", "unit")
    rows = [(key, number_text(v), _UNITS.get(key, "–")) for key, v in measures.items()]
    if not measures.reasons:
        return Table(caption, columns, tuple(rows))
    explained = tuple((*row, measures.reasons.get(row[0], "")) for row in rows)
    return Table(caption, (*columns, "why there is none"), explained)
