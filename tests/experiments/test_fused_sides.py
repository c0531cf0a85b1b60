"""The streams beside the EEG: their tokens, whatever the chunks, and their choice."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import AmbiguousStreamError, CallError, SignalError, StreamDescriptionError
from physioemo.experiments.fused_sides import SIDE_FAMILIES, SideChoice, SideFamily, find_side
from physioemo.experiments.fused_streams import SideHistory, SideStream, recording_side
from physioemo.experiments.fused_training_data import bound_sides
from tests.experiments import fused_decoders
from tests.experiments.fused_decoders import CHOICES, SIDE_KEYS, interleaved, token

# Fixtures of the tests here.
decoder = fused_decoders.decoder
recording = fused_decoders.recording


def in_chunks(recording, side, seed):
    """Return the tokens of a stream that comes in random chunks, between those of others."""
    key = SIDE_KEYS.get(side.name, "Simulated-Physiology")
    stream = SideStream(side, recording.description(key))
    chunks = interleaved(recording, np.random.default_rng(seed))
    return [t for k, *chunk in chunks if k == key for t in stream.step(*chunk)]


def same(some, others):
    return [t.stop_seconds for t in some] == [t.stop_seconds for t in others] and all(
        np.array_equal(a.values, b.values, equal_nan=True)
        for a, b in zip(some, others, strict=True)
    )


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31))
def test_side_tokens_do_not_depend_on_chunks(recording, decoder, seed):
    for side in decoder.sides[:2]:
        whole = recording_side(recording, side)
        assert same(in_chunks(recording, side, seed), whole) and len(whole) > 40


def test_slow_features_do_not_depend_on_chunks_either(recording):
    slow = (SideChoice("hrv", 4.0, 4.0, hrv_window_seconds=10.0), SideChoice("respiration"))
    for side in bound_sides({"a": recording}, slow):
        whole = recording_side(recording, side)
        # One segment of 10 s and one of 22 s.
        assert len(whole) == {"hrv": 2 + 5, "respiration": 6 + 18}[side.name]
        assert same(in_chunks(recording, side, 0), whole)


def test_a_token_ends_with_the_newest_sample_that_it_used(recording, decoder):
    side = decoder.sides[1]
    time = recording["Simulated-Gaze"]["time"].values
    stream = decoder.side_tokens("gaze", recording.description("Simulated-Gaze"))
    signal = recording["Simulated-Gaze"]["signal"].values
    made = stream.step(signal[:1200], time[:1200] + 100.0, 0, raw_stamps=time[:1200])
    ends = np.arange(len(made)) * 60 + 119
    assert [t.newest_stamp for t in made] == time[ends].tolist()
    assert [t.stop_seconds for t in made] == (time[ends] + 100.0).tolist()
    # What comes later changes nothing.
    other = decoder.side_tokens("gaze", recording.description("Simulated-Gaze"))
    spoilt = signal[:1200].copy()
    spoilt[180:] = 0.5
    again = other.step(spoilt, time[:1200], 0)
    np.testing.assert_array_equal(made[1].values, again[1].values)
    assert side.n_values == made[0].values.size


def test_the_newest_token_is_never_from_the_future_though_a_clock_steps_back():
    side = SideFamily(CHOICES[0], 250.0, ("EDA",), {"feature": ("a",)}, ("uS",), "x")
    history = SideHistory()
    history.push([token(side, s) for s in (1.0, 2.0, 0.5, 2.5)])
    assert history.newest(0.9) is None
    assert history.newest(1.5).stop_seconds == 1.0
    assert history.newest(2.2).stop_seconds == 0.5
    assert history.newest(9.0).stop_seconds == 2.5


def test_a_stream_that_would_give_other_features_is_refused(recording, decoder):
    described = recording.description("Simulated-Physiology")
    slower = replace(described, sfreq=125.0)
    with pytest.raises(StreamDescriptionError, match="found eda of 125 Hz .*expected 250 Hz from"):
        decoder.side_tokens("eda", slower)
    stream = decoder.side_tokens("eda", described)
    with pytest.raises(SignalError, match=r"samples of shape \(5, 2\) with 5 stamps, expected"):
        stream.step(np.zeros((5, 2)), np.arange(5.0))


def test_two_streams_with_one_signal_are_ambiguous(recording):
    described = recording.description("Simulated-Physiology")
    assert find_side({"a": described}, CHOICES[0]) == "a"
    assert find_side({"a": described}, CHOICES[1]) is None
    with pytest.raises(AmbiguousStreamError, match=r"found 2 streams with eda \(a, b\)"):
        find_side({"a": described, "b": described}, CHOICES[0])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"family": "edda"}, "found the family 'edda' beside the EEG.*did you mean 'eda'"),
        ({"family": "de"}, "found the family 'de' beside the EEG, expected one of hrv, eda"),
        ({"family": "eda", "hop_seconds": 0.0}, "expected three numbers above 0"),
        ({"family": "eda", "max_age_seconds": float("nan")}, "expected three numbers above 0"),
    ],
)
def test_a_wrong_choice_is_one_sentence(fields, text):
    with pytest.raises(CallError, match=text):
        SideChoice(**fields)


def test_every_family_beside_the_eeg_can_be_saved(recording):
    assert {"hrv", "eda", "respiration", "gaze", "pupil"} <= set(SIDE_FAMILIES)
    for side in bound_sides({"a": recording}, CHOICES):
        assert SideFamily.from_dict(json.loads(json.dumps(side.to_dict()))) == side
