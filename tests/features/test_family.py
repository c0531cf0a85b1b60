"""Windows chunk by chunk, and what every EEG family keeps to: these run over each of them."""

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from physioemo.description import StreamDescription
from physioemo.errors import CallError, SignalError, UnitError
from physioemo.features.asymmetry import ASYMMETRY
from physioemo.features.band_power import BAND_POWER, RELATIVE_BAND_POWER
from physioemo.features.connectivity import CONNECTIVITY
from physioemo.features.family import (
    FamilyOptions,
    WindowGrid,
    start_windows,
    step_windows,
    window_local,
    window_view,
)
from physioemo.features.signal_quality import SIGNAL_QUALITY
from tests.features.folding import folded

SFREQ = 128.0
NAMES = ("F3", "F4", "P3", "P4", "Cz")
FAMILIES = [BAND_POWER, RELATIVE_BAND_POWER, ASYMMETRY, CONNECTIVITY, SIGNAL_QUALITY]
LOCAL = FamilyOptions(entropy_definition="stft-hann-calibrated")
CHUNKS = st.lists(st.one_of(st.just(0), st.integers(0, 300)), max_size=10)
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)


def stream(names=NAMES, unit="uV", types=()):
    return StreamDescription("eeg", "EEG", SFREQ, names, (unit,) * len(names), ch_types=types)


def eeg(seed, n, n_channels=5):
    generator = np.random.default_rng(seed)
    drift = np.cumsum(generator.standard_normal((n_channels, n)), axis=1)
    return 3 * drift + 5 * generator.standard_normal((n_channels, n)) + 4200


def belongs_to(extractor, name):
    """Return which of the values (*dims) name a channel."""
    mask = np.zeros([len(labels) for labels in extractor.coords.values()], bool)
    for axis, labels in enumerate(extractor.coords.values()):
        for k, label in enumerate(labels):
            if name in re.split("[ -]", label):
                np.moveaxis(mask, axis, 0)[k] = True
    return mask


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 40), st.integers(1, 120), CHUNKS)
@example(10, 10, [3, 0, 40])
@example(10, 25, [11, 0, 9, 60])
@example(10, 3, [0, 100])
def test_windows_of_chunks_are_the_windows_of_the_whole(window, hop, chunks):
    grid = WindowGrid(window, hop)
    signal = np.random.default_rng(window).standard_normal((2, sum(chunks)))
    state, windows, at = start_windows(2), [], 0
    for n in chunks:
        made, state = step_windows(signal[:, at : at + n], state, grid)
        windows += made
        at += n
    assert len(windows) == grid.n_windows(signal.shape[1])
    assert np.array(windows).tobytes() == window_view(signal, grid).tobytes()
    assert state.rest.shape[1] < window + hop


def test_an_earlier_state_of_windows_stays_valid(rng):
    grid = WindowGrid(8, 5)
    _, state = step_windows(rng.standard_normal((1, 11)), start_windows(1), grid)
    chunk = rng.standard_normal((1, 20))
    first, second = (step_windows(chunk, state, grid)[0] for _ in range(2))
    first[0][:] = 0
    again, _ = step_windows(chunk, state, grid)
    assert len(first) == 4 and np.array_equal(again, second)


def test_a_grid_counts_whole_samples():
    assert WindowGrid.in_seconds(250.0, 1.0, 0.3) == WindowGrid(250, 75)
    with pytest.raises(CallError, match="found a hop of 0.3 s at 128 Hz, 38.4 samples"):
        WindowGrid.in_seconds(128.0, 1.0, 0.3)
    with pytest.raises(CallError, match="found windows of 1 and hops of 1 samples"):
        WindowGrid(1, 1)


def test_too_little_signal_has_no_windows_but_the_right_shape():
    coords = {"channel": ("a", "b"), "what": ("mean",)}
    mean = window_local(
        lambda w: w.mean(axis=2, keepdims=True),
        2,
        WindowGrid(10, 5),
        coords=coords,
        units=("uV",),
        fingerprint="x",
    )
    short = np.zeros((2, 9))
    assert mean.batch(short).shape == mean.step(short, mean.start())[0].shape == (0, 2, 1)


@every_family
@settings(max_examples=15, deadline=None)
@given(st.integers(128, 160), st.integers(40, 300), CHUNKS, st.integers(0, 2**31), st.booleans())
def test_chunking_never_changes_a_bit_and_the_batch_agrees(family, window, hop, chunks, seed, gaps):
    signal = eeg(seed, 700)
    if gaps:
        signal[np.random.default_rng(seed).random(signal.shape) < 0.001] = np.nan
        signal[1, 300:] = 17.0
    untouched = signal.copy()
    extractor = family.prepare(stream(), WindowGrid(window, hop), FamilyOptions())
    whole, parts = folded(extractor, signal, []), folded(extractor, signal, np.cumsum(chunks))
    assert parts.tobytes() == whole.tobytes()
    batch = extractor.batch(signal)
    assert batch.shape == whole.shape and not np.isinf(whole).any()
    assert np.array_equal(np.isnan(batch), np.isnan(whole))
    # A ratio magnifies the difference of its denominator; the others are far below.
    assert (np.abs(batch - whole) / np.maximum(1, np.abs(whole)) < 1e-9)[~np.isnan(whole)].all()
    assert np.array_equal(signal, untouched, equal_nan=True)


@every_family
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 639), st.sampled_from(range(len(NAMES))), st.sampled_from([np.nan, np.inf]))
def test_a_missing_sample_touches_its_channel_in_its_windows_only(family, at, channel, what):
    grid, signal = WindowGrid(128, 64), eeg(5, 640)
    extractor = family.prepare(stream(), grid, LOCAL)
    whole = extractor.batch(signal)
    signal[channel, at] = what
    found = folded(extractor, signal, [])
    starts = np.arange(len(whole)) * 64
    hit = ((starts <= at) & (at < starts + 128)).reshape(-1, *[1] * (whole.ndim - 1))
    touched = hit & belongs_to(extractor, NAMES[channel])
    assert np.allclose(found[~touched], whole[~touched], rtol=1e-9, atol=1e-9)
    if family is not SIGNAL_QUALITY:
        assert np.isnan(found[touched]).all() and np.isfinite(found[~touched]).all()


@every_family
@pytest.mark.parametrize("dead", [np.nan, 17.0, 0.0, 1e9 + 1 / 3])
def test_a_dead_channel_is_nan_wherever_it_counts_and_nowhere_else(family, dead):
    signal = eeg(6, 512)
    signal[2] = dead
    extractor = family.prepare(stream(), WindowGrid(128, 128), LOCAL)
    for values in (extractor.batch(signal), folded(extractor, signal, [100])):
        dropped = np.broadcast_to(belongs_to(extractor, "P3"), values.shape)
        assert np.isfinite(values[~dropped]).all()
        if family is SIGNAL_QUALITY:
            assert np.all(values[:, 2, -1] == 0)
        else:
            assert np.isnan(values[dropped]).all()


@every_family
def test_a_stream_in_volts_with_a_trigger_gives_the_values_of_eeg_in_microvolts(family):
    signal, grid = eeg(7, 512), WindowGrid(128, 128)
    types = ("eeg",) * 5 + ("stim",)
    volts = stream((*NAMES, "trigger"), "V", types)
    with_trigger = np.concatenate([signal * 1e-6, np.ones((1, 512))])
    found = family.prepare(volts, grid, FamilyOptions()).batch(with_trigger)
    expected = family.prepare(stream(), grid, FamilyOptions()).batch(signal)
    if found.shape != expected.shape:
        assert np.isnan(found[:, -1]).all()
        found = found[:, :-1]
    assert np.allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("family", [BAND_POWER, RELATIVE_BAND_POWER, SIGNAL_QUALITY])
def test_a_channel_that_is_no_eeg_keeps_its_place_on_the_axis_of_channels(family):
    description = stream(types=("eeg", "stim", "eeg", "eog", "eeg"))
    extractor = family.prepare(description, WindowGrid(128, 128), FamilyOptions())
    values = extractor.batch(eeg(8, 256))
    assert extractor.coords["channel"] == NAMES
    assert np.isfinite(values[:, [0, 2, 4]]).all() and np.isnan(values[:, [1, 3]]).all()


@every_family
def test_a_stream_that_does_not_fit_is_told_before_any_sample(family):
    grid = WindowGrid(128, 128)
    with pytest.raises(UnitError, match="found the unit 'a.u.', expected one that converts"):
        family.prepare(stream(unit="a.u."), grid, FamilyOptions())
    with pytest.raises(SignalError, match="found 0 EEG channels among F3, F4, P3, P4, Cz"):
        family.prepare(stream(types=("eog",) * 5), grid, FamilyOptions())


@every_family
def test_the_fingerprint_tells_windows_apart_and_nothing_else(family):
    prints = [
        family.prepare(stream(unit=unit), WindowGrid(128, hop), FamilyOptions()).fingerprint
        for unit, hop in (("uV", 64), ("V", 64), ("uV", 128))
    ]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("family", FAMILIES[:4], ids=lambda f: f.name)
def test_a_band_that_does_not_fit_is_told(family):
    options = FamilyOptions(bands={"x": (50.0, 70.0)})
    with pytest.raises(SignalError, match="found the band x 50-70 Hz at a sampling rate of 128 Hz"):
        family.prepare(stream(), WindowGrid(128, 128), options)
