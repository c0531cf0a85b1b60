"""Made-up recordings: nothing is in the null data, and in the others what is said to be there."""

import numpy as np
import pytest

from physioemo.errors import CallError
from physioemo.experiments.null_data import (
    NULL_CHANNELS,
    NullPlan,
    null_recordings,
    study_data,
)
from physioemo.experiments.planted_data import COUPLED, PLANTED, planted_recordings

SHORT = NullPlan(n_subjects=3, n_trials=12, trial_seconds=16.0, drift=0.0)


def trials_of(recording):
    """Return the samples of every trial (trial, channel, time) and which are high in valence."""
    eeg, table = recording["eeg"], recording.trials
    time, signal = eeg["time"].values, eeg["signal"].values
    parts = []
    for onset, seconds in zip(
        table["onset_seconds"].values, table["duration_seconds"].values, strict=True
    ):
        first = np.searchsorted(time, onset - 1e-6)
        parts.append(signal[first : first + round(seconds * 128)].T)
    high = recording.ratings["rating"].sel(dimension="valence").values > 5
    return np.array(parts), high


def band(signal, low=8.0, high=13.0):
    """Return the spectrum inside a band, by the plain periodogram."""
    frequency = np.fft.rfftfreq(signal.shape[-1], 1 / 128)
    return np.fft.rfft(signal)[..., (frequency >= low + 0.5) & (frequency < high - 0.5)]


def decibels(recording):
    """Return how much stronger alpha is in high trials, per channel."""
    signal, high = trials_of(recording)
    power = (np.abs(band(signal)) ** 2).sum(-1)
    return 10 * np.log10(power[high].mean(0) / power[~high].mean(0))


def test_the_noise_has_power_one_over_f_and_ten_microvolts():
    signal, _ = trials_of(next(iter(null_recordings(1, 8, 0, 0.0, trial_seconds=64.0))))
    assert signal.std() == pytest.approx(10, rel=0.1)
    frequency = np.fft.rfftfreq(signal.shape[-1], 1 / 128)
    power = (np.abs(np.fft.rfft(signal * np.hanning(signal.shape[-1]))) ** 2).mean((0, 1))
    inside = (frequency > 2) & (frequency < 50)
    slope = np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.05)


def test_drift_is_slow_and_of_the_stated_size():
    recordings = null_recordings(1, 40, 0, 0.3, trial_seconds=60.0)
    signal, _ = trials_of(next(recordings))
    log_gain = np.log(signal.std(axis=2))  # (trial, channel), one value a minute
    assert log_gain.std(axis=0).mean() == pytest.approx(0.3, rel=0.35)
    apart = log_gain[1:] - log_gain[:-1]
    assert apart.std() < np.sqrt(2) * log_gain.std(axis=0).mean()


def test_labels_are_balanced_and_alike_in_no_two_dimensions():
    for recording in null_recordings(2, 10, 0, 0.1, trial_seconds=2.0):
        high = recording.ratings["rating"].values > 5
        assert high.sum(0).tolist() == [5, 5, 5]
        assert not (high[:, 0] == high[:, 1]).all()
        assert recording.simulated
        assert recording.attrs["planted"]["kind"] == "nothing"


def test_a_subject_does_not_depend_on_who_else_is_there():
    alone = next(iter(null_recordings(1, 4, 7, 0.1, trial_seconds=2.0)))
    among = next(iter(null_recordings(3, 4, 7, 0.1, trial_seconds=2.0)))
    other = list(null_recordings(2, 4, 7, 0.1, trial_seconds=2.0))[1]
    assert alone.fingerprint() == among.fingerprint() != other.fingerprint()


def test_null_data_hold_no_effect():
    found = [decibels(r).mean() for r in null_recordings(4, 12, 3, 0.0, trial_seconds=16.0)]
    assert np.abs(np.mean(found)) < 0.3


@pytest.mark.parametrize("effect", [3.0, 6.0, 0.0])
def test_band_power_is_planted_with_the_stated_size(effect):
    found = [decibels(r) for r in planted_recordings("band-power", SHORT, effect=effect)]
    assert np.mean(found) == pytest.approx(effect, abs=0.25)


def test_asymmetry_moves_power_and_keeps_the_mean_of_logarithms():
    found = np.mean([decibels(r) for r in planted_recordings("asymmetry", SHORT)], axis=0)
    left = [NULL_CHANNELS.index(c) for c in ("AF3", "F7", "F3", "O1")]
    right = [NULL_CHANNELS.index(c) for c in ("AF4", "F8", "F4", "O2")]
    assert found[right].mean() - found[left].mean() == pytest.approx(3.0, abs=0.4)
    assert found.mean() == pytest.approx(0, abs=0.25)


def test_coupling_is_between_one_pair_and_in_no_single_channel():
    pair = [NULL_CHANNELS.index(c) for c in COUPLED]
    found, coherency = [], {True: [], False: []}
    for recording in planted_recordings("coupling", SHORT):
        signal, high = trials_of(recording)
        found.append(decibels(recording)[pair])
        a, b = (band(signal[:, k]) for k in pair)
        for one in (True, False):
            cross = (a[high == one] * b[high == one].conj()).mean()
            powers = (np.abs(a[high == one]) ** 2).mean() * (np.abs(b[high == one]) ** 2).mean()
            coherency[one].append(cross / np.sqrt(powers))
    assert np.mean(found, axis=0) == pytest.approx([0, 0], abs=0.5)
    high = np.mean(coherency[True])
    assert np.abs(high) == pytest.approx(0.8, abs=0.05)
    assert np.angle(high) == pytest.approx(np.pi / 4, abs=0.1)
    assert np.abs(np.mean(coherency[False])) < 0.1


def test_the_baseline_holds_no_effect():
    ratio = []
    for recording in planted_recordings("band-power", SHORT, effect=12.0):
        _, high = trials_of(recording)
        eeg, events = recording["eeg"], recording.events
        time, signal = eeg["time"].values, eeg["signal"].values
        first = [np.searchsorted(time, t - 1e-6) for t in events["onset_seconds"].values]
        rest = np.array([signal[k : k + 256].T for k in first])
        power = (np.abs(band(rest)) ** 2).mean((1, 2))
        ratio.append(10 * np.log10(power[high].mean() / power[~high].mean()))
    assert np.mean(ratio) == pytest.approx(0, abs=1.0)


def test_the_confound_is_in_time_and_labels_come_in_blocks():
    recording = next(iter(planted_recordings("drift-confound", SHORT, effect=1.0)))
    signal, high = trials_of(recording)
    assert high.tolist() == [False] * 6 + [True] * 6
    slope = np.polyfit(np.linspace(-0.5, 0.5, 12), np.log(signal.std(2)), 1)[0]
    assert slope.std() == pytest.approx(1.0, rel=0.5)


def test_one_subject_is_bad_and_says_so():
    recordings = list(planted_recordings("bad-subject", SHORT))
    assert [r.attrs["planted"]["bad"] for r in recordings] == [True, False, False]
    assert abs(decibels(recordings[0]).mean()) < 0.5
    assert decibels(recordings[1]).mean() == pytest.approx(3.0, abs=0.4)
    assert trials_of(recordings[0])[0].std() > 3 * trials_of(recordings[1])[0].std()


def test_three_of_four_trials_are_high_where_ratings_are_unbalanced():
    for recording in planted_recordings("unbalanced", SHORT):
        assert trials_of(recording)[1].sum() == 9


@pytest.mark.parametrize("kind", sorted(PLANTED))
def test_every_kind_tells_what_was_planted(kind):
    plan = NullPlan(n_subjects=2, n_trials=4, trial_seconds=2.0)
    for recording in planted_recordings(kind, plan):
        assert recording.simulated
        assert recording.attrs["planted"]["kind"] == kind


def test_recordings_become_the_data_of_a_study():
    data = study_data(null_recordings(2, 4, 0, 0.1, trial_seconds=5.0))
    assert data.families["de"].shape == (2 * 4 * 5, 14, 4)
    assert data.coords["de"]["channel"] == NULL_CHANNELS
    assert data.scale == (1, 9)
    assert data.source["simulated"]
    assert len(set(data.groups.trial_id)) == 8
    assert len(set(data.groups.stimulus)) == 4
    assert np.isfinite(data.ratings["valence"]).all()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: NullPlan(n_trials=1), "found 8 subjects with 1 trials, expected at least 1 with"),
        (lambda: NullPlan(drift=-1), "drift -1, expected at least 1 s each and drift not below 0"),
        (lambda: NullPlan(share_high=1.0), "found a share of 1 high trials of 40, expected both"),
        (lambda: planted_recordings("couplin"), "found the planted effect 'couplin'.*'coupling'"),
        (lambda: planted_recordings("coupling", effect=2.0), "found the coherency 2, expected 0"),
        (lambda: study_data([]), "found no recordings, expected at least one"),
    ],
)
def test_what_cannot_be_meant_is_an_error(call, text):
    with pytest.raises(CallError, match=text):
        call()
