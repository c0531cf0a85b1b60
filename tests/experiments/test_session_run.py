"""Whole sessions over real LSL: run, recorded, computed again; and with programs that die."""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import psutil
import pytest

from physioemo import open_recording
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.rating_lag import recorded_rating
from physioemo.experiments.session.recompute import check_predictions
from physioemo.experiments.session.story import tell_story
from physioemo.experiments.session.verify import heard_in, session_events, verify_session
from physioemo.experiments.training import untrained_decoder
from tests.experiments.short_sessions import (
    CONTINUOUS,
    follower,
    has_begun,
    protocol,
    running,
    wait_for,
)
from tests.lsl import producing
from tests.simulated import simulated_recording
from tests.streams import eeg_description

pytestmark = pytest.mark.lsl

N_FAULTY = int(os.environ.get("PHYSIOEMO_TEST_SESSIONS", "1"))
FAULTS = ("kill decoder", "stop decoder", "kill participant", "kill page", "kill player",
          "kill recorder", "stop recorder", "full disk")  # fmt: skip


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    recording = simulated_recording(folder / "a.zarr", n_trials=2)
    return untrained_decoder(recording).save(folder / "decoder")


@pytest.fixture(scope="module")
def session(tmp_path_factory, decoder):
    """Return the folder of a session that ran undisturbed, and what it printed."""
    folder = tmp_path_factory.mktemp("session")
    (folder / "short.toml").write_text(protocol(continuous=CONTINUOUS), "utf-8")
    out = folder / "P1"
    with running(folder / "short.toml", decoder, out, "--port", "0") as child:
        said, errors = child.communicate(timeout=180)
    assert child.returncode == 0, errors
    return out, said


def test_a_session_is_run_recorded_and_computed_again_to_the_bit(session, physioemo):
    out, said = session
    assert "SIMULATED" in said and re.search(r"http://127\.0\.0\.1:\d+/\?token=\S{20,}", said)
    done = physioemo("session", "verify", out, check=0)
    assert "Identical." in done.stdout and "gap" not in done.stdout
    check = json.loads(physioemo("session", "verify", out, "--json", check=0).stdout)
    found = check["predictions"]["recording-1.zarr"]
    assert found["n_identical"] + found["n_before"] == found["n_predictions"] > 20
    assert check["n_identical"] == check["n_decisions"] >= 3 + 3 * 4


def test_everything_is_in_one_recording(session):
    recording = open_recording(session[0] / "recording-1.zarr")
    assert recording.simulated
    names = {recording.description(k).name for k in recording.streams}
    ours = {"Continuous", "Frames", "Operator", "Player", "Quality", "Ratings", "Session", "VAD"}
    assert names >= {f"PhysioEmo-{name}" for name in ours} | {"Simulated-EEG"}
    assert recording.trials["trial"].values.tolist() == [1, 2, 3]
    said = [json.loads(text) for text in recording["PhysioEmo-Player"]["signal"].values[:, 0]]
    # Said once, while a continuous rating goes on to the recording's end.
    assert [c["event"] for c in said].count("session_stop") == 1
    told = [c for _, c in session_events(recording)]
    shown = [c["stimulus"] for c in told if c["event"] == "phase" and c["phase"] == "trial"]
    assert recording.trials["stimulus"].values.tolist() == shown
    rated = {c["trial"]: c["values"] for c in told if c["event"] == "rated"}
    table = recording.ratings["rating"]
    for trial, values in rated.items():
        assert table.sel(trial=trial, dimension="arousal") == values["arousal"]
    start = told[0]
    assert (start["event"], start["participant"], start["arm"]) == ("session_start", "P1", "steer")
    assert start["simulated"] and start["untrained"]
    decisions = [c for c in told if c["event"] == "decision"]
    assert all(c["model_id"] == start["model_id"] and c["latency_seconds"] < 0.1 for c in decisions)


def test_what_is_rated_while_a_stimulus_is_shown_is_a_stream(session):
    recording = open_recording(session[0] / "recording-1.zarr")
    stream = recording["PhysioEmo-Continuous"]
    assert stream["channel"].values.tolist() == ["valence", "arousal"]
    assert stream["channel_unit"].values.tolist() == ["1-9", "1-9"]
    time, arousal = stream["time"].values, stream["signal"].values[:, 1]
    trials = recording.trials
    inside = np.zeros(len(time), bool)
    evoked = {"calm": -0.7, "plain": 0.45, "thrill": 0.8}
    for number in trials["trial"].values:
        trial = trials.sel(trial=number)
        start, seconds = float(trial["onset_seconds"]), float(trial["duration_seconds"])
        own = (time > start) & (time < start + seconds)
        inside |= own
        # The simulated participant comes near to what is evoked: 85 % of the way in 1.9 s.
        assert arousal[own][-1] - 5 == pytest.approx(
            4 * evoked[str(trial["stimulus"].values)] * 0.85, abs=0.5
        )
    assert np.isnan(arousal[~inside]).all() and 0.6 < np.isfinite(arousal[inside]).mean() < 0.85
    assert not recording.quality()["PhysioEmo-Continuous"]["gaps"]
    (trace,) = tell_story(session[0]).continuous
    assert trace.device == "simulated" and trace.scales == ((1, 9), (1, 9))
    values, seconds = recorded_rating(recording, "arousal")
    assert np.array_equal(values, arousal, equal_nan=True) and np.array_equal(seconds, time)


def test_the_report_says_what_happened(session, physioemo):
    done = physioemo("session", "report", session[0], check=0)
    page = (session[0] / "report.html").read_text("utf-8")
    assert "Next: open it" in done.stdout and "<script" not in page
    for text in (
        "SIMULATED PARTICIPANT",
        "UNTRAINED DECODER",
        "3 of 3 trials can be used",
        "every decision is identical",
        "A SIMULATED participant (P1, session 1) saw 3 trials of 3 stimuli (text; 2.5 s)",
        "Stimuli were chosen by the policy &#39;steer&#39; (target_arousal = 0.7",
        "predictions were adjusted to the participant (bias, shrunken",
        "expected arousal",
        "The pointer was moved by the SIMULATED participant.",
        "arousal: mean while shown",
        "valence and arousal were rated continuously by the simulation (scale 1 to 9, 20 Hz;",
        "Nothing went wrong.",
    ):
        assert text in page, text


def test_the_simulated_participant_is_moved_by_what_is_shown(session):
    recording = open_recording(session[0] / "recording-1.zarr")
    truth = recording["Simulated-GroundTruth"]
    told = [(t, c) for t, c in session_events(recording) if c["event"] == "phase"]
    for (start, content), (stop, _) in itertools.pairwise(told):
        if content["phase"] != "trial":
            continue
        there = (truth["time"].values > start + 1.5) & (truth["time"].values < stop)
        arousal = truth["signal"].values[there, 1]
        assert np.sign(arousal[-1]) == np.sign(content["evokes"]["arousal"])


def test_the_operator_starts_notes_pauses_and_ends_a_session(decoder, tmp_path):
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium; install it")
    path, out = tmp_path / "short.toml", tmp_path / "P1"
    path.write_text(protocol(n_adaptive=9), "utf-8")
    with (
        running(path, decoder, out, "--port", "0", at_once=False) as child,
        sync_playwright() as playwright,
    ):
        url = next(w for line in child.stdout for w in line.split() if w.startswith("http"))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)

        def shows(word):
            page.locator("#phase", has_text=re.compile(word)).wait_for(timeout=60_000)

        page.locator("#what", has_text="waiting for Start").wait_for(timeout=60_000)
        assert not has_begun(out, 1)
        page.click("#start")
        shows("TRIAL 1")
        page.fill("#text", "electrode Pz looks loose")
        page.keyboard.press("Enter")
        page.click("#pause")
        shows("PAUSED")
        page.click("#resume")
        shows("TRIAL")
        page.click("#abort")
        page.click("#really")
        _, errors = child.communicate(timeout=90)
        browser.close()
    assert child.returncode == 1, errors
    recording = open_recording(out / "recording-1.zarr")
    story = tell_story(out)
    assert story.reason == "aborted by the operator"
    noted = [text for _, text in story.notes]
    assert noted == ["start", "electrode Pz looks loose", "pause", "resume", "abort"]
    told = [c["what"] for _, c in session_events(recording) if c["event"] == "obeyed"]
    assert told == ["start", "pause", "resume", "abort"] and verify_session(out).passed


def test_a_recording_that_was_changed_does_not_come_out_again(session, decoder, tmp_path):
    copy = tmp_path / "P1"
    shutil.copytree(session[0], copy)
    loaded = Decoder.load(decoder)
    recording = open_recording(copy / "recording-1.zarr")
    assert check_predictions(recording, loaded).passed
    group = recording.tree[recording.key("Simulated-EEG")]
    group["signal"][:] = group["signal"].values * np.float32(1.01)
    changed = check_predictions(recording, loaded)
    assert not changed.passed and "is not" in changed.differences[0]
    assert len(heard_in(recording, loaded.id)) == changed.n_predictions


def test_a_session_whose_leader_is_killed_goes_on_at_the_next_trial(decoder, tmp_path, physioemo):
    path, out = tmp_path / "short.toml", tmp_path / "P1"
    path.write_text(protocol(n_adaptive=2), "utf-8")
    with running(path, decoder, out, "--no-page") as child:
        wait_for(lambda: has_begun(out, 2))
        followers = psutil.Process(child.pid).children(recursive=True)
        child.kill()
        _, alive = psutil.wait_procs(followers, timeout=30)
    # Nothing is left running, and what was recorded is sealed.
    assert not alive and open_recording(out / "recording-1.zarr").sealed
    options = ("--decoder", decoder, "--simulate", "--out", out, "--headless", "--no-page")
    done = physioemo("session", "run", path, *options, check=1)
    assert "expected a new folder; add --resume to go on with it" in done.stderr
    other = physioemo("session", "run", path, *options, "--participant=P2", "--resume", check=2)
    assert "found participant 'P2', expected 'P1'" in other.stderr
    done = physioemo("session", "run", path, *options, "--resume", check=0)
    assert "trial 3/3" in done.stdout and "trial 2/3" not in done.stdout
    check = verify_session(out)
    assert check.passed and check.n_decisions >= 3
    assert len(check.predictions) == 2


def test_neurofeedback_is_published_recorded_and_computed_again(decoder, tmp_path):
    zone = 'policy = "hold-in-zone"\ndimension = "arousal"\nlow = 0.6\nhigh = 0.9\nsmoothing = 0.2'
    text = protocol(n_planned=3).replace('policy = "steer"\ntarget_arousal = 0.7', zone)
    text = text.replace('name = "a"\n', 'name = "a"\nfeedback = true\n')
    text = re.sub(r'\[\[block\]\]\nname = "b"[^[]*', "", text)
    path, out = tmp_path / "zone.toml", tmp_path / "P1"
    path.write_text(text, "utf-8")
    with running(path, decoder, out, "--no-page") as child:
        _, errors = child.communicate(timeout=180)
    assert child.returncode == 0, errors
    recording = open_recording(out / "recording-1.zarr")
    sent = recording["PhysioEmo-Feedback"]["signal"].values[:, 0]
    told = [c for _, c in session_events(recording) if c["event"] == "monitor"]
    values = [c["action"]["value"] for c in told if c["action"]["action"] == "feedback"]
    assert len(values) >= 6 and np.array_equal(sent, np.float32(values))
    fitted, raw = recording["PhysioEmo-Personal"], recording["PhysioEmo-VAD"]
    assert np.isin(fitted["raw_time"].values, raw["raw_time"].values).all()
    assert verify_session(out).passed
    assert json.loads((out / "decisions.json").read_text("utf-8"))["participant"] == "P1"


def test_with_a_rig_it_is_a_persons_session(decoder, tmp_path, physioemo):
    loaded = Decoder.load(decoder)
    names = ", ".join(f'"{n}"' for n in loaded.ch_names)
    rig, path, out = tmp_path / "lab.toml", tmp_path / "short.toml", tmp_path / "P1"
    stream = f'name = "Amp"\nsfreq = 250\nchannels = [{names}]\n'
    rig.write_text(f'name = "Lab"\n[streams.eeg]\n{stream}', "utf-8")
    text = protocol(continuous=["timeout_seconds = 1", *CONTINUOUS])
    path.write_text(text, "utf-8")
    joystick = tmp_path / "joystick.toml"
    stated = 'continuous_device = "joystick"'
    joystick.write_text(protocol(continuous=[*CONTINUOUS, stated]), "utf-8")
    options = ("--rig", rig, "--decoder", decoder, "--out", out, "--headless", "--no-page")
    refused = physioemo("session", "run", joystick, *options, check=1).stderr
    assert "found no joystick, expected one for the continuous rating of valence" in refused
    assert not out.exists()
    rng = np.random.default_rng(0)
    amplifier = eeg_description(32, 250.0, name="Amp", ch_names=loaded.ch_names)
    other = eeg_description(32, 250.0, name="Other", source_id="x", ch_names=loaded.ch_names)

    def noise(index):
        return rng.normal(0, 20, (len(index), 32)).astype(np.float32)

    with (
        producing(amplifier, noise),
        producing(other, noise),
        running(path, decoder, out, "--no-page", rig=rig) as child,
    ):
        said, errors = child.communicate(timeout=180)
    assert child.returncode == 0, errors
    assert "SIMULATED" not in said
    recording = open_recording(out / "recording-1.zarr")
    names = {recording.description(k).name for k in recording.streams}
    assert {"Amp", "PhysioEmo-VAD", "PhysioEmo-Session"} <= names and "Other" not in names
    # Nobody answered: nothing is learnt, and the choice rests on what is expected.
    assert not recording.simulated and not recording.ratings.sizes["trial"]
    assert verify_session(out).passed and len(recording.trials["trial"]) == 3
    stream = recording["PhysioEmo-Continuous"]
    assert np.isnan(stream["signal"].values).all() and len(stream["time"]) > 100


def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    return folder


def strike(child, fault, disk):
    what, _, name = fault.partition(" ")
    if what == "kill":
        follower(child, name).kill()
    elif what == "stop":
        process = follower(child, name)
        process.suspend()
        time.sleep(2.0)
        process.resume()
    else:
        with contextlib.suppress(OSError), (disk / "ballast").open("wb") as file:
            while True:
                file.write(bytes(65536))
                file.flush()


@pytest.mark.parametrize("number", range(N_FAULTY))
def test_what_was_decided_is_computed_again_or_the_gap_is_named(number, decoder, tmp_path):
    rng = np.random.default_rng()
    drawn = int(rng.integers(len(FAULTS)))
    fault = (
        os.environ.get("PHYSIOEMO_TEST_FAULT")
        or (FAULTS[drawn if len(FAULTS) > N_FAULTY else number % len(FAULTS)])
    )
    folder = small_disk(tmp_path) if fault == "full disk" else tmp_path
    try:
        out = folder / "P1"
        path = tmp_path / "short.toml"
        path.write_text(protocol(n_planned=2, n_adaptive=2), "utf-8")
        with running(path, decoder, out, "--port", "0") as child:
            wait_for(lambda: has_begun(out, 2))
            time.sleep(float(rng.uniform(0, 3)))
            strike(child, fault, folder)
            said, errors = child.communicate(timeout=180)
        check = verify_session(out)
        assert check.passed, (fault, check.differences, check.predictions)
        assert check.n_decisions >= 2, (fault, said, errors)
        if fault.startswith("kill"):
            assert "has ended with code" in errors or "the player ended" in errors
            assert "The session ended: finished" in said, (fault, said, errors)
        if fault == "full disk":
            assert child.returncode == 1 and "recorder" in errors, (said, errors)
        if fault == "kill player":
            # The one that comes back waits for the recorder: the next trials are recorded whole.
            assert open_recording(out / "recording-1.zarr").trials.sizes["trial"] >= 3, said
        if fault == "kill participant":
            # Once the recorder has the EEG again the decoder begins anew with what is recorded.
            (found,) = check.predictions.values()
            lacking = found.n_predictions - found.n_identical - found.n_before
            assert "Simulated-EEG is recorded again" in errors and lacking <= 8, found.gaps
        if fault in ("kill recorder", "full disk"):
            assert check.gaps
    finally:
        if folder != tmp_path:
            (folder / "ballast").unlink(missing_ok=True)
            subprocess.run(["umount", str(folder)], check=False)


def test_ctrl_c_ends_a_session_and_keeps_everything(decoder, tmp_path):
    path, out = tmp_path / "short.toml", tmp_path / "P1"
    path.write_text(protocol(), "utf-8")
    with running(path, decoder, out, "--no-page") as child:
        wait_for(lambda: has_begun(out, 1))
        time.sleep(1.0)
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=60)
    assert child.returncode == 1 and "The session ended: stopped." in said
    recording = open_recording(out / "recording-1.zarr")
    assert session_events(recording)[-1][1] == {"event": "session_stop", "reason": "stopped"}
    assert verify_session(out).passed
