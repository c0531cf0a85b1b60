"""DEAP's raw recordings: trials, ratings and channels are joined by name, whatever the site."""

import pickle
import shutil

import numpy as np
import pytest

from physioemo.datasets.bdf_file import open_bdf
from physioemo.datasets.deap import DEAP_EEG
from physioemo.datasets.deap_raw import (
    TWENTE_EEG,
    deap_raw_sources,
    deap_raw_subjects,
    read_deap_raw,
    read_deap_raw_all,
)
from physioemo.datasets.deap_raw_fixture import (
    bdf_header,
    bdf_samples,
    write_deap_raw_fixture,
)
from physioemo.errors import (
    CallError,
    RecordingExistsError,
    RecordingNotFoundError,
    UnreadableFileError,
)
from tests.datasets.deap_raw_files import HERTZ, SECONDS, decode, edit, read, rewrite, table
from tests.datasets.stored import stored

SUBJECTS = (2, 22, 23, 24, 28, 29)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deap_raw")
    write_deap_raw_fixture(folder, subjects=SUBJECTS, video_seconds=SECONDS, haste=20)
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    """A folder with the files of participant 2 that a test may change."""
    for name in ("s02.bdf", "participant_ratings.csv"):
        shutil.copy(folder / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize(("subject", "order"), [(22, TWENTE_EEG), (23, DEAP_EEG), (29, DEAP_EEG)])
def test_libeer_channel_order_is_picked_by_name_at_both_sites(folder, subject, order):
    labels, stored = decode(folder / f"s{subject:02d}.bdf")
    assert tuple(labels[:32]) == order and sorted(order) == sorted(DEAP_EEG)
    eeg = read(folder, subject)["eeg"]
    assert tuple(eeg["channel"].values) == DEAP_EEG
    for column, name in enumerate(DEAP_EEG):
        gain = 2**19 / (2**24 - 1)
        expected = (stored[labels.index(name)] + 2**23) * gain - 2**18
        np.testing.assert_allclose(eeg["signal"][:, column], expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("subject", [22, 28, 29])
def test_samples_are_those_of_mne(folder, subject):
    import mne

    raw = mne.io.read_raw_bdf(folder / f"s{subject:02d}.bdf", verbose="error")
    recording = read(folder, subject)
    assert raw.info["sfreq"] == recording["eeg"].attrs["sfreq"] == 512
    for key, names in (("eeg", DEAP_EEG), ("emg", ("EXG5", "EXG6", "EXG7", "EXG8"))):
        ours = recording[key]["signal"].values.T
        theirs = raw.get_data(picks=list(names)) * 1e6
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(recording["eeg"]["time"], raw.times, atol=1e-9)


@pytest.mark.parametrize(("subject", "status"), [(22, "Status"), (28, ""), (29, "-1")])
def test_videos_start_where_mne_finds_code_4(folder, subject, status):
    import mne

    raw = mne.io.read_raw_bdf(folder / f"s{subject:02d}.bdf", verbose="error")
    options = {"stim_channel": status, "mask": 0xFF, "mask_type": "and", "verbose": "error"}
    events = mne.find_events(raw, **options)
    starts = raw.times[events[events[:, 2] == 4, 0]]
    np.testing.assert_allclose(read(folder, subject).trials["onset_seconds"], starts)


def test_channels_units_and_rates_are_those_of_the_documentation(folder):
    recording = read(folder, 22)
    assert {recording[k].attrs["sfreq"] for k in recording.streams} == {512.0}
    assert {k: recording[k].attrs["unit"] for k in recording.streams} == {
        "eeg": "uV",
        "eog": "uV",
        "emg": "uV",
        "eda": "uS",
        "respiration": "a.u.",
        "pleth": "a.u.",
        "temperature": "a.u.",
    }
    assert list(recording["eog"]["channel"].values) == ["hEOG1", "hEOG2", "vEOG1", "vEOG2"]
    assert list(recording["emg"]["channel"].values) == ["zEMG1", "zEMG2", "tEMG1", "tEMG2"]
    assert recording["emg"].attrs["source_channels"] == "EXG5 EXG6 EXG7 EXG8"
    assert "none" in recording["eeg"].attrs["reference"]


def test_skin_is_nanosiemens_in_twente(copy):
    def change(labels, stored):
        stored[labels.index("GSR1")] = 5000
        stored[labels.index("GSR1"), 7] = 0

    edit(copy / "s02.bdf", change)
    recording = read(copy, 2)
    skin = recording["eda"]["signal"].values[:, 0]
    assert skin[0] == 5.0 and np.isnan(skin[7]) and np.isnan(skin).sum() == 1
    assert recording.notes == ("1 samples of GSR1 are not positive and were taken as missing",)


def test_skin_is_ohm_in_geneva(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "c")
    edit(
        tmp_path / "c" / "s24.bdf",
        lambda labels, stored: stored[labels.index("GSR1")].fill(200_000),
    )
    skin = read(tmp_path / "c", 24)["eda"]["signal"].values
    assert (skin == 5.0).all()


def test_skin_is_of_one_size_at_both_sites(folder):
    for subject in (22, 23):
        assert 4.7 < read(folder, subject)["eda"]["signal"].values.mean() < 5.3


def test_a_header_that_contradicts_the_documented_unit_of_the_skin_is_told(copy):
    data = (copy / "s02.bdf").read_bytes()
    at = 256 + 48 * 96 + 40 * 8
    assert data[at : at + 8] == b"nS      "
    (copy / "s02.bdf").write_bytes(data[:at] + b"Ohm     " + data[at + 8 :])
    recording = read(copy, 2)
    assert "states GSR1 in Ohm, and DEAP's documentation nS" in recording.notes[0]


@pytest.mark.parametrize(
    ("subject", "last"), [(22, ["Temp", "Status"]), (23, ["Temp", "Status"]), (24, ["Temp", ""])]
)
def test_status_is_found_by_its_name_or_by_having_none(folder, subject, last):
    assert list(open_bdf(folder / f"s{subject:02d}.bdf").names[-2:]) == last
    assert len(open_bdf(folder / f"s{subject:02d}.bdf").names) == 48
    assert read(folder, subject).trials.sizes["trial"] == 40


def test_status_is_found_by_name_dash_one_in_s29(folder):
    file = open_bdf(folder / "s29.bdf")
    assert file.names[-3:] == ("Temp", "-0", "-1") and len(file.names) == 49
    assert set(np.unique(file.digital("-0") & 0xFF)) == set(range(251))  # codes that are none
    assert read(folder, 29).trials.sizes["trial"] == 40


def test_s28_has_all_trials_though_the_bits_above_the_codes_change(folder):
    status = open_bdf(folder / "s28.bdf").digital("")
    assert {1638148, 5832452} <= set(status.tolist())
    assert (np.diff((status == 1638148).astype(int)) == 1).sum() < 40
    recording = read(folder, 28)
    assert recording.trials.sizes["trial"] == 40
    np.testing.assert_array_equal(recording.trials["duration_seconds"], SECONDS)


def test_codes_before_the_first_trial_in_geneva_are_not_trials(folder):
    _, stored = decode(folder / "s23.bdf")
    code = stored[-1] & 0xFF
    before = code[: np.flatnonzero(code == 4)[0]]
    assert ((before == 5) & (np.roll(before, 1) == 0)).sum() == 2
    recording = read(folder, 23)
    onset = np.flatnonzero((code == 4) & (np.roll(code, 1) == 0)) / HERTZ
    np.testing.assert_array_equal(recording.trials["onset_seconds"], onset)


@pytest.mark.parametrize("subject", [22, 29])
def test_libeer_shuffled_labels_raw_trials_follow_presentation_order(folder, subject):
    """The n-th video of the recording is the one with Trial n, not with Experiment_id n."""
    recording = read(folder, subject)
    rows = {int(r["Trial"]): r for r in table(folder) if int(r["Participant_id"]) == subject}
    videos = [int(rows[k]["Experiment_id"]) for k in range(1, 41)]
    assert videos != sorted(videos) and sorted(videos) == list(range(1, 41))
    assert recording.trials["trial"].values.tolist() == list(range(1, 41))
    assert (np.diff(recording.trials["onset_seconds"]) > 0).all()
    assert list(recording.trials["stimulus"].values) == [f"deap-video-{v:02d}" for v in videos]
    for k in (1, 17, 40):
        own = [float(rows[k][c]) for c in ("Valence", "Arousal", "Dominance", "Liking")]
        assert recording.ratings["rating"].sel(trial=k).values.tolist() == own
    assert recording.attrs["trial_order"] == "presentation"


def test_rows_are_joined_by_participant_and_trial_never_by_their_order(copy):
    before = read(copy, 2)
    rows = table(copy)
    order = np.random.default_rng(0).permutation(len(rows))
    rewrite(copy, [dict(reversed(rows[i].items())) for i in order])  # the columns as well
    after = read(copy, 2)
    assert list(after.trials["stimulus"].values) == list(before.trials["stimulus"].values)
    np.testing.assert_array_equal(after.ratings["rating"], before.ratings["rating"])


def test_the_effect_of_the_ratings_is_in_the_trials_that_they_are_joined_to(tmp_path):
    write_deap_raw_fixture(tmp_path, subjects=[1], video_seconds=2.0, haste=20)
    recording = read_deap_raw(tmp_path, 1, video_seconds=2.0)
    onset = (recording.trials["onset_seconds"].values * HERTZ).astype(int)
    signal = recording["eeg"]["signal"].values.astype(float)
    power = [np.abs(np.fft.rfft(signal[i : i + 2 * HERTZ], axis=0)).mean(axis=1) for i in onset]
    alpha, beta = np.log(np.array(power)[:, [20, 40]]).T
    valence, arousal = recording.ratings["rating"].values[:, :2].T
    assert np.corrcoef(alpha, arousal)[0, 1] < -0.95
    assert np.corrcoef(beta, valence)[0, 1] > 0.95


def test_logged_start_times_that_do_not_fit_the_codes_are_told(copy):
    assert read(copy, 2).notes == ()
    rows = table(copy)
    for row in rows:  # the unit of the log does not matter
        row["Start_time"] = float(row["Start_time"]) / 100
    rewrite(copy, rows)
    assert read(copy, 2).notes == ()
    early, late = (r for r in rows if r["Participant_id"] == "2" and r["Trial"] in ("5", "30"))
    early["Start_time"], late["Start_time"] = late["Start_time"], early["Start_time"]
    rewrite(copy, rows)
    assert "s apart: the ratings may be another participant's" in read(copy, 2).notes[0]
    for row in rows:
        row["Start_time"] = ""
    rewrite(copy, rows)
    assert "hold no start times" in read(copy, 2).notes[0]


def test_familiarity_is_missing_for_2_and_23_and_whole_for_others(folder):
    assert np.isnan(read(folder, 2).trials["familiarity"]).all()
    assert np.isnan(read(folder, 23).trials["familiarity"]).all()
    assert set(read(folder, 22).trials["familiarity"].values) == {1, 2, 3, 4, 5}


def test_torcheeg_and_libeer_midpoint_five_stays_five_and_nothing_stays_missing(copy):
    rows = table(copy)
    own = next(r for r in rows if r["Participant_id"] == "2" and r["Trial"] == "4")
    own["Valence"], own["Arousal"] = "5.0", ""
    rewrite(copy, rows)
    recording = read(copy, 2)
    rating = recording.ratings["rating"].sel(trial=4).values
    assert rating[0] == 5.0 and np.isnan(rating[1]) and "label" not in recording.trials
    assert recording.ratings.attrs == {"scale_minimum": 1.0, "scale_maximum": 9.0}


@pytest.mark.parametrize("subject", [22, 28])
def test_fixation_and_rest_are_events_before_the_videos(folder, subject):
    recording = read(folder, subject)
    events, starts = recording.events, recording.trials["onset_seconds"].values
    kind = events["description"].values
    ends = (events["onset_seconds"] + events["duration_seconds"]).values
    np.testing.assert_allclose(ends[kind == "baseline"], starts)
    np.testing.assert_allclose(events["duration_seconds"].values[kind == "baseline"], 5 / 20)
    assert list(kind).count("resting_baseline") == 1
    rest = int(np.flatnonzero(kind == "resting_baseline")[0])
    assert events["duration_seconds"].values[rest] == 120 / 20
    assert events["onset_seconds"].values[rest] < starts[0] - 6


def test_a_recording_without_a_second_code_1_has_no_rest_and_says_so(copy):
    def change(labels, stored):
        code = stored[-1] & 0xFF
        first = np.flatnonzero(code == 1)[0]
        stored[-1, first : first + 8] &= ~0xFF

    edit(copy / "s02.bdf", change)
    recording = read(copy, 2)
    assert "resting_baseline" not in recording.events["description"].values
    assert recording.notes == (
        "found no second code 1 before the first video: no resting baseline",
    )


def test_a_video_has_its_length_where_its_codes_are_a_little_further_apart(tmp_path):
    write_deap_raw_fixture(tmp_path, subjects=[1], video_seconds=1.05, haste=20)
    recording = read(tmp_path, 1)
    np.testing.assert_array_equal(recording.trials["duration_seconds"], 1.0)


def test_a_header_and_a_record_have_the_bytes_of_the_format():
    channels = [("A", "uV", -262144, 262144)] * 49
    assert len(bdf_header(channels, 3600)) == 256 * 50
    assert len(bdf_samples(np.zeros((49, HERTZ), int))) == 3 * 49 * HERTZ


@pytest.mark.parametrize("names", [(".",), ("..",), ("..", "metadata_csv"), ("metadata_csv",)])
def test_ratings_are_found_where_deap_publishes_them(folder, tmp_path, names):
    data = tmp_path / "data_original"
    place = data.joinpath(*names)
    data.mkdir()
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "s02.bdf", data)
    shutil.copy(folder / "participant_ratings.csv", place)
    assert read(data, 2).trials.sizes["trial"] == 40


def test_a_source_is_one_file_with_its_ratings_and_can_be_sent_to_a_process(folder):
    sources = deap_raw_sources(folder, video_seconds=SECONDS)
    assert [s.name for s in sources] == [f"s{n:02d}" for n in SUBJECTS]
    assert [f.name for f in sources[0].files] == ["s02.bdf", "participant_ratings.csv"]
    (recording,) = pickle.loads(pickle.dumps(sources[1])).read()
    assert recording.fingerprint() == read(folder, 22).fingerprint()


def test_subjects_are_read_in_order(folder):
    recordings = read_deap_raw_all(folder, video_seconds=SECONDS)
    found = [(r.attrs["subject"], r.attrs["site"]) for r in recordings]
    assert found[:3] == [("02", "Twente"), ("22", "Twente"), ("23", "Geneva")] and len(found) == 6
    assert deap_raw_subjects(folder) == list(SUBJECTS)


def test_a_recording_survives_the_store(folder, tmp_path):
    recording = read(folder, 22)
    back = stored(recording, tmp_path / "a.zarr")
    for key in recording.streams:
        np.testing.assert_array_equal(back[key]["signal"], recording[key]["signal"])
        np.testing.assert_array_equal(back[key]["time"], recording[key]["time"])
    assert back.trials.equals(recording.trials) and back.events.equals(recording.events)
    assert back["eeg"]["signal"].dtype == np.float32


def test_the_same_seed_writes_the_same_bytes(folder, tmp_path):
    options = {"subjects": [22], "video_seconds": SECONDS, "haste": 20}
    first, ratings = write_deap_raw_fixture(tmp_path / "a", **options)
    assert first.read_bytes() == (folder / "s22.bdf").read_bytes()
    assert ratings.read_bytes() == (folder / "participant_ratings.csv").read_bytes()
    other = write_deap_raw_fixture(tmp_path / "b", seed=1, **options)[0]
    assert other.read_bytes() != first.read_bytes()
    with pytest.raises(RecordingExistsError, match=r"s22\.bdf"):
        write_deap_raw_fixture(tmp_path / "a", **options)
    with pytest.raises(CallError, match="expected 1 to 32"):
        write_deap_raw_fixture(tmp_path / "c", subjects=[33])


def test_a_wrong_folder_or_a_missing_file_is_an_error(folder, tmp_path):
    with pytest.raises(RecordingNotFoundError, match="data_original"):
        read_deap_raw_all(tmp_path)
    with pytest.raises(RecordingNotFoundError, match=r"no file at .*s07\.bdf"):
        read(folder, 7)
    shutil.copy(folder / "s02.bdf", tmp_path)
    with pytest.raises(RecordingNotFoundError, match=r"found no participant_ratings\.csv"):
        read(tmp_path, 2)


def test_a_renamed_file_of_the_other_site_is_an_error(copy, folder):
    shutil.copy(folder / "s23.bdf", copy / "s05.bdf")
    with pytest.raises(UnreadableFileError, match=r"s05\.bdf in the order of Geneva"):
        read(copy, 5)


def test_published_durations_are_expected_unless_said_otherwise(folder):
    with pytest.raises(UnreadableFileError, match=r"1 s of video .*trial 1 of .*60 s"):
        read_deap_raw(folder, 2)
