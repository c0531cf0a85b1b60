"""A file of a data set that is read by itself: the unit of parallel and resumable work."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from physioemo.datasets.assemble import one_at_a_time
from physioemo.recording import Recording

__all__ = ["Source", "read_sources"]


@dataclass(frozen=True)
class Source:
    """One file of a data set and how to read it.

    Parameters
    ----------
    name : str
        Unique among the sources of a folder, and fit for a file name.
    files : tuple of Path
        Everything that is read: the file itself first, then those it needs (labels, ratings).
    read : callable
        ``read() -> iterator of Recording``, one at a time. It can be pickled: a function of a
        module, or :func:`functools.partial` of one.
    """

    name: str
    files: tuple[Path, ...]
    read: Callable[[], Iterator[Recording]]


def read_sources(sources: Iterable[Source]) -> Iterator[Recording]:
    """Yield the recordings of all sources, one at a time."""
    return one_at_a_time(chain.from_iterable(source.read() for source in sources))
