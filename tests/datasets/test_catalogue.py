"""The contract of all readers; a new row of the catalogue joins by itself."""

import gc
import json
import weakref

import numpy as np
import pytest

from physioemo.datasets.catalogue import CATALOGUE, dataset, recognise
from physioemo.errors import CallError, DataError, RecordingNotFoundError
from physioemo.modality import MODALITIES
from tests.datasets.stored import stored


@pytest.fixture(scope="module", params=list(CATALOGUE))
def row(request):
    return CATALOGUE[request.param]


@pytest.fixture(scope="module")
def lead(row):
    return next(iter(row.published["rates_hz"]))


@pytest.fixture(scope="module")
def folder(row, tmp_path_factory):
    folder = tmp_path_factory.mktemp(row.name) / row.folder
    row.write_fixture(folder, subjects=2, seed=3, **row.small)
    return folder


@pytest.fixture(scope="module")
def recordings(row, folder):
    return list(row.read(folder, **row.small_read))


def test_every_subject_and_session_is_one_recording(row, recordings):
    keys = [(r.attrs["subject"], r.attrs["session"]) for r in recordings]
    assert len(keys) == len(set(keys)) and len({s for s, _ in keys}) == 2
    assert {r.attrs["dataset"] for r in recordings} == {row.name}


def test_streams_have_documented_rates_names_and_units(row, recordings):
    for recording in recordings:
        rates = {k: recording[k].attrs["sfreq"] for k in recording.streams}
        assert rates == row.published["rates_hz"]
        if "eeg" in rates:
            assert recording["eeg"].sizes["channel"] == row.published["eeg_channels"]
        for key in recording.streams:
            description = recording.description(key)  # checks names, units and rate
            features = description.stype in ("EEGFeatures", "EyeFeatures")
            assert description.modality in MODALITIES
            assert (description.modality == "other") == features
            assert all(description.units)


def test_samples_are_finite_and_times_rise(recordings):
    for recording in recordings:
        for key in recording.streams:
            assert np.isfinite(recording[key]["signal"].values).all()
            assert (np.diff(recording[key]["time"].values) > 0).all()


def test_trials_have_the_same_stimuli_for_every_subject(row, recordings):
    clips = {}
    for recording in recordings:
        session = recording.attrs["session"] if row.published.get("clips_per_session") else ""
        found = sorted(recording.trials["stimulus"].values)
        assert clips.setdefault(session, found) == found
        assert len(set(found)) == row.published["trials"]
    each = [s for found in clips.values() for s in found]
    assert len(set(each)) == len(each)
    assert all(s.startswith(f"{row.stimuli or row.name}-") for s in each)


def test_ratings_have_their_scale_or_clips_have_labels(row, recordings):
    for recording in recordings:
        ratings, scale = recording.ratings, row.published["scale"]
        if scale is None:
            assert ratings.sizes["trial"] == 0 and "label" in recording.trials
            continue
        assert (ratings.attrs["scale_minimum"], ratings.attrs["scale_maximum"]) == scale
        assert list(ratings["trial"].values) == list(recording.trials["trial"].values)
        assert {"valence", "arousal"} <= set(ratings["dimension"].values)
        assert ((ratings["rating"] >= scale[0]) & (ratings["rating"] <= scale[1])).all()


def test_baselines_are_marked_outside_the_trials(row, recordings):
    for recording in recordings:
        events, trials = recording.events, recording.trials
        onsets = events["onset_seconds"].values[events["description"].values == "baseline"]
        assert len(onsets) == row.published["baselines"]
        starts = trials["onset_seconds"].values
        stops = starts + trials["duration_seconds"].values
        assert not ((onsets[:, None] >= starts) & (onsets[:, None] < stops)).any()


def test_every_trial_is_full_of_samples_and_no_window_spans_two(recordings, lead):
    for recording in recordings:
        for key, sfreq in ((k, recording[k].attrs["sfreq"]) for k in recording.streams):
            for t in recording.trials["trial"].values:
                trial = recording.trials.sel(trial=t)
                start, seconds = (float(trial[c]) for c in ("onset_seconds", "duration_seconds"))
                part = recording.window(start, start + seconds, key)[key]
                assert abs(part.signal.shape[1] - seconds * sfreq) <= 1
        starts = recording.trials["onset_seconds"].values
        sfreq = recording[lead].attrs["sfreq"]
        hop = int(min(100, sfreq * float(recording.trials["duration_seconds"].min())))
        windows = list(recording.windows(lead, hop))
        trial_of = [np.searchsorted(starts, (w.start_seconds, w.stop_seconds)) for w in windows]
        baseline_ends = [w for w in windows if w.stop_seconds - w.start_seconds > hop / sfreq]
        assert windows and not baseline_ends
        assert all(b - a <= 1 for a, b in trial_of)


def test_source_licence_and_processing_are_stated_and_are_json(recordings):
    prints = set()
    for recording in recordings:
        attrs = json.loads(json.dumps(recording.attrs))
        for name in ("licence", "processing", "trial_order", "clock", "source_file"):
            assert attrs[name]
        prints.add((attrs["source_fingerprint"], attrs["subject"], attrs["session"]))
        assert attrs["notes"] == []
    assert len(prints) == len(recordings)


def test_a_recording_survives_the_store(recordings, tmp_path):
    first = recordings[0]
    back = stored(first, tmp_path / "r.zarr")
    assert {k: back[k].sizes for k in back.streams} == {k: first[k].sizes for k in first.streams}
    for column in first.trials.variables:
        assert list(back.trials[column].values) == list(first.trials[column].values)


def test_reading_twice_gives_the_same_and_another_seed_another(row, folder, recordings, tmp_path):
    again = next(row.read(folder, **row.small_read))
    assert again.fingerprint() == recordings[0].fingerprint()
    row.write_fixture(tmp_path, subjects=1, seed=4, **row.small)
    other = next(row.read(tmp_path, **row.small_read))
    assert other.fingerprint() != recordings[0].fingerprint()


def test_a_recording_is_freed_before_the_next_is_made(row, folder, lead):
    """Memory stays that of one recording for any number of subjects."""
    gc.disable()  # so that chance collects nothing
    try:
        reader = row.read(folder, **row.small_read)
        recording = next(reader)
        held = weakref.ref(recording.tree[lead])
        del recording
        assert next(reader) is not None
        assert held() is None
    finally:
        gc.enable()


def test_a_data_set_is_recognised_by_its_files(row, folder):
    assert recognise(folder) is row
    assert recognise(folder.parent if row.folder else folder) is row
    assert recognise(next(folder.iterdir())) is row
    assert row.locate(folder) == folder


def test_every_row_says_who_may_use_it_and_where_it_is():
    for name, row in CATALOGUE.items():
        assert row.name == name and row.title and "research" in row.licence
        assert "https://" in row.obtain and row.files and row.published["subjects"] > 0


def test_what_is_no_data_set_or_two_is_an_error(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"found no data set in .*expected the files of one \(deap"):
        recognise(tmp_path)
    (tmp_path / "s01.dat").touch()
    (tmp_path / "DREAMER.mat").touch()
    with pytest.raises(DataError, match="found the files of deap and dreamer"):
        recognise(tmp_path)
    with pytest.raises(RecordingNotFoundError, match="found nothing at"):
        recognise(tmp_path / "missing")
    with pytest.raises(CallError, match="found the data set 'amigos', expected one of deap"):
        dataset("amigos")
