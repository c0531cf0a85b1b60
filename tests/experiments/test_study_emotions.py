"""Named emotions beside rated dimensions: one model learns each from the store that has it."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner

from physioemo.datasets.cli import fake
from physioemo.errors import CallError, DataError
from physioemo.experiments.estimators import build_estimator
from physioemo.experiments.study_cli import study as command
from physioemo.experiments.study_config import ModelChoice, read_study
from physioemo.experiments.study_data import StudyData
from physioemo.experiments.study_inputs import load_inputs
from physioemo.experiments.study_models import kept_predictions
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.targets import Target
from physioemo.features.cli import preprocess
from physioemo.models.losses import class_weights, weighted_cross_entropy
from tests.experiments.study_planted import QUICK, fused
from tests.experiments.test_study import made_up, study

EMOTIONS = ("negative", "neutral", "positive")
BOTH = Target("joint", ("valence",), threshold="midpoint", emotions=EMOTIONS)
ONE = {"n_folds": 3, "within_subject": False}
NET = replace(fused("net"), joint=True)


def rated(effect=2.0, **changes):
    """Return a store of ratings: the first electrode tells valence."""
    data = made_up(n_subjects=2, n_trials=18, n_windows=3, effect=effect, n_channels=4, seed=1)
    return replace(data, source={**data.source, "dataset": "rated"}, **changes)


def named(effect=2.0, seed=2):
    """Return a store of named emotions: one electrode of three goes up for each."""
    data = made_up(n_subjects=2, n_trials=18, n_windows=3, n_channels=4, seed=seed)
    number = np.unique(data.groups.trial_id, return_inverse=True)[1] % 3
    data.families["de"][np.arange(len(data)), 1 + number] += effect * 1.5
    labels = np.array(EMOTIONS, object)[number]
    return StudyData(
        **{**vars(data), "ratings": {}, "scale": None, "labels": labels}
        | {"source": {**data.source, "dataset": "named"}}
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    return (
        write_study_data(rated(), folder / "rated.zarr"),
        write_study_data(named(), folder / "named.zarr"),
    )


def of(stores, *models, **changes):
    fields = {"stores": tuple(stores), "target": BOTH, "protocol_options": ONE, "n_permutations": 0}
    return study(stores[0], *models, **{**fields, **changes})


def score(results, dimension, model="net", level="trial"):
    return results["dimensions"][dimension]["models"][model][level]["balanced_accuracy"]["mean"]


TOML = """
protocol = {name = "trial-grouped-k-fold", n_folds = 2, within_subject = false}
[data]
stores = ["seed.zarr", "deap.zarr"]
[target]
kind = "joint"
dimensions = ["valence", "arousal"]
threshold = "midpoint"
emotions = ["negative", "neutral", "positive"]
[[models]]
name = "concat-mlp"
preset = "small"
joint = true
options = {n_epochs = 12, learning_rate = 5e-3}
[evaluation]
n_permutations = 0
"""


def test_seed_and_deap_are_learned_by_one_model_declared_in_toml(tmp_path):
    for name in ("seed", "deap"):
        files, out = str(tmp_path / name), str(tmp_path / f"{name}.zarr")
        for verb, said in (
            (fake, ["--subjects", "1", "--effect", "2"]),
            (preprocess, ["--out", out]),
        ):
            done = CliRunner().invoke(verb, [name, files, *said])
            assert done.exit_code == 0, done.output
    (tmp_path / "s.toml").write_text(TOML)
    out = tmp_path / "out"
    done = CliRunner().invoke(command, [str(tmp_path / "s.toml"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    results = run_study(read_study(tmp_path / "s.toml"), out)
    for dimension, chance in (("valence", 0.5), ("arousal", 0.5), ("emotion", 1 / 3)):
        assert score(results, dimension, "majority") <= chance
        assert score(results, dimension, "concat-mlp") > chance + 0.2
        people = results["dimensions"][dimension]["models"]["concat-mlp"]["subjects"]
        assert len(people) == 1 and sum(s["trial"]["n"] for s in people.values()) > 10
    assert results["dimensions"]["emotion"]["classes"] == list(EMOTIONS)
    said = (out / "report.html").read_text("utf-8")
    assert "joint of valence, arousal" in said and "said neutral" in said
    with (out / "confusion.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["dimension"] == "emotion"]
    assert {r["true"] for r in rows} == set(EMOTIONS)


@pytest.fixture(scope="module")
def finished(stores, tmp_path_factory):
    models = [
        NET,
        ModelChoice("logistic", n_permutations=0),
    ]
    declared = of(stores, *models, keep_models=True, n_permutations=1)
    out = tmp_path_factory.mktemp("o") / "out"
    return declared, run_study(declared, out), out


def test_each_question_is_learned_from_the_store_that_answers_it(finished):
    _, results, _ = finished
    for model in ("net", "logistic"):
        assert score(results, "valence", model) > 0.8
        assert score(results, "emotion", model) > 0.6
        for dimension, chance in (("valence", 0.5), ("emotion", 1 / 3)):
            found = results["dimensions"][dimension]["models"][model]
            for permuted in found["permuted"]:
                assert permuted["trial"] < chance + 0.25
            people = {"valence": "rated", "emotion": "named"}[dimension]
            assert set(found["subjects"]) == {f"{people}/01", f"{people}/02"}
    emotion = results["dimensions"]["emotion"]["models"]["net"]["subjects"]
    assert all(np.shape(s["trial"]["confusion"]) == (3, 3) for s in emotion.values())


def test_what_says_nothing_of_a_question_stays_at_chance(tmp_path):
    paths = (
        write_study_data(rated(), tmp_path / "a.zarr"),
        write_study_data(named(effect=0.0), tmp_path / "b.zarr"),
    )
    results = run_study(of(paths, NET), tmp_path / "out")
    assert score(results, "valence") > 0.8
    assert abs(score(results, "emotion") - 1 / 3) < 3 * np.sqrt(2 / 9 / 36)


def test_predictions_and_kept_models_have_the_classes_of_their_column(finished):
    declared, _, out = finished
    with xr.open_zarr(out / "predictions.zarr", consolidated=False, chunks=None) as found:
        predicted, target = found["predicted"].values, found["target"].values
        assert found["dimension"].values.tolist() == ["valence", "emotion"]
    for column, (dimension, n) in enumerate((("valence", 2), ("emotion", 3))):
        for number, model in enumerate(declared.models):
            values = predicted[number, column]
            tested = np.isfinite(values[:, 0])
            np.testing.assert_allclose(values[tested, :n].sum(axis=1), 1, atol=1e-5)
            assert np.isnan(values[:, n:]).all() and (target[~tested, column] == -1).all()
            if model.name == "majority":
                continue
            rows, said = kept_predictions(out, declared, model.label, dimension, 0)
            assert said.shape[1] == n
            np.testing.assert_array_equal(said, values[rows, :n])


def test_windows_of_which_nothing_is_known_change_no_bit(stores, tmp_path):
    more = made_up(n_subjects=2, n_trials=24, n_windows=3, n_channels=4, seed=1)
    kept = more.groups.trial <= 18
    old = rated()
    more.families["de"][kept], more.ratings["valence"][kept] = (
        old.families["de"],
        old.ratings["valence"],
    )
    more.ratings["valence"][~kept] = np.nan  # and numbers that would ruin any fit
    more.families["de"][~kept] *= 1e4
    more = replace(more, source=old.source)
    second = write_study_data(more, tmp_path / "more.zarr")
    short = replace(NET, options={**NET.options, "n_epochs": 3})
    by_person = {"protocol": "leave-one-subject-out", "protocol_options": {}}
    results = [
        run_study(of((first, stores[1]), short, **by_person), tmp_path / f"out{k}")
        for k, first in enumerate((stores[0], second))
    ]
    for dimension in ("valence", "emotion"):
        one, other = (r["dimensions"][dimension]["models"]["net"] for r in results)
        assert one["subjects"] == other["subjects"] and one["training"] == other["training"]


def test_a_question_without_answers_adds_nothing_to_loss_and_gradient():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4, 3))
    y = np.stack([rng.permutation(np.arange(120) % 2), rng.permutation(np.arange(120) % 3)], 1)
    y[:60, 1], y[60:, 0] = -1, -1
    made = build_estimator("concat-mlp", "small", joint=True, **{**QUICK, "n_epochs": 1})
    model = made.fit(x, y, classes=range(3)).model_
    labels, values = torch.tensor(y), torch.tensor(x, dtype=torch.float32)
    weights = class_weights(labels, 3)

    def loss_of(rows, wanted):
        model.zero_grad()
        loss = weighted_cross_entropy(model({"de": values[rows]}).logits, wanted[rows], weights)
        loss.backward()
        return loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]

    named_alone = torch.where(torch.tensor([[True, False]]), -1, labels)
    every, some = loss_of(slice(None), named_alone), loss_of(slice(60, None), labels)
    torch.testing.assert_close(every, some)
    both, other = loss_of(slice(None), labels), loss_of(slice(60), labels)
    torch.testing.assert_close(both[0], (some[0] + other[0]) / 2)


def test_a_joint_fused_model_says_a_prior_of_each_question_where_nothing_is_there():
    data, labels = rated(), named()
    x = np.concatenate([data.families["de"], labels.families["de"]])
    y = np.concatenate([BOTH.apply(data), BOTH.apply(labels)])
    groups = np.arange(len(x)) // 3
    made = build_estimator(
        "concat-mlp", "small", joint=True, context="causal-convolution", **{**QUICK, "n_epochs": 2}
    )
    where = {"trials": groups.astype(str), "onset_seconds": np.arange(len(x)) * 1.0}
    made.fit(x, y, groups=groups, classes=range(3), **where)
    said = made.predict_proba(x, **where)
    assert said.shape == (len(x), 2, 3) and (said[:, 0, 2] == 0).all()
    np.testing.assert_allclose(said.sum(axis=2), 1)
    nothing = made.predict_proba(np.full_like(x, np.nan), **where)
    np.testing.assert_allclose(nothing, np.broadcast_to(made.prior_, nothing.shape), atol=1e-12)
    with pytest.raises(CallError, match="found heads = 'joint' for a model of all dimensions"):
        made.set_params(heads="joint").fit(x, y)


def test_columns_and_classes_of_a_joint_target():
    assert BOTH.columns == ("valence", "emotion")
    assert BOTH.column_classes(named()) == (("low", "high"), EMOTIONS)
    assert (BOTH.apply(rated())[:, 1] == -1).all() and (BOTH.apply(named())[:, 0] == -1).all()
    assert [t.kind for t in BOTH.each()] == ["binary", "labels"]
    for part, column in zip(BOTH.each(), (rated(), named()), strict=True):
        alone = BOTH.apply(column)[
            :, BOTH.columns.index("valence" if part.dimensions else "emotion")
        ]
        np.testing.assert_array_equal(part.apply(column)[:, 0], alone)
    assert Target.from_dict(BOTH.to_dict()) == BOTH


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"emotions": ()}, "found the emotions none for a joint target, expected two or more"),
        ({"emotions": ("a", "a")}, "found the emotions a, a for a joint target"),
        ({"dimensions": ()}, "found no dimension for a joint target"),
        ({"dimensions": ("emotion",)}, "found the dimension 'emotion' in a joint target"),
        ({"threshold": None}, "found no threshold for a joint target"),
        ({"classes": ("a", "b")}, "found classes for a joint target, expected it for labels only"),
        ({"kind": "binary"}, "found emotions for a binary target, expected it for joint only"),
    ],
)
def test_what_makes_no_joint_target_is_one_sentence(changes, text):
    with pytest.raises(CallError, match=text):
        replace(BOTH, **changes)


def test_what_cannot_be_asked_of_these_stores_is_one_sentence(stores):
    two = replace(BOTH, emotions=("negative", "positive"))
    with pytest.raises(DataError, match="found the label 'neutral', expected one of negative, po"):
        load_inputs(of(stores, NET, target=two))
    with pytest.raises(
        DataError, match="found ratings of valence and no labels in the store of ra"
    ):
        load_inputs(of(stores, NET, target=replace(BOTH, dimensions=("arousal",))))
    with pytest.raises(DataError, match="found no .* of emotion"):
        load_inputs(of(stores[:1], NET))
    own = {"n_folds": 3, "within_subject": True}
    with pytest.raises(
        DataError, match=r"fewer than two classes of (valence|emotion) .*within_subject = fa"
    ):
        load_inputs(of(stores, NET, protocol_options=own))
    assert load_inputs(of(stores, ModelChoice("logistic"), protocol_options=own)).classes
    with pytest.raises(
        CallError, match="found modalities for 'net', which predicts all dimensions"
    ):
        of(stores, NET, modalities="net")
    with pytest.raises(CallError, match="needs classes in an order, for a joint target"):
        of(stores, ModelChoice("ordinal-logistic"))
    with pytest.raises(CallError, match="with a joint target, expected classes made of ratings"):
        of(stores, fused("net", heads="continuous"))
