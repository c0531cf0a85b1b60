"""``inspect`` of a feature store says what was shown, and when."""

import json
import re
import shutil

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

from physioemo.features.inspect_cli import inspect
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.features.preprocess_run import preprocess, recording_sources
from physioemo.features.stimulus_files import find_stimuli
from physioemo.media import sha256_of
from physioemo.store import create_recording
from tests.features.planted_clips import planted_clip
from tests.streams import eeg_stream, trial_markers

TRIALS = {
    "a": [(1, 1.0, 2.0, "dawn"), (2, 4.0, 2.0, "song"), (3, 7.0, 2.0, "dawn.mkv")],
    "b": [(1, 1.0, 2.0, "dawn"), (2, 4.0, 2.0, "lost")],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a store of two recordings with three files, one of which nobody was shown."""
    folder = tmp_path_factory.mktemp("é x")
    clips = folder / "clips"
    clips.mkdir()
    (folder / "r").mkdir()
    planted_clip(clips / "dawn.mkv", seconds=5, sound_seconds=2.5)
    for name in ("song", "spare"):
        planted_clip(clips / f"{name}.mkv", tone=(1,), seconds=3)
    rng = np.random.default_rng(0)
    for name, trials in TRIALS.items():
        eeg = eeg_stream(
            rng.normal(size=(2500, 2)).astype(np.float32), 250.0, ch_names=("F3", "F4")
        )
        create_recording(
            folder / "r" / f"{name}.zarr", {"eeg": eeg, "markers": trial_markers(trials)}
        )
    files = find_stimuli(clips, allow_missing=True)
    recipe = PreprocessRecipe(features=("audio-descriptors",), stimuli=dict(files.sha256))
    sources = recording_sources(folder / "r")
    return preprocess(sources, folder / "f.zarr", recipe, stimuli=files).out


def said(store, *options):
    done = CliRunner().invoke(inspect, [str(store), *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_each_file_is_told_with_its_length_hash_and_trials(store):
    found = json.loads(said(store, "--json"))["stimuli"]
    clips = store.parent / "clips"
    assert {n: r["trials"] for n, r in found["files"].items()} == {
        "dawn": {"a": [1, 3], "b": [1]},
        "song": {"a": [2]},
        "spare": {},
    }
    assert found["without_file"] == {"lost": {"b": [2]}}
    dawn = found["files"]["dawn"]
    assert (dawn["file"], dawn["sha256"]) == ("dawn.mkv", sha256_of(clips / "dawn.mkv"))
    assert dawn["duration_seconds"] == pytest.approx(5.0, abs=0.1)


def test_the_same_stands_in_the_text(store):
    sha256 = sha256_of(store.parent / "clips" / "dawn.mkv")[:12]
    text = said(store)
    dawn = rf"dawn: dawn\.mkv, (4\.9|5\.0)\d s, SHA-256 {sha256}\.\.\., 3 trials of 2 recordings"
    assert re.search(dawn, text)
    assert "song: song.mkv" in text and ", trial 2\n" in text
    assert "spare.mkv" in text and "shown in no trial\n" in text
    assert "lost: no file, trial 2\n" in text


def test_a_store_from_before_lengths_were_kept_says_so(store, tmp_path):
    older = tmp_path / "f.zarr"
    shutil.copytree(store, older)
    group = zarr.open_group(older, mode="r+")
    about = dict(group.attrs["stimuli"])
    for row in about.values():
        del row["duration_seconds"]
    group.attrs["stimuli"] = about
    assert "dawn: dawn.mkv, length not known, SHA-256" in said(older)
