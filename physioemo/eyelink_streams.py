"""Streams and events from the lines of an EyeLink."""

from pathlib import Path

import numpy as np
import xarray as xr

from physioemo.description import StreamDescription
from physioemo.device_export import irregular, unreadable
from physioemo.eyelink_lines import EyeLinkBlock, EyeLinkLog, missing_header
from physioemo.stream import make_stream

__all__ = ["eyelink_events", "eyelink_streams"]

_POSITION_UNITS = {"GAZE": "px", "HREF": "a.u.", "RAW": "a.u.", "PUPIL": "a.u."}
_NAMES = {"EFIX": "fixation", "ESACC": "saccade", "EBLINK": "blink"}
_FIELDS = {
    "EFIX": (("duration", "s"), ("x", "position"), ("y", "position"), ("pupil", "a.u.")),
    "ESACC": (
        ("duration", "s"),
        ("start_x", "position"),
        ("start_y", "position"),
        ("end_x", "position"),
        ("end_y", "position"),
        ("amplitude", "deg"),
        ("peak_velocity", "deg/s"),
    ),
    "EBLINK": (("duration", "s"),),
}


def eyelink_streams(log: EyeLinkLog, path: Path) -> tuple[dict[str, xr.Dataset], list[str]]:
    """Return the streams of a log, by group name, and what a reader has to know.

    Raises
    ------
    UnreadableFileError
        If the samples contradict what the file says of them, or it does not say it.
    """
    if not log.blocks:
        raise missing_header(path, "a header" if log.samples else "a recording block")
    block = _one_setting(log, path)
    streams: dict[str, xr.Dataset] = {}
    notes: list[str] = []
    start_ms = log.blocks[0].start_ms
    if log.samples:
        table = _table(log, block, path)
        start_ms = float(table[0, 0])
        streams["eyelink"] = _samples(table, block, start_ms)
    else:
        notes.append("the file holds no samples, only the events of the tracker's parser")
    for kind, name in _NAMES.items():
        stream = _parsed(log, kind, block, start_ms)
        if stream is not None:
            streams[f"{name}s"] = stream
    if not streams:
        raise unreadable(path, "neither samples nor events", "some; convert the EDF file again")
    if log.n_before_recording:
        n = log.n_before_recording
        notes.append(f"{n} messages before the recording (set-up, calibration) are left out")
    return streams, notes


def eyelink_events(log: EyeLinkLog, start_ms: float) -> list[tuple[float, float, str, str]]:
    """Return messages and parsed events as rows of the table of events."""
    rows = [((t - start_ms) / 1000, 0.0, text, "") for t, text in log.messages]
    rows += [
        (
            (e.start_ms - start_ms) / 1000,
            e.duration_ms / 1000,
            f"{_NAMES[e.kind]} {e.eye}",
            f"{_NAMES[e.kind]}s",
        )
        for e in log.events
    ]
    return rows


def _one_setting(log: EyeLinkLog, path: Path) -> EyeLinkBlock:
    """Return the setting of all blocks, which has to be the same."""
    first = log.blocks[0]
    if not first.eyes or not first.rate_hz:
        raise missing_header(path, "the tracked eye" if not first.eyes else "their rate")
    for block in log.blocks[1:]:
        for what in ("eyes", "rate_hz", "position", "pupil", "extras"):
            if getattr(block, what) != getattr(first, what):
                raise unreadable(
                    path,
                    f"{what} {getattr(block, what)} in the recording block at "
                    f"{block.start_ms:.0f} ms after {getattr(first, what)} before",
                    "one setting in all blocks; convert the blocks into files of their own",
                )
    if first.position not in _POSITION_UNITS:
        raise unreadable(
            path,
            f"positions of the kind {first.position!r}",
            f"one of {', '.join(_POSITION_UNITS)}; convert the EDF file again",
        )
    return first


def _table(log: EyeLinkLog, block: EyeLinkBlock, path: Path) -> np.ndarray:
    """Return the samples (time, column), checked: width, order and rate."""
    wanted = 1 + 3 * len(block.eyes)
    widths = np.array(log.widths)
    # Without a SAMPLES line only the eyes are known: then nothing may follow them.
    allowed = wanted + max(block.extras, 0)
    wrong = np.flatnonzero(widths != allowed)
    if len(wrong):
        row = int(wrong[0])
        raise unreadable(
            path,
            f"{widths[row]} numbers in the sample at {log.samples[int(widths[:row].sum())]:.0f} ms",
            f"{allowed}: the time and x, y and pupil of the {' and '.join(block.eyes)} eye; the "
            "file is damaged or was converted with other options",
        )
    table = np.frombuffer(log.samples).reshape(-1, allowed)[:, :wanted]
    step = np.diff(table[:, 0])
    late = np.flatnonzero(step <= 0)
    if len(late):
        a, b = table[late[0], 0], table[late[0] + 1, 0]
        raise unreadable(
            path,
            f"a sample at {b:g} ms after one at {a:g} ms",
            "stamps that increase; above 1000 Hz convert the EDF file with the option -ftime",
        )
    period = 1000 / block.rate_hz
    if not block.start_ms - period <= table[0, 0] <= log.blocks[-1].end_ms:
        raise unreadable(
            path,
            f"samples from {table[0, 0]:g} ms on but recording blocks from {block.start_ms:g} ms",
            "samples inside the blocks; the files of samples and events do not belong together",
        )
    if len(step) and abs(float(np.median(step)) - period) > 0.01 * period:
        raise unreadable(
            path,
            f"samples {np.median(step):g} ms apart",
            f"{period:g} ms as the file states {block.rate_hz:g} Hz; the file is damaged",
        )
    return table


def _samples(table: np.ndarray, block: EyeLinkBlock, start_ms: float) -> xr.Dataset:
    values = table[:, 1:].copy()
    pupils = values[:, 2::3]
    pupils[pupils == 0] = np.nan  # the tracker's word for no pupil
    kind = f"pupil_{block.pupil.lower()}" if block.pupil else "pupil"
    position = _POSITION_UNITS[block.position]
    description = StreamDescription(
        "EyeLink",
        "Gaze",
        block.rate_hz,
        tuple(f"{what}_{eye}" for eye in block.eyes for what in ("x", "y", kind)),
        (position, position, "a.u.") * len(block.eyes),
        "double64",
        ch_types=("gaze", "gaze", "pupil") * len(block.eyes),
        source_id="file-eyelink",
    )
    return make_stream(
        values, description, time=(table[:, 0] - start_ms) / 1000, raw_time=table[:, 0] / 1000
    )


def _parsed(log: EyeLinkLog, kind: str, block: EyeLinkBlock, start_ms: float) -> xr.Dataset | None:
    events = sorted((e for e in log.events if e.kind == kind), key=lambda e: e.start_ms)
    if not events:
        return None
    fields = _FIELDS[kind]
    units = [_POSITION_UNITS[block.position] if u == "position" else u for _, u in fields]
    rows = [
        [float(e.eye == "right"), e.duration_ms / 1000, *e.values[: len(fields) - 1]]
        for e in events
    ]
    description = irregular(
        f"EyeLink {_NAMES[kind]}s",
        ("is_right_eye", *(name for name, _ in fields)),
        ("a.u.", *units),
        source="file-eyelink",
    )
    onset_ms = np.array([e.start_ms for e in events])
    return make_stream(
        np.array(rows), description, time=(onset_ms - start_ms) / 1000, raw_time=onset_ms / 1000
    )
