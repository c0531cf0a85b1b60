"""What a study does with small folds: classes to learn, permuted labels, models compared."""

import json
from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from physioemo.errors import DataError, RecordingExistsError
from physioemo.experiments.audit_path import audit_path
from physioemo.experiments.comparison import compare_over_folds
from physioemo.experiments.estimator_inputs import training_rows
from physioemo.experiments.splits import several_values
from physioemo.experiments.study_config import ModelChoice
from physioemo.experiments.study_data import Groups
from physioemo.experiments.study_groups import kept_whole, names_of
from physioemo.experiments.study_inputs import load_inputs
from physioemo.experiments.study_permuted import permuted_targets
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.study_validation import later_trials
from physioemo.experiments.trial_scores import window_and_trial_scores
from tests.experiments.made_study import made_up, study

CHRONOLOGICAL = {
    "protocol": "chronological",
    "protocol_options": {"n_blocks": 4},
}


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """Return a store of two subjects, of whose first four trials only the second was rated high."""
    data = made_up(n_subjects=2, n_trials=16, n_windows=2, effect=2.0, seed=3)
    trial = data.groups.trial
    ratings = np.where(np.isin(trial, (2, 7, 9, 10, 13, 14, 16)), 7.0, 3.0)
    values = data.families["de"].copy()
    values[:, 0] += 3 * (ratings > 5)[:, None]
    path = tmp_path_factory.mktemp("rare") / "rare.zarr"
    changed = replace(data, families={"de": values}, ratings={"valence": ratings})
    write_study_data(changed, path)
    return path


@pytest.mark.parametrize("seed", range(6))
def test_what_is_held_out_leaves_both_classes_to_learn(seed):
    trials = np.repeat([f"trial {k}" for k in range(8)], 3).astype(object)
    labels = np.repeat([0, 0, 0, 1, 0, 0, 0, 0], 3)
    train, chosen = training_rows(24, trials, seed=seed, labels=labels)
    assert several_values(labels[train][:, None]) == [True]
    assert not set(trials[train]) & set(trials[chosen])


def test_what_is_held_out_stays_the_same_where_both_classes_are_left():
    trials = np.repeat([f"trial {k}" for k in range(20)], 3).astype(object)
    labels = np.repeat(np.arange(20) % 2, 3)
    for with_labels, without in zip(
        training_rows(60, trials, seed=4, labels=labels),
        training_rows(60, trials, seed=4),
        strict=True,
    ):
        assert np.array_equal(with_labels, without)


def test_a_block_with_one_rare_rating_is_studied_with_permuted_labels_to_the_end(rare, tmp_path):
    declared = study(rare, **CHRONOLOGICAL, n_permutations=8)
    scores = run_study(declared, tmp_path / "out")["dimensions"]["valence"]["models"]["logistic"]
    assert len(scores["permuted"]) == scores["permutation_tests"]["trial"]["n"] == 8
    assert np.isfinite([p["trial"] for p in scores["permuted"]]).all()


def test_permuted_labels_leave_the_same_folds_several_classes(rare):
    inputs = load_inputs(study(rare, **CHRONOLOGICAL))
    y = inputs.targets[:, 0]
    drawn = [permuted_targets(inputs, 0, k, seed=0) for k in range(40)]
    for permuted in drawn:
        assert all(np.unique(permuted[train]).size == 2 for train, _ in inputs.folds)
        for person in np.unique(inputs.groups.person):
            rows = inputs.groups.person == person
            assert permuted[rows].sum() == y[rows].sum()
    assert len({p.tobytes() for p in drawn}) > 35


def test_permuted_labels_of_a_block_are_drawn_evenly_among_those_that_can_be_learned(rare):
    """Of 2 subjects' first 4 trials any one with 1 to 3 high: shares follow from counting."""
    inputs = load_inputs(study(rare, **CHRONOLOGICAL))
    mine = np.flatnonzero(inputs.groups.person == inputs.groups.person[0])
    first = mine[inputs.groups.trial[mine] <= 4][::2]
    counts = np.array([permuted_targets(inputs, 0, k, 1)[first].sum() for k in range(400)])
    ways = {k: comb(4, k) * comb(12, 7 - k) for k in (1, 2, 3)}
    assert set(counts.tolist()) <= set(ways)
    for k, n in ways.items():
        share = n / sum(ways.values())
        assert abs((counts == k).mean() - share) < 4 * (share * (1 - share) / 400) ** 0.5


def test_of_a_protocol_in_time_the_last_trials_of_every_subject_choose():
    groups = made_up(n_subjects=2, n_trials=10, n_windows=2).groups
    labels = groups.trial % 2
    chooses = later_trials("chronological", {}, groups, labels)
    assert set(groups.trial[chooses].tolist()) == {9, 10}
    assert later_trials("chronological", {"keep": "last"}, groups, labels) is None
    assert later_trials("trial-grouped-k-fold", {}, groups, labels) is None
    # Were nothing but one class left to learn, groups are drawn instead.
    assert later_trials("chronological", {}, groups, (groups.trial > 8).astype(int)) is None


def test_trials_of_one_film_choose_together_though_other_trials_have_no_film(rare):
    made = made_up(n_subjects=2, n_trials=4, n_windows=1).groups
    film = np.array(["a", "b", "", "a", "a", "", "b", "b"], object)
    groups = Groups(**{**vars(made), "stimulus": film})
    declared = study(rare, protocol_options={"n_folds": 2, "within_subject": False})
    unit = kept_whole(declared, groups)
    names = names_of(groups, unit)
    assert unit == "stimulus" and len(set(names.tolist())) == 4
    assert names[0] == names[3] == names[4] != names[1]


def test_models_are_compared_over_folds_by_the_corrected_test(rare, tmp_path):
    declared = study(
        rare,
        ModelChoice("logistic"),
        ModelChoice("svm"),
        protocol_options={"n_folds": 4, "within_subject": False},
        reference="majority",
        n_permutations=0,
    )
    results = run_study(declared, tmp_path / "out")
    found = results["dimensions"]["valence"]["comparisons"]["over_folds"]
    import xarray as xr

    store = xr.open_zarr(tmp_path / "out" / "predictions.zarr", consolidated=False).load()
    inputs, by_model = load_inputs(declared), {}
    for label in ("majority", "logistic"):
        said = store["predicted"].sel(model=label).values[0]
        by_model[label] = np.array([
            window_and_trial_scores(
                inputs.targets[test, 0], said[test], inputs.groups.trial_id[test]
            )["trial"]["balanced_accuracy"]
            for _, test in inputs.folds
        ])  # fmt: skip
    d = by_model["logistic"] - by_model["majority"]
    statistic = d.mean() / np.sqrt((1 / 4 + 8 / 24) * d.var(ddof=1))
    test = found["logistic"]
    assert (test["n"], test["unit"]) == (4, "folds") and "trials" in test["note"]
    assert test["statistic"] == pytest.approx(statistic)
    assert test["p"] == pytest.approx(2 * student.sf(abs(statistic), 3))
    assert set(found) == {"logistic", "svm"} and found["svm"]["p_holm"] >= found["svm"]["p"]


def test_folds_of_each_subject_or_in_time_are_not_compared_as_if_of_one_data_set(rare, tmp_path):
    within = run_study(study(rare, n_permutations=0), tmp_path / "a")
    in_time = run_study(study(rare, **CHRONOLOGICAL, n_permutations=0), tmp_path / "b")
    for results in (within, in_time):
        assert results["dimensions"]["valence"]["comparisons"]["over_folds"] == {}


def test_folds_without_a_score_are_left_out_and_counted():
    scores = {"a": [0.7, 0.8, np.nan, 0.9], "b": [0.5, 0.5, 0.5, 0.5], "c": [np.nan] * 4}
    found = compare_over_folds(scores, "b", np.full(4, 30.0), np.full(4, 10.0))
    test, adjusted = found["a"]
    assert test.n == 3 and "1 folds without both" in test.note and adjusted == test.p
    assert "c" not in found


def test_trials_that_overlap_in_time_never_stand_on_both_sides(tmp_path):
    data = made_up(n_subjects=2, n_trials=8, n_windows=6, effect=1.0)
    groups = replace(data.groups, onset_seconds=data.groups.onset_seconds * 1.0)
    groups.onset_seconds[:6] += 5.5  # the first trial ends half a second into the second one
    path = tmp_path / "overlap.zarr"
    write_study_data(replace(data, groups=groups), path)
    text = "[12] test windows in fold . that share samples .*01/1/1 and .*01/1/2 overlap in time"
    with pytest.raises(DataError, match=text):
        load_inputs(study(path, protocol_options={"n_folds": 8, "within_subject": True}))
    # Of people nothing is shared, and a leaky protocol promises nothing.
    assert load_inputs(study(path, protocol="leave-one-subject-out", protocol_options={}))


def test_a_store_that_was_corrected_is_other_data(rare, tmp_path):
    import shutil

    import zarr

    store = tmp_path / "store.zarr"
    shutil.copytree(rare, store)
    declared = study(store, n_permutations=0)
    first = run_study(declared, tmp_path / "out")
    rating = zarr.open(str(store))["rating"]
    rating[0:2, 0] = 7.0
    with pytest.raises(RecordingExistsError, match="one of other data"):
        run_study(declared, tmp_path / "out")
    moved = tmp_path / "elsewhere.zarr"
    shutil.copytree(rare, moved)
    again = run_study(study(moved, n_permutations=0), tmp_path / "again", jobs=1)
    assert again["config_hash"] == first["config_hash"]
    assert again["dimensions"] == first["dimensions"]


def test_an_unfinished_study_never_goes_on_with_other_versions(rare, tmp_path):
    declared, out = study(rare, n_permutations=0), tmp_path / "out"
    whole = run_study(declared, out)
    (out / "results.json").rename(tmp_path / "kept.json")  # as if it had been interrupted
    config = json.loads((out / "config.json").read_text())
    config["versions"]["scikit-learn"] = "1.0"
    (out / "config.json").write_text(json.dumps(config))
    with pytest.raises(RecordingExistsError, match=r"begun with scikit-learn 1\.0, expected"):
        run_study(declared, out)
    (tmp_path / "kept.json").rename(out / "results.json")
    assert run_study(declared, out)["dimensions"] == whole["dimensions"]  # a finished one is read


def test_a_study_over_two_stores_is_audited_on_the_windows_of_both(tmp_path, monkeypatch):
    for name, seed, channels in (("one", 0, 5), ("two", 1, 3)):
        data = made_up(n_subjects=2, n_trials=12, n_windows=2, seed=seed, n_channels=channels)
        source = {**data.source, "dataset": name, "fingerprints": {name: "0"}}
        write_study_data(replace(data, source=source), tmp_path / f"{name}.zarr")
    monkeypatch.chdir(tmp_path)
    declared = study(Path("one.zarr"), n_permutations=0, protocol="cross-dataset")
    stores = (Path("one.zarr"), Path("two.zarr"))
    run_study(replace(declared, stores=stores, protocol_options={}), Path("out"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    report, _ = audit_path(tmp_path / "out", n_permutations=20)
    assert (report.n_windows, report.n_folds, report.protocol) == (96, 2, "cross-dataset")
    assert not report.leaky and report.targets[0].n_trials == 48
