"""A simulated session that was given no decoder trains one, and says whose it is."""

import json

import pytest

from physioemo.errors import CallError
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.session import simulated_decoder as module
from physioemo.experiments.session.simulated_decoder import simulated_decoder


def test_the_decoder_is_of_the_participant_and_is_used_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_N_TRIALS", 8)
    monkeypatch.setattr(module, "_N_FOLDS", 2)
    folder = simulated_decoder(tmp_path / "P01-decoder", seed=3, effect=1.0)
    decoder = load_decoder(folder)
    assert decoder.metadata["simulated"] and decoder.dimensions[:2] == ("valence", "arousal")
    scores = json.loads((folder / "evaluation.json").read_text("utf-8"))["dimensions"]["arousal"]
    assert len(scores["permuted_balanced_accuracy"]) == 3
    written = (folder / "decoder.json").stat().st_mtime_ns
    assert simulated_decoder(folder, seed=3, effect=1.0) == folder
    assert (folder / "decoder.json").stat().st_mtime_ns == written
    with pytest.raises(
        CallError, match=r"found a decoder of .*'seed': 3.* expected one of the sim"
    ):
        simulated_decoder(folder, seed=4, effect=1.0)
    again = simulated_decoder(tmp_path / "again", seed=3, effect=1.0)
    assert load_decoder(again).id == decoder.id


def test_a_rig_needs_a_decoder_and_a_session_a_folder(typed, tmp_path):
    typed("session", "new", tmp_path / "s.toml", check=0)
    for options, lacking in (
        (("--rig", "lab.toml", "--out", "a"), "--rig without --decoder DIR"),
        (("--simulate",), "no --out FOLDER"),
        (("--out", "a"), "neither --rig RIG.toml nor --simulate"),
        ((), "neither --rig RIG.toml nor --simulate and no --out FOLDER"),
        (("--simulate", "--rig", "lab.toml", "--out", "a"), "--rig with --simulate"),
    ):
        done = typed("session", "run", tmp_path / "s.toml", *options, check=2)
        assert f"found {lacking}, expected such as: physioemo session run" in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "s.toml"]
