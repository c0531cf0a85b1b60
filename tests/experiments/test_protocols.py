"""What every protocol promises: what is kept apart, and one sentence where it cannot be."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CallError, DataError
from physioemo.experiments.disjoint import check_disjoint
from physioemo.experiments.protocols import PROTOCOLS, split
from tests.experiments.made_groups import joined, made_groups, options_of, random_groups


@pytest.mark.parametrize("name", PROTOCOLS)
@settings(max_examples=10, deadline=None)
@given(groups=random_groups(), seed=st.integers(0, 99))
def test_what_a_protocol_calls_disjoint_is_disjoint(name, groups, seed):
    for options in options_of(name):
        folds = split(name, groups, seed=seed, **options)
        assert len(folds) > 1
        for train, test in folds:
            assert len(train) and len(test) and not np.intersect1d(train, test).size
            assert check_disjoint(groups, train, test, PROTOCOLS[name].disjoint) == []


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_window_is_tested_once_or_with_the_first_block_never(name):
    groups = joined(made_groups(clips=5), made_groups(clips=5, dataset="e"))
    for options in options_of(name):
        tested = np.bincount(
            np.concatenate([t for _, t in split(name, groups, **options)]), minlength=len(groups)
        )
        assert set(tested.tolist()) == ({0, 1} if name == "chronological" else {1})


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_order_of_the_rows_does_not_change_the_folds(name):
    groups = joined(made_groups(clips=5), made_groups(clips=5, dataset="e"))
    order = np.random.default_rng(3).permutation(len(groups))
    shuffled = groups.take(order)
    for options in options_of(name):
        for one, other in zip(
            split(name, groups, seed=4, **options),
            split(name, shuffled, seed=4, **options),
            strict=True,
        ):
            for a, b in zip(one, other, strict=True):
                assert np.array_equal(np.sort(a), np.sort(order[b]))


def test_no_protocol_depends_on_the_hash_seed_as_list_of_set_of_names_does():
    code = """
import numpy as np
from physioemo.experiments.protocols import PROTOCOLS, split
from physioemo.experiments.study_data import Groups
rows = [(d, f"{d}-p{s}", str(e), t, f"{d} clip {t}", 9.0 * t)
        for d in "ab" for s in range(3) for e in range(2) for t in range(5)]
d, s, e, t, c, o = (np.array(x, object) for x in zip(*rows))
groups = Groups(s, e, t.astype(int), c, o.astype(float), 1.0, d)
labels = t.astype(int) % 2
print(list({f"p{i}" for i in range(30)})[:5])
for name, row in PROTOCOLS.items():
    options = {"allow_leakage": True} if row.leaky else {}
    print(name, [b.tolist() for _, b in split(name, groups, **options)])
    if row.stratifies:
        print([b.tolist() for _, b in split(name, groups, labels=labels, n_folds=3)])
"""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.split("\n", 1)
        for seed in ("1", "2")
    ]
    assert outputs[0][0] != outputs[1][0], "these hash seeds do not change the order of a set"
    assert outputs[0][1] == outputs[1][1] and "cross-dataset" in outputs[0][1]


def test_the_leaky_protocol_must_be_allowed():
    groups = made_groups()
    with pytest.raises(CallError, match=r"found the protocol window-shuffled, expected one that"):
        split("window-shuffled", groups)
    train, test = split("window-shuffled", groups, allow_leakage=True)[0]
    assert len(check_disjoint(groups, train, test, ["window", "trial"])) == 2
    assert [row.name for row in PROTOCOLS.values() if row.leaky] == ["window-shuffled"]


@pytest.mark.parametrize(
    ("name", "groups", "options", "message"),
    [
        ("trial-grouped-k-fold", made_groups(1, 1, 3), {},
         r"found 3 groups of trials of subject 'd/s0' for 5 folds"),
        ("leave-one-trial-out", made_groups(1, 1, 1), {}, "found one group of trials of subject"),
        ("session-held-out", made_groups(2, 1), {},
         r"found one session of subject 'd/s0' \('0'\), expected at least two"),
        ("chronological", made_groups(1, 1, 3), {}, "found 3 trials of subject 'd/s0' for 5 blo"),
        ("leave-one-subject-out", made_groups(1), {},
         r"found one subject \('d/s0'\), .* use trial-grouped-k-fold"),
        ("leave-n-subjects-out", made_groups(3), {"n_subjects": 3},
         "found 3 subjects to leave 3 out"),
        ("leave-stimulus-out", made_groups(), {}, "found 108 windows without a stimulus"),
        ("leave-stimulus-out", made_groups(clips=3), {"n_folds": 4}, "found 3 stimuli for 4 folds"),
        ("leave-subject-and-stimulus-out", made_groups(1, clips=5), {}, "found one subject"),
        ("cross-dataset", made_groups(), {}, r"found one data set \('d'\)"),
        ("window-shuffled", made_groups(1, 1, 1, 2), {"allow_leakage": True},
         "found 2 windows for 5 folds"),
        ("leave-one-subject-out", made_groups().take(np.arange(0)), {}, "found no subject"),
        ("trial-grouped-k-fold", made_groups().take(np.arange(0)), {}, "found no windows"),
        ("trial-grouped", made_groups(), {}, "did you mean 'trial-grouped-k-fold'"),
        ("trial-grouped-k-fold", made_groups(), {"folds": 3}, "did you mean 'n_folds'"),
        ("leave-one-subject-out", made_groups(), {"n": 3}, "expected none; leave it out"),
        ("trial-grouped-k-fold", made_groups(), {"n_folds": "5"}, "n_folds = '5' .* a whole num"),
        ("trial-grouped-k-fold", made_groups(), {"n_folds": True}, "expected a whole number"),
        ("trial-grouped-k-fold", made_groups(), {"within_subject": 1}, "expected true or false"),
        ("leave-one-subject-out", made_groups(), {"labels": np.zeros(108, int)},
         "found labels for leave-one-subject-out, expected none"),
        ("trial-grouped-k-fold", made_groups(), {"labels": np.zeros(108)}, "type float64 for"),
    ],
)  # fmt: skip
def test_what_cannot_be_split_is_said(name, groups, options, message):
    with pytest.raises((CallError, DataError), match=message):
        split(name, groups, **options)


def test_unknown_subjects_and_shared_clips_are_said():
    groups = made_groups(clips=3)
    nobody = replace(groups, subject=np.full(len(groups), "", object))
    with pytest.raises(DataError, match="found 108 windows without a subject"):
        split("leave-one-subject-out", nobody)
    twice = joined(groups, replace(groups, dataset=np.full(len(groups), "e", object)))
    with pytest.raises(CallError, match="'d/clip0' in the data sets d and e, expected none in two"):
        split("cross-dataset", twice)
    mixed = replace(groups, stimulus=np.array(["x", "y"] * 54, object))
    with pytest.raises(DataError, match="found the stimuli 'x' and 'y' in trial d/s0/0/0"):
        split("trial-grouped-k-fold", mixed)


@pytest.mark.parametrize("name", [n for n in PROTOCOLS if n != "cross-dataset"])
def test_on_drifting_noise_only_the_leaky_protocol_scores(name):
    """One value per trial, which drifts; labels are drawn. 1-NN recognises the trial."""
    groups = made_groups(6, 2, 12, 5, clips=12)
    rng, right = np.random.default_rng(8), []
    for _ in range(5):
        number = np.unique(groups.trial_id.astype(str), return_inverse=True)[1]
        x = rng.normal(size=(144, 4))[number] + 0.05 * rng.normal(size=(len(groups), 4))
        y = rng.integers(0, 2, 144)[number]
        for train, test in split(name, groups, **options_of(name)[-1]):
            nearest = ((x[test][:, None] - x[train][None]) ** 2).sum(2).argmin(1)
            right.append((y[train][nearest] == y[test]).mean())
    if PROTOCOLS[name].leaky:
        assert np.mean(right) > 0.97
    else:
        assert abs(np.mean(right) - 0.5) < 0.07
