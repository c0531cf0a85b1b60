"""Progress with an ETA: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

__all__ = ["progress"]

_LINE_SECONDS = 10.0


@contextmanager
def progress(what: str, total: float | None) -> Iterator[Callable[[float], None]]:
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
        To be called with how much is done.
    """
    from rich.console import Console

    console = Console(stderr=True)
    show = _bar if console.is_terminal and total else _lines
    with show(what, total) as update:
        yield update


@contextmanager
def _bar(what: str, total: float | None) -> Iterator[Callable[[float], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)


@contextmanager
def _lines(what: str, total: float | None) -> Iterator[Callable[[float], None]]:
    began = last = time.monotonic()

    def update(done: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _LINE_SECONDS:
            return
        last = now
        if total and done:
            left = (now - began) * (total - done) / done
            click.echo(f"{what}: {100 * done / total:.0f} %, about {left:.0f} s left", err=True)
        else:
            click.echo(f"{what}: {now - began:.0f} s", err=True)

    yield update
