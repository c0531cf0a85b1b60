"""One decoder, live and offline."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CheckpointError, StreamDescriptionError, UnitError
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.tokens import FAMILY, recording_tokens
from physioemo.experiments.training import StudyConfig, untrained_decoder
from physioemo.recording import Recording
from physioemo.ring import Ring
from physioemo.stream import describe_stream
from tests.simulated import simulated_recording
from tests.streams import eeg_stream


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Return a simulated session with a gap, missing samples and a dead electrode."""
    whole = simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=4)
    eeg = whole["eeg"].load()
    signal, time = eeg["signal"].values.copy(), eeg["time"].values.copy()
    time[4000:] += 0.9
    signal[2000:2010, 5] = np.nan
    signal[:, 7] = 12.0
    changed = eeg.assign(signal=(eeg["signal"].dims, signal)).assign_coords(time=time)
    return Recording(xr.DataTree.from_dict({"eeg": changed}))


@pytest.fixture(scope="module")
def decoder(recording):
    return untrained_decoder(recording)


def run_live(decoder, recording, chunks):
    """Feed a recording through the ring in chunks; return tokens and predictions."""
    stream = recording["eeg"]
    description = describe_stream(stream)
    ring = Ring("eeg", description, decoder.recipe.hop_samples)
    tokens = decoder.tokens(description)
    state, predictions, values = tokens.start(), [], []
    signal, time = stream["signal"].values, stream["time"].values
    at = 0
    for size in chunks:
        for window in ring.push(signal[at : at + size], time[at : at + size]):
            part = window["eeg"]
            made, _ = tokens.step(part.signal, part.time, window.segment, state)
            values.append(made[FAMILY].values)
            new, state = decoder.step(window, "eeg", tokens, state)
            predictions += new
        at += size
    return np.concatenate(values), predictions


def random_chunks(n, seed):
    generator = np.random.default_rng(seed)
    sizes = generator.choice([1, 3, 17, 125, 250, 999], size=n)
    return sizes[: np.searchsorted(np.cumsum(sizes), n) + 1].tolist()


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31))
def test_live_equals_offline(recording, decoder, seed):
    n = recording["eeg"].sizes["time"]
    values, live = run_live(decoder, recording, random_chunks(n, seed))
    offline = decoder.predict(recording)
    tokens = recording_tokens(recording, decoder.recipe, decoder.ch_names)[FAMILY].values
    assert values.tobytes() == tokens.tobytes()
    assert live == offline and len(live) > 60


def test_the_batch_engines_agree_with_the_stream(recording, decoder):
    one_by_one, batched = decoder.predict(recording), decoder.predict_batch(recording)
    assert [p.time_seconds for p in batched] == [p.time_seconds for p in one_by_one]
    for a, b in zip(one_by_one, batched, strict=True):
        assert b.probability == pytest.approx(a.probability, abs=1e-5)
        assert a.abstain == b.abstain


def test_a_prediction_is_stamped_by_the_newest_sample_that_it_used(recording):
    decoder = untrained_decoder(recording, StudyConfig(window_seconds=1.0, hop_seconds=0.3))
    one_by_one, batched = decoder.predict(recording), decoder.predict_batch(recording)
    assert [p.time_seconds for p in batched] == [p.time_seconds for p in one_by_one]
    first = recording["eeg"]["time"].values[249]
    assert one_by_one[0].time_seconds == first


def test_windows_after_a_gap_start_from_rest(recording, decoder):
    eeg = recording["eeg"]
    after = eeg.isel(time=slice(4000, None))
    alone = Recording(xr.DataTree.from_dict({"eeg": after}))
    expected = decoder.predict(alone)
    found = [p for p in decoder.predict(recording) if p.time_seconds > eeg.time.values[4000]]
    assert found == expected


def test_a_saved_decoder_says_the_same(recording, decoder, tmp_path):
    loaded = Decoder.load(decoder.save(tmp_path / "d"))
    assert loaded.predict(recording) == decoder.predict(recording)
    assert (loaded.recipe, loaded.ch_names, loaded.id) == (
        decoder.recipe,
        decoder.ch_names,
        decoder.id,
    )


def test_no_pickle_is_written(decoder, tmp_path):
    folder = decoder.save(tmp_path / "d")
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "decoder.json").unlink(), "found no decoder.json in"),
        (lambda d: (d / "decoder.json").write_text("{"), "decoder.json is damaged"),
        (lambda d: (d / "model.safetensors").unlink(), "model.safetensors"),
        (lambda d: (d / "decoder.safetensors").write_bytes(b"x"), "found a damaged decoder"),
        (lambda d: edit(d, format=99), "found decoder format 99"),
        (lambda d: edit(d, model_id="other"), "found parts of different decoders"),
        (lambda d: edit(d, recipe_fingerprint="other"), "found parts of different decoders"),
        (lambda d: edit(d, recipe={}), "found a damaged decoder"),
    ],
)
def test_a_damaged_decoder_is_one_sentence(decoder, tmp_path, damage, message):
    folder = decoder.save(tmp_path / "d")
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        Decoder.load(folder)


def edit(folder, **fields):
    path = folder / "decoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_electrodes_are_found_by_name_in_any_order(recording, decoder):
    eeg = recording["eeg"]
    turned = Recording(xr.DataTree.from_dict({"eeg": eeg.isel(channel=slice(None, None, -1))}))
    assert decoder.predict(turned) == decoder.predict(recording)


def test_another_unit_is_converted(recording, decoder):
    eeg = recording["eeg"]
    volts = eeg.assign(signal=eeg["signal"].astype(float) * 1e-6)
    volts = volts.assign_coords(channel_unit=("channel", np.array(["V"] * 32, object)))
    volts.attrs = {**eeg.attrs, "channel_format": "double64"}
    found = decoder.predict(Recording(xr.DataTree.from_dict({"eeg": volts})))
    for a, b in zip(found, decoder.predict(recording), strict=True):
        assert a.probability == pytest.approx(b.probability, abs=1e-4)


def test_a_unit_that_is_no_voltage_is_refused(recording, decoder):
    described = recording.description("eeg")
    described = replace(described, units=("a.u.",) * len(described.ch_names))
    with pytest.raises(UnitError, match="found the unit 'a.u.'"):
        decoder.tokens(described)


def test_another_rate_is_refused(recording, decoder):
    described = replace(recording.description("eeg"), sfreq=500.0)
    with pytest.raises(StreamDescriptionError, match="found 500 Hz, expected 250 Hz as in"):
        decoder.tokens(described)


def test_too_few_electrodes_are_refused_and_named(decoder):
    stream = eeg_stream(np.zeros((9, 2)), ch_names=("Fp1", "Cz"))
    with pytest.raises(StreamDescriptionError, match="found 2 of the decoder's 32 electrodes"):
        decoder.tokens(describe_stream(stream))


def test_a_decoder_without_signal_abstains_with_its_prior(recording, decoder):
    eeg = recording["eeg"].isel(time=slice(0, 2000))
    signal = eeg["signal"].values.copy()
    signal[:, :17] = np.nan
    silent = eeg.assign(signal=(eeg["signal"].dims, signal))
    said = decoder.predict(Recording(xr.DataTree.from_dict({"eeg": silent})))
    assert said and all(p.abstain for p in said)
    assert said[0].reason == "only 15 of 32 electrodes are usable"
    assert said[0].probability == dict.fromkeys(StudyConfig().dimensions, 0.5)
