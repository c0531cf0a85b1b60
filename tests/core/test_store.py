import json
import shutil

import numpy as np
import pytest
import xarray as xr

import physioemo
from physioemo import journal_reader
from physioemo.errors import (
    CallError,
    DamagedRecordingError,
    NewerSchemaError,
    RecordingExistsError,
    RecordingNotFoundError,
    SignalError,
)
from physioemo.journal import FrameKind, Journal, encode_frame, encode_samples
from physioemo.store import create_recording, open_recording, seal
from physioemo.stream import make_stream
from tests.streams import eeg_description, eeg_stream, marker_stream, trial_markers


@pytest.fixture
def stored(tmp_path, rng):
    signal = rng.standard_normal((1000, 4))
    markers = trial_markers([(1, 0.5, 1.0, "clip-a"), (2, 2.0, 1.0, "clip-b")])
    return create_recording(tmp_path / "a.zarr", {"EEG": eeg_stream(signal), "markers": markers})


def test_a_recording_comes_back_as_it_was_written(stored, rng):
    again = physioemo.open_recording(stored.path)
    eeg = again["eeg"]
    assert eeg["signal"].dims == ("time", "channel") and eeg["signal"].dtype == np.float32
    expected = np.random.default_rng(20261120).standard_normal((1000, 4)).astype(np.float32)
    assert np.array_equal(eeg["signal"].values, expected)
    assert (eeg.attrs["sfreq"], eeg.attrs["unit"]) == (250.0, "uV")
    assert np.array_equal(eeg["time"].values, np.arange(1000) / 250)
    assert again.fingerprint() == stored.fingerprint()


def test_each_stream_has_its_own_time_and_the_root_has_none(stored):
    assert "time" not in stored.tree.dims
    assert stored["EEG"].sizes["time"] == 1000 and stored["markers"].sizes["time"] == 4


def test_plain_xarray_opens_the_store(stored):
    with xr.open_datatree(stored.path, engine="zarr") as tree:
        assert tree["EEG"]["signal"].shape == (1000, 4)


def test_trials_are_read_from_markers(stored):
    trials = stored.trials
    assert trials["trial"].values.tolist() == [1, 2]
    assert trials["duration_seconds"].values == pytest.approx([1.0, 1.0])
    assert [str(s) for s in trials["stimulus"].values] == ["clip-a", "clip-b"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int16, np.int32, np.int64])
def test_every_number_type_of_lsl_is_kept(tmp_path, dtype):
    signal = np.array([[1, -2], [3, 4]], dtype)
    names = {"f4": "float32", "f8": "double64"}
    channel_format = names.get(np.dtype(dtype).str[1:], np.dtype(dtype).name)
    described = eeg_description(2, channel_format=channel_format)
    recording = create_recording(tmp_path / "a.zarr", {"x": make_stream(signal, described)})
    found = recording["x"]["signal"].values
    assert found.dtype == dtype and np.array_equal(found, signal)


def test_text_of_all_scripts_is_kept(tmp_path):
    texts = ["plain", "Grüße, 日本", "", "tab\tand\nline"]
    recording = create_recording(
        tmp_path / "Ordner mit Ümläut", {"m": marker_stream(list(enumerate(texts)))}
    )
    assert [str(t) for t in recording["m"]["signal"].values[:, 0]] == texts


def test_nothing_is_overwritten_unasked(stored):
    with pytest.raises(RecordingExistsError, match="found a recording at .* pass --overwrite"):
        create_recording(stored.path, {"x": eeg_stream(np.zeros((5, 1)))})
    assert open_recording(stored.path)["EEG"].sizes["time"] == 1000


def test_overwrite_replaces_a_recording_and_nothing_else(stored, tmp_path):
    create_recording(stored.path, {"x": eeg_stream(np.zeros((5, 1)))}, overwrite=True)
    assert open_recording(stored.path).streams == ("x",)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(RecordingExistsError, match="found something that is not a recording"):
        create_recording(tmp_path / "thesis", {"x": eeg_stream(np.zeros((5, 1)))}, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_a_path_without_a_recording_says_so(tmp_path):
    with pytest.raises(RecordingNotFoundError, match="found no such folder"):
        open_recording(tmp_path / "absent")
    with pytest.raises(RecordingNotFoundError, match="neither zarr.json nor a journal"):
        open_recording(tmp_path)


def change_root(path, **attributes):
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"].update(attributes)
    (path / "zarr.json").write_text(json.dumps(root))


def test_a_store_of_a_newer_schema_is_refused(stored):
    change_root(stored.path, schema_version=99)
    with pytest.raises(NewerSchemaError, match="found schema version 99 .* update PhysioEmo"):
        open_recording(stored.path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: change_root(p, schema_version=None), "found no schema_version"),
        (lambda p: change_root(p, n_committed={"EEG": 7}), "found 1000 samples .*expected 7"),
        (lambda p: change_root(p, n_committed={"ECG": 7}), "found no group 'ECG'"),
        (lambda p: (p / "zarr.json").write_text("{"), "cannot be opened"),
    ],
)
def test_damage_is_named_with_its_place(stored, damage, message):
    damage(stored.path)
    with pytest.raises(DamagedRecordingError, match=message):
        open_recording(stored.path)


def test_a_flipped_bit_in_a_sealed_recording_is_an_error_and_no_other_number(stored, rng, typed):
    folder = stored.path
    (shard,) = [f for f in (folder / "EEG" / "signal" / "c").rglob("*") if f.is_file()]
    whole = shard.read_bytes()
    for at in rng.integers(0, len(whole), 20):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        shard.write_bytes(damaged)
        with pytest.raises((ValueError, RuntimeError)):
            open_recording(folder)["EEG"]["signal"].to_numpy()
    done = typed("inspect", folder, check=1)
    assert "found stored data" in done.stderr and "restore the recording from a copy" in done.stderr


def test_an_empty_recording_is_refused(tmp_path):
    with pytest.raises(CallError, match="found no streams"):
        create_recording(tmp_path / "a.zarr", {})


@pytest.mark.parametrize("bad", [np.array([0.0, np.nan]), np.array([0.0]), np.zeros((2, 1))])
def test_stamps_must_be_finite_and_one_per_sample(bad):
    with pytest.raises(SignalError, match="stream 'EEG': time"):
        make_stream(np.zeros((2, 4), np.float32), eeg_description(), time=bad)


def write_journal(folder, *, end=True):
    """Write what a recorder writes: 4 channels, frames of 50 samples, one clock offset."""
    journal = Journal(folder / "journal", ballast_bytes=0)
    session = {"schema_version": 1, "created_utc": "2026-11-20T10:00:00+00:00"}
    journal.append_json(FrameKind.SESSION, 0, session)
    journal.append_json(FrameKind.STREAM, 0, eeg_description().to_dict())
    journal.append(FrameKind.CLOCK, 0, np.array([0.0, 5.0, 1e-4]).tobytes())
    signal = np.random.default_rng(1).standard_normal((500, 4)).astype(np.float32)
    for start in range(0, 500, 50):
        stamps = np.arange(start, start + 50) / 250
        part = signal[start : start + 50]
        journal.append(FrameKind.SAMPLES, 0, encode_samples(stamps, part, 0.0))
    if end:
        journal.append_json(FrameKind.END, 0, {"reason": "stopped"})
    journal.close()
    return signal


def test_a_journal_opens_before_it_is_sealed_and_is_the_same_after(tmp_path):
    signal = write_journal(tmp_path / "r")
    before = open_recording(tmp_path / "r")
    assert not before.sealed and not before.notes
    after = seal(tmp_path / "r")
    for recording in (before, after):
        assert np.array_equal(recording["eeg"]["signal"].values, signal)
        assert recording["eeg"]["raw_time"].values[0] == 0.0
        assert recording["eeg"]["time"].values[0] == pytest.approx(5.0, abs=1e-6)
    assert after.sealed and not (tmp_path / "r" / "journal").exists()
    assert seal(tmp_path / "r").fingerprint() == before.fingerprint()


def test_a_journal_that_grows_while_it_is_read_is_read_up_to_where_it_was(tmp_path, monkeypatch):
    signal = write_journal(tmp_path / "r", end=False)
    file = next((tmp_path / "r" / "journal").glob("*.journal"))
    more = encode_samples(np.arange(500, 505) / 250, np.ones((5, 4), np.float32), 0.0)
    outline = journal_reader._outline

    def then_written_to(*arguments):
        found = outline(*arguments)
        with file.open("ab") as journal:
            journal.write(encode_frame(FrameKind.SAMPLES, 0, 99, more))
        return found

    monkeypatch.setattr(journal_reader, "_outline", then_written_to)
    eeg = open_recording(tmp_path / "r")["eeg"]
    assert np.array_equal(eeg["signal"].values, signal)
    assert eeg["raw_time"].values[-1] == 499 / 250


def test_a_torn_journal_ends_at_its_last_whole_frame_and_says_so(tmp_path):
    signal = write_journal(tmp_path / "r", end=False)
    file = next((tmp_path / "r" / "journal").glob("*.journal"))
    file.write_bytes(file.read_bytes()[:-100])
    recording = open_recording(tmp_path / "r")
    assert "cut off" in recording.notes[0] and "torn frame" in recording.notes[1]
    assert np.array_equal(recording["eeg"]["signal"].values, signal[:450])


def test_sealing_can_be_interrupted_and_repeated(tmp_path):
    signal = write_journal(tmp_path / "r")
    half_written = tmp_path / "r" / "EEG" / "signal"
    half_written.mkdir(parents=True)
    (half_written / "zarr.json").write_text("{")
    assert np.array_equal(seal(tmp_path / "r")["eeg"]["signal"].values, signal)


def test_a_journal_without_its_session_is_damaged(tmp_path):
    write_journal(tmp_path / "r")
    file = next((tmp_path / "r" / "journal").glob("*.journal"))
    file.write_bytes(b"")
    with pytest.raises(DamagedRecordingError, match="found no readable session frame"):
        open_recording(tmp_path / "r")


def test_a_journal_of_a_newer_schema_is_refused(tmp_path):
    journal = Journal(tmp_path / "r" / "journal", ballast_bytes=0)
    journal.append_json(FrameKind.SESSION, 0, {"schema_version": 2})
    journal.close()
    with pytest.raises(NewerSchemaError, match="found schema version 2"):
        open_recording(tmp_path / "r")
    shutil.rmtree(tmp_path / "r")
