"""Video and sound files: every frame at its true time, every sample of sound at its own.

Times are presentation stamps in the file's own rational time base, in seconds since the file's
beginning, which is where the first of its streams begins: video and sound share this origin. A
frame rate or a number of frames that a header states is never used for timing. Sound lies where
its stamps say: it begins late if they do, and if it is shorter than the video it stays shorter.
Pictures are upright as the file's rotation says. FFmpeg does the decoding, through PyAV.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CallError, MissingExtraError, UnreadableFileError
from physioemo.sound_line import HOLE_SECONDS, SoundLine

__all__ = [
    "Frame",
    "MediaInfo",
    "Sound",
    "decode_sound",
    "import_av",
    "iterate_frames",
    "probe_media",
    "sha256_of",
]


@dataclass(frozen=True)
class MediaInfo:
    """What a file says of itself.

    Attributes
    ----------
    path : Path
        The file.
    rate : Fraction or None
        Nominal frames per second; None without video.
    size : (int, int) or None
        Width and height of the shown picture: upright, with square pixels.
    video_seconds, sound_seconds : float or None
        When the last frame and the last sample end, if the file says so.
    duration_seconds : float
        When the longer of both ends.
    sound_hz, n_sound_channels : int or None
        The sound as it is stored.
    """

    path: Path
    rate: Fraction | None
    size: tuple[int, int] | None
    video_seconds: float | None
    sound_seconds: float | None
    duration_seconds: float
    sound_hz: int | None
    n_sound_channels: int | None


@dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes
    ----------
    index : int
        Number in the file from 0, in the order of presentation.
    pts : int
        Presentation stamp in units of `time_base`.
    time_base : Fraction
        Seconds per unit.
    seconds : float
        The stamp in seconds since the file's beginning.
    until_seconds : float
        When it ends, by its own duration.
    picture : av.VideoFrame
        The decoded picture.
    """

    index: int
    pts: int
    time_base: Fraction
    seconds: float
    until_seconds: float
    picture: Any

    def to_rgb(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """Return the upright picture as uint8, shape (height, width, 3).

        Parameters
        ----------
        size : (int, int), optional
            Width and height to scale to; the stored pixels by default.
        """
        quarters = _quarter_turns(self.picture)
        width, height = size or _upright(self.picture)
        if quarters % 2:
            width, height = height, width
        scaled = self.picture.reformat(width=width, height=height, format="rgb24")
        return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), quarters))


@dataclass(frozen=True)
class Sound:
    """Decoded sound.

    Attributes
    ----------
    samples : ndarray of int16, shape (time, channel)
        From `start_seconds` on, without a break.
    sfreq : int
        Samples per second.
    start_seconds : float
        Where the first sample lies in the file.
    """

    samples: np.ndarray
    sfreq: int
    start_seconds: float

    @property
    def stop_seconds(self) -> float:
        """Where the last sample ends in the file."""
        return self.start_seconds + len(self.samples) / self.sfreq


def import_av() -> Any:
    """Return PyAV.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(
            "found no av (PyAV), expected it for video and sound; install it with "
            "pip install 'physioemo[video]'"
        ) from error
    return av


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def probe_media(path: str | Path) -> MediaInfo:
    """Return what a file's headers say of it; of video, the first frame is decoded.

    Raises
    ------
    CallError
        If there is no such file.
    UnreadableFileError
        If it holds neither video nor sound.
    """
    path = Path(path)
    with _opened(path) as container:
        video = next(iter(_films(container)), None)
        sound = next(iter(container.streams.audio), None)
        if video is None and sound is None:
            raise UnreadableFileError(f"found neither video nor sound in {path}, expected either")
        known = [_stated_end(container, s) for s in (video, sound)]
        whole = (container.duration or 0) / 1e6
        rates = (None, None) if sound is None else (sound.rate, sound.channels)
        return MediaInfo(
            path=path,
            rate=None if video is None else _nominal_rate(video),
            size=None if video is None else _shown_size(container, video, path),
            video_seconds=known[0],
            sound_seconds=known[1],
            duration_seconds=max([whole, *(k for k in known if k is not None)]),
            sound_hz=rates[0],
            n_sound_channels=rates[1],
        )


def iterate_frames(
    path: str | Path, *, start_seconds: float = 0.0, stop_seconds: float | None = None
) -> Iterator[Frame]:
    """Decode the frames of a file that begin within a stretch, in the order of presentation.

    Frames keep their number in the whole file, so decoding always begins at its first frame.

    Parameters
    ----------
    path : str or Path
        The file.
    start_seconds, stop_seconds : float
        The stretch; to the end by default.

    Raises
    ------
    CallError
        If there is no such file.
    UnreadableFileError
        If it holds no video, a frame without a stamp, stamps that do not increase, or damage.
    """
    with _opened(Path(path)) as container:
        films = _films(container)
        if not films:
            raise UnreadableFileError(f"found no video in {path}, expected a video file")
        stream = films[0]
        stream.thread_type = "AUTO"
        origin, end = _origin(container), _stated_end(container, stream)
        base, rate, before = Fraction(stream.time_base), _nominal_rate(stream), -math.inf
        for index, picture in enumerate(_decoded(container, stream, Path(path))):
            seconds = float(picture.pts * base - origin)
            if seconds <= before:
                raise UnreadableFileError(
                    f"found that frame {index} of {path} is stamped {seconds:.4f} s after one of "
                    f"{before:.4f} s, expected stamps that increase; convert the file"
                )
            before = seconds
            if stop_seconds is not None and seconds >= stop_seconds:
                return
            if seconds >= start_seconds or start_seconds <= 0:
                length = picture.duration * base if picture.duration else 1 / rate if rate else 0
                until = seconds + float(length)
                # The last frame may claim more time than its file has.
                until = until if end is None or end <= seconds else min(until, end)
                yield Frame(index, picture.pts, base, seconds, until, picture)


def decode_sound(
    path: str | Path,
    *,
    start_seconds: float = 0.0,
    stop_seconds: float | None = None,
    sfreq: int | None = None,
    n_channels: int = 2,
) -> Sound | None:
    """Decode the sound of a stretch of a file, mixed down to the channels that are played.

    Parameters
    ----------
    path : str or Path
        The file.
    start_seconds, stop_seconds : float
        The stretch; to the end by default.
    sfreq : int, optional
        Samples per second of the result; the file's own by default.
    n_channels : {1, 2}
        Surround sound is mixed down as FFmpeg does (ITU-R BS.775).

    Returns
    -------
    Sound or None
        None if the file has no sound.

    Raises
    ------
    CallError
        If there is no such file, or the channels are not 1 or 2.
    UnreadableFileError
        If the file is damaged, or its sound overlaps itself.
    """
    path = Path(path)
    if n_channels not in (1, 2):
        raise CallError(f"found n_channels={n_channels!r}, expected 1 or 2")
    with _opened(path) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        line = SoundLine(import_av(), path, int(sfreq or stream.rate), n_channels)
        origin, end = _origin(container), _stated_end(container, stream)
        for block in _decoded(container, stream, path):
            seconds = float(block.pts * block.time_base - origin)
            if stop_seconds is not None and seconds >= stop_seconds + HOLE_SECONDS:
                break
            line.add(block, seconds)
        samples, first_seconds = line.finish()
    return _cut(Sound(samples, line.rate, first_seconds), start_seconds, stop_seconds, end)


def _cut(sound: Sound, start: float, stop: float | None, end: float | None) -> Sound:
    """Return a stretch of sound; what lies after the file's stated end is coder padding."""
    last = min(sound.stop_seconds, *(t for t in (stop, end) if t is not None), math.inf)
    first = max(0, round((start - sound.start_seconds) * sound.sfreq))
    stop_index = max(first, round((last - sound.start_seconds) * sound.sfreq))
    samples = np.ascontiguousarray(sound.samples[first:stop_index])
    return Sound(samples, sound.sfreq, sound.start_seconds + first / sound.sfreq)


def _opened(path: Path) -> Any:
    av = import_av()
    if not path.is_file():
        raise CallError(f"found no file {path}, expected a video or sound file; check the name")
    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise UnreadableFileError(
            f"found that {path} cannot be read ({error}), expected a video or sound file that "
            "FFmpeg knows; convert it"
        ) from error


def _decoded(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    av = import_av()
    try:
        for item in container.decode(stream):
            if item.pts is None:
                raise UnreadableFileError(
                    f"found a frame without a time stamp in {path}, expected one for each; "
                    "convert the file"
                )
            if getattr(item, "is_corrupt", False):
                raise UnreadableFileError(
                    f"found a damaged frame at {float(item.pts * item.time_base):.3f} s of "
                    f"{path}, expected a whole file; get it again"
                )
            yield item
    except av.FFmpegError as error:
        raise UnreadableFileError(
            f"found that {path} is damaged ({error}), expected a whole file; get it again"
        ) from error


def _films(container: Any) -> list[Any]:
    """Return the streams of pictures that are no cover of a song."""
    cover = import_av().stream.Disposition.attached_pic
    return [s for s in container.streams.video if not s.disposition & cover]


def _origin(container: Any) -> Fraction:
    streams = (*_films(container), *container.streams.audio)
    # The container's own start is the same, rounded to microseconds.
    starts = [s.start_time * Fraction(s.time_base) for s in streams if s.start_time is not None]
    return min(starts, default=Fraction(container.start_time or 0, 1_000_000))


def _nominal_rate(stream: Any) -> Fraction | None:
    rate = stream.guessed_rate or stream.average_rate
    return Fraction(rate) if rate else None


def _quarter_turns(picture: Any) -> int:
    """Return how many quarter turns against the clock make a picture upright."""
    return round((getattr(picture, "rotation", 0) or 0) / 90) % 4


def _upright(picture: Any) -> tuple[int, int]:
    size = (picture.width, picture.height)
    return size[::-1] if _quarter_turns(picture) % 2 else size


def _shown_size(container: Any, stream: Any, path: Path) -> tuple[int, int]:
    picture = next(_decoded(container, stream, path), None)
    if picture is None:
        raise UnreadableFileError(f"found a video without frames in {path}, expected some")
    aspect = stream.sample_aspect_ratio
    stored = (round(picture.width * aspect) if aspect else picture.width, picture.height)
    return stored[::-1] if _quarter_turns(picture) % 2 else stored


def _stated_end(container: Any, stream: Any) -> float | None:
    if stream is None or stream.duration is None:
        return None
    stop = ((stream.start_time or 0) + stream.duration) * stream.time_base
    return float(stop - _origin(container))
