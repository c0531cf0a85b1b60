"""Decoded, scaled frames from a thread, a few ahead of what is shown."""

import queue
import threading
from dataclasses import dataclass

import numpy as np

from physioemo.acquisition.player.item import Item
from physioemo.media import iterate_frames

__all__ = ["FrameSource", "ReadyFrame"]

_AHEAD, _AHEAD_BYTES = 12, 64e6


@dataclass(frozen=True)
class ReadyFrame:
    """A frame that can be drawn as it is.

    Attributes
    ----------
    index : int
        Its number in the file.
    seconds, until_seconds : float
        Its presentation stamp and its end, since the file's beginning.
    rgb : ndarray of uint8, shape (height, width, 3)
        In the size in which it is shown.
    """

    index: int
    seconds: float
    until_seconds: float
    rgb: np.ndarray


class FrameSource:
    """The frames of a video item, decoded by a thread of their own.

    Parameters
    ----------
    item : Item
        A video.
    size : (int, int)
        Width and height in which it is shown.
    """

    def __init__(self, item: Item, size: tuple[int, int]) -> None:
        ahead = min(_AHEAD, max(3, int(_AHEAD_BYTES / (3 * size[0] * size[1]))))
        self._queue: queue.Queue[ReadyFrame | BaseException | None] = queue.Queue(ahead)
        self._held: ReadyFrame | None = None
        self._stop = threading.Event()
        self.ended = False
        self._thread = threading.Thread(target=self._decode, args=(item, size), daemon=True)
        self._thread.start()

    def peek(self, timeout_seconds: float = 0.0) -> ReadyFrame | None:
        """Return the next frame without taking it; None if it is not ready or there is none.

        Raises
        ------
        UnreadableFileError
            If the file is damaged from here on.
        """
        if self._held is None and not self.ended:
            try:
                found = self._queue.get(timeout_seconds > 0, timeout_seconds or None)
            except queue.Empty:
                return None
            if isinstance(found, BaseException):
                self.ended = True
                raise found
            self.ended = found is None
            self._held = found
        return self._held

    def take(self) -> None:
        """Take the frame that :meth:`peek` returned."""
        self._held = None

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue

    def _decode(self, item: Item, size: tuple[int, int]) -> None:
        try:
            for frame in iterate_frames(
                item.file or "", start_seconds=item.start_seconds, stop_seconds=item.stop_seconds
            ):
                rgb = frame.to_rgb(size)
                if not self._put(ReadyFrame(frame.index, frame.seconds, frame.until_seconds, rgb)):
                    return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, what: ReadyFrame | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(what, timeout=0.05)
            except queue.Full:
                continue
            return True
        return False
