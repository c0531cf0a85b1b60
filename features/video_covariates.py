"""How a picture looks, and where one shot ends: brightness, contrast, colourfulness, cuts.

Brightness and contrast are mean and standard deviation of the luma (Rec. 601 weights on the coded
values); colourfulness is that of Hasler & Süsstrunk (SPIE 5007, 2003). The change between two
frames is half the summed difference of their colour histograms (6 x 6 x 6 cells), 0 to 1; a colour
is shared between the nearest cells, so that a slow fade makes no jumps. A cut is a change that is
large and stands out from those just before. A flash is two cuts.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["colourfulness", "cut_flags", "histogram_change", "luma"]

Floats = NDArray[np.float64]

CUT_CHANGE = 0.4
CUT_TIMES = 3.0
_CUT_MEMORY = 12  # frames
_LUMA = np.array([0.299, 0.587, 0.114])
_LEVELS = 6


def luma(rgb: np.ndarray) -> Floats:
    """Return the luma (..., height, width), 0 to 1, of uint8 pictures (..., height, width, 3)."""
    return np.asarray(np.asarray(rgb, float) @ _LUMA / 255)


def colourfulness(rgb: np.ndarray) -> float:
    """Return how colourful a uint8 picture (height, width, 3) is.

    0 for grey; Hasler and Süsstrunk's observers called 33 moderately, 82 highly colourful.
    """
    red, green, blue = np.moveaxis(np.asarray(rgb, float), -1, 0)
    rg, yb = red - green, 0.5 * (red + green) - blue
    spread = np.hypot(rg.std(), yb.std())
    return float(spread + 0.3 * np.hypot(rg.mean(), yb.mean()))


def histogram_change(rgb: np.ndarray, before: np.ndarray) -> float:
    """Return how much the colours of two uint8 pictures (height, width, 3) differ, 0 to 1."""
    one, two = (_histogram(p) for p in (rgb, before))
    return float(0.5 * np.abs(one - two).sum())


def cut_flags(change: np.ndarray) -> NDArray[np.bool_]:
    """Return which frames begin a new shot; only the frames before are looked at.

    Parameters
    ----------
    change : ndarray, shape (frame,)
        :func:`histogram_change` from the frame before, NaN for the first.
    """
    change = np.asarray(change, float)
    flags = np.zeros(len(change), bool)
    for k in range(1, len(change)):
        recent = change[max(1, k - _CUT_MEMORY) : k]
        usual = float(np.median(recent)) if len(recent) else 0.0
        flags[k] = change[k] > max(CUT_CHANGE, CUT_TIMES * usual)
    return flags


def _histogram(rgb: np.ndarray) -> Floats:
    place = np.asarray(rgb, float).reshape(-1, 3) * (_LEVELS / 256) - 0.5
    place = np.clip(place, 0, _LEVELS - 1)
    low = np.minimum(place.astype(int), _LEVELS - 2)
    shares = np.stack([1 - (place - low), place - low])  # (corner, pixel, colour)
    cells = np.zeros(_LEVELS**3)
    for red, green, blue in product((0, 1), repeat=3):
        weight = shares[red, :, 0] * shares[green, :, 1] * shares[blue, :, 2]
        at = ((low[:, 0] + red) * _LEVELS + low[:, 1] + green) * _LEVELS + low[:, 2] + blue
        cells += np.bincount(at, weight, minlength=_LEVELS**3)
    return np.asarray(cells / len(place))
