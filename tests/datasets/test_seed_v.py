"""SEED-V's raw EEG: what is read is what MNE reads, where its documentation says it is."""

import pickle
import shutil
import struct
import tracemalloc

import mne
import numpy as np
import pytest

from physioemo.datasets.cnt_file import read_cnt, read_cnt_header
from physioemo.datasets.seed import SEED_EEG
from physioemo.datasets.seed_v import (
    SEED_V_LABELS,
    SEED_V_SECONDS,
    read_seed_v,
    read_seed_v_session,
    seed_v_files,
    seed_v_sources,
    trial_seconds,
)
from physioemo.datasets.seed_v_fixture import write_cnt, write_seed_v_fixture
from physioemo.errors import (
    CallError,
    RecordingExistsError,
    RecordingNotFoundError,
    UnreadableFileError,
)
from tests.datasets.mutations import mutations

CLIP = 1  # seconds
NAME = "1_1_20180804.cnt"
START = 900 + 66 * 75
LABELS_OF_SESSION_1 = [4, 1, 3, 2, 0] * 3
HAPPY = [0, 5, 10, 19, 20, 26, 34, 35, 41]  # of the trials 0 to 44, as users of the data list them
NEUTRAL = [2, 7, 12, 17, 22, 25, 32, 37, 40]
SAD = [3, 8, 13, 15, 23, 28, 30, 38, 43]
DISGUST = [4, 9, 14, 18, 21, 29, 33, 36, 44]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seed_v")
    write_seed_v_fixture(folder, subjects=2, sessions=2, clip_seconds=CLIP)
    return folder


@pytest.fixture(scope="module")
def recording(folder):
    return read_seed_v_session(folder, 1, 1, clip_seconds=CLIP)


@pytest.fixture(scope="module")
def raw(folder):
    return mne.io.read_raw_cnt(folder / NAME, verbose="error")


def trial(recording, number, stream="eeg"):
    onset = float(recording.trials["onset_seconds"].sel(trial=number))
    return recording.window(onset, onset + CLIP, stream)[stream].signal


def read_damaged(folder, data):
    (folder / NAME).write_bytes(data)
    return next(read_seed_v(folder, clip_seconds=CLIP))


def patched(data, at, code, value):
    data = bytearray(data)
    struct.pack_into(code, data, at, value)
    return bytes(data)


@pytest.mark.parametrize(("stream", "names"), [("eeg", SEED_EEG), ("eog", ("VEO", "HEO"))])
def test_mne_reads_the_same_microvolts_from_the_fixture(recording, raw, stream, names):
    picks = [n.upper() for n in names]
    for number, (start, stop) in enumerate(trial_seconds(1, CLIP), 1):
        wanted = raw.get_data(picks, start=start * 1000, stop=stop * 1000) * 1e6
        found = trial(recording, number, stream)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
        assert np.abs(found).max() > 1


def test_the_fixture_is_a_whole_neuroscan_file_to_mne(raw):
    assert raw.info["sfreq"] == 1000.0 and len(raw.ch_names) == 66
    assert raw.n_times == (trial_seconds(1, CLIP)[-1][1] + 1) * 1000
    assert str(raw.info["meas_date"])[:10] == "2018-08-04"
    assert len(raw.annotations) == 15 and set(raw.annotations.description) == {"1"}


def test_channels_are_the_published_ones_without_mastoids(recording):
    assert [str(c) for c in recording["eeg"]["channel"].values] == list(SEED_EEG)
    assert [str(c) for c in recording["eog"]["channel"].values] == ["VEO", "HEO"]
    assert sorted(recording.streams) == ["eeg", "eog"]
    for key in recording.streams:
        description = recording.description(key)
        assert (description.modality, description.sfreq) == (key, 1000.0)
        assert set(description.units) == {"uV"}


def test_channels_are_taken_by_name_whatever_their_order_in_the_file(folder, tmp_path, recording):
    data = (folder / NAME).read_bytes()
    header = np.frombuffer(data[900:START], "S75").reshape(66)
    n = (trial_seconds(1, CLIP)[-1][1] + 1) * 1000
    counts = np.frombuffer(data, "<i4", n * 66, START).reshape(n, 66)
    order = np.random.default_rng(0).permutation(66)
    electrodes = b"".join(data[900 + 75 * k : 975 + 75 * k] for k in order)
    shuffled = data[:900] + electrodes + counts[:, order].tobytes() + data[START + n * 264 :]
    assert len(header) == 66 and len(shuffled) == len(data) and shuffled != data
    assert read_damaged(tmp_path, shuffled).fingerprint() == recording.fingerprint()


def test_torcheeg_every_fifth_sample_without_a_low_pass_here_180_hz_stays_180_hz(folder, tmp_path):
    names = mne.io.read_raw_cnt(folder / NAME, verbose="error").ch_names
    sine = np.tile(50 * np.sin(2 * np.pi * 180 * np.arange(31_000) / 1000), (66, 1))
    write_cnt(tmp_path / NAME, names, 1000, [(0, sine)], 31_000)
    recording = read_seed_v_session(tmp_path, 1, 1, clip_seconds=CLIP)
    spectrum = np.abs(np.fft.rfft(trial(recording, 3)[0])) / 500
    hz = np.fft.rfftfreq(1000, 1 / recording["eeg"].attrs["sfreq"])
    assert hz[np.argmax(spectrum)] == 180.0
    assert spectrum[hz == 180.0] == pytest.approx(50, rel=1e-3)
    assert spectrum[hz == 20.0] < 0.05  # where every fifth sample would put all of it


def test_labels_and_names_are_those_of_the_session(recording, folder):
    assert recording.trials["label"].values.tolist() == LABELS_OF_SESSION_1
    names = list(recording.trials["label_name"].values[:5])
    assert names == ["happy", "fear", "neutral", "sad", "disgust"]
    assert recording.ratings.sizes["trial"] == 0
    second = read_seed_v_session(folder, 1, 2, clip_seconds=CLIP)
    assert second.trials["label"].values.tolist()[:5] == [2, 1, 3, 0, 4]


def test_the_published_labels_are_those_that_users_of_the_features_list():
    labels = [v for session in (1, 2, 3) for v in SEED_V_LABELS[session]]
    for label, trials in ((4, HAPPY), (3, NEUTRAL), (2, SAD), (0, DISGUST)):
        assert [k for k, v in enumerate(labels) if v == label] == trials
    assert labels.count(1) == 9


def test_the_published_seconds_hold_as_many_windows_as_the_published_features():
    counts = [sum((b - a) // 4 for a, b in SEED_V_SECONDS[session]) for session in (1, 2, 3)]
    assert counts == [681, 541, 601]
    for session in (1, 2, 3):
        flat = np.ravel(SEED_V_SECONDS[session])
        assert (np.diff(flat) >= 29).all()  # rising, with half a minute and more between clips


def test_trials_lie_on_the_clock_of_the_recording(recording):
    expected = [(float(a), float(b - a)) for a, b in trial_seconds(1, CLIP)]
    columns = (recording.trials[c].values for c in ("onset_seconds", "duration_seconds"))
    assert list(zip(*columns, strict=True)) == expected
    time = recording["eeg"]["time"].values
    assert time[0] == 1.0 and time[1000] == 3.0 and len(time) == 15_000
    assert len(list(recording.windows("eeg", 500))) == 30


def test_each_session_has_its_own_clips(recording, folder):
    other, second = (read_seed_v_session(folder, s, k, clip_seconds=1) for s, k in ((2, 1), (1, 2)))
    first = list(recording.trials["stimulus"].values)
    assert list(other.trials["stimulus"].values) == first
    assert first[0] == "seed-v-1-clip-01" and len(set(first)) == 15
    assert not set(first) & set(second.trials["stimulus"].values)


def test_the_session_is_the_one_of_the_name_not_the_rank_of_the_date(tmp_path):
    for name in ("10_2_20180507.cnt", "10_1_20180524.cnt", "9_3_20180728.cnt"):
        (tmp_path / name).touch()
    found = [(f.subject, f.session, f.date) for f in seed_v_files(tmp_path)]
    assert found == [(9, 3, "20180728"), (10, 1, "20180524"), (10, 2, "20180507")]
    (tmp_path / "10_1_20180531.cnt").touch()
    with pytest.raises(UnreadableFileError, match=r"10_1_20180524\.cnt and 10_1_20180531\.cnt"):
        seed_v_files(tmp_path)


def test_all_are_read_in_order_and_each_source_can_be_sent_to_a_worker(folder, recording):
    keys = [(r.attrs["subject"], r.attrs["session"]) for r in read_seed_v(folder, clip_seconds=1)]
    assert keys == [("01", "1"), ("01", "2"), ("02", "1"), ("02", "2")]
    sources = pickle.loads(pickle.dumps(seed_v_sources(folder, clip_seconds=1)))
    assert [s.name for s in sources][:2] == ["1_1_20180804", "1_2_20180810"]
    assert sources[0].files == (folder / NAME,)
    (found,) = sources[0].read()
    assert found.fingerprint() == recording.fingerprint()


def test_the_planted_effect_is_in_the_signal_and_zero_plants_none(recording, tmp_path):
    write_seed_v_fixture(tmp_path, subjects=1, sessions=1, clip_seconds=CLIP, effect=0)
    plain = read_seed_v_session(tmp_path, 1, 1, clip_seconds=CLIP)
    for found, ratio in ((recording, 2.0**1.5), (plain, 1.0)):
        beta = [np.abs(np.fft.rfft(trial(found, k)))[:, 20].mean() for k in (1, 4)]  # happy, sad
        assert beta[0] / beta[1] == pytest.approx(ratio, rel=0.1)


def test_memory_is_that_of_the_trials_in_single_precision(folder):
    read_seed_v_session(folder, 1, 1, clip_seconds=CLIP)  # what is imported is not counted
    tracemalloc.start()
    try:
        recording = read_seed_v_session(folder, 1, 1, clip_seconds=CLIP)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    held = sum(recording[k]["signal"].nbytes for k in recording.streams)
    assert held == 15_000 * 64 * 4
    assert peak < 31_000 * 66 * 8  # the whole recording in double precision


def test_a_missing_session_or_folder_or_an_existing_file_is_an_error(folder, tmp_path):
    with pytest.raises(RecordingNotFoundError, match="SEED-V's folder EEG_raw"):
        seed_v_files(tmp_path)
    with pytest.raises(CallError, match=r"subjects 1, 2 in .*expected subject 3"):
        read_seed_v_session(folder, 3, 1)
    with pytest.raises(RecordingExistsError, match=r"\.cnt files"):
        write_seed_v_fixture(folder)
    with pytest.raises(CallError, match="17 subjects"):
        write_seed_v_fixture(tmp_path, subjects=17)
    with pytest.raises(CallError, match=r"trials of 0\.5 s, expected a whole number"):
        read_seed_v_session(folder, 1, 1, clip_seconds=0.5)


def test_a_recording_that_ends_before_the_last_trial_is_an_error(folder):
    with pytest.raises(UnreadableFileError, match=r"31 s where trials end at 3359 s in .*1_1_2018"):
        read_seed_v_session(folder, 1, 1)


@pytest.mark.parametrize(
    ("at", "code", "value", "text"),
    [
        (370, "<H", 65, "found 65 channels of 31000 samples"),
        (376, "<H", 200, "found a rate of 200 Hz"),
        (864, "<i", 2_000_000_000, "2000000000 samples"),
        (864, "<i", -1, "-1 samples"),
        (864, "<i", 62_000, "where samples of 32 bits would end at"),
        (886, "<i", 2**31 - 1, "table of events at byte 2147483647"),
        (894, "<i", 160, "samples in blocks of 160 bytes"),
        (900, "4s", b"XX", "channels that differ in FP1, XX"),
        (900, "4s", b"FPZ", "channels that differ in FP1"),
        (900, "4s", b"F\xff1", r"the electrode b'F\\xff1'"),
        (959, "<f", float("nan"), "nan microvolts per count for electrode FP1"),
        (959, "<f", 0.0, "0 microvolts per count"),
        (959, "<f", 14.0, "0.0298\\S* to 0.068\\S* microvolts per count in"),
        (0, "10s", b"RIFF", "at its start"),
    ],
)
def test_a_header_that_does_not_fit_is_an_error(folder, tmp_path, at, code, value, text):
    data = patched((folder / NAME).read_bytes(), at, code, value)
    with pytest.raises(UnreadableFileError, match=f"{text}.*{NAME}"):
        read_damaged(tmp_path, data)


def test_files_of_16_bit_samples_are_an_error(folder, tmp_path):
    data = (folder / NAME).read_bytes()
    halved = patched(data, 886, "<i", START + 31_000 * 66 * 2)
    with pytest.raises(UnreadableFileError, match="32-bit samples"):
        read_damaged(tmp_path, halved)


def test_samples_beyond_the_file_are_an_error(folder):
    header = read_cnt_header(folder / NAME)
    with pytest.raises(CallError, match="found samples 30999 to 31001 wanted"):
        read_cnt(header, 30_999, 31_001, [0], np.empty((2, 1)))


def decoded(data):
    """Return the trials of a file's bytes, independently of the reader."""
    counts = np.frombuffer(data, "<i4", 31_000 * 66, START).reshape(31_000, 66)
    fields = [struct.unpack_from("<10s37xh10xf8xf", data, 900 + 75 * k) for k in range(66)]
    labels = [f[0].split(b"\0")[0].decode().strip().upper() for f in fields]
    columns = [labels.index(n.upper()) for n in SEED_EEG]
    offset = np.array([fields[k][1] for k in columns])
    gain = np.array([fields[k][2] * fields[k][3] / 204.8 for k in columns])
    parts = [counts[a * 1000 : b * 1000, columns] for a, b in trial_seconds(1, CLIP)]
    return (np.concatenate(parts) - offset) * gain


def flips(data, n, seed=0):
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, len(data), n):
        yield data[:at] + bytes([data[at] ^ (1 << int(rng.integers(0, 8)))]) + data[at + 1 :]


def test_a_damaged_file_is_an_error_that_names_it_or_says_what_its_bytes_say(folder, tmp_path):
    """There is no checksum: a changed sample or gain is read as it is, and nothing else moves."""
    data = (folder / NAME).read_bytes()
    time = read_seed_v_session(folder, 1, 1, clip_seconds=CLIP)["eeg"]["time"].values
    refused = 0
    headers = (part + data[START:] for part in flips(data[:START], n=40))
    for damaged in (*mutations(data, n=200), *headers):
        try:
            found = read_damaged(tmp_path, damaged)
        except UnreadableFileError as error:
            assert NAME in str(error)
            refused += 1
        else:
            assert len(damaged) >= len(data)
            np.testing.assert_array_equal(found["eeg"]["time"].values, time)
            values = found["eeg"]["signal"].values
            np.testing.assert_array_equal(values, decoded(damaged).astype(np.float32))
            assert found.trials["label"].values.tolist() == LABELS_OF_SESSION_1
    assert refused > 80  # all that are cut, at least


def test_every_byte_of_the_structure_is_refused_or_harmless(folder, tmp_path):
    """Flips in the fields that say how long and wide the file is, and in its table of events."""
    data = (folder / NAME).read_bytes()
    original = read_damaged(tmp_path, data).fingerprint()
    events = len(data) - 9 - 15 * 19
    fields = [*range(370, 372), *range(376, 378), *range(864, 868), *range(886, 890)]
    for at in [*fields, *range(894, 898), *range(events, events + 9)]:
        damaged = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        try:
            assert read_damaged(tmp_path, damaged).fingerprint() == original
        except UnreadableFileError as error:
            assert NAME in str(error)
            continue
        assert at >= events + 5  # the offset of the table of events, which nothing needs


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path, folder):
    (tmp_path / NAME).mkdir()
    with pytest.raises(UnreadableFileError, match="cannot be opened"):
        next(read_seed_v(tmp_path))
    shutil.copy(folder / NAME, tmp_path / "2_1_20180804.cnt")
    assert len(seed_v_files(tmp_path)) == 2
