"""A causal recursive filter as matrix products: the lifted or block state-space form.

Over a block of L samples the filter is linear in the block and in its own state at the start:
``y = x T + z O`` and ``z' = x B + z A`` (Barnes and Shinnaka 1980, IEEE Trans. Circuits Syst.
27:667-672). T, O, B and A are read off the filter itself once, so all blocks of all rows are
filtered by two large products and a short scan over the states.

For float32, what is large and cancels is computed in float64 first: a block enters as its
differences from its first sample ``x0``, and the response to ``(z, x0)`` as coordinates in an
orthonormal basis of such responses.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from physioemo.features.entropy_tiles import product

__all__ = ["BLOCK_SAMPLES", "Lifted", "filtered_bands", "lift"]

BLOCK_SAMPLES = 64
"""Length of a block: longer ones cost more multiplications, shorter ones more steps."""


class Lifted(NamedTuple):
    """The matrices of the filters of all bands; a state has ``x0`` as its last entry.

    Parameters
    ----------
    drive : ndarray, shape (time, band * state)
        What a block adds to the next state; its first sample.
    carry : ndarray, shape (band, state - 1, state - 1)
        How a state goes on through a block.
    reduce : ndarray, shape (band, state, coordinate)
        Coordinates of the response to a state.
    output : ndarray, shape (band, time + coordinate, time)
        The filtered block, from differences and coordinates.
    """

    drive: np.ndarray
    carry: np.ndarray
    reduce: np.ndarray
    output: np.ndarray


@lru_cache(maxsize=64)
def lift(filters: tuple[bytes, ...]) -> Lifted:
    """Read the matrices off filters of equal order, given as the bytes of their sections."""
    parts = [_lift_one(np.frombuffer(f).reshape(-1, 6).copy()) for f in filters]
    drive, carry, reduce, output = zip(*parts, strict=True)
    return Lifted(
        np.concatenate(drive, axis=1), np.stack(carry), np.stack(reduce), np.stack(output)
    )


def _lift_one(sos: np.ndarray) -> tuple[np.ndarray, ...]:
    """Feed one filter impulses and unit states."""
    from scipy.signal import sosfilt

    n, n_states = BLOCK_SAMPLES, 2 * len(sos)
    forced, ends = sosfilt(sos, np.eye(n), axis=1, zi=np.zeros((len(sos), n, 2)))
    units = np.eye(n_states).reshape(n_states, len(sos), 2).transpose(1, 0, 2)
    free, carried = sosfilt(sos, np.zeros((n_states, n)), axis=1, zi=units)
    basis, coordinates = np.linalg.qr(np.vstack([free, forced.sum(axis=0)]).T)
    drive = np.column_stack([_flat(ends), np.eye(n)[0]])
    return drive, _flat(carried), coordinates.T, np.vstack([forced, basis.T])


def _flat(states: np.ndarray) -> np.ndarray:
    """Return filter states (section, row, 2) as (row, section * 2)."""
    return states.transpose(1, 0, 2).reshape(states.shape[1], -1)


def filtered_bands(
    rows: np.ndarray, filters: tuple[np.ndarray, ...], dtype: Any, n_rows: int = 1 << 30
) -> Iterator[tuple[slice, int, np.ndarray]]:
    """Filter rows (row, time) from rest in every band.

    Parameters
    ----------
    rows : ndarray, shape (row, time)
        Signals, float64.
    filters : tuple of ndarray, shape (section, 6)
        One per band.
    dtype : dtype
        Precision of the last and largest product.
    n_rows : int
        How many rows to give out at a time.

    Yields
    ------
    rows : slice
        Which rows.
    band : int
        Which band.
    filtered : ndarray, shape (row, time)
        Scratch memory, valid until the next one is asked for.
    """
    lifted = lift(tuple(f.tobytes() for f in filters))
    n_bands, n_states, n_coordinates = lifted.reduce.shape
    blocks = _in_blocks(rows)
    states = _states(blocks, lifted)
    n_rows = min(n_rows, len(rows))
    entering = np.empty((n_rows, blocks.shape[1], BLOCK_SAMPLES + n_coordinates), dtype)
    filtered = np.empty((n_rows, blocks.shape[1], BLOCK_SAMPLES), dtype)
    coordinates = np.empty((n_rows * blocks.shape[1], n_coordinates))
    outputs = lifted.output.astype(dtype)
    for start in range(0, len(rows), n_rows):
        at = slice(start, min(start + n_rows, len(rows)))
        part, n = blocks[at], at.stop - at.start
        flat = entering[:n].reshape(-1, entering.shape[2])
        entering[:n, :, :BLOCK_SAMPLES] = part - part[..., :1]
        for band in range(n_bands):
            before = states[at].reshape(-1, n_bands, n_states)[:, band]
            flat[:, BLOCK_SAMPLES:] = product(
                before, lifted.reduce[band], coordinates[: len(before)]
            )
            product(flat, outputs[band], filtered[:n].reshape(-1, BLOCK_SAMPLES))
            yield at, band, filtered[:n].reshape(n, -1)[:, : rows.shape[1]]


def _in_blocks(rows: np.ndarray) -> np.ndarray:
    """Return rows as (row, block, time), with zeros after the end."""
    n = -(-rows.shape[1] // BLOCK_SAMPLES) * BLOCK_SAMPLES
    if n != rows.shape[1] or not rows.flags.c_contiguous:
        padded = np.zeros((len(rows), n))
        padded[:, : rows.shape[1]] = rows
        rows = padded
    return rows.reshape(len(rows), -1, BLOCK_SAMPLES)


def _states(blocks: np.ndarray, lifted: Lifted) -> np.ndarray:
    """Return the state before each block, (row, block, band, state)."""
    n_bands, n_states, _ = lifted.reduce.shape
    states = np.empty((*blocks.shape[:2], n_bands, n_states))
    product(blocks.reshape(-1, BLOCK_SAMPLES), lifted.drive, states.reshape(-1, n_bands * n_states))
    state = np.zeros((n_bands, len(blocks), n_states - 1))
    for k in range(blocks.shape[1]):
        drive = states[:, k, :, :-1].transpose(1, 0, 2)
        following = state @ lifted.carry
        following += drive
        drive[...] = state
        state = following
    return states
