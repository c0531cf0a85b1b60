"""A window that is closed on Windows ends a program politely; Windows waits meanwhile."""

import ctypes
import signal
import threading
import time

import pytest

from physioemo import console_window


class Polite(Exception):
    """What the program's own handler of SIGTERM raises."""


@pytest.fixture
def handler(monkeypatch):
    """Return what Windows would call."""
    registered = []

    class Kernel:
        def SetConsoleCtrlHandler(self, function, add):
            registered.append((function, add))
            return 1

    monkeypatch.setattr(console_window, "_handlers", [])
    monkeypatch.setattr(ctypes, "WINFUNCTYPE", lambda *_: lambda f: f, raising=False)
    monkeypatch.setattr(ctypes, "WinDLL", lambda name: Kernel(), raising=False)
    monkeypatch.setattr("physioemo.console_window.sys.platform", "win32")
    console_window.heed_closed_window()
    console_window.heed_closed_window()
    ((function, add),) = registered
    assert add == 1 and console_window._handlers == [function]
    return function


@pytest.mark.parametrize("event", [2, 5, 6])
def test_a_closed_window_lets_the_program_end_by_itself(handler, monkeypatch, event):
    waits = threading.Event()

    def end(number, frame):
        raise Polite

    before = signal.signal(signal.SIGTERM, end)
    monkeypatch.setattr(console_window, "_PATIENCE_SECONDS", 1.0)
    thread = threading.Thread(target=lambda: (handler(event), waits.set()))
    try:
        with pytest.raises(Polite):
            thread.start()
            for _ in range(3000):
                time.sleep(0.01)
        assert not waits.is_set()  # Windows would have ended the program
    finally:
        signal.signal(signal.SIGTERM, before)
        thread.join()


@pytest.mark.parametrize("event", [0, 1])
def test_ctrl_c_and_ctrl_break_are_left_to_python(handler, event):
    assert handler(event) == 0


def test_elsewhere_nothing_is_registered(monkeypatch):
    monkeypatch.setattr("physioemo.console_window.sys.platform", "linux")
    monkeypatch.setattr(console_window, "_handlers", [])
    console_window.heed_closed_window()
    assert not console_window._handlers
