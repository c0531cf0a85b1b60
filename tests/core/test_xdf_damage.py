"""Damage to XDF files: every sample that is read was written, and what lacks is said."""

import random
import time

import pytest

from physioemo.errors import PhysioEmoError
from physioemo.files import read_recording
from tests import xdf

LIMIT_SECONDS = 5.0


@pytest.fixture
def session(tmp_path):
    return xdf.write(tmp_path / "session.xdf", xdf.session_chunks())


def rows_of(recording, key):
    stream = recording[key]
    values = stream["signal"].values.tolist()
    return {(t, *v) for t, v in zip(stream["raw_time"].values.tolist(), values, strict=True)}


def assert_nothing_silent(path, whole, content):
    """Either an error that names the file, or samples of the original and a note of what lacks."""
    path.write_bytes(content)
    begun = time.process_time()
    try:
        found = read_recording(path)
    except PhysioEmoError as error:
        assert path.name in str(error)
        found = None
    assert time.process_time() - begun < LIMIT_SECONDS
    if found is None:
        return
    for key in found.streams:
        assert rows_of(found, key) <= rows_of(whole, key)
    if any(
        key not in found.streams or len(rows_of(found, key)) < len(rows_of(whole, key))
        for key in whole.streams
    ):
        assert found.notes


def structure_bytes(chunks):
    """Return where lengths, tags, numbers, counts and the lengths of stamps stand."""
    found, position = [], 4
    for chunk in chunks:
        tag = chunk[5]
        found += range(position, position + (11 if tag in (2, 3, 4, 6) else 7))
        if tag == 3 and chunk[7] != 3:
            found += range(position + 11, position + 16)
            at, size = 16, {1: 12, 2: 4}[chunk[7]]
            while at < len(chunk):
                found.append(position + at)
                at += 1 + chunk[at] + size
        elif tag == 5:
            found += range(position + 7, position + len(chunk))
        position += len(chunk)
    return found


def test_files_cut_anywhere(session):
    whole, content = read_recording(session), session.read_bytes()
    rng = random.Random(1)
    edges = xdf.chunk_starts(xdf.session_chunks()).tolist()
    cuts = {e + d for e in rng.sample(edges, 12) for d in (-1, 0, 1, 5, 9)}
    for cut in sorted({*cuts, *rng.sample(range(len(content)), 60)} - {len(content)}):
        assert_nothing_silent(session, whole, content[:cut])


def test_flipped_bits_in_the_structure(session):
    whole, content = read_recording(session), session.read_bytes()
    rng = random.Random(2)
    for place in rng.sample(structure_bytes(xdf.session_chunks()), 120):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        assert_nothing_silent(session, whole, bytes(flipped))


def test_swapped_lost_and_doubled_chunks(session):
    whole, chunks = read_recording(session), xdf.session_chunks()
    rng = random.Random(3)
    for kind in ("swap", "lose", "double") * 25:
        changed = list(chunks)
        i, j = rng.sample(range(1, len(chunks)), 2)
        if kind == "swap":
            changed[i], changed[j] = changed[j], changed[i]
        elif kind == "lose":
            del changed[i]
        else:
            changed.insert(j, changed[i])
        assert_nothing_silent(session, whole, b"XDF:" + b"".join(changed))


def test_anything_overwritten_anywhere_neither_crashes_nor_hangs(session):
    content = session.read_bytes()
    rng = random.Random(4)
    for _ in range(80):
        at, n = rng.randrange(4, len(content)), rng.choice([1, 3, 17, 200, 4096])
        junk = rng.choice([bytes(n), b"\x01\x03\x00" * n, b"\x04" * n, rng.randbytes(n)])
        session.write_bytes(content[:at] + junk[:n] + content[at + rng.choice([0, n]) :])
        begun = time.process_time()
        try:
            read_recording(session)
        except PhysioEmoError as error:
            assert session.name in str(error)
        assert time.process_time() - begun < LIMIT_SECONDS
