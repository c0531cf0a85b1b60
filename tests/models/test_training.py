"""Training finds what is there, finds nothing where there is nothing, and repeats itself."""

import copy
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from physioemo.errors import CallError, SignalError
from physioemo.models.catalogue import build_model
from physioemo.models.checkpoint import model_id
from physioemo.models.losses import class_weights, weighted_cross_entropy
from physioemo.models.training import TrainingConfig, predict_logits, train_model

N_CHANS = 6
CONFIG = TrainingConfig(n_epochs=15, batch_size=64, learning_rate=3e-3, patience=5, seed=4)


def planted(n_windows, seed):
    """Tokens whose class is the sign of one band of one electrode."""
    tokens = np.random.default_rng(seed).normal(size=(n_windows, N_CHANS, 4))
    return tokens, (tokens[:, 3, 2] > 0).astype(int)


def fit(model, tokens, labels, validation, config=CONFIG, **more):
    return train_model(
        model,
        tokens,
        labels,
        validation_tokens=validation[0],
        validation_labels=validation[1],
        config=config,
        **more,
    )


def tiny(**arguments):
    return build_model("intercortical", "tiny", **{"n_chans": N_CHANS, "seed": 0} | arguments)


def n_correct(model, tokens, labels):
    return int((predict_logits(model, tokens).argmax(-1) == labels).sum())


def test_a_planted_rule_is_learned():
    model = tiny()
    result = fit(model, *planted(1500, 1), planted(300, 2))
    assert n_correct(model, *planted(500, 3)) > 450
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    assert not model.training


def test_without_validation_windows_the_last_epoch_counts():
    tokens, labels = planted(300, 1)
    model, seen = tiny(), tiny()
    last = {}
    result = train_model(model, tokens, labels, config=CONFIG)
    fit(
        seen,
        tokens,
        labels,
        planted(50, 2),
        replace(CONFIG, patience=99),
        on_epoch=lambda row: last.update(copy.deepcopy(seen.state_dict())),
    )
    assert result.best_epoch == CONFIG.n_epochs - 1 and not result.stopped_early
    assert all("validation_loss" not in row for row in result.history)
    assert all(torch.equal(value, last[name]) for name, value in model.state_dict().items())
    with pytest.raises(SignalError, match="found validation_labels alone, expected tokens and"):
        train_model(tiny(), tokens, labels, validation_labels=labels, config=CONFIG)


def test_late_batches_are_smaller_from_their_epoch_on():
    late = replace(CONFIG, n_epochs=4, late_batch_size=16, late_from_epoch=2)
    assert [late.batch_size_at(e) for e in range(4)] == [64, 64, 16, 16]
    results = [
        fit(tiny(), *planted(256, 1), planted(50, 2), config).history
        for config in (late, replace(CONFIG, n_epochs=4))
    ]
    assert results[0][:2] == results[1][:2]
    # Four times as many steps learn more in an epoch.
    assert results[0][2]["validation_loss"] < results[1][2]["validation_loss"]
    with pytest.raises(CallError, match="late_batch_size=16 and late_from_epoch=None, expected bo"):
        replace(CONFIG, late_batch_size=16)


def test_shuffled_labels_do_not_beat_chance():
    tokens, labels = planted(1500, 1)
    held_out_tokens, held_out = planted(800, 2)
    rng = np.random.default_rng(5)
    model = tiny()
    fit(
        model,
        tokens,
        rng.permutation(labels),
        (held_out_tokens[:300], rng.permutation(held_out[:300])),
    )
    right = n_correct(model, held_out_tokens[300:], held_out[300:])
    assert binomtest(right, 500, 0.5, alternative="greater").pvalue > 0.001


def test_same_seed_same_bits_and_global_state_untouched():
    torch.manual_seed(99)
    before = torch.get_rng_state()
    ids = []
    for seed, noise in ((4, 1), (4, 2), (5, 3)):
        torch.manual_seed(noise)
        at_start = torch.get_rng_state()
        model = tiny()
        fit(model, *planted(200, 1), planted(50, 2), replace(CONFIG, n_epochs=3, seed=seed))
        ids.append(model_id(model))
        assert torch.equal(torch.get_rng_state(), at_start)
    torch.set_rng_state(before)
    assert ids[0] == ids[1] != ids[2]


def test_the_best_weights_are_restored_and_patience_ends_training():
    tokens, labels = planted(80, 1)
    validation, seen = planted(60, 2), []
    model = tiny()
    wrong_way_round = validation[0], 1 - validation[1]
    config = replace(CONFIG, n_epochs=40, patience=3)
    result = fit(model, tokens, labels, wrong_way_round, config, on_epoch=seen.append)
    losses = [row["validation_loss"] for row in result.history]
    assert result.stopped_early
    assert seen == result.history
    assert result.best_epoch == int(np.argmin(losses)) == len(losses) - 1 - 3
    logits = torch.tensor(predict_logits(model, wrong_way_round[0])).unsqueeze(1)
    weights = class_weights(torch.tensor(labels).unsqueeze(1), 2)
    again = weighted_cross_entropy(logits, torch.tensor(wrong_way_round[1]).unsqueeze(1), weights)
    assert float(again) == pytest.approx(min(losses), abs=1e-6)


def test_learning_rate_is_a_cosine_from_the_first_to_almost_nothing():
    result = fit(tiny(), *planted(64, 1), planted(32, 2), replace(CONFIG, patience=99))
    rates = [row["learning_rate"] for row in result.history]
    assert rates[0] == 3e-3
    assert rates == sorted(rates, reverse=True)
    assert 1e-6 < rates[-1] < 1e-4


def test_missing_ratings_of_one_dimension_do_not_matter():
    tokens, labels = planted(600, 1)
    both = np.stack([labels, 1 - labels], axis=1)
    both[::2, 1] = -1
    both[5] = -1
    held_out_tokens, held_out = planted(200, 2)
    model = tiny(dimensions=["valence", "arousal"])
    fit(model, tokens, both, (held_out_tokens, np.stack([held_out, np.full(200, -1)], axis=1)))
    predicted = predict_logits(model, held_out_tokens).argmax(-1)
    assert (predicted[:, 0] == held_out).mean() > 0.85
    assert (predicted[:, 1] == 1 - held_out).mean() > 0.8


def test_masked_nan_tokens_and_empty_windows_are_left_out():
    tokens, labels = planted(300, 1)
    mask = np.ones((300, N_CHANS), dtype=bool)
    mask[:, 0] = mask[7] = False
    first, second = tiny(), tiny()
    config = replace(CONFIG, n_epochs=2)
    fit(first, tokens, labels, planted(50, 2), config, electrode_mask=mask)
    kept = np.arange(300) != 7
    tokens[~mask] = np.nan
    fit(second, tokens[kept], labels[kept], planted(50, 2), config, electrode_mask=mask[kept])
    assert model_id(first) == model_id(second)


def test_input_is_not_changed_and_may_be_read_only():
    tokens, labels = planted(64, 1)
    mask = np.random.default_rng(0).random((64, N_CHANS)) > 0.3
    before = tokens.copy()
    tokens.flags.writeable = labels.flags.writeable = mask.flags.writeable = False
    fit(tiny(), tokens, labels, (tokens, labels), replace(CONFIG, n_epochs=1), electrode_mask=mask)
    assert np.array_equal(tokens, before)


def spoilt_tokens():
    tokens, labels = planted(20, 1)
    tokens[12, 3, 1] = np.nan
    return tokens, labels


def spoilt_labels(value):
    tokens, labels = planted(20, 1)
    labels[7] = value
    return tokens, labels


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (spoilt_tokens(), "tokens[12, 3, 1] is nan, expected a finite value: mask the electrode"),
        (spoilt_labels(2), "labels[7, 0] is 2, expected a class from 0 to 1, or −1 for missing."),
        (spoilt_labels(-2), "labels[7, 0] is -2, expected a class from 0 to 1"),
        ((planted(20, 1)[0], planted(19, 1)[1]), "labels are int64 of shape (19,), expected"),
        ((planted(20, 1)[0], np.zeros(20)), "labels are float64 of shape (20,), expected whole"),
        ((planted(20, 1)[0], np.full(20, -1)), "labels have no rating in a window with a usable"),
        ((planted(20, 1)[0][:, :5], planted(20, 1)[1]), "tokens have shape (1, 5, 4), but this"),
        ((planted(20, 1)[0][0], planted(20, 1)[1]), "tokens are float64 of shape (1, 4), expect"),
        ((np.full((2, N_CHANS, 4), 1e300), [0, 1]), "tokens[0, 0, 0] is inf, expected a finite"),
    ],
)
def test_data_that_cannot_be_trained_on_are_told(data, told):
    with pytest.raises(SignalError) as caught:
        fit(tiny(), *data, planted(9, 2))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (spoilt_tokens(), r"^validation_tokens\[12, 3, 1\] is nan"),
        (spoilt_labels(2), r"^validation_labels\[7, 0\] is 2"),
    ],
)
def test_validation_data_are_told_by_their_own_name(data, told):
    with pytest.raises(SignalError, match=told):
        fit(tiny(), *planted(9, 2), data)


def test_a_mask_of_another_shape_is_told():
    with pytest.raises(SignalError, match=r"electrode_mask is bool of shape \(9, 6\), expected"):
        predict_logits(tiny(), planted(8, 1)[0], np.ones((9, N_CHANS), dtype=bool))


def test_divergence_is_told():
    config = replace(CONFIG, learning_rate=1e30)
    with pytest.raises(CallError, match=r"training diverged in epoch .* lower learning_rate"):
        fit(tiny(), *planted(200, 1), planted(50, 2), config)


@pytest.mark.parametrize(
    ("field", "value"), [("n_epochs", 0), ("learning_rate", -1.0), ("label_smoothing", 1.0)]
)
def test_configurations_out_of_range_are_told(field, value):
    with pytest.raises(CallError, match=f"{field}={value} is out of range: give "):
        TrainingConfig(**{field: value})


def test_configuration_is_json():
    assert TrainingConfig(**json.loads(json.dumps(asdict(CONFIG)))) == CONFIG


def test_prediction_leaves_the_mode_and_asks_for_a_batch():
    model = tiny().train()
    logits = predict_logits(model, planted(5, 1)[0])
    assert model.training
    assert logits.dtype == np.float32
    with pytest.raises(CallError, match="batch_size=0 is out of range: give 1 or more"):
        predict_logits(model, planted(5, 1)[0], batch_size=0)


def test_a_baseline_without_masks_trains_as_well():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(N_CHANS * 4, 2))
    fit(model, *planted(800, 1), planted(100, 2), replace(CONFIG, learning_rate=0.03))
    assert n_correct(model, *planted(200, 3)) > 180


@pytest.mark.parametrize("smoothing", [0.0, 0.12])
def test_loss_is_that_of_torch_and_finite_without_ratings(smoothing):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 1, 3, generator=generator)
    labels = torch.randint(-1, 3, (40, 1), generator=generator)
    weights = class_weights(labels, 3)
    ours = weighted_cross_entropy(logits, labels, weights, label_smoothing=smoothing)
    theirs = torch.nn.functional.cross_entropy(
        logits[:, 0], labels[:, 0], weights[0], ignore_index=-1, label_smoothing=smoothing
    )
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)
    assert float(weighted_cross_entropy(logits, torch.full((40, 1), -1), weights)) == 0


def test_class_weights_give_every_class_the_same_say():
    labels = torch.tensor([[0], [0], [0], [2], [-1]])
    weights = class_weights(labels, 3)
    assert weights.tolist() == [[pytest.approx(2 / 3), 0.0, 2.0]]
