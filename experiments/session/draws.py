"""Random choices that depend on their names alone: the same on every computer and version.

Each number is made from the SHA-256 of a seed and of what it is drawn for, so that a choice can be
recomputed from a recording years later, without the draws before it.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Draws"]

_Thing = TypeVar("_Thing")
_BYTES = 7  # 56 bits: more than the 53 of a double's fraction


class Draws:
    """A series of random numbers that a seed and some words name.

    Parameters
    ----------
    seed : int
        Of the protocol.
    *words : str or int
        What is drawn for, such as ``"trial", 3``.
    """

    def __init__(self, seed: int, *words: str | int) -> None:
        self._name = "\x1f".join(map(str, (seed, *words)))
        self._count = 0

    def uniform(self) -> float:
        """Return the next number, at least 0 and below 1."""
        text = f"{self._name}\x1f{self._count}".encode()
        self._count += 1
        number = int.from_bytes(hashlib.sha256(text).digest()[:_BYTES], "big")
        return (number >> 3) / 2.0**53

    def choose(self, things: Sequence[_Thing]) -> _Thing:
        """Return one of several things, each as likely as the others."""
        return things[int(self.uniform() * len(things))]

    def shuffled(self, things: Sequence[_Thing]) -> list[_Thing]:
        """Return the things in a random order, each as likely as the others."""
        mixed = list(things)
        for last in range(len(mixed) - 1, 0, -1):
            other = int(self.uniform() * (last + 1))
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed
