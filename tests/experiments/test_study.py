"""A declared study: the same numbers twice, honest by default, refused in one sentence."""

import json
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from physioemo.errors import CallError, DataError, RecordingExistsError, RecordingNotFoundError
from physioemo.experiments.study_config import ModelChoice, read_study
from physioemo.experiments.study_data import open_study_data
from physioemo.experiments.study_inputs import load_inputs
from physioemo.experiments.study_permuted import permuted_targets
from physioemo.experiments.study_plan import plan_study
from physioemo.experiments.study_prepare import prepare_store
from physioemo.experiments.study_report import write_study_report
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.targets import Target
from tests.experiments.made_study import TOML, made_up, score, study


@pytest.fixture(scope="module")
def effect_store(tmp_path_factory):
    return write_study_data(made_up(effect=2.0), tmp_path_factory.mktemp("e") / "effect.zarr")


@pytest.fixture(scope="module")
def null_store(tmp_path_factory):
    return write_study_data(made_up(seed=3), tmp_path_factory.mktemp("n") / "null.zarr")


def test_study_data_survive_the_disk(effect_store):
    data, back = made_up(effect=2.0), open_study_data(effect_store)
    np.testing.assert_array_equal(back.families["de"], data.families["de"])
    assert back.coords == data.coords and back.scale == data.scale
    assert (back.groups.trial_id == data.groups.trial_id).sum() == 0  # named by data set as well
    assert [t.split("/")[-3:] for t in back.groups.trial_id] == [
        t.split("/") for t in data.groups.trial_id
    ]


def test_an_effect_is_found_and_stands_beside_its_baselines(effect_store, tmp_path):
    results = run_study(study(effect_store), tmp_path / "out")
    valence = results["dimensions"]["valence"]["models"]
    assert score(results) > 0.9 and score(results, "majority") <= 0.5
    permuted = [p["trial"] for p in valence["logistic"]["permuted"]]
    assert len(permuted) == 2 and np.mean(permuted) < 0.7
    assert valence["logistic"]["permutation_tests"]["trial"]["p"] == pytest.approx(1 / 3)
    assert set(valence["logistic"]["subjects"]) == {f"made in memory/{k:02d}" for k in range(1, 5)}
    assert results["dimensions"]["valence"]["comparisons"]["reference"] == "majority"


def test_on_noise_windows_that_are_shuffled_score_high_and_whole_trials_do_not(
    null_store, tmp_path
):
    """The field's known disease, both numbers side by side."""
    svm = ModelChoice("svm", options={"C": 10.0})
    honest = run_study(study(null_store, svm, n_permutations=0), tmp_path / "honest")
    leaky = run_study(
        study(
            null_store,
            svm,
            n_permutations=0,
            protocol="window-shuffled",
            protocol_options={"n_folds": 4, "allow_leakage": True},
        ),
        tmp_path / "leaky",
    )
    assert score(leaky, "svm", "window") > 0.95
    assert abs(score(honest, "svm") - 0.5) < 0.2
    assert leaky["leaky"] and not honest["leaky"]


def test_two_runs_give_identical_numbers_and_files(effect_store, tmp_path):
    models = (ModelChoice("logistic"), ModelChoice("mlp", preset="small"))
    one, two = (
        run_study(study(effect_store, *models, n_permutations=1), tmp_path / name)
        for name in ("a", "b")
    )
    assert one == two or json.dumps(one, default=str) == json.dumps(two, default=str)
    texts = [(tmp_path / n / "results.json").read_text() for n in ("a", "b")]
    assert texts[0] == texts[1]
    a, b = (xr.open_zarr(tmp_path / n / "predictions.zarr", consolidated=False) for n in ("a", "b"))
    xr.testing.assert_identical(a.load(), b.load())


def test_an_interrupted_study_goes_on_and_ends_the_same(effect_store, tmp_path):
    whole = run_study(study(effect_store), tmp_path / "whole")
    count = 0

    def stop_after_two(done, total):
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study(effect_store), tmp_path / "out", on_progress=stop_after_two)
    kept = sorted((tmp_path / "out" / "jobs").glob("*.npz"))
    assert len(kept) == 2
    stamps = [p.stat().st_mtime_ns for p in kept]
    again = run_study(study(effect_store), tmp_path / "out")
    assert json.dumps(again, default=str) == json.dumps(whole, default=str)
    assert len(stamps) == 2 and not (tmp_path / "out" / "jobs").exists()


@pytest.mark.slow
def test_dask_workers_give_the_same_scores_though_one_is_killed(effect_store, tmp_path):
    distributed = pytest.importorskip("distributed")
    serial = run_study(study(effect_store), tmp_path / "serial")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        victims = [w.pid for w in cluster.workers.values()]

        def kill_one(done, total):
            if done == 1:
                os.kill(victims[0], getattr(signal, "SIGKILL", signal.SIGTERM))

        spread = run_study(
            study(effect_store),
            tmp_path / "spread",
            scheduler=cluster.scheduler_address,
            on_progress=kill_one,
        )
    assert json.dumps(spread, default=str) == json.dumps(serial, default=str)


def test_a_finished_study_is_read_not_computed_again(effect_store, tmp_path):
    declared = study(effect_store, n_permutations=1)
    results = run_study(declared, tmp_path / "out")
    told = []
    again = run_study(declared, tmp_path / "out", on_progress=lambda *done: told.append(done))
    assert json.dumps(again, default=str) == json.dumps(results, default=str) and not told
    run_study(declared, tmp_path / "out", overwrite=True, on_progress=lambda *done: told.append(1))
    assert told


def test_predictions_of_every_window_are_kept_with_where_they_come_from(effect_store, tmp_path):
    run_study(study(effect_store, n_permutations=0), tmp_path / "out")
    store = xr.open_zarr(tmp_path / "out" / "predictions.zarr", consolidated=False)
    assert store["predicted"].dims == ("model", "dimension", "window", "class")
    np.testing.assert_allclose(store["predicted"].sum("class"), 1, atol=1e-6)
    assert list(store["model"].values) == ["majority", "logistic"]
    said = store["predicted"].values[1, 0].argmax(axis=1)
    assert (said == store["target"].values[:, 0]).mean() > 0.9


def test_permuted_labels_stay_with_their_trial_and_their_subject(effect_store):
    inputs = load_inputs(study(effect_store))
    y, permuted = inputs.targets[:, 0], permuted_targets(inputs, 0, 0, seed=1)
    assert (y != permuted).any()
    for subject in set(inputs.groups.person):
        rows = inputs.groups.person == subject
        assert sorted(y[rows]) == sorted(permuted[rows])
    for trial in set(inputs.groups.trial_id):
        assert len(set(permuted[inputs.groups.trial_id == trial])) == 1


def test_another_study_or_other_data_never_go_on_in_the_same_folder(
    effect_store, null_store, tmp_path
):
    run_study(study(effect_store, n_permutations=0), tmp_path / "out")
    for other in (study(effect_store, n_permutations=0, seed=5), study(null_store)):
        with pytest.raises(RecordingExistsError, match="found another study, or one of other data"):
            run_study(other, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(RecordingExistsError, match="that is no study"):
        run_study(study(effect_store), tmp_path / "mine")


def test_several_data_sets_are_joined_on_the_channels_that_they_share(tmp_path):
    one = made_up(n_subjects=2, effect=2.0)
    two = made_up(n_subjects=2, effect=2.0, seed=1, n_channels=3)
    two.source["dataset"] = "other"  # type: ignore[index]
    stores = tuple(write_study_data(d, tmp_path / f"{k}.zarr") for k, d in enumerate((one, two)))
    declared = study(stores[0], stores=stores, protocol="cross-dataset", protocol_options={})
    inputs = load_inputs(declared)
    assert inputs.families["de"].shape[1:] == (3, 4) and len(inputs.folds) == 2
    results = run_study(declared, tmp_path / "out")
    assert results["n_subjects"] == 4 and score(results) > 0.85
    assert results["electrodes"] == ["E0", "E1", "E2"]


def test_ratings_are_predicted_as_numbers_too(effect_store, tmp_path):
    results = run_study(
        study(
            effect_store,
            ModelChoice("ridge"),
            target=Target("continuous", ("valence",)),
            n_permutations=1,
        ),
        tmp_path / "out",
    )
    ridge = results["dimensions"]["valence"]["models"]["ridge"]
    assert results["headline"] == "ccc" and ridge["trial"]["ccc"]["mean"] > 0.7


def test_one_class_in_a_fold_is_refused_and_names_it(tmp_path):
    data = made_up(n_subjects=2)
    rows = data.groups.subject == "02"
    data.ratings["valence"][rows] = 7.0
    store = write_study_data(data, tmp_path / "s.zarr")
    with pytest.raises(DataError, match=r"found only the class 'high' of valence.*fold 5.*02"):
        run_study(study(store), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("seed = 3", "sead = 3", "found the field of the study 'sead'.*did you mean 'seed'"),
        ("seed = 3", 'seed = "x"', "found seed = 'x', expected a whole number"),
        ("seed = 3", "seed = -3", "found seed = -3, expected 0 or more"),
        ("stores =", 'families = ["de"] #', "found neither stores nor a dataset in"),
        ('["effect.zarr"]', "[]", r"found stores = \[\], expected a list of one name or more"),
        ('["effect.zarr"]', '["effect.zarr", "./effect.zarr"]', "the store effect.zarr twice"),
        ('["effect.zarr"]', '["effect.zarr"]\nfamilies = [1]', r"found families = \[1\], expected"),
        ('"logistic"', '"mlp"\noptions = {n_epochs = "x"}', "mlp: found n_epochs = 'x' .*a whole"),
        ('"logistic"', '"mlp"\noptions = {n_epochs = 0}', "mlp: n_epochs=0 is out of range"),
        ('"logistic"', '"logistic"\noptions = {penalties = 1}', "penalties = 1 .*expected a list"),
        ('"logistic"', '"logistic"\noptions = {penalties = []}', r"penalties = \[\], expected num"),
        (
            '"logistic"',
            '"svm"\noptions = {C = -1.0}',
            "svm: found C = -1.0, expected numbers above",
        ),
        ('["valence"]', "[1]", "found 1 among the dimensions, expected names"),
        ("seed = 3", "seed = 99999999999", "found seed = 99999999999, .* at most 2147483647"),
        ('[[models]]\nname = "logistic"', "", r"found no \[\[models\]\], expected at least one"),
        ("[[models]]", "[models]", r"expected \[\[models\]\], one for each"),
        ("n_permutations = 1", 'maps = "majority"', "'majority', which looks at no electrode"),
        ("n_permutations = 1", 'modalities = "logistic"', "which reads no families side by side"),
        ("n_folds = 4", "n_flods = 4", "found the option 'n_flods'.*did you mean 'n_folds'"),
        ("trial-grouped", "trial-gruoped", "did you mean 'trial-grouped-k-fold'"),
        ('"logistic"', '"logistics"', "did you mean 'logistic'"),
        ('"logistic"', '"ridge"', "which predicts a rating, for a binary target"),
        ('"valence"', '"valance"', "valance.*did you mean 'valence'"),
        ("n_folds = 4", "n_folds = 400", "found 20 .*for 400 folds"),
        ("n_permutations = 1", "n_permutations = -1", "expected 0 or more"),
        ("[target]", "[targte]", "did you mean 'target'"),
        ("kind =", "kind", "that is no TOML"),
    ],
)
def test_a_bad_study_is_refused_with_one_sentence(effect_store, tmp_path, old, new, text):
    assert old in TOML
    shutil.copytree(effect_store, tmp_path / "effect.zarr")
    (tmp_path / "s.toml").write_text(TOML.replace(old, new, 1))
    with pytest.raises((CallError, DataError), match=f"(?s){text}") as error:
        run_study(read_study(tmp_path / "s.toml"), tmp_path / "out")
    assert "\n" not in str(error.value).strip() or "TOML" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.inf, r"found infinite numbers \(2400\) among the features 'de' of .*s.zarr"),
        (np.nan, "found no number at all among the features de of .*, which 'logistic' reads"),
    ],
)
def test_features_that_are_no_numbers_are_refused_before_anything_is_fitted(value, text, tmp_path):
    data = made_up(n_subjects=1)
    features = np.full(data.families["de"].shape, value)
    store = write_study_data(replace(data, families={"de": features}), tmp_path / "s.zarr")
    with pytest.raises(DataError, match=text):
        run_study(study(store, ModelChoice("logistic")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_study_that_is_not_there_is_said(tmp_path):
    with pytest.raises(RecordingNotFoundError, match="found no file at"):
        read_study(tmp_path / "s.toml")


def test_the_plan_counts_every_fit(effect_store):
    plan = plan_study(study(effect_store, n_permutations=3))
    assert plan.n_folds == 16 and plan.n_trials == 80
    assert plan.n_fits == {"majority": 16, "logistic": 64}
    assert plan.total_seconds > 0


def test_the_command_runs_a_study_and_the_audit_finds_it_clean(typed, effect_store, tmp_path):
    shutil.copytree(effect_store, tmp_path / "effect.zarr")
    (tmp_path / "s.toml").write_text(TOML)
    dry = typed("study", tmp_path / "s.toml", "--dry-run", check=0)
    assert "16 folds" in dry.stdout and "1 process, with all permuted labels" in dry.stdout
    assert "too few for a p of 0.05, which takes 19: logistic (1)" in dry.stdout
    done = typed("study", tmp_path / "s.toml", "--out", tmp_path / "out", check=0)
    assert "SIMULATED" in done.stdout and "logistic" in done.stdout and "permuted" in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    assert "CLEAN" in typed("audit", tmp_path / "out", check=0).stdout
    assert "mine" in typed("compare", tmp_path / "out", tmp_path / "out", check=0).stdout


def test_the_leaky_protocol_needs_the_flag_and_is_stamped(typed, null_store, tmp_path):
    shutil.copytree(null_store, tmp_path / "effect.zarr")
    text = TOML.replace("trial-grouped-k-fold", "window-shuffled")
    (tmp_path / "s.toml").write_text(text)
    out = tmp_path / "out"
    refused = typed("study", tmp_path / "s.toml", "--out", out, check=2)
    assert "pass --allow-leakage: every result is stamped" in refused.stderr
    done = typed("study", tmp_path / "s.toml", "--out", out, "--allow-leakage", check=0)
    assert "LEAKY" in done.stdout
    assert "LEAKY" in typed("compare", out, check=0).stdout
    assert "LEAKY" in typed("audit", out, check=1).stdout


def test_the_page_opens_without_complaint_and_says_what_matters(
    effect_store, tmp_path, console_errors
):
    results = run_study(
        study(effect_store, ModelChoice("logistic"), ModelChoice("mlp", preset="small")),
        tmp_path / "out",
    )
    page = write_study_report(results, tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert console_errors(page) == []
    assert "SIMULATED OR SYNTHETIC" in text and "LEAKY" not in text
    assert results["config_hash"] in text and "interval: Student&#39;s t over subjects" in text
    assert ">nan<" not in text and ">None<" not in text
    leaky = {**results, "leaky": True}
    stamped = write_study_report(leaky, tmp_path / "out").read_text(encoding="utf-8")
    assert stamped.count("LEAKY") > 5


def test_maps_show_the_planted_electrode_and_no_pair_that_is_not_there(effect_store, tmp_path):
    declared = study(effect_store, n_permutations=0, maps="logistic")
    results = run_study(declared, tmp_path / "out")
    maps = results["maps"]["valence"]
    assert np.argmax(maps["importance"]) == 0
    assert max(maps["importance"]) > 2 * max(maps["importance_null_largest"])
    assert len(maps["interactions"]["score"]) == 5
    page = write_study_report(results, tmp_path / "out").read_text(encoding="utf-8")
    assert "What logistic uses: valence" in page
    with pytest.raises(CallError, match="found the model for maps 'logistics'"):
        study(effect_store, maps="logistics")


def test_a_study_that_comes_with_the_program_runs_from_the_data_set(typed, tmp_path):
    options = ["--subjects", 2, "--effect", 3]
    typed("datasets", "fake", "deap", tmp_path / "d", *options, check=0)
    declared = read_study("rbtransformer-honest-deap", data=tmp_path / "d", out=tmp_path / "out")
    assert declared.stores == (tmp_path / "out" / "features.zarr",)
    fast = replace(
        declared,
        models=(ModelChoice("logistic"),),
        n_permutations=0,
        reference="",
        # What is planted is in the baseline as well, and goes with it.
        preparation=replace(declared.preparation, recipe={"window_seconds": 2.0}),
    )
    prepare_store(fast)
    results = run_study(fast, tmp_path / "out")
    assert results["n_subjects"] == 2 and score(results) > 0.85
    assert results["simulated"]


def test_the_papers_own_way_scores_far_above_chance_on_no_effect_at_all(typed, tmp_path):
    options = ["--subjects", 2, "--effect", 0]
    typed("datasets", "fake", "deap", tmp_path / "d", *options, check=0)
    found = {}
    for name in ("paper-exact", "honest"):
        out = tmp_path / name
        declared = read_study(f"rbtransformer-{name}-deap", data=tmp_path / "d", out=out)
        leave = {"allow_leakage": True} if declared.leaky else {}
        fast = replace(
            declared,
            models=(ModelChoice("svm", options={"C": 10.0}),),
            n_permutations=0,
            reference="",
            protocol_options={**declared.protocol_options, **leave},
        )
        prepare_store(fast)
        found[name] = np.mean(
            [
                d["models"]["svm"]["trial"]["balanced_accuracy"]["mean"]
                for d in run_study(fast, out)["dimensions"].values()
            ]
        )
    assert found["paper-exact"] > 0.65 and abs(found["honest"] - 0.5) < 0.12
