"""The live decoder over real LSL."""

import json
import threading
import time

import numpy as np
import pylsl
import pytest

from physioemo.acquisition.lsl import make_outlet, push
from physioemo.acquisition.recorder import record
from physioemo.acquisition.replay import replay
from physioemo.errors import AmbiguousStreamError, NoStreamError, StreamDescriptionError
from physioemo.experiments import live
from physioemo.experiments.live import run_live
from physioemo.experiments.live_decoding import LiveDecoding
from physioemo.experiments.training import untrained_decoder
from tests.lsl import producing, wait_until
from tests.simulated import simulated_recording
from tests.streams import eeg_description

pytestmark = pytest.mark.lsl


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=2)


@pytest.fixture(scope="module")
def decoder(recording):
    return untrained_decoder(recording)


def test_live_predictions_equal_those_of_the_recording_offline(recording, decoder, tmp_path):
    started = threading.Event()
    done = {}

    def live():
        done["summary"] = run_live(
            decoder,
            stop_when_idle_seconds=2.5,
            on_start=lambda description: started.set(),
        )

    source = threading.Thread(target=replay, args=(recording,), kwargs={"wait_seconds": 90})
    decoding = threading.Thread(target=live)
    source.start()
    decoding.start()
    assert started.wait(90)
    recorded = record(tmp_path / "live.zarr", stop_when_idle_seconds=2.5).recording
    source.join()
    decoding.join()
    summary = done["summary"]
    said, quality = recorded["PhysioEmo-VAD"], recorded["PhysioEmo-Quality"]
    offline = decoder.predict(recorded, stream="Simulated-EEG")
    n, n_silent = len(offline), summary.n_abstained
    # Once the stream has ended, the decoder abstains once a second.
    assert n_silent in (1, 2) and n + n_silent == summary.n_predictions == said.sizes["time"] > 35
    assert summary.n_skipped == 0 and summary.n_segments == 1
    assert channel(said, "abstain").tolist() == [0] * n + [1] * n_silent
    for dimension in decoder.dimensions:
        column = channel(said, f"{dimension}_probability")
        assert np.array_equal(column[:n], np.float32([p.probability[dimension] for p in offline]))
        assert (column[n:] == 0.5).all()
    times = np.array([p.time_seconds for p in offline])
    assert np.abs(said["time"].values[:n] - times).max() < 1e-3
    assert 0 < summary.latency_p50_seconds < 1
    raw = recorded["Simulated-EEG"]["raw_time"].values
    assert (channel(quality, "first_stamp")[:n] == raw[0]).all()
    assert np.isin(channel(quality, "newest_stamp"), raw).all()
    assert channel(quality, "staleness")[n] > 1 and (channel(quality, "usable")[:n] == 1).all()


def channel(stream, name):
    return stream["signal"].values[:, [str(c) for c in stream["channel"].values].index(name)]


def test_a_stream_that_falls_silent_is_not_believed_and_believed_again_when_it_is_back(decoder):
    said, notices = [], []
    rng = np.random.default_rng(0)
    pause = threading.Event()
    description = eeg_description(32, 250.0, ch_names=decoder.ch_names)

    def make(index):
        return rng.standard_normal((0 if pause.is_set() else len(index), 32)).astype(np.float32)

    def pushed():
        outlet, sent, began = make_outlet(description), 0, pylsl.local_clock()
        while not done.is_set():
            due = int((pylsl.local_clock() - began) * 250)
            if due > sent and not pause.is_set():
                index = np.arange(sent, due)
                push(outlet, make(index), began + index / 250)
            sent = due
            time.sleep(0.05)

    def follow(prediction, latency):
        said.append(prediction)
        confident = sum(not p.abstain for p in said)
        if confident == 5:
            pause.set()
        if sum(p.abstain for p in said) == 2:
            pause.clear()

    done = threading.Event()
    producer = threading.Thread(target=pushed)
    producer.start()
    summary = run_live(
        decoder,
        duration_seconds=120,
        should_stop=lambda: sum(not p.abstain for p in said) >= 8,
        on_prediction=follow,
        on_notice=notices.append,
    )
    done.set()
    producer.join()
    # After the gap the filters start from rest, so that nothing of before is believed either.
    assert [p.abstain for p in said] == [False] * 5 + [True] * 2 + [False] * 3
    assert "silent for " in said[5].reason
    assert 0 <= said[5].time_seconds - said[4].time_seconds < 0.5
    assert summary.n_segments == 2 and summary.n_abstained == 2
    assert "silent for" in notices[0] and notices[-1].endswith("is back")


def test_a_stream_that_is_back_while_its_old_connection_brings_nothing_is_decoded(
    decoder, monkeypatch
):
    said, notices, inlets, real = [], [], [], live.pull
    noise, is_back = np.random.default_rng(0), threading.Event()

    def half_dead(inlet, **options):
        inlets.extend([inlet] if inlet not in inlets else [])
        values, stamps = real(inlet, **options)
        n = 0 if is_back.is_set() and inlet is inlets[0] else len(stamps)
        return values[:n], stamps[:n]

    def produced():
        one = eeg_description(32, ch_names=decoder.ch_names, source_id="goes-and-comes-back")
        for until in (lambda: len(said) >= 3, lambda: len(inlets) == 2 and done.is_set()):
            with producing(one, lambda i: noise.normal(0, 9, (len(i), 32)).astype(np.float32)):
                wait_until(until)
            is_back.set()

    monkeypatch.setattr(live, "pull", half_dead)
    done, producer = threading.Event(), threading.Thread(target=produced)
    producer.start()
    run_live(
        decoder,
        predicates=("source_id='goes-and-comes-back'",),
        find_seconds=30.0,
        duration_seconds=90,
        should_stop=lambda: len(inlets) == 2 and not said[-1].abstain,
        on_prediction=lambda prediction, latency: said.append(prediction),
        on_notice=notices.append,
    )
    done.set()
    producer.join()
    assert len(inlets) == 2 and "EEG came back" in notices and not said[-1].abstain


def test_a_stream_begins_from_rest_when_the_recorder_has_it_again(decoder):
    times, names = [], {3: "Simulated-Gaze", 6: "EEG"}

    def restarts():
        return [name for n in [*names] if len(times) >= n and (name := names.pop(n))]

    noise = np.random.default_rng(0)
    description = eeg_description(32, 250.0, ch_names=decoder.ch_names)
    with producing(description, lambda i: noise.normal(0, 9, (len(i), 32)).astype(np.float32)):
        run_live(
            decoder,
            restarts=restarts,
            duration_seconds=20,
            should_stop=lambda: len(times) >= 9,
            on_prediction=lambda prediction, latency: times.append(prediction.time_seconds),
        )
    # Half a second apart; a window of a second has to fill anew where the EEG begins from rest.
    apart = np.diff(times)
    assert apart[5] >= 1.0 and np.delete(apart, 5) == pytest.approx(0.5, abs=0.02)


def test_of_what_has_piled_up_the_newest_is_decoded(recording, decoder):
    description = recording.description("Simulated-EEG")
    data = recording["Simulated-EEG"]
    signal, stamps = data["signal"].values[:5000], data["raw_time"].values[:5000]
    all_at_once = LiveDecoding(decoder, description)
    said = all_at_once.push(signal, stamps, newest_wanted_stamp=stamps[-1] - 0.5)
    one_by_one = LiveDecoding(decoder, description)
    every = [
        d
        for i in range(0, 5000, 50)
        for d in one_by_one.push(signal[i : i + 50], stamps[i : i + 50])
    ]
    assert one_by_one.n_skipped == 0 and all_at_once.n_skipped == len(every) - len(said) > 5
    for a, b in zip(said, every[-len(said) :], strict=True):
        assert a.prediction == b.prediction and a.first_stamp == b.first_stamp == stamps[0]


def test_no_stream_says_so(decoder):
    with pytest.raises(NoStreamError, match="expected one that fits"):
        run_live(decoder, find_seconds=0.5)


def test_a_stream_of_another_rate_is_refused(decoder):
    outlet = make_outlet(eeg_description(32, 500.0, ch_names=decoder.ch_names))
    with pytest.raises(StreamDescriptionError, match="no stream fits the decoder: .*500 Hz"):
        run_live(decoder, find_seconds=2.0)
    del outlet


def test_two_streams_that_fit_must_be_chosen_between(decoder):
    described = [
        eeg_description(32, ch_names=decoder.ch_names, source_id=f"amp-{i}") for i in range(2)
    ]
    outlets = [make_outlet(d) for d in described]
    with pytest.raises(AmbiguousStreamError, match="found 2 streams that fit the decoder"):
        run_live(decoder, find_seconds=2.0)
    began = time.monotonic()
    summary = run_live(
        decoder, predicates=("source_id='amp-1'",), duration_seconds=0.5, find_seconds=2.0
    )
    assert summary.ended == "the time was up" and time.monotonic() - began < 60
    del outlets


def test_a_rig_says_which_stream_is_decoded(recording, decoder, tmp_path, typed):
    folder = decoder.save(tmp_path / "decoder")
    rig = tmp_path / "booth.toml"
    names = ", ".join(f'"{n}"' for n in decoder.ch_names)
    stream = f'name = "Simulated-EEG"\nsfreq = 250\nchannels = [{names}]\n'
    rig.write_text(f'name = "Booth"\n[streams.eeg]\n{stream}')
    source = threading.Thread(target=replay, args=(recording,), kwargs={"duration_seconds": 14})
    source.start()
    arguments = ("live", "--decoder", folder, "--rig", rig, "--stop-when-idle", 2, "--json")
    done = typed(*arguments, check=0)
    source.join()
    assert json.loads(done.stdout)["n_predictions"] > 5
    done = typed(*arguments, "--stream", "name='x'", check=2)
    assert "found --rig and --stream, expected one" in done.stderr
