"""The studies that come with the program."""

import pytest

from physioemo.errors import CallError
from physioemo.experiments.study_config import read_study


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
