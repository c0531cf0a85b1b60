"""A struct in a MATLAB file of version 5, read field by field without holding it whole."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from physioemo.datasets.mat_file import (
    COMPRESSED,
    INFLATION,
    MATRIX,
    Damaged,
    inflate,
    read_header,
    read_tag,
    unreadable,
)

__all__ = ["struct_fields"]

_HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
_NAME = b"\x01\x00\x01\x00x\x00\x00\x00"  # the name "x" as a small element
_LARGEST = 1 << 30
_CELL, _STRUCT = 1, 2


def struct_fields(
    path: str | Path, variable: str, *, cells: str, parse_cells: bool = True
) -> Iterator[tuple[str, int, Any]]:
    """Yield the fields of a 1 x 1 struct that is the only variable of a file.

    Parameters
    ----------
    path : str or Path
        The file.
    variable : str
        Name of the struct.
    cells : str
        The field that is a cell array too large to hold: it is yielded cell by cell.
    parse_cells : bool
        Yield None for each such cell instead, which only checks the file.

    Yields
    ------
    field : str
        Name of the field.
    index : int
        Number of the cell from 0, or -1 for a field that is yielded whole.
    value : object
        As SciPy reads it.

    Raises
    ------
    UnreadableFileError
        If the file is cut, its checksum fails, or it is no such struct.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            source = _Source(_contents(file, path.stat().st_size))
            names = _open_struct(source, variable)
            for name in names:
                length = _matrix_length(source)
                if name == cells:
                    for index in range(_open_cells(source)):
                        yield name, index, _cell(source, parse=parse_cells)
                else:
                    yield name, -1, _parse(source.take(length))
            source.finish()
    except Exception as error:  # SciPy raises whatever the damage makes it raise
        raise unreadable(path, error) from error


class _Source:
    """Bytes that come in pieces, taken in any lengths."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.rest = memoryview(b"")

    def take(self, n: int) -> bytes:
        """Return exactly `n` bytes."""
        if n > _LARGEST:
            raise Damaged(f"an element of {n} bytes")
        return b"".join(self._parts(n))

    def skip(self, n: int) -> None:
        """Pass over exactly `n` bytes."""
        for _ in self._parts(n):
            pass

    def _parts(self, n: int) -> Iterator[memoryview]:
        while n:
            if not self.rest:
                piece = next(self.pieces, None)
                if piece is None:
                    raise Damaged("it ends within an element")
                self.rest = memoryview(piece)
            part, self.rest = self.rest[:n], self.rest[n:]
            n -= len(part)
            yield part

    def element(self) -> bytes:
        """Return the data of the next element, without its tag and padding."""
        tag = self.take(8)
        kind, length = read_tag(tag, "<")
        if kind >> 16:
            return tag[4 : 4 + (kind >> 16)]
        return self.take(length + -length % 8)[:length]

    def finish(self) -> None:
        """Read to the end, where the checksum is."""
        left = len(self.rest) + sum(map(len, self.pieces))
        if left:
            raise Damaged(f"{left} bytes after the end of the struct")


def _contents(file: Any, size: int) -> Iterator[bytes]:
    """Yield the bytes of the only top-level element, decompressed."""
    order = read_header(file)
    kind, length = read_tag(file.read(8), order)
    if order != "<" or kind not in (MATRIX, COMPRESSED):
        raise Damaged("it does not begin with a variable")
    if file.tell() + length != size:
        raise Damaged(f"{size} bytes where {file.tell() + length} were announced")
    if kind == MATRIX:
        yield struct.pack("<II", kind, length)
        yield from iter(lambda: file.read(1 << 20), b"")
        return
    pieces = inflate(file, length)
    first = next(pieces, b"")
    if read_tag(first, order)[1] > INFLATION * length:
        raise Damaged(f"more bytes claimed than {length} compressed ones can hold")
    yield first
    yield from pieces


def _matrix_length(source: _Source) -> int:
    kind, length = read_tag(source.take(8), "<")
    if kind != MATRIX or length < 40:
        raise Damaged(f"an element of kind {kind} and {length} bytes instead of an array")
    return length


def _open_array(source: _Source, kind: int) -> tuple[int, str]:
    """Read the start of an array; return its number of elements and its name."""
    flags, dims, name = source.element(), source.element(), source.element()
    if len(flags) != 8 or flags[0] != kind or len(dims) != 8:
        raise Damaged("an array of another kind than expected")
    rows, columns = struct.unpack("<ii", dims)
    return rows * columns, name.decode("latin1")


def _open_struct(source: _Source, variable: str) -> list[str]:
    _matrix_length(source)
    count, name = _open_array(source, _STRUCT)
    if (count, name) != (1, variable):
        raise Damaged(f"the variable {name!r} of {count} structs instead of {variable!r}")
    width = struct.unpack("<i", source.element())[0]
    text = source.element()
    if not 1 < width <= 64 or len(text) % width or len(text) > 10_000:
        raise Damaged(f"field names of {width} characters")
    names = [text[i : i + width].split(b"\x00")[0] for i in range(0, len(text), width)]
    return [n.decode("latin1") for n in names]


def _open_cells(source: _Source) -> int:
    count, _ = _open_array(source, _CELL)
    if not 0 < count <= 10_000:
        raise Damaged(f"{count} cells")
    return count


def _cell(source: _Source, *, parse: bool) -> Any:
    length = _matrix_length(source)
    return _parse(source.take(length)) if parse else source.skip(length)


def _parse(body: bytes) -> Any:
    """Return the array of an unnamed element: SciPy reads it as a file of its own."""
    from scipy.io import loadmat

    dims_length = struct.unpack("<I", body[20:24])[0]
    after_dims = 24 + dims_length + -dims_length % 8
    kind, name_length = read_tag(body[after_dims : after_dims + 8], "<")
    rest = after_dims + 8 + (0 if kind >> 16 else name_length + -name_length % 8)
    length = len(body) - rest + after_dims + len(_NAME)
    tag, whole = struct.pack("<II", MATRIX, length), memoryview(body)
    file = io.BytesIO(b"".join([_HEADER, tag, whole[:after_dims], _NAME, whole[rest:]]))
    del body, whole  # a cell may be large: hold it once
    return loadmat(file)["x"]
