"""Where a stamp that was told lies in a recorded stream, and what is said if it does not."""

import numpy as np

__all__ = ["LackError", "Places"]


class LackError(Exception):
    """What cannot be computed because the recording lacks it."""


class Places:
    """Where stamps lie among those of a stream, which a device may have set back.

    Parameters
    ----------
    stamps : ndarray, shape (time,)
        The device's own in seconds, in order of arrival.
    """

    def __init__(self, stamps: np.ndarray) -> None:
        self._order = np.argsort(stamps, kind="stable")
        self._sorted = stamps[self._order]

    def of(self, stamp: float) -> int | None:
        """Return the index of the first sample with a stamp; None if there is none."""
        return self._at(int(np.searchsorted(self._sorted, stamp)), stamp)

    def last_of(self, stamp: float) -> int | None:
        """Return the index of the last sample with a stamp; None if there is none."""
        return self._at(int(np.searchsorted(self._sorted, stamp, side="right")) - 1, stamp)

    def _at(self, place: int, stamp: float) -> int | None:
        found = 0 <= place < len(self._sorted) and self._sorted[place] == stamp
        return int(self._order[place]) if found else None
