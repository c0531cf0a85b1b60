"""How the computer is doing: disk, processor, and what this process itself costs."""

import shutil
import time
from pathlib import Path

from physioemo.errors import MissingExtraError

__all__ = ["SystemWatch"]


class SystemWatch:
    """Measures between one call and the next.

    Parameters
    ----------
    folder : Path
        Where recordings are written; its disk is watched.

    Raises
    ------
    MissingExtraError
        If psutil is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import psutil
        except ImportError as error:
            raise MissingExtraError(
                "found that 'psutil' is not installed, expected it for the operator's page; run "
                "pip install 'physioemo[dashboard]'"
            ) from error

        self._folder = folder
        self._psutil = psutil
        psutil.cpu_percent()
        self._last = (time.monotonic(), time.process_time())

    def __call__(self) -> dict[str, float | None]:
        """Return free disk in GiB and its share, and processor use in percent.

        ``cpu_percent`` is of all cores, ``own_percent`` this process in percent of one core.
        """
        now, used = time.monotonic(), time.process_time()
        since, before = self._last
        self._last = (now, used)
        own = 100 * (used - before) / (now - since) if now > since else None
        try:
            disk = shutil.disk_usage(self._folder)
        except OSError:  # a disk that was taken out
            free, share = None, None
        else:
            free, share = disk.free / 2**30, disk.free / disk.total
        return {
            "disk_free_gib": free,
            "disk_free_share": share,
            "cpu_percent": self._psutil.cpu_percent(),
            "own_percent": own,
        }
