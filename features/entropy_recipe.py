"""What an entropy token is made of: the bands, the named definitions, the recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.errors import CallError, SignalError
from physioemo.fingerprint import config_fingerprint
from physioemo.hints import unknown_name

__all__ = ["BANDS", "DEFINITIONS", "OFFLINE", "WINDOW_LOCAL", "EntropyRecipe"]

BANDS: dict[str, tuple[float, float]] = {
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}
"""Bands in Hz as in the published inter-cortical transformer (arXiv 2511.13954)."""

OFFLINE = ("gaussian-filter-zero-phase",)
"""Definitions that look into the future: whole recordings only, never a live stream."""

WINDOW_LOCAL = ("window-filter", "stft-hann", "stft-hann-calibrated", "multitaper")
"""Definitions that see nothing but the window's own samples."""

DEFINITIONS = ("gaussian-filter", *OFFLINE, *WINDOW_LOCAL)
"""All definitions by name; docs/entropy.md tells them apart."""

_ORDERS = {"gaussian-filter": 4, "gaussian-filter-zero-phase": 4, "window-filter": 5}


@dataclass(frozen=True)
class EntropyRecipe:
    """How entropy tokens are made: everything that changes a bit of the result.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.
    window_samples, hop_samples : int
        Length of a window and the step between two, in samples.
    bands : tuple of (str, float, float)
        Name, lower and upper edge in Hz.
    order : int
        Order of the Butterworth prototype (the band-pass has twice as many poles). Left out,
        it is the definition's own: 4, and 5 for ``window-filter``; a definition without a
        filter has none (0).
    definition : str
        One of :data:`DEFINITIONS`.

    Raises
    ------
    CallError, SignalError
        If the numbers contradict each other or a band does not fit below half the rate.
    """

    sfreq: float
    window_samples: int
    hop_samples: int
    bands: tuple[tuple[str, float, float], ...] = tuple((k, *v) for k, v in BANDS.items())
    order: int = 0
    definition: str = "gaussian-filter"

    def __post_init__(self) -> None:
        if self.definition not in DEFINITIONS:
            raise unknown_name("the entropy definition", self.definition, DEFINITIONS)
        self._settle_order()
        if not (np.isfinite(self.sfreq) and self.sfreq > 0):
            raise SignalError(
                f"found a sampling rate of {self.sfreq} Hz, expected the signal's own positive "
                "rate; it is never assumed"
            )
        if self.window_samples < 2 or self.hop_samples < 1:
            raise CallError(
                f"found windows of {self.window_samples} and hops of {self.hop_samples} samples, "
                "expected at least 2 and 1; use longer windows"
            )
        for name, low, high in self.bands:
            if not 0 < low < high < self.sfreq / 2:
                raise SignalError(
                    f"found the band {name} {low:g}-{high:g} Hz at a sampling rate of "
                    f"{self.sfreq:g} Hz, expected 0 < low < high < {self.sfreq / 2:g} Hz; leave "
                    "the band out or use a signal with a higher rate"
                )

    def _settle_order(self) -> None:
        """Fill in the definition's own order of the filter."""
        own = _ORDERS.get(self.definition, 0)
        if self.order < 0 or (self.order and not own):
            raise CallError(
                f"found a filter of order {self.order} for the definition {self.definition!r}, "
                f"expected {'at least 1' if own else 'none: it has no filter'}; leave the order "
                "out"
            )
        object.__setattr__(self, "order", self.order or own)

    @classmethod
    def in_seconds(
        cls,
        sfreq: float,
        *,
        bands: Mapping[str, tuple[float, float]] | None = None,
        window_seconds: float = 1.0,
        hop_seconds: float | None = None,
        **options: Any,
    ) -> "EntropyRecipe":
        """Return a recipe with lengths in seconds, rounded to whole samples."""
        hop_seconds = window_seconds if hop_seconds is None else hop_seconds
        rows = tuple((k, float(a), float(b)) for k, (a, b) in (bands or BANDS).items())
        lengths = [
            round(s * sfreq) if np.isfinite(sfreq) else 0 for s in (window_seconds, hop_seconds)
        ]
        return cls(float(sfreq), lengths[0], lengths[1], rows, **options)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(name for name, _, _ in self.bands)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a bit of the result."""
        return config_fingerprint(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {**self.__dict__, "bands": [list(b) for b in self.bands]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "EntropyRecipe":
        """Return the recipe that :meth:`to_dict` wrote."""
        bands = tuple((str(n), float(a), float(b)) for n, a, b in fields["bands"])
        return cls(**{**fields, "bands": bands})
