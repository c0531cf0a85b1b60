"""Context over windows: the past helps, the future is never seen, and live equals offline."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CallError, SignalError
from physioemo.models.catalogue import SAVED, ModelRow
from physioemo.models.checkpoint import load_model, save_model
from physioemo.models.sequence_training import predict_sequences, train_sequences
from physioemo.models.temporal_context import (
    CONTEXTS,
    ContextModel,
    require_causal,
    window_vectors,
)
from physioemo.models.training import TrainingConfig
from tests.models.fused_data import new_seed, scalars

CAUSAL = tuple(name for name in CONTEXTS if not name.startswith("offline"))
SMALL = {
    "single": {},
    "causal-convolution": {"embed_dim": 16, "depth": 2},
    "causal-transformer": {"embed_dim": 16, "memory_windows": 4},
    "offline-transformer": {"embed_dim": 16, "memory_windows": 4},
}
"""A new row needs one here."""


def build(context, seed=0, **options):
    torch.manual_seed(seed)
    options.setdefault("context_arguments", SMALL[context])
    return ContextModel(in_dim=5, dimensions=["valence", "arousal"], context=context, **options)


def bits(tensor):
    return tensor.numpy().tobytes()


windows = st.integers(1, 14).flatmap(
    lambda n: st.tuples(
        st.integers(0, 2**31),
        st.lists(st.sampled_from([True, True, True, False]), min_size=n, max_size=n),
    )
)


def made_up(drawn):
    """Return windows of which some are missing."""
    seed, known = drawn
    x = torch.randn(len(known), 5, generator=torch.Generator().manual_seed(seed))
    x[~torch.tensor(known)] = torch.nan
    return x


@pytest.mark.parametrize("context", CAUSAL)
@settings(max_examples=25, deadline=None)
@given(drawn=windows, cuts=st.lists(st.integers(1, 13), max_size=3))
def test_a_chunked_stream_is_the_batch_call_bit_for_bit(context, drawn, cuts):
    model, x = build(context).eval(), made_up(drawn)
    whole, end = model.run(x, model.start())
    state, parts = model.start(), []
    for part in np.split(np.arange(len(x)), sorted(c for c in cuts if c < len(x))):
        said, state = model.run(x[part], state)
        parts.append(said)
    assert bits(torch.cat([p.logits for p in parts])) == bits(whole.logits)
    assert bits(torch.cat([p.abstain for p in parts])) == bits(whole.abstain)
    assert all(bits(a) == bits(b) for a, b in zip(state.layers, end.layers, strict=True))
    at_once = model(x.unsqueeze(0))
    assert torch.allclose(at_once.logits[0], whole.logits, atol=1e-4)
    assert torch.equal(at_once.abstain[0], whole.abstain)


@pytest.mark.parametrize("context", CAUSAL)
@settings(max_examples=25, deadline=None)
@given(drawn=windows, when=st.integers(0, 13), other=st.integers(0, 2**31))
def test_the_future_changes_no_bit_of_the_past(context, drawn, when, other):
    model, x = build(context).eval(), made_up(drawn)
    when = min(when, len(x))
    changed = x.clone()
    rest = torch.randn(len(x) - when, 5, generator=torch.Generator().manual_seed(other))
    changed[when:] = 1e3 * rest
    before, after = (model.run(v, model.start())[0].logits for v in (x, changed))
    assert bits(before[:when]) == bits(after[:when])
    with torch.no_grad():
        before, after = (model(v.unsqueeze(0)).logits[0] for v in (x, changed))
    assert bits(before[:when]) == bits(after[:when])


def test_a_window_reaches_as_far_as_is_said():
    for context in ("causal-convolution", "causal-transformer"):
        model = build(context).eval()
        field = model.context.field_windows
        x = torch.randn(1, field + 1, 5)
        said = model(x).logits[0, -1]
        for back, heard in ((field - 1, True), (field, False)):
            changed = x.clone()
            changed[0, -1 - back] += 10.0
            assert torch.equal(model(changed).logits[0, -1], said) is not heard


def test_the_offline_one_sees_the_future_and_no_live_session_may_have_it():
    model = build("offline-transformer").eval()
    x = torch.randn(1, 6, 5)
    changed = x.clone()
    changed[0, 5] += 1.0
    assert not torch.equal(model(x).logits[0, 0], model(changed).logits[0, 0])
    assert model.offline_only and "offline" in model.config["context"]
    wanted = "found ContextModel for offline use only.*expected a causal model in a live session"
    with pytest.raises(CallError, match=wanted):
        require_causal(torch.nn.Sequential(model))
    with pytest.raises(CallError, match="for offline use only, which sees later windows"):
        model.start()
    for context in CAUSAL:
        require_causal(build(context))
        assert not build(context).offline_only


def test_a_context_reads_the_features_of_a_fusion():
    torch.manual_seed(0)
    fused = scalars(2).eval()
    inputs = {"m0": torch.randn(6, 4), "m1": torch.randn(6, 4)}
    inputs["m0"][3:5] = inputs["m1"][4] = torch.nan
    vectors = window_vectors(fused(inputs))
    assert vectors.shape == (6, 32)
    assert torch.isfinite(vectors).all(dim=1).tolist() == [True] * 4 + [False, True]
    model = ContextModel(in_dim=32, dimensions=["valence"]).eval()
    said, _ = model.run(vectors, model.start())
    assert torch.isfinite(said.logits).all() and not said.abstain.any()


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_saved_context_says_the_same_and_whether_it_may_be_live(tmp_path, monkeypatch, context):
    row = ModelRow("physioemo.models.temporal_context", "ContextModel", "Context.", ())
    monkeypatch.setitem(SAVED, "context", row)
    model = build(context).eval()
    save_model(tmp_path, model, name="context", metadata={"offline_only": model.offline_only})
    loaded, metadata = load_model(tmp_path)
    x = torch.randn(2, 6, 5)
    assert torch.equal(loaded(x).logits, model(x).logits)
    assert metadata["offline_only"] is loaded.offline_only is context.startswith("offline")


@pytest.mark.parametrize("context", CONTEXTS)
def test_missing_windows_are_no_numbers_and_nothing_at_all_is_the_prior(context):
    model = build(context, window_dropout=0.0).eval()
    share = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    model.set_prior(share)
    x = torch.randn(2, 7, 5)
    x[0], x[1, 2:4] = torch.nan, torch.nan
    said = model(x)
    assert said.abstain[0].all() and torch.isfinite(said.logits).all()
    assert torch.allclose(said.logits[0].exp(), share.expand(7, -1, -1), atol=1e-6)
    assert said.abstain[1].any().item() is (context == "single")
    model.train()
    model(x).logits.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_filling_a_sequence_up_changes_nothing():
    for context in CONTEXTS:
        model = build(context).eval()
        x = torch.randn(1, 5, 5)
        longer = torch.cat([x, torch.full((1, 4, 5), torch.nan)], dim=1)
        assert torch.allclose(model(longer).logits[:, :5], model(x).logits, atol=1e-5)


def recent_mean_data(n_sequences, rng, n_windows=20):
    """The class is the sign of the mean of the last three windows, along one direction."""
    x = rng.standard_normal((n_sequences, n_windows, 5)).astype(np.float32)
    total = np.apply_along_axis(np.convolve, 1, x[..., 2], np.ones(3))[:, :n_windows]
    labels = (total > 0).astype(int)
    labels[:, :2] = -1
    return x, labels


@pytest.mark.slow
@pytest.mark.parametrize("context", ["causal-convolution", "causal-transformer"])
def test_context_knows_what_a_single_window_cannot(context):
    seed = new_seed()
    rng = np.random.default_rng(seed)
    (x, y), (vx, vy), (tx, ty) = (recent_mean_data(n, rng) for n in (300, 60, 600))
    config = TrainingConfig(
        n_epochs=25, batch_size=32, learning_rate=5e-3, label_smoothing=0.0, seed=seed
    )
    scores = {}
    for name in ("single", context):
        torch.manual_seed(seed)
        model = ContextModel(
            in_dim=5, dimensions=["valence"], context=name, context_arguments=SMALL[name],
            window_dropout=0.0,
        )  # fmt: skip
        train_sequences(model, x, y, validation_sequences=vx, validation_labels=vy, config=config)
        said = predict_sequences(model, tx)[:, :, 0].argmax(-1)
        scores[name] = (said == ty)[ty >= 0].mean()
    print(scores)
    # One of three terms of equal variance: the signs agree with this probability.
    best_single = 0.5 + math.asin(1 / math.sqrt(3)) / math.pi
    assert best_single - 0.05 < scores["single"] < best_single + 0.03
    assert scores[context] > 0.9


def test_the_same_seed_gives_the_same_weights():
    x, y = recent_mean_data(12, np.random.default_rng(0))
    config = TrainingConfig(n_epochs=2, batch_size=8, seed=4)
    said = []
    for _ in range(2):
        torch.manual_seed(3)
        model = ContextModel(in_dim=5, dimensions=["valence"])
        before = torch.random.get_rng_state()
        train_sequences(model, x, y, validation_sequences=x, validation_labels=y, config=config)
        assert torch.equal(before, torch.random.get_rng_state())
        said.append(predict_sequences(model, x))
    assert np.array_equal(*said)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": "causal"}, "found the context 'causal', expected one of single, causal-conv"),
        ({"preset": "huge"}, "found the preset 'huge', expected one of tiny, study"),
        ({"context_arguments": {"width": 3}}, "the argument 'width' of 'causal-convolution'"),
        ({"context_arguments": {"kernel": 1}}, "found 3 layers of 1 taps, expected"),
        (
            {"context": "causal-transformer", "context_arguments": {"memory_windows": 1}},
            "a memory of 1 windows, expected",
        ),
        ({"dimensions": []}, r"found the dimensions \[\]"),
        ({"window_dropout": 1.0}, "window_dropout=1.0, expected one or more and 0 to below 1"),
    ],
)
def test_a_wrong_model_is_one_sentence(change, message):
    with pytest.raises(CallError, match=message):
        ContextModel(**{"in_dim": 3, "dimensions": ["valence"], **change})


def test_wrong_windows_are_one_sentence():
    model = build("causal-convolution")
    with pytest.raises(SignalError, match=r"shape \(2, 3, 4\), expected \(batch, window, 5\)"):
        model(torch.zeros(2, 3, 4))
    with pytest.raises(CallError, match="in training mode, expected eval"):
        model.step(torch.zeros(5), model.start())
    with pytest.raises(SignalError, match=r"shape \(1, 5\), expected \(5,\)"):
        model.eval().step(torch.zeros(1, 5), model.start())
    assert model.run(torch.zeros(0, 5), model.start())[0].logits.shape == (0, 2, 2)
    config, x = TrainingConfig(n_epochs=1), np.zeros((2, 3, 5))

    def train(labels):
        train_sequences(
            model, x, labels, validation_sequences=x, validation_labels=labels, config=config
        )

    with pytest.raises(SignalError, match=r"labels of shape \(2, 2\), expected \(2, 3, 2\)"):
        train(np.zeros((2, 2), int))
    with pytest.raises(SignalError, match="found no rating in labels, expected at least one"):
        train(np.full((2, 3, 2), -1))
    with pytest.raises(SignalError, match=r"sequences of shape \(2, 3\), expected \(sequence"):
        predict_sequences(model, np.zeros((2, 3)))


def test_every_row_can_be_loaded_and_described():
    assert set(SMALL) == set(CONTEXTS)
    for name, row in CONTEXTS.items():
        assert set(row.load_presets()) >= {"tiny", "study"} and row.description.endswith(".")
        assert row.load_class().offline_only is name.startswith("offline")
