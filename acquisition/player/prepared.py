"""What can be done of an item before it is shown: decoding, reading, scaling."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.acquisition.player.frame_source import FrameSource
from physioemo.acquisition.player.item import Item
from physioemo.acquisition.player.screen import fit_picture
from physioemo.acquisition.player.sound import SOUND_HZ, import_pygame, write_sound
from physioemo.acquisition.player.stimulus_file import StimulusFile
from physioemo.errors import UnreadableFileError
from physioemo.media import decode_sound, iterate_frames

__all__ = ["Prepared", "prepare"]

Rect = tuple[int, int, int, int]


@dataclass
class Prepared:
    """An item that can begin at once.

    Attributes
    ----------
    item : Item
        What it is.
    file : StimulusFile or None
        Its file.
    rect : (int, int, int, int) or None
        x, y, width, height of its picture in the window, in pixels.
    frames : FrameSource or None
        Of a video.
    rgb : ndarray or None
        Of an image, scaled, shape (height, width, 3).
    sound : Path or None
        WAV file whose first sample belongs to the item's start.
    sound_stop_seconds : float
        Where the sound ends in the file.
    """

    item: Item
    file: StimulusFile | None
    rect: Rect | None = None
    frames: FrameSource | None = None
    rgb: np.ndarray | None = None
    sound: Path | None = None
    sound_stop_seconds: float = 0.0

    def close(self) -> None:
        """End the decoding and remove what was written."""
        if self.frames is not None:
            self.frames.close()
        if self.sound is not None:
            with contextlib.suppress(OSError):
                self.sound.unlink()


def prepare(
    item: Item,
    file: StimulusFile | None,
    window: tuple[int, int],
    folder: Path,
    *,
    background: Any,
    with_sound: bool,
) -> Prepared:
    """Decode what an item needs at its beginning.

    Parameters
    ----------
    item : Item
        What is shown.
    file : StimulusFile or None
        Its file.
    window : (int, int)
        Size of the window in pixels.
    folder : Path
        For sound.
    background : pygame.Color
        Behind an image that is partly transparent.
    with_sound : bool
        Whether sound is played.
    """
    prepared = Prepared(item, file)
    if file is None:
        return prepared
    if file.has_sound and with_sound:
        sound = decode_sound(
            file.path,
            start_seconds=item.start_seconds,
            stop_seconds=item.stop_seconds,
            sfreq=SOUND_HZ,
        )
        if sound is not None and len(sound.samples):
            prepared.sound = write_sound(sound, item.start_seconds, folder)
            prepared.sound_stop_seconds = sound.stop_seconds
    if file.size is not None:
        prepared.rect = fit_picture(file.size, window)
    if item.kind == "video" and prepared.rect is not None:
        prepared.frames = FrameSource(item, prepared.rect[2:])
    elif item.kind == "image" and prepared.rect is not None:
        prepared.rgb = _image(file.path, prepared.rect[2:], background)
    return prepared


def _image(path: Path, size: tuple[int, int], background: Any) -> np.ndarray:
    frame = next(iterate_frames(path), None)
    if frame is None:
        raise UnreadableFileError(f"found no picture in {path}, expected an image")
    if not any(c.is_alpha for c in frame.picture.format.components):
        return frame.to_rgb(size)
    pygame = import_pygame()
    picture = pygame.transform.smoothscale(pygame.image.load(str(path)), size)
    canvas = pygame.Surface(size)
    canvas.fill(background)
    canvas.blit(picture, (0, 0))
    pixels = pygame.surfarray.array3d(canvas).transpose(1, 0, 2)
    return np.ascontiguousarray(pixels, np.uint8)
