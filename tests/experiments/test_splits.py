import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CallError, DataError
from physioemo.experiments.disjoint import check_disjoint, shared_samples
from physioemo.experiments.inner_folds import inner_kind, inner_split
from physioemo.experiments.protocols import PROTOCOLS, nested_folds, split
from physioemo.experiments.splits import group_ids, held_out_groups, trial_grouped_k_fold
from physioemo.experiments.study_data import Groups

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


def made_groups(
    n_subjects=3, n_sessions=2, n_trials=6, n_windows=3, *, clips=None, dataset="d", window=1.0
):
    """Groups of subjects who saw the same clips; windows of a trial overlap by half."""
    rows = [
        (
            f"s{s}",
            f"{e}",
            t,
            f"{dataset}/clip{t % clips}" if clips else "",
            20.0 * t + w * window / 2,
        )
        for s in range(n_subjects)
        for e in range(n_sessions)
        for t in range(n_trials)
        for w in range(n_windows)
    ]
    subject, session, trial, stimulus, onset = (
        np.array(c, object) for c in zip(*rows, strict=True)
    )
    return Groups(
        subject, session, trial.astype(int), stimulus, onset.astype(float), window,
        np.full(len(rows), dataset, object),
    )  # fmt: skip


def joined(*parts):
    arrays = [k for k, v in vars(parts[0]).items() if isinstance(v, np.ndarray)]
    return replace(parts[0], **{k: np.concatenate([getattr(p, k) for p in parts]) for k in arrays})


@st.composite
def random_groups(draw):
    """Windows of two data sets in random number and order; every trial has one clip."""
    sizes = st.tuples(st.integers(2, 4), st.integers(2, 3), st.integers(4, 7), st.integers(1, 4))
    parts = [
        made_groups(*draw(sizes), clips=draw(st.integers(3, 7)), dataset=name) for name in "ab"
    ]
    groups = joined(*parts)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    # Where every trial keeps some of its windows there are enough groups for each protocol.
    first = np.unique(groups.trial_id.astype(str), return_index=True)[1]
    kept = np.union1d(first, np.flatnonzero(rng.random(len(groups)) < 0.7))
    return groups.take(rng.permutation(kept))


SMALL = {
    "trial-grouped-k-fold": {"n_folds": 3},
    "leave-subject-and-stimulus-out": {"n_folds": 3},
    "leave-n-subjects-out": {"n_subjects": 3},
    "chronological": {"n_blocks": 3},
    "window-shuffled": {"n_folds": 3, "allow_leakage": True},
}


def options_of(name):
    """Options for small groups, as trained for each subject and pooled where both are possible."""
    small = SMALL.get(name, {})
    if "within_subject" not in PROTOCOLS[name].options:
        return [small]
    return [{**small, "within_subject": yes} for yes in (True, False)]


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
