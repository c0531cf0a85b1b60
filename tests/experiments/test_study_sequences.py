"""Context and pooling in a study: what a window of the same trial told is known, no other is."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from physioemo.errors import CallError, DataError
from physioemo.experiments.estimators import build_estimator
from physioemo.experiments.study_cli import study as command
from physioemo.experiments.study_config import ModelChoice
from physioemo.experiments.study_fused_options import CONTEXT_NAMES, POOLING_NAMES
from physioemo.experiments.study_models import kept_predictions
from physioemo.experiments.study_report import write_study_report
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.trial_sequences import TrialSequences, require_one_hop
from physioemo.models.multiple_instance import POOLINGS
from physioemo.models.temporal_context import CONTEXTS
from tests.experiments.study_planted import fused, score, study, told_once

FIRST = (
    fused("alone"),
    fused("before", context="causal-convolution"),
    fused("offline", context="offline-transformer"),
)
ANYWHERE = (
    fused("alone"),
    fused("bag", pooling="attention"),
    fused("whole", pooling="max", bag="trial"),
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return {
        where: write_study_data(told_once(where), folder / f"{where}.zarr")
        for where in ("first", "anywhere")
    }


@pytest.fixture(scope="module")
def first(stores, tmp_path_factory):
    out = tmp_path_factory.mktemp("first") / "out"
    declared = study(stores["first"], *FIRST, keep_models=True)
    return declared, run_study(declared, out), out


def test_what_the_first_window_told_is_known_in_the_later_ones(first):
    _, results, _ = first
    assert score(results, "alone", "window") < 0.75  # one window of six tells
    for label in ("before", "offline"):
        assert score(results, label, "window") > 0.9, label


def test_one_window_of_a_trial_tells_of_all_of_it(stores, tmp_path):
    results = run_study(study(stores["anywhere"], *ANYWHERE), tmp_path / "out")
    assert score(results, "alone", "window") < 0.7
    assert score(results, "whole", "window") > 0.9 and score(results, "whole") > 0.9
    # Of the newest windows: unknown until it is told, and then remembered.
    assert 0.65 < score(results, "bag", "window") < 0.95
    assert list(results["offline"]) == ["whole"]


def rows_of(data):
    return (
        data.families["de"],
        (data.ratings["valence"] > 5).astype(int),
        {"trials": data.groups.trial_id, "onset_seconds": data.groups.onset_seconds},
    )


def fitted(options, data, order=None):
    x, y, where = rows_of(data)
    order = np.arange(len(y)) if order is None else order
    made = build_estimator("concat-mlp", "small", n_epochs=3, learning_rate=5e-3, **options)
    where = {k: v[order] for k, v in where.items()}
    return made.fit(x[order], y[order], groups=where["trials"], **where)


CAUSAL = [{"context": "causal-convolution"}, {"context": "causal-transformer"}, {"pooling": "max"}]
AHEAD = [{"context": "offline-transformer"}, {"pooling": "mean", "bag": "trial"}]


@pytest.mark.parametrize("options", [*CAUSAL, *AHEAD])
def test_only_windows_of_the_own_trial_count_and_of_a_causal_model_no_later_ones(options):
    data = told_once("first", n_trials=6)
    model = fitted(options, data)
    x, _, where = rows_of(data)
    said = model.predict_proba(x, **where)
    other = x.copy()
    other[6:] += 3.0  # other trials
    assert np.array_equal(model.predict_proba(other, **where)[:6], said[:6])
    later, before = x.copy(), x.copy()
    later[3:6] += 3.0
    before[0] += 3.0
    changed = model.predict_proba(later, **where)[:3]
    assert np.array_equal(changed, said[:3]) == (options in CAUSAL)
    assert not np.array_equal(model.predict_proba(before, **where)[1:6], said[1:6])
    alone = model.predict_proba(x[6:9], **{k: v[6:9] for k, v in where.items()})
    assert np.allclose(alone, said[6:9], rtol=0, atol=1e-5) == (options in CAUSAL)


@pytest.mark.parametrize("options", [CAUSAL[0], CAUSAL[2], AHEAD[0]])
def test_the_order_of_the_rows_changes_no_bit(options):
    data = told_once("first", n_trials=8)
    order = np.random.default_rng(3).permutation(len(data))
    x, _, where = rows_of(data)
    one, other = fitted(options, data), fitted(options, data, order)
    shuffled = {k: v[order] for k, v in where.items()}
    assert np.array_equal(
        one.predict_proba(x, **where)[order], other.predict_proba(x[order], **shuffled)
    )


def test_a_context_begins_anew_after_a_gap_and_a_bag_bridges_it():
    data = told_once("first", n_trials=6)
    x, _, where = rows_of(data)
    rows = np.array([0, 1, 4, 5])  # two windows of the first trial are not there
    gap = {k: v[rows] for k, v in where.items()}
    late = {k: v[4:6] for k, v in where.items()}
    model = fitted(CAUSAL[0], data)
    assert model.hop_seconds_ == 0.5
    anew = model.predict_proba(x[4:6], **late)
    np.testing.assert_allclose(model.predict_proba(x[rows], **gap)[2:], anew, atol=1e-5)
    bag = fitted(CAUSAL[2], data)
    with_first = bag.predict_proba(x[rows], **gap)[2:]
    assert not np.allclose(with_first, bag.predict_proba(x[4:6], **late), atol=1e-4)


def test_windows_without_anything_are_the_prior_and_one_is_bridged():
    data = told_once("first", n_trials=6)
    x, _, where = rows_of(data)
    model = fitted(CAUSAL[0], data)
    spoilt = x.copy()
    spoilt[:6], spoilt[8] = np.nan, np.nan
    said = model.predict_proba(spoilt, **where)
    np.testing.assert_allclose(said[:6], np.tile(model.prior_, (6, 1)))
    assert not np.allclose(said[8], said[0]) and np.isfinite(said).all()


def test_kept_models_say_the_same_bits_of_the_same_trials(first):
    declared, _, out = first
    for label in ("before", "offline"):
        rows, said = kept_predictions(out, declared, label, "valence", 1)
        stored = xr.open_zarr(out / "predictions.zarr", consolidated=False)["predicted"]
        of = stored.sel(model=label).isel(dimension=0).values[rows]
        assert np.array_equal(said, of)


def test_an_offline_model_is_marked_everywhere(first):
    _, results, out = first
    why = "the context 'offline-transformer' sees later windows of the trial"
    assert results["offline"] == {"offline": why}
    assert json.loads((out / "results.json").read_text())["offline"] == {"offline": why}
    page = write_study_report(results, out)
    text = page.read_text("utf-8")
    assert "offline (offline only)" in text and "no live session can say this" in text
    assert "before (offline only)" not in text


def two_families(data):
    noise = np.random.default_rng(1).normal(size=(len(data), 2))
    return replace(
        data,
        families={**data.families, "gaze": noise},
        coords={**data.coords, "gaze": {"feature": ("x", "y")}},
    )


def test_families_are_compared_and_labels_permuted_with_a_context(tmp_path):
    store = write_study_data(two_families(told_once("first")), tmp_path / "two.zarr")
    model = fused("both", families=["de", "gaze"], context="causal-convolution")
    declared = study(store, model, families=("de", "gaze"), modalities="both", n_permutations=1)
    results = run_study(declared, tmp_path / "out")
    found = results["modalities"]["valence"]["scores"]
    assert found["all"]["window"] == pytest.approx(score(results, "both", "window"))
    assert found["de alone"]["window"] > 0.75 and abs(found["gaze alone"]["window"] - 0.5) < 0.2
    permuted = results["dimensions"]["valence"]["models"]["both"]["permuted"]
    assert len(permuted) == 1 and abs(permuted[0]["window"] - 0.5) < 0.25


TOML = """
protocol = {name = "trial-grouped-k-fold", n_folds = 2, within_subject = false}
[data]
stores = ["first.zarr"]
[target]
kind = "binary"
dimensions = ["valence"]
threshold = "midpoint"
[[models]]
name = "concat-mlp"
preset = "small"
[models.options]
n_epochs = 1
context = "offline-transformer"
[evaluation]
n_permutations = 0
"""


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('"offline-tr', '"ofline-tr', "the context of 'concat-mlp' 'ofl.*mean 'offline-transf"),
        ('context = "offline-transformer"', 'pooling = "maks"', "the pooling of .*mean 'max'"),
        ("n_epochs = 1", 'pooling = "max"', "found a context and a pooling for 'concat-mlp'"),
        ("n_epochs = 1", 'bag = "trial"', "found bag = 'trial' for .* without a pooling"),
        ("n_permutations = 0", 'resample = "smote"', "which makes windows of no trial"),
        ('{name = "trial-grouped-k-fold"', '{name = "window-shuffled", allow_leakage = true',
         "with the protocol 'window-shuffled', which puts windows of one trial on both sides"),
        ("n_permutations = 0", 'maps = "concat-mlp"', "ask for modalities instead of maps"),
        ('name = "concat-mlp"', 'name = "logistic"', "found the option '.*' of 'logistic', exp"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(stores, tmp_path, old, new, text):
    assert old in TOML
    (tmp_path / "first.zarr").symlink_to(stores["first"])
    (tmp_path / "s.toml").write_text(TOML.replace(old, new, 1))
    done = CliRunner().invoke(command, [str(tmp_path / "s.toml"), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, CallError | DataError), done.output
    assert re.search(text, str(done.exception), re.S), str(done.exception)


def test_a_dry_run_counts_the_fits_and_says_what_is_offline(stores, tmp_path):
    (tmp_path / "first.zarr").symlink_to(stores["first"])
    (tmp_path / "s.toml").write_text(TOML)
    done = CliRunner().invoke(command, [str(tmp_path / "s.toml"), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "Offline only: concat-mlp, the context 'offline-transformer' sees later" in done.output
    assert "2 fits" in done.output


def test_windows_without_a_place_or_with_two_at_one_time_are_refused():
    data = told_once("first", n_trials=6)
    x, y, _ = rows_of(data)
    made = build_estimator("concat-mlp", "small", context="single")
    with pytest.raises(CallError, match="found windows without their trial and time"):
        made.fit(x, y)
    with pytest.raises(CallError, match=r"found trials of shape \(3,\)"):
        TrialSequences.of(["a"] * 3, [0.0] * 4, 4)
    with pytest.raises(DataError, match="found two windows at 1 s of the trial a, expected one"):
        TrialSequences.of(["a", "a", "b"], [1.0, 1.0, 1.0], 3)
    with pytest.raises(DataError, match="found 1 windows without a time"):
        TrialSequences.of(["a", "b"], [1.0, np.nan], 2)


def test_recordings_of_two_steps_are_refused():
    groups = told_once("first", n_trials=4).groups
    slow = np.where(groups.subject == "02", 2.0, 1.0)
    require_one_hop(groups)
    with pytest.raises(DataError, match="every 0.5 s and every 1 s, expected one step"):
        require_one_hop(replace(groups, onset_seconds=groups.onset_seconds * slow))


def test_ratings_may_be_learned_before_a_context():
    data = told_once("first", n_trials=6)
    x, y, where = rows_of(data)
    said = []
    for rating in (y * 1.0, 1.0 - y):
        made = build_estimator("concat-mlp", "small", n_epochs=2, context="single", heads="joint")
        made.fit(x, y, groups=where["trials"], ratings=rating, **where)
        said.append(made.predict_proba(x, **where))
    assert np.isfinite(said).all() and not np.allclose(*said, atol=1e-4)


def test_the_names_are_those_of_the_models():
    assert tuple(CONTEXTS) == CONTEXT_NAMES and POOLINGS == POOLING_NAMES
    assert isinstance(FIRST[0], ModelChoice)
