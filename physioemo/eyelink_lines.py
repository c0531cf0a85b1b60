"""The lines of EyeLink's ASC text: samples, recording blocks, parsed events, messages."""

import re
from array import array
from dataclasses import dataclass, field
from pathlib import Path

from physioemo.device_export import unreadable
from physioemo.errors import UnreadableFileError

__all__ = [
    "BLOCK_END",
    "EyeLinkBlock",
    "EyeLinkEvent",
    "EyeLinkLog",
    "missing_header",
    "parse_lines",
]

BLOCK_END = float("inf")
_NO_TIME_MS = 2**32 - 1  # how the parser writes a time that it does not know
_EYES = {"L": "left", "R": "right"}
_WIDTHS = {"EFIX": 6, "ESACC": 9, "EBLINK": 3}
# Columns of numbers behind those of the eyes: how many, and whether each eye has them.
_SAMPLE_EXTRAS = (("VEL", 2, True), ("RES", 2, False), ("INPUT", 1, False), ("HTARGET", 3, False))
_MISSING = float("nan")
_SAMPLE_LINE = re.compile(r"[-+.\dA-Z\s]+", re.ASCII)
_FLAGS = re.compile(r"^[.A-Z]{2,}$")


@dataclass
class EyeLinkBlock:
    """One stretch from START to END.

    Parameters
    ----------
    start_ms, end_ms : float
        On the tracker's clock; the end is infinite where the file stops before it.
    eyes : tuple of str
        ``"left"``, ``"right"`` or both.
    rate_hz : float
        0 until the file says it.
    position : str
        ``GAZE``, ``HREF`` or ``RAW``; empty until the file says it.
    pupil : str
        ``AREA`` or ``DIAMETER``; empty until the file says it.
    extras : int
        Columns of numbers after the eyes'; -1 until a SAMPLES line says it.
    """

    start_ms: float
    eyes: tuple[str, ...]
    end_ms: float = BLOCK_END
    rate_hz: float = 0.0
    position: str = ""
    pupil: str = ""
    extras: int = -1


@dataclass(frozen=True)
class EyeLinkEvent:
    """One fixation, saccade or blink of the tracker's parser; values as in the file."""

    kind: str
    eye: str
    start_ms: float
    duration_ms: float
    values: tuple[float, ...]


@dataclass
class EyeLinkLog:
    """What stands in one or two ASC files; the numbers of all samples in a row."""

    blocks: list[EyeLinkBlock] = field(default_factory=list)
    samples: "array[float]" = field(default_factory=lambda: array("d"))
    widths: list[int] = field(default_factory=list)
    events: list[EyeLinkEvent] = field(default_factory=list)
    messages: list[tuple[float, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    date: str = ""
    display: str = ""
    n_before_recording: int = 0


def parse_lines(text: str, path: Path, log: EyeLinkLog) -> None:
    """Add what a file holds to the log.

    Raises
    ------
    UnreadableFileError
        If a line contradicts the format; the message says which.
    """
    skipped, unfinished = 0, set[str]()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            if line[0].isdigit():  # the numbers of a calibration are indented
                _sample(line, words, log)
            elif words[0] in _WIDTHS:
                skipped += not _event(words, log)
                unfinished.discard(words[0][1:] + words[1])
            elif words[0] in {"SFIX", "SSACC", "SBLINK"}:
                unfinished.add(words[0][1:] + words[1])
            else:
                _other(words, line, log)
        except (ValueError, IndexError) as error:
            raise unreadable(
                path,
                f"the line {line.strip()[:60]!r} (line {number})",
                "a line of EyeLink's ASC format; convert the EDF file again",
            ) from error
    if skipped:
        log.notes.append(f"events of the tracker's parser without a start, left out: {skipped}")
    if unfinished:
        log.notes.append(
            f"events of the tracker's parser without an end in the file: {len(unfinished)}"
        )


def _sample(line: str, words: list[str], log: EyeLinkLog) -> None:
    if not _SAMPLE_LINE.fullmatch(line):  # float() would take 'nan' and '1_0' too
        raise ValueError(line)
    # Flags such as '.C.C.' stand behind the numbers; a lone '.' is a missing number.
    numbers = [w for w in words if not _FLAGS.match(w)]
    log.samples.extend([_MISSING if w == "." else float(w) for w in numbers])
    log.widths.append(len(numbers))


def _finite(word: str) -> float:
    if not re.fullmatch(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?|[-+]?\d+\.", word):
        raise ValueError(word)
    return float(word)


def _event(words: list[str], log: EyeLinkLog) -> bool:
    kind, eye = words[0], _EYES.get(words[1])
    if eye is None:
        raise ValueError(words[1])
    numbers = [_MISSING if w == "." else _finite(w) for w in words[2:]]
    if len(numbers) < _WIDTHS[kind] or numbers[1] < numbers[0] < _NO_TIME_MS:
        raise ValueError(kind)
    if numbers[0] >= _NO_TIME_MS or numbers[0] < 0:
        return False
    log.events.append(EyeLinkEvent(kind, eye, numbers[0], numbers[2], tuple(numbers[3:])))
    return True


def _other(words: list[str], line: str, log: EyeLinkLog) -> None:
    kind = words[0]
    if kind == "**" and len(words) > 2 and words[1] == "DATE:":
        log.date = " ".join(words[2:])
    elif kind == "START":
        eyes = tuple(e for w, e in (("LEFT", "left"), ("RIGHT", "right")) if w in words)
        start_ms = _finite(words[1])
        # The second of two files repeats the blocks of the first.
        if all(b.start_ms != start_ms for b in log.blocks):
            log.blocks.append(EyeLinkBlock(start_ms, eyes))
    elif kind == "END" and log.blocks:
        log.blocks[-1].end_ms = _finite(words[1])
    elif kind in {"SAMPLES", "EVENTS"} and log.blocks:
        _settings(kind, words[1:], log.blocks[-1])
    elif kind == "PUPIL" and log.blocks:
        log.blocks[-1].pupil = words[1]
    elif kind in {"MSG", "INPUT", "BUTTON"}:
        _message(words, line, log)


def _settings(kind: str, words: list[str], block: EyeLinkBlock) -> None:
    if "RATE" in words:
        block.rate_hz = _finite(words[words.index("RATE") + 1])
    block.position = words[0] if kind == "SAMPLES" or not block.position else block.position
    if kind == "SAMPLES":
        n_eyes = max(1, len(block.eyes))
        block.extras = sum(
            n * (n_eyes if per_eye else 1) for w, n, per_eye in _SAMPLE_EXTRAS if w in words
        )


def _message(words: list[str], line: str, log: EyeLinkLog) -> None:
    time_ms = _finite(words[1])
    text = line.split(None, 2)[2].strip() if len(words) > 2 else ""
    if text.startswith(("DISPLAY_COORDS", "GAZE_COORDS")):
        log.display = " ".join(re.findall(r"-?\d+(?:\.\d+)?", text)[:4]) or log.display
    text = text if words[0] == "MSG" else f"{words[0]} {text}"
    # What comes before the first recording belongs to calibration: minutes of it.
    if log.blocks and text:
        log.messages.append((time_ms, text))
    else:
        log.n_before_recording += 1


def missing_header(path: Path, what: str) -> UnreadableFileError:
    """Return the error for samples of which the file does not say what they are."""
    return unreadable(
        path,
        f"samples without {what}",
        "the START and SAMPLES or EVENTS lines of a recording block; convert the EDF file into "
        "one ASC file, or lay the file of events beside it, named alike with 'events' for "
        "'samples'",
    )
