"""The recorder's status on the screen: one line per stream."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from physioemo.acquisition.recorder_threads import StreamStatus

__all__ = ["status_display", "status_line"]

_LINE_SECONDS = 5.0
_COLOURS = {"live": "green", "waiting": "yellow", "silent": "yellow", "lost": "red"}

Show = Callable[[tuple[StreamStatus, ...]], None]


@contextmanager
def status_display() -> Iterator[Show]:
    """Yield a function that shows the status of all streams."""
    from rich.console import Console

    console = Console(stderr=True)
    display = _live_table if console.is_terminal else _lines
    with display(console) as show:
        yield show


@contextmanager
def _live_table(console: Any) -> Iterator[Show]:
    from rich.live import Live

    began = time.monotonic()
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda statuses: live.update(_table(statuses, time.monotonic() - began))


def _table(statuses: tuple[StreamStatus, ...], elapsed: float) -> Any:
    from rich.markup import escape
    from rich.table import Table

    title = f"recording {elapsed // 60:.0f}:{elapsed % 60:04.1f}   Ctrl-C stops"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for column in ("stream", "state", "samples", "Hz", "gaps", "missing", "clock offset ms"):
        table.add_column(column)
    for s in statuses:
        # Markers are silent most of the time; only a regular stream may not be.
        alarming = s.state == "silent" and s.nominal_rate_hz > 0
        colour = "red" if alarming else _COLOURS[s.state]
        offset = 1e3 * s.clock_offset_seconds
        table.add_row(
            escape(s.name),
            f"[{colour}]{s.state}[/]",
            str(s.n_samples),
            f"{s.measured_rate_hz:.1f}" if math.isfinite(s.measured_rate_hz) else "-",
            f"[red]{s.n_gaps}[/]" if s.n_gaps else "0",
            f"[red]{s.n_missing_values}[/]" if s.n_missing_values else "0",
            f"{offset:.3f}" if math.isfinite(offset) else "-",
        )
    return table


@contextmanager
def _lines(console: Any) -> Iterator[Show]:
    last = time.monotonic() - _LINE_SECONDS

    def show(statuses: tuple[StreamStatus, ...]) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            click.echo("; ".join(map(status_line, statuses)), err=True)

    yield show


def status_line(status: StreamStatus) -> str:
    """Return one stream's status in words."""
    rate = status.measured_rate_hz
    words = f"{status.name} {status.state}, {status.n_samples} samples"
    words += f" at {rate:.1f} Hz" if math.isfinite(rate) and status.nominal_rate_hz else ""
    words += f", {status.n_gaps} gaps" if status.n_gaps else ""
    return words + (f", {status.n_missing_values} missing" if status.n_missing_values else "")
