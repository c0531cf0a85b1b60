"""Promises of a study's models: fitted on groups of their own, and what came true beside them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from physioemo.errors import CallError, DataError
from physioemo.experiments.fused_trust import TrustChoice
from physioemo.experiments.study_cli import study as command
from physioemo.experiments.study_config import ModelChoice, read_study
from physioemo.experiments.study_inputs import load_inputs
from physioemo.experiments.study_jobs import Job, load_job, run_job
from physioemo.experiments.study_report import write_study_report
from physioemo.experiments.study_run import read_results, run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.study_trust import trust_parts
from physioemo.experiments.study_trust_scores import trust_scores
from physioemo.experiments.targets import Target
from tests.experiments.study_planted import fused, study, sure_and_unsure
from tests.experiments.test_study_report import text_of

BOTH = TrustChoice(coverage=0.8, risk=0.2, calibration_share=0.4)
LOGISTIC = ModelChoice("logistic")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_study_data(sure_and_unsure(), tmp_path_factory.mktemp("s") / "sure.zarr")


@pytest.fixture(scope="module")
def classes(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("c") / "out"
    models = (LOGISTIC, fused("net", n_epochs=2, context="causal-convolution"))
    return run_study(study(store, *models, trust=BOTH), out), out


def trust(results, label):
    return results["dimensions"]["valence"]["models"][label]["trust"]


def test_sets_hold_the_truth_and_few_answers_are_wrong(classes):
    results, _ = classes
    assert results["trust_unit"] == "trial"
    for label in ("logistic", "net"):
        found = trust(results, label)
        assert found["n_folds"] == found["n_with_coverage"] == found["n_with_risk"] == 2
        # 80 calibration trials in each of two folds, 320 tested: three standard errors.
        assert 0.68 < found["coverage"]["mean"] < 0.92 and found["size"]["mean"] < 1.3
        assert found["risk"]["mean"] <= 0.2 and found["trial_risk"]["mean"] <= 0.2
        # Four of ten trials say their class by chance: these are where it is silent.
        assert 0.25 < found["answered"]["mean"] < 0.8
        assert len(found["coverage"]["subjects"]) == 4
    alone = trust(results, "majority")
    assert alone["risk"] is None and alone["n_with_risk"] == 0 and alone["size"]["mean"] == 2.0
    assert "found no threshold at which a risk of 0.2" in alone["not_possible"][0]


def test_the_page_and_the_file_say_what_came_true(classes, console_errors):
    results, out = classes
    page = write_study_report(results, out)
    text = page.read_text("utf-8")
    assert "Promises: valence" in text and "a window of new trials" in text
    assert "majority: a share of wrong answers could be promised in 0 of 2 folds" in text
    assert console_errors(page) == []
    known = json.loads((out / "results.json").read_text())
    assert trust(known, "net")["promised"]["coverage"] == 0.8
    assert known["study"]["trust"]["calibration_share"] == 0.4
    again = write_study_report(read_results(out), out)
    assert again.read_text("utf-8") == text and trust(read_results(out), "majority")["risk"] is None


def test_what_serves_promises_is_neither_learned_from_nor_tested(store, tmp_path):
    declared = study(store, LOGISTIC, trust=BOTH)
    inputs = load_inputs(declared)
    train, test = inputs.folds[0]
    learned, apart = trust_parts(declared, inputs.groups, train)
    trials = [set(inputs.groups.trial_id[rows].tolist()) for rows in (learned, apart, test)]
    assert sum(map(len, trials)) == 320 and len(set.union(*trials)) == 320
    assert len(trials[1]) == 80  # a half, the nearest to 0.4 in whole folds
    said = []
    data = sure_and_unsure()
    for spoilt in (False, True):
        values = data.families["de"].copy()
        values[apart] *= -1 if spoilt else 1
        name = f"spoilt-{spoilt}"
        made = write_study_data(replace(data, families={"de": values}), tmp_path / f"{name}.zarr")
        job = Job(1, 0, -1, (0,))
        assert run_job(job, study(made, LOGISTIC, trust=BOTH), tmp_path / name)["error"] == ""
        said.append(load_job(job, tmp_path / name))
    assert np.array_equal(said[0]["predicted"], said[1]["predicted"])
    quantiles = [s["notes"][0]["trust"]["quantile"] for s in said]
    assert quantiles[1] > quantiles[0] + 0.1


def test_intervals_hold_ratings_and_are_wide_where_nothing_is_known(tmp_path):
    data = write_study_data(sure_and_unsure(rating=True), tmp_path / "rated.zarr")
    net = fused("net", name="fused-ratings", n_epochs=3)
    declared = study(
        data, net, ModelChoice("ridge"), trust=TrustChoice(coverage=0.8, calibration_share=0.4),
        target=Target("continuous", ("valence",)),
    )  # fmt: skip
    results = run_study(declared, tmp_path / "out")
    for label in ("mean", "ridge", "net"):
        assert 0.68 < trust(results, label)["coverage"]["mean"] < 0.92, label
        assert "risk" not in trust(results, label)
    width = {label: trust(results, label)["size"]["mean"] for label in ("mean", "ridge", "net")}
    assert width["ridge"] < 0.5 * width["mean"] and width["net"] < 0.7 * width["mean"]


def test_sets_of_ordered_classes_are_neighbours_and_cover_as_promised(tmp_path):
    data = write_study_data(sure_and_unsure(rating=True), tmp_path / "rated.zarr")
    declared = study(
        data, ModelChoice("ordinal-logistic"), LOGISTIC,
        trust=TrustChoice(coverage=0.8, calibration_share=0.4),
        target=Target("ordinal", ("valence",), n_bins=4), keep_models=False,
    )  # fmt: skip
    inputs = load_inputs(declared)
    results = run_study(declared, tmp_path / "out")
    for label in ("ordinal-logistic", "logistic"):
        found = trust(results, label)
        assert 0.68 < found["coverage"]["mean"] < 0.95, label
    assert run_job(Job(2, 0, -1, (0,)), declared, tmp_path / "jobs")["error"] == ""
    sets = load_job(Job(2, 0, -1, (0,)), tmp_path / "jobs")["promised"][:, :-1]
    edges = np.abs(np.diff(np.pad(sets, ((0, 0), (1, 1))), axis=1)).sum(axis=1)
    assert len(sets) == len(inputs.folds[0][1]) and sets.shape[1] == 4 and edges.max() <= 2
    said = text_of(write_study_report(results, tmp_path / "out"))
    assert "A set holds neighbouring classes, without gaps" in said


def test_whole_trials_and_whole_people_can_be_promised(tmp_path):
    store = write_study_data(sure_and_unsure(12, n_subjects=12), tmp_path / "s.zarr")
    whole = TrustChoice(coverage=0.8, cover="group", calibration_share=0.4)
    results = run_study(study(store, LOGISTIC, trust=whole), tmp_path / "a")
    assert 0.65 < trust(results, "logistic")["whole_trials"]["mean"] < 0.95
    people = replace(
        study(store, LOGISTIC, trust=TrustChoice(coverage=0.7, calibration_share=0.4)),
        protocol="leave-one-subject-out",
        protocol_options={},
    )
    results = run_study(people, tmp_path / "b")
    assert results["trust_unit"] == "person"
    assert 0.55 < trust(results, "logistic")["coverage"]["mean"] < 0.95
    with pytest.raises(DataError, match=r"found 6 groups \(person\) to calibrate on .* least 19"):
        load_inputs(replace(people, trust=TrustChoice(coverage=0.95, calibration_share=0.4)))


def test_scores_are_of_subjects_and_units_by_hand(store):
    declared = study(store, LOGISTIC, trust=BOTH)
    target = np.array([0, 0, 1, 1])
    said = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.6, 0.4]])
    # Which classes are possible, and whether it is answered.
    promised = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 1], [1, 0, 0]], float)
    names = [np.array(list(text), object) for text in ("aabb", "wwxy", "wwxy")]
    notes = [{"trust": {"quantile": 0.5, "threshold": 0.6, "not_possible": []}}]
    found = trust_scores(declared, target, *names, [(np.arange(4), said, promised, notes)])
    assert found["coverage"] == {"mean": 0.5, "subjects": {"a": 0.5, "b": 0.5}}
    assert found["whole_trials"]["subjects"] == {"a": 0.0, "b": 0.5}
    assert found["size"]["subjects"] == {"a": 1.0, "b": 1.5}
    assert found["answered"]["subjects"] == {"a": 1.0, "b": 0.5}
    assert found["risk"]["subjects"] == {"a": 0.5, "b": 0.0}
    assert found["trial_risk"]["subjects"] == {"a": 0.0, "b": 0.0}


TOML = """
protocol = {name = "trial-grouped-k-fold", n_folds = 2, within_subject = false}
[data]
stores = ["sure.zarr"]
[target]
kind = "binary"
dimensions = ["valence"]
threshold = "midpoint"
[[models]]
name = "logistic"
[evaluation]
n_permutations = 0
[trust]
coverage = 0.8
"""


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("coverage = 0.8", "coverag = 0.8", "the field of .trust. 'coverag'.*mean 'coverage'"),
        ("coverage = 0.8", 'coverage = "much"', "found coverage = 'much' in .trust., expected a n"),
        ("coverage = 0.8", "coverage = 1.2", "found coverage = 1.2, expected above 0 and below 1"),
        ("coverage = 0.8", 'thresholds = ["a"]', "found thresholds = .*a list of numbers"),
        ("coverage = 0.8", "coverage = 0.999", "found 40 groups .trial. to calibrate .* least 999"),
        ('name = "logistic"', 'name = "mlp"\njoint = true', "with 'mlp', which predicts all dim"),
        (
            'kind = "binary"\ndimensions = ["valence"]\nthreshold = "midpoint"',
            'kind = "ordinal"\ndimensions = ["valence"]\nn_bins = 2',
            "found a risk for ordinal ratings",
        ),
        (
            'name = "trial-grouped-k-fold", n_folds = 2, within_subject = false',
            'name = "window-shuffled"',
            "found .trust. with the protocol 'window-shuffled', which tests what was trained on",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_promised_is_one_sentence(store, tmp_path, old, new, text):
    assert old in TOML
    content = TOML.replace(old, new, 1)
    content += "risk = 0.1\n" if "ordinal" in new else ""
    (tmp_path / "sure.zarr").symlink_to(store)
    (tmp_path / "s.toml").write_text(content)
    with pytest.raises((CallError, DataError), match=f"(?s){text}"):
        load_inputs(read_study(tmp_path / "s.toml"))


def test_the_command_says_what_came_true(store, tmp_path):
    (tmp_path / "sure.zarr").symlink_to(store)
    (tmp_path / "s.toml").write_text(TOML)
    done = CliRunner().invoke(command, [str(tmp_path / "s.toml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "(0.8 promised)" in done.output and "wrong answers" not in done.output
    dry = CliRunner().invoke(command, [str(tmp_path / "s.toml"), "--dry-run"])
    assert dry.exit_code == 0 and "2 fits" in dry.output


def test_what_was_not_named_is_tried(store, tmp_path):
    declared = study(store, LOGISTIC, trust=TrustChoice())
    found = trust(run_study(declared, tmp_path / "out"), "logistic")
    assert found["promised"]["coverage"] == 0.8 and found["promised"]["risk"] == 0.25
    assert study(store, LOGISTIC).fingerprint != declared.fingerprint
