"""The audit: leaks are called leaks, with their size, and clean splits are called clean."""

import json
from dataclasses import replace

import numpy as np
import pytest

from physioemo.errors import CallError, DataError
from physioemo.experiments.audit import audit, default_targets
from physioemo.experiments.nearest import nearest
from physioemo.experiments.null_data import NullPlan, null_recordings, study_data
from physioemo.experiments.paper_exact import paper_exact_data, paper_folds
from physioemo.experiments.planted_data import planted_recordings
from tests.experiments.audited import by_trial, made_up


@pytest.fixture(scope="module")
def paper():
    """Windows of pure stationary noise as published, without the subtraction of the baseline."""
    recordings = null_recordings(4, 30, 5, 0.0, trial_seconds=40.0)
    return paper_exact_data(recordings, like="deap", baseline=False)


@pytest.fixture(scope="module")
def leaky(paper):
    return audit(paper, list(paper_folds(len(paper))))


def shuffled(n, n_folds=3, seed=0):
    rows = np.random.default_rng(seed).permutation(n)
    return [(np.setdiff1d(rows, part), np.sort(part)) for part in np.array_split(rows, n_folds)]


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
