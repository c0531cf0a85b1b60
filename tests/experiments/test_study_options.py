"""Options of models in a declared study: those that come with the program can be built."""

from pathlib import Path

import pytest

from physioemo.errors import CallError
from physioemo.experiments import study_config
from physioemo.experiments.estimators import build_estimator
from physioemo.experiments.study_config import read_study

SHIPPED = sorted(p.stem for p in (Path(study_config.__file__).parent / "studies").glob("*.toml"))

STUDY = """
name = "one"
[data]
stores = ["a.zarr"]
[target]
kind = "binary"
dimensions = ["valence"]
threshold = "midpoint"
[[models]]
name = "intercortical"
[models.options]
"""


@pytest.mark.parametrize("name", SHIPPED)
def test_every_model_of_a_study_that_comes_with_the_program_can_be_built(name, tmp_path):
    declared = read_study(name, data=tmp_path, out=tmp_path / "out")
    for model in declared.models:
        build_estimator(model.name, model.preset, joint=model.joint, **model.options)


def test_the_networks_own_preset_may_be_an_option(tmp_path):
    (tmp_path / "s.toml").write_text(STUDY + 'preset = "tiny"')
    model = read_study(tmp_path / "s.toml").models[-1]
    assert model.preset == "default"
    assert build_estimator(model.name, model.preset, **model.options).preset == "tiny"


@pytest.mark.parametrize(("name", "place"), [("seed", "of the study"), ("joint", "models")])
def test_what_has_its_own_place_is_no_option(name, place, tmp_path):
    (tmp_path / "s.toml").write_text(STUDY + f"{name} = 1")
    with pytest.raises(CallError, match=rf"found {name!r} in \[models.options\].*{place}"):
        read_study(tmp_path / "s.toml")


@pytest.mark.parametrize("given", ["data", "out"])
def test_only_the_folder_that_is_missing_is_asked_for(given, tmp_path):
    missing = {"data": "out", "out": "data"}[given]
    with pytest.raises(CallError, match=f"found no --{missing}, expected the folder"):
        read_study(SHIPPED[0], **{given: tmp_path})
