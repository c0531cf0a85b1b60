"""Devices of the table over real LSL, and a rig that states them."""

import json

import numpy as np
import pytest

from physioemo.acquisition.recorder import record
from physioemo.acquisition.rig_from_network import rig_from_network
from physioemo.acquisition.rig_record import record_rig
from physioemo.acquisition.rig_toml import parse_rig, to_toml
from physioemo.errors import CallError
from tests.lsl import running

MUSE = ("TP9", "AF7", "AF8", "TP10", "Right AUX")
TOBII = ("left_x", "left_y", "left_pupil", "right_x", "right_y", "right_pupil")


def muse():
    """Open an outlet as muselsl does, but for the units, which older versions lack."""
    import pylsl

    info = pylsl.StreamInfo("Muse", "EEG", 5, 256, "float32", "Muse00:55:DA:B0")
    info.desc().append_child_value("manufacturer", "Muse")
    channels = info.desc().append_child("channels")
    for label in MUSE:
        channel = channels.append_child("channel")
        channel.append_child_value("label", label).append_child_value("type", "EEG")
    return pylsl.StreamOutlet(info, 12)


def tobii():
    """Open an outlet as App-TobiiPro does."""
    import pylsl

    info = pylsl.StreamInfo("Tobii", "Eyetracker", 6, 600, "float32", "Tobiiat_tet-tcp://172.28")
    channels = info.desc().append_child("channels")
    for label in TOBII:
        channel = channels.append_child("channel").append_child_value("label", label)
        if "pupil" in label:
            channel.append_child_value("type", "pupilsize")
        else:
            channel.append_child_value("type", f"Screen{label[-1].upper()}")
            channel.append_child_value("unit", "screencoords")
    return pylsl.StreamOutlet(info)


def pushing(*outlets):
    """Push noise into outlets from a thread until the block ends."""

    def run(stop):
        while not stop.wait(0.05):
            for outlet in outlets:
                outlet.push_chunk(np.random.default_rng(0).random((20, outlet.channel_count)))

    return running(run)


@pytest.mark.lsl
def test_two_devices_are_recorded_with_our_names_and_say_what_was_changed(tmp_path, typed):
    outlets = [muse(), tobii()]
    shown = typed("streams", "--seconds", "0.5", check=0).stdout
    assert "Muse: unit uV filled in for TP9, AF7, AF8, TP10, Right AUX" in shown
    assert "renamed left_x -> gaze_x_left, left_y -> gaze_y_left" in shown
    found = json.loads(typed("streams", "--seconds", "0.5", "--json", check=0).stdout)
    assert [r["device"] for r in found] == ["muse-lsl", "tobii-pro"]
    with pushing(*outlets):
        recording = record(tmp_path / "r", duration_seconds=1.5, find_seconds=1.0).recording
    eeg, gaze = recording.description("Muse"), recording.description("Tobii")
    assert eeg.units == ("uV",) * 5 and eeg.ch_types == ("eeg",) * 4 + ("auxiliary",)
    assert gaze.ch_names[:3] == ("gaze_x_left", "gaze_y_left", "pupil_left")
    assert gaze.units[:3] == ("normalized", "normalized", "mm") and gaze.modality == "gaze"
    assert "unit corrected: left_x from screencoords to normalized" in gaze.adapted
    assert "<label>left_x</label>" in gaze.xml and gaze.device == "tobii-pro"


@pytest.mark.lsl
def test_a_rig_may_name_a_device_refuse_one_or_state_what_it_lacks(tmp_path):
    outlet = muse()
    text = 'name = "r"\n[streams.eeg]\nname = "Muse"\nsfreq = 256\n'

    def recorded(name, more):
        rig = parse_rig(text + more)
        with pushing(outlet):
            summary = record_rig(rig, tmp_path / name, duration_seconds=0.5, wait_seconds=60)
        return summary.recording.description("Muse")

    assert recorded("named", 'device = "muse-lsl"\n').units == ("uV",) * 5
    plain = recorded("plain", 'device = "none"\nunits = "mV"\n')
    assert plain.units == ("mV",) * 5 and plain.device == "" and plain.ch_types == ("eeg",) * 5
    stated = recorded("stated", 'units = "mV"\n')
    assert stated.units == ("mV",) * 5 and stated.device == "muse-lsl"


@pytest.mark.lsl
def test_a_rig_from_the_network_speaks_of_our_names(tmp_path):
    outlet = tobii()
    rig, missing = rig_from_network("r", find_seconds=1.0)
    (stream,) = rig.streams
    assert stream.channels[:2] == ("gaze_x_left", "gaze_y_left") and stream.modality == "gaze"
    assert missing == []
    vendors = parse_rig(
        f'name = "v"\n[streams.gaze]\nname = "Tobii"\nsfreq = 600\nchannels = {json.dumps(TOBII)}\n'
    )
    with pushing(outlet):
        ours = record_rig(rig, tmp_path / "r", duration_seconds=0.5, allow_incomplete=True)
        kept = record_rig(vendors, tmp_path / "v", duration_seconds=0.5, allow_incomplete=True)
    assert ours.recording.description("Tobii").ch_names == stream.channels
    assert kept.recording.description("Tobii").ch_names == TOBII


OWN = """
name = "own"

[streams.skin]
name = "LabEDA"
sfreq = 100

[[device]]
key = "our-eda"
title = "The amplifier in booth 2"
source = "our notes"
name = "LabEDA"
channels = 1
modality = "eda"
validity = "none"
ch_names = ["EDA"]

[[device.channel]]
label = "EDA"
unit = "uS"
type = "eda"
"""


def test_a_rig_may_hold_rows_of_its_own():
    from physioemo.acquisition.rig_network import adapted_fields, rig_overrides
    from physioemo.overrides import complete_description

    rig = parse_rig(OWN)
    fields = {
        "name": "LabEDA",
        "stype": "x",
        "sfreq": 100.0,
        "n_channels": 1,
        "ch_names": (),
        "units": (),
        "ch_types": (),
        "channel_format": "float32",
    }
    adapted = adapted_fields(fields, rig.streams[0], rig)
    description = complete_description(adapted, rig_overrides({"skin": fields}, rig))
    assert (description.ch_names, description.units) == (("EDA",), ("uS",))
    assert description.modality == "eda" and description.device == "our-eda"
    again = parse_rig(to_toml(rig))
    assert again.devices == rig.devices and again.streams == rig.streams


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('unit = "uS"', 'untt = "uS"', "unknown field 'untt'.*did you mean 'unit'"),
        ('key = "our-eda"', "", r"found no 'key' in \[device\]"),
        ('type = "eda"', 'type = "edda"', "found the type 'edda', expected one of eeg"),
        ("sfreq = 100", 'sfreq = 100\ndevice = "our-eeda"', "did you mean 'our-eda'"),
        ("[[device]]", "[device]", "found 'device' without rows"),
    ],
)
def test_a_wrong_row_in_a_rig_is_one_sentence(old, new, message):
    text = OWN.replace(old, new, 1)
    if new == "[device]":
        text = text.split("[[device.channel]]")[0]
    with pytest.raises(CallError, match=message):
        parse_rig(text, where="booth.toml")


def test_a_wrong_field_of_a_second_row_is_named_with_its_own_line():
    second = (
        '[[device]]\nkey = "b"\nchannels = "two"\n[[device.channel]]\nlabel = "x"\nuntt = "V"\n'
    )
    text = OWN + second
    line = text.splitlines().index('channels = "two"') + 1
    with pytest.raises(CallError, match=rf'channels = "two" in \[device\] \(line {line} of'):
        parse_rig(text)
    with pytest.raises(CallError, match=rf"'untt' in \[device.channel\] \(line {line + 3} of"):
        parse_rig(text.replace('"two"', "2"))
