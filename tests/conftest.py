"""What all tests share: real recordings, LSL on the loopback interface, no silent skips."""

import contextlib
import io
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("PHYSIOEMO_TEST_DATA", ROOT.parent / "shared" / "data"))

# Streams of these tests are seen by these tests alone. liblsl reads this before its first use.
# An inlet that has lost its stream looks for it in every session, so that tests which run side by
# side have ports of their own: they would find each other's streams of the same name and source.
# In the scope "machine" a query reaches one process of a computer only, so that a stream of
# another is not found, or not found again, while several programs run.
_LSL = Path(tempfile.mkdtemp(prefix="physioemo-lsl-")) / "lsl_api.cfg"
_FIRST_PORT = 10_000 + 64 * (os.getpid() % 340)  # below those that a system gives away
_LSL.write_text(
    f"[lab]\nSessionID = test-{secrets.token_hex(4)}\n"
    f"[ports]\nMulticastPort = {_FIRST_PORT}\nBasePort = {_FIRST_PORT + 1}\nPortRange = 62\n"
    "[multicast]\nResolveScope = link\n[log]\nlevel = -3\n"
)
os.environ["LSLAPICFG"] = str(_LSL)
os.environ.setdefault("MPLBACKEND", "Agg")

# How long an example takes says nothing where several programs share a processor.
settings.register_profile(
    "patient", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Where nothing may be missing, a skipped test is a failed one."""
    report = (yield).get_result()
    if report.skipped and os.environ.get("PHYSIOEMO_SKIP_IS_FAILURE"):
        report.outcome = "failed"
        report.longrepr = f"may not be skipped here: {report.longrepr}"


@pytest.fixture(scope="session")
def shared_data():
    """Return a function from the name of a folder of real recordings to its path."""

    def folder(name: str) -> Path:
        path = DATA / name
        if not path.is_dir():
            pytest.skip(f"no real recordings at {path}; set PHYSIOEMO_TEST_DATA")
        return path

    return folder


@pytest.fixture(scope="session")
def console_errors():
    """Return a function from a page to what a browser prints to its console."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        pytest.skip("no Chromium on this machine")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    options += ["--virtual-time-budget=5000", "--dump-dom"]

    def opened(page: Path) -> list[str]:
        command = [browser, *options, page.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert "</html>" in done.stdout
        return [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return opened


@pytest.fixture
def physioemo():
    """Return a function that runs the command line in a process of its own."""

    def run(*args, timeout=300, check=None, **options):
        command = [sys.executable, "-m", "physioemo", *map(str, args)]
        options = {"encoding": "utf-8", "timeout": timeout, "cwd": ROOT} | options
        done = subprocess.run(command, capture_output=True, **options)
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def typed():
    """Return a function that runs the command line in this process: no start, the same words."""
    from physioemo.cli import main

    def run(*args, check=None):
        out, err = io.StringIO(), io.StringIO()
        handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                pytest.raises(SystemExit) as ended,
            ):
                main(map(str, args))
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        done = subprocess.CompletedProcess(args, ended.value.code, out.getvalue(), err.getvalue())
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr
        assert "an unforeseen error" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def rng():
    """Return a seeded random generator."""
    return np.random.default_rng(20261120)
