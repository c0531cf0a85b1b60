"""A saved model is whole or refused, in one sentence."""

import hashlib
import json
import os

import pytest
import torch
from safetensors.torch import load, save

from physioemo.errors import CallError, CheckpointError
from physioemo.models.catalogue import build_model
from physioemo.models.checkpoint import load_model, model_id, save_model


@pytest.fixture
def model():
    return build_model("intercortical", "tiny", n_chans=4, seed=0)


@pytest.fixture
def folder(tmp_path, model):
    save_model(tmp_path / "saved", model, name="intercortical")
    return tmp_path / "saved"


def rewrite(folder, **fields):
    path = folder / "model.json"
    description = json.loads(path.read_text(encoding="utf-8")) | fields
    path.write_text(json.dumps(description), encoding="utf-8")


def rewrite_weights(folder, change):
    path = folder / "model.safetensors"
    tensors = load(path.read_bytes())
    change(tensors)
    path.write_bytes(save(tensors))
    rewrite(folder, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    told = str(caught.value)
    assert told.endswith(".") and "\n" not in told
    return told


def test_folder_holds_the_two_files_and_says_what_made_them(folder, model):
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert description["format"] == 1
    assert description["name"] == "intercortical"
    assert description["config"] == model.config
    assert set(description["versions"]) == {"physioemo", "torch", "numpy"}
    assert description["sha256"].startswith(model_id(folder))


def test_loaded_model_is_in_eval_mode_and_takes_no_random_numbers(folder):
    before = torch.get_rng_state()
    loaded, metadata = load_model(folder)
    assert not loaded.training
    assert metadata == {}
    assert torch.equal(torch.get_rng_state(), before)


def test_saving_again_replaces_the_model(folder):
    other = build_model("intercortical", "tiny", n_chans=9, seed=1)
    save_model(folder, other, name="intercortical")
    assert model_id(load_model(folder)[0]) == model_id(other)


def test_a_crash_between_the_files_is_noticed(folder, monkeypatch):
    def crash(descriptor):
        if any(path.name.startswith("model.json.") for path in folder.iterdir()):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", crash)
    other = build_model("intercortical", "tiny", n_chans=4, seed=1)
    with pytest.raises(CheckpointError, match=r"cannot be written \(No space left on device\)"):
        save_model(folder, other, name="intercortical")
    assert "changed after they were saved" in refusal(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]


def test_missing_folder_and_files_are_told(folder, tmp_path):
    assert "nowhere is not a folder: expected one that holds" in refusal(tmp_path / "nowhere")
    (folder / "model.safetensors").rename(folder / "aside")
    assert "model.safetensors does not exist: give a folder" in refusal(folder)
    (folder / "model.json").unlink()
    assert "model.json does not exist: give a folder" in refusal(folder)


def test_torn_and_changed_weights_are_told(folder):
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    path.write_bytes(raw[:-7])
    assert "the weights were cut off or changed" in refusal(folder)
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert "the weights were cut off or changed" in refusal(folder)


def test_wrong_keys_are_named(folder):
    rewrite_weights(folder, lambda tensors: tensors.pop("bde_proj_layer.linear.bias"))
    assert "missing: bde_proj_layer.linear.bias:" in refusal(folder)


def test_extra_keys_are_named(folder):
    rewrite_weights(folder, lambda tensors: tensors.update(more=torch.ones(2)))
    assert "unexpected: more:" in refusal(folder)


def test_shapes_and_kinds_are_named(folder):
    changed = {
        "classification_head.norm.bias": torch.ones(3),
        "classification_head.norm.weight": torch.ones(32, dtype=torch.int32),
    }
    rewrite_weights(folder, lambda tensors: tensors.update(changed))
    told = refusal(folder)
    assert "classification_head.norm.bias (3,) instead of (32,)" in told
    assert "classification_head.norm.weight torch.int32 instead of torch.float32" in told


def test_names_from_a_file_cannot_break_the_line(folder):
    rewrite_weights(folder, lambda tensors: tensors.update({"a\n\x1b[2Jb": torch.ones(2)}))
    assert "unexpected: a??[2Jb:" in refusal(folder)


def test_long_lists_are_cut(folder):
    rewrite_weights(folder, lambda tensors: tensors.clear())
    assert "and 30 more" in refusal(folder)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"format": 2}, "is of format 2, this PhysioEmo reads up to 1: update PhysioEmo."),
        ({"format": "1"}, "does not describe a saved model, missing or wrong: format"),
        ({"config": []}, "does not describe a saved model, missing or wrong: config"),
        (
            {"name": "intercorticl"},
            "found the model 'intercorticl', expected one of ",
        ),
        ({"config": {"n_chans": "four"}}, "n_chans='four' is not a size"),
        ({"config": {}}, "missing 1 required keyword-only argument: 'n_chans'"),
        ({"config": {"n_chans": 4, "n_flowers": 2}}, "unexpected keyword argument 'n_flowers'"),
        ({"config": {"n_chans": 10**9}}, "of another shape: "),
    ],
)
def test_descriptions_that_do_not_fit_are_told(folder, fields, told):
    rewrite(folder, **fields)
    assert told in refusal(folder)


@pytest.mark.parametrize("raw", [b"", b'{"format": 1', b"\xff\xfe\x00", b"[1]", b"null"])
def test_torn_descriptions_are_told(folder, raw):
    (folder / "model.json").write_bytes(raw)
    told = refusal(folder)
    assert "is not JSON" in told or "does not describe a saved model" in told


def test_nothing_is_written_for_a_wrong_call(tmp_path, model):
    with pytest.raises(CallError, match="a Linear cannot be saved as 'intercortical'"):
        save_model(tmp_path / "a", torch.nn.Linear(2, 2), name="intercortical")
    with pytest.raises(CallError, match="found the model 'nothing', expected one of "):
        save_model(tmp_path / "a", model, name="nothing")
    with pytest.raises(CallError, match="metadata cannot be written as JSON"):
        save_model(tmp_path / "a", model, name="intercortical", metadata={"rate": float("nan")})
    assert list(tmp_path.iterdir()) == []
