"""Studies as they are declared in TOML and given to the command line."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from physioemo.errors import CallError, DataError, RecordingNotFoundError
from physioemo.experiments.study_config import ModelChoice, read_study
from physioemo.experiments.study_prepare import prepare_store
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from tests.experiments.made_study import TOML, made_up, score


@pytest.fixture(scope="module")
def effect_store(tmp_path_factory):
    return write_study_data(made_up(effect=2.0), tmp_path_factory.mktemp("e") / "effect.zarr")


@pytest.fixture(scope="module")
def null_store(tmp_path_factory):
    return write_study_data(made_up(seed=3), tmp_path_factory.mktemp("n") / "null.zarr")


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("seed = 3", "sead = 3", "found the field of the study 'sead'.*did you mean 'seed'"),
        ("seed = 3", 'seed = "x"', "found seed = 'x', expected a whole number"),
        ('["effect.zarr"]', "[]", "found neither stores nor a dataset in"),
        ("n_folds = 4", "n_flods = 4", "found the option 'n_flods'.*did you mean 'n_folds'"),
        ("trial-grouped", "trial-gruoped", "did you mean 'trial-grouped-k-fold'"),
        ('"logistic"', '"logistics"', "did you mean 'logistic'"),
        ('"logistic"', '"ridge"', "which predicts a rating, for a binary target"),
        ('"valence"', '"valance"', "valance.*did you mean 'valence'"),
        ("n_folds = 4", "n_folds = 400", "found 20 .*for 400 folds"),
        ("n_permutations = 1", "n_permutations = -1", "expected 0 or more"),
        ("[target]", "[targte]", "did you mean 'target'"),
        ("kind =", "kind", "that is no TOML"),
    ],
)
def test_a_bad_study_is_refused_with_one_sentence(effect_store, tmp_path, old, new, text):
    assert old in TOML
    shutil.copytree(effect_store, tmp_path / "effect.zarr")
    (tmp_path / "s.toml").write_text(TOML.replace(old, new, 1))
    with pytest.raises((CallError, DataError), match=f"(?s){text}") as error:
        run_study(read_study(tmp_path / "s.toml"), tmp_path / "out")
    assert "\n" not in str(error.value).strip() or "TOML" in text
    assert not (tmp_path / "out").exists()


def test_a_study_that_is_not_there_is_said(tmp_path):
    with pytest.raises(RecordingNotFoundError, match="found no file at"):
        read_study(tmp_path / "s.toml")


def test_the_command_runs_a_study_and_the_audit_finds_it_clean(typed, effect_store, tmp_path):
    shutil.copytree(effect_store, tmp_path / "effect.zarr")
    (tmp_path / "s.toml").write_text(TOML)
    dry = typed("study", tmp_path / "s.toml", "--dry-run", check=0)
    assert "16 folds" in dry.stdout and "1 process, permuted labels included" in dry.stdout
    assert "too few for a p of 0.05, which takes 19: logistic (1)" in dry.stdout
    done = typed("study", tmp_path / "s.toml", "--out", tmp_path / "out", check=0)
    assert "SIMULATED" in done.stdout and "logistic" in done.stdout and "permuted" in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    assert "CLEAN" in typed("audit", tmp_path / "out", check=0).stdout
    assert "mine" in typed("compare", tmp_path / "out", tmp_path / "out", check=0).stdout


def test_the_leaky_protocol_needs_the_flag_and_is_stamped(typed, null_store, tmp_path):
    shutil.copytree(null_store, tmp_path / "effect.zarr")
    text = TOML.replace("trial-grouped-k-fold", "window-shuffled")
    (tmp_path / "s.toml").write_text(text)
    out = tmp_path / "out"
    refused = typed("study", tmp_path / "s.toml", "--out", out, check=2)
    assert "pass --allow-leakage: every result is stamped" in refused.stderr
    done = typed("study", tmp_path / "s.toml", "--out", out, "--allow-leakage", check=0)
    assert "LEAKY" in done.stdout
    assert "LEAKY" in typed("compare", out, check=0).stdout
    assert "LEAKY" in typed("audit", out, check=1).stdout


def test_a_study_that_comes_with_the_program_runs_from_the_data_set(typed, tmp_path):
    options = ["--subjects", 2, "--effect", 3]
    typed("datasets", "fake", "deap", tmp_path / "d", *options, check=0)
    declared = read_study("rbtransformer-honest-deap", data=tmp_path / "d", out=tmp_path / "out")
    assert declared.stores == (tmp_path / "out" / "features.zarr",)
    fast = replace(
        declared,
        models=(ModelChoice("logistic"),),
        n_permutations=0,
        reference="",
        # What is planted is in the baseline as well, and goes with it.
        preparation=replace(declared.preparation, recipe={"window_seconds": 2.0}),
    )
    prepare_store(fast)
    results = run_study(fast, tmp_path / "out")
    assert results["n_subjects"] == 2 and score(results) > 0.85
    assert results["simulated"]


def test_the_papers_own_way_scores_far_above_chance_on_no_effect_at_all(typed, tmp_path):
    options = ["--subjects", 2, "--effect", 0]
    typed("datasets", "fake", "deap", tmp_path / "d", *options, check=0)
    found = {}
    for name in ("paper-exact", "honest"):
        out = tmp_path / name
        declared = read_study(f"rbtransformer-{name}-deap", data=tmp_path / "d", out=out)
        leave = {"allow_leakage": True} if declared.leaky else {}
        fast = replace(
            declared,
            models=(ModelChoice("svm", options={"C": 10.0}),),
            n_permutations=0,
            reference="",
            protocol_options={**declared.protocol_options, **leave},
        )
        prepare_store(fast)
        found[name] = np.mean(
            [
                d["models"]["svm"]["trial"]["balanced_accuracy"]["mean"]
                for d in run_study(fast, out)["dimensions"].values()
            ]
        )
    assert found["paper-exact"] > 0.65 and abs(found["honest"] - 0.5) < 0.12


@pytest.mark.parametrize("name", ["deap", "dreamer", "seed"])
@pytest.mark.parametrize("kind", ["paper-exact", "honest"])
def test_every_study_that_comes_with_the_program_can_be_read(kind, name, tmp_path):
    declared = read_study(f"rbtransformer-{kind}-{name}", data=tmp_path, out=tmp_path / "out")
    assert declared.leaky == (kind == "paper-exact")
    assert declared.models[0].name == "majority"
    with pytest.raises(CallError, match="found no --data and no --out, expected the folder of"):
        read_study(f"rbtransformer-{kind}-{name}")


def test_the_study_of_ordered_ratings_reads_all_dimensions_together(tmp_path):
    declared = read_study("ordinal-joint-deap", data=tmp_path, out=tmp_path / "out")
    assert declared.target.kind == "ordinal" and not declared.leaky
    assert [m.label for m in declared.models if m.joint] == ["intercortical, joint"]
