"""What is written as XDF is loaded by pyxdf and MNE, and comes back bit by bit."""

import logging
import struct
from xml.etree import ElementTree

import mne
import numpy as np
import pytest

from physioemo.atomic_file import new_path
from physioemo.errors import CallError, DataError, DiskFullError, RecordingExistsError, StoreError
from physioemo.files import read_recording
from physioemo.mne_io import from_raw
from physioemo.overrides import Overrides
from physioemo.store import create_recording
from physioemo.stream import make_stream
from physioemo.trials import make_ratings, make_trials
from physioemo.xdf_export import export_xdf
from tests import realdata, xdf
from tests.simulated import simulated_recording
from tests.streams import eeg_description, eeg_stream, marker_stream, rating_stream


def pyxdf_load(path, **options):
    import pyxdf

    logging.getLogger("pyxdf").setLevel(logging.CRITICAL)
    streams, header = pyxdf.load_xdf(path, **options)
    return {s["info"]["name"][0]: s for s in streams}, header


def assert_same(found, wanted):
    assert set(found.streams) == set(wanted.streams)
    for key in wanted.streams:
        a, b = found[key], wanted[key]
        assert a["signal"].dtype == b["signal"].dtype and a.attrs == b.attrs
        numeric = a["signal"].dtype.kind == "f"
        assert np.array_equal(a["signal"].values, b["signal"].values, equal_nan=numeric)
        assert np.array_equal(a["raw_time"].values, b["raw_time"].values)
        assert np.array_equal(a["time"].values, b["time"].values)
        assert np.array_equal(a["clock_offset"].values[:, :2], b["clock_offset"].values[:, :2])
        for coordinate in ("channel", "channel_unit", "channel_type"):
            assert a[coordinate].values.tolist() == b[coordinate].values.tolist()
    assert found.notes == wanted.notes and found.events.identical(wanted.events)
    assert found.trials.identical(wanted.trials) and found.ratings.identical(wanted.ratings)


@pytest.mark.parametrize("name", ["clock_resets", "empty_streams", "minimal", "session"])
def test_an_xdf_file_makes_the_round_trip_bit_by_bit(shared_data, tmp_path, name):
    if name == "session":
        path = xdf.write(tmp_path / "session.xdf", xdf.session_chunks())
    else:
        path = shared_data("xdf-example-files") / f"{name}.xdf"
    ch_names = {"clock_resets": ["BioSemi=A,B,C,D,E,F,G,H"], "minimal": ["*=a,b,c"]}.get(name, [])
    source = read_recording(path, Overrides.parse(ch_names, ["*=a.u."]))
    once = read_recording(export_xdf(source, tmp_path / "once.xdf"))
    twice = export_xdf(once, tmp_path / "twice.xdf")
    again = read_recording(twice)
    assert_same(again, once)
    assert twice.read_bytes() == (tmp_path / "once.xdf").read_bytes()
    assert once.fingerprint() == source.fingerprint()
    for key in source.streams:
        assert np.array_equal(once[key]["raw_time"].values, source[key]["raw_time"].values)
        offsets = (r[key]["clock_offset"].values[:, :2] for r in (once, source))
        assert np.array_equal(*offsets)
    if name == "session":
        assert once["EEG"].attrs["xml"] == source["EEG"].attrs["xml"]
        assert once.attrs["created_utc"] == source.attrs["created_utc"]


@pytest.mark.parametrize(
    "channel_format", ["float32", "double64", "int8", "int16", "int32", "int64"]
)
def test_pyxdf_loads_equal_values_and_stamps(tmp_path, rng, channel_format):
    time = 5000 + np.arange(6000) / 250 + rng.normal(0, 1e-4, 6000)
    measured = 5000 + np.arange(0, 25, 5.0)
    offsets = np.column_stack([measured, -4000 + 2e-5 * (measured - 5000), np.full(5, 1e-4)])
    dtype = {"float32": "f4", "double64": "f8"}.get(channel_format, channel_format)
    signal = (rng.standard_normal((6000, 3)) * 50).astype(dtype)
    description = eeg_description(3, channel_format=channel_format)
    stream = make_stream(signal, description, raw_time=time, clock_offsets=offsets)
    markers = marker_stream([(1001.0, "los, 日本"), (1003.5, {"event": "x"}), (1004.0, "")])
    source = create_recording(tmp_path / "a.zarr", {"EEG": stream, "Markers": markers})
    path = export_xdf(source, tmp_path / "mit Ümläut.xdf")
    raw, _ = pyxdf_load(path, synchronize_clocks=False, dejitter_timestamps=False)
    assert np.array_equal(raw["EEG"]["time_series"], signal)
    assert raw["EEG"]["time_series"].dtype == signal.dtype
    assert np.array_equal(raw["EEG"]["time_stamps"], time)
    assert raw["EEG"]["clock_values"] == offsets[:, 1].tolist()
    assert [row[0] for row in raw["Markers"]["time_series"]] == ["los, 日本", '{"event": "x"}', ""]
    default, _ = pyxdf_load(path)
    assert np.abs(default["EEG"]["time_stamps"] - source["EEG"]["time"].values).max() < 1e-3
    synced, _ = pyxdf_load(path, dejitter_timestamps=False)
    assert np.abs(synced["EEG"]["time_stamps"] - source["EEG"]["time"].values).max() < 1e-4


def test_footers_say_what_was_written_and_boundaries_come_every_ten_seconds(tmp_path):
    stream = eeg_stream(np.zeros((7500, 2)))
    source = create_recording(tmp_path / "a.zarr", {"EEG": stream})
    path = export_xdf(source, tmp_path / "a.xdf")
    streams, header = pyxdf_load(path)
    footer = streams["EEG"]["footer"]["info"]
    assert (footer["first_timestamp"], footer["last_timestamp"]) == (["0.0"], ["29.996"])
    assert footer["sample_count"] == ["7500"]
    assert float(footer["measured_srate"][0]) == pytest.approx(250)
    assert header["info"]["version"] == ["1.0"]
    assert path.read_bytes().count(xdf.BOUNDARY) == 4


def test_mne_gets_the_same_data_from_the_file_as_from_the_recording(shared_data, tmp_path):
    source = create_recording(tmp_path / "a", realdata.muse_run(shared_data("muse-lsl-eeg")))
    streams, _ = pyxdf_load(export_xdf(source, tmp_path / "muse.xdf"), dejitter_timestamps=False)
    muse = streams["muse"]
    channels = muse["info"]["desc"][0]["channels"][0]["channel"]
    assert {c["unit"][0] for c in channels} == {"uV"}
    names = [c["label"][0] for c in channels]
    info = mne.create_info(names, float(muse["info"]["nominal_srate"][0]), "eeg")
    loaded = mne.io.RawArray(muse["time_series"].T * 1e-6, info, verbose="ERROR")
    assert np.allclose(loaded.get_data(), source.to_mne("muse").get_data(), rtol=1e-12)
    assert np.array_equal(muse["time_stamps"], source["muse"]["time"].values)
    onsets = [float(t) for t in streams["Markers"]["time_stamps"]]
    assert onsets == source.events["onset_seconds"].values.tolist()


@pytest.mark.parametrize(
    ("folder", "read"),
    [
        ("neurokit-bio", realdata.neurokit_event_related),
        ("physionet-wfdb", lambda f: realdata.wfdb_record(f, "v102s")),
        ("pupil-labs-neon", None),
        ("flirt-empatica-e4", None),
    ],
)
def test_real_recordings_come_back(shared_data, tmp_path, folder, read):
    path = shared_data(folder)
    source = create_recording(tmp_path / "a", read(path)) if read else read_recording(path)
    found = read_recording(export_xdf(source, tmp_path / "a.xdf"))
    for key in source.streams:
        a, b = found[found.key(source[key].attrs["name"])], source[key]
        assert np.array_equal(a["signal"].values, b["signal"].values, equal_nan=True)
        assert np.abs(a["time"].values - b["time"].values).max() < 1e-4
    wanted = source.events["onset_seconds"].values
    assert np.allclose(found.events["onset_seconds"].values, wanted, atol=1e-9)


def test_tables_that_no_stream_holds_become_streams(tmp_path, rng):
    trials = make_trials([(1, 2.0, 8.0, "clip-03"), (2, 12.0, 8.0, "clip-07")])
    ratings = make_ratings([1, 2], ["valence", "arousal"], [[7, 3], [2, 5]], scale=(1, 9))
    source = create_recording(
        tmp_path / "a.zarr",
        {"EEG": eeg_stream(rng.standard_normal((6000, 2)))},
        trials=trials,
        ratings=ratings,
    )
    found = read_recording(export_xdf(source, tmp_path / "a.xdf"))
    assert found.trials.identical(trials)
    assert found.ratings.equals(ratings) and found.ratings.attrs == ratings.attrs


def test_annotations_keep_their_durations(tmp_path, rng):
    info = mne.create_info(["Cz"], 100.0, "eeg")
    raw = mne.io.RawArray(rng.standard_normal((1, 1000)), info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([1.0, 5.0], [0.0, 2.0], ["go", "film"]))
    found = read_recording(export_xdf(from_raw(raw), tmp_path / "a.xdf"))
    texts = [str(d) for d in found.events["description"].values]
    assert texts == ["go", '{"event": "film", "duration_seconds": 2.0}']


def test_streams_that_already_say_it_are_written_as_they_are(tmp_path):
    streams = {
        "EEG": eeg_stream(np.zeros((500, 2))),
        "Ratings": rating_stream([(1.5, 1, 7, 3, 5)]),
        "m": marker_stream([(0.1, {"event": "trial_start", "trial": 1, "stimulus": "c"})]),
    }
    source = create_recording(tmp_path / "a.zarr", streams)
    assert set(pyxdf_load(export_xdf(source, tmp_path / "a.xdf"))[0]) == {
        "EEG",
        "Ratings",
        "Markers",
    }


def test_a_simulated_recording_says_so_in_the_file(tmp_path):
    source = simulated_recording(tmp_path / "a.zarr", n_trials=1)
    found = read_recording(export_xdf(source, tmp_path / "a.xdf"))
    assert source.simulated and found.simulated
    assert found.fingerprint() == source.fingerprint()


def test_a_header_keeps_what_the_device_said_beside_what_was_stated(tmp_path):
    desc = "<manufacturer>Acme</manufacturer>"
    chunks = xdf.session_chunks(2)
    chunks[1] = xdf.header(1, "EEG", 3, 100, "float32", unit="", desc=desc)
    path = xdf.write(tmp_path / "a.xdf", chunks)
    source = read_recording(path, Overrides.parse(units=["EEG=uV"]))
    found = read_recording(export_xdf(source, tmp_path / "b.xdf"))
    root = ElementTree.fromstring(found["EEG"].attrs["xml"])
    assert root.findtext("desc/manufacturer") == "Acme"
    assert [c.findtext("unit") for c in root.iter("channel")] == ["uV"] * 3


def test_what_was_repaired_stays_in_the_notes(tmp_path):
    path = xdf.write(tmp_path / "a.xdf", xdf.session_chunks()[:-3])
    source = read_recording(path)
    found = read_recording(export_xdf(source, tmp_path / "b.xdf"))
    assert "has no footer" in source.notes[0] and found.notes == source.notes


def test_nothing_is_overwritten_unasked_and_a_failure_leaves_nothing(tmp_path, monkeypatch):
    source = create_recording(tmp_path / "a.zarr", {"EEG": eeg_stream(np.zeros((50, 2)))})
    path = tmp_path / "a.xdf"
    path.write_bytes(b"mine")
    with pytest.raises(RecordingExistsError, match=r"a file at .*a\.xdf, .*pass --overwrite"):
        export_xdf(source, path)
    with pytest.raises(RecordingExistsError, match=r"found a folder at"):
        export_xdf(source, source.path.rename(tmp_path / "b.xdf"), overwrite=True)
    monkeypatch.setattr("physioemo.xdf_export._footer", lambda track: 1 / 0)
    source = from_raw(mne.io.RawArray(np.zeros((1, 9)), mne.create_info(1, 1.0), verbose="ERROR"))
    with pytest.raises(ZeroDivisionError):
        export_xdf(source, path, overwrite=True)
    assert path.read_bytes() == b"mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.xdf", "b.xdf"]
    monkeypatch.undo()
    assert export_xdf(source, path, overwrite=True).read_bytes()[:4] == b"XDF:"


def test_a_full_or_forbidden_disk_is_a_sentence(tmp_path):
    with (
        pytest.raises(DiskFullError, match=r"a\.xdf cannot be written \(No space left"),
        new_path(tmp_path / "a.xdf") as partial,
        partial.open("wb"),
    ):
        raise OSError(28, "No space left on device")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be written"), new_path(tmp_path / "file" / "a"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_xdf_cannot_hold_is_refused(tmp_path):
    source = create_recording(tmp_path / "a.zarr", {"EEG": eeg_stream(np.zeros((50, 2)))})
    with pytest.raises(CallError, match=r"'a\.edf', expected one that ends in '\.xdf'"):
        export_xdf(source, tmp_path / "a.edf")
    odd = {"EEG": eeg_stream(np.zeros((5, 1)), ch_names=("C\x013",))}
    with pytest.raises(DataError, match="a character in the description of the stream 'EEG'"):
        export_xdf(create_recording(tmp_path / "b.zarr", odd), tmp_path / "b.xdf")
    assert not (tmp_path / "b.xdf").exists()


def test_garbage_offsets_survive_the_round_trip(tmp_path):
    chunks = xdf.session_chunks()
    chunks.insert(-3, xdf.offset(1, 3.1e-310, 7e150))
    source = read_recording(xdf.write(tmp_path / "a.xdf", chunks))
    found = read_recording(export_xdf(source, tmp_path / "b.xdf"))
    pair = found["EEG"]["clock_offset"].values[-1, :2]
    assert struct.pack("<dd", *pair) == struct.pack("<dd", 3.1e-310, 7e150)
    assert np.array_equal(found["EEG"]["time"].values, source["EEG"]["time"].values)
