"""Which name was meant, where a word is used that nobody knows."""

import difflib
from collections.abc import Iterable

from physioemo.errors import CallError

__all__ = ["nearest", "unknown_name"]


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'X'?" for the choice nearest to a word, or nothing."""
    folded = {c.casefold(): c for c in choices}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.5)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def unknown_name(what: str, name: object, choices: Iterable[str], *, of: str = "") -> CallError:
    """Return the error of a name that is none of the choices.

    Parameters
    ----------
    what : str
        What is named, with its article.
    name : object
        What was found.
    choices : iterable of str
        What was expected, in the order in which it is told.
    of : str
        Name of what it belongs to.
    """
    known = list(choices)
    hint = nearest(str(name), known)
    owner = f" of {of!r}" if of else ""
    return CallError(f"found {what} {name!r}{owner}, expected one of {', '.join(known)}{hint}")
