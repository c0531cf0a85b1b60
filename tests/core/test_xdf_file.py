"""XDF files: equal to pyxdf where it is right, right where it is wrong, and never silently."""

import gzip
import logging
import struct
import time

import numpy as np
import pytest

from physioemo.clock_epochs import correct_epochs
from physioemo.errors import StreamDescriptionError, UnreadableFileError
from physioemo.files import read_recording
from physioemo.overrides import Overrides
from physioemo.xdf_file import read_chunks
from tests import xdf

LIMIT_SECONDS = 5.0


def pyxdf_load(path, **options):
    import pyxdf

    logging.getLogger("pyxdf").setLevel(logging.CRITICAL)
    options = {"dejitter_timestamps": False, **options}
    streams, _ = pyxdf.load_xdf(path, **options)
    return {s["info"]["stream_id"]: s for s in streams}


@pytest.fixture
def session(tmp_path):
    return xdf.write(tmp_path / "session.xdf", xdf.session_chunks())


@pytest.mark.parametrize("name", ["clock_resets", "empty_streams", "minimal", "session"])
def test_the_file_is_read_as_pyxdf_reads_it(shared_data, session, name):
    path = session if name == "session" else shared_data("xdf-example-files") / f"{name}.xdf"
    found = read_chunks(path)
    assert found.damage == ()
    oracle = pyxdf_load(path, synchronize_clocks=False)
    assert set(found.streams) == set(oracle)
    for number, stream in found.streams.items():
        wanted = oracle[number]
        dtype = object if stream.channel_format == "string" else None
        values = np.array(wanted["time_series"], dtype).reshape(-1, stream.n_channels)
        assert stream.values.tolist() == values.tolist()
        assert np.array_equal(stream.stamps, wanted["time_stamps"])
        assert stream.clock_offsets[:, 0].tolist() == list(wanted["clock_times"])
        assert stream.clock_offsets[:, 1].tolist() == list(wanted["clock_values"])


@pytest.mark.parametrize(
    ("name", "ch_names"),
    [
        ("clock_resets", ["BioSemi=A,B,C,D,E,F,G,H"]),
        ("empty_streams", []),
        ("minimal", ["*=a,b,c"]),
    ],
)
def test_corrected_stamps_equal_those_of_pyxdf(shared_data, name, ch_names):
    path = shared_data("xdf-example-files") / f"{name}.xdf"
    recording = read_recording(path, Overrides.parse(ch_names, ["*=a.u."]))
    for wanted in pyxdf_load(path).values():
        found = recording[recording.key(wanted["info"]["name"][0])]
        assert np.allclose(found["time"].values, wanted["time_stamps"], rtol=0, atol=1e-4)


def test_a_compressed_file_is_the_same_and_a_cut_one_is_told(session, tmp_path):
    packed = tmp_path / "session.xdfz"
    packed.write_bytes(gzip.compress(session.read_bytes()))
    whole = read_recording(packed)
    assert whole.fingerprint() == read_recording(session).fingerprint() and whole.notes == ()
    packed.write_bytes(packed.read_bytes()[:-4000])
    cut = read_recording(packed)
    assert "the compressed file is damaged" in cut.notes[0]
    assert 0 < cut["EEG"].sizes["time"] < 600


def test_the_date_becomes_utc_and_the_header_is_kept(session):
    recording = read_recording(session)
    assert recording.attrs["created_utc"] == "2026-11-20T09:00:00+00:00"
    assert recording["EEG"].attrs["xml"].startswith("<info><name>EEG</name>")
    assert recording.to_mne("EEG").info["meas_date"].hour == 9


@pytest.mark.parametrize("n_bytes", [5, 19 * 13 + 12])
def test_a_file_cut_within_a_sample_ends_with_the_last_whole_one(tmp_path, n_bytes):
    """Here pyxdf returns wrong values as if they were samples, or nothing of the chunk."""
    chunks = xdf.session_chunks()[:5]
    whole = read_chunks(xdf.write(tmp_path / "whole.xdf", chunks)).streams[1]
    cut = xdf.write(tmp_path / "cut.xdf", chunks)
    cut.write_bytes(cut.read_bytes()[:-n_bytes])
    found = read_chunks(cut)
    n = len(found.streams[1].stamps)
    assert n == (49 if n_bytes == 5 else 30)
    assert np.array_equal(found.streams[1].values, whole.values[:n])
    assert np.array_equal(found.streams[1].stamps, whole.stamps[:n])
    assert (
        f"the file ends within a chunk (byte {xdf.chunk_starts(chunks)[4]}); {n} whole"
        in (found.damage[0])
    )
    wrong = pyxdf_load(cut)[1]["time_series"]
    assert len(wrong) == (50 if n_bytes == 5 else 0) and not np.array_equal(wrong, whole.values)


@pytest.mark.parametrize("n_bytes", [6, 15, 22])
def test_a_file_cut_within_a_tag_or_an_offset_is_read(tmp_path, n_bytes):
    """Here pyxdf lets ``struct.error`` out."""
    chunks = [*xdf.session_chunks()[:7], xdf.offset(1, 1000.0, 0.1)]
    path = xdf.write(tmp_path / "cut.xdf", chunks)
    path.write_bytes(path.read_bytes()[: int(xdf.chunk_starts(chunks)[7]) + n_bytes])
    with pytest.raises(struct.error):
        pyxdf_load(path)
    recording = read_recording(path)
    assert recording["EEG"].sizes["time"] == 50
    assert any("ends within a chunk" in n or "cannot be read" in n for n in recording.notes)


def test_a_gap_shifts_nothing(tmp_path):
    """With its defaults, pyxdf spreads a gap of 0.9 s over the whole recording."""
    stamps = 1000 + np.arange(6000) / 100
    stamps[3000:] += 0.9
    values = np.zeros((6000, 1), "<f4")
    chunks = [xdf.file_header(), xdf.header(1, "EEG", 1, 100, "float32")]
    chunks += [xdf.numbers(1, stamps.tolist(), values), xdf.footer(1, 6000)]
    path = xdf.write(tmp_path / "gap.xdf", chunks)
    wrong = pyxdf_load(path, dejitter_timestamps=True)[1]["time_stamps"]
    assert np.abs(wrong - stamps).max() > 0.4
    assert np.array_equal(read_recording(path)["EEG"]["time"].values, stamps)


def swapped(jump_seconds, *, sfreq=100.0, gap_seconds=2.0, garbage=False, drift=0.0):
    """Return raw stamps, truth, and offsets of a computer exchanged after 100 s."""
    truth = np.arange(0, 200, 1 / sfreq if sfreq else 1.0)
    truth = truth[(truth < 100) | (truth >= 100 + gap_seconds)]
    measured = np.arange(2.5, 200, 5.0)
    rng = np.random.default_rng(3)

    def remote(seconds):
        return seconds * (1 + drift) + 500.0 + np.where(seconds < 100, 0.0, jump_seconds)

    offset = measured - remote(measured) + rng.normal(0, 2e-5, len(measured))
    clock_time = remote(measured)
    if garbage:
        i = int(np.searchsorted(measured, 100))
        clock_time[i], offset[i] = measured[i], 0.0
    return remote(truth), truth, clock_time, offset


@pytest.mark.parametrize("garbage", [False, True])
@pytest.mark.parametrize("jump", [-1300.0, -0.8, -0.1, 0.05, 0.8, 4000.0])
def test_an_exchanged_computer_is_seen(jump, garbage):
    """A step of 0.8 s escapes pyxdf; LabRecorder may write an offset that was never measured."""
    raw, truth, clock_time, offset = swapped(jump, garbage=garbage, drift=5e-5)
    found = correct_epochs(raw, clock_time, offset, 100.0)
    assert np.abs(found.time - truth).max() < 1e-3
    assert np.median(np.abs(found.time - truth)) < 2e-4
    assert found.resets == (10000,) and found.n_ignored == garbage


def test_a_file_with_an_exchanged_computer_is_right_where_pyxdf_is_not(tmp_path):
    raw, truth, clock_time, offset = swapped(0.8, garbage=True, drift=5e-5)
    chunks = [xdf.file_header(), xdf.header(1, "EEG", 1, 100, "float32")]
    chunks.append(xdf.numbers(1, raw.tolist(), np.zeros((len(raw), 1), "<f4")))
    chunks += [xdf.offset(1, *row) for row in zip(clock_time, offset, strict=True)]
    path = xdf.write(tmp_path / "a.xdf", [*chunks, xdf.footer(1, len(raw))])
    assert np.abs(pyxdf_load(path)[1]["time_stamps"] - truth).max() > 0.1
    recording = read_recording(path)
    assert np.abs(recording["EEG"]["time"].values - truth).max() < 1e-3
    assert "its computer's clock was reset before sample 10000" in recording.notes[0]


def test_markers_across_a_small_step_are_right_but_for_those_between_two_measurements():
    raw, truth, clock_time, offset = swapped(0.8, sfreq=0.0)
    wrong = np.abs(correct_epochs(raw, clock_time, offset, 0.0).time - truth) > 1e-3
    assert wrong.sum() <= 3 and (np.abs(truth[wrong] - 100) < 5).all()


def test_a_garbage_offset_at_the_end_is_not_used(tmp_path):
    chunks = xdf.session_chunks()
    clean = read_recording(xdf.write(tmp_path / "a.xdf", chunks))
    garbage = [xdf.offset(1, 3.1e-310, 7e150), xdf.offset(2, float("nan"), 0.0)]
    found = read_recording(xdf.write(tmp_path / "b.xdf", [*chunks[:-3], *garbage, *chunks[-3:]]))
    assert np.abs(found["EEG"]["time"].values - clean["EEG"]["time"].values).max() < 1e-6
    assert "1 clock offsets are out of line" in " ".join(found.notes)
    assert "1 clock offsets that are no numbers were left out" in " ".join(found.notes)
    assert found["EEG"]["clock_offset"].values[-1, :2].tolist() == [3.1e-310, 7e150]


def test_samples_beyond_the_footers_count_are_kept_and_told(tmp_path):
    """With an odd last offset, pyxdf drops them although they are good."""
    chunks = xdf.session_chunks()[:-3]
    chunks += [xdf.offset(1, 9000.0, 4000.0), xdf.footer(1, 550), xdf.footer(2, 300)]
    path = xdf.write(tmp_path / "a.xdf", [*chunks, xdf.footer(3, 24)])
    assert len(pyxdf_load(path)[1]["time_stamps"]) == 550
    recording = read_recording(path)
    assert recording["EEG"].sizes["time"] == 600
    assert "'EEG': the footer counts 550 samples, the file has 600" in " ".join(recording.notes)


def test_a_lost_header_costs_its_stream_only(tmp_path):
    chunks = xdf.session_chunks()
    chunks[2] = chunks[2].replace(b"</info>", b"</inf0>")
    recording = read_recording(xdf.write(tmp_path / "a.xdf", chunks))
    assert recording.streams == ("EEG", "Marks")
    assert "chunks of stream 2, which has no header, left out" in " ".join(recording.notes)
    assert recording["Marks"].sizes["time"] == 24


def test_two_headers_for_one_number_lose_the_stream(tmp_path):
    chunks = xdf.session_chunks()
    chunks.insert(3, xdf.header(2, "Other", 2, 50, "int16", unit="a.u."))
    recording = read_recording(xdf.write(tmp_path / "a.xdf", chunks))
    assert recording.streams == ("EEG", "Marks")
    assert "stream 2 has two different headers and was left out" in recording.notes


def test_after_damage_samples_without_a_stamp_are_not_dated_by_guess(tmp_path):
    chunks = xdf.session_chunks()
    chunks[7] = b"\xff" * len(chunks[7])
    bare = [None] * 50
    bare[30] = 1001.3
    chunks[10] = xdf.numbers(1, bare, np.ones((50, 3), "<f4"))
    recording = read_recording(xdf.write(tmp_path / "a.xdf", chunks))
    raw = recording["EEG"]["raw_time"].values
    assert raw[50] == 1001.3 and len(raw) == 600 - 30
    assert "30 samples after damage have no time" in " ".join(recording.notes)


def test_impossible_stamps_and_texts_that_are_not_utf8_are_told(tmp_path):
    chunks = [
        xdf.file_header(),
        xdf.header(1, "EEG", 1, 100, "float32"),
        xdf.header(2, "Marks", 1, 0, "string", "Markers"),
        xdf.numbers(1, [1.0, float("nan"), 1.02, 1e300], np.arange(4, dtype="<f4")[:, None]),
        xdf.texts(2, [1.0, 2.0], ["gut", "schön".encode("latin-1")]),
    ]
    recording = read_recording(xdf.write(tmp_path / "a.xdf", chunks))
    assert recording["EEG"]["signal"].values[:, 0].tolist() == [0.0, 2.0]
    notes = " ".join(recording.notes)
    assert "2 samples with an impossible stamp" in notes and "1 texts are not UTF-8" in notes
    assert "the file has no footer" in notes


def test_steps_back_and_a_wrong_rate_are_told(tmp_path):
    stamps = 1000 + np.arange(100) / 50
    stamps[60:] -= 0.5
    chunks = [xdf.file_header(), xdf.header(1, "EEG", 1, 100, "float32")]
    chunks += [xdf.numbers(1, stamps.tolist(), np.zeros((100, 1), "<f4")), xdf.footer(1, 100)]
    notes = read_recording(xdf.write(tmp_path / "a.xdf", chunks)).notes
    assert "its stamps step backwards 1 times, first before sample 60" in notes[0]
    assert "its stamps show 50 Hz, its header states 100 Hz" in notes[1]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"begins with b''"),
        (b"XDX:" + b"".join(xdf.session_chunks(1)), "not with 'XDF:'"),
        (b"XDF:", "no readable stream header"),
        (b"XDF:" + b"\x04\xff\xff\xff\xff\x03\x00" * 999, "no readable stream header"),
        (b"XDF:" + bytes(100_000), "no readable stream header"),
    ],
)
def test_what_is_no_xdf_is_an_error_that_names_the_file(tmp_path, content, text):
    (tmp_path / "bad.xdf").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=rf"bad\.xdf cannot be read as XDF \(.*{text}"):
        read_recording(tmp_path / "bad.xdf")


def test_an_entity_bomb_is_refused(tmp_path):
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbb">]><info>&b;</info>'
    path = xdf.write(tmp_path / "a.xdf", [xdf.chunk(1, bomb), *xdf.session_chunks()[1:]])
    assert "cannot be read and were left out" in read_recording(path).notes[0]


def test_a_stated_number_of_samples_is_checked_before_it_is_believed(tmp_path):
    lie = b"\x08" + struct.pack("<Q", 2**60) + b"\x08" + bytes(20)
    chunks = xdf.session_chunks(2)
    chunks.insert(5, xdf.chunk(3, lie, 1))
    recording = read_recording(xdf.write(tmp_path / "a.xdf", chunks))
    assert "cannot be read" in recording.notes[0] and recording["EEG"].sizes["time"] == 99


def test_what_is_made_to_look_like_chunks_is_not_searched_for_ever(tmp_path):
    fake = b"\x04\x7c\x96\x98\x00\x03\x00\x01\x00\x00\x00\x01\x02\x08\x00\x00"
    chunks = xdf.session_chunks(4)
    path = xdf.write(tmp_path / "a.xdf", [*chunks, fake * 1_300_000, xdf.boundary(), *chunks[4:]])
    begun = time.process_time()
    recording = read_recording(path)
    assert time.process_time() - begun < 4 * LIMIT_SECONDS
    assert recording["EEG"].sizes["time"] >= 199 and "cannot be read" in recording.notes[0]


def test_a_damaged_header_is_named_beside_what_is_missing(tmp_path):
    chunks = xdf.session_chunks(2)
    chunks[1] = xdf.header(1, "EEG", 3, 100, "float32", unit="")
    chunks.insert(4, b"\xff" * 9)
    with pytest.raises(StreamDescriptionError, match=r"a\.xdf: .*damaged: bytes"):
        read_recording(xdf.write(tmp_path / "a.xdf", chunks))
