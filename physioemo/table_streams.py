"""Streams made of a recording's tables, for formats that hold streams and nothing else."""

import json

import numpy as np
import xarray as xr

from physioemo.description import StreamDescription, text_units
from physioemo.recording import Recording
from physioemo.stream import make_stream

__all__ = ["table_streams"]

_MARKERS, _RATINGS = "recording-markers", "recording-ratings"


def table_streams(recording: Recording) -> dict[str, xr.Dataset]:
    """Return streams of the events, trials and ratings that no stream of a recording holds.

    Events become texts, those with a duration ``{"event": ..., "duration_seconds": ...}``;
    trials become the markers of :mod:`physioemo.trials`; ratings are stamped with the end of
    their trial. A recording whose streams already say all this gives none.
    """
    streams = {}
    rows = sorted([*_event_rows(recording), *_trial_rows(recording)])
    if rows:
        description = StreamDescription(
            _MARKERS, "Markers", 0.0, ("marker",), text_units(1), "string", source_id=_MARKERS
        )
        texts = np.array([[text] for _, text in rows], object)
        streams[_MARKERS] = make_stream(
            texts, description, time=np.array([onset for onset, _ in rows])
        )
    has_ratings = any(recording[k].attrs["modality"] == "ratings" for k in recording.streams)
    if recording.ratings.sizes["trial"] and not has_ratings:
        streams[_RATINGS] = _rating_stream(recording)
    return streams


def _event_rows(recording: Recording) -> list[tuple[float, str]]:
    events = recording.events
    texts = {k for k in recording.streams if recording[k].attrs["channel_format"] == "string"}
    return [
        (
            float(onset),
            json.dumps({"event": str(text), "duration_seconds": float(duration)})
            if duration
            else str(text),
        )
        for onset, duration, text, stream in zip(
            *(events[c].values for c in ("onset_seconds", "duration_seconds", "description")),
            events["stream"].values,
            strict=True,
        )
        if str(stream) not in texts
    ]


def _trial_rows(recording: Recording) -> list[tuple[float, str]]:
    trials, rows = recording.trials, []
    if any('"trial_start"' in str(t) for t in recording.events["description"].values):
        return []
    for number, onset, duration, stimulus in zip(
        *(trials[c].values for c in ("trial", "onset_seconds", "duration_seconds", "stimulus")),
        strict=True,
    ):
        start = {"event": "trial_start", "trial": int(number), "stimulus": str(stimulus)}
        stop = {"event": "trial_stop", "trial": int(number)}
        rows += [(float(onset), json.dumps(start)), (float(onset + duration), json.dumps(stop))]
    return rows


def _rating_stream(recording: Recording) -> xr.Dataset:
    ratings, trials = recording.ratings, recording.trials
    ends = dict(
        zip(
            trials["trial"].values.tolist(),
            (trials["onset_seconds"] + trials["duration_seconds"]).values.tolist(),
            strict=True,
        )
    )
    numbers = ratings["trial"].values
    # A rating of a trial that is not in the table comes after all that are.
    time = np.array([ends.get(n, max(ends.values(), default=0.0)) for n in numbers.tolist()])
    names = [str(d) for d in ratings["dimension"].values]
    unit = f"{ratings.attrs['scale_minimum']:g}-{ratings.attrs['scale_maximum']:g}"
    description = StreamDescription(
        _RATINGS,
        "Ratings",
        0.0,
        ("trial", *names),
        ("count", *(unit,) * len(names)),
        "double64",
        source_id=_RATINGS,
    )
    values = np.column_stack([numbers.astype(float), ratings["rating"].values])
    order = np.argsort(time, kind="stable")
    return make_stream(values[order], description, time=time[order])
