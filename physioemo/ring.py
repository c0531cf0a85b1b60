"""The ring: chunks of a live stream in, windows of fixed length out, in fixed memory."""

from itertools import pairwise

import numpy as np

from physioemo.clock import find_gaps
from physioemo.description import StreamDescription
from physioemo.recording import hop_window
from physioemo.window import Window

__all__ = ["Ring"]


class Ring:
    """Cuts a stream into consecutive windows, however it arrives in chunks.

    The windows are those of :meth:`physioemo.recording.Recording.windows` on the same samples.

    Parameters
    ----------
    key : str
        Name of the stream in the windows.
    description : StreamDescription
        Of the stream.
    hop_samples : int
        Length of each window.
    """

    def __init__(self, key: str, description: StreamDescription, hop_samples: int) -> None:
        self.key = key
        self.description = description
        self.segment = 0
        self._n = 0
        self._signal: np.ndarray | None = None
        self._time = np.empty(hop_samples)
        self._last = np.empty(0)

    def push(self, signal: np.ndarray, time: np.ndarray) -> list[Window]:
        """Take the next samples and return the windows that they complete.

        Parameters
        ----------
        signal : ndarray, shape (time, channel)
            Samples in order of arrival.
        time : ndarray, shape (time,)
            Session time of each in seconds.
        """
        if not len(time):
            return []
        n_before = len(self._last)
        gaps = find_gaps(np.concatenate([self._last, time]), self.description.sfreq) - n_before
        self._last = np.array(time[-1:], float)
        edges = sorted({0, *gaps.tolist(), len(time)})
        windows: list[Window] = []
        for start, stop in pairwise(edges):
            if start in gaps:
                self.segment += 1
                self._n = 0
            windows += self._fill(signal[start:stop], time[start:stop])
        return windows

    def _fill(self, signal: np.ndarray, time: np.ndarray) -> list[Window]:
        if self._signal is None:
            self._signal = np.empty((len(self._time), signal.shape[1]), signal.dtype)
        windows, at = [], 0
        while at < len(time):
            n = min(len(self._time) - self._n, len(time) - at)
            self._signal[self._n : self._n + n] = signal[at : at + n]
            self._time[self._n : self._n + n] = time[at : at + n]
            self._n, at = self._n + n, at + n
            if self._n == len(self._time):
                self._n = 0
                windows.append(
                    hop_window(self.key, self.description, self._signal, self._time, self.segment)
                )
        return windows
