"""A decoder's last layer fitted to one participant: better on trials that it has not seen."""

from dataclasses import replace

import numpy as np
import pytest

from physioemo.errors import CallError
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_stimulus import StimulusChoice
from physioemo.experiments.fused_trust import Trust
from physioemo.experiments.session.refit import refit_head
from physioemo.experiments.training import untrained_decoder
from tests.experiments.fused_decoders import CHOICES, made
from tests.simulated import simulated_recording


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=16, seed=1)


@pytest.fixture(scope="module")
def ratings(recording):
    table = recording.ratings["rating"]
    names = [str(d) for d in table["dimension"].values]
    return {
        str(int(t)): dict(zip(names, table.sel(trial=t).values.tolist(), strict=True))
        for t in table["trial"].values
    }


def test_what_the_signals_tell_is_learnt_and_only_that_is_taken(recording, ratings, tmp_path):
    decoder = untrained_decoder(recording)
    before = [p.probability for p in decoder.predict(recording)]
    made = refit_head(decoder, [recording], ratings)
    assert made.n_trials["arousal"] == 16 and made.accuracy_after["arousal"] > 0.65
    assert all(made.accuracy_after[d] > made.accuracy_before[d] for d in made.taken)
    assert [p.probability for p in decoder.predict(recording)] == before  # the old one is as it was
    after = [p.probability for p in made.decoder.predict(recording)]
    for dimension in decoder.dimensions:
        same = [a[dimension] == b[dimension] for a, b in zip(after, before, strict=True)]
        assert all(same) == (dimension not in made.taken)
    loaded = Decoder.load(made.decoder.save(tmp_path / "decoder"))
    assert loaded.id == made.decoder.id != decoder.id
    assert loaded.metadata["refit"]["of"] == decoder.id


def test_ratings_that_the_signals_do_not_tell_are_not_learnt(recording, ratings):
    decoder, shares = untrained_decoder(recording), []
    for seed in range(5):
        keys = list(ratings)
        order = np.random.default_rng(seed).permutation(keys)
        shuffled = {k: ratings[o] for k, o in zip(keys, order, strict=True)}
        shares += refit_head(decoder, [recording], shuffled).accuracy_after.values()
    # Held-out trials of a few are below one half by chance alone: the others are not like them.
    assert np.mean(shares) < 0.6


@pytest.fixture(scope="module")
def fused(recording):
    return made(recording, CHOICES)


def test_the_last_layer_of_several_streams_is_learnt_too(recording, ratings, fused, tmp_path):
    before = [p.probability for p in fused.predict(recording)]
    found = refit_head(fused, [recording], ratings)
    assert found.taken and found.accuracy_after["arousal"] > 0.65
    assert [p.probability for p in fused.predict(recording)] == before
    after = [p.probability for p in found.decoder.predict(recording)]
    for dimension in fused.dimensions:
        same = [a[dimension] == b[dimension] for a, b in zip(after, before, strict=True)]
        assert all(same) == (dimension not in found.taken)
    loaded = load_decoder(found.decoder.save(tmp_path / "decoder"))
    assert loaded.id == found.decoder.id != fused.id
    assert loaded.metadata["refit"]["of"] == fused.id


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"trust": Trust(9)}, "promises that were fitted to its answers"),
        ({"stimulus": StimulusChoice()}, "the stimulus"),
    ],
)
def test_a_layer_that_does_not_say_all_of_it_is_not_refitted(
    recording, ratings, fused, change, told
):
    with pytest.raises(CallError, match=f"found a decoder with {told}, expected one whose last la"):
        refit_head(replace(fused, **change), [recording], ratings)


def test_too_few_ratings_say_how_many_are_needed(recording, ratings):
    few = {k: ratings[k] for k in list(ratings)[:4]}
    with pytest.raises(CallError, match="found 4 rated trials, expected 6 or more in a dimension"):
        refit_head(untrained_decoder(recording), [recording], few)
    same = {k: {"arousal": 8.0} for k in ratings}
    with pytest.raises(CallError, match="2 or more of each side"):
        refit_head(untrained_decoder(recording), [recording], same)
