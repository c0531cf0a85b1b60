"""The command pretrain: without ratings, resumable to the bit, measured on what was held out."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from physioemo.acquisition.participant import ParticipantConfig
from physioemo.acquisition.simulate import simulated_streams
from physioemo.cli import cli
from physioemo.errors import (
    CallError,
    CheckpointError,
    DataError,
    RecordingExistsError,
    RecordingNotFoundError,
)
from physioemo.experiments.pretrain import RESULT, PretrainPlan, load_scalers, pretrain
from physioemo.experiments.pretrain_config import DataChoice, read_data, read_plan
from physioemo.experiments.pretrain_data import read_stores
from physioemo.experiments.study_data import Groups, StudyData
from physioemo.experiments.study_store import write_study_data
from physioemo.models.checkpoint import load_model
from physioemo.models.fused import FusedModel
from physioemo.models.pretrained import use_pretrained
from physioemo.models.pretraining import PretrainingConfig
from physioemo.store import create_recording
from physioemo.stream import make_stream
from tests.simulated import simulated_recording

N_STIMULI, N_PEOPLE, N_EACH = 12, 3, 6


def unrated(seed=0, n_scalars=6):
    """Return windows of entropies and of body signals that share a latent; nobody rated them."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"{p:02d}", "1", s + 1, f"film {s}", 10.0 * s + k)
        for p in range(N_PEOPLE) for s in range(N_STIMULI) for k in range(N_EACH)
    ]  # fmt: skip
    subject, session, trial, stimulus, onset = zip(*rows, strict=True)
    latent = rng.normal(size=(len(rows), 3))
    brain = (latent @ rng.normal(size=(3, 20))).reshape(-1, 5, 4)
    body = latent @ rng.normal(size=(3, n_scalars))
    brain, body = (x + 0.3 * rng.normal(size=x.shape) for x in (brain, body))
    brain[:7, 2] = np.nan
    body[5:9] = np.nan
    return StudyData(
        families={"de": 5 + 2 * brain, "eda": 40 + 9 * body},
        coords={
            "de": {
                "channel": tuple(f"E{i}" for i in range(5)),
                "band": ("theta", "alpha", "beta", "gamma"),
            },
            "eda": {"feature": tuple(f"f{i}" for i in range(n_scalars))},
        },
        groups=Groups(
            subject=np.array(subject, object), session=np.array(session, object),
            trial=np.array(trial), stimulus=np.array(stimulus, object),
            onset_seconds=np.array(onset), window_seconds=1.0,
        ),
        ratings={}, scale=None, labels=None, source={"simulated": True},
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_study_data(unrated(), tmp_path_factory.mktemp("unrated") / "features.zarr")


def plan(n_epochs=3, **changes):
    training = PretrainingConfig(
        n_epochs=n_epochs, batch_size=64, learning_rate=3e-3, contrast_dim=16
    )
    return PretrainPlan(held_out_share=0.25, training=training, **changes)


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_windows_that_nobody_rated_are_enough(store, tmp_path):
    data = read_stores([store])
    assert set(data.families) == {"de", "eda"} and len(data) == N_STIMULI * N_PEOPLE * N_EACH
    result = pretrain(data, plan(25), tmp_path / "p")
    held = result["held_out"]
    assert result["n_held_out"] == 3 * N_PEOPLE * N_EACH  # whole stimuli, of everybody
    assert held["guess_loss"] < 0.8
    pair = held["retrieval"]["de-eda"]
    # One window is missing in one modality where its stimulus is held out.
    assert pair["chance"] == 1 / pair["n"] and min(pair["found"]) > 8 * pair["chance"]
    assert pair["chance_interval_95"] == [0, 3 / pair["n"]]
    assert result["history"][-1]["guess_loss"] < result["history"][0]["guess_loss"]
    told = {"config_hash", "data_fingerprint", "seed", "versions", "sources", "simulated"}
    assert told <= set(result) and result["simulated"]
    assert json.loads((tmp_path / "p" / RESULT).read_text()) == result
    names = {p.name for p in (tmp_path / "p").iterdir()}
    assert names == {"config.json", RESULT, "scalers.safetensors", "model.json",
                     "model.safetensors"}  # fmt: skip


def test_a_run_that_was_interrupted_gives_the_same_bits(store, tmp_path):
    data = read_stores([store])
    whole = pretrain(data, plan(4), tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop_after_two(row):
        if row["epoch"] == 1:
            raise Stop

    with pytest.raises(Stop):
        pretrain(data, plan(4), tmp_path / "parts", on_epoch=stop_after_two)
    # Killed while the next checkpoint was being written: half a file of the third epoch.
    (tmp_path / "parts" / "epoch-00003.safetensors").write_bytes(b"half")
    epochs = []
    parts = pretrain(
        data, plan(4), tmp_path / "parts", on_epoch=lambda r: epochs.append(r["epoch"])
    )
    assert epochs == [2, 3]
    assert parts == whole
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    # Finished: nothing is computed again.
    again = pretrain(data, plan(4), tmp_path / "whole", on_epoch=lambda r: pytest.fail("computed"))
    assert again == whole


DOOMED = """
import os, random, signal, sys, threading
from physioemo.experiments.pretrain import PretrainPlan, pretrain
from physioemo.experiments.pretrain_data import read_stores
from physioemo.models.pretraining import PretrainingConfig

def arm(row):
    if row["epoch"] == 0:
        kill = (os.getpid(), signal.SIGKILL)
        threading.Timer(0.1 * random.random(), os.kill, kill).start()

training = PretrainingConfig(n_epochs=25, batch_size=64)
pretrain(read_stores([sys.argv[1]]), PretrainPlan(training=training), sys.argv[2], on_epoch=arm)
"""


def test_a_process_that_is_killed_at_any_moment_goes_on(store, tmp_path):
    out = tmp_path / "killed"
    child = subprocess.run([sys.executable, "-c", DOOMED, str(store), str(out)], check=False)
    assert child.returncode == -signal.SIGKILL and not (out / RESULT).exists()
    before = json.loads((out / "checkpoint.json").read_text())["history"]
    (out / ".partial-0-epoch-00009.safetensors").write_bytes(b"half")  # its last breath
    options = ["--out", str(out), "--epochs", "25", "--batch-size", "64"]
    done = CliRunner().invoke(cli, ["pretrain", str(store), *options])
    assert done.exit_code == 0, done.output
    training = PretrainingConfig(n_epochs=25, batch_size=64)
    whole = pretrain(read_stores([store]), PretrainPlan(training=training), tmp_path / "whole")
    found = json.loads((out / RESULT).read_text())
    assert len(found["history"]) == 25 and found["history"][: len(before)] == before
    assert found["config_hash"] == whole["config_hash"]
    # Another process may use another number of threads, and round otherwise.
    last = found["history"][-1], whole["history"][-1]
    assert last[0]["guess_loss"] == pytest.approx(last[1]["guess_loss"], rel=1e-3)
    assert {p.name for p in out.iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}
    assert "by chance" in done.output and "SIMULATED or SYNTHETIC" in done.output


def test_other_data_or_another_plan_are_not_mixed_into_a_folder(store, tmp_path):
    data, out = read_stores([store]), tmp_path / "p"
    pretrain(data, plan(1), out)
    moved = replace(data, families={**data.families, "eda": data.families["eda"] + 1})
    for other in ((moved, plan(1)), (data, plan(2))):
        with pytest.raises(RecordingExistsError, match=r"another pre-training, or one of other da"):
            pretrain(*other, out)
    pretrain(data, plan(2), out, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"config_hash": "x", "study": {}}')
    with pytest.raises(RecordingExistsError, match="found something in .* that is no pre-training"):
        pretrain(data, plan(1), tmp_path / "mine", overwrite=True)


def test_a_damaged_checkpoint_is_told(store, tmp_path):
    data = read_stores([store])

    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(data, plan(3), tmp_path, on_epoch=stop)
    path = next(tmp_path.glob("epoch-*.safetensors"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(
        CheckpointError, match=r"cannot be gone on from .another SHA-256.*overwrite"
    ):
        pretrain(data, plan(3), tmp_path)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be gone on from .*begin again with --overwr"):
        pretrain(data, plan(3), tmp_path)


def test_a_model_begins_with_the_encoders_that_were_learned(store, tmp_path):
    pretrain(read_stores([store]), plan(1), tmp_path)
    source, metadata = load_model(tmp_path)
    assert metadata["pretrained_encoders_only"] and metadata["families"]["de"]["channel"][0] == "E0"
    scalers = load_scalers(tmp_path)
    assert scalers["de"].mean.shape == (5, 4) and abs(scalers["eda"].mean.mean() - 40) < 5
    encoders = {"de": source.config["encoders"]["de"]}
    torch.manual_seed(5)
    model = FusedModel(encoders=encoders, dimensions=["arousal"], n_outputs=3)
    assert use_pretrained(model, tmp_path) == ["de"]
    mine, theirs = model.encoders["de"].state_dict(), source.encoders["de"].state_dict()
    assert all(torch.equal(mine[k], theirs[k]) for k in theirs)
    wider = FusedModel(encoders={"de": {**encoders["de"], "embed_dim": 16}}, dimensions=["a"])
    with pytest.raises(
        CheckpointError, match="found the encoder .* of 'de' in .*build the model a"
    ):
        use_pretrained(wider, tmp_path)
    with pytest.raises(CallError, match="found the modality 'sound', expected some of de"):
        use_pretrained(model, tmp_path, ["sound"])
    with pytest.raises(CheckpointError, match="found no scalers in|does not exist"):
        load_scalers(tmp_path / "nothing")


def test_recordings_without_a_rating_are_read_with_their_rests(tmp_path):
    for seed in (1, 2):
        simulated_recording(tmp_path / f"r{seed}.zarr", n_trials=4, seed=seed)
    paths = [str(tmp_path / f"r{seed}.zarr") for seed in (1, 2)]
    data = read_data(DataChoice(paths=tuple(map(type(tmp_path), paths))))
    assert {"r1 rest", "r2 rest", "r1 trial 1", "r2 trial 4"} <= set(data.trial)
    out = tmp_path / "out"
    done = CliRunner().invoke(
        cli, ["pretrain", *paths, "--out", str(out), "--epochs", "2", "--batch-size", "32"]
    )
    assert done.exit_code == 0, done.output
    assert "guessing what was hidden" in done.output and "SIMULATED" in done.output
    assert json.loads((out / RESULT).read_text())["held_out"]["retrieval"] == {}


def test_other_features_of_the_same_electrodes_are_read_on_request_only(tmp_path):
    made = unrated()
    bands = made.coords["de"]
    both = replace(
        made,
        families={**made.families, "psd": made.families["de"]},
        coords={**made.coords, "psd": bands},
    )
    path = write_study_data(both, tmp_path / "both.zarr")
    assert set(read_stores([path]).families) == {"de", "eda"}
    assert set(read_stores([path], ["psd", "eda"]).families) == {"psd", "eda"}


def test_a_recording_without_trials_is_held_out_by_minutes(tmp_path):
    config = ParticipantConfig(0)
    made = simulated_streams(config, duration_seconds=190.0)["eeg"]
    eeg = make_stream(made[1], made[0], time=made[2])
    create_recording(tmp_path / "one.zarr", {"EEG": eeg}, attrs={"simulated": True})
    data = read_data(DataChoice(paths=(tmp_path / "one.zarr",)))
    assert set(data.trial) == {"one rest"} and set(data.stimulus) == {""}
    assert set(data.groups) == {f"one minute {i}" for i in range(4)}
    # 379 windows of 1 s every 0.5 s; one reaches over each of the three full minutes.
    assert len(data) == 379 - 3
    result = pretrain(data, plan(3), tmp_path / "out")
    assert result["n_held_out"] >= 19 and np.isfinite(result["held_out"]["guess_loss"])


def test_a_toml_file_says_all_of_it_and_options_win(store, tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(
        f'seed = 4\nheld_out_share = 0.25\ndimensions = ["valence"]\n[data]\npaths = ["{store}"]\n'
        'families = ["de"]\n[training]\nn_epochs = 9\nbatch_size = 64\n[encoders.de]\ndepth = 3\n'
    )
    read, choice = read_plan(file)
    assert read.training.seed == 4 and read.training.n_epochs == 9 and choice.families == ("de",)
    out = tmp_path / "out"
    done = CliRunner().invoke(
        cli, ["pretrain", "--config", str(file), "--out", str(out), "--epochs", "1"]
    )
    assert done.exit_code == 0, done.output
    result = json.loads((out / RESULT).read_text())
    assert result["encoders"]["de"]["depth"] == 3 and len(result["history"]) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epochs = 3", "found 'epochs' in the plan, expected some of"),
        ("[training]\nn_epoch = 3", "found 'n_epoch' in .training.*did you mean 'n_epochs'"),
        ("[data]\nstores = []", "found 'stores' in .data., expected some of paths"),
        ("held_out_share = 0.9", "found held_out_share=0.9, expected above 0 and at most 0.5"),
        ("[training]\nbatch_size = 1", "found batch_size=1, expected above 0"),
        ("= 3", "that is no TOML"),
    ],
)
def test_a_wrong_plan_is_one_sentence(tmp_path, text, told):
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(CallError, match=told):
        read_plan(file)
    with pytest.raises(RecordingNotFoundError, match="found no file at"):
        read_plan(tmp_path / "other.toml")


def test_data_that_teach_nothing_are_told(store, tmp_path):
    data = read_stores([store])
    same = np.full(len(data), "t", object)
    one = replace(data, trial=same, block=same, stimulus=np.full(len(data), "", object))
    with pytest.raises(CallError, match="found windows of 1 stimulus or trial.*three or more"):
        pretrain(one, plan(1), tmp_path / "a")
    with pytest.raises(CallError, match="an encoder for 'audio', expected some of de, eda"):
        pretrain(data, plan(1, encoders={"audio": {}}), tmp_path / "b")
    with pytest.raises(DataError, match="the features de, eda of 216 windows in .*expected hrv"):
        read_stores([store], ["hrv"])
    with pytest.raises(CallError, match="found 1 feature stores among 2 paths, expected one or mo"):
        read_data(DataChoice(paths=(store, tmp_path)))
    other = write_study_data(unrated(n_scalars=3), tmp_path / "other.zarr")
    with pytest.raises(DataError, match="found other features or axes in .*expected the same"):
        read_stores([store, other])
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
