import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioemo.errors import CallError, DataError
from physioemo.experiments.study_data import Groups, StudyData
from physioemo.experiments.targets import Target, class_weights, require_two_classes

VALENCE = ("valence",)


def rated(values, scale=(1.0, 9.0), **others):
    ratings = {"valence": np.asarray(values), **{k: np.asarray(v) for k, v in others.items()}}
    return StudyData({}, {}, groups(len(values)), ratings, scale, None)


def groups(n):
    one = np.full(n, "a", object)
    return Groups(one, one, np.arange(n), one, np.arange(n, dtype=float), 1.0)


def labelled(names, dataset="seed"):
    labels = np.array(names, object)
    return StudyData({}, {}, groups(len(names)), {}, None, labels, {"dataset": dataset})


def classes(values, scale=(1.0, 9.0), **fields):
    return Target(dimensions=VALENCE, **fields).apply(rated(values, scale))[:, 0].tolist()


RATINGS = [1.0, 4.5, 4.99, 5.0, 5.01, 9.0, np.nan]


def test_five_is_neither_high_as_in_torcheeg_nor_low_as_in_libeer_unless_it_is_said():
    binary = {"kind": "binary", "threshold": "midpoint"}
    assert classes(RATINGS, **binary) == [0, 0, 0, -1, 1, 1, -1]
    assert classes(RATINGS, at_threshold="high", **binary) == [0, 0, 0, 1, 1, 1, -1]
    assert classes(RATINGS, at_threshold="low", **binary) == [0, 0, 0, 0, 1, 1, -1]


def test_eegains_threshold_of_four_and_a_half_must_be_asked_for():
    assert classes(RATINGS, kind="binary", threshold=4.5) == [0, -1, 1, 1, 1, 1, -1]
    with pytest.raises(CallError, match="found no threshold for a binary target, expected 'midpo"):
        Target("binary", VALENCE)


def test_the_midpoint_follows_the_scale():
    data = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert classes(data, (1, 5), kind="binary", threshold="midpoint") == [0, 0, -1, 1, 1]


def test_a_rating_in_single_precision_is_still_at_the_threshold():
    values = np.array([3.0, 4.6, 6.0], np.float32)
    assert classes(values, kind="binary", threshold=4.6) == [0, -1, 1]
    assert classes(values, kind="multiclass", edges=(4.6,)) == [0, 1, 1]


@given(st.lists(st.one_of(st.floats(1, 9), st.just(np.nan)), min_size=2, max_size=40))
def test_a_missing_rating_is_never_a_class(values):
    values = np.array([1.0, 9.0, *values])
    both = np.isnan(values)
    for fields in (
        {"kind": "binary", "threshold": "midpoint"},
        {"kind": "multiclass", "n_bins": 3},
        {"kind": "ordinal"},
    ):
        column = np.array(classes(values, **fields))
        assert (column[both] == -1).all()
        assert (column[~both] >= 0).all() or fields["kind"] == "binary"
    scaled = Target("continuous", VALENCE).apply(rated(values))[:, 0]
    assert np.array_equal(np.isnan(scaled), both)


def test_nine_bins_of_deap_are_of_one_width_unlike_truncation_as_in_rbtransformer():
    values = np.linspace(1, 9, 9001)[:-1]
    bins = classes(values, kind="multiclass", n_bins=9)
    assert sorted(Counter(bins).values()) == [1000] * 9
    truncated = values.astype(int) - 1
    assert (truncated == 8).sum() == 0, "there the top class is for 9.0 exactly"
    assert classes([1.0, 8.2, 9.0], kind="multiclass", n_bins=9) == [0, 8, 8]


def test_bins_end_where_they_are_told_to():
    fields = {"kind": "multiclass", "edges": (4.0, 6.0)}
    assert classes([1, 3.99, 4, 5.99, 6, 9], **fields) == [0, 0, 1, 1, 2, 2]
    assert Target(dimensions=VALENCE, **fields).class_names(rated([1.0, 9.0])) == (
        "1 to 4", "4 to 6", "6 to 9",
    )  # fmt: skip


def test_ordinal_levels_are_the_nearest_whole_numbers():
    assert classes([1, 2, 3, 4, 5], (1, 5), kind="ordinal") == [0, 1, 2, 3, 4]
    assert classes([1.0, 1.49, 1.5, 8.49, 8.5], kind="ordinal") == [0, 0, 1, 7, 8]
    assert Target("ordinal", VALENCE).class_names(rated([1.0, 9.0])) == tuple("123456789")
    with pytest.raises(CallError, match="found a scale from 0.5 to 4.5, expected whole numbers"):
        classes([1, 2], (0.5, 4.5), kind="ordinal")


def test_a_continuous_target_spans_minus_one_to_one():
    scaled = Target("continuous", VALENCE).apply(rated([1.0, 5.0, 9.0, np.nan]))
    assert scaled.dtype == float and scaled.shape == (4, 1)
    np.testing.assert_array_equal(scaled[:, 0], [-1, 0, 1, np.nan])


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("seed", ("negative", "neutral", "positive")),
        ("seed-features", ("negative", "neutral", "positive")),
        ("seed-iv", ("neutral", "sad", "fear", "happy")),
        ("seed-v", ("disgust", "fear", "sad", "neutral", "happy")),
        ("seed-v-features", ("disgust", "fear", "sad", "neutral", "happy")),
    ],
)
def test_labels_are_numbered_as_their_data_set_numbers_them(dataset, names):
    data = labelled([*reversed(names), ""], dataset)
    assert Target("labels").class_names(data) == names
    column = Target("labels").apply(data)
    assert column[:, 0].tolist() == [*reversed(range(len(names))), -1]


def test_labels_of_another_data_set_are_numbered_as_stated():
    data = labelled(["calm", "tense", None, float("nan")], "mine")
    target = Target("labels", classes=("tense", "calm"))
    assert target.apply(data)[:, 0].tolist() == [1, 0, -1, -1]
    with pytest.raises(DataError, match="labels of the data set 'mine'.*state the classes"):
        Target("labels").apply(data)
    with pytest.raises(DataError, match=r"found the label 'calm', expected one of tense, .*'clam'"):
        Target("labels", classes=("tense", "clam")).apply(data)


def test_several_dimensions_are_columns_or_targets_of_their_own():
    data = rated([2.0, 8.0, np.nan], arousal=[7.0, np.nan, 3.0])
    target = Target("binary", ("valence", "arousal"), threshold="midpoint")
    assert target.apply(data).tolist() == [[0, 1], [1, -1], [-1, 0]]
    assert [t.apply(data)[:, 0].tolist() for t in target.each()] == [[0, 1, -1], [1, -1, 0]]
    assert Target("labels").each() == [Target("labels")] and Target("labels").columns == ("label",)


@pytest.mark.parametrize(
    "target",
    [
        Target("binary", VALENCE, threshold="midpoint", at_threshold="low"),
        Target("binary", ("valence", "arousal"), threshold=4.5),
        Target("multiclass", VALENCE, n_bins=3),
        Target("ordinal", VALENCE, edges=(2.5, 6)),
        Target("continuous", VALENCE),
        Target("labels", classes=("a", "b")),
        Target("labels"),
    ],
)
def test_a_target_survives_json(target):
    assert Target.from_dict(json.loads(json.dumps(target.to_dict()))) == target


def test_what_happens_at_the_threshold_is_written_down():
    written = Target("binary", VALENCE, threshold="midpoint").to_dict()
    assert written == {
        "kind": "binary", "dimensions": ["valence"], "threshold": "midpoint",
        "at_threshold": "drop",
    }  # fmt: skip


def test_weights_give_all_classes_the_same_sum():
    from sklearn.utils.class_weight import compute_class_weight

    y = np.array([0] * 6 + [1] * 3 + [2] + [-1] * 5)
    weights = class_weights(y, 3)
    there = y[y >= 0]
    expected = compute_class_weight("balanced", classes=np.arange(3), y=there)
    assert weights == pytest.approx(expected)
    assert weights[there].mean() == pytest.approx(1)
    assert class_weights(np.array([0, 0, 2, 2]), 3).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "binry"}, "found the target kind 'binry'.*did you mean 'binary'"),
        ({"kind": "binary", "threshold": "middle"}, "found threshold 'middle'"),
        ({"kind": "binary", "threshold": np.nan}, "found threshold nan"),
        ({"kind": "binary", "threshold": True}, "found threshold True"),
        ({"kind": "binary", "threshold": 5, "at_threshold": "up"}, "found at_threshold 'up'"),
        ({"kind": "binary", "threshold": 5, "n_bins": 2}, "n_bins for a binary target, expected it "
         "for multiclass, ordinal only"),
        ({"kind": "multiclass"}, "found neither n_bins nor edges"),
        ({"kind": "multiclass", "n_bins": 2, "edges": (3,)}, "found both n_bins and edges"),
        ({"kind": "multiclass", "n_bins": 1}, "found n_bins = 1"),
        ({"kind": "multiclass", "edges": (4, 4)}, "expected at least one, rising"),
        ({"kind": "continuous", "dimensions": ()}, "found no dimension for a continuous target"),
        ({"kind": "continuous", "dimensions": "valence"}, "found dimensions = 'valence'"),
        ({"kind": "continuous", "dimensions": ("v", "v")}, "expected each once"),
        ({"kind": "labels"}, "found the dimensions valence for labels"),
        ({"kind": "labels", "dimensions": (), "classes": ("a",)}, "expected two or more"),
        ({"kind": "binary", "treshold": 5}, "did you mean 'threshold'"),
    ],
)  # fmt: skip
def test_a_target_that_is_none_is_refused(fields, message):
    with pytest.raises(CallError, match=message):
        Target.from_dict({"dimensions": VALENCE, **fields})


@pytest.mark.parametrize(
    ("data", "fields", "message"),
    [
        (rated([1.0, 9.5]), {"kind": "continuous"}, "found the rating 9.5 of valence in 1 windows"),
        (rated([1.0, 9.0]), {"kind": "continuous", "dimensions": ("arousel",)},
         "found ratings of valence, expected 'arousel' too$"),
        (rated([6.0, 7.0, np.nan]), {"kind": "binary", "threshold": "midpoint"},
         "found only the class 'high' in 2 rated windows in valence"),
        (rated([5.0, 5.0]), {"kind": "binary", "threshold": 5}, "found no rated window among 2 in"),
        (rated([5.0, 5.0]), {"kind": "continuous"}, "found only the rating"),
        (rated([1.0, 9.0]), {"kind": "binary", "threshold": 0.5}, "found the threshold 0.5"),
        (rated([1.0, 9.0]), {"kind": "multiclass", "edges": (1, 5)}, "found the edge 1, expected"),
        (rated([1.0, 9.0]), {"kind": "labels", "dimensions": ()}, "without labels, expected label"),
        (labelled(["neutral"]), {"kind": "ordinal"}, "found labels without ratings"),
        (labelled(["neutral"] * 2), {"kind": "labels", "dimensions": ()},
         "found only the class 'neutral' in 2 rated windows in label"),
    ],
)  # fmt: skip
def test_data_that_a_target_does_not_fit_are_refused(data, fields, message):
    target = Target.from_dict({"dimensions": VALENCE, **fields})
    with pytest.raises((CallError, DataError), match=message):
        target.apply(data)


def test_a_fold_of_one_class_is_named():
    with pytest.raises(DataError, match=r"only the class 'low' in 2 rated windows in fold 3"):
        require_two_classes(np.array([0, 0, -1]), ("low", "high"), "in fold 3")
    with pytest.raises(CallError, match="found classes of shape"):
        class_weights(np.array([0, 3]), 3)
    with pytest.raises(DataError, match="found no rated window"):
        class_weights(np.array([-1]), 2)
