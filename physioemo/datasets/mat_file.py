"""MATLAB files of version 5, checked from end to end before anything is made of them."""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import UnreadableFileError

__all__ = [
    "COMPRESSED",
    "INFLATION",
    "MATRIX",
    "Damaged",
    "field",
    "inflate",
    "load_mat",
    "numbers",
    "read_header",
    "read_tag",
    "unreadable",
]

MATRIX, COMPRESSED = 14, 15
_HEADER_BYTES, _PIECE = 128, 1 << 20
INFLATION = 1040  # more than the largest factor by which zlib can shrink anything


class Damaged(Exception):  # noqa: N818 - caught where the file is known
    """What was found; :func:`unreadable` adds the file and what to do."""


def load_mat(path: str | Path, variables: list[str] | None = None) -> dict[str, Any]:
    """Return the variables of a MATLAB file (version 5 to 7) as SciPy reads them.

    Parameters
    ----------
    path : str or Path
        The file.
    variables : list of str, optional
        Read only these.

    Raises
    ------
    UnreadableFileError
        If the file is cut, its checksums fail, or it claims more than its bytes can hold.
    """
    from scipy.io import loadmat

    path = Path(path)
    try:
        _check(path)
        found = loadmat(path, variable_names=variables)
    except Exception as error:  # SciPy raises whatever the damage makes it raise
        raise unreadable(path, error) from error
    return {k: v for k, v in found.items() if not k.startswith("__")}


def unreadable(path: Path, error: Exception) -> UnreadableFileError:
    """Return the error for a MATLAB file that cannot be read."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UnreadableFileError(
        f"found that {path} cannot be read ({reason[:300]}), expected a whole MATLAB file of "
        "version 5 to 7; copy the file again"
    )


def field(struct_array: Any, name: str, place: str) -> Any:
    """Return one field of a 1 x 1 struct.

    Parameters
    ----------
    struct_array : ndarray
        As SciPy returns it.
    name : str
        The field.
    place : str
        File and position, for the error message.

    Raises
    ------
    UnreadableFileError
        If it is no such struct.
    """
    fields = getattr(getattr(struct_array, "dtype", None), "names", None) or ()
    if name not in fields or struct_array.size != 1:
        raise UnreadableFileError(
            f"found {', '.join(fields)[:200] or 'no struct'} in {place}, expected a struct with "
            f"the field {name!r}; is it the right file?"
        )
    return struct_array.flat[0][name]


def numbers(value: Any, shape: tuple[int | None, ...], place: str) -> np.ndarray:
    """Return a numeric array if it has the wanted shape (None: any length but 0).

    Raises
    ------
    UnreadableFileError
        If not.
    """
    found = value.shape if isinstance(value, np.ndarray) else ()
    fits = len(found) == len(shape) and all(
        n == wanted or (wanted is None and n > 0) for n, wanted in zip(found, shape, strict=True)
    )
    if not fits or value.dtype.kind not in "iuf":
        what = f"{found} of type {getattr(value, 'dtype', type(value).__name__)}"
        wanted = " x ".join("n" if n is None else str(n) for n in shape)
        raise UnreadableFileError(
            f"found shape {what} in {place}, expected {wanted} numbers; the file is damaged or "
            "of another release"
        )
    return np.asarray(value)


def _check(path: Path) -> None:
    """Walk the top-level elements: sizes must fit the file, checksums their data."""
    size = path.stat().st_size
    with path.open("rb") as file:
        order = read_header(file)
        at = _HEADER_BYTES
        while at < size:
            kind, length = read_tag(file.read(8), order)
            if at + 8 + length > size:
                raise Damaged(f"it ends {at + 8 + length - size} bytes early")
            if kind == COMPRESSED:
                _check_compressed(file, length, order)
            elif kind == MATRIX:
                _check_matrix(file.read(min(length, 256)), length, order)
            else:
                raise Damaged(f"an element of unknown kind {kind}")
            at += 8 + length
            file.seek(at)
    if at == _HEADER_BYTES:
        raise Damaged("it holds no variable")


def read_header(file: Any) -> str:
    """Read the first 128 bytes; return the byte order as :mod:`struct` writes it."""
    header = file.read(_HEADER_BYTES)
    if header.startswith(b"\x89HDF") or header[:10] == b"MATLAB 7.3":
        raise Damaged("it is of version 7.3")
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if order is None or struct.unpack(order + "H", header[124:126])[0] != 0x0100:
        raise Damaged("it does not begin as a MATLAB file")
    return order


def read_tag(raw: bytes, order: str) -> tuple[int, int]:
    """Return kind and length of an element."""
    if len(raw) < 8:
        raise Damaged("it ends within an element")
    kind, length = struct.unpack(order + "II", raw[:8])
    return int(kind), int(length)


def _check_compressed(file: Any, length: int, order: str) -> None:
    pieces = inflate(file, length)
    start = next(pieces, b"")
    kind, inside = read_tag(start, order)
    if kind != MATRIX or inside > INFLATION * length:
        raise Damaged(f"{inside} bytes claimed by {length} compressed ones")
    _check_matrix(start[8:264], inside, order)
    total = len(start) + sum(map(len, pieces))
    if total != inside + 8:
        raise Damaged(f"{total} bytes where {inside + 8} were announced")


def inflate(file: Any, length: int) -> Iterator[bytes]:
    """Yield decompressed pieces; the last one has passed zlib's checksum."""
    engine = zlib.decompressobj()
    left = length
    while not engine.eof:
        source = engine.unconsumed_tail or file.read(min(_PIECE, left))
        left -= 0 if engine.unconsumed_tail else len(source)
        piece = engine.decompress(source, _PIECE)
        if not piece and not source:
            raise Damaged("its compressed data end early")
        yield piece
    if left or engine.unused_data:
        raise Damaged("bytes after the end of its compressed data")


def _check_matrix(start: bytes, length: int, order: str) -> None:
    """Refuse dimensions that the bytes of an element cannot fill."""
    if len(start) < 32:
        raise Damaged("an array without dimensions")
    kind = start[8] if order == "<" else start[11]
    n_dimensions = struct.unpack(order + "I", start[20:24])[0] // 4
    if not 2 <= n_dimensions <= 32 or len(start) < 24 + 4 * n_dimensions:
        raise Damaged(f"an array of {n_dimensions} dimensions")
    dims = struct.unpack(order + f"{n_dimensions}i", start[24 : 24 + 4 * n_dimensions])
    smallest = 8 if kind in (1, 2) else 1 if kind >= 4 else 0  # bytes per cell or number
    if min(dims) < 0 or math.prod(dims) * smallest > length:
        raise Damaged(f"an array of {' x '.join(map(str, dims))} in {length} bytes")
