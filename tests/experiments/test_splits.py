import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioemo.errors import CallError
from physioemo.experiments.splits import group_ids, held_out_groups, trial_grouped_k_fold

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
            env={**__import__("os").environ, "PYTHONHASHSEED": seed},
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
