"""The figures of a study's report, as data URIs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physioemo.experiments.metrics import expected_calibration_error
from physioemo.experiments.report.figures import COLOURS, draw_stamp, encode_svg, new_canvas
from physioemo.experiments.report.parts import PAGE_INCHES, shorten
from physioemo.experiments.study_score_blocks import score_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

__all__ = [
    "attention_figure",
    "calibration_figure",
    "confusion_figure",
    "interaction_figure",
    "learning_figure",
    "subject_confusion_figure",
    "subject_figure",
]

_CYCLE = [COLOURS[c] for c in ("blue", "red", "green", "purple", "orange", "sky", "black")]
_BINS = 10
_FROM_ZERO = ("ccc", "quadratic_weighted_kappa")  # chance is 0, and worse is below


def subject_figure(
    content: dict[str, Any], name: str, n_classes: int = 0, *, stamp: str = ""
) -> str:
    """Draw every subject's score, the mean, and what permuted labels reached.

    Thresholds are of accuracy, whatever the score is: they stand in a panel of their own.
    """
    models = {k: v for k, v in content["models"].items() if name in v["trial"]}
    canvas = new_canvas(max(2.0, 0.55 * len(models) + 1.0))
    # The last number of one panel would touch the first of the next.
    canvas.set_layout_engine("constrained", w_pad=0.15)
    panels = canvas.subplots(1, 2 if n_classes else 1, sharey=True, squeeze=False)[0]
    axes = panels[0]
    for row, scores in enumerate(models.values()):
        values = np.array([s["trial"][name] for s in scores["subjects"].values()], float)
        spread = (np.arange(len(values)) % 7 - 3) * 0.045
        permuted = [p["trial"] for p in scores["permuted"] if p["trial"] is not None]
        if permuted:
            axes.broken_barh(
                [(min(permuted), max(max(permuted) - min(permuted), 0.002))],
                (row - 0.36, 0.72),
                color="#D9D9D9",
                zorder=1,
            )
        colour = _CYCLE[row % len(_CYCLE)]
        axes.plot(values, row + spread, "o", ms=4, color=colour, alpha=0.75, zorder=3)
        mean = scores["trial"][name]["mean"]
        axes.plot([mean, mean], [row - 0.36, row + 0.36], color=colour, lw=2.5, zorder=4)
        if n_classes:
            _draw_accuracy(panels[1], row, scores)
    axes.set(yticks=range(len(models)), yticklabels=list(models), ylim=(len(models) - 0.4, -0.6))
    axes.set_xlabel(f"{score_title(name)} of trials")
    if name in _FROM_ZERO:
        axes.axvline(0.0, color="#999999", lw=0.8, ls=":")
    else:
        axes.set_xlim(-0.02, 1.02)
        axes.axvline(1 / n_classes if n_classes else 0.0, color="#999999", lw=0.8, ls=":")
    if n_classes:
        panels[1].set(xlim=(-0.02, 1.02), xlabel="accuracy of trials")
        panels[1].tick_params(axis="y", length=0)
    return _stamped(canvas, stamp)


def _draw_accuracy(axes: "Axes", row: int, scores: dict[str, Any]) -> None:
    """Draw each subject's accuracy, filled if above the threshold below it."""
    colour = _CYCLE[row % len(_CYCLE)]
    for k, (subject, found) in enumerate(scores["subjects"].items()):
        value = found["trial"].get("accuracy")
        limit = scores.get("chance", {}).get(subject, {}).get("threshold")
        if value is None:
            continue
        at = row + (k % 7 - 3) * 0.045
        above = limit is not None and value > limit
        axes.plot(value, at, "o", ms=4, color=colour, mfc=colour if above else "none", zorder=3)
        if limit is not None:
            axes.plot(limit, row - 0.36, "^", ms=3.5, mfc="none", color="#767676")


def _stamped(canvas: "Canvas", stamp: str) -> str:
    """Encode a figure; a stamp is part of the image, so that it is not lost when copied."""
    draw_stamp(canvas, stamp)
    return encode_svg(canvas)


def confusion_figure(content: dict[str, Any], classes: list[str], *, stamp: str = "") -> str:
    """Draw the confusion matrix over the trials of all subjects, one per model."""
    models = content["models"]
    n_columns = min(4, len(models))
    n_rows = -(-len(models) // n_columns)
    side = 1.9 if len(classes) < 4 else 2.3
    canvas = new_canvas(side * n_rows + 0.4, min(9.6, side * 1.25 * n_columns))
    grid = canvas.subplots(n_rows, n_columns, squeeze=False)
    for axes in grid.flat[len(models) :]:
        axes.set_visible(False)
    for axes, (label, scores) in zip(grid.flat, models.items(), strict=False):
        counts = np.sum([s["trial"]["confusion"] for s in scores["subjects"].values()], axis=0)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (i, j), value in np.ndenumerate(share):
            ink = "white" if value > 0.55 else "black"
            text = f"{value:.2f}\n({counts[i, j]})" if len(classes) < 4 else f"{counts[i, j]}"
            axes.text(j, i, text, ha="center", va="center", color=ink, size=8)
        ticks = range(len(classes))
        axes.set(xticks=ticks, yticks=ticks, xticklabels=classes, yticklabels=classes)
        axes.set_title(shorten(label))
        axes.tick_params(length=0)
        if label == next(iter(models)):
            axes.set(xlabel="said", ylabel="true")
        if len(classes) > 3:
            axes.tick_params(axis="x", labelrotation=90)
    return _stamped(canvas, stamp)


def subject_confusion_figure(
    confusions: dict[str, np.ndarray], classes: list[str], *, stamp: str = ""
) -> str:
    """Draw the confusion matrix of every subject of one model, counts in the cells.

    Parameters
    ----------
    confusions : dict of str to ndarray, shape (class, class)
        Trials by subject: true by rows, said by columns.
    classes : list of str
        Names, written at the first matrix.
    """
    side = 1.2 if len(classes) < 6 else 1.6
    n_columns = min(len(confusions), int(PAGE_INCHES // side))
    n_rows = -(-len(confusions) // n_columns)
    canvas = new_canvas(side * 1.1 * n_rows + 0.5, min(PAGE_INCHES, side * n_columns + 1.0))
    grid = canvas.subplots(n_rows, n_columns, squeeze=False)
    for axes in grid.flat[len(confusions) :]:
        axes.set_visible(False)
    short = [s.rsplit("/", 1)[-1] for s in confusions]
    names = short if len(set(short)) == len(short) else list(confusions)
    for k, (axes, counts) in enumerate(zip(grid.flat, confusions.values(), strict=False)):
        _draw_counts(axes, counts)
        ticks = range(len(classes))
        axes.set(xticks=ticks, yticks=ticks, xticklabels=[], yticklabels=[])
        axes.set_title(f"{shorten(names[k], 14)} (n {counts.sum()})", size=8)
        axes.tick_params(length=0)
        if not k:
            axes.set_xticklabels(classes, rotation=90 if len(classes) > 2 else 0, size=7)
            axes.set_yticklabels(classes, size=7)
            axes.set(xlabel="said", ylabel="true")
    return _stamped(canvas, stamp)


def _draw_counts(axes: "Axes", counts: np.ndarray) -> None:
    """Draw one matrix: shades are shares of each row, numbers are counts; empty is none."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    size = 8 if len(counts) < 4 else 6
    for (i, j), value in np.ndenumerate(counts):
        if not value and len(counts) > 3:
            continue  # a grid of zeros hides what is there
        ink = "white" if share[i, j] > 0.55 else "black"
        axes.text(j, i, str(value), ha="center", va="center", color=ink, size=size)


def calibration_figure(folder: Path, dimension: int, n_classes: int, *, stamp: str = "") -> str:
    """Draw how often the likeliest class is right against its probability; empty without file."""
    path = folder / "predictions.zarr"
    if not path.is_dir():
        return ""
    import xarray as xr

    canvas = new_canvas(3.6, 6.0)
    axes = canvas.subplots()
    axes.plot([0, 1], [0, 1], color="#999999", lw=0.8, ls=":")
    with xr.open_zarr(path, consolidated=False, chunks=None) as store:
        truth = store["target"].values[:, dimension]
        for k, label in enumerate(str(m) for m in store["model"].values):
            said = store["predicted"].values[k, dimension, :, :n_classes]
            rows = np.isfinite(said).all(axis=1) & (truth >= 0)
            confidence = said[rows].max(axis=1)
            right = said[rows].argmax(axis=1) == truth[rows]
            bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
            there = [b for b in range(_BINS) if (bins == b).sum() >= _BINS]
            # Of all windows together, as the curve is; the mean over subjects is another number.
            error = expected_calibration_error(truth[rows], said[rows]) if rows.any() else None
            name = label if error is None else f"{label} (error {error:.3f})"
            axes.plot(
                [confidence[bins == b].mean() for b in there],
                [right[bins == b].mean() for b in there],
                "o-",
                ms=4,
                color=_CYCLE[k % len(_CYCLE)],
                label=name,
                clip_on=False,
            )
    axes.set(xlabel="probability of the likeliest class", ylabel="share right")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="lower left" if n_classes == 2 else "upper left")
    return _stamped(canvas, stamp)


def learning_figure(content: dict[str, Any], *, stamp: str = "") -> str:
    """Draw training and validation loss over epochs; empty if no network was trained."""
    trained = {
        label: [n for n in scores.get("training", []) if "train_loss" in n]
        for label, scores in content["models"].items()
    }
    trained = {k: v for k, v in trained.items() if v}
    if not trained:
        return ""
    canvas = new_canvas(3.2, 6.0)
    axes = canvas.subplots()
    for k, (label, notes) in enumerate(trained.items()):
        colour = _CYCLE[k % len(_CYCLE)]
        for kind, style in (("train_loss", "--"), ("validation_loss", "-")):
            curves = [n[kind] for n in notes if kind in n]  # none is checked where the last counts
            if curves:
                name = f"{label}, {kind.split('_')[0]}"
                mean = _mean_curve(curves)
                axes.plot(np.arange(1, len(mean) + 1), mean, style, color=colour, label=name)
    axes.set(xlabel="epoch", ylabel="loss")
    axes.locator_params(axis="x", integer=True)
    axes.legend()
    return _stamped(canvas, stamp)


def interaction_figure(maps: dict[str, Any], *, stamp: str = "") -> str:
    """Draw how far each pair of electrodes acts together, in units of the null's largest pair."""
    names = maps["ch_names"]
    found = maps["interactions"]
    score = np.array(found["score"], float) / max(found["threshold"], 1e-12)
    side = min(8.0, 2.2 + 0.17 * len(names))
    canvas = new_canvas(side, side + 1.0)
    # An image of fixed aspect pushes its labels over the edge otherwise.
    canvas.set_layout_engine("constrained", w_pad=0.15)
    axes = canvas.subplots()
    top = max(1.0, float(np.nanmax(score)))
    image = axes.imshow(score, cmap="viridis", vmin=0, vmax=top)
    axes.set_xticks(range(len(names)), names, rotation=90, size=7)
    axes.set_yticks(range(len(names)), names, size=7)
    axes.tick_params(length=0)
    bar = canvas.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("share of the largest pair of permuted labels")
    return _stamped(canvas, stamp)


def attention_figure(maps: dict[str, Any], *, stamp: str = "") -> str:
    """Draw attention between electrodes, of true labels beside permuted ones, 1 being even."""
    names = maps["ch_names"]
    parts = [np.array(maps["attention"][k], float) * len(names) for k in ("mean", "null_mean")]
    top = float(np.nanmax(parts))
    canvas = new_canvas(min(4.5, 2.6 + 0.08 * len(names)))
    panels = canvas.subplots(1, 2)
    for axes, values, title in zip(panels, parts, ("true labels", "permuted labels"), strict=True):
        image = axes.imshow(values, cmap="magma", vmin=0, vmax=top)
        size = 7 if len(names) <= 32 else 5
        axes.set_xticks(range(len(names)), names, rotation=90, size=size)
        axes.set_yticks(range(len(names)), names, size=size)
        axes.tick_params(length=0)
        axes.set(title=title, xlabel="attended", ylabel="attending")
    bar = canvas.colorbar(image, ax=panels, shrink=0.85)
    bar.set_label("raw attention, 1 is even\n(not connectivity)")
    return _stamped(canvas, stamp)


def _mean_curve(curves: list[list[float]]) -> np.ndarray:
    longest = max(len(c) for c in curves)
    padded = np.full((len(curves), longest), np.nan)
    for row, curve in zip(padded, curves, strict=True):
        row[: len(curve)] = curve
    return np.asarray(np.nanmean(padded, axis=0))
