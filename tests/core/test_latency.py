import numpy as np
import pytest

from physioemo.errors import CallError, DataError
from physioemo.latency import apply_latency, latency_file, read_latencies, store_latency
from physioemo.store import create_recording, open_recording
from tests.streams import eeg_stream, marker_stream


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSIOEMO_CONFIG", str(tmp_path / "config"))


@pytest.fixture
def recording(tmp_path):
    streams = {"EEG": eeg_stream(np.ones((500, 2))), "Markers": marker_stream([(0.5, "a")])}
    return create_recording(tmp_path / "r", streams)


def test_what_is_stored_is_read_back_and_a_second_device_keeps_the_first():
    assert read_latencies() == {}
    store_latency("Gerät 1", 0.0125)
    store_latency("EEG", -0.004)
    store_latency("EEG", 0.008)
    assert read_latencies() == {"Gerät 1": 0.0125, "EEG": 0.008}


def test_a_latency_moves_one_stream_only_and_only_when_asked(recording, tmp_path):
    store_latency("EEG", 0.02)
    store_latency("not here", 0.5)
    before = open_recording(tmp_path / "r")["EEG"]["time"].values
    moved = apply_latency(recording)
    assert np.allclose(moved["EEG"]["time"].values, before - 0.02, atol=1e-12)
    assert np.array_equal(moved["EEG"]["raw_time"].values, before)
    assert moved["Markers"]["time"].values[0] == 0.5
    assert moved["EEG"].attrs["latency_seconds"] == 0.02
    assert np.array_equal(recording["EEG"]["time"].values, before)
    assert moved["EEG"]["time"].attrs == {"units": "s"}


def test_a_latency_is_applied_once_and_never_to_markers(recording):
    moved = apply_latency(recording, {"EEG": 0.02})
    with pytest.raises(CallError, match="'EEG' is applied already, expected it once"):
        apply_latency(moved, {"EEG": 0.02})
    with pytest.raises(CallError, match="latency for the stream 'Markers', expected none"):
        apply_latency(recording, {"Markers": 0.02})


@pytest.mark.parametrize("seconds", [float("nan"), 3.0, -2.5])
def test_an_impossible_latency_is_refused(seconds):
    with pytest.raises(CallError, match="expected at most 2000 either way"):
        store_latency("EEG", seconds)
    assert not latency_file().exists()


@pytest.mark.parametrize("text", ["{", "[1]", '{"EEG": 3}', '{"EEG": {"latency_ms": 1e9}}'])
def test_a_damaged_file_is_told_and_kept(text):
    latency_file().parent.mkdir()
    latency_file().write_text(text)
    with pytest.raises(DataError, match="found a damaged file .*calibrate again"):
        store_latency("EEG", 0.01)
    assert latency_file().read_text() == text


def test_the_command_stores_a_calibration(typed):
    done = typed("selftest-sync", "--calibrate", "EEG", "--latency-ms", "12.5", check=0)
    assert "'EEG' stamps 12.5 ms late" in done.stdout
    assert read_latencies() == {"EEG": 0.0125}
    done = typed("selftest-sync", "--calibrate", "EEG", check=2)
    assert "expected both or neither" in done.stderr
