"""The file of a stimulus: opened, measured and hashed before anything is shown."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from physioemo.acquisition.player.item import Item
from physioemo.errors import CallError, UnreadableFileError
from physioemo.media import MediaInfo, probe_media, sha256_of

__all__ = ["StimulusFile", "open_stimulus"]


@dataclass(frozen=True)
class StimulusFile:
    """What is known of a file before it is shown.

    Attributes
    ----------
    path : Path
        Where it is.
    sha256 : str
        Of its bytes.
    rate : Fraction or None
        Nominal frames per second of a video.
    size : (int, int) or None
        Of the upright picture with square pixels.
    has_sound : bool
        Whether there is something to hear.
    duration_seconds : float or None
        Of a video or sound.
    """

    path: Path
    sha256: str
    rate: Fraction | None
    size: tuple[int, int] | None
    has_sound: bool
    duration_seconds: float | None


def open_stimulus(item: Item) -> StimulusFile | None:
    """Return what an item's file is; None if it has none.

    Raises
    ------
    CallError
        If there is no such file, or the item's stretch lies outside it.
    UnreadableFileError
        If it is not what the item says.
    """
    if item.file is None:
        return None
    info = probe_media(item.file)
    wanted = {"video": info.size, "image": info.size, "sound": info.sound_hz}[item.kind]
    if wanted is None:
        raise UnreadableFileError(f"found no {item.kind} in {item.file}, expected one")
    is_timed = item.kind != "image"
    if is_timed:
        _refuse_outside(item, info)
    return StimulusFile(
        path=item.file,
        sha256=sha256_of(item.file),
        rate=info.rate if item.kind == "video" else None,
        size=info.size if item.kind != "sound" else None,
        has_sound=is_timed and info.sound_hz is not None,
        duration_seconds=info.duration_seconds if is_timed else None,
    )


def _refuse_outside(item: Item, info: MediaInfo) -> None:
    latest = max(item.start_seconds, item.stop_seconds or 0.0)
    if item.start_seconds >= info.duration_seconds or latest > info.duration_seconds + 0.5:
        raise CallError(
            f"found a stretch up to {latest:g} s of {item.file}, expected one within its "
            f"{info.duration_seconds:.2f} s"
        )
