"""MATLAB files are checked before anything is made of them."""

import struct
import zlib

import numpy as np
import pytest
import scipy.io

from physioemo.datasets.mat_file import field, load_mat, numbers
from physioemo.errors import UnreadableFileError


def mat(*elements):
    """Return a file of (kind, bytes) elements."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    return header + b"".join(struct.pack("<II", k, len(b)) + b for k, b in elements)


def matrix(dims, kind=6, data=b""):
    body = struct.pack("<IIII", 6, 8, kind, 0) + struct.pack("<II", 5, 4 * len(dims))
    return body + struct.pack(f"<{len(dims)}i", *dims) + data


def compressed(body, announced=None):
    size = len(body) if announced is None else announced
    return (15, zlib.compress(struct.pack("<II", 14, size) + body))


@pytest.mark.parametrize("compress", [False, True])
def test_a_whole_file_is_read(tmp_path, compress):
    value = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([["x", 3]], object)}
    scipy.io.savemat(tmp_path / "a.mat", value, do_compression=compress)
    found = load_mat(tmp_path / "a.mat")
    np.testing.assert_array_equal(found["a"], value["a"])
    assert set(found) == {"a", "b"} and set(load_mat(tmp_path / "a.mat", ["b"])) == {"b"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin as a MATLAB file"),
        (b"\x89HDF\r\n".ljust(600), "version 7.3"),
        (b"MATLAB 7.3 MAT-file".ljust(600), "version 7.3"),
        (mat(), "holds no variable"),
        (mat((14, matrix((1, 1), data=b"12345678")))[:-3], "ends 3 bytes early"),
        (mat((9, b"12345678")), "unknown kind 9"),
        (mat((14, matrix((10**6, 10**3)))), "1000000 x 1000 in 32 bytes"),
        (mat((14, matrix((2**30, 1), kind=1))), "1073741824 x 1 in 32 bytes"),
        (mat((14, matrix((-1, 4)))), "-1 x 4"),
        (mat(compressed(matrix((1, 1)), 2**31)), "2147483648 bytes claimed by"),
        (mat(compressed(matrix((10**6, 10**3)))), "1000000 x 1000"),
        (mat(compressed(matrix((1, 1), data=bytes(8)), 100)), "where 108 were announced"),
    ],
)
def test_a_file_that_claims_more_than_it_holds_is_refused(tmp_path, content, message):
    (tmp_path / "bomb.mat").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=rf"bomb\.mat cannot be read \(.*{message}"):
        load_mat(tmp_path / "bomb.mat")


def test_a_flipped_bit_in_compressed_data_fails_its_checksum(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"a": np.arange(3e3)}, do_compression=True)
    data = bytearray((tmp_path / "a.mat").read_bytes())
    for place in range(136, len(data), 97):
        data[place] ^= 4
        (tmp_path / "a.mat").write_bytes(data)
        with pytest.raises(UnreadableFileError, match=r"a\.mat"):
            load_mat(tmp_path / "a.mat")
        data[place] ^= 4


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"none\.mat cannot be read"):
        load_mat(tmp_path / "none.mat")


def test_a_field_or_shape_that_is_not_there_is_an_error():
    record = np.array([[(1,)]], dtype=[("a", "O")])
    assert field(record, "a", "x") == 1
    with pytest.raises(UnreadableFileError, match="found a in x, expected a struct with the field"):
        field(record, "b", "x")
    for value in (np.zeros((2, 3)), np.array([["a"]]), None, np.zeros((0, 4))):
        with pytest.raises(UnreadableFileError, match="in x, expected n x 4 numbers"):
            numbers(value, (None, 4), "x")
