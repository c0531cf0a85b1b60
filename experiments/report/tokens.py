"""The report's part on entropy tokens: what the decoder sees, over time."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from physioemo.errors import SignalError
from physioemo.experiments.report.figures import (
    draw_trial_strip,
    encode_png,
    label_time,
    new_canvas,
)
from physioemo.experiments.report.parts import Block, Figure, shorten
from physioemo.experiments.report.power import (
    eeg_segments,
    mean_present,
    median_present,
    usable_bands,
)
from physioemo.experiments.report.session import Session
from physioemo.features.entropy import differential_entropy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Tokens", "entropy_tokens", "token_blocks"]

WINDOW_SECONDS = 1.0
MOST_LABELS = 40


class Tokens(NamedTuple):
    """Differential entropy in nats, (window, channel, band), and when each window starts."""

    ch_names: tuple[str, ...]
    band_names: tuple[str, ...]
    start_seconds: np.ndarray
    entropy: np.ndarray


def entropy_tokens(session: Session, key: str) -> Tokens:
    """Return the entropy of each second of a stream, stretch by stretch between gaps.

    Raises
    ------
    SignalError
        If no stretch is as long as a window.
    """
    sfreq = float(session.recording[key].attrs["sfreq"])
    names, segments = eeg_segments(session, key)
    bands, n = usable_bands(sfreq), round(WINDOW_SECONDS * sfreq)
    long = [(time, signal) for time, signal in segments if signal.shape[1] >= n]
    if not long:
        raise SignalError(
            f"found no stretch of {WINDOW_SECONDS:g} s without a gap in {key!r}, expected at "
            "least one; record for longer"
        )
    entropy = [differential_entropy(s, sfreq, bands=bands, window_seconds=1.0) for _, s in long]
    starts = [time[::n][: len(e)] for (time, _), e in zip(long, entropy, strict=True)]
    start_seconds = np.concatenate(starts)
    # A clock that was set back makes stretches overlap; a picture needs times in order.
    order = np.argsort(start_seconds, kind="stable")
    return Tokens(names, tuple(bands), start_seconds[order], np.concatenate(entropy)[order])


def token_blocks(session: Session) -> list[Block]:
    """Return an image of the tokens of each EEG stream."""
    session.need_channels("eeg", "EEG")
    keys = dict.fromkeys(c.stream for c in session.channels("eeg"))
    return [_figure(session, key, entropy_tokens(session, key)) for key in keys]


def _figure(session: Session, key: str, tokens: Tokens) -> Figure:
    centred = tokens.entropy - median_present(tokens.entropy)
    band = tokens.band_names.index("alpha") if "alpha" in tokens.band_names else 0
    name, n_channels = tokens.band_names[band], len(tokens.ch_names)
    height = float(np.clip(0.13 * n_channels, 1.2, 5))
    canvas = new_canvas(1.8 + height)
    strip, top, low = canvas.subplots(3, 1, sharex=True, height_ratios=(0.22, 1.0, height))
    draw_trial_strip(strip, session)
    averaged = mean_present(centred, axis=1)
    image = _draw_image(top, tokens.start_seconds, averaged.T, list(tokens.band_names))
    canvas.colorbar(image, ax=top, aspect=8, pad=0.01).set_label("nats")
    image = _draw_image(low, tokens.start_seconds, centred[:, :, band].T, list(tokens.ch_names))
    canvas.colorbar(image, ax=low, aspect=24, pad=0.01).set_label("nats")
    top.set_title("all bands, mean over electrodes", loc="left")
    low.set_title(f"{name}, each electrode", loc="left")
    label_time(low, session)
    caption = (
        f"Differential entropy of {key} in windows of {WINDOW_SECONDS:g} s, each row minus its own "
        "median over the recording; grey where there is none. Colours saturate for the largest "
        "4 % of values; the first window after a gap still holds the settling of the filters."
    )
    return Figure(encode_png(canvas), caption, f"Entropy tokens of {key} over time")


def _draw_image(axes: "Axes", start_seconds: np.ndarray, rows: np.ndarray, names: list[str]) -> Any:
    """Draw (row, window); times between windows that do not touch stay grey."""
    edges, values = _with_gaps(start_seconds, rows)
    finite = np.abs(rows[np.isfinite(rows)])
    top = max(float(np.percentile(finite, 96)), 1e-3) if len(finite) else 1.0
    axes.set_facecolor("#BBBBBB")
    image = axes.pcolormesh(
        edges,
        np.arange(len(names) + 1),
        np.ma.masked_invalid(values),
        cmap="RdBu_r",
        vmin=-top,
        vmax=top,
    )
    every = -(-len(names) // MOST_LABELS)
    shown = range(0, len(names), every)
    axes.set_yticks([i + 0.5 for i in shown], [shorten(names[i], 14) for i in shown])
    axes.tick_params(axis="y", length=0, labelsize=8 if len(names) <= 20 else 6)
    axes.set_ylim(len(names), 0)
    return image


def _with_gaps(start_seconds: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return cell edges, with an empty column wherever the next window does not follow at once."""
    stops = start_seconds + WINDOW_SECONDS
    gap = np.flatnonzero(start_seconds[1:] - stops[:-1] > 0.05) + 1
    edges = np.append(start_seconds, stops[-1])
    return np.insert(edges, gap, stops[gap - 1]), np.insert(rows, gap, np.nan, axis=1)
