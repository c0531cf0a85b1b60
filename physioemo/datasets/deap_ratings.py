"""DEAP's table ``participant_ratings.csv``: what each participant saw in each trial, and rated.

One row per participant and trial, named in the columns ``Participant_id`` and ``Trial`` (the
order of presentation); ``Experiment_id`` is the video. Rows are found by these names, never by
their order. ``Familiarity`` is missing for the participants 2, 15 and 23.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physioemo.datasets.deap import DEAP_DIMENSIONS, N_TRIALS
from physioemo.errors import RecordingNotFoundError, UnreadableFileError

__all__ = ["RATINGS_COLUMNS", "RATINGS_FILE", "DeapRatings", "ratings_file", "read_deap_ratings"]

RATINGS_FILE = "participant_ratings.csv"
RATINGS_COLUMNS = (
    *("Participant_id", "Trial", "Experiment_id", "Start_time"),
    *(dimension.capitalize() for dimension in DEAP_DIMENSIONS),
    "Familiarity",
)
"""The columns in the order of the file."""

_FOLDERS = (".", "..", "../metadata_csv", "metadata_csv")
_MISSING = ("", "nan", "na", "n/a")


@dataclass(frozen=True)
class DeapRatings:
    """One participant's rows in the order of presentation.

    Parameters
    ----------
    path : Path
        The table.
    videos : ndarray of int, shape (trial,)
        ``Experiment_id``, 1 to 40.
    start_times : ndarray, shape (trial,)
        ``Start_time`` as the presentation software logged it (documented as microseconds).
    ratings : ndarray, shape (trial, dimension)
        Valence, arousal, dominance and liking; NaN where there is none.
    familiarity : ndarray, shape (trial,)
        1 to 5, NaN where it was not asked.
    """

    path: Path
    videos: np.ndarray
    start_times: np.ndarray
    ratings: np.ndarray
    familiarity: np.ndarray


def ratings_file(folder: str | Path) -> Path:
    """Return the table that belongs to a folder of recordings.

    It lies in the folder, in the one above, or in a folder ``metadata_csv`` beside or in it.

    Raises
    ------
    RecordingNotFoundError
        If it is in none of these places.
    """
    places = [Path(folder) / f / RATINGS_FILE for f in _FOLDERS]
    found = next((p for p in places if p.is_file()), None)
    if found is None:
        raise RecordingNotFoundError(
            f"found no {RATINGS_FILE} in {folder}, the folder above it or metadata_csv, expected "
            "the participants' ratings; get it from DEAP's site and put it beside the recordings"
        )
    return found


def read_deap_ratings(path: Path, subject: int) -> DeapRatings:
    """Return one participant's rows.

    Parameters
    ----------
    path : Path
        The table.
    subject : int
        1 to 32.

    Raises
    ------
    UnreadableFileError
        If the table is damaged, or a row of the participant is missing or comes twice.
    """
    rows = _table(path)
    own = rows[rows[:, 0] == subject]
    own = own[np.argsort(own[:, 1], kind="stable")]
    for column in (1, 2):
        if not np.array_equal(np.sort(own[:, column]), np.arange(1, N_TRIALS + 1)):
            raise UnreadableFileError(
                f"found {len(own)} rows of participant {subject} in {path}, expected each "
                f"{RATINGS_COLUMNS[column]} from 1 to {N_TRIALS} once; the table is damaged or "
                "incomplete"
            )
    familiarity = own[:, -1]
    if not np.isin(familiarity[~np.isnan(familiarity)], np.arange(1, 6)).all():
        raise UnreadableFileError(
            f"found a familiarity of participant {subject} outside 1 to 5 in {path}, expected a "
            "whole number from 1 to 5 or nothing; the table is damaged"
        )
    return DeapRatings(path, own[:, 2].astype(int), own[:, 3], own[:, 4:-1], familiarity)


def _table(path: Path) -> np.ndarray:
    """Return all rows as numbers, columns in our order."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            names, rows = list(reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableFileError(
            f"found {error} in {path}, expected a table separated by commas; copy it again"
        ) from error
    if any(names.count(name) != 1 for name in RATINGS_COLUMNS):
        raise UnreadableFileError(
            f"found the columns {', '.join(map(repr, names))[:300]} in {path}, expected each of "
            f"{', '.join(RATINGS_COLUMNS)} once; is it DEAP's {RATINGS_FILE}?"
        )
    numbers = [[_number(row[name], name, path) for name in RATINGS_COLUMNS] for row in rows]
    return np.array(numbers, float).reshape(-1, len(RATINGS_COLUMNS))


def _number(text: str | None, name: str, path: Path) -> float:
    if text is not None and text.strip().casefold() in _MISSING:
        return float("nan")
    try:
        return float(text or "missing")
    except ValueError as error:
        raise UnreadableFileError(
            f"found the {name} {str(text)[:50]!r} in {path}, expected a number; the table is "
            "damaged or cut off"
        ) from error
