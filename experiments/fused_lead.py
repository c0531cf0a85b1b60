"""Windows as a context meets them: those of a trial, behind those that came before it.

Live, a context remembers the rest before a trial. So it does here: each trial is led in by the
windows right before it, as many as the context sees, back to a gap or to the trial before. None of
them holds anything of another trial, and none is rated.
"""

from typing import NamedTuple

import numpy as np

from physioemo.experiments.fused_context import GAP_HOPS, sequence_codes
from physioemo.experiments.fused_training_data import (
    FusedTrialData,
    joined_windows,
    take_windows,
)

__all__ = ["LedIn", "led_in"]


class LedIn(NamedTuple):
    """Windows in order of time within each sequence.

    Parameters
    ----------
    data : FusedTrialData
        Of trials and what leads in to them.
    sequences : ndarray of int, shape (window,)
        Windows of one number follow one another.
    asked : ndarray of bool, shape (window,)
        Which were asked for, in the order in which they were.
    """

    data: FusedTrialData
    sequences: np.ndarray
    asked: np.ndarray


def led_in(data: FusedTrialData, rows: np.ndarray, n_before: int) -> LedIn:
    """Return windows of trials behind those that lead in to them.

    Parameters
    ----------
    data : FusedTrialData
        All windows.
    rows : ndarray of int
        Which are asked for: those of a trial side by side, in order of time.
    n_before : int
        How many windows may lead in to a trial; none if the data have none of rest.
    """
    hop = data.recipe.hop_samples / data.recipe.sfreq
    some = take_windows(data, rows)
    codes = sequence_codes(some.trial_ids, some.stop_seconds, hop)
    rest = data.rest
    if not n_before or rest is None or rest.stop_seconds is None or some.stop_seconds is None:
        return LedIn(some, codes, np.ones(len(rows), bool))
    order, sequences, asked = [], [], []
    for code in range(int(codes.max(initial=-1)) + 1):
        mine = np.flatnonzero(codes == code)
        there = np.flatnonzero(rest.recording == some.recording[mine[0]])
        before = _right_before(
            rest.stop_seconds[there], float(some.stop_seconds[mine[0]]), n_before, hop
        )
        order += [len(rows) + there[before], mine]
        n = len(before) + len(mine)
        sequences.append(np.full(n, code))
        asked.append(np.arange(n) >= len(before))
    whole = take_windows(joined_windows([some, rest]), np.concatenate(order))
    return LedIn(whole, np.concatenate(sequences), np.concatenate(asked))


def _right_before(stops: np.ndarray, first: float, most: int, hop_seconds: float) -> np.ndarray:
    """Return which windows, in order of time, end right before one that ends at `first`."""
    found: list[int] = []
    later = first
    for i in np.flatnonzero(stops < first)[::-1].tolist():
        if len(found) == most or later - stops[i] > GAP_HOPS * hop_seconds:
            break
        found.append(i)
        later = float(stops[i])
    return np.array(found[::-1], int)
