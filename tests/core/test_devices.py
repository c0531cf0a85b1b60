"""Every row of the device table against a header as its vendor writes it."""

import numpy as np
import pytest

from physioemo.device_row import ChannelRule, Device
from physioemo.device_table import DEVICES
from physioemo.devices import adapt_description, find_device
from physioemo.errors import CallError, StreamDescriptionError
from physioemo.files import read_recording
from physioemo.overrides import Overrides, complete_description
from physioemo.xdf_io import stream_fields
from tests import xdf
from tests.conftest import ROOT
from tests.core.vendor_headers import EXPECTED, HEADERS, MUSE, channels, header, made_by, tobii_pro


def said(xml):
    return {**stream_fields(xml), "xml": xml}


def test_every_row_has_a_header_in_these_tests_and_a_key_of_its_own():
    assert set(HEADERS) == {row.key for row in DEVICES} and len(HEADERS) == len(DEVICES)
    assert all(row.source and row.title and row.validity for row in DEVICES)


@pytest.mark.parametrize("key", HEADERS)
def test_a_vendors_header_is_recognised_by_its_own_row_alone(key):
    assert [row.key for row in DEVICES if row.fits(said(HEADERS[key]))] == [key]


@pytest.mark.parametrize("key", EXPECTED)
def test_a_vendors_stream_has_our_names_units_and_types(key):
    fields, notes = adapt_description(said(HEADERS[key]))
    description = complete_description(fields, Overrides())
    found = {
        name: (unit, kind)
        for name, unit, kind in zip(
            description.ch_names, description.units, description.ch_types, strict=True
        )
    }
    assert {name: found.get(name) for name in EXPECTED[key]} == EXPECTED[key]
    assert description.device == key and description.adapted == "; ".join(notes)
    assert description.xml == HEADERS[key]


@pytest.mark.parametrize("key", EXPECTED)
def test_what_is_adapted_stays_as_it_is_when_adapted_again(key):
    once, _ = adapt_description(said(HEADERS[key]))
    again, _ = adapt_description(once)
    for field in ("ch_names", "units", "ch_types"):
        assert again[field] == once[field]


def test_gaze_and_pupil_of_every_eye_tracker_are_found_by_the_features():
    from physioemo.features.eye_channels import gaze_eyes, pupil_eyes

    for key in ("pupil-capture", "pupil-neon", "tobii-pro", "titta-lsl", "eyelink"):
        fields, _ = adapt_description(said(HEADERS[key]))
        description = complete_description(fields, Overrides())
        assert gaze_eyes(description)
        assert {e.side for e in pupil_eyes(description)} == {"left", "right"}


@pytest.mark.parametrize(
    "xml",
    [
        header("BioSemi", "EEG", 100, [], n=8),  # the demo of every LSL binding
        header("Muse", "EEG", 256, channels(MUSE), desc=made_by("Somebody")),
        header("MyTobii", "Eyetracker", 60, channels(["left_x", "left_y"])),
        header("Tobii", "Gaze", 60, channels(["left_x", "left_y"])),
        header("EyeLink", "Gaze", 500, channels(["x", "y"], "px")),
        header("obci_eeg1", "EEG", 250, [], n=8),
        header("OpenSignals", "Physiology", 100, channels(["ECG0"], "mV")),
        header("gsr", "GSR", 4, [], n=1),
        header("SendData_Device_X_GSR", "GSR", 51.2, [], n=1),
        header("pupil_capture", "Gaze", 0, channels(["diameter0_3d"], "mm")),
    ],
    ids=lambda xml: xml[27:60],
)
def test_a_foreign_stream_with_a_similar_name_is_left_alone(xml):
    fields, notes = adapt_description(said(xml))
    assert fields == said(xml) and notes == ()


def test_what_no_document_says_is_not_filled_in():
    fields, _ = adapt_description(said(HEADERS["openbci-gui"]))
    assert fields["units"] == ("uV",) * 8 and not any(fields["ch_names"])
    with pytest.raises(StreamDescriptionError, match="found no channel names"):
        complete_description(fields, Overrides())
    magnetic = HEADERS["shimmer"].replace("Gyro_X", "Mag_X")
    fields, _ = adapt_description(said(magnetic))
    assert fields["ch_names"] == ("Mag_X",) and not any(fields["units"])


def test_a_neon_without_eyes_in_its_header_keeps_its_labels():
    xml = HEADERS["pupil-neon"].replace("<eye>left</eye>", "").replace("<eye>right</eye>", "")
    fields, _ = adapt_description(said(xml))
    assert fields["ch_names"].count("PupilDiameter") == 2
    with pytest.raises(StreamDescriptionError, match="more than once, expected unique names"):
        complete_description(fields, Overrides())


def test_what_the_user_states_counts_more():
    xml = header("Muse", "EEG", 256, channels(MUSE, None, "EEG"), desc=made_by("Muse"))
    for stated in (["Muse=mV"], ["*=mV"]):
        overrides = Overrides.parse(units=stated)
        fields, notes = adapt_description(said(xml), overrides)
        assert complete_description(fields, overrides).units == ("mV",) * 5
        assert not any("unit" in n and "filled" in n for n in notes)
    overrides = Overrides.parse(["pupil_capture=" + ",".join("abcdefghijklmnopqrstuv")])
    fields, _ = adapt_description(said(HEADERS["pupil-capture"]), overrides)
    assert complete_description(fields, overrides).ch_names[:3] == ("a", "b", "c")
    taken, notes = adapt_description(said(xml), Overrides(device={"Muse": "none"}))
    assert taken == said(xml) and notes == ()


def test_a_row_may_be_named_and_a_lab_may_add_its_own():
    xml = header("Renamed", "EEG", 256, channels(MUSE))
    fields, _ = adapt_description(said(xml), Overrides(device={"Renamed": "muse-lsl"}))
    assert fields["units"] == ("uV",) * 5
    own = Device(
        key="ours", title="t", source="s", name="Renamed", channels=(ChannelRule(".*", "", "nV"),)
    )
    fields, _ = adapt_description(said(xml), Overrides(device_rows=(own,)))
    assert fields["units"] == ("nV",) * 5 and fields["device"] == "ours"
    with pytest.raises(CallError, match="found the device 'musel', .*did you mean 'muse-lsl'"):
        find_device(said(xml), key="musel")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "("}, "found the pattern '\\('.*expected a regular expression"),
        ({}, "found nothing that recognises it"),
        ({"name": "a", "modality": "egg"}, "found the type 'egg', expected one of eeg"),
    ],
)
def test_a_wrong_row_is_one_sentence(row, message):
    with pytest.raises(CallError, match=message):
        Device(key="k", title="t", source="s", **row)


def test_every_row_stands_in_the_documentation():
    page = (ROOT / "docs" / "devices.md").read_text("utf-8")
    for row in DEVICES:
        (line,) = [text for text in page.splitlines() if text.startswith(f"| `{row.key}` |")]
        assert row.title in line and row.source in line and row.validity[:30] in line


def test_an_xdf_file_is_read_by_the_table_too(tmp_path):
    xml = tobii_pro()
    rows = np.zeros((3, 6), np.float32)
    chunks = [
        xdf.file_header(),
        xdf.chunk(2, xml.encode(), 1),
        xdf.numbers(1, [1.0, 1.5, 2.0], rows),
    ]
    stream = read_recording(xdf.write(tmp_path / "gaze.xdf", chunks))["Tobii"]
    assert stream.attrs["device"] == "tobii-pro" and stream.attrs["xml"] == xml
    assert [str(c) for c in stream["channel"].values][:2] == ["gaze_x_left", "gaze_y_left"]
