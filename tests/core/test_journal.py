import errno
import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioemo.errors import DiskFullError
from physioemo.journal import (
    FrameKind,
    Journal,
    decode_samples,
    encode_frame,
    encode_samples,
    scan_frames,
)


def three_frames():
    return [encode_frame(FrameKind.EVENT, 1, i, bytes([i]) * (40 + i)) for i in range(3)]


def sequences(data, damage=None):
    return [f.sequence for f in scan_frames(memoryview(data), damage)]


def test_truncation_at_every_byte_of_the_last_frame_loses_that_frame_alone():
    frames = three_frames()
    whole = b"".join(frames)
    start = len(whole) - len(frames[-1])
    for end in range(start, len(whole)):
        damage: list[str] = []
        assert sequences(whole[:end], damage) == [0, 1]
        assert bool(damage) == (end > start)


def test_any_flipped_bit_costs_one_frame_and_is_told():
    frames = three_frames()
    whole = b"".join(frames)
    for at in range(len(frames[0]), len(frames[0]) + len(frames[1])):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        damage: list[str] = []
        assert sequences(bytes(damaged), damage) == [0, 2]
        assert "damaged" in damage[0]


@given(st.binary(max_size=400))
def test_no_bytes_are_mistaken_for_a_frame(noise):
    assert sequences(noise) == []


@given(
    st.sampled_from(["<f4", "<f8", "<i2", "<i8"]),
    st.integers(0, 20),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
)
def test_numbers_come_back_bit_for_bit(dtype, n, n_channels, seed):
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 256, n * n_channels * np.dtype(dtype).itemsize, np.uint8)
    values = np.frombuffer(values.tobytes(), dtype).reshape(n, n_channels)
    stamps = generator.random(n)
    payload = memoryview(encode_samples(stamps, values, 7.0))
    found_stamps, found, received = decode_samples(payload, n_channels, dtype)
    assert found.tobytes() == values.tobytes() and received == 7.0
    assert np.array_equal(found_stamps, stamps)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=10))
def test_text_comes_back(rows):
    values = np.array([[a.encode(), b.encode()] for a, b in rows], object).reshape(-1, 2)
    payload = memoryview(encode_samples(np.zeros(len(rows)), values, 0.0))
    found = decode_samples(payload, 2, "")[1]
    assert [tuple(row) for row in found] == rows


def test_bytes_that_are_not_utf8_do_not_stop_the_reading():
    payload = memoryview(encode_samples(np.zeros(1), np.array([[b"\xff\xfe ok"]], object), 0.0))
    assert decode_samples(payload, 1, "")[1][0, 0].endswith(" ok")


def test_a_long_journal_goes_on_in_further_files(tmp_path):
    journal = Journal(tmp_path / "journal", segment_bytes=1000, ballast_bytes=0)
    for i in range(30):
        journal.append(FrameKind.EVENT, 0, bytes([i]) * 100)
        journal.flush()
    journal.close()
    files = sorted((tmp_path / "journal").glob("*.journal"))
    assert len(files) > 2
    assert sequences(b"".join(f.read_bytes() for f in files)) == list(range(30))


def test_a_full_disk_is_an_error_and_loses_nothing_that_was_written(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal", ballast_bytes=0)
    journal.append(FrameKind.EVENT, 0, b"before")
    journal.flush()
    write = os.write

    def half_then_full(file, data):
        if len(data) > 50:
            return write(file, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half_then_full)
    journal.append(FrameKind.EVENT, 0, b"x" * 100)
    with pytest.raises(DiskFullError, match="cannot be written to .No space left on device."):
        journal.flush()
    monkeypatch.undo()
    journal.append(FrameKind.END, 0, b"{}")
    journal.close()
    data = next((tmp_path / "journal").glob("*.journal")).read_bytes()
    damage: list[str] = []
    assert sequences(data, damage) == [0, 2] and not damage


def test_a_disk_without_room_for_a_further_file_doubles_nothing(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal", segment_bytes=100, ballast_bytes=0)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    journal.append(FrameKind.EVENT, 0, b"x" * 100)
    with pytest.raises(DiskFullError):
        journal.flush()
    monkeypatch.undo()
    journal.append(FrameKind.END, 0, b"{}")
    journal.close()
    files = sorted((tmp_path / "journal").glob("*.journal"))
    assert sequences(b"".join(f.read_bytes() for f in files)) == [0, 1]


def test_a_slow_disk_does_not_keep_frames_from_being_written(tmp_path, monkeypatch):
    journal, began, go = Journal(tmp_path / "journal"), threading.Event(), threading.Event()
    monkeypatch.setattr(os, "fsync", lambda file: (began.set(), go.wait(10)))
    syncing = threading.Thread(target=journal.sync)
    syncing.start()
    assert began.wait(10)
    journal.append(FrameKind.EVENT, 0, b"meanwhile")
    journal.flush()
    assert sequences((tmp_path / "journal" / "000000.journal").read_bytes()) == [0]
    go.set()
    syncing.join()
    journal.close()


def test_a_journal_is_never_written_over(tmp_path):
    Journal(tmp_path / "journal", ballast_bytes=0).close()
    with pytest.raises(OSError):
        Journal(tmp_path / "journal", ballast_bytes=0)
