"""What is in the folder of a data set, what is missing, and which file is damaged and how."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.datasets.assemble import one_at_a_time
from physioemo.datasets.data_set import DataSet
from physioemo.datasets.source import Source
from physioemo.datasets.synthetic_note import read_synthetic_note
from physioemo.errors import PhysioEmoError
from physioemo.recording import Recording

__all__ = ["inspect_dataset"]


def inspect_dataset(
    row: DataSet,
    folder: Path,
    *,
    on_progress: Callable[[float, float], None] | None = None,
) -> dict[str, Any]:
    """Read everything once and return what there is.

    Parameters
    ----------
    row : DataSet
        From :func:`physioemo.datasets.catalogue.recognise`.
    folder : Path
        From ``row.locate``.
    on_progress : callable, optional
        ``on_progress(done, total)`` after each source.

    Returns
    -------
    dict
        JSON-able: ``streams`` (rate, channels, unit, samples), ``recordings``, ``ratings`` (a
        histogram per dimension), ``labels``, ``missing``, ``damaged`` (source to reason).
    """
    note = read_synthetic_note(row, folder)
    sources = row.sources(folder, **(note or {}))
    damaged: dict[str, str] = {}
    recordings: list[dict[str, Any]] = []
    tally = _Tally()
    for k, source in enumerate(sources):
        found, damage = _look_at(source, tally)
        recordings += found
        if damage:
            damaged[source.name] = damage
        if on_progress:
            on_progress(k + 1.0, float(len(sources)))
    return {
        "dataset": row.name,
        "title": row.title,
        "licence": row.licence,
        "folder": str(folder),
        "synthetic": note is not None,
        "n_sources": len(sources),
        "recordings": recordings,
        "streams": tally.streams,
        "has_signals": any(s["modality"] != "other" for s in tally.streams.values()),
        "n_trials": sum(r["n_trials"] for r in recordings),
        "ratings": tally.histograms(),
        "labels": dict(sorted(tally.labels.items())),
        "missing": _missing(row, recordings, damaged),
        "damaged": damaged,
    }


class _Tally:
    """What is counted over all recordings."""

    def __init__(self) -> None:
        self.streams: dict[str, dict[str, Any]] = {}
        self.ratings: dict[str, list[float]] = {}
        self.scale = (float("nan"), float("nan"))
        self.labels: Counter[str] = Counter()

    def add(self, recording: Recording) -> None:
        for key in recording.streams:
            known = recording.description(key)
            row = self.streams.setdefault(
                key,
                {
                    "modality": known.modality,
                    "sfreq": known.sfreq,
                    "unit": ", ".join(dict.fromkeys(known.units)),
                    "n_channels": len(known.ch_names),
                    "ch_names": list(known.ch_names),
                    "n_samples": 0,
                    "n_missing_values": 0,
                },
            )
            signal = recording[key]["signal"].values
            row["n_samples"] += len(signal)
            if signal.dtype.kind == "f":
                row["n_missing_values"] += int(np.isnan(signal).sum())
        table = recording.ratings
        if table.sizes["trial"]:
            self.scale = (table.attrs["scale_minimum"], table.attrs["scale_maximum"])
        for dimension in table["dimension"].values if table.sizes["trial"] else ():
            values = table["rating"].sel(dimension=dimension).values
            self.ratings.setdefault(str(dimension), []).extend(values.tolist())
        if "label_name" in recording.trials:
            self.labels.update(str(v) for v in recording.trials["label_name"].values)

    def histograms(self) -> dict[str, dict[str, Any]]:
        """Return, per dimension, how many ratings lie nearest to each whole number."""
        found = {}
        for dimension, ratings in self.ratings.items():
            values = np.array(ratings)
            there = values[np.isfinite(values)]
            steps = np.arange(int(self.scale[0]), int(self.scale[1]) + 1)
            nearest = np.floor(there + 0.5).astype(int)
            found[dimension] = {
                "scale": list(self.scale),
                "counts": {str(s): int((nearest == s).sum()) for s in steps},
                "mean": round(float(there.mean()), 3) if len(there) else None,
                "n_missing": int(len(values) - len(there)),
                "n_at_midpoint": int((there == sum(self.scale) / 2).sum()),
            }
        return found


def _look_at(source: Source, tally: _Tally) -> tuple[list[dict[str, Any]], str]:
    """Return the recordings of a source and, where it is damaged, how."""
    found: list[dict[str, Any]] = []
    try:
        for recording in one_at_a_time(source.read()):
            tally.add(recording)
            found.append(_summary(recording, source))
            del recording
    except PhysioEmoError as error:
        return found, str(error)
    return found, "" if found else f"found no recording in {source.files[0]}, expected one"


def _summary(recording: Recording, source: Source) -> dict[str, Any]:
    seconds = recording.trials["duration_seconds"].values
    return {
        "source": source.name,
        "subject": str(recording.attrs["subject"]),
        "session": str(recording.attrs["session"]),
        "n_trials": int(recording.trials.sizes["trial"]),
        "trial_seconds": [float(seconds.min()), float(seconds.max())] if len(seconds) else [],
        "notes": list(recording.notes),
    }


def _missing(
    row: DataSet, recordings: list[dict[str, Any]], damaged: Mapping[str, str]
) -> list[str]:
    """Say in words what the published data set has and the folder has not."""
    wanted, sessions = row.published["subjects"], row.published["sessions"]
    by_subject = Counter(r["subject"] for r in recordings)
    said = []
    if len(by_subject) < wanted:
        text = f"{wanted - len(by_subject)} of {wanted} subjects"
        numbers = {int(s) for s in by_subject if s.isdigit()}
        absent = [n for n in range(1, wanted + 1) if n not in numbers]
        if len(numbers) == len(by_subject) and len(absent) == wanted - len(by_subject):
            text += f": {_ranges(absent)}"
        said.append(text + (" (damaged files included)" if damaged else ""))
    short = [f"{s} has {n}" for s, n in sorted(by_subject.items()) if n != sessions]
    if short:
        said.append(f"sessions: subject {', '.join(short)}, published are {sessions}")
    trials = [r for r in recordings if r["n_trials"] != row.published["trials"]]
    if trials:
        names = ", ".join(f"{r['source']} has {r['n_trials']}" for r in trials[:5])
        said.append(f"trials: {names}, published are {row.published['trials']}")
    return said


def _ranges(numbers: list[int]) -> str:
    """Return rising numbers in words: ``3, 5 to 9``."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in runs)
