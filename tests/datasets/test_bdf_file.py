"""BDF: headers are checked against the file, samples are those of MNE and of three bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioemo.datasets.bdf_file import open_bdf
from physioemo.datasets.deap_raw_fixture import bdf_header, bdf_samples
from physioemo.errors import UnreadableFileError

BITS = (-(2**23), 2**23 - 1)
CHANNELS = [("A", "uV", -262144, 262144), ("B", "mV", -5, 7), ("Status", "Boolean", *BITS)]
RATE, N_RECORDS = 16, 3


@pytest.fixture(scope="module")
def stored():
    stored = np.random.default_rng(0).integers(*BITS, (3, RATE * N_RECORDS))
    stored[0, :4] = -(2**23), 2**23 - 1, -1, 0
    return stored


def content(stored, channels=CHANNELS, n_records=N_RECORDS):
    records = np.split(stored, N_RECORDS, axis=1)
    header = bdf_header(channels, n_records, samples_per_record=RATE)
    return header + b"".join(map(bdf_samples, records))


@pytest.fixture
def path(stored, tmp_path):
    (tmp_path / "a.bdf").write_bytes(content(stored))
    return tmp_path / "a.bdf"


def by_hand(data, n_channels, rate):
    """Decode a file of records of one second."""
    body = data[256 * (n_channels + 1) :]
    numbers = [
        int.from_bytes(body[i : i + 3], "little", signed=True) for i in range(0, len(body), 3)
    ]
    return np.array(numbers).reshape(-1, n_channels, rate).swapaxes(0, 1).reshape(n_channels, -1)


def test_samples_are_those_that_three_bytes_hold(path, stored):
    file = open_bdf(path)
    np.testing.assert_array_equal(by_hand(path.read_bytes(), 3, RATE), stored)
    for name, numbers in zip(["A", "B", "Status"], stored, strict=True):
        np.testing.assert_array_equal(file.digital(name), numbers)
        assert file.sfreq(name) == RATE


def test_the_ends_of_the_stored_range_are_the_ends_of_the_physical_one(path, stored):
    signal = open_bdf(path).physical(["A", "B"])
    assert signal.dtype == np.float32 and signal.shape == (stored.shape[1], 2)
    assert signal[:2, 0].tolist() == [-262144.0, 262144.0]
    expected = -5 + 12 * (stored[1] + 2**23) / (2**24 - 1)
    np.testing.assert_allclose(signal[:, 1], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("last", ["Status", ""])
def test_samples_names_and_rate_are_those_of_mne(stored, tmp_path, last):
    import mne

    path = tmp_path / "a.bdf"
    path.write_bytes(content(stored, [*CHANNELS[:2], (last, "Boolean", *BITS)]))
    raw, file = mne.io.read_raw_bdf(path, verbose="error"), open_bdf(path)
    assert tuple(raw.ch_names) == file.names == ("A", "B", last)
    assert raw.info["sfreq"] == file.sfreq("A")
    theirs = raw.get_data()
    np.testing.assert_allclose(file.physical(["A"])[:, 0], theirs[0] * 1e6, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(file.physical(["B"])[:, 0], theirs[1] * 1e3, rtol=1e-6, atol=1e-6)
    # MNE cuts the bits above the 17th from a channel called Status only.
    mask = 2**17 - 1 if last else -1
    np.testing.assert_array_equal(file.digital(last) & mask, np.rint(theirs[2]).astype(int))


def test_two_channels_without_a_name_get_the_running_numbers_of_mne(stored, tmp_path):
    import mne

    channels = [CHANNELS[0], ("", "uV", -262144, 262144), ("", "Boolean", *BITS)]
    (tmp_path / "a.bdf").write_bytes(content(stored, channels))
    file = open_bdf(tmp_path / "a.bdf")
    theirs = mne.io.read_raw_bdf(tmp_path / "a.bdf", verbose="error")
    assert file.names == tuple(theirs.ch_names) == ("A", "-0", "-1")
    np.testing.assert_array_equal(file.digital("-1"), stored[2])


def test_channels_may_have_different_rates(tmp_path):
    header = bytearray(bdf_header(CHANNELS[:2], 2, samples_per_record=4))
    header[-2 * 32 - 8 : -2 * 32] = b"2       "
    a, b = np.arange(8) - 4, np.arange(4) * 1000
    body = b"".join(bdf_samples(x[None]) for x in (a[:4], b[:2], a[4:], b[2:]))
    (tmp_path / "a.bdf").write_bytes(bytes(header) + body)
    file = open_bdf(tmp_path / "a.bdf")
    assert (file.digital("A").tolist(), file.digital("B").tolist()) == (a.tolist(), b.tolist())
    assert (file.sfreq("A"), file.sfreq("B")) == (4, 2)


def test_the_number_of_records_that_a_broken_off_recording_states_is_the_size(stored, tmp_path):
    (tmp_path / "a.bdf").write_bytes(content(stored, n_records=-1))
    assert len(open_bdf(tmp_path / "a.bdf").digital("A")) == N_RECORDS * RATE


@pytest.mark.parametrize(
    ("at", "field", "message"),
    [
        (0, b"0       ", "expected .*BIOSEMI.* of a BDF file"),
        (192, b"BIOSEMI", "24BIT"),
        (184, b"1025", "a header of 1025 .*expected 1024 for 3 channels"),
        (236, b"4 ", "found 3 data records .*expected the 4"),
        (236, b"1e9", "expected the 1000000000"),
        (236, b"two", "the number of records 'two'"),
        (244, b"0 ", "records of 0 s"),
        (244, b"nan", "duration of a record 'nan'"),
        (252, b"0   ", "number of channels '0'"),
        (252, b"9999", "expected 2560000 for 9999 channels"),
        (252, b"2.5 ", "number of channels '2.5'"),
        (256 + 3 * 104, b"262144  ", "ranges 262144 to 262144 uV"),
        (256 + 3 * 120, b"-838860 ", "-838860 to 8388607 of channel 'A'"),
        (256 + 3 * 216, b"0       ", "samples per record '0'"),
        (256 + 3 * 216, b"17      ", "expected the 3 of its header"),
    ],
)
def test_a_header_that_contradicts_itself_is_an_error(path, at, field, message):
    data = path.read_bytes()
    path.write_bytes(data[:at] + field + data[at + len(field) :])
    with pytest.raises(UnreadableFileError, match=message) as caught:
        open_bdf(path)
    assert "a.bdf" in str(caught.value)


@pytest.mark.parametrize("change", ["cut", "longer", "header only", "empty"])
def test_a_file_of_the_wrong_size_is_an_error(path, change):
    data = path.read_bytes()
    changed = {"cut": data[:-1], "longer": data + b"x", "header only": data[:1024], "empty": b""}
    path.write_bytes(changed[change])
    with pytest.raises(UnreadableFileError, match=r"a\.bdf"):
        open_bdf(path)


def test_an_unknown_channel_is_an_error(path):
    with pytest.raises(UnreadableFileError, match=r"'A', 'B', 'Status' in .*one called 'C'"):
        open_bdf(path).digital("C")


@given(body=st.binary(max_size=2000), start=st.integers(0, 1100))
def test_any_bytes_are_an_error_or_a_file_of_their_size(tmp_path_factory, body, start):
    path = tmp_path_factory.mktemp("wild") / "w.bdf"
    whole = content(np.zeros((3, RATE * N_RECORDS), int))
    path.write_bytes(whole[:start] + body)
    try:
        file = open_bdf(path)
    except UnreadableFileError as error:
        assert "w.bdf" in str(error)
    else:
        assert file.records.nbytes + 256 * (len(file.names) + 1) == start + len(body)
