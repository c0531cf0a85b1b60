"""The simulated participant: same bits, no seams, and the documented laws in the signals."""

import dataclasses
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from scipy.signal import welch

from physioemo.acquisition.participant import (
    AFFECT_LAG_SECONDS,
    Block,
    ParticipantConfig,
    describe_streams,
    start_participant,
    step_participant,
)
from physioemo.acquisition.participant_noise import (
    child_generator,
    pink_filter,
    settle_noise,
    step_noise,
)
from physioemo.acquisition.participant_noise import resonator as make_resonator
from physioemo.errors import CallError

REST = (0.0, 0.0, 0.0)
CALM, EXCITED = (0.0, -0.8, 0.0), (0.0, 0.8, 0.0)


def live(config: ParticipantConfig, affect, n_blocks: int) -> list[Block]:
    state, blocks = start_participant(config), []
    for _ in range(n_blocks):
        block, state = step_participant(affect, state)
        blocks.append(block)
    return blocks


def joined(blocks: list[Block], stream: str) -> np.ndarray:
    return np.concatenate([block.signals[stream] for block in blocks]).astype(float)


def beats(blocks: list[Block]) -> np.ndarray:
    return np.concatenate([block.r_peaks_seconds for block in blocks])


def channel(config: ParticipantConfig, name: str) -> int:
    return describe_streams(config)["eeg"].ch_names.index(name)


@pytest.fixture(scope="module")
def resting() -> list[Block]:
    return live(ParticipantConfig(seed=3), REST, 240)


@pytest.fixture(scope="module")
def held() -> dict[int, tuple[list[Block], list[Block]]]:
    """Three people, three minutes calm and three minutes excited."""
    return {
        seed: tuple(live(ParticipantConfig(seed=seed), affect, 360) for affect in (CALM, EXCITED))
        for seed in range(3)
    }


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_person():
    first, again, other = (live(ParticipantConfig(seed=s), EXCITED, 4) for s in (5, 5, 6))
    for stream in ("eeg", "physiology", "gaze", "truth"):
        np.testing.assert_array_equal(joined(first, stream), joined(again, stream))
    assert not np.array_equal(joined(first, "eeg"), joined(other, "eeg"))


def test_a_block_can_be_lived_through_twice():
    _, state = step_participant(EXCITED, start_participant(ParticipantConfig()))
    once, after_once = step_participant(CALM, state)
    twice, after_twice = step_participant(CALM, state)
    np.testing.assert_array_equal(once.signals["eeg"], twice.signals["eeg"])
    np.testing.assert_array_equal(once.signals["physiology"], twice.signals["physiology"])
    assert after_once.affect == after_twice.affect


def test_another_montage_leaves_heart_skin_breath_and_eyes_as_they_were():
    one = live(ParticipantConfig(seed=2), EXCITED, 6)
    other = live(ParticipantConfig(seed=2, montage="biosemi64", sfreq=512), EXCITED, 6)
    for stream in ("physiology", "gaze", "truth"):
        np.testing.assert_array_equal(joined(one, stream), joined(other, stream))


def test_two_montages_see_one_brain():
    coarse, fine = ParticipantConfig(seed=2), ParticipantConfig(seed=2, montage="biosemi64")
    one, other = (joined(live(config, REST, 20), "eeg") for config in (coarse, fine))
    for name in ("Cz", "O1", "F4"):
        pair = one[:, channel(coarse, name)], other[:, channel(fine, name)]
        assert np.corrcoef(*pair)[0, 1] > 0.98


@pytest.mark.parametrize("effect_free", [CALM, (1.0, -1.0, 1.0)])
def test_without_effect_no_signal_knows_the_affect(effect_free):
    config = ParticipantConfig(seed=1, effect=0.0)
    one, other = live(config, EXCITED, 20), live(config, effect_free, 20)
    for stream in ("eeg", "physiology", "gaze"):
        np.testing.assert_array_equal(joined(one, stream), joined(other, stream))
    assert not np.array_equal(joined(one, "truth"), joined(other, "truth"))


def test_the_hidden_affect_follows_its_target_with_the_documented_lag():
    state = start_participant(ParticipantConfig())
    blocks = []
    for target in [(1.0, -0.5, 0.2)] * 6 + [REST] * 6:
        block, state = step_participant(target, state)
        blocks.append(block)
    times = np.arange(30) / 10
    rise = 1 - np.exp(-times / AFFECT_LAG_SECONDS)
    np.testing.assert_allclose(
        joined(blocks, "truth")[:30], np.outer(rise, (1, -0.5, 0.2)), atol=1e-6
    )
    assert abs(joined(blocks, "truth")[-1, 0]) < 0.15


@pytest.mark.parametrize("rates", [(511.7, 250.0, 119.5, 10.0), (128.0, 333.3, 60.0, 7.0)])
def test_sample_i_lies_at_i_over_sfreq_for_any_rate(rates):
    names = ("sfreq", "physiology_sfreq", "gaze_sfreq", "truth_sfreq")
    config = ParticipantConfig(**dict(zip(names, rates, strict=True)))
    blocks = live(config, REST, 7)
    for stream, sfreq in zip(("eeg", "physiology", "gaze", "truth"), rates, strict=True):
        next_sample = 0
        for block in blocks:
            first, n_samples = block.first_samples[stream], len(block.signals[stream])
            assert first == next_sample
            assert first / sfreq >= block.start_seconds - 1e-9
            assert (first + n_samples - 1) / sfreq < block.start_seconds + 0.5
            next_sample = first + n_samples


def test_there_is_no_seam_between_blocks(resting):
    for stream, channels, size in (("eeg", slice(None), 125), ("physiology", [0, 1, 2], 125)):
        steps = np.abs(np.diff(joined(resting, stream)[:, channels], axis=0))
        at_border = np.arange(len(steps)) % size == size - 1
        assert np.median(steps[at_border]) < 1.3 * np.median(steps[~at_border])
        within = np.quantile(steps[~at_border], 0.999, axis=0)
        assert (np.quantile(steps[at_border], 0.95, axis=0) < within).all()


def test_eeg_has_realistic_sizes_an_alpha_peak_and_a_falling_background(resting):
    config = ParticipantConfig(seed=3)
    eeg = joined(resting, "eeg")
    assert (eeg.std(axis=0) > 8).all()
    assert (eeg.std(axis=0) < 50).all()
    frequency, density = welch(eeg[:, channel(config, "O1")], 250, nperseg=1000)
    alpha = (frequency >= 7) & (frequency <= 13)
    peak_hz = frequency[alpha][np.argmax(density[alpha])]
    assert abs(peak_hz - start_participant(config).traits.eeg.alpha_peak_hz) <= 0.75
    assert 9 - 0.5 <= peak_hz <= 11 + 0.5
    at = {f: density[np.abs(frequency - f) < 0.6].mean() for f in (1, 3, 10, 40)}
    assert at[1] > 2 * at[3] > 4 * at[40]
    assert at[10] > 3 * at[3]


def test_neighbours_correlate_more_than_distant_electrodes(resting):
    config = ParticipantConfig()
    correlation = np.corrcoef(joined(resting, "eeg").T)
    o1, oz, f3 = (channel(config, name) for name in ("O1", "Oz", "F3"))
    assert correlation[o1, oz] > 0.7
    assert abs(correlation[o1, f3]) < 0.3


def test_blinks_are_seen_by_frontal_electrodes_and_blind_the_eye_tracker(resting):
    config, gaze = ParticipantConfig(seed=3), joined(resting, "gaze")
    starts = [blink for block in resting for blink in block.blinks_seconds]
    assert 15 <= len(starts) <= 40  # in two minutes
    expected = np.zeros(len(gaze), dtype=bool)
    times = np.arange(len(gaze)) / 120
    for start, duration in starts:
        expected |= (times >= start) & (times < start + duration)
    np.testing.assert_array_equal(np.isnan(gaze[:, 2]), expected)
    eeg, at = joined(resting, "eeg"), [int((s + 0.12) * 250) for s, d in starts if s < 119]
    assert eeg[at, channel(config, "Fp1")].mean() > 50
    assert abs(eeg[at, channel(config, "O1")].mean()) < 10


def test_neurokit_finds_the_planted_beats(resting):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import neurokit2

        _, found = neurokit2.ecg_peaks(joined(resting, "physiology")[:, 0], sampling_rate=250)
    planted = beats(resting)
    planted = planted[(planted > 1) & (planted < 119)]
    distance = np.abs(found["ECG_R_Peaks"][:, None] / 250 - planted).min(axis=0)
    assert distance.max() < 0.012
    assert abs(len(found["ECG_R_Peaks"]) - len(beats(resting))) <= 1


def test_the_heart_quickens_and_steadies_with_arousal_as_documented(held):
    for calm, excited in held.values():
        rr = [np.diff(r[r > 10]) for r in (beats(calm), beats(excited))]
        rate = [60 / intervals.mean() for intervals in rr]
        rmssd = [np.sqrt((np.diff(intervals) ** 2).mean()) for intervals in rr]
        assert rate[1] - rate[0] == pytest.approx(8 * 1.6, abs=1.5)
        # exp(-0.6 * 1.6) = 0.38, less because RR intervals are shorter too.
        assert 0.2 < rmssd[1] / rmssd[0] < 0.45
        assert 0.015 < rmssd[1] < rmssd[0] < 0.12


def test_skin_pupils_and_breath_rise_with_arousal(held):
    for calm, excited in held.values():
        skin = [np.median(joined(b, "physiology")[5000:, 1]) for b in (calm, excited)]
        assert skin[1] / skin[0] > np.exp(0.35 * 1.6) * 0.9
        assert 2 <= skin[0] < skin[1] <= 14
        pupil = [np.nanmean(joined(b, "gaze")[600:, 2:]) for b in (calm, excited)]
        assert pupil[1] - pupil[0] == pytest.approx(0.35 * 1.6, abs=0.05)
        breath = [_peak_hz(joined(b, "physiology")[:, 2]) for b in (calm, excited)]
        assert breath[1] - breath[0] == pytest.approx(0.08, abs=0.035)
        assert 0.17 < breath[0] < breath[1] < 0.37


def _peak_hz(signal: np.ndarray) -> float:
    """Cycles per second, from the crossings of a smoothed signal."""
    smooth = np.convolve(signal, np.ones(100) / 100, mode="valid")
    return float(((smooth[1:] > 0) & (smooth[:-1] <= 0)).sum() / (len(smooth) / 250))


@pytest.mark.parametrize(
    "montage", ["standard_1020", "GSN-HydroCel-64_1.0", "biosemi16", "easycap-M1"]
)
def test_any_standard_montage_works(montage):
    config = ParticipantConfig(montage=montage)
    plan = describe_streams(config)["eeg"]
    eeg = joined(live(config, EXCITED, 4), "eeg")
    assert eeg.shape == (500, len(plan.ch_names)) and len(plan.units) == len(plan.ch_names)
    assert np.isfinite(eeg).all()
    assert set(plan.units) == {"uV"}


def test_streams_describe_what_the_blocks_hold(resting):
    plans = describe_streams(ParticipantConfig())
    assert list(plans) == ["eeg", "physiology", "gaze", "truth", "markers", "ratings"]
    for stream, signal in resting[0].signals.items():
        assert signal.shape[1] == len(plans[stream].ch_names)
        assert signal.dtype == plans[stream].channel_format
    for plan in plans.values():
        assert len(plan.ch_names) == len(plan.ch_types) == len(plan.units)
    assert plans["physiology"].units == ("mV", "uS", "a.u.")


def test_noise_has_the_documented_density_at_any_rate():
    for sfreq in (100.0, 1000.0):
        draw, noise_filter = child_generator(0, "eeg", 0), pink_filter(sfreq)
        state = settle_noise(noise_filter, 8, draw)
        noise, _ = step_noise(noise_filter, int(200 * sfreq), draw, state)
        frequency, density = welch(noise, sfreq, nperseg=int(8 * sfreq), axis=0)
        for f in (0.5, 2.0, 10.0, 30.0):
            near = (frequency > 0.8 * f) & (frequency < 1.25 * f)
            measured = (density[near].mean(axis=1) * frequency[near]).mean()
            assert measured == pytest.approx(1.0, rel=0.3)


def test_a_rhythm_has_unit_variance():
    draw, rhythm = child_generator(0, "eeg", 0), make_resonator(10.0, 0.9, 250.0)
    noise, _ = step_noise(rhythm, 50_000, draw, settle_noise(rhythm, 8, draw))
    assert noise.std() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"seed": -1}, "The seed is -1, expected a whole number from 0; choose one."),
        ({"sfreq": 32}, "sfreq is 32, expected a number from 64 to 20000 Hz; choose one there."),
        ({"gaze_sfreq": float("nan")}, "gaze_sfreq is nan, expected a number from 20 to 5000 Hz"),
        ({"effect": -0.5}, "effect is -0.5, expected a number from 0 to 3; choose one there."),
        ({"block_seconds": "1"}, "block_seconds is '1', expected a number from 0.1 to 10 s"),
    ],
)
def test_a_wrong_configuration_is_refused(wrong, sentence):
    with pytest.raises(CallError, match=sentence.replace(".", r"\.")):
        ParticipantConfig(**wrong)


@pytest.mark.parametrize(
    ("montage", "advice"),
    [
        ("BioSemi32", "did you mean 'biosemi32'?"),
        ("GSN-HydroCel-64", "did you mean 'GSN-HydroCel-64_1.0'?"),
        ("artinis-octamon", "expected a standard EEG montage of MNE-Python"),
        ("?!", "use one of "),
    ],
)
def test_an_unknown_montage_is_refused_with_the_nearest_name(montage, advice):
    with pytest.raises(CallError) as caught:
        start_participant(ParticipantConfig(montage=montage))
    assert str(caught.value).startswith(f"The montage is {montage!r}, expected")
    assert advice in str(caught.value)


@pytest.mark.parametrize("affect", [(0, 0), (0, 0, 1.5), (0, 0, float("nan")), "high", None])
def test_a_wrong_affect_is_refused(affect):
    with pytest.raises(CallError, match="give three numbers from -1 to 1"):
        step_participant(affect, start_participant(ParticipantConfig()))


def test_the_state_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        start_participant(ParticipantConfig()).block_index = 3


def test_importing_the_participant_is_cheap():
    code = (
        "import sys; import physioemo.acquisition.simulated_session;"
        "print([m for m in ('mne', 'scipy.signal', 'torch', 'pylsl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_lives_at_least_twenty_times_faster_than_time():
    state = start_participant(ParticipantConfig())
    began = time.process_time()
    for _ in range(60):
        _, state = step_participant(EXCITED, state)
    assert 30 / (time.process_time() - began) > 20


def test_another_session_is_the_same_person_on_another_day():
    first, second = (start_participant(ParticipantConfig(7, session=s)) for s in (1, 2))
    assert first.traits.eeg.alpha_peak_hz == second.traits.eeg.alpha_peak_hz
    a, b = (step_participant((0.0, 0.0, 0.0), state)[0].signals["eeg"] for state in (first, second))
    assert not np.array_equal(a, b)
