"""Fusion of modalities: what is there is used, what is missing is missed as it must be."""

import numpy as np
import pytest
import torch

from physioemo.errors import CallError, SignalError
from physioemo.models.checkpoint import load_model, save_model
from physioemo.models.fused import ENCODERS, FUSIONS, FusedModel
from physioemo.models.fused_training import predict_fused, train_fused
from physioemo.models.missing_modalities import PATTERNS, drop_modalities, hide_tokens
from physioemo.models.modality_tokens import ModalityTokens
from physioemo.models.training import TrainingConfig
from tests.models.fused_data import (
    accuracy,
    bayes,
    effects_data,
    fit,
    new_seed,
    scalars,
    without,
)

EFFECTS = (1.2, 0.9, 0.6, 0.3)


def binomial_band(n, p=0.5):
    """Return how far a share of n tosses may lie from p, five standard deviations."""
    return 5 * np.sqrt(p * (1 - p) / n)


@pytest.fixture(scope="module")
def trained():
    seed = new_seed()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model = scalars(4, fusion_arguments={"modality_dropout": 0.35})
    inputs, labels = effects_data(EFFECTS, 8000, rng)
    fit(model, inputs, labels, seed)
    return model, effects_data(EFFECTS, 8000, rng)


@pytest.mark.slow
def test_each_modality_alone_is_within_three_hundredths_of_the_best(trained):
    model, (inputs, labels) = trained
    assert accuracy(model, inputs, labels) > bayes(*EFFECTS) - 0.03
    for i, effect in enumerate(EFFECTS):
        others = [f"m{j}" for j in range(4) if j != i]
        assert accuracy(model, without(inputs, *others), labels) > bayes(effect) - 0.03


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_more_is_missing_the_less_is_known(trained, pattern):
    model, (inputs, labels) = trained
    rng = np.random.default_rng(1)
    scores = []
    for share in (0.0, 0.25, 0.5, 0.75):
        tensors = {k: torch.tensor(v, dtype=torch.float32) for k, v in inputs.items()}
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        tokens = hide_tokens(model.encode(tensors), share, pattern, generator=generator)
        with torch.no_grad():
            said = model.fusion(tokens)
        kept = ~said.abstain.numpy()
        scores.append((said.logits[:, 0].argmax(-1).numpy() == labels)[kept].mean())
    assert scores == sorted(scores, reverse=True) and scores[0] - scores[-1] > 0.05


def test_with_everything_missing_it_abstains_and_says_the_prior():
    rng = np.random.default_rng(0)
    inputs, labels = effects_data((1.0, 0.5), 600, rng)
    labels[:300] = 1  # an unbalanced rating
    for fusion in FUSIONS:
        model = scalars(2, fusion=fusion)
        fit(model, inputs, labels, 0, n_epochs=2)
        nothing = {k: np.full((5, 4), np.nan) for k in inputs}
        logits, abstain = predict_fused(model, nothing)
        share = np.bincount(labels[:480]) / 480
        assert abstain.all() and np.isfinite(logits).all()
        assert np.exp(logits[0, 0]) == pytest.approx(share, abs=1e-5)
        _, some = predict_fused(model, without(inputs, "m0"))
        assert not some.any()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_is_masked_changes_nothing_and_gradients_stay_finite(fusion):
    torch.manual_seed(0)
    model = scalars(2, fusion=fusion, fusion_arguments={"modality_dropout": 0.0}).double()
    inputs = {k: torch.randn(6, 4, dtype=torch.float64) for k in ("m0", "m1")}
    inputs["m1"][:3] = torch.nan
    inputs["m0"][0] = torch.nan
    tokens = model.encode(inputs)
    spoiled = {
        k: ModalityTokens(
            torch.where(t.mask[..., None], t.values, 1e6),
            torch.where(t.mask, t.time_seconds, -77.0),
            t.mask,
        )
        for k, t in tokens.items()
    }
    assert torch.equal(model.fusion(tokens).logits, model.fusion(spoiled).logits)
    model.train()
    model(inputs).logits.square().sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.slow
def test_a_bit_of_the_brain_and_a_bit_of_the_sound_are_only_known_together():
    seed = new_seed()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)

    def draw(n):
        bits = rng.integers(0, 2, (n, 2))
        inputs = {
            name: np.concatenate(
                [2.0 * (2 * bits[:, i : i + 1] - 1), rng.standard_normal((n, 3))], axis=1
            ) + 0.5 * rng.standard_normal((n, 4))
            for i, name in enumerate(("m0", "m1"))
        }  # fmt: skip
        return inputs, bits[:, 0] ^ bits[:, 1]

    inputs, labels = draw(4000)
    tests, truth = draw(4000)
    both = scalars(2, fusion_arguments={"modality_dropout": 0.2})
    fit(both, inputs, labels, seed)
    assert accuracy(both, tests, truth) >= 0.97
    band = binomial_band(4000)
    for missing in ("m0", "m1"):
        assert abs(accuracy(both, without(tests, missing), truth) - 0.5) < max(0.05, band)
    late = scalars(2, fusion="late")
    fit(late, inputs, labels, seed, n_epochs=8)
    assert abs(accuracy(late, tests, truth) - 0.5) < max(0.05, band)


def test_when_something_was_said_counts():
    """The class is which of two equal tokens came first: only time tells."""
    seed = new_seed()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)

    class Timed(torch.nn.Module):
        embed_dim = 2

        def forward(self, values):
            identity = torch.eye(2).expand(len(values), -1, -1)
            return ModalityTokens(identity, values, torch.ones(values.shape, dtype=torch.bool))

    model = scalars(1)
    model.encoders["m0"] = Timed()
    model.fusion.projections["m0"] = torch.nn.Linear(2, 32)
    model.fusion.modalities["m0"] = 2
    times = -4 * torch.rand(3000, 2, generator=generator)
    labels = (times[:, 0] > times[:, 1]).long().numpy()
    fit(model, {"m0": times.numpy()}, labels, seed, n_epochs=30)
    assert accuracy(model, {"m0": times.numpy()}, labels) > 0.9


def test_dropping_modalities_keeps_one_of_those_that_are_there():
    present = torch.rand(5000, 3) < 0.5
    kept = drop_modalities(present, 0.6)
    assert not (kept & ~present).any()
    assert torch.equal(kept.any(dim=1), present.any(dim=1))
    three = drop_modalities(torch.ones(20_000, 3, dtype=torch.bool), 0.6)
    # All three are hidden with probability .216, and then one is kept.
    assert three.float().mean() == pytest.approx(0.4 + 0.216 / 3, abs=0.02)


def test_hiding_takes_the_stated_share():
    mask = torch.ones(4000, 20, dtype=torch.bool)
    tokens = {"a": ModalityTokens(torch.zeros(4000, 20, 1), torch.zeros(4000, 20), mask)}
    for pattern in PATTERNS:
        hidden = hide_tokens(tokens, 0.4, pattern)["a"].mask
        assert 1 - hidden.float().mean() == pytest.approx(0.4, abs=0.03)
    steps = hide_tokens(tokens, 0.4, "blocks")["a"].mask.int().diff(dim=1).ne(0).sum(dim=1)
    assert steps.max() <= 2
    with pytest.raises(CallError, match="the pattern 'rows'.*expected one of positions"):
        hide_tokens(tokens, 0.5, "rows")


def test_the_same_seed_gives_the_same_weights_and_leaves_chance_alone():
    inputs, labels = effects_data((1.0, 0.5), 400, np.random.default_rng(0))
    said = []
    for _ in range(2):
        torch.manual_seed(3)
        model = scalars(2)
        before = torch.random.get_rng_state()
        fit(model, inputs, labels, 7, n_epochs=3)
        assert torch.equal(before, torch.random.get_rng_state())
        said.append(predict_fused(model, inputs)[0])
    assert np.array_equal(*said)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_saved_model_says_the_same(tmp_path, fusion):
    torch.manual_seed(1)
    encoders = {
        "brain": {"encoder": "electrodes", "n_chans": 5, "n_bands": 4},
        "voice": {"encoder": "audio-wave"},
        "body": {"encoder": "scalars", "n_scalars": 3},
    }
    model = FusedModel(encoders=encoders, dimensions=["valence", "arousal"], fusion=fusion)
    rng = np.random.default_rng(2)
    inputs = {
        "brain": rng.standard_normal((4, 5, 4)),
        "voice": rng.standard_normal((4, 1600)),
        "body": rng.standard_normal((4, 3)),
    }
    save_model(tmp_path, model, name="fused", metadata={"note": "x"})
    loaded, metadata = load_model(tmp_path)
    assert metadata == {"note": "x"}
    assert np.array_equal(predict_fused(model, inputs)[0], predict_fused(loaded, inputs)[0])


def test_a_missing_rating_of_one_dimension_is_left_out():
    inputs, labels = effects_data((1.5,), 800, np.random.default_rng(0))
    two = np.stack([labels, np.where(np.arange(800) % 2, 1 - labels, -1)], axis=1)
    encoders = {"m0": {"encoder": "scalars", "n_scalars": 4}}
    torch.manual_seed(0)
    model = FusedModel(encoders=encoders, dimensions=["valence", "arousal"])
    fit(model, inputs, two, 0)
    logits, _ = predict_fused(model, inputs)
    said = logits.argmax(-1)
    assert (said[:, 0] == labels).mean() > 0.88 and (said[:, 1] == 1 - labels).mean() > 0.88


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fusion": "query"}, "found the fusion 'query', expected one of .*did you mean 'queries'"),
        ({"preset": "tini"}, "found the preset 'tini' of 'queries'.*did you mean 'tiny'"),
        (
            {"encoders": {"a": {"encoder": "scalar"}}},
            "the encoder 'scalar'.*did you mean 'scalars'",
        ),
        ({"encoders": {"a": {"encoder": "scalars"}}}, "found no n_scalars for the encoder"),
        (
            {"encoders": {"a": {"encoder": "scalars", "n_scalers": 3}}},
            "the argument 'n_scalers' of 'scalars'.*did you mean 'n_scalars'",
        ),
        (
            {"encoders": {"a b": {"encoder": "scalars"}}},
            "'a b', expected a plain name",
        ),
        ({"encoders": {}}, r"found the modalities \[\]"),
        ({"dimensions": ["valence", "valence"]}, "expected one or more of both, each once"),
        ({"fusion_arguments": {"modality_dropout": 1.0}}, "expected 0 to below 1"),
    ],
)
def test_a_wrong_model_is_one_sentence(change, message):
    good = {"encoders": {"a": {"encoder": "scalars", "n_scalars": 3}}, "dimensions": ["valence"]}
    with pytest.raises(CallError, match=message):
        FusedModel(**{**good, **change})


def test_wrong_inputs_are_one_sentence():
    model = scalars(2)
    with pytest.raises(SignalError, match="found the modalities m0, expected m0, m1; give each"):
        model({"m0": torch.zeros(2, 4)})
    with pytest.raises(SignalError, match=r"numbers of shape \(2, 3\), expected \(batch, 4\)"):
        model({"m0": torch.zeros(2, 3), "m1": torch.zeros(2, 4)})
    with pytest.raises(SignalError, match="expected the same number of each modality"):
        predict_fused(model, {"m0": np.zeros((2, 4)), "m1": np.zeros((3, 4))})
    config = TrainingConfig(n_epochs=1)
    inputs, nothing = {"m0": np.zeros((2, 4)), "m1": np.zeros((2, 4))}, np.full(2, -1)
    with pytest.raises(SignalError, match="labels have no rating, expected at least one"):
        train_fused(
            model, inputs, nothing, validation_inputs=inputs, validation_labels=nothing,
            config=config,
        )  # fmt: skip


def test_every_row_can_be_loaded_and_described():
    for row in (*ENCODERS.values(), *FUSIONS.values()):
        assert set(row.load_presets()) >= {"tiny", "study"}
        assert row.load_class().__doc__ and row.description.endswith(".")
