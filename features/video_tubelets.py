"""Frames at wanted times, and the little tubes that a video transformer takes as tokens.

A frame is shown from its presentation stamp until the next one's: at a time between the two it is
the one that is seen, however unequal the steps. Tubes of 2 frames by 16 by 16 pixels are those of
VideoMAE (Tong et al., NeurIPS 2022) and HiCMAE.
"""

import numpy as np
from numpy.typing import NDArray

from physioemo.errors import CallError

__all__ = ["frames_on_display", "tubelets", "untubed"]

_SLACK_SECONDS = 1e-6  # stamps are sums of rounded numbers


def frames_on_display(
    seconds: np.ndarray, until_seconds: float, wanted_seconds: np.ndarray
) -> NDArray[np.int_]:
    """Return the frame that is seen at each of some times, -1 where none is.

    Parameters
    ----------
    seconds : ndarray, shape (frame,)
        Presentation stamps, increasing.
    until_seconds : float
        When the last one ends.
    wanted_seconds : ndarray, shape (n,)
        Times in the file.
    """
    wanted = np.asarray(wanted_seconds, float)
    at = np.searchsorted(np.asarray(seconds, float), wanted + _SLACK_SECONDS, side="right") - 1
    return np.where(wanted < until_seconds, at, -1)


def tubelets(
    pictures: np.ndarray, *, n_frames: int = 2, height_px: int = 16, width_px: int = 16
) -> np.ndarray:
    """Cut pictures into tubes.

    Parameters
    ----------
    pictures : ndarray, shape (frame, height, width, channel)
        Any numbers.
    n_frames, height_px, width_px : int
        Size of a tube.

    Returns
    -------
    ndarray, shape (frame // n_frames, height // height_px, width // width_px, value)
        In each tube the values run over frame, row, column, channel.

    Raises
    ------
    CallError
        If the pictures are no whole number of tubes.
    """
    frames, height, width, channels = pictures.shape
    if frames % n_frames or height % height_px or width % width_px:
        raise CallError(
            f"found {frames} pictures of {width} x {height} pixels, expected whole tubes of "
            f"{n_frames} x {width_px} x {height_px}; choose another number or size"
        )
    parts = (frames // n_frames, height // height_px, width // width_px)
    split = pictures.reshape(parts[0], n_frames, parts[1], height_px, parts[2], width_px, channels)
    return split.transpose(0, 2, 4, 1, 3, 5, 6).reshape(*parts, -1)


def untubed(
    tubes: np.ndarray, *, n_frames: int = 2, height_px: int = 16, width_px: int = 16
) -> np.ndarray:
    """Return the pictures (frame, height, width, channel) that :func:`tubelets` cut."""
    time, rows, columns, values = tubes.shape
    channels = values // (n_frames * height_px * width_px)
    split = tubes.reshape(time, rows, columns, n_frames, height_px, width_px, channels)
    whole = split.transpose(0, 3, 1, 4, 2, 5, 6)
    return whole.reshape(time * n_frames, rows * height_px, columns * width_px, channels)
