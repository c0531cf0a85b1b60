"""The name of a MATLAB file's first variable, from its first few kilobytes.

Data sets of one family name their files alike; this tells them apart without reading them.
"""

import io
import struct
import zlib
from pathlib import Path

from physioemo.datasets.mat_file import COMPRESSED, MATRIX, Damaged, read_header, read_tag

__all__ = ["first_variable"]

_ENOUGH_BYTES = 4096


def first_variable(path: str | Path) -> str:
    """Return the name of the first variable; empty if there is none or it cannot be read.

    Parameters
    ----------
    path : str or Path
        A MATLAB file of version 5 to 7, or any other file.
    """
    try:
        with Path(path).open("rb") as file:
            start = io.BytesIO(file.read(_ENOUGH_BYTES))
        order = read_header(start)
        kind, _ = read_tag(start.read(8), order)
        matrix = start.read()
        if kind == COMPRESSED:
            matrix = zlib.decompressobj().decompress(matrix, _ENOUGH_BYTES)
            kind, _ = read_tag(matrix, order)
            matrix = matrix[8:]
        return _name(matrix, order) if kind == MATRIX else ""
    except (Damaged, OSError, UnicodeDecodeError, struct.error, zlib.error):
        return ""


def _name(matrix: bytes, order: str) -> str:
    """Return the name in a matrix element, which stands behind its flags and dimensions."""
    _, dimensions = read_tag(matrix[16:24], order)
    tag = 24 + -(-dimensions // 8) * 8
    kind, length = read_tag(matrix[tag : tag + 8], order)
    small = kind >> 16  # names of up to four letters stand in the tag itself
    name = matrix[tag + 4 : tag + 4 + small] if small else matrix[tag + 8 : tag + 8 + length]
    return name.decode("ascii")
