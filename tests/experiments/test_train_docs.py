"""The train files that the documents show train a decoder."""

import re

import pytest

from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_training import train_fused_decoder
from physioemo.experiments.train_config import read_train_file, train_config
from tests.conftest import ROOT
from tests.simulated import simulated_recording

QUICK = {"epochs": 1, "folds": 2, "permutations": 0}


def shown(name):
    text = (ROOT / "docs" / name).read_text("utf-8")
    (found,) = re.findall(r"```toml\n(# train\.toml.*?)```", text, re.DOTALL)
    return found


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=8)


@pytest.mark.parametrize("name", ["trust.md", "models.md"])
def test_the_train_file_of_the_document_trains(recording, tmp_path, name):
    (tmp_path / "train.toml").write_text(shown(name))
    config = train_config({**read_train_file(tmp_path / "train.toml"), **QUICK})
    made = train_fused_decoder({"session": recording}, config)
    decoder = load_decoder(made.save(tmp_path / "decoder"))
    said = decoder.predict(recording)
    assert said == made.decoder.predict(recording) and len(said) > 100
    assert all(p.value for p in said) and decoder.head.kind == "joint"
    if name == "trust.md":
        assert all(p.interval and p.classes for p in said)
    else:
        assert decoder.context is not None and not decoder.offline_only
