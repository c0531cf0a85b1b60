"""One door for everything that can be read as a recording."""

from pathlib import Path

from physioemo.errors import RecordingNotFoundError
from physioemo.overrides import Overrides
from physioemo.recording import Recording

__all__ = ["read_recording"]

_XDF_SUFFIXES = (".xdf", ".xdfz", ".xdf.gz")


def read_recording(path: str | Path, overrides: Overrides | None = None) -> Recording:
    """Open a recording folder, an XDF file, a device's export, or any file that MNE reads.

    A folder or file is known by what is in it: EyeLink's ASC text, the folder of a Pupil Labs
    Neon or of an Empatica E4, and OpenSignals' HDF5 or text.

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
            f"found nothing at {path}, expected a recording folder, an XDF file, a device's export "
            "or a file that MNE reads; check the path"
        )
    if path.is_dir() and ((path / "zarr.json").is_file() or (path / "journal").is_dir()):
        from physioemo.store import open_recording

        return open_recording(path)
    if path.name.lower().endswith(_XDF_SUFFIXES):
        from physioemo.xdf_io import read_xdf

        return read_xdf(path, overrides)
    export = _read_export(path)
    if export is not None:
        return export
    from physioemo.mne_io import read_mne

    return read_mne(path)


def _read_export(path: Path) -> Recording | None:
    """Return the recording of a device's export; None if it is none that we know."""
    from physioemo import empatica_io, eyelink_io, neon_io, opensignals_io

    if path.is_dir():
        if neon_io.is_neon(path):
            return neon_io.read_neon(path)
        return empatica_io.read_empatica(path) if empatica_io.is_empatica(path) else None
    if opensignals_io.is_opensignals(path):
        return opensignals_io.read_opensignals(path)
    return eyelink_io.read_eyelink(path) if eyelink_io.is_eyelink(path) else None
