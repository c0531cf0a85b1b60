"""What a new user does wrong, tried on the command line as they would."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from physioemo.acquisition.recorder import record
from physioemo.errors import StoreError
from physioemo.store import open_recording
from tests.conftest import ROOT
from tests.lsl import producing, wait_for_journal, wait_until
from tests.streams import eeg_description

pytestmark = pytest.mark.lsl
NOBODY = 65534


def noise(index):
    return np.tile(np.sin(index / 7.0)[:, None], 4).astype(np.float32)


def test_spaces_and_letters_of_the_world_in_every_path(tmp_path, physioemo, typed):
    folder = tmp_path / "Müller Ωμέγα 研究"
    folder.mkdir()
    rig, out = folder / "Koje 2.toml", folder / "Sitzung é.zarr"
    with producing(eeg_description(), noise):
        assert f'"{rig}"' in typed("rig", "from-network", rig, check=0).stdout
        done = physioemo("record", out, "--rig", rig, "--duration", "1", check=0)
    (line,) = [text for text in done.stdout.splitlines() if text.startswith("Next:")]
    assert shlex.split(line)[3] == str(out) and open_recording(out).sealed
    typed("inspect", out, check=0)


def test_a_wrong_rig_name_and_a_typo_in_it_are_named_with_the_nearest(tmp_path, typed):
    rig, out = tmp_path / "booth.toml", tmp_path / "r"
    rig.write_text('name = "b"\n[streams.eeg]\nname = "EEG"\nsfrq = 250\n')
    done = typed("record", out, "--rig", tmp_path / "boots.toml", check=2)
    assert "did you mean 'booth.toml'" in done.stderr
    done = typed("record", out, "--rig", rig, check=2)
    assert "unknown field 'sfrq'" in done.stderr and "line 4 of" in done.stderr
    assert "did you mean 'sfreq'" in done.stderr and not out.exists()


def test_two_streams_that_fit_are_refused_by_rig_and_without(tmp_path, typed):
    rig = tmp_path / "booth.toml"
    rig.write_text('name = "b"\n[streams.eeg]\nname = "EEG"\nsfreq = 250\n')
    with producing(eeg_description(), noise), producing(eeg_description(), noise):
        plain = typed("record", tmp_path / "a", "--duration", "1", check=1)
        asked = typed("record", tmp_path / "b", "--rig", rig, "--wait-seconds", "0", check=1)
    assert "found 2 streams with the name 'EEG' and the source_id" in plain.stderr
    assert "found 2 streams that fit name='EEG'" in asked.stderr
    assert len(asked.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX permissions")
def test_a_folder_without_permission_is_one_sentence(tmp_path):
    folder, user = tmp_path / "locked", os.geteuid()
    folder.mkdir(mode=0o555)
    for parent in (folder, *folder.parents[:4]):  # pytest -n nests one deeper
        parent.chmod(parent.stat().st_mode | 0o055)
    with producing(eeg_description(), noise):
        try:
            if user == 0:
                os.seteuid(NOBODY)  # root may write anywhere
            with pytest.raises(StoreError, match="cannot be created .Permission denied., expected"):
                record(folder / "r", duration_seconds=1, find_seconds=1.0)
        finally:
            os.seteuid(user)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX signals")
def test_ctrl_c_twice_loses_nothing_and_says_how_to_go_on(tmp_path, typed):
    with producing(eeg_description(), noise):
        for attempt in range(6):
            out = tmp_path / f"two words {attempt}"
            recorder = subprocess.Popen(
                [sys.executable, "-m", "physioemo", "record", str(out)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            wait_for_journal(out)
            recorder.send_signal(signal.SIGINT)
            time.sleep(0.02 + 0.02 * attempt)
            recorder.send_signal(signal.SIGINT)
            _, stderr = recorder.communicate(timeout=180)
            # On a busy machine both signals can come as one; then it seals and is content.
            if recorder.returncode:
                break
    assert recorder.returncode == 1 and "Traceback" not in stderr
    assert "physioemo recover" in stderr and str(out) in stderr
    typed("recover", out, check=0)
    recording = open_recording(out)
    assert recording.sealed and recording["EEG"].sizes["time"] > 300


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX signals")
def test_ctrl_c_twice_ends_a_replay_without_a_traceback(tmp_path, typed):
    player = subprocess.Popen(
        [sys.executable, "-m", "physioemo", "simulate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    wait_until(lambda: json.loads(typed("streams", "--seconds", "0.2", "--json").stdout or "[]"))
    for _ in range(2):
        player.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, stderr = player.communicate(timeout=120)
    assert player.returncode in {0, 130} and "Traceback" not in stderr
