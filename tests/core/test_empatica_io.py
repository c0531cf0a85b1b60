"""The folder of an Empatica E4: files of different rates, lengths and starts."""

import numpy as np
import pytest

from physioemo.empatica_io import is_empatica, read_empatica
from physioemo.errors import PhysioEmoError, UnreadableFileError
from physioemo.files import read_recording
from tests.datasets.mutations import mutations

START = 1560279825.0


def write_e4(folder):
    """Write a small session; the samples count up, HR begins ten seconds late."""
    folder.mkdir(exist_ok=True)
    for name, rate, n, start in (
        ("BVP", 64, 640, START),
        ("EDA", 4, 80, START),
        ("TEMP", 4, 40, START),
        ("HR", 1, 5, START + 10),
    ):
        samples = "\n".join(f"{i / 10:.2f}" for i in range(n))
        (folder / f"{name}.csv").write_text(f"{start:.2f}\n{rate}.000000\n{samples}\n")
    rows = [", ".join([f"{v:.6f}"] * 3) for v in (START, 32.0)] + ["-64,32,6"] * 96
    (folder / "ACC.csv").write_text("\n".join(rows) + "\n")
    (folder / "IBI.csv").write_text(f"{START:.6f}, IBI\n3.5,0.8\n4.25,0.75\n")
    (folder / "tags.csv").write_text(f"{START + 2.5:.2f}\n")
    return folder


def test_each_file_is_a_stream_on_one_clock(tmp_path):
    recording = read_recording(write_e4(tmp_path / "e4"))
    assert recording.streams == ("BVP", "EDA", "TEMP", "ACC", "HR", "IBI")
    rates = [recording[k].attrs["sfreq"] for k in recording.streams]
    assert rates == [64.0, 4.0, 4.0, 32.0, 1.0, 0.0]
    assert recording["EDA"]["time"].values[[0, -1]].tolist() == [0.0, 19.75]
    assert recording["HR"]["time"].values[0] == 10.0
    assert recording["ACC"]["signal"].values[0].tolist() == [-1.0, 0.5, 0.09375]
    assert recording["IBI"]["time"].values.tolist() == [3.5, 4.25]
    assert recording["IBI"]["signal"].values[:, 0].tolist() == [0.8, 0.75]
    units = {k: recording[k].attrs["unit"] for k in recording.streams}
    assert units == {
        "BVP": "a.u.",
        "EDA": "uS",
        "TEMP": "degC",
        "ACC": "g",
        "HR": "bpm",
        "IBI": "s",
    }
    assert recording.events["onset_seconds"].values.tolist() == [2.5]
    assert recording.attrs["created_utc"] == "2019-06-11T19:03:45+00:00"


def test_a_file_without_samples_is_left_out_and_said(tmp_path):
    folder = write_e4(tmp_path / "e4")
    (folder / "IBI.csv").write_text("")
    recording = read_empatica(folder)
    assert "IBI" not in recording.streams and recording.notes == ("IBI.csv is empty",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("EDA.csv", f"{START}\nfour\n0.1\n", r"the line 'four' \(line 2\) in .*EDA.csv"),
        ("EDA.csv", f"{START}\n0.0\n0.1\n", r"\(line 2\) in .*EDA.csv, expected the rate in Hz"),
        ("EDA.csv", f"{START}\n4.0\n0.1\nnan\n", r"\(line 4\) in .*EDA.csv, expected 1 numbers"),
        ("EDA.csv", f"{START + 7200}\n4.0\n0.1\n", "EDA.csv starting 7200 s after BVP.csv"),
        ("ACC.csv", f"{START}\n32.0\n1\n", r"\(line 1\) in .*ACC.csv, expected 3 numbers"),
        ("IBI.csv", f"{START}, IBI\n5.0,0.8\n4.0,0.8\n", r"'4.0,0.8' \(line 3\) in .*IBI.csv"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    folder = write_e4(tmp_path / "e4")
    (folder / name).write_text(content)
    with pytest.raises(UnreadableFileError, match=message):
        read_recording(folder)


def test_damage_never_escapes_as_another_error(tmp_path):
    folder = write_e4(tmp_path / "e4")
    n_read = 0
    for i, file in enumerate(sorted(folder.iterdir())):
        whole = file.read_bytes()
        for data in mutations(whole, n=14, seed=i):
            file.write_bytes(data)
            try:
                recording = read_recording(folder)
            except PhysioEmoError as error:
                assert "e4" in str(error)
            else:
                n_read += 1
                recording.quality()
        file.write_bytes(whole)
    assert n_read > 10


def test_the_real_session_has_the_right_starts_and_lengths(shared_data):
    folder = shared_data("flirt-empatica-e4")
    assert is_empatica(folder)
    recording = read_recording(folder)
    n = {k: recording[k].sizes["time"] for k in recording.streams}
    assert n == {"BVP": 9998, "EDA": 9998, "TEMP": 4998, "ACC": 9998, "HR": 4998, "IBI": 4999}
    # A stretch of n samples lasts n periods, one more than from the first to the last.
    lasts = {k: n[k] / recording[k].attrs["sfreq"] for k in ("BVP", "ACC", "TEMP", "EDA", "HR")}
    assert lasts == pytest.approx(
        {"BVP": 156.2, "ACC": 312.4, "TEMP": 1249.5, "EDA": 2499.5, "HR": 4998.0}, abs=0.05
    )
    starts = {k: float(recording[k]["time"].values[0]) for k in recording.streams}
    assert starts == {"BVP": 0, "EDA": 0, "TEMP": 0, "ACC": 0, "HR": 10.0, "IBI": 83.503822}
    assert recording["EDA"]["raw_time"].values[0] == 1560279825.0
    assert recording["IBI"]["time"].values[-1] == pytest.approx(8934.0, abs=0.05)
    assert recording["IBI"]["signal"].values.mean() == pytest.approx(1.079, abs=5e-4)
    eda = recording["EDA"]["signal"].values
    assert (eda.min(), eda.max()) == pytest.approx((0.0, 0.115), abs=5e-4)
    assert np.linalg.norm(np.median(recording["ACC"]["signal"].values, axis=0)) == pytest.approx(
        1.0, abs=0.06
    )  # gravity: the unit is right
