"""Sessions of a few seconds over real LSL: what is declared, the program that runs them."""

import contextlib
import subprocess
import sys
import time

import psutil

from tests.conftest import ROOT

CONTINUOUS = ['continuous = ["valence", "arousal"]']


def protocol(n_planned=1, n_adaptive=2, seconds=2.5, continuous=()):
    lines = ['title = "Short"', 'participants = ["P1", "P2"]', "sessions = 1", "seed = 3"]
    lines += ["[ratings]", 'dimensions = ["valence", "arousal"]', *continuous]
    lines += ["[calibration]", "after_trials = 2"]
    lines += ["[[arm]]", 'policy = "steer"', "target_arousal = 0.7"]
    lines += ["[distress]", 'action = "skip"', "n_consecutive = 1000"]
    lines += ["[[block]]", 'name = "a"', f"n_trials = {n_planned}", "fixation_seconds = 0.3"]
    lines += ["[[block]]", 'name = "b"', 'order = "adaptive"', f"n_trials = {n_adaptive}"]
    lines += ["fixation_seconds = 0.3"]
    for name, arousal in (("calm", -0.7), ("plain", 0.45), ("thrill", 0.8)):
        lines += ["[[stimulus]]", f'id = "{name}"', 'kind = "text"', f'text = "{name}"']
        lines += [f"seconds = {seconds}", "valence = 0.4", f"arousal = {arousal}"]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def running(path, decoder, out, *options, at_once=True, rig=None):
    command = [sys.executable, "-u", "-m", "physioemo", "session", "run", str(path)]
    command += ["--rig", str(rig)] if rig else ["--simulate"]
    command += ["--decoder", str(decoder), "--out", str(out), "--headless"]
    command += ["--at-once"] if at_once else []
    pipe = subprocess.PIPE
    child = subprocess.Popen([*command, *options], stdout=pipe, stderr=pipe, text=True, cwd=ROOT)
    try:
        yield child
    finally:
        for process in (
            (*psutil.Process(child.pid).children(recursive=True), child)
            if (child.poll() is None)
            else ()
        ):
            process.kill()
        child.communicate()


def wait_for(condition, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def has_begun(out, trial):
    path = out / "progress.jsonl"
    return path.is_file() and f'"what": "begun", "step": {trial},' in path.read_text("utf-8")


def follower(child, name):
    """Return the process of one program of a session."""
    words = {"decoder": "live", "participant": "simulate", "player": "play", "recorder": "record"}
    for process in psutil.Process(child.pid).children():
        with contextlib.suppress(psutil.Error):
            if words.get(name, name) in process.cmdline():
                return process
    raise AssertionError(f"no {name} runs")
