"""Check whether this computer is fit for a recording."""

import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

from physioemo.acquisition.lsl import find_streams, make_outlet, open_inlet, pull, push
from physioemo.description import StreamDescription
from physioemo.errors import PhysioEmoError
from physioemo.fingerprint import package_versions

__all__ = ["Check", "check_computer"]

_FREE_GIB = 5


class Check(NamedTuple):
    """One check: what was looked at, whether it is good, what was found."""

    what: str
    ok: bool
    found: str


def check_computer(folder: Path | None = None) -> list[Check]:
    """Return the checks of this computer.

    Parameters
    ----------
    folder : Path, optional
        Where recordings will lie; the current folder by default.
    """
    return [_python(), *_packages(), _disk(folder or Path.cwd()), _loopback()]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", sys.version_info >= (3, 11), version)


def _packages() -> list[Check]:
    return [Check(n, v != "not installed", v) for n, v in package_versions().items()]


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free / 2**30
    return Check(
        "free disk", free >= _FREE_GIB, f"{free:.1f} GiB (64 ch at 1 kHz need 0.9 per hour)"
    )


def _loopback() -> Check:
    """Send a few samples to ourselves over LSL."""
    import numpy as np
    import pylsl

    token = f"doctor-{secrets.token_hex(4)}"
    description = StreamDescription(token, "misc", 100.0, ("x",), ("a.u.",), source_id=token)
    outlet = make_outlet(description)
    try:
        inlet, _ = open_inlet(find_streams([f"source_id='{token}'"], timeout_seconds=5.0)[0])
    except PhysioEmoError as error:
        return Check("LSL loopback", False, f"{error} (is a firewall in the way?)")
    outlet.wait_for_consumers(2.0)
    began = time.perf_counter()
    push(outlet, np.ones((1, 1), np.float32), np.array([pylsl.local_clock()]))
    signal, _ = pull(inlet, timeout_seconds=2.0)
    inlet.close_stream()
    milliseconds = 1e3 * (time.perf_counter() - began)
    return Check("LSL loopback", len(signal) == 1, f"{milliseconds:.2f} ms push to pull")
