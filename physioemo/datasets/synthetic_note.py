"""The note beside made-up files: nobody was recorded, and how short the files are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physioemo.datasets.data_set import DataSet
from physioemo.errors import UnreadableFileError

__all__ = ["SYNTHETIC_NOTE", "read_synthetic_note", "write_synthetic_note"]

SYNTHETIC_NOTE = "SYNTHETIC.json"
"""A file of this name beside the others says that nobody was recorded."""


def write_synthetic_note(folder: Path, read: Mapping[str, Any]) -> None:
    """Mark a folder as made up.

    Parameters
    ----------
    folder : Path
        The folder that holds the files, or their sub-folders.
    read : mapping
        What a reader must be told, because the files are shorter than the published ones.
    """
    note = "Made up by PhysioEmo: noise with a planted effect. Nobody was recorded."
    text = json.dumps({"note": note, "read": dict(read)}, indent=2)
    (folder / SYNTHETIC_NOTE).write_text(text, encoding="utf-8")


def read_synthetic_note(row: DataSet, folder: Path) -> dict[str, Any] | None:
    """Return what the reader must be told; None where nothing says that the files are made up.

    Raises
    ------
    UnreadableFileError
        If the note is damaged or tells something that readers of this data set do not know.
    """
    path = folder / SYNTHETIC_NOTE
    if not path.is_file():
        return None
    try:
        read = json.loads(path.read_text(encoding="utf-8"))["read"]
        known = set(read) <= set(row.small_read)
        numbers = all(isinstance(v, int | float) for v in read.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableFileError(
            f"found a damaged note in {path} ({error}), expected what 'physioemo datasets fake' "
            "wrote; write the files anew"
        ) from error
    if not (known and numbers):
        raise UnreadableFileError(
            f"found the options {', '.join(read)} in {path}, expected those of {row.name} "
            f"({', '.join(row.small_read) or 'none'}); write the files anew"
        )
    return dict(read)
