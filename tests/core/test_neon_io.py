"""The native folder of a Neon against its own files."""

import json
import shutil

import numpy as np
import pytest

from physioemo.errors import PhysioEmoError, UnreadableFileError
from physioemo.files import read_recording
from physioemo.neon_io import is_neon, read_neon
from tests.datasets.mutations import mutations

START = 1_760_676_788_219_000_000


def write_neon(folder, n=400):
    """Write a small recording in two parts: gaze (x counts up), pupils, one blink, one event."""
    folder.mkdir(exist_ok=True)
    info = {"start_time": START, "gaze_frequency": 200, "data_format_version": "2.5"}
    (folder / "info.json").write_text(json.dumps(info))
    gaze = np.stack([np.arange(2 * n), np.full(2 * n, 7.0)], axis=1).astype("<f4")
    eyes = np.full((2 * n, 2), 3.5, "<f4")
    stamps = START + 10**9 + np.arange(2 * n) * 5_000_000
    for name, values in (("gaze", gaze), ("eye_state", eyes)):
        for part, rows in ((1, slice(0, n)), (2, slice(n, 2 * n))):
            values[rows].tofile(folder / f"{name} ps{part}.raw")
            stamps[rows].astype("<i8").tofile(folder / f"{name} ps{part}.time")
    (folder / "gaze.dtype").write_text('[\n("x", "float32"),\n("y", "float32"),\n]\n')
    fields = '[("pupil_diameter_left_mm", "float32"), ("eyelid_aperture_left_mm", "float32")]'
    (folder / "eye_state.dtype").write_text(fields)
    layout = [("event_type", "<i4"), ("start_timestamp_ns", "<i8"), ("end_timestamp_ns", "<i8")]
    blink = np.array([(4, START + 2 * 10**9, START + 22 * 10**8)], layout)
    blink.tofile(folder / "blinks ps1.raw")
    blink["start_timestamp_ns"].tofile(folder / "blinks ps1.time")
    types = ("int32", "int64", "int64")
    named = [(name, kind) for (name, _), kind in zip(layout, types, strict=True)]
    (folder / "blinks.dtype").write_text(str(named))
    (folder / "event.txt").write_text("recording.begin\n")
    np.array([START], "<i8").tofile(folder / "event.time")
    return folder


def test_parts_are_joined_and_stamps_keep_their_microseconds(tmp_path):
    recording = read_recording(write_neon(tmp_path / "neon"))
    assert recording.streams == ("gaze", "pupil", "blinks")
    gaze = recording["gaze"]
    assert gaze.attrs["sfreq"] == 200.0 and gaze.attrs["unit"] == "px"
    assert gaze["signal"].values[:, 0].tolist() == list(range(800))
    assert np.abs(gaze["time"].values - (1 + np.arange(800) / 200)).max() < 1e-12
    assert [str(d) for d in recording.events["description"].values] == ["recording.begin", "blink"]
    assert recording.events["onset_seconds"].values.tolist() == [0.0, 2.0]
    assert recording.events["duration_seconds"].values.tolist() == [0.0, 0.2]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "gaze.dtype").unlink(), "no layout of its records in .*gaze ps1.raw"),
        (lambda f: (f / "gaze.dtype").write_text("[('x', 'float7')]"), "gaze.dtype, expected a li"),
        (lambda f: (f / "gaze ps2.time").unlink(), "no stamps in .*gaze ps2.raw"),
        (lambda f: (f / "gaze ps1.raw").write_bytes(b"1234567"), "7 bytes and 400 stamps in .*ps1"),
        (lambda f: (f / "info.json").write_text("{}"), "no start of the recording .*info.json"),
        (lambda f: (f / "event.txt").write_text("a\nb\n"), "2 events and 1 stamps in .*event.txt"),
        (lambda f: np.arange(400).astype("<i8").tofile(f / "gaze ps1.time"), "record 0 of 'gaze'"),
    ],
)
def test_what_is_missing_or_cut_off_is_named(tmp_path, damage, message):
    folder = write_neon(tmp_path / "neon")
    damage(folder)
    with pytest.raises(UnreadableFileError, match=message):
        read_neon(folder)


def test_damage_never_escapes_as_another_error(tmp_path):
    folder = write_neon(tmp_path / "neon", n=20)
    files = sorted(p for p in folder.iterdir())
    n_read = 0
    for i, file in enumerate(files):
        whole = file.read_bytes()
        for data in mutations(whole, n=8, seed=i):
            file.write_bytes(data)
            try:
                recording = read_recording(folder)
            except PhysioEmoError as error:
                assert "neon" in str(error)
            else:
                n_read += 1
                recording.quality()
        file.write_bytes(whole)
    assert n_read > 10


def test_the_real_recording(shared_data):
    folder = shared_data("pupil-labs-neon")
    assert is_neon(folder)
    recording = read_recording(folder)
    quality = recording.quality()
    assert quality["gaze"]["n_samples"] == 1788 and quality["gaze"]["gaps"] == []
    assert quality["gaze"]["duration_seconds"] == pytest.approx(8.963, abs=5e-4)
    assert quality["gaze"]["measured_rate_hz"] == pytest.approx(199.37, abs=5e-3)
    assert np.diff(recording["gaze"]["time"].values).max() == pytest.approx(0.015, abs=1e-6)
    assert quality["imu"]["n_samples"] == 969
    assert quality["imu"]["measured_rate_hz"] == pytest.approx(103.54, abs=5e-3)
    assert recording["scene_frames"].sizes["time"] == 292
    assert (recording["worn"]["signal"].values == 255).all()
    pupil = recording["pupil"]["signal"].values
    assert pupil[:, :2].min(axis=0) == pytest.approx([1.06, 1.44], abs=5e-3)
    assert pupil[:, :2].max(axis=0) == pytest.approx([4.09, 3.84], abs=5e-3)
    assert pupil[:, :2].mean(axis=0) == pytest.approx([3.64, 3.26], abs=5e-3)
    stored = np.fromfile(folder / "eye_state ps1.raw", "<f4").reshape(-1, 20)
    assert np.array_equal(pupil[:, 0], stored[:, 0])


def test_the_devices_events_of_the_real_recording(shared_data):
    recording = read_recording(shared_data("pupil-labs-neon"))
    events = recording.events
    texts = [str(d) for d in events["description"].values]
    assert texts.count("fixation") + texts.count("saccade") == 45 and texts.count("blink") == 2
    at = {t: events["onset_seconds"].values[texts.index(t)] for t in texts}
    assert at["recording.end"] - at["recording.begin"] == pytest.approx(11.219)
    lengths = recording["blinks"]["signal"].values[:, 0]
    assert lengths == pytest.approx([0.235, 0.255], abs=5e-4)
    angle = recording["fixations"].sel(channel="amplitude_angle_deg")
    assert str(angle["channel_unit"].item()) == "deg"
    assert float(angle["signal"].values[0]) == pytest.approx(2.386, abs=1e-3)


def test_gaze_as_the_phone_saw_it_is_taken_where_it_was_not_recomputed(shared_data, tmp_path):
    folder = tmp_path / "neon"
    shutil.copytree(shared_data("pupil-labs-neon"), folder)
    folder.chmod(0o755)
    for name in ("gaze_200hz.raw", "gaze_200hz.time"):
        (folder / name).unlink()
    recording = read_recording(folder)
    assert recording.notes == () and recording["gaze"].attrs["sfreq"] == 200.0
    assert recording["gaze"]["signal"].values[0] == pytest.approx([719.7832, 749.7763])
