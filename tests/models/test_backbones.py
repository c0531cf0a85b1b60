"""Weights of one's own: all of them or none, from a local file, and nothing in it is run."""

import hashlib
import json
import pickle
import sys

import pytest
import torch
from safetensors.torch import save_file

from physioemo.errors import CallError, CheckpointError, MissingExtraError, SignalError
from physioemo.models import fused
from physioemo.models.backbones import (
    WAVE_MODELS,
    build_network,
    load_backbone,
    load_weights,
    read_architecture,
)
from physioemo.models.checkpoint import load_model, save_model
from physioemo.models.frame_backbone import PRESETS as FRAME_PRESETS
from physioemo.models.frame_backbone import FrameBackbone
from physioemo.models.raw_eeg import RawEeg
from physioemo.models.wave_backbone import PRESETS as WAVE_PRESETS
from physioemo.models.wave_backbone import WaveBackbone

TINY_WAVE = WAVE_PRESETS["tiny"]["architecture"]
ROWS = {
    "frame-backbone": fused.PartRow(
        "physioemo.models.frame_backbone", "FrameBackbone", "Frames through a network."
    ),
    "wave-backbone": fused.PartRow(
        "physioemo.models.wave_backbone", "WaveBackbone", "A waveform through a network."
    ),
}


@pytest.fixture
def picture_file(tmp_path):
    """Weights of a whole timm network with its classifier, as a user would have them."""
    import timm

    torch.manual_seed(1)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=7)
    path = tmp_path / "own.safetensors"
    save_file(network.state_dict(), path)
    return path, network


@pytest.fixture
def wave_folder(tmp_path):
    torch.manual_seed(2)
    network = build_network("transformers", "wav2vec2", TINY_WAVE)
    (tmp_path / "config.json").write_text(json.dumps(network.config.to_dict()), encoding="utf-8")
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    return tmp_path, network.eval()


def refusal(call, *arguments, error=CheckpointError, **options):
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_network_of_timm_takes_a_local_file_without_its_classifier(picture_file):
    path, network = picture_file
    loaded, sha256 = load_backbone("timm", "test_resnet", weights=path)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and not loaded.training
    frames = torch.randn(2, 3, 32, 32)
    network.reset_classifier(0)
    assert torch.equal(loaded(frames), network.eval()(frames))


def test_a_network_of_torchvision_takes_a_local_file(tmp_path):
    from torchvision.models import shufflenet_v2_x0_5

    torch.manual_seed(3)
    network = shufflenet_v2_x0_5(weights=None).eval()
    path = tmp_path / "own.safetensors"
    save_file(network.state_dict(), path)
    loaded, _ = load_backbone("torchvision", "shufflenet_v2_x0_5", weights=path)
    frames = torch.randn(1, 3, 64, 64)
    assert torch.equal(network.fc(loaded(frames)), network(frames))


def test_a_network_of_transformers_takes_a_local_folder(wave_folder):
    folder, network = wave_folder
    loaded, _ = load_backbone("transformers", "wav2vec2", weights=folder)
    wave = torch.randn(1, 4000)
    assert torch.equal(loaded(wave).last_hidden_state, network(wave).last_hidden_state)
    assert "'wav2vec2' in" in refusal(load_backbone, "transformers", "wavlm", weights=folder)


@pytest.mark.parametrize("name", WAVE_MODELS)
def test_every_encoder_of_speech_gives_tokens(name):
    small = {k: v for k, v in TINY_WAVE.items() if k != "model_type"}
    torch.manual_seed(0)
    encoder = WaveBackbone(architecture={"model_type": name, **small}, n_tokens=4).eval()
    tokens = encoder(torch.randn(2, 8000))
    assert tokens.values.shape == (2, 4, 32) and torch.isfinite(tokens.values).all()
    assert tokens.time_seconds[0].tolist() == pytest.approx([-0.4375, -0.3125, -0.1875, -0.0625])


def test_names_of_older_files_and_of_whole_classifiers_are_known(wave_folder, tmp_path):
    _, network = wave_folder
    older = {"classifier.weight": torch.zeros(3, 32)}
    for name, tensor in network.state_dict().items():
        name = name.replace("parametrizations.weight.original0", "weight_g")
        name = name.replace("parametrizations.weight.original1", "weight_v")
        older[f"wav2vec2.{name}"] = tensor
    save_file(older, tmp_path / "model.safetensors")
    encoder = WaveBackbone.from_folder(tmp_path, prefix="wav2vec2.", n_tokens=2).eval()
    for name, tensor in encoder.network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("bn1.weight"), "missing: bn1.weight"),
        (lambda t: t.update(extra=torch.zeros(2)), "unexpected: extra"),
        (
            lambda t: t.update({"bn1.weight": torch.zeros(99)}),
            r"of another shape: bn1.weight (99,) instead of",
        ),
        (lambda t: t["bn1.weight"].fill_(torch.nan), "not finite: bn1.weight"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(picture_file, change, message):
    path, network = picture_file
    network.reset_classifier(0)
    tensors = {k: v.clone() for k, v in network.state_dict().items()}
    change(tensors)
    save_file(tensors, path)
    fresh = build_network("timm", "test_resnet", {})
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    told = refusal(load_weights, fresh, path)
    assert message in told and "own.safetensors does not fit the model" in told
    assert all(torch.equal(v, before[k]) for k, v in fresh.state_dict().items())


class Trap:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_no_pickle_is_opened(tmp_path):
    trap = Trap(str(tmp_path / "sprung"))
    fresh = build_network("timm", "test_resnet", {})
    (tmp_path / "weights.bin").write_bytes(pickle.dumps(trap))
    torch.save({"a": trap}, tmp_path / "weights.pt")
    (tmp_path / "weights.safetensors").write_bytes((tmp_path / "weights.pt").read_bytes())
    for name in ("weights.bin", "weights.pt", "weights.safetensors"):
        assert "pickled weights, which are never opened" in refusal(
            load_weights, fresh, tmp_path / name
        )
    assert not (tmp_path / "sprung").exists()


def test_a_file_that_is_cut_off_or_another_is_refused(picture_file):
    path, _ = picture_file
    raw = path.read_bytes()
    sha256 = hashlib.sha256(raw).hexdigest()
    path.write_bytes(raw[: len(raw) // 2])
    told = refusal(load_backbone, "timm", "test_resnet", weights=path)
    assert "not a whole safetensors file" in told
    told = refusal(load_backbone, "timm", "test_resnet", weights=path, sha256=sha256)
    assert f"expected {sha256[:12]}…; it was cut off, changed" in told
    path.write_bytes(raw)
    assert load_backbone("timm", "test_resnet", weights=path, sha256=sha256.upper())[1] == sha256
    refusal(load_backbone, "timm", "test_resnet", weights=path, sha256="abc", error=CallError)
    fresh = build_network("timm", "test_resnet", {})
    assert "does not exist" in refusal(load_weights, fresh, path.with_name("none"))
    assert "found a folder at" in refusal(load_weights, fresh, path.parent)


@pytest.mark.parametrize(
    ("kind", "name", "arguments", "message"),
    [
        ("keras", "resnet18", {}, "found the kind 'keras', expected one of torchvision, timm"),
        ("timm", "test_resnot", {}, "no architecture 'test_resnot'.*mean 'test_resnet'"),
        ("timm", "hf_hub:timm/resnet18.a1_in1k", {}, "no architecture 'hf_hub:"),
        ("timm", "test_resnet", {"pretrained": True}, "'pretrained', expected none that fetches"),
        ("timm", "test_resnet", {"wide": 3}, "found arguments that 'test_resnet' does not take"),
        ("torchvision", "resnet18", {"weights": "DEFAULT"}, "'weights', expected none that"),
        ("torchvision", "fasterrcnn_resnet50_fpn", {}, "no architecture 'fasterrcnn_resnet50"),
        ("transformers", "bert", {}, "no architecture 'bert', expected one of 4"),
    ],
)
def test_what_is_not_known_or_would_be_fetched_is_refused(kind, name, arguments, message):
    with pytest.raises(CallError, match=message):
        build_network(kind, name, arguments)


def test_settings_that_fetch_or_run_code_are_not_read(tmp_path):
    about = {
        **TINY_WAVE,
        "attn_implementation": "kernels-community/anything",
        "_attn_implementation": "kernels-community/anything",
        "auto_map": {"AutoModel": "evil.Model"},
        "dtype": "float16",
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(about), encoding="utf-8")
    assert read_architecture(tmp_path) == TINY_WAVE
    network = build_network("transformers", "wav2vec2", about)
    assert type(network).__module__ == "transformers.models.wav2vec2.modeling_wav2vec2"
    assert next(network.parameters()).dtype == torch.float32
    path.write_text('{"model_type": "bert"}', encoding="utf-8")
    assert "found the model type 'bert'" in refusal(read_architecture, tmp_path)
    path.write_text("[1", encoding="utf-8")
    assert "found no JSON" in refusal(read_architecture, tmp_path)


@pytest.mark.parametrize(
    ("kind", "package"),
    [("timm", "timm"), ("torchvision", "torchvision.models"), ("transformers", "transformers")],
)
def test_a_missing_package_names_the_extra(monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'physioemo\[backbones\]'"):
        build_network(kind, "anything", {})


def test_frames_become_tokens_and_what_is_missing_is_masked():
    torch.manual_seed(0)
    encoder = FrameBackbone(**FRAME_PRESETS["tiny"]).eval()
    values, seconds = torch.randn(2, 3, 32, 32, 3), torch.tensor([[-0.9, -0.5, -0.1]] * 2)
    values[0, 1, 4, 5, 0], seconds[1, 2] = torch.nan, torch.nan
    tokens = encoder(values, seconds)
    assert tokens.mask.tolist() == [[True, False, True], [True, True, False]]
    assert tokens.values.shape == (2, 3, 32) and torch.isfinite(tokens.values).all()
    with pytest.raises(SignalError, match=r"expected \(batch, frame, 32, 32, 3\)"):
        encoder(values[..., :1], seconds)
    with pytest.raises(CallError, match="takes no frames of 33 x 33 pixels|does not take"):
        FrameBackbone(kind="timm", name="test_vit", size=33)
    with pytest.raises(CallError, match="the kind 'transformers' for frames"):
        FrameBackbone(kind="transformers", name="wav2vec2")


def test_a_waveform_becomes_tokens_whatever_its_loudness():
    torch.manual_seed(0)
    encoder = WaveBackbone(**WAVE_PRESETS["tiny"]).eval()
    wave = torch.randn(2, 4000)
    tokens = encoder(wave)
    assert torch.allclose(encoder(50 * wave + 3).values, tokens.values, atol=1e-3)
    wave[0, 7] = torch.nan
    again = encoder(wave)
    assert again.mask.tolist() == [[False] * 2, [True] * 2]
    assert torch.allclose(again.values[1], tokens.values[1], atol=1e-5)
    with pytest.raises(SignalError, match=r"expected \(batch, 800 or more samples\)"):
        encoder(wave[:, :700])


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_network_stays_as_it_was_loaded(frozen):
    torch.manual_seed(0)
    encoder = FrameBackbone(**FRAME_PRESETS["tiny"], frozen=frozen).train()
    before = {k: v.clone() for k, v in encoder.network.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    encoder(torch.randn(2, 2, 32, 32, 3), torch.zeros(2, 2)).values.square().sum().backward()
    optimiser.step()
    same = [torch.equal(v, before[k]) for k, v in encoder.network.state_dict().items()]
    assert all(same) if frozen else not all(same)


def test_a_fused_model_carries_own_weights_and_their_hash(
    monkeypatch, picture_file, wave_folder, tmp_path
):
    for name, row in ROWS.items():
        monkeypatch.setitem(fused.ENCODERS, name, row)
    path, _ = picture_file
    encoders = {
        "screen": {"encoder": "frame-backbone"},
        "voice": {"encoder": "wave-backbone"},
    }
    torch.manual_seed(0)
    model = fused.FusedModel(encoders=encoders, dimensions=["valence"]).eval()
    assert model.encoders["screen"].weights_sha256 is None
    sha256 = model.encoders["screen"].load(path)
    model.encoders["voice"].load(wave_folder[0] / "model.safetensors")
    inputs = {
        "screen": {
            "values": torch.randn(2, 3, 32, 32, 3),
            "time_seconds": torch.linspace(-1, 0, 3).expand(2, -1),
        },
        "voice": torch.randn(2, 4000),
    }
    inputs["voice"][0] = torch.nan
    save_model(tmp_path / "saved", model, name="fused")
    path.unlink()
    loaded, _ = load_model(tmp_path / "saved")
    assert loaded.encoders["screen"].weights_sha256 == sha256
    assert torch.equal(loaded(inputs).logits, model(inputs).logits)
    assert not loaded(inputs).abstain.any()


def test_a_network_of_braindecode_takes_a_local_file(tmp_path):
    torch.manual_seed(0)
    sizes = {"n_chans": 4, "n_times": 256, "sfreq": 128.0}
    one, other = RawEeg(**sizes).eval(), RawEeg(**sizes).eval()
    path = tmp_path / "own.safetensors"
    save_file(one.network.state_dict(), path)
    load_weights(other.network, path)
    x = torch.randn(2, 4, 256)
    assert torch.equal(one.network(x), other.network(x))
