"""From a recording to the features of its trials: the right samples, nothing across a border."""

import numpy as np
import pytest

from physioemo.datasets.deap import read_deap
from physioemo.datasets.deap_fixture import write_deap_fixture
from physioemo.datasets.seed import SEED_SAMPLES, read_seed
from physioemo.datasets.seed_fixture import write_seed_fixture
from physioemo.errors import CallError, DataError, NoStreamError
from physioemo.features.conditioning import Conditioning
from physioemo.features.entropy import differential_entropy
from physioemo.features.preprocess import recording_features
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.features.smoothing import smooth
from physioemo.store import create_recording
from tests.simulated import simulated_recording
from tests.streams import eeg_stream, rating_stream, trial_markers

SFREQ = 250.0
LOCAL = PreprocessRecipe(definition="window-filter")


def record(folder, signal, trials, *, time=None, ratings=(), **changes):
    streams = {
        "eeg": eeg_stream(signal, SFREQ, time=time, **changes),
        "markers": trial_markers(trials),
    }
    if ratings:
        streams["ratings"] = rating_stream(ratings)
    return create_recording(folder / "r.zarr", streams)


@pytest.fixture(scope="module")
def deap(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deap")
    write_deap_fixture(folder, subjects=1, n_samples=1024)
    return read_deap(folder, 1, n_samples=1024)


def test_each_window_holds_the_samples_of_its_own_second(tmp_path, rng):
    signal = rng.normal(size=(3000, 2)).astype(np.float32)
    recording = record(tmp_path, signal, [(1, 1.0, 3.5, "a"), (2, 7.0, 2.0, "b")])
    found = recording_features(recording, LOCAL, name="r")
    assert found["trial"].values.tolist() == [1, 1, 1, 2, 2]
    assert found["onset_seconds"].values.tolist() == [1, 2, 3, 7, 8]
    assert found["trial_seconds"].values.tolist() == [0, 1, 2, 0, 1]
    for k, onset in enumerate(found["onset_seconds"].values):
        part = signal[int(onset * SFREQ) : int((onset + 1) * SFREQ)].T
        wanted = differential_entropy(part, SFREQ, definition="window-filter")[0]
        np.testing.assert_allclose(found["de"].values[k], wanted, rtol=1e-9)


def test_a_trial_that_begins_between_two_samples_takes_the_nearest(tmp_path, rng):
    signal = rng.normal(size=(1500, 1)).astype(np.float32)
    recording = record(tmp_path, signal, [(1, 1.0 + 0.4 / SFREQ, 2.0, "a")])
    found = recording_features(recording, LOCAL, name="r")["de"].values
    wanted = differential_entropy(signal[250:750].T, SFREQ, definition="window-filter")
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_the_causal_filter_runs_through_the_stretch_before_the_trial(tmp_path, rng):
    """As live: the stream's filter is long settled when the trial begins."""
    signal = rng.normal(size=(3000, 2)).astype(np.float32)
    recording = record(tmp_path, signal, [(1, 6.0, 3.0, "a")])
    found = recording_features(recording, PreprocessRecipe(), name="r")["de"].values
    live = differential_entropy(signal.T, SFREQ)[6:9]
    np.testing.assert_allclose(found, live, rtol=1e-9)


def test_overlapping_windows_stay_in_their_trial(tmp_path, rng):
    signal = rng.normal(size=(3000, 1)).astype(np.float32)
    recording = record(tmp_path, signal, [(1, 1.0, 4.0, "a"), (2, 5.0, 4.0, "b")])
    recipe = PreprocessRecipe(window_seconds=2.0, hop_seconds=0.5)
    found = recording_features(recording, recipe, name="r")
    assert found["trial"].values.tolist() == [1] * 5 + [2] * 5
    stop = found["onset_seconds"] + 2.0
    assert ((found["trial"] == 1) == (stop <= 5.0)).all()


def test_a_gap_takes_only_the_windows_that_it_touches(tmp_path, rng):
    time = np.arange(2500) / SFREQ
    time[900:] += 0.5  # samples stop at 3.6 s and go on at 4.1 s
    signal = rng.normal(size=(2500, 1)).astype(np.float32)
    recording = record(tmp_path, signal, [(1, 0.0, 9.0, "a")], time=time)
    found = recording_features(recording, PreprocessRecipe(), name="r")
    present = found["de_present"].values.all(axis=(1, 2))
    assert present.tolist() == [True] * 3 + [False] * 2 + [True] * 4
    local = recording_features(recording, LOCAL, name="r")["de"].values
    wanted = differential_entropy(signal[1125:1375].T, SFREQ, definition="window-filter")[0]
    np.testing.assert_allclose(local[5], wanted, rtol=1e-9)  # 5.0 s is sample 900 + 0.9 s


def test_a_rate_that_is_off_by_200_ppm_tears_no_holes(tmp_path, rng):
    time = np.arange(10_000) / (SFREQ * (1 - 200e-6))
    signal = rng.normal(size=(10_000, 1)).astype(np.float32)
    recording = record(tmp_path, signal, [(1, 2.0, 36.0, "a")], time=time)
    found = recording_features(recording, PreprocessRecipe(), name="r")
    assert found.sizes["window"] == 36 and found["de_present"].values.all()


def test_the_baseline_that_is_subtracted_is_the_trials_own(deap):
    plain = recording_features(deap, LOCAL, name="r")
    less = recording_features(
        deap, PreprocessRecipe(definition="window-filter", baseline="subtract"), name="r"
    )
    signal = deap["eeg"]["signal"].values.reshape(40, 1024, 32)
    for trial in (1, 17, 40):
        before = signal[trial - 1, :384].T
        baseline = differential_entropy(before, 128.0, definition="window-filter").mean(axis=0)
        rows = plain["trial"].values == trial
        wanted = plain["de"].values[rows] - baseline
        np.testing.assert_allclose(less["de"].values[rows], wanted, rtol=1e-9, atol=1e-12)


def test_smoothing_begins_anew_with_each_trial(deap):
    plain = recording_features(deap, LOCAL, name="r")
    recipe = PreprocessRecipe(definition="window-filter", smoothing="moving-average")
    smoothed = recording_features(deap, recipe, name="r")
    rows = plain["trial"].values == 5
    wanted = smooth(plain["de"].values[rows], "moving-average", n_windows=5)
    np.testing.assert_array_equal(smoothed["de"].values[rows], wanted)


def test_ratings_and_stimuli_stand_beside_every_window(deap):
    found = recording_features(deap, LOCAL, name="r")
    rated = deap.ratings["rating"]
    for trial in (1, 22):
        rows = found["trial"].values == trial
        assert rows.sum() == 5 and set(found["stimulus"].values[rows]) == {
            f"deap-video-{trial:02d}"
        }
        assert (found["rating"].values[rows] == rated.sel(trial=trial).values).all()
    assert found["rating"].attrs == {"scale_minimum": 1.0, "scale_maximum": 9.0}


def test_trials_without_a_rating_are_missing_not_a_class(tmp_path, rng):
    signal = rng.normal(size=(3000, 1)).astype(np.float32)
    trials = [(1, 1.0, 2.0, "a"), (2, 5.0, 2.0, "b")]
    recording = record(tmp_path, signal, trials, ratings=[(8.0, 2, 7, 3, 5)])
    rating = recording_features(recording, LOCAL, name="r")["rating"].values
    assert np.isnan(rating[:2]).all() and rating[2:].tolist() == [[7, 3, 5]] * 2


def test_torcheeg_wrong_rate_a_10_hz_rhythm_of_seed_is_alpha(tmp_path):
    """At 200 Hz taken for 128 Hz, 10 Hz would fall into 6.4 Hz: theta."""
    write_seed_fixture(tmp_path, subjects=1, sessions=1, n_samples=1001, effect=0.0)
    recording = next(read_seed(tmp_path, n_samples=1001))
    stream = recording["eeg"]
    stream["signal"].values[:] = np.sin(2 * np.pi * 10 * stream["time"].values)[:, None]
    found = recording_features(recording, PreprocessRecipe(window_seconds=2.0), name="r")
    bands = found["de"].values[1]  # the second window: the filter has settled
    assert (bands.argmax(axis=1) == list(found["band"].values).index("alpha")).all()
    assert found["label"].values[0] == 1 and len(SEED_SAMPLES) == 15


def test_statistics_are_those_of_the_windows_that_are_there(tmp_path, rng):
    signal = rng.normal(size=(2500, 2)).astype(np.float32)
    signal[300:400, 0] = np.nan
    recording = record(tmp_path, signal, [(1, 0.0, 9.0, "a")])
    found = recording_features(recording, LOCAL, name="r")
    values = found["de"].values
    np.testing.assert_allclose(found["de_mean"].values[0], np.nanmean(values, axis=0))
    np.testing.assert_allclose(found["de_std"].values[0], np.nanstd(values, axis=0))
    assert (~found["de_present"].values).sum() == 4


def test_units_other_than_microvolts_are_converted(tmp_path, rng):
    signal = rng.normal(0, 20, size=(2500, 1)).astype(np.float32)
    one = record(tmp_path, signal, [(1, 0.0, 9.0, "a")])
    (tmp_path / "v").mkdir()
    volts = record(tmp_path / "v", signal * 1e-6, [(1, 0.0, 9.0, "a")], units=("V",))
    found = [recording_features(r, LOCAL, name="r")["de"].values for r in (one, volts)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_the_reference_and_filters_come_before_the_features(tmp_path, rng):
    signal = rng.normal(size=(2500, 3)).astype(np.float32)
    recording = record(tmp_path, signal, [(1, 0.0, 9.0, "a")])
    recipe = PreprocessRecipe(
        definition="window-filter", conditioning=Conditioning("average"), window_seconds=1.0
    )
    found = recording_features(recording, recipe, name="r")["de"].values
    referenced = (signal - signal.mean(axis=1, keepdims=True)).T.astype(float)
    wanted = differential_entropy(referenced, SFREQ, definition="window-filter")[:9]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_what_cannot_be_done_is_said(tmp_path, rng, deap):
    signal = rng.normal(size=(1500, 1)).astype(np.float32)
    recording = record(tmp_path, signal, [(3, 1.0, 2.0, "a")])
    with pytest.raises(DataError, match=r"found no baseline before trial 3.*--baseline none"):
        recording_features(recording, PreprocessRecipe(baseline="subtract"), name="r")
    with pytest.raises(DataError, match=r"found trial 3 of 2 s.*one window of 3 s"):
        recording_features(recording, PreprocessRecipe(window_seconds=3.0), name="r")
    with pytest.raises(CallError, match=r"found a baseline of 3 s before trial 1.*window of 4 s"):
        recipe = PreprocessRecipe(window_seconds=4.0, baseline="subtract")
        recording_features(deap, recipe, name="r")
    with pytest.raises(CallError, match=r"found a window of 0.013 s at 128 Hz, 1.664 samples"):
        recording_features(deap, PreprocessRecipe(window_seconds=0.013), name="r")
    (tmp_path / "ecg").mkdir()
    other = record(tmp_path / "ecg", signal, [(3, 1.0, 2.0, "a")], name="ECG", stype="ECG")
    with pytest.raises(NoStreamError, match=r"expected one of the kind eeg for the feature 'de'"):
        recording_features(other, PreprocessRecipe(), name="r")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"features": ("dd",)}, "found the feature 'dd'.*did you mean 'de'"),
        ({"features": ()}, "found no features"),
        ({"features": ("de", "de")}, "expected each feature once"),
        ({"definition": "stft-han"}, "did you mean 'stft-hann'"),
        ({"baseline": "substract"}, "did you mean 'subtract'"),
        ({"window_seconds": 0.0}, "expected both above 0"),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_nearest_name(fields, text):
    with pytest.raises(CallError, match=text):
        PreprocessRecipe(**fields)


def test_a_recipe_survives_json_and_every_field_changes_its_hash():
    import json

    recipe = PreprocessRecipe(conditioning=Conditioning("average", 1.0), bands={"a": (4.0, 8.0)})
    again = PreprocessRecipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe and again.fingerprint == recipe.fingerprint
    changes = [
        {"window_seconds": 2.0},
        {"hop_seconds": 0.5},
        {"bands": {"b": (4.0, 8.0)}},
        {"definition": "stft-hann"},
        {"conditioning": Conditioning(notch_hz=50.0)},
        {"baseline": "subtract"},
        {"smoothing": "lds"},
        {"smoothing_windows": 6},
        {"hrv_window_seconds": 60.0},
    ]
    prints = {PreprocessRecipe(**c).fingerprint for c in changes}
    assert len(prints | {PreprocessRecipe().fingerprint}) == len(changes) + 1


def test_a_recipe_says_what_in_it_is_offline_only():
    assert PreprocessRecipe().offline_only == []
    recipe = PreprocessRecipe(definition="gaussian-filter-zero-phase", smoothing="lds-smoother")
    assert recipe.offline_only == ["gaussian-filter-zero-phase", "lds-smoother"]


def test_a_trigger_channel_in_an_eeg_stream_is_no_electrode(tmp_path, rng):
    signal = rng.normal(0, 20, size=(2500, 3)).astype(np.float32)
    recording = record(
        tmp_path,
        signal,
        [(1, 0.0, 9.0, "a")],
        ch_types=("eeg", "eeg", "stim"),
        units=("uV", "uV", "count"),
        ch_names=("Fz", "Cz", "Trigger"),
    )
    found = recording_features(recording, LOCAL, name="r")
    assert list(found["channel"].values) == ["Fz", "Cz"]


def test_skin_breath_and_heart_may_share_a_stream(tmp_path):
    recording = simulated_recording(tmp_path / "a.zarr", n_trials=2)
    found = recording_features(recording, PreprocessRecipe(features=("eda",)), name="a")
    assert np.isfinite(found["eda"].values).any() and found["trial"].values[-1] == 2
