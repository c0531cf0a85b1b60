"""Confusion matrices of every subject: every tested trial and window is counted once."""

import csv

import numpy as np
import pytest

from physioemo.experiments.study_config import ModelChoice
from physioemo.experiments.study_confusion import subject_confusions, write_confusion
from physioemo.experiments.study_report import write_study_report
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.targets import Target
from tests.experiments.made_study import made_up, study
from tests.experiments.test_study_report import results, text_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("confusion")
    data = made_up(n_subjects=2, effect=2.0)
    data.ratings["valence"][:6] = np.nan  # the first trial of subject 01 is not rated
    store = write_study_data(data, folder / "s.zarr")
    return run_study(study(store, n_permutations=0), folder / "out"), folder / "out"


def test_every_rated_trial_and_window_of_a_subject_is_counted_once(finished):
    found, _ = finished
    for scores in found["dimensions"]["valence"]["models"].values():
        for level, n in (("trial", [19, 20]), ("window", [114, 120])):
            counts = subject_confusions(scores, level)
            assert [int(c.sum()) for c in counts.values()] == n
            for subject, matrix in counts.items():
                right = scores["subjects"][subject][level]["accuracy"]
                assert np.trace(matrix) / matrix.sum() == pytest.approx(right)


def test_the_table_on_disk_holds_the_same_counts(finished):
    found, folder = finished
    with (folder / "confusion.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    scores = found["dimensions"]["valence"]["models"]["logistic"]
    for subject, matrix in subject_confusions(scores).items():
        own = [
            int(r["n"])
            for r in rows
            if (r["model"], r["subject"], r["level"]) == ("logistic", subject, "trial")
        ]
        assert own == matrix.ravel().tolist()
    assert {r["true"] for r in rows} == {"low", "high"}


def test_ratings_have_no_confusion(tmp_path, finished):
    store = write_study_data(made_up(n_subjects=2, effect=2.0), tmp_path / "s.zarr")
    continuous = Target("continuous", ("valence",))
    declared = study(store, ModelChoice("ridge"), target=continuous, n_permutations=0)
    assert write_confusion(run_study(declared, tmp_path / "out"), tmp_path / "out") is None
    assert not (tmp_path / "out" / "confusion.csv").exists()


def test_the_page_shows_each_subject_with_its_number_of_trials(tmp_path, finished):
    found, _ = finished
    said = text_of(write_study_report(found, tmp_path))
    assert "Trials of each subject said by logistic, the best of 2 models" in said
    assert "said low said high n trials" in said
    graded = text_of(write_study_report(results(3, 4), tmp_path))
    assert "(24 rows)" in graded  # two models, three subjects, four classes
