"""How late raters are is found from what they rated, and taken off."""

import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from physioemo.description import StreamDescription
from physioemo.errors import CallError, SignalError
from physioemo.experiments.metrics import concordance
from physioemo.experiments.rating_lag import (
    _concordances,
    rating_lag,
    ratings_of_windows,
    recorded_rating,
)
from physioemo.recording import Recording
from physioemo.stream import make_stream

HOP_SECONDS = 0.4


def slow_noise(rng, n, n_columns, memory=0.8):
    return lfilter([1.0], [1.0, -memory], rng.normal(size=(n + 200, n_columns)), axis=0)[200:]


def rated(rng, lag_seconds, n=600, noise=1.0):
    """Return features and a rating of two of them together, so many seconds later."""
    lag = round(lag_seconds / HOP_SECONDS)
    features = slow_noise(rng, n + lag, 6)
    evoked = features[:n, 1] - features[:n, 4]
    rating = 5 + evoked / evoked.std() + noise * slow_noise(rng, n, 1)[:, 0] / 1.7
    return features[lag:], rating


def test_a_planted_lag_of_a_rating_is_found_within_one_hop():
    for seed in range(12):
        features, rating = rated(np.random.default_rng(seed), 2.4)
        found = rating_lag(features, rating, HOP_SECONDS, n_shifts=59)
        assert found.seconds == pytest.approx(2.4, abs=HOP_SECONDS), seed
        assert found.p_value <= 0.05 and found.concordance > 0.2, seed
        assert found.lags_seconds[[0, -1]] == pytest.approx([0.0, 8.0])


def test_features_with_holes_still_find_it():
    rng = np.random.default_rng(0)
    features, rating = rated(rng, 2.4)
    features[rng.random(len(features)) < 0.2] = np.nan
    assert rating_lag(features, rating, HOP_SECONDS, n_shifts=9).seconds == pytest.approx(
        2.4, abs=HOP_SECONDS
    )


def test_a_rating_of_something_else_has_no_lag():
    rng = np.random.default_rng(3)
    p_values = []
    for _ in range(60):
        features, _ = rated(rng, 2.4, n=300)
        _, other = rated(rng, 2.4, n=300)
        p_values.append(
            rating_lag(features, other, HOP_SECONDS, max_lag_seconds=4.0, n_shifts=39).p_value
        )
    assert np.mean(np.array(p_values) <= 0.05) <= 0.15 and 0.4 < np.mean(p_values) < 0.6


def test_a_rating_before_its_features_is_found_where_it_is_allowed():
    features, rating = rated(np.random.default_rng(5), 0.0)
    found = rating_lag(features[:-5], rating[5:], HOP_SECONDS, min_lag_seconds=-4.0, n_shifts=9)
    assert found.seconds == pytest.approx(-2.0, abs=HOP_SECONDS)


def test_ratings_are_averaged_over_what_was_seen():
    times = np.arange(0, 20, 0.1)
    said = ratings_of_windows(2 * times, times, [4.0, 8.0, 30.0], 2.0, lag_seconds=2.4)
    # Samples of [4.4, 6.4) and [8.4, 10.4), at 10 Hz: their middles are 5.35 and 9.35.
    assert said[:2] == pytest.approx([2 * 5.35, 2 * 9.35]) and np.isnan(said[2])
    holes = 2 * times
    holes[(times > 4.35) & (times < 6.35)] = np.nan
    assert np.isnan(ratings_of_windows(holes, times, [4.0], 2.0, lag_seconds=2.4))


def test_concordances_are_those_of_the_metrics():
    rng = np.random.default_rng(1)
    p, t = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) + 0.5
    assert _concordances(p, t) == pytest.approx([concordance(t[:, i], p[:, i]) for i in range(3)])


def test_what_cannot_be_searched_is_one_sentence():
    x, y = np.random.default_rng(0).normal(size=(300, 2)), np.arange(300.0)
    with pytest.raises(CallError, match="found lags from 0 to 0.1 s in steps of 0.4 s"):
        rating_lag(x, y, 0.4, max_lag_seconds=0.1)
    with pytest.raises(SignalError, match=r"expected .* at least 200 windows; use longer"):
        rating_lag(x[:100], y[:100], 0.4)
    with pytest.raises(SignalError, match="found 1 missing ratings and 0 missing rows"):
        rating_lag(x, np.where(y == 7, np.nan, y), 0.4)
    with pytest.raises(SignalError, match="expected a rating that varies"):
        rating_lag(x, np.ones(300), 0.4)
    with pytest.raises(SignalError, match="expected one rising time for each"):
        ratings_of_windows([1.0, 2.0], [1.0, 0.5], [3.0], 2.0)


def continuous_recording(time, values, **changes):
    fields = {"name": "PhysioEmo-Continuous", "stype": "ContinuousRating", "sfreq": 20.0}
    names = ("valence", "arousal")
    described = StreamDescription(ch_names=names, units=("1-9",) * 2, **{**fields, **changes})
    rated = np.column_stack([np.full(len(values), np.nan), values]).astype(np.float32)
    return {described.name: make_stream(rated, described, time=time)}


def test_the_lag_of_a_recorded_rating_is_found_in_the_stretch_that_was_rated():
    rng = np.random.default_rng(8)
    hop, ends = HOP_SECONDS, 10.0 + HOP_SECONDS * np.arange(1, 401)
    features = slow_noise(rng, 400, 4)
    evoked = 5 + features[:, 2] / features[:, 2].std() + 0.3 * rng.normal(size=400)
    # Stamped 2.0 s after the middle of what evoked it; NaN before and after the stimulus.
    time = 1000.0 + np.arange(0, 200, 0.05)
    middle = 1000.0 + ends - hop / 2
    values = np.interp(time - 2.0, middle, evoked)
    values[(time < 1012.0) | (time > 1170.0)] = np.nan
    recording = Recording(xr.DataTree.from_dict(continuous_recording(time, values)))
    rating, seconds = recorded_rating(recording, "arousal")
    assert np.array_equal(rating, values.astype(np.float32), equal_nan=True)
    windows = ratings_of_windows(rating, seconds, 1000.0 + ends, hop)
    rated = np.flatnonzero(np.isfinite(windows))
    stretch = slice(rated[0], rated[-1] + 1)
    found = rating_lag(features[stretch], windows[stretch], hop, max_lag_seconds=6, n_shifts=39)
    assert found.seconds == pytest.approx(2.0) and found.p_value <= 0.05


def test_a_recording_without_that_rating_says_what_it_has():
    time = np.arange(40) / 20
    one = continuous_recording(time, np.ones(40))
    recording = Recording(xr.DataTree.from_dict(one))
    with pytest.raises(SignalError, match="dimensions valence, arousal in .*expected 'liking'"):
        recorded_rating(recording, "liking")
    both = Recording(
        xr.DataTree.from_dict({**one, **continuous_recording(time, np.ones(40), name="Stick")})
    )
    with pytest.raises(SignalError, match="found the continuous ratings .*Stick.*name it by its"):
        recorded_rating(both, "arousal")
    assert recorded_rating(both, "arousal", stream="Stick")[0].tolist() == [1.0] * 40
    with pytest.raises(SignalError, match="ratings none in the recording, expected one"):
        recorded_rating(Recording(xr.DataTree.from_dict({"/": xr.Dataset()})), "arousal")
