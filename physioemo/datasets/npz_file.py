"""Archives of ``numpy.savez`` whose arrays are pickles in bytes, read without running anything.

SEED-V's features are ``savez(file, data=pickle.dumps(...), label=pickle.dumps(...))``: each
member is a text array without dimensions, whose bytes are a pickle. ``numpy.load`` makes room
for whatever the header of a member claims; here the sizes are held against the file first, and
the pickles go through :func:`physioemo.datasets.safe_pickle.loads_pickle`.
"""

import re
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from physioemo.datasets.safe_pickle import loads_pickle
from physioemo.errors import UnreadableFileError

__all__ = ["load_npz_pickles"]

_LIMIT_BYTES = 1 << 26
"""Of one member; all features of a person are 4.5 million bytes."""

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '[|<]S(\d{1,10})', 'fortran_order': False, 'shape': \(\), \} *\n"
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Refused(Exception):  # noqa: N818 - never leaves this file
    """What was found; the caller adds the file and what to do."""


def load_npz_pickles(
    path: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the plain containers and numeric arrays of a file's members.

    Parameters
    ----------
    path : Path
        The file.
    required, optional : sequence of str
        Members that must and that may be there; others are an error.

    Raises
    ------
    UnreadableFileError
        If it is damaged, larger than it may be, or holds anything but containers, numbers, text
        and numeric arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = _names(archive, required, optional)
            pickles = {name: _pickle(archive, info) for name, info in names.items()}
    except Exception as error:  # a damaged archive raises whatever its bytes happen to mean
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnreadableFileError(
            f"found that {path} cannot be read ({reason}), expected a whole .npz file with the "
            f"pickles {' and '.join(required)}; copy the file again, or get it from the data "
            "set's own site"
        ) from error
    return {name: loads_pickle(data, f"{name} of {path}") for name, data in pickles.items()}


def _names(
    archive: zipfile.ZipFile, required: Sequence[str], optional: Sequence[str]
) -> dict[str, zipfile.ZipInfo]:
    members = archive.infolist()
    names = [m.filename.removesuffix(".npy") for m in members]
    known = {*required, *optional}
    if len(set(names)) < len(names) or not set(required) <= set(names) <= known:
        raise _Refused(f"its members are {', '.join(sorted(names))[:120] or 'none'}")
    return dict(zip(names, members, strict=True))


def _pickle(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a text array without dimensions; all sizes are checked first."""
    if member.file_size > _LIMIT_BYTES or member.compress_type not in _METHODS:
        raise _Refused(
            f"{member.filename} claims {member.file_size} bytes by method {member.compress_type}"
        )
    data = archive.read(member)
    start = len(_MAGIC) + 2
    if not data.startswith(_MAGIC) or len(data) < start:
        raise _Refused(f"{member.filename} is no array")
    end = start + struct.unpack_from("<H", data, len(_MAGIC))[0]
    header = _HEADER.fullmatch(data[start:end])
    if not header:
        raise _Refused(
            f"{member.filename} is not bytes without dimensions: {data[start:end][:60]!r}"
        )
    if int(header[1]) != len(data) - end:
        raise _Refused(f"{member.filename} claims {int(header[1])} bytes of {len(data) - end}")
    return data[end:]
