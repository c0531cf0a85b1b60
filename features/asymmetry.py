"""Asymmetries of differential entropy between facing electrodes: DASM, RASM, DCAU.

From the entropies of a left and a right electrode, ``DASM = left - right`` and
``RASM = left / right``; from a frontal and a posterior one, ``DCAU = frontal - posterior``
(Duan, Zhu and Lu 2013, IEEE/EMBS NER 81-84; Zheng and Lu 2015, IEEE Trans. Auton. Ment. Dev.
7:162-175; Zheng, Zhu and Lu 2019, IEEE Trans. Affect. Comput. 10:417-429).

An entropy crosses zero where a band has 0.06 uV^2 (0.24 uV rms), and the ratio is unbounded
there: RASM is NaN where the right electrode's entropy is within :data:`RASM_BOUND_NATS` of zero.
It also depends on the unit of the signal, which is microvolts here; DASM and DCAU do not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from physioemo.description import StreamDescription
from physioemo.errors import SignalError
from physioemo.features.eeg_windows import (
    alive_windows,
    by_stacks,
    eeg_channels,
    in_windows,
    picked_description,
)
from physioemo.features.electrode_pairs import ElectrodePair, caudality_pairs, homologous_pairs
from physioemo.features.entropy import differential_entropy
from physioemo.features.entropy_family import ENTROPY
from physioemo.features.family import (
    Extractor,
    Family,
    FamilyOptions,
    WindowGrid,
    WindowState,
    start_windows,
    step_windows,
    window_view,
)
from physioemo.fingerprint import config_fingerprint

__all__ = ["ASYMMETRY", "RASM_BOUND_NATS", "asymmetry", "asymmetry_names", "asymmetry_of_entropy"]

RASM_BOUND_NATS = 0.1
"""Closer than this to zero, a right electrode's entropy is no denominator."""

Pairs = tuple[ElectrodePair, ...]


def asymmetry(
    signal: np.ndarray,
    sfreq: float,
    ch_names: Sequence[str],
    *,
    bands: Mapping[str, tuple[float, float]] | None = None,
    window_seconds: float = 1.0,
    hop_seconds: float | None = None,
    definition: str = "gaussian-filter",
) -> np.ndarray:
    """Return DASM, RASM and DCAU of each band in each window.

    Parameters
    ----------
    signal : ndarray, shape (channel, time)
        Samples in microvolts.
    sfreq : float
        Sampling rate in Hz.
    ch_names : sequence of str
        The channels' 10-05 names.
    bands, window_seconds, hop_seconds, definition
        As in :func:`~physioemo.features.entropy.differential_entropy`.

    Returns
    -------
    ndarray, shape (window, pair, band)
        In the order of :func:`asymmetry_names`; DASM and DCAU in nats. NaN where an entropy is,
        and where RASM's denominator is within :data:`RASM_BOUND_NATS` of zero.

    Raises
    ------
    SignalError
        If no two channels form a pair, or as ``differential_entropy`` does.
    """
    pairs = _pairs(ch_names)
    hop_seconds = window_seconds if hop_seconds is None else hop_seconds
    grid = WindowGrid.in_seconds(sfreq, window_seconds, hop_seconds)
    entropy = differential_entropy(
        signal,
        sfreq,
        bands=bands,
        window_seconds=window_seconds,
        hop_seconds=hop_seconds,
        definition=definition,
    )
    alive = in_windows(lambda windows: alive_windows(windows)[1], signal, grid)
    return asymmetry_of_entropy(_of_living(entropy, alive), *pairs)


def asymmetry_names(ch_names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all asymmetries, such as ``"DASM F3-F4"``, in their order.

    Raises
    ------
    SignalError
        If no two channels form a pair.
    """
    across, along = _pairs(ch_names)
    kinds = (("DASM", across), ("RASM", across), ("DCAU", along))
    return tuple(f"{kind} {pair.name}" for kind, pairs in kinds for pair in pairs)


def asymmetry_of_entropy(entropy: np.ndarray, across: Pairs, along: Pairs) -> np.ndarray:
    """Return the asymmetries (window, pair, band) of entropies (window, channel, band) in nats.

    Parameters
    ----------
    entropy : ndarray, shape (window, channel, band)
        In nats, of a signal in microvolts.
    across, along : tuple of ElectrodePair
        Left and right, frontal and posterior.
    """
    left, right = entropy[:, [p.first for p in across]], entropy[:, [p.second for p in across]]
    front, back = entropy[:, [p.first for p in along]], entropy[:, [p.second for p in along]]
    bounded = np.abs(right) >= RASM_BOUND_NATS
    ratio = np.where(bounded, left / np.where(bounded, right, 1.0), np.nan)
    return np.concatenate([left - right, ratio, front - back], axis=1)


def _pairs(ch_names: Sequence[str]) -> tuple[Pairs, Pairs]:
    """Return the pairs across and along the head; at least one in all."""
    across, along = homologous_pairs(ch_names), caudality_pairs(ch_names)
    if not across and not along:
        raise SignalError(
            f"found the channels {', '.join(ch_names)}, expected two that face one another, such "
            "as F3 and F4 or F3 and P3; name the channels by the 10-05 system, or leave "
            "asymmetry out"
        )
    return across, along


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    channels = eeg_channels(description)
    used = sorted({i for pairs in _pairs(channels.names) for pair in pairs for i in pair[:2]})
    names = tuple(channels.names[i] for i in used)
    across, along = _pairs(names)
    rows, factor = channels.index[used], channels.factor[used][:, None]
    inner = ENTROPY.prepare(picked_description(description, channels, used), grid, options)

    def start() -> tuple[Any, WindowState]:
        return inner.start(), start_windows(len(rows))

    def step(chunk: np.ndarray, state: tuple[Any, WindowState]) -> tuple[np.ndarray, Any]:
        picked = np.asarray(chunk, float)[rows] * factor
        entropy, entropy_state = inner.step(picked, state[0])
        windows, window_state = step_windows(picked, state[1], grid)
        alive = np.array([alive_windows(w)[1] for w in windows]).reshape(-1, len(rows))
        values = asymmetry_of_entropy(_of_living(entropy, alive), across, along)
        return values, (entropy_state, window_state)

    def batch(signal: np.ndarray) -> np.ndarray:
        picked = np.asarray(signal, float)[rows] * factor
        entropy, alive = inner.batch(picked), np.empty((0, len(rows)), bool)
        if len(entropy):
            alive = by_stacks(lambda w: alive_windows(w)[1], window_view(picked, grid))
        return asymmetry_of_entropy(_of_living(entropy, alive), across, along)

    recipe = {"family": "asymmetry", "entropy": inner.fingerprint, "bound": RASM_BOUND_NATS}
    return Extractor(
        coords={"pair": asymmetry_names(names), "band": inner.coords["band"]},
        units=("nats (RASM: 1)",),
        start=start,
        step=step,
        batch=batch,
        fingerprint=config_fingerprint(recipe),
        warm_up_seconds=inner.warm_up_seconds,
    )


def _of_living(entropy: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Return entropies (window, channel, band), NaN where a channel (window, channel) is dead.

    A filter rings on after its channel went flat, with an entropy that means nothing.
    """
    return np.where(alive[..., None], entropy, np.nan)


ASYMMETRY = Family(
    "asymmetry",
    "entropy left against right (DASM, RASM) and front against back (DCAU)",
    ("eeg",),
    _prepare,
)
