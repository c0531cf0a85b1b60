"""Sound, and the clock that it makes: what has been handed to the device, sample by sample.

SDL's mixer counts the samples that it has mixed; between two of its blocks time goes on by the
computer's clock. The count is read in whole milliseconds and steps by blocks, so a second-order
delay-locked loop smooths it (Adriaensen, Using a DLL to filter time, Linux Audio Conference 2005):
it follows the rate of the sound card without lag. The device's own delay is not in it; that is a
matter of calibration. No Python code runs in the thread that plays.
"""

import math
import time
import uuid
import wave
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from physioemo.errors import MissingExtraError, StreamError
from physioemo.media import Sound

__all__ = [
    "Clock",
    "MonotonicClock",
    "SoundClock",
    "SoundDevice",
    "import_pygame",
    "write_sound",
]

SOUND_HZ = 48000
_BLOCK = 1024
_BANDWIDTH_HZ, _FIRST_BANDWIDTH_HZ = 0.3, 1.5
_MAX_UPDATE_SECONDS = 0.05
_FIRST_BLOCKS_SECONDS = 0.05
_SETTLE_SECONDS = 0.2  # up to here the mean of the readings gives the offset
_READING_SECONDS = 0.002


def import_pygame() -> Any:
    """Return pygame.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import pygame
    except ImportError as error:
        raise MissingExtraError(
            "found no pygame-ce, expected it for the stimulus player; install it with "
            "pip install 'physioemo[video]'"
        ) from error
    return pygame


class Clock(Protocol):
    """Where in its file an item is."""

    kind: str

    def start(self) -> None:
        """Begin."""

    def position(self) -> float:
        """Return the position in the file in seconds; it never decreases."""

    def stop(self) -> None:
        """End; what sounds falls silent."""


class MonotonicClock:
    """The computer's own clock, for items without sound.

    Parameters
    ----------
    start_seconds : float
        Position at the start.
    """

    kind = "monotonic"

    def __init__(self, start_seconds: float = 0.0) -> None:
        self._start_seconds = start_seconds
        self._began = math.nan

    def start(self) -> None:
        """Begin."""
        self._began = time.perf_counter()

    def position(self) -> float:
        """Return the position in seconds."""
        return self._start_seconds + time.perf_counter() - self._began

    def stop(self) -> None:
        """Do nothing: there is nothing to end."""


class SoundDevice:
    """The sound card, opened once for all items.

    Raises
    ------
    StreamError
        If there is none.
    """

    def __init__(self) -> None:
        pygame = import_pygame()
        try:
            pygame.mixer.init(SOUND_HZ, -16, 2, _BLOCK, allowedchanges=0)
        except pygame.error as error:
            raise StreamError(
                f"found no sound device ({error}), expected one for the sound of the stimuli; "
                "connect one, or write sound = false in a playlist's [display] (a session opens "
                "it for videos and sounds alone, and not with --headless)"
            ) from None
        self.music = pygame.mixer.music
        driver = str(pygame.mixer.get_driver())
        self.driver = f"{driver} (nothing is heard)" if driver == "dummy" else driver

    def close(self) -> None:
        """Let the sound card go."""
        import_pygame().mixer.quit()


class SoundClock:
    """The sample counter of a sound that plays.

    Parameters
    ----------
    device : SoundDevice
        Where it plays.
    path : Path
        WAV file whose first sample belongs to `start_seconds`.
    start_seconds : float
        Position at the start.
    volume : float
        0 to 1.

    Attributes
    ----------
    readings : list of (float, float)
        When the counter was read, and how many seconds it was ahead of :meth:`position`.
    """

    kind = "sound samples"

    def __init__(
        self, device: SoundDevice, path: Path, start_seconds: float, volume: float = 1.0
    ) -> None:
        self._music, self._start_seconds = device.music, start_seconds
        self._music.load(str(path))
        self._music.set_volume(volume)
        self._now, self._at, self._rate, self._latest = 0.0, 0.0, 1.0, 0.0
        self._ended = False
        self.readings: list[tuple[float, float]] = []
        self._n_followed = 0

    def start(self) -> None:
        """Begin to play."""
        self._music.play()
        self._now = time.perf_counter()

    def position(self) -> float:
        """Return the position in the file in seconds."""
        now = time.perf_counter()
        step = now - self._now
        predicted = self._at + self._rate * step
        if step >= _READING_SECONDS:
            counted = self._music.get_pos()
            # Once the sound has ended the count means nothing; so it is read first.
            self._ended = self._ended or not self._music.get_busy()
            if self._ended:
                self._rate, self._at = 1.0, predicted
            else:
                seconds = (counted + 0.5) / 1000  # whole milliseconds, cut off
                self._follow(seconds, predicted, step)
                self.readings.append((now, seconds - self._at))
            self._now, predicted = now, self._at
        self._latest = max(self._latest, predicted)
        return self._start_seconds + self._latest

    def _follow(self, counted: float, predicted: float, step: float) -> None:
        error = counted - predicted
        if predicted < _FIRST_BLOCKS_SECONDS:
            self._at = predicted  # the count jumps by a whole block when the first is mixed
            return
        if predicted < _SETTLE_SECONDS:
            self._n_followed += 1
            self._at = predicted + error / self._n_followed
            return
        # Wide at first, to find the rate; it narrows as a running mean would.
        bandwidth = max(_BANDWIDTH_HZ, _FIRST_BANDWIDTH_HZ / (1 + 2 * predicted))
        turn = 2 * math.pi * bandwidth * min(step, _MAX_UPDATE_SECONDS)
        self._at = predicted + min(1.0, math.sqrt(2) * turn) * error
        self._rate += turn**2 * error / step

    def stop(self) -> None:
        """Fall silent and let the file go."""
        self._music.stop()
        self._music.unload()


def write_sound(sound: Sound, start_seconds: float, folder: Path) -> Path:
    """Write sound as a WAV file that begins at `start_seconds`, with silence up to its start."""
    late = max(0, round((sound.start_seconds - start_seconds) * sound.sfreq))
    path = folder / f"{uuid.uuid4().hex}.wav"
    channels = sound.samples.shape[1]
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(channels)
        wav.setsampwidth(2)
        wav.setframerate(sound.sfreq)
        wav.writeframes(np.zeros((late, channels), "<i2").tobytes())
        wav.writeframes(sound.samples.astype("<i2").tobytes())
    return path
