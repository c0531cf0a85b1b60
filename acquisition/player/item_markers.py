"""What the stream of markers says of an item: when it began, when it ended, and what it was."""

from collections.abc import Iterator, Mapping
from typing import Any

from physioemo.acquisition.player.item import STIMULUS_KINDS, Item
from physioemo.acquisition.player.item_report import ItemReport
from physioemo.acquisition.player.prepared import Prepared
from physioemo.acquisition.player.screen import Screen

__all__ = ["rating_markers", "start_markers", "stop_markers"]

Marker = dict[str, Any]


def start_markers(report: ItemReport, prepared: Prepared, screen: Screen) -> Iterator[Marker]:
    """Yield what is said at an item's first flip; of a trial, that it begins."""
    item, file, place = prepared.item, prepared.file, screen.geometry()
    content: Marker = {
        "event": "item_start",
        "item": report.number,
        "kind": item.kind,
        "trial": item.trial,
        "stimulus": item.name,
        "clock": report.clock,
        "window": list(place.window),
        "window_position": list(place.position),
        "screen": list(place.screen),
        "latency_seconds": screen.settings.latency_seconds,
    }
    if file is not None:
        content["file"], content["sha256"] = file.path.name, file.sha256
        content["rate"] = None if file.rate is None else str(file.rate)
        content["size"] = None if file.size is None else list(file.size)
        content["start_seconds"] = item.start_seconds
    if prepared.rect is not None:
        content["rect"] = list(prepared.rect)
    yield {k: v for k, v in content.items() if v is not None and v != ""}
    if item.kind in STIMULUS_KINDS and item.trial is not None:
        start = {"event": "trial_start", "trial": item.trial, "stimulus": item.name}
        yield start if file is None else {**start, "sha256": file.sha256}


def stop_markers(report: ItemReport, item: Item) -> Iterator[Marker]:
    """Yield what is said at an item's end; of a trial, that it ended or was cut off."""
    if item.kind in STIMULUS_KINDS and item.trial is not None:
        whole = report.reason in ("finished", "key", "stopped")
        # An aborted trial has no end, so it is not in the table of trials.
        event = "trial_stop" if whole else "trial_abort"
        yield {"event": event, "trial": item.trial, "reason": report.reason}
    end: Marker = {"event": "item_stop", "item": report.number, "reason": report.reason}
    if item.kind == "video":
        end |= {"shown": report.n_shown, "dropped": report.n_dropped}
    yield end


def rating_markers(
    report: ItemReport, trial: int, scales: Mapping[str, tuple[float, float]]
) -> Iterator[Marker]:
    """Yield what is said of an answer, dimension by dimension."""
    for dimension, value in report.values.items():
        low, high = scales[dimension]
        yield {
            "event": "rating",
            "item": report.number,
            "trial": trial,
            "dimension": dimension,
            "value": value,
            "scale": [low, high],
            "seconds": report.answer_seconds,
        }
