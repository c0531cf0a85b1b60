"""The contract of all families; a new row of the table joins by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.description import StreamDescription
from physioemo.features.catalogue import FAMILIES
from physioemo.features.family import FamilyOptions, WindowGrid
from tests.features.folding import folded

SFREQ = 100.0
GRID = WindowGrid(200, 50)
BANDS = {"theta": (4.0, 8.0), "alpha": (8.0, 14.0), "beta": (14.0, 30.0)}
STREAMS = {
    "eeg": ("EEG", ("F3", "F4", "C3", "C4", "P3", "P4"), "uV"),
    "eda": ("EDA", ("EDA",), "uS"),
    "ecg": ("ECG", ("ECG",), "mV"),
    "respiration": ("Respiration", ("Belt",), "a.u."),
    "pleth": ("PPG", ("Finger",), "a.u."),
    "temperature": ("Temperature", ("Skin",), "degC"),
    "gaze": ("Gaze", ("gaze_x_left", "gaze_y_left"), "px"),
    "pupil": ("Pupil", ("pupil_left",), "mm"),
}
OPTIONS = FamilyOptions(bands=BANDS, hrv_window_seconds=10.0)


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request):
    return FAMILIES[request.param]


def extractor_of(family):
    stype, names, unit = STREAMS[family.modalities[0]]
    description = StreamDescription(
        f"{stype} device", stype, SFREQ, names, (unit,) * len(names), source_id="test"
    )
    return family.prepare(description, GRID, OPTIONS), len(names)


def plausible(family, n_channels, seconds=30, seed=0):
    """Return a signal (channel, time) of the family's kind, roughly."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * SFREQ)) / SFREQ
    noise = rng.normal(size=(n_channels, len(time)))
    return {
        "eeg": 10 * noise,
        "eda": 5 + 0.1 * np.sin(time / 3) + 0.001 * noise,
        "ecg": np.exp(-(((time * 1.1) % 1 - 0.5) ** 2) / 0.001) + 0.01 * noise,
        "respiration": np.sin(2 * np.pi * 0.25 * time) + 0.01 * noise,
        "pleth": np.sin(2 * np.pi * 1.1 * time) + 0.01 * noise,
        "temperature": 33 + 0.01 * time + 0.001 * noise,
        "gaze": 500 + 20 * np.sign(np.sin(2 * np.pi * time)) + 0.1 * noise,
        "pupil": 4 + 0.3 * np.sin(time) + 0.01 * noise,
    }[family.modalities[0]]


def test_values_have_the_axes_that_are_named_and_are_never_infinite(family):
    extractor, n = extractor_of(family)
    signal = plausible(family, n)
    before = signal.copy()
    values = extractor.batch(signal)
    shape = tuple(len(names) for names in extractor.coords.values())
    assert values.shape == (GRID.n_windows(signal.shape[1]), *shape)
    assert not np.isinf(values).any() and np.isfinite(values).any()
    assert len(extractor.units) in (1, shape[-1]) and all(extractor.units)
    np.testing.assert_array_equal(signal, before)


def test_missing_and_flat_signals_are_nan_where_they_matter_never_a_number_from_nowhere(family):
    extractor, n = extractor_of(family)
    signal = np.full((n, 3000), np.nan)
    shares = ("valid_share", "quality", "score", "missing", "flat", "blink_count", "blink_share")
    last = list(extractor.coords.values())[-1]
    measured = [k for k, name in enumerate(last) if name not in shares]
    values = (
        extractor.batch(signal)[..., measured] if family.name != "raw" else extractor.batch(signal)
    )
    assert not np.isinf(values).any()
    assert np.isnan(values).all() or family.name in ("gaze", "pupil")


def test_batch_agrees_with_the_stream(family):
    extractor, n = extractor_of(family)
    signal = plausible(family, n)
    signal[0, 700:750] = np.nan
    streamed, _ = extractor.step(signal, extractor.start())
    np.testing.assert_allclose(extractor.batch(signal), streamed, rtol=1e-9, atol=1e-9)


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 1500), max_size=6), hole=st.integers(0, 1400))
@pytest.mark.parametrize("name", list(FAMILIES))
def test_chunking_never_changes_a_bit(name, cuts, hole):
    extractor, n = extractor_of(FAMILIES[name])
    signal = plausible(FAMILIES[name], n, seconds=15)
    signal[0, hole : hole + 9] = np.nan
    whole, _ = extractor.step(signal, extractor.start())
    assert np.array_equal(folded(extractor, signal, cuts), whole, equal_nan=True)


def test_a_family_that_runs_live_does_not_see_the_future(family):
    if family.offline:
        pytest.skip("marked as offline")
    extractor, n = extractor_of(family)
    signal = plausible(family, n)
    changed = signal.copy()
    changed[:, 2000:] = changed[:, 2000:][:, ::-1] + 1
    n_before = GRID.n_windows(2000)
    one, two = (extractor.step(s, extractor.start())[0][:n_before] for s in (signal, changed))
    assert np.array_equal(one, two, equal_nan=True)


def test_the_warm_up_is_as_long_as_the_signal_can_be_seen(family):
    """Samples from before the warm-up change nothing that anybody could measure."""
    extractor, n = extractor_of(family)
    signal = plausible(family, n, seconds=80)
    other = plausible(family, n, seconds=80, seed=9)
    lead = int(np.ceil(extractor.warm_up_seconds * SFREQ / GRID.hop_samples)) * GRID.hop_samples
    start = 1000 + lead
    late = extractor.step(signal[:, 1000:], extractor.start())[0][lead // GRID.hop_samples :]
    mixed = np.concatenate([other[:, :1000], signal[:, 1000:]], axis=1)
    whole = extractor.step(mixed, extractor.start())[0][start // GRID.hop_samples :]
    np.testing.assert_allclose(late, whole, rtol=1e-6, atol=1e-6)
