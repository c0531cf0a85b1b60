import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import psutil
import pytest

from physioemo.acquisition.recorder import record
from physioemo.acquisition.rig_toml import parse_rig
from physioemo.description import StreamDescription
from physioemo.errors import AmbiguousStreamError, CallError
from physioemo.experiments import live_outlets
from physioemo.experiments.page.columns import decode_blocks
from physioemo.experiments.page.hub import PREDICTIONS, QUALITY
from physioemo.experiments.page.live_page import LivePage
from physioemo.experiments.page.server import bind, serve
from physioemo.experiments.page.stored_page import StoredPage
from physioemo.experiments.session.messages import OPERATOR, SESSION, EventEar, EventOutlet
from physioemo.prediction import DIMENSIONS
from physioemo.store import create_recording
from tests.lsl import producing
from tests.streams import eeg_description, eeg_stream, marker_stream

pytestmark = pytest.mark.lsl

TOKEN = "a-token-for-tests"


@contextlib.contextmanager
def serving(source, port=0):
    """Serve a page from a thread; give its address."""
    stop, ready, urls, failures = threading.Event(), threading.Event(), [], []
    listening = bind("127.0.0.1", port)

    def run():
        try:
            serve(
                source,
                listening,
                host="127.0.0.1",
                token=TOKEN,
                should_stop=stop,
                on_ready=lambda url: (urls.append(url), ready.set()),
            )
        except BaseException as error:
            failures.append(error)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20) and not failures, failures
        yield urls[0]
    finally:
        stop.set()
        thread.join(20)
    assert not failures


@contextlib.contextmanager
def live_page(**options):
    """Serve the page of the live streams."""
    source = LivePage(**options)
    source.start()
    try:
        with serving(source) as url:
            yield url
    finally:
        source.close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium; install it")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser):
    """A page of the browser that remembers what went wrong in it."""
    opened = browser.new_page(viewport={"width": 1366, "height": 768})
    opened.set_default_timeout(20_000)
    opened.errors = []
    opened.on("console", lambda m: opened.errors.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def sine_recording(tmp_path_factory):
    """Four channels: sines of 0.5 Hz and more, of 40 uV, on large offsets; two trials."""
    seconds = np.arange(0, 40, 1 / 250)
    signal = 40 * np.sin(2 * np.pi * np.outer(seconds, [2.0, 2.0, 4.0, 8.0])) + 5000
    markers = marker_stream(
        [
            (12.0, {"event": "trial_start", "trial": 1, "stimulus": "lake"}),
            (20.0, {"event": "trial_stop", "trial": 1}),
            (22.0, {"event": "trial_start", "trial": 2, "stimulus": "storm"}),
        ]
    )
    path = tmp_path_factory.mktemp("page") / "sine.zarr"
    return create_recording(path, {"eeg": eeg_stream(signal), "markers": markers})


def status_of(url, data=None, **headers):
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_only_the_page_itself_with_its_token_is_served(sine_recording):
    with serving(StoredPage(sine_recording, "sine")) as url:
        root = url.partition("/?")[0]
        seek = b'{"do": "seek", "seconds": 15}'
        assert status_of(url)[0] == 200
        assert status_of(root)[0] == 403
        assert "expected the one in the address" in status_of(f"{root}/?token=wrong")[1]
        assert status_of(f"{root}/act?token={TOKEN}", seek)[0] == 200
        assert status_of(f"{root}/act", seek)[0] == 403
        code, text = status_of(f"{root}/act?token={TOKEN}", seek, Origin="http://evil.example")
        assert (code, "found a request from the page" in text) == (403, True)
        assert status_of(url, Host="evil.example:80")[0] == 403
        assert status_of(f"{root}/static/%2e%2e/server.py")[0] == 404
        assert status_of(f"{root}/static/main.js")[0] == 200


def test_the_stream_of_data_needs_the_token_and_the_right_origin(sine_recording):
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with serving(StoredPage(sine_recording, "sine")) as url:
        root = url.partition("/?")[0]
        socket_url = f"{root.replace('http', 'ws')}/stream"
        with pytest.raises(InvalidStatus, match="403"):
            connect(socket_url)
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"{socket_url}?token={TOKEN}", origin="http://evil.example")
        with connect(f"{socket_url}?token={TOKEN}", origin=root) as opened:
            assert json.loads(opened.recv())["type"] == "hello"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"nonsense", "no JSON object"),
        (b'{"do": "explode"}', "expected play, stop, seek or speed"),
        (b'{"do": "seek", "seconds": "soon"}', "expected a number"),
        (b'{"do": "seek", "seconds": NaN}', "expected a number"),
        (b" " * 30_000, "expected at most"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(sine_recording, content, text):
    with serving(StoredPage(sine_recording, "sine")) as url:
        code, said = status_of(url.replace("/?", "/act?"), content)
        assert (code, text in said) == (400, True)


def test_a_page_that_cannot_go_on_says_why_and_ends(sine_recording):
    source = StoredPage(sine_recording, "sine")
    source.tick = lambda: 1 / 0
    with pytest.raises(AssertionError, match="ZeroDivisionError"), serving(source):
        time.sleep(2)


def test_a_port_that_is_taken_is_named():
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CallError, match=f"found that 127.0.0.1 port {port} cannot be listened"):
            bind("127.0.0.1", port)


def test_view_listens_on_this_computer_alone_and_ends_by_ctrl_c(sine_recording):
    command = [sys.executable, "-m", "physioemo", "view", str(sine_recording.path), "--port", "0"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = child.stdout.readline()
        url = line.split()[-1]
        assert status_of(url)[0] == 200
        connections = psutil.Process(child.pid).net_connections("inet")
        heard = {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
        assert heard == {"127.0.0.1"}
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=20)
        assert (child.returncode, errors) == (0, "")
    finally:
        child.kill()
        child.wait()


def until(tab, expression, seconds=20):
    """Wait until an expression is true in the page, whose policy forbids to evaluate texts."""
    end = time.monotonic() + seconds
    while not tab.evaluate(expression):
        assert time.monotonic() < end, (
            expression,
            tab.evaluate("page.health.map(row => `${row.name} ${row.state} ${row.note}`)"),
        )
        tab.wait_for_timeout(30)


def column_means(tab, row, n_rows):
    """Return for each column of the EEG canvas the mean height of what is lit in a row's band."""
    return np.array(
        tab.evaluate(
            """([row, n]) => {
              const canvas = document.getElementById('eeg'), h = canvas.height / n;
              const top = Math.floor(row * h), tall = Math.floor(h);
              const data = canvas.getContext('2d').getImageData(0, top, canvas.width, tall).data;
              const means = [];
              for (let x = 0; x < canvas.width; x++) {
                let sum = 0, count = 0;
                for (let y = 0; y < tall; y++) {
                  const at = 4 * (y * canvas.width + x);
                  if (data[at] > 120) { sum += y + 0.5; count++; }
                }
                means.push(count ? sum / count : NaN);
              }
              return means;
            }""",
            [row, n_rows],
        ),
        float,
    )


def seek(tab, seconds):
    tab.evaluate(
        "at => { const s = document.getElementById('slider'); s.value = at; s.oninput(); }", seconds
    )
    until(tab, f"Math.abs(page.position?.seconds - {seconds}) < 0.2")
    tab.wait_for_timeout(400)


def test_a_known_sine_gives_the_expected_pixels(tab, sine_recording):
    with serving(StoredPage(sine_recording, "sine")) as url:
        tab.goto(url)
        until(tab, "page.position !== null && page.frames > 0")
        seek(tab, 29.99)
        # Row 3 of 4 is the sine of 4 Hz, drawn at 100 uV per row.
        height, width = tab.evaluate("[eeg.height / 4, eeg.width]")
        found = column_means(tab, 2, 4)
        shown = np.isfinite(found)
        assert shown.mean() > 0.95
        seconds = 20 + (np.arange(width) + 0.5) / width * 10
        # The display filter of 0.5 Hz is one pole: gain and phase are known.
        response = 1 / (1 - 0.5j / 4.0)
        value = 40 * np.imag(response * np.exp(2j * np.pi * 4 * seconds))
        expected = height / 2 - value / 100 * height
        error = found[shown] - expected[shown]
        assert np.abs(error).mean() < 3.0  # pixels; the sine spans 0.8 of the row
        assert np.corrcoef(found[shown], expected[shown])[0, 1] > 0.99
        tab.keyboard.press("-")  # 150 uV per row
        tab.wait_for_timeout(200)
        smaller = column_means(tab, 2, 4)
        ratio = np.nanstd(smaller) / np.nanstd(found)
        assert ratio == pytest.approx(100 / 150, rel=0.08)
        assert tab.errors == []


def test_a_stored_recording_is_played_and_scrolled(tab, sine_recording):
    with serving(StoredPage(sine_recording, "sine")) as url:
        tab.goto(url)
        until(tab, "page.position !== null")
        seek(tab, 15.0)
        until(tab, "document.getElementById('phase').textContent === 'TRIAL 1'")
        assert "lake" in tab.text_content("#what")
        seek(tab, 25.0)
        until(tab, "document.getElementById('phase').textContent === 'TRIAL 2'")
        assert tab.locator("#log li").count() == 3
        tab.keyboard.press("Space")
        until(tab, "page.position.seconds > 26.5 && page.position.playing")
        tab.keyboard.press("Space")
        until(tab, "!page.position.playing")
        tab.keyboard.press("ArrowLeft")
        until(tab, "page.position.seconds < 20")
        assert tab.text_content("#streams tr >> nth=0").startswith("● stored")
        assert tab.is_hidden("#controls") and tab.is_visible("#player")
        assert tab.errors == []


def test_every_stretch_of_a_recording_is_drawn_the_same_played_or_scrolled(sine_recording):
    scrolled = StoredPage(sine_recording, "sine")
    scrolled.act({"do": "seek", "seconds": 20.0})
    played = StoredPage(sine_recording, "sine")
    for at in np.linspace(10, 20, 201)[1:]:
        played._advance(float(at))
        played.hub.traces(0.0)
    (_, one), (_, other) = (
        decode_blocks(source.greeting()[1])[1][0] for source in (scrolled, played)
    )
    assert one.number + len(one.extremes) == other.number + len(other.extremes)
    n = min(len(one.extremes), len(other.extremes))
    assert n > 990
    # The display filter began at another sample: what is left of that is below 0.1 uV.
    assert np.nanmax(np.abs(one.extremes[-n:] - other.extremes[-n:])) < 0.1


def test_the_page_finds_its_server_again(tab, sine_recording):
    with serving(StoredPage(sine_recording, "sine")) as url:
        tab.goto(url)
        until(tab, "page.connected && page.frames > 0")
    until(tab, "document.getElementById('phase').textContent === 'NO CONNECTION'")
    assert "Recording goes on" in tab.text_content("#alarm")
    port = int(url.split(":")[2].partition("/")[0])
    with serving(StoredPage(sine_recording, "sine"), port):
        until(tab, "page.connected")
        seek(tab, 15.0)
        until(tab, "document.getElementById('phase').textContent === 'TRIAL 1'")
        assert tab.is_hidden("#alarm")


def frames(tab):
    return tab.evaluate("[page.frames, [...page.traces.streams.values()][0]?.head ?? -1]")


def test_live_traces_move_and_notes_and_commands_arrive_over_lsl(tab):
    def sine(index):
        return np.tile(np.sin(index / 10)[:, None], 8).astype(np.float32) * 30

    with producing(eeg_description(8, source_id="page-eeg"), sine), live_page() as url:
        heard = EventEar(OPERATOR)
        tab.goto(url)
        until(tab, "page.health.some(row => row.state === 'live')")
        assert heard.poll() == [] and heard.is_connected
        before = frames(tab)
        tab.wait_for_timeout(2000)
        after = frames(tab)
        assert after[0] - before[0] > 20
        assert after[1] - before[1] == pytest.approx(200, abs=40)  # columns of 2 s
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
        tab.wait_for_timeout(500)
        assert heard.poll() == [
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
        conductor.send("session_start", arm="sham-arm", **start)
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
        # Long words do not push anything out of sight.
        edges = "sections => sections.map(s => s.getBoundingClientRect().right)"
        assert max(tab.eval_on_selector_all("section", edges)) <= 1366
        assert tab.errors == []
    del conductor


def test_a_stream_that_stalls_turns_red_within_two_seconds(tab):
    command = [sys.executable, "-m", "physioemo", "simulate", "--duration", "120"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    live = "page.health.some(r => r.name === 'Simulated-EEG' && r.state === 'live')"
    red = "tr.red[data-stream='Simulated-EEG']"
    try:
        with live_page(watch_only=True) as url:
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
            assert min(waits) <= 2.0, waits
            until(tab, live)
            assert tab.locator(red).count() == 0
            assert tab.errors == []
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


def test_a_second_page_may_only_watch():
    with live_page():
        with pytest.raises(AmbiguousStreamError, match="open this one with --watch"):
            LivePage()
        with live_page(watch_only=True) as url:
            code, text = status_of(url.replace("/?", "/act?"), b'{"event": "pause"}')
            assert (code, "expected one with controls" in text) == (400, True)


def test_nothing_is_sent_that_is_no_event_of_the_operator():
    with live_page() as url:
        act = url.replace("/?", "/act?")
        assert "expected one of start, pause" in status_of(act, b'{"event": "erase"}')[1]
        assert "empty note" in status_of(act, b'{"event": "note", "text": "  "}')[1]
        code, text = status_of(act, b'{"event": "skip"}')
        assert (code, json.loads(text)["listened"]) == (200, False)


def test_a_port_of_the_page_is_closed_on_other_addresses(sine_recording):
    others = {
        address.address
        for group in psutil.net_if_addrs().values()
        for address in group
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    }
    with serving(StoredPage(sine_recording, "sine")) as url:
        port = int(url.split(":")[2].partition("/")[0])
        for address in others:
            with pytest.raises(OSError):
                socket.create_connection((address, port), timeout=2)
