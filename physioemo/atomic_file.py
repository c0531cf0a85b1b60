"""Files that are there whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from physioemo.errors import CallError, DiskFullError, RecordingExistsError, StoreError

__all__ = ["new_path", "refuse_existing_file", "require_ending"]


def require_ending(path: Path, ending: str) -> None:
    """Refuse the name of a new file that does not end as its format does.

    Raises
    ------
    CallError
        If it ends otherwise.
    """
    if path.suffix.lower() != ending:
        raise CallError(f"found the name {path.name!r}, expected one that ends in {ending!r}")


def refuse_existing_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a path at which something is already.

    Raises
    ------
    RecordingExistsError
        If something is there and `overwrite` is false, or it is a folder.
    """
    if path.is_dir() or (path.exists() and not overwrite):
        what, hint = ("a folder", "") if path.is_dir() else ("a file", " or pass --overwrite")
        raise RecordingExistsError(
            f"found {what} at {path}, expected nothing there; choose another name{hint}"
        )


@contextmanager
def new_path(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path` that becomes `path` when the block ends well.

    Its name ends like that of `path`, since some writers choose the format by it. If the block
    fails, nothing is left and what was at `path` stays.

    Raises
    ------
    RecordingExistsError
        See :func:`refuse_existing_file`.
    DiskFullError, StoreError
        If the file cannot be written.
    """
    refuse_existing_file(path, overwrite=overwrite)
    partial = path.with_name(f".partial-{secrets.token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except StoreError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise (DiskFullError if full else StoreError)(
            f"found that {path} cannot be written ({error.strerror or error}), expected a "
            "writable place with enough room; choose another place or free some space"
        ) from error
    finally:
        with suppress(OSError):  # nothing was made, or the error that counts is on its way
            partial.unlink()
