"""Where a camera's pictures come from: the operating system's camera, or a test pattern."""

import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from physioemo.errors import CallError, StreamError
from physioemo.media import import_av

__all__ = ["TEST_PATTERN", "Picture", "camera_names", "open_camera", "read_pattern_number"]

TEST_PATTERN = "test-pattern"
_DRIVERS = {"linux": "v4l2", "win32": "dshow", "darwin": "avfoundation"}
_N_BITS, _BAR_SHARE = 16, 8


class Picture(NamedTuple):
    """One picture of a camera.

    Parameters
    ----------
    frame : av.VideoFrame
        The picture.
    stamp : float
        When this program had it, on the LSL clock in seconds.
    device_seconds : float
        The driver's own stamp, on a clock that is the driver's; NaN if there is none.
    """

    frame: Any
    stamp: float
    device_seconds: float


def camera_names() -> list[tuple[str, str]]:
    """Return device and description of every camera that this computer has."""
    av = import_av()
    try:
        found = av.enumerate_input_devices(_driver())
    except (AttributeError, OSError, ValueError):
        return []
    return [(str(d.name), str(d.description)) for d in found]


def open_camera(device: str, size: tuple[int, int], rate_hz: float) -> Iterator[Picture]:
    """Yield a camera's pictures as they come.

    Parameters
    ----------
    device : str
        A number or path (Linux), a name (Windows, macOS), or ``"test-pattern"``.
    size : (int, int)
        Width and height in pixels that the camera is asked for.
    rate_hz : float
        Pictures per second that the camera is asked for.

    Raises
    ------
    StreamError
        If there is no such camera, or it cannot do this.
    """
    if device == TEST_PATTERN:
        return _pattern(size, rate_hz)
    av, driver = import_av(), _driver()
    place = f"/dev/video{device}" if driver == "v4l2" and device.isdigit() else device
    place = f"video={device}" if driver == "dshow" and "=" not in device else place
    options = {"video_size": f"{size[0]}x{size[1]}", "framerate": f"{rate_hz:g}"}
    try:
        container = av.open(place, format=driver, options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        names = "; ".join(f"{d} ({t})" for d, t in camera_names()) or "none"
        raise StreamError(
            f"found that the camera {device!r} cannot be opened at {size[0]}x{size[1]} and "
            f"{rate_hz:g} Hz ({error}), expected one of this computer's cameras: {names}; choose "
            "one with --device and a size that it has"
        ) from error
    return _camera(container, device)


def _driver() -> str:
    try:
        return _DRIVERS[sys.platform]
    except KeyError:
        raise CallError(
            f"found the system {sys.platform!r}, expected one of {', '.join(_DRIVERS)} for cameras"
        ) from None


def _camera(container: Any, device: str) -> Iterator[Picture]:
    from pylsl import local_clock

    why = "it ended"
    with container:
        try:
            for frame in container.decode(video=0):
                stamp = local_clock()
                seconds = float("nan") if frame.time is None else float(frame.time)
                yield Picture(frame, stamp, seconds)
        except (import_av().FFmpegError, OSError) as error:
            why = str(error)
    raise StreamError(
        f"found that the camera {device!r} gives no more pictures ({why}), expected it until it is "
        "stopped; check its cable, and whether another program has taken it"
    )


def _pattern(size: tuple[int, int], rate_hz: float) -> Iterator[Picture]:
    """Yield grey pictures whose top row of blocks is the picture's number in binary."""
    from pylsl import local_clock

    av = import_av()
    width, height = size
    if width < 4 * _N_BITS or height < 4 * _BAR_SHARE:
        raise CallError(
            f"found a test pattern of {width}x{height}, expected at least {4 * _N_BITS}x"
            f"{4 * _BAR_SHARE} pixels"
        )
    began, number = time.perf_counter(), 0
    while True:
        time.sleep(max(0.0, began + number / rate_hz - time.perf_counter()))
        grey = np.full((height, width), 110, np.uint8)
        x = number * 4 % width
        grey[:, x : x + 8] = 200
        bits = (number >> np.arange(_N_BITS)) & 1
        bar = np.repeat(np.where(bits, 235, 20), width // _N_BITS).astype(np.uint8)
        grey[: height // _BAR_SHARE, : len(bar)] = bar
        picture = av.VideoFrame.from_ndarray(np.repeat(grey[:, :, None], 3, axis=2), format="rgb24")
        yield Picture(picture, local_clock(), float(Fraction(number) / Fraction(rate_hz)))
        number += 1


def read_pattern_number(rgb: np.ndarray) -> int:
    """Return the number that stands in a picture of the test pattern (height, width, 3)."""
    height, width = rgb.shape[:2]
    block = width // _N_BITS
    row = rgb[height // _BAR_SHARE // 2, :, 0].astype(float)
    blocks = row[: block * _N_BITS].reshape(_N_BITS, block)
    bits = blocks[:, block // 4 : block - block // 4].mean(axis=1) > 128
    return sum(1 << k for k, bit in enumerate(bits) if bit)
