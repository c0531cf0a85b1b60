"""An electrode that moves too far, or not at all, is masked until its window is clean again.

The limits are those of common rejection in EEG (peak to peak beyond some hundred microvolts, or
flat; Luck 2014, "An Introduction to the Event-Related Potential Technique", chapter 6), applied to
each hop as it arrives: causal, of fixed memory, and the same live and offline.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioemo.errors import CallError

__all__ = ["ArtefactGate", "GateState", "start_gate", "step_gate"]


@dataclass(frozen=True)
class ArtefactGate:
    """When an electrode is not to be believed.

    Parameters
    ----------
    peak_to_peak_uv : float
        A hop that moves further than this masks the electrode.
    flat_uv : float
        So does a whole window of hops that each move no further than this.
    after_seconds : float
        How long the mask outlasts the window, for the filters to forget what they saw.

    Raises
    ------
    CallError
        If a limit is not a positive number, or they contradict each other.
    """

    peak_to_peak_uv: float = 500.0
    flat_uv: float = 0.01
    after_seconds: float = 0.5

    def __post_init__(self) -> None:
        limits = (self.flat_uv, self.after_seconds, self.peak_to_peak_uv)
        if not np.isfinite(limits).all() or min(limits) < 0 or self.flat_uv >= self.peak_to_peak_uv:
            raise CallError(
                f"found the artefact gate {asdict(self)}, expected finite limits from 0, and "
                "flat_uv below peak_to_peak_uv; correct it"
            )

    def to_dict(self) -> dict[str, float]:
        """Return the fields for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "ArtefactGate":
        """Return the gate that :meth:`to_dict` described."""
        return cls(**{name: float(value) for name, value in fields.items()})


@dataclass(frozen=True)
class GateState:
    """What the hops so far have left behind.

    Parameters
    ----------
    n_left : ndarray of int, shape (channel,)
        For how many more hops the electrode is masked.
    n_flat : ndarray of int, shape (channel,)
        How many hops in a row it has been flat.
    """

    n_left: NDArray[np.int64]
    n_flat: NDArray[np.int64]


def start_gate(n_channels: int) -> GateState:
    """Return the state before the first hop."""
    return GateState(np.zeros(n_channels, np.int64), np.zeros(n_channels, np.int64))


def step_gate(
    hop_uv: NDArray[np.float64],
    state: GateState,
    gate: ArtefactGate,
    *,
    sfreq: float,
    window_samples: int,
) -> tuple[NDArray[np.bool_], GateState]:
    """Take a hop; return which electrodes are masked in the window that it ends.

    Parameters
    ----------
    hop_uv : ndarray, shape (channel, time)
        The next samples in microvolts; NaN is missing, and no artefact.
    state : GateState
    gate : ArtefactGate
    sfreq : float
        In Hz.
    window_samples : int
        Length of a window.

    Returns
    -------
    masked : ndarray of bool, shape (channel,)
    state : GateState
    """
    n_hop = hop_uv.shape[1]
    n_window = -(-window_samples // n_hop)
    n_hold = n_window + -(-round(gate.after_seconds * sfreq) // n_hop)
    present = np.isfinite(hop_uv)
    highest = np.where(present, hop_uv, -np.inf).max(axis=1)
    lowest = np.where(present, hop_uv, np.inf).min(axis=1)
    moved = np.where(present.any(axis=1), highest - lowest, np.nan)
    n_flat = np.where(moved <= gate.flat_uv, state.n_flat + 1, 0)
    is_bad = (moved > gate.peak_to_peak_uv) | (n_flat >= n_window)
    n_left = np.where(is_bad, n_hold, np.maximum(state.n_left - 1, 0))
    return n_left > 0, GateState(n_left, n_flat)
