"""A program of a session that runs in a process of its own: started, watched, told to go."""

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Follower"]

_STOP_SECONDS = 20.0


class Follower:
    """One command of PhysioEmo, led by this process.

    Parameters
    ----------
    name : str
        What the operator calls it.
    arguments : sequence of str
        After ``physioemo``; ``--led`` is added.
    log : Path
        File to which everything is added that it says.
    """

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name, self.arguments, self.log = name, tuple(arguments), log
        self._process: subprocess.Popen[str] | None = None
        self._read_bytes = 0

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Number of its process."""
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        """Its exit code, None while it runs or before it was started."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start it, again if it has ended."""
        command = [sys.executable, "-u", "-m", "physioemo", *self.arguments, "--led"]
        # Into the file itself: a pipe would break, and end it, when its leader is killed.
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 -- our own program
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
            )

    def tell(self, word: str) -> None:
        """Say a word to it; one that has ended does not hear it."""
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                process.stdin.write(word + "\n")
                process.stdin.flush()

    def notices(self) -> list[str]:
        """Return the warnings that it has given since the last call."""
        with self.log.open("rb") as file:
            file.seek(self._read_bytes)
            *lines, rest = file.read().split(b"\n")
            self._read_bytes = file.tell() - len(rest)
        texts = [line.decode("utf-8", "replace").strip() for line in lines]
        return [t.removeprefix("! ") for t in texts if t.startswith(("! ", "physioemo: "))]

    def stop(self, timeout_seconds: float = _STOP_SECONDS) -> int | None:
        """Tell it to go, by force if it does not; return its exit code."""
        process = self._process
        if process is None:
            return None
        with contextlib.suppress(OSError):
            process.stdin and process.stdin.close()
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return process.returncode

    def last_words(self) -> str:
        """Return the end of its log."""
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.is_file() else []
        return " ".join(lines[-3:])[-600:]
