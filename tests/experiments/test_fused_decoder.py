"""A decoder of several streams: live is offline, and what is missing is missed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.clock import segment_bounds
from physioemo.errors import (
    AmbiguousStreamError,
    CallError,
    CheckpointError,
    SignalError,
    StreamDescriptionError,
)
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_context import RunningBag, WindowContext
from physioemo.experiments.fused_decoder import EEG, FusedDecoder
from physioemo.experiments.fused_heads import RatingHead, RatingScale
from physioemo.experiments.fused_live import FusedLive
from physioemo.experiments.fused_modalities import FamilyScaler, encoder_of
from physioemo.experiments.fused_sides import SIDE_FAMILIES, SideChoice, SideFamily, find_side
from physioemo.experiments.fused_streams import SideHistory, SideStream, SideToken, recording_side
from physioemo.experiments.fused_training_data import bound_sides
from physioemo.experiments.fused_trust import Trust
from physioemo.experiments.training import StudyConfig, shared_recipe, untrained_decoder
from physioemo.features.artefact_gate import ArtefactGate
from physioemo.features.stimulus_tokens import STIMULUS_SCALARS
from physioemo.models.abstention import AbstentionRule
from physioemo.models.conformal import Conformal
from physioemo.models.fused import FusedModel
from physioemo.models.multiple_instance import MultipleInstance
from physioemo.models.temporal_context import ContextModel
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


def run_live(decoder, recording, seed, **patience):
    """Decode as a live loop does, with chunks that know nothing of gaps."""
    described = {n: recording.description(k) for n, k in SIDE_KEYS.items()}
    live = FusedLive(decoder, recording.description("eeg"), described, **patience)
    said = []
    chunks = interleaved(recording, np.random.default_rng(seed), across_gaps=True)
    for key, signal, stamps, _ in chunks:
        for name in (n for n, k in SIDE_KEYS.items() if k == key):
            live.push_side(name, signal, stamps)
        said += live.push(signal, stamps) if key == "Simulated-EEG" else live.ready()
    return [d.prediction for d in said + live.finish()], live.n_hurried


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**31))
def test_live_equals_offline_however_the_streams_are_cut_and_mixed(
    recording, decoder, offline, seed
):
    patient = {"patience_seconds": np.inf, "silent_seconds": np.inf}
    assert run_live(decoder, recording, seed, **patient) == (offline, 0)
    assert len(offline) > 50 and len({p.probability["valence"] for p in offline}) > 40


def test_a_decoder_that_may_be_silent_is_so_live_as_offline_and_from_its_folder(
    recording, decoder, offline, tmp_path
):
    sure = sorted(min(p.confidence.values()) for p in offline if not p.abstain)
    rule = AbstentionRule(sure[len(sure) // 2], 0.2, 0.9, 0.001, 40, 30, 0.1, 0.5)
    reach = tuple(sorted(1 - p.probability[d] for p in offline)[40] for d in decoder.dimensions)
    sets = Conformal("set", reach, 0.8, "window", (40, 40, 40))
    trusted = replace(decoder, trust=Trust(40, rule, sets, notes=("x",)))
    whole = trusted.predict(recording)
    assert run_live(trusted, recording, 3, patience_seconds=np.inf, silent_seconds=np.inf) == (
        whole, 0,
    )  # fmt: skip
    silent = [p for p in whole if p.reason.startswith("the confidence is too low")]
    assert 0 < len(silent) < len(whole) and len({p.classes["valence"] for p in whole}) > 1
    for said, plain in zip(whole, offline, strict=True):
        assert said.abstain or said.probability == plain.probability
    loaded = load_decoder(trusted.save(tmp_path / "d"))
    assert loaded.trust == trusted.trust and loaded.predict(recording) == whole
    content = json.loads((tmp_path / "d" / "decoder.json").read_text())
    assert content["format"] == 3  # an older program refuses it: it would never be silent
    for new in ("trust", "head", "context", "offline_only"):
        del content[new]  # a folder of an older program
    content["format"] = 2
    (tmp_path / "d" / "decoder.json").write_text(json.dumps(content))
    assert load_decoder(tmp_path / "d").predict(recording) == offline


@pytest.mark.parametrize("before", ["causal-convolution", "causal-transformer", "bag"])
def test_with_context_and_ratings_live_equals_offline_and_a_gap_begins_anew(
    recording, decoder, offline, before
):
    torch.manual_seed(1)
    about = {"in_dim": 96, "dimensions": decoder.dimensions}
    context = (
        RunningBag(MultipleInstance(**about).eval(), 9)
        if before == "bag"
        else WindowContext(ContextModel(**about, context=before).eval(), 50)
    )
    head = RatingHead.untrained("joint", RatingScale(1, 9), 96, np.zeros(3))
    ends = Conformal("interval", (1.0, 1.2, 0.1), 0.8, "window", (40, 40, 40))
    full = replace(decoder, head=head, context=context, trust=Trust(40, intervals=ends), id="")
    whole = full.predict(recording)
    for seed in (3, 4):
        said = run_live(full, recording, seed, patience_seconds=np.inf, silent_seconds=np.inf)
        assert said == (whole, 0)
    assert len({p.value["valence"] for p in whole}) > 40
    # The first window after the EEG's gap is what it would be alone; the next one is not.
    steps = np.diff([p.time_seconds for p in whole])
    (gap,) = np.flatnonzero(steps > 1.2)
    alone = [full.predict(part(recording, s)) for s in (0, 1)]
    assert [p.probability for p in whole] == [p.probability for a in alone for p in a]
    assert len(alone[0]) == gap + 1


def part(recording, segment):
    """Return a recording with only one stretch of the EEG."""
    eeg = recording["eeg"].load()
    bounds = segment_bounds(eeg["time"].values, recording.description("eeg").sfreq)
    streams = {k: recording[k].load() for k in recording.streams}
    streams["Simulated-EEG"] = eeg.isel(time=slice(*bounds[segment]))
    return Recording(xr.DataTree.from_dict(streams))


def test_a_window_waits_a_moment_and_not_for_a_stream_that_is_silent(recording, decoder, offline):
    described = {n: recording.description(k) for n, k in SIDE_KEYS.items()}
    live = FusedLive(decoder, recording.description("eeg"), described)
    eeg = recording["eeg"]
    signal, time = eeg["signal"].values[:500], eeg["time"].values[:500]
    for name, key in SIDE_KEYS.items():
        side = recording[key]
        early = int(np.searchsorted(side["time"].values, 0.9))
        live.push_side(name, side["signal"].values[:early], side["time"].values[:early])
    assert live.push(signal[:260], time[:260]) == []  # the window until 0.996 s may yet get more
    for name, key in SIDE_KEYS.items():
        part = recording[key].sel(time=slice(0.9, 1.2))
        live.push_side(name, part["signal"].values, part["time"].values)
    assert [d.prediction for d in live.ready()] == offline[:1] and live.n_hurried == 0
    # The next window ends at 1.496 s: after a quarter of a second it is said without the others.
    assert live.push(signal[260:420], time[260:420]) == []
    assert len(live.push(signal[420:450], time[420:450])) == 1 and live.n_hurried == 1
    alone = FusedLive(decoder, recording.description("eeg"), described)
    assert len(alone.push(signal, time)) == 3 and alone.n_hurried == 0  # nothing ever came


def in_chunks(recording, side, seed):
    """Return the tokens of a stream that comes in random chunks, between those of others."""
    key = SIDE_KEYS.get(side.name, "Simulated-Physiology")
    stream = SideStream(side, recording.description(key))
    chunks = interleaved(recording, np.random.default_rng(seed))
    return [t for k, *chunk in chunks if k == key for t in stream.step(*chunk)]


def same(some, others):
    return [t.stop_seconds for t in some] == [t.stop_seconds for t in others] and all(
        np.array_equal(a.values, b.values, equal_nan=True)
        for a, b in zip(some, others, strict=True)
    )


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31))
def test_side_tokens_do_not_depend_on_chunks(recording, decoder, seed):
    for side in decoder.sides[:2]:
        whole = recording_side(recording, side)
        assert same(in_chunks(recording, side, seed), whole) and len(whole) > 40


def test_slow_features_do_not_depend_on_chunks_either(recording):
    slow = (SideChoice("hrv", 4.0, 4.0, hrv_window_seconds=10.0), SideChoice("respiration"))
    for side in bound_sides({"a": recording}, slow):
        whole = recording_side(recording, side)
        # One segment of 10 s and one of 22 s.
        assert len(whole) == {"hrv": 2 + 5, "respiration": 6 + 18}[side.name]
        assert same(in_chunks(recording, side, 0), whole)


def test_a_token_ends_with_the_newest_sample_that_it_used(recording, decoder):
    side = decoder.sides[1]
    time = recording["Simulated-Gaze"]["time"].values
    stream = decoder.side_tokens("gaze", recording.description("Simulated-Gaze"))
    signal = recording["Simulated-Gaze"]["signal"].values
    made = stream.step(signal[:1200], time[:1200] + 100.0, 0, raw_stamps=time[:1200])
    ends = np.arange(len(made)) * 60 + 119
    assert [t.newest_stamp for t in made] == time[ends].tolist()
    assert [t.stop_seconds for t in made] == (time[ends] + 100.0).tolist()
    # What comes later changes nothing.
    other = decoder.side_tokens("gaze", recording.description("Simulated-Gaze"))
    spoilt = signal[:1200].copy()
    spoilt[180:] = 0.5
    again = other.step(spoilt, time[:1200], 0)
    np.testing.assert_array_equal(made[1].values, again[1].values)
    assert side.n_values == made[0].values.size


def token(side, stop, value=0.3):
    values = np.full(side.n_values, value)
    return SideToken(values, np.isfinite(values), stop, stop)


def test_a_token_that_is_too_old_or_not_there_is_the_same_as_none(decoder):
    rng = np.random.default_rng(0)
    row = rng.normal(1.0, 0.5, (32, len(decoder.recipe.bands)))
    eda = decoder.sides[0]
    alone = decoder.predict_one(row, {}, 100.0)
    assert decoder.predict_one(row, {"eda": None}, 100.0) == alone
    assert decoder.predict_one(row, {"eda": token(eda, 98.4)}, 100.0) == alone
    fresh = decoder.predict_one(row, {"eda": token(eda, 98.6)}, 100.0)
    assert fresh.probability != alone.probability and not fresh.abstain
    newer = decoder.predict_one(row, {"eda": token(eda, 100.0)}, 100.0)
    assert newer.probability != fresh.probability  # its age is known to the model


def test_without_the_eeg_the_others_speak_and_without_all_it_abstains(decoder):
    nothing = np.full((32, len(decoder.recipe.bands)), np.nan)
    eda = decoder.sides[0]
    said = decoder.predict_one(nothing, {"eda": token(eda, 9.9)}, 10.0)
    assert not said.abstain and said.probability["valence"] != 0.4
    few = nothing.copy()
    few[:15] = 1.0  # fewer than half of the electrodes
    assert decoder.predict_one(few, {"eda": token(eda, 9.9)}, 10.0) == said
    prior = decoder.predict_one(few, {"eda": token(eda, 9.9, np.nan)}, 10.0)
    assert prior.abstain and prior.probability == dict.fromkeys(decoder.dimensions, 0.4)
    assert prior.reason == "only 15 of 32 electrodes are usable, and nothing of eda, gaze, pupil"
    assert prior.confidence == dict.fromkeys(decoder.dimensions, 0.6)


def test_a_recording_without_a_stream_is_decoded_without_it(recording, decoder, offline):
    eeg_alone = Recording(
        xr.DataTree.from_dict({"Simulated-EEG": recording["Simulated-EEG"].load()})
    )
    said = decoder.predict(eeg_alone)
    assert [p.time_seconds for p in said] == [p.time_seconds for p in offline]
    assert [p.probability for p in said] != [p.probability for p in offline]
    # Where all electrodes are missing for a moment, only the other streams have something to say.
    assert 0 < sum(p.abstain for p in said) < 6 and not any(p.abstain for p in offline)


def test_the_newest_token_is_never_from_the_future_though_a_clock_steps_back():
    side = SideFamily(CHOICES[0], 250.0, ("EDA",), {"feature": ("a",)}, ("uS",), "x")
    history = SideHistory()
    history.push([token(side, s) for s in (1.0, 2.0, 0.5, 2.5)])
    assert history.newest(0.9) is None
    assert history.newest(1.5).stop_seconds == 1.0
    assert history.newest(2.2).stop_seconds == 0.5
    assert history.newest(9.0).stop_seconds == 2.5


def test_a_token_from_the_future_or_of_another_shape_is_refused(decoder):
    row = np.zeros((32, len(decoder.recipe.bands)))
    eda = decoder.sides[0]
    with pytest.raises(CallError, match=r"a token of 'eda' that ends 0.500 s after the EEG window"):
        decoder.predict_one(row, {"eda": token(eda, 10.5)}, 10.0)
    with pytest.raises(CallError, match="found the side family 'ecg', expected one of eda, gaze"):
        decoder.predict_one(row, {"ecg": None}, 10.0)
    wrong = replace(token(eda, 9.9), values=np.zeros(2))
    with pytest.raises(SignalError, match=r"found \(2,\) numbers of 'eda'"):
        decoder.predict_one(row, {"eda": wrong}, 10.0)
    with pytest.raises(SignalError, match=r"found entropies of shape \(3, 5\), expected \(32, 4\)"):
        decoder.predict_one(np.zeros((3, 5)), {}, 10.0)


def test_a_stream_that_would_give_other_features_is_refused(recording, decoder):
    described = recording.description("Simulated-Physiology")
    slower = replace(described, sfreq=125.0)
    with pytest.raises(StreamDescriptionError, match="found eda of 125 Hz .*expected 250 Hz from"):
        decoder.side_tokens("eda", slower)
    stream = decoder.side_tokens("eda", described)
    with pytest.raises(SignalError, match=r"samples of shape \(5, 2\) with 5 stamps, expected"):
        stream.step(np.zeros((5, 2)), np.arange(5.0))


def test_two_streams_with_one_signal_are_ambiguous(recording):
    described = recording.description("Simulated-Physiology")
    assert find_side({"a": described}, CHOICES[0]) == "a"
    assert find_side({"a": described}, CHOICES[1]) is None
    with pytest.raises(AmbiguousStreamError, match=r"found 2 streams with eda \(a, b\)"):
        find_side({"a": described, "b": described}, CHOICES[0])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"family": "edda"}, "found the family 'edda' beside the EEG.*did you mean 'eda'"),
        ({"family": "de"}, "found the family 'de' beside the EEG, expected one of hrv, eda"),
        ({"family": "eda", "hop_seconds": 0.0}, "expected three numbers above 0"),
        ({"family": "eda", "max_age_seconds": float("nan")}, "expected three numbers above 0"),
    ],
)
def test_a_wrong_choice_is_one_sentence(fields, text):
    with pytest.raises(CallError, match=text):
        SideChoice(**fields)


def test_every_family_beside_the_eeg_can_be_saved(recording):
    assert {"hrv", "eda", "respiration", "gaze", "pupil"} <= set(SIDE_FAMILIES)
    for side in bound_sides({"a": recording}, CHOICES):
        assert SideFamily.from_dict(json.loads(json.dumps(side.to_dict()))) == side


def test_a_saved_decoder_says_the_same(recording, decoder, offline, tmp_path):
    folder = decoder.save(tmp_path / "d")
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors"}
    assert json.loads((folder / "decoder.json").read_text())["kind"] == "fused"
    loaded = load_decoder(folder)
    assert isinstance(loaded, FusedDecoder) and loaded.predict(recording) == offline
    assert (loaded.id, loaded.sides, loaded.metadata, loaded.gate) == (
        decoder.id, decoder.sides, {"note": "x"}, decoder.gate,
    )  # fmt: skip


def test_old_folders_stay_readable_and_old_programs_say_that_they_are_too_old(
    recording, decoder, tmp_path
):
    eeg = untrained_decoder(recording)
    loaded = load_decoder(eeg.save(tmp_path / "old"))
    assert isinstance(loaded, Decoder) and loaded.id == eeg.id
    folder = decoder.save(tmp_path / "old")  # another kind over it leaves nothing behind
    assert isinstance(load_decoder(folder), FusedDecoder)
    with pytest.raises(CheckpointError, match="found decoder format 2 .* update PhysioEmo"):
        Decoder.load(folder)


def edit(folder, **fields):
    path = folder / "decoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "decoder.json").unlink(), "found no decoder.json in"),
        (lambda d: (d / "decoder.json").write_text("{"), "decoder.json is damaged"),
        (lambda d: (d / "model.safetensors").unlink(), "model.safetensors"),
        (lambda d: (d / "decoder.safetensors").write_bytes(b"x"), "found a damaged decoder"),
        (lambda d: edit(d, format=99), "found decoder format 99"),
        (lambda d: edit(d, format="2"), "is damaged"),
        (lambda d: edit(d, kind="quantum"), "a decoder of the kind 'quantum'.*update PhysioEmo"),
        (lambda d: edit(d, model_id="other"), "found parts of different decoders"),
        (lambda d: edit(d, recipe_fingerprint="other"), "found parts of different decoders"),
        (lambda d: edit(d, sides=[]), "found parts of different decoders"),
        (lambda d: edit(d, sides=[{"family": "eda"}]), "found a damaged decoder"),
        (lambda d: edit(d, recipe={}), "found a damaged decoder"),
        (lambda d: edit(d, trust={"n_groups": 3}), "found a damaged decoder"),
    ],
)
def test_a_damaged_folder_is_one_sentence(decoder, tmp_path, damage, message):
    folder = decoder.save(tmp_path / "d")
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        load_decoder(folder)
