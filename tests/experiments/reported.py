"""A session to report on, with planted effects, and a parser that sees what is not closed."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from physioemo.description import StreamDescription
from physioemo.experiments.report.session import open_sessions
from physioemo.store import create_recording
from physioemo.stream import make_stream
from physioemo.trials import make_ratings

SFREQ, SECONDS, START = 128.0, 64, 5000.0
NAMES = ("Fp1", "Fp2", "f3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "Cz", "Pz", r"$\frac$")
EVIL = "<script>document.title = 'run'; console.error('run')</script> $x$"
AROUSAL = (8, 2, 8, 2, 8, 2)
VALENCE = (9, 9, 1, 1, 8, 2)
TRIALS = [(i + 1, START + 2 + 10 * i, 8.0, f"clip-{i % 3}") for i in range(6)]


def eeg(names=NAMES, unit="V", gap=None, seconds=SECONDS):
    """10 Hz of 20 µV at O1, halved in the trials of high arousal; more at F4 in good ones."""
    time = START + np.arange(round(seconds * SFREQ)) / SFREQ
    signal = np.random.default_rng(0).normal(0, 1, (len(time), len(names)))
    wave, volume = np.sin(2 * np.pi * 10 * time), np.full(len(time), 20.0)
    for (_, onset, length, _), arousal, valence in zip(TRIALS, AROUSAL, VALENCE, strict=True):
        inside = (time >= onset) & (time <= onset + length)
        volume[inside] = 10.0 if arousal > 5 else 20.0
        signal[inside, 3] += (8 if valence > 5 else 2) * wave[inside]
    signal[:, 2] += 4 * wave
    signal[:, 8] += volume * wave
    kept = (
        np.ones(len(time), bool)
        if gap is None
        else (time < START + gap[0]) | (time >= START + gap[1])
    )
    description = StreamDescription("Cap " + EVIL, "EEG", SFREQ, names, (unit,) * len(names))
    return make_stream((signal * 1e-6)[kept].astype(np.float32), description, time=time[kept])


def predictions():
    time = START + np.arange(0.5, SECONDS, 0.5)
    probability, abstain = np.full(len(time), 0.5), np.zeros(len(time))
    for i, (_, onset, length, _) in enumerate(TRIALS):
        inside = (time >= onset) & (time <= onset + length)
        # Wrong in the last trial, where its abstentions would have made it right.
        probability[inside] = 0.8 if VALENCE[i] > 5 or i == 5 else 0.2
    abstain[time >= START + 58], probability[time >= START + 58] = 1, 0.1
    names = ("valence_probability", "valence_confidence", "abstain")
    values = np.stack([probability, np.maximum(probability, 1 - probability), abstain], axis=1)
    description = StreamDescription("PhysioEmo-VAD", "Prediction", 0.0, names, ("probability",) * 3)
    return make_stream(values.astype(np.float32), description, time=time)


def truth():
    time = START + np.arange(SECONDS * 10) / 10
    names = ("valence", "arousal", "dominance")
    values = np.sin(time[:, None] * [0.1, 0.2, 0.3]).astype(np.float32)
    description = StreamDescription("Truth", "GroundTruth", 10.0, names, ("a.u.",) * 3)
    return make_stream(values, description, time=time)


def ratings():
    values = np.stack([VALENCE, AROUSAL], axis=1)
    return make_ratings(range(1, 7), ("valence", "arousal"), values, scale=(1, 9))


def skin():
    time = START + np.arange(SECONDS * 32) / 32
    description = StreamDescription(
        "Body", "Physiology", 32.0, ("EDA", "RSP"), ("uS", "a.u."), ch_types=("eda", "respiration")
    )
    values = np.stack([5 + np.sin(time / 9), np.sin(time)], axis=1).astype(np.float32)
    return make_stream(values, description, time=time)


def ecg(gap=(20.0, 24.0), attached=True):
    """60 beats a minute, from 30 s on 80."""
    time = START + np.arange(SECONDS * 128) / 128
    at = START + np.r_[np.arange(0.5, 30), np.arange(30.25, SECONDS, 0.75)]
    signal = np.exp(-(((time[:, None] - at) / 0.012) ** 2) / 2).sum(axis=1)
    signal += np.random.default_rng(0).normal(0, 0.01, len(time))
    kept = (time < START + gap[0]) | (time >= START + gap[1])
    description = StreamDescription("Heart", "ECG", 128.0, ("II",), ("mV",))
    signal = (signal * attached)[kept, None].astype(np.float32)
    return make_stream(signal, description, time=time[kept])


def score(value=0.87, interval=(0.7, 0.96), permuted=(0.47, 0.55, 0.5), **more):
    counts = {"n_trials": 30, "n_high": 15, "n_low": 15, "accuracy": value}
    baselines = {"majority_accuracy": 0.5, "majority_balanced_accuracy": 0.5}
    rest = {"p_binomial": 1e-4, "p_permutation": 0.09, "window_balanced_accuracy": 0.78}
    trials = [{"recording": EVIL, "trial": 3, "label": 1, "probability": 0.8}]
    return {
        **counts, **baselines, **rest, "balanced_accuracy": value, "interval_95": list(interval),
        "permuted_balanced_accuracy": list(permuted), "trials": trials, **more,
    }  # fmt: skip


def decoder(folder: Path, **changes) -> Path:
    folder.mkdir(parents=True)
    dimensions = {"valence": score(), "arousal": score(0.52, (0.35, 0.69))}
    content = {
        "format": 1, "protocol": "trial-grouped 5-fold", "leaky": False, "seed": 7,
        "config": {"window_seconds": 1.0}, "config_hash": "feedc0de", "versions": {"torch": "2"},
        "data_fingerprints": {"a": "b"}, "n_trials": 30, "n_windows": 450, "simulated": False,
        "dimensions": dimensions, **changes,
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def make_session(tmp_path, **streams):
    return open_sessions([create_recording(tmp_path / "r", streams)])[0]


class Balanced(HTMLParser):
    """Parses a page and keeps what it holds; a tag that closes another one is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.loads, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [v for k, v in attrs if k in {"src", "href", "srcset", "data", "action"}]
        if tag not in {"meta", "link", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
