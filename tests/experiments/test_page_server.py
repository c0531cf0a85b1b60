"""Who may ask the operator's page for what, and where it listens."""

import json
import signal
import socket
import subprocess
import sys
import threading

import psutil
import pytest

from physioemo.errors import AmbiguousStreamError, CallError
from physioemo.experiments.page.live_page import LivePage
from physioemo.experiments.page.server import bind
from physioemo.experiments.page.stored_page import StoredPage
from tests.experiments import served_pages
from tests.experiments.served_pages import TOKEN, live_page, serving, status_of

# Fixtures of the tests here.
sine_recording = served_pages.sine_recording

pytestmark = pytest.mark.lsl


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
    ticked = threading.Event()

    def tick():
        ticked.set()
        return 1 / 0

    source.tick = tick
    with pytest.raises(AssertionError, match="ZeroDivisionError"), serving(source):
        ticked.wait(60)


def test_a_port_that_is_taken_is_named():
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CallError, match=f"found that 127.0.0.1 port {port} cannot be listened"):
            bind("127.0.0.1", port)


def test_on_windows_no_second_program_can_take_the_port(monkeypatch):
    asked = []
    monkeypatch.setattr(socket.socket, "setsockopt", lambda *option: asked.append(option[1:3]))
    with monkeypatch.context() as patched:
        patched.setattr("physioemo.experiments.page.server.os.name", "nt")
        bind("127.0.0.1", 0).close()
    assert (socket.SOL_SOCKET, socket.SO_REUSEADDR) not in asked


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
        _, errors = child.communicate(timeout=120)
        assert (child.returncode, errors) == (0, "")
    finally:
        child.kill()
        child.wait()


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
