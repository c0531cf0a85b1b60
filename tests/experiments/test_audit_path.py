"""The audit of splits of other people, of study folders, and its command."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from physioemo.datasets.source import Source
from physioemo.errors import CallError, DataError, RecordingNotFoundError, UnreadableFileError
from physioemo.experiments.audit_cli import audit as audit_command
from physioemo.experiments.audit_path import audit_path
from physioemo.experiments.null_data import null_recordings
from physioemo.experiments.outside_splits import OutsideSplit, read_split, write_split
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.features.preprocess_run import preprocess


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
    ("s.csv", "windw,fold\n0,0\n1,1\n2,0\n", "the column 'windw' without 'window' in .*rename it"),
    ("s.csv", "part,fold\ntest,0\ntest,1\ntest,0\n", "the column 'part' without 'window' in"),
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
