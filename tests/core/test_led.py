"""What a leader says is heard whole, at once, and without holding up anybody on Windows."""

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from physioemo.led import told_lines


@pytest.fixture
def pipe():
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb", buffering=0) as leader:
        yield ours, leader
    os.close(ours)


def test_lines_come_whole_however_they_were_cut(pipe):
    ours, leader = pipe
    for part in (b"rest", b"art E", b"EG\nrestart\r\nhal"):
        leader.write(part)
    leader.close()
    assert list(told_lines(ours)) == [b"restart EEG", b"restart\r"]


def test_the_second_of_two_lines_does_not_wait_for_a_third(pipe):
    ours, leader = pipe
    leader.write(b"one\ntwo\n")
    lines = told_lines(ours)
    assert [next(lines), next(lines)] == [b"one", b"two"]


def test_without_a_pipe_there_is_no_leader(pipe):
    ours, _ = pipe
    assert list(told_lines(os.dup(ours) + 100)) == []


def test_on_windows_no_read_waits_while_the_leader_is_silent(pipe, monkeypatch):
    # A waiting read there keeps OpenBLAS from being loaded: numpy's issue 24290.
    ours, leader = pipe
    looks, read = [], os.read

    def peek(handle):
        looks.append(handle)
        if len(looks) == 3:
            leader.write(b"restart\n")
        return (8 if len(looks) >= 3 else 0, 0)

    def after_looking(descriptor, n):
        assert len(looks) >= 3
        return read(descriptor, n)

    monkeypatch.setitem(sys.modules, "_winapi", SimpleNamespace(PeekNamedPipe=peek))
    fake = SimpleNamespace(get_osfhandle=lambda descriptor: 1000 + descriptor)
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    monkeypatch.setattr("physioemo.led.os.read", after_looking)
    monkeypatch.setattr("physioemo.led.sys.platform", "win32")
    assert next(told_lines(ours)) == b"restart"
    assert looks == [1000 + ours] * 3


_FOLLOWER = """
from physioemo.led import Leader
import time
leader, heard = Leader(), ()
print("ready", flush=True)
while not heard:
    heard = leader.restarts()
    time.sleep(0.01)
print(ascii(heard), flush=True)
leader.gone.wait(20)
print("gone" if leader.is_gone() else "left behind", flush=True)
"""


def test_a_follower_hears_any_name_in_any_encoding_and_goes_with_its_leader():
    # Its own text is of another encoding, as on Windows; leaders write UTF-8.
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    options = {"env": environment, "text": True, "encoding": "utf-8"}
    command = [sys.executable, "-c", _FOLLOWER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, **options) as follower:
        rescue = threading.Timer(60, follower.kill)
        rescue.start()
        try:
            assert follower.stdout.readline() == "ready\n"
            follower.stdin.write("restart EEG-Ωµ\n")
            follower.stdin.flush()
            assert follower.stdout.readline() == "('EEG-\\u03a9\\xb5',)\n"
            follower.stdin.close()
            assert follower.stdout.readline() == "gone\n"
        finally:
            rescue.cancel()
