"""Ratings in fused models of a study: as numbers, and beside or in the place of classes."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import norm

from physioemo.errors import CallError, DataError
from physioemo.experiments.estimators import build_estimator
from physioemo.experiments.study_cli import study as command
from physioemo.experiments.study_config import ModelChoice
from physioemo.experiments.study_inputs import load_inputs
from physioemo.experiments.study_jobs import Job, load_job, run_job
from physioemo.experiments.study_models import kept_predictions
from physioemo.experiments.study_permuted import permuted_rows, permuted_targets
from physioemo.experiments.study_report import write_study_report
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.targets import Target
from tests.experiments.study_planted import QUICK, fused, rated_together, score, study

BOTH = {"families": ["de", "eda"], "modality_dropout": 0.1}
NUMBERS = Target("continuous", ("valence",))
HALVES = Target("binary", ("valence",), threshold="midpoint")
RATINGS = fused("net", name="fused-ratings", **BOTH, fusion="concat")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_study_data(rated_together(), tmp_path_factory.mktemp("s") / "rated.zarr")


def of(store, *models, **changes):
    return study(store, *models, families=("de", "eda"), **changes)


@pytest.fixture(scope="module")
def numbers(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("n") / "out"
    declared = of(store, RATINGS, ModelChoice("ridge"), target=NUMBERS, modalities="net",
                  keep_models=True)  # fmt: skip
    return declared, run_study(declared, out), out


def test_a_product_of_two_families_is_said_as_a_number(numbers):
    _, results, out = numbers
    assert score(results, "net", name="ccc") > 0.85
    assert abs(score(results, "ridge", name="ccc")) < 0.2  # no sum of the two says it
    assert abs(score(results, "mean", name="ccc")) < 0.05
    found = results["modalities"]["valence"]["scores"]
    assert found["all"]["window"] == pytest.approx(score(results, "net", "window", "ccc"))
    assert abs(found["de alone"]["trial"]) < 0.2 and abs(found["eda alone"]["trial"]) < 0.2
    page = write_study_report(results, out)
    assert "Concordance, mean over subjects" in page.read_text("utf-8")


def test_a_kept_model_says_the_same_numbers(numbers):
    declared, results, out = numbers
    rows, said = kept_predictions(out, declared, "net", "valence", 0)
    target = load_inputs(declared).targets[rows, 0]
    assert np.sqrt(np.mean((said[:, 0] - target) ** 2)) < 0.5 * np.std(target)
    again = kept_predictions(out, declared, "net", "valence", 0)[1]
    assert np.array_equal(again, said) and results["headline"] == "ccc"


def test_nothing_at_all_is_the_mean_rating_of_training():
    data = rated_together(n_trials=8)
    x = data.families["de"].reshape(len(data), -1)
    y = (data.ratings["valence"] - 5) / 4
    held = np.arange(len(y)) >= 36
    made = build_estimator("fused-ratings", "small", n_epochs=1).fit(x, y, validation=held)
    empty = np.full_like(x, np.nan)
    np.testing.assert_allclose(made.predict(empty), y[~held].mean())
    np.testing.assert_allclose(made.predict_from(x, []), y[~held].mean())
    with pytest.raises(DataError, match="found one rating only"):
        made.fit(x, np.zeros(len(y)))
    with pytest.raises(DataError, match="found 1 windows without a rating"):
        made.fit(x, np.r_[np.nan, y[1:]])


def test_ordered_classes_follow_from_the_rating(store, tmp_path):
    target = Target("ordinal", ("valence",), n_bins=4)
    models = [fused(heads, heads=heads, **BOTH) for heads in ("joint", "continuous")]
    results = run_study(of(store, *models, target=target), tmp_path / "out")
    for label in ("joint", "continuous"):
        assert score(results, label, name="quadratic_weighted_kappa") > 0.7
    found = results["dimensions"]["valence"]["models"]
    assert found["continuous"]["order"] == "distribution of the rating"
    assert found["joint"]["order"] == "classes without an order"


def trained(heads, edges=None, n_classes=2, **options):
    data = rated_together(n_trials=12)
    rating = (data.ratings["valence"] - 5) / 4
    x = np.concatenate([data.families["de"].reshape(len(data), -1), data.families["eda"]], axis=1)
    classes = np.searchsorted([0.0] if edges is None else edges, rating)
    layout = [("de", (4, 3), 0, 12), ("eda", (2,), 12, 14)]
    made = build_estimator(
        "concat-mlp", "small", layout=layout, heads=heads, edges=edges, **{**QUICK, **options}
    )
    made.fit(x, classes, groups=data.groups.trial_id, ratings=rating, classes=range(n_classes))
    return made, x


@pytest.mark.parametrize("edges", [None, (-0.3, 0.2, 0.5)])
def test_the_probability_of_a_class_is_that_of_its_ratings(edges):
    cuts = [0.0] if edges is None else list(edges)
    made, x = trained("continuous", edges, len(cuts) + 1, n_epochs=4)
    mean, sd, _ = made._said_ratings(made._features(x, None))
    cdf = norm.cdf(np.array([-np.inf, *cuts, np.inf])[:, None], mean, sd)
    np.testing.assert_allclose(made.predict_proba(x), np.diff(cdf, axis=0).T, atol=1e-9)
    empty = np.full_like(x, np.nan)
    np.testing.assert_allclose(made.predict_proba(empty)[0, made.columns_], made.prior_)


def test_ratings_teach_a_joint_model_by_their_weight():
    said = [trained("joint", n_epochs=2, rating_weight=w)[0] for w in (0.5, 0.5, 5.0)]
    x = trained("classes", n_epochs=1)[1]
    one, same, other = (m.predict_proba(x) for m in said)
    assert np.array_equal(one, same) and not np.allclose(one, other)


def test_the_ends_of_classes_are_where_the_target_cuts():
    data = rated_together(n_trials=4)
    assert HALVES.class_edges(data) == (0.0,)
    assert replace(HALVES, threshold=6.0).class_edges(data) == (0.25,)
    assert Target("ordinal", ("valence",), n_bins=4).class_edges(data) == (-0.5, 0.0, 0.5)
    levels = Target("ordinal", ("valence",)).class_edges(data)
    np.testing.assert_allclose(levels, np.arange(-0.875, 1, 0.25))
    for target in (HALVES, Target("ordinal", ("valence",), n_bins=4)):
        rating = NUMBERS.apply(data)[:, 0]
        classes = np.searchsorted(target.class_edges(data), rating)
        assert np.array_equal(classes, target.apply(data)[:, 0])
    with pytest.raises(CallError, match="found a continuous target, expected classes made of"):
        NUMBERS.class_edges(data)


def test_permuted_ratings_move_with_their_classes(store, tmp_path):
    model = fused("net", heads="continuous", n_epochs=8, **BOTH)
    declared = of(store, model, target=HALVES, n_permutations=1)
    inputs = load_inputs(declared)
    source = permuted_rows(inputs, 0, 0, 0)
    assert np.array_equal(permuted_targets(inputs, 0, 0, 0), inputs.targets[source, 0])
    shares = []
    for permutation in (-1, 0):
        job = Job(1, 0, permutation, (0,))
        assert run_job(job, declared, tmp_path)["error"] == ""
        done = load_job(job, tmp_path)
        shares.append(np.mean((done["predicted"][:, 1] > 0.5) == inputs.targets[done["rows"], 0]))
    assert shares[0] > 0.8 and abs(shares[1] - 0.5) < 0.2  # of true ratings nothing was learned


def test_scales_that_meet_elsewhere_are_refused(store, tmp_path):
    other = replace(rated_together(n_trials=10, seed=1), scale=(0.0, 10.0))
    second = write_study_data(other, tmp_path / "other.zarr")
    target = replace(HALVES, threshold=5.0)
    declared = of(store, fused("net", heads="joint", **BOTH), target=target)
    with pytest.raises(DataError, match="found classes that meet at"):
        load_inputs(replace(declared, stores=(store, second), target=replace(target, threshold=6)))
    midpoint = replace(declared, stores=(store, second), target=HALVES)
    assert load_inputs(midpoint).edges == (0.0,)


TOML = """
protocol = {name = "trial-grouped-k-fold", n_folds = 2, within_subject = false}
[data]
stores = ["rated.zarr"]
families = ["de", "eda"]
[target]
kind = "binary"
dimensions = ["valence"]
threshold = "midpoint"
[[models]]
name = "concat-mlp"
preset = "small"
[models.options]
heads = "continuous"
[evaluation]
n_permutations = 0
"""


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('"continuous"', '"continous"', "the heads of 'concat-mlp' 'continous'.*'continuous'"),
        ("[evaluation]", "rating_weight = 0\n[evaluation]", "found rating_weight = 0 .*above 0"),
        ("[evaluation]", 'context = "single"\n[evaluation]', "found heads = 'continuous' with a c"),
        ("n_permutations = 0", 'resample = "smote"', "which makes windows without a rating"),
        ('"concat-mlp"', '"fused-ratings"', "which predicts a rating, for a binary target"),
        (
            'kind = "binary"\ndimensions = ["valence"]\nthreshold = "midpoint"',
            'kind = "labels"',
            "with a labels target, expected classes made of ratings",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, old, new, text):
    assert old in TOML
    (tmp_path / "s.toml").write_text(TOML.replace(old, new, 1))
    done = CliRunner().invoke(command, [str(tmp_path / "s.toml"), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, CallError)
    with pytest.raises(CallError, match=f"(?s){text}"):
        raise done.exception


def test_a_rating_is_of_one_window(store):
    for option in ({"context": "causal-convolution"}, {"pooling": "attention"}):
        model = fused("net", name="fused-ratings", **option)
        with pytest.raises(
            CallError, match="for 'net', which says a rating, expected a model of cl"
        ):
            of(store, model, target=NUMBERS)


def test_a_dry_run_fits_one_fold_of_each(store, tmp_path):
    (tmp_path / "rated.zarr").symlink_to(store)
    (tmp_path / "s.toml").write_text(TOML)
    done = CliRunner().invoke(command, [str(tmp_path / "s.toml"), "--dry-run"])
    assert done.exit_code == 0 and "concat-mlp" in done.output and "2 fits" in done.output


def test_an_estimator_without_its_ratings_says_so():
    made = build_estimator("concat-mlp", "small", heads="joint")
    x, y = np.random.default_rng(0).normal(size=(20, 4, 3)), np.arange(20) % 2
    with pytest.raises(CallError, match="found no ratings for heads = 'joint'"):
        made.fit(x, y)
    with pytest.raises(CallError, match="found 2 edges for 2 classes, expected one fewer"):
        made.set_params(heads="continuous", edges=(0.0, 0.5)).fit(x, y, ratings=y * 1.0)
