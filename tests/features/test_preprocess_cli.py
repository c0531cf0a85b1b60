"""The command preprocess as a data wrangler types it."""

import json

import pytest

from physioemo.datasets.catalogue import dataset
from physioemo.features.feature_store import open_features
from physioemo.features.preprocess_recipe import PreprocessRecipe
from tests.simulated import simulated_recording


@pytest.fixture(scope="module")
def dreamer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dreamer")
    row = dataset("dreamer")
    row.write_fixture(folder, subjects=2, **row.small)
    return folder


def test_a_data_set_becomes_a_store_that_inspect_describes(typed, dreamer, tmp_path):
    out = tmp_path / "with space and ü.zarr"
    options = ["--window-seconds", 2, "--hop-seconds", 1, "--baseline", "subtract"]
    done = typed("preprocess", "dreamer", dreamer, "--out", out, *options, check=0)
    assert "1 sources computed, 0 taken over" in done.stdout and "Next: physioemo" in done.stdout
    said = typed("inspect", out, check=0).stdout
    assert "windows of 2 s every 1 s, 2 recordings of 2 subjects" in said
    assert "de: 14 channel x 4 band, 100.00 % present, nats" in said
    content = json.loads(typed("inspect", out, "--json", check=0).stdout)
    recipe = PreprocessRecipe(window_seconds=2.0, hop_seconds=1.0, baseline="subtract")
    assert content["recipe_hash"] == recipe.fingerprint
    again = typed("preprocess", "dreamer", dreamer, "--out", out, *options, check=0)
    assert "0 sources computed, 1 taken over" in again.stdout


def test_bands_reference_and_filters_are_what_was_typed(typed, dreamer, tmp_path):
    options = ["--bands", "mu=8-12,low beta=13-20", "--reference", "average", "--highpass-hz", 1]
    out = tmp_path / "f.zarr"
    typed("preprocess", "dreamer", dreamer, "--out", out, *options, check=0)
    store = open_features(out)
    assert list(store["band"].values) == ["mu", "low beta"]
    conditioning = store.attrs["recipe"]["conditioning"]
    assert conditioning["reference"] == "average" and conditioning["highpass_hz"] == 1.0


def test_recordings_of_our_own_need_no_data_set(typed, tmp_path):
    simulated_recording(tmp_path / "r.zarr", n_trials=2)
    out = tmp_path / "f.zarr"
    typed("preprocess", "recording", tmp_path / "r.zarr", "--out", out, check=0)
    assert open_features(out).sizes["window"] == 16
    assert "SIMULATED" in typed("inspect", out, check=0).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["seed"], 2, "found the files of dreamer in .*, expected those of seed"),
        (["dreemer"], 2, "found the data set 'dreemer', expected one of deap"),
        (["dreamer", "--features", "de,hrw"], 2, "found the feature 'hrw'"),
        (["dreamer", "--bands", "alpha=13-8"], 2, "found the band 'alpha=13-8'"),
        (["dreamer", "--window-seconds", "0.011"], 2, "found a window of 0.011 s at 128 Hz"),
        (["dreamer", "--smoothing", "lsd"], 2, "did you mean 'lds'"),
        (["dreamer", "--lowpass-hz", "80"], 1, "found a filter at 80 Hz for a signal at 128 Hz"),
    ],
)
def test_a_wrong_call_is_one_sentence(typed, dreamer, tmp_path, arguments, code, text):
    import re

    name, *options = arguments
    out = tmp_path / "f.zarr"
    done = typed("preprocess", name, dreamer, "--out", out, *options, check=code)
    assert re.search(text, done.stderr), done.stderr
    assert not out.exists()
