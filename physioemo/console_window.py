"""A console window that is closed on Windows: a polite end, as Ctrl-C is.

Windows ends a program as soon as the last handler of the event has returned, after five seconds at
the latest (SetConsoleCtrlHandler in its documentation). The handler of the C library, by which
Python hears of SIGBREAK, returns at once: no recording was ended, let alone sealed.
"""

import _thread
import signal
import sys
import time
from typing import Any

__all__ = ["heed_closed_window"]

_CLOSED = (2, 5, 6)  # CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT
_PATIENCE_SECONDS = 60.0
_handlers: list[Any] = []  # Windows calls them, so they are kept


def heed_closed_window() -> None:
    """Let the handler of SIGTERM run, and the program end by itself, when its window is closed.

    Elsewhere, and a second time, it does nothing.
    """
    if sys.platform != "win32" or _handlers:
        return
    import ctypes

    handler = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_ulong)(_heard)
    if ctypes.WinDLL("kernel32").SetConsoleCtrlHandler(handler, 1):
        _handlers.append(handler)


def _heard(event: int) -> int:
    """Take an event in a thread that Windows made for it; 0 leaves it to others."""
    if event not in _CLOSED:
        return 0
    _thread.interrupt_main(signal.SIGTERM)
    time.sleep(_PATIENCE_SECONDS)
    return 1
