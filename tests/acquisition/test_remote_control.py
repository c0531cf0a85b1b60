"""LabRecorder's verbs from plain sockets: true replies, safe names, no way in."""

import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioemo.acquisition.record_cli import start_recording
from physioemo.acquisition.remote_control import refuse_open_door, serving
from physioemo.acquisition.remote_filename import RecordingName, parse_filename
from physioemo.acquisition.remote_recorder import RemoteRecorder
from physioemo.acquisition.rig import Rig, RigStream
from physioemo.acquisition.rig_toml import write_rig
from physioemo.errors import CallError, StreamError
from physioemo.overrides import Overrides
from physioemo.store import open_recording
from tests.acquisition.test_rig_check import brain
from tests.lsl import producing, wait_until
from tests.streams import eeg_description


class Client:
    """A client as a stimulus program writes one."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.file = self.socket.makefile("r", encoding="utf-8")

    def say(self, line):
        self.socket.sendall(line if isinstance(line, bytes) else f"{line}\n".encode())
        return self.file.readline().rstrip("\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()


def idle(out, *, should_stop, on_status):
    """Stand in for a recorder that waits to be stopped."""
    on_status(())
    while not should_stop():
        time.sleep(0.01)


@contextmanager
def served(folder, record=idle, token=None):
    recorder = RemoteRecorder(folder, record, lambda: "nothing to see")
    with serving(recorder, port=0, token=token) as (_, port):
        try:
            yield port
        finally:
            recorder.close()


@pytest.mark.lsl
def test_start_obeys_the_rig_and_stop_leaves_a_sealed_recording(tmp_path):
    file = tmp_path / "rig.toml"
    write_rig(Rig(name="booth", streams=[RigStream(key="eeg", name="EEG", sfreq=250.0)]), file)

    def record(out, **options):
        return start_recording(
            out,
            rig_file=file,
            wait_seconds=0.0,
            allow_incomplete=False,
            predicates=(),
            overrides=Overrides(),
            find_seconds=2.0,
            **options,
        )

    with served(tmp_path / "study", record) as port, Client(port) as client:
        refused = client.say("start")
        assert refused.startswith("ERROR found that the rig 'booth' is not complete: eeg: found no")
        assert not (tmp_path / "study").exists()
        named = client.say("filename {participant:P07} {task:clips} {session:S2}")
        out = tmp_path / "study/sub-P07/ses-S2/eeg/sub-P07_ses-S2_task-clips_run-001_eeg.zarr"
        assert named == f"OK the next recording is {out}"
        with producing(eeg_description(), brain):
            assert client.say("start") == f"OK recording {out}: EEG"
            assert client.say("start").startswith(f"ERROR found that {out} is recording already")
            wait_until(lambda: "EEG live" in client.say("status"))
            time.sleep(0.6)
            assert client.say("stop") == f"OK recorded and sealed {out}"
        assert client.say("stop").startswith("ERROR found no recording")
        assert client.say("status").endswith("run-002_eeg.zarr")
    recording = open_recording(out)
    assert recording.sealed and recording["EEG"].sizes["time"] > 100
    assert recording.attrs["rig_name"] == "booth"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("filename {root:/etc}", "expected a folder inside"),
        ("filename {root:../..}", "expected a folder inside"),
        ("filename {root:C:\\Data}", "expected a folder inside"),
        ("filename {template:../%p}", "found '..' in"),
        ("filename {template:a\\..\\..\\%p}", "found '..' in"),
        ("filename {template:/etc/%p}", "expected a path below the root"),
        ("filename {template:%q}", "found the placeholder '%q'"),
        ("filename {template:%p%}", "found the placeholder '%'"),
        ("filename {participant:../../x}", "without slashes"),
        ("filename {participant:..}", "expected names of folders"),
        ("filename {participant:%s}", "without slashes and '%'"),
        ("filename {template:a/CON.%p}", "expected names of folders"),
        ("filename {root:lab.}", "expected a folder inside"),
        ("filename {participant:}", "found nothing as participant"),
        ("filename {run:0}", "a number from 1 to 999"),
        ("filename {partcipant:x}", "did you mean 'participant'?"),
        ("filename participant:x", "expected options such as"),
        ("filename " + "{task:" + "x" * 300 + "}", "expected at most 200"),
        ("strat", "did you mean 'start'?"),
        ("select some", "expected 'select all' or 'select none'"),
        ("stop", "found no recording"),
    ],
)
def test_what_cannot_be_done_is_an_error_and_changes_nothing(tmp_path, line, message):
    recorder = RemoteRecorder(tmp_path, idle, lambda: "")
    before = recorder.name
    reply = recorder.answer(line)
    assert reply.startswith("ERROR ") and message in reply
    assert recorder.name == before


def test_a_link_does_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "study" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CallError, match="a name that leads to .*elsewhere"):
        parse_filename("{template:link/%p}", RecordingName(tmp_path / "study"))


@given(st.text(max_size=40), st.sampled_from(["root", "template", "task", "participant"]))
def test_no_text_whatever_leads_out_of_the_folder(text, option):
    folder = Path("/nowhere/study")
    try:
        path = parse_filename(f"{{{option}:{text}}}", RecordingName(folder)).path()
    except CallError:
        return
    assert path.is_relative_to(folder) and ".." not in path.parts and path != folder


def test_labrecorders_templates_mean_what_they_mean_there(tmp_path):
    def path(text):
        return parse_filename(text, RecordingName(tmp_path)).path().relative_to(tmp_path).as_posix()

    assert (
        path("{task:Rest} {run:7}")
        == "sub-P001/ses-S001/eeg/sub-P001_ses-S001_task-Rest_run-007_eeg.zarr"
    )
    assert "_acq-wet_run-001" in path("{acquisition:wet}")
    assert path("{template:Exp%n\\block_%b.xdf} {task:A}") == "Exp001/block_A.zarr"
    assert path("{root:sub folder} {template:Übung.XDF}") == "sub folder/Übung.zarr"
    assert path(f"{{root:{tmp_path}}} {{template:x}}") == "x.zarr"
    (tmp_path / "run_001.zarr").mkdir()
    assert path("{template:run_%n}") == "run_002.zarr"


def test_clients_do_not_wait_for_each_other_and_garbage_ends_nothing(tmp_path):
    with served(tmp_path) as port, Client(port) as first, Client(port) as second:
        first.socket.sendall(b"sta")  # half a line, and then nothing
        assert second.say("update") == "OK nothing to see"
        assert second.say(b"\xff\xfe\n").startswith("ERROR found bytes that are no UTF-8")
        assert second.say(b"\n\x00\n").startswith("ERROR ")
        with Client(port) as third:
            assert third.say("x" * 5000).startswith("ERROR found a line of over 4096 bytes")
            assert third.file.readline() == ""
        with Client(port) as browser:
            assert "HTTP" in browser.say("POST / HTTP/1.1")
            assert browser.file.readline() == ""
        assert first.say("rt").startswith(f"OK recording {tmp_path}")
        assert second.say("select none") == "OK selected none"
        assert second.say("stop").startswith("OK recorded and sealed")
        assert "found no stream selected" in first.say("start")


def test_a_recorder_that_fails_is_told_and_may_start_again(tmp_path):
    def broken(out, *, should_stop, on_status):
        raise RuntimeError("boom")

    with served(tmp_path, broken) as port, Client(port) as client:
        for _ in range(2):
            assert client.say("start") == "ERROR an unforeseen error (RuntimeError: boom)"


def test_a_token_is_demanded_and_never_guessed(tmp_path):
    with served(tmp_path, token="sésame") as port:
        for line in ("start", "token wrong", "token", "token sésam"):
            with Client(port) as client:
                assert client.say(line).startswith("ERROR found no valid token")
                assert client.file.readline() == ""
        with Client(port) as client:
            assert client.say("token sésame") == "OK"
            assert client.say("status").startswith("OK idle")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "booth-2"])
def test_no_door_is_opened_beyond_this_computer_without_a_token(host):
    with pytest.raises(CallError, match="without a token"):
        refuse_open_door(host, None)
    refuse_open_door(host, "secret")
    refuse_open_door("127.0.0.1", None)
    refuse_open_door("::1", None)


def test_a_port_that_is_taken_is_one_sentence(tmp_path):
    recorder = RemoteRecorder(tmp_path, idle, lambda: "")
    with (
        served(tmp_path) as port,
        pytest.raises(StreamError, match="cannot be opened .*is LabRecorder"),
        serving(recorder, port=port),
    ):
        pass


def test_the_command_refuses_an_open_door(tmp_path, typed):
    done = typed("record", tmp_path, "--remote-control", "--host", "0.0.0.0", check=2)
    assert "without a token" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.lsl
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX signals")
def test_ctrl_c_seals_what_is_under_way(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "physioemo", "record", str(tmp_path / "s"), "--remote-control"]
    with producing(eeg_description(), brain):
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert f"port {port}" in process.stdout.readline()
        with Client(port) as client:
            assert client.say("update").startswith("OK 1 stream: EEG (")
            assert client.say("filename {template:täst run}").endswith("täst run.zarr")
            assert client.say("start").startswith("OK recording")
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=180)
    assert process.returncode == 0, stderr
    assert "every recording is sealed" in stdout
    assert open_recording(tmp_path / "s" / "täst run.zarr").sealed
