"""Drawing for the report: one style, and figures as data URIs that need no other file."""

import base64
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from physioemo.experiments.report.parts import PAGE_INCHES
from physioemo.experiments.report.session import Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

__all__ = [
    "COLOURS",
    "DIMENSION_COLOURS",
    "draw_trial_strip",
    "encode_png",
    "encode_svg",
    "envelope",
    "label_time",
    "new_canvas",
    "report_style",
    "shade_trials",
]

# Okabe and Ito (2008), Color Universal Design: told apart with every common colour vision.
COLOURS = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "grey": "#767676",
}
DIMENSION_COLOURS = {
    "valence": COLOURS["blue"],
    "arousal": COLOURS["red"],
    "dominance": COLOURS["green"],
}
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.1,
    "figure.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "physioemo",
    # Names of streams and channels come from the network: a dollar sign is no formula.
    "text.parse_math": False,
}


@contextmanager
def report_style() -> Iterator[None]:
    """Draw in the report's style; the caller's own settings come back afterwards."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The table shows a name in any script; the image's font may lack its letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_canvas(height_inches: float, width_inches: float = PAGE_INCHES) -> "Canvas":
    """Return an empty figure, bound to no window system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(canvas)
    return canvas


def draw_stamp(canvas: "Canvas", stamp: str) -> None:
    """Write a stamp across a figure, so that it is not lost when the image is copied.

    Parameters
    ----------
    canvas : Figure
        From :func:`new_canvas`.
    stamp : str
        Such as ``LEAKY``; nothing is drawn if it is empty.
    """
    if stamp:
        # Thin enough to read numbers through it, and no wider than the figure.
        size = min(26.0, 72 * 0.9 * canvas.get_figwidth() / (0.7 * len(stamp)))
        canvas.text(
            0.5, 0.5, stamp, color="#C00000", size=size, weight="bold", rotation=12, alpha=0.3,
            ha="center", va="center",
        )  # fmt: skip


def encode_svg(canvas: "Canvas") -> str:
    """Return a figure as an SVG data URI: sharp at any size, and scripts in it never run."""
    return f"data:image/svg+xml;base64,{_encode(canvas, 'svg', metadata={'Date': None})}"


def encode_png(canvas: "Canvas", dpi: int = 170) -> str:
    """Return a figure as a PNG data URI, for images of many cells."""
    return f"data:image/png;base64,{_encode(canvas, 'png', dpi=dpi)}"


def _encode(canvas: "Canvas", file_format: str, **options: Any) -> str:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format=file_format, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def label_time(axes: "Axes", session: Session, *, label: bool = True) -> None:
    """Give an axis the session's time from its start: seconds, or minutes if it is long."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    axes.set_xlim(0, max(session.duration_seconds, 1e-3))
    long = session.duration_seconds > 180
    if long:
        step = next((s for s in _STEPS if session.duration_seconds / s <= 12), _STEPS[-1])
        axes.xaxis.set_major_locator(MultipleLocator(step))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda s, _: f"{s // 60:.0f}:{s % 60:02.0f}"))
    if label:
        axes.set_xlabel("time from the start (min:s)" if long else "time from the start (s)")


_STEPS = (30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


def shade_trials(axes: "Axes", session: Session) -> None:
    """Shade where trials ran."""
    for trial in session.trials:
        axes.axvspan(trial.start_seconds, trial.stop_seconds, color="#EDEDED", zorder=0, lw=0)


def draw_trial_strip(axes: "Axes", session: Session) -> None:
    """Draw trials as numbered boxes in a thin axis above a figure."""
    spacing = session.duration_seconds / 45
    last = -np.inf
    for trial in session.trials:
        start, length = trial.start_seconds, trial.stop_seconds - trial.start_seconds
        axes.broken_barh([(start, length)], (0, 1), color="#D9D9D9")
        # Every number that fits: neighbours closer than its own width are left out.
        if start - last >= spacing:
            axes.text(start + length / 2, 0.5, str(trial.number), ha="center", va="center", size=7)
            last = start
    axes.set(ylim=(0, 1), yticks=[0.5], yticklabels=["trial"])
    axes.tick_params(axis="both", length=0, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def envelope(
    time: np.ndarray, values: np.ndarray, n_bins: int = 900
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return time, lowest and highest value of each bin, so that no peak is lost in drawing.

    Parameters
    ----------
    time : ndarray, shape (time,)
        In seconds, of a stretch without gaps.
    values : ndarray, shape (time,)
        In any unit; NaN values are left out.
    n_bins : int
        How many bins to make.
    """
    edges = np.unique(np.linspace(0, len(values), n_bins + 1).astype(int))[:-1]
    if not len(edges):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    low = np.fmin.reduceat(values, edges)
    high = np.fmax.reduceat(values, edges)
    return time[edges], low, high
