"""Tables of a BIDS data set: events, ratings, and how a table is written.

Brain Imaging Data Structure 1.11: https://bids-specification.readthedocs.io.
"""

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from physioemo.recording import Recording
from physioemo.trials import parse_marker

__all__ = [
    "FileClock",
    "Table",
    "ascii_label",
    "behaviour_table",
    "events_table",
    "write_table",
]


class Table(NamedTuple):
    """One table and its sidecar.

    Parameters
    ----------
    suffix : str
        End of the file's name, such as ``"recording-ecg_physio"``.
    columns : dict of str to sequence
        Values, or texts, by column.
    sidecar : dict
        JSON beside the table.
    compressed : bool
        ``.tsv.gz`` without a line of names, as BIDS wants it for physiology.
    """

    suffix: str
    columns: Mapping[str, Sequence[Any] | np.ndarray]
    sidecar: dict[str, Any]
    compressed: bool = False


class FileClock(NamedTuple):
    """Turns the session's time into seconds since the first sample of a data file.

    Files have no stamps: after a gap, and where the rate is not quite the nominal one, a file's
    own time runs apart from the session's.

    Parameters
    ----------
    order : ndarray, shape (time,)
        Ascending stamps of the samples in the file, in seconds.
    sfreq : float
        Rate that the file states, in Hz.
    """

    order: np.ndarray
    sfreq: float

    def __call__(self, seconds: np.ndarray) -> np.ndarray:
        """Return the file's time of moments of the session, both in seconds."""
        seconds = np.asarray(seconds, float)
        if self.sfreq <= 0 or not len(self.order):
            return seconds - (self.order[0] if len(self.order) else 0.0)
        index = np.minimum(np.searchsorted(self.order, seconds), len(self.order) - 1)
        return np.asarray(index / self.sfreq + (seconds - self.order[index]))


def events_table(
    recording: Recording, clock: FileClock, zero: float, gaps: Sequence[int] | np.ndarray = ()
) -> Table:
    """Return events, trials and gaps as BIDS's table of events.

    A trial's row (the one of its start, or one of its own) has its duration, its stimulus and
    its ratings; ``session_time`` is the onset on the clock of the ``timestamp`` columns.

    Parameters
    ----------
    recording : Recording
        The recording.
    clock : FileClock
        Of the file that the events belong to.
    zero : float
        Session time in seconds that is 0 in the column ``session_time``.
    gaps : sequence of int, optional
        First sample after each gap of that file.
    """
    rated = [str(d) for d in recording.ratings["dimension"].values]
    rows = sorted(_event_rows(recording), key=lambda row: row["session_time"])
    begun = np.array([row["session_time"] for row in rows], float)
    onset = clock(begun)
    end = clock(begun + np.array([row["duration"] for row in rows], float))
    for row, start, stop in zip(rows, onset, end, strict=True):
        row["onset"], row["duration"] = float(start), max(float(stop - start), 0.0)
        row["session_time"] -= zero
    for i in map(int, gaps):
        row = {"onset": (i - 1) / clock.sfreq, "duration": 1 / clock.sfreq}
        rows.append(
            {**row, "trial_type": "BAD_gap", "session_time": float(clock.order[i - 1]) - zero}
        )
    rows.sort(key=lambda row: float(row["onset"]))
    names = ["onset", "duration", "trial_type", "trial", "stimulus", *rated, "session_time"]
    columns = {n: [row.get(n, "n/a") for row in rows] for n in names}
    return Table(
        "events", columns, {n: d for n, d in _event_texts(recording).items() if n in names}
    )


def _event_rows(recording: Recording) -> list[dict[str, Any]]:
    events, trials = recording.events, _trial_facts(recording)
    rows, begun = [], set()
    for onset, duration, text in zip(
        *(events[c].values for c in ("onset_seconds", "duration_seconds", "description")),
        strict=True,
    ):
        marker = parse_marker(str(text)) or {}
        row: dict[str, Any] = {
            "session_time": float(onset),
            "duration": float(duration),
            "trial_type": _plain(marker.get("event", text)),
            **{k: _plain(marker[k]) for k in ("trial", "stimulus") if k in marker},
        }
        number = marker.get("trial")
        if marker.get("event") == "trial_start" and number in trials and number not in begun:
            begun.add(number)
            row.update(trials[number])
        rows.append(row)
    return rows + [{"trial_type": "trial", **t} for n, t in trials.items() if n not in begun]


def _trial_facts(recording: Recording) -> dict[int, dict[str, Any]]:
    trials, ratings = recording.trials, recording.ratings
    rated = {
        int(n): {str(d): float(v) for d, v in zip(ratings["dimension"].values, row, strict=True)}
        for n, row in zip(ratings["trial"].values, ratings["rating"].values, strict=True)
    }
    return {
        int(n): {
            "trial": int(n),
            "session_time": float(onset),
            "duration": float(duration),
            "stimulus": _plain(stimulus) or "n/a",
            **rated.get(int(n), {}),
        }
        for n, onset, duration, stimulus in zip(
            *(trials[c].values for c in ("trial", "onset_seconds", "duration_seconds", "stimulus")),
            strict=True,
        )
    }


def _event_texts(recording: Recording) -> dict[str, dict[str, str]]:
    return {
        "trial_type": {"Description": "The marker, or the kind of event"},
        "trial": {"Description": "Number of the trial"},
        "stimulus": {"Description": "Name of the stimulus of the trial"},
        **_rating_texts(recording),
        "session_time": {
            "Description": "Onset on the clock that all streams share, that of the timestamps",
            "Units": "s",
        },
    }


def _rating_texts(recording: Recording) -> dict[str, dict[str, str]]:
    low, high = (recording.ratings.attrs[f"scale_{w}"] for w in ("minimum", "maximum"))
    return {
        str(d): {"Description": f"Self-rating of the trial, from {low:g} to {high:g}"}
        for d in recording.ratings["dimension"].values
    }


def behaviour_table(recording: Recording) -> Table | None:
    """Return the ratings, one row per trial; None if there are none."""
    ratings = recording.ratings
    if not ratings.sizes["trial"]:
        return None
    facts = _trial_facts(recording)
    numbers = [int(n) for n in ratings["trial"].values]
    columns: dict[str, Any] = {"trial": numbers}
    columns["stimulus"] = [facts.get(n, {}).get("stimulus", "n/a") for n in numbers]
    for i, dimension in enumerate(ratings["dimension"].values):
        columns[str(dimension)] = ratings["rating"].values[:, i]
    texts = {k: v for k, v in _event_texts(recording).items() if k in columns}
    return Table("beh", columns, texts)


def ascii_label(text: str) -> str:
    """Return the letters and digits of a text, as BIDS's labels have them."""
    return "".join(c for c in text.encode("ascii", "ignore").decode() if c.isalnum()) or "stream"


def _plain(text: Any) -> str:
    """Return text that fits into one cell of a table."""
    return " ".join(str(text).split())


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return _plain(value) or "n/a"
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, float) and not np.isfinite(number):
        return "n/a"
    # float32 has a shorter exact spelling of its own than as a double.
    return str(value) if isinstance(value, np.float32) else repr(number)


def write_table(table: Table, stem: Path) -> None:
    """Write a table and its sidecar; `stem` is the path up to the suffix.

    Numbers are written so that reading gives the same number again.
    """
    base = f"{stem.name}_{table.suffix}"
    text = io.StringIO()
    writer = csv.writer(
        text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
    )
    if not table.compressed:
        writer.writerow(table.columns)
    cells = [[_cell(v) for v in column] for column in table.columns.values()]
    writer.writerows(zip(*cells, strict=True))
    stem.parent.mkdir(parents=True, exist_ok=True)
    content = text.getvalue().encode()
    if table.compressed:
        stem.with_name(f"{base}.tsv.gz").write_bytes(gzip.compress(content, mtime=0))
    else:
        stem.with_name(f"{base}.tsv").write_bytes(content)
    sidecar = json.dumps(table.sidecar, indent=2, ensure_ascii=False) + "\n"
    stem.with_name(f"{base}.json").write_text(sidecar, "utf-8")
