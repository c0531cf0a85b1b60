"""The page of a study: opens in a browser, prints no number that is none, says what leaks."""

import copy
import re

import numpy as np
import pytest

from physioemo.experiments.report.parts import Table
from physioemo.experiments.study_report import write_study_report


def score(value, n=3):
    spread = {"sd": 0.1, "low": value - 0.1, "high": value + 0.1, "method": "t"}
    return {"mean": value, "n": n, "n_missing": 0, **(spread if n > 1 else dict.fromkeys(spread))}


def model(name, value, n_subjects, n_classes):
    counts = (np.eye(n_classes, dtype=int) * 5 + 1).tolist() if n_classes else None
    level = {name: value, "accuracy": value if n_classes else None, "n": 12}
    level |= {"confusion": counts} if n_classes else {}
    names = [f"s{k:02d}" for k in range(n_subjects)]
    return {
        "trial": {name: score(value, n_subjects)},
        "window": {name: score(value - 0.02, n_subjects)},
        "subjects": {s: {"trial": dict(level), "window": dict(level)} for s in names},
        "chance": {s: {"n": 12, "majority": 0.6, "threshold": 0.75, "p": 1e-9} for s in names},
        "permuted": [{"trial": 0.31, "window": 0.32}, {"trial": 0.38, "window": 0.34}],
        "permutation_tests": {"trial": {"p": 1 / 3, "n": 2}},
        "training": [{"fold": 0, "train_loss": [1.0, 0.5], "validation_loss": [1.0, 0.7]}],
    }


def results(n_subjects=3, n_classes=2, **more):
    name = "balanced_accuracy" if n_classes else "ccc"
    content = {
        "models": {k: model(name, v, n_subjects, n_classes) for k, v in (("a", 0.5), ("b", 0.8))},
        "comparisons": {
            "reference": "a",
            "models": {"b": {"effect": 0.3, "p": 1e-5, "p_holm": 1e-5, "n": n_subjects}},
        },
    }
    return {
        "study": {"name": "try <b>", "description": "", "seed": 1, "n_permutations": 9,
                  "target": {"kind": "binary", "dimensions": ["valence"], "threshold": "midpoint"},
                  "models": [{"label": "a"}, {"label": "b"}], "resample": ""},
        "config_hash": "feedc0de", "sources": [{"dataset": "made up"}], "versions":
        {"physioemo": "0.1"}, "leaky": False, "simulated": False, "protocol": "whole trials",
        "headline": name, "classes": [str(k) for k in range(n_classes)], "n_windows": 100,
        "n_trials": 36, "n_subjects": n_subjects, "n_folds": 5,
        "dimensions": {"valence": content}, **more,
    }  # fmt: skip


def maps(ch_names):
    n = len(ch_names)
    square = [[None if i == j else 0.1 for j in range(n)] for i in range(n)]
    found = {"score": square, "log_odds": square, "null_largest": [0.2], "p": 0.5,
             "threshold": 0.2, "winners": []}  # fmt: skip
    return {"model": "b", "ch_names": ch_names, "n_folds": 1, "importance": [0.01] * n,
            "importance_null_largest": [0.02], "interactions": found, "interactions_fold": 1,
            "interactions_tested": ["s00"]}  # fmt: skip


def attention(n, null_correlation=(0.9, 0.8)):
    even = np.full((n, n), 1 / n).tolist()
    return {"mean": even, "null_mean": even, "null_correlation": list(null_correlation),
            "interaction_correlation": 0.25}  # fmt: skip


def text_of(page):
    html = page.read_text(encoding="utf-8")
    html = re.sub(r"<style.*?</style>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


@pytest.mark.parametrize(("n_subjects", "n_classes"), [(1, 2), (3, 3), (32, 9), (20, 0)])
def test_every_kind_of_study_has_a_page_without_words_for_nothing(tmp_path, n_subjects, n_classes):
    said = text_of(write_study_report(results(n_subjects, n_classes), tmp_path))
    assert not re.search(r"\b(nan|None|inf)\b", said) and "– to –" not in said
    assert ("an interval is easily too narrow" in said) == (1 < n_subjects < 15)
    assert ("there is no interval" in said) == (n_subjects == 1)
    assert f"interval: {'none' if n_subjects == 1 else 'Student&#39;s t'}" in said


def test_options_of_a_model_are_told(tmp_path):
    found = results()
    found["study"]["models"][1]["options"] = {"precision": "bfloat16", "n_epochs": 7}
    said = text_of(write_study_report(found, tmp_path))
    assert "Options of b: precision bfloat16, n epochs 7." in said
    assert "Options of a" not in said


def test_scores_that_are_missing_are_dashes(tmp_path):
    found = results()
    for scores in found["dimensions"]["valence"]["models"].values():
        scores["permuted"] = [{"trial": None, "window": None}]
        scores["subjects"]["s00"]["trial"].update(balanced_accuracy=None, accuracy=None)
    write_study_report(found, tmp_path)
    for scores in found["dimensions"]["valence"]["models"].values():
        scores["trial"], scores["window"] = {}, {}
    assert "balanced accuracy is not defined" in text_of(write_study_report(found, tmp_path))


def test_leaks_and_made_up_data_are_stamped_on_every_figure_and_table(tmp_path):
    found = results(leaky=True, simulated=True, maps={"valence": maps(["Cz", "Pz"])})
    html = write_study_report(found, tmp_path).read_text(encoding="utf-8")
    tables = len(re.findall(r"<table", html)) - 1  # all but the versions
    shown = html.count('<span class="stamp">LEAKY · SIMULATED</span>')
    folded = len(re.findall(r"<details><summary>[^<]*rows\)", html)) - 1
    assert shown == html.count("<figure") + tables - folded
    plain = write_study_report(results(), tmp_path / "..").read_text(encoding="utf-8")
    assert "LEAKY" not in plain and "SIMULATED" not in plain


def test_small_probabilities_are_not_printed_as_zero(tmp_path):
    said = text_of(write_study_report(results(), tmp_path))
    assert "1e−09" in said and "1e−05" in said
    assert "p 0.333, 2 permutations; with so many it is at least 0.333" in said


def test_electrodes_without_a_place_stand_beside_the_map(tmp_path):
    names = ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "O1", "O2", "CB1"]
    said = text_of(write_study_report(results(maps={"valence": maps(names)}), tmp_path))
    assert "without a place on the map" in said and "CB1 0.0100" in said
    assert "Of one fold only: 1, tested on s00" in said


def test_page_loads_nothing_and_says_nothing_on_the_console(tmp_path, console_errors):
    page = write_study_report(copy.deepcopy(results()), tmp_path)
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html and "try &lt;b&gt;" in html
    assert all(x.startswith(("data:", "#")) for x in re.findall(r'(?:src|href)="([^"]*)"', html))
    assert console_errors(page) == []


def test_attention_is_shown_beside_its_null_and_called_no_connectivity(tmp_path):
    names = ["Cz", "Pz", "Oz"]
    found = maps(names) | {"attention": attention(3)}
    said = text_of(write_study_report(results(maps={"valence": found}), tmp_path))
    assert "Attention is not connectivity" in said
    assert "correlates with those of permuted labels by 0.80 to 0.90" in said
    assert "over pairs: 0.25" in said
    flat = maps(names) | {"attention": attention(3, (None, None))}
    said = text_of(write_study_report(results(maps={"valence": flat}), tmp_path))
    assert "Whether it depends on the labels is not known here" in said
    without = maps(names) | {"attention": {}}
    said = text_of(write_study_report(results(maps={"valence": without}), tmp_path))
    assert "Attention" not in said


def test_intervals_are_not_broken_over_lines():
    cells = ("0.450 to 0.500", "−0.1 to 0.5", "0.499 (0.474 to 0.525)", "trials to windows")
    assert [Table.is_range(cell) for cell in cells] == [True, True, True, False]


def test_what_is_told_of_a_score_has_its_chance_its_baseline_and_its_n(tmp_path):
    found = results(n_subjects=5, n_classes=2)
    found["study"]["models"] = [{"label": "a", "name": "majority"}, {"label": "b"}]
    models = found["dimensions"]["valence"]["models"]
    models["a"]["trial"]["balanced_accuracy"]["mean"] = 0.41
    models["b"]["trial"] |= {"auc": score(0.9, 4), "ece": score(0.05, 5)}
    said = text_of(write_study_report(found, tmp_path))
    assert "b reaches a balanced accuracy of 0.800 over 5 subjects, beside 0.410 of a and 0" in said
    assert "chance is 0.500, 1 is best" in said
    assert "the majority class scores below chance where classes are nearly even" in said
    assert "0.90 ± 0.10 (4) 0.05 ± 0.10" in said and "of calibration error less is better" in said
    assert "of 5 subjects p is at least 0.062" in said
    assert "n trials n windows" in said and "(n = 100 in all)" not in said


def test_chance_is_that_of_each_dimension_where_classes_differ(tmp_path):
    found = results(n_subjects=4, n_classes=2)
    other = results(n_subjects=4, n_classes=3)["dimensions"]["valence"]
    for scores in other["models"].values():
        scores["trial"]["balanced_accuracy"]["n"] = 2
        for subject in scores["subjects"].values():
            subject["window"]["n"] = 5
    found["dimensions"]["valence"]["classes"] = ["low", "high"]
    found["dimensions"]["emotion"] = {**other, "classes": ["a", "b", "c"]}
    said = re.sub(r"\s+", " ", write_study_report(found, tmp_path).read_text("utf-8"))
    assert "chance is 0.500 of valence and 0.333 of emotion" in said
    assert "With 2 subjects an interval" in said
    assert "is a subject (n = 2)" in said and "is a subject (n = 4)" in said
    assert "what 2 permutations of the labels reached" in said
