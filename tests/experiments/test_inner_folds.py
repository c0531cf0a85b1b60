"""Validation is made of training windows, and kept apart as the test is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CallError
from physioemo.experiments.disjoint import check_disjoint
from physioemo.experiments.inner_folds import inner_kind, inner_split
from physioemo.experiments.protocols import PROTOCOLS, nested_folds, split
from tests.experiments.made_groups import made_groups, options_of, random_groups


@pytest.mark.parametrize("name", PROTOCOLS)
@settings(max_examples=10, deadline=None)
@given(groups=random_groups(), seed=st.integers(0, 99))
def test_validation_is_made_of_training_windows_and_kept_apart_as_the_test_is(name, groups, seed):
    disjoint = PROTOCOLS[name].disjoint
    for train, test in split(name, groups, seed=seed, **options_of(name)[-1])[:3]:
        fit, held = inner_split(groups, train, disjoint, seed=seed)
        assert len(fit) and len(held) and not np.intersect1d(fit, held).size
        assert np.isin(np.concatenate([fit, held]), train).all()
        assert not np.isin(np.concatenate([fit, held]), test).any()
        kind = inner_kind(groups, train, disjoint)
        keeps = {
            "window": (),
            "time": ("window", "trial", "time"),
            "trial": ("window", "trial", *({"stimulus"} & {*disjoint})),
            "session": ("window", "trial", "session"),
            "subject": ("window", "trial", "session", "subject"),
            "subject and stimulus": ("window", "trial", "session", "subject", "stimulus"),
            "dataset": disjoint,
        }[kind]
        assert check_disjoint(groups, fit, held, keeps) == []


def test_nested_folds_never_see_the_test_subjects():
    groups = made_groups(7, 1, 3, 2, clips=3)
    sizes = []
    for _, test, inner in nested_folds("leave-n-subjects-out", groups, n_subjects=2, n_inner=3):
        sizes.append(len(set(groups.subject[test])))
        assert len(inner) == 3
        for fit, held in inner:
            subjects = [set(groups.subject[rows]) for rows in (fit, held, test)]
            assert sum(map(len, subjects)) == 7 == len(set.union(*subjects))
    assert sorted(sizes) == [1, 2, 2, 2]


def test_validation_falls_back_to_trials_where_training_has_one_session():
    groups = made_groups(2, 2, 5)
    row = PROTOCOLS["session-held-out"]
    train, _ = split("session-held-out", groups)[0]
    assert inner_kind(groups, train, row.disjoint) == "trial"
    many = made_groups(2, 3, 5)
    train, _ = split("session-held-out", many)[0]
    assert inner_kind(many, train, row.disjoint) == "session"


def test_validation_refuses_what_is_no_outer_fold():
    groups = made_groups(1, 1, 4)
    with pytest.raises(CallError, match="expected different window numbers from 0 to 11"):
        inner_split(groups, np.array([0, 0]), ["trial"])
    with pytest.raises(CallError, match="found 1 of the trials in training"):
        inner_split(groups, np.array([0, 1, 2]), ["trial"])
    with pytest.raises(CallError, match="found the kind 'trail'"):
        inner_split(groups, np.arange(6), ["trail"])
    with pytest.raises(CallError, match="found a validation share of 0.9"):
        inner_split(groups, np.arange(6), ["trial"], share=0.9)
