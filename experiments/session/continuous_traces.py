"""The continuous ratings of a recording, with the scale that their header states."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from physioemo.experiments.report.session import Session, Trial
from physioemo.xdf_chunks import parse_xml

__all__ = ["ContinuousTrace", "read_traces"]


@dataclass(frozen=True)
class ContinuousTrace:
    """One stream of a continuous rating.

    Parameters
    ----------
    session : Session
        The recording that it is in.
    name : str
        Of the stream.
    dimensions : tuple of str
        Its channels.
    scales : tuple of (float, float)
        Lowest and highest value of each; those that occur where the header states none.
    device : str
        With what it was given; empty if the header does not say.
    time_seconds : ndarray, shape (sample,)
        From the start of the recording.
    values : ndarray, shape (sample, dimension)
        NaN where nothing was rated.
    """

    session: Session
    name: str
    dimensions: tuple[str, ...]
    scales: tuple[tuple[float, float], ...]
    device: str
    time_seconds: np.ndarray
    values: np.ndarray

    def in_trial(self, trial: Trial) -> np.ndarray:
        """Return the values of a trial, shape (sample, dimension)."""
        time = self.time_seconds
        inside = (time >= trial.start_seconds) & (time <= trial.stop_seconds)
        return np.asarray(self.values[inside])

    @property
    def rated_share(self) -> float:
        """Share of the samples of all trials that have a value; NaN without a trial."""
        rows = [self.in_trial(t) for t in self.session.trials]
        inside = np.concatenate(rows) if rows else np.empty((0, len(self.dimensions)))
        return float(np.isfinite(inside).all(axis=1).mean()) if len(inside) else float("nan")


def read_traces(session: Session) -> Iterator[ContinuousTrace]:
    """Yield the continuous ratings of a recording."""
    for key in session.with_modality("continuous_rating"):
        stream, time = session.stream(key)
        described = session.recording.description(key)
        values = np.asarray(stream["signal"].values, float)
        stated = _channels(described.xml)
        scales = tuple(
            _scale(stated[i] if i < len(stated) else {}, values[:, i])
            for i in range(values.shape[1])
        )
        device = stated[0].get("device", "") if stated else ""
        yield ContinuousTrace(
            session, described.name, described.ch_names, scales, device, time, values
        )


def _channels(header: str) -> list[dict[str, str]]:
    """Return what a header says of each channel besides its name."""
    try:
        root = parse_xml(header) if header else None
    except ValueError:
        return []
    nodes = [] if root is None else root.findall("desc/channels/channel")
    return [{child.tag: (child.text or "").strip() for child in node} for node in nodes]


def _scale(stated: dict[str, str], values: np.ndarray) -> tuple[float, float]:
    try:
        low, high = float(stated["minimum"]), float(stated["maximum"])
    except (KeyError, ValueError):
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return (low, high) if high > low else (low, low + 1.0)
