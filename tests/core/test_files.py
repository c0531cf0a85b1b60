"""XDF and MNE files against their own documented truth, and the exports of devices."""

import json

import mne
import numpy as np
import pytest

from physioemo.errors import (
    CallError,
    RecordingNotFoundError,
    StreamDescriptionError,
    UnitError,
    UnreadableFileError,
)
from physioemo.files import read_recording
from physioemo.mne_io import from_raw
from physioemo.overrides import Overrides
from physioemo.store import create_recording
from physioemo.stream import make_stream
from tests.streams import eeg_description, eeg_stream, marker_stream


def raw_array(rng):
    names = ["Fp1", "Cz", "EOG1", "ECG", "GSR"]
    info = mne.create_info(names, 200.0, ["eeg", "eeg", "eeg", "ecg", "gsr"])
    raw = mne.io.RawArray(rng.standard_normal((5, 2000)) * 1e-5, info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([1.0, 5.0], [0.0, 2.0], ["go", "film"]))
    return raw


def test_an_mne_raw_becomes_one_stream_per_kind_of_channel(rng):
    raw = raw_array(rng)
    recording = from_raw(raw)
    assert recording.streams == ("eeg", "eog", "ecg", "gsr")
    assert np.array_equal(recording["eeg"]["signal"].values.T, raw.get_data(["Fp1", "Cz"]))
    assert recording["eda"].attrs["unit"] == "S"
    assert "'EOG1' is typed EEG in the file and was taken as EOG" in recording.notes[0]
    assert recording.events["onset_seconds"].values.tolist() == [1.0, 5.0]
    assert recording.events["duration_seconds"].values.tolist() == [0.0, 2.0]


def test_to_mne_and_back_keeps_samples_names_and_annotations(rng):
    recording = from_raw(raw_array(rng))
    again = from_raw(recording.to_mne("eeg"))
    assert np.array_equal(again["eeg"]["signal"].values, recording["eeg"]["signal"].values)
    assert [str(d) for d in again.events["description"].values] == ["go", "film"]


def test_a_cropped_raw_keeps_its_annotations_where_they_belong(rng):
    raw = raw_array(rng).crop(tmin=3.0)
    assert from_raw(raw).events["onset_seconds"].values.tolist() == [2.0]


def test_to_mne_converts_to_volts_and_marks_gaps(tmp_path):
    time = np.arange(500) / 250
    time[250:] += 3.0
    streams = {
        "EEG": eeg_stream(np.full((500, 2), 50.0), time=time),
        "m": marker_stream([(4.0, "after the gap")]),
    }
    raw = create_recording(tmp_path / "a.zarr", streams).to_mne("EEG")
    assert raw.get_data()[0, 0] == pytest.approx(50e-6)
    found = {a["description"]: a["onset"] for a in raw.annotations}
    assert found["BAD_gap"] == pytest.approx(249 / 250)
    assert found["after the gap"] == pytest.approx(1.0)


def test_to_mne_refuses_what_mne_cannot_hold(tmp_path):
    arbitrary = make_stream(
        np.zeros((9, 1)), eeg_description(1, units=("a.u.",), channel_format="double64")
    )
    r = create_recording(tmp_path / "a.zarr", {"m": marker_stream([(1.0, "x")]), "EEG": arbitrary})
    with pytest.raises(CallError, match="found the irregular stream 'Markers'"):
        r.to_mne("m")
    with pytest.raises(UnitError, match="of type 'eeg' in 'a.u.', expected a unit that converts"):
        r.to_mne("EEG")


@pytest.mark.parametrize("name", ["a.edf", "a.bdf", "a.vhdr", "a.set", "a_raw.fif"])
def test_every_promised_format_is_read(tmp_path, rng, name):
    info = mne.create_info(["Fp1", "Cz", "Oz"], 256.0, "eeg")
    raw = mne.io.RawArray(rng.normal(0, 2e-5, (3, 2560)), info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([2.0], [0.0], ["go"]))
    if name.endswith(".fif"):
        raw.save(tmp_path / name, verbose="ERROR")
    else:
        raw.export(tmp_path / name, verbose="ERROR")
    recording = read_recording(tmp_path / name)
    found = recording["eeg"]
    assert [str(c) for c in found["channel"].values] == ["Fp1", "Cz", "Oz"]
    assert found.attrs["sfreq"] == 256.0 and found.attrs["unit"] == "V"
    # 16 bits over the range of the data: some tens of nanovolts.
    assert np.abs(found["signal"].values[:2560].T - raw.get_data()).max() < 5e-8
    assert pytest.approx(float(recording.events["onset_seconds"].values[0]), abs=0.005) == 2.0


def test_the_eeglab_tutorial_recording(shared_data):
    recording = read_recording(shared_data("eeglab-sample") / "eeglab_data.set")
    assert recording["eeg"]["signal"].shape == (30504, 30)
    assert [str(c) for c in recording["eog"]["channel"].values] == ["EOG1", "EOG2"]
    texts = [str(d) for d in recording.events["description"].values]
    assert (texts.count("square"), texts.count("rt")) == (80, 74)


def test_a_clock_reset_in_xdf_gives_two_segments(shared_data):
    from physioemo.clock import segment_bounds
    from physioemo.stream import stream_quality

    stated = Overrides.parse(["BioSemi=A,B,C,D,E,F,G,H"], ["BioSemi=a.u."])
    recording = read_recording(shared_data("xdf-example-files") / "clock_resets.xdf", stated)
    eeg, markers = recording["BioSemi"], recording["MyMarkerStream"]
    time = eeg["time"].values
    assert eeg["signal"].shape == (27815, 8) and markers.sizes["time"] == 175
    assert (time[0], time[-1]) == (pytest.approx(810.1, abs=0.2), pytest.approx(1383.1, abs=0.2))
    assert segment_bounds(time, 100.0) == [(0, 12876), (12876, 27815)]
    assert eeg["raw_time"].values[[0, -1]] == pytest.approx([653150.379, 261.927], abs=1e-3)
    assert markers["time"].values[[0, -1]] == pytest.approx([812.93, 1380.82], abs=0.01)
    assert eeg.sizes["clock_measurement"] == 115
    # Of the clock after the reset: one line through both would be wrong by days.
    assert stream_quality(eeg)["sync_error_seconds"] < 1e-3


def test_the_minimal_xdf_file(shared_data):
    stated = Overrides.parse(["*=a,b,c"], ["*=a.u."])
    recording = read_recording(shared_data("xdf-example-files") / "minimal.xdf", stated)
    data = recording["SendDataC"]
    assert data["signal"].shape == (9, 3) and data["signal"].dtype == np.int16
    assert data["time"].values[0] == pytest.approx(5.0)
    assert data["raw_time"].values[0] == pytest.approx(5.1)
    assert recording["SendDataString"].sizes["time"] == 9


def test_empty_streams_in_xdf_stay_empty(shared_data):
    stated = Overrides.parse(units=["*=a.u."])
    recording = read_recording(shared_data("xdf-example-files") / "empty_streams.xdf", stated)
    sizes = sorted(recording[k].sizes["time"] for k in recording.streams)
    assert sizes == [0, 0, 1, 10]
    key = recording.key("Data stream: test stream 0 counter")
    assert recording[key]["signal"].values[:, 0].tolist() == list(range(10))


def test_an_xdf_without_names_is_refused_until_they_are_stated(shared_data):
    with pytest.raises(StreamDescriptionError, match=r"clock_resets.xdf: .*state them with --ch"):
        read_recording(shared_data("xdf-example-files") / "clock_resets.xdf")


@pytest.mark.parametrize("name", ["a.xdf", "a.edf", "a.vhdr", "a.set", "a_raw.fif", "a.txt"])
@pytest.mark.parametrize("content", [b"", b"not what the name says" * 100])
def test_an_unreadable_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFileError, match=f"{name} cannot be read"):
        read_recording(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "streams"),
    [
        ("pypillometry-eyelink/002_rlmw_samples_short.asc", {"eyelink": 20465, "blinks": 21}),
        ("pupil-labs-neon", {"gaze": 1788, "pupil": 1788, "imu": 969}),
        ("flirt-empatica-e4", {"BVP": 9998, "EDA": 9998, "IBI": 4999}),
        ("biosignalsnotebooks/eda_hot_surface.h5", {"20-16-11-02-85-30": 37050}),
    ],
)
def test_exports_of_devices_are_imported_as_they_were_read(shared_data, tmp_path, name, streams):
    folder, _, file = name.partition("/")
    source = read_recording(shared_data(folder) / file)
    stored = create_recording(
        tmp_path / "a.zarr",
        {key: source[key] for key in source.streams},
        events=source.events,
        attrs=source.attrs,
    )
    for key, n in streams.items():
        assert stored[key].sizes["time"] == n
        assert np.array_equal(
            stored[key]["signal"].values, source[key]["signal"].values, equal_nan=True
        )
    assert stored.events.sizes == source.events.sizes and stored.notes == source.notes


def test_the_command_line_imports_and_inspects_a_folder(shared_data, tmp_path, typed):
    out = tmp_path / "session.zarr"
    done = typed("import", shared_data("flirt-empatica-e4"), out, check=0)
    assert "is now the recording" in done.stdout
    found = json.loads(typed("inspect", out, "--json", check=0).stdout)
    assert found["streams"]["EDA"]["sfreq"] == 4.0 and found["streams"]["EDA"]["units"] == ["uS"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordingNotFoundError, match="found nothing at"):
        read_recording(tmp_path / "absent.edf")
