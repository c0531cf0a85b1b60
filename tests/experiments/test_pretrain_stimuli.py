"""Pre-training with what was heard and seen: encoders move, and one film is one stimulus."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from physioemo.cli import cli
from physioemo.errors import CallError
from physioemo.experiments.pretrain import RESULT, PretrainPlan, load_scalers, pretrain
from physioemo.experiments.pretrain_config import DataChoice, read_data, read_plan
from physioemo.experiments.pretrain_data import read_stores
from physioemo.experiments.study_data import Groups, StudyData
from physioemo.experiments.study_store import write_study_data
from physioemo.features.stimulus_features import StimulusRecipe, decode_stimulus
from physioemo.models.checkpoint import load_model
from physioemo.models.pretraining import PretrainingConfig
from tests.features.planted_clips import planted_clip
from tests.simulated import simulated_recording

ROWS, MELS, PX = 32, 16, 16
N_FILMS, N_EACH = 16, 8


def films(seed=0):
    """Return windows whose sound and pictures share a latent that no two films share."""
    rng = np.random.default_rng(seed)
    film, k = (x.ravel() for x in np.meshgrid(range(N_FILMS), range(N_EACH), indexing="ij"))
    latent = rng.normal(size=(len(film), 3))

    def seen(*shape):
        pattern = rng.normal(size=(3, int(np.prod(shape))))
        clear = (latent @ pattern).reshape(-1, *shape)
        return (0.5 * clear + 0.2 * rng.normal(size=clear.shape)).astype(np.float32)

    sound, pictures = seen(ROWS, MELS), seen(2, PX, PX, 3)
    sound[3] = np.nan  # a window without sound
    pixels = tuple(map(str, range(PX)))
    return StudyData(
        families={
            "audio": sound,
            "audio_descriptors": rng.normal(size=(len(film), 2)),
            "video": pictures,
        },
        coords={
            "audio": {
                "row": tuple(f"{(k - ROWS + 1) / 100:g}" for k in range(ROWS)),
                "mel": tuple(map(str, range(MELS))),
            },
            "audio_descriptors": {"feature": ("rms", "pitch")},
            "video": {
                "picture": ("-0.5", "0"), "y": pixels, "x": pixels, "colour": ("r", "g", "b"),
            },
        },
        groups=Groups(
            subject=np.full(len(film), "01", object),
            session=np.full(len(film), "1", object),
            trial=film + 1,
            stimulus=np.array([f"film {s}" for s in film], object),
            onset_seconds=10.0 * film + k,
            window_seconds=1.0,
        ),
        ratings={}, scale=None, labels=None, source={"simulated": True},
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_study_data(films(), tmp_path_factory.mktemp("f") / "films.zarr")


def test_the_command_moves_the_encoders_of_sound_and_pictures(store, tmp_path):
    out = tmp_path / "out"
    file = tmp_path / "plan.toml"
    file.write_text(
        f'held_out_share = 0.25\n[data]\npaths = ["{store}"]\n[training]\nn_epochs = 20\n'
        "batch_size = 48\nlearning_rate = 3e-3\ncontrast_dim = 16\n"
    )
    done = CliRunner().invoke(cli, ["pretrain", "--config", str(file), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "windows of audio, video," in done.output  # not what describes the same sound
    result = json.loads((out / RESULT).read_text())
    assert result["encoders"]["audio"] == {
        "encoder": "audio-patches", "preset": "tiny", "n_mels": MELS, "hop_seconds": 0.01,
    }  # fmt: skip
    pair = result["held_out"]["retrieval"]["audio-video"]
    assert pair["n"] == 4 * N_EACH or pair["n"] == 4 * N_EACH - 1
    assert min(pair["found"]) > 4 * pair["chance"]
    losses = [row["contrast_loss"] for row in result["history"]]
    assert losses[-1] < 0.5 * losses[0]
    begun = tmp_path / "begun"
    file.write_text(file.read_text().replace("n_epochs = 20", "n_epochs = 1"))
    CliRunner().invoke(cli, ["pretrain", "--config", str(file), "--out", str(begun)])
    (learned, _), (first, _) = load_model(out), load_model(begun)
    for name in ("audio", "video"):
        one, other = (m.encoders[name].state_dict() for m in (learned, first))
        assert not any(torch.equal(one[k], other[k]) for k in one if "project" in k)
    assert load_scalers(out) == {}


def test_a_run_with_sound_that_was_interrupted_gives_the_same_bits(store, tmp_path):
    plan = PretrainPlan(training=PretrainingConfig(n_epochs=2, batch_size=32, contrast_dim=8))
    data = read_stores([store], ["audio", "video"])
    pretrain(data, plan, tmp_path / "whole")

    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(data, plan, tmp_path / "parts", on_epoch=stop)
    pretrain(data, plan, tmp_path / "parts")
    one, two = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("whole", "parts"))
    assert one == two


def test_one_film_under_two_names_is_one_stimulus(tmp_path):
    made = films()
    hashes = {f"film {k}": str(k // 2).ljust(64, "x") for k in range(N_FILMS)}
    told = replace(made, source={**made.source, "recipe": {"stimuli": hashes}})
    path = write_study_data(told, tmp_path / "f.zarr")
    data = read_stores([path])
    assert len(set(data.groups.tolist())) == N_FILMS // 2
    assert len(set(data.trial.tolist())) == N_FILMS


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return a recording, a table of the clips of its trials, and the name of its first."""
    folder = tmp_path_factory.mktemp("r")
    recording = simulated_recording(folder / "r.zarr", n_trials=4)
    names = [str(s) for s in recording.trials["stimulus"].values]
    rows = []
    for k, name in enumerate(dict.fromkeys(names)):
        planted_clip(folder / f"{k}.mkv", bright=(1,), tone=(k % 5,), seconds=5)
        rows.append(f'"{name}" = "{k}.mkv"')
    (folder / "films.toml").write_text("\n".join(rows))
    return folder, recording, names


def test_recordings_are_read_with_what_was_shown(recorded):
    folder, _, names = recorded
    choice = DataChoice(
        paths=(folder / "r.zarr",), stimuli=(folder / "films.toml",), stimulus_mels=32
    )
    data = read_data(choice)
    assert list(data.families) == ["de", "audio", "video"]
    rest = data.trial == "r rest"
    heard = np.isfinite(data.families["audio"]).any(axis=(1, 2))
    assert not heard[rest].any() and np.isnan(data.families["video"][rest]).all()
    first = np.flatnonzero(data.trial == "r trial 1")
    assert heard[first].tolist() == [True] * 10 + [False] * 5  # 8 s of trial, 5 s of film
    made = decode_stimulus(folder / "0.mkv", StimulusRecipe(n_mels=32))
    # The first window of the trial covers the film's first second, up to a sample of the EEG.
    rows = data.families["audio"][first[0]]
    there = np.isfinite(rows[:, 0])
    n = int(there.sum())
    assert n in (97, 98, 99) and np.array_equal(rows[there], made.fbank[:n])
    assert len(set(data.stimulus[~rest].tolist())) == len(set(names))
    assert data.sources[0]["stimuli"][names[0]]["file"] == "0.mkv"


def test_the_command_takes_recordings_and_stimuli(recorded, tmp_path, monkeypatch):
    folder, _, _ = recorded
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    out = tmp_path / "out"
    call = ["pretrain", str(folder / "r.zarr"), "--out", str(out), "--epochs", "1", "--batch-size",
            "32", "--stimuli", str(folder / "films.toml")]  # fmt: skip
    done = CliRunner().invoke(cli, [*call, "--families", "de,video-descriptors"])
    assert done.exit_code == 0, done.output
    assert "windows of de, video_descriptors," in done.output
    result = json.loads((out / RESULT).read_text())
    assert result["encoders"]["video_descriptors"]["n_scalars"] == 6


def test_a_wrong_call_with_stimuli_is_one_sentence(recorded, store, tmp_path):
    folder, _, names = recorded
    films_of = (folder / "films.toml",)
    with pytest.raises(CallError, match="found stimuli for feature stores, expected recordings"):
        read_data(DataChoice(paths=(store,), stimuli=films_of))
    own = DataChoice(paths=(folder / "r.zarr",), stimuli=films_of)
    with pytest.raises(CallError, match="found the family 'eda' of recordings, expected some of"):
        read_data(replace(own, families=("de", "eda")))
    other = planted_clip(tmp_path / "other.mkv", seconds=1)
    with pytest.raises(CallError, match=f"no file for the stimulus '{names[0]}' .*'other'"):
        read_data(replace(own, stimuli=(other,)))
    masked = read_data(replace(own, stimuli=(other,), allow_missing_stimuli=True))
    assert np.isnan(masked.families["audio"]).all()
    (tmp_path / "p.toml").write_text('[data]\npaths = ["r.zarr"]\nstimuli = ["films"]\n')
    choice = read_plan(tmp_path / "p.toml")[1]
    assert choice.stimuli == (tmp_path / "films",)
    with pytest.raises(CallError, match="found nothing at .*films, expected a folder"):
        read_data(replace(own, stimuli=choice.stimuli))
