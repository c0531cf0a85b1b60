"""What every writer of synthetic files asks first: how many there may be, and an empty folder."""

from pathlib import Path

from physioemo.errors import CallError, RecordingExistsError

__all__ = ["check_empty", "check_number"]


def check_number(subjects: int, most_subjects: int, sessions: int, most_sessions: int) -> None:
    """Refuse more subjects or sessions than the data set has.

    Raises
    ------
    CallError
        If there were never so many.
    """
    if not (1 <= subjects <= most_subjects and 1 <= sessions <= most_sessions):
        raise CallError(
            f"found {subjects} subjects and {sessions} sessions, expected 1 to {most_subjects} "
            f"and 1 to {most_sessions}"
        )


def check_empty(folder: Path, pattern: str) -> None:
    """Make a folder that holds no file of a pattern.

    Raises
    ------
    RecordingExistsError
        If it holds one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob(pattern)):
        raise RecordingExistsError(
            f"found {pattern.lstrip('*')} files in {folder}, expected none; choose another folder"
        )
