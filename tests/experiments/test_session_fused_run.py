"""A decoder of several streams over real LSL: in a session, and beside a stream that stalls."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from physioemo import open_recording
from physioemo.acquisition.recorder import record
from physioemo.acquisition.rig_live import prepare_others
from physioemo.acquisition.rig_toml import read_rig
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_run import run_fused_live
from physioemo.experiments.fused_sides import SideChoice
from physioemo.experiments.session.messages import OPERATOR, EventOutlet
from physioemo.experiments.session.recompute import check_predictions
from physioemo.experiments.session.story import tell_story
from physioemo.experiments.session.verify import session_events, verify_session
from physioemo.store import JOURNAL
from tests.experiments.fused_decoders import made
from tests.experiments.short_sessions import has_begun, protocol, running, wait_for
from tests.lsl import producing
from tests.simulated import simulated_recording

pytestmark = pytest.mark.lsl

CHOICES = (
    SideChoice("eda", window_seconds=2.0, hop_seconds=0.6, max_age_seconds=1.5),
    SideChoice("gaze", window_seconds=1.0, hop_seconds=0.5, max_age_seconds=1.0),
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=2)


@pytest.fixture(scope="module")
def decoder(source, tmp_path_factory):
    return made(source, CHOICES).save(tmp_path_factory.mktemp("d") / "decoder")


def test_a_session_with_several_streams_and_a_refit_comes_out_again(decoder, tmp_path):
    path, out = tmp_path / "short.toml", tmp_path / "P1"
    path.write_text(protocol(n_planned=8, n_adaptive=2), "utf-8")
    operator = EventOutlet(OPERATOR)
    with running(path, decoder, out, "--no-page") as child:
        wait_for(lambda: has_begun(out, 8))
        operator.send("refit")
        said, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors
    story = tell_story(out)
    (refit,) = story.refits
    assert story.reason == "finished" and len(story.usable) == 10
    assert "held-out trials predicted: " in said and refit["n_trials"]["arousal"] >= 6
    assert len(list(out.glob("recording-*.zarr"))) == (2 if refit["taken"] else 1)
    assert "it is missing" not in errors and "ended: finished" in said
    verified = verify_session(out)
    assert verified.passed and not verified.all_gaps
    # A decoder with a new last layer goes on in a recording of its own.
    of_each = verified.predictions.values()
    assert len(of_each) == (2 if refit["taken"] else 1) and all(c.n_identical > 5 for c in of_each)
    recording = open_recording(out / "recording-1.zarr")
    told = [c["event"] for _, c in session_events(recording)]
    assert "calibration" in told and recording["PhysioEmo-Personal"].sizes["time"] > 5
    loaded = load_decoder(decoder)
    check = check_predictions(recording, loaded)
    assert check.n_identical + check.n_before == check.n_predictions > 20
    quality = recording["PhysioEmo-Quality"]
    names = [str(c) for c in quality["channel"].values]
    for family in ("eda", "gaze"):
        assert np.isfinite(quality["signal"].values[:, names.index(f"{family}_age")]).sum() > 15
    gaze = recording.tree[recording.key("Simulated-Gaze")]["signal"]
    # Not of a blink, which has no gaze.
    seen = np.flatnonzero(np.isfinite(gaze.values).all(axis=1))
    middle = int(seen[len(seen) // 2])
    gaze[middle] = gaze.values[middle] + 1.0
    changed = check_predictions(recording, loaded)
    assert not changed.passed and "is not" in changed.differences[0]


class Stalling:
    """A stream that can be told to bring nothing for a while."""

    def __init__(self, n_channels):
        self.n_channels, self.is_stalled = n_channels, threading.Event()
        self._rng = np.random.default_rng(n_channels)

    def __call__(self, index):
        n = 0 if self.is_stalled.is_set() else len(index)
        return self._rng.normal(5, 2, (n, self.n_channels)).astype(np.float32)


def test_a_stream_of_a_rig_that_stalls_is_dropped_and_comes_back(source, decoder, tmp_path):
    eeg, body = (source.description(f"Simulated-{n}") for n in ("EEG", "Physiology"))
    other = replace(body, source_id="somebody-else")
    (tmp_path / "lab.toml").write_text(
        'name = "Lab"\n[streams.eeg]\nname = "Simulated-EEG"\nsfreq = 250\n'
        f'channels = {len(eeg.ch_names)}\n[streams.body]\nname = "{body.name}"\nsfreq = 250\n'
        f'source_id = "{body.source_id}"\nchannels = {len(body.ch_names)}\nrequired = false\n'
    )
    found, done = [], []
    started, restart, stop = (threading.Event() for _ in range(3))
    bodily = Stalling(len(body.ch_names))

    def live():
        run_fused_live(
            load_decoder(decoder),
            predicates=("name='Simulated-EEG'",),
            beside=beside.predicates,
            find_seconds=20.0,
            should_stop=stop.is_set,
            restarts=lambda: ("",) if restart.is_set() and not restart.clear() else (),
            on_start=lambda description: started.set(),
            on_prediction=lambda prediction, latency: found.append(prediction),
        )

    def recording():
        ours = ("starts-with(name,'Simulated-')", "starts-with(name,'PhysioEmo-')")
        done.append(record(tmp_path / "a.zarr", predicates=ours, should_stop=stop.is_set))

    def wait_for_predictions(n):
        goal = len(found) + n
        wait_for(lambda: len(found) >= goal)

    threads = [threading.Thread(target=live), threading.Thread(target=recording)]
    with (
        producing(eeg, Stalling(len(eeg.ch_names))),
        producing(body, bodily),
        producing(other, Stalling(len(body.ch_names))),
    ):
        time.sleep(1.0)
        beside = prepare_others(read_rig(tmp_path / "lab.toml"))
        assert beside is not None and len(beside.streams) == 1
        try:
            threads[0].start()
            assert started.wait(60)
            threads[1].start()
            wait_for((tmp_path / "a.zarr" / JOURNAL).exists)
            time.sleep(1.0)
            restart.set()
            wait_for_predictions(7)
            bodily.is_stalled.set()
            wait_for_predictions(7)
            bodily.is_stalled.clear()
            wait_for_predictions(8)
        finally:
            stop.set()
            for thread in filter(threading.Thread.is_alive, threads):
                thread.join(60)
    recording = done[0].recording
    check = check_predictions(recording, load_decoder(decoder))
    assert check.passed and not check.gaps, (check.differences, check.gaps)
    assert check.n_identical >= 20
    quality = recording["PhysioEmo-Quality"]
    names = [str(c) for c in quality["channel"].values]
    age = quality["signal"].values[:, names.index("eda_age")]
    stalled = np.flatnonzero(age > CHOICES[0].max_age_seconds)
    assert len(stalled) >= 2 and (age[stalled[-1] + 1 :] < CHOICES[0].max_age_seconds).any()
    assert np.isnan(quality["signal"].values[:, names.index("gaze_age")]).all()
