"""Prove on this machine that streams with different clocks are recorded on one time axis.

Several producers run, each in a process whose clock is offset by seconds and drifts
(:mod:`physioemo.acquisition.skewed_clock`), over the real Lab Streaming Layer into the real
recorder, one of them with a gap and one restarted with yet another clock. Every stream carries
pulses at whole true seconds; what the recording says of them is compared with the truth
(:mod:`physioemo.acquisition.selftest_errors`).
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from physioemo.acquisition.selftest_errors import Life, PulsedStream, SelfTest, judge
from physioemo.acquisition.selftest_producer import Plan
from physioemo.acquisition.skewed_clock import (
    ClockSkew,
    build_library,
    skewed_environment,
    true_seconds,
    why_no_skew,
)
from physioemo.errors import CallError, StreamError
from physioemo.store import JOURNAL, open_recording

__all__ = ["SHORTEST_SECONDS", "default_streams", "run_selftest"]

SHORTEST_SECONDS = 15.0

_READY_SECONDS = 30.0
_SEAL_SECONDS = 120.0
_LAUNCH_SECONDS = 2.5  # a program needs this long until it can open a stream
_LINGER_SECONDS = 0.3  # what was sent last is still on its way


def default_streams(seconds: float) -> tuple[PulsedStream, ...]:
    """Return the streams of the self-test: a gap in one, another one restarted.

    Parameters
    ----------
    seconds : float
        How long they send.
    """
    broken, back = round(seconds / 2, 1), round(seconds / 2 + 1, 1)
    first, second = ClockSkew(-3.5, -50.0), ClockSkew(-4.3, -30.0)
    return (
        PulsedStream("EEG", "EEG", 1000.0, 64, (Life(0, seconds, ClockSkew(1000.0, 100.0)),)),
        PulsedStream(
            "Gaze",
            "Gaze",
            200.0,
            4,
            (Life(0, seconds, ClockSkew(7.25, -100.0)),),
            gaps=((round(seconds / 4, 1), min(1.9, seconds / 8)),),
        ),
        PulsedStream(
            "Physiology",
            "PhysioSignals",
            500.0,
            3,
            (Life(0, broken, first), Life(back, seconds, second)),
        ),
        PulsedStream("Markers", "Markers", 0.0, 1, (Life(0, seconds, ClockSkew(250.0, 200.0)),)),
    )


def run_selftest(
    folder: Path,
    *,
    seconds: float = 60.0,
    streams: Sequence[PulsedStream] | None = None,
    skewed: bool = True,
) -> SelfTest:
    """Record streams whose clocks are wrong, and compare the recording with the truth.

    Parameters
    ----------
    folder : Path
        An empty folder; the recording is left in ``folder / "recording"``.
    seconds : float
        How long the producers send.
    streams : sequence of PulsedStream, optional
        By default those of :func:`default_streams`.
    skewed : bool
        Give every producer a clock that is wrong; needs Linux and a C compiler.

    Raises
    ------
    CallError
        If `seconds` is too short for clocks to be measured.
    StreamError
        If clocks cannot be skewed here, or producers or recorder do not start.
    """
    if seconds < SHORTEST_SECONDS:
        raise CallError(
            f"found {seconds:g} s, expected at least {SHORTEST_SECONDS:g}; clocks are measured "
            "every two seconds"
        )
    if skewed and why_no_skew():
        raise StreamError(
            f"{why_no_skew()}; run the self-test with --no-skew, which proves everything but the "
            "correction of clocks that differ"
        )
    streams = default_streams(seconds) if streams is None else streams
    with ExitStack() as stack:
        stage = _Stage(folder, build_library(folder) if skewed else None)
        stack.callback(stage.kill)
        zero = stage.record(streams, seconds)
    recording = open_recording(folder / "recording")
    return judge(recording, streams, zero, skewed=skewed)


class _Stage:
    """The producers and the recorder of one run, in an LSL session of their own."""

    def __init__(self, folder: Path, library: Path | None) -> None:
        self.folder, self.library = folder, library
        self.token = secrets.token_hex(4)
        self.origin = true_seconds()
        self.running: list[subprocess.Popen[str]] = []
        config = folder / "lsl_api.cfg"
        config.write_text(
            f"[lab]\nSessionID = selftest-{self.token}\n"
            "[multicast]\nResolveScope = link\n[log]\nlevel = -3\n",
            encoding="utf-8",
        )
        self.session = {"LSLAPICFG": str(config)}

    def record(self, streams: Sequence[PulsedStream], seconds: float) -> float:
        """Record all streams; return the true moment of second 0."""
        first = [self._start(stream, stream.lives[0]) for stream in streams]
        for process in first:
            self._wait_ready(process)
        recorder = self._start_recorder(seconds + 3)
        zero = float(np.ceil(true_seconds() + 0.3))
        for process in first:
            _tell(process, zero)
        self._restart(streams, dict(zip([s.name for s in streams], first, strict=True)), zero)
        _, stderr = recorder.communicate(timeout=seconds + _SEAL_SECONDS)
        if recorder.returncode not in (0, 1):
            raise StreamError(
                f"found that the recorder ended with code {recorder.returncode} "
                f"({stderr.strip()[-300:]}), expected a sealed recording; report this"
            )
        return zero

    def _start(self, stream: PulsedStream, life: Life) -> subprocess.Popen[str]:
        skew = life.skew if self.library else ClockSkew()
        plan = Plan(
            stream.name,
            stream.stype,
            stream.sfreq,
            stream.n_channels,
            f"selftest-{self.token}-{stream.name}",
            self.origin,
            life.start_seconds,
            life.stop_seconds,
            skew,
            stream.gaps,
        )
        environment = dict(os.environ)
        if self.library:
            environment = skewed_environment(self.library, skew, self.origin)
        module = "physioemo.acquisition.selftest_producer"
        return self._launch(["-m", module, plan.to_json()], environment, stdin=subprocess.PIPE)

    def _launch(
        self, arguments: list[str], environment: dict[str, str], stdin: int | None = None
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, *arguments],
            env={**environment, **self.session},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self.running.append(process)
        return process

    def _wait_ready(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101
        if process.stdout.readline().strip() != "ready":
            _, stderr = process.communicate(timeout=_READY_SECONDS)
            last = (stderr.strip().splitlines() or ["no message"])[-1]
            raise StreamError(
                f"found that a producer of the self-test did not start ({last}), expected its "
                "stream; check 'physioemo doctor'"
            )

    def _start_recorder(self, seconds: float) -> subprocess.Popen[str]:
        out = self.folder / "recording"
        options = ["--duration", f"{seconds:g}", "--find-seconds", "2"]
        recorder = self._launch(["-m", "physioemo", "record", str(out), *options], {**os.environ})
        end = time.monotonic() + _READY_SECONDS
        while not list((out / JOURNAL).glob("*.journal")):
            if recorder.poll() is not None or time.monotonic() > end:
                recorder.kill()
                raise StreamError(
                    "found that the recorder did not start "
                    f"({recorder.communicate()[1].strip()[-300:]}), expected a journal at {out}; "
                    "check 'physioemo doctor'"
                )
            time.sleep(0.05)
        return recorder

    def _restart(
        self,
        streams: Sequence[PulsedStream],
        now: dict[str, subprocess.Popen[str]],
        zero: float,
    ) -> None:
        """Kill and start producers when their lives end and begin."""
        todo: list[tuple[float, PulsedStream, Life | None]] = []
        for stream in streams:
            for before, after in zip(stream.lives, stream.lives[1:], strict=False):
                todo.append((before.stop_seconds + _LINGER_SECONDS, stream, None))
                todo.append((after.start_seconds - _LAUNCH_SECONDS, stream, after))
        coming: dict[str, list[subprocess.Popen[str]]] = {s.name: [] for s in streams}
        for at, stream, life in sorted(todo, key=lambda row: row[0]):
            time.sleep(max(0.0, zero + at - true_seconds()))
            if life is None:
                now[stream.name].kill()
                now[stream.name] = (coming[stream.name] or [now[stream.name]]).pop(0)
            else:
                process = self._start(stream, life)
                _tell(process, zero)
                coming[stream.name].append(process)

    def kill(self) -> None:
        """End what still runs."""
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()


def _tell(process: subprocess.Popen[str], zero: float) -> None:
    assert process.stdin is not None  # noqa: S101
    process.stdin.write(f"{zero!r}\n")
    process.stdin.flush()
