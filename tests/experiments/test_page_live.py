"""Live streams in the operator's page: traces, health, alarms and what the operator sends."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from physioemo.acquisition.recorder import record
from physioemo.acquisition.rig_toml import parse_rig
from physioemo.description import StreamDescription
from physioemo.experiments import live_outlets
from physioemo.experiments.page.hub import PREDICTIONS, QUALITY
from physioemo.experiments.session.messages import OPERATOR, SESSION, EventEar, EventOutlet
from physioemo.prediction import DIMENSIONS
from tests.experiments import served_pages
from tests.experiments.served_pages import live_page, until
from tests.lsl import holdups, producing, wait_until
from tests.streams import eeg_description

# Fixtures of the tests here.
browser = served_pages.browser
tab = served_pages.tab

pytestmark = pytest.mark.lsl


def frames(tab):
    head = "[...page.traces.streams.values()][0]?.head ?? -1"
    return tab.evaluate(f"[page.frames, {head}, performance.now() / 1000]")


def test_live_traces_move_and_notes_and_commands_arrive_over_lsl(tab):
    def sine(index):
        return np.tile(np.sin(index / 10)[:, None], 8).astype(np.float32) * 30

    with producing(eeg_description(8, source_id="page-eeg"), sine), live_page() as url:
        heard = EventEar(OPERATOR)
        tab.goto(url)
        until(tab, "page.health.some(row => row.state === 'live')")
        wait_until(lambda: heard.poll() == [] and heard.is_connected)
        before = frames(tab)
        tab.wait_for_timeout(2000)
        after = frames(tab)
        n_frames, n_columns, seconds = np.subtract(after, before)
        assert n_frames > 5
        assert n_columns == pytest.approx(100 * seconds, rel=0.2, abs=40)
        tab.keyboard.press("n")
        tab.keyboard.type("moved his head, says: dödsbra ☺")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#log li.note")
        tab.keyboard.press("Escape")
        tab.keyboard.press("Shift+P")
        tab.wait_for_selector("#log li.pause")
        tab.click("#abort")
        tab.keyboard.press("Escape")  # the question is closed: nothing is sent
        tab.click("#abort")
        tab.click("#keep")
        tab.click("#abort")
        tab.click("#really")
        tab.wait_for_selector("#log li.abort")
        assert "NOBODY" not in tab.text_content("#told")
        arrived = []
        wait_until(lambda: arrived.extend(heard.poll()) or len(arrived) >= 3)
        assert arrived + heard.poll() == [
            {"event": "note", "text": "moved his head, says: dödsbra ☺"},
            {"event": "pause"},
            {"event": "abort"},
        ]
        heard.close()
        tab.evaluate("document.activeElement.blur()")
        order = []
        for _ in range(16):
            tab.keyboard.press("Tab")
            order.append(tab.evaluate("document.activeElement.id"))
        assert "start,pause,resume,skip,refit,abort,text,,log" in ",".join(order)
        assert tab.errors == []


def test_a_blinded_page_shows_the_session_but_never_the_arm(tab):
    conductor = EventOutlet(SESSION, "page-test")
    with live_page(blinded=True, watch_only=True) as url:
        said = []
        tab.on(
            "websocket",
            lambda ws: ws.on(
                "framereceived",
                lambda frame: said.append(frame) if frame.__class__ is str else None,
            ),
        )
        tab.goto(url)
        until(tab, f"page.health.some(row => row.name === '{SESSION}')")
        start = {"protocol": "steer", "participant": "P07", "session": "1", "n_trials": 9}
        conductor.send("session_start", arm="sham-arm", untrained=True, **start)
        conductor.send("phase", phase="trial", trial=3, of=9, stimulus="lake " * 40, seconds=60.0)
        inputs = {"valence": 0.123456}
        action = {"action": "play", "stimulus": "storm", "reason": "as the sham-arm says"}
        conductor.send("decision", trial=3, policy="secret", inputs=inputs, action=action)
        conductor.send("problem", text="the eye tracker is gone")
        tab.wait_for_selector("#log li.problem")
        until(tab, "document.getElementById('phase').textContent === 'TRIAL 3 / 9'")
        until(tab, "document.getElementById('alarm').textContent === 'the eye tracker is gone'")
        assert "participant P07" in tab.text_content("#who")
        shown = "".join(text for text in said if isinstance(text, str)) + tab.content()
        assert "storm" in shown
        assert not [word for word in ("sham-arm", "secret", "0.123456") if word in shown]
        assert tab.is_hidden("#controls") and tab.is_visible("#blinded")
        assert tab.is_visible("#untrained")
        conductor.send("problem", text="recorder: the eye tracker is back")
        tab.wait_for_selector("#log li.returned")
        tab.wait_for_selector("#alarm", state="hidden")
        # Long words do not push anything out of sight.
        edges = "sections => sections.map(s => s.getBoundingClientRect().right)"
        assert max(tab.eval_on_selector_all("section", edges)) <= 1366
        conductor.send("session_stop", reason="finished")
        until(tab, "document.getElementById('phase').textContent === 'ENDED'")
        assert tab.errors == []
    # The session took the page's server with it: that is no loss.
    until(tab, "document.getElementById('what').textContent.includes('its page has closed')")
    assert tab.text_content("#phase") == "ENDED" and tab.is_hidden("#alarm")
    del conductor


def test_a_stream_that_stalls_turns_red_within_two_seconds(tab):
    command = [sys.executable, "-m", "physioemo", "simulate", "--duration", "120"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    live = "page.health.some(r => r.name === 'Simulated-EEG' && r.state === 'live')"
    red = "tr.red[data-stream='Simulated-EEG']"
    try:
        with live_page(watch_only=True) as url, holdups() as held:
            tab.goto(url)
            waits = []
            for _ in range(3):  # one of three: a loaded computer delays the test as well
                until(tab, live)
                tab.wait_for_timeout(500)
                os.kill(child.pid, signal.SIGSTOP)
                began = time.monotonic()
                tab.wait_for_selector(red)
                waits.append(time.monotonic() - began)
                assert "stalled" in tab.text_content(red)
                assert tab.is_visible("#alarm")
                os.kill(child.pid, signal.SIGCONT)
                if waits[-1] <= 2.0:
                    break
            until(tab, live)
            assert tab.locator(red).count() == 0
            assert tab.errors == []
        assert min(waits) <= 2.0 + held.longest_seconds, waits
    finally:
        child.kill()
        child.wait()


RIG = """
name = "booth"
[streams.eeg]
name = "EEG"
sfreq = 250
channels = ["Fz", "Cz"]
units = "uV"
[streams.gaze]
name = "Tobii"
sfreq = 120
"""


def test_a_rig_says_what_is_shown_and_what_is_missing(tab):
    def noise(index):
        return np.zeros((len(index), 2), np.float32)

    other = eeg_description(2, name="Other", source_id="page-other")
    ours = EventOutlet(SESSION, "page-rig")
    with (
        producing(eeg_description(2, source_id="page-rig", ch_names=("Fz", "Cz")), noise),
        producing(other, noise),
        live_page(rig=parse_rig(RIG), watch_only=True) as url,
    ):
        tab.goto(url)
        until(tab, "new Set(page.health.map(row => row.name)).size === 3")
        until(tab, "page.health.some(row => row.name === 'EEG' && row.state === 'live')")
        assert tab.get_attribute("tr[data-stream=gaze]", "class") == "red missing"
        assert "found no stream that fits" in tab.get_attribute("tr[data-stream=gaze]", "title")
        assert "gaze MISSING" in tab.text_content("#alarm")
        assert "booth" in tab.text_content("#rig")
        names = set(tab.evaluate("page.health.map(row => row.name)"))
        assert names == {"EEG", "gaze", SESSION}
    del ours


def test_a_stream_that_cannot_be_read_is_told(tab):
    import pylsl

    nameless = pylsl.StreamOutlet(
        pylsl.StreamInfo("Nameless", "EEG", 3, 250.0, "float32", "page-n")
    )
    with live_page(watch_only=True) as url:
        tab.goto(url)
        line = "tr.red.unreadable[data-stream=Nameless]"
        tab.wait_for_selector(line)
        assert "found no channel names" in tab.get_attribute(line, "title")
        assert "Nameless UNREADABLE" in tab.text_content("#alarm")
        del nameless
        tab.wait_for_selector(line, state="detached")


def test_predictions_and_their_quality_are_shown(tab):
    names = [f"{d}_{w}" for d in DIMENSIONS for w in ("probability", "confidence")]
    vad = StreamDescription(
        PREDICTIONS,
        "Prediction",
        0.0,
        (*names, "abstain"),
        ("probability",) * 6 + ("0 or 1",),
        source_id="page-vad",
    )
    quality = StreamDescription(
        QUALITY,
        "Quality",
        0.0,
        ("latency", "Fp1", "Fp2"),
        ("s", "0 or 1", "0 or 1"),
        channel_format="double64",
        source_id="page-quality",
    )

    def said(index):
        return np.tile(np.float32([0.7, 0.7, 0.2, 0.8, 0.55, 0.55, 0]), (len(index), 1))

    def stood_on(index):
        return np.tile([0.0042, 1.0, 0.0], (len(index), 1))

    with (
        producing(vad, said, sfreq=4.0),
        producing(quality, stood_on, sfreq=4.0),
        live_page(watch_only=True) as url,
    ):
        tab.goto(url)
        until(tab, "page.points.length > 4")
        until(tab, "document.getElementById('quality').children.length === 2")
        text = " ".join(tab.inner_text("#affect-text").split())
        assert text == "V 0.70 70 % A 0.20 80 % D 0.55 55 %"
        assert tab.inner_text("#quality").split() == [
            "latency",
            "4.2",
            "ms",
            "electrodes",
            "1",
            "of",
            "2",
        ]
        assert tab.evaluate("page.points.at(-1).slice(1)") == pytest.approx(
            [0.7, 0.2, 0.55, 0.7, 0.8, 0.55, 0.0], abs=1e-6
        )
        assert tab.errors == []
    assert (PREDICTIONS, QUALITY) == (live_outlets.PREDICTIONS, live_outlets.QUALITY)


def test_a_page_that_is_killed_costs_the_recording_nothing(tmp_path):
    def count(index):
        return np.tile(index[:, None], 4).astype(np.float32)

    command = [sys.executable, "-m", "physioemo", "page", "--port", "0"]
    with producing(eeg_description(4, source_id="page-killed"), count):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert b"http://127.0.0.1" in child.stdout.readline()
        killer = threading.Timer(3.0, child.kill)
        killer.start()
        found = record(tmp_path / "r.zarr", predicates=("name='EEG'",), duration_seconds=5.0)
        killer.join()
        assert child.wait() == -signal.SIGKILL
    counted = found.recording["EEG"]["signal"].values[:, 0]
    assert len(counted) > 1000 and (np.diff(counted) == 1).all()
