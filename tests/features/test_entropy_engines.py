"""The offline engines of entropy: pieces, threads and float32 change nothing that is promised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.features import entropy, entropy_gemm, entropy_tiles
from physioemo.features.entropy import (
    EntropyRecipe,
    band_filters,
    differential_entropy,
    start_entropy,
    step_entropy,
)
from physioemo.features.entropy_gemm import entropy_by_gemm
from physioemo.features.entropy_lifted import filtered_bands
from physioemo.features.entropy_recipe import OFFLINE, WINDOW_LOCAL
from physioemo.features.entropy_tiles import over_tiles, product, thread_count, tiles_of

SFREQ = 128.0
STREAMING = ("gaussian-filter", *WINDOW_LOCAL)


def drift(rng, n_channels, n, *, level=4200.0):
    return np.cumsum(rng.standard_normal((n_channels, n)), axis=1) * 5 + level


@settings(max_examples=40, deadline=None)
@given(st.integers(60, 400), st.integers(1, 300), st.integers(400, 1500), st.integers(0, 2**31))
def test_the_batch_engine_masks_and_agrees_whatever_the_hop(window, hop, n, seed):
    generator = np.random.default_rng(seed)
    signal = drift(generator, 3, n)
    signal[generator.random(signal.shape) < 0.001] = np.nan
    signal[2] = 17.0
    options = {"window_seconds": window / SFREQ, "hop_seconds": hop / SFREQ}
    stream = differential_entropy(signal, SFREQ, **options)
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-5)):
        found = differential_entropy(signal, SFREQ, engine="gemm", dtype=dtype, **options)
        assert np.array_equal(np.isnan(found), np.isnan(stream))
        wrong = np.abs(found - stream) / np.maximum(1.0, np.abs(stream))
        assert np.nanmax(wrong, initial=0) < tolerance


@pytest.mark.parametrize("definition", STREAMING)
def test_float32_keeps_its_promise_on_a_large_offset(rng, definition):
    signal = drift(rng, 4, 2000, level=3e5)
    options = {"window_seconds": 2.0, "hop_seconds": 0.5, "definition": definition}
    stream = differential_entropy(signal, SFREQ, **options)
    found = differential_entropy(signal, SFREQ, engine="gemm", dtype=np.float32, **options)
    assert (np.abs(found - stream) / np.maximum(1.0, np.abs(stream))).max() < 1e-5


def test_groups_of_channels_give_the_stream_the_same_bits(rng, monkeypatch):
    signal = drift(rng, 7, 1000)
    signal[3, 100:120] = np.nan
    whole = differential_entropy(signal, SFREQ, hop_seconds=0.3)
    monkeypatch.setattr(entropy, "_CHANNELS", 2)
    assert differential_entropy(signal, SFREQ, hop_seconds=0.3).tobytes() == whole.tobytes()


@pytest.mark.parametrize("definition", STREAMING)
@pytest.mark.parametrize("engine", ["stream", "gemm"])
def test_trials_may_be_rows_of_one_call(rng, definition, engine):
    trials = drift(rng, 6 * 20, 700).reshape(6, 20, 700)
    options = {"definition": definition, "engine": engine, "hop_seconds": 0.5}
    found = differential_entropy(trials.reshape(120, 700), SFREQ, **options)
    one = [differential_entropy(t, SFREQ, **options) for t in trials]
    assert found == pytest.approx(np.concatenate(one, axis=1), rel=1e-11)


@pytest.mark.parametrize("definition", STREAMING)
def test_one_thread_and_several_give_the_same_bits(rng, definition, monkeypatch):
    monkeypatch.setattr(entropy_gemm, "_FEWEST_CHANNELS", 64)
    signal = drift(rng, 200, 1280)
    results = []
    for n_threads in (1, 3):
        monkeypatch.setattr(entropy_tiles, "thread_count", lambda n=n_threads: n)
        found = differential_entropy(signal, SFREQ, definition=definition, engine="gemm")
        results.append(found.tobytes())
    assert results[0] == results[1]


def test_the_input_is_not_written_to(rng):
    signal = drift(rng, 3, 1280)
    copy = signal.copy()
    for definition in (*STREAMING, *OFFLINE):
        differential_entropy(signal, SFREQ, definition=definition, engine="gemm")
        assert np.array_equal(signal, copy)


@pytest.mark.parametrize("n", [1, 64, 100, 1000])
def test_filtering_in_blocks_is_filtering(rng, n):
    from scipy.signal import sosfilt

    rows = drift(rng, 5, n)
    filters = band_filters(EntropyRecipe(SFREQ, 128, 128))
    for at, band, found in filtered_bands(rows, filters, np.float64, 2):
        expected = sosfilt(filters[band], rows[at], axis=1)
        assert found == pytest.approx(expected, abs=1e-9 * np.abs(rows).max())


def test_every_tile_is_computed_once_and_errors_are_told(monkeypatch):
    monkeypatch.setattr(entropy_tiles, "thread_count", lambda: 4)
    done = np.zeros((37, 11), int)

    def count(tiles):
        for tile in tiles:
            done[tile] += 1

    over_tiles(count, tiles_of(37, 11, 30))
    assert (done == 1).all()
    over_tiles(count, tiles_of(37, 11, 3))
    assert (done == 2).all()
    with pytest.raises(ZeroDivisionError):
        over_tiles(lambda tiles: [1 / tile for tile in tiles], [1, 0, 2])


def test_a_product_in_pieces_is_the_product(rng):
    left, right = rng.standard_normal((4001, 2, 100)), rng.standard_normal((100, 70))
    found = product(left[:, 1], right, np.empty((4001, 70)))
    assert found == pytest.approx(left[:, 1] @ right, abs=1e-12)


def test_omp_num_threads_bounds_our_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert thread_count() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "nonsense")
    assert thread_count() >= 1


@pytest.mark.parametrize("definition", WINDOW_LOCAL)
@pytest.mark.parametrize("level", [0.0, 30.0, 4200.0, 3e5])
def test_float32_holds_whatever_the_level_of_a_window(definition, level):
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(2, 1280)).cumsum(axis=1) + level
    recipe = EntropyRecipe.in_seconds(128.0, definition=definition, window_seconds=1.0)
    exact = step_entropy(signal, start_entropy(2, recipe), recipe)[0]
    fast = entropy_by_gemm(signal, recipe, dtype=np.float32)
    assert np.abs(fast - exact).max() <= 1e-5 * np.maximum(1, np.abs(exact)).max()
