"""The simulated session: a balanced plan, honest ratings, decodable signals and only then."""

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy.stats import linregress

from physioemo.acquisition.participant import ParticipantConfig, describe_streams
from physioemo.acquisition.session_plan import (
    N_CLIPS,
    iterate_trials,
    plan_session,
    rate_trial,
)
from physioemo.acquisition.simulated_session import simulate_session
from physioemo.errors import CallError

BANDS_HZ = ((4, 8), (8, 13), (13, 30))


def targets(trials) -> np.ndarray:
    return np.array([trial.target for trial in trials])


@pytest.mark.parametrize("seed", range(5))
def test_every_four_trials_hold_each_quadrant_and_every_eight_each_corner(seed):
    signs = np.sign(targets(plan_session(duration_seconds=640, seed=seed)))
    for four in signs.reshape(-1, 4, 3):
        np.testing.assert_array_equal(four.sum(axis=0), 0)
        np.testing.assert_array_equal(four.T @ four, 4 * np.eye(3))
    for eight in signs.reshape(-1, 8, 3):
        assert len({tuple(corner) for corner in eight}) == 8


def test_no_clip_returns_before_all_were_shown_and_a_clip_always_aims_at_the_same():
    trials = list(itertools.islice(iterate_trials(seed=1), 3 * N_CLIPS))
    for start in range(0, len(trials), N_CLIPS):
        assert len({trial.stimulus for trial in trials[start : start + N_CLIPS]}) == N_CLIPS
    aims = {trial.stimulus: trial.target for trial in trials}
    other = itertools.islice(iterate_trials(seed=2), N_CLIPS)
    assert aims == {trial.stimulus: trial.target for trial in other}
    magnitude = np.abs(targets(trials))
    assert magnitude.min() >= 0.6
    assert magnitude.max() <= 1.0


def test_the_order_depends_on_the_seed_only():
    plans = [plan_session(duration_seconds=400, seed=seed) for seed in (1, 1, 2)]
    assert plans[0] == plans[1]
    assert [t.stimulus for t in plans[0]] != [t.stimulus for t in plans[2]]


def test_trials_follow_one_another_with_rests():
    trials = plan_session(duration_seconds=400, seed=0, trial_seconds=8, rest_seconds=2)
    assert len(trials) == 40
    assert [trial.trial for trial in trials] == list(range(1, 41))
    np.testing.assert_allclose([t.onset_seconds for t in trials], 1 + 10 * np.arange(40))
    assert trials[-1].rating_seconds == 399.5
    assert len(plan_session(duration_seconds=399, seed=0)) == 39
    assert plan_session(duration_seconds=3, seed=0) == []
    assert len(plan_session(duration_seconds=40, seed=0, rest_seconds=0)) == 5


def test_ratings_are_five_plus_four_times_the_target_with_noise():
    trials = list(itertools.islice(iterate_trials(seed=4), 400))
    ratings = np.array([rate_trial(trial, 4)[2:] for trial in trials])
    assert ratings.min() >= 1
    assert ratings.max() <= 9
    unclipped = np.abs(targets(trials)) < 0.7
    error = (ratings - 5 - 4 * targets(trials))[unclipped]
    assert error.mean() == pytest.approx(0, abs=0.06)
    assert error.std() == pytest.approx(0.5, abs=0.05)
    assert rate_trial(trials[7], 4) == rate_trial(trials[7], 4)


def test_a_session_holds_its_plan():
    blocks = list(simulate_session(ParticipantConfig(seed=2), duration_seconds=30.0))
    markers = [marker for block in blocks for marker in block.markers]
    plan = plan_session(duration_seconds=30.0, seed=2)
    assert markers[0] == (0.0, {"event": "session_start"})
    assert markers[-1] == (30.0, {"event": "session_stop"})
    assert markers[1:-1] == [
        (time, marker)
        for t in plan
        for time, marker in (
            (t.onset_seconds, {"event": "trial_start", "trial": t.trial, "stimulus": t.stimulus}),
            (t.stop_seconds, {"event": "trial_stop", "trial": t.trial}),
        )
    ]
    assert [r for b in blocks for r in b.ratings] == [rate_trial(t, 2) for t in plan]
    truth = np.concatenate([block.signals["truth"] for block in blocks])
    np.testing.assert_allclose(truth[89], plan[0].target, atol=0.01)
    assert np.abs(truth[109]).max() < 0.3


def test_happenings_lie_in_their_block_and_the_last_block_is_cut():
    config = ParticipantConfig(sfreq=100.3, block_seconds=0.7)
    lengths = {"duration_seconds": 22.31, "trial_seconds": 2.3, "rest_seconds": 0.4}
    blocks = list(simulate_session(config, **lengths))
    for block in blocks[:-1]:
        stop = block.start_seconds + block.duration_seconds
        times = [m[0] for m in block.markers] + [r[0] for r in block.ratings]
        assert all(block.start_seconds - 1e-6 <= time < stop for time in times)
    assert blocks[-1].start_seconds + blocks[-1].duration_seconds == pytest.approx(22.31)
    n_samples = sum(len(block.signals["eeg"]) for block in blocks)
    assert (n_samples - 1) / 100.3 < 22.31 <= n_samples / 100.3
    assert sum(len(b.ratings) for b in blocks) == len(plan_session(seed=0, **lengths)) == 8


def test_without_effect_ratings_still_follow_the_plan():
    with_effect, without = (
        list(simulate_session(ParticipantConfig(effect=effect), duration_seconds=20.0))
        for effect in (1.0, 0.0)
    )
    assert [b.ratings for b in with_effect] == [b.ratings for b in without]
    assert [b.markers for b in with_effect] == [b.markers for b in without]


def test_a_session_without_end_needs_bounded_memory():
    session = simulate_session(ParticipantConfig(montage="biosemi16"), duration_seconds=None)
    sizes = []
    tracemalloc.start()
    for number, _ in enumerate(itertools.islice(session, 401)):
        if number in (200, 400):
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[1] - sizes[0] < 50_000


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"duration_seconds": 0}, "duration_seconds is 0, expected a positive number of seconds"),
        ({"trial_seconds": -8}, "trial_seconds is -8, expected a positive number of seconds"),
        ({"rest_seconds": float("nan")}, "rest_seconds is nan, expected zero or a positive"),
    ],
)
def test_an_impossible_length_is_refused_before_the_first_block(wrong, sentence):
    lengths = {"duration_seconds": 60.0, **wrong}
    with pytest.raises(CallError, match=sentence):
        simulate_session(ParticipantConfig(), **lengths)
    with pytest.raises(CallError, match=sentence):
        plan_session(seed=0, **lengths)


def test_an_unknown_montage_is_refused_before_the_first_block():
    with pytest.raises(CallError, match="did you mean 'biosemi64'"):
        simulate_session(ParticipantConfig(montage="biosemi_64"), duration_seconds=None)


@pytest.fixture(scope="module")
def powers():
    """Ln band power (trial, second, band, channel) and targets of 40 trials, by seed and effect."""
    return {
        (seed, effect): _ln_power(ParticipantConfig(seed=seed, effect=effect))
        for seed in range(3)
        for effect in (1.0, 0.0)
    }


def _ln_power(config: ParticipantConfig) -> tuple[np.ndarray, np.ndarray]:
    blocks = simulate_session(config, duration_seconds=400.0)
    eeg = np.concatenate([block.signals["eeg"] for block in blocks])
    plan = plan_session(duration_seconds=400.0, seed=config.seed)
    starts = [int(250 * (trial.onset_seconds + second)) for trial in plan for second in range(1, 8)]
    seconds = np.stack([eeg[start : start + 250] for start in starts])
    density = np.abs(np.fft.rfft(seconds * np.hanning(250)[:, None], axis=1)) ** 2
    bands = [np.log(density[:, low:high].mean(axis=1)) for low, high in BANDS_HZ]
    return np.stack(bands, axis=1).reshape(len(plan), 7, 3, -1), targets(plan)


def _balanced_accuracy(power: np.ndarray, high: np.ndarray) -> float:
    """Leave five trials out: ridge on one-second windows, scored by trial."""
    windows = power.reshape(*power.shape[:2], -1)
    score = np.zeros(len(high))
    for fold in range(8):
        left_out = np.arange(len(high)) % 8 == fold
        train = windows[~left_out].reshape(-1, windows.shape[-1])
        mean, sd = train.mean(axis=0), train.std(axis=0)
        x = (train - mean) / sd
        y = np.repeat(np.where(high[~left_out], 1.0, -1.0), 7)
        weight = np.linalg.solve(x.T @ x + len(x) * np.eye(x.shape[1]), x.T @ (y - y.mean()))
        score[left_out] = (((windows[left_out] - mean) / sd) @ weight).mean(axis=1)
    return float(((score > 0)[high].mean() + (score <= 0)[~high].mean()) / 2)


def test_a_simple_decoder_reads_affect_from_single_seconds_and_left_out_trials(powers):
    accuracy = np.array(
        [
            [_balanced_accuracy(power, aim[:, d] > 0) for d in range(3)]
            for (_, effect), (power, aim) in powers.items()
            if effect == 1.0
        ]
    )
    assert accuracy[:, :2].min() >= 0.85
    assert accuracy[:, 2].min() >= 0.65


def test_without_effect_the_same_decoder_is_at_chance(powers):
    accuracy = [
        _balanced_accuracy(power, aim[:, d] > 0)
        for (_, effect), (power, aim) in powers.items()
        if effect == 0.0
        for d in range(3)
    ]
    assert 0.35 < np.mean(accuracy) < 0.62
    assert max(accuracy) < 0.8


def test_frontal_alpha_asymmetry_follows_valence_with_the_documented_sign(powers):
    names = describe_streams(ParticipantConfig())["eeg"].ch_names
    f3, f4 = names.index("F3"), names.index("F4")
    for (_, effect), (power, aim) in powers.items():
        alpha = power[:, :, 1].mean(axis=1)
        fit = linregress(aim[:, 0], alpha[:, f4] - alpha[:, f3])
        if effect == 1.0:
            assert 0.3 < fit.slope < 1.4
            assert fit.rvalue > 0.6
        else:
            assert abs(fit.slope) < 3.5 * fit.stderr


def test_alpha_falls_and_beta_rises_with_arousal(powers):
    for (_, effect), (power, aim) in powers.items():
        _, alpha, beta = power.mean(axis=(1, 3)).T
        slopes = [linregress(aim[:, 1], band) for band in (alpha, beta)]
        if effect == 1.0:
            assert slopes[0].slope < -0.2
            assert slopes[1].slope > max(0.08, 3 * slopes[1].stderr)
        else:
            assert all(abs(fit.slope) < 3.5 * fit.stderr for fit in slopes)
