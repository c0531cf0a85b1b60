"""A decoder of several streams with random weights, and a recording in which each has gaps."""

import numpy as np
import pytest
import torch
import xarray as xr

from physioemo.clock import segment_bounds
from physioemo.experiments.fused_decoder import EEG, FusedDecoder
from physioemo.experiments.fused_modalities import FamilyScaler, encoder_of
from physioemo.experiments.fused_sides import SideChoice
from physioemo.experiments.fused_streams import SideToken, recording_side
from physioemo.experiments.fused_training_data import bound_sides
from physioemo.experiments.training import StudyConfig, shared_recipe
from physioemo.features.artefact_gate import ArtefactGate
from physioemo.features.stimulus_tokens import STIMULUS_SCALARS
from physioemo.models.fused import FusedModel
from physioemo.recording import Recording
from tests.simulated import simulated_recording

CHOICES = (
    SideChoice("eda", window_seconds=2.0, hop_seconds=0.6, max_age_seconds=1.5),
    SideChoice("gaze", window_seconds=1.0, hop_seconds=0.5, max_age_seconds=1.0),
    SideChoice("pupil", window_seconds=1.0, hop_seconds=0.5, max_age_seconds=1.0),
)

SIDE_KEYS = {"eda": "Simulated-Physiology", "gaze": "Simulated-Gaze", "pupil": "Simulated-Gaze"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Return a simulated session in which each stream has gaps and missing samples of its own."""
    whole = simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=3)
    changed = {}
    for key, (gap, missing) in {
        "Simulated-EEG": ((4000, 0.9), slice(2000, 2010)),
        "Simulated-Physiology": ((2500, 4.0), slice(700, 720)),
        "Simulated-Gaze": ((1200, 2.5), slice(300, 420)),
    }.items():
        stream = whole[key].load()
        signal, time = stream["signal"].values.copy(), stream["time"].values.copy()
        time[gap[0] :] += gap[1]
        signal[missing] = np.nan
        changed[key] = stream.assign(signal=(stream["signal"].dims, signal)).assign_coords(
            time=time
        )
    return Recording(xr.DataTree.from_dict(changed))


def made(recording, choices=CHOICES, *, prior=0.5, stimulus=None):
    """Return a fused decoder with random weights, whose scalers have seen the recording."""
    config = StudyConfig()
    recipe, ch_names = shared_recipe({"a": recording}, config)
    sides = bound_sides({"a": recording}, choices)
    rng = np.random.default_rng(0)
    scalers = {EEG: FamilyScaler.fit(rng.normal(1.0, 0.5, (50, 32, len(recipe.bands))))}
    for side in sides:
        tokens = [token.values for token in recording_side(recording, side)]
        scalers[side.name] = FamilyScaler.fit(np.array(tokens))
    encoders = {EEG: encoder_of("de", (32, len(recipe.bands)), "tiny")}
    encoders |= {s.name: encoder_of(s.name, (s.n_values,), "tiny") for s in sides}
    if stimulus is not None:
        encoders |= stimulus.encoders("tiny")
        scalers["stimulus"] = FamilyScaler.fit(rng.normal(0.0, 1.0, (50, len(STIMULUS_SCALARS))))
    torch.manual_seed(0)
    n = len(config.dimensions)
    return FusedDecoder(
        recipe=recipe,
        ch_names=ch_names,
        dimensions=config.dimensions,
        sides=sides,
        stimulus=stimulus,
        scalers=scalers,
        model=FusedModel(encoders=encoders, dimensions=config.dimensions).eval(),
        temperature=np.full(n, 1.5),
        prior=np.full(n, prior),
        metadata={"note": "x"},
        gate=ArtefactGate(),
    )


@pytest.fixture(scope="module")
def decoder(recording):
    return made(recording, prior=0.4)


@pytest.fixture(scope="module")
def offline(recording, decoder):
    return decoder.predict(recording)


def interleaved(recording, rng, *, across_gaps=False):
    """Yield (stream, samples, stamps, segment) in random chunks; no stream waits for another."""
    streams = {k: recording[k] for k in ("Simulated-EEG", *dict.fromkeys(SIDE_KEYS.values()))}
    at = dict.fromkeys(streams, 0)
    segments = {
        k: np.repeat(
            np.arange(len(bounds)), [b - a for a, b in bounds]
        )
        for k, s in streams.items()
        for bounds in [segment_bounds(s["time"].values, recording.description(k).sfreq)]
    }  # fmt: skip
    signals = {k: (s["signal"].values, s["time"].values) for k, s in streams.items()}
    while streams:
        key = rng.choice(sorted(streams))
        signal, time = signals[key]
        stop = at[key] + int(rng.choice([1, 7, 60, 333, 1500]))
        segment = segments[key]
        if not across_gaps:
            stop = min(stop, int(np.searchsorted(segment, segment[at[key]], "right")))
        part = slice(at[key], stop)
        yield key, signal[part], time[part], int(segment[at[key]])
        at[key] = stop
        if stop >= len(time):
            del streams[key]


def token(side, stop, value=0.3):
    values = np.full(side.n_values, value)
    return SideToken(values, np.isfinite(values), stop, stop)
