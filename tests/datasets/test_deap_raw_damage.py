"""DEAP's raw recordings: what is damaged or not DEAP's is an error that names the file."""

import shutil

import numpy as np
import pytest

from physioemo.datasets.deap_raw import read_deap_raw
from physioemo.datasets.deap_raw_fixture import write_deap_raw_fixture
from physioemo.errors import UnreadableFileError
from tests.datasets.deap_raw_files import SECONDS, edit, read, rewrite, table
from tests.datasets.mutations import mutations


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deap_raw")
    write_deap_raw_fixture(folder, subjects=[2], video_seconds=SECONDS, haste=20)
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    """The files of participant 2, that a test may change."""
    return shutil.copytree(folder, tmp_path / "copy")


def header_field(path, block_bytes, width, value, channels=range(48)):
    """Overwrite one field of some channels; `block_bytes` is what comes before it per channel."""
    data = bytearray(path.read_bytes())
    for k in channels:
        at = 256 + 48 * block_bytes + width * k
        data[at : at + width] = value.ljust(width)
    path.write_bytes(bytes(data))


def no_status(folder):
    header_field(folder / "s02.bdf", 0, 16, b"Other", [47])


def no_gsr(folder):
    header_field(folder / "s02.bdf", 0, 16, b"GSR9", [40])


def one_gain(folder):
    header_field(folder / "s02.bdf", 104, 8, b"-262145", [3])


def no_voltage(folder):
    header_field(folder / "s02.bdf", 96, 8, b"degC", range(40))


def wrong_rate(folder):
    data = (folder / "s02.bdf").read_bytes()
    (folder / "s02.bdf").write_bytes(data[:244] + b"2       " + data[252:])


def cut(folder):
    data = (folder / "s02.bdf").read_bytes()
    (folder / "s02.bdf").write_bytes(data[: len(data) // 2])


def remove_code(code, which):
    def change(labels, stored):
        found = np.flatnonzero((stored[-1] & 0xFF) == code)[8 * which :][:8]
        stored[-1, found] &= ~0xFF

    return lambda folder: edit(folder / "s02.bdf", change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_status, "expected one called 'Status' or one or two without a name"),
        (no_gsr, "expected one called 'GSR1'"),
        (one_gain, "2 different ranges or units of the electrodes"),
        (no_voltage, "found the unit 'degC'"),
        (wrong_rate, "at 256 Hz .*expected 512 Hz"),
        (cut, "data records .*expected the"),
        (remove_code(4, 10), r"found 39 starts of a video \(code 4\)"),
        (remove_code(5, 10), r"1 fixations \(code 3\) before and nan s of video .*trial 11"),
        (remove_code(3, 10), r"0 fixations \(code 3\) .*trial 11"),
    ],
)
def test_a_file_that_is_not_deaps_is_an_error(copy, change, message):
    change(copy)
    with pytest.raises(UnreadableFileError, match=message) as caught:
        read(copy, 2)
    assert "s02.bdf" in str(caught.value)


def drop(rows):
    rows.remove(next(r for r in rows if r["Participant_id"] == "2" and r["Trial"] == "9"))


def twice(rows):
    next(r for r in rows if r["Participant_id"] == "2" and r["Trial"] == "9")["Trial"] = "8"


def same_video(rows):
    own = [r for r in rows if r["Participant_id"] == "2"]
    own[3]["Experiment_id"] = own[4]["Experiment_id"]


def set_first(column, value):
    return lambda rows: next(r for r in rows if r["Participant_id"] == "2").update({column: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"39 rows of participant 2 .*each Trial from 1 to 40 once"),
        (twice, r"40 rows of participant 2 .*each Trial from 1 to 40 once"),
        (same_video, r"each Experiment_id from 1 to 40 once"),
        (set_first("Valence", "9.5"), r"valence rating 9\.5"),
        (set_first("Liking", "inf"), r"liking rating inf"),
        (set_first("Liking", "high"), r"the Liking 'high' in"),
        (set_first("Familiarity", "6"), r"familiarity of participant 2 outside 1 to 5"),
        (lambda rows: [r.pop("Experiment_id") for r in rows], r"expected each of Participant_id"),
    ],
)
def test_a_damaged_table_of_ratings_is_an_error(copy, change, message):
    rows = table(copy)
    change(rows)
    rewrite(copy, rows)
    with pytest.raises(UnreadableFileError, match=message) as caught:
        read(copy, 2)
    assert "participant_ratings.csv" in str(caught.value)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Participant 1 in about 20 s: videos of an eighth of a second."""
    folder = tmp_path_factory.mktemp("tiny")
    write_deap_raw_fixture(folder, subjects=[1], video_seconds=0.125, haste=100)
    return folder


def damaged_reads(folder, tmp_path, name, damaged_files):
    """Return how many damaged versions of a file were refused, and the recordings of the rest."""
    shutil.copytree(folder, tmp_path / "damaged")
    refused, kept = 0, []
    for damaged in damaged_files:
        (tmp_path / "damaged" / name).write_bytes(damaged)
        try:
            kept.append((damaged, read_deap_raw(tmp_path / "damaged", 1, video_seconds=0.125)))
        except UnreadableFileError as error:
            assert name in str(error)
            refused += 1
    return refused, kept


def test_a_damaged_file_is_an_error_that_names_it_or_reads_whole(tiny, tmp_path):
    data = (tiny / "s01.bdf").read_bytes()
    whole = read_deap_raw(tiny, 1, video_seconds=0.125)
    refused, kept = damaged_reads(tiny, tmp_path, "s01.bdf", mutations(data, n=200))
    assert refused >= 100
    for damaged, recording in kept:  # a flipped bit of a sample cannot be told from another sample
        assert len(damaged) == len(data)
        assert recording["eeg"]["signal"].shape == whole["eeg"]["signal"].shape
        apart = (recording["eeg"]["signal"] != whole["eeg"]["signal"]).values.sum()
        assert apart <= 1 and recording.trials["stimulus"].equals(whole.trials["stimulus"])


def test_a_damaged_header_is_an_error_or_changes_no_electrode_and_no_trial(tiny, tmp_path):
    data = (tiny / "s01.bdf").read_bytes()
    header = 256 * 49
    rng = np.random.default_rng(1)
    places = rng.integers(0, header, 100), 1 << rng.integers(0, 8, 100)
    flipped = [
        data[:at] + bytes([data[at] ^ int(bit)]) + data[at + 1 :]
        for at, bit in zip(*places, strict=True)
    ]
    whole = read_deap_raw(tiny, 1, video_seconds=0.125)
    refused, kept = damaged_reads(tiny, tmp_path, "s01.bdf", flipped)
    assert refused >= 20
    for _, recording in kept:  # free text, or the range of a sensor
        for key in ("eeg", "eog", "emg"):
            np.testing.assert_array_equal(recording[key]["signal"], whole[key]["signal"])
        assert recording.trials.equals(whole.trials)


def test_a_damaged_table_is_an_error_that_names_it_or_is_within_its_scales(tiny, tmp_path):
    data = (tiny / "participant_ratings.csv").read_bytes()
    own = data[: data.index(b"\r\n2,1,") + 2]  # the rows of participant 1
    refused, kept = damaged_reads(tiny, tmp_path, "participant_ratings.csv", mutations(own, n=200))
    assert refused >= 80
    for _, recording in kept:
        rating = recording.ratings["rating"].values
        assert rating.shape == (40, 4) and ((rating >= 1) & (rating <= 9) | np.isnan(rating)).all()
        assert sorted(recording.trials["stimulus"].values)[0] == "deap-video-01"
