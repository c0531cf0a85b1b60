"""BIDS data sets: what mne-bids and a plain reader of tables find in them."""

import gzip
import json
import sys
import warnings

import mne
import numpy as np
import pytest

from physioemo.bids_export import export_bids
from physioemo.errors import (
    CallError,
    MissingExtraError,
    RecordingExistsError,
    StoreError,
    UnitError,
)
from physioemo.files import read_recording
from physioemo.store import create_recording
from physioemo.stream import make_stream
from tests import realdata
from tests.simulated import simulated_recording
from tests.streams import (
    eeg_description,
    eeg_stream,
    marker_stream,
    rating_stream,
    trial_markers,
)

mne_bids = pytest.importorskip("mne_bids")


def write(recording, root, **options):
    return export_bids(recording, root, gaze_system="gaze-on-screen", **options)


def read_eeg(root, **entities):
    path = mne_bids.BIDSPath(root=root, datatype="eeg", **entities)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = mne_bids.read_raw_bids(path, verbose="ERROR")
    return raw.load_data(verbose="ERROR")


def read_tsv(path):
    lines = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
    return {name: column for name, *column in zip(*lines, strict=True)}


def read_gz(path):
    """Return columns and sidecar of a compressed table."""
    sidecar = json.loads(path.with_name(path.name.replace(".tsv.gz", ".json")).read_text("utf-8"))
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    cells = [[np.nan if c == "n/a" else float(c) for c in line.split("\t")] for line in lines]
    values = np.array(cells).reshape(-1, len(sidecar["Columns"]))
    return dict(zip(sidecar["Columns"], values.T, strict=True)), sidecar


def stream(name, values, sfreq, ch_names, units, time, **fields):
    description = eeg_description(
        len(ch_names), sfreq, name=name, ch_names=ch_names, units=units, **fields
    )
    return make_stream(np.asarray(values, np.float32), description, time=time)


@pytest.fixture
def session(tmp_path, rng):
    """Return a recording that starts at 700 s with two trials, skin, gaze of two eyes, an IMU."""
    seconds = 700 + np.arange(5000) / 250
    skin_time = 699.5 + np.arange(200) / 8
    skin_time[100:] += 2.0
    gaze = ("left_x", "left_y", "left_pupil", "right_x", "right_y", "device_time")
    irregular = {"stype": "other", "units": ("g",), "ch_names": ("acc",)}
    moments = 701 + rng.random(7).cumsum()
    streams = {
        "EEG": eeg_stream(rng.standard_normal((5000, 3)) * 30, time=seconds),
        "Skin": stream(
            "Skin", rng.random((200, 1)), 8.0, ("eda",), ("uS",), skin_time, stype="EDA"
        ),
        "Eyes": stream(
            "Eyes",
            rng.random((1200, 6)),
            60.0,
            gaze,
            ("px", "px", "mm", "px", "px", "s"),
            700.25 + np.arange(1200) / 60,
            stype="Gaze",
        ),
        "IMU": stream("IMU", rng.random((7, 1)), 0.0, time=moments, **irregular),
        "Markers": trial_markers([(1, 702.0, 5.0, "clip-03"), (2, 709.0, 5.0, "clip 07")]),
        "Free": marker_stream([(701.5, "Grüße\tTab"), (716.004, "end")], name="Free"),
        "Ratings": rating_stream([(707.5, 1, 7, 3, 5), (714.5, 2, 2, 8, 5)]),
    }
    return create_recording(tmp_path / "session.zarr", streams, attrs={"notes": ["a cable fell"]})


def test_mne_bids_reads_equal_values_and_events(session, tmp_path):
    root = tmp_path / "mit Ümläut"
    folder = write(session, root, subject="01", session="1", task="films", line_hz=50)
    assert folder == root / "sub-01" / "ses-1"
    raw = read_eeg(root, subject="01", session="1", task="films")
    wanted = session.to_mne("EEG")
    assert raw.ch_names == wanted.ch_names and raw.info["sfreq"] == 250
    assert raw.info["line_freq"] == 50
    assert np.allclose(raw.get_data(), wanted.get_data(), rtol=1e-6, atol=1e-15)
    found = {(round(a["onset"], 9), a["description"]) for a in raw.annotations}
    events = {(1.5, "Grüße Tab"), (16.004, "end"), (2.0, "trial_start"), (7.0, "trial_stop")}
    assert events <= found and len(raw.annotations) == 6


def test_the_table_of_events_holds_trials_stimuli_and_ratings(session, tmp_path):
    folder = write(session, tmp_path / "b", subject="01", task="films")
    table = read_tsv(folder / "eeg" / "sub-01_task-films_events.tsv")
    rows = [i for i, t in enumerate(table["trial_type"]) if t == "trial_start"]
    assert [float(table["duration"][i]) for i in rows] == pytest.approx([5.0, 5.0])
    assert [table["stimulus"][i] for i in rows] == ["clip-03", "clip 07"]
    assert [float(table["valence"][i]) for i in rows] == [7, 2]
    assert [float(t) for t in table["session_time"]] == pytest.approx(
        [float(t) for t in table["onset"]]
    )
    sidecar = json.loads((folder / "eeg" / "sub-01_task-films_events.json").read_text())
    assert "from 1 to 9" in sidecar["valence"]["Description"]
    beh = read_tsv(folder / "beh" / "sub-01_task-films_beh.tsv")
    assert beh["trial"] == ["1", "2"] and [float(a) for a in beh["arousal"]] == [3, 8]


def test_physiology_keeps_its_time_across_a_gap(session, tmp_path):
    folder = write(session, tmp_path / "b", subject="01", task="films")
    stem = folder / "eeg" / "sub-01_task-films_recording-Skin_physio.tsv.gz"
    table, sidecar = read_gz(stem)
    assert sidecar["SamplingFrequency"] == 8.0 and sidecar["StartTime"] == -0.5
    assert sidecar["eda"]["Units"] == "uS"
    present = ~np.isnan(table["eda"])
    assert present.sum() == 200 and len(present) == 216 and not present[100:116].any()
    skin = session["Skin"]
    assert np.array_equal(table["eda"][present].astype("f4"), skin["signal"].values[:, 0])
    assert np.allclose(table["timestamp"][present], skin["time"].values - 700, atol=1e-12)
    rows = np.flatnonzero(present) / 8 + sidecar["StartTime"]
    assert np.allclose(rows, table["timestamp"][present])


def test_each_eye_is_a_recording_of_its_own(session, tmp_path):
    folder = write(session, tmp_path / "b", subject="01", task="films") / "eeg"
    left, facts = read_gz(folder / "sub-01_task-films_recording-eye1_physio.tsv.gz")
    assert facts["Columns"] == [
        "timestamp",
        "x_coordinate",
        "y_coordinate",
        "pupil_size",
        "device_time",
    ]
    assert (facts["PhysioType"], facts["RecordedEye"]) == ("eyetrack", "left")
    assert facts["SampleCoordinateSystem"] == "gaze-on-screen"
    assert "(diameter)" in facts["pupil_size"]["Description"]
    assert facts["StartTime"] == 0.25 and facts["pupil_size"]["Units"] == "mm"
    right, facts = read_gz(folder / "sub-01_task-films_recording-eye2_physio.tsv.gz")
    assert facts["RecordedEye"] == "right" and "pupil_size" not in facts["Columns"]
    signal = session["Eyes"]["signal"].values
    assert np.array_equal(left["pupil_size"].astype("f4"), signal[:, 2])
    assert np.array_equal(right["y_coordinate"].astype("f4"), signal[:, 4])


def test_the_screen_is_stated_or_asked_for(session, tmp_path):
    screen = {
        "ScreenDistance": 0.6,
        "ScreenSize": [0.53, 0.3],
        "ScreenResolution": [1920, 1080],
        "ScreenOrigin": ["top", "left"],
    }
    folder = write(session, tmp_path / "b", subject="01", task="films", screen=screen)
    events = json.loads((folder / "eeg" / "sub-01_task-films_events.json").read_text())
    assert events["StimulusPresentation"] == screen
    readme = tmp_path / "b" / "README"
    assert "BIDS wants" not in readme.read_text()
    write(session, tmp_path / "b", subject="02", task="films")
    assert "sub-02_task-films: BIDS wants ScreenDistance" in readme.read_text()


def test_a_stream_without_a_rate_is_source_data(session, tmp_path):
    write(session, tmp_path / "b", subject="01", task="films")
    folder = tmp_path / "b" / "sourcedata" / "sub-01"
    table, facts = read_gz(folder / "sub-01_task-films_stream-IMU.tsv.gz")
    assert facts["Columns"] == ["timestamp", "acc"] and facts["acc"]["Units"] == "g"
    assert np.allclose(table["timestamp"], session["IMU"]["time"].values - 700, atol=1e-12)


def test_the_data_set_describes_itself_and_grows(session, tmp_path):
    root = tmp_path / "films"
    write(session, root, subject="01", task="films")
    write(session, root, subject="02", task="films", run="1")
    facts = json.loads((root / "dataset_description.json").read_text())
    assert facts["Name"] == "films" and facts["BIDSVersion"] == "1.11.0"
    assert facts["GeneratedBy"][0]["Name"] == "PhysioEmo" and "Keywords" not in facts
    assert read_tsv(root / "participants.tsv")["participant_id"] == ["sub-01", "sub-02"]
    readme = (root / "README").read_text()
    assert "sub-01_task-films: a cable fell." in readme and "sub-02_task-films_run-1" in readme
    eeg = json.loads((root / "sub-01/eeg/sub-01_task-films_eeg.json").read_text())
    assert eeg["Manufacturer"] == "n/a" and eeg["RecordingType"] == "continuous"
    assert not [p for p in root.iterdir() if p.name.startswith(".")]


def test_a_simulated_recording_says_so(tmp_path):
    source = simulated_recording(tmp_path / "s.zarr", n_trials=1)
    write(source, tmp_path / "b", subject="01", task="films")
    facts = json.loads((tmp_path / "b" / "dataset_description.json").read_text())
    assert "simulated" in facts["Name"] and facts["Keywords"] == ["simulated"]
    assert "sub-01_task-films: SIMULATED participant" in (tmp_path / "b" / "README").read_text()


def test_a_gap_in_eeg_is_marked_and_events_stay_at_their_samples(tmp_path, rng):
    time = 50 + np.arange(2000) / 250
    time[1000:] += 3.0
    markers = marker_stream([(51.0, "before"), (58.0, "after")])
    signal = rng.standard_normal((2000, 2))
    streams = {"EEG": eeg_stream(signal, time=time), "m": markers}
    folder = export_bids(
        create_recording(tmp_path / "a.zarr", streams), tmp_path / "b", subject="1", task="x"
    )
    raw = read_eeg(tmp_path / "b", subject="1", task="x")
    found = {a["description"]: a["onset"] for a in raw.annotations}
    assert found == pytest.approx({"before": 1.0, "after": 5.0, "BAD_gap": 999 / 250})
    table = read_tsv(folder / "eeg" / "sub-1_task-x_events.tsv")
    assert float(table["session_time"][table["trial_type"].index("after")]) == pytest.approx(8.0)
    facts = json.loads((folder / "eeg" / "sub-1_task-x_eeg.json").read_text())
    assert facts["RecordingType"] == "discontinuous"


def test_two_eeg_streams_are_two_acquisitions(tmp_path, rng):
    streams = {
        "Cap": eeg_stream(rng.standard_normal((500, 2)), name="Cap"),
        "Bänd": eeg_stream(rng.standard_normal((500, 2)), name="Bänd"),
    }
    source = create_recording(tmp_path / "a.zarr", streams)
    export_bids(source, tmp_path / "b", subject="1", task="x")
    for key, acquisition in zip(source.streams, ("Bnd1", "Cap2"), strict=True):
        raw = read_eeg(tmp_path / "b", subject="1", task="x", acquisition=acquisition)
        assert np.allclose(raw.get_data(), source.to_mne(key).get_data(), rtol=1e-6, atol=1e-15)
    with pytest.raises(RecordingExistsError):
        export_bids(source, tmp_path / "b", subject="1", task="x")


def test_electrode_places_that_the_device_states_are_kept(tmp_path):
    place = "<location><X>{}</X><Y>1.5</Y><Z>80</Z></location>"
    channels = "".join(
        f"<channel><label>E{i}</label><unit>uV</unit>{place.format(i)}</channel>" for i in range(2)
    )
    maker = "<manufacturer>Acme</manufacturer>"
    xml = f"<info><desc>{maker}<channels>{channels}</channels></desc></info>"
    source = create_recording(tmp_path / "a.zarr", {"E": eeg_stream(np.ones((500, 2)), xml=xml)})
    folder = export_bids(source, tmp_path / "b", subject="1", task="x") / "eeg"
    assert read_tsv(folder / "sub-1_electrodes.tsv") == {
        "name": ["E0", "E1"],
        "x": ["0.0", "1.0"],
        "y": ["1.5", "1.5"],
        "z": ["80.0", "80.0"],
    }
    assert json.loads((folder / "sub-1_coordsystem.json").read_text())["EEGCoordinateUnits"] == "mm"
    assert json.loads((folder / "sub-1_task-x_eeg.json").read_text())["Manufacturer"] == "Acme"
    assert len(read_eeg(tmp_path / "b", subject="1", task="x").ch_names) == 2


def test_a_session_without_eeg_goes_to_beh(shared_data, tmp_path):
    source = read_recording(shared_data("flirt-empatica-e4"))
    folder = export_bids(source, tmp_path / "b", subject="1", task="walk") / "beh"
    table, facts = read_gz(folder / "sub-1_task-walk_recording-EDA_physio.tsv.gz")
    start = min(float(source[k]["time"].values[0]) for k in source.streams)
    eda = source["EDA"]
    assert np.array_equal(table["EDA"], eda["signal"].values[:, 0])
    assert facts["StartTime"] == pytest.approx(float(eda["time"].values[0]) - start)
    assert read_tsv(tmp_path / "b" / "participants.tsv")["participant_id"] == ["sub-1"]
    assert (folder / "sub-1_task-walk_events.tsv").is_file()


@pytest.mark.parametrize(
    ("folder", "read"),
    [
        ("muse-lsl-eeg", realdata.muse_run),
        ("biosignalsnotebooks", realdata.eyes_open_closed),
        ("eeglab-sample", lambda f: read_recording(f / "eeglab_data.set")),
    ],
)
def test_real_eeg_comes_back(shared_data, tmp_path, folder, read):
    found = read(shared_data(folder))
    source = create_recording(tmp_path / "a.zarr", found) if isinstance(found, dict) else found
    export_bids(source, tmp_path / "b", subject="1", task="x")
    raw, wanted = read_eeg(tmp_path / "b", subject="1", task="x"), source.to_mne("eeg")
    assert np.allclose(raw.get_data(), wanted.get_data(), rtol=1e-6, atol=1e-15)
    inside = [a for a in wanted.annotations if a["onset"] <= raw.times[-1]]
    onsets = [a["onset"] for a in raw.annotations if a["onset"] <= raw.times[-1]]
    assert np.allclose(sorted(onsets), sorted(a["onset"] for a in inside), atol=1e-6)


def test_gaze_of_an_eyelink_is_eye_tracking(shared_data, tmp_path):
    file = shared_data("pypillometry-eyelink") / "002_rlmw_samples_short.asc"
    source = read_recording(file)
    folder = export_bids(source, tmp_path / "b", subject="2", task="read") / "beh"
    events = json.loads((folder / "sub-2_task-read_events.json").read_text())
    screen = events["StimulusPresentation"]
    assert screen["ScreenResolution"] == [1280, 1024] and screen["ScreenDistance"] == "n/a"
    eyes = sorted(folder.glob("*recording-eye*_physio.tsv.gz"))
    assert eyes
    n = source["eyelink"].sizes["time"]
    for path in eyes:
        table, facts = read_gz(path)
        assert facts["Columns"][:3] == ["timestamp", "x_coordinate", "y_coordinate"]
        assert facts["PhysioType"] == "eyetrack" and len(table["timestamp"]) == n


def test_nothing_is_overwritten_unasked(session, tmp_path):
    folder = write(session, tmp_path / "b", subject="01", task="films")
    with pytest.raises(RecordingExistsError, match=r"sub-01_task-films.* or pass --overwrite"):
        write(session, tmp_path / "b", subject="01", task="films")
    old = (folder / "eeg" / "sub-01_task-films_eeg.eeg").stat().st_mtime_ns
    write(session, tmp_path / "b", subject="01", task="films", overwrite=True)
    assert (folder / "eeg" / "sub-01_task-films_eeg.eeg").stat().st_mtime_ns > old
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RecordingExistsError, match="found a file at"):
        write(session, tmp_path / "file", subject="01", task="films")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_leaves_the_data_set_as_it_was(session, tmp_path, monkeypatch, overwrite):
    root = tmp_path / "b"
    write(session, root, subject="01", task="films")
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}

    def full(table, stem):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("physioemo.bids_export.behaviour_table", lambda recording: 1)
    monkeypatch.setattr("physioemo.bids_export.write_table", full)
    with pytest.raises(StoreError, match=r"cannot be written \(No space left"):
        write(session, root, subject="01" if overwrite else "02", task="films", overwrite=overwrite)
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before
    assert not (root / "sub-02").exists()
    with pytest.raises(StoreError):
        write(session, tmp_path / "new", subject="01", task="films")
    assert not (tmp_path / "new").exists()


def test_gaze_without_a_coordinate_system_is_refused(session, tmp_path):
    with pytest.raises(CallError, match=r"gaze in 'Eyes' .* expected one of .*--gaze-system"):
        export_bids(session, tmp_path / "b", subject="01", task="films")
    assert not (tmp_path / "b").exists()


def test_wrong_labels_units_and_a_missing_extra_are_sentences(session, tmp_path, monkeypatch):
    with pytest.raises(CallError, match=r"the label 'film-1' for 'task', expected letters"):
        write(session, tmp_path / "b", subject="01", task="film-1")
    odd = {"EEG": eeg_stream(np.ones((500, 2)), units=("a.u.", "a.u."))}
    with pytest.raises(UnitError, match="expected a unit that converts"):
        export_bids(
            create_recording(tmp_path / "o.zarr", odd), tmp_path / "b", subject="1", task="x"
        )
    monkeypatch.setitem(sys.modules, "mne_bids", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'physioemo\[bids\]'"):
        write(session, tmp_path / "b", subject="01", task="films")
    assert not (tmp_path / "b").exists()


def test_a_channel_named_like_a_column_keeps_its_values(tmp_path):
    values = np.arange(16, dtype="f4").reshape(8, 2)
    names, units = ("timestamp", "StartTime"), ("s", "s")
    source = create_recording(
        tmp_path / "a.zarr",
        {"P": stream("P", values, 4.0, names, units, np.arange(8) / 4, stype="Physiology")},
    )
    folder = export_bids(source, tmp_path / "b", subject="1", task="x") / "beh"
    table, facts = read_gz(folder / "sub-1_task-x_recording-P_physio.tsv.gz")
    assert table["channel_timestamp"].tolist() == values[:, 0].tolist()
    assert facts["StartTime"] == 0.0 and table["timestamp"][1] == 0.25


def test_mne_reads_the_times_of_a_date(tmp_path, rng):
    source = create_recording(
        tmp_path / "a.zarr",
        {"EEG": eeg_stream(rng.standard_normal((500, 2)))},
        attrs={"created_utc": "2026-11-20T09:00:00+00:00"},
    )
    export_bids(source, tmp_path / "b", subject="1", task="x")
    raw = read_eeg(tmp_path / "b", subject="1", task="x")
    assert isinstance(raw, mne.io.BaseRaw) and raw.info["meas_date"].hour == 9
