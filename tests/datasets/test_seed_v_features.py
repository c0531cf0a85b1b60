"""SEED-V's features: what is read is what users of the data read, and nothing in it is run."""

import io
import pickle
import pickletools
import zipfile

import numpy as np
import pytest

from physioemo.datasets.npz_file import load_npz_pickles
from physioemo.datasets.seed import SEED_EEG
from physioemo.datasets.seed_v import SEED_V_SECONDS, read_seed_v_session
from physioemo.datasets.seed_v_features import (
    read_seed_v_features,
    read_seed_v_features_session,
    seed_v_features_sources,
)
from physioemo.datasets.seed_v_features_fixture import (
    dumps_as_numpy_1,
    write_seed_v_features_fixture,
)
from physioemo.datasets.seed_v_fixture import write_seed_v_fixture
from physioemo.errors import (
    CallError,
    RecordingExistsError,
    RecordingNotFoundError,
    UnreadableFileError,
)
from tests.datasets.mutations import mutations

N = 3  # windows of every trial
NAME = "1_123.npz"
BANDS = ["delta", "theta", "alpha", "beta", "gamma"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seed_v") / "EEG_DE_features"
    write_seed_v_features_fixture(folder, windows=N)
    return folder


@pytest.fixture(scope="module")
def recordings(folder):
    return list(read_seed_v_features(folder, windows=N))


def as_users_read(path):
    """Return data and label as published code does: unpickled without care."""
    content = np.load(path)
    return pickle.loads(content["data"]), pickle.loads(content["label"])


def trial(recording, number, stream="eeg_de"):
    onset = float(recording.trials["onset_seconds"].sel(trial=number))
    return recording.window(onset, onset + 4 * N, stream)[stream].signal.T


def rewritten(folder, **members):
    """Return the bytes of a file with other members; what is no bytes is pickled."""
    data, label = as_users_read(folder / NAME)
    content = {"data": data, "label": label} | members
    out = io.BytesIO()
    packed = {k: v if isinstance(v, bytes) else dumps_as_numpy_1(v) for k, v in content.items()}
    np.savez(out, **{k: np.bytes_(v) for k, v in packed.items()})
    return out.getvalue()


def read_file(folder, data):
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(data)
    return list(read_seed_v_features(folder, windows=N))


def test_every_trial_is_the_one_that_users_of_the_data_read(folder, recordings):
    for name, stream in (("EEG_DE_features", "eeg_de"), ("Eye_movement_features", "eye_features")):
        data, _ = as_users_read(folder.parent / name / NAME)
        for key in (0, 14, 15, 29, 30, 44):
            found = trial(recordings[key // 15], key % 15 + 1, stream)
            np.testing.assert_array_equal(found, data[key])


def test_a_column_is_five_times_the_channel_plus_the_band_as_in_torcheeg(folder, recordings):
    data, _ = as_users_read(folder / NAME)
    names = [str(c) for c in recordings[0]["eeg_de"]["channel"].values]
    assert len(names) == 310 and names[:6] == [f"Fp1 {b}" for b in BANDS] + ["Fpz delta"]
    grid = data[7].reshape(N, 62, 5)  # as TorchEEG does
    found = trial(recordings[0], 8)[:, names.index("Cz beta")]
    np.testing.assert_array_equal(found, grid[:, SEED_EEG.index("Cz"), BANDS.index("beta")])


def test_the_other_layout_names_and_orders_channels_alike(tmp_path, recordings):
    folder = tmp_path / "EEG_DE_features"
    write_seed_v_features_fixture(folder, subjects=1, windows=N, layout="band-channel", eye=False)
    data, _ = as_users_read(folder / NAME)
    found = read_seed_v_features_session(folder, 1, 1, windows=N, layout="band-channel")
    names = list(found["eeg_de"]["channel"].values)
    assert names == list(recordings[0]["eeg_de"]["channel"].values)
    assert found["eeg_de"].attrs["layout"] == "band-channel"
    column = trial(found, 8)[:, names.index("Cz beta")]
    expected = data[7].reshape(N, 5, 62)[:, BANDS.index("beta"), SEED_EEG.index("Cz")]
    np.testing.assert_array_equal(column, expected)
    beta = trial(found, 1)[:, [n.endswith("delta") for n in names]]
    assert beta.mean() == pytest.approx(24, abs=0.2)  # the level planted for delta
    with pytest.raises(CallError, match="found the layout '5x62'"):
        read_seed_v_features(folder, layout="5x62")


def test_rates_units_and_stamps_say_what_is_known(recordings):
    for key, stype in (("eeg_de", "EEGFeatures"), ("eye_features", "EyeFeatures")):
        stream, description = recordings[0][key], recordings[0].description(key)
        assert set(description.units) == {"a.u."} and "states none" in stream.attrs["unit_note"]
        found = (description.stype, description.modality, description.sfreq)
        assert found == (stype, "other", 0.25)
        assert stream.attrs["window_seconds"] == 4.0
        assert stream.attrs["stamp"] == "the start of the window"
        assert stream["time"].values[: N + 1].tolist() == [30.0, 34.0, 38.0, 132.0]
    eyes = [str(c) for c in recordings[0]["eye_features"]["channel"].values]
    assert eyes[0] == "eye 01" and eyes[-1] == "eye 33" and len(eyes) == 33


def test_labels_clips_and_sessions(recordings, folder):
    _, label = as_users_read(folder / NAME)
    keys = [(r.attrs["subject"], r.attrs["session"]) for r in recordings]
    assert keys == [(s, k) for s in ("01", "02") for k in ("1", "2", "3")]
    for session, recording in enumerate(recordings[:3]):
        expected = [int(label[session * 15 + k][0]) for k in range(15)]
        assert recording.trials["label"].values.tolist() == expected
        stimuli = list(recording.trials["stimulus"].values)
        assert stimuli[0] == f"seed-v-{session + 1}-clip-01" and len(set(stimuli)) == 15
        assert len(list(recording.windows("eeg_de", N))) == 15


def test_the_published_numbers_of_windows_are_expected_unless_told_otherwise(folder, tmp_path):
    with pytest.raises(UnreadableFileError, match=r"\(3, 310\) .*data 0 of .*expected 18 x 310"):
        next(read_seed_v_features(folder))
    write_seed_v_features_fixture(tmp_path / "full", subjects=1)
    found = list(read_seed_v_features(tmp_path / "full"))
    assert [r["eeg_de"].sizes["time"] for r in found] == [681, 541, 601]
    assert [r["eye_features"].sizes["time"] for r in found] == [681, 541, 601]
    assert float(found[0].trials["duration_seconds"][2]) == 237.0  # of which 59 windows are 236


def test_features_and_raw_eeg_have_the_same_clips_and_labels(recordings, tmp_path):
    write_seed_v_fixture(tmp_path, subjects=1, sessions=1, clip_seconds=1)
    raw = read_seed_v_session(tmp_path, 1, 1, clip_seconds=1)
    for column in ("trial", "stimulus", "label", "label_name"):
        assert list(raw.trials[column].values) == list(recordings[0].trials[column].values)
    starts = recordings[0].trials["onset_seconds"].values
    assert starts.tolist() == [first for first, _ in SEED_V_SECONDS[1]]


def test_the_eyes_are_read_along_if_their_folder_is_there(folder, tmp_path, recordings):
    assert sorted(recordings[0].streams) == ["eeg_de", "eye_features"]
    without = next(read_seed_v_features(folder, windows=N, eye=False))
    assert list(without.streams) == ["eeg_de"]
    write_seed_v_features_fixture(tmp_path / "a", subjects=1, windows=N)  # inside another folder
    assert (tmp_path / "a" / "Eye_movement_features" / NAME).is_file()
    inside = next(read_seed_v_features(tmp_path / "a", windows=N))
    assert sorted(inside.streams) == ["eeg_de", "eye_features"]
    (tmp_path / "a" / "Eye_movement_features" / NAME).unlink()
    with pytest.raises(RecordingNotFoundError, match=r"no file at .*Eye_movement_features.1_123"):
        read_seed_v_features(tmp_path / "a", windows=N)


def test_the_folder_of_the_eyes_in_place_of_the_eegs_is_an_error(folder):
    with pytest.raises(UnreadableFileError, match=r"\(3, 33\) .*expected 3 x 310"):
        next(read_seed_v_features(folder.parent / "Eye_movement_features", windows=N))


def test_an_eye_that_was_not_seen_is_allowed_and_no_number_of_the_eeg_is(folder, tmp_path):
    data, _ = as_users_read(folder.parent / "Eye_movement_features" / NAME)
    data[0] = data[0].copy()
    data[0][1, 5] = np.nan
    eyes = tmp_path / "Eye_movement_features"
    eyes.mkdir()
    (eyes / NAME).write_bytes(rewritten(folder, data=data))
    found = read_file(tmp_path, (folder / NAME).read_bytes())[0]
    assert np.argwhere(np.isnan(found["eye_features"]["signal"].values)).tolist() == [[1, 5]]
    data, _ = as_users_read(folder / NAME)
    data[3] = data[3] * np.nan
    with pytest.raises(UnreadableFileError, match=r"nan in data 3 of .*1_123\.npz"):
        read_file(tmp_path / "b", rewritten(folder, data=data))


def test_the_planted_effect_is_in_the_features_and_zero_plants_none(recordings, tmp_path):
    write_seed_v_features_fixture(tmp_path, subjects=1, windows=N, effect=0)
    plain = next(read_seed_v_features(tmp_path, windows=N))
    names = list(plain["eeg_de"]["channel"].values)
    beta = [n.endswith("beta") for n in names]
    for found, expected in ((recordings[0], 1.5 * np.log(2)), (plain, 0.0)):
        happy, sad = (trial(found, k)[:, beta].mean() for k in (1, 4))
        assert happy - sad == pytest.approx(expected, abs=0.15)


def test_sources_can_be_sent_to_a_worker_and_name_what_they_read(folder, recordings):
    sources = pickle.loads(pickle.dumps(seed_v_features_sources(folder, windows=N)))
    assert [s.name for s in sources] == ["1_123", "2_123"]
    assert [f.parent.name for f in sources[0].files] == ["EEG_DE_features", "Eye_movement_features"]
    prints = [r.fingerprint() for s in sources for r in s.read()]
    assert prints == [r.fingerprint() for r in recordings]


def test_a_missing_session_or_folder_or_an_existing_file_is_an_error(folder, tmp_path):
    with pytest.raises(RecordingNotFoundError, match="SEED-V's folder EEG_DE_features"):
        read_seed_v_features(tmp_path)
    for subject, session in ((3, 1), (1, 4)):
        with pytest.raises(CallError, match=f"subjects 1, 2 .*subject {subject} with a session"):
            read_seed_v_features_session(folder, subject, session, windows=N)
    with pytest.raises(RecordingExistsError, match=r"\.npz files"):
        write_seed_v_features_fixture(folder)
    with pytest.raises(CallError, match="19 windows per trial, expected 1 to 18"):
        write_seed_v_features_fixture(tmp_path, windows=19)
    assert not list(tmp_path.iterdir())


def test_labels_that_are_not_the_published_ones_are_an_error(folder, tmp_path):
    _, label = as_users_read(folder / NAME)
    for value, found in ((np.full(N, 3.0), "3.0"), (np.array([4.0, 4, 1]), "1.0, 4.0")):
        with pytest.raises(UnreadableFileError, match=rf"found {found} in label 0 of .*expected 4"):
            read_file(tmp_path, rewritten(folder, label={**label, 0: value}))
    with pytest.raises(UnreadableFileError, match=r"\(2,\) .*label 0 of"):
        read_file(tmp_path, rewritten(folder, label={**label, 0: np.full(2, 4.0)}))


def test_other_content_is_an_error_that_names_the_file(folder, tmp_path):
    data, _ = as_users_read(folder / NAME)
    short = {k: v for k, v in data.items() if k != 44}
    for content in (short, {**data, 45: data[0]}, [*data.values()], 7):
        with pytest.raises(UnreadableFileError, match=r"data of .*1_123\.npz, expected the trials"):
            read_file(tmp_path, rewritten(folder, data=content))
    with pytest.raises(UnreadableFileError, match=r"members are data, extra, label"):
        read_file(tmp_path, rewritten(folder, extra={}))


def test_the_fixture_is_pickled_as_python_3_6_with_numpy_1_did(folder):
    content = bytes(np.load(folder / NAME)["data"])
    names = {a for op, a, _ in pickletools.genops(content) if op.name == "GLOBAL"}
    assert content[:2] == b"\x80\x03"
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}


@pytest.mark.parametrize("member", ["data", "label"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_payload_in_either_member_is_refused_by_name_and_not_run(
    folder, tmp_path, member, protocol
):
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return (exec, (f"open({str(marker)!r}, 'w').close()",))

    content = pickle.dumps({0: Payload()}, protocol=protocol)
    with pytest.raises(UnreadableFileError, match=rf"exec'.*{member} of .*1_123\.npz.*nothing"):
        read_file(tmp_path / "f", rewritten(folder, **{member: content}))
    assert not marker.exists()


def test_an_array_of_objects_in_the_archive_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return (exec, (f"open({str(marker)!r}, 'w').close()",))

    np.savez(tmp_path / NAME, data=np.array([Payload()], object), label=np.bytes_(b"N."))
    with pytest.raises(
        UnreadableFileError, match=r"data\.npy is not bytes without dimensions: .*'\|O'"
    ):
        load_npz_pickles(tmp_path / NAME, ("data", "label"))
    assert not marker.exists()


def archive(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)


def array_of(text, claimed=None):
    head = f"{{'descr': '|S{claimed or len(text)}', 'fortran_order': False, 'shape': (), }}"
    head = head.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + text


def test_a_zip_bomb_is_refused_before_room_is_made_for_it(tmp_path):
    bomb = array_of(bytes(200_000_000))
    archive(tmp_path / NAME, {"data.npy": bomb, "label.npy": b""}, zipfile.ZIP_DEFLATED)
    assert (tmp_path / NAME).stat().st_size < 300_000
    with pytest.raises(UnreadableFileError, match=r"data\.npy claims 200000128 bytes"):
        load_npz_pickles(tmp_path / NAME, ("data", "label"))


def test_a_zip_bomb_that_understates_its_size_is_refused(tmp_path):
    archive(tmp_path / NAME, {"data.npy": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    content = (tmp_path / NAME).read_bytes()
    true, less = (n.to_bytes(4, "little") for n in (50_000_000, 1000))
    assert content.count(true) == 2
    (tmp_path / NAME).write_bytes(content.replace(true, less))
    with pytest.raises(UnreadableFileError, match="Bad CRC-32"):
        load_npz_pickles(tmp_path / NAME, ("data",))


def test_an_array_that_overstates_its_size_is_refused_before_room_is_made_for_it(tmp_path):
    archive(tmp_path / NAME, {"data.npy": array_of(b"N.", claimed=9_000_000_000)})
    with pytest.raises(UnreadableFileError, match=r"claims 9000000000 bytes of 2"):
        load_npz_pickles(tmp_path / NAME, ("data",))
    archive(tmp_path / NAME, {"data.npy": array_of(b"N.")})
    assert load_npz_pickles(tmp_path / NAME, ("data",)) == {"data": None}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_compression_are_refused(tmp_path, method):
    archive(tmp_path / NAME, {"data.npy": array_of(b"N.")}, method)
    with pytest.raises(UnreadableFileError, match="by method"):
        load_npz_pickles(tmp_path / NAME, ("data",))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / NAME, "w") as file:
        file.writestr("data.npy", array_of(b"N."))
        file.writestr("data.npy", array_of(b"I1\n."))
    with pytest.raises(UnreadableFileError, match="its members are data, data"):
        load_npz_pickles(tmp_path / NAME, ("data",))


@pytest.mark.parametrize("name", ["EEG_DE_features", "Eye_movement_features"])
def test_a_damaged_file_is_an_error_that_names_it_or_read_as_before(tmp_path, name):
    folder = tmp_path / "EEG_DE_features"
    write_seed_v_features_fixture(folder, subjects=1, windows=1)
    victim = tmp_path / name / NAME
    data = victim.read_bytes()
    original = [r.fingerprint() for r in read_seed_v_features(folder, windows=1)]
    refused = 0
    for damaged in mutations(data, n=200):
        victim.write_bytes(damaged)
        try:
            found = [r.fingerprint() for r in read_seed_v_features(folder, windows=1)]
        except UnreadableFileError as error:
            assert NAME in str(error)
            refused += 1
        else:  # a date or a length of the archive that nothing needs
            assert found == original
    assert refused > 150
