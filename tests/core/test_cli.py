"""The command line: quick, lazy, one sentence per error."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from physioemo.cli import COMMANDS, main
from physioemo.store import create_recording
from tests.streams import eeg_stream, marker_stream

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "mne", "xarray", "zarr", "numpy", "scipy", "neurokit2", "braindecode", "pylsl")


def loaded_by(code):
    script = f"import sys; {code}; print('loaded', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    last = done.stdout.strip().splitlines()[-1].split()
    assert last[0] == "loaded"
    return last[1:]


def test_help_imports_nothing_heavy():
    code = (
        "from physioemo.cli import cli\n"
        "try: cli.main(['--help'], standalone_mode=True)\nexcept SystemExit: pass"
    )
    assert loaded_by(f"exec({code!r})") == []


def test_the_package_itself_imports_nothing_heavy():
    assert loaded_by("import physioemo") == []


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(physioemo, command):
    done = physioemo(command, "--help", check=0)
    assert "Usage: physioemo" in done.stdout


def test_a_mistyped_command_names_the_nearest(typed):
    done = typed("recrod", check=2)
    assert "did you mean 'record'" in done.stderr


def test_an_unknown_option_is_a_wrong_call(typed):
    typed("record", check=2)
    typed("streams", "--jsno", check=2)


@pytest.fixture
def stored(tmp_path):
    signal = np.random.default_rng(0).standard_normal((500, 2))
    streams = {"EEG": eeg_stream(signal), "m": marker_stream([(1.0, "go")])}
    return create_recording(tmp_path / "mit Ümläut" / "a.zarr", streams)


def test_inspect_prints_what_is_there(physioemo, stored):
    done = physioemo("inspect", stored.path, check=0)
    assert "EEG" in done.stdout and "0 trials, 0 rated; 1 events" in done.stdout
    assert "Next: physioemo report" in done.stdout


def test_inspect_prints_json_that_can_be_scripted_against(typed, stored):
    content = json.loads(typed("inspect", stored.path, "--json", check=0).stdout)
    eeg = content["streams"]["EEG"]
    assert (eeg["n_samples"], eeg["sfreq"], eeg["units"]) == (500, 250.0, ["uV", "uV"])
    assert content["streams"]["m"]["measured_rate_hz"] is None


def test_inspect_of_nothing_is_a_wrong_call(physioemo, tmp_path):
    done = physioemo("inspect", tmp_path / "absent", check=2)
    assert done.stderr.startswith("physioemo: found nothing at")
    assert len(done.stderr.strip().splitlines()) == 1


def test_import_of_an_unreadable_file_leaves_nothing_behind(typed, tmp_path):
    (tmp_path / "bad.edf").write_bytes(b"no EDF")
    done = typed("import", tmp_path / "bad.edf", tmp_path / "out", check=1)
    assert "bad.edf cannot be read" in done.stderr
    assert not (tmp_path / "out").exists()


def test_import_makes_a_recording(typed, tmp_path, shared_data):
    file = shared_data("xdf-example-files") / "minimal.xdf"
    done = typed("import", file, tmp_path / "o", check=1)
    assert "state them with --ch-names" in done.stderr
    options = ["--ch-names", "SendDataC=a,b,c", "--unit", "*=a.u."]
    done = typed("import", file, tmp_path / "o", *options, check=0)
    assert "is now the recording" in done.stdout


def test_an_unforeseen_error_is_a_sentence_and_debug_shows_the_traceback(tmp_path):
    code = (
        "import physioemo.cli as c, physioemo.files as f\n"
        "def boom(*a): raise ZeroDivisionError('boom')\n"
        "f.read_recording = boom\n"
        "import sys; c.main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code]
    quiet = subprocess.run([*command, "inspect", "x"], capture_output=True, text=True)
    loud = subprocess.run([*command, "--debug", "inspect", "x"], capture_output=True, text=True)
    assert quiet.returncode == 1 and "Traceback" not in quiet.stderr
    assert "an unforeseen error (ZeroDivisionError: boom)" in quiet.stderr
    assert "Traceback" in loud.stderr


def windows_stream(is_console=False):
    """Return standard output as Windows gives it to a program whose output goes to a file."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", newline="\n")
    stream.isatty = lambda: is_console
    return stream


@pytest.mark.parametrize(
    ("asked_for", "is_console", "written"),
    [
        ("", False, "5 µV → Ω".encode()),  # JSON in a code page is no JSON
        ("", True, b"5 \xb5V ? ?"),
        ("cp1252", False, b"5 \xb5V ? ?"),
    ],
)
def test_on_windows_files_and_programs_get_utf8_and_no_letter_stops_a_command(
    monkeypatch, asked_for, is_console, written
):
    out = windows_stream(is_console)
    monkeypatch.setattr("physioemo.cli.sys.platform", "win32")
    monkeypatch.setattr("physioemo.cli.sys.stdout", out)
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    if asked_for:
        monkeypatch.setenv("PYTHONIOENCODING", asked_for)
    monkeypatch.setattr("physioemo.cli.signal.signal", lambda *_: None)
    monkeypatch.setattr("physioemo.cli.heed_closed_window", lambda: None)
    monkeypatch.setattr("physioemo.cli.cli.main", lambda *_, **__: print("5 µV → Ω", end=""))
    with pytest.raises(SystemExit) as ended:
        main([])
    out.flush()
    assert ended.value.code == 0
    assert out.buffer.getvalue() == written
