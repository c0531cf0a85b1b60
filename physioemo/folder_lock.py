"""Who is writing a recording: a lock that the operating system releases when its program ends."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from physioemo.errors import StoreError

__all__ = ["FolderLock", "refuse_in_use", "sole_writer"]

_NAME = "in-use"
_FAR_BYTES = 1 << 20


class FolderLock:
    """Held from now until :meth:`release`, or until this process ends, however it ends.

    Parameters
    ----------
    folder : Path
        The journal's folder.

    Raises
    ------
    BlockingIOError
        If another program, or another part of this one, holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(self._file)
        except BlockingIOError:
            self.release()
            raise

    def release(self) -> None:
        """Let others have it; a second time does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _lock(file: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        # Far behind the end: what is locked there cannot be copied, and the file is empty.
        os.lseek(file, _FAR_BYTES, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
    else:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            return  # some network disks know no locks; a recording goes on without


@contextlib.contextmanager
def sole_writer(journal: Path) -> Iterator[None]:
    """Keep everybody else from sealing a journal until the block ends.

    Raises
    ------
    StoreError
        If it is being recorded or sealed by somebody else.
    """
    try:
        lock = FolderLock(journal)
    except BlockingIOError as error:
        raise StoreError(
            f"found that {journal.parent} is being recorded or sealed at this moment, expected "
            "nobody to write it; stop its recorder (Ctrl-C there), or wait until it is done"
        ) from error
    try:
        yield
    finally:
        lock.release()


def refuse_in_use(journal: Path) -> None:
    """Refuse a recording that somebody is writing.

    Raises
    ------
    StoreError
        If it is being recorded or sealed.
    """
    if (journal / _NAME).exists():
        with sole_writer(journal):
            pass
