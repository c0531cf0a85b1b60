"""The live decoder over real LSL."""

import json
import threading
import time

import numpy as np
import pytest

from physioemo.acquisition.lsl import make_outlet
from physioemo.acquisition.recorder import record
from physioemo.acquisition.replay import replay
from physioemo.errors import AmbiguousStreamError, NoStreamError, StreamDescriptionError
from physioemo.experiments.live import run_live
from physioemo.experiments.training import untrained_decoder
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

    source = threading.Thread(target=replay, args=(recording,), kwargs={"wait_seconds": 30})
    decoding = threading.Thread(target=live)
    source.start()
    decoding.start()
    assert started.wait(30)
    recorded = record(tmp_path / "live.zarr", stop_when_idle_seconds=2.5).recording
    source.join()
    decoding.join()
    summary = done["summary"]
    said = recorded["PhysioEmo-VAD"]
    offline = decoder.predict(recorded, stream="Simulated-EEG")
    assert summary.n_predictions == len(offline) == said.sizes["time"] > 35
    assert summary.n_abstained == 0 and summary.n_segments == 1
    names = [str(c) for c in said["channel"].values]
    for dimension in decoder.dimensions:
        column = said["signal"].values[:, names.index(f"{dimension}_probability")]
        assert np.array_equal(column, np.float32([p.probability[dimension] for p in offline]))
    times = np.array([p.time_seconds for p in offline])
    assert np.abs(said["time"].values - times).max() < 1e-3
    assert 0 < summary.latency_p50_seconds < 0.25


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
    assert summary.ended == "the time was up" and time.monotonic() - began < 20
    del outlets


def test_a_rig_says_which_stream_is_decoded(recording, decoder, tmp_path, physioemo):
    folder = decoder.save(tmp_path / "decoder")
    rig = tmp_path / "booth.toml"
    names = ", ".join(f'"{n}"' for n in decoder.ch_names)
    stream = f'name = "Simulated-EEG"\nsfreq = 250\nchannels = [{names}]\n'
    rig.write_text(f'name = "Booth"\n[streams.eeg]\n{stream}')
    source = threading.Thread(target=replay, args=(recording,), kwargs={"duration_seconds": 20})
    source.start()
    arguments = ("live", "--decoder", folder, "--rig", rig, "--stop-when-idle", 2, "--json")
    done = physioemo(*arguments, check=0)
    source.join()
    assert json.loads(done.stdout)["n_predictions"] > 5
    done = physioemo(*arguments, "--stream", "name='x'", check=2)
    assert "found --rig and --stream, expected one" in done.stderr
