"""A decoder of several streams over real LSL, beside the real player: as offline, or missing."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from physioemo.acquisition.recorder import record
from physioemo.acquisition.replay import replay
from physioemo.errors import CallError
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_run import run_fused_live
from physioemo.experiments.fused_sides import SideChoice
from physioemo.experiments.fused_stimulus import StimulusChoice
from physioemo.experiments.fused_training import FusedConfig, train_fused_decoder
from physioemo.features.stimulus_features import decode_stimulus
from physioemo.models.training import TrainingConfig
from tests.conftest import ROOT
from tests.features.made_stimuli import RECIPE, made_stimulus
from tests.media_files import write_media
from tests.simulated import simulated_recording

pytestmark = pytest.mark.lsl

CONFIG = FusedConfig(
    sides=(SideChoice("eda", window_seconds=2.0, hop_seconds=1.0),),
    stimulus=StimulusChoice(("stimulus", "video"), 2.0, 4, RECIPE),
    n_permutations=0,
    n_folds=2,
    training=TrainingConfig(n_epochs=1, batch_size=64),
    heads="joint",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=6)


@pytest.fixture(scope="module")
def decoder(source, tmp_path_factory):
    names = sorted(set(source.trials["stimulus"].values.tolist()))
    stimuli = [made_stimulus(f"{name}.mp4", base=k) for k, name in enumerate(names)]
    trained = train_fused_decoder({"a": source}, CONFIG, stimuli=stimuli)
    return load_decoder(trained.save(tmp_path_factory.mktemp("d") / "decoder"))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    rng = np.random.default_rng(0)
    n = 10 * 24
    pictures = rng.integers(0, 255, (n, 16, 16, 3)).astype(np.uint8)
    write_media(folder / "film.mkv", pictures=pictures, seconds=np.arange(n) * 0.1)
    (folder / "show.toml").write_text(
        '[display]\nmode = "window"\nsize = [320, 180]\n[[item]]\nkind = "fixation"\nseconds = 2\n'
        '[[item]]\nkind = "video"\nfile = "film.mkv"\ntrial = 1\n'
    )
    return folder


def values(stream, name):
    return stream["signal"].values[:, [str(c) for c in stream["channel"].values].index(name)]


def test_what_a_fused_decoder_says_live_is_what_it_says_of_the_recording(
    source, decoder, film, tmp_path
):
    started, done, notices = threading.Event(), {}, []

    def live():
        done["summary"] = run_fused_live(
            decoder,
            predicates=("name='Simulated-EEG'",),
            stimuli=[film / "film.mkv"],
            cache=tmp_path / "cache",
            find_seconds=90.0,
            stop_when_idle_seconds=3.0,
            on_start=lambda description: started.set(),
            on_notice=notices.append,
        )

    command = [sys.executable, "-m", "physioemo", "play", str(film / "show.toml"), "--headless"]
    player = subprocess.Popen([*command, "--wait", "120"], cwd=ROOT, stdout=subprocess.DEVNULL)
    options = {"wait_seconds": 120, "duration_seconds": 14}
    producer = threading.Thread(target=replay, args=(source,), kwargs=options)
    decoding = threading.Thread(target=live)
    try:
        producer.start()
        decoding.start()
        assert started.wait(120)
        recording = record(
            tmp_path / "live.zarr", find_seconds=5.0, stop_when_idle_seconds=3.5
        ).recording
    finally:
        decoding.join(60)
        producer.join(60)
        player.kill()
        player.wait()
    summary, said = done["summary"], recording["PhysioEmo-VAD"]
    confident = values(said, "abstain") == 0
    clips = [decode_stimulus(film / "film.mkv", RECIPE)]
    offline = decoder.predict(recording, stream="Simulated-EEG", stimuli=clips)
    n = int(confident.sum())
    assert n == len(offline) > 20 and not notices[:-1]
    assert summary.n_predictions == len(confident) and 0 < summary.latency_p50_seconds < 2
    unseen = decoder.predict(recording, stream="Simulated-EEG")
    live_said = values(said, "valence_probability")[confident]
    with_film, without = (
        np.array([p.probability["valence"] for p in found]) for found in (offline, unseen)
    )
    shown = with_film != without
    assert shown.sum() > 10  # the film is seen
    # Live, a clock offset is that of the moment; offline, of the whole recording: ages differ by
    # microseconds, and a flip on the edge of a window may fall on its other side; if it does in one
    # window it does in every other, ten flips and two windows a second being in step.
    off, effect = np.abs(live_said - with_film), np.abs(without - with_film)
    assert (off < 0.05 * effect[shown].mean()).mean() > 0.45, (off, effect)
    assert off.sum() < 0.35 * effect.sum(), (off, effect)
    rating = np.array([p.value["valence"] for p in offline])
    heard = values(said, "valence_value")[confident]
    assert np.isclose(heard, rating, atol=0.05).mean() > 0.8 and 1 <= heard.min() < heard.max() <= 9


def test_what_is_not_there_is_missing_and_told(source, decoder, film, tmp_path, physioemo):
    with pytest.raises(CallError, match="name them, or their folder, with --stimuli"):
        run_fused_live(decoder)
    folder = decoder.save(tmp_path / "decoder")
    eeg_alone = threading.Thread(
        target=replay, args=(source,), kwargs={"wait_seconds": 40, "duration_seconds": 8}
    )
    eeg_alone.start()
    done = physioemo(
        "live", "--decoder", folder, "--stream", "name='Simulated-EEG'", "--stimuli",
        film / "film.mkv",
        "--stop-when-idle", 2, "--find-seconds", 90, "--json",
    )  # fmt: skip
    eeg_alone.join()
    assert done.returncode == 0, done.stderr
    assert "found no stream PhysioEmo-Frames: what is shown is missing" in done.stderr
    summary = json.loads(done.stdout)
    assert summary["n_predictions"] - summary["n_abstained"] > 8
