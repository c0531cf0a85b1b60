"""Band differential entropy against analytic values, and in any chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfreqz

from physioemo.errors import CallError, SignalError
from physioemo.features.entropy import (
    BANDS,
    EntropyRecipe,
    band_filters,
    differential_entropy,
    entropy_of_variance,
    start_entropy,
    step_entropy,
)
from tests import realdata
from tests.features.folding import folded_entropy

SFREQ = 250.0


def entropy_of(power):
    return 0.5 * np.log(2 * np.pi * np.e * power)


def test_a_sine_has_the_entropy_of_half_its_squared_amplitude():
    amplitude, time = 20.0, np.arange(20 * SFREQ) / SFREQ
    signal = amplitude * np.sin(2 * np.pi * 10.3 * time)[None]
    found = differential_entropy(signal, SFREQ, window_seconds=10.0)[-1, 0]
    sections = band_filters(EntropyRecipe.in_seconds(SFREQ))[1]
    gain = abs(sosfreqz(sections, [10.3], fs=SFREQ)[1][0])
    assert found[1] == pytest.approx(entropy_of((amplitude * gain) ** 2 / 2), abs=1e-3)
    assert found[1] > found[[0, 2, 3]].max() + 1.5


def test_white_noise_has_the_entropy_of_its_power_in_the_band(rng):
    signal = rng.normal(0, 5.0, (2, int(600 * SFREQ)))
    found = differential_entropy(signal, SFREQ, window_seconds=60.0)[1:].mean(axis=(0, 1))
    for band, sections in enumerate(band_filters(EntropyRecipe.in_seconds(SFREQ))):
        frequencies, response = sosfreqz(sections, 1 << 14, fs=SFREQ)
        density = 2 * 25.0 / SFREQ
        power = density * np.sum(np.abs(response) ** 2) * frequencies[1]
        assert found[band] == pytest.approx(entropy_of(power), abs=0.02)


def test_doubling_the_amplitude_adds_ln_two(rng):
    signal = rng.standard_normal((3, 2000))
    once, twice = (differential_entropy(k * signal, SFREQ) for k in (1, 2))
    assert twice - once == pytest.approx(np.log(2), abs=1e-12)


def test_the_standard_normal_has_its_textbook_entropy():
    assert entropy_of_variance(np.array(1.0)) == pytest.approx(1.4189385332)


def test_an_offset_starts_no_transient(rng):
    signal = rng.standard_normal((2, 1000))
    plain, offset = (differential_entropy(signal + dc, SFREQ) for dc in (0.0, 4200.0))
    assert offset == pytest.approx(plain, abs=1e-6)


def test_nothing_after_a_window_changes_it(rng):
    signal = rng.standard_normal((2, 2000))
    changed = signal.copy()
    changed[:, 1000:] = 1e6
    before = differential_entropy(signal, SFREQ)[:4]
    assert np.array_equal(differential_entropy(changed, SFREQ)[:4], before)


def test_windows_and_hops_are_counted_in_samples(rng):
    signal = rng.standard_normal((2, 1001))
    shape = differential_entropy(signal, SFREQ, window_seconds=2.0, hop_seconds=0.3).shape
    assert shape == (1 + (1001 - 500) // 75, 2, len(BANDS))


def test_a_dead_channel_is_nan_and_never_minus_infinity(rng):
    signal = rng.standard_normal((3, 1000))
    signal[1] = 17.0
    found = differential_entropy(signal, SFREQ)
    assert np.isnan(found[:, 1]).all() and np.isfinite(found[:, [0, 2]]).all()


@pytest.mark.parametrize("engine", ["stream", "gemm"])
def test_missing_samples_cost_their_windows_in_their_channel_only(rng, engine):
    signal = rng.standard_normal((3, 2500))
    signal[1, 700:710] = np.nan
    signal[2, :30] = np.inf
    found = differential_entropy(signal, SFREQ, engine=engine)
    bad = np.argwhere(np.isnan(found).any(axis=2)).tolist()
    assert bad == [[0, 2], [2, 1]]


RECIPES = st.builds(
    lambda window, hop: EntropyRecipe(SFREQ, window, hop),
    st.integers(2, 300),
    st.integers(1, 300),
)


@settings(max_examples=60, deadline=None)
@given(RECIPES, st.lists(st.integers(0, 400), max_size=12), st.integers(0, 2**31), st.booleans())
def test_chunking_never_changes_a_bit(recipe, chunks, seed, with_gaps):
    generator = np.random.default_rng(seed)
    signal = 100 * generator.standard_normal((3, sum(chunks))) + 1000
    if with_gaps:
        signal[generator.random(signal.shape) < 0.01] = np.nan
    whole, _ = step_entropy(signal, start_entropy(3, recipe), recipe)
    assert folded_entropy(signal, np.cumsum(chunks), recipe).tobytes() == whole.tobytes()


@settings(max_examples=40, deadline=None)
@given(
    st.builds(lambda w, h: EntropyRecipe(SFREQ, w, h), st.integers(60, 600), st.integers(20, 600)),
    st.integers(0, 2**31),
    st.integers(600, 3000),
)
def test_the_batch_engine_agrees_with_the_stream(recipe, seed, n):
    from physioemo.features.entropy_gemm import entropy_by_gemm

    generator = np.random.default_rng(seed)
    signal = np.cumsum(generator.standard_normal((3, n)), axis=1) * 20 + 4200
    stream, _ = step_entropy(signal, start_entropy(3, recipe), recipe)
    scale = np.maximum(1.0, np.abs(stream))
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-5)):
        found = entropy_by_gemm(signal, recipe, dtype=dtype)
        assert found.shape == stream.shape
        assert (np.abs(found - stream) / scale).max(initial=0) < tolerance


def test_an_old_state_stays_valid(rng):
    recipe = EntropyRecipe(SFREQ, 100, 100)
    _, state = step_entropy(rng.standard_normal((2, 130)), start_entropy(2, recipe), recipe)
    chunk = rng.standard_normal((2, 300))
    first, second = (step_entropy(chunk, state, recipe)[0] for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sfreq": 0.0}, SignalError, "found a sampling rate of 0.0 Hz"),
        ({"sfreq": float("nan")}, SignalError, "found a sampling rate of nan Hz"),
        ({"sfreq": 80.0}, SignalError, "found the band gamma 30-45 Hz at a sampling rate of 80 Hz"),
        ({"bands": {"x": (8, 4)}}, SignalError, "expected 0 < low < high"),
        ({"definition": "gausian"}, CallError, "did you mean 'gaussian-filter'"),
        ({"window_seconds": 0.0}, CallError, "found windows of 0"),
        ({"window_seconds": 99.0}, SignalError, "expected .channel, time. with at least 24750"),
        ({"engine": "fft"}, CallError, "expected 'stream' with float64, or 'gemm'"),
        ({"dtype": np.float32}, CallError, "expected 'stream' with float64"),
    ],
)
def test_wrong_calls_are_told_what_was_expected(arguments, error, message):
    arguments = {"sfreq": SFREQ, **arguments}
    with pytest.raises(error, match=message):
        differential_entropy(np.random.default_rng(0).standard_normal((2, 1000)), **arguments)


def test_the_input_is_untouched(rng):
    signal = rng.standard_normal((2, 1000))
    signal[0, 5] = np.nan
    copy = signal.copy()
    differential_entropy(signal, SFREQ)
    assert np.array_equal(signal, copy, equal_nan=True)


def test_a_recipe_survives_json_and_its_fingerprint_tells_recipes_apart():
    recipe = EntropyRecipe(SFREQ, 250, 125)
    assert EntropyRecipe.from_dict(recipe.to_dict()) == recipe
    assert recipe.fingerprint != EntropyRecipe(SFREQ, 250, 250).fingerprint


def test_alpha_entropy_separates_closed_from_open_eyes_without_exception(shared_data):
    eyes = realdata.eyes_open_closed(shared_data("biosignalsnotebooks"))
    microvolts, line = (eyes[k]["signal"].values.T for k in ("eeg", "line"))
    alpha = differential_entropy(microvolts, 1000.0, window_seconds=1.0)[:, 0, 1]
    blocks = line[0, : len(alpha) * 1000].reshape(-1, 1000) > 38_000
    pure = blocks.all(axis=1) | ~blocks.any(axis=1)
    is_open = blocks[:, 0]
    edges = np.flatnonzero(np.diff(is_open[pure].astype(int))) + 1
    means = [b.mean() for b in np.split(alpha[pure], edges)]
    states = [b[0] for b in np.split(is_open[pure], edges)]
    closed = [m for m, s in zip(means, states, strict=True) if not s]
    opened = [m for m, s in zip(means, states, strict=True) if s]
    assert (len(closed), len(opened)) == (4, 4)
    assert min(closed) > max(opened) + 0.3
