"""Decoded blocks of sound on one line of time."""

from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import UnreadableFileError

__all__ = ["HOLE_SECONDS", "SoundLine"]

# Vorbis changes the length of its blocks and is stamped up to 11 ms off for one of them, and
# containers round to milliseconds; one lost AAC packet is 21 ms.
HOLE_SECONDS = 0.018


class SoundLine:
    """Blocks of sound, each where its stamp says; a hole between two stays one, as silence.

    Parameters
    ----------
    av : module
        PyAV.
    path : Path
        What errors call the file.
    rate : int
        Samples per second of the result.
    n_channels : {1, 2}
        Channels of the result.
    """

    def __init__(self, av: Any, path: Path, rate: int, n_channels: int) -> None:
        self._av, self.path, self.rate, self.n_channels = av, path, rate, n_channels
        self.blocks: list[np.ndarray] = []
        self.first_seconds: float | None = None
        self.n_out = 0
        self._resampler: Any = None
        self._due_seconds = 0.0

    def add(self, block: Any, seconds: float) -> None:
        """Put the next block at its time.

        Parameters
        ----------
        block : av.AudioFrame
            Decoded sound.
        seconds : float
            Its stamp since the file's beginning.

        Raises
        ------
        UnreadableFileError
            If it overlaps what came before.
        """
        if self.first_seconds is None:
            self.first_seconds = self._due_seconds = seconds
        late = seconds - self._due_seconds
        if late < -HOLE_SECONDS:
            raise UnreadableFileError(
                f"found that the sound of {self.path} steps back by {-late:.3f} s at "
                f"{seconds:.3f} s, expected one block after the other; convert the file"
            )
        if late > HOLE_SECONDS:
            self._drain()
            gap = round((seconds - self.first_seconds) * self.rate) - self.n_out
            self._keep(np.zeros((max(0, gap), self.n_channels), np.int16))
            self._due_seconds = seconds
        self._due_seconds += block.samples / block.sample_rate
        self._resample(block)

    def finish(self) -> tuple[np.ndarray, float]:
        """Return all samples (time, channel), int16, and where the first lies in seconds."""
        self._drain()
        empty = np.zeros((0, self.n_channels), np.int16)
        samples = np.concatenate(self.blocks) if self.blocks else empty
        return samples, self.first_seconds or 0.0

    def _resample(self, block: Any) -> None:
        if self._resampler is None:
            layout = {1: "mono", 2: "stereo"}[self.n_channels]
            self._resampler = self._av.AudioResampler("s16", layout, self.rate)
        for out in self._resampler.resample(block):
            self._keep(out.to_ndarray().reshape(-1, self.n_channels))

    def _drain(self) -> None:
        if self._resampler is not None:
            self._resample(None)
            self._resampler = None

    def _keep(self, samples: np.ndarray) -> None:
        self.blocks.append(samples)
        self.n_out += len(samples)
