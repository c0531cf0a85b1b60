"""Progress with an ETA: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

__all__ = ["progress"]

_LINE_SECONDS = 10.0


@contextmanager
def progress(what: str, total: float | None) -> Iterator[Callable[..., None]]:
    """Show how far a long piece of work is.

    Parameters
    ----------
    what : str
        What is being done.
    total : float or None
        How much there is; None if there is no end.

    Yields
    ------
    callable
        ``update(done, before=0.0)``: how much is done, and how much of that was done before this
        run and says nothing of its speed.
    """
    from rich.console import Console

    console = Console(stderr=True)
    show = _bar if console.is_terminal and total else _lines
    with show(what, total) as update:
        yield update


@contextmanager
def _bar(what: str, total: float | None) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task(what, total=total)
        # What was done before comes with the first call, which its speed leaves out.
        yield lambda done, before=0.0: bars.update(task, completed=done)


@contextmanager
def _lines(what: str, total: float | None) -> Iterator[Callable[..., None]]:
    began = last = time.monotonic()

    def update(done: float, before: float = 0.0) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _LINE_SECONDS:
            return
        last = now
        if total and done > before:
            left = (now - began) * (total - done) / (done - before)
            click.echo(f"{what}: {100 * done / total:.0f} %, about {left:.0f} s left", err=True)
        else:
            click.echo(f"{what}: {now - began:.0f} s", err=True)

    yield update
