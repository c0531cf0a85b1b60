"""One door for everything that can be read as a recording."""

from pathlib import Path

from physioemo.errors import RecordingNotFoundError
from physioemo.overrides import Overrides
from physioemo.recording import Recording

__all__ = ["read_recording"]

_XDF_SUFFIXES = (".xdf", ".xdfz", ".xdf.gz")


def read_recording(path: str | Path, overrides: Overrides | None = None) -> Recording:
    """Open a recording folder, an XDF file, or any file that MNE reads.

    Parameters
    ----------
    path : str or Path
        What to read.
    overrides : Overrides, optional
        Names, units and rates that an XDF file does not state.

    Raises
    ------
    RecordingNotFoundError
        If there is nothing at `path`.
    UnreadableFileError
        If it is none of these, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise RecordingNotFoundError(
            f"found nothing at {path}, expected a recording folder, an XDF file or a file that "
            "MNE reads; check the path"
        )
    if path.is_dir() and ((path / "zarr.json").is_file() or (path / "journal").is_dir()):
        from physioemo.store import open_recording

        return open_recording(path)
    if path.name.lower().endswith(_XDF_SUFFIXES):
        from physioemo.xdf_io import read_xdf

        return read_xdf(path, overrides)
    from physioemo.mne_io import read_mne

    return read_mne(path)
