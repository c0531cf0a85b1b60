"""Big offline jobs in pieces that stay in the cache, shared out between the cores.

NumPy and SciPy release the interpreter's lock while they compute, so threads do. Each thread
takes the next piece when it is done with one. BLAS starts threads of its own for large products,
which would wait for ours; small products it computes on the thread that calls.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

__all__ = ["channel_groups", "over_tiles", "product", "thread_count", "tiles_of"]

Tile = TypeVar("Tile")

_MULTIPLICATIONS = 1 << 19
"""OpenBLAS keeps products with fewer multiplications on one thread (interface/gemm.c)."""


def thread_count() -> int:
    """Return how many threads to use: the process's cores, or fewer if OMP_NUM_THREADS says so."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) else cores


def over_tiles(work: Callable[[Iterator[Tile]], None], tiles: Sequence[Tile]) -> None:
    """Run `work` in as many threads as there are cores, all drawing on the same tiles.

    Parameters
    ----------
    work : callable
        Takes an iterator over tiles; it may keep scratch memory from one tile to the next.
    tiles : sequence
        The pieces. Results must not depend on who computes which.
    """
    n_threads = min(thread_count(), len(tiles))
    shared = iter(tiles)  # next() of a list's iterator is atomic
    if n_threads <= 1:
        work(shared)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(n_threads) as pool:
        for future in [pool.submit(work, shared) for _ in range(n_threads)]:
            future.result()


def channel_groups(n_channels: int, size: int) -> list[slice]:
    """Return slices of at most `size` channels."""
    return [slice(c, min(c + size, n_channels)) for c in range(0, n_channels, size)]


def tiles_of(n_channels: int, n_windows: int, n_rows: int) -> list[tuple[slice, slice]]:
    """Return slices of (channel, window) of at most about `n_rows` windows each."""
    channels = max(1, n_rows // max(n_windows, 1))
    windows = max(1, n_rows)
    return [
        (slice(c, min(c + channels, n_channels)), slice(w, min(w + windows, n_windows)))
        for c in range(0, n_channels, channels)
        for w in range(0, n_windows, windows)
    ]


def product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write the matrix product to `out` in pieces that BLAS computes on this thread.

    Parameters
    ----------
    left, right, out : ndarray, shape (row, inner), (inner, column) and (row, column)
        The rows of `left` and of `out` may lie apart, evenly.
    """
    inner, columns = right.shape
    n = max(1, (_MULTIPLICATIONS - 1) // (inner * columns))
    whole = len(left) // n * n
    np.matmul(left[:whole].reshape(-1, n, inner), right, out=out[:whole].reshape(-1, n, columns))
    np.matmul(left[whole:], right, out=out[whole:])
    return out
