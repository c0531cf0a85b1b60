"""Text files as editors of Windows write them: with a byte-order mark, and lines end in CR LF."""

import codecs

import pytest

from physioemo.experiments.pretrain_config import read_plan
from physioemo.experiments.study_config import read_study
from physioemo.experiments.train_config import read_train_file
from physioemo.features.stimulus_files import find_stimuli
from tests.experiments.made_study import TOML


def of_windows(path, text):
    """Write a text as an editor of Windows does, and return its path."""
    path.write_bytes(codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode())
    return path


def stimuli(path):
    (path.parent / "one.mkv").touch()
    return find_stimuli(path).named(["Größe"])


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_study, TOML),
        (read_plan, "[training]\nn_epochs = 3\n"),
        (read_train_file, 'families = ["eda"]\nepochs = 4\n'),
        (stimuli, '"Größe" = "one.mkv"\n'),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_toml_file_saved_by_an_editor_of_windows_means_the_same(tmp_path, read, text):
    plain = tmp_path / "plain.toml"
    plain.write_bytes(text.encode())
    assert read(of_windows(tmp_path / "windows.toml", text)) == read(plain)
