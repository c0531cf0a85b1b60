"""The report's part on EEG band power: maps of the scalp, or bars where positions are unknown."""

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.report.figures import (
    COLOURS,
    DIMENSION_COLOURS,
    draw_stamp,
    encode_png,
    encode_svg,
    new_canvas,
)
from physioemo.experiments.report.parts import PAGE_INCHES, Block, Figure, Note, plural, shorten
from physioemo.experiments.report.power import BandPower, asymmetry, band_power, high_minus_low
from physioemo.experiments.report.session import Session
from physioemo.features.entropy import BANDS

__all__ = ["draw_values", "positions", "scalp_blocks"]

FEWEST_ON_MAP = 8
MOST_BARS = 64
NARROWEST_SCALE_DB = 1.0
MAP_INCHES = 2.4


@lru_cache(maxsize=1)
def _standard_names() -> dict[str, str]:
    """Return the standard spelling of every electrode of the 10-05 system, by folded name."""
    return {name.casefold(): name for name in _montage().ch_names}


@lru_cache(maxsize=1)
def _montage() -> Any:
    import mne

    # MNE 1.13 renamed the montage; older versions only know it as standard_1005.
    known = mne.channels.get_builtin_montages()
    name = "colin27_1005" if "colin27_1005" in known else "standard_1005"
    return mne.channels.make_standard_montage(name)


def positions(ch_names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return which channels have a place on the scalp by their name, and their standard names.

    Names are compared without case; of two channels that mean one place the first counts.
    """
    found: dict[str, int] = {}
    for index, name in enumerate(ch_names):
        standard = _standard_names().get(name.strip().casefold())
        if standard:
            found.setdefault(standard, index)
    return list(found.values()), list(found)


def scalp_blocks(session: Session) -> list[Block]:
    """Return maps or bars of band power for each EEG stream, and what changes with ratings."""
    session.need_channels("eeg", "EEG")
    keys = dict.fromkeys(c.stream for c in session.channels("eeg"))
    return [block for key in keys for block in _stream_blocks(session, key)]


def _stream_blocks(session: Session, key: str) -> list[Block]:
    power = band_power(session, key)
    return [
        *_coverage_notes(power),
        _power_figure(power),
        *_contrast(session, power),
        *_asymmetry_figure(session, power),
    ]


def _coverage_notes(power: BandPower) -> list[Block]:
    placed, _ = positions(power.ch_names)
    unplaced = [n for i, n in enumerate(power.ch_names) if i not in placed]
    silent = [n for n, v in zip(power.ch_names, power.decibels(), strict=True) if np.isnan(v).any()]
    notes: list[Block] = []
    if len(placed) < FEWEST_ON_MAP:
        notes.append(
            Note(
                f"{power.stream}: {len(placed)} of {plural(len(power.ch_names), 'channel')} bear a "
                f"name of the 10-05 system; a map needs {FEWEST_ON_MAP}, so bars are shown instead."
            )
        )
    elif unplaced:
        notes.append(Note(f"{power.stream}: not on the maps, no position: {', '.join(unplaced)}."))
    if silent:
        notes.append(
            Note(f"{power.stream}: left out, flat or missing: {', '.join(silent)}.", "warning")
        )
    absent = [band for band in BANDS if band not in power.band_names]
    if absent:
        notes.append(Note(f"{power.stream}: sampled too slowly for {', '.join(absent)}."))
    return notes


def _power_figure(power: BandPower) -> Figure:
    titles = [f"{b} {BANDS[b][0]:g}–{BANDS[b][1]:g} Hz" for b in power.band_names]
    source = draw_values(power.decibels(), power.ch_names, titles, "dB re 1 µV²", "viridis")
    caption = (
        f"Band power of {power.stream}: median over {plural(len(power.power), 'window')} of 2 s, "
        "in the reference of the recording. Each band has its own scale, at least 1 dB wide."
    )
    return Figure(source, caption, "Band power per electrode in " + ", ".join(titles))


def draw_values(
    values: np.ndarray,
    ch_names: tuple[str, ...],
    titles: list[str],
    unit: str,
    cmap: str,
    stamp: str = "",
) -> str:
    """Draw one map (or set of bars) per column of values (channel, column), stamped if asked."""
    used = np.isfinite(values).all(axis=1)
    names, values = [n for n, u in zip(ch_names, used, strict=True) if u], values[used]
    if not names:
        raise DataError("found no electrode with a usable signal, expected at least one")
    placed, standard = positions(names)
    if len(placed) < FEWEST_ON_MAP:
        return _draw_bars(values[:MOST_BARS], names[:MOST_BARS], titles, unit, stamp)
    return _draw_maps(values[placed], standard, titles, unit, cmap, stamp)


def _draw_maps(
    values: np.ndarray, standard: list[str], titles: list[str], unit: str, cmap: str, stamp: str
) -> str:
    import mne

    info = mne.create_info(standard, 1000.0, "eeg", verbose="error")
    info.set_montage(_montage(), verbose="error")
    canvas = new_canvas(2.35, MAP_INCHES * len(titles))
    for axes, title, column in zip(
        canvas.subplots(1, len(titles), squeeze=False)[0], titles, values.T, strict=True
    ):
        limits = _limits(column, diverging=cmap == "RdBu_r")
        image, _ = mne.viz.plot_topomap(
            column, info, axes=axes, show=False, cmap=cmap, vlim=limits, contours=4
        )
        axes.set_title(title)
        bar = canvas.colorbar(image, ax=axes, orientation="horizontal", shrink=0.75, aspect=18)
        bar.set_label(unit)
        # Small numbers have long labels, which would touch.
        bar.ax.locator_params(nbins=5 if max(map(abs, limits)) >= 1 else 3)
    draw_stamp(canvas, stamp)
    return encode_png(canvas)


def _limits(values: np.ndarray, *, diverging: bool) -> tuple[float, float]:
    if diverging:
        top = max(float(np.abs(values).max()), 1e-6)
        return -top, top
    low, high = float(values.min()), float(values.max())
    # A narrower scale would paint noise as if it were a pattern.
    widen = max(0.0, NARROWEST_SCALE_DB - (high - low)) / 2
    return low - widen, high + widen


def _draw_bars(
    values: np.ndarray, names: list[str], titles: list[str], unit: str, stamp: str
) -> str:
    canvas = new_canvas(1.0 + 0.2 * len(names))
    panels = canvas.subplots(1, len(titles), sharey=True, squeeze=False)[0]
    for axes, title, column in zip(panels, titles, values.T, strict=True):
        axes.axvline(0, color="#555555", lw=0.8)
        axes.hlines(range(len(names)), 0, column, color=COLOURS["sky"], lw=3)
        axes.plot(column, range(len(names)), "o", color=COLOURS["blue"], ms=4)
        axes.set(title=title, xlabel=unit)
        axes.locator_params(axis="x", nbins=5)
    panels[0].set_yticks(range(len(names)), [shorten(n, 16) for n in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    draw_stamp(canvas, stamp)
    return encode_svg(canvas)


def _contrast(session: Session, power: BandPower) -> list[Block]:
    """Return what alpha and beta do in trials of high arousal, or why that is not known."""
    bands = [b for b in ("alpha", "beta") if b in power.band_names]
    if "arousal" not in session.rated_dimensions:
        return [Note("No arousal ratings, so no difference between high and low arousal.")]
    try:
        difference = high_minus_low(session, power, "arousal")
    except DataError as error:
        return [Note(f"No difference between high and low arousal: {error}.", "missing")]
    columns = difference[:, [power.band_names.index(b) for b in bands]]
    titles = [f"{band}: high − low arousal" for band in bands]
    source = draw_values(columns, power.ch_names, titles, "dB", "RdBu_r")
    placed, _ = positions(power.ch_names)
    width = MAP_INCHES * len(bands) if len(placed) >= FEWEST_ON_MAP else PAGE_INCHES
    caption = (
        "Mean over trials rated above the middle of the arousal scale minus mean over those "
        "below. Descriptive: no test, no correction, and no claim that it generalises."
    )
    return [Figure(source, caption, "High minus low arousal, " + " and ".join(bands), width)]


def _asymmetry_figure(session: Session, power: BandPower) -> list[Block]:
    """Return frontal alpha asymmetry against valence, where F3, F4 and ratings exist."""
    rated = [t for t in session.trials if "valence" in t.ratings]
    points = [(t.ratings["valence"], asymmetry(power, t)) for t in rated]
    ratings, values = np.array([p for p in points if np.isfinite(p[1])]).reshape(-1, 2).T
    if len(ratings) < 4:
        return []
    canvas = new_canvas(2.35, 4.2)
    axes = canvas.subplots()
    axes.axhline(0, color="#999999", lw=0.8)
    axes.plot(ratings, values, "o", color=DIMENSION_COLOURS["valence"], ms=5, alpha=0.8)
    low, high = session.scale
    axes.set(
        xlim=(low - 0.3, high + 0.3),
        xlabel=f"valence rating ({low:g}–{high:g})",
        ylabel="ln alpha F4 − ln alpha F3",
    )
    caption = (
        f"Frontal alpha asymmetry of each of {len(ratings)} rated trials against its valence "
        f"rating; Spearman's rho {_rank_correlation(ratings, values)}. Descriptive."
    )
    return [Figure(encode_svg(canvas), caption, "Frontal alpha asymmetry against valence", 4.2)]


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> str:
    from scipy.stats import spearmanr

    with warnings.catch_warnings():
        # Constant ratings have no correlation: NaN says so.
        warnings.simplefilter("ignore")
        rho = float(spearmanr(first, second).statistic)
    return f"{rho:.2f}".replace("-", "−") if np.isfinite(rho) else "not defined"
