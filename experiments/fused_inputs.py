"""From windows of several streams to what a fused model takes, and what it says of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from physioemo.errors import CallError, SignalError
from physioemo.experiments.fused_modalities import FamilyScaler
from physioemo.experiments.fused_sides import SideFamily
from physioemo.experiments.fused_streams import SideToken

__all__ = ["EEG", "WindowOutputs", "checked_token", "model_inputs"]

EEG = "eeg"
"""Name of the leading modality."""

_USABLE_SHARE = 0.5


class WindowOutputs(NamedTuple):
    """What a decoder says of windows, if it is never silent.

    Parameters
    ----------
    logits : ndarray, shape (window, dimension, class)
        Not calibrated.
    high : ndarray, shape (window, dimension)
        Calibrated probability of the high class; where it abstains, the prior.
    abstain : ndarray of bool, shape (window,)
        Where there is nothing to go by.
    mean, sd : ndarray, shape (window, dimension), optional
        Of the rating, from -1 to 1, where ratings are predicted.
    emotions : ndarray, shape (window, emotion), optional
        Probability of each named emotion, where they are predicted.
    """

    logits: np.ndarray
    high: np.ndarray
    abstain: np.ndarray
    mean: np.ndarray | None = None
    sd: np.ndarray | None = None
    emotions: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> "WindowOutputs":
        """Return what is said of some windows."""
        return WindowOutputs(*(None if part is None else part[rows] for part in self))  # type: ignore[arg-type]

    @classmethod
    def of_nothing(
        cls, n_dimensions: int, ratings: bool, n_emotions: int | None
    ) -> "WindowOutputs":
        """Return what is said of no windows at all.

        Parameters
        ----------
        n_dimensions : int
            Rated dimensions.
        ratings : bool
            Whether ratings are said.
        n_emotions : int or None
            Named emotions, if any are said.
        """
        high = np.empty((0, n_dimensions))
        rating = high if ratings else None
        named = None if n_emotions is None else np.empty((0, n_emotions))
        return cls(np.empty((*high.shape, 2)), high, np.empty(0, bool), rating, rating, named)


def model_inputs(
    values: np.ndarray,
    side_values: Mapping[str, np.ndarray],
    ages: Mapping[str, np.ndarray],
    sides: tuple[SideFamily, ...],
    scalers: Mapping[str, FamilyScaler],
) -> dict[str, Any]:
    """Return what a fused model takes, with all that is missing, too old or too little at NaN.

    Parameters
    ----------
    values, side_values, ages
        As in :meth:`physioemo.experiments.fused_decoder.FusedDecoder.outputs`.
    sides, scalers
        As in :class:`physioemo.experiments.fused_decoder.FusedDecoder`.
    """
    usable = np.isfinite(values).all(axis=2).mean(axis=1) >= _USABLE_SHARE
    inputs: dict[str, Any] = {EEG: scalers[EEG](np.where(usable[:, None, None], values, np.nan))}
    n = len(values)
    for side in sides:
        numbers = side_values.get(side.name, np.full((n, side.n_values), np.nan))
        age = ages.get(side.name, np.full(n, np.nan))
        fresh = age <= side.choice.max_age_seconds  # NaN is not
        seconds = np.where(fresh, -age, 0.0)[:, None]
        inputs[side.name] = {
            "values": scalers[side.name](np.where(fresh[:, None], numbers, np.nan)),
            "time_seconds": np.repeat(seconds, side.n_values, axis=1).astype(np.float32),
        }
    return inputs


def checked_token(
    side: SideFamily, token: SideToken, time_seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return a token's numbers (1, number) and its age in seconds (1,).

    Parameters
    ----------
    side : SideFamily
        The family.
    token : SideToken
        Of its stream.
    time_seconds : float
        End of the EEG window.

    Raises
    ------
    CallError
        If the token ends after the window.
    SignalError
        If it has more or fewer numbers than in training.
    """
    if token.stop_seconds > time_seconds:
        raise CallError(
            f"found a token of {side.name!r} that ends {token.stop_seconds - time_seconds:.3f} s "
            "after the EEG window, expected one that ends with it or before; ask "
            "SideStream.newest for the time of the window"
        )
    if token.values.shape != (side.n_values,):
        raise SignalError(
            f"found {token.values.shape} numbers of {side.name!r}, expected ({side.n_values},)"
        )
    return token.values[None], np.array([time_seconds - token.stop_seconds])
