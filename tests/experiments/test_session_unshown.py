"""Trials that are ended before they were shown are neither announced nor listed."""

import time

import pytest

from physioemo import open_recording
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.session.folder import SessionFolder
from physioemo.experiments.session.messages import OPERATOR, EventOutlet
from physioemo.experiments.session.report import write_session_report
from physioemo.experiments.session.run import SessionOptions, _standing
from physioemo.experiments.session.story import tell_story
from physioemo.experiments.session.verify import session_events, verify_session
from physioemo.experiments.training import untrained_decoder
from tests.experiments.short_sessions import has_begun, protocol, running, wait_for
from tests.simulated import simulated_recording

pytestmark = pytest.mark.lsl


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    recording = simulated_recording(folder / "a.zarr", n_trials=2)
    return untrained_decoder(recording).save(folder / "decoder")


@pytest.fixture(scope="module")
def aborted(decoder, tmp_path_factory):
    """Return a session whose operator left out trial 2 and aborted during the cross before 3."""
    folder = tmp_path_factory.mktemp("s")
    text = protocol(n_planned=2, n_adaptive=1, seconds=1.5)
    (folder / "short.toml").write_text(
        text.replace("fixation_seconds = 0.3", "fixation_seconds = 4"), "utf-8"
    )
    out, operator = folder / "P1", EventOutlet(OPERATOR)
    with running(folder / "short.toml", decoder, out, "--no-page") as child:
        for trial, event in ((2, "skip"), (3, "abort")):
            wait_for(lambda number=trial: has_begun(out, number), 240.0)
            time.sleep(1.0)
            operator.send(event)
        said, errors = child.communicate(timeout=120)
    assert child.returncode == 1 and "ended: aborted by the operator" in said, errors
    assert "trial 2 is not shown: left out by the operator" in said and "trial 2/3" not in said
    assert "trial 3 is not shown: aborted by the operator" in said and "trial 3/3" not in said
    return out


def test_a_trial_that_is_not_shown_is_not_announced(aborted):
    recording = open_recording(aborted / "recording-1.zarr")
    told = [c for _, c in session_events(recording)]
    announced = [c["trial"] for c in told if c["event"] == "phase" and c["phase"] == "trial"]
    assert announced == [1] == recording.trials["trial"].values.tolist()
    unshown = [c for c in told if c["event"] == "trial_unshown"]
    assert [(c["trial"], c["left_out"]) for c in unshown] == [(2, True), (3, False)]


def test_report_and_verify_list_what_was_shown_or_left_out(aborted):
    story, check = tell_story(aborted), verify_session(aborted)
    assert {n: t.left_out for n, t in story.trials.items()} == {
        1: "",
        2: "left out by the operator",
    }
    assert check.passed and not check.all_gaps and check.n_decisions >= 3
    page = write_session_report(aborted, SessionFolder.open(aborted).protocol()).read_text("utf-8")
    assert "aborted by the operator. 1 of 1 trial can be used." in page


def test_a_session_goes_on_with_the_trial_that_was_not_shown(aborted, decoder):
    folder = SessionFolder.open(aborted)
    options = SessionOptions(participant="P1", session="1")
    steps, *_, last = _standing(folder.protocol(), Decoder.load(decoder), options, folder)
    assert [step.trial for step in steps] == [3] and last.trial == 1
