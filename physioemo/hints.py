"""Which name was meant: the end of an error that names a word nobody knows."""

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'X'?" for the choice nearest to a word, or nothing."""
    folded = {c.casefold(): c for c in choices}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.5)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""
