"""Every model of the catalogue keeps the same contract; new rows join by themselves."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from physioemo.errors import CallError
from physioemo.models.catalogue import MODELS, build_model
from physioemo.models.checkpoint import load_model, model_id, save_model
from physioemo.models.prediction import predict_logits

N_CHANS, N_BANDS = 6, 3
DIMENSIONS = ("valence", "arousal", "dominance")

every_model = pytest.mark.parametrize("name", MODELS)


def small(name, **arguments):
    preset = min(MODELS[name].presets, key=lambda preset: preset != "tiny")
    sizes = {"n_chans": N_CHANS, "n_bands": N_BANDS, "n_outputs": 3}
    return build_model(name, preset, **{"seed": 0} | sizes | arguments)


def tokens(n_windows=7):
    rng = np.random.default_rng(2)
    return rng.normal(size=(n_windows, N_CHANS, N_BANDS)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "preset"), [(name, preset) for name, row in MODELS.items() for preset in row.presets]
)
def test_presets_build_and_give_logits(name, preset):
    model = build_model(name, preset, n_chans=N_CHANS, n_bands=N_BANDS)
    assert set(MODELS[name].presets) == set(MODELS[name].load_presets())
    assert model(torch.tensor(tokens())).shape == (7, 2)


@every_model
@pytest.mark.parametrize("dimensions", [None, DIMENSIONS])
def test_logits_have_the_shape_of_the_ratings(name, dimensions):
    logits = small(name, dimensions=dimensions)(torch.tensor(tokens()))
    assert logits.shape == ((7, 3) if dimensions is None else (7, 3, 3))


@every_model
def test_every_weight_gets_a_gradient(name):
    model = small(name, dimensions=DIMENSIONS)
    model(torch.tensor(tokens())).square().sum().backward()
    silent = [key for key, weight in model.named_parameters() if not weight.grad.abs().sum() > 0]
    assert silent == []


@every_model
@pytest.mark.parametrize("dimensions", [None, DIMENSIONS])
def test_checkpoint_round_trip_keeps_every_bit(tmp_path, name, dimensions):
    model = small(name, dimensions=dimensions).eval()
    save_model(tmp_path / "decoder", model, name=name, metadata={"channels": ["Fp1", "Ö"]})
    loaded, metadata = load_model(tmp_path / "decoder")
    assert metadata == {"channels": ["Fp1", "Ö"]}
    assert loaded.config == model.config
    assert model_id(loaded) == model_id(model) == model_id(tmp_path / "decoder")
    assert np.array_equal(predict_logits(loaded, tokens()), predict_logits(model, tokens()))


@every_model
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 3.0])
def test_masked_electrodes_change_nothing(name, value):
    model = small(name).eval()
    mask = torch.ones(7, N_CHANS, dtype=torch.bool)
    mask[:, 1] = mask[3, 4] = False
    spoilt = torch.tensor(tokens())
    spoilt[~mask] = value
    assert torch.equal(model(spoilt, mask), model(torch.tensor(tokens()), mask))


@every_model
def test_window_without_any_electrode_gives_finite_logits(name):
    nothing = torch.zeros(2, N_CHANS, dtype=torch.bool)
    logits = small(name).eval()(torch.full((2, N_CHANS, N_BANDS), torch.nan), nothing)
    assert logits.isfinite().all()


@every_model
@pytest.mark.parametrize("masked", [False, True])
def test_batched_and_single_windows_agree(name, masked):
    model = small(name)
    mask = np.random.default_rng(3).random((300, N_CHANS)) > 0.2 if masked else None
    batched = predict_logits(model, tokens(300), mask)
    single = predict_logits(model, tokens(300), mask, batch_size=1)
    np.testing.assert_allclose(batched, single, atol=1e-5)


@every_model
def test_seed_decides_the_weights_and_leaves_the_global_state(name):
    before = torch.get_rng_state()
    assert model_id(small(name)) == model_id(small(name)) != model_id(small(name, seed=1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "preset", "arguments", "told"),
    [
        ("intercorticl", "tiny", {}, "found the model 'intercorticl', .*did you mean 'intercort"),
        ("intercortical", "tinny", {}, "the preset 'tinny' of 'intercortical', .*mean 'tiny'"),
        (
            "intercortical",
            "tiny",
            {"n_chan": 3},
            "the argument 'n_chan' of 'intercortical', .*; did you mean 'n_chans'",
        ),
        ("intercortical", "tiny", {}, "cannot be built without n_chans: give it by name."),
    ],
)
def test_wrong_names_are_told_with_the_right_ones(name, preset, arguments, told):
    with pytest.raises(CallError, match=told):
        build_model(name, preset, **arguments)


def test_the_table_is_read_without_torch():
    code = "import sys, physioemo.models.catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
