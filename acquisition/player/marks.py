"""Marks in the picture that prove which frame is on the screen: a barcode and a photodiode patch.

The barcode is one row of 48 square cells, centred at the lower edge of the window; white is 1:
``10`` to begin, 24 bits of the frame, 12 of the item, 8 of a checksum (CRC-8, polynomial 0x07) over
both, ``01`` to end. A frame's number and an item's are taken modulo 2²⁴ and 2¹². The patch in a
corner is white for every other flip, black for the rest, for a photodiode.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["CORNERS", "FrameMark", "barcode_cells", "draw_barcode", "draw_patch", "read_barcode"]

CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")
N_CELLS = 48
_CELLS_PER_WIDTH = 96
_PATCH_PER_WIDTH = 0.06
_FRAME_BITS, _ITEM_BITS, _CHECK_BITS = 24, 12, 8
_CONTRAST = 60


@dataclass(frozen=True)
class FrameMark:
    """What a barcode says.

    Attributes
    ----------
    frame, item : int
        Number of the frame in its file, and of the item that is shown.
    """

    frame: int
    item: int


def barcode_cells(frame: int, item: int) -> np.ndarray:
    """Return the cells of a barcode as bool, shape (48,)."""
    frame, item = frame % 2**_FRAME_BITS, item % 2**_ITEM_BITS
    bits = [*_bits(frame, _FRAME_BITS), *_bits(item, _ITEM_BITS)]
    check = _bits(_crc8(frame, item), _CHECK_BITS)
    return np.array([1, 0, *bits, *check, 0, 1], bool)


def draw_barcode(surface: Any, frame: int, item: int) -> None:
    """Draw the barcode on a pygame surface."""
    cell, left, top = _geometry(*surface.get_size())
    surface.fill((0, 0, 0), (left, top, cell * N_CELLS, cell))
    for i in np.flatnonzero(barcode_cells(frame, item)).tolist():
        surface.fill((255, 255, 255), (left + i * cell, top, cell, cell))


def read_barcode(rgb: np.ndarray) -> FrameMark | None:
    """Return what the barcode in a picture of the whole window says.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        A screenshot.

    Returns
    -------
    FrameMark or None
        None if there is no barcode, or its checksum is wrong.
    """
    height, width = rgb.shape[:2]
    cell, left, top = _geometry(width, height)
    columns = left + cell * np.arange(N_CELLS) + cell // 2
    row = top + cell // 2
    if columns[-1] >= width or not 0 <= row < height:
        return None
    grey = rgb[row, columns].astype(float).mean(axis=1)
    dark, bright = float(grey.min()), float(grey.max())
    # Cells are black or white: what is neither is a picture, not a barcode.
    between = np.abs(grey - (dark + bright) / 2) < (bright - dark) / 4
    if bright - dark < _CONTRAST or between.any():
        return None
    cells = grey > (dark + bright) / 2
    frame = _number(cells[2 : 2 + _FRAME_BITS])
    item = _number(cells[2 + _FRAME_BITS : 2 + _FRAME_BITS + _ITEM_BITS])
    same = np.array_equal(cells, barcode_cells(frame, item))
    return FrameMark(frame, item) if same else None


def draw_patch(surface: Any, corner: str, is_white: bool) -> None:
    """Draw the photodiode patch in a corner of a pygame surface."""
    width, height = surface.get_size()
    side = max(8, round(width * _PATCH_PER_WIDTH))
    left = 0 if corner.endswith("left") else width - side
    top = 0 if corner.startswith("top") else height - side
    surface.fill((255, 255, 255) if is_white else (0, 0, 0), (left, top, side, side))


def _geometry(width: int, height: int) -> tuple[int, int, int]:
    """Return a cell's side, and where the first begins, in pixels."""
    cell = max(2, width // _CELLS_PER_WIDTH)
    return cell, (width - cell * N_CELLS) // 2, height - cell


def _bits(number: int, n: int) -> list[int]:
    return [number >> i & 1 for i in reversed(range(n))]


def _number(cells: np.ndarray) -> int:
    return int("".join("1" if c else "0" for c in cells), 2)


def _crc8(frame: int, item: int) -> int:
    check = 0
    for byte in (*frame.to_bytes(3, "big"), *item.to_bytes(2, "big")):
        check ^= byte
        for _ in range(8):
            check = (check << 1 ^ 0x07) & 0xFF if check & 0x80 else check << 1
    return check
