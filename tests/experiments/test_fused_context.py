"""Context over windows in a fused decoder: what was before counts, what comes later never does."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from physioemo.errors import CallError, CheckpointError
from physioemo.experiments.cli import live
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_context import sequence_codes
from physioemo.experiments.fused_fit import fit_fused, said_of
from physioemo.experiments.fused_lead import led_in
from physioemo.experiments.fused_live import FusedLive
from physioemo.experiments.fused_run import run_fused_live
from physioemo.experiments.fused_training import FusedConfig
from physioemo.experiments.fused_training_data import collect_fused_trials
from physioemo.experiments.train_config import train_config
from physioemo.experiments.training import StudyConfig, shared_recipe
from physioemo.models.training import TrainingConfig
from tests.experiments.fused_planted import told_early, with_rest
from tests.experiments.trained import trained_by_command
from tests.simulated import simulated_recording

CONFIG = FusedConfig(
    dimensions=("valence",),
    training=TrainingConfig(n_epochs=10, batch_size=64, learning_rate=5e-3, patience=10),
)
BEFORE = {
    "causal-convolution": {"context": "causal-convolution"},
    "causal-transformer": {"context": "causal-transformer"},
    "attention": {"pooling": "attention"},
    "offline-transformer": {"context": "offline-transformer"},
}
CAUSAL = [name for name in BEFORE if not name.startswith("offline")]


def fit(data, **more):
    return fit_fused(data, np.arange(len(data.trial)), replace(CONFIG, **more))


@pytest.fixture(scope="module")
def decoders():
    data = told_early(0, 60)
    made = {name: fit(data, **more) for name, more in BEFORE.items()}
    return {**made, "none": fit(data)}


def folded(decoder, values, segments=None):
    """Return what is said window by window."""
    state, said = decoder.start(), []
    for i, row in enumerate(values):
        segment = 0 if segments is None else int(segments[i])
        one, state = decoder.step(row, {}, float(i), state, segment=segment)
        said.append(one)
    return said


def late_accuracy(decoder, new):
    found = said_of(decoder, new, np.arange(len(new.trial)))
    late = np.tile(np.arange(10) >= 4, len(new.trial) // 10)
    return float(((found.high > 0.5) == (new.labels == 1))[late].mean())


def test_what_the_windows_before_told_is_remembered(decoders):
    new = told_early(1, 60)
    assert late_accuracy(decoders["none"], new) < 0.65  # a late window alone tells nothing
    for name in BEFORE:
        assert late_accuracy(decoders[name], new) > 0.85, name


@pytest.mark.parametrize("name", CAUSAL)
def test_the_future_changes_no_bit_and_the_past_does(decoders, name):
    values = told_early(2, 3).values
    said = folded(decoders[name], values)
    changed = values.copy()
    changed[20:] += 3.0
    again = folded(decoders[name], changed)
    assert again[:20] == said[:20] and again[20:] != said[20:]
    before = values.copy()
    before[8] += 3.0
    assert folded(decoders[name], before)[9] != said[9]


@pytest.mark.parametrize("name", CAUSAL)
def test_a_gap_begins_from_nothing_and_all_at_once_is_near(decoders, name):
    decoder, new = decoders[name], told_early(3, 4)
    cut = folded(decoder, new.values, segments=new.trial)
    each = [p for t in range(4) for p in folded(decoder, new.values[new.trial == t])]
    assert [p.probability for p in cut] == [p.probability for p in each]
    at_once = said_of(decoder, new, np.arange(len(new.trial))).high[:, 0]
    assert np.allclose(at_once, [p.probability["valence"] for p in cut], atol=1e-4)
    whole = folded(decoder, new.values)
    assert whole[10].probability != cut[10].probability
    assert decoder.predict_one(new.values[10], {}, 0.0).probability == cut[10].probability


@pytest.mark.parametrize("name", CAUSAL)
def test_a_missing_window_is_bridged_and_nothing_at_all_abstains(decoders, name):
    values = told_early(4, 1).values.copy()
    values[5] = np.nan
    said = folded(decoders[name], values)
    assert not any(p.abstain for p in said)
    nothing = folded(decoders[name], np.full((3, 4, 3), np.nan))
    assert all(p.abstain and "electrodes are usable" in p.reason for p in nothing)


@pytest.mark.parametrize("name", BEFORE)
def test_a_folder_holds_the_context(decoders, name, tmp_path):
    decoder, new = decoders[name], told_early(5, 2)
    folder = decoder.save(tmp_path / "d")
    loaded = load_decoder(folder)
    rows = np.arange(len(new.trial))
    assert np.array_equal(said_of(loaded, new, rows).high, said_of(decoder, new, rows).high)
    assert loaded.id == decoder.id != replace(decoder, context=None, id="").id
    content = json.loads((folder / "decoder.json").read_text())
    assert content["offline_only"] is decoder.offline_only is name.startswith("offline")
    (folder / "context" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="found a damaged decoder"):
        load_decoder(folder)
    decoders["none"].save(folder)  # a decoder without a context leaves nothing of it behind
    assert load_decoder(folder).context is None and not [*(folder / "context").glob("*")]


def test_a_context_that_sees_later_windows_is_refused_live_and_marked(decoders, tmp_path):
    decoder = decoders["offline-transformer"]
    told = "found ContextModel for offline use only.*expected a causal model in a live session"
    for refused in (
        lambda: run_fused_live(decoder),
        lambda: FusedLive(decoder, None, {}),
        lambda: decoder.predict_one(np.zeros((4, 3)), {}, 0.0),
    ):
        with pytest.raises(CallError, match=told):
            refused()
    folder = decoder.save(tmp_path / "d")
    done = CliRunner().invoke(live, ["--decoder", str(folder)])
    assert isinstance(done.exception, CallError) and "for offline use only" in str(done.exception)


def test_a_trial_is_led_in_by_the_rest_before_it_and_by_no_other_trial():
    data = with_rest(told_early(0, 5))
    rows = np.flatnonzero((data.trial == 1) | (data.trial == 3))
    led = led_in(data, rows, 4)
    assert led.data.trial.tolist() == ([-1] * 4 + [1] * 10) + ([-1] * 4 + [3] * 10)
    assert np.array_equal(led.data.values[led.asked], data.values[rows])
    assert led.sequences.tolist() == [0] * 14 + [1] * 14
    steps = np.diff(led.data.stop_seconds)
    assert np.allclose(np.delete(steps, 13), 0.5)  # nothing between is left out
    assert (led.data.labels[~led.asked] == -1).all()
    # Six windows of rest are all that there is, and a gap cuts them off.
    assert (led_in(data, rows, 40).data.trial == -1).sum() == 12
    stops = data.rest.stop_seconds.copy()
    stops[: 6 + 2] -= 5.0
    gap = replace(data, rest=replace(data.rest, stop_seconds=stops))
    assert (led_in(gap, rows, 40).data.trial == -1).sum() == 4 + 6
    assert led_in(replace(data, rest=None), rows, 4).asked.all()


@pytest.mark.parametrize("name", CAUSAL)
def test_held_out_trials_are_scored_with_what_a_live_decoder_remembers(decoders, name):
    decoder = replace(decoders[name], temperature=np.array([20.0]))  # nothing is 0 or 1
    new = with_rest(told_early(6, 3))
    row = int(np.flatnonzero(new.trial == 2)[4])
    scored = said_of(decoder, new, np.flatnonzero(new.trial == 2)).high[4, 0]
    rest = new.rest.values[12:18]
    live = folded(decoder, np.concatenate([rest, new.values[row - 4 : row + 1]]))[-1]
    assert scored == pytest.approx(live.probability["valence"], abs=1e-5)
    alone = folded(decoder, new.values[row - 4 : row + 1])[-1]
    assert abs(alone.probability["valence"] - live.probability["valence"]) > 1e-4


def test_windows_of_rest_hold_nothing_of_a_trial_that_ended(tmp_path):
    recording = simulated_recording(tmp_path / "a.zarr", n_trials=3)
    config = StudyConfig()
    recipe, ch_names = shared_recipe({"a": recording}, config)
    data = collect_fused_trials({"a": recording}, recipe, ch_names, (), rest=True)
    table = recording.trials
    starts = table["onset_seconds"].values
    stops = starts + table["duration_seconds"].values
    ends = data.rest.stop_seconds
    for start, stop in zip(starts, stops, strict=True):
        assert not ((ends - 1.0 < stop - 0.01) & (ends > start + 1.0)).any()
    assert len(ends) > 6 and (data.rest.labels == -1).all() and (data.rest.trial == -1).all()
    assert set(data.trial) == set(table["trial"].values) and data.rest.rest is None
    assert collect_fused_trials({"a": recording}, recipe, ch_names, ()).rest is None


def test_stretches_end_with_a_trial_and_at_a_gap():
    names = np.array(["a", "a", "a", "b", "b"], object)
    assert sequence_codes(names, None, 0.5).tolist() == [0, 0, 0, 1, 1]
    stops = np.array([1.0, 1.5, 3.0, 3.5, 4.0])
    assert sequence_codes(names, stops, 0.5).tolist() == [0, 0, 1, 2, 2]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"context": "causal-conv"}, "expected one of single, .*did you mean 'causal-convolution'"),
        ({"pooling": "atention"}, "found the pooling 'atention'.*did you mean 'attention'"),
        ({"pooling": "max", "context": "single"}, "found a context and a pooling, expected one"),
        ({"model": "eeg", "context": "single"}, "found context for the model 'eeg'"),
    ],
)
def test_a_wrong_context_is_one_sentence(settings, told):
    with pytest.raises(CallError, match=told):
        train_config(settings)


def test_the_command_trains_one_for_offline_use_and_says_so(tmp_path):
    text = 'context = "offline-transformer"\nepochs = 1\nfolds = 2\npermutations = 0\n'
    recording, folder, output = trained_by_command(tmp_path, text, n_trials=6)
    assert "Offline only: the context 'offline-transformer' sees later windows" in output
    assert "physioemo live" not in output
    said = load_decoder(folder).predict(recording)
    assert len(said) > 100 and not any(p.abstain for p in said)
