"""Real recordings go over real LSL and come back as they were."""

import numpy as np
import pytest

from physioemo.files import read_recording
from physioemo.overrides import Overrides
from physioemo.store import create_recording, open_recording
from tests import realdata
from tests.lsl import assert_same_streams, record_replay

pytestmark = pytest.mark.lsl


@pytest.mark.parametrize(
    ("folder", "read", "speed", "seconds"),
    [
        ("neurokit-bio", realdata.neurokit_event_related, 20, 150),
        ("biosignalsnotebooks", realdata.eyes_open_closed, 20, 243),
        ("muse-lsl-eeg", realdata.muse_run, 20, 125),
        ("physionet-wfdb", realdata.wfdb_record, 60, 1806),
        ("physionet-wfdb", lambda f: realdata.wfdb_record(f, "v102s"), 30, 300),
    ],
    ids=["neurokit-bio", "eyes-open-closed", "muse", "mit-bih-100", "icu-v102s-with-dropouts"],
)
def test_real_signals_come_back_sample_exact(shared_data, tmp_path, folder, read, speed, seconds):
    source = create_recording(tmp_path / "source", read(shared_data(folder)))
    summary = record_replay(source, tmp_path / "recorded", speed=speed)
    assert_same_streams(source, summary.recording)


def test_an_eeglab_file_comes_back_with_its_events_as_markers(shared_data, tmp_path):
    source = read_recording(shared_data("eeglab-sample") / "eeglab_data.set")
    recorded = record_replay(source, tmp_path / "recorded", speed=20).recording
    assert_same_streams(source, recorded)
    sent, got = source.events, recorded.events
    assert [str(d) for d in got["description"].values] == [
        str(d) for d in sent["description"].values
    ]
    start = recorded["eeg"]["time"].values[0] - source["eeg"]["time"].values[0]
    shift = got["onset_seconds"].values - sent["onset_seconds"].values - start
    assert np.abs(shift).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "ch_names", "speed"),
    [("clock_resets", ["BioSemi=A,B,C,D,E,F,G,H"], 40), ("minimal", ["*=a,b,c"], 1)],
)
def test_xdf_files_come_back_sample_exact(shared_data, tmp_path, name, ch_names, speed):
    stated = Overrides.parse(ch_names, ["*=a.u."])
    source = read_recording(shared_data("xdf-example-files") / f"{name}.xdf", stated)
    # The computer was away for 273 s: seven seconds of silence at this speed.
    recorded = record_replay(source, tmp_path / "recorded", speed=speed, idle_seconds=9).recording
    assert_same_streams(source, recorded)


def test_empty_streams_are_recorded_as_empty(shared_data, tmp_path):
    stated = Overrides.parse(units=["*=a.u."])
    source = read_recording(shared_data("xdf-example-files") / "empty_streams.xdf", stated)
    recorded = record_replay(source, tmp_path / "recorded", speed=5).recording
    assert_same_streams(source, recorded)
    empty = recorded["Empty marker stream: test stream 0 counter"]
    assert empty.sizes["time"] == 0


def test_what_was_recorded_is_on_disk_and_names_its_origin(tmp_path, rng):
    from tests.streams import eeg_stream, marker_stream

    streams = {
        "EEG": eeg_stream(rng.standard_normal((500, 3))),
        "Markers": marker_stream([(0.5, "Grüße, 日本"), (1.5, "zwei")]),
    }
    source = create_recording(tmp_path / "source", streams)
    summary = record_replay(source, tmp_path / "mit Leerzeichen und Ümlaut")
    recording = open_recording(tmp_path / "mit Leerzeichen und Ümlaut")
    assert summary.problems == ()
    assert_same_streams(source, recording)
    eeg = recording["EEG"]
    assert eeg.attrs["unit"] == "uV" and "<label>E0</label>" in eeg.attrs["xml"]
    offsets = eeg["clock_offset"].values
    assert len(offsets) and np.median(np.abs(offsets[:, 1])) < 1e-3
    assert recording.attrs["subject"] == "t" and recording.attrs["versions"]["pylsl"]
