"""Reference and filters: known answers, and chunking never changes a bit."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CallError, SignalError
from physioemo.features.conditioning import (
    Conditioning,
    condition,
    start_conditioning,
    step_conditioning,
)

SFREQ = 128.0
NAMES = ("Fz", "Cz", "Pz")


def sine(hz, seconds=8.0):
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * SFREQ)) / SFREQ)


def amplitude(row):
    return np.sqrt(2) * row[-int(2 * SFREQ) :].std()


def test_the_average_reference_leaves_a_mean_of_zero(rng):
    out = condition(rng.normal(5, 1, (3, 50)), NAMES, SFREQ, Conditioning("average"))
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-12)


def test_a_missing_channel_does_not_enter_the_average(rng):
    signal = rng.normal(size=(3, 20))
    signal[1] = np.nan
    out = condition(signal, NAMES, SFREQ, Conditioning("average"))
    np.testing.assert_allclose(out[0], (signal[0] - signal[2]) / 2)
    assert np.isnan(out[1]).all()


def test_an_average_of_fewer_than_half_of_the_channels_is_missing(rng):
    signal = rng.normal(size=(3, 20))
    signal[:2] = np.nan
    assert np.isnan(condition(signal, NAMES, SFREQ, Conditioning("average"))).all()


def test_a_named_reference_is_subtracted(rng):
    signal = rng.normal(size=(3, 20))
    out = condition(signal, NAMES, SFREQ, Conditioning("Cz"))
    np.testing.assert_array_equal(out, signal - signal[1])


@pytest.mark.parametrize(
    ("options", "kept_hz", "gone_hz"),
    [
        ({"highpass_hz": 8.0}, 20.0, 1.0),
        ({"lowpass_hz": 15.0}, 5.0, 50.0),
        ({"notch_hz": 50.0}, 20.0, 50.0),
    ],
)
def test_filters_keep_and_remove_the_right_frequencies(options, kept_hz, gone_hz):
    rows = np.stack([sine(kept_hz), sine(gone_hz), np.zeros(int(8 * SFREQ))])
    out = condition(rows, NAMES, SFREQ, Conditioning(**options))
    assert amplitude(out[0]) == pytest.approx(1, abs=0.02)
    assert amplitude(out[1]) < 0.02


def test_an_offset_of_4200_uv_starts_no_transient(rng):
    signal = rng.normal(size=(3, 400))
    options = Conditioning(highpass_hz=1.0)
    plain = condition(signal - signal[:, :1], NAMES, SFREQ, options)
    np.testing.assert_allclose(condition(signal + 4200, NAMES, SFREQ, options), plain, atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 300), max_size=8),
    holes=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 299)), max_size=5),
    reference=st.sampled_from(["none", "average", "Fz"]),
)
def test_chunking_never_changes_a_bit(cuts, holes, reference):
    signal = np.random.default_rng(1).normal(size=(3, 300))
    for channel, at in holes:
        signal[channel, at : at + 7] = np.nan
    options = Conditioning(reference, highpass_hz=1.0, lowpass_hz=40.0, notch_hz=50.0)
    whole = condition(signal, NAMES, SFREQ, options)
    state, parts = start_conditioning(NAMES, SFREQ, options), []
    edges = [0, *sorted(cuts), 300]
    for a, b in itertools.pairwise(edges):
        out, state = step_conditioning(signal[:, a:b], state, NAMES, SFREQ, options)
        parts.append(out)
    assert np.array_equal(np.concatenate(parts, axis=1), whole, equal_nan=True)


def test_what_does_not_fit_is_said():
    with pytest.raises(CallError, match="found the reference 'A1', expected 'none', 'average'"):
        start_conditioning(NAMES, SFREQ, Conditioning("A1"))
    with pytest.raises(SignalError, match="found a filter at 70 Hz for a signal at 128 Hz"):
        start_conditioning(NAMES, SFREQ, Conditioning(lowpass_hz=70.0))
    with pytest.raises(CallError, match="expected the low-pass above the high-pass"):
        Conditioning(highpass_hz=30.0, lowpass_hz=4.0)
    with pytest.raises(CallError, match="expected 0 \\(none\\) or above"):
        Conditioning(notch_hz=-1.0)
