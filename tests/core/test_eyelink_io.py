"""EyeLink's ASC text against the tracker's own numbers."""

import re

import numpy as np
import pytest

from physioemo.clock import find_gaps
from physioemo.errors import PhysioEmoError, UnreadableFileError
from physioemo.eyelink_io import is_eyelink, read_eyelink
from physioemo.files import read_recording
from tests.datasets.mutations import mutations

HEADER = "** CONVERTED FROM a.edf using edfapi 4.2\n** DATE: Tue Nov 14 11:11:17 2023\n**\n"


def block(start, n, *, eyes=("LEFT",), step=2, rate="500.00", extras="", pupil="AREA", tail=""):
    """Return the lines of one recording block; x counts up from 100, y from 200, pupil from 900."""
    lines = [
        f"START\t{start} \t{' '.join(eyes)}\tSAMPLES\tEVENTS",
        f"PUPIL\t{pupil}",
        f"SAMPLES\tGAZE\t{' '.join(eyes)} {extras}\tRATE\t{rate}\tTRACKING\tCR\tFILTER\t2",
    ]
    flags = "..." if len(eyes) == 1 else "....."
    for i in range(n):
        values = "\t".join(f"{100 + i}.0\t{200 + i}.5\t{900 + i}.0" for _ in eyes)
        lines.append(f"{start + i * step}\t{values}{tail}\t{flags}")
    lines.append(f"END\t{start + n * step} \tSAMPLES\tEVENTS\tRES\t30\t30")
    return "\n".join(lines) + "\n"


def write(folder, text, name="a.asc"):
    (folder / name).write_text(text)
    return folder / name


def described(recording):
    events = recording.events
    return list(
        zip(
            events["onset_seconds"].values.tolist(),
            events["duration_seconds"].values.tolist(),
            events["description"].values.tolist(),
            strict=True,
        )
    )


def test_samples_events_and_messages_of_one_file(tmp_path):
    text = HEADER + "MSG\t50 !CAL \n  -0  148.27\n" + block(1000, 50)
    text += "MSG\t1010 go for it\nEBLINK L 1020\t1058\t40\n"
    text += "ESACC L  1004\t1012\t10\t100.0\t200.0\t110.0\t200.0\t0.50\t60\n"
    text += "EFIX L  1014\t1018\t6\t101.5\t201.0\t905\nSSACC L 1060\n"
    recording = read_recording(write(tmp_path, text))
    eye = recording["eyelink"]
    assert [str(c) for c in eye["channel"].values] == ["x_left", "y_left", "pupil_area_left"]
    assert [str(u) for u in eye["channel_unit"].values] == ["px", "px", "a.u."]
    assert eye["signal"].values[3].tolist() == [103.0, 203.5, 903.0]
    assert eye["time"].values[3] == 0.006 and eye["raw_time"].values[3] == 1.006
    assert described(recording) == [
        (0.004, 0.01, "saccade left"),
        (0.01, 0.0, "go for it"),
        (0.014, 0.006, "fixation left"),
        (0.02, 0.04, "blink left"),
    ]
    assert recording["saccades"]["signal"].values[0].tolist() == [
        *(0.0, 0.01, 100.0, 200.0, 110.0, 200.0, 0.5, 60.0)
    ]
    assert "set-up, calibration" in recording.notes[0]
    assert "without an end in the file: 1" in recording.notes[1]
    assert recording.attrs["device_date"] == "Tue Nov 14 11:11:17 2023"


def test_missing_gaze_and_a_pupil_of_zero_are_missing(tmp_path):
    lines = (HEADER + block(1000, 4)).replace("101.0\t201.5\t901.0", ".\t.\t0.0")
    values = read_eyelink(write(tmp_path, lines))["eyelink"]["signal"].values
    assert np.isnan(values).tolist() == [[False] * 3, [True] * 3, [False] * 3, [False] * 3]


def test_two_blocks_leave_a_gap_and_keep_the_clock(tmp_path):
    text = HEADER + block(1000, 100) + block(9000, 100)
    eye = read_eyelink(write(tmp_path, text))["eyelink"]
    assert find_gaps(eye["time"].values, 500.0).tolist() == [100]
    assert eye["time"].values[[99, 100]].tolist() == [0.198, 8.0]


def test_further_columns_do_not_shift_the_eyes(tmp_path):
    tail = "\t1.0\t2.0\t3.0\t4.0\t30.0\t31.0\t127.0"
    text = HEADER + block(1000, 10, eyes=("LEFT", "RIGHT"), extras="VEL RES INPUT", tail=tail)
    eye = read_eyelink(write(tmp_path, text))["eyelink"]
    assert eye["signal"].values[2].tolist() == [102.0, 202.5, 902.0] * 2


def test_diameter_is_said_in_the_name(tmp_path):
    eye = read_eyelink(write(tmp_path, HEADER + block(1000, 9, pupil="DIAMETER")))["eyelink"]
    assert str(eye["channel"].values[2]) == "pupil_diameter_left"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[t.index("\n1000\t") + 1 :], "samples without a header .*'events' for"),
        (lambda t: t.replace("RATE\t500.00", ""), "samples without their rate in .*a.asc"),
        (lambda t: t.replace("500.00", "250.00"), "samples 2 ms apart .* expected 4 ms"),
        (lambda t: t.replace("\n1010\t", "\n1006\t"), "a sample at 1006 ms after one at 1008 ms"),
        (lambda t: t.replace("\t205.5", ""), "3 numbers in the sample at 1010 ms .* expected 4"),
        (lambda t: t.replace("205.5", "2o5.5"), r"the line '1010.*' \(line 12\) in .*a.asc"),
        (lambda t: t + block(9000, 9, step=1, rate="1000"), "rate_hz 1000.0 in the recording"),
        (lambda t: t.replace("START\t1000", "START\t5000"), "do not belong together"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, change, message):
    path = write(tmp_path, change(HEADER + block(1000, 100)))
    with pytest.raises(UnreadableFileError, match=message):
        read_eyelink(path)


def test_the_binary_file_is_sent_to_the_converter(tmp_path):
    (tmp_path / "a.edf").write_bytes(b"SR_RESEARCH_COMBINED_FILE\n" + bytes(500))
    with pytest.raises(UnreadableFileError, match="binary EDF in .*a.edf.*convert it with edf2asc"):
        read_recording(tmp_path / "a.edf")


def test_damage_never_escapes_as_another_error(tmp_path):
    text = HEADER + block(1000, 60, eyes=("LEFT", "RIGHT"))
    text += "EFIX L  1014\t1018\t6\t101.5\t201.0\t905\nMSG\t1010 go\n"
    n_read = 0
    for data in mutations(text.encode(), n=100):
        (tmp_path / "a.asc").write_bytes(data)
        try:
            recording = read_recording(tmp_path / "a.asc")
        except PhysioEmoError as error:
            assert "a.asc" in str(error)
        else:
            n_read += 1
            assert (np.diff(recording[recording.streams[0]]["time"].values) > 0).all()
    assert 0 < n_read < 90


@pytest.mark.parametrize("which", ["samples", "events"])
def test_the_real_recording(shared_data, which):
    path = shared_data("pypillometry-eyelink") / f"002_rlmw_{which}_short.asc"
    assert is_eyelink(path)
    recording = read_recording(path)
    eye = recording["eyelink"]
    assert eye.sizes == {**eye.sizes, "time": 20465, "channel": 6}
    assert eye.attrs["sfreq"] == 500.0 and recording.quality()["eyelink"]["gaps"] == []
    assert eye["raw_time"].values[[0, -1]].tolist() == [7264.579, 7305.507]
    missing = np.isnan(eye["signal"].values).sum(axis=0)
    assert missing.tolist() == [561, 561, 561, 389, 389, 389]
    as_written = np.nan_to_num(eye["signal"].values[:, [2, 5]])  # 0 where there is no pupil
    assert np.median(as_written, axis=0).tolist() == [1116, 945]
    texts = [t for _, _, t in described(recording)]
    counts = [texts.count(f"{k} {e}") for k in ("fixation", "blink") for e in ("left", "right")]
    assert counts == [129, 129, 11, 10]
    # One of the 129 has 2^32 - 1 as its start: the parser did not know it.
    assert (texts.count("saccade left"), texts.count("saccade right")) == (128, 129)
    messages = [o for o, d, t in described(recording) if t[:2] in ("F_", "S_", "C_", "R_")]
    assert len(messages) > 30 and min(messages) >= 0 and max(messages) <= 40.928


def test_mne_reads_the_same_numbers(shared_data, tmp_path):
    import mne

    folder = shared_data("pypillometry-eyelink")
    events = (folder / "002_rlmw_events_short.asc").read_text()
    samples = (folder / "002_rlmw_samples_short.asc").read_text()
    stated = re.search(r"^EVENTS\t(GAZE\tLEFT.*)$", events, re.MULTILINE)
    at = stated.end()
    text = f"{events[:at]}\nSAMPLES\t{stated[1]}\n{samples}\n{events[at + 1 :]}\nEND\t7305509\n"
    path = write(tmp_path, text.replace("RIGHT\tEVENTS", "RIGHT\tSAMPLES\tEVENTS", 1))
    ours = read_recording(path)["eyelink"]["signal"].values
    theirs = mne.io.read_raw_eyelink(path, verbose="ERROR")
    assert theirs.ch_names[:2] == ["xpos_left", "ypos_left"]
    # MNE keeps a pupil of 0 where there is none.
    assert np.array_equal(np.nan_to_num(ours), np.nan_to_num(theirs.get_data().T))


def test_files_of_samples_and_events_need_each_other(shared_data, tmp_path):
    source = shared_data("pypillometry-eyelink") / "002_rlmw_samples_short.asc"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    with pytest.raises(UnreadableFileError, match="lay the file of events beside it"):
        read_recording(tmp_path / source.name)
