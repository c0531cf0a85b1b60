"""One stream of a recording as a FIF file."""

import warnings
from pathlib import Path

from physioemo.atomic_file import new_path, require_ending
from physioemo.errors import CallError
from physioemo.recording import Recording

__all__ = ["export_fif"]

_LARGEST_BYTES = 1_900_000_000  # MNE splits larger files into several


def export_fif(
    recording: Recording, path: str | Path, *, stream: str | None = None, overwrite: bool = False
) -> Path:
    """Write one regular stream as FIF, see :func:`physioemo.mne_io.to_raw` for what it keeps.

    Parameters
    ----------
    recording : Recording
        The recording.
    path : str or Path
        A name that ends in ``.fif``.
    stream : str, optional
        Which stream; by default the only one of EEG.
    overwrite : bool
        Replace a file that is already there.

    Returns
    -------
    Path
        The file, which is there whole or not at all.

    Raises
    ------
    CallError
        If the name does not end in ``.fif``, or the stream is too long for one file.
    NoStreamError, AmbiguousStreamError
        If there is not exactly one stream that fits.
    RecordingExistsError
        If something is at `path` and `overwrite` is false.
    """
    path = Path(path)
    require_ending(path, ".fif")
    key = recording.key(stream or "eeg")
    n_bytes = 8 * recording[key]["signal"].size
    if n_bytes > _LARGEST_BYTES:
        raise CallError(
            f"found {n_bytes / 1e9:.1f} GB of samples in {key!r}, expected at most "
            f"{_LARGEST_BYTES / 1e9:.1f} GB for one FIF file; export XDF or BIDS instead"
        )
    raw = recording.to_mne(key)
    with new_path(path, overwrite=overwrite) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This filename")  # MNE's naming, the user's name
        raw.save(partial, fmt="double", overwrite=True, verbose="ERROR")
    return path
