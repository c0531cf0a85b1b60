"""The recorder's status on the screen: one line per stream, and how long the disk will do."""

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from physioemo.acquisition.recorder_threads import StreamStatus
from physioemo.led import RECORDED_AGAIN
from physioemo.screen import Latest
from physioemo.store import JOURNAL

__all__ = ["DiskWatch", "ReturnNotices", "status_display", "status_line"]

_LINE_SECONDS = 5.0
_FEW_MINUTES = 15.0
_LOOK_SECONDS = 2.0
# Sealing writes the recording a second time before the journal goes.
_COPIES = 2
_COLOURS = {"live": "green", "waiting": "yellow", "silent": "yellow", "lost": "red"}

Show = Callable[[tuple[StreamStatus, ...]], None]


class DiskWatch:
    """For how many minutes the disk takes a recording, at the rate of its journal so far.

    Parameters
    ----------
    folder : Path
        The recording.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._looked, self._began = -math.inf, time.monotonic()
        self._minutes = math.nan

    def minutes_left(self) -> float:
        """Return the minutes; NaN while too little is written to tell."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return self._minutes
        self._looked = now
        try:
            written = sum(f.stat().st_size for f in (self.folder / JOURNAL).glob("*.journal"))
            free = shutil.disk_usage(self.folder).free
        except OSError:
            return self._minutes
        per_minute = 60 * written / max(now - self._began, 1e-3)
        if now - self._began >= _LOOK_SECONDS and per_minute > 0:
            # What is there already has to be written once more, too.
            self._minutes = max(0.0, (free - written) / (_COPIES * per_minute))
        return self._minutes

    def text(self) -> str:
        """Return it in words; empty while nothing can be told."""
        minutes = self.minutes_left()
        if not math.isfinite(minutes):
            return ""
        return f"disk for {minutes:.0f} min" if minutes < 600 else f"disk for {minutes / 60:.0f} h"


class ReturnNotices:
    """Tells a leader which streams are recorded again after their program had gone.

    A decoder has an inlet of its own and may have joined the stream earlier than the recorder. It
    begins from rest then, so that all it takes is recorded.

    Parameters
    ----------
    on_notice : callable
        Told the stream's name and that.
    show : callable
        Given the statuses besides.
    """

    def __init__(self, on_notice: Callable[[str], None], show: Show) -> None:
        self._on_notice, self._show = on_notice, show
        self._known: dict[str, int] = {}

    def __call__(self, statuses: tuple[StreamStatus, ...]) -> None:
        """Look at the statuses of all streams."""
        self._show(statuses)
        for status in statuses:
            if status.n_returns > self._known.get(status.uid, 0):
                self._on_notice(f"{status.name}{RECORDED_AGAIN}")
            self._known[status.uid] = status.n_returns


@contextmanager
def status_display(folder: Path | None = None) -> Iterator[Show]:
    """Yield a function that shows the status of all streams.

    Parameters
    ----------
    folder : Path, optional
        The recording; with it, for how long its disk will do.
    """
    from rich.console import Console

    console, watch = Console(stderr=True), DiskWatch(folder) if folder else None
    display = _live_table if console.is_terminal else _lines

    with (
        contextlib.suppress(BrokenPipeError),
        display(console, watch) as show,
        Latest(show) as told,
    ):
        yield told


@contextmanager
def _live_table(console: Any, disk: DiskWatch | None) -> Iterator[Show]:
    from rich.live import Live

    began = time.monotonic()
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda statuses: live.update(_table(statuses, time.monotonic() - began, disk))


def _table(
    statuses: tuple[StreamStatus, ...], elapsed: float, disk: DiskWatch | None = None
) -> Any:
    from rich.markup import escape
    from rich.table import Table

    left = disk.text() if disk else ""
    if disk and disk.minutes_left() < _FEW_MINUTES:
        left = f"[red]{left}[/]"
    title = f"recording {elapsed // 60:.0f}:{elapsed % 60:04.1f}   {left}   Ctrl-C stops"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for column in ("stream", "state", "samples", "Hz", "gaps", "missing", "clock offset ms"):
        table.add_column(column)
    for s in statuses:
        # Markers are silent most of the time; only a regular stream may not be.
        alarming = s.state == "silent" and s.nominal_rate_hz > 0
        colour = "red" if alarming else _COLOURS[s.state]
        offset = 1e3 * s.clock_offset_seconds
        table.add_row(
            escape(s.name) + (f"\n[red]{escape(s.warning)}[/]" if s.warning else ""),
            f"[{colour}]{s.state}[/]",
            str(s.n_samples),
            f"{s.measured_rate_hz:.1f}" if math.isfinite(s.measured_rate_hz) else "-",
            f"[red]{s.n_gaps}[/]" if s.n_gaps else "0",
            f"[red]{s.n_missing_values}[/]" if s.n_missing_values else "0",
            f"{offset:.3f}" if math.isfinite(offset) else "-",
        )
    return table


@contextmanager
def _lines(console: Any, disk: DiskWatch | None) -> Iterator[Show]:
    last = time.monotonic() - _LINE_SECONDS

    def show(statuses: tuple[StreamStatus, ...]) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            left = [disk.text()] if disk and disk.text() else []
            click.echo("; ".join([*map(status_line, statuses), *left]), err=True)

    yield show


def status_line(status: StreamStatus) -> str:
    """Return one stream's status in words."""
    rate = status.measured_rate_hz
    words = f"{status.name} {status.state}, {status.n_samples} samples"
    words += f" at {rate:.1f} Hz" if math.isfinite(rate) and status.nominal_rate_hz else ""
    words += f", {status.n_gaps} gaps" if status.n_gaps else ""
    words += f", {status.n_missing_values} missing" if status.n_missing_values else ""
    return words + (f" (! {status.warning})" if status.warning else "")
