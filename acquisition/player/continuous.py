"""A continuous rating: what is rated while a stimulus is on screen, with what, on which scale.

One dimension is an axis, two are a plane: the first to the right, the second upwards, as the affect
plane has valence and arousal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["AXES", "CONTINUOUS", "CONTINUOUS_TYPE", "DEVICES", "ContinuousRating"]

CONTINUOUS = "PhysioEmo-Continuous"
"""Name of the stream."""

CONTINUOUS_TYPE = "ContinuousRating"
"""Its LSL content type; see :data:`physioemo.modality.MODALITIES`."""

DEVICES = ("mouse", "joystick", "keyboard")
AXES = ("vertical", "horizontal")

LEAST_HZ, MOST_HZ = 1.0, 100.0


@dataclass(frozen=True)
class ContinuousRating:
    """What is rated continuously.

    Parameters
    ----------
    dimensions : tuple of str
        One or two; the channels of the stream.
    device : {"mouse", "joystick", "keyboard"}
        What the participant moves.
    axis : {"vertical", "horizontal"}
        Of a single dimension; two of them take both.
    minimum, maximum : float
        The scale: at the bottom (or left), and at the top (or right).
    sfreq : float
        Samples per second.
    gauge : bool
        Whether the participant sees where the rating stands.
    """

    dimensions: tuple[str, ...]
    device: str = "mouse"
    axis: str = "vertical"
    minimum: float = 1.0
    maximum: float = 9.0
    sfreq: float = 20.0
    gauge: bool = True

    @property
    def axes(self) -> tuple[str, ...]:
        """The axis of each dimension."""
        return (self.axis,) if len(self.dimensions) == 1 else ("horizontal", "vertical")

    @property
    def unit(self) -> str:
        """The scale as the unit of the stream, such as ``"1-9"``."""
        # A second minus sign would read as a range from nowhere.
        sign = "-" if min(self.minimum, self.maximum) >= 0 else " to "
        return f"{self.minimum:g}{sign}{self.maximum:g}"

    def pick(self, right: float, up: float) -> tuple[float, ...]:
        """Return the place on each dimension's axis, of a place in the plane (0 to 1 each)."""
        return tuple(right if axis == "horizontal" else up for axis in self.axes)

    def values(self, places: Sequence[float] | None) -> np.ndarray:
        """Return what is published for a place on each axis (0 to 1); NaN where there is none."""
        if places is None:
            return np.full(len(self.dimensions), np.nan, np.float32)
        span = self.maximum - self.minimum
        return np.array([self.minimum + span * place for place in places], np.float32)

    def words(self) -> str:
        """Return what is rated with what, for people."""
        return (
            f"{' and '.join(self.dimensions)} with the {self.device}, {self.minimum:g} to "
            f"{self.maximum:g}, {self.sfreq:g} Hz"
        )
