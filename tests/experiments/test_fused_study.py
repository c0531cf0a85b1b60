"""Models of several families in a study: together they know what none knows alone."""

import json

import numpy as np
import pytest

from physioemo.datasets.catalogue import dataset
from physioemo.errors import CallError, DataError
from physioemo.experiments.estimators import build_estimator
from physioemo.experiments.fused_modalities import FamilyScaler, encoder_of
from physioemo.experiments.study_config import ModelChoice, Study, read_study
from physioemo.experiments.study_data import Groups, StudyData
from physioemo.experiments.study_features import features_for, with_layout
from physioemo.experiments.study_inputs import load_inputs
from physioemo.experiments.study_report import write_study_report
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.targets import Target
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.features.preprocess_run import preprocess

EDA = ("tonic", "phasic", "responses")
QUICK = {"size": "tiny", "n_epochs": 30, "patience": 30, "batch_size": 16}


def xor_windows(n_subjects=2, n_trials=80, n_windows=4, seed=0):
    """Return windows whose class is a bit of the brain XOR a bit of the skin; gaze is noise."""
    rng = np.random.default_rng(seed)
    rows, brain, skin, gaze, ratings = [], [], [], [], []
    for subject in range(n_subjects):
        for trial, code in enumerate(rng.permutation(np.arange(n_trials) % 4)):
            bits = np.array([code % 2, code // 2])
            for k in range(n_windows):
                rows.append((f"{subject + 1:02d}", trial + 1, 10.0 * trial + k))
                own = rng.normal(size=(4, 3))
                own[:2] += 2.0 * (2 * bits[0] - 1)
                brain.append(own)
                skin.append(rng.normal([2.0 * (2 * bits[1] - 1), 0, 0], 0.5))
                gaze.append(rng.normal(size=(2, 2)))
                ratings.append(7.0 if bits[0] != bits[1] else 3.0)
    subject, trial, onset = map(np.array, zip(*rows, strict=True))
    nothing = np.full(len(rows), "", object)
    groups = Groups(
        subject=subject.astype(object),
        session=np.full(len(rows), "1", object),
        trial=trial,
        stimulus=nothing,
        onset_seconds=onset,
        window_seconds=1.0,
    )
    gaze = np.array(gaze)
    gaze[rng.random(len(gaze)) < 0.3] = np.nan  # a tracker that often sees nothing
    return StudyData(
        families={"de": np.array(brain), "eda": np.array(skin)[:, None], "gaze": gaze},
        coords={
            "de": {"channel": ("F3", "F4", "P3", "P4"), "band": ("theta", "alpha", "beta")},
            "eda": {"sensor": ("EDA",), "feature": EDA},
            "gaze": {"eye": ("left", "right"), "feature": ("x", "y")},
        },
        groups=groups,
        ratings={"valence": np.array(ratings)},
        scale=(1.0, 9.0),
        labels=None,
        source={"simulated": True, "fingerprints": {"made up": str(seed)}},
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_study_data(xor_windows(), tmp_path_factory.mktemp("x") / "xor.zarr")


def fused(name="fused-transformer", families=("de", "eda", "gaze"), **options):
    own = {**QUICK, "families": list(families), **options}
    label = options.pop("label", name)
    own.pop("label", None)
    return ModelChoice(name, label=label, preset="small", options=own)


def study(store, *models, **changes):
    fields = {
        "name": "fused",
        "stores": (store,),
        "target": Target("binary", ("valence",), threshold="midpoint"),
        "models": models,
        "families": ("de", "eda", "gaze"),
        "protocol_options": {"n_folds": 2, "within_subject": False},
        "n_permutations": 0,
    }
    return Study(**{**fields, **changes})


def score(results, label):
    scores = results["dimensions"]["valence"]["models"][label]
    return scores["trial"]["balanced_accuracy"]["mean"]


@pytest.fixture(scope="module")
def xor_results(store, tmp_path_factory):
    models = (
        fused(modality_dropout=0.1),
        fused("concat-mlp", modality_dropout=0.1),
        fused("late-fusion", n_epochs=6),
        fused(families=["de"], label="brain", n_epochs=6),
        ModelChoice("logistic"),
    )
    declared = study(store, *models, modalities="fused-transformer")
    out = tmp_path_factory.mktemp("r") / "out"
    return run_study(declared, out), out


def test_a_bit_of_the_brain_and_a_bit_of_the_skin_are_only_known_together(xor_results):
    results, _ = xor_results
    assert score(results, "fused-transformer") > 0.9 and score(results, "concat-mlp") > 0.9
    for alone in ("brain", "logistic", "late-fusion", "majority"):
        assert abs(score(results, alone) - 0.5) < 0.17, alone


def test_the_result_and_the_page_say_what_each_family_gives(xor_results, console_errors):
    results, out = xor_results
    found = results["modalities"]["valence"]
    assert found["families"] == ["de", "eda", "gaze"] and found["n_folds"] == 2
    scores = {name: s["trial"] for name, s in found["scores"].items()}
    assert scores["all"] > 0.9 and scores["without gaze"] > 0.85
    for name in ("de alone", "eda alone", "gaze alone", "without de", "without eda"):
        assert abs(scores[name] - 0.5) < 0.17, name
    page = write_study_report(results, out)
    assert "What each family gives to fused-transformer" in page.read_text("utf-8")
    assert console_errors(page) == []
    json.loads((out / "results.json").read_text("utf-8"), parse_constant=pytest.fail)


def test_two_runs_are_identical(store, tmp_path):
    models = (fused(n_epochs=2), fused("gated-fusion", n_epochs=2))
    declared = study(store, *models, modalities="gated-fusion")
    texts = []
    for name in ("a", "b"):
        run_study(declared, tmp_path / name)
        texts.append((tmp_path / name / "results.json").read_text())
    assert texts[0] == texts[1]


def rows_of(data):
    layout, start, parts = [], 0, []
    for family, values in data.families.items():
        n = int(np.prod(values.shape[1:]))
        layout.append((family, values.shape[1:], start, start + n))
        parts.append(values.reshape(len(values), -1))
        start += n
    return np.concatenate(parts, axis=1), (data.ratings["valence"] > 5).astype(int), layout


@pytest.mark.parametrize("name", ["fused-transformer", "concat-mlp", "late-fusion", "gated-fusion"])
def test_a_family_that_is_missing_is_missed_and_all_missing_is_the_prior(name):
    X, y, layout = rows_of(xor_windows(1, 16))
    y[:8] = 0
    validation = np.arange(len(y)) >= 48
    made = build_estimator(name, "small", layout=layout, n_epochs=2)
    made.fit(X, y, validation=validation)
    assert [row.family for row in made.layout_] == ["de", "eda", "gaze"]
    spoilt = X.copy()
    spoilt[:, :12] = np.nan
    said = made.predict_proba_from(X, ["eda", "gaze"])
    assert np.array_equal(said, made.predict_proba(spoilt)) and np.isfinite(said).all()
    assert not np.array_equal(said, made.predict_proba(X))
    share = np.bincount(y[~validation]) / (~validation).sum()
    np.testing.assert_allclose(made.predict_proba_from(X, []), np.tile(share, (len(X), 1)))


def test_scales_are_of_training_windows_alone():
    X, y, layout = rows_of(xor_windows(1, 16))
    validation = np.arange(len(y)) >= 48
    one, other = (
        build_estimator("fused-transformer", "small", layout=layout, n_epochs=1).fit(
            np.where(validation[:, None], X * factor, X), y, validation=validation
        )
        for factor in (1.0, 50.0)
    )
    assert np.array_equal(one.predict_proba(X), other.predict_proba(X))


def test_a_number_that_training_never_saw_stays_masked():
    values = np.random.default_rng(0).normal(size=(20, 3))
    values[:, 1] = np.nan
    scaler = FamilyScaler.fit(values)
    later = scaler(np.full((1, 3), 100.0))
    assert np.isnan(later[0, 1]) and np.isfinite(later[0, [0, 2]]).all()


def test_a_store_that_lacks_a_family_is_refused(store, tmp_path):
    with pytest.raises(DataError, match="found the features .*gaze.* in .*'pupil' too; make"):
        run_study(study(store, fused(families=["de", "pupil"])), tmp_path / "out")
    assert not (tmp_path / "out").exists()


TOML = """
[data]
stores = ["xor.zarr"]
families = ["de", "eda"]
[target]
kind = "binary"
dimensions = ["valence"]
threshold = "midpoint"
[[models]]
name = "fused-transformer"
preset = "small"
[models.options]
families = ["de", "eda"]
size = "tiny"
[evaluation]
modalities = "fused-transformer"
"""


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('size = "tiny"', 'size = "tini"', "found the size of 'fused-transformer' 'tini'.*'tiny'"),
        ('size = "tiny"', 'fusion = "gate"', "the fusion of .*'gate'.*did you mean 'gated'"),
        ('size = "tiny"', "modality_drop = 0.1", "did you mean 'modality_dropout'"),
        ("[models.options]\nfamilies = [", '[models.options]\nfamilies = ["de", ', "each once"),
        ('modalities = "f', 'modalities = "lused-', "the model for modalities.*did you mean"),
        ('name = "fused-t', 'name = "fusd-t', "did you mean 'fused-transformer'"),
    ],
)
def test_a_wrong_option_is_one_sentence(store, tmp_path, old, new, text):
    assert old in TOML
    (tmp_path / "xor.zarr").symlink_to(store)
    (tmp_path / "s.toml").write_text(TOML.replace(old, new, 1))
    with pytest.raises(CallError, match=f"(?s){text}"):
        run_study(read_study(tmp_path / "s.toml"), tmp_path / "out")


def test_a_plain_model_has_no_modalities(store, tmp_path):
    with pytest.raises(CallError, match="which reads no families side by side, expected a fused"):
        run_study(study(store, ModelChoice("logistic"), modalities="logistic"), tmp_path / "out")


def test_thousands_of_numbers_are_no_tokens():
    with pytest.raises(CallError, match="found 2480 numbers per window in the family 'connectivit"):
        encoder_of("connectivity", (1, 496, 5), "tiny")
    assert encoder_of("relative-psd", (4, 5), "tiny")["encoder"] == "electrodes"
    assert encoder_of("eda", (1, 5), "tiny") == {
        "encoder": "scalars", "preset": "tiny", "n_scalars": 5,
    }  # fmt: skip


def test_real_stores_are_joined_though_each_stream_has_channels_of_its_own(tmp_path):
    stores = []
    for name in ("a", "b"):
        row = dataset("deap")
        row.write_fixture(tmp_path / name, subjects=1, **row.small)
        recipe = PreprocessRecipe(("de", "eda"), definition="window-filter")
        sources = row.sources(row.locate(tmp_path / name), **row.small_read)
        stores.append(tmp_path / f"{name}.zarr")
        preprocess(sources, stores[-1], recipe, dataset="deap")
    model = fused(families=["de", "eda"])
    declared = study(stores[0], model, stores=tuple(stores), families=("de", "eda"))
    inputs = load_inputs(declared)
    assert inputs.coords["eda"]["channel"] != inputs.coords["de"]["channel"]
    model = with_layout(declared.models[1], declared, inputs)
    (_, brain, start, stop), (_, skin, at, end) = model.options["layout"]
    assert brain[0] == 32 and (start, stop) == (0, at) and at == np.prod(brain)
    rows = features_for(model, declared, inputs)
    assert rows.shape == (len(inputs.groups), end) and end - at == np.prod(skin)
    np.testing.assert_array_equal(rows[:, at:], inputs.families["eda"].reshape(len(rows), -1))
