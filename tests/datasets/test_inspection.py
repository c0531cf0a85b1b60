"""What inspect says of a data set: what is there, what is missing, what is damaged and how."""

import json

import numpy as np
import pytest

from physioemo.datasets.catalogue import CATALOGUE, dataset
from physioemo.datasets.deap_fixture import deap_pickle
from physioemo.datasets.inspection import inspect_dataset
from physioemo.datasets.synthetic_note import SYNTHETIC_NOTE, write_synthetic_note


def look(name, folder):
    row = dataset(name)
    write_synthetic_note(row.locate(folder), row.small_read)
    return inspect_dataset(row, row.locate(folder))


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_whole_folder_is_described_as_published(name, tmp_path):
    row = dataset(name)
    row.write_fixture(tmp_path / row.folder, subjects=2, **row.small)
    content = json.loads(json.dumps(look(name, tmp_path)))
    assert {k: s["sfreq"] for k, s in content["streams"].items()} == row.published["rates_hz"]
    assert content["damaged"] == {}
    assert content["n_trials"] == len(content["recordings"]) * row.published["trials"]
    assert content["synthetic"]
    missing = row.published["subjects"] - 2
    assert content["missing"][0].startswith(f"{missing} of {row.published['subjects']} subjects: 3")


def test_a_histogram_counts_every_rating_once(tmp_path):
    labels = np.full((40, 4), 5.0)
    labels[:, 0] = np.repeat([1.0, 4.4, 4.5, 9.0], 10)
    labels[3, 1] = np.nan
    (tmp_path / "s01.dat").write_bytes(deap_pickle(np.ones((40, 40, 1024)), labels))
    ratings = look("deap", tmp_path)["ratings"]
    counts = ratings["valence"]["counts"]
    assert {k: n for k, n in counts.items() if n} == {"1": 10, "4": 10, "5": 10, "9": 10}
    assert ratings["arousal"]["n_at_midpoint"] == 39 and ratings["arousal"]["n_missing"] == 1
    assert ratings["valence"]["mean"] == 4.725


def test_a_damaged_file_is_named_and_the_others_are_described(tmp_path):
    dataset("deap").write_fixture(tmp_path, subjects=3, n_samples=1024)
    whole = (tmp_path / "s02.dat").read_bytes()
    (tmp_path / "s02.dat").write_bytes(whole[:5000])
    content = look("deap", tmp_path)
    assert [r["subject"] for r in content["recordings"]] == ["01", "03"]
    assert list(content["damaged"]) == ["s02"] and "s02.dat" in content["damaged"]["s02"]
    assert content["missing"][0] == "30 of 32 subjects: 2, 4 to 32 (damaged files included)"


def test_labels_of_clips_are_counted_and_short_sessions_are_told(tmp_path):
    dataset("seed").write_fixture(tmp_path, subjects=1, sessions=2, n_samples=801)
    content = look("seed", tmp_path)
    assert content["labels"] == {"negative": 10, "neutral": 10, "positive": 10}
    assert "sessions: subject 01 has 2, published are 3" in content["missing"]


def test_the_command_line_prints_the_damage_and_exits_with_1(typed, tmp_path):
    dataset("deap").write_fixture(tmp_path, subjects=2, n_samples=1024)
    done = typed("inspect", tmp_path, check=1)  # 1024 samples are no whole trial of DEAP
    assert "Damaged: s01: found data of shape (40, 40, 1024)" in done.stdout
    content = json.loads(typed("inspect", tmp_path, "--json", check=1).stdout)
    assert set(content["damaged"]) == {"s01", "s02"} and content["recordings"] == []


def test_synthetic_files_are_marked_wherever_they_show(typed, tmp_path):
    typed("datasets", "fake", "dreamer", tmp_path / "d", "--subjects", 1, check=0)
    assert "SYNTHETIC: nobody was recorded" in typed("inspect", tmp_path / "d", check=0).stdout


def test_a_note_that_tells_a_reader_something_unknown_is_refused(typed, tmp_path):
    typed("datasets", "fake", "dreamer", tmp_path / "d", "--subjects", 1, check=0)
    (tmp_path / "d" / SYNTHETIC_NOTE).write_text('{"read": {"n_samples": 5}}')
    done = typed("inspect", tmp_path / "d", check=1)
    assert "found the options n_samples in" in done.stderr
    (tmp_path / "d" / SYNTHETIC_NOTE).write_text("[]")
    assert "found a damaged note in" in typed("inspect", tmp_path / "d", check=1).stderr


def test_a_folder_of_something_else_says_what_was_expected(typed, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    done = typed("inspect", tmp_path, check=1)
    assert str(tmp_path) in done.stderr and "expected" in done.stderr
