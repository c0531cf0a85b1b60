"""The audit: leaks are called leaks, with their size, and clean splits are called clean."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from physioemo.datasets.source import Source
from physioemo.errors import CallError, DataError, RecordingNotFoundError, UnreadableFileError
from physioemo.experiments.audit import audit, default_targets
from physioemo.experiments.audit_cli import audit as audit_command
from physioemo.experiments.audit_path import audit_path
from physioemo.experiments.nearest import nearest
from physioemo.experiments.null_data import NullPlan, null_recordings, study_data
from physioemo.experiments.outside_splits import OutsideSplit, read_split, write_split
from physioemo.experiments.paper_exact import paper_exact_data, paper_folds
from physioemo.experiments.planted_data import planted_recordings
from physioemo.experiments.splits import trial_grouped_k_fold
from physioemo.experiments.study_data import Groups, StudyData
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.features.preprocess_run import preprocess


@pytest.fixture(scope="module")
def paper():
    """Windows of pure stationary noise as published, without the subtraction of the baseline."""
    recordings = null_recordings(4, 30, 5, 0.0, trial_seconds=40.0)
    return paper_exact_data(recordings, like="deap", baseline=False)


@pytest.fixture(scope="module")
def leaky(paper):
    return audit(paper, list(paper_folds(len(paper))))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A feature store of noise: entropy of seconds, smoothed along each trial."""
    out = tmp_path_factory.mktemp("store") / "features.zarr"
    plan = {"n_subjects": 2, "n_trials": 10, "seed": 3, "drift": 0.3, "trial_seconds": 10.0}
    sources = [
        Source(f"s{k}", (), lambda k=k: iter([list(null_recordings(**plan))[k]])) for k in range(2)
    ]
    recipe = PreprocessRecipe(definition="window-filter", smoothing="moving-average")
    preprocess(sources, out, recipe, dataset="simulated")
    return out


def tokens(groups, values, classes):
    return StudyData(
        families={"de": np.asarray(values, float)},
        coords={"de": {"channel": tuple(str(k) for k in range(np.shape(values)[1]))}},
        groups=groups,
        ratings={"valence": np.where(classes, 7.0, 3.0)},
        scale=(1, 9),
        labels=None,
    )


def made_up(rng, n_subjects=2, n_trials=12, n_windows=6, stimulus=True, hop=1.0, **changes):
    """Return windows whose features name their trial, and a random class per trial."""
    n = n_subjects * n_trials
    trial = np.repeat(np.tile(np.arange(n_trials), n_subjects), n_windows)
    subject = np.repeat([f"s{k}" for k in range(n_subjects)], n_trials * n_windows).astype(object)
    clip = np.array([f"clip{t}" if stimulus else "" for t in trial], object)
    onset = trial * 100.0 + np.tile(np.arange(n_windows) * hop, n)
    groups = Groups(subject, np.full(len(trial), "1", object), trial, clip, onset, 1.0)
    values = np.repeat(rng.normal(0, 1, (n, 5)), n_windows, axis=0)
    values = values + rng.normal(0, 0.05, values.shape)
    classes = np.repeat(rng.permutation(np.arange(n) % 2), n_windows)
    return tokens(replace(groups, **changes), values, classes)


def shuffled(n, n_folds=3, seed=0):
    rows = np.random.default_rng(seed).permutation(n)
    return [(np.setdiff1d(rows, part), np.sort(part)) for part in np.array_split(rows, n_folds)]


def by_trial(data, seed=0):
    return list(trial_grouped_k_fold(data.groups, within_subject=False, seed=seed))


def test_noise_in_published_windows_scores_far_above_chance_and_the_audit_says_by_how_much(
    paper, leaky
):
    values = paper.families["de"].reshape(len(paper), -1)
    high = paper.ratings["valence"] > 5
    hits = [
        high[train[nearest(values[train], values[test])[:, 0]]] == high[test]
        for train, test in paper_folds(len(paper))
    ]
    scored = 100 * np.concatenate(hits).mean()
    assert scored > 85
    assert leaky.leaky
    assert leaky.inflation_points + 50 == pytest.approx(scored, abs=4)
    assert leaky.overlap.share > 0.99
    assert "LEAKY" in leaky.verdict()
    assert f"about {leaky.inflation_points:.1f} points of a score" in leaky.verdict()


def test_the_subtracted_baseline_marks_the_trial_and_the_audit_shows_it():
    recordings = list(null_recordings(2, 20, 2, 0.0, trial_seconds=30.0))
    without, with_it = (
        paper_exact_data(recordings, like="deap", baseline=b) for b in (False, True)
    )
    # Windows that share no sample: only what marks the trial is left.
    apart = [d.take(np.flatnonzero(spaced(d.groups, 4.1))) for d in (without, with_it)]
    named = [audit(d, shuffled(len(d))).named_trial for d in apart]
    assert named[1] > 0.9 > 0.3 > named[0], named


def spaced(groups, least_seconds):
    kept, last = np.zeros(len(groups), bool), {}
    for k in np.argsort(groups.onset_seconds, kind="stable"):
        trial = groups.trial_id[k]
        if groups.onset_seconds[k] - last.get(trial, -np.inf) >= least_seconds:
            kept[k], last[trial] = True, groups.onset_seconds[k]
    return kept


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_windows_split_by_trials_are_clean_and_at_chance(paper, seed):
    report = audit(paper, by_trial(paper, seed), protocol="trial-grouped-k-fold")
    assert not report.leaky and report.problems == ()
    assert report.verdict().startswith("CLEAN. No test window of 5 folds shares samples")
    for target in report.targets:
        band = 1.96 * np.sqrt(0.25 / target.n_trials)  # windows of a trial count once
        assert abs(target.nearest - 0.5) < band
        assert abs(target.permuted.inflation) < 0.01
    assert report.named_trial_here == 0 < 0.8 < report.named_trial


def test_permuted_labels_score_what_recognised_trials_alone_would(rng):
    data = made_up(rng, hop=1.0)
    report = audit(data, shuffled(len(data)))
    run = report.targets[0].permuted
    assert run.chance == pytest.approx(2 * 12 * 11 / (24 * 23))
    named = report.named_trial_here
    assert run.accuracy == pytest.approx(named + (1 - named) * run.chance, abs=0.01)
    assert report.overlap.n_overlapping == 0  # seconds do not overlap, and yet
    assert report.leaky and report.inflation_points > 40


def test_overlap_is_counted_per_recording_and_touching_windows_do_not_overlap(rng):
    data = made_up(rng, hop=0.5, n_trials=4)
    touching = [(np.array([0]), np.array([2, 3]))]  # onsets 0 | 1 and 1.5 s, windows of 1 s
    assert audit(data, touching).overlap.n_overlapping == 0
    overlapping = [(np.array([0, 30]), np.array([1, 2, 25]))]
    assert audit(data, overlapping).overlap.n_overlapping == 1
    other_subject = [(np.array([0]), np.array([24]))]
    assert audit(data, other_subject).overlap.n_overlapping == 0


def test_a_broken_promise_of_the_declared_protocol_is_a_leak(rng):
    data = made_up(rng)
    folds = by_trial(data)
    assert not audit(data, folds, protocol="trial-grouped-k-fold").leaky
    report = audit(data, folds, protocol="leave-one-subject-out")
    assert report.leaky
    assert report.problems[0] == (
        "leave-one-subject-out keeps each session on one side, but 2 of 2 are on both (100.0 % of "
        "the test windows)."
    )
    assert report.shared["subject"].allowed is False
    assert report.shared["stimulus"].allowed is True
    report = audit(data, folds)
    assert report.shared["subject"].allowed is None
    assert any("say nothing about new subjects" in note for note in report.notes)


def test_training_on_the_future_breaks_the_chronological_promise(rng):
    data = made_up(rng, n_subjects=1)
    early, late = np.flatnonzero(data.groups.trial < 6), np.flatnonzero(data.groups.trial >= 6)
    assert not audit(data, [(early, late)], protocol="chronological").leaky
    report = audit(data, [(late, early)], protocol="chronological")
    assert "1 of 1 folds train on windows that are later" in report.verdict()


def test_what_was_fitted_across_folds_is_a_leak(rng):
    data = made_up(rng)
    fitted = {"scaler": "training", "smoother": "trial", "selection": "nothing"}
    assert not audit(data, by_trial(data), fitted_on=fitted).leaky
    report = audit(data, by_trial(data), fitted_on={**fitted, "resampler": "all windows"})
    assert report.leaky
    assert "The resampler was fitted on 'all windows'" in report.verdict()
    undeclared = audit(data, by_trial(data))
    assert any("is not declared (fitted_on)" in note for note in undeclared.notes)


def test_smoothing_in_the_recipe_leaks_only_where_trials_are_shared(rng):
    data = made_up(rng)
    smoothed = replace(data, source={"recipe": {"smoothing": "lds", "features": ["de"]}})
    report = audit(smoothed, shuffled(len(data)))
    assert any("smoothed along each trial (lds)" in p for p in report.problems)
    assert not audit(smoothed, by_trial(data)).leaky


def test_features_that_look_far_back_are_told_apart_from_windows_that_overlap(rng):
    data = made_up(rng)
    onset = data.groups.onset_seconds / 10  # trials begin 10 s apart
    recipe = {"features": ["hrv"], "hrv_window_seconds": 30.0, "smoothing": "none"}
    close = replace(data, groups=replace(data.groups, onset_seconds=onset))
    assert audit(close, by_trial(data)).overlap.n_reached == 0
    report = audit(replace(close, source={"recipe": recipe}), by_trial(data))
    assert report.overlap.n_overlapping == 0 < report.overlap.n_reached
    assert not report.leaky
    assert any("looks further back than its window (heart-rate" in note for note in report.notes)


def test_copies_of_windows_on_both_sides_are_found(rng):
    data = made_up(rng)
    values = data.families["de"].copy()
    train, test = by_trial(data)[0]
    values[test[:3]] = values[train[:3]]
    copied = replace(data, families={"de": values})
    report = audit(copied, by_trial(data))
    assert report.overlap.n_identical >= 3
    assert "bit by bit the features of a training window" in report.verdict()


def test_recognised_stimuli_are_a_note_with_a_number(rng):
    data = made_up(rng, n_subjects=4, n_trials=20)
    of_clip = rng.normal(0, 1, (20, 5))[data.groups.trial]
    values = of_clip + rng.normal(0, 0.05, of_clip.shape)
    labels = np.array(["a", "b"], object)[(data.groups.trial % 2)]
    data = replace(data, families={"de": values}, ratings={}, scale=None, labels=labels)
    loso = [
        (np.flatnonzero(data.groups.subject != s), np.flatnonzero(data.groups.subject == s))
        for s in np.unique(data.groups.subject)
    ]
    report = audit(data, loso, protocol="leave-one-subject-out")
    assert not report.leaky
    assert report.targets[0].permuted_stimuli.accuracy > 0.95
    assert any("it recognises stimuli" in note for note in report.notes)


def test_labels_in_blocks_are_told_by_the_clock():
    plan = NullPlan(n_subjects=2, n_trials=16, trial_seconds=4.0)
    blocks = study_data(planted_recordings("drift-confound", plan))
    report = audit(blocks, by_trial(blocks))
    assert any("labels come in blocks" in note for note in report.notes)
    assert any("simulated" in note for note in report.notes)
    mixed = study_data(null_recordings(2, 16, 0, 0.1, trial_seconds=4.0))
    assert not any("labels come in blocks" in n for n in audit(mixed, by_trial(mixed)).notes)


def test_a_mid_point_is_no_class_and_labels_are_classes(rng):
    data = made_up(rng, n_trials=4)
    rating = np.array([5.0, np.nan, 5.1, 4.9] * 12)
    data = replace(data, ratings={"valence": rating})
    assert default_targets(data)["valence"][:4].tolist() == [-1, -1, 1, 0]
    named = replace(data, ratings={}, labels=np.array(["b", "a", "b", "c"] * 12, object))
    assert default_targets(named)["label"][:4].tolist() == [1, 0, 1, 2]


def test_missing_values_and_unrated_trials_do_not_stop_it(rng):
    data = made_up(rng)
    values = data.families["de"].copy()
    values[::3, 0], values[:, 1] = np.nan, np.nan
    rating = np.where(data.groups.trial < 3, np.nan, data.ratings["valence"])
    data = replace(data, families={"de": values}, ratings={"valence": rating})
    report = audit(data, by_trial(data))
    assert not report.leaky
    assert report.targets[0].n_trials == 18
    assert np.isfinite(report.targets[0].nearest)


def test_the_report_is_json_and_the_same_every_time(paper, leaky):
    again = audit(paper, list(paper_folds(len(paper))))
    text = json.dumps(leaky.to_dict(), allow_nan=False)
    assert text == json.dumps(again.to_dict(), allow_nan=False)
    content = json.loads(text)
    assert content["verdict"] == "LEAKY" and content["leaky"] is True
    assert content["inflation_points"] == pytest.approx(leaky.inflation_points)
    assert content["shared"]["trial"]["n_shared"] == 120
    assert any("says itself that it is LEAKY" in note for note in content["notes"])


# --- splits of other people -------------------------------------------------------------------


def write_csv(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_an_outside_split_is_audited_both_ways(store, tmp_path):
    shuffled_csv = write_csv(
        tmp_path / "shuffled.csv", ["window", "fold"], [(k, k % 5) for k in range(200)]
    )
    report, _ = audit_path(store, shuffled_csv)
    assert report.leaky and report.n_folds == 5 and report.inflation_points > 20
    assert any("smoothed along each trial (moving-average)" in p for p in report.problems)
    rows = [
        (k, fold, "test" if (k // 10) % 5 == fold else "train")
        for k in range(200)
        for fold in range(5)
    ]
    whole_trials = write_csv(tmp_path / "trials.csv", ["window", "fold", "part"], rows)
    report, _ = audit_path(store, whole_trials)
    assert not report.leaky and report.n_untested == 0


def test_all_forms_of_a_split_are_the_same_split(tmp_path):
    fold = [0, 1, 0, 1, 1]
    forms = {
        "a.csv": "window,fold\n0,0\n1,1\n2,0\n3,1\n4,1\n",
        "b.csv": "fold\n0\n1\n0\n1\n1\n",
        "c.csv": "window,fold,part\n"
        + "".join(
            f"{w},{k},{'test' if fold[w] == k else ('validation' if w == 4 else 'Train')}\n"
            for k in (0, 1)
            for w in range(5)
        ),
        "a.json": json.dumps({"test_fold": fold}),
        "b.json": json.dumps(
            {
                "folds": [
                    {"train": [1, 3], "validation": [4], "test": [0, 2]},
                    {"train": [0, 2], "test": [1, 3, 4]},
                ]
            }
        ),
    }
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        folds = read_split(tmp_path / name, 5).folds
        found = [(sorted(a.tolist()), sorted(b.tolist())) for a, b in folds]
        assert found == [([1, 3, 4], [0, 2]), ([0, 2], [1, 3, 4])], name


def test_a_study_folder_brings_its_split_its_store_and_its_claims(store, tmp_path):
    train, test = np.arange(100), np.arange(100, 200)
    folds = [(train, test), (test, train)]
    steps = {"scaler": "training"}
    split = OutsideSplit(folds, "leave-one-subject-out", False, steps, store)
    write_split(tmp_path / "splits.json", split)
    report, _ = audit_path(tmp_path)
    assert not report.leaky and report.protocol == "leave-one-subject-out"
    assert report.fitted_on == steps
    write_split(tmp_path / "splits.json", replace(split, leaky=True, store=None))
    (tmp_path / "config.json").write_text(json.dumps({"store": str(store)}))
    report, _ = audit_path(tmp_path)
    assert report.declared_leaky
    assert audit_path(tmp_path / "splits.json")[0].declared_leaky


BAD = [
    ("s.csv", "window,fold\n0,0\n1,1\n", "a split of 2 windows in .*s.csv, expected 3 as in the"),
    ("s.csv", "fold\n0\n1\n", "found a split of 2 windows in .*, expected 3"),
    ("s.json", '{"test_fold": [0, 1, 0, 1]}', "found a split of 4 windows in .*, expected 3"),
    ("s.json", '{"n_windows": 9, "folds": []}', "found a split of 9 windows in .*, expected 3"),
    ("s.csv", "window,part\n0,train\n7,test\n", "the window 7 in fold 0 of .*, expected 0 to 2"),
    ("s.json", '[{"train": [0, -1], "test": [1]}]', "the window -1 in fold 0 of .*expected 0 to 2"),
    (
        "s.json",
        '[{"train": [0, 1], "test": [1, 2]}]',
        "window 1 in train and in test of fold 0 .*1 s",
    ),
    ("s.json", '[{"train": [0, 0], "test": [1]}]', "the window 0 twice in train of fold 0"),
    ("s.csv", "window,fold\n0,0\n0,1\n1,1\n", "the window 0 in several rows of .*one row each"),
    ("s.json", '{"folds": []}', "found no folds in .*s.json, expected at least one"),
    ("s.json", '[{"train": [], "test": [1]}]', "found no train windows in fold 0"),
    (
        "s.csv",
        "window,part\n0,train\n1,tset\n",
        "the part 'tset' in line 3 of .*expected train, val",
    ),
    (
        "s.csv",
        "window,fold\n0,0\n1.5,1\n",
        "found '1.5' in line 3 of .*, expected the number of a w",
    ),
    ("s.csv", "a,b\n0,0\n", "found the columns a, b in .*s.csv, expected a split: CSV with"),
    ("s.csv", "", "found the columns none in .*s.csv, expected a split"),
    ("s.json", "{", "found damaged JSON .*s.json, expected a split"),
    ("s.json", '{"a": 1}', "found the entries a in .*s.json, expected a split"),
    ("s.json", "3", "found a int in .*s.json, expected a split"),
    ("s.json", '[{"train": [0]}]', "found fold 0 without 'train' and 'test' in .*s.json"),
    ("s.json", '[{"train": [0, "x"], "test": [1]}]', "'x' for a window's number in fold 0 in"),
    ("s.json", '{"protocol": 3, "train": [0], "test": [1]}', "found protocol 3 and fitted_on"),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD)
def test_what_is_no_split_is_said_in_one_sentence(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / name, 3)


def test_bytes_that_are_no_text_are_an_error(tmp_path):
    (tmp_path / "s.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnreadableFileError, match=r"found bytes that are no text .*s\.csv"):
        read_split(tmp_path / "s.csv", 3)


def test_what_is_not_there_is_said(store, tmp_path, rng):
    with pytest.raises(RecordingNotFoundError, match="found no file at .*none.csv, expected a spl"):
        read_split(tmp_path / "none.csv", 3)
    with pytest.raises(RecordingNotFoundError, match="found no splits.json in"):
        audit_path(tmp_path)
    with pytest.raises(RecordingNotFoundError, match="expected a feature store"):
        audit_path(tmp_path / "nothing")
    (tmp_path / "s.json").write_text('[{"train": [0], "test": [1]}]')
    with pytest.raises(DataError, match="found no feature store named in .*physioemo audit STORE"):
        audit_path(tmp_path / "s.json")
    with pytest.raises(CallError, match="which brings its own split, expected a feature store"):
        audit_path(tmp_path / "s.json", "other.csv")
    with pytest.raises(CallError, match="'leave-one-subject-out'"):
        audit_path(store, protocol="leave-one-subjekt-out")


def test_targets_that_do_not_fit_are_said(rng):
    data = made_up(rng)
    with pytest.raises(CallError, match=r"classes of joy of shape \(3,\), expected one for each"):
        audit(data, by_trial(data), targets={"joy": np.zeros(3, int)})
    with pytest.raises(CallError, match="found 1 permutations, expected at least 2"):
        audit(data, by_trial(data), n_permutations=1)
    mixed = np.arange(len(data)) % 2
    with pytest.raises(DataError, match="found several classes of joy in one trial"):
        audit(data, by_trial(data), targets={"joy": mixed})
    unscaled = replace(data, scale=None)
    with pytest.raises(DataError, match="found ratings of valence without a scale"):
        audit(unscaled, by_trial(data))


# --- the command -------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(audit_command, [str(a) for a in arguments])


def test_the_command_prints_a_verdict_and_returns_one_for_a_leak(store, tmp_path):
    clean = run(store)
    assert clean.exit_code == 0, clean.output
    assert clean.output.startswith("CLEAN. No test window of")
    assert "Were the windows shuffled, permuted labels would score" in clean.output
    split = tmp_path / "s.csv"
    write_csv(split, ["window", "fold"], [(k, k % 5) for k in range(200)])
    leak = run(store, "--split", split)
    assert leak.exit_code == 1
    assert leak.output.startswith("LEAKY. 100.0 % of the test windows are of a trial")
    assert "labels permuted" in leak.output


def test_the_command_audits_any_protocol_and_prints_json(store):
    leak = run(store, "--protocol", "window-shuffled", "--json")
    assert leak.exit_code == 1
    assert json.loads(leak.output)["inflation_points"] > 20
    clean = run(store, "--protocol", "leave-one-subject-out", "--json")
    assert clean.exit_code == 0
    content = json.loads(clean.output)
    assert content["verdict"] == "CLEAN"
    assert content["if_windows_were_shuffled"]["verdict"] == "LEAKY"
