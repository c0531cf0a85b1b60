"""A session with a decoder that reads the stimulus: programs die, and every prediction is found."""

import json
import shutil
import time

import numpy as np
import pytest
from click.testing import CliRunner

from physioemo import open_recording
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_sides import SideChoice
from physioemo.experiments.fused_stimulus import StimulusChoice
from physioemo.experiments.session.cli import verify
from physioemo.experiments.session.recompute import check_predictions
from physioemo.experiments.session.verify import verify_session
from physioemo.features.stimulus_features import decode_stimulus
from tests.experiments.fused_decoders import made
from tests.experiments.short_sessions import follower, has_begun, protocol, running, wait_for
from tests.features.made_stimuli import RECIPE
from tests.media_files import write_media
from tests.simulated import simulated_recording

pytestmark = pytest.mark.lsl

CHOICES = (SideChoice("eda", window_seconds=2.0, hop_seconds=0.6, max_age_seconds=1.5),)
STIMULUS = StimulusChoice(("stimulus", "audio", "video"), 2.0, 4, RECIPE)
FILMS = ("calm", "plain", "thrill")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("d")
    source = simulated_recording(folder / "a.zarr", n_trials=2)
    return made(source, CHOICES, stimulus=STIMULUS).save(folder / "decoder")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(0)
    for name in FILMS:
        pictures = rng.integers(0, 255, (30, 16, 16, 3)).astype(np.uint8)
        sound = rng.normal(0, 0.1, (3 * 16000, 1))
        seconds = np.arange(30) / 10
        write_media(folder / f"{name}.mkv", pictures=pictures, seconds=seconds, sound=sound)
    return folder


@pytest.fixture(scope="module")
def session(decoder, films, tmp_path_factory):
    """Return the folder of a session in which first the player dies, then the decoder."""
    text = protocol(n_planned=2, n_adaptive=3)
    for name in FILMS:
        text = text.replace(
            f'kind = "text"\ntext = "{name}"\nseconds = 2.5',
            f'kind = "video"\nfile = "{name}.mkv"',
        )
    (films / "films.toml").write_text(text, "utf-8")
    out = tmp_path_factory.mktemp("s") / "P1"
    with running(films / "films.toml", decoder, out, "--no-page") as child:
        for trial, name in ((2, "player"), (3, "decoder")):
            wait_for(lambda number=trial: has_begun(out, number))
            time.sleep(1.5)
            follower(child, name).kill()
        said, errors = child.communicate(timeout=180)
    assert "The session ended: finished" in said and "reading what is shown: 3/3" in said
    assert "the player is back" in errors and "the decoder has ended with code" in errors
    return out


@pytest.fixture(scope="module")
def whole(session):
    """Return what is computed again with all films where they were."""
    return verify_session(session)


def column(recording, name):
    quality = recording["PhysioEmo-Quality"]
    return quality["signal"].values[:, [str(c) for c in quality["channel"].values].index(name)]


def test_every_prediction_and_decision_comes_out_again(session, whole):
    (found,) = whole.predictions.values()
    assert whole.passed and found.n_identical > 15
    # On a slow computer the recorder may find the player later than the decoder does.
    assert found.n_identical + found.n_before == found.n_predictions or found.gaps, found
    assert whole.n_identical == whole.n_decisions > 10
    recording = open_recording(session / "recording-1.zarr")
    used = np.isfinite(column(recording, "stimulus_stop_stamp"))
    begun = column(recording, "stimulus_first_flip_stamp")
    assert 8 < used.sum() < len(used)  # missing while there was no player
    assert len(set(begun[np.isfinite(begun)])) >= 2


def test_a_film_that_is_gone_or_another_is_a_gap_and_is_found_where_it_was_moved(
    session, whole, films, tmp_path
):
    (before,) = whole.predictions.values()
    moved = shutil.copytree(films, tmp_path / "moved")
    shown = set(open_recording(session / "recording-1.zarr").trials["stimulus"].values.tolist())
    name = f"{sorted(shown)[0]}.mkv"
    (films / name).write_bytes(b"another film")
    try:
        check = verify_session(session)
        done = CliRunner().invoke(verify, [str(session), "--stimuli", str(moved), "--json"])
    finally:
        shutil.copy(moved / name, films / name)
    (found,) = check.predictions.values()
    assert check.passed and len(found.gaps) > len(before.gaps)
    assert f"what was shown is not computed again without {name} (SHA-256 " in found.gaps[0]
    assert set(found.gaps) <= set(check.all_gaps)
    assert 0 < found.n_identical < before.n_identical
    (again,) = json.loads(done.stdout)["predictions"].values()
    assert again["n_identical"] == before.n_identical and len(again["gaps"]) == len(before.gaps)


def test_flips_that_were_changed_are_a_difference(session, decoder, films):
    recording, loaded = open_recording(session / "recording-1.zarr"), load_decoder(decoder)
    clips = [decode_stimulus(films / f"{name}.mkv", RECIPE) for name in FILMS]
    frames = recording.tree[recording.key("PhysioEmo-Frames")]["signal"]
    changed = frames.values.copy()
    changed[:, 4] += 50  # other items, of which nobody knows what they show
    frames[:] = changed
    check = check_predictions(recording, loaded, stimuli=clips)
    assert not check.passed and "is not" in check.differences[0]
