"""Small streams for tests."""

import json

import numpy as np

from physioemo.description import StreamDescription
from physioemo.stream import make_stream


def eeg_description(n_channels=4, sfreq=250.0, **changes):
    fields = {
        "name": "EEG",
        "stype": "EEG",
        "sfreq": sfreq,
        "ch_names": tuple(f"E{i}" for i in range(n_channels)),
        "units": ("uV",) * n_channels,
        "source_id": "test-eeg",
    }
    return StreamDescription(**{**fields, **changes})


def eeg_stream(signal, sfreq=250.0, time=None, **changes):
    """Return an EEG stream of float32 samples (time, channel)."""
    signal = np.asarray(signal, np.float32)
    return make_stream(signal, eeg_description(signal.shape[1], sfreq, **changes), time=time)


def marker_stream(rows, **changes):
    """Return a marker stream of (seconds, text or dict)."""
    texts = [[t if isinstance(t, str) else json.dumps(t)] for _, t in rows]
    fields = {"name": "Markers", "stype": "Markers", "source_id": "test-markers", **changes}
    description = StreamDescription(
        sfreq=0.0, ch_names=("marker",), units=("n/a",), channel_format="string", **fields
    )
    values = np.array(texts, object).reshape(-1, 1)
    return make_stream(values, description, time=np.array([s for s, _ in rows], float))


def trial_markers(trials):
    """Return start and stop markers of (trial, onset, duration, stimulus)."""
    rows = []
    for trial, onset, duration, stimulus in trials:
        rows.append((onset, {"event": "trial_start", "trial": trial, "stimulus": stimulus}))
        rows.append((onset + duration, {"event": "trial_stop", "trial": trial}))
    return marker_stream(rows)


def rating_stream(rows, unit="1-9"):
    """Return a rating stream of (seconds, trial, valence, arousal, dominance)."""
    description = StreamDescription(
        "Ratings",
        "Ratings",
        0.0,
        ("trial", "valence", "arousal", "dominance"),
        ("count", unit, unit, unit),
        source_id="test-ratings",
    )
    values = np.array([row[1:] for row in rows], np.float32).reshape(-1, 4)
    return make_stream(values, description, time=np.array([row[0] for row in rows], float))
