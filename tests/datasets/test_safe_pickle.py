"""Pickles are read without running anything in them."""

import builtins
import functools
import io
import os
import pickle
import struct

import numpy as np
import pytest

from physioemo.datasets.safe_pickle import load_pickle, loads_pickle
from physioemo.errors import UnreadableFileError


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call

    def __call__(self):
        """Pickle refuses to name what cannot be called."""


def exploits(marker):
    """Payloads that would create a file if anything in them ran."""
    shell = f"echo hacked > {marker}"
    code = f"open({str(marker)!r}, 'w').close()"
    array = np.empty(1, object)
    array[0] = Call(os.system, shell)
    return {
        "system": Call(os.system, shell),
        "eval": Call(builtins.eval, code),
        "exec": Call(exec, code),
        "partial": Call(functools.partial, os.system, shell),
        "nested in a dict": {"labels": [1.0, (Call(os.system, shell),)]},
        "nested reduce": Call(Call(functools.partial, os.system), shell),
        "object array": {"data": array},
        "beside an array": {"data": np.zeros(3), "labels": Call(eval, code)},
    }


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", list(exploits("x")))
def test_an_exploit_is_refused_by_name_and_nothing_is_run(tmp_path, name, protocol):
    marker, file = tmp_path / "marker", tmp_path / "s01.dat"
    file.write_bytes(pickle.dumps(exploits(marker)[name], protocol))
    names = r"system|eval|exec|partial|getattr|list|map|encode|type 'O"
    with pytest.raises(UnreadableFileError, match=rf"found .*({names}).* in .*s01\.dat"):
        load_pickle(file)
    assert not marker.exists()


def test_the_exploits_of_these_tests_are_real(tmp_path):
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(exploits(marker)["eval"]))
    assert marker.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"(cos\nsystem\nS'true'\no.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02cnumpy\nload\nU\x01x\x85R.",
        b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__class__\x93.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02Pname\n.",
    ],
)
def test_hand_made_opcodes_reach_no_other_name(opcodes):
    with pytest.raises(UnreadableFileError, match="hand-made"):
        loads_pickle(opcodes, "hand-made")


def test_a_stand_in_cannot_be_changed_by_a_pickle():
    built = b"\x80\x02cnumpy\nndarray\nN}U\x04kindU\x01xs\x86b."
    with pytest.raises(UnreadableFileError, match="a state for Constructor"):
        loads_pickle(built, "x")


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "i2", "u1", "?", "c16"])
def test_arrays_and_containers_come_back_as_they_were(protocol, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    value = {"a": array, "f": np.asfortranarray(array), 3: [1, "µ", (None, b"x", 2.5)]}
    back = loads_pickle(pickle.dumps(value, protocol), "x")
    np.testing.assert_array_equal(back["a"], array)
    np.testing.assert_array_equal(back["f"], array)
    assert back["a"].dtype == array.dtype and back[3] == value[3]


def test_an_array_larger_than_its_bytes_is_refused_before_it_is_made():
    data = pickle.dumps(np.arange(3.0), 3)
    small, huge = b"K\x03\x85", b"\x8a\x06" + (10**13).to_bytes(6, "little") + b"\x85"
    assert data.count(small) == 1
    with pytest.raises(UnreadableFileError, match="24 bytes for an array of 80000000000000 bytes"):
        loads_pickle(data.replace(small, huge), "bomb")


def test_a_memo_bomb_is_refused():
    with pytest.raises(UnreadableFileError, match="memo index 4294967295"):
        loads_pickle(b"\x80\x02}r" + struct.pack("<I", 2**32 - 1) + b".", "bomb")


def test_a_length_beyond_the_file_is_refused():
    with pytest.raises(UnreadableFileError, match="copy the file again"):
        loads_pickle(b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc.", "bomb")


def test_a_container_that_contains_itself_is_refused():
    loop: list = []
    loop += [loop] * 50
    with pytest.raises(UnreadableFileError, match="contains itself"):
        loads_pickle(pickle.dumps(loop), "x")


def test_shared_parts_do_not_multiply():
    value: list = [0.0]
    for _ in range(60):
        value = [value, value]
    assert len(loads_pickle(pickle.dumps(value), "x")) == 2


@pytest.mark.parametrize("value", [range(3), 1j, np.array(["a"]), np.zeros(1, "f8,i4")])
def test_other_values_are_refused(value):
    with pytest.raises(UnreadableFileError, match=r"found .* in x, expected a pickle of plain"):
        loads_pickle(pickle.dumps(value, 4), "x")


def test_bytes_after_the_end_are_refused():
    with pytest.raises(UnreadableFileError, match="2 bytes after the end"):
        loads_pickle(pickle.dumps({"a": 1}) + b"xx", "x")


def test_every_truncation_is_an_error():
    data = pickle.dumps({"data": np.arange(9.0), "labels": [1, 2]}, 2)
    for n in range(len(data)):
        with pytest.raises(UnreadableFileError, match="cut"):
            loads_pickle(data[:n], "cut")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"s09\.dat cannot be opened"):
        load_pickle(tmp_path / "s09.dat")


def test_a_pickle_without_a_frame_reads_like_a_stream():
    buffer = io.BytesIO()
    pickle.Pickler(buffer, 1).dump({"labels": [1.5, 2]})
    assert loads_pickle(buffer.getvalue(), "x") == {"labels": [1.5, 2]}
