"""The file of one session among those of a data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from physioemo.errors import CallError

__all__ = ["SessionFile", "pick_session"]


class SessionFile(Protocol):
    """A file that knows whose session it holds, and the how many-th."""

    @property
    def subject(self) -> str | int:
        """Number or name, as the file name has it."""

    @property
    def session(self) -> int:
        """From 1."""


FileT = TypeVar("FileT", bound=SessionFile)


def pick_session(
    files: Sequence[FileT], subject: str | int, session: int, folder: str | Path
) -> FileT:
    """Return the file of a subject and session.

    Parameters
    ----------
    files : sequence of SessionFile
        All that there are.
    subject : str or int
        Number or name, as the file names have it.
    session : int
        From 1.
    folder : str or Path
        Where they lie, for the message.

    Raises
    ------
    CallError
        If there is none.
    """
    for file in files:
        if (str(file.subject), file.session) == (str(subject), session):
            return file
    known = ", ".join(dict.fromkeys(str(f.subject) for f in files))
    raise CallError(
        f"found the subjects {known} in {folder}, expected subject {subject} with a session "
        f"{session}; check both"
    )
