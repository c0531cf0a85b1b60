"""Folds by groups: whole trials, clips, subjects and sessions on one side."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioemo.errors import CallError
from physioemo.experiments.disjoint import check_disjoint, shared_samples
from physioemo.experiments.protocols import split
from physioemo.experiments.splits import group_ids, held_out_groups, trial_grouped_k_fold
from physioemo.experiments.study_data import Groups
from tests.experiments.made_groups import made_groups

GROUPS = st.lists(st.sampled_from([f"g{i}" for i in range(12)]), min_size=20, max_size=80)


@given(GROUPS, st.integers(2, 5), st.integers(0, 99))
def test_no_group_is_on_both_sides_and_every_window_is_tested_once(groups, n_folds, seed):
    if len(set(groups)) < n_folds:
        return
    groups = np.array(groups, object)
    tested = np.zeros(len(groups), int)
    for train, test in trial_grouped_k_fold(groups, n_folds=n_folds, seed=seed):
        assert not set(groups[train]) & set(groups[test])
        assert len(train) + len(test) == len(groups)
        tested[test] += 1
    assert (tested == 1).all()


def test_all_presentations_of_a_stimulus_are_one_group():
    groups = group_ids(["a", "a", "b"], [1, 2, 1], ["film", "", "film"])
    assert groups[0] == groups[2] != groups[1]


def test_the_folds_do_not_depend_on_the_order_of_files():
    groups = np.array([f"trial {i}" for i in range(20)], object)
    shuffled = groups[::-1]
    for (_, a), (_, b) in zip(
        trial_grouped_k_fold(groups), trial_grouped_k_fold(shuffled), strict=True
    ):
        assert set(groups[a]) == set(shuffled[b])


def test_the_folds_do_not_depend_on_the_hash_seed():
    code = (
        "from physioemo.experiments.splits import trial_grouped_k_fold as f;"
        "print([t.tolist() for _, t in f([str(i) for i in range(30)])])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_fewer_groups_than_folds_is_an_error():
    with pytest.raises(CallError, match="found 2 groups of trials for 5 folds"):
        next(trial_grouped_k_fold(["a", "b", "a"]))


@given(GROUPS, st.integers(0, 9))
def test_held_out_groups_are_whole(groups, seed):
    if len(set(groups)) < 2:
        return
    groups = np.array(groups, object)
    train, held = held_out_groups(groups, seed=seed)
    assert len(train) and len(held) and not set(groups[train]) & set(groups[held])


def test_a_fold_tests_whole_trials_unlike_torcheegs_k_fold_group_by_trial():
    """There, each fold takes a part of the windows of every trial."""
    groups = made_groups(1, 1, 10, 8)
    for train, test in split("trial-grouped-k-fold", groups):
        assert len(np.unique(groups.trial[test])) == 2 and len(test) == 16
        assert not set(groups.trial[test]) & set(groups.trial[train])
    theirs = np.arange(len(groups)) % 8 == 0
    found = check_disjoint(groups, np.flatnonzero(~theirs), np.flatnonzero(theirs))
    assert "10 trials are in training and test: d/s0/0/0, d/s0/0/1, d/s0/0/2, ..." in found
    assert "10 of 10 test windows (100.0 %) share samples with training windows" in found


def test_subject_dependent_folds_hold_one_subject_each_and_pooled_ones_all():
    groups = made_groups(3, 1, 6, clips=6)
    folds = split("trial-grouped-k-fold", groups, n_folds=3)
    assert [set(groups.subject[np.concatenate(f)]) for f in folds] == [
        {s} for s in ("s0", "s1", "s2") for _ in range(3)
    ]
    pooled = split("trial-grouped-k-fold", groups, n_folds=3, within_subject=False)
    assert [len(set(groups.subject[t])) for _, t in pooled] == [3, 3, 3]


def test_a_subjects_folds_do_not_depend_on_who_else_is_there():
    groups = made_groups(3)
    alone = groups.take(np.flatnonzero(groups.subject == "s1"))
    start = int(np.flatnonzero(groups.subject == "s1")[0])
    with_others = split("trial-grouped-k-fold", groups)[5:10]
    for (_, a), (_, b) in zip(split("trial-grouped-k-fold", alone), with_others, strict=True):
        assert np.array_equal(a + start, b)


def test_a_clip_that_returns_in_another_session_stays_on_one_side_where_stimuli_are_kept_apart():
    groups = made_groups(1, 3, 5, clips=5)
    assert len(split("leave-one-trial-out", groups)) == 5
    train, test = split("session-held-out", groups)[0]
    assert check_disjoint(groups, train, test, ["stimulus"])[0].startswith("5 stimuli are in")


def test_earlier_trials_train_later_ones_are_tested():
    groups = made_groups(1, 1, 10, 1)
    trials = [
        (groups.trial[a].tolist(), groups.trial[b].tolist())
        for a, b in split("chronological", groups)
    ]
    assert trials[0] == ([0, 1], [2, 3]) and trials[-1] == (list(range(8)), [8, 9])
    assert check_disjoint(groups, np.array([5]), np.array([2]), ["time"]) == [
        "1 subject with training windows later than test windows: d/s0"
    ]


def test_session_ten_follows_session_nine():
    groups = made_groups(1, 11, 1, 1)
    train, test = split("chronological", groups, n_blocks=11)[-1]
    assert groups.session[test].tolist() == ["10"] and len(train) == 10


def test_of_a_subject_and_a_clip_neither_is_known():
    groups = made_groups(2, 1, 4, 1, clips=4)
    folds = split("leave-subject-and-stimulus-out", groups, n_folds=4)
    assert len(folds) == 8
    for train, test in folds:
        assert len(train) == 3 and len(test) == 1


@given(st.integers(0, 20), st.integers(2, 5))
def test_stratified_folds_have_even_classes_and_whole_trials(seed, n_folds):
    groups = made_groups(1, 1, 40, 2)
    labels = (np.random.default_rng(seed).random(40) < 0.3).astype(int)[groups.trial]
    labels[groups.trial == 7] = -1
    n_high = (labels == 1).sum() / 2
    for train, test in split(
        "trial-grouped-k-fold", groups, labels=labels, n_folds=n_folds, seed=seed
    ):
        assert abs((labels[test] == 1).sum() / 2 - n_high / n_folds) <= 1
        assert abs(len(test) / 2 - 40 / n_folds) <= 2
        assert check_disjoint(groups, train, test) != []  # the subject, by design
        assert check_disjoint(groups, train, test, ["window", "trial", "stimulus"]) == []


def test_no_stratified_fold_is_empty_even_without_any_label():
    groups = made_groups(1, 1, 5, 1)
    folds = split("trial-grouped-k-fold", groups, labels=np.full(5, -1))
    assert [len(t) for _, t in folds] == [1] * 5


def test_windows_that_follow_each_other_do_not_share_samples():
    onset = np.cumsum(np.full(50, 0.1))
    one = np.full(50, "x", object)
    groups = Groups(one, one, np.arange(50), one, onset, 0.1)
    even, odd = np.arange(0, 50, 2), np.arange(1, 50, 2)
    assert check_disjoint(groups, even, odd, ["window"]) == []
    closer = replace(groups, window_seconds=0.101)
    assert shared_samples(closer, even, odd).all()
