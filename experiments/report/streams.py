"""The report's part on streams: how complete they are, in a table, in words and drawn."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from physioemo.clock import segment_bounds
from physioemo.experiments.report.figures import (
    COLOURS,
    draw_trial_strip,
    encode_svg,
    label_time,
    new_canvas,
    shade_trials,
)
from physioemo.experiments.report.parts import (
    Block,
    Figure,
    Note,
    Table,
    clock_text,
    number_text,
    plural,
    shorten,
    unit_text,
)
from physioemo.experiments.report.session import Session
from physioemo.modality import MODALITIES
from physioemo.recording import Recording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["stream_blocks", "stream_problems"]

# Streams that a person or a program writes may stand still without anything being wrong.
_MAY_BE_FLAT = {
    "markers",
    "ratings",
    "continuous_rating",
    "prediction",
    "ground_truth",
    "stim",
    "other",
}
_COLUMNS = (
    "stream",
    "modality",
    "channels",
    "unit",
    "rate measured / stated (Hz)",
    "samples received / expected",
    "gaps",
    "missing values",
    "jitter (ms)",
    "clock offset (ms)",
)
_TICKS_DRAWN = 1500
_TOLERATED_SECONDS = 2.0
_TABLE_CAPTION = (
    "Streams as recorded. Expected: stated rate times the time between the first and the last "
    "sample. Jitter: standard deviation of the steps between time stamps. Clock offset: median "
    "and half the range of what was added to the sender's stamps."
)


def stream_blocks(session: Session) -> list[Block]:
    """Return the streams' table, what is wrong with them in words, and the timeline."""
    quality = session.recording.quality()
    return [
        _quality_table(session, quality),
        *_problem_notes(session, quality),
        _timeline(session),
        _channel_table(session.recording, quality),
    ]


def _quality_table(session: Session, quality: dict[str, dict[str, Any]]) -> Table:
    rows = tuple(_quality_row(session.recording, key, q) for key, q in quality.items())
    return Table(_TABLE_CAPTION, _COLUMNS, rows)


def _quality_row(recording: Recording, key: str, quality: dict[str, Any]) -> tuple[str, ...]:
    attrs, regular = recording.tree[key].attrs, quality["nominal_rate_hz"] > 0
    name = str(attrs["name"])
    return (
        key if name == key else f"{key} ({name})",
        str(attrs["modality"]),
        str(recording.tree[key].sizes["channel"]),
        ", ".join(dict.fromkeys(map(unit_text, recording[key]["channel_unit"].values))),
        _rate_text(quality),
        _samples_text(quality),
        str(len(quality["gaps"])) if regular else "–",
        number_text(quality["n_missing_values"], 0),
        number_text(quality["jitter_seconds"] * 1000, 2),
        _offset_text(recording, key),
    )


def _rate_text(quality: dict[str, Any]) -> str:
    nominal = quality["nominal_rate_hz"]
    if nominal <= 0:
        return "irregular"
    return f"{number_text(quality['measured_rate_hz'], 3)} / {nominal:g}"


def _samples_text(quality: dict[str, Any]) -> str:
    received = number_text(quality["n_samples"], 0)
    if quality["nominal_rate_hz"] <= 0:
        return received
    return f"{received} / {number_text(quality['n_expected'], 0)}"


def _offset_text(recording: Recording, key: str) -> str:
    """Return the median clock offset and its spread, or a dash where none was measured."""
    offsets = np.asarray(recording[key]["clock_offset"].values, float) * 1000
    if not len(offsets):
        return "–"
    spread = float(np.ptp(offsets[:, 1]))
    return f"{number_text(float(np.median(offsets[:, 1])))} ± {number_text(spread / 2)}"


def _problem_notes(session: Session, quality: dict[str, dict[str, Any]]) -> list[Block]:
    problems = [
        Note(f"{key}: {problem}.", "warning")
        for key, q in quality.items()
        for problem in stream_problems(session, key, q)
    ]
    fine = Note("No gaps, no flat channels, no unexpected missing values, rates as stated.", "good")
    return list(problems) or [fine]


def stream_problems(session: Session, key: str, quality: dict[str, Any]) -> Iterator[str]:
    """Say in plain words what is wrong with a stream.

    Parameters
    ----------
    session : Session
        The recording.
    key : str
        The stream's group.
    quality : dict
        From :func:`physioemo.stream.stream_quality`.

    Yields
    ------
    str
        A sentence without its full stop.
    """
    modality = str(session.recording.tree[key].attrs["modality"])
    if not quality["n_samples"]:
        yield "no sample arrived"
        return
    yield from _coverage_problems(session, key)
    yield from _gap_problems(quality["gaps"], session.origin_seconds)
    yield from _rate_problems(quality)
    missing = quality["n_missing_values"]
    if missing and not MODALITIES[modality].missing_allowed:
        share = missing / (quality["n_samples"] * session.recording.tree[key].sizes["channel"])
        yield f"{plural(missing, 'value')} missing ({100 * share:.2g} % of all)"
    if quality["flat_channels"] and modality not in _MAY_BE_FLAT:
        names = ", ".join(map(str, quality["flat_channels"]))
        yield f"never changes in {names}; the electrode or sensor was probably not connected"


def _coverage_problems(session: Session, key: str) -> Iterator[str]:
    """Say where a regular stream began later or ended earlier than the others."""
    stream, time = session.stream(key)
    tolerance = max(_TOLERATED_SECONDS, 0.02 * session.duration_seconds)
    early = session.duration_seconds - time.max() > tolerance
    if stream.attrs["sfreq"] > 0 and (time.min() > tolerance or early):
        extent = f"from {clock_text(time.min())} to {clock_text(time.max())}"
        yield f"samples only {extent} of {clock_text(session.duration_seconds)}"


def _gap_problems(gaps: list[dict[str, float]], origin_seconds: float) -> Iterator[str]:
    if not gaps:
        return
    total = sum(g["duration_seconds"] for g in gaps)
    listed = ", ".join(
        f"{g['duration_seconds']:.2f} s at {clock_text(g['onset_seconds'] - origin_seconds)}"
        for g in gaps[:6]
    )
    more = f" and {len(gaps) - 6} more" if len(gaps) > 6 else ""
    yield f"{plural(len(gaps), 'gap')}, {total:.2f} s in all ({listed}{more})"


def _rate_problems(quality: dict[str, Any]) -> Iterator[str]:
    nominal, measured = quality["nominal_rate_hz"], quality["measured_rate_hz"]
    if nominal > 0 and abs(measured / nominal - 1) > 0.01:
        yield f"samples came at {measured:.2f} Hz, the device states {nominal:g} Hz"
    if nominal > 0 and quality["jitter_seconds"] * nominal > 0.5:
        jitter = quality["jitter_seconds"] * 1000
        yield f"time stamps scatter by {jitter:.1f} ms, more than half a sample"


def _channel_table(recording: Recording, quality: dict[str, dict[str, Any]]) -> Table:
    rows = []
    for key in recording.streams:
        names = [str(c) for c in recording[key]["channel"].values]
        flat = quality[key]["flat_channels"]
        rows.append((key, str(len(names)), ", ".join(names), ", ".join(map(str, flat)) or "none"))
    columns = ("stream", "count", "channels", "never change")
    return Table("Channels of each stream.", columns, tuple(rows), folded=True)


def _timeline(session: Session) -> Figure:
    keys = session.recording.streams
    canvas = new_canvas(0.9 + 0.3 * len(keys))
    strip, axes = canvas.subplots(2, 1, sharex=True, height_ratios=(0.6, max(len(keys), 1)))
    draw_trial_strip(strip, session)
    shade_trials(axes, session)
    for row, key in enumerate(keys):
        _draw_stream(axes, session, key, row)
    axes.set_yticks(range(len(keys)), [shorten(key) for key in keys])
    axes.set_ylim(len(keys) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    label_time(axes, session)
    caption = (
        "When each stream delivered samples. Bars are stretches without a gap (gaps hatched in "
        "orange), ticks are single samples of irregular streams, grey marks trials."
    )
    return Figure(encode_svg(canvas), caption, f"Timeline of {plural(len(keys), 'stream')}")


def _draw_stream(axes: "Axes", session: Session, key: str, row: int) -> None:
    stream, time = session.stream(key)
    sfreq = float(stream.attrs["sfreq"])
    if sfreq <= 0:
        shown = time[:: max(1, len(time) // _TICKS_DRAWN)]
        axes.vlines(shown, row - 0.28, row + 0.28, color=COLOURS["black"], lw=0.7)
        return
    bounds = segment_bounds(time, sfreq)
    bars = [(time[a], max(time[b - 1] - time[a], 1 / sfreq)) for a, b in bounds]
    axes.broken_barh(bars, (row - 0.28, 0.56), color=COLOURS["blue"])
    edges = [(time[b - 1], time[b]) for _, b in bounds[:-1]]
    gaps = [(start, stop - start) for start, stop in edges if stop > start]
    axes.broken_barh(
        gaps, (row - 0.28, 0.56), facecolor="none", edgecolor=COLOURS["orange"], hatch="//////"
    )
