"""The command ``export``."""

import mne
import numpy as np
import pytest
from click.testing import CliRunner

from physioemo.errors import CallError, NoStreamError, RecordingExistsError
from physioemo.export_cli import export
from physioemo.files import read_recording
from physioemo.store import create_recording
from tests.streams import eeg_stream, marker_stream


@pytest.fixture
def stored(tmp_path, rng):
    streams = {
        "Kappe": eeg_stream(rng.standard_normal((500, 2))),
        "m": marker_stream([(1.0, "go")]),
    }
    return create_recording(tmp_path / "mit Ümläut" / "a.zarr", streams)


def run(*args):
    return CliRunner().invoke(export, [str(a) for a in args], catch_exceptions=True)


def test_the_command_line_writes_xdf_and_says_so(typed, stored, tmp_path):
    out = tmp_path / "neu" / "sitzung.xdf"
    done = typed("export", stored.path, out, check=0)
    assert f"is now {out}" in done.stdout.replace("\n", "")
    assert read_recording(out).fingerprint() == stored.fingerprint()
    again = typed("export", stored.path, out, check=2)
    assert "pass --overwrite" in again.stderr and len(again.stderr.strip().splitlines()) == 1


def test_fif_holds_the_one_eeg_stream(stored, tmp_path):
    done = run(stored.path, tmp_path / "a_raw.fif")
    assert done.exit_code == 0, done.output
    raw = mne.io.read_raw_fif(tmp_path / "a_raw.fif", verbose="ERROR")
    assert np.array_equal(raw.get_data(), stored.to_mne("eeg").get_data())
    assert [a["description"] for a in raw.annotations] == ["go"]
    assert isinstance(run(stored.path, tmp_path / "a_raw.fif").exception, RecordingExistsError)
    assert run(stored.path, tmp_path / "a_raw.fif", "--overwrite").exit_code == 0
    assert isinstance(
        run(stored.path, tmp_path / "b.fif", "--stream", "Mütze").exception, NoStreamError
    )


def test_bids_by_labels(stored, tmp_path):
    pytest.importorskip("mne_bids")
    done = run(
        *(stored.path, "--bids", tmp_path / "b", "--subject", "01", "--session", "1"),
        *("--task", "films", "--line-hz", "50"),
    )
    wrong = run(stored.path, "--bids", "b", "--subject", "1", "--task", "x", "--screen", "absent")
    assert "expected a JSON file such as" in str(wrong.exception)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "b/sub-01/ses-1/eeg/sub-01_ses-1_task-films_eeg.vhdr").is_file()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "found neither OUT nor --bids"),
        (["a.xdf", "--bids", "b"], "found OUT and --bids"),
        (["--bids", "b", "--subject", "01"], "expected also --subject and --task"),
        (["a.edf"], r"found the name 'a.edf', expected one that ends in"),
    ],
)
def test_wrong_calls_are_sentences(stored, arguments, text):
    error = run(stored.path, *arguments).exception
    assert isinstance(error, CallError) and text in str(error)


def test_a_damaged_file_is_exported_with_its_notes(tmp_path, shared_data):
    source = shared_data("xdf-example-files") / "minimal.xdf"
    (tmp_path / "cut.xdf").write_bytes(source.read_bytes()[:-20])
    stated = ("--ch-names", "*=a,b,c", "--unit", "*=a.u.")
    done = run(tmp_path / "cut.xdf", tmp_path / "out.xdf", *stated)
    assert done.exit_code == 0 and "Note: the file ends within a chunk" in done.output
    assert run(tmp_path / "cut.xdf", tmp_path / "cut.xdf", *stated).exit_code != 0
