"""How much a picture moves: dense optical flow, and the frames at which movement peaks.

Flow is that of Lucas & Kanade (IJCAI 1981) at every pixel, from coarse to fine (Bouguet, Intel
2000): at each level the second picture is warped by the flow so far and the rest is solved by
least squares over a Gaussian neighbourhood. Choosing frames at peaks of the smoothed magnitude is
the idea of StimuVAR (Guo et al., arXiv 2409.00304).
"""

import numpy as np
from numpy.typing import NDArray

from physioemo.errors import CallError, SignalError

__all__ = ["motion_frames", "motion_magnitude", "optical_flow"]

Floats = NDArray[np.float64]

_NEIGHBOURHOOD_PX = 2.5
_LEAST_SIDE_PX = 12
_ITERATIONS = 3
_REGULAR = 1e-5  # of a luma gradient squared: flat places do not move
_LARGEST_SHARE = 0.5  # of the picture: further is no movement but another picture


def optical_flow(before: np.ndarray, after: np.ndarray) -> Floats:
    """Return where each pixel of a picture went to in the next one.

    Parameters
    ----------
    before, after : ndarray, shape (height, width)
        Luma, 0 to 1.

    Returns
    -------
    ndarray, shape (2, height, width)
        Movement to the right and down in pixels, at most half the picture's width.

    Raises
    ------
    SignalError
        If the two have not the same two-dimensional shape of at least 8 by 8 pixels.
    """
    before, after = np.asarray(before, float), np.asarray(after, float)
    if before.shape != after.shape or before.ndim != 2 or min(before.shape) < 8:
        raise SignalError(
            f"found pictures of shape {before.shape} and {after.shape}, expected two of the same "
            "height and width of at least 8 pixels; scale them alike"
        )
    levels = [(before, after)]
    while min(levels[-1][0].shape) >= 2 * _LEAST_SIDE_PX:
        levels.append((_halved(levels[-1][0]), _halved(levels[-1][1])))
    flow = np.zeros((2, *levels[-1][0].shape))
    for one, two in reversed(levels):
        flow = _stretched(flow, one.shape)
        flow = _refined(one, two, flow)
    largest = _LARGEST_SHARE * before.shape[1]
    return np.asarray(np.clip(flow, -largest, largest))


def motion_magnitude(before: np.ndarray, after: np.ndarray) -> float:
    """Return the mean length of :func:`optical_flow` in widths of the picture."""
    flow = optical_flow(before, after)
    return float(np.hypot(*flow).mean() / flow.shape[2])


def motion_frames(
    motion: np.ndarray,
    seconds: np.ndarray,
    n_frames: int,
    *,
    smooth_seconds: float = 0.2,
    distance_seconds: float = 1.0,
    prominence: float = 0.3,
) -> NDArray[np.int_]:
    """Return the frames at which movement begins to peak, filled up with evenly spaced ones.

    Parameters
    ----------
    motion : ndarray, shape (frame,)
        Magnitude of the movement since the frame before; NaN counts as none.
    seconds : ndarray, shape (frame,)
        When each frame is shown; any steps.
    n_frames : int
        How many to choose; fewer only if there are fewer.
    smooth_seconds : float
        Standard deviation of the Gaussian that smooths the magnitude.
    distance_seconds : float
        The least distance of two peaks.
    prominence : float
        Of a peak, as a share of the range of the smoothed magnitude.

    Returns
    -------
    ndarray of int, shape (n,)
        Numbers of the frames in their order.

    Raises
    ------
    CallError
        If the arrays do not fit or `n_frames` is below 1.
    """
    motion, seconds = np.nan_to_num(np.asarray(motion, float)), np.asarray(seconds, float)
    if motion.shape != seconds.shape or motion.ndim != 1 or n_frames < 1:
        raise CallError(
            f"found {motion.shape} magnitudes, {seconds.shape} times and n_frames={n_frames}, "
            "expected one magnitude per time and at least one frame"
        )
    if len(motion) <= n_frames:
        return np.arange(len(motion))
    chosen: list[int] = []
    for peak in _peaks(motion, seconds, smooth_seconds, distance_seconds, prominence)[:n_frames]:
        near = np.flatnonzero(np.abs(seconds - seconds[peak]) <= 2 * smooth_seconds)
        # Where the movement sets in: its end moves as much, but shows what came after.
        first = near[np.argmax(motion[near] >= 0.5 * motion[near].max())]
        if int(first) not in chosen:
            chosen.append(int(first))
    while len(chosen) < n_frames:
        chosen.append(_loneliest(chosen, seconds))
    return np.sort(np.array(chosen, int))


def _peaks(
    motion: Floats, seconds: Floats, smooth: float, distance: float, prominence: float
) -> list[int]:
    """Return the frames of the peaks of the smoothed magnitude, the most prominent first."""
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks

    # Peaks are looked for on an even grid, so that their widths are in seconds.
    step = float(np.median(np.diff(seconds)))
    grid = np.arange(seconds[0], seconds[-1] + step / 2, step)
    curve = np.interp(grid, seconds, motion)
    curve = gaussian_filter1d(curve, smooth / step, mode="constant")
    padded = np.concatenate([[0.0], curve, [0.0]])
    least = prominence * float(np.ptp(curve))
    if not least > 0:
        return []
    found, facts = find_peaks(padded, distance=max(1, distance / step), prominence=least)
    ordered = found[np.argsort(-facts["prominences"], kind="stable")] - 1
    return [int(np.abs(seconds - grid[min(k, len(grid) - 1)]).argmin()) for k in ordered]


def _loneliest(chosen: list[int], seconds: Floats) -> int:
    """Return the frame that is farthest from all chosen ones; the middle one if there is none."""
    if not chosen:
        return int(np.abs(seconds - (seconds[0] + seconds[-1]) / 2).argmin())
    return int(np.abs(seconds[:, None] - seconds[chosen]).min(axis=1).argmax())


def _refined(before: Floats, after: Floats, flow: Floats) -> Floats:
    from scipy.ndimage import gaussian_filter, map_coordinates

    down, right = np.gradient(before)
    height, width = before.shape
    rows, columns = np.indices(before.shape)
    for _ in range(_ITERATIONS):
        y, x = rows + flow[1], columns + flow[0]
        rest = before - map_coordinates(after, [y, x], order=1, mode="nearest")
        # What has left the picture says nothing; its neighbours speak for it.
        seen = ((y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)).astype(float)
        products = (right * right, right * down, down * down, right * rest, down * rest)
        xx, xy, yy, xt, yt = (gaussian_filter(seen * p, _NEIGHBOURHOOD_PX) for p in products)
        xx, yy = xx + _REGULAR, yy + _REGULAR
        step = np.stack([yy * xt - xy * yt, xx * yt - xy * xt]) / (xx * yy - xy * xy)
        flow = flow + np.clip(step, -2.0, 2.0)
    return np.asarray(flow)


def _halved(picture: Floats) -> Floats:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(picture, 1.0)[::2, ::2])


def _stretched(flow: Floats, shape: tuple[int, ...]) -> Floats:
    """Return a flow on the finer level; a pixel there is half as wide."""
    if flow.shape[1:] == shape:
        return flow
    rows, columns = (
        np.minimum(np.arange(n) // 2, m - 1) for n, m in zip(shape, flow.shape[1:], strict=True)
    )
    return 2 * flow[:, rows][:, :, columns]
