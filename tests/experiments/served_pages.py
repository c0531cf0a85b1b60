"""Pages served from a thread, and a browser that opens them."""

import contextlib
import shutil
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from physioemo.experiments.page.live_page import LivePage
from physioemo.experiments.page.server import bind, serve
from physioemo.store import create_recording
from tests.streams import eeg_stream, marker_stream

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
        assert ready.wait(60) and not failures, failures
        yield urls[0]
    finally:
        stop.set()
        thread.join(60)
    assert not failures, failures


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
    opened.set_default_timeout(60_000)
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
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(tab, expression, seconds=60):
    """Wait until an expression is true in the page, whose policy forbids to evaluate texts."""
    end = time.monotonic() + seconds
    while not tab.evaluate(expression):
        assert time.monotonic() < end, (
            expression,
            tab.evaluate("page.health.map(row => `${row.name} ${row.state} ${row.note}`)"),
        )
        tab.wait_for_timeout(30)


def seek(tab, seconds):
    tab.evaluate(
        "at => { const s = document.getElementById('slider'); s.value = at; s.oninput(); }", seconds
    )
    until(tab, f"Math.abs(page.position?.seconds - {seconds}) < 0.2")
    settle(tab)


def settle(tab):
    """Wait until nothing new comes to a page that stands still, and all of it is drawn."""
    state = "[page.frames, ...[...page.traces.streams.values()].map(s => s.head)].join()"
    before, now = None, tab.evaluate(state)
    while now != before:
        tab.wait_for_timeout(400)
        before, now = now, tab.evaluate(state)
