"""On which line of a TOML text a section or a field is written."""

import re

__all__ = ["TomlLines"]

_HEADER = re.compile(r"\s*(\[\[?)\s*([\w\"'. -]+?)\s*\]\]?\s*(#.*)?$")
_FIELD = re.compile(r"\s*([\"']?)([\w-]+)\1\s*[=.]")
_Place = tuple[str, int, str]


class TomlLines:
    """The lines of a text's sections and fields, for errors that name the place.

    Parameters
    ----------
    text : str
        Valid TOML.
    where : str
        What errors call the file.
    """

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self._lines: dict[_Place, int] = {}
        counts: dict[str, int] = {}
        section, count, quote = "", 0, ""
        for number, line in enumerate(text.splitlines(), 1):
            inside = quote
            quote = _open_quote(line, quote)
            if inside:
                continue
            if header := _HEADER.match(line):
                section = re.sub(r"[\s\"']", "", header[2])
                count = counts[section] = counts.get(section, 0) + 1
                self._lines.setdefault((section, count, ""), number)
            elif field := _FIELD.match(line):
                self._lines.setdefault((section, count, field[2]), number)

    def place(self, section: str, name: str = "", number: int = 1) -> str:
        """Return `` (line N of FILE)`` for a field in the `number`-th section of a name.

        A section may be named as a field of the top one. The section's own line if the field has
        none, and the file if that has none either.
        """
        count = number if section else 0
        inner = f"{section}.{name}" if section else name
        for key in ((section, count, name), (inner, 1, ""), (section, count, "")):
            if key in self._lines:
                return f" (line {self._lines[key]} of {self.where})"
        return f" (in {self.where})"


def _open_quote(line: str, quote: str) -> str:
    """Return the kind of quotes that are still open after a line, of texts of several lines."""
    position = 0
    while True:
        if quote:
            end = line.find(quote, position)
            if end < 0:
                return quote
            quote, position = "", end + 3
        starts = [(line.find(q, position), q) for q in ('"""', "'''")]
        starts = [s for s in starts if s[0] >= 0]
        if not starts:
            return ""
        position, quote = min(starts)
        position += 3
