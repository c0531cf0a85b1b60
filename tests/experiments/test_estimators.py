"""Every estimator of the table keeps one contract; new rows join by themselves."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone

from physioemo.errors import CallError, CheckpointError, DataError, SignalError
from physioemo.experiments.estimator_inputs import Scaler, connectivity_tokens, training_rows
from physioemo.experiments.estimators import ESTIMATORS, build_estimator
from physioemo.experiments.estimators_torch import fit_together
from physioemo.models.training_plan import TrainingPlan

N_CHANNELS, N_TIMES = 4, 200
QUICK = {"n_epochs": 2}
ROWS = [name for name, row in ESTIMATORS.items() if not row.needs_weights]
CLASSIFIERS = [name for name in ROWS if not ESTIMATORS[name].continuous]
TOKEN_MODELS = ["logistic", "svm", "mlp", "deepsets", "intercortical"]

every_row = pytest.mark.parametrize("name", ROWS)
every_classifier = pytest.mark.parametrize("name", CLASSIFIERS)


def quick(name, **options):
    epochs = QUICK if ESTIMATORS[name].uses_torch else {}
    return build_estimator(name, "small", **epochs | options)


def features(name, n_windows=60, seed=0):
    rng = np.random.default_rng(seed)
    last = {"raw": N_TIMES, "connectivity": 3 + 2 * N_CHANNELS}.get(ESTIMATORS[name].reads, 3)
    return rng.normal(size=(n_windows, N_CHANNELS, last))


def targets(name, n_windows=60, n_classes=2):
    rng = np.random.default_rng(9)
    if ESTIMATORS[name].continuous:
        return rng.uniform(1, 9, n_windows)
    return np.array(["high", "low", "mid"])[rng.integers(0, n_classes, n_windows)]


def outcome(name, estimator, X):
    return estimator.predict(X) if ESTIMATORS[name].continuous else estimator.predict_proba(X)


def test_where_the_last_epoch_counts_all_rows_train():
    X, y = features("intercortical"), targets("intercortical")
    estimator = quick("intercortical", keep="last").fit(X, y)
    assert np.allclose(estimator.scaler_.mean, X.mean(axis=0))
    assert estimator.training_.best_epoch == QUICK["n_epochs"] - 1
    with pytest.raises(CallError, match="found validation rows with keep = 'last', which trains"):
        quick("mlp", keep="last").fit(X, y, validation=np.arange(60) < 9)
    with pytest.raises(CallError, match="found keep = 'lats', expected one of best, last"):
        quick("mlp", keep="lats").fit(X, y)


@every_row
def test_fit_and_predict_keep_the_contract(name):
    X, y = features(name), targets(name)
    estimator = quick(name)
    assert clone(estimator).get_params() == estimator.get_params()
    assert estimator.fit(X, y) is estimator
    assert estimator.predict(X).shape == (60,)
    if ESTIMATORS[name].continuous:
        return
    probability = estimator.predict_proba(X)
    assert probability.shape == (60, 2)
    assert list(estimator.classes_) == ["high", "low"]
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert (estimator.predict(X) == estimator.classes_[probability.argmax(axis=1)]).all()
    assert 0 <= estimator.score(X, y) <= 1


@every_row
def test_the_seed_decides_and_the_global_state_stays(name):
    X, y = features(name), targets(name)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (outcome(name, quick(name, seed=3).fit(X, y), X) for _ in range(2))
    assert np.array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    if ESTIMATORS[name].uses_torch:
        assert not np.array_equal(outcome(name, quick(name, seed=4).fit(X, y), X), first)


# The temperature of a support vector machine is learned on validation windows.
@pytest.mark.parametrize("name", [name for name in ROWS if name != "svm"])
def test_validation_windows_never_reach_scaler_or_weights(name):
    X, y = features(name), targets(name)
    validation = np.arange(60) >= 45
    other = X.copy()
    other[50] += 1e6  # one window of the side that only chooses
    kwargs = {"validation": validation}
    fits = [quick(name, **_one_choice(name)).fit(x, y, **kwargs) for x in (X, other)]
    assert np.array_equal(*(outcome(name, fit, X[:45]) for fit in fits))


def _one_choice(name):
    """Options under which there is nothing left to choose."""
    if name in ("logistic", "ridge"):
        return {"penalties": (1.0,)}
    return {"n_epochs": 1} if ESTIMATORS[name].uses_torch else {}


@every_row
def test_missing_values_and_masked_channels_are_taken(name):
    X, y = features(name), targets(name)
    X[3, 1] = X[7, 2, 0] = X[50] = np.nan
    mask = np.ones((60, N_CHANNELS), dtype=bool)
    mask[:, 0] = False
    estimator = quick(name).fit(X, y, channel_mask=mask)
    spoilt = X.copy()
    spoilt[:, 0] = 1e9
    results = [estimator.predict(x, channel_mask=mask) for x in (X, spoilt)]
    assert np.array_equal(*results)
    assert np.isfinite(outcome(name, estimator, np.full_like(X, np.nan))).all()


@every_classifier
def test_classes_that_are_absent_in_training_have_probability_zero(name):
    X, y = features(name), targets(name)
    estimator = quick(name).fit(X, y, classes=["high", "low", "mid"])
    probability = estimator.predict_proba(X)
    assert probability.shape == (60, 3)
    assert (probability[:, 2] == 0).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1)


@every_classifier
def test_three_classes_and_groups_are_taken(name):
    X, y = features(name), targets(name, n_classes=3)
    estimator = quick(name).fit(X, y, groups=np.arange(60) // 3)
    assert estimator.predict_proba(X).shape == (60, 3)


@every_row
def test_data_that_cannot_be_learned_are_told(name):
    X, y = features(name), targets(name)
    same = np.full(60, y[0])
    with pytest.raises(DataError, match="found one .* only .* in the 48 windows to train on, exp"):
        quick(name).fit(X, same)
    infinite = X.copy()
    infinite[2, 1, 1] = np.inf
    with pytest.raises(SignalError, match="found 1 infinite features, expected numbers, or NaN"):
        quick(name).fit(infinite, y)
    with pytest.raises(CallError, match="has not been fitted, expected a fitted one; call fit"):
        quick(name).predict(X)
    with pytest.raises(CallError, match=r"found (59 labels|ratings of shape \(59,\))"):
        quick(name).fit(X, y[1:])
    with pytest.raises(CallError, match="found 0 validation rows among 60 windows, expected some"):
        quick(name).fit(X, y, validation=np.zeros(60, bool))
    with pytest.raises(SignalError, match="found a channel mask of float64 and shape"):
        quick(name).fit(X, y, channel_mask=np.ones((60, N_CHANNELS)))
    with pytest.raises(SignalError, match=r"expected \(window, 4, .* as in fit; give the same"):
        quick(name).fit(X, y).predict(X[:, :, :-1])


def test_wrong_names_are_told_with_the_right_ones():
    with pytest.raises(
        CallError, match="the estimator 'logistics', expected one of .*mean 'logistic'"
    ):
        build_estimator("logistics")
    with pytest.raises(
        CallError, match="the preset 'smal', expected one of default, small; did you"
    ):
        build_estimator("svm", "smal")
    with pytest.raises(
        CallError, match="the option 'n_epoch' of 'mlp', .*; did you mean 'n_epochs'"
    ):
        build_estimator("mlp", n_epoch=3)
    with pytest.raises(DataError, match="found the label 'mid', expected one of high, low"):
        quick("majority").fit(
            features("majority"), targets("majority", n_classes=3), classes=["high", "low"]
        )


def test_the_table_is_read_without_torch_or_sklearn():
    code = (
        "import sys, physioemo.experiments.estimators as e;"
        "sys.exit(bool({'torch', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_scaler_knows_training_windows_alone():
    values = np.random.default_rng(0).normal(3, 2, (500, 4, 2))
    values[::7, 1, 0] = np.nan
    values[:, 2, 1] = 5.0
    scaled = Scaler.fit(values).apply(values)
    np.testing.assert_allclose(np.nanmean(scaled, axis=0), 0, atol=1e-12)
    spread = np.nanstd(scaled, axis=0)
    np.testing.assert_allclose(np.delete(spread.ravel(), 5), 1)
    assert spread[2, 1] == 0


def test_groups_stay_whole_when_rows_are_held_out():
    groups = np.arange(100) // 10
    train, chosen = training_rows(100, groups, seed=1)
    assert sorted([*train, *chosen]) == list(range(100))
    assert not set(groups[train]) & set(groups[chosen])
    assert len(chosen) == 20


def test_connectivity_stands_in_the_tokens_of_both_electrodes():
    tokens = np.zeros((2, 3, 4))
    pairs = np.arange(2 * 1 * 3 * 2, dtype=float).reshape(2, 1, 3, 2)  # pairs 01, 02, 12
    extended = connectivity_tokens(tokens, pairs)
    assert extended.shape == (2, 3, 4 + 3 * 2)
    row = extended[1, 2, 4:].reshape(3, 2)  # electrode 2 beside electrodes 0, 1, 2
    np.testing.assert_array_equal(row, [pairs[1, 0, 1], pairs[1, 0, 2], [0, 0]])
    with pytest.raises(SignalError, match=r"found connectivity of shape \(2, 1, 2, 2\), expected"):
        connectivity_tokens(tokens, pairs[:, :, :2])


def test_many_fitted_together_are_those_fitted_alone():
    fits = [
        {"X": features("deepsets", 50 + 9 * i, seed=i), "y": targets("deepsets", 50 + 9 * i)}
        for i in range(3)
    ]
    fits[2]["y"] = targets("deepsets", 68, n_classes=3)
    alone = [quick("deepsets", seed=i).fit(**fit) for i, fit in enumerate(fits)]
    together = [quick("deepsets", seed=i) for i in range(3)]
    assert fit_together(together, fits, plan=TrainingPlan(2)) == together
    for a, b, fit in zip(alone, together, fits, strict=True):
        np.testing.assert_allclose(a.predict_proba(fit["X"]), b.predict_proba(fit["X"]), atol=1e-5)
    with pytest.raises(CallError, match="differ in more than their seed, expected one kind"):
        fit_together([quick("deepsets"), quick("mlp")], fits[:2])


def test_bfloat16_is_refused_where_it_cannot_be():
    X, y = features("mlp"), targets("mlp")
    with pytest.raises(CallError, match="precision = 'half', expected one of float32, bfloat16"):
        quick("mlp", precision="half").fit(X, y)
    with pytest.raises(CallError, match="'bfloat16' on the device 'cuda', expected 'cpu'; leave"):
        quick("mlp", precision="bfloat16", device="cuda").fit(X, y)
    for name in ("logistic", "eegnet", "fused-transformer"):
        with pytest.raises(CallError, match=f"found the option 'precision' of '{name}', exp"):
            quick(name, precision="bfloat16")


@pytest.mark.parametrize("name", ["deepsets", "intercortical"])
def test_a_window_without_electrodes_gets_the_shares_of_training(name):
    X, y = features(name), targets(name)
    validation = np.arange(60) >= 40
    estimator = quick(name).fit(X, y, validation=validation)
    share = (y[~validation] == "high").mean()
    nothing = estimator.predict_proba(np.full((1, *X.shape[1:]), np.nan))
    np.testing.assert_allclose(nothing, [[share, 1 - share]])


def test_a_feature_that_is_missing_is_a_feature():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 5)), rng.integers(0, 2, 300)
    X[y == 1, 3] = np.nan
    assert quick("logistic").fit(X, y).score(X, y) > 0.99


def test_ridge_finds_a_planted_slope():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 6))
    y = 5 + 2 * X[:, 2] + 0.5 * rng.normal(size=900)
    estimator = quick("ridge").fit(X[:600], y[:600])
    assert np.sqrt(np.mean((estimator.predict(X[600:]) - y[600:]) ** 2)) < 0.55


def test_large_models_want_local_weights(tmp_path):
    for name, row in ESTIMATORS.items():
        if row.needs_weights:
            with pytest.raises(CallError, match="without weights: give weights= the path of a lo"):
                build_estimator(name)
    X, y = features("eegnet"), targets("eegnet")
    with pytest.raises(CheckpointError, match=r"found no readable weights at .*nothing"):
        quick("eegnet", weights=tmp_path / "nothing").fit(X, y)


def test_local_weights_are_where_training_begins(tmp_path):
    from safetensors.torch import save_file

    X, y = features("eegnet"), targets("eegnet")
    trained = quick("eegnet", seed=1).fit(X, y)
    state = {k: v.contiguous() for k, v in trained.net_.module_.state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    still = {"learning_rate": 1e-12, "weight_decay": 0.0, "n_epochs": 1}
    row = ESTIMATORS["eegnet"]
    again = row.load_class()(**row.arguments, **still, weights=tmp_path / "a.safetensors").fit(X, y)
    for key, value in again.net_.module_.named_parameters():
        if not key.startswith("final_layer"):
            torch.testing.assert_close(value.detach(), state[key], atol=1e-5, rtol=0)
    save_file({"x": torch.ones(1)}, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match="that do not fit EEGNet at .*, expected the same"):
        quick("eegnet", weights=tmp_path / "b.safetensors").fit(X, y)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("labram", {"channels": ["Fp1", "Fp2", "O1", "O2"]}),
        ("biot", {"sfreq": 200.0}),
    ],
)
def test_large_models_learn_from_local_weights(tmp_path, name, options):
    import braindecode.models
    from safetensors.torch import save_file

    sizes = {"num_layers": 1}
    X = np.random.default_rng(0).normal(size=(40, N_CHANNELS, 400))
    y = targets(name, 40)
    made = getattr(braindecode.models, ESTIMATORS[name].arguments["model"])(
        n_chans=N_CHANNELS, n_times=400, n_outputs=5, sfreq=200.0, **sizes
    )
    state = {k: v.clone().contiguous() for k, v in made.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    options = options | {"weights": tmp_path / "w.safetensors", "sizes": sizes, "n_epochs": 1}
    assert quick(name, **options).fit(X, y).predict_proba(X).shape == (40, 2)
    if "channels" in options:
        with pytest.raises(CallError, match="found no channel names for 4 channels, expected one"):
            quick(name, **options | {"channels": None}).fit(X, y)


def test_windows_too_short_for_a_network_are_told():
    with pytest.raises(CallError, match="4 channels and 20 samples from which EEGConformer cannot"):
        quick("conformer").fit(features("conformer")[:, :, :20], targets("conformer"))
