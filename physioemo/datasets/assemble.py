"""What every reader needs: trials on one clock, a recording in memory, a file's fingerprint."""

import gc
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.description import StreamDescription
from physioemo.errors import DataError, RecordingNotFoundError, UnreadableFileError
from physioemo.recording import Recording
from physioemo.stream import make_stream
from physioemo.trials import make_events, make_ratings, make_trials

__all__ = [
    "GAP_SECONDS",
    "assemble",
    "check_finite",
    "file_fingerprint",
    "no_ratings",
    "one_at_a_time",
    "rate",
    "require_file",
    "stretches_to_stream",
]

GAP_SECONDS = 7.0
"""Silence put between stretches that the data set stores apart, so no window spans two."""


def require_file(path: Path, what: str) -> Path:
    """Return a path if a file is there.

    Raises
    ------
    RecordingNotFoundError
        If not; `what` says what was expected.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise RecordingNotFoundError(
            f"found {found} at {path}, expected {what}; check the folder, and get the file from "
            "the data set's own site if it is missing"
        )
    return path


def file_fingerprint(path: Path) -> str:
    """Return the SHA-256 (first 16 hexadecimal digits) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def check_finite(signal: np.ndarray, place: str, *, limit: float = 1e9) -> None:
    """Refuse a signal that no amplifier can have written.

    Raises
    ------
    UnreadableFileError
        If a value is not finite or beyond `limit`.
    """
    peak = float(max(signal.max(), -signal.min())) if signal.size else 0.0
    if not peak <= limit:  # also true of NaN
        raise UnreadableFileError(
            f"found the value {peak:g} in {place}, expected finite samples below {limit:g}; "
            "the file is damaged: copy it again"
        )


def stretches_to_stream(
    stretches: Sequence[np.ndarray],
    onsets_seconds: Sequence[float],
    description: StreamDescription,
    *,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Return one stream of stretches that begin at given session times.

    Parameters
    ----------
    stretches : sequence of ndarray, shape (time, channel)
        In the order of their onsets.
    onsets_seconds : sequence of float
        Session time of each stretch's first sample.
    description : StreamDescription
        Names, units and rate.
    attrs : mapping, optional
        More attributes of the stream.
    """
    times = [
        onset + np.arange(len(s)) / description.sfreq
        for onset, s in zip(onsets_seconds, stretches, strict=True)
    ]
    stream = make_stream(np.concatenate(stretches), description, time=np.concatenate(times))
    return stream.assign_attrs(dict(attrs or {}))


def rate(
    trials: Iterable[int],
    dimensions: Sequence[str],
    values: np.ndarray,
    scale: tuple[float, float],
    source: Path,
) -> xr.Dataset:
    """Return the ratings of a file; NaN stays NaN, and no value is made a class.

    Raises
    ------
    UnreadableFileError
        If a rating lies outside the scale.
    """
    try:
        return make_ratings(trials, dimensions, values, scale=scale)
    except DataError as error:
        raise UnreadableFileError(f"{source}: {error}") from error


def no_ratings() -> xr.Dataset:
    """Return the ratings of a data set that has none."""
    return make_ratings([], ["valence", "arousal", "dominance"], np.zeros((0, 3)), scale=(1, 9))


def assemble(
    streams: Mapping[str, xr.Dataset],
    *,
    trials: Sequence[tuple[int, float, float, str]],
    ratings: xr.Dataset,
    baselines: Iterable[tuple[float, float]] = (),
    trial_columns: Mapping[str, Sequence[Any]] | None = None,
    attrs: Mapping[str, Any],
) -> Recording:
    """Return a recording in memory.

    Parameters
    ----------
    streams : mapping of str to Dataset
        From :func:`stretches_to_stream`.
    trials : sequence of (trial, onset_seconds, duration_seconds, stimulus)
        In the order of their onsets.
    ratings : Dataset
        From :func:`rate` or :func:`no_ratings`.
    baselines : iterable of (onset_seconds, duration_seconds)
        Each becomes an event ``baseline``.
    trial_columns : mapping of str to sequence, optional
        More columns of the table of trials, one value per trial.
    attrs : mapping
        Session attributes (JSON-able).
    """
    table = make_trials(trials).assign(
        {k: ("trial", _column(values)) for k, values in (trial_columns or {}).items()}
    )
    events = make_events((onset, seconds, "baseline", "") for onset, seconds in baselines)
    root = xr.Dataset(attrs={"notes": [], **attrs})
    tables = {"trials": table, "ratings": ratings, "events": events}
    return Recording(xr.DataTree.from_dict({"/": root, **streams, **tables}))


def one_at_a_time(recordings: Iterable[Recording]) -> Iterator[Recording]:
    """Yield recordings and free each before the next is made.

    A data tree refers to itself, so Python frees it only when it looks for such cycles, and it
    does not know how large the arrays in them are: without this, memory grows with every subject.
    """
    source = iter(recordings)
    while (recording := next(source, None)) is not None:
        yield recording
        del recording
        gc.collect()


def _column(values: Sequence[Any]) -> np.ndarray:
    text = any(isinstance(v, str) for v in values)
    return np.array(list(values), object if text else None)
