"""Predictions of a decoder of several streams come out of a recording again, to the bit."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from physioemo.errors import CallError
from physioemo.experiments import clocked_inlet
from physioemo.experiments.fused_context import RunningBag, WindowContext
from physioemo.experiments.fused_live import FusedLive
from physioemo.experiments.fused_sides import SideChoice
from physioemo.experiments.fused_stimulus import StimulusChoice
from physioemo.experiments.live_outlets import (
    QUALITY_CHANNELS,
    prediction_description,
    prediction_sample,
    quality_description,
    quality_sample,
    side_quality,
)
from physioemo.experiments.session import run as session_run
from physioemo.experiments.session.recompute import check_predictions
from physioemo.experiments.training import untrained_decoder
from physioemo.models.multiple_instance import MultipleInstance
from physioemo.models.temporal_context import ContextModel
from physioemo.recording import Recording
from physioemo.stream import make_stream
from tests.experiments.fused_decoders import made
from tests.simulated import simulated_recording
from tests.streams import eeg_description

CHOICES = (
    SideChoice("eda", window_seconds=2.0, hop_seconds=0.6, max_age_seconds=1.5),
    SideChoice("gaze", window_seconds=1.0, hop_seconds=0.5, max_age_seconds=1.0),
)
KEYS = {"eda": "Simulated-Physiology", "gaze": "Simulated-Gaze"}
EEG = "Simulated-EEG"
# Where each device's clock stands, how it drifts, and when it brings nothing, in seconds.
CLOCKS = {EEG: (1000.0, 4e-5), KEYS["eda"]: (-50.0, -3e-5), KEYS["gaze"]: (9e4, 0.0)}
STALLS = {EEG: (26.0, 28.4), KEYS["eda"]: (10.0, 15.0), KEYS["gaze"]: (18.0, 18.3)}
RESTART_SECONDS = 5.0


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=3)


@pytest.fixture(scope="module")
def decoder(source):
    return made(source, CHOICES, prior=0.4)


@pytest.fixture(scope="module")
def with_context(decoder):
    """Return the decoder with a bag of its newest windows, so that it remembers."""
    tokens = dict.fromkeys(KEYS)
    found = decoder.read_one(np.ones((32, len(decoder.recipe.bands))), tokens, 0.0, None)
    torch.manual_seed(1)
    width = found.features.reshape(1, -1).shape[1]
    network = MultipleInstance(in_dim=width, dimensions=decoder.dimensions, pooling="attention")
    return replace(decoder, context=RunningBag(network.eval(), 6), id="")


class Device:
    """One stream as it comes over the network: its own stamps, and offsets now and then."""

    def __init__(self, source, key):
        stream = source[key]
        time, (start, drift) = stream["time"].values, CLOCKS[key]
        from_, until = STALLS[key]
        there = (time < from_) | (time >= until)
        self.time = time[there]
        self.raw = self.time * (1 - drift) + start
        self.signal = stream["signal"].values[there]
        self.description = source.description(key)
        rng = np.random.default_rng(len(key))
        at = np.arange(0.0, time[-1], 5.0)
        offset = at - (at * (1 - drift) + start) + rng.normal(0, 1e-4, len(at))
        self.offsets = np.column_stack([at * (1 - drift) + start, offset, np.full(len(at), 1e-4)])

    def between(self, start, stop):
        part = slice(*np.searchsorted(self.time, [start, stop]))
        offset = self.offsets[int(start // 5), 1]
        return self.signal[part], self.raw[part], offset

    def recorded(self, first_seconds=0.0):
        kept = self.time >= first_seconds
        return make_stream(
            self.signal[kept], self.description, raw_time=self.raw[kept], clock_offsets=self.offsets
        )


def session(source, decoder, *, late_seconds=0.0, returns=()):
    """Return what a live decoder published, and the recording of what it heard."""
    devices, returns = {key: Device(source, key) for key in CLOCKS}, dict(returns)
    sides = {name: devices[KEYS[name]].description for name in KEYS}
    live = FusedLive(decoder, devices[EEG].description, sides)
    said, has_begun_anew = [], False
    rows = []
    edges = np.arange(0.0, devices[EEG].time[-1], 0.1)
    for start, stop in itertools.pairwise(edges.tolist()):
        for name, key in KEYS.items():
            signal, raw, offset = devices[key].between(start, stop)
            live.push_side(name, signal, raw, offset_seconds=offset + late_seconds)
        signal, raw, offset = devices[EEG].between(start, stop)
        decoded = live.push(signal, raw, offset_seconds=offset)
        if not len(raw):
            decoded += live.finish()
        rows += [(d.prediction, d.window.first_stamp, d.window.newest_stamp, d) for d in decoded]
        if start >= RESTART_SECONDS and not has_begun_anew:
            live.restart()
            has_begun_anew = True
        for again in [at for at in returns if start >= at]:
            live.restart(returns.pop(again))
    newest = devices[EEG].between(25.0, 26.0)[1][-1]
    silent = decoder.abstention(newest - 1000.0, "silent")
    at = next(i for i, row in enumerate(rows) if row[2] > newest)
    rows.insert(at, (silent, np.nan, newest, None))
    said = [p for p, *_ in rows]
    nothing = np.zeros(len(decoder.ch_names), bool)
    quality = [
        quality_sample(
            decoder,
            {
                **dict.fromkeys(QUALITY_CHANNELS, 0.0),
                "first_stamp": first,
                "newest_stamp": newest,
                **side_quality(decoder, d),
            },
            nothing if d is None else d.usable,
        )
        for _, first, newest, d in rows
    ]
    time = np.array([p.time_seconds for p in said])
    vad = np.concatenate([prediction_sample(p) for p in said])
    tree = {key: device.recorded(RESTART_SECONDS - 1.0) for key, device in devices.items()}
    # The ground truth of the simulation is a stream that fits nothing.
    tree["truth"] = source["Simulated-GroundTruth"].load()
    tree["vad"] = make_stream(vad, prediction_description(decoder), time=time, raw_time=time)
    tree["quality"] = make_stream(
        np.array(quality), quality_description(decoder), time=time, raw_time=time
    )
    return said, Recording(xr.DataTree.from_dict({"/": xr.Dataset(), **tree}))


@pytest.fixture(scope="module")
def heard(source, decoder):
    return session(source, decoder)


def column(recording, name):
    quality = recording["PhysioEmo-Quality"]
    return quality["signal"].values[:, [str(c) for c in quality["channel"].values].index(name)]


def changed(recording, key, change):
    """Return a copy of a recording in which one stream is another."""
    tree = {k: recording[k].load().copy(deep=True) for k in recording.streams}
    tree[recording.key(key)] = change(tree[recording.key(key)])
    return Recording(xr.DataTree.from_dict({"/": xr.Dataset(), **tree}))


def test_every_prediction_comes_out_again_though_streams_stall_and_clocks_differ(heard, decoder):
    said, recording = heard
    check = check_predictions(recording, decoder)
    assert check.passed and not check.gaps
    assert check.n_before == column(recording, "first_stamp").tolist().count(1000.0) > 5
    assert check.n_identical == check.n_predictions - check.n_before > 40 and check.n_silent == 1
    age, stamp = column(recording, "eda_age"), column(recording, "eda_stamp")
    stalled = age > CHOICES[0].max_age_seconds
    assert 10 <= stalled.sum() <= 13 and np.isfinite(stamp[stalled]).all()  # told, and not used
    begun = column(recording, "eda_first_stamp")
    assert len({b for b in begun.tolist() if b == b}) == 3  # at first, anew, after the stall
    assert np.isnan(column(recording, "gaze_stamp")).sum() == 2  # begun anew, and silent
    assert len({p.probability["valence"] for p in said}) > 40


def test_one_stream_begins_anew_and_the_others_go_on(heard, source, with_context):
    returns = {8.0: EEG, 21.0: KEYS["eda"]}
    _, recording = session(source, with_context, returns=returns)
    check = check_predictions(recording, with_context)
    assert check.passed and not check.gaps and check.n_identical > 40

    def begun(recording, name):
        return [b for b in dict.fromkeys(column(recording, name).tolist()) if b == b]

    for name, after in (("first_stamp", 1008.0), ("eda_first_stamp", -29.0)):
        (new,) = set(begun(recording, name)) - set(begun(heard[1], name))
        assert after < new < after + 0.2
    assert begun(recording, "gaze_first_stamp") == begun(heard[1], "gaze_first_stamp")


def test_a_decoder_that_remembers_comes_out_again_in_its_order(source, with_context):
    said, recording = session(source, with_context)
    check = check_predictions(recording, with_context)
    assert check.passed and not check.gaps and check.n_identical > 40
    assert [p.probability for p in said] != [
        p.probability for p in session(source, replace(with_context, context=None, id=""))[0]
    ]
    # Without one row in the middle nobody knows what it remembered after it.
    lost = changed(recording, "quality", lambda q: q.drop_isel(time=20))
    lost = changed(lost, "vad", lambda v: v.drop_isel(time=20))
    again = check_predictions(lost, with_context)
    assert again.passed and again.n_identical < check.n_identical - 10
    at = column(recording, "newest_stamp")[20]
    assert f"what was used at {at:.3f} s is not recorded" in again.gaps[0]


def test_a_value_that_was_changed_beside_the_eeg_is_a_difference(heard, decoder):
    _, recording = heard

    def flip(stream):
        stream["signal"].values[1500:1510, :] += 1.0
        return stream

    check = check_predictions(changed(recording, KEYS["gaze"], flip), decoder)
    assert not check.passed and 1 <= len(check.differences) <= 4
    assert "the prediction at 10" in check.differences[0] and "is not" in check.differences[0]


def test_an_age_that_the_clocks_do_not_agree_with_is_a_difference(source, decoder):
    _, recording = session(source, decoder, late_seconds=-0.05)
    check = check_predictions(recording, decoder)
    assert check.n_identical == check.n_predictions - check.n_before  # the arithmetic is the same
    assert not check.passed and "the age of gaze at 1006.1" in check.differences[0]
    assert "0.050 s is not 0.000 s, as the recording's clocks have it" in check.differences[0]


def test_samples_that_a_recording_lacks_are_named(heard, decoder):
    _, recording = heard
    late = changed(recording, KEYS["gaze"], lambda s: s.isel(time=slice(400, None)))
    check = check_predictions(late, decoder)
    begun = column(recording, "gaze_first_stamp")
    first = begun[begun > 9e4 + 4.5][0]
    told = "the recording lacks samples before 1006.600 s: gaze at 90006.100 s is not recorded"
    assert check.passed and check.gaps[0] == told
    assert any(f"gaze began at {first:.3f} s, which is not" in gap for gap in check.gaps)
    without = Recording(
        xr.DataTree.from_dict(
            {"/": xr.Dataset()}
            | {k: recording[k].load() for k in recording.streams if k != KEYS["eda"]}
        )
    )
    check = check_predictions(without, decoder)
    assert check.passed and "eda at" in check.gaps[0] and check.n_identical > 3


def test_a_recording_of_another_version_is_refused_in_words(heard, decoder):
    _, recording = heard
    bare = changed(recording, "quality", lambda q: q.isel(channel=slice(0, 39)))
    with pytest.raises(CallError, match="found no eda_first_stamp in PhysioEmo-Quality, expected"):
        check_predictions(bare, decoder)


def test_a_session_refuses_what_it_could_not_compute_again(source, decoder, tmp_path, monkeypatch):
    width = 8
    later = ContextModel(
        context="offline-transformer", in_dim=width, dimensions=decoder.dimensions, preset="tiny"
    )
    for refused, told in (
        (replace(decoder, stimulus=StimulusChoice(("video",))), "and texts alone in the protocol"),
        (
            replace(decoder, context=WindowContext(later, 4)),
            "for offline use only, which sees later",
        ),
    ):
        monkeypatch.setattr(session_run, "load_decoder", lambda folder, found=refused: found)
        with pytest.raises(CallError, match=told):
            session_run.run_session(
                "steer-arousal", tmp_path, tmp_path / "P1", session_run.SessionOptions()
            )
    assert not (tmp_path / "P1").exists()


def test_an_offset_of_a_slow_answer_is_not_believed_and_that_of_another_clock_is(monkeypatch):
    answers = iter([(0.0, 5.0, 1e-4), (0.0, 5.04, 0.1), None, (0.0, 5.0003, 3e-4), (0.0, 9.0, 0.1)])
    now = SimpleNamespace(seconds=0.0)
    clock = SimpleNamespace(monotonic=lambda: now.seconds)
    monkeypatch.setattr(clocked_inlet, "time", clock)
    monkeypatch.setattr(clocked_inlet, "clock_offset", lambda *_, **options: next(answers))
    monkeypatch.setattr(clocked_inlet, "pull", lambda *_, **options: (np.ones((1, 4)), np.ones(1)))
    inlet = SimpleNamespace(info=lambda: SimpleNamespace(uid=lambda: "a"))
    ear, offsets = clocked_inlet.ClockedInlet(inlet, eeg_description()), []
    for seconds in (0.0, 3.0, 6.0, 12.0, 13.0, 19.0):  # after no answer it is asked again soon
        now.seconds = seconds
        ear.pull()
        offsets.append(ear.offset_seconds)
    assert offsets == [5.0, 5.0, 5.0, 5.0, 5.0003, 9.0]


def test_an_inlet_goes_on_with_the_stream_that_came_back_under_another_connection(monkeypatch):
    closed = []
    old, new = (
        SimpleNamespace(info=lambda: SimpleNamespace(uid=lambda: "a"), close_stream=closed.append)
        for _ in range(2)
    )
    old.close_stream = lambda: closed.append("old")
    now = SimpleNamespace(seconds=0.0)
    clock = SimpleNamespace(monotonic=lambda: now.seconds)
    rows = {id(old): 0, id(new): 3}
    monkeypatch.setattr(clocked_inlet, "time", clock)
    monkeypatch.setattr(clocked_inlet, "clock_offset", lambda *_, **options: (0.0, 1.0, 1e-4))
    monkeypatch.setattr(
        clocked_inlet,
        "pull",
        lambda inlet, **options: (np.ones((rows[id(inlet)], 4)), np.ones(rows[id(inlet)])),
    )
    monkeypatch.setattr(clocked_inlet, "find_same_return", lambda *_: new)
    ear = clocked_inlet.ClockedInlet(old, eeg_description())
    assert not len(ear.pull()[1]) and ear.inlet is old
    now.seconds = 1.6
    ear.pull()
    assert closed == ["old"] and len(ear.pull()[1]) == 3


def test_the_stream_of_quality_is_the_same_for_the_eeg_alone(source, decoder):
    alone = quality_description(untrained_decoder(source))
    assert alone.ch_names == (*QUALITY_CHANNELS, *decoder.ch_names)
    both = quality_description(decoder)
    assert both.ch_names[: len(alone.ch_names)] == alone.ch_names
    assert both.ch_names[len(alone.ch_names) :][:3] == ("eda_first_stamp", "eda_stamp", "eda_age")
