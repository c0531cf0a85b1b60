"""RBTransformer's study as published: windows, targets, folds and balance; leaky by design.

The choices themselves are told and made in :mod:`physioemo.experiments.paper_recipe`. On noise
with random labels the windows that come out of here score 89 % with a nearest neighbour, and up
to 100 % after the subtraction of the baseline: one second of baseline says little about the
brain, but it is one number for all windows of a trial, and so it marks them.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.paper_recipe import (
    DROPPED_SHARE,
    N_FOLDS,
    PAPER_BANDS,
    PAPER_DATASETS,
    SEED,
    STRIDE_SAMPLES,
    WHY_LEAKY,
    WINDOW_SAMPLES,
    PaperDataset,
    paper_baseline,
    paper_dataset,
    paper_exact_recipe,
    paper_tokens,
    paper_windows,
)
from physioemo.experiments.smote import smote
from physioemo.experiments.study_data import Groups, StudyData
from physioemo.fingerprint import config_fingerprint
from physioemo.recording import Recording
from physioemo.stream import describe_stream

__all__ = ["paper_balanced", "paper_classes", "paper_exact_data", "paper_folds"]

_CLASS_OF_LABEL = {"negative": 0, "neutral": 1, "positive": 2}


def paper_exact_data(
    recordings: Iterable[Recording],
    *,
    like: str | None = None,
    baseline: bool = True,
    seed: int = SEED,
) -> StudyData:
    """Return the windows as the published code has them, a tenth of them dropped.

    Parameters
    ----------
    recordings : iterable of Recording
        With trials; one is held at a time.
    like : str, optional
        Which of :data:`PAPER_DATASETS` they are treated as; by default what they say they are.
    baseline : bool
        False leaves the subtraction of the baseline out, to see what it alone does.
    seed : int
        Which windows are dropped.

    Returns
    -------
    StudyData
        Family ``de`` (window, channel, band). ``source`` holds ``leaky`` and ``why_leaky``.

    Raises
    ------
    CallError
        If there are no recordings, or they are of no data set of the paper and `like` is missing.
    DataError, SignalError
        If the rate is not that of the data set, or a trial cannot be used.
    """
    parts = [_recording_part(r, like, baseline) for r in recordings]
    if not parts:
        raise CallError("found no recordings, expected at least one")
    first = parts[0]
    for part in parts[1:]:
        if part["same"] != first["same"]:
            raise DataError(
                "found recordings with different channels, data sets or rated dimensions, expected "
                "the same in all; make studies of those that are alike"
            )

    def joined(name: str) -> np.ndarray:
        return np.concatenate([p[name] for p in parts])

    like, channels, rated, scale = first["same"]
    recipe = paper_exact_recipe(like, baseline=baseline)
    source = {
        "dataset": str(first["dataset"][0]),
        "recipe": recipe,
        "recipe_hash": config_fingerprint(recipe),
        "simulated": any(p["simulated"] for p in parts),
        "baseline_chunks": sorted({n for p in parts for n in p["chunks"]}),
        "leaky": True,
        "why_leaky": WHY_LEAKY,
    }
    data = StudyData(
        families={"de": joined("tokens")},
        coords={"de": {"channel": channels, "band": tuple(PAPER_BANDS)}},
        groups=Groups(
            **{k: joined(k) for k in ("subject", "session", "trial", "stimulus", "onset_seconds")},
            window_seconds=WINDOW_SAMPLES / PAPER_DATASETS[like].sfreq,
            dataset=joined("dataset"),
        ),
        ratings={d: joined("ratings")[:, k] for k, d in enumerate(rated)},
        scale=scale if rated else None,
        labels=None if rated else joined("labels"),
        source=source,
    )
    rng = np.random.default_rng(seed)
    kept = rng.permutation(len(data))[: len(data) - round(DROPPED_SHARE * len(data))]
    return data.take(np.sort(kept))


def _recording_part(recording: Recording, like: str | None, baseline: bool) -> dict[str, Any]:
    """Return the windows of one recording's trials, and where each comes from."""
    attrs, table = recording.attrs, recording.trials
    like = str(like or attrs.get("dataset", ""))
    published = paper_dataset(like)
    channels, tokens, chunks = _trial_tokens(recording, like, published, baseline)
    counts = [len(t) for t in tokens]
    total = sum(counts)
    trials = np.repeat(table["trial"].values, counts).astype(int)
    first = np.repeat(table["onset_seconds"].values, counts)
    within = np.concatenate([np.arange(n) for n in counts])
    rated, scale = _rated(recording)
    return {
        "same": (like, channels, rated, scale),
        "tokens": np.concatenate(tokens),
        "subject": np.full(total, str(attrs.get("subject", "")), object),
        "session": np.full(total, str(attrs.get("session", "1")), object),
        "dataset": np.full(total, str(attrs.get("dataset", like)), object),
        "trial": trials,
        "stimulus": np.repeat(np.array([str(s) for s in table["stimulus"].values], object), counts),
        "onset_seconds": first + within * STRIDE_SAMPLES / published.sfreq,
        "simulated": recording.simulated or bool(attrs.get("synthetic", False)),
        "chunks": chunks,
        **_targets(recording, rated, trials, counts),
    }


def _trial_tokens(
    recording: Recording, like: str, published: PaperDataset, baseline: bool
) -> tuple[tuple[str, ...], list[np.ndarray], set[int]]:
    """Return the channels, the tokens of each trial, and of how many chunks baselines are."""
    stream = recording["eeg"]
    description, sfreq = describe_stream(stream), published.sfreq
    if description.sfreq != sfreq:
        raise DataError(
            f"found EEG at {description.sfreq:g} Hz, expected {sfreq:g} Hz as in {like}; the "
            "published windows are counted in samples"
        )
    samples, time = stream["signal"].values, stream["time"].values
    table, baselines = recording.trials, _baselines(recording)
    tokens, chunks = [], set()
    for number, onset, seconds in zip(
        *(table[c].values for c in ("trial", "onset_seconds", "duration_seconds")), strict=True
    ):
        values = paper_tokens(paper_windows(_cut(samples, time, onset, seconds, sfreq)))
        if published.baseline_chunks and baseline:
            own = [b for b in baselines if b[0] + b[1] <= onset + 1e-3]
            if not own:
                raise DataError(
                    f"found no baseline before trial {number}, expected one as in {like}; leave "
                    "the subtraction out with baseline=False"
                )
            rest = _cut(samples, time, *own[-1], sfreq)
            offset, n_chunks = paper_baseline(rest, published.baseline_chunks)
            values = values - offset
            chunks.add(n_chunks)
        tokens.append(values)
    return description.ch_names, tokens, chunks


def _baselines(recording: Recording) -> list[tuple[float, float]]:
    events = recording.events
    columns = (events[c].values for c in ("onset_seconds", "duration_seconds", "description"))
    return [(float(t), float(s)) for t, s, kind in zip(*columns, strict=True) if kind == "baseline"]


def _cut(
    samples: np.ndarray, time: np.ndarray, onset: float, seconds: float, sfreq: float
) -> np.ndarray:
    """Return the samples (channel, time) of a stretch that has no gap."""
    first, n = int(np.searchsorted(time, onset - 0.5 / sfreq)), round(float(seconds) * sfreq)
    part = time[first : first + n]
    if len(part) < n or n == 0 or abs(part[-1] - onset - (n - 1) / sfreq) > 1 / sfreq:
        raise DataError(
            f"found {len(part)} samples in a row from {onset:g} s, expected {n}: the stretch has a "
            "gap or ends early; leave it out"
        )
    return samples[first : first + n].T


def _rated(recording: Recording) -> tuple[tuple[str, ...], tuple[float, float] | None]:
    table = recording.ratings
    if not table.sizes["trial"]:
        return (), None
    attrs = table.attrs
    scale = (float(attrs["scale_minimum"]), float(attrs["scale_maximum"]))
    return tuple(str(d) for d in table["dimension"].values), scale


def _targets(
    recording: Recording, rated: tuple[str, ...], trials: np.ndarray, counts: list[int]
) -> dict[str, np.ndarray]:
    """Return the ratings (window, dimension), or the label of every window."""
    if rated:
        table = recording.ratings
        row = {
            int(t): v for t, v in zip(table["trial"].values, table["rating"].values, strict=True)
        }
        nothing = np.full(len(rated), np.nan)
        return {"ratings": np.array([row.get(int(t), nothing) for t in trials])}
    if "label_name" not in recording.trials:
        raise DataError(
            "found neither ratings nor labels, expected one of them; a study needs something to "
            "predict"
        )
    names = np.array([str(v) for v in recording.trials["label_name"].values], object)
    return {"labels": np.repeat(names, counts)}


def paper_classes(data: StudyData, dimension: str | None = None) -> np.ndarray:
    """Return the published class of every window, -1 where there is no rating.

    Parameters
    ----------
    data : StudyData
        From :func:`paper_exact_data`.
    dimension : str, optional
        Rated dimension; none for SEED, whose label -1, 0, 1 becomes 0, 1, 2.

    Raises
    ------
    CallError
        If the data have no such dimension.
    """
    threshold = paper_dataset(str(data.source["recipe"]["like"])).threshold
    if threshold is None:
        if data.labels is None:
            raise CallError(
                "found no labels, expected those of SEED; use like='seed' for SEED only"
            )
        return np.array([_CLASS_OF_LABEL[str(v)] for v in data.labels], int)
    if dimension is None or dimension not in data.ratings:
        raise CallError(
            f"found the dimension {dimension!r}, expected one of {', '.join(data.ratings)}"
        )
    rating = data.ratings[dimension]
    return np.where(np.isnan(rating), -1, (rating >= threshold).astype(int))


def paper_folds(n_windows: int, *, seed: int = SEED) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (train, test) window indices: all subjects' windows shuffled into five folds.

    This is the leak: neither trial nor subject is looked at.
    """
    if n_windows < N_FOLDS:
        raise CallError(f"found {n_windows} windows, expected at least {N_FOLDS} for as many folds")
    shuffled = np.random.default_rng(seed).permutation(n_windows)
    for test in np.array_split(shuffled, N_FOLDS):
        yield np.setdiff1d(np.arange(n_windows), test), np.sort(test)


def paper_balanced(
    data: StudyData, classes: np.ndarray, train: np.ndarray, *, seed: int = SEED
) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and classes of a training fold after SMOTE; no test window is looked at.

    Parameters
    ----------
    data : StudyData
        From :func:`paper_exact_data`.
    classes : ndarray of int, shape (window,)
        From :func:`paper_classes`; windows of -1 are left out.
    train : ndarray of int
        The fold's training windows.
    seed : int
        Source of chance.
    """
    rows = train[classes[train] >= 0]
    return smote(data.families["de"][rows], classes[rows], seed=seed)
