"""Recordings from EyeLink's ASC text, as SR Research's edf2asc writes it.

A line that begins with a number is a sample: time in ms, then x, y and pupil of each eye, with
``.`` for missing gaze and 0 for a missing pupil (both become NaN). Lines in between hold the
header, messages and the events of the tracker's own parser. Rate, eyes and kind of pupil come
from the ``START`` … ``SAMPLES``/``EVENTS`` lines and are never assumed (EyeLink 1000 Plus User
Manual, section 4.9). edf2asc can write samples and events into two files (options ``-s`` and
``-e``); then either is read together with the other, which lies beside it with ``events`` in its
name where this one has ``samples``.

``time`` counts from the first sample, ``raw_time`` is the tracker's own clock. Where recording
was stopped and started again, the stamps have a gap. Fixations, saccades and blinks become
events of the recording; what the parser measured of them is kept as streams of their own.
"""

import re
from pathlib import Path

from physioemo.device_export import export_recording, first_bytes, read_text, unreadable
from physioemo.errors import PhysioEmoError
from physioemo.eyelink_lines import EyeLinkLog, parse_lines
from physioemo.eyelink_streams import eyelink_events, eyelink_streams
from physioemo.recording import Recording

__all__ = ["is_eyelink", "read_eyelink"]

_CONVERTED = re.compile(rb"^\*\* CONVERTED FROM .*edf", re.IGNORECASE | re.MULTILINE)
_BINARY = b"SR_RESEARCH"  # how EyeLink's own EDF begins, which is no European Data Format
_SAMPLE = re.compile(rb"^\s*\d+(\.\d+)?\s+(-?\d|\.\s)")
_BLOCK = re.compile(rb"^(START|MSG|EFIX|SFIX|SAMPLES|EVENTS)\s", re.MULTILINE)


def is_eyelink(path: str | Path) -> bool:
    """Return whether a file looks like EyeLink's: its ASC text, or its binary EDF."""
    path = Path(path)
    head = first_bytes(path)
    if _CONVERTED.search(head) or head.startswith(_BINARY):
        return True
    return path.suffix.lower() == ".asc" and bool(_SAMPLE.match(head) or _BLOCK.search(head))


def read_eyelink(path: str | Path) -> Recording:
    """Read an ASC file of an EyeLink, or a pair of them.

    Parameters
    ----------
    path : str or Path
        The file with samples, with events, or with both.

    Returns
    -------
    Recording
        Stream ``eyelink`` (gaze and pupil), and ``fixations``, ``saccades`` and ``blinks`` as
        the tracker's parser measured them; messages and parsed events as events.

    Raises
    ------
    UnreadableFileError
        If the file is damaged or binary, or it does not say rate and eyes and no second file
        does.
    """
    path = Path(path)
    if first_bytes(path, 64).startswith(_BINARY):
        raise unreadable(path, "EyeLink's binary EDF", "ASC text; convert it with edf2asc")
    log = EyeLinkLog()
    for file in _files(path):
        parse_lines(read_text(file), file, log)
    try:
        streams, notes = eyelink_streams(log, path)
        start_ms = log.samples[0] if log.samples else float(log.blocks[0].start_ms)
        events = eyelink_events(log, start_ms)
    except PhysioEmoError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path.name}: {error}") from error
    attrs = {
        "source_file": path.name,
        "clock": "seconds since the first sample of the file",
        "device": "EyeLink",
        "notes": [*notes, *log.notes],
        **({"device_date": log.date} if log.date else {}),
        **({"display_coords": log.display} if log.display else {}),
    }
    return export_recording(streams, events, attrs)


def _files(path: Path) -> list[Path]:
    """Return the file and, where samples and events were written apart, the other one."""
    for mine, other in (("samples", "events"), ("events", "samples")):
        if mine in path.stem:
            companion = path.with_name(path.name.replace(mine, other))
            if companion.is_file():
                return [path, companion]
    if not path.is_file():
        raise unreadable(path, "no file", "an ASC file")
    return [path]
