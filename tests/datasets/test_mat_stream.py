"""A struct is read field by field, whatever the order of its fields."""

import numpy as np
import pytest
import scipy.io

from physioemo.datasets.mat_stream import struct_fields
from physioemo.errors import UnreadableFileError


def cells(*values):
    array = np.empty((1, len(values)), object)
    array[0, :] = values
    return array


def write(path, content, variable="S", compress=True):
    scipy.io.savemat(path, {variable: content}, do_compression=compress)
    return path


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("order", [("rate", "Data", "names"), ("Data", "names", "rate")])
def test_fields_come_whole_and_cells_one_by_one(tmp_path, order, compress):
    people = [{"eeg": np.arange(6.0).reshape(2, 3) + i, "who": "abc"} for i in range(3)]
    values = {"rate": 128.0, "Data": cells(*people), "names": cells("AF3", "F7")}
    file = write(tmp_path / "a.mat", {k: values[k] for k in order}, compress=compress)
    found = list(struct_fields(file, "S", cells="Data"))
    expected = [(k, i) for k in order for i in (range(3) if k == "Data" else [-1])]
    assert [(name, index) for name, index, _ in found] == expected
    by_name = {(name, index): value for name, index, value in found}
    assert by_name["rate", -1] == [[128.0]]
    np.testing.assert_array_equal(by_name["Data", 2]["eeg"][0, 0], people[2]["eeg"])
    assert by_name["names", -1][0, 1][0] == "F7"


def test_a_checking_pass_makes_nothing_of_the_cells(tmp_path):
    file = write(tmp_path / "a.mat", {"Data": cells(np.zeros(9), np.ones(9))})
    found = list(struct_fields(file, "S", cells="Data", parse_cells=False))
    assert found == [("Data", 0, None), ("Data", 1, None)]


def test_a_value_larger_than_one_piece_is_put_together(tmp_path):
    wide = np.random.default_rng(0).normal(size=(1000, 700))
    file = write(tmp_path / "a.mat", {"Data": cells(wide, wide + 1)})
    for name, index, value in struct_fields(file, "S", cells="Data"):
        assert name == "Data"
        np.testing.assert_array_equal(value, wide + index)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"T": {"Data": cells(1)}}, "variable 'T' of 1 structs instead of 'S'"),
        ({"S": np.zeros(3)}, "another kind"),
        ({"S": {"Data": 3.0}}, "another kind"),
        ({"S": {"Data": cells(1)}, "T": 2.0}, "were announced"),
    ],
)
def test_anything_but_such_a_struct_is_an_error(tmp_path, content, message):
    scipy.io.savemat(tmp_path / "a.mat", content, do_compression=True)
    with pytest.raises(UnreadableFileError, match=rf"a\.mat cannot be read \(.*{message}"):
        list(struct_fields(tmp_path / "a.mat", "S", cells="Data"))


@pytest.mark.parametrize("compress", [False, True])
def test_every_cut_is_an_error(tmp_path, compress):
    file = write(tmp_path / "a.mat", {"Data": cells(np.arange(4.0), "b")}, compress=compress)
    data = file.read_bytes()
    for n in range(0, len(data), 3):
        file.write_bytes(data[:n])
        with pytest.raises(UnreadableFileError, match=r"a\.mat cannot be read"):
            list(struct_fields(file, "S", cells="Data"))
