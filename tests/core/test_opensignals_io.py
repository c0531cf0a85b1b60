"""OpenSignals' HDF5 and text files against their headers and data sheets."""

import json

import numpy as np
import pytest

from physioemo.clock import find_gaps
from physioemo.errors import PhysioEmoError, UnreadableFileError
from physioemo.files import read_recording
from physioemo.opensignals_io import is_opensignals, read_opensignals
from tests.datasets.mutations import mutations

PLUX, BITALINO = "00:07:80:4D:2E:AD", "20:16:11:02:85:30"


def plux_header(sensors, **changes):
    labels = [f"CH{i + 1}" for i in range(len(sensors))]
    return {
        "sensor": sensors,
        "device": "biosignalsplux",
        "column": ["nSeq", "DI", *labels],
        "label": labels,
        "sampling rate": 1000,
        "resolution": [16] * len(sensors),
        "date": "2019-3-12",
        "time": "13:28:8.530",
        **changes,
    }


def write_txt(path, headers, rows):
    lines = ["# OpenSignals Text File Format", f"# {json.dumps(headers)}", "# EndOfHeader"]
    lines += ["\t".join(map(str, row)) + "\t" for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_h5(path, sensors=("EDA", "XYZ"), n=200):
    import h5py

    with h5py.File(path, "w") as file:
        group = file.create_group(PLUX)
        group.attrs.update({"sampling rate": 100, "resolution": [16] * len(sensors)})
        group.attrs.update({"device": "biosignalsplux", "nsamples": n})
        group.attrs.update({"date": "2019-3-12", "time": "13:28:8.530"})
        for i, sensor in enumerate(sensors):
            data = group.create_dataset(f"raw/channel_{i + 1}", data=np.full((n, 1), 2**15, "<u2"))
            data.attrs.update({"sensor": sensor, "label": f"CH{i + 1}"})
        group["raw/nSeq"] = np.arange(n)[:, None].astype("<u2")
        group["digital/digital_1"] = np.zeros((n, 1), "<u2")
    return path


@pytest.mark.parametrize(
    ("device", "sensor", "bits", "count", "unit", "value"),
    [
        ("biosignalsplux", "ECG", 16, 65535, "mV", 1.5 / 1.019),
        ("biosignalsplux", "EMG", 16, 0, "mV", -1.5),
        ("biosignalsplux", "EEG", 16, 0, "uV", -1.5 / 41782 * 1e6),
        ("biosignalsplux", "EDA", 16, 65535, "uS", 25.0),
        ("biosignalsplux", "TEMP", 16, 2**15, "degC", 25.0),  # at 10 kilohms
        ("bitalino_rev", "ECGBIT", 10, 1023, "mV", 1.5),
        ("bitalino_rev", "EDABITREV", 10, 1023, "uS", 25.0),
        ("bitalino_rev", "EEGBITREV", 10, 0, "uV", -39.49),
        ("biosignalsplux", "XYZ", 16, 33000, "a.u.", 33000.0),
        ("bitalino", "EDA", 10, 512, "a.u.", 512.0),
        ("biosignalsplux", "RAW", 16, 7, "a.u.", 7.0),
    ],
)
def test_counts_become_units_only_where_the_sheet_says_how(
    tmp_path, device, sensor, bits, count, unit, value
):
    header = plux_header([sensor], device=device, resolution=[bits])
    path = write_txt(tmp_path / "a.txt", {PLUX: header}, [(i, 0, count) for i in range(5)])
    stream = read_recording(path)["00-07-80-4D-2E-AD"]
    assert stream.attrs["unit"] == unit
    assert stream["signal"].values[0, 0] == pytest.approx(value, rel=2e-3)


def test_two_devices_lie_side_by_side_in_a_text_file(tmp_path):
    bitalino = plux_header(
        ["EDABITREV"],
        device="bitalino_rev",
        column=["nSeq", "I1", "I2", "O1", "O2", "A3"],
        resolution=[4, 1, 1, 1, 1, 10],
    )
    headers = {PLUX: plux_header(["ECG", "RESPIRATION"]), BITALINO: bitalino}
    rows = [(i, 0, 2**15, 40 + i, i % 16, 0, 0, 1, 0, 512) for i in range(30)]
    recording = read_recording(write_txt(tmp_path / "a.txt", headers, rows))
    plux, bit = recording["00-07-80-4D-2E-AD"], recording["20-16-11-02-85-30"]
    assert [str(u) for u in plux["channel_unit"].values] == ["mV", "a.u."]
    assert [str(t) for t in plux["channel_type"].values] == ["ecg", "respiration"]
    assert plux["signal"].values[3].tolist() == [0.0, 43.0]
    assert bit.attrs["modality"] == "eda" and bit["signal"].values[0, 0] == pytest.approx(12.5)
    digital = recording["20-16-11-02-85-30 digital"]
    assert [str(c) for c in digital["channel"].values] == ["I1", "I2", "O1", "O2"]
    assert digital["signal"].values[0].tolist() == [0, 0, 1, 0]


def test_lost_samples_are_a_gap(tmp_path):
    numbers = [i for i in range(600) if not 200 <= i < 350]
    path = write_txt(tmp_path / "a.txt", {PLUX: plux_header(["RAW"])}, [(i, 0, 5) for i in numbers])
    recording = read_opensignals(path)
    time = recording["00-07-80-4D-2E-AD"]["time"].values
    assert find_gaps(time, 1000.0).tolist() == [200]
    assert time.tolist() == (np.array(numbers) / 1000).tolist()
    assert "lost at least 150 samples in 1 places" in recording.notes[0]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ({"resolution": [10]}, (0, 0, 1024), "the count 1024 in channel 'CH1' in .*a.txt, expe"),
        ({"sampling rate": 0}, (0, 0, 1), "a header of the device 00:.* in .*a.txt"),
        ({"resolution": []}, (0, 0, 1), "0 resolutions for 1 channels"),
        ({}, (0, 0), r"the line '0\\t0\\t' \(line 4\) in .*a.txt, expected 3 whole numbers"),
        ({}, (0, 0, 1.5), "converted values instead of counts"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, header, row, message):
    path = write_txt(tmp_path / "a.txt", {PLUX: plux_header(["RAW"], **header)}, [row] * 3)
    with pytest.raises(UnreadableFileError, match=message):
        read_recording(path)


def test_damage_never_escapes_as_another_error(tmp_path):
    rows = [(i, 0, 30000 + i, 5) for i in range(40)]
    text = write_txt(tmp_path / "a.txt", {PLUX: plux_header(["EDA", "RAW"])}, rows)
    n_read = 0
    for path in (text, write_h5(tmp_path / "a.h5")):
        for data in mutations(path.read_bytes(), n=100):
            path.write_bytes(data)
            try:
                recording = read_recording(path)
            except PhysioEmoError as error:
                assert path.name in str(error)
            else:
                n_read += 1
                recording.quality()
    assert n_read > 20


def test_the_real_skin_conductance(shared_data):
    path = shared_data("biosignalsnotebooks") / "eda_hot_surface.h5"
    assert is_opensignals(path)
    eda = read_recording(path)["eda"]
    assert eda.attrs["unit"] == "uS" and eda["time"].values[-1] == pytest.approx(37.049)
    signal = eda["signal"].values[:, 0]
    assert (signal.min(), signal.max()) == pytest.approx((7.3, 24.4), abs=0.05)


def test_a_real_eeg_of_sensor_raw_stays_counts(shared_data):
    path = shared_data("biosignalsnotebooks") / "eeg_sample_closed_open_eyes.h5"
    stream = read_recording(path)["00-07-80-3B-46-58"]
    assert stream.sizes["time"] == 242_031 and stream.attrs["unit"] == "a.u."
    assert stream["signal"].dtype == np.int32
    assert np.diff(stream["time"].values).max() == pytest.approx(1e-3)  # the counter wraps


def test_devices_that_share_a_cable_share_their_rows(shared_data):
    path = shared_data("biosignalsnotebooks") / "sync_cable_light.h5"
    recording = read_recording(path)
    one, two = (recording[k] for k in ("00-07-80-4D-2E-AD", "00-07-80-D8-A8-82"))
    assert np.array_equal(one["time"].values, two["time"].values)
    box = np.ones(30) / 30
    part = slice(10_000, 20_000)
    steps = [np.diff(np.convolve(s["signal"].values[part, 0], box, "valid")) for s in (one, two)]
    lags = range(-20, 21)
    fit = [np.dot(steps[0][50:-50], np.roll(steps[1], lag)[50:-50]) for lag in lags]
    assert abs(lags[int(np.argmax(fit))]) <= 1
    assert "jump in 9 places" in recording.notes[0]
