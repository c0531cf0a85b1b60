"""Every named definition of entropy against a plain re-statement of its reference."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, filtfilt, lfilter, periodogram, sosfilt

from physioemo.errors import CallError, SignalError
from physioemo.features.entropy import (
    DEFINITIONS,
    EntropyRecipe,
    differential_entropy,
    start_entropy,
    step_entropy,
)
from physioemo.features.entropy_comparison import draw_comparison, white_noise_offsets
from physioemo.features.entropy_gemm import entropy_by_gemm
from physioemo.features.entropy_recipe import OFFLINE, WINDOW_LOCAL
from tests.features.folding import folded_entropy

SFREQ = 128.0
BANDS = {"theta": (4.0, 8.0), "alpha": (8.0, 14.0), "beta": (14.0, 31.0), "gamma": (31.0, 49.0)}
CALIBRATED = [d for d in DEFINITIONS if d != "stft-hann"]


@pytest.fixture
def drifting(rng):
    """Return two channels of 1/f^2 noise in microvolts on an electrode's offset."""
    return np.cumsum(rng.standard_normal((2, 1200)), axis=1) * 5 + 4200.0


def cut(signal, n, hop):
    """Return windows (window, channel, time) by plain slicing."""
    starts = range(0, signal.shape[1] - n + 1, hop)
    return np.stack([signal[:, s : s + n] for s in starts])


def each(windows, bands, power_of):
    """Return a law of every window, channel and band, one at a time."""
    return np.array(
        [[[power_of(x, *edges) for edges in bands.values()] for x in w] for w in windows]
    )


def gaussian(power):
    return 0.5 * math.log(2 * math.pi * math.e * power)


def by_torcheeg(x, low, high):
    b, a = butter(5, [low / 64, high / 64], btype="band")
    return 1 / 2 * np.log2(2 * np.pi * np.e * np.var(lfilter(b, a, x)))


def by_seed(x, low, high, sfreq=128):
    n = len(x)
    hanning = np.array([0.5 - 0.5 * math.cos(2 * math.pi * k / (n + 1)) for k in range(1, n + 1)])
    magnitude = abs(np.fft.fft(x * hanning, n)[: n // 2])
    start, end = int(low / sfreq * n), int(high / sfreq * n)
    energy = sum(magnitude[k] ** 2 for k in range(start - 1, end)) / (end - start + 1)
    return math.log(100 * energy, 2)


def by_periodogram(x, low, high):
    n = len(x)
    taper = np.hanning(n + 2)[1:-1]
    freqs, density = periodogram(x, SFREQ, window=taper, detrend="constant")
    return gaussian(density[(freqs >= low) & (freqs < high)].sum() * SFREQ / n)


def by_mne(x, low, high):
    from mne.time_frequency import psd_array_multitaper

    n = len(x)
    density, freqs = psd_array_multitaper(
        x - x.mean(),
        SFREQ,
        bandwidth=4 * SFREQ / n,
        low_bias=True,  # keeps tapers with a concentration above 0.9: three of them
        normalization="full",
        verbose="error",
    )
    return gaussian(density[(freqs >= low) & (freqs < high)].sum() * SFREQ / n)


@pytest.mark.parametrize(
    ("definition", "unit", "reference"),
    [
        ("window-filter", "bits", by_torcheeg),
        ("stft-hann", "bits", by_seed),
        ("stft-hann-calibrated", "nats", by_periodogram),
        ("multitaper", "nats", by_mne),
    ],
)
@pytest.mark.parametrize(("seconds", "hop"), [(1.0, 1.0), (2.0, 0.5)])
def test_a_window_has_its_references_value(drifting, definition, unit, reference, seconds, hop):
    n, step = int(seconds * SFREQ), int(hop * SFREQ)
    expected = each(cut(drifting, n, step), BANDS, reference)
    for engine in ("stream", "gemm"):
        found = differential_entropy(
            drifting,
            SFREQ,
            bands=BANDS,
            window_seconds=seconds,
            hop_seconds=hop,
            definition=definition,
            engine=engine,
            unit=unit,
        )
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_seeds_own_bands_and_rate_give_seeds_own_numbers(rng):
    signal = 30 * rng.standard_normal((3, 1000))
    bands = {"d": (1, 4), "t": (4, 8), "a": (8, 14), "b": (14, 31), "g": (31, 50)}
    found = differential_entropy(signal, 200.0, bands=bands, definition="stft-hann", unit="bits")
    expected = each(cut(signal, 200, 200), bands, lambda x, *e: by_seed(x, *e, sfreq=200))
    assert found == pytest.approx(expected, rel=1e-12)


def test_zero_phase_is_filtfilt_over_the_whole_signal_then_variance(drifting):
    found = differential_entropy(
        drifting, SFREQ, hop_seconds=0.25, definition="gaussian-filter-zero-phase"
    )
    for b, (low, high) in enumerate([(4, 8), (8, 13), (13, 30), (30, 45)]):
        # The same filter in transfer-function form, extended by the same 27 samples.
        b_a = butter(4, [low, high], btype="bandpass", fs=SFREQ)
        filtered = filtfilt(*b_a, drifting - drifting[:, :1], axis=1, padlen=27)
        expected = 0.5 * np.log(2 * np.pi * np.e * cut(filtered, 128, 32).var(axis=2))
        assert found[..., b] == pytest.approx(expected, abs=1e-6)


def test_zero_phase_looks_ahead_and_the_others_do_not(rng):
    signal = rng.standard_normal((1, 1024))
    changed = np.concatenate([signal[:, :512], 50 + 9 * signal[:, 512:]], axis=1)
    for definition in DEFINITIONS:
        pair = [
            differential_entropy(s, SFREQ, definition=definition)[:4] for s in (signal, changed)
        ]
        assert np.array_equal(*pair) == (definition not in OFFLINE)


def test_a_filter_far_below_the_rate_stays_exact(rng):
    # TorchEEG's transfer-function form is unstable here: 14 nats off at 1 kHz, theta.
    signal = np.cumsum(rng.standard_normal((1, 1000)), axis=1) + 4200
    found = differential_entropy(signal, 1000.0, definition="window-filter")[0, 0, 0]
    sections = butter(5, [4, 8], btype="bandpass", fs=1000.0, output="sos")
    assert found == pytest.approx(gaussian(np.var(sosfilt(sections, signal[0]))), abs=1e-9)


def test_the_order_is_the_callers_or_the_definitions_own(drifting):
    assert EntropyRecipe(SFREQ, 128, 128, definition="window-filter").order == 5
    assert EntropyRecipe(SFREQ, 128, 128).order == 4
    found = differential_entropy(drifting, SFREQ, bands=BANDS, definition="window-filter", order=3)
    b, a = butter(3, [14, 31], btype="band", fs=SFREQ)
    expected = gaussian(np.var(lfilter(b, a, drifting[0, :128])))
    assert found[0, 0, 2] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("definition", CALIBRATED)
def test_white_noise_has_the_power_of_the_bands_share_of_the_spectrum(rng, definition):
    signal = 5 * rng.standard_normal((8, int(200 * SFREQ)))
    found = differential_entropy(
        signal, SFREQ, bands=BANDS, window_seconds=4.0, definition=definition
    )[1:]
    power = np.exp(2 * found).mean(axis=(0, 1)) / (2 * np.pi * np.e)
    share = np.array([25.0 * 2 * (high - low) / SFREQ for low, high in BANDS.values()])
    # Filters pass a little more or less than their nominal band; a window filtered from rest
    # loses the filter's rise, zero-phase filtering squares the flanks.
    lenient = 0.12 if "filter" in definition else 0.03
    assert power == pytest.approx(share, rel=lenient)


def test_seeds_script_is_twice_as_steep_as_an_entropy(rng):
    signal = rng.standard_normal((2, 1280))
    for definition in DEFINITIONS:
        once, twice = (
            differential_entropy(k * signal, SFREQ, definition=definition) for k in (1, 2)
        )
        slope = 2 if definition == "stft-hann" else 1
        assert twice - once == pytest.approx(slope * math.log(2), abs=1e-12)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_bits_are_nats_over_ln_two(rng, definition):
    signal = rng.standard_normal((2, 512))
    nats, bits = (
        differential_entropy(signal, SFREQ, definition=definition, unit=u) for u in ("nats", "bits")
    )
    assert bits == pytest.approx(nats / math.log(2), rel=1e-15)


ENGINES = [(d, e) for d in DEFINITIONS for e in ("stream", "gemm")]


@pytest.mark.parametrize(("definition", "engine"), ENGINES)
def test_dead_channels_and_missing_samples_are_nan_and_never_infinite(rng, definition, engine):
    signal = rng.standard_normal((4, 1280)) + 100
    signal[1] = 17.0
    signal[2, 300:310] = np.nan
    signal[3, :30] = np.inf
    copy = signal.copy()
    found = differential_entropy(signal, SFREQ, definition=definition, engine=engine)
    expected = np.zeros((10, 4, 4), bool)
    expected[:, 1] = expected[2, 2] = expected[0, 3] = True
    assert np.array_equal(np.isnan(found), expected) and not np.isinf(found).any()
    assert np.array_equal(signal, copy, equal_nan=True)


LOCAL_RECIPES = st.builds(
    lambda window, hop, definition: EntropyRecipe(SFREQ, window, hop, definition=definition),
    st.integers(100, 300),
    st.integers(1, 300),
    st.sampled_from(WINDOW_LOCAL),
)


def some_signal(n, seed):
    generator = np.random.default_rng(seed)
    signal = np.cumsum(generator.standard_normal((3, n)), axis=1) * 5 + 4200
    signal[generator.random(signal.shape) < 0.001] = np.nan
    return signal


@settings(max_examples=60, deadline=None)
@given(LOCAL_RECIPES, st.lists(st.integers(0, 400), max_size=10), st.integers(0, 2**31))
def test_chunking_never_changes_a_bit(recipe, chunks, seed):
    signal = some_signal(sum(chunks), seed)
    whole, _ = step_entropy(signal, start_entropy(3, recipe), recipe)
    assert folded_entropy(signal, np.cumsum(chunks), recipe).tobytes() == whole.tobytes()
    assert len(whole) == max(0, 1 + (signal.shape[1] - recipe.window_samples) // recipe.hop_samples)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(100, 500),
    st.integers(20, 600),
    st.sampled_from(WINDOW_LOCAL),
    st.integers(0, 2**31),
    st.integers(600, 2000),
)
def test_the_batch_engine_agrees_with_the_stream(window, hop, definition, seed, n):
    signal = some_signal(n, seed)
    options = {"window_seconds": window / SFREQ, "hop_seconds": hop / SFREQ}
    stream = differential_entropy(signal, SFREQ, definition=definition, **options)
    scale = np.maximum(1.0, np.abs(stream))
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-5)):
        found = differential_entropy(
            signal, SFREQ, definition=definition, engine="gemm", dtype=dtype, **options
        )
        assert np.array_equal(np.isnan(found), np.isnan(stream))
        assert np.nanmax(np.abs(found - stream) / scale, initial=0) < tolerance


def test_long_windows_take_the_filter_itself_and_agree_with_its_matrix(rng, monkeypatch):
    from physioemo.features import entropy_definitions

    signal = rng.standard_normal((2, 900)) + 4200
    recipe = EntropyRecipe(SFREQ, 300, 100, definition="window-filter")
    results = []
    for longest in (1024, 200):
        monkeypatch.setattr(entropy_definitions, "_LONGEST_MATRIX", longest)
        results.append(step_entropy(signal, start_entropy(2, recipe), recipe)[0])
        results.append(entropy_definitions.entropy_of_windows(signal, recipe, dtype=np.float64))
    for found in results[1:]:
        assert found == pytest.approx(results[0], rel=1e-9)


def test_an_offline_definition_never_runs_in_a_stream():
    recipe = EntropyRecipe(SFREQ, 128, 128, definition="gaussian-filter-zero-phase")
    message = "found the definition 'gaussian-filter-zero-phase' in a stream, expected one that"
    with pytest.raises(CallError, match=message):
        start_entropy(2, recipe)
    causal = start_entropy(2, EntropyRecipe(SFREQ, 128, 128))
    with pytest.raises(CallError, match=message):
        step_entropy(np.zeros((2, 10)), causal, recipe)


@pytest.mark.parametrize("definition", OFFLINE)
def test_the_engine_of_the_default_computes_no_offline_definition(definition):
    recipe = EntropyRecipe(SFREQ, 128, 128, definition=definition)
    with pytest.raises(CallError, match="expected 'gaussian-filter'"):
        entropy_by_gemm(np.zeros((2, 500)), recipe, dtype=np.float64)


@pytest.mark.parametrize("definition", WINDOW_LOCAL)
def test_a_decoders_batch_of_any_streaming_definition_agrees_with_its_stream(definition):
    signal = np.random.default_rng(0).standard_normal((3, 1000))
    recipe = EntropyRecipe(SFREQ, 128, 64, definition=definition)
    stream, _ = step_entropy(signal, start_entropy(3, recipe), recipe)
    batch = entropy_by_gemm(signal, recipe, dtype=np.float64)
    assert batch == pytest.approx(stream, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"unit": "bans"}, CallError, "found the unit 'bans', expected 'nats' or 'bits'"),
        ({"definition": "stft-han"}, CallError, "did you mean 'stft-hann'"),
        ({"definition": "multitaper", "order": 4}, CallError, "expected none: it has no filter"),
        ({"order": -1}, CallError, "found a filter of order -1 .* expected at least 1"),
        (
            {"definition": "gaussian-filter-zero-phase", "dtype": np.float32},
            CallError,
            "found the engine 'stream' with float32, expected float64 for the offline definition",
        ),
        (
            {"definition": "gaussian-filter-zero-phase", "window_seconds": 0.2, "stop": 27},
            SignalError,
            "found a signal of 27 samples, expected more than 27",
        ),
        (
            {"definition": "multitaper", "window_seconds": 0.1, "bands": {"t": (4.0, 7.0)}},
            SignalError,
            "expected at least one frequency in the band t 4-7 Hz; use longer windows",
        ),
    ],
)
def test_wrong_calls_are_told_what_was_expected(rng, arguments, error, message):
    signal = rng.standard_normal((2, 512))[:, : arguments.pop("stop", None)]
    with pytest.raises(error, match=message):
        differential_entropy(signal, SFREQ, **arguments)


def test_recipes_of_the_default_keep_their_fingerprint():
    recipe = EntropyRecipe(128.0, 128, 64)
    assert recipe.fingerprint == "af41ac14518a3f79"
    assert EntropyRecipe.from_dict(recipe.to_dict()) == recipe
    prints = {EntropyRecipe(SFREQ, 128, 64, definition=d).fingerprint for d in DEFINITIONS}
    assert len(prints) == len(DEFINITIONS)


def test_the_documented_offsets_on_white_noise_are_the_measured_ones():
    table = (Path(__file__).parents[2] / "docs" / "entropy.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    documented = {
        row[0].split("`")[1]: [float(v.strip(" |").replace("−", "-")) for v in row[-1].split("/")]
        for row in rows
    }
    assert tuple(documented) == DEFINITIONS
    for name, measured in white_noise_offsets(n_windows=4000, seed=1).items():
        assert documented[name] == pytest.approx(measured, abs=0.04), name


def test_the_plot_of_the_docs_can_be_drawn_again(tmp_path):
    draw_comparison(tmp_path / "entropy.png")
    assert (tmp_path / "entropy.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_channel_that_dies_is_masked_while_its_filter_rings_on(definition):
    signal = np.random.default_rng(0).normal(size=(2, 2000))
    signal[0, 850:] = signal[0, 849]
    for engine in ("stream", "gemm"):
        entropy = differential_entropy(
            signal, 200.0, window_seconds=1.0, definition=definition, engine=engine
        )
        assert np.isfinite(entropy[:5]).all() and np.isfinite(entropy[:, 1]).all()
        assert np.isnan(entropy[5:, 0]).all()  # from 5 s on, all samples are equal
