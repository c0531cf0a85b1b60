"""The whole thread in one command, by the commands that a user would type."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from physioemo.errors import CallError, PhysioEmoError, RecordingExistsError
from physioemo.progress import progress
from physioemo.recording import Recording

__all__ = ["run_demo", "run_replay_demo"]

_WAIT_SECONDS = 60
_IDLE_SECONDS = 3


@dataclass
class _Demo:
    """Where the results go, and the network that the demo's programs share.

    Each program is a process of its own, as in a lab: a crash of one leaves the others alone.
    """

    out: Path
    environment: dict[str, str]
    began: float

    def command(self, *args: object) -> list[str]:
        return [sys.executable, "-m", "physioemo", *map(str, args)]

    def start(self, *args: object) -> subprocess.Popen[bytes]:
        """Start a command in the background; what it says goes into the log folder."""
        click.echo(f"   $ physioemo {' '.join(map(str, args))}")
        log = (self.out / "logs" / f"{args[0]}.log").open("ab")
        with log:
            return subprocess.Popen(  # noqa: S603 - our own command line
                self.command(*args), stdout=log, stderr=log, env=self.environment
            )

    def run(self, *args: object) -> None:
        """Run a command to its end and show what it says."""
        click.echo(f"   $ physioemo {' '.join(map(str, args))}")
        done = subprocess.run(  # noqa: S603 - our own command line
            self.command(*args), stdout=subprocess.PIPE, env=self.environment, check=False
        )
        text = done.stdout.decode("utf-8", "replace")
        for line in text.splitlines():
            if not line.startswith("Next:"):
                click.echo(f"     {line}")
        if done.returncode:
            raise PhysioEmoError(
                f"found that 'physioemo {args[0]}' ended with exit code {done.returncode}, "
                "expected 0; what it said stands above"
            )

    def say(self, text: str) -> None:
        """Say what happens, with the time since the start."""
        click.echo(f"\n[{time.monotonic() - self.began:4.0f} s] {text}")


@contextmanager
def _demo(out: Path, *, overwrite: bool) -> Iterator[_Demo]:
    """Prepare the folder and a private corner of the LSL network."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not overwrite or not (out / "logs").is_dir():
            hint = " or pass --overwrite" if (out / "logs").is_dir() else ""
            raise RecordingExistsError(
                f"found something at {out}, expected nothing there; choose another --out{hint}"
            )
        _clear(out)
    (out / "logs").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "lsl_api.cfg"
        config.write_text(
            f"[lab]\nSessionID = physioemo-demo-{secrets.token_hex(4)}\n"
            "[multicast]\nResolveScope = link\n[log]\nlevel = -3\n",
            "utf-8",
        )
        environment = {**os.environ, "LSLAPICFG": str(config), "PYTHONUTF8": "1"}
        yield _Demo(out, environment, time.monotonic())


def _clear(out: Path) -> None:
    """Remove what an earlier demo wrote, and nothing else."""
    import shutil

    for folder in ("training.zarr", "live.zarr", "recorded.zarr", "decoder", "logs"):
        shutil.rmtree(out / folder, ignore_errors=True)
    (out / "report.html").unlink(missing_ok=True)


@contextmanager
def _running(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """End what still runs when something went wrong."""
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
                process.wait(30)


def _await(
    what: str, processes: dict[str, subprocess.Popen[bytes]], seconds: float, demo: _Demo
) -> None:
    """Wait until all processes ended, with a bar over the time that they should take."""
    began = time.monotonic()
    with progress(what, seconds) as update:
        while any(p.poll() is None for p in processes.values()):
            elapsed = time.monotonic() - began
            update(min(elapsed, seconds))
            _refuse_failed(processes, demo)
            if elapsed > 3 * seconds + 120:
                raise PhysioEmoError(
                    f"found that {what} takes more than {elapsed:.0f} s, expected about "
                    f"{seconds:.0f} s; the logs are in {demo.out / 'logs'}"
                )
            time.sleep(0.2)
    _refuse_failed(processes, demo)


def _refuse_failed(processes: dict[str, subprocess.Popen[bytes]], demo: _Demo) -> None:
    for name, process in processes.items():
        # The recorder's 1 means: complete, but look at what it says.
        told = name == "record" and process.poll() == 1 and "! " in _log(name, demo)
        if process.poll() and not told:
            raise _failure(name, demo)


def _log(name: str, demo: _Demo) -> str:
    return (demo.out / "logs" / f"{name}.log").read_text("utf-8", "replace")


def _failure(name: str, demo: _Demo) -> PhysioEmoError:
    last = _log(name, demo).strip().splitlines()[-1:] or ["nothing"]
    return PhysioEmoError(
        f"found that 'physioemo {name}' failed ({last[0]}), expected it to end well; its whole "
        f"log is {demo.out / 'logs' / f'{name}.log'}"
    )


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    effect: float = 1.0,
    overwrite: bool = False,
    n_trials: int = 32,
    n_live_trials: int = 6,
    speed: float = 10.0,
    permutations: int = 10,
) -> Path:
    """Simulate, record, train, decode live and report; return the report's path.

    Parameters
    ----------
    out : Path
        Folder for everything that is made.
    seed : int
        Who the simulated participant is.
    effect : float
        Size of affect's influence on the signals; with 0 nothing can be decoded.
    overwrite : bool
        Replace the results of an earlier demo.
    n_trials, n_live_trials : int
        Trials of the training session and of the live session.
    speed : float
        How many times faster than real time the training session runs.
    permutations : int
        Runs with permuted labels.
    """
    with _demo(out, overwrite=overwrite) as demo:
        person = ("--seed", seed, "--effect", effect)
        click.echo("PhysioEmo demo. The participant is SIMULATED: no person is recorded.")
        demo.say(
            f"1 of 4. A simulated participant watches {n_trials} clips and rates each, at "
            f"{speed:g} times real time; all its streams go over LSL and are recorded."
        )
        seconds = 10.0 * n_trials + 2.0
        _record(
            demo,
            "training.zarr",
            demo.start(
                *("simulate", *person, "--session", 1, "--duration", seconds),
                *("--speed", speed, "--wait", _WAIT_SECONDS),
            ),
            seconds / speed,
            source_name="simulate",
        )
        demo.run("inspect", out / "training.zarr")
        demo.say(
            "2 of 4. A decoder is trained on band entropies of the EEG. It is scored only on "
            "trials that it has not seen, beside two baselines."
        )
        training = out / "training.zarr"
        demo.run("train", training, "--out", out / "decoder", "--permutations", permutations)
        demo.say(
            f"3 of 4. The same participant watches {n_live_trials} more clips in real time; the "
            "decoder predicts live and its predictions are recorded beside the signals."
        )
        seconds = 10.0 * n_live_trials + 2.0
        _record_live(
            demo,
            demo.start(
                *("simulate", *person, "--session", 2, "--duration", seconds),
                *("--wait", _WAIT_SECONDS),
            ),
            out / "decoder",
            seconds,
            source_name="simulate",
        )
        demo.say("4 of 4. Everything goes into one report.")
        return _report(demo, [training, out / "live.zarr"], out / "decoder")


def _record(
    demo: _Demo,
    name: str,
    source: subprocess.Popen[bytes],
    seconds: float,
    *,
    source_name: str,
    idle_seconds: float = _IDLE_SECONDS,
) -> None:
    with _running([source]):
        # On a busy computer a program is slow to begin; only then it counts how long one looks.
        _wait_until_announced(demo, source_name, source)
        recorder = demo.start(
            "record", demo.out / name, "--stop-when-idle", idle_seconds, "--find-seconds", 5
        )
        with _running([recorder]):
            _await("recording", {source_name: source, "record": recorder}, seconds + 20, demo)
    for line in _log("record", demo).splitlines():
        if line.startswith("! "):
            click.echo(f"     {line}")


def _record_live(
    demo: _Demo,
    source: subprocess.Popen[bytes],
    decoder: Path,
    seconds: float,
    *,
    source_name: str,
) -> None:
    """Decode a running source, and record it together with the predictions."""
    with _running([source]):
        _wait_until_announced(demo, source_name, source)
        live = demo.start("live", "--decoder", decoder, "--stop-when-idle", _IDLE_SECONDS)
        with _running([live]):
            _wait_until_announced(demo, "live", live)
            recorder = demo.start(
                *("record", demo.out / "live.zarr", "--stop-when-idle", _IDLE_SECONDS),
                *("--find-seconds", 3),
            )
            with _running([recorder]):
                processes = {source_name: source, "live": live, "record": recorder}
                _await("live session", processes, seconds + 20, demo)
    click.echo(f"     {_log('live', demo).strip().splitlines()[-1]}")


def _wait_until_announced(demo: _Demo, name: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a program has said that it publishes its streams."""
    end = time.monotonic() + 60
    while not any(word in _log(name, demo) for word in ("Publishing ", "Replaying ")):
        if process.poll() is not None or time.monotonic() > end:
            raise _failure(name, demo)
        time.sleep(0.1)


def _report(demo: _Demo, recordings: Sequence[Path], decoder: Path | None) -> Path:
    path = demo.out / "report.html"
    scores = () if decoder is None else ("--decoder", decoder)
    demo.run("report", *recordings, *scores, "--out", path, "--overwrite")
    demo.say(f"Done. Open {path} in a browser; all else is in {demo.out}.")
    return path


def run_replay_demo(
    out: Path,
    files: Sequence[Path],
    *,
    decoder: Path | None = None,
    options: Sequence[str] = (),
    overwrite: bool = False,
    live_seconds: float = 30.0,
    recording_seconds: float = 40.0,
) -> Path:
    """Walk the thread on real recordings as far as they go; return the report's path.

    Without ratings nothing is trained: the live step then runs a given decoder, or one with
    random weights that is called untrained wherever it shows.

    Parameters
    ----------
    out : Path
        Folder for everything that is made.
    files : sequence of Path
        Recordings, XDF files or files that MNE reads; each gets a folder of its own in `out`
        if there are several.
    decoder : Path, optional
        A trained decoder.
    options : sequence of str
        Stated names, units and rates, as for ``physioemo replay``.
    overwrite : bool
        Replace the results of an earlier demo.
    live_seconds : float
        How much of a recording with EEG is decoded live, in real time.
    recording_seconds : float
        How long the replay of a whole file may take: longer ones run faster than real time.
    """
    if not files:
        raise CallError("found no file, expected at least one to replay")
    path = out / "report.html"
    for number, file in enumerate(files, 1):
        folder = out if len(files) == 1 else out / f"{number:02d}-{file.stem}"
        with _demo(folder, overwrite=overwrite) as demo:
            click.echo(f"PhysioEmo demo on the real recording {file} ({number} of {len(files)}).")
            path = _replay_one(demo, file, decoder, options, live_seconds, recording_seconds)
    return path


def _replay_one(
    demo: _Demo,
    file: Path,
    decoder: Path | None,
    options: Sequence[str],
    live_seconds: float,
    recording_seconds: float,
) -> Path:
    from physioemo.files import read_recording
    from physioemo.overrides import Overrides

    given = {n: [o.partition("=")[2] for o in options if o.startswith(f"--{n}=")] for n in _STATED}
    stated = Overrides.parse(given["ch-names"], given["unit"], given["sfreq"])
    recording = read_recording(file, stated)
    seconds = max(q["duration_seconds"] for q in recording.quality().values())
    speed = max(1.0, round(seconds / recording_seconds, 1))
    demo.say(f"1. The file is replayed over LSL at {speed:g} times real time and recorded.")
    recorded = demo.out / "recorded.zarr"
    source = demo.start("replay", file, *options, "--speed", speed, "--wait", _WAIT_SECONDS)
    idle = round(_IDLE_SECONDS + _longest_silence(recording) / speed, 1)
    name = recorded.name
    _record(demo, name, source, seconds / speed, source_name="replay", idle_seconds=idle)
    demo.run("inspect", recorded)
    decoder = _decoder_for(demo, recorded, decoder)
    if decoder is None:
        return _report(demo, [recorded], None)
    demo.say(f"3. The first {live_seconds:g} s are replayed in real time and decoded live.")
    source = demo.start("replay", recorded, "--duration", live_seconds, "--wait", _WAIT_SECONDS)
    _record_live(demo, source, decoder, live_seconds, source_name="replay")
    demo.say("4. Everything goes into one report.")
    return _report(demo, [recorded, demo.out / "live.zarr"], decoder)


def _longest_silence(recording: Recording) -> float:
    """Return the longest time in seconds during which no stream says anything."""
    times = [recording[key]["time"].values for key in recording.streams]
    return float(np.diff(np.sort(np.concatenate(times))).max(initial=0.0))


_STATED = ("ch-names", "unit", "sfreq")


def _decoder_for(demo: _Demo, recorded: Path, decoder: Path | None) -> Path | None:
    """Return the decoder to run live: given, trained, untrained, or none without EEG."""
    from physioemo.experiments.training import untrained_decoder
    from physioemo.store import open_recording

    with open_recording(recorded) as recording:
        has_eeg = any(recording.description(k).modality == "eeg" for k in recording.streams)
        n_rated = recording.ratings.sizes["trial"]
        if not has_eeg:
            demo.say("2. There is no EEG in it: nothing to train or to decode.")
            return None
        if decoder is not None:
            demo.say(f"2. The given decoder {decoder} is used.")
            return decoder
        if n_rated:
            demo.say(f"2. A decoder is trained on its {n_rated} rated trials.")
            demo.run("train", recorded, "--out", demo.out / "decoder")
        else:
            demo.say(
                "2. There are no ratings: no training. The live step shows an UNTRAINED decoder "
                "whose predictions mean nothing."
            )
            untrained_decoder(recording).save(demo.out / "decoder")
    return demo.out / "decoder"
