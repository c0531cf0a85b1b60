"""The transformer against a second, plain NumPy forward pass written from the paper."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scipy.special import erf

from physioemo.errors import CallError, CheckpointError, SignalError
from physioemo.models.catalogue import build_model
from physioemo.models.intercortical import InterCorticalTransformer

SIZES = {"n_chans": 14, "n_bands": 4, "embed": 24, "heads": 6, "dim": 16, "mlp": 40, "depth": 3}


def published_weights(*, n_chans, n_bands, embed, heads, dim, mlp, depth, n_outputs=2, seed=0):
    """Random weights under the published names: the layout, written down a second time."""
    inner = heads * dim
    shapes = {
        "bde_proj_layer.linear": (embed, n_bands),
        "classification_head.mlp.0": (2 * embed, embed),
        "classification_head.mlp.3": (2 * embed, 2 * embed),
        "classification_head.mlp.6": (embed, 2 * embed),
        "classification_head.mlp.9": (n_outputs, embed),
    }
    norms = ["classification_head.norm"]
    rng = np.random.default_rng(seed)
    weights = {"electrode_id_embedding.embedding": rng.normal(size=(1, n_chans, embed))}
    for i in range(depth):
        block = f"intercortical_attention_blocks.{i}"
        shapes[f"{block}.attention.fn.to_out.0"] = (embed, inner)
        shapes[f"{block}.feed_forward.fn.net.0"] = (mlp, embed)
        shapes[f"{block}.feed_forward.fn.net.3"] = (embed, mlp)
        norms += [f"{block}.attention.norm", f"{block}.feed_forward.norm"]
        qkv = rng.normal(size=(3 * inner, embed)) / np.sqrt(embed)
        weights[f"{block}.attention.fn.to_qkv.weight"] = qkv
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = rng.normal(size=shape) / np.sqrt(shape[1])
        weights[f"{name}.bias"] = 0.3 * rng.normal(size=shape[0])
    for name in norms:
        weights[f"{name}.weight"] = 1 + 0.3 * rng.normal(size=embed)
        weights[f"{name}.bias"] = 0.3 * rng.normal(size=embed)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def numpy_forward(weights, tokens, heads):
    """Return logits and attention (batch, layer, head, electrode, electrode) in float64."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def gelu(x):
        return 0.5 * x * (1 + erf(x / np.sqrt(2)))

    x = linear(tokens, "bde_proj_layer.linear") + w["electrode_id_embedding.embedding"]
    maps = []
    for i in range(sum(name.endswith("to_qkv.weight") for name in w)):
        block = f"intercortical_attention_blocks.{i}"
        qkv = norm(x, f"{block}.attention.norm") @ w[f"{block}.attention.fn.to_qkv.weight"].T
        inner = qkv.shape[-1] // 3
        dim = inner // heads
        mixed, layer = [], []
        for h in range(heads):
            q, k, v = (qkv[..., j * inner + h * dim : j * inner + (h + 1) * dim] for j in range(3))
            scores = np.exp(np.einsum("bid,bjd->bij", q, k) / np.sqrt(dim))
            layer.append(scores / scores.sum(-1, keepdims=True))
            mixed.append(np.einsum("bij,bjd->bid", layer[-1], v))
        maps.append(np.stack(layer, 1))
        x = x + linear(np.concatenate(mixed, -1), f"{block}.attention.fn.to_out.0")
        hidden = gelu(
            linear(norm(x, f"{block}.feed_forward.norm"), f"{block}.feed_forward.fn.net.0")
        )
        x = x + linear(hidden, f"{block}.feed_forward.fn.net.3")
    x = norm(x.mean(1), "classification_head.norm")
    for layer in (0, 3, 6):
        x = gelu(linear(x, f"classification_head.mlp.{layer}"))
    return linear(x, "classification_head.mlp.9"), np.stack(maps, 1)


@pytest.fixture
def weights():
    return published_weights(**SIZES)


@pytest.fixture
def published(tmp_path, weights):
    """Write a checkpoint file in the published layout."""
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    return path


@pytest.fixture
def tokens():
    return np.random.default_rng(1).normal(size=(5, SIZES["n_chans"], 4)).astype(np.float32)


def test_published_checkpoint_gives_the_logits_and_attention_of_numpy(published, weights, tokens):
    model = InterCorticalTransformer.from_published(published)
    with torch.no_grad():
        logits, attention = model(torch.tensor(tokens), return_attention=True)
    expected_logits, expected_attention = numpy_forward(weights, tokens, heads=6)
    np.testing.assert_allclose(logits, expected_logits, atol=1e-5)
    np.testing.assert_allclose(attention, expected_attention, atol=1e-6)
    np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("heads", [2, 3])
def test_the_head_count_is_heard(published, weights, tokens, heads):
    model = InterCorticalTransformer.from_published(published, n_heads=heads)
    expected, _ = numpy_forward(weights, tokens, heads=heads)
    np.testing.assert_allclose(model(torch.tensor(tokens)).detach(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "count"),
    [({}, 664_834), ({"embed_dim": 64, "head_dim": 16}, 201_602)],
)
def test_parameter_count_is_the_published_one(sizes, count):
    model = InterCorticalTransformer(n_chans=32, **sizes)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_every_dimension_has_its_own_head():
    model = build_model("intercortical", "tiny", n_chans=5, dimensions=["valence", "arousal"])
    assert model(torch.zeros(3, 5, 4)).shape == (3, 2, 2)
    assert "classification_heads.arousal.mlp.9.weight" in model.state_dict()
    assert not any(name.startswith("classification_head.") for name in model.state_dict())


def test_masked_electrodes_get_no_attention_and_others_share_it_all(published, tokens):
    model = InterCorticalTransformer.from_published(published)
    mask = torch.ones(5, 14, dtype=torch.bool)
    mask[:, [2, 9]] = False
    tokens[:, [2, 9]] = np.nan
    _, attention = model(torch.tensor(tokens), mask, return_attention=True)
    assert (attention[..., [2, 9]] == 0).all()
    assert torch.allclose(attention.sum(-1), torch.ones(()), atol=1e-6)


def test_masked_electrodes_are_as_good_as_absent(weights, tokens, tmp_path):
    mask = torch.ones(5, 14, dtype=torch.bool)
    mask[:, [2, 9]] = False
    save_file(weights, tmp_path / "all.safetensors")
    model = InterCorticalTransformer.from_published(tmp_path / "all.safetensors")
    kept = mask[0].numpy()
    identity = weights["electrode_id_embedding.embedding"]
    fewer = weights | {"electrode_id_embedding.embedding": identity[:, kept]}
    expected, _ = numpy_forward(fewer, tokens[:, kept], heads=6)
    np.testing.assert_allclose(model(torch.tensor(tokens), mask).detach(), expected, atol=1e-5)


def test_mask_of_all_electrodes_changes_nothing(published, tokens):
    model = InterCorticalTransformer.from_published(published)
    everything = torch.ones(5, 14, dtype=torch.bool)
    masked = model(torch.tensor(tokens), everything)
    assert torch.allclose(masked, model(torch.tensor(tokens)), atol=1e-6)


def test_gradients_stay_finite_with_nan_tokens_and_a_window_without_electrodes(published, tokens):
    model = InterCorticalTransformer.from_published(published).train()
    tokens[0] = np.nan
    mask = torch.ones(5, 14, dtype=torch.bool)
    mask[0] = False
    logits = model(torch.tensor(tokens), mask)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"n_chans": 0}, "n_chans=0 is not a size: give a Python int above zero."),
        ({"dropout": 1.0}, "dropout=1.0 is not a probability: give 0 to below 1."),
        ({"dimensions": ["valence", "valence"]}, "cannot name the heads"),
        ({"dimensions": ["items"]}, "cannot name the heads"),
        ({"dimensions": []}, "cannot name the heads"),
    ],
)
def test_impossible_sizes_are_refused(arguments, told):
    with pytest.raises(CallError) as caught:
        InterCorticalTransformer(**{"n_chans": 4} | arguments)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "mask", "told"),
    [
        ((2, 14, 5), None, "tokens have shape (2, 14, 5), but this model takes (batch, 14"),
        ((14, 4), None, "tokens have shape (14, 4)"),
        ((2, 14, 4), torch.ones(2, 14), "electrode_mask is torch.float32 of shape (2, 14)"),
        ((2, 14, 4), torch.ones(1, 14, dtype=torch.bool), "expected torch.bool of shape (2, 14)"),
    ],
)
def test_wrong_shapes_are_told(published, shape, mask, told):
    model = InterCorticalTransformer.from_published(published)
    with pytest.raises(SignalError) as caught:
        model(torch.zeros(shape), mask)
    assert told in str(caught.value)


def test_folder_with_the_authors_settings_loads(published):
    settings = {"num_electrodes": 14, "bde_dim": 4, "embed_dim": 24, "depth": 3, "heads": 3}
    settings |= {"head_dim": 32, "mlp_hidden_dim": 40, "dropout": 0.25, "num_classes": 2}
    published.with_name("config.json").write_text(json.dumps(settings))
    config = InterCorticalTransformer.from_published(published.parent).config
    assert (config["n_heads"], config["head_dim"], config["dropout"]) == (3, 32, 0.25)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ('{"embed_dim": 25}', "embed_dim is 25 in config.json but 24 in the weights"),
        ('{"heads": 6, "head_dim": 32}', "head_dim is 32 in config.json but 16 in the weights"),
        ('{"heads": 7}', "has attention 96 wide, which n_heads=7 does not divide"),
        ('{"dropout": 2}', "has dropout 2 in config.json, expected 0 to below 1"),
        ("{", "is not JSON"),
        ("[]", "holds a list, expected a JSON object"),
    ],
)
def test_settings_that_contradict_the_weights_are_refused(published, settings, told):
    published.with_name("config.json").write_text(settings)
    with pytest.raises(CheckpointError) as caught:
        InterCorticalTransformer.from_published(published.parent)
    assert told in str(caught.value)


def test_head_count_that_no_one_knows_is_asked_for(tmp_path):
    save_file(published_weights(**SIZES | {"dim": 10}), tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match=r"attention 60 wide.*cannot be told: pass n_heads"):
        InterCorticalTransformer.from_published(tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match="60 wide, which n_heads=7 does not divide"):
        InterCorticalTransformer.from_published(tmp_path / "odd.safetensors", n_heads=7)


def test_all_wrong_keys_are_named_in_one_error(tmp_path, weights):
    bias = weights.pop("classification_head.mlp.3.bias")
    weights |= {"extra": bias, "classification_head.norm.bias": bias[:3]}
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        InterCorticalTransformer.from_published(tmp_path)
    told = str(caught.value)
    assert "missing: classification_head.mlp.3.bias; unexpected: extra" in told
    assert "classification_head.norm.bias (3,) instead of (24,)" in told


def test_weights_that_are_not_numbers_are_refused(tmp_path, weights):
    weights["classification_head.norm.bias"][0] = np.nan
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"not finite: classification_head\.norm\.bias"):
        InterCorticalTransformer.from_published(tmp_path)


def test_another_architecture_is_refused(tmp_path):
    save_file({"layer.weight": np.ones((2, 2), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="not in the published RBTransformer layout"):
        InterCorticalTransformer.from_published(tmp_path)


class Bomb:
    """Leave a mark when unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (type(self.mark).touch, (self.mark,))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_refused_and_never_run(tmp_path, zipped):
    mark = tmp_path / "executed"
    path = tmp_path / "pytorch_model.bin"
    torch.save({"weight": Bomb(mark)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="holds pickled weights, which are never opened"):
        InterCorticalTransformer.from_published(path)
    assert not mark.exists()


@pytest.mark.parametrize("n_bytes", [0, 5, 40, 3000, -1])
def test_a_torn_file_is_refused(published, n_bytes):
    published.write_bytes(published.read_bytes()[:n_bytes])
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        InterCorticalTransformer.from_published(published)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist: give a folder or file"):
        InterCorticalTransformer.from_published(tmp_path / "nothing.safetensors")
