"""Tokens: named, unit-carrying feature values with a mask and their recipe's fingerprint."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["TokenSet", "Tokens"]


@dataclass(frozen=True)
class Tokens:
    r"""One family of features.

    Parameters
    ----------
    values : ndarray, shape (window, \\*dims)
        For band entropy ``dims`` is ``("channel", "band")``.
    present : ndarray of bool, shape (window, \\*dims)
        False where a value could not be had; the value is then NaN.
    dims : tuple of str
        Names of the axes after ``window``.
    coords : mapping of str to tuple of str
        What stands along each of them.
    unit : str
        For example ``"nats"``.
    fingerprint : str
        Hash of the recipe that made them.
    """

    values: np.ndarray
    present: np.ndarray
    dims: tuple[str, ...]
    coords: Mapping[str, tuple[str, ...]]
    unit: str
    fingerprint: str


@dataclass(frozen=True)
class TokenSet:
    """Tokens of one or more windows.

    Parameters
    ----------
    families : mapping of str to Tokens
        For example ``"eeg_entropy"``.
    start_seconds, stop_seconds : ndarray, shape (window,)
        Session time of the first and the newest sample that each window used.
    """

    families: Mapping[str, Tokens]
    start_seconds: np.ndarray
    stop_seconds: np.ndarray

    def __getitem__(self, family: str) -> Tokens:
        return self.families[family]

    def __len__(self) -> int:
        return len(self.stop_seconds)
