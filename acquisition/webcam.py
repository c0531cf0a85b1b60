"""A camera into a video file of its own; over LSL goes only which picture was taken when.

The file is Matroska, which can be read up to its last cluster after the program was killed; the
stream is irregular and holds the number of each picture, its time stamp in the file, and the
driver's own stamp. Pictures themselves never go over LSL.
"""

import errno
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from physioemo.acquisition.lsl import make_outlet, push
from physioemo.acquisition.webcam_source import TEST_PATTERN, Picture, open_camera
from physioemo.atomic_file import new_path
from physioemo.description import StreamDescription, text_units
from physioemo.errors import CallError, DiskFullError, RecordingExistsError, StoreError, StreamError
from physioemo.media import import_av, sha256_of

__all__ = ["CHANNELS", "WebcamSummary", "record_webcam"]

CHANNELS = ("frame", "pts", "device_time")
_UNITS = ("count", "s", "s")
_TIME_BASE = Fraction(1, 1000)  # Matroska's own
_QUEUE = 64
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_SETTLE_SECONDS = 1.0
_CONTAINER = {"cluster_time_limit": "500", "flush_packets": "1"}
_ENCODER = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}


@dataclass(frozen=True)
class WebcamSummary:
    """What was recorded of a camera.

    Parameters
    ----------
    path : str
        The video.
    sha256 : str
        Of its bytes.
    n_frames, n_dropped : int
        Pictures in the file; pictures that came while the encoder was too far behind.
    duration_seconds : float
        From the first picture to the last.
    measured_rate_hz : float
        NaN with fewer than two pictures.
    """

    path: str
    sha256: str
    n_frames: int
    n_dropped: int
    duration_seconds: float
    measured_rate_hz: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; an unknown rate is None."""
        rate = self.measured_rate_hz
        return {**asdict(self), "measured_rate_hz": rate if np.isfinite(rate) else None}


def record_webcam(
    out: str | Path,
    *,
    device: str = "0",
    size: tuple[int, int] = (640, 480),
    rate_hz: float = 30.0,
    name: str = "PhysioEmo-Webcam",
    duration_seconds: float | None = None,
    wait_seconds: float = 0.0,
    should_stop: Callable[[], bool] = lambda: False,
    on_frame: Callable[[int, int], None] = lambda n_frames, n_dropped: None,
) -> WebcamSummary:
    """Record a camera until told to stop.

    Parameters
    ----------
    out : str or Path
        Video to write, ``.mkv``; a file ``.json`` with the summary is written beside it.
    device, size, rate_hz
        See :func:`physioemo.acquisition.webcam_source.open_camera`; sizes must be even.
    name : str
        Of the LSL stream.
    duration_seconds : float, optional
        Stop after this long.
    wait_seconds : float
        Wait at most this long until somebody listens to both streams.
    should_stop, on_frame : callable
        Asked, and told how many pictures there are, after each picture.

    Raises
    ------
    RecordingExistsError
        If the file is there already.
    DiskFullError
        If the disk fills; what was written before can be read.
    StreamError
        If the camera cannot be opened, or stops; what it gave until then is whole.
    """
    out = Path(out)
    _check_call(out, size, rate_hz)
    pictures = open_camera(device, size, rate_hz)
    first = next(pictures)  # the camera works before anything is published
    file = _VideoFile(out, first, rate_hz)
    frames, markers = _outlets(out, name, device, first, rate_hz, file.codec)
    gone: StreamError | None = None
    try:
        _wait_for_listeners((frames, markers), pictures, wait_seconds)
        _mark(markers, {"event": "video_start", "file": out.name})
        end = time.monotonic() + (duration_seconds or float("inf"))
        try:
            for picture in pictures:
                pts = file.take(picture)
                if pts is not None:
                    row = [[file.n_frames - 1, pts, picture.device_seconds]]
                    push(frames, np.array(row, float), np.array([picture.stamp]))
                on_frame(file.n_frames, file.n_dropped)
                if should_stop() or time.monotonic() >= end:
                    break
        except KeyboardInterrupt:
            pass
        except StreamError as error:
            gone = error
    finally:
        file.close()
    summary = file.summary()
    with new_path(out.with_suffix(".json")) as path:
        path.write_text(json.dumps(summary.to_dict(), indent=2), encoding="utf-8")
    _mark(markers, {"event": "video_stop", "file": out.name, **_without_path(summary)})
    if any(o.have_consumers() for o in (frames, markers)):
        time.sleep(_SETTLE_SECONDS)
    if gone is not None:
        raise gone
    return summary


class _VideoFile:
    """Encodes in a thread of its own, so that the camera is never kept waiting."""

    def __init__(self, path: Path, first: Picture, rate_hz: float) -> None:
        av = import_av()
        self.path, self.n_frames, self.n_dropped = path, 0, 0
        self.codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._first = self._last = float("nan")
        self._pts = -1
        self._failure: Exception | None = None
        self._waiting: queue.Queue[Any] = queue.Queue(_QUEUE)
        try:
            self._container = av.open(
                str(path), "w", format="matroska", container_options=_CONTAINER
            )
        except OSError as error:
            raise _write_error(path, error) from error
        options = _ENCODER if self.codec == "libx264" else {}
        self._stream = self._container.add_stream(
            self.codec, rate=Fraction(rate_hz).limit_denominator(1001), options=options
        )
        self._stream.width, self._stream.height = first.frame.width, first.frame.height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.gop_size = max(1, round(rate_hz))
        self._stream.codec_context.time_base = _TIME_BASE
        self._thread = threading.Thread(target=self._encode, daemon=True)
        self._thread.start()

    def take(self, picture: Picture) -> float | None:
        """Queue a picture; return its stamp in the file in seconds, None if it is dropped."""
        self._raise_failure()
        if not self.n_frames:
            self._first = picture.stamp
        # Two pictures within one unit of the file's clock must still differ.
        pts = max(self._pts + 1, round((picture.stamp - self._first) / _TIME_BASE))
        try:
            self._waiting.put_nowait((picture.frame, pts))
        except queue.Full:
            self.n_dropped += 1
            return None
        self._pts, self._last = pts, picture.stamp
        self.n_frames += 1
        return float(pts * _TIME_BASE)

    def close(self) -> None:
        """Encode what waits, and end the file."""
        self._waiting.put(None)
        self._thread.join()
        self._raise_failure()

    def summary(self) -> WebcamSummary:
        """Return what the file holds."""
        length = self._last - self._first if self.n_frames > 1 else 0.0
        rate = (self.n_frames - 1) / length if length > 0 else float("nan")
        return WebcamSummary(
            str(self.path), sha256_of(self.path), self.n_frames, self.n_dropped, length, rate
        )

    def _encode(self) -> None:
        try:
            for frame, pts in iter(self._waiting.get, None):
                shown = frame.reformat(format="yuv420p")
                shown.pts, shown.time_base = pts, _TIME_BASE
                for packet in self._stream.encode(shown):
                    self._container.mux(packet)
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()
        except Exception as error:  # told by the thread that takes pictures
            self._failure = error
            for _ in iter(self._waiting.get, None):
                pass

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise _write_error(self.path, self._failure) from self._failure


def _write_error(path: Path, error: Exception) -> StoreError:
    full = isinstance(error, OSError) and error.errno in _FULL
    return (DiskFullError if full else StoreError)(
        f"found that {path} cannot be written ({error}), expected free, writable space; what was "
        "written before can be read: free some space and record to another file"
    )


def _check_call(out: Path, size: tuple[int, int], rate_hz: float) -> None:
    if out.suffix.lower() != ".mkv":
        raise CallError(
            f"found the file {out.name!r}, expected one that ends in .mkv: other kinds cannot be "
            "read after a crash"
        )
    if any(n < 2 or n % 2 for n in size):
        raise CallError(f"found a size of {size[0]}x{size[1]}, expected even numbers of pixels")
    if not 0 < rate_hz <= 1000:
        raise CallError(f"found {rate_hz} pictures per second, expected more than 0, at most 1000")
    for path in (out, out.with_suffix(".json")):
        if path.exists():
            raise RecordingExistsError(
                f"found something at {path}, expected nothing there; choose another --out"
            )


def _outlets(
    out: Path, name: str, device: str, first: Picture, rate_hz: float, codec: str
) -> tuple[Any, Any]:
    facts = {
        "file": out.name,
        "codec": codec,
        "device": device,
        "size_px": f"{first.frame.width} {first.frame.height}",
        "rate": str(Fraction(rate_hz).limit_denominator(1001)),
    }
    about = "".join(f"<{k}>{escape(v)}</{k}>" for k, v in facts.items())
    # LSL's own word for a stream that must not be evened out on reading.
    sync = "<synchronization><can_drop_samples>true</can_drop_samples></synchronization>"
    header = f"<info><desc>{sync}<video>{about}</video></desc></info>"
    place = f"{socket.gethostname()}-{name}-{device}"
    simulated = device == TEST_PATTERN
    frames = StreamDescription(
        name, "VideoFrames", 0.0, CHANNELS, _UNITS, "double64", source_id=place, xml=header
    )
    markers = StreamDescription(
        f"{name}-Markers", "Markers", 0.0, ("marker",), text_units(1), "string",
        source_id=f"{place}-markers", xml=header,
    )  # fmt: skip
    return make_outlet(frames, simulated=simulated), make_outlet(markers, simulated=simulated)


def _wait_for_listeners(
    outlets: tuple[Any, ...], pictures: Iterator[Picture], seconds: float
) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all(o.have_consumers() for o in outlets):
        next(pictures)  # a picture that waits in the driver would be stamped too late


def _mark(outlet: Any, content: dict[str, Any]) -> None:
    from pylsl import local_clock

    push(outlet, np.array([[json.dumps(content)]], object), np.array([local_clock()]))


def _without_path(summary: WebcamSummary) -> dict[str, Any]:
    return {k: v for k, v in summary.to_dict().items() if k != "path"}
